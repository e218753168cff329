//! Growing one tree: depth first, or the best split first where the number of leaves is limited.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use corten_core::random::{Stream, mix};
use corten_core::{CancelToken, Result};

use corten_kernels::splits;

use super::draws::{Draws, Shuffled};
use super::few::Few;
use super::finder::{Cut, Entry, Finder, Keys, Limits, Side, Span, Stats};
use super::lists::{self, Lists};
use super::ranks::{Block, Code, NO_MISSING, Table};
use super::sort;
use super::tree::GrownTree;

/// Rows below which codes aren't put close together.
const FEW: usize = 32;
/// Impurity below which a node is pure.
const PURE: f64 = f64::EPSILON;

/// What the parameters ask of a tree, in numbers of rows and columns.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) random: bool,
    pub(crate) max_depth: usize,
    pub(crate) min_samples_split: usize,
    pub(crate) min_samples_leaf: usize,
    pub(crate) min_weight_leaf: f64,
    pub(crate) max_features: usize,
    pub(crate) max_leaf_nodes: Option<usize>,
    pub(crate) min_impurity_decrease: f64,
    /// A sign a column, or nothing.
    pub(crate) monotonic: Vec<i8>,
    /// Where values start: shares lie in 0..1, means anywhere.
    pub(crate) bounds: (f64, f64),
}

impl Rules {
    /// Whether a node stays a leaf whatever its columns hold.
    #[inline(always)]
    pub(crate) fn is_last(&self, depth: usize, samples: usize, stats: Stats) -> bool {
        depth >= self.max_depth
            || samples < self.min_samples_split
            || samples < 2 * self.min_samples_leaf
            || stats.weight < 2.0 * self.min_weight_leaf
            || stats.impurity <= PURE
    }

    /// Whether a cut gains enough; `weight` is that of all rows.
    #[inline(always)]
    pub(crate) fn is_worth(&self, gain: f64, weight: f64) -> bool {
        gain / weight + PURE >= self.min_impurity_decrease
    }

    /// Rules without limits, but for rows in leaves.
    #[cfg(test)]
    pub(crate) fn plain(random: bool, max_features: usize, min_samples_leaf: usize) -> Self {
        Self {
            random,
            max_depth: usize::MAX,
            min_samples_split: 2,
            min_samples_leaf,
            min_weight_leaf: 0.0,
            max_features,
            max_leaf_nodes: None,
            min_impurity_decrease: 0.0,
            monotonic: Vec::new(),
            bounds: (f64::NEG_INFINITY, f64::INFINITY),
        }
    }
}

/// A part of the rows that becomes a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) depth: usize,
    /// The parent's place, and whether this is its left child.
    pub(super) parent: Option<(u32, bool)>,
    /// Columns known not to vary, at the front of the list of columns.
    pub(super) constant: usize,
    pub(super) bounds: (f64, f64),
    /// In lists: a column in which the rows lie together, and the split that made the part.
    pub(super) by: usize,
    pub(super) split: Option<u32>,
    /// What stands for the path from the root.
    pub(super) place: u64,
}

/// The root's place.
pub(super) const ROOT: u64 = 1;

/// A child's place: it depends on the path to the child alone, whichever node is grown first.
#[inline]
pub(super) const fn child_place(place: u64, is_left: bool) -> u64 {
    mix(place << 1 ^ is_left as u64)
}

/// What a column offers a node.
pub(super) enum Look<T> {
    Constant,
    /// The best cut, if one may be.
    Cut(Option<T>),
}

/// A cut; higher scores are better.
pub(super) trait Scored: Copy {
    fn score(&self) -> f64;
}

/// With its threshold.
impl Scored for (Cut, f64) {
    fn score(&self) -> f64 {
        self.0.score
    }
}

/// A node that can be split, and how.
struct Found {
    feature: usize,
    cut: Cut,
    threshold: f64,
    gain: f64,
    /// Columns known not to vary, for the children.
    constant: usize,
}

/// A leaf that waits for its split, best first.
struct Candidate {
    at: u32,
    part: Part,
    found: Found,
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate {}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        self.found.gain.total_cmp(&other.found.gain).then(other.at.cmp(&self.at))
    }
}

/// Grows one tree.
pub(crate) struct Grower<'a, C: Code> {
    pub(super) table: &'a Table<C>,
    pub(super) rules: &'a Rules,
    pub(super) finder: &'a mut dyn Finder,
    pub(super) stream: Stream,
    pub(super) rows: Vec<Entry>,
    buffer: Vec<Entry>,
    /// The rows below a node that is being grown, in the order of each column.
    pub(super) lists: Option<Lists>,
    /// The codes of the rows below a node that is being grown.
    block: Option<Block<C>>,
    /// Room for subtrees of few rows, where they may be sets of bits.
    pub(super) few: Option<Few>,
    /// Codes of a node's rows in a column.
    pub(super) codes: Vec<u32>,
    /// Room for the rows of a node by a column: values that are there, missing ones, and a copy.
    narrow: [Vec<u32>; 3],
    wide: [Vec<u64>; 3],
    /// Where cuts are drawn, or all columns are looked at: how columns are drawn.
    draws: Option<Draws>,
    /// How they are otherwise.
    shuffled: Shuffled,
    /// Weight of all rows.
    weight: f64,
    pub(super) tree: GrownTree,
}

impl<'a, C: Code> Grower<'a, C> {
    pub(crate) fn new(
        table: &'a Table<C>,
        rules: &'a Rules,
        finder: &'a mut dyn Finder,
        stream: Stream,
        rows: Vec<Entry>,
        width: usize,
    ) -> Self {
        let tree = GrownTree { width, ..GrownTree::default() };
        let few = Few::new(table, rules);
        Self {
            table,
            rules,
            finder,
            stream,
            rows,
            buffer: Vec::new(),
            lists: None,
            block: None,
            few,
            codes: Vec::new(),
            narrow: Default::default(),
            wide: Default::default(),
            draws: (rules.random || rules.max_features >= table.columns.len()).then(|| Draws::new(table.columns.len())),
            shuffled: Shuffled::new(table.columns.len()),
            weight: 0.0,
            tree,
        }
    }

    /// # Errors
    /// [`corten_core::Error::Cancelled`].
    pub(crate) fn grow(mut self, cancel: &CancelToken) -> Result<GrownTree> {
        let end = self.rows.len();
        let bounds = self.rules.bounds;
        let root = Part { start: 0, end, depth: 0, parent: None, constant: 0, bounds, by: 0, split: None, place: ROOT };
        match self.rules.max_leaf_nodes {
            None => self.depth_first(root, cancel)?,
            Some(leaves) => self.best_first(root, leaves, cancel)?,
        }
        Ok(self.tree)
    }

    fn depth_first(&mut self, root: Part, cancel: &CancelToken) -> Result<()> {
        let mut open = vec![root];
        while let Some(part) = open.pop() {
            if self.fits_few(part.end - part.start) && self.subtree(&part) {
                continue;
            }
            if self.lists.is_none() && self.fits_lists(part.end - part.start) {
                self.below(part, cancel)?;
                continue;
            }
            if self.fits_block(part.end - part.start) {
                self.block = Some(self.table.block(&mut self.rows[part.start..part.end]));
                let done = self.depth_first(part, cancel);
                self.block = None;
                done?;
                continue;
            }
            cancel.check()?;
            let (at, found) = self.node(&part);
            if let Some(found) = found {
                let [left, right] = self.split(at, &part, &found);
                open.extend([right, left]);
            }
        }
        Ok(())
    }

    /// Whether so many rows are kept in the order of each column.
    fn fits_lists(&self, rows: usize) -> bool {
        let columns = self.table.columns.len();
        let all = !self.rules.random && self.rules.max_features >= columns;
        all && rows <= lists::ROWS && rows.saturating_mul(columns) <= lists::KEYS
    }

    /// Whether so many rows have their codes put close together.
    fn fits_block(&self, rows: usize) -> bool {
        let single = self.block.is_none() && self.lists.is_none();
        single && rows >= self.rules.min_samples_split.max(FEW) && self.table.suits_block(rows, self.rules.max_features)
    }

    /// The codes of a node's rows in a column.
    pub(super) fn gather(&mut self, feature: usize, part: &Part) {
        let (rows, codes) = (&self.rows[part.start..part.end], &mut self.codes);
        match &self.block {
            Some(block) => block.gather(feature, rows, codes),
            None => self.table.gather(feature, rows, codes),
        }
    }

    /// Grows all that lies below a node, its rows in the order of each column.
    fn below(&mut self, part: Part, cancel: &CancelToken) -> Result<()> {
        let rows = &self.rows[part.start..part.end];
        self.finder.load(rows);
        self.lists = Some(Lists::new(&self.table.columns, rows));
        let done = self.depth_first(Part { start: 0, end: rows.len(), ..part }, cancel);
        self.lists = None;
        done
    }

    fn best_first(&mut self, root: Part, leaves: usize, cancel: &CancelToken) -> Result<()> {
        let mut open = BinaryHeap::new();
        let (at, found) = self.node(&root);
        open.extend(found.map(|found| Candidate { at, part: root, found }));
        let mut count = 1;
        while count < leaves
            && let Some(Candidate { at, part, found }) = open.pop()
        {
            cancel.check()?;
            count += 1;
            for mut child in self.split(at, &part, &found) {
                // What is constant is only known along one path at a time.
                child.constant = 0;
                let (at, found) = self.node(&child);
                open.extend(found.map(|found| Candidate { at, part: child, found }));
            }
        }
        Ok(())
    }

    /// Writes a node as a leaf, and finds its split.
    fn node(&mut self, part: &Part) -> (u32, Option<Found>) {
        let stats = if let Some(lists) = &self.lists {
            self.finder.enter(Some(lists.keys(part.by, part.start, part.end)))
        } else {
            self.finder.load(&self.rows[part.start..part.end]);
            self.finder.enter(None)
        };
        let (at, last) = self.write(part, part.end - part.start, stats);
        (at, if last { None } else { self.search(at, part) })
    }

    /// Writes a node as a leaf, of so many rows, to which the finder has turned; says whether it stays one.
    pub(super) fn write(&mut self, part: &Part, samples: usize, stats: Stats) -> (u32, bool) {
        if part.parent.is_none() {
            self.weight = stats.weight;
        }
        let at = self.tree.add(part.parent, samples, stats);
        let bounds = (!self.rules.monotonic.is_empty()).then_some(part.bounds);
        self.finder.value(bounds, &mut self.tree.values);
        (at, self.rules.is_last(part.depth, samples, stats))
    }

    /// The best split of a node over columns drawn at random.
    fn search(&mut self, at: u32, part: &Part) -> Option<Found> {
        let known = part.constant;
        if let (Some(lists), Some(split)) = (&mut self.lists, part.split) {
            lists.finish(split, self.shuffled.after(known));
        }
        let (best, constant) =
            self.draw_columns(self.draw_place(at, part), known, |grower, feature| grower.look(feature, part));
        let (feature, (cut, threshold)) = best?;
        let gain = self.tree.nodes[at as usize].counted(self.worth(cut.score)?);
        Some(Found { feature, cut, threshold, gain, constant })
    }

    /// The gain of a cut, where it is enough.
    pub(super) fn worth(&self, score: f64) -> Option<f64> {
        let gain = self.finder.gain(score);
        self.rules.is_worth(gain, self.weight).then_some(gain)
    }

    /// The best of what columns drawn at random offer, with its column, and the number of columns that are known not to
    /// vary then, `known` before.
    ///
    /// As in scikit-learn, columns that don't vary count as drawn, but drawing goes on until one varies.
    pub(super) fn draw_columns<T: Scored>(
        &mut self,
        place: u64,
        known: usize,
        mut look: impl FnMut(&mut Self, usize) -> Look<T>,
    ) -> (Option<(usize, T)>, usize) {
        if let Some(draws) = self.draws.take() {
            return (self.draw_afresh(place, draws, look), 0);
        }
        let mut shuffled = std::mem::take(&mut self.shuffled);
        let mut turn = shuffled.turn(known);
        let mut best: Option<(usize, T)> = None;
        while let Some(feature) = shuffled.next(&mut turn, &mut self.stream, self.rules.max_features) {
            let look = look(self, feature);
            if matches!(look, Look::Constant) {
                shuffled.skip(&mut turn);
                continue;
            }
            shuffled.take(&mut turn);
            if let Look::Cut(Some(cut)) = look
                && best.is_none_or(|(_, b)| cut.score() > b.score())
            {
                best = Some((feature, cut));
                if self.finder.is_perfect(cut.score()) {
                    break;
                }
            }
        }
        let constant = shuffled.end(&turn);
        self.shuffled = shuffled;
        (best, constant)
    }

    /// Where a node draws from, in a sequence of its own.
    pub(super) fn draw_place(&self, at: u32, part: &Part) -> u64 {
        if self.rules.random { u64::from(at) } else { part.place }
    }

    /// The same where cuts are drawn as well, or all columns: what a node draws depends on its place alone.
    fn draw_afresh<T: Scored>(
        &mut self,
        place: u64,
        mut draws: Draws,
        mut look: impl FnMut(&mut Self, usize) -> Look<T>,
    ) -> Option<(usize, T)> {
        let whole = self.stream.clone();
        self.stream = whole.at(place);
        let (mut visited, mut varied) = (0, 0);
        let mut best: Option<(usize, T)> = None;
        while visited < self.rules.max_features || varied == 0 {
            let Some(feature) = draws.next(&mut self.stream) else { break };
            visited += 1;
            let Look::Cut(cut) = look(self, feature) else { continue };
            varied += 1;
            if let Some(cut) = cut
                && best.is_none_or(|(_, b)| cut.score() > b.score())
            {
                best = Some((feature, cut));
                if self.finder.is_perfect(cut.score()) {
                    break;
                }
            }
        }
        draws.reset();
        self.draws = Some(draws);
        self.stream = whole;
        best
    }

    /// What a split of a node by a column must respect.
    fn limits(&self, feature: usize, part: &Part) -> Limits {
        Limits {
            min_samples: self.rules.min_samples_leaf,
            min_weight: self.rules.min_weight_leaf,
            monotonic: (!self.rules.monotonic.is_empty())
                .then(|| (part.bounds.0, part.bounds.1, self.rules.monotonic[feature])),
        }
    }

    /// Looks at a column of a node.
    fn look(&mut self, feature: usize, part: &Part) -> Look<(Cut, f64)> {
        let column = &self.table.columns[feature];
        let limits = &self.limits(feature, part);
        if let Some(lists) = &self.lists {
            let (order, span) = lists.order(feature, part.start, part.end);
            if span.is_constant() {
                return Look::Constant;
            }
            let cut = self.finder.best(Keys::Narrow(order), limits);
            return Look::Cut(cut.and_then(|cut| {
                let (last, next) = (lists.rank(feature, cut.last)?, lists.rank(feature, cut.next));
                Some((cut, column.scale.between(last, next)))
            }));
        }
        self.gather(feature, part);
        let codes = &mut self.codes;
        let (low, high, missing) = splits::span(codes, column.missing);
        let span = Span { low, high, missing };
        if span.is_constant() {
            return Look::Constant;
        }
        if self.rules.random {
            let (threshold, last, also) = self.draw(feature, &span);
            let cut = self.finder.at(Side { codes: &self.codes, last, also }, limits);
            return Look::Cut(cut.map(|cut| (cut, threshold)));
        }
        let rows = codes.len();
        let cut = if missing == 0 && ((high - low) as usize) < self.finder.bins(rows) {
            self.finder.binned(codes, low, high, limits)
        } else if C::LIMIT <= u16::LIMIT && (rows <= lists::ROWS || !self.finder.tags().is_empty()) {
            let order = sort::rows(codes, self.finder.tags(), column.missing, &span, &mut self.narrow);
            self.finder.best(Keys::Narrow(order), limits)
        } else {
            let order = sort::rows(codes, self.finder.tags(), column.missing, &span, &mut self.wide);
            self.finder.best(Keys::Wide(order), limits)
        };
        Look::Cut(cut.map(|cut| (cut, column.view().between(cut.last, cut.next))))
    }

    /// A cut at a value drawn evenly between the least and the greatest: the threshold, the greatest code that goes left,
    /// and the code of missing values where they go left, or [`NO_MISSING`].
    fn draw(&mut self, feature: usize, span: &Span) -> (f64, u32, u32) {
        let column = &self.table.columns[feature];
        let (mut threshold, last) = column.cut_at(span, self.stream.uniform());
        let mut also = NO_MISSING;
        if span.missing > 0 {
            let missing_left = self.stream.below(2) == 1;
            if span.low == span.high {
                threshold = f64::INFINITY;
            } else if missing_left {
                also = column.missing;
            }
        }
        (threshold, last, also)
    }

    /// Moves the rows of a node to its sides and describes the children.
    fn split(&mut self, at: u32, part: &Part, found: &Found) -> [Part; 2] {
        let count = part.end - part.start;
        let (left, any_missing, split) = if let Some(lists) = &mut self.lists {
            let (left, any_missing, split) =
                lists.split(found.feature, part.start, part.end, found.cut.last, found.cut.missing_left);
            (left, any_missing, Some(split))
        } else {
            let (left, any_missing) = self.partition(part, found);
            (left, any_missing, None)
        };
        // Where the node had no missing value, later ones go where most rows go.
        let missing_left = if any_missing { found.cut.missing_left } else { 2 * left > count };
        let node = &mut self.tree.nodes[at as usize];
        node.feature = found.feature as u32;
        node.threshold = found.threshold;
        node.missing_left = missing_left;
        let sign = self.rules.monotonic.get(found.feature).copied().unwrap_or(0);
        let (low, high) = part.bounds;
        let middle = found.cut.middle;
        let (left_bounds, right_bounds) = match sign {
            0 => ((low, high), (low, high)),
            1 => ((low, middle), (middle, high)),
            _ => ((middle, high), (low, middle)),
        };
        let place = part.start + left;
        let child = |is_left: bool, start: usize, end: usize, bounds| Part {
            start,
            end,
            depth: part.depth + 1,
            parent: Some((at, is_left)),
            constant: found.constant,
            bounds,
            by: found.feature,
            split,
            place: child_place(part.place, is_left),
        };
        [child(true, part.start, place, left_bounds), child(false, place, part.end, right_bounds)]
    }

    /// Moves the rows of a node to its sides; gives the number on the left, and whether values are missing.
    fn partition(&mut self, part: &Part, found: &Found) -> (usize, bool) {
        let missing = self.table.columns[found.feature].missing;
        self.gather(found.feature, part);
        let rows = &mut self.rows[part.start..part.end];
        self.buffer.resize(rows.len().max(self.buffer.len()), Entry::default());
        let (mut left, mut right) = (0, 0);
        let mut any_missing = false;
        for i in 0..rows.len() {
            let entry = rows[i];
            let code = self.codes[i];
            let gone = code == missing;
            any_missing |= gone;
            let goes_left = usize::from((code <= found.cut.last && !gone) | (gone && found.cut.missing_left));
            // Both places are written; the right one counts.
            rows[left] = entry;
            self.buffer[right] = entry;
            left += goes_left;
            right += 1 - goes_left;
        }
        rows[left..].copy_from_slice(&self.buffer[..right]);
        (left, any_missing)
    }
}
