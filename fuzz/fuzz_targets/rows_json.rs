//! Any bytes are refused as rows of JSON, or are read as serde_json reads them and give rows that a model answers.
#![no_main]

use std::sync::LazyLock;

use corten_core::Kind;
use corten_model::Model;
use corten_model::rows::{AnswerWriter, RowReader, Scanner};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

static MODEL: LazyLock<Model> = LazyLock::new(|| {
    Model::from_bytes(include_bytes!("../../fixtures/models/1/logistic_two.corten")).expect("a golden file")
});

/// Checks what was read of an object against serde_json, to the last bit.
fn check(line: &[u8], numbers: &[f64], texts: &[Option<&[u8]>]) {
    let Ok(Value::Object(members)) = serde_json::from_slice(line) else { return };
    let (mut numbers, mut texts) = (numbers.iter(), texts.iter());
    for input in &MODEL.schema().inputs {
        let value = &members[&input.name];
        let same = match input.kind {
            Kind::Number => {
                let read = numbers.next().expect("a number");
                match value {
                    Value::Null => read.is_nan(),
                    Value::Bool(b) => *read == f64::from(u8::from(*b)),
                    value => value.as_f64().map(f64::to_bits) == Some(read.to_bits()),
                }
            }
            Kind::Text => *texts.next().expect("a text") == value.as_str().map(str::as_bytes),
        };
        assert!(same, "{}: {value}", input.name);
    }
}

fuzz_target!(|bytes: &[u8]| {
    let (mut rows, mut session, mut out) = (RowReader::new(&MODEL), MODEL.session(), Vec::new());
    let mut writer = AnswerWriter::new(&MODEL);
    for line in bytes.split(|&b| b == b'\n') {
        let mut scanner = Scanner::new(line);
        if rows.read(&mut scanner, &mut session).is_ok() {
            let texts = rows.texts();
            if scanner.end().is_ok() {
                check(line, session.numbers_mut(), &texts);
            }
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
