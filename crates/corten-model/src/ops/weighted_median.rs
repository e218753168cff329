//! The weighted median of several numbers.

use alloc::format;
use alloc::vec::Vec;

use corten_core::{Error, Result};
use serde_json::{Value, json};

use super::{Flow, Operator, Shape, numbers_only};
use crate::file::{TensorReader, TensorWriter};
use crate::graph::Slot;

/// The lowest of the numbers up to which at least half of the weight lies.
///
/// Shapes: `n` numbers in, one out.
#[derive(Clone, Debug, PartialEq)]
pub struct WeightedMedian {
    /// The weight of each number; not negative, and not all 0.
    pub weights: Vec<f64>,
}

impl Operator for WeightedMedian {
    fn check(&self, inputs: &[Slot]) -> Result<Shape> {
        let n = numbers_only("weighted_median", inputs, None)?;
        let sum: f64 = self.weights.iter().sum();
        if self.weights.len() != n
            || self.weights.iter().any(|w| w.is_nan() || *w < 0.0)
            || !sum.is_finite()
            || sum <= 0.0
        {
            return Err(Error::format(format!(
                "operator 'weighted_median' of {n} numbers needs as many weights, not negative and more than 0 in all"
            )));
        }
        Ok(Shape::numbers(1))
    }

    fn write(&self, tensors: &mut TensorWriter) -> Value {
        tensors.f64("weights", &self.weights);
        json!({})
    }

    fn read(_: &Value, tensors: &TensorReader<'_>) -> Result<Self> {
        Ok(Self { weights: tensors.f64("weights")? })
    }

    fn run<'d>(&'d self, flow: &mut Flow<'_, 'd>, inputs: &[Slot], first: u32) -> Result<()> {
        let (rows, stride, n) = (flow.rows, flow.stride, inputs.len());
        let mut sorted = core::mem::take(&mut flow.scratch.row);
        let (before, after) = flow.split(first);
        for r in 0..rows {
            // Numbers in ascending order, and behind them their weights.
            sorted.clear();
            sorted.resize(2 * n, 0.0);
            for (i, (slot, &weight)) in inputs.iter().zip(&self.weights).enumerate() {
                let (Slot::Number(at) | Slot::Text(at)) = *slot;
                // The sign of a NaN is the machine's affair; here all are alike, and above all numbers.
                let x = Some(before[at as usize * stride + r]).filter(|x| !x.is_nan()).unwrap_or(f64::NAN);
                let place = sorted[..i].partition_point(|s| s.total_cmp(&x).is_le());
                sorted.copy_within(place..i, place + 1);
                sorted[place] = x;
                sorted.copy_within(n + place..n + i, n + place + 1);
                sorted[n + place] = weight;
            }
            let half = 0.5 * sorted[n..].iter().fold(0.0, |a, w| a + w);
            let mut sum = 0.0;
            let reached = sorted[n..].iter().position(|w| {
                sum += w;
                sum >= half
            });
            after[r] = sorted[reached.unwrap_or(n - 1)];
        }
        flow.scratch.row = sorted;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn weights_are_as_many_as_numbers_and_more_than_none() {
        let two = [Slot::Number(0), Slot::Number(1)];
        assert!(WeightedMedian { weights: vec![1.0, 0.0] }.check(&two).is_ok());
        for weights in [vec![1.0], vec![0.0, 0.0], vec![1.0, -1.0], vec![f64::NAN, 1.0], vec![f64::INFINITY, 1.0]] {
            assert!(WeightedMedian { weights }.check(&two).is_err());
        }
    }
}
