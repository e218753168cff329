//! The body of a request, within its limits.

use std::time::Duration;

use http_body_util::{BodyExt, LengthLimitError, Limited};
use hyper::StatusCode;
use hyper::body::{Body, Bytes, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap};

use crate::http::{Refusal, refusal};

/// Longest wait for a whole body.
const BODY_TIME: Duration = Duration::from_secs(30);

/// How many bytes of a body are JSON; binary tensors follow.
pub(crate) const JSON_LENGTH: &str = "inference-header-content-length";

/// Checks what the head says of the body. Returns the length of the JSON part where binary tensors follow.
pub(crate) fn check(headers: &HeaderMap) -> Result<Option<usize>, Refusal> {
    let unsupported = |problem: String| Err(refusal(StatusCode::UNSUPPORTED_MEDIA_TYPE, problem));
    let length = match headers.get(JSON_LENGTH) {
        None => None,
        Some(value) => match value.to_str().ok().and_then(|v| v.parse().ok()) {
            None => {
                let problem = format!("Inference-Header-Content-Length must be a number of bytes; {value:?} came");
                return Err(refusal(StatusCode::BAD_REQUEST, problem));
            }
            length => length,
        },
    };
    if let Some(encoding) = headers.get(CONTENT_ENCODING).filter(|e| *e != "identity") {
        return unsupported(format!("a body without Content-Encoding is needed; {encoding:?} came"));
    }
    let kind = headers.get(CONTENT_TYPE).map_or("application/json", |v| v.to_str().unwrap_or("no text"));
    let base = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match base.as_str() {
        "application/json" => Ok(length),
        "application/octet-stream" if length.is_some() => Ok(length),
        _ => unsupported(format!("a body of type application/json is needed, but {kind} came")),
    }
}

/// Reads a body.
pub(crate) async fn read(body: Incoming, limit: usize) -> Result<Bytes, Refusal> {
    let too_large = || Err(refusal(StatusCode::PAYLOAD_TOO_LARGE, format!("a body of more than {limit} bytes")));
    // A length that is too great is refused before its bytes come.
    if body.size_hint().lower() > limit as u64 {
        return too_large();
    }
    match tokio::time::timeout(BODY_TIME, Limited::new(body, limit).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => too_large(),
        Ok(Err(error)) => Err(refusal(StatusCode::BAD_REQUEST, format!("the body broke off: {error}"))),
        Err(_) => Err(refusal(StatusCode::REQUEST_TIMEOUT, "the body took more than 30 s")),
    }
}
