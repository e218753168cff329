//! Requests to answers.

use std::time::{Duration, Instant};

use corten_core::Error;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::served::Store;
use crate::{Options, infer, openapi, predict};

/// Longest wait for a whole body.
const BODY_TIME: Duration = Duration::from_secs(30);

pub(crate) type Answer = Response<Full<Bytes>>;

fn respond(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn json_of(status: StatusCode, value: &Value) -> Answer {
    respond(status, "application/json", serde_json::to_vec(value).unwrap_or_default())
}

fn refuse(status: StatusCode, problem: impl std::fmt::Display) -> Answer {
    json_of(status, &json!({ "error": problem.to_string() }))
}

fn status_of(error: &Error) -> StatusCode {
    match error {
        Error::Limit(_) => StatusCode::PAYLOAD_TOO_LARGE,
        Error::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        Error::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// Answers a request and counts it.
pub(crate) async fn answer(request: Request<Incoming>, store: &Store, options: &Options) -> Answer {
    let (route, response) = route(request, store, options).await;
    store.metrics.request(route, response.status().as_u16());
    response
}

/// What a POST asks for.
enum Post<'p> {
    Predict(&'p str),
    Infer(&'p str),
}

async fn route(request: Request<Incoming>, store: &Store, options: &Options) -> (&'static str, Answer) {
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let post = match parts.as_slice() {
        ["predict"] => Some(Post::Predict("")),
        ["predict", name] => Some(Post::Predict(name)),
        ["v2", "models", name, "infer"] | ["v2", "models", name, "versions", "1", "infer"] => Some(Post::Infer(name)),
        _ => None,
    };
    match post {
        Some(post) if request.method() == Method::POST => self::post(request, post, store, options).await,
        None if request.method() == Method::GET || request.method() == Method::HEAD => get(&parts, store),
        None if get(&parts, store).1.status() == StatusCode::NOT_FOUND => {
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

async fn post(request: Request<Incoming>, post: Post<'_>, store: &Store, options: &Options) -> (&'static str, Answer) {
    let (route, name) = match post {
        Post::Predict(name) => ("/predict", name),
        Post::Infer(name) => ("/v2/models/{model}/infer", name),
    };
    let found = if name.is_empty() { store.models.first().map(|m| (0, m)) } else { store.find(name) };
    let Some((index, served)) = found else {
        return (route, refuse(StatusCode::NOT_FOUND, format!("there is no model '{name}'")));
    };
    let kind = request.headers().get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("application/json");
    if !kind.split(';').next().is_some_and(|k| k.trim().eq_ignore_ascii_case("application/json")) {
        let text = format!("a body of type application/json is needed, but {kind} came");
        return (route, refuse(StatusCode::UNSUPPORTED_MEDIA_TYPE, text));
    }
    let limit = options.max_body;
    let too_large = || refuse(StatusCode::PAYLOAD_TOO_LARGE, format!("a body of more than {limit} bytes"));
    // A length that is too great is refused before its bytes come.
    if request.body().size_hint().lower() > limit as u64 {
        return (route, too_large());
    }
    let read = tokio::time::timeout(BODY_TIME, Limited::new(request.into_body(), limit).collect()).await;
    let body = match read {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            return (route, too_large());
        }
        Ok(Err(error)) => return (route, refuse(StatusCode::BAD_REQUEST, format!("the body broke off: {error}"))),
        Err(_) => return (route, refuse(StatusCode::REQUEST_TIMEOUT, "the body took more than 30 s")),
    };
    let start = Instant::now();
    let scored = match post {
        Post::Predict(_) => predict::predict(served, &body, options.max_rows),
        Post::Infer(_) => infer::infer(served, &body, options.max_rows),
    };
    let response = match scored {
        Ok((bytes, rows)) => {
            store.metrics.scored(index, rows, start.elapsed());
            respond(StatusCode::OK, "application/json", bytes)
        }
        Err(error) => refuse(status_of(&error), error),
    };
    (route, response)
}

/// An answer to a connection beyond the limit.
pub(crate) fn busy() -> Answer {
    let mut response = refuse(StatusCode::SERVICE_UNAVAILABLE, "too many connections");
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

fn get(parts: &[&str], store: &Store) -> (&'static str, Answer) {
    let ok = |value: Value| json_of(StatusCode::OK, &value);
    match parts {
        [""] => ("/", respond(StatusCode::OK, "text/html; charset=utf-8", openapi::page(store))),
        ["healthz"] => ("/healthz", respond(StatusCode::OK, "text/plain", "ok")),
        ["metrics"] => {
            let text = store.metrics.text(&store.models);
            ("/metrics", respond(StatusCode::OK, "text/plain; version=0.0.4", text))
        }
        ["openapi.json"] => ("/openapi.json", ok(openapi::document(store))),
        ["v2"] => ("/v2", ok(json!({ "name": "corten", "version": env!("CARGO_PKG_VERSION"), "extensions": [] }))),
        ["v2", "health", "live"] => ("/v2/health", ok(json!({ "live": true }))),
        ["v2", "health", "ready"] => ("/v2/health", ok(json!({ "live": true, "ready": true }))),
        ["v2", "models"] => {
            let names: Vec<&String> = store.models.iter().map(|m| &m.name).collect();
            ("/v2/models", ok(json!({ "models": names })))
        }
        ["v2", "models", name, rest @ ..] => {
            let Some((_, served)) = store.find(name) else {
                return ("/v2/models", refuse(StatusCode::NOT_FOUND, format!("there is no model '{name}'")));
            };
            let answer = match rest {
                [] | ["versions", "1"] => ok(json!({
                    "name": served.name,
                    "versions": ["1"],
                    "platform": "corten",
                    "inputs": infer::inputs(&served.model),
                    "outputs": infer::outputs(&served.model),
                })),
                ["ready"] | ["versions", "1", "ready"] => ok(json!({ "name": served.name, "ready": true })),
                _ => refuse(StatusCode::NOT_FOUND, "there is nothing here"),
            };
            ("/v2/models", answer)
        }
        _ => ("other", refuse(StatusCode::NOT_FOUND, "there is nothing here; see /openapi.json")),
    }
}
