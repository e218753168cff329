//! Any bytes behind the preface of HTTP/2 are answered with frames, and a connection ends.
#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use corten_serve::{Store, fuzzing};
use libfuzzer_sys::fuzz_target;

static FED: LazyLock<fuzzing::Fed> = LazyLock::new(|| {
    let model = format!("{}/../fixtures/models/1/linear_regression.corten", env!("CARGO_MANIFEST_DIR"));
    fuzzing::Fed::new(Store::load(&[model], None, Duration::from_secs(60)).expect("a golden file"))
});

// Two bytes first: where the rest is cut.
fuzz_target!(|bytes: &[u8]| {
    let [high, low, frames @ ..] = bytes else { return };
    let _ = FED.http2(frames, usize::from(u16::from_be_bytes([*high, *low])));
});
