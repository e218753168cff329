//! The layout for single rows: which one an ensemble gets on this CPU.

use super::{Coder, Forest, LaneScratch, Lanes, PathScratch, Paths, Sieve};
use crate::cpu::{self, Level};

/// The quickest layout for one row.
#[derive(Clone, Debug)]
pub enum OneRow {
    /// Leaves struck out: few columns.
    Sieve(Sieve),
    /// A tree in registers: numbers alone, AVX-512 with VBMI.
    Lanes(Lanes),
    /// A tree as a word: categories, and CPUs without VBMI.
    Paths(Paths),
}

/// Memory of a row.
#[derive(Clone, Debug, Default)]
pub struct RowScratch {
    lanes: LaneScratch,
    paths: PathScratch,
}

impl OneRow {
    /// `None` where a walk is the quickest.
    pub fn new(forest: &Forest, coder: &Coder) -> Option<Self> {
        let registers = cpu::level() == Level::Avx512 && cpu::vbmi();
        let sieve = || Sieve::new(forest, coder, registers).map(Self::Sieve);
        let lanes = || if registers { Lanes::new(forest, coder).map(Self::Lanes) } else { None };
        sieve().or_else(lanes).or_else(|| Paths::new(forest, coder).map(Self::Paths))
    }

    /// The sieve, where it is one.
    pub fn sieve(&self) -> Option<&Sieve> {
        if let Self::Sieve(sieve) = self { Some(sieve) } else { None }
    }

    /// Adds all trees to a row's sums.
    ///
    /// Shapes: `codes` of the coder that the ensemble was laid out with; `found` a place a tree; `out[k * stride]` is
    /// output `k`.
    pub fn row(
        &self,
        forest: &Forest,
        codes: &[u16],
        scratch: &mut RowScratch,
        found: &mut [u32],
        out: &mut [f64],
        stride: usize,
    ) {
        match self {
            Self::Sieve(sieve) => sieve.row(forest, codes, found, out, stride),
            Self::Lanes(lanes) => lanes.row(forest, codes, &mut scratch.lanes, out, stride),
            Self::Paths(paths) => paths.row(forest, codes, &mut scratch.paths, out, stride),
        }
    }
}
