//! The Open Inference Protocol over gRPC, with what Triton's and KServe's clients call beside it, health checks and
//! reflection.
//!
//! The messages are prost's, made by `tools/grpc`. A call is read, scored and answered on the thread of its connection, as over
//! HTTP.

mod call;
mod health;
pub(crate) mod infer;
#[allow(unreachable_pub, missing_docs, dead_code, clippy::all, reason = "made by tools/grpc")]
pub(crate) mod messages;
mod models;
mod reflection;
pub(crate) mod status;
mod stream;
mod wire;

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime};

use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Method};
use tokio::sync::watch;

use self::call::Call;
use self::status::{Code, Status, ended, trailers};
use self::wire::{ENCODINGS, Messages};
use crate::answer::{REQUEST_ID, id_of, is_id, new_id};
use crate::http::{Active, log};
use crate::http2::{self, Answer, Body, Known, Reply, Request, field};
use crate::queue;
use crate::serve::Shared;
use crate::trace::{Span, TRACEPARENT, Told};

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

/// Whether a type of content is gRPC's.
fn is_grpc(kind: Option<&[u8]>) -> bool {
    matches!(kind, Some(b"application/grpc" | b"application/grpc+proto"))
}

/// Writes the refusal of a call that would wait too long, where its head tells all that there is to know of it.
pub(crate) fn refused(known: &Known<'_>, shared: &Shared, out: &mut Vec<u8>) -> bool {
    let (store, options) = (&shared.store, &shared.options);
    let (path, _, _) = &METHODS[0];
    let most = options.most_wait();
    let scores = known.is_posted() && known.path() == path.as_bytes() && is_grpc(known.kind) && options.is_plain();
    if !scores || !queue::is_full(queue::of_call(), most) {
        return false;
    }
    store.metrics.refused("wait");
    store.metrics.request(path, Code::ResourceExhausted as u16);
    let made = || {
        let status = Status::new(Code::ResourceExhausted, queue::refusal(most));
        let mut head = begin();
        ended(Some(&status), &mut head);
        head
    };
    out.extend_from_slice(shared.refusal.get_or_init(made));
    // Nobody has looked at it yet.
    match known.id.filter(|id| is_id(id) && HeaderValue::from_bytes(id).is_ok()) {
        Some(id) => field(REQUEST_ID.as_str().as_bytes(), id, out),
        None => {
            let mut id = Vec::with_capacity(32);
            new_id(&mut id);
            field(REQUEST_ID.as_str().as_bytes(), &id, out);
        }
    }
    true
}

/// What the head of each answer begins with.
fn begin() -> Vec<u8> {
    let mut head = Vec::with_capacity(256);
    http2::status(200, &mut head);
    field(b"content-type", b"application/grpc", &mut head);
    head
}

/// Answers a call, counts it and logs it.
pub(crate) async fn answer(
    request: Request,
    body: Body,
    shared: Arc<Shared>,
    full: bool,
    stopped: watch::Receiver<bool>,
) -> Answer {
    let begun = Instant::now();
    let (store, options) = (&shared.store, &shared.options);
    let Request { posted, path, headers } = request;
    let id = id_of(&headers);
    let context = options.tracer.as_ref().map(|t| t.context(&headers)).filter(|c| c.sampled);
    if !posted {
        return plain(405);
    }
    if !is_grpc(headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes)) {
        return plain(415);
    }
    let method = METHODS.iter().find(|m| m.0 == path);
    let mut told = None;
    let reply = match method {
        _ if full => {
            store.metrics.refused("connections");
            let text = format!("more than {} connections at once", options.max_connections);
            Err(Status::new(Code::ResourceExhausted, text))
        }
        None => {
            let path: String = path.chars().take(200).collect();
            Err(Status::new(Code::Unimplemented, format!("there is no method {path} here")))
        }
        Some((_, keyed, kind)) => {
            let terms = Terms { keyed: *keyed, begun, measured: context.is_some() };
            dispatch(&headers, body, kind, terms, &shared, stopped, &mut told).await
        }
    };
    let code = reply.as_ref().map_or_else(|status| status.code as u16, |_| 0);
    let route = method.map_or("other", |m| m.0);
    store.metrics.request(route, code);
    let took = begun.elapsed();
    if options.log {
        log(&id, "POST", route, code, took, told.as_ref(), context.as_ref());
    }
    let mut head = begin();
    let reply = reply.unwrap_or_else(|status| {
        ended(Some(&status), &mut head);
        if status.code == Code::Unimplemented {
            field(b"grpc-accept-encoding", ENCODINGS.as_bytes(), &mut head);
        }
        Reply::Ended
    });
    field(REQUEST_ID.as_str().as_bytes(), id.as_bytes(), &mut head);
    if let (Some(tracer), Some(context)) = (&options.tracer, context) {
        field(TRACEPARENT.as_bytes(), context.header().as_bytes(), &mut head);
        let id = id.to_str().unwrap_or_default().to_owned();
        let begun = SystemTime::now() - took;
        tracer.take(Span { context, method: Method::POST, route, status: code, id, begun, took, told });
    }
    Answer { head, reply }
}

/// An answer to what is no gRPC.
fn plain(status: u16) -> Answer {
    let mut head = Vec::new();
    http2::status(status, &mut head);
    Answer { head, reply: Reply::Ended }
}

/// What is known of a call before its head is read.
struct Terms {
    keyed: bool,
    begun: Instant,
    measured: bool,
}

async fn dispatch(
    headers: &HeaderMap,
    body: Body,
    kind: &Kind,
    Terms { keyed, begun, measured }: Terms,
    shared: &Arc<Shared>,
    stopped: watch::Receiver<bool>,
    told: &mut Option<Told>,
) -> Result<Reply, Status> {
    let (store, options) = (&shared.store, &shared.options);
    let timeout = call::timeout(headers)?;
    let call = Call {
        store,
        options,
        headers,
        begun,
        deadline: timeout.and_then(|t| begun.checked_add(t)),
        measured,
        told: OnceLock::new(),
    };
    if keyed {
        call.known()?;
    }
    let packing = wire::encoding(headers)?;
    let mut messages = Messages::new(body, packing, options.max_body, options.pace());
    let answer = match kind {
        Kind::Unary(answer) => Some(answer),
        Kind::Score => None,
        Kind::Infer => return Ok(stream::infer(messages, shared, &call, stopped)),
        Kind::Watch => return health::watch(messages, shared, &call, stopped).await,
        Kind::Reflection => return Ok(reflection::answer(messages, &call, stopped)),
    };
    if answer.is_none() {
        // Before its message costs anything.
        models::refuse(&call, queue::of_call())?;
    }
    // A call is at work once its message begins: heads without one cost a client next to nothing.
    call.within(messages.begin()).await?;
    let _active = Active::of(store);
    // Whoever watches the server still gets an answer.
    if keyed && store.metrics.active.load(Ordering::Relaxed) > options.max_active {
        store.metrics.refused("active");
        return Err(Status::new(Code::ResourceExhausted, format!("more than {} requests at once", options.max_active)));
    }
    let message = call.within(messages.only()).await?;
    let answered = match answer {
        Some(answer) => answer(&call, message),
        None => {
            let _turn = models::turn(&call, &message).await?;
            models::infer(&call, message)
        }
    };
    let answered = answered.map(|message| Reply::Whole(message, trailers(None)));
    *told = call.told.into_inner();
    answered
}
