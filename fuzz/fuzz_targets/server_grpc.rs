//! Any bytes are refused as a message of gRPC's `ModelInfer`, or are answered with tensors of their rows.
#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use corten_serve::{Store, fuzzing};
use libfuzzer_sys::fuzz_target;

static STORE: LazyLock<Store> = LazyLock::new(|| {
    let path = |m: &&str| format!("{}/../fixtures/models/1/{m}.corten", env!("CARGO_MANIFEST_DIR"));
    let models: Vec<String> = ["logistic_two", "linear_regression", "tree_of_classes"].iter().map(path).collect();
    Store::load(&models, None, Duration::from_secs(60)).expect("golden files")
});

fuzz_target!(|bytes: &[u8]| {
    fuzzing::message(&STORE, bytes);
});
