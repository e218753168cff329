//! Nodes of which many columns are drawn: what all columns span comes of one pass over the rows' records, and sixteen
//! drawn ones are picked from a record at a time and scored side by side.

use corten_core::random::Stream;
use corten_kernels::lanes::Lanes;
use corten_kernels::splits::SET;

use super::super::columns;
use super::super::finder::{Span, members};
use super::super::ranks::{Code, Table};
use super::{Cut, Drawn, Part, Target};

/// Least number of drawn columns.
const LEAST: usize = 4;
/// Bytes of a node's records a drawn column up to which a pass over them costs less than a search of each column.
const BYTES: usize = 1 << 11;

/// Whether a node of so many rows is searched here where so many columns are drawn.
#[inline(always)]
pub(super) fn suits<C: Code>(table: &Table<C>, rows: usize, drawn: usize) -> bool {
    drawn >= LEAST && rows * table.stride * size_of::<C>() <= BYTES * drawn.min(table.columns.len())
}

/// Bytes of a record a drawn column up to which the same is true of sets of few rows.
const FEW_BYTES: usize = 16;

/// The same of sets of few rows.
pub(super) fn suits_few<C: Code>(table: &Table<C>, drawn: usize) -> bool {
    suits(table, SET, drawn) && table.stride * size_of::<C>() <= FEW_BYTES * drawn
}

/// What a search works in.
pub(super) struct Picks<C> {
    /// Least and greatest code of each column in the node at hand.
    low: Vec<C>,
    high: Vec<C>,
    cuts: Vec<Cut>,
    records: Vec<[u32; SET]>,
    /// Places of records: their numbers.
    places: Vec<u32>,
}

impl<C: Code> Picks<C> {
    pub(super) fn new() -> Self {
        Self { low: Vec::new(), high: Vec::new(), cuts: Vec::new(), records: Vec::new(), places: Vec::new() }
    }

    /// Finds what the columns of some rows span.
    #[inline(always)]
    fn look(&mut self, records: &[C], stride: usize, mut rows: impl Iterator<Item = u32>) {
        let record = |row: u32| &records[row as usize * stride..][..stride];
        for out in [&mut self.low, &mut self.high] {
            out.clear();
        }
        let Some(first) = rows.next() else { return };
        self.low.extend_from_slice(record(first));
        self.high.extend_from_slice(record(first));
        for row in rows {
            for ((low, high), &code) in self.low.iter_mut().zip(&mut self.high).zip(record(row)) {
                *low = code.min(*low);
                *high = code.max(*high);
            }
        }
    }
}

/// Sixteen cuts or fewer: their columns, the greatest codes on the left, and what is added to codes.
#[inline(always)]
fn sixteen(cuts: &[Cut]) -> [[u32; SET]; 3] {
    let [mut features, mut lasts, mut shifts] = [[0; SET]; 3];
    for (lane, cut) in cuts.iter().enumerate().take(SET) {
        (features[lane], lasts[lane], shifts[lane]) = (cut.feature as u32, cut.side.last, cut.side.shift);
    }
    [features, lasts, shifts]
}

impl<C: Code, T: Target> Drawn<'_, C, T> {
    /// Draws columns of some rows and their cuts until there are enough.
    #[inline(always)]
    fn pick(&mut self, depth: usize, stream: &mut Stream, rows: impl Iterator<Item = u32> + Clone, enough: usize) {
        self.known.enter(depth);
        let (table, picks) = (self.table, &mut self.picks);
        let records = self.blocks.records(table);
        picks.look(records, table.stride, rows.clone());
        picks.cuts.clear();
        let mut visited = 0;
        while (visited < self.rules.max_features || picks.cuts.is_empty()) && picks.cuts.len() < enough {
            let Some(feature) = self.draws.next(stream) else { break };
            visited += 1;
            let mut span = Span { low: picks.low[feature].get(), high: picks.high[feature].get(), missing: 0 };
            if span.low == span.high {
                self.known.add(feature);
                continue;
            }
            let column = &table.columns[feature];
            if span.high == column.missing {
                let codes = rows.clone().map(|row| records[row as usize * table.stride + feature].get());
                span.high = codes.filter(|&code| code != column.missing).max().unwrap_or(0);
                span.missing = 1;
            }
            let (threshold, side, missing_left) = columns::draw(column, &span, stream);
            picks.cuts.push(Cut { feature, threshold, side, missing_left, score: f64::NAN });
        }
        self.draws.reset();
    }

    /// The best of drawn cuts; leaves the codes of its column.
    #[inline(always)]
    pub(super) fn search_picked<L: Lanes>(&mut self, lanes: L, part: Part, stream: &mut Stream) -> Option<Cut> {
        let all = std::mem::take(&mut self.rows);
        let rows = &all[part.start..part.end];
        self.pick(part.depth, stream, rows.iter().copied(), usize::MAX);
        let (table, least, picks) = (self.table, self.rules.min_samples_leaf, &mut self.picks);
        let (codes, stride) = (self.blocks.records(table), table.stride);
        picks.places.extend(picks.places.len() as u32..rows.len() as u32);
        let mut best: Option<Cut> = None;
        'all: for cuts in picks.cuts.chunks(SET) {
            let [features, lasts, shifts] = sixteen(cuts);
            picks.records.clear();
            for &row in rows {
                let record = &codes[row as usize * stride..][..stride];
                picks.records.push(features.map(|feature| record[feature as usize].get()));
            }
            let places = &picks.places[..rows.len()];
            let (scores, counts) = self.target.score_columns(places, &picks.records, &lasts, &shifts);
            for ((cut, score), left) in cuts.iter().zip(scores).zip(counts) {
                let left = left as usize;
                if left >= least && rows.len() - left >= least && best.is_none_or(|b| score > b.score) {
                    best = Some(Cut { score, ..*cut });
                    if self.target.is_perfect(score, rows.len()) {
                        break 'all;
                    }
                }
            }
        }
        if let Some(cut) = best {
            columns::gather(lanes, (&codes[cut.feature..], stride), rows, &mut self.codes[1]);
        }
        self.rows = all;
        best
    }

    /// The best of drawn cuts of a set of rows, and what lies on its left.
    #[inline(always)]
    pub(super) fn search_few_picked(&mut self, depth: usize, stream: &mut Stream, set: u16) -> Option<(Cut, u16)> {
        let rows = self.few.rows;
        let count = set.count_ones() as usize;
        // Any cut of two rows sets them apart.
        let enough = if count == 2 { 1 } else { usize::MAX };
        self.pick(depth, stream, members(set).map(|at| rows[at]), enough);
        let (table, least) = (self.table, self.rules.min_samples_leaf);
        let (codes, stride) = (self.blocks.records(table), table.stride);
        let is_left = |at: usize, cut: &Cut| cut.side.has(codes[rows[at] as usize * stride + cut.feature].get());
        let left = |cut: &Cut| members(set).fold(0, |left, at| left | u16::from(is_left(at, cut)) << at);
        if count == 2 {
            let cut = *self.picks.cuts.first().filter(|_| least <= 1)?;
            let left = left(&cut);
            return Some((Cut { score: self.target.few_score(left), ..cut }, left));
        }
        let mut best: Option<Cut> = None;
        let mut records = [[0; SET]; SET];
        'all: for cuts in self.picks.cuts.chunks(SET) {
            let [features, lasts, shifts] = sixteen(cuts);
            for at in members(set) {
                let record = &codes[rows[at] as usize * stride..][..stride];
                records[at] = features.map(|feature| record[feature as usize].get());
            }
            let (scores, counts) = self.target.few_columns(set, &records, &lasts, &shifts);
            for ((cut, score), on_left) in cuts.iter().zip(scores).zip(counts) {
                let on_left = on_left as usize;
                if on_left >= least && count - on_left >= least && best.is_none_or(|b| score > b.score) {
                    best = Some(Cut { score, ..*cut });
                    if self.target.is_perfect(score, count) {
                        break 'all;
                    }
                }
            }
        }
        best.map(|cut| (cut, left(&cut)))
    }
}
