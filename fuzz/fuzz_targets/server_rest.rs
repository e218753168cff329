//! Any bytes are refused as the body of a REST request, or are answered with JSON: tensors, rows, and rows to explain.
#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use corten_serve::{Store, fuzzing};
use libfuzzer_sys::fuzz_target;

const MODELS: [&str; 3] = ["logistic_two", "linear_regression", "boosting_two"];

static STORE: LazyLock<Store> = LazyLock::new(|| {
    let path = |m: &&str| format!("{}/../fixtures/models/1/{m}.corten", env!("CARGO_MANIFEST_DIR"));
    Store::load(&MODELS.iter().map(path).collect::<Vec<_>>(), None, Duration::from_secs(60)).expect("golden files")
});

// Two bytes first: the model, and how much of the body is JSON.
fuzz_target!(|bytes: &[u8]| {
    let [choice, head, body @ ..] = bytes else { return };
    let head = (*head > 0).then(|| usize::from(*head) * 2 - 2);
    fuzzing::body(&STORE, MODELS[usize::from(*choice) % MODELS.len()], body, head);
});
