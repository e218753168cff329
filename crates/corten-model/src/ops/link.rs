//! Scores to probabilities, and to a class index.

use alloc::vec::Vec;

use corten_core::{Error, Result};
use corten_kernels::special;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Flow, Operator, Shape, damaged, numbers_only};
use crate::file::{TensorReader, TensorWriter};
use crate::graph::Slot;

/// How scores become probabilities or a prediction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LinkKind {
    /// One score to `[1 - p, p]` with `p = 1 / (1 + exp(-x))`.
    Sigmoid,
    /// `k` scores to `k` probabilities.
    Softmax,
    /// `exp(x)` per column.
    Exp,
    /// A sigmoid per column, divided by their sum (one against the rest).
    Normalize,
    /// The numbers themselves.
    Identity,
    /// `ln(1 + exp(x))` per column.
    Softplus,
    /// `sign(x) * x * x` per column.
    SignedSquare,
    /// As `Sigmoid`, each step rounded to `f32`.
    Sigmoid32,
    /// As `Softmax`, each step but the sum rounded to `f32`.
    Softmax32,
    /// `ln(p / (1 - p))` per column, of probabilities drawn to `[2^-52, 1 - 2^-52]` first.
    LogOdds,
    /// `ln(p)` less the mean of a row's, of probabilities drawn likewise.
    CenteredLog,
}

/// How far from 0 and 1 probabilities stay whose logarithms are taken.
pub(crate) const APART: f64 = f64::EPSILON;

/// Applies a [`LinkKind`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Which one.
    pub kind: LinkKind,
}

/// How a class is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DecideKind {
    /// One score: 1 above the threshold, else 0.
    Threshold(#[serde(with = "crate::number")] f64),
    /// The first of the highest scores.
    ArgMax,
}

/// Chooses a class: one number, its index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Decide {
    /// How.
    pub kind: DecideKind,
}

impl Operator for Link {
    fn check(&self, inputs: &[Slot]) -> Result<Shape> {
        let n = numbers_only("link", inputs, None)?;
        match self.kind {
            LinkKind::Sigmoid | LinkKind::Sigmoid32 if n == 1 => Ok(Shape::numbers(2)),
            LinkKind::Sigmoid | LinkKind::Sigmoid32 => Err(Error::format("operator 'link': a sigmoid takes one score")),
            _ => Ok(Shape::numbers(n)),
        }
    }

    fn write(&self, _: &mut TensorWriter) -> Value {
        json!(self)
    }

    fn read(value: &Value, _: &TensorReader<'_>) -> Result<Self> {
        Self::deserialize(value).map_err(|e| damaged("link", &e))
    }

    fn run<'d>(&'d self, flow: &mut Flow<'_, 'd>, inputs: &[Slot], first: u32) -> Result<()> {
        let (rows, stride, n) = (flow.rows, flow.stride, inputs.len());
        match self.kind {
            LinkKind::Sigmoid | LinkKind::Sigmoid32 => {
                let (before, after) = flow.split(first);
                let Some(&Slot::Number(at)) = inputs.first() else { return Ok(()) };
                let from = &before[at as usize * stride..][..rows];
                for (r, &x) in from.iter().enumerate() {
                    if self.kind == LinkKind::Sigmoid32 {
                        let p = sigmoid32(x as f32);
                        after[r] = f64::from(1.0 - p);
                        after[stride + r] = f64::from(p);
                        continue;
                    }
                    let p = special::sigmoid(x);
                    after[r] = 1.0 - p;
                    after[stride + r] = p;
                }
            }
            LinkKind::Identity => flow.map(inputs, first, |_, from, to| to.copy_from_slice(from)),
            LinkKind::Exp => flow.map(inputs, first, |_, from, to| {
                for (o, &x) in to.iter_mut().zip(from) {
                    *o = special::exp(x);
                }
            }),
            LinkKind::Softplus => flow.map(inputs, first, |_, from, to| {
                for (o, &x) in to.iter_mut().zip(from) {
                    // Above 37 the 1 is lost.
                    *o = if x > 37.0 { x } else { special::log1p(special::exp(x)) };
                }
            }),
            LinkKind::SignedSquare => flow.map(inputs, first, |_, from, to| {
                for (o, &x) in to.iter_mut().zip(from) {
                    *o = x.abs() * x;
                }
            }),
            LinkKind::LogOdds => flow.map(inputs, first, |_, from, to| {
                for (o, &x) in to.iter_mut().zip(from) {
                    let p = drawn(x);
                    *o = special::ln(p / (1.0 - p));
                }
            }),
            LinkKind::Softmax | LinkKind::Softmax32 | LinkKind::Normalize | LinkKind::CenteredLog => {
                let mut row = core::mem::take(&mut flow.scratch.row);
                let (before, after) = flow.split(first);
                for r in 0..rows {
                    gather(&mut row, before, inputs, stride, r);
                    if self.kind == LinkKind::Softmax {
                        special::softmax_in_place(&mut row);
                    } else if self.kind == LinkKind::Softmax32 {
                        softmax32(&mut row);
                    } else if self.kind == LinkKind::CenteredLog {
                        let mut sum = 0.0;
                        for x in &mut row {
                            *x = special::ln(drawn(*x));
                            sum += *x;
                        }
                        let mean = sum / n as f64;
                        row.iter_mut().for_each(|x| *x -= mean);
                    } else {
                        let mut sum = 0.0;
                        for x in &mut row {
                            *x = special::sigmoid(*x);
                            sum += *x;
                        }
                        row.iter_mut().for_each(|x| *x /= sum);
                    }
                    for (i, &p) in row[..n].iter().enumerate() {
                        after[i * stride + r] = p;
                    }
                }
                flow.scratch.row = row;
            }
        }
        Ok(())
    }
}

/// A probability apart from 0 and 1; NaN stays.
fn drawn(p: f64) -> f64 {
    p.clamp(APART, 1.0 - APART)
}

/// `exp(x)` of an `f32`, rounded once.
fn exp32(x: f32) -> f32 {
    special::exp(f64::from(x)) as f32
}

/// XGBoost's sigmoid.
fn sigmoid32(x: f32) -> f32 {
    // Beyond it the exponential is no `f32`.
    1.0 / (exp32(-x.max(-88.7)) + 1.0)
}

/// XGBoost's softmax: numbers in `f32`, their sum in `f64`.
fn softmax32(row: &mut [f64]) {
    let most = row.iter().fold(f32::NEG_INFINITY, |m, &x| m.max(x as f32));
    let mut sum = 0.0;
    for x in row.iter_mut() {
        *x = f64::from(exp32(*x as f32 - most));
        sum += *x;
    }
    let sum = sum as f32;
    row.iter_mut().for_each(|x| *x = f64::from(*x as f32 / sum));
}

fn gather(row: &mut Vec<f64>, before: &[f64], inputs: &[Slot], stride: usize, r: usize) {
    row.clear();
    row.extend(inputs.iter().map(|s| match s {
        Slot::Number(at) | Slot::Text(at) => before[*at as usize * stride + r],
    }));
}

impl Operator for Decide {
    fn check(&self, inputs: &[Slot]) -> Result<Shape> {
        let n = numbers_only("decide", inputs, None)?;
        match self.kind {
            DecideKind::Threshold(t) if n != 1 || t.is_nan() => {
                Err(Error::format("operator 'decide': a threshold is a number and takes one score"))
            }
            DecideKind::ArgMax if n == 0 => Err(Error::format("operator 'decide' takes at least one score")),
            _ => Ok(Shape::numbers(1)),
        }
    }

    fn write(&self, _: &mut TensorWriter) -> Value {
        json!(self)
    }

    fn read(value: &Value, _: &TensorReader<'_>) -> Result<Self> {
        Self::deserialize(value).map_err(|e| damaged("decide", &e))
    }

    fn run<'d>(&'d self, flow: &mut Flow<'_, 'd>, inputs: &[Slot], first: u32) -> Result<()> {
        let (rows, stride) = (flow.rows, flow.stride);
        let (before, after) = flow.split(first);
        let score = |i: usize, r: usize| match inputs[i] {
            Slot::Number(at) | Slot::Text(at) => before[at as usize * stride + r],
        };
        for r in 0..rows {
            after[r] = match self.kind {
                DecideKind::Threshold(t) => f64::from(u8::from(score(0, r) > t)),
                DecideKind::ArgMax => {
                    let mut best = 0;
                    for i in 1..inputs.len() {
                        if score(i, r) > score(best, r) {
                            best = i;
                        }
                    }
                    best as f64
                }
            };
        }
        Ok(())
    }
}
