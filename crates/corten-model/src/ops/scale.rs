//! Column-wise scaling.

use alloc::format;
use alloc::vec::Vec;

use corten_core::{Error, Result};
use serde_json::{Value, json};

use super::{Flow, Operator, Shape, numbers_only};
use crate::file::{TensorReader, TensorWriter};
use crate::graph::Slot;

/// `y = clip((x - subtract) / divide * multiply + add)` per column, each part only where given, in this order.
///
/// Shapes: each vector has one entry a column. NaN passes through.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scale {
    /// Subtracted first.
    pub subtract: Option<Vec<f64>>,
    /// Then the divisor.
    pub divide: Option<Vec<f64>>,
    /// Then the factor.
    pub multiply: Option<Vec<f64>>,
    /// Then added.
    pub add: Option<Vec<f64>>,
    /// Then held between two bounds.
    pub clip: Option<(f64, f64)>,
}

const PARTS: [&str; 4] = ["subtract", "divide", "multiply", "add"];

impl Scale {
    fn parts(&self) -> [&Option<Vec<f64>>; 4] {
        [&self.subtract, &self.divide, &self.multiply, &self.add]
    }
}

impl Operator for Scale {
    fn check(&self, inputs: &[Slot]) -> Result<Shape> {
        let n = numbers_only("scale", inputs, None)?;
        for (part, name) in self.parts().into_iter().zip(PARTS) {
            if part.as_ref().is_some_and(|p| p.len() != n) {
                return Err(Error::format(format!("operator 'scale': '{name}' must have {n} entries")));
            }
        }
        if self.clip.is_some_and(|(low, high)| low.is_nan() || high.is_nan() || low > high) {
            return Err(Error::format("operator 'scale': the bounds of 'clip' are out of order"));
        }
        Ok(Shape::numbers(n))
    }

    fn write(&self, tensors: &mut TensorWriter) -> Value {
        for (part, name) in self.parts().into_iter().zip(PARTS) {
            if let Some(values) = part {
                tensors.f64(name, values);
            }
        }
        if let Some((low, high)) = self.clip {
            tensors.f64("clip", &[low, high]);
        }
        json!({})
    }

    fn read(_: &Value, tensors: &TensorReader<'_>) -> Result<Self> {
        let clip = match tensors.optional_f64("clip")? {
            None => None,
            Some(v) if v.len() == 2 => Some((v[0], v[1])),
            Some(_) => return Err(Error::format("operator 'scale': 'clip' must have two entries")),
        };
        Ok(Self {
            subtract: tensors.optional_f64("subtract")?,
            divide: tensors.optional_f64("divide")?,
            multiply: tensors.optional_f64("multiply")?,
            add: tensors.optional_f64("add")?,
            clip,
        })
    }

    fn run<'d>(&'d self, flow: &mut Flow<'_, 'd>, inputs: &[Slot], first: u32) -> Result<()> {
        flow.map(inputs, first, |i, from, to| {
            to.copy_from_slice(from);
            if let Some(v) = &self.subtract {
                let v = v[i];
                to.iter_mut().for_each(|x| *x -= v);
            }
            if let Some(v) = &self.divide {
                let v = v[i];
                to.iter_mut().for_each(|x| *x /= v);
            }
            if let Some(v) = &self.multiply {
                let v = v[i];
                to.iter_mut().for_each(|x| *x *= v);
            }
            if let Some(v) = &self.add {
                let v = v[i];
                to.iter_mut().for_each(|x| *x += v);
            }
            if let Some((low, high)) = self.clip {
                // Comparisons keep NaN as it is, where min and max would not.
                to.iter_mut().for_each(|x| {
                    if *x < low {
                        *x = low;
                    } else if *x > high {
                        *x = high;
                    }
                });
            }
        });
        Ok(())
    }
}
