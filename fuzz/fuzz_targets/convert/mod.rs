//! What the targets of other libraries' models have in common.

use corten_model::{Labels, Method, Model};
use corten_trees::convert::{Wrapping, convert, to_lightgbm};

/// Any bytes are refused, or give a model that answers, is saved and loaded, and is written as text that is read again.
pub fn check(bytes: &[u8]) {
    for classes in [0i64, 2, 3] {
        let labels = (classes > 0).then(|| Labels::Int((0..classes).collect()));
        let Ok(model) = convert(bytes, &Wrapping { labels, ..Wrapping::default() }) else { continue };
        answers(&model);
        let loaded = Model::from_bytes(&model.to_bytes().expect("it was built")).expect("it was just written");
        answers(&loaded);
        if let Ok(text) = to_lightgbm(&model) {
            answers(&convert(text.as_bytes(), &Wrapping::default()).expect("what is written can be read"));
        }
    }
}

fn answers(model: &Model) {
    let (numbers, texts) = model.schema().counts();
    let texts = vec![Some(&b"a"[..]); texts];
    for method in model.methods() {
        for cell in [f64::NAN, 0.0, -1.0, 3.0, f64::INFINITY, 1e-36] {
            let mut session = model.session();
            session.numbers_mut()[..numbers].fill(cell);
            let answer = model.run_row(method, &mut session, &texts).expect("numbers are answered");
            assert!(method != Method::Predict || !answer.is_empty());
        }
    }
}
