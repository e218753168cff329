//! The operators that a graph may hold: one file each.
//!
//! An operator is numbers and a rule. It says which columns it takes and makes (`check`), how its numbers lie in the
//! file (`write`, `read`) and what it does to a block of rows (`run`). A single row is a block of one row, so both
//! roads run the same arithmetic in the same order. An operator with state also has `advance`.

mod category;
mod check_finite;
mod impute;
mod linear;
mod link;
mod one_hot;
mod prediction_set;
mod running_moments;
mod scale;
mod trees;
mod weighted_median;
mod whole;

use alloc::format;
use alloc::vec::Vec;

use corten_core::{Error, Kind, Result};
use serde_json::Value;

pub use category::{Category, CategoryColumn, CategoryValues, Rule};
pub use check_finite::CheckFinite;
pub use impute::{Impute, ImputeText, IsMissing};
pub use linear::Linear;
pub(crate) use link::APART;
pub use link::{Decide, DecideKind, Link, LinkKind};
pub use one_hot::OneHot;
pub use prediction_set::{PredictionSet, SetScore};
pub use running_moments::RunningMoments;
pub use scale::Scale;
pub use trees::{
    CodeNode, CodeRule, Grown, LeafModel, Precision, Tree, TreeNode, TreeSource, Trees, TreesSpec, TreesTable,
};
pub(crate) use trees::{GameScratch, TreesGame};
pub use weighted_median::WeightedMedian;
pub use whole::Whole;

use crate::file::{TensorReader, TensorWriter};
use crate::graph::Slot;

/// The columns that an operator makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Numbers or text.
    pub kind: Kind,
    /// How many.
    pub columns: u32,
}

impl Shape {
    pub(crate) fn numbers(columns: usize) -> Self {
        // Builder::add refuses what does not fit its limits, which are far below u32.
        Self { kind: Kind::Number, columns: u32::try_from(columns).unwrap_or(u32::MAX) }
    }
}

/// A block of rows on its way through the graph. Columns lie one after the other, `stride` apart.
pub(crate) struct Flow<'a, 'd> {
    /// Rows in the block.
    pub(crate) rows: usize,
    /// Distance between columns.
    pub(crate) stride: usize,
    /// All number columns.
    pub(crate) numbers: &'a mut [f64],
    /// All text columns.
    pub(crate) texts: &'a mut [Option<&'d [u8]>],
    /// Memory for operators that need some.
    pub(crate) scratch: &'a mut Scratch,
}

/// Working memory of operators, kept between blocks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scratch {
    /// Codes of thresholds.
    pub(crate) codes: Vec<u16>,
    /// The leaf of each tree.
    pub(crate) found: Vec<u32>,
    /// A row that goes through trees in registers.
    pub(crate) one_row: corten_kernels::trees::RowScratch,
    /// Masks of a block of rows.
    pub(crate) planes: corten_kernels::trees::PlaneScratch,
    /// Lines of a block of rows.
    pub(crate) sieve: corten_kernels::trees::SieveScratch,
    /// Offsets of columns.
    pub(crate) offsets: Vec<usize>,
    /// A row that does not lie in one piece.
    pub(crate) row: Vec<f64>,
    /// The key of a state.
    pub(crate) key: Vec<u8>,
}

impl<'d> Flow<'_, 'd> {
    /// A column of numbers.
    #[inline]
    pub(crate) fn number(&self, at: u32) -> &[f64] {
        &self.numbers[at as usize * self.stride..][..self.rows]
    }

    /// A column of text.
    #[inline]
    pub(crate) fn text(&self, at: u32) -> &[Option<&'d [u8]>] {
        &self.texts[at as usize * self.stride..][..self.rows]
    }

    /// The numbers before column `first`, and those from it on.
    #[inline]
    pub(crate) fn split(&mut self, first: u32) -> (&[f64], &mut [f64]) {
        let (before, after) = self.numbers.split_at_mut(first as usize * self.stride);
        (before, after)
    }

    /// Calls `f(position, input column, output column)` for each input: an operator that maps columns of numbers.
    #[inline]
    pub(crate) fn map(&mut self, inputs: &[Slot], first: u32, mut f: impl FnMut(usize, &[f64], &mut [f64])) {
        let (rows, stride) = (self.rows, self.stride);
        let (before, after) = self.split(first);
        for (i, &slot) in inputs.iter().enumerate() {
            if let Slot::Number(at) = slot {
                f(i, &before[at as usize * stride..][..rows], &mut after[i * stride..][..rows]);
            }
        }
    }
}

pub(crate) trait Operator: Sized {
    /// Checks the operator's own numbers and what it reads.
    fn check(&self, inputs: &[Slot]) -> Result<Shape>;
    /// Its numbers as tensors, the rest as JSON.
    fn write(&self, tensors: &mut TensorWriter) -> Value;
    /// The opposite of `write`; bytes from outside.
    fn read(value: &Value, tensors: &TensorReader<'_>) -> Result<Self>;
    /// Runs a block of rows: reads `inputs`, writes the columns from `first` on.
    fn run<'d>(&'d self, flow: &mut Flow<'_, 'd>, inputs: &[Slot], first: u32) -> Result<()>;
    /// Makes what pays for a table of so many rows, before its blocks are cut.
    fn make_ready(&self, _: usize) {}
    /// Whether a block takes a while before its first row: then there should be few blocks.
    fn wants_long_blocks(&self) -> bool {
        false
    }
}

macro_rules! operators {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Any operator.
        #[derive(Clone, Debug)]
        #[non_exhaustive]
        pub enum Op { $($(#[$doc])* $name($name),)* }

        $(impl From<$name> for Op {
            fn from(op: $name) -> Self { Self::$name(op) }
        })*

        impl Op {
            /// Its name in the model file.
            pub fn name(&self) -> &'static str {
                match self { $(Self::$name(_) => $text,)* }
            }

            pub(crate) fn check(&self, inputs: &[Slot]) -> Result<Shape> {
                match self { $(Self::$name(op) => op.check(inputs),)* }
            }

            pub(crate) fn write(&self, tensors: &mut TensorWriter) -> Value {
                match self { $(Self::$name(op) => op.write(tensors),)* }
            }

            pub(crate) fn read(name: &str, value: &Value, tensors: &TensorReader<'_>) -> Result<Self> {
                match name {
                    $($text => Ok(Self::$name($name::read(value, tensors)?)),)*
                    _ => Err(Error::format(format!("operator '{name}' is not known to this version"))),
                }
            }

            #[inline]
            pub(crate) fn run<'d>(&'d self, flow: &mut Flow<'_, 'd>, inputs: &[Slot], first: u32) -> Result<()> {
                match self { $(Self::$name(op) => op.run(flow, inputs, first),)* }
            }

            pub(crate) fn make_ready(&self, rows: usize) {
                match self { $(Self::$name(op) => op.make_ready(rows),)* }
            }

            pub(crate) fn wants_long_blocks(&self) -> bool {
                match self { $(Self::$name(op) => op.wants_long_blocks(),)* }
            }
        }
    };
}

operators! {
    /// Shift, divide, multiply, add, clip: the scalers.
    Scale = "scale",
    /// Missing numbers filled in.
    Impute = "impute",
    /// Where numbers are missing.
    IsMissing = "is_missing",
    /// Missing text filled in.
    ImputeText = "impute_text",
    /// Categories to codes.
    Category = "category",
    /// Codes to indicator columns.
    OneHot = "one_hot",
    /// Weighted sums.
    Linear = "linear",
    /// The weighted median of several numbers.
    WeightedMedian = "weighted_median",
    /// Scores to probabilities.
    Link = "link",
    /// Scores to a class index.
    Decide = "decide",
    /// Probabilities to the classes of a set that holds the true one.
    PredictionSet = "prediction_set",
    /// Refuses what an estimator refuses.
    CheckFinite = "check_finite",
    /// An ensemble of trees.
    Trees = "trees",
    /// Numbers cut to whole ones.
    Whole = "whole",
    /// Count, mean and variance per key, advanced row by row.
    RunningMoments = "running_moments",
}

impl Op {
    /// Whether the operator changes as it sees rows.
    pub fn is_stateful(&self) -> bool {
        matches!(self, Self::RunningMoments(_))
    }

    /// Makes what the operator otherwise makes after some rows: layouts for blocks of `rows` rows.
    pub(crate) fn prepare(&self, rows: usize) {
        if let Self::Trees(op) = self {
            op.prepare(rows);
        }
    }

    /// The input that each column of output is made of, where it is one alone.
    pub(crate) fn made_of(&self, inputs: &[Slot], columns: usize) -> Vec<Option<Slot>> {
        match self {
            Self::Scale(_)
            | Self::Impute(_)
            | Self::IsMissing(_)
            | Self::ImputeText(_)
            | Self::Category(_)
            | Self::Whole(_)
            | Self::CheckFinite(_) => inputs.iter().copied().map(Some).collect(),
            Self::OneHot(op) => {
                inputs.iter().zip(&op.widths).flat_map(|(&i, &w)| core::iter::repeat_n(Some(i), w as usize)).collect()
            }
            _ => {
                let one = if let &[one] = inputs { Some(one) } else { None };
                alloc::vec![one; columns]
            }
        }
    }

    /// Gives the inputs other names in messages, where `name` has one for their position.
    pub(crate) fn rename<'n>(&mut self, name: impl Fn(usize) -> Option<&'n str>) {
        match self {
            Self::CheckFinite(op) => {
                op.names.iter_mut().enumerate().for_each(|(i, n)| name(i).into_iter().for_each(|to| *n = to.into()));
            }
            Self::Category(op) => op.rename(name),
            _ => {}
        }
    }

    /// Takes the rows of a block into the state.
    pub(crate) fn advance(&mut self, flow: &Flow<'_, '_>, inputs: &[Slot]) -> Result<()> {
        match self {
            Self::RunningMoments(op) => op.advance(flow, inputs),
            _ => Ok(()),
        }
    }
}

/// Refuses anything but `count` number columns (any number of them where `count` is `None`).
pub(crate) fn numbers_only(op: &str, inputs: &[Slot], count: Option<usize>) -> Result<usize> {
    if inputs.iter().any(|s| matches!(s, Slot::Text(_))) {
        return Err(Error::format(format!("operator '{op}' reads numbers but is given text")));
    }
    if let Some(count) = count
        && inputs.len() != count
    {
        return Err(Error::format(format!("operator '{op}' takes {count} columns but is given {}", inputs.len())));
    }
    Ok(inputs.len())
}

pub(crate) fn damaged(op: &str, error: &serde_json::Error) -> Error {
    Error::format(format!("operator '{op}': {error}"))
}
