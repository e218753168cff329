//! How a call ended.

use crate::http2::field;
use crate::infer::Fault;
use corten_core::Error;

/// gRPC's codes that this server gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    NotFound = 5,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    FailedPrecondition = 9,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    Unauthenticated = 16,
}

/// A call that failed: the code, and a sentence for a person.
#[derive(Debug)]
pub(crate) struct Status {
    pub(crate) code: Code,
    pub(crate) message: String,
}

impl Status {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(Code::InvalidArgument, message)
    }

    pub(crate) fn late() -> Self {
        Self::new(Code::DeadlineExceeded, "the request's deadline has passed")
    }
}

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let code = match error {
            Error::Limit(_) => Code::ResourceExhausted,
            Error::Internal(_) => Code::Internal,
            Error::Cancelled => Code::Unavailable,
            _ => Code::InvalidArgument,
        };
        Self::new(code, error.to_string())
    }
}

impl From<Fault> for Status {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Error(error) => error.into(),
            Fault::Absent(error) => Self::new(Code::Unimplemented, error.to_string()),
            Fault::Late => Self::late(),
        }
    }
}

/// Writes the header fields that end a call.
pub(crate) fn ended(status: Option<&Status>, out: &mut Vec<u8>) {
    let code = status.map_or(0, |status| status.code as u16);
    field(b"grpc-status", code.to_string().as_bytes(), out);
    if let Some(status) = status {
        field(b"grpc-message", escape(&status.message).as_bytes(), out);
    }
}

/// The header fields that end a call.
pub(crate) fn trailers(status: Option<&Status>) -> Vec<u8> {
    let mut out = Vec::new();
    ended(status, &mut out);
    out
}

/// Most bytes of a message: header blocks are limited in size by clients too.
const MAX_MESSAGE: usize = 4096;

/// A text as the field has it: all but printable ASCII behind percent signs.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for &byte in text.as_bytes() {
        if out.len() >= MAX_MESSAGE {
            break;
        }
        if (b' '..=b'~').contains(&byte) && byte != b'%' {
            out.push(byte.into());
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_one_line_of_ascii() {
        assert_eq!(escape("100 % of 'Tromsø'\n"), "100 %25 of 'Troms%C3%B8'%0A");
        assert!(escape(&"ø".repeat(MAX_MESSAGE)).len() < MAX_MESSAGE + 6);
        let ended = trailers(Some(&Status::invalid("no\rway")));
        assert_eq!(ended, b"\0\x0bgrpc-status\x013\0\x0cgrpc-message\x08no%0Dway");
        assert_eq!(trailers(None), b"\0\x0bgrpc-status\x010");
    }
}
