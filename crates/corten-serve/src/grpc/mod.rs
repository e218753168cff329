//! The Open Inference Protocol over gRPC, with what Triton's and KServe's clients call beside it, health checks and
//! reflection.
//!
//! hyper speaks HTTP/2; the messages are prost's, made by `tools/grpc`. A call is read, scored and answered on the thread of
//! its connection, as over HTTP.

mod call;
mod health;
pub(crate) mod infer;
#[allow(unreachable_pub, missing_docs, dead_code, clippy::all, reason = "made by tools/grpc")]
pub(crate) mod messages;
mod models;
mod preface;
mod reflection;
pub(crate) mod status;
mod stream;
mod wire;

use std::convert::Infallible;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use self::call::Call;
pub(crate) use self::preface::PREFACE;
use self::status::{Code, Status, trailers};
use self::wire::{ENCODINGS, Messages, Reply};
use crate::answer::{REQUEST_ID, id_of};
use crate::http::{Active, log};
use crate::queue;
use crate::serve::{Shared, until};
use crate::trace::{Context, Span, TRACEPARENT, Told};

/// Most calls at once on a connection.
const MAX_STREAMS: u32 = 128;
/// Most bytes of a call's header fields.
const MAX_HEADERS: u32 = 16 << 10;
/// How long a connection may be silent before it is asked whether it is there.
const SILENCE: Duration = Duration::from_secs(60);
/// How long its answer to that is waited for.
const ANSWER: Duration = Duration::from_secs(20);
/// How long a connection beyond the limit stays, to be told so.
const FULL: Duration = Duration::from_secs(1);

/// How the messages of a method come and go.
enum Kind {
    /// One each.
    Unary(fn(&Call<'_>, Bytes) -> Result<Bytes, Status>),
    /// [`models::infer`], whose calls may wait for their turn.
    Score,
    /// [`stream::infer`].
    Infer,
    /// [`health::watch`].
    Watch,
    /// [`reflection::answer`].
    Reflection,
}

/// The methods: path, whether they need a key, and what answers them. The most frequent comes first.
const METHODS: [(&str, bool, Kind); 17] = [
    ("/inference.GRPCInferenceService/ModelInfer", true, Kind::Score),
    ("/inference.GRPCInferenceService/ModelStreamInfer", true, Kind::Infer),
    ("/inference.GRPCInferenceService/ServerLive", false, Kind::Unary(models::server_live)),
    ("/inference.GRPCInferenceService/ServerReady", false, Kind::Unary(models::server_ready)),
    ("/inference.GRPCInferenceService/ModelReady", true, Kind::Unary(models::model_ready)),
    ("/inference.GRPCInferenceService/ServerMetadata", true, Kind::Unary(models::server_metadata)),
    ("/inference.GRPCInferenceService/ModelMetadata", true, Kind::Unary(models::model_metadata)),
    ("/inference.GRPCInferenceService/ModelConfig", true, Kind::Unary(models::model_config)),
    ("/inference.GRPCInferenceService/ModelStatistics", true, Kind::Unary(models::model_statistics)),
    ("/inference.GRPCInferenceService/RepositoryIndex", true, Kind::Unary(models::repository_index)),
    ("/inference.GRPCInferenceService/RepositoryModelLoad", true, Kind::Unary(models::load)),
    ("/inference.GRPCInferenceService/RepositoryModelUnload", true, Kind::Unary(models::unload)),
    ("/grpc.health.v1.Health/Check", false, Kind::Unary(health::check)),
    ("/grpc.health.v1.Health/Watch", false, Kind::Watch),
    ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", true, Kind::Reflection),
    ("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", true, Kind::Reflection),
    ("/inference.model_repository.ModelRepositoryService/RepositoryIndex", true, Kind::Unary(models::repository_index)),
];

/// Speaks gRPC on a connection, of which some bytes may have been read before, until it ends. One that came beyond the
/// limit is told so and closed.
pub(crate) async fn connection<S>(
    stream: S,
    before: Vec<u8>,
    shared: Arc<Shared>,
    full: bool,
    mut stopped: watch::Receiver<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let patience = Duration::from_secs(shared.options.head_timeout);
    let Ok(Ok(stream)) = tokio::time::timeout(patience, preface::expect(stream, before)).await else { return };
    let service = {
        let stopped = stopped.clone();
        service_fn(move |request| {
            let (shared, stopped) = (Arc::clone(&shared), stopped.clone());
            async move { Ok::<_, Infallible>(answer(request, shared, full, stopped).await) }
        })
    };
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        // Nobody asks a call for its date, and it would be coded anew each second.
        .auto_date_header(false)
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(MAX_HEADERS)
        .keep_alive_interval(SILENCE)
        .keep_alive_timeout(ANSWER)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        // A client that goes away is no error of the server's.
        _ = connection.as_mut() => return,
        () = until(&mut stopped) => {}
        () = tokio::time::sleep(FULL), if full => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = connection.await;
}

/// Answers a call, counts it and logs it.
async fn answer(
    request: Request<Incoming>,
    shared: Arc<Shared>,
    full: bool,
    stopped: watch::Receiver<bool>,
) -> Response<Reply> {
    let begun = Instant::now();
    let (store, options) = (&shared.store, &shared.options);
    let mut id = id_of(request.headers());
    let context = options.tracer.as_ref().map(|t| t.context(request.headers())).filter(|c| c.sampled);
    if request.method() != Method::POST {
        return plain(StatusCode::METHOD_NOT_ALLOWED);
    }
    let kind = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    if !matches!(kind, Some(b"application/grpc" | b"application/grpc+proto")) {
        return plain(StatusCode::UNSUPPORTED_MEDIA_TYPE);
    }
    let method = METHODS.iter().find(|m| m.0 == request.uri().path());
    let mut told = None;
    let reply = match method {
        _ if full => {
            store.metrics.refused("connections");
            let text = format!("more than {} connections at once", options.max_connections);
            Err(Status::new(Code::ResourceExhausted, text))
        }
        None => {
            let path: String = request.uri().path().chars().take(200).collect();
            Err(Status::new(Code::Unimplemented, format!("there is no method {path} here")))
        }
        Some((_, keyed, kind)) => {
            let measured = context.is_some();
            dispatch(request, kind, Terms { keyed: *keyed, begun, measured }, &shared, stopped, &mut told).await
        }
    };
    let code = reply.as_ref().map_or_else(|status| status.code as u16, |_| 0);
    let route = method.map_or("other", |m| m.0);
    store.metrics.request(route, code);
    let took = begun.elapsed();
    if options.log {
        log(&id, "POST", route, code, took, told.as_ref(), context.as_ref());
    }
    let traced = context.as_ref().map(Context::header);
    if let (Some(tracer), Some(context)) = (&options.tracer, context) {
        let id = id.to_str().unwrap_or_default().to_owned();
        let begun = SystemTime::now() - took;
        tracer.take(Span { context, method: Method::POST, route, status: code, id, begun, took, told });
    }
    let mut response = match reply {
        Ok(reply) => Response::new(reply),
        Err(status) => {
            let mut response = Response::new(Reply::Ended);
            *response.headers_mut() = trailers(Some(&status));
            if status.code == Code::Unimplemented {
                response.headers_mut().insert("grpc-accept-encoding", HeaderValue::from_static(ENCODINGS));
            }
            response
        }
    };
    if let Some(traced) = traced {
        response.headers_mut().insert(TRACEPARENT, traced);
    }
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    // An id comes once: the table of fields that come again shouldn't remember it.
    id.set_sensitive(true);
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// An answer to what is no gRPC.
fn plain(status: StatusCode) -> Response<Reply> {
    let mut response = Response::new(Reply::Ended);
    *response.status_mut() = status;
    response
}

/// What is known of a call before its head is read.
struct Terms {
    keyed: bool,
    begun: Instant,
    measured: bool,
}

async fn dispatch(
    request: Request<Incoming>,
    kind: &Kind,
    Terms { keyed, begun, measured }: Terms,
    shared: &Arc<Shared>,
    stopped: watch::Receiver<bool>,
    told: &mut Option<Told>,
) -> Result<Reply, Status> {
    let (store, options) = (&shared.store, &shared.options);
    let (parts, body) = request.into_parts();
    let timeout = call::timeout(&parts.headers)?;
    let call = Call {
        store,
        options,
        headers: &parts.headers,
        begun,
        deadline: timeout.and_then(|t| begun.checked_add(t)),
        measured,
        told: OnceLock::new(),
    };
    if keyed {
        call.known()?;
    }
    let packing = wire::encoding(&parts.headers)?;
    let mut messages = Messages::new(body, packing, options.max_body, Duration::from_secs(options.body_timeout));
    let answer = match kind {
        Kind::Unary(answer) => Some(answer),
        Kind::Score => None,
        Kind::Infer => return Ok(stream::infer(messages, shared, &call, stopped)),
        Kind::Watch => return health::watch(messages, shared, &call, stopped).await,
        Kind::Reflection => return Ok(reflection::answer(messages, &call, stopped)),
    };
    let _active = Active::of(store);
    // Whoever watches the server still gets an answer.
    if keyed && store.metrics.active.load(Ordering::Relaxed) > options.max_active {
        store.metrics.refused("active");
        return Err(Status::new(Code::ResourceExhausted, format!("more than {} requests at once", options.max_active)));
    }
    if answer.is_none() {
        // Before its message costs anything.
        models::refuse(&call, queue::of_call())?;
    }
    let message = call.within(messages.only()).await?;
    let answered = match answer {
        Some(answer) => answer(&call, message),
        None => {
            let _turn = models::turn(&call, &message).await?;
            models::infer(&call, message)
        }
    };
    let answered = answered.map(Reply::message);
    *told = call.told.into_inner();
    answered
}
