//! Any bytes are refused as rows of CSV, or give rows that a model answers; the reader always comes to an end.
#![no_main]

use std::sync::LazyLock;

use corten_core::Error;
use corten_model::Model;
use corten_model::rows::{AnswerWriter, CsvReader, RowReader};
use libfuzzer_sys::fuzz_target;

static MODEL: LazyLock<Model> = LazyLock::new(|| {
    Model::from_bytes(include_bytes!("../../fixtures/models/1/logistic_two.corten")).expect("a golden file")
});

fuzz_target!(|bytes: &[u8]| {
    let Ok(mut csv) = CsvReader::new(&MODEL, bytes) else { return };
    let (mut rows, mut session, mut out) = (RowReader::new(&MODEL), MODEL.session(), Vec::new());
    let mut writer = AnswerWriter::new(&MODEL);
    let mut calls = 0;
    loop {
        calls += 1;
        assert!(calls <= bytes.len() + 2, "more rows than bytes");
        match csv.read(&mut rows, &mut session) {
            Ok(true) => {
                let texts = rows.texts();
                let _ = writer.answer(&MODEL, &mut session, &texts, &mut out);
            }
            Ok(false) | Err(Error::Io { .. } | Error::Limit(_)) => break,
            Err(_) => {}
        }
    }
});
