//! Weights and leaves on a grid of 16 or 8 bits.
//!
//! The grid's step is a power of two, so that whole numbers times the step, and sums of them, are exact in `f64`: the
//! quantised model is a model like any other, and exported C that adds whole numbers gives its very bits.

use crate::ops::{Linear, Op, Trees};
use crate::{Builder, Model};
use corten_core::{Error, Result};

/// Width of the whole numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bits {
    /// `int16_t`.
    Int16,
    /// `int8_t`.
    Int8,
}

impl Bits {
    /// By name.
    ///
    /// # Errors
    /// [`Error::Parameter`] listing the names.
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "int16" => Ok(Self::Int16),
            "int8" => Ok(Self::Int8),
            _ => Err(Error::parameter("quantize", "one of {'int16', 'int8'}", format!("'{name}'"))),
        }
    }

    fn limit(self) -> f64 {
        match self {
            Self::Int16 => 32767.0,
            Self::Int8 => 127.0,
        }
    }
}

/// The smallest power of two by which the greatest magnitude is within the limit.
fn step(values: &[f64], limit: f64) -> Option<f64> {
    let max = values.iter().fold(0.0f64, |a, x| a.max(x.abs()));
    if !max.is_finite() || values.iter().any(|x| x.is_nan()) {
        return None;
    }
    let mut step = 1.0;
    while max / step > limit {
        step *= 2.0;
    }
    while max > 0.0 && step > 1e-290 && max / (step / 2.0) <= limit {
        step /= 2.0;
    }
    Some(step)
}

/// Adding 0 makes -0 a 0, which whole numbers have.
fn on_grid(values: &[f64], step: f64) -> Vec<f64> {
    values.iter().map(|x| (x / step).round() * step + 0.0).collect()
}

fn unfit(op: &str) -> Error {
    Error::Unsupported(format!("operator '{op}' has numbers that are not finite, which no grid holds"))
}

fn linear(op: &Linear, limit: f64) -> Result<Linear> {
    let step = step(&op.weights, limit).ok_or_else(|| unfit("linear"))?;
    Ok(Linear { weights: on_grid(&op.weights, step), ..op.clone() })
}

fn trees(op: &Trees, limit: f64) -> Result<Trees> {
    let table = op.table();
    let step = step(table.leaves, limit).ok_or_else(|| unfit("trees"))?;
    // Sums start from a finer grid on which they are still exact.
    op.with_leaves(on_grid(table.base, step / 65536.0), on_grid(table.leaves, step))
}

/// The model with the weights of its linear operators and the leaves of its trees rounded to whole multiples of a power
/// of two that fit into `bits`.
///
/// # Errors
/// [`Error::Unsupported`] where there is nothing to quantise, or what is there isn't finite.
pub fn quantize(model: &Model, bits: Bits) -> Result<Model> {
    let (graph, limit) = (model.graph(), bits.limit());
    let mut builder = Builder::new(graph.schema().clone());
    let mut found = false;
    for node in graph.nodes() {
        let op: Op = match &node.op {
            Op::Linear(op) => linear(op, limit)?.into(),
            Op::Trees(op) => trees(op, limit)?.into(),
            op => op.clone(),
        };
        found |= matches!(op, Op::Linear(_) | Op::Trees(_));
        builder.add(op, &node.inputs)?;
    }
    if !found {
        return Err(Error::Unsupported("This model has neither weights nor leaves to quantize.".into()));
    }
    builder.finish(graph.outputs().to_vec())
}
