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
/// Rows of a column that are looked at together for values that aren't the usual one.
const CHUNK: usize = 32;
/// Rows that tell which value is usual, and how many of them have it at least.
const SAMPLE: usize = 256;
const USUAL: usize = SAMPLE * 7 / 8;

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

impl Sum for f64 {
    #[inline(always)]
    fn without(self, part: f64) -> f64 {
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
    /// Where the sums of the value stand that most rows have: they are what all others leave, so that these rows aren't
    /// read. Nothing where no value is as frequent.
    usual: Option<usize>,
    /// How many columns without such a value come before.
    before: usize,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Bins {
    /// In ascending order of the rows up to which they are kept in order: those of a node that are summed come first.
    pub(super) columns: Vec<Binned>,
    /// Which of them a column of the table is.
    places: Vec<Option<usize>>,
    /// Where the sums of a row's value start in each column without a usual value, row after row.
    records: Vec<u16>,
    stride: usize,
    /// The same of values that aren't the usual ones, of the other columns: those of a row stand together, up to an end.
    others: Vec<u16>,
    ends: Vec<u32>,
    /// Sums of a value.
    pub(super) width: usize,
}

/// A part of the rows of [`Bins`].
#[derive(Default)]
struct Written {
    records: Vec<u16>,
    others: Vec<u16>,
    /// How many of them each row has.
    counts: Vec<u32>,
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
            let usual = usual(&table.columns[column].codes).map(|code| start + code as usize * width);
            bins.columns.push(Binned { column, sums: start..start + sums, least, usual, before: bins.stride });
            bins.stride += usize::from(usual.is_none());
            start += sums;
        }
        if bins.columns.is_empty() {
            return bins;
        }
        let rows = table.columns[0].codes.len();
        bins.records.reserve_exact(rows * bins.stride);
        bins.ends.reserve_exact(rows + 1);
        let blocks = parallel::map_together(threads, rows.div_ceil(WRITTEN), |at| {
            bins.written(table, at * WRITTEN..((at + 1) * WRITTEN).min(rows))
        });
        let mut end = 0;
        bins.ends.push(end);
        for Written { records, others, counts } in blocks {
            bins.records.extend_from_slice(&records);
            bins.others.extend_from_slice(&others);
            for count in counts {
                end += count;
                bins.ends.push(end);
            }
        }
        bins
    }

    /// Where the sums of some rows' values start.
    fn written<C: Code>(&self, table: &Table<C>, range: Range<usize>) -> Written {
        let mut out = Written { records: vec![0; range.len() * self.stride], ..Written::default() };
        let (mut dense, mut rare) = (0, Vec::new());
        for binned in &self.columns {
            let codes = &table.columns[binned.column].codes[range.clone()];
            let start = |code: C| (binned.sums.start + code.get() as usize * self.width) as u16;
            if let Some(usual) = binned.usual {
                rare.push((codes, binned.sums.start, C::new(((usual - binned.sums.start) / self.width) as u32)));
                continue;
            }
            for (record, &code) in out.records.chunks_exact_mut(self.stride).zip(codes) {
                record[dense] = start(code);
            }
            dense += 1;
        }
        if rare.is_empty() {
            return out;
        }
        out.counts = vec![0; range.len()];
        for (codes, _, usual) in &rare {
            out.counts.iter_mut().zip(*codes).for_each(|(count, code)| *count += u32::from(code != usual));
        }
        let mut next = Vec::with_capacity(range.len());
        let mut all = 0;
        for &count in &out.counts {
            next.push(all);
            all += count;
        }
        out.others = vec![0; all as usize];
        for (codes, start, usual) in rare {
            for (codes, next) in codes.chunks(CHUNK).zip(next.chunks_mut(CHUNK)) {
                // All are looked at, side by side.
                if !codes.iter().fold(false, |any, &code| any | (code != usual)) {
                    continue;
                }
                for (&code, next) in codes.iter().zip(next) {
                    if code != usual {
                        out.others[*next as usize] = (start + code.get() as usize * self.width) as u16;
                        *next += 1;
                    }
                }
            }
        }
        out
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
        let (all, binned) = (self.sums(columns), &self.columns[columns.clone()]);
        let before = |at: usize| self.columns.get(at).map_or(self.stride, |binned| binned.before);
        let dense = before(columns.start)..before(columns.end);
        let has_usual = dense.len() < columns.len();
        out.clear();
        // Behind those of values, the sums of all rows.
        out.resize(all.len() + self.width, T::Sum::default());
        for (row, item) in rows {
            let row = row as usize;
            for &at in &self.records[row * self.stride..][dense.clone()] {
                target.add(&mut out[at as usize - all.start..], item);
            }
            if has_usual {
                for &at in &self.others[self.ends[row] as usize..self.ends[row + 1] as usize] {
                    if all.contains(&usize::from(at)) {
                        target.add(&mut out[at as usize - all.start..], item);
                    }
                }
                target.add(&mut out[all.len()..], item);
            }
        }
        let (values, total) = out.split_at_mut(all.len());
        for binned in binned {
            let Some(usual) = binned.usual else { continue };
            let sums = &mut values[binned.sums.start - all.start..binned.sums.end - all.start];
            let usual = usual - binned.sums.start;
            sums[usual..usual + self.width].copy_from_slice(total);
            let (low, rest) = sums.split_at_mut(usual);
            let (own, high) = rest.split_at_mut(self.width);
            // A loop, as closures of iterators aren't compiled together with what uses them.
            for value in low.chunks_exact(self.width).chain(high.chunks_exact(self.width)) {
                for (own, &sum) in own.iter_mut().zip(value) {
                    *own = own.without(sum);
                }
            }
        }
        out.truncate(all.len());
    }

    /// The value after another that some rows of a node have, by the sums of a column.
    #[inline(always)]
    pub(super) fn next<T: Target>(&self, target: &T, sums: &[T::Sum], value: usize) -> usize {
        let mut values = sums.chunks_exact(self.width).enumerate().skip(value + 1);
        values.find(|(_, sums)| !target.is_empty(sums)).map_or(value, |(value, _)| value)
    }
}

/// The value that nearly all of some rows have.
fn usual<C: Code>(codes: &[C]) -> Option<u32> {
    let step = (codes.len() / SAMPLE).max(1);
    let mut sample: Vec<u32> = codes.iter().step_by(step).take(SAMPLE).map(|code| code.get()).collect();
    sample.sort_unstable();
    // Of what is that frequent, some is in the middle.
    let middle = *sample.get(sample.len() / 2)?;
    (sample.iter().filter(|&&code| code == middle).count() >= USUAL).then_some(middle)
}

/// What is left of sums without those of a part.
#[inline(always)]
pub(super) fn rest<S: Sum>(all: &[S], part: &[S], out: &mut Vec<S>) {
    out.clear();
    out.extend(all.iter().zip(part).map(|(&all, &part)| all.without(part)));
}
