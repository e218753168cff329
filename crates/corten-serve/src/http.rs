//! Requests to answers.

use std::sync::Arc;
use std::time::Instant;

use corten_core::Error;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::infer::Scored;
use crate::repository::{Absent, Store};
use crate::{Options, admin, body, describe, infer, openapi, predict};

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

/// Why a request isn't served.
pub(crate) struct Refusal {
    status: StatusCode,
    problem: String,
}

impl Refusal {
    fn answer(&self) -> Answer {
        json_of(self.status, &json!({ "error": self.problem }))
    }

    fn absent(absent: &Absent, name: &str) -> Self {
        match absent {
            Absent::Unknown => refusal(StatusCode::NOT_FOUND, format!("there is no model '{name}' of this version")),
            Absent::NotLoaded(why) => {
                refusal(StatusCode::SERVICE_UNAVAILABLE, format!("the model '{name}' is not loaded: {why}"))
            }
        }
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let status = match error {
            Error::Limit(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Error::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Error::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::BAD_REQUEST,
        };
        refusal(status, error)
    }
}

pub(crate) fn refusal(status: StatusCode, problem: impl std::fmt::Display) -> Refusal {
    Refusal { status, problem: problem.to_string() }
}

fn refuse(status: StatusCode, problem: impl std::fmt::Display) -> Answer {
    refusal(status, problem).answer()
}

/// Answers a request and counts it.
pub(crate) async fn answer(request: Request<Incoming>, store: &Arc<Store>, options: &Options) -> Answer {
    let (route, response) = route(request, store, options).await;
    store.metrics.request(route, response.status().as_u16());
    response
}

/// What a POST asks for.
enum Post<'p> {
    Predict(&'p str),
    Infer(&'p str, Option<u64>),
    Index,
    Load(&'p str),
    Unload(&'p str),
}

impl<'p> Post<'p> {
    fn of(parts: &[&'p str]) -> Option<Self> {
        Some(match *parts {
            ["predict"] => Self::Predict(""),
            ["predict", name] => Self::Predict(name),
            ["v2", "models", name, "infer"] => Self::Infer(name, None),
            ["v2", "models", name, "versions", version, "infer"] => Self::Infer(name, Some(version.parse().ok()?)),
            ["v2", "repository", "index"] => Self::Index,
            ["v2", "repository", "models", name, "load"] => Self::Load(name),
            ["v2", "repository", "models", name, "unload"] => Self::Unload(name),
            _ => return None,
        })
    }

    fn route(&self) -> &'static str {
        match self {
            Self::Predict(_) => "/predict",
            Self::Infer(..) => "/v2/models/{model}/infer",
            Self::Index => "/v2/repository/index",
            Self::Load(_) => "/v2/repository/models/{model}/load",
            Self::Unload(_) => "/v2/repository/models/{model}/unload",
        }
    }
}

async fn route(request: Request<Incoming>, store: &Arc<Store>, options: &Options) -> (&'static str, Answer) {
    let path = request.uri().path().to_owned();
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    match Post::of(&parts) {
        Some(post) if request.method() == Method::POST => {
            let route = post.route();
            (route, self::post(request, post, store, options).await.unwrap_or_else(|refusal| refusal.answer()))
        }
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

async fn post(
    request: Request<Incoming>,
    post: Post<'_>,
    store: &Arc<Store>,
    options: &Options,
) -> Result<Answer, Refusal> {
    let (name, version) = match post {
        Post::Predict(name) => (name, None),
        Post::Infer(name, version) => (name, version),
        Post::Index | Post::Load(_) | Post::Unload(_) => return repository(request, post, store, options).await,
    };
    let served = match name {
        "" => store.first().ok_or_else(|| refusal(StatusCode::NOT_FOUND, "no model is served now"))?,
        _ => store.find(name, version).map_err(|absent| Refusal::absent(&absent, name))?,
    };
    let json_length = body::check(request.headers())?;
    let body = body::read(request.into_body(), options.max_body).await?;
    let start = Instant::now();
    let scored = match post {
        Post::Infer(..) => infer::infer(&served, &body, json_length, options.max_rows),
        _ => predict::predict(&served, &body, options.max_rows).map(|(bytes, rows)| Scored {
            bytes,
            rows,
            json_length: None,
        }),
    };
    let Scored { bytes, rows, json_length } = scored?;
    served.latency.scored(rows, start.elapsed());
    let Some(length) = json_length else { return Ok(respond(StatusCode::OK, "application/json", bytes)) };
    let mut response = respond(StatusCode::OK, "application/octet-stream", bytes);
    response.headers_mut().insert(HeaderName::from_static(body::JSON_LENGTH), HeaderValue::from(length));
    Ok(response)
}

async fn repository(
    request: Request<Incoming>,
    post: Post<'_>,
    store: &Arc<Store>,
    options: &Options,
) -> Result<Answer, Refusal> {
    body::check(request.headers())?;
    if !options.admin && !matches!(post, Post::Index) {
        return Err(refusal(StatusCode::FORBIDDEN, "loading and unloading are off; --admin switches them on"));
    }
    let body = body::read(request.into_body(), options.max_body).await?;
    let (name, load) = match post {
        Post::Load(name) => {
            admin::check_load(&body)?;
            (name.to_owned(), true)
        }
        Post::Unload(name) => (name.to_owned(), false),
        _ => {
            return Ok(json_of(StatusCode::OK, &admin::index(store, &body)?));
        }
    };
    // A large file takes long to read; the other connections of this thread must not wait for it.
    let store = Arc::clone(store);
    let change = move || {
        let done = if load { store.reload(&name) } else { store.unload(&name) };
        done.map(|()| json!({ "name": name, "load": load }))
    };
    match tokio::task::spawn_blocking(change).await {
        Ok(Ok(answer)) => Ok(json_of(StatusCode::OK, &answer)),
        Ok(Err(error)) => Err(error.into()),
        Err(fault) => Err(refusal(StatusCode::INTERNAL_SERVER_ERROR, fault)),
    }
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
            let text = store.metrics.text(&store.entries());
            ("/metrics", respond(StatusCode::OK, "text/plain; version=0.0.4", text))
        }
        ["openapi.json"] => ("/openapi.json", ok(openapi::document(store))),
        ["v2"] => {
            let extensions = ["binary_tensor_data", "model_repository"];
            let version = env!("CARGO_PKG_VERSION");
            ("/v2", ok(json!({ "name": "corten", "version": version, "extensions": extensions })))
        }
        ["v2", "health", "live"] => ("/v2/health", ok(json!({ "live": true }))),
        ["v2", "health", "ready"] => ("/v2/health", ok(json!({ "live": true, "ready": true }))),
        ["v2", "models"] => {
            let answering = store.answering();
            let names: Vec<&String> = answering.iter().map(|m| &m.name).collect();
            ("/v2/models", ok(json!({ "models": names })))
        }
        ["v2", "models", name, rest @ ..] => ("/v2/models", model(name, rest, store)),
        _ => ("other", refuse(StatusCode::NOT_FOUND, "there is nothing here; see /openapi.json")),
    }
}

fn model(name: &str, rest: &[&str], store: &Store) -> Answer {
    let nothing = || refuse(StatusCode::NOT_FOUND, "there is nothing here");
    let (version, rest) = match rest {
        ["versions", version, rest @ ..] => match version.parse() {
            Ok(version) => (Some(version), rest),
            Err(_) => return nothing(),
        },
        rest => (None, rest),
    };
    let served = match store.find(name, version) {
        Ok(served) => served,
        Err(absent) => return Refusal::absent(&absent, name).answer(),
    };
    match rest {
        [] => json_of(StatusCode::OK, &describe::model(&served, &store.entries())),
        ["ready"] => json_of(StatusCode::OK, &json!({ "name": served.name, "ready": true })),
        _ => nothing(),
    }
}
