//! Any bytes are refused as XGBoost's JSON and UBJSON, or give a model that answers.
#![no_main]

mod convert;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| convert::check(bytes));
