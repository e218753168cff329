//! Any bytes are refused as a model, or give one that scores rows within limits.
#![no_main]

use corten_model::Model;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(model) = Model::from_bytes(bytes) {
        let mut session = model.session();
        let texts = vec![None; model.schema().counts().1];
        for method in model.methods() {
            let _ = model.run_row(method, &mut session, &texts);
        }
        let again = model.to_bytes().expect("a model that was read can be written");
        Model::from_bytes(&again).expect("a model that was written can be read");
    }
});
