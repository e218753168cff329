//! Any bytes are no file of routes, or lead only to versions that have a share and are loaded.
#![no_main]

use corten_serve::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    fuzzing::routes(bytes);
});
