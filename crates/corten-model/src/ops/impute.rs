//! Missing values: filled in, or marked.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use corten_core::{Error, Kind, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Flow, Operator, Shape, damaged, numbers_only};
use crate::file::{TensorReader, TensorWriter};
use crate::graph::Slot;

/// Replaces a missing number by the column's fill.
#[derive(Clone, Debug)]
pub struct Impute {
    /// What counts as missing: NaN, or a marker such as `-1`.
    pub missing: f64,
    /// One number a column.
    pub fill: Vec<f64>,
}

/// 1 where a number is missing, else 0.
#[derive(Clone, Debug)]
pub struct IsMissing {
    /// What counts as missing: NaN, or a marker such as `-1`.
    pub missing: f64,
}

/// Replaces missing text by the column's fill.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImputeText {
    /// One text a column; `None` leaves the column as it is.
    pub fill: Vec<Option<String>>,
    /// A text that counts as missing beside the missing rows.
    pub missing: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Marker {
    #[serde(with = "crate::number")]
    missing: f64,
}

fn write_marker(missing: f64) -> Value {
    serde_json::to_value(Marker { missing }).unwrap_or_default()
}

fn read_marker(op: &str, value: &Value) -> Result<f64> {
    Ok(Marker::deserialize(value).map_err(|e| damaged(op, &e))?.missing)
}

impl Operator for Impute {
    fn check(&self, inputs: &[Slot]) -> Result<Shape> {
        Ok(Shape::numbers(numbers_only("impute", inputs, Some(self.fill.len()))?))
    }

    fn write(&self, tensors: &mut TensorWriter) -> Value {
        tensors.f64("fill", &self.fill);
        write_marker(self.missing)
    }

    fn read(value: &Value, tensors: &TensorReader<'_>) -> Result<Self> {
        Ok(Self { missing: read_marker("impute", value)?, fill: tensors.f64("fill")? })
    }

    fn run<'d>(&'d self, flow: &mut Flow<'_, 'd>, inputs: &[Slot], first: u32) -> Result<()> {
        let marker = self.missing;
        flow.map(inputs, first, |i, from, to| {
            let fill = self.fill[i];
            for (o, &x) in to.iter_mut().zip(from) {
                *o = if is_missing(x, marker) { fill } else { x };
            }
        });
        Ok(())
    }
}

impl Operator for IsMissing {
    fn check(&self, inputs: &[Slot]) -> Result<Shape> {
        Ok(Shape::numbers(numbers_only("is_missing", inputs, None)?))
    }

    fn write(&self, _: &mut TensorWriter) -> Value {
        write_marker(self.missing)
    }

    fn read(value: &Value, _: &TensorReader<'_>) -> Result<Self> {
        Ok(Self { missing: read_marker("is_missing", value)? })
    }

    fn run<'d>(&'d self, flow: &mut Flow<'_, 'd>, inputs: &[Slot], first: u32) -> Result<()> {
        let marker = self.missing;
        flow.map(inputs, first, |_, from, to| {
            for (o, &x) in to.iter_mut().zip(from) {
                *o = f64::from(u8::from(is_missing(x, marker)));
            }
        });
        Ok(())
    }
}

#[inline]
fn is_missing(x: f64, marker: f64) -> bool {
    if marker.is_nan() { x.is_nan() } else { x == marker }
}

impl Operator for ImputeText {
    fn check(&self, inputs: &[Slot]) -> Result<Shape> {
        if inputs.iter().any(|s| matches!(s, Slot::Number(_))) {
            return Err(Error::format("operator 'impute_text' reads text but is given numbers"));
        }
        if inputs.len() != self.fill.len() {
            return Err(Error::format(format!("operator 'impute_text' takes {} columns", self.fill.len())));
        }
        Ok(Shape { kind: Kind::Text, ..Shape::numbers(inputs.len()) })
    }

    fn write(&self, _: &mut TensorWriter) -> Value {
        json!(self)
    }

    fn read(value: &Value, _: &TensorReader<'_>) -> Result<Self> {
        Self::deserialize(value).map_err(|e| damaged("impute_text", &e))
    }

    fn run<'d>(&'d self, flow: &mut Flow<'_, 'd>, inputs: &[Slot], first: u32) -> Result<()> {
        let (rows, stride) = (flow.rows, flow.stride);
        let (before, after) = flow.texts.split_at_mut(first as usize * stride);
        let marker = self.missing.as_deref().map(str::as_bytes);
        for (i, &slot) in inputs.iter().enumerate() {
            let Slot::Text(at) = slot else { continue };
            let fill = self.fill[i].as_deref().map(str::as_bytes);
            let from = &before[at as usize * stride..][..rows];
            for (o, &x) in after[i * stride..][..rows].iter_mut().zip(from) {
                *o = if x.is_none() || (marker.is_some() && x == marker) { fill } else { x };
            }
        }
        Ok(())
    }
}
