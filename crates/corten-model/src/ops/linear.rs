//! Weighted sums.

use alloc::format;
use alloc::vec::Vec;

use corten_core::{Error, Result};
use corten_kernels::vector;
use serde_json::{Value, json};

use super::{Flow, Operator, Shape, numbers_only};
use crate::file::{TensorReader, TensorWriter};
use crate::graph::Slot;

/// `y = W x + b`. Each sum runs in 16 fixed lanes, folded one fixed way, whatever the block and the CPU.
///
/// Shapes: `n` numbers in, `outputs` numbers out.
#[derive(Clone, Debug, PartialEq)]
pub struct Linear {
    /// Rows of `W`.
    pub outputs: u32,
    /// `W`, row after row: `outputs * n` numbers.
    pub weights: Vec<f64>,
    /// `b`: `outputs` numbers.
    pub intercept: Vec<f64>,
}

/// Where the inputs are `count` columns side by side: the first.
fn run_of(inputs: &[Slot]) -> Option<u32> {
    let &Slot::Number(first) = inputs.first()? else { return None };
    inputs.iter().zip(first..).all(|(&s, at)| s == Slot::Number(at)).then_some(first)
}

impl Operator for Linear {
    fn check(&self, inputs: &[Slot]) -> Result<Shape> {
        let n = numbers_only("linear", inputs, None)?;
        let outputs = self.outputs as usize;
        if outputs.checked_mul(n) != Some(self.weights.len()) || self.intercept.len() != outputs {
            return Err(Error::format(format!(
                "operator 'linear' with {outputs} outputs of {n} inputs has {} weights and {} intercepts",
                self.weights.len(),
                self.intercept.len()
            )));
        }
        Ok(Shape::numbers(outputs))
    }

    fn write(&self, tensors: &mut TensorWriter) -> Value {
        tensors.f64("weights", &self.weights);
        tensors.f64("intercept", &self.intercept);
        json!({})
    }

    fn read(_: &Value, tensors: &TensorReader<'_>) -> Result<Self> {
        let intercept = tensors.f64("intercept")?;
        Ok(Self { outputs: intercept.len() as u32, weights: tensors.f64("weights")?, intercept })
    }

    fn run<'d>(&'d self, flow: &mut Flow<'_, 'd>, inputs: &[Slot], first: u32) -> Result<()> {
        let (rows, stride, n) = (flow.rows, flow.stride, inputs.len());
        let scratch = &mut *flow.scratch;
        let (before, after) = flow.numbers.split_at_mut(first as usize * stride);
        if rows == 1 {
            let row: &[f64] = match run_of(inputs) {
                Some(start) if stride == 1 => &before[start as usize..][..n],
                _ => {
                    scratch.row.clear();
                    scratch.row.extend(inputs.iter().map(|s| match s {
                        Slot::Number(at) => before[*at as usize * stride],
                        Slot::Text(_) => f64::NAN,
                    }));
                    &scratch.row
                }
            };
            for (k, &b) in self.intercept.iter().enumerate() {
                after[k * stride] = vector::dot(row, &self.weights[k * n..][..n]) + b;
            }
            return Ok(());
        }
        scratch.offsets.clear();
        scratch.offsets.extend(inputs.iter().map(|s| match s {
            Slot::Number(at) | Slot::Text(at) => *at as usize * stride,
        }));
        for (k, &b) in self.intercept.iter().enumerate() {
            let to = &mut after[k * stride..][..rows];
            vector::dot_columns(before, rows, &scratch.offsets, &self.weights[k * n..][..n], to);
            to.iter_mut().for_each(|y| *y += b);
        }
        Ok(())
    }
}
