//! Another model's answers as the scores that stages start from.

use corten_core::{Data, Error, Result};
use corten_model::estimator::Context;
use corten_model::ops::{Linear, Link};
use corten_model::{Builder, Method, Model, Output, Run, Slot};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::loss::Loss;

/// A model whose `transform` gives predictions, or probabilities of classes (of the second one where there are two).
#[derive(Clone, Debug)]
pub(crate) struct Start(Model);

impl Start {
    /// # Errors
    /// [`Error::Value`] for a model of other answers than the loss needs.
    pub(crate) fn new(model: Model, loss: &Loss) -> Result<Self> {
        let width = model.output(Method::Transform).map_or(0, |o| o.columns.len());
        if width != loss.outputs() {
            return Err(Error::value(format!(
                "the model to start from gives {width} columns where {} are needed",
                loss.outputs()
            )));
        }
        Ok(Self(model))
    }

    /// # Errors
    /// [`Error::Format`] for a model of another table or of other answers.
    pub(crate) fn check(&self, loss: &Loss, width: usize) -> Result<()> {
        let answers = self.0.output(Method::Transform).map_or(0, |o| o.columns.len());
        if self.0.schema().inputs.len() != width || answers != loss.outputs() {
            return Err(Error::Format(
                "this is no fitted state of gradient boosting: it starts from another model".into(),
            ));
        }
        Ok(())
    }

    /// The scores in a graph, an output each.
    pub(crate) fn scores(&self, builder: &mut Builder, inputs: &[Slot], loss: &Loss) -> Result<Vec<Slot>> {
        let outputs = builder.inline(self.0.graph(), inputs)?;
        let given = outputs.into_iter().find(|o| o.method == Method::Transform).map_or(Vec::new(), |o| o.columns);
        let Some((kind, factor)) = loss.of_probabilities() else { return Ok(given) };
        let scores = builder.add(Link { kind }, &given)?;
        if factor == 1.0 {
            return Ok(scores);
        }
        builder.add(Linear { outputs: 1, weights: vec![factor], intercept: vec![0.0] }, &scores)
    }

    /// The scores of rows, an output's after the other's.
    pub(crate) fn of_rows(&self, data: &Data<'_>, loss: &Loss, context: &Context) -> Result<Vec<f64>> {
        let mut builder = Builder::new(self.0.schema().clone());
        let inputs = builder.inputs();
        let scores = self.scores(&mut builder, &inputs, loss)?;
        let names = (0..scores.len()).map(|i| i.to_string()).collect();
        let model = builder.finish(vec![Output::new(Method::Transform, scores, names)])?;
        let run = Run { threads: context.threads.max(1), cancel: context.cancel.clone() };
        let batch = model.run(Method::Transform, data, &run)?;
        Ok((0..batch.width).flat_map(|k| batch.numbers.iter().skip(k).step_by(batch.width)).copied().collect())
    }
}

impl Serialize for Start {
    fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        self.0.to_bytes().map_err(S::Error::custom)?.serialize(to)
    }
}

impl<'de> Deserialize<'de> for Start {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        Model::from_bytes(&Vec::<u8>::deserialize(from)?).map(Self).map_err(D::Error::custom)
    }
}
