//! Any bytes are refused as a request of HTTP/1.1, or are read alike in one piece and in two: head, length, chunks.
#![no_main]

use corten_serve::fuzzing;
use libfuzzer_sys::fuzz_target;

// Two bytes first: where the rest is cut.
fuzz_target!(|bytes: &[u8]| {
    let [high, low, request @ ..] = bytes else { return };
    fuzzing::request(request, usize::from(u16::from_be_bytes([*high, *low])));
});
