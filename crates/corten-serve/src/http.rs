//! Requests to answers.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use hyper::body::Bytes;
use hyper::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ALLOW, AUTHORIZATION,
    CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue, ORIGIN, VARY, WWW_AUTHENTICATE,
};
use hyper::{Method, Request, StatusCode};
use serde_json::{Value, json};

use crate::answer::{Answer, REQUEST_ID, id_of, json_of, later, refuse, respond, status_of};
use crate::http1::{Body, Unread};
use crate::infer::Fault;
use crate::keys::Verb;
use crate::metrics::INFER;
use crate::notify::say;
use crate::packed::{Packing, Unpacked};
use crate::routes::point;
use crate::score::{Ask, Bounds, score};
use crate::served::Served;
use crate::shadow::Heard;
use crate::store::{Missing, Store};
use crate::trace::{Context, Span, TRACEPARENT, Told};
use crate::{Options, clock, frames, openapi, page, queue, repository};

/// Bytes of JSON before the tensors of a body.
const HEAD_LENGTH: &str = "inference-header-content-length";

/// The version that has answered, where routes lead to several.
const MODEL_VERSION: &str = "x-model-version";

/// Answers a request that has come at `begun`, counts it and logs it.
pub(crate) async fn answer(
    mut request: Request<Body<'_, '_>>,
    store: &Store,
    options: &Options,
    begun: Instant,
) -> Answer {
    let id = id_of(request.headers());
    let origin = request.headers().get(ORIGIN).cloned();
    let context = options.tracer.as_ref().map(|t| t.context(request.headers())).filter(|c| c.sampled);
    let told = (options.log || context.is_some()).then(|| (request.method().clone(), request.uri().path().to_owned()));
    if told.is_some() {
        request.extensions_mut().insert(Watched { measured: context.is_some() });
    }
    let _active = Active::of(store);
    let (route, mut response) = guard(request, store, options, begun).await;
    let status = response.status().as_u16();
    store.metrics.request(route, status);
    if let Some((method, path)) = told {
        let took = begun.elapsed();
        let told = response.extensions_mut().remove::<Told>();
        if options.log {
            log(&id, method.as_str(), &path, status, took, told.as_ref(), context.as_ref());
        }
        if let (Some(tracer), Some(context)) = (&options.tracer, context) {
            response.headers_mut().insert(TRACEPARENT, context.header());
            let id = id.to_str().unwrap_or_default().to_owned();
            tracer.take(Span { context, method, route, status, id, begun: SystemTime::now() - took, took, told });
        }
    }
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    if let Some(origin) = origin.filter(|o| options.cors.iter().any(|c| c == "*" || c.as_bytes() == o.as_bytes())) {
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(VARY, HeaderValue::from_static("Origin"));
    }
    response
}

/// Rides on a request that is logged or traced: what its model did is told then.
#[derive(Clone, Copy)]
struct Watched {
    /// Whether its stages are measured.
    measured: bool,
}

/// A request that is being answered, also when its client goes away.
pub(crate) struct Active<'s>(&'s Store);

impl<'s> Active<'s> {
    pub(crate) fn of(store: &'s Store) -> Self {
        store.metrics.active.fetch_add(1, Ordering::Relaxed);
        Self(store)
    }
}

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.metrics.active.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One line of JSON about a request; values of features never stand in it.
pub(crate) fn log(
    id: &HeaderValue,
    method: &str,
    path: &str,
    status: u16,
    took: Duration,
    told: Option<&Told>,
    context: Option<&Context>,
) {
    let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64());
    let mut line = json!({
        "time": time,
        "id": id.to_str().unwrap_or_default(),
        "method": method,
        "path": path.chars().take(300).collect::<String>(),
        "status": status,
        "ms": took.as_secs_f64() * 1e3,
    });
    if let Some(told) = told {
        line["model"] = json!(told.model);
        line["version"] = json!(told.version);
        line["rows"] = json!(told.rows);
    }
    if let Some(context) = context {
        line["trace"] = json!(context.id());
    }
    say(&line);
}

/// A segment of a path without its percent signs.
fn decode(segment: &str) -> Cow<'_, str> {
    if !segment.contains('%') {
        return Cow::Borrowed(segment);
    }
    let mut bytes = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = after.split_at_checked(2).filter(|_| first == b'%').and_then(|(digits, after)| {
            let digits = std::str::from_utf8(digits).ok().filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
            Some((u8::from_str_radix(digits, 16).ok()?, after))
        });
        let (byte, after) = code.unwrap_or((first, after));
        bytes.push(byte);
        rest = after;
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}

/// What a POST asks for.
enum Post<'p> {
    Predict(&'p str),
    Explain(&'p str),
    Infer(&'p str, Option<&'p str>),
    Index,
    Load(&'p str),
    Unload(&'p str),
}

fn post_of<'p>(parts: &[&'p str]) -> Option<Post<'p>> {
    Some(match *parts {
        ["predict"] => Post::Predict(""),
        ["predict", name] => Post::Predict(name),
        ["explain"] => Post::Explain(""),
        ["explain", name] => Post::Explain(name),
        ["v2", "models", name, "infer"] => Post::Infer(name, None),
        ["v2", "models", name, "versions", version, "infer"] => Post::Infer(name, Some(version)),
        ["v2", "repository", "index"] => Post::Index,
        ["v2", "repository", "models", name, "load"] => Post::Load(name),
        ["v2", "repository", "models", name, "unload"] => Post::Unload(name),
        _ => return None,
    })
}

/// Lets in who has a key for what is asked.
async fn guard(
    request: Request<Body<'_, '_>>,
    store: &Store,
    options: &Options,
    begun: Instant,
) -> (&'static str, Answer) {
    // Shares the bytes that came.
    let uri = request.uri().clone();
    let decoded: Vec<Cow<'_, str>> = uri.path().split('/').skip(1).map(decode).collect();
    let parts: Vec<&str> = decoded.iter().map(|p| &**p).collect();
    if request.method() == Method::OPTIONS && !options.cors.is_empty() {
        let mut response = respond(StatusCode::NO_CONTENT, "text/plain", "");
        let headers = response.headers_mut();
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST"));
        let allowed = "authorization, content-type, inference-header-content-length, timeout, x-request-id";
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(allowed));
        return ("other", response);
    }
    // Whoever watches whether the server lives has no key.
    let open = matches!(parts.as_slice(), [""] | ["healthz"] | ["v2", "health", ..]);
    if !open {
        let (verb, model) = match parts.as_slice() {
            ["v2", "repository", "models", name, ..] => (Verb::Admin, *name),
            ["v2", "models", "stats"] => (Verb::Infer, ""),
            ["v2", "models", name, ..] | ["predict" | "explain", name] => (Verb::Infer, *name),
            ["predict" | "explain"] => (Verb::Infer, store.first()),
            _ => (Verb::Infer, ""),
        };
        let model = store.split(model).0;
        // What describes the server as a whole is for every key.
        let checked = options.keys.check(request.headers().get(AUTHORIZATION).map(HeaderValue::as_bytes), verb, model);
        match checked {
            Ok(()) => {}
            Err(true) if model.is_empty() => {}
            Err(known) => {
                store.metrics.refused("key");
                let (status, text) = if known {
                    (StatusCode::FORBIDDEN, format!("this key isn't for this use of '{model}'"))
                } else {
                    (StatusCode::UNAUTHORIZED, "a key is needed: Authorization: Bearer KEY".to_owned())
                };
                let mut response = refuse(status, text);
                response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                return ("other", response);
            }
        }
    }
    route(request, &parts, store, options, begun).await
}

async fn route(
    request: Request<Body<'_, '_>>,
    parts: &[&str],
    store: &Store,
    options: &Options,
    begun: Instant,
) -> (&'static str, Answer) {
    match post_of(parts) {
        Some(post) if request.method() == Method::POST => self::post(request, post, store, options, begun).await,
        None if request.method() == Method::GET || request.method() == Method::HEAD => {
            get(parts, store, options, request.headers())
        }
        None if get(parts, store, options, request.headers()).1.status() == StatusCode::NOT_FOUND => {
            ("other", refuse(StatusCode::NOT_FOUND, "there is nothing here; see /openapi.json"))
        }
        other => {
            let mut response =
                refuse(StatusCode::METHOD_NOT_ALLOWED, format!("{} is not allowed here", request.method()));
            let allowed = if other.is_some() { "POST" } else { "GET, HEAD" };
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
            ("other", response)
        }
    }
}

/// How long the answer is waited for: `timeout` in microseconds, as the protocol's parameter of this name is.
fn deadline(headers: &HeaderMap) -> Result<Option<Duration>, String> {
    let Some(given) = headers.get("timeout") else { return Ok(None) };
    let limit = given.to_str().ok().and_then(|t| t.trim().parse::<u64>().ok());
    let limit =
        limit.ok_or_else(|| format!("the header 'timeout' must be a number of microseconds; {given:?} came"))?;
    Ok((limit > 0).then(|| Duration::from_micros(limit)))
}

fn late(store: &Store) -> Answer {
    store.metrics.refused("timeout");
    refuse(StatusCode::GATEWAY_TIMEOUT, "the request's timeout has passed")
}

fn too_large(limit: usize) -> Answer {
    refuse(StatusCode::PAYLOAD_TOO_LARGE, format!("a body of more than {limit} bytes"))
}

/// Reads a body within its limits of size and time.
///
/// # Errors
/// With the answer to a body that isn't read.
async fn body(
    request: Request<Body<'_, '_>>,
    limit: usize,
    options: &Options,
    store: &Store,
    deadline: Option<Instant>,
) -> Result<Bytes, Box<Answer>> {
    let read = request.into_body().read(limit, options.pace(), deadline).await;
    read.map_err(|unread| match unread {
        Unread::TooLarge => too_large(limit),
        Unread::Broken(problem) => refuse(StatusCode::BAD_REQUEST, format!("the body broke off: {problem}")),
        Unread::Late => late(store),
        Unread::Slow(problem) => {
            store.metrics.refused("slow");
            refuse(StatusCode::REQUEST_TIMEOUT, problem)
        }
    })
    .map_err(Box::new)
}

async fn post(
    request: Request<Body<'_, '_>>,
    post: Post<'_>,
    store: &Store,
    options: &Options,
    begun: Instant,
) -> (&'static str, Answer) {
    let (route, name, version) = match post {
        Post::Predict(name) => ("/predict", name, None),
        Post::Explain(name) => ("/explain", name, None),
        Post::Infer(name, version) => (INFER, name, version),
        Post::Index | Post::Load(_) | Post::Unload(_) => {
            let key = request.headers().get(AUTHORIZATION).cloned();
            let body = match body(request, 1 << 16, options, store, None).await {
                Ok(body) => body,
                Err(answer) => return ("/v2/repository", *answer),
            };
            let answer = match post {
                Post::Load(name) => repository::load(store, options, name, &body),
                Post::Unload(name) => repository::unload(store, options, name),
                _ => repository::index(store, |name| sees(options, key.as_ref(), name), &body),
            };
            return ("/v2/repository", answer);
        }
    };
    // Refused from the head, before the body and its JSON cost anything.
    if store.metrics.active.load(Ordering::Relaxed) > options.max_active {
        store.metrics.refused("active");
        return (route, later(format!("more than {} requests at once", options.max_active)));
    }
    let headers = request.headers();
    let Some(served) = store.resolve(name, version, |sticky| place(headers, sticky)) else {
        return (route, missing(store, name, version));
    };
    let deadline = match deadline(request.headers()) {
        Ok(deadline) => deadline,
        Err(problem) => return (route, refuse(StatusCode::BAD_REQUEST, problem)),
    };
    let head = match head_length(request.headers()) {
        Ok(head) => head,
        Err(problem) => return (route, refuse(StatusCode::BAD_REQUEST, problem)),
    };
    let kind = request.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("application/json");
    let kind = kind.split(';').next().unwrap_or_default().trim();
    // Triton's asynchronous client says so of JSON too.
    let in_bytes = kind == "application/octet-stream" && matches!(post, Post::Infer(..));
    let table = frames::format_of(kind).filter(|_| matches!(post, Post::Predict(_)));
    if !(in_bytes || table.is_some() || kind.eq_ignore_ascii_case("application/json")) {
        let text = match post {
            Post::Predict(_) => format!(
                "a body of type application/json, {} or {} is needed, but {kind} came",
                frames::ARROW,
                frames::PARQUET
            ),
            _ => format!("a body of type application/json is needed, but {kind} came"),
        };
        return (route, refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    let packing = match request.headers().get(CONTENT_ENCODING).map(|e| Packing::of(e.as_bytes()).map_err(|()| e)) {
        None => None,
        Some(Ok(packing)) => packing,
        Some(Err(encoding)) => {
            let text = format!("a body in {encoding:?} isn't read; gzip, deflate and identity are");
            return (route, refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
        }
    };
    let ask = match (post, table) {
        (_, Some((format, _))) => Ask::Table(format),
        (Post::Explain(_), None) => Ask::Explain,
        (Post::Infer(..), None) => Ask::Infer(head),
        _ => Ask::Predict,
    };
    let cost = served.latency.costs.of(ask, request.body().least());
    if queue::is_full(cost, options.most_wait()) {
        store.metrics.refused("wait");
        return (route, later(queue::refusal(options.most_wait())));
    }
    let watched = request.extensions().get::<Watched>().copied();
    let until = deadline.and_then(|d| Instant::now().checked_add(d));
    let body = match body(request, options.max_body, options, store, until).await {
        Ok(body) => body,
        Err(answer) => return (route, *answer),
    };
    let body = match packing.map(|p| p.unpack(&body, options.max_body)) {
        None => body,
        Some(Ok(body)) => body.into(),
        Some(Err(Unpacked::TooLarge)) => return (route, too_large(options.max_body)),
        Some(Err(Unpacked::Broken(error))) => {
            return (route, refuse(StatusCode::BAD_REQUEST, format!("the body can't be unpacked: {error}")));
        }
    };
    let length = body.len();
    let _turn = queue::turn(served.latency.costs.of(ask, length)).await;
    if deadline.is_some_and(|d| begun.elapsed() > d) {
        return (route, late(store));
    }
    let start = Instant::now();
    let bounds = Bounds { rows: options.max_rows, body: options.max_body, begun };
    if served.latency.measures() || watched.is_some_and(|w| w.measured) {
        clock::start(begun);
    }
    let scored = score(&served, ask, &body, bounds);
    let spent = clock::stop();
    if let Some(spent) = &spent {
        served.latency.spent(spent);
    }
    let mut rows = 0;
    let mut response = match scored {
        Ok(inferred) => {
            rows = inferred.rows;
            served.latency.scored(rows, start.elapsed());
            served.latency.costs.add(ask, length, start.elapsed());
            if let Some(candidate) = store.candidate(&served, || place(&HeaderMap::new(), None)) {
                let (answer, json) = (inferred.bytes.clone(), inferred.json);
                store.shadow.hear(Heard { candidate, ask, body, answer, json, bounds });
            }
            match inferred.json {
                None => respond(StatusCode::OK, table.map_or("application/json", |t| t.1), inferred.bytes),
                Some(length) => {
                    let mut response = respond(StatusCode::OK, "application/octet-stream", inferred.bytes);
                    response.headers_mut().insert(HEAD_LENGTH, HeaderValue::from(length));
                    response
                }
            }
        }
        Err(Fault::Error(error)) => {
            served.latency.failed(Some(&error));
            refuse(status_of(&error), error)
        }
        Err(Fault::Absent(error)) => {
            served.latency.failed(Some(&error));
            refuse(StatusCode::NOT_IMPLEMENTED, error)
        }
        Err(Fault::Late) => {
            served.latency.failed(None);
            late(store)
        }
    };
    if watched.is_some() {
        let told = Told { model: served.name.clone(), version: served.version, rows, spent };
        response.extensions_mut().insert(told);
    }
    // Who asks for no version learns which one answered.
    if store.route(&served.name).is_some() {
        response.headers_mut().insert(MODEL_VERSION, HeaderValue::from(served.version));
    }
    (route, response)
}

/// A caller's place in the traffic: from a header where it came, else from the request's id, else the next one.
pub(crate) fn place(headers: &HeaderMap, sticky: Option<&str>) -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let given = sticky.and_then(|name| headers.get(name)).or_else(|| headers.get(REQUEST_ID));
    match given {
        Some(value) => point(value.as_bytes()),
        None => point(&NEXT.fetch_add(1, Ordering::Relaxed).to_le_bytes()),
    }
}

fn head_length(headers: &HeaderMap) -> Result<Option<usize>, String> {
    let mut all = headers.get_all(HEAD_LENGTH).iter();
    let Some(given) = all.next() else { return Ok(None) };
    // Digits only, and once, as Content-Length.
    let digits = given.to_str().ok().filter(|t| t.bytes().all(|b| b.is_ascii_digit()) && all.next().is_none());
    digits
        .and_then(|t| t.parse().ok())
        .map(Some)
        .ok_or_else(|| format!("Inference-Header-Content-Length must be one number of bytes; {given:?} came"))
}

/// No such model, or one that isn't loaded.
fn missing(store: &Store, name: &str, version: Option<&str>) -> Answer {
    match store.missing(name, version) {
        Missing::Unloaded(text) => later(text),
        Missing::Unknown(text) => refuse(StatusCode::NOT_FOUND, text),
    }
}

fn metrics(store: &Store, options: &Options) -> String {
    let mut text = store.metrics.text(store);
    if let Some(tracer) = &options.tracer {
        tracer.text(&mut text);
    }
    text
}

/// The loaded models that the caller has a key for.
fn seen(store: &Store, options: &Options, headers: &HeaderMap) -> Vec<Arc<Served>> {
    let mut models = store.models();
    models.retain(|m| sees(options, headers.get(AUTHORIZATION), &m.name));
    models
}

/// Whether who has this key is told that there is such a model.
fn sees(options: &Options, key: Option<&HeaderValue>, model: &str) -> bool {
    options.keys.check(key.map(HeaderValue::as_bytes), Verb::Infer, model).is_ok()
}

fn get(parts: &[&str], store: &Store, options: &Options, headers: &HeaderMap) -> (&'static str, Answer) {
    let ok = |value: Value| json_of(StatusCode::OK, &value);
    match parts {
        [""] => ("/", page::page()),
        ["healthz"] => ("/healthz", respond(StatusCode::OK, "text/plain", "ok")),
        ["metrics"] => ("/metrics", respond(StatusCode::OK, "text/plain; version=0.0.4", metrics(store, options))),
        ["openapi.json"] => ("/openapi.json", ok(openapi::document(store, &seen(store, options, headers)))),
        ["v2"] => ("/v2", ok(repository::server())),
        ["v2", "health", "live"] => ("/v2/health", ok(json!({ "live": true }))),
        ["v2", "health", "ready"] => {
            let ready = store.is_ready();
            let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            ("/v2/health", json_of(status, &json!({ "live": true, "ready": ready })))
        }
        ["v2", "models"] => {
            let names: Vec<String> = seen(store, options, headers).iter().map(|m| m.name.clone()).collect();
            ("/v2/models", ok(json!({ "models": names })))
        }
        ["v2", "models", "stats"] => ("/v2/models", ok(repository::stats(&seen(store, options, headers)))),
        ["v2", "logging" | "trace" | "systemsharedmemory" | "cudasharedmemory", ..] => {
            ("other", refuse(StatusCode::NOT_IMPLEMENTED, "this extension of the protocol isn't supported"))
        }
        ["v2", "models", name, rest @ ..] => {
            let (version, rest) = match rest {
                ["versions", version, rest @ ..] => (Some(*version), rest),
                rest => (None, rest),
            };
            // Traffic is shared among those who score, not among those who ask about a model.
            let (model, alias) = store.split(name);
            let found = match version.or(alias) {
                None => store.get(model, None),
                Some(_) => store.resolve(name, version, |_| 0),
            };
            let Some(served) = found else {
                return ("/v2/models", missing(store, name, version));
            };
            let answer = match rest {
                [] => ok(repository::metadata(store, &served)),
                ["ready"] => ok(json!({ "name": served.name, "ready": true })),
                ["config"] => ok(repository::config(&served)),
                ["card"] => ok(page::card(store, &served)),
                ["drift"] => match served.drift() {
                    Ok(drift) => ok(drift.report(&served.name, served.version)),
                    Err(reason) => {
                        let text = format!("the drift of '{}' isn't told: {reason}", served.name);
                        refuse(StatusCode::NOT_FOUND, text)
                    }
                },
                ["stats"] => ok(repository::stats(&[served])),
                _ => refuse(StatusCode::NOT_FOUND, "there is nothing here"),
            };
            ("/v2/models", answer)
        }
        _ => ("other", refuse(StatusCode::NOT_FOUND, "there is nothing here; see /openapi.json")),
    }
}
