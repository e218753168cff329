//! Any bytes are no event of AWS Lambda, or become a request, and an answer comes back out of its event.
#![no_main]

use corten_serve::fuzzing;
use libfuzzer_sys::fuzz_target;

// Two bytes first: how much of the rest are the deadline and the trace.
fuzz_target!(|bytes: &[u8]| {
    let [deadline, trace, rest @ ..] = bytes else { return };
    let (deadline, rest) = rest.split_at(rest.len().min(usize::from(*deadline)));
    let (trace, event) = rest.split_at(rest.len().min(usize::from(*trace)));
    fuzzing::event(event, deadline, trace);
});
