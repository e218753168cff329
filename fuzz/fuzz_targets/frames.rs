//! Any bytes on the daemon's socket are refused, or answered by whole frames, however they are cut.
#![no_main]

use std::sync::{LazyLock, RwLock};

use corten::frames::{Connection, HEAD};
use corten_model::Model;
use libfuzzer_sys::fuzz_target;

fn golden(bytes: &[u8]) -> RwLock<Model> {
    RwLock::new(Model::from_bytes(bytes).expect("a golden file"))
}

static MODELS: LazyLock<[RwLock<Model>; 2]> = LazyLock::new(|| {
    [
        golden(include_bytes!("../../fixtures/models/1/logistic_two.corten")),
        golden(include_bytes!("../../fixtures/models/1/text_imputer.corten")),
    ]
});

/// What a connection answers to bytes that come in two parts, and whether it ends.
fn converse(model: &RwLock<Model>, bytes: &[u8], cut: usize) -> (Vec<u8>, bool) {
    let mut connection = Connection::new(&model.read().expect("a model"));
    let (mut kept, mut out) = (Vec::new(), Vec::new());
    for part in [&bytes[..cut], &bytes[cut..]] {
        kept.extend_from_slice(part);
        loop {
            match connection.take(model, &kept, &mut out) {
                Ok(0) => break,
                Ok(done) => drop(kept.drain(..done)),
                Err(_) => return (out, true),
            }
        }
    }
    (out, false)
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&choice, bytes)) = bytes.split_first() else { return };
    let model = &MODELS[usize::from(choice & 1)];
    let cut = usize::from(choice >> 1) * bytes.len() / 127;
    let (out, ended) = converse(model, bytes, bytes.len());
    assert_eq!(converse(model, bytes, cut), (out.clone(), ended), "the same answers however the bytes are cut");
    let mut rest = &out[..];
    while !rest.is_empty() {
        let size = u32::from_le_bytes(rest[..4].try_into().expect("four bytes")) as usize;
        assert!(size >= HEAD - 4 && rest[4] <= 8, "an answer has a head and a status");
        if rest[4] != 0 {
            assert!(std::str::from_utf8(&rest[HEAD..4 + size]).is_ok_and(|said| !said.is_empty()));
        }
        rest = &rest[4 + size..];
    }
});
