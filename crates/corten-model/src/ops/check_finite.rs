//! Refuses values that an estimator refuses.

use alloc::string::String;
use alloc::vec::Vec;

use corten_core::{Error, Result};
use corten_kernels::vector::all_finite;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Flow, Operator, Shape, damaged, numbers_only};
use crate::file::{TensorReader, TensorWriter};
use crate::graph::Slot;

/// Passes numbers on; an infinite one, and NaN where it isn't allowed, is an error that names its column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckFinite {
    /// Whether NaN may pass.
    pub allow_nan: bool,
    /// One name a column.
    pub names: Vec<String>,
}

impl Operator for CheckFinite {
    fn check(&self, inputs: &[Slot]) -> Result<Shape> {
        Ok(Shape::numbers(numbers_only("check_finite", inputs, Some(self.names.len()))?))
    }

    fn write(&self, _: &mut TensorWriter) -> Value {
        json!(self)
    }

    fn read(value: &Value, _: &TensorReader<'_>) -> Result<Self> {
        Self::deserialize(value).map_err(|e| damaged("check_finite", &e))
    }

    fn run<'d>(&'d self, flow: &mut Flow<'_, 'd>, inputs: &[Slot], first: u32) -> Result<()> {
        let mut bad = None;
        flow.map(inputs, first, |i, from, to| {
            to.copy_from_slice(from);
            if bad.is_none() && !all_finite(from) {
                let offending = |x: f64| x.is_infinite() || (x.is_nan() && !self.allow_nan);
                bad = from.iter().copied().find(|&x| offending(x)).map(|x| (i, x));
            }
        });
        match bad {
            None => Ok(()),
            Some((i, x)) if x.is_nan() => Err(Error::column(
                &self.names[i],
                "Input X contains NaN; this model has no rule for missing values (an imputer before it gives one).",
            )),
            Some((i, _)) => Err(Error::column(
                &self.names[i],
                "Input X contains infinity or a value too large for dtype('float64').",
            )),
        }
    }
}
