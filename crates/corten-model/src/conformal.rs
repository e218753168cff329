//! Models that answer with intervals or sets of a given coverage: what a conformal predictor was calibrated to.

use alloc::vec::Vec;

use corten_core::{Error, Result};

use crate::compose::{Member, select};
use crate::graph::{Builder, Method, Output, Slot};
use crate::model::Model;
use crate::ops::{Linear, PredictionSet};
use crate::schema::Schema;

/// How a conformal model answers.
#[derive(Clone, Debug, PartialEq)]
pub enum Conformal {
    /// The interval of this half width around the first member's prediction.
    Around(f64),
    /// From the second member's prediction to the third one's, widened by this much on both sides; the first one's is
    /// the prediction.
    Between(f64),
    /// A set of classes by the first member's probabilities.
    Set(PredictionSet),
}

fn column(outputs: &[Output], member: usize) -> Result<Slot> {
    let found = outputs.iter().find(|o| o.method == Method::Predict && o.labels.is_none());
    match found.map(|o| &o.columns[..]) {
        Some(&[one]) => Ok(one),
        _ => Err(Error::value(alloc::format!("member {member} of a conformal model must predict one number"))),
    }
}

/// A model with the first member's answers, and an interval or a set beside them.
///
/// # Errors
/// [`Error::Value`] for another number of members than the rule needs, members without the method that it needs,
/// numbers that aren't finite, or a position outside the schema.
pub fn conformal(schema: &Schema, members: &[Member<'_>], rule: &Conformal) -> Result<Model> {
    let wanted = if matches!(rule, Conformal::Between(_)) { 3 } else { 1 };
    let width = match rule {
        Conformal::Around(width) | Conformal::Between(width) => *width,
        Conformal::Set(set) => set.threshold,
    };
    if members.len() != wanted || !width.is_finite() {
        return Err(Error::value(alloc::format!("a conformal model needs {wanted} members and a finite number")));
    }
    let mut builder = Builder::new(schema.clone());
    let inputs = builder.inputs();
    let mut answers = Vec::with_capacity(members.len());
    for member in members {
        let chosen = select(schema, &inputs, &member.columns)?;
        answers.push(builder.inline(member.model.graph(), &chosen)?);
    }
    let interval = |builder: &mut Builder, low: Slot, high: Slot| {
        let mut end = |slot: Slot, shift: f64| {
            builder.add(Linear { outputs: 1, weights: Vec::from([1.0]), intercept: Vec::from([shift]) }, &[slot])
        };
        let columns = Vec::from([end(low, -width)?[0], end(high, width)?[0]]);
        let names = Vec::from(["lower".into(), "upper".into()]);
        Ok::<_, Error>(Output::new(Method::PredictInterval, columns, names))
    };
    let added = match rule {
        Conformal::Around(_) => {
            let middle = column(&answers[0], 0)?;
            interval(&mut builder, middle, middle)?
        }
        Conformal::Between(_) => {
            column(&answers[0], 0)?;
            let (low, high) = (column(&answers[1], 1)?, column(&answers[2], 2)?);
            interval(&mut builder, low, high)?
        }
        Conformal::Set(set) => {
            let found = answers[0].iter().find(|o| o.method == Method::PredictProba);
            let found =
                found.ok_or_else(|| Error::value("a prediction set needs a classifier with 'predict_proba'"))?;
            let columns = builder.add(set.clone(), &found.columns)?;
            Output { method: Method::PredictSet, columns, ..found.clone() }
        }
    };
    let mut outputs = answers.swap_remove(0);
    outputs.push(added);
    builder.finish(outputs)
}
