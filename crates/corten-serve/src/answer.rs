//! Answers, and the identity that a request keeps from its head to the log.

use std::sync::atomic::{AtomicU64, Ordering};

use corten_core::Error;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

pub(crate) type Answer = Response<Full<Bytes>>;

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

pub(crate) fn respond(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

pub(crate) fn json_of(status: StatusCode, value: &Value) -> Answer {
    respond(status, "application/json", serde_json::to_vec(value).unwrap_or_default())
}

pub(crate) fn refuse(status: StatusCode, problem: impl std::fmt::Display) -> Answer {
    json_of(status, &json!({ "error": problem.to_string() }))
}

/// A refusal that is over soon.
pub(crate) fn later(problem: impl std::fmt::Display) -> Answer {
    let mut response = refuse(StatusCode::SERVICE_UNAVAILABLE, problem);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

pub(crate) fn status_of(error: &Error) -> StatusCode {
    match error {
        Error::Limit(_) => StatusCode::PAYLOAD_TOO_LARGE,
        Error::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
        Error::Cancelled => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// The id that the client gave the request, or a new one.
pub(crate) fn id_of(headers: &HeaderMap) -> HeaderValue {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let given = headers.get(REQUEST_ID).filter(|v| !v.is_empty() && v.len() <= 128);
    given.cloned().unwrap_or_else(|| {
        let id = format!("{:08x}-{:x}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        HeaderValue::try_from(id).unwrap_or_else(|_| HeaderValue::from_static("-"))
    })
}
