//! Answers in JSON.

use corten_core::Result;

use crate::graph::{Method, Slot};
use crate::model::Model;
use crate::schema::Labels;
use crate::session::Session;

/// Writes answers of one model; names are put into JSON once.
#[derive(Clone, Debug)]
pub struct AnswerWriter {
    predict: Option<Vec<Vec<u8>>>,
    classes: Option<Vec<Vec<u8>>>,
    transform: Option<Vec<Vec<u8>>>,
    interval: bool,
    set: Option<Vec<Vec<u8>>>,
    texts: Vec<Option<Vec<u8>>>,
    score: f64,
}

/// A text in JSON.
pub fn quote(text: &str) -> Vec<u8> {
    serde_json::to_vec(text).unwrap_or_default()
}

/// A number in its shortest exact form; `null` where JSON has none.
fn number(x: f64, out: &mut Vec<u8>) {
    if x.is_finite() {
        out.extend_from_slice(ryu::Buffer::new().format_finite(x).as_bytes());
    } else {
        out.extend_from_slice(b"null");
    }
}

fn labels(labels: &Labels) -> Vec<Vec<u8>> {
    (0..labels.len())
        .map(|i| match labels {
            Labels::Text(_) => quote(&labels.name(i)),
            _ => labels.name(i).into_bytes(),
        })
        .collect()
}

impl AnswerWriter {
    /// A writer for this model.
    pub fn new(model: &Model) -> Self {
        let names = |o: &crate::Output| o.names.iter().map(|n| quote(n)).collect::<Vec<_>>();
        Self {
            predict: model.output(Method::Predict).map(|o| o.labels.as_ref().map(labels).unwrap_or_default()),
            classes: model.output(Method::PredictProba).map(names),
            transform: model.output(Method::Transform).map(names),
            interval: model.output(Method::PredictInterval).is_some(),
            set: model.output(Method::PredictSet).and_then(|o| o.labels.as_ref()).map(labels),
            texts: Vec::new(),
            score: f64::NAN,
        }
    }

    /// Runs a row whose numbers are in the session and appends its answer:
    /// `{"prediction": ..., "probability": {class: p}}`, or `{"transform": {name: value}}` for a transformer. A conformal
    /// model also has `"interval": [lower, upper]` or `"set": [class, ...]`.
    ///
    /// # Errors
    /// What [`Model::run_row`] gives; nothing is appended then.
    pub fn answer(
        &mut self,
        model: &Model,
        session: &mut Session,
        texts: &[Option<&[u8]>],
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let start = out.len();
        let written = self.write(model, session, texts, out);
        if written.is_err() {
            out.truncate(start);
        }
        written
    }

    /// The score of the last row, as [`crate::sketch::score_of`] chooses it; NaN for models without one.
    pub fn score(&self) -> f64 {
        self.score
    }

    fn write(
        &mut self,
        model: &Model,
        session: &mut Session,
        texts: &[Option<&[u8]>],
        out: &mut Vec<u8>,
    ) -> Result<()> {
        out.push(b'{');
        if let Some(labels) = &self.predict {
            let numbers = model.run_row(Method::Predict, session, texts)?;
            self.score = numbers.first().copied().unwrap_or(f64::NAN);
            out.extend_from_slice(b"\"prediction\":");
            match numbers {
                [x] => match labels.get(*x as usize) {
                    Some(label) => out.extend_from_slice(label),
                    None => number(*x, out),
                },
                many => {
                    for (i, &x) in many.iter().enumerate() {
                        out.push(if i == 0 { b'[' } else { b',' });
                        number(x, out);
                    }
                    out.push(b']');
                }
            }
        } else if let (Some(names), Some(output)) = (&self.transform, model.output(Method::Transform)) {
            self.texts.clear();
            let kept = &mut self.texts;
            let numbers = model.run_row_with(Method::Transform, session, texts, |t| {
                kept.push(t.map(|bytes| quote(&String::from_utf8_lossy(bytes))));
            })?;
            out.extend_from_slice(b"\"transform\":");
            let (mut numbers, mut kept) = (numbers.iter(), self.texts.iter());
            for (i, (name, slot)) in names.iter().zip(&output.columns).enumerate() {
                out.push(if i == 0 { b'{' } else { b',' });
                out.extend_from_slice(name);
                out.push(b':');
                match slot {
                    Slot::Number(_) => number(numbers.next().copied().unwrap_or(f64::NAN), out),
                    Slot::Text(_) => match kept.next() {
                        Some(Some(text)) => out.extend_from_slice(text),
                        _ => out.extend_from_slice(b"null"),
                    },
                }
            }
            out.extend_from_slice(if names.is_empty() { b"{}" } else { b"}" });
        }
        if let Some(classes) = &self.classes {
            let numbers = model.run_row(Method::PredictProba, session, texts)?;
            self.score = numbers.last().copied().unwrap_or(f64::NAN);
            if self.predict.is_some() || self.transform.is_some() {
                out.push(b',');
            }
            out.extend_from_slice(b"\"probability\":");
            for (i, (class, &p)) in classes.iter().zip(numbers).enumerate() {
                out.push(if i == 0 { b'{' } else { b',' });
                out.extend_from_slice(class);
                out.push(b':');
                number(p, out);
            }
            out.push(b'}');
        }
        if self.interval {
            out.extend_from_slice(b",\"interval\":[");
            for (i, &x) in model.run_row(Method::PredictInterval, session, texts)?.iter().enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                number(x, out);
            }
            out.push(b']');
        }
        if let Some(labels) = &self.set {
            out.extend_from_slice(b",\"set\":[");
            let inside = model.run_row(Method::PredictSet, session, texts)?;
            for (i, (label, _)) in labels.iter().zip(inside).filter(|(_, x)| **x != 0.0).enumerate() {
                if i > 0 {
                    out.push(b',');
                }
                out.extend_from_slice(label);
            }
            out.push(b']');
        }
        out.push(b'}');
        Ok(())
    }
}
