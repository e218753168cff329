//! Rows of text: CSV and lines of JSON, by one set of rules for every reader of them.
//!
//! A record of CSV is cut into fields where it lies ([`Records`]), JSON is read token by token ([`Scanner`]), and [`Inputs`]
//! says which fields and members are the columns of a model and what they may hold.

mod csv;
pub mod decimal;
mod inputs;
mod json;

pub use csv::{Found, Records};
pub use inputs::{Cells, Inputs, boolean, number};
pub use json::Scanner;

/// Longest line of JSON and record of CSV.
pub const MAX_RECORD: usize = 16 << 20;

/// The mark with which some programs begin text in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Whether an input that has begun so may yet turn out to have a byte order mark.
pub fn may_be_mark(bytes: &[u8]) -> bool {
    bytes.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(bytes)
}

/// The beginning of an input without its byte order mark.
pub fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes)
}

/// Whether a line of JSON is passed over.
pub fn is_blank(line: &[u8]) -> bool {
    line.iter().all(u8::is_ascii_whitespace)
}
