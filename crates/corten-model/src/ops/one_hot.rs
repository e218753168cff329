//! Codes to indicator columns.

use alloc::vec::Vec;

use corten_core::Result;
use serde_json::{Value, json};

use super::{Flow, Operator, Shape, numbers_only};
use crate::file::{TensorReader, TensorWriter};
use crate::graph::Slot;

/// Column `i` with codes `0..widths[i]` becomes `widths[i]` columns of 0 and 1, one after the other. A code outside
/// its range, and NaN, set none of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OneHot {
    /// Indicator columns of each input.
    pub widths: Vec<u32>,
}

impl Operator for OneHot {
    fn check(&self, inputs: &[Slot]) -> Result<Shape> {
        numbers_only("one_hot", inputs, Some(self.widths.len()))?;
        let total = self.widths.iter().fold(0usize, |sum, &w| sum.saturating_add(w as usize));
        Ok(Shape::numbers(total))
    }

    fn write(&self, tensors: &mut TensorWriter) -> Value {
        tensors.u32("widths", &self.widths);
        json!({})
    }

    fn read(_: &Value, tensors: &TensorReader<'_>) -> Result<Self> {
        Ok(Self { widths: tensors.u32("widths")? })
    }

    fn run<'d>(&'d self, flow: &mut Flow<'_, 'd>, inputs: &[Slot], first: u32) -> Result<()> {
        let (rows, stride) = (flow.rows, flow.stride);
        let (before, after) = flow.split(first);
        let mut start = 0;
        for (&slot, &width) in inputs.iter().zip(&self.widths) {
            let Slot::Number(at) = slot else { continue };
            let to = &mut after[start * stride..][..width as usize * stride];
            to.fill(0.0);
            for (r, &code) in before[at as usize * stride..][..rows].iter().enumerate() {
                if code >= 0.0 && code < f64::from(width) {
                    to[code as usize * stride + r] = 1.0;
                }
            }
            start += width as usize;
        }
        Ok(())
    }
}
