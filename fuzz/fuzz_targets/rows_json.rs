//! Any bytes are refused as rows of JSON, or give rows that a model answers.
#![no_main]

use std::sync::LazyLock;

use corten_model::Model;
use corten_model::rows::{AnswerWriter, RowReader, Scanner};
use libfuzzer_sys::fuzz_target;

static MODEL: LazyLock<Model> = LazyLock::new(|| {
    Model::from_bytes(include_bytes!("../../fixtures/models/1/logistic_two.corten")).expect("a golden file")
});

fuzz_target!(|bytes: &[u8]| {
    let (mut rows, mut session, mut out) = (RowReader::new(&MODEL), MODEL.session(), Vec::new());
    let mut writer = AnswerWriter::new(&MODEL);
    for line in bytes.split(|&b| b == b'\n') {
        let mut scanner = Scanner::new(line);
        if rows.read(&mut scanner, &mut session).is_ok() {
            let texts = rows.texts();
            let from = out.len();
            if writer.answer(&MODEL, &mut session, &texts, &mut out).is_ok() {
                let mut answer = Scanner::new(&out[from..]);
                answer.skip().and_then(|()| answer.end()).expect("an answer is one JSON value");
            }
        }
        // A scanner that refused something may be asked again.
        let _ = scanner.skip();
        let _ = scanner.number();
        let _ = scanner.end();
    }
});
