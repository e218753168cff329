//! Answers, and the identity that a request keeps from its head to the log.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use corten_core::Error;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};

pub(crate) type Answer = Response<Bytes>;

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

pub(crate) fn respond(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut response = Response::new(body.into());
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
    let given = headers.get(REQUEST_ID).filter(|v| is_id(v.as_bytes()));
    given.cloned().unwrap_or_else(|| {
        let mut id = Vec::new();
        new_id(&mut id);
        HeaderValue::try_from(id).unwrap_or_else(|_| HeaderValue::from_static("-"))
    })
}

/// Whether a client's id is kept.
pub(crate) fn is_id(given: &[u8]) -> bool {
    !given.is_empty() && given.len() <= 128
}

/// Writes an id that no other request of this process has: `PROCESS-NUMBER` in hexadecimal.
pub(crate) fn new_id(out: &mut Vec<u8>) {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    static PROCESS: LazyLock<String> = LazyLock::new(|| format!("{:08x}-", std::process::id()));
    out.extend_from_slice(PROCESS.as_bytes());
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let digits = (16 - number.leading_zeros() / 4).max(1);
    for place in (0..digits).rev() {
        out.push(b"0123456789abcdef"[(number >> (4 * place) & 15) as usize]);
    }
}
