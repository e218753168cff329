//! Short records of floats: what all columns span, and what lies left of a cut of each, come of one pass over the rows
//! each, column beside column.

use corten_core::random::Stream;
use corten_kernels::lanes::Lanes;
use corten_kernels::splits::SET;

use super::super::columns::{self, MOST, Side, by_width};
use super::super::finder::{Span, members};
use super::super::ranks::{Code, NO_MISSING, Scale, Table, last_floats};
use super::{Cut, Drawn, Part, Target};

/// Columns a drawn one up to which all are looked at.
const SHARE: usize = 4;
/// Widths of records that kernels know.
const WIDTHS: [usize; 4] = [8, 16, 32, MOST];

/// Whether columns are looked at side by side where so many of them are drawn.
pub(super) fn suits<C: Code>(table: &Table<C>, drawn: usize) -> bool {
    table.columns.len() <= drawn.saturating_mul(SHARE)
        && WIDTHS.contains(&table.stride)
        && C::words(table.by_row()).is_some()
        && table.columns.iter().all(|column| matches!(column.scale, Scale::Floats))
}

/// A cut a column.
pub(super) struct Cuts<const W: usize> {
    low: [u32; W],
    high: [u32; W],
    share: [f64; W],
    shift: [u32; W],
    /// Where the node's values are missing, whether they go left.
    missing_left: [Option<bool>; W],
    /// Columns with a cut in the order in which they were drawn, and how many there are.
    order: [u8; W],
    count: usize,
}

impl<const W: usize> Cuts<W> {
    /// Draws columns of a node and their cuts until there are enough. `low` and `high` are the least and the greatest
    /// code; `rest` gives the greatest one of values that are there, 0 where none is, for a column of which some are
    /// missing.
    #[inline(always)]
    fn new<C: Code>(
        table: &Table<C>,
        (low, high): ([u32; W], [u32; W]),
        (visits, enough): (usize, usize),
        stream: &mut Stream,
        mut rest: impl FnMut(usize) -> u32,
    ) -> Self {
        let mut cuts =
            Self { low, high, share: [0.0; W], shift: [0; W], missing_left: [None; W], order: [0; W], count: 0 };
        let mut left: [u8; W] = std::array::from_fn(|at| at as u8);
        let mut waiting = table.columns.len().min(W);
        let mut visited = 0;
        while (visited < visits || cuts.count == 0) && waiting > 0 && cuts.count < enough {
            let at = stream.below(waiting as u64) as usize;
            let column = left[at];
            waiting -= 1;
            left[at] = left[waiting];
            visited += 1;
            let at = usize::from(column);
            if cuts.low[at] == cuts.high[at] {
                continue;
            }
            cuts.share[at] = stream.uniform();
            let missing = table.columns[at].missing;
            if missing != NO_MISSING && cuts.high[at] == missing {
                cuts.high[at] = rest(at);
                let missing_left = stream.below(2) == 1;
                let is_split = cuts.low[at] < cuts.high[at];
                cuts.missing_left[at] = Some(is_split && missing_left);
                cuts.shift[at] = if is_split && missing_left { missing.wrapping_neg() } else { 0 };
            }
            cuts.order[cuts.count] = column;
            cuts.count += 1;
        }
        cuts
    }

    /// The greatest code on the left of each cut.
    #[inline(always)]
    fn lasts(&self) -> [u32; W] {
        last_floats(&self.low, &self.high, &self.share)
    }

    fn drawn(&self) -> impl Iterator<Item = usize> {
        self.order[..self.count].iter().map(|&column| usize::from(column))
    }

    /// The best of the cuts that leave enough rows on both sides, in the order in which they were drawn.
    #[inline(always)]
    fn best<T: Target>(
        &self,
        target: &T,
        (scores, counts): &([f64; W], [u32; W]),
        rows: usize,
        least: usize,
    ) -> Option<(usize, f64)> {
        let mut best: Option<(usize, f64)> = None;
        for column in self.drawn() {
            let (score, left) = (scores[column], counts[column] as usize);
            if left >= least && rows - left >= least && best.is_none_or(|(_, b)| score > b) {
                best = Some((column, score));
                if target.is_perfect(score, rows) {
                    break;
                }
            }
        }
        best
    }

    #[inline(always)]
    fn cut<C: Code>(&self, table: &Table<C>, feature: usize, last: u32, score: f64) -> Cut {
        let (low, high) = (self.low[feature], self.high[feature]);
        let span = Span { low, high, missing: 0 };
        let missing_left = self.missing_left[feature];
        // Where one value alone is there, it lies left of every threshold.
        let is_split = low < high;
        let threshold =
            if is_split { table.columns[feature].cut_at(&span, self.share[feature]).0 } else { f64::INFINITY };
        Cut { feature, threshold, side: Side { last, shift: self.shift[feature] }, missing_left, score }
    }
}

/// Least and greatest code of each column of some records.
#[inline(always)]
fn spans<'a, const W: usize>(records: impl Iterator<Item = &'a [u32; W]>) -> ([u32; W], [u32; W]) {
    let (mut low, mut high) = ([u32::MAX; W], [0; W]);
    for record in records {
        for lane in 0..W {
            low[lane] = low[lane].min(record[lane]);
            high[lane] = high[lane].max(record[lane]);
        }
    }
    (low, high)
}

impl<C: Code, T: Target> Drawn<'_, C, T> {
    /// The best of drawn cuts; leaves the codes of its column.
    #[inline(always)]
    pub(super) fn search_at_once<L: Lanes>(&mut self, lanes: L, part: Part, stream: &mut Stream) -> Option<Cut> {
        by_width!(self.table.stride, W => self.search_wide::<L, W>(lanes, part, stream))
    }

    #[inline(always)]
    fn search_wide<L: Lanes, const W: usize>(&mut self, lanes: L, part: Part, stream: &mut Stream) -> Option<Cut> {
        let (table, rules) = (self.table, self.rules);
        let rows = &self.rows[part.start..part.end];
        let records = C::words(self.blocks.records(table))?.as_chunks::<W>().0;
        let spans = spans(rows.iter().map(|&row| &records[row as usize]));
        let cuts = Cuts::new(table, spans, (rules.max_features, W), stream, |column| {
            let missing = table.columns[column].missing;
            let codes = rows.iter().map(|&row| records[row as usize][column]);
            codes.filter(|&code| code != missing).max().unwrap_or(0)
        });
        let lasts = cuts.lasts();
        let scores = self.target.score_columns(rows, records, &lasts, &cuts.shift);
        let (feature, score) = cuts.best(&self.target, &scores, rows.len(), rules.min_samples_leaf)?;
        let codes = self.blocks.column(table, feature, rows.len());
        columns::gather(lanes, codes, rows, &mut self.codes[1]);
        Some(cuts.cut(table, feature, lasts[feature], score))
    }

    /// Reads the records of a subtree's rows.
    #[inline(always)]
    pub(super) fn load_records(&mut self, start: usize, end: usize) {
        let width = self.table.stride;
        let Some(records) = C::words(self.blocks.records(self.table)) else { return };
        by_width!(width, W => {
            let from = records.as_chunks::<W>().0;
            let to = self.few.records.as_chunks_mut::<W>().0;
            for (to, &row) in to.iter_mut().zip(&self.rows[start..end]) {
                *to = from[row as usize];
            }
        });
    }

    /// The best of drawn cuts of a set of rows, and what lies on its left.
    #[inline(always)]
    pub(super) fn search_few_at_once(&mut self, stream: &mut Stream, set: u16) -> Option<(Cut, u16)> {
        by_width!(self.table.stride, W => self.search_few_wide::<W>(stream, set))
    }

    #[inline(always)]
    fn search_few_wide<const W: usize>(&mut self, stream: &mut Stream, set: u16) -> Option<(Cut, u16)> {
        let (table, least) = (self.table, self.rules.min_samples_leaf);
        let records: &[[u32; W]; SET] = self.few.records.as_chunks::<W>().0.first_chunk()?;
        let rows = set.count_ones() as usize;
        let spans = spans(members(set).map(|at| &records[at]));
        // Any cut of two rows sets them apart.
        let enough = if rows == 2 { 1 } else { W };
        let cuts = Cuts::new(table, spans, (self.rules.max_features, enough), stream, |column| {
            let codes = members(set).map(|at| records[at][column]);
            codes.filter(|&code| code != table.columns[column].missing).max().unwrap_or(0)
        });
        if cuts.count == 0 {
            return None;
        }
        let lasts = cuts.lasts();
        let left = |feature: usize| {
            let side = Side { last: lasts[feature], shift: cuts.shift[feature] };
            members(set).fold(0, |left, at| left | u16::from(side.has(records[at][feature])) << at)
        };
        let (feature, left, score) = if rows == 2 {
            let feature = usize::from(cuts.order[0]);
            let left = left(feature);
            if least > 1 {
                return None;
            }
            (feature, left, self.target.few_score(left))
        } else {
            let scores = self.target.few_columns(set, records, &lasts, &cuts.shift);
            let (feature, score) = cuts.best(&self.target, &scores, rows, least)?;
            (feature, left(feature), score)
        };
        Some((cuts.cut(table, feature, lasts[feature], score), left))
    }
}
