//! Columns of few values: nodes of many rows sum them by value, in whatever order the rows lie.
//!
//! Sums of a node are those of its parent less its sibling's, so that only the smaller of two children is read (Ke et al.,
//! "LightGBM", NIPS 2017). Here a value has a bin of its own, and sums are exact: trees are those of sorted columns.

use std::ops::Range;

use corten_kernels::parallel;

use super::super::ranks::{Code, NO_MISSING, Scale, Table};
use super::{Target, block};

/// Most bytes of a node's sums.
const BYTES: usize = 1 << 18;
/// Rows up to which all columns are kept in order.
const LEAST: usize = 32;
/// Rows of a block of records that a thread writes.
const WRITTEN: usize = 1 << 13;

/// What is summed of rows.
pub(crate) trait Sum: Copy + Default + Send + Sync {
    /// What is left without a part.
    fn without(self, part: Self) -> Self;
}

impl Sum for u32 {
    #[inline(always)]
    fn without(self, part: u32) -> u32 {
        self - part
    }
}

impl Sum for u64 {
    #[inline(always)]
    fn without(self, part: u64) -> u64 {
        self - part
    }
}

impl Sum for [f64; 2] {
    #[inline(always)]
    fn without(self, part: [f64; 2]) -> [f64; 2] {
        [self[0] - part[0], self[1] - part[1]]
    }
}

/// A column of few values.
pub(super) struct Binned {
    pub(super) column: usize,
    /// Where its sums stand among those of a node.
    pub(super) sums: Range<usize>,
    /// Rows up to which it is kept in order.
    least: usize,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Bins {
    /// In ascending order of the rows up to which they are kept in order: those of a node that are summed come first.
    pub(super) columns: Vec<Binned>,
    /// Which of them a column of the table is.
    places: Vec<Option<usize>>,
    /// Where the sums of a row's value start in each of them, row after row.
    records: Vec<u16>,
    /// Sums of a value.
    pub(super) width: usize,
}

impl Bins {
    /// Columns without missing values whose sums, of so many bytes, are few.
    pub(crate) fn new<C: Code>(table: &Table<C>, width: usize, bytes: usize, threads: usize) -> Self {
        let mut few: Vec<(usize, usize, usize)> = Vec::new();
        for (at, column) in table.columns.iter().enumerate() {
            if let Scale::Values(values) = &column.scale
                && column.missing == NO_MISSING
            {
                // A value costs about as much as half a row of a sorted column; of several sums, as two rows and more.
                let least = if width == 1 { values.len() / 2 } else { values.len() * (32 + width) / 16 };
                let least = least.max(LEAST);
                few.push((least, at, values.len() * width));
            }
        }
        few.sort_unstable();
        let mut bins = Self { width, places: vec![None; table.columns.len()], ..Self::default() };
        let (mut start, most) = (0, (BYTES / bytes).min(1 << u16::BITS));
        for (least, column, sums) in few {
            if least > block::ROWS / 2 || start + sums > most {
                break;
            }
            bins.places[column] = Some(bins.columns.len());
            bins.columns.push(Binned { column, sums: start..start + sums, least });
            start += sums;
        }
        let rows = table.columns.first().map_or(0, |column| column.codes.len());
        let stride = bins.columns.len();
        if stride > 0 {
            let blocks = parallel::map_together(threads, rows.div_ceil(WRITTEN), |at| {
                let range = at * WRITTEN..((at + 1) * WRITTEN).min(rows);
                let mut block = vec![0; range.len() * stride];
                for (at, binned) in bins.columns.iter().enumerate() {
                    let codes = &table.columns[binned.column].codes[range.clone()];
                    for (record, code) in block.chunks_exact_mut(stride).zip(codes) {
                        record[at] = (binned.sums.start + code.get() as usize * width) as u16;
                    }
                }
                block
            });
            bins.records = blocks.concat();
        }
        bins
    }

    /// How many of the columns, the first ones, are summed by value in a node of so many rows.
    #[inline(always)]
    pub(super) fn count(&self, rows: usize) -> usize {
        self.columns.partition_point(|binned| binned.least < rows)
    }

    /// Which of the columns a column of the table is.
    #[inline(always)]
    pub(super) fn place(&self, column: usize) -> Option<usize> {
        self.places.get(column).copied().flatten()
    }

    /// Where the sums of a row's values start.
    #[inline(always)]
    pub(super) fn record(&self, row: u32) -> &[u16] {
        let stride = self.columns.len();
        &self.records[row as usize * stride..][..stride]
    }

    /// Where the sums of some of the columns stand.
    #[inline(always)]
    pub(super) fn sums(&self, columns: &Range<usize>) -> Range<usize> {
        if columns.is_empty() {
            return 0..0;
        }
        self.columns[columns.start].sums.start..self.columns[columns.end - 1].sums.end
    }

    /// Sums rows by their values in some of the columns.
    #[inline(always)]
    pub(super) fn add<T: Target>(
        &self,
        target: &T,
        columns: &Range<usize>,
        rows: impl Iterator<Item = (u32, T::Item)>,
        out: &mut Vec<T::Sum>,
    ) {
        let all = self.sums(columns);
        out.clear();
        out.resize(all.len(), T::Sum::default());
        for (row, item) in rows {
            for &at in &self.record(row)[columns.clone()] {
                target.add(&mut out[at as usize - all.start..], item);
            }
        }
    }

    /// The value after another that some rows of a node have, by the sums of a column.
    #[inline(always)]
    pub(super) fn next<T: Target>(&self, target: &T, sums: &[T::Sum], value: usize) -> usize {
        let mut values = sums.chunks_exact(self.width).enumerate().skip(value + 1);
        values.find(|(_, sums)| !target.is_empty(sums)).map_or(value, |(value, _)| value)
    }
}

/// What is left of sums without those of a part.
#[inline(always)]
pub(super) fn rest<S: Sum>(all: &[S], part: &[S], out: &mut Vec<S>) {
    out.clear();
    out.extend(all.iter().zip(part).map(|(&all, &part)| all.without(part)));
}
