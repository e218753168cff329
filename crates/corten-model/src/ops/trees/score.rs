//! From a block of rows to sums of leaves.

use corten_kernels::cpu;
use corten_kernels::trees::{OneRow, Planes, Sieve, VECTOR};

use super::super::Flow;
use super::{Inner, Precision, Trees};
use crate::graph::Slot;

/// Rows from which a block is walked tree by tree, and from which small trees take a bit a row.
const WALK: usize = 8;
const BITS: usize = 48;
/// Rows that are walked before the layout for single rows, and the one of a bit a row, are made: making them takes as long as
/// walking about as many rows, and a process that scores one row should not wait for them.
#[cfg(feature = "std")]
const BEFORE_ONE_ROW: u32 = 64;
#[cfg(feature = "std")]
const BEFORE_PLANES: u32 = 1024;

impl Trees {
    /// Makes the layouts that blocks of `rows` rows take, which scoring makes only after some rows.
    pub(crate) fn prepare(&self, rows: usize) {
        #[cfg(feature = "std")]
        {
            let inner = self.inner();
            inner.one_row.get_or_init(|| OneRow::new(&inner.forest, &inner.coder));
            if rows >= BITS {
                inner.sieve.get_or_init(|| inner.make_sieve());
                inner.planes.get_or_init(|| Planes::new(&inner.forest, &inner.coder));
            }
        }
        #[cfg(not(feature = "std"))]
        let _ = rows;
    }

    /// Scores a block: codes its rows, then finds and adds up leaves.
    pub(super) fn score(&self, flow: &mut Flow<'_, '_>, inputs: &[Slot], first: u32) {
        let &mut Flow { rows, stride, ref mut numbers, ref mut scratch, .. } = flow;
        let (before, after) = numbers.split_at_mut(first as usize * stride);
        let before = &*before;
        if rows == 1 {
            // Those of a table were told before.
            self.inner.expect(1);
        }
        if let Some(grown) = self.inner.grown() {
            scratch.row.clear();
            let row = |r: usize| inputs.iter().map(move |&slot| before[place(slot) * stride + r]);
            scratch.row.extend((0..rows).flat_map(row));
            grown.score(&scratch.row, after, stride);
            return;
        }
        let inner = self.inner();
        for (k, &base) in inner.base.iter().enumerate() {
            after[k * stride..][..rows].fill(base);
        }
        if inner.linear.is_some() || rows < WALK || (rows < BITS && inner.one_row(rows).is_some()) {
            inner.score_rows(before, after, rows, stride, inputs, scratch);
        } else {
            inner.score_block(before, after, rows, stride, inputs, scratch);
        }
        for (k, &count) in inner.divisors.iter().enumerate() {
            after[k * stride..][..rows].iter_mut().for_each(|y| *y /= count);
        }
    }
}

fn place(slot: Slot) -> usize {
    match slot {
        Slot::Number(at) | Slot::Text(at) => at as usize,
    }
}

impl Inner {
    /// The layout for single rows, made when enough rows were walked.
    #[cfg(feature = "std")]
    fn one_row(&self, rows: usize) -> Option<&OneRow> {
        if let Some(made) = self.one_row.get() {
            return made.as_ref();
        }
        if !self.walked(rows, BEFORE_ONE_ROW) {
            return None;
        }
        self.one_row.get_or_init(|| OneRow::new(&self.forest, &self.coder)).as_ref()
    }

    #[cfg(not(feature = "std"))]
    fn one_row(&self, _: usize) -> Option<&OneRow> {
        None
    }

    /// The layout for blocks over few columns, made when enough rows were walked.
    #[cfg(feature = "std")]
    fn sieve(&self, rows: usize) -> Option<&Sieve> {
        if !self.has_sieve() && self.sieve.get().is_none() && self.walked(rows, BEFORE_PLANES) {
            self.sieve.get_or_init(|| self.make_sieve());
        }
        self.made_sieve()
    }

    #[cfg(not(feature = "std"))]
    fn sieve(&self, _: usize) -> Option<&Sieve> {
        None
    }

    /// `None` where that of single rows can be asked, too.
    #[cfg(feature = "std")]
    fn make_sieve(&self) -> Option<Sieve> {
        if self.made_sieve().is_some() { None } else { Sieve::for_blocks(&self.forest, &self.coder) }
    }

    /// A sieve for blocks that was made.
    #[cfg(feature = "std")]
    fn made_sieve(&self) -> Option<&Sieve> {
        let single = self.one_row.get().and_then(Option::as_ref).and_then(OneRow::sieve);
        single.filter(|sieve| sieve.runs_blocks()).or_else(|| self.sieve.get()?.as_ref())
    }

    /// Whether blocks have a sieve.
    #[cfg(feature = "std")]
    pub(super) fn has_sieve(&self) -> bool {
        self.made_sieve().is_some()
    }

    #[cfg(not(feature = "std"))]
    pub(super) fn has_sieve(&self) -> bool {
        false
    }

    /// The layout for blocks, made when enough rows were walked.
    #[cfg(feature = "std")]
    fn planes(&self, rows: usize) -> Option<&Planes> {
        if let Some(made) = self.planes.get() {
            return made.as_ref();
        }
        if !self.walked(rows, BEFORE_PLANES) {
            return None;
        }
        self.planes.get_or_init(|| Planes::new(&self.forest, &self.coder)).as_ref()
    }

    #[cfg(not(feature = "std"))]
    fn planes(&self, _: usize) -> Option<&Planes> {
        None
    }

    /// Counts rows; whether as many had come before.
    #[cfg(feature = "std")]
    fn walked(&self, rows: usize, enough: u32) -> bool {
        use core::sync::atomic::Ordering::Relaxed;
        let before = self.walked.load(Relaxed);
        self.walked.store(before.saturating_add(rows as u32), Relaxed);
        before >= enough
    }

    /// Row by row.
    fn score_rows(
        &self,
        before: &[f64],
        after: &mut [f64],
        rows: usize,
        stride: usize,
        inputs: &[Slot],
        scratch: &mut super::super::Scratch,
    ) {
        let columns = self.coder.columns().max(1);
        let one_row = if self.linear.is_none() { self.one_row(rows) } else { None };
        let level = cpu::level();
        scratch.codes.resize(columns.max(scratch.codes.len()), 0);
        scratch.found.resize(self.forest.trees().max(scratch.found.len()), 0);
        scratch.row.clear();
        scratch.row.resize(inputs.len(), 0.0);
        for r in 0..rows {
            for (x, &slot) in scratch.row.iter_mut().zip(inputs) {
                *x = before[place(slot) * stride + r];
            }
            self.coder.row(level, &scratch.row, &mut scratch.codes);
            if let Some(one_row) = one_row {
                let (codes, out) = (&scratch.codes, &mut after[r..]);
                one_row.row(&self.forest, codes, &mut scratch.one_row, &mut scratch.found, out, stride);
                continue;
            }
            self.forest.walk_row(&scratch.codes, &mut scratch.found);
            if self.linear.is_some() {
                self.add_linear(&scratch.found, &scratch.row, &mut after[r..], stride);
            } else {
                self.forest.add_up(&scratch.found, &mut after[r..], stride);
            }
        }
    }

    /// Adds leaves that hold linear models.
    fn add_linear(&self, found: &[u32], row: &[f64], out: &mut [f64], stride: usize) {
        let Some(linear) = &self.linear else { return };
        let parts = self.forest.parts();
        for (&leaf, &target) in found.iter().zip(&parts.targets) {
            debug_assert_ne!(target, VECTOR, "linear leaves belong to one output");
            let leaf = leaf as usize;
            let sum = &mut out[target as usize * stride];
            *sum += linear.value(leaf, parts.leaves[leaf], row);
            if self.rules.sum == Precision::F32 {
                *sum = f64::from(*sum as f32);
            }
        }
    }

    /// Tree by tree.
    fn score_block(
        &self,
        before: &[f64],
        after: &mut [f64],
        rows: usize,
        stride: usize,
        inputs: &[Slot],
        scratch: &mut super::super::Scratch,
    ) {
        let (columns, level) = (self.coder.columns(), cpu::level());
        let width = columns.max(1);
        scratch.codes.resize((2 * rows * width).max(scratch.codes.len()), 0);
        let (by_column, by_row) = scratch.codes.split_at_mut(rows * width);
        self.coder.block(level, rows, |f| &before[place(inputs[f]) * stride..][..rows], by_column);
        if rows >= BITS
            && let Some(sieve) = self.sieve(rows)
            && sieve.block(&self.forest, &by_column[..rows * columns], rows, &mut scratch.sieve, after, stride)
        {
            return;
        }
        if rows >= BITS
            && let Some(planes) = self.planes(rows)
        {
            planes.block(&self.forest, by_column, rows, &mut scratch.planes, after, stride);
            return;
        }
        for (c, codes) in by_column[..rows * columns].chunks_exact(rows).enumerate() {
            codes.iter().enumerate().for_each(|(r, &code)| by_row[r * width + c] = code);
        }
        self.forest.walk_block(by_row, width, rows, after, stride);
    }
}
