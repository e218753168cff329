//! Probabilities to sets of classes.

use alloc::vec::Vec;

use corten_core::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Flow, Operator, Shape, damaged, numbers_only};
use crate::file::{TensorReader, TensorWriter};
use crate::graph::Slot;

/// How badly a class conforms to probabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SetScore {
    /// One less its probability (Sadinle, Lei & Wasserman 2019).
    Lac,
    /// The sum of its probability and of all greater ones; among equal ones the first class comes first (Romano, Sesia
    /// & Candes 2020). The first of all is always in the set.
    Aps,
}

/// Each of `n` probabilities becomes 1 where its class's score is at most the threshold, else 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PredictionSet {
    /// The score.
    pub score: SetScore,
    /// The greatest score in the set.
    pub threshold: f64,
}

impl PredictionSet {
    /// The score of each class.
    ///
    /// Shapes: as many `scores` as `probabilities`; `order` is memory.
    fn scores(&self, probabilities: &[f64], order: &mut Vec<usize>, scores: &mut [f64]) {
        if self.score == SetScore::Lac {
            scores.iter_mut().zip(probabilities).for_each(|(s, p)| *s = 1.0 - p);
            return;
        }
        order.clear();
        order.extend(0..probabilities.len());
        order.sort_unstable_by(|&a, &b| probabilities[b].total_cmp(&probabilities[a]).then(a.cmp(&b)));
        let mut sum = 0.0;
        for (rank, &class) in order.iter().enumerate() {
            sum += probabilities[class];
            scores[class] = if rank == 0 { sum.min(self.threshold) } else { sum };
        }
    }
}

impl Operator for PredictionSet {
    fn check(&self, inputs: &[Slot]) -> Result<Shape> {
        let n = numbers_only("prediction_set", inputs, None)?;
        if n == 0 || self.threshold.is_nan() {
            return Err(Error::format(
                "operator 'prediction_set' takes probabilities and a threshold that is a number",
            ));
        }
        Ok(Shape::numbers(n))
    }

    fn write(&self, _: &mut TensorWriter) -> Value {
        json!(self)
    }

    fn read(value: &Value, _: &TensorReader<'_>) -> Result<Self> {
        Self::deserialize(value).map_err(|e| damaged("prediction_set", &e))
    }

    fn run<'d>(&'d self, flow: &mut Flow<'_, 'd>, inputs: &[Slot], first: u32) -> Result<()> {
        let (rows, stride, n) = (flow.rows, flow.stride, inputs.len());
        let mut row = core::mem::take(&mut flow.scratch.row);
        let mut order = core::mem::take(&mut flow.scratch.offsets);
        row.clear();
        row.resize(2 * n, 0.0);
        let (before, after) = flow.split(first);
        for r in 0..rows {
            let (probabilities, scores) = row.split_at_mut(n);
            for (p, &slot) in probabilities.iter_mut().zip(inputs) {
                let (Slot::Number(at) | Slot::Text(at)) = slot;
                // The sign of a NaN is the machine's affair; here all are alike, and above all numbers.
                *p = Some(before[at as usize * stride + r]).filter(|p| !p.is_nan()).unwrap_or(f64::NAN);
            }
            self.scores(probabilities, &mut order, scores);
            for (class, &score) in scores.iter().enumerate() {
                after[class * stride + r] = f64::from(u8::from(score <= self.threshold));
            }
        }
        (flow.scratch.row, flow.scratch.offsets) = (row, order);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cumulative_scores_add_up_from_the_greatest_probability() {
        let mut scores = [0.0; 4];
        let set = PredictionSet { score: SetScore::Aps, threshold: 2.0 };
        set.scores(&[0.125, 0.25, 0.5, 0.125], &mut Vec::new(), &mut scores);
        assert_eq!(scores, [0.875, 0.75, 0.5, 1.0]);
        // The most likely class is in, whatever the threshold.
        let set = PredictionSet { score: SetScore::Aps, threshold: 0.25 };
        set.scores(&[0.125, 0.25, 0.5, 0.125], &mut Vec::new(), &mut scores);
        assert_eq!(scores, [0.875, 0.75, 0.25, 1.0]);
    }
}
