//! Growing a tree whose cuts are drawn: nothing is sorted.
//!
//! A node needs the least and the greatest value of each column that is drawn for it (Geurts, Ernst & Wehenkel,
//! "Extremely randomized trees", 2006), and what lies left of one threshold. Trees are those of
//! [`Grower`](super::grower::Grower), which is the oracle and grows what isn't simple: limits on more than
//! numbers of rows, several outputs, other losses.

mod at_once;
pub(super) mod classes;
mod few;
mod means;
mod picked;
pub(super) mod shares;
mod sides;
#[cfg(test)]
mod tests;

use corten_core::random::Stream;
use corten_core::{CancelToken, Result};
use corten_kernels::lanes::{self, Lanes, Work};
use corten_kernels::splits::SET;

use super::blocks::Blocks;
use super::columns::{self, Side};
use super::draws::{Draws, Known};
use super::finder::Stats;
use super::grower::Rules;
use super::ranks::{Code, Table};
use super::tree::GrownTree;

pub(crate) use classes::Classes;
pub(crate) use means::Means;
pub(crate) use shares::Shares;
pub(crate) use sides::Factors;

/// Bytes of a record up to which rows are read where they lie: few cuts are looked at, and a line of the cache holds them.
const LINE: usize = 64;

/// Nodes for which there is room from the start, at most.
const NODES: usize = 1 << 16;
/// Numbers of a node's value for which there is, at most.
const WIDTH: usize = 4;

/// What a tree is grown for: keeps what goes with each row, in the order of rows.
pub(crate) trait Target {
    /// Whether scores of picked columns have the bits of those of single ones: sums of floats depend on their order.
    const PICKS: bool;
    /// Turns to the rows of a node, one that [`Target::split`] made or the root; nodes come depth first, left ones first.
    fn enter(&mut self, start: usize, end: usize) -> Stats;
    /// The score of a cut of the node, and the number of rows on its left. Codes of rows stand in sixteens, and whatever
    /// stands behind the last one.
    fn score<L: Lanes>(&mut self, lanes: L, codes: &[[u32; SET]], side: Side) -> (f64, usize);
    /// Whether all columns of a node are looked at in one pass over its rows, where so many are drawn and records have so
    /// many codes.
    fn looks_at_once(&self, _rows: usize, _drawn: usize, _width: usize) -> bool {
        true
    }
    /// The scores of a cut a column of the node, and the numbers of rows on their left.
    fn score_columns<const W: usize>(
        &mut self,
        rows: &[u32],
        records: &[[u32; W]],
        lasts: &[u32; W],
        shifts: &[u32; W],
    ) -> ([f64; W], [u32; W]);
    /// Moves the rows of a node to its sides, in order; gives the number on the left.
    fn split<L: Lanes>(&mut self, lanes: L, rows: &mut [u32], start: usize, codes: &[[u32; SET]], side: Side) -> usize;
    /// Reads what goes with the rows of a node that are at most [`SET`]; the node counts as entered.
    fn few_load(&mut self, start: usize, end: usize);
    /// Turns to a node: a set of the few rows.
    fn few_enter(&mut self, set: u16) -> Stats;
    /// The score of a cut of the set, from what lies on its left.
    fn few_score(&mut self, left: u16) -> f64;
    /// The scores of a cut of the set a column, and the numbers of rows on their left.
    fn few_columns<const W: usize>(
        &mut self,
        set: u16,
        records: &[[u32; W]; SET],
        lasts: &[u32; W],
        shifts: &[u32; W],
    ) -> ([f64; W], [u32; W]);
    /// Whether no cut of the node, which has so many rows, can be better than one of this score.
    fn is_perfect(&self, score: f64, rows: usize) -> bool;
    /// By how much a cut of this score lowers the weighted impurity of the node.
    fn gain(&self, score: f64) -> f64;
    /// Appends the value of the node.
    fn value(&self, out: &mut Vec<f64>);
}

/// A part of the rows that becomes a node.
#[derive(Clone, Copy)]
struct Part {
    start: usize,
    end: usize,
    depth: usize,
    /// The parent's place, and whether this is its left child.
    parent: Option<(u32, bool)>,
}

/// A cut of a node.
#[derive(Clone, Copy)]
struct Cut {
    feature: usize,
    threshold: f64,
    side: Side,
    /// Where values are missing, whether they go left.
    missing_left: Option<bool>,
    score: f64,
}

/// See the module.
pub(crate) struct Drawn<'a, C: Code, T: Target> {
    table: &'a Table<C>,
    rules: &'a Rules,
    /// What nodes draw from, each from a sequence of its own.
    stream: Stream,
    target: T,
    rows: Vec<u32>,
    blocks: Blocks<C>,
    draws: Draws,
    known: Known,
    /// Codes of a node's rows in the column at hand, and in that of the best cut.
    codes: [Vec<[u32; SET]>; 2],
    /// Whether records are short, and columns are looked at side by side.
    at_once: bool,
    few: few::Few,
    picks: picked::Picks<C>,
    open: Vec<Part>,
    /// Weight of all rows.
    weight: f64,
    tree: GrownTree,
}

/// Whether trees of such rules are grown here.
pub(crate) fn suits(rules: &Rules) -> bool {
    rules.random && rules.max_leaf_nodes.is_none() && rules.monotonic.is_empty() && rules.min_weight_leaf <= 0.0
}

impl<'a, C: Code, T: Target> Drawn<'a, C, T> {
    /// For rows in the order in which the target has what goes with them; `width` is that of a node's value.
    pub(crate) fn new(
        table: &'a Table<C>,
        rules: &'a Rules,
        stream: Stream,
        rows: Vec<u32>,
        target: T,
        width: usize,
    ) -> Self {
        let columns = table.columns.len();
        let drawn = rules.max_features;
        let at_once = at_once::suits(table, drawn) && target.looks_at_once(SET, drawn, table.stride);
        Self {
            table,
            rules,
            stream,
            rows,
            blocks: Blocks::new(),
            draws: Draws::new(columns),
            known: Known::new(columns),
            codes: Default::default(),
            at_once,
            picks: picked::Picks::new(),
            few: few::Few::new(columns, if at_once { table.stride } else { 0 }),
            target,
            open: Vec::new(),
            weight: 0.0,
            tree: GrownTree { width, ..GrownTree::default() },
        }
    }

    /// # Errors
    /// [`corten_core::Error::Cancelled`].
    pub(crate) fn grow(mut self, cancel: &CancelToken) -> Result<GrownTree> {
        // Room for all nodes from the start: a tree that outgrows its place is copied.
        let leaves = self.rows.len() / self.rules.min_samples_leaf.max(1);
        let nodes = (2 * leaves).min(NODES);
        self.tree.nodes.reserve(nodes);
        self.tree.values.reserve(nodes * self.tree.width.min(WIDTH));
        lanes::run(Growth { grower: &mut self, cancel })?;
        self.tree.nodes.shrink_to_fit();
        self.tree.values.shrink_to_fit();
        Ok(self.tree)
    }

    #[inline(always)]
    fn all<L: Lanes>(&mut self, lanes: L, cancel: &CancelToken) -> Result<()> {
        let closer = self.table.stride * size_of::<C>() > LINE;
        self.open.push(Part { start: 0, end: self.rows.len(), depth: 0, parent: None });
        while let Some(part) = self.open.pop() {
            if closer {
                self.blocks.enter(self.table, &mut self.rows[part.start..part.end], self.open.len());
            }
            if part.end - part.start <= SET {
                self.subtree(lanes, part);
                continue;
            }
            cancel.check()?;
            self.node(lanes, part);
        }
        Ok(())
    }

    /// Writes a node and splits it, where it can be.
    #[inline(always)]
    fn node<L: Lanes>(&mut self, lanes: L, part: Part) {
        let Part { start, end, depth, .. } = part;
        let stats = self.target.enter(start, end);
        let (at, last) = self.write(part, end - start, stats);
        if last {
            return;
        }
        let mut stream = self.stream.at(u64::from(at));
        let (rows, drawn) = (end - start, self.rules.max_features);
        let best = if self.at_once && self.target.looks_at_once(rows, drawn, self.table.stride) {
            self.search_at_once(lanes, part, &mut stream)
        } else if !self.at_once && T::PICKS && picked::suits(self.table, rows, drawn) {
            self.search_picked(lanes, part, &mut stream)
        } else {
            self.search(lanes, part, &mut stream)
        };
        let Some(cut) = best.filter(|cut| self.is_worth(cut.score)) else { return };
        let left = self.target.split(lanes, &mut self.rows[start..end], start, &self.codes[1], cut.side);
        self.lead(at, cut, 2 * left > end - start);
        let child = |is_left, start, end| Part { start, end, depth: depth + 1, parent: Some((at, is_left)) };
        self.open.extend([child(false, start + left, end), child(true, start, start + left)]);
    }

    /// The best of drawn cuts, column by column; leaves the codes of its column.
    #[inline(always)]
    fn search<L: Lanes>(&mut self, lanes: L, part: Part, stream: &mut Stream) -> Option<Cut> {
        self.known.enter(part.depth);
        let rows = part.end - part.start;
        let least = self.rules.min_samples_leaf;
        let mut best: Option<Cut> = None;
        let (mut visited, mut varied) = (0, 0);
        while visited < self.rules.max_features || varied == 0 {
            let Some(feature) = self.draws.next(stream) else { break };
            visited += 1;
            if self.known.has(feature) {
                continue;
            }
            let codes = self.blocks.column(self.table, feature, rows);
            let (low, high) = columns::gather(lanes, codes, &self.rows[part.start..part.end], &mut self.codes[0]);
            let column = &self.table.columns[feature];
            let span = columns::span(low, high, column.missing, &self.codes[0]);
            if span.is_constant() {
                self.known.add(feature);
                continue;
            }
            varied += 1;
            let (threshold, side, missing_left) = columns::draw(column, &span, stream);
            let (score, left) = self.target.score(lanes, &self.codes[0], side);
            if left >= least && rows - left >= least && best.is_none_or(|b| score > b.score) {
                best = Some(Cut { feature, threshold, side, missing_left, score });
                self.codes.swap(0, 1);
                if self.target.is_perfect(score, rows) {
                    break;
                }
            }
        }
        self.draws.reset();
        best
    }

    /// Writes a node as a leaf, of so many rows; says whether it stays one.
    #[inline(always)]
    fn write(&mut self, part: Part, samples: usize, stats: Stats) -> (u32, bool) {
        if part.parent.is_none() {
            self.weight = stats.weight;
        }
        let at = self.tree.add(part.parent, samples, stats);
        self.target.value(&mut self.tree.values);
        (at, self.rules.is_last(part.depth, samples, stats))
    }

    /// Whether a cut gains enough.
    #[inline(always)]
    fn is_worth(&self, score: f64) -> bool {
        self.rules.is_worth(self.target.gain(score), self.weight)
    }

    /// Makes a leaf an inner node.
    #[inline(always)]
    fn lead(&mut self, at: u32, cut: Cut, most_left: bool) {
        let node = &mut self.tree.nodes[at as usize];
        (node.feature, node.threshold) = (cut.feature as u32, cut.threshold);
        // Where the node had no missing value, later ones go where most rows go.
        node.missing_left = cut.missing_left.unwrap_or(most_left);
    }
}

struct Growth<'w, 'a, C: Code, T: Target> {
    grower: &'w mut Drawn<'a, C, T>,
    cancel: &'w CancelToken,
}

impl<C: Code, T: Target> Work for Growth<'_, '_, C, T> {
    type Out = Result<()>;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Result<()> {
        self.grower.all(lanes, self.cancel)
    }
}
