//! Each operator in C: one file each.

mod category;
mod check_finite;
mod impute;
mod linear;
mod link;
mod one_hot;
mod prediction_set;
mod scale;
mod trees;
mod weighted_median;
mod whole;

use crate::ops::Op;
use corten_core::{Error, Result};

use crate::export::plan::Step;
use crate::export::source::{Columns, Source, entry};

/// An operator that can be written as C.
pub(crate) trait Emit {
    /// Appends the statements that do what the executor does with one row.
    fn emit(&self, source: &mut Source, at: &Wires<'_, '_>) -> Result<()>;
}

/// What an operator reads and makes.
pub(crate) struct Wires<'s, 'm> {
    pub(crate) step: &'s Step<'m>,
    /// Numbers of a row.
    pub(crate) given: usize,
}

impl Wires<'_, '_> {
    /// How many columns it reads.
    pub(crate) fn count(&self) -> usize {
        self.step.inputs.len()
    }

    /// The number columns that it reads.
    pub(crate) fn columns(&self, source: &mut Source) -> Columns {
        Columns::new(source, &self.step.inputs, self.given)
    }

    /// A number column that it makes.
    pub(crate) fn made(&self, index: &str) -> String {
        entry("v", self.step.first, index)
    }
}

/// Appends an operator.
///
/// # Errors
/// [`Error::Unsupported`] for an operator that has no C.
pub(crate) fn emit(source: &mut Source, at: &Wires<'_, '_>) -> Result<()> {
    if at.step.columns == 0 {
        return Ok(());
    }
    match at.step.op {
        Op::Scale(op) => op.emit(source, at),
        Op::Impute(op) => op.emit(source, at),
        Op::IsMissing(op) => op.emit(source, at),
        Op::ImputeText(op) => op.emit(source, at),
        Op::Category(op) => op.emit(source, at),
        Op::OneHot(op) => op.emit(source, at),
        Op::Linear(op) => op.emit(source, at),
        Op::Link(op) => op.emit(source, at),
        Op::Decide(op) => op.emit(source, at),
        Op::CheckFinite(op) => op.emit(source, at),
        Op::Trees(op) => op.emit(source, at),
        Op::Whole(op) => op.emit(source, at),
        Op::WeightedMedian(op) => op.emit(source, at),
        Op::PredictionSet(op) => op.emit(source, at),
        Op::RunningMoments(_) => Err(Error::Unsupported(format!(
            "operator '{}' keeps a state that grows with the rows it sees; models without a state can be exported to C",
            at.step.op.name()
        ))),
    }
}
