//! Nodes of rows that the caches hold, in the order of each column.

use std::sync::atomic::{AtomicU16, Ordering};

use corten_core::Result;
use corten_kernels::lanes::{self, Lanes, Work};
use corten_kernels::splits::SET;

use super::super::draws::{Draws, Known};
use super::super::finder::Stats;
use super::super::grower::child_place;
use super::super::lists::partition;
use super::super::sort::{self, Key};
use super::super::tree::{GrownTree, Node};
use super::few::Few;
use super::{Cut, Growth, Room, Target, bins, key_by_code, mark, mark_by_code, top};

/// Most rows of a block, where columns are many or rows few.
pub(super) const ROWS: usize = 2048;
/// The same where neither is so.
const MOST: usize = 8192;
/// Bytes of keys that a cache holds.
const KEYS: usize = 1 << 19;
/// Blocks for each thread, so that all have work to the end.
const SHARE: usize = 4;
/// Gains that are made known together.
const GAINS: usize = 64;
/// Nodes that wait beside a path from which on their sums aren't kept: they are summed anew.
const HELD: usize = 64;

/// Most rows of a block of a tree.
pub(super) fn most(rows: usize, columns: usize, threads: usize) -> usize {
    (KEYS / (size_of::<u32>() * columns)).min(rows / (SHARE * threads)).clamp(ROWS, MOST)
}

/// Where a block lies, and the node that it grows from.
pub(super) struct Root {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) depth: usize,
    pub(super) place: u64,
    /// The least gain on the path to it.
    pub(super) reach: f64,
    /// A column in whose keys the rows lie together; their order in none is one as well.
    pub(super) by: usize,
    /// A bit a column that doesn't vary.
    pub(super) known: Vec<u64>,
}

/// A part of the rows that becomes a node.
pub(super) struct Part<S> {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Below the root of the block.
    pub(super) depth: usize,
    pub(super) place: u64,
    /// The least gain on the path to it.
    pub(super) reach: f64,
    /// The parent's place, and whether this is its left child.
    parent: Option<(u32, bool)>,
    /// A column in whose keys the rows lie together, and the split that made the part.
    pub(super) by: usize,
    split: Option<u32>,
    /// Rows of the parent.
    before: usize,
    /// Sums by value, where they are kept.
    sums: Option<Vec<S>>,
}

/// A split that columns other than its own wait for until a child is searched.
struct Split {
    start: usize,
    end: usize,
    by: usize,
    is_done: bool,
}

/// See the module.
pub(super) struct Block<'a, T: Target> {
    pub(super) growth: &'a Growth<'a, T>,
    /// Depth of the root.
    pub(super) depth: usize,
    pub(super) weight: f64,
    /// Rows of the table, and what goes with each.
    pub(super) rows: Vec<u32>,
    pub(super) items: Vec<T::Item>,
    /// Keys of the rows, column after column, and of no column where some are summed by value.
    pub(super) keys: Vec<u32>,
    pub(super) columns: usize,
    buffer: Vec<u32>,
    /// Room for keys that are sorted.
    sorted: [Vec<u32>; 2],
    /// Sums that no node needs any more.
    spare: Vec<Vec<T::Sum>>,
    is_left: Vec<u8>,
    splits: Vec<Split>,
    pub(super) draws: Draws,
    pub(super) known: Known,
    pub(super) node: T::Node,
    room: Room<u32, T>,
    /// Room for subtrees of few rows.
    pub(super) few: Few<T>,
    open: Vec<Part<T::Sum>>,
    pub(super) tree: GrownTree,
    /// Where leaves are counted, and many, what each node's split gains, and the least gains on paths that aren't known to
    /// other blocks.
    gains: Vec<f64>,
    reached: Vec<f64>,
}

impl<'a, T: Target> Block<'a, T> {
    /// The rows of a block from the keys of all columns; `local` has room for the place of each row.
    pub(super) fn new<K: Key>(
        growth: &'a Growth<'a, T>,
        root: &Root,
        weight: f64,
        lists: &[Vec<K>],
        local: &[AtomicU16],
    ) -> Self {
        let part = root.start..root.end;
        let places = top::renumber(lists[root.by][part.clone()].iter().map(|key| key.place()), local);
        let (rows, columns) = (part.len(), growth.soil.columns.len());
        let mut keys = vec![0; rows * lists.len()];
        for (column, (out, list)) in keys.chunks_exact_mut(rows).zip(lists).enumerate() {
            if list.is_empty() || column < columns && root.known[column / 64] >> (column % 64) & 1 == 1 {
                continue;
            }
            let list = &list[part.clone()];
            let (mut rank, mut before) = (0, list[0].code());
            for (out, key) in out.iter_mut().zip(list) {
                rank += u32::from(key.code() != before);
                before = key.code();
                *out = <u32 as Key>::new(rank, usize::from(local[key.place()].load(Ordering::Relaxed)));
            }
        }
        let leaves = rows / growth.soil.rules.min_samples_leaf.max(1);
        let mut tree = GrownTree { width: growth.soil.width, ..GrownTree::default() };
        // Room for all nodes from the start: a tree that outgrows its place is copied.
        tree.nodes.reserve(2 * leaves);
        let first = Part {
            start: 0,
            end: rows,
            depth: 0,
            place: root.place,
            reach: root.reach,
            parent: None,
            by: root.by,
            split: None,
            before: usize::MAX,
            sums: None,
        };
        Self {
            growth,
            depth: root.depth,
            weight,
            rows: places.iter().map(|&place| growth.soil.rows[place as usize]).collect(),
            items: places.iter().map(|&place| growth.items[place as usize]).collect(),
            keys,
            columns,
            buffer: vec![0; rows],
            sorted: Default::default(),
            spare: Vec::new(),
            is_left: vec![0; rows],
            splits: Vec::new(),
            draws: Draws::new(columns),
            known: Known::of(&root.known),
            node: T::Node::default(),
            room: Room::default(),
            few: Few::new(rows, columns),
            open: vec![first],
            tree,
            gains: Vec::new(),
            reached: Vec::new(),
        }
    }

    /// The tree, and where leaves are counted, and many, what each node's split gains.
    pub(super) fn grow(mut self) -> Result<(GrownTree, Vec<f64>)> {
        self.growth.soil.cancel.check()?;
        lanes::run(Run { block: &mut self });
        if let Some(bar) = &self.growth.bar {
            self.gains.resize(self.tree.nodes.len(), 0.0);
            bar.add(&mut self.reached);
        }
        Ok((self.tree, self.gains))
    }

    /// Whether a node of so many rows stays a leaf whatever its columns hold; it is below the root of the block, and reached
    /// by such gains.
    #[inline(always)]
    pub(super) fn is_last(&self, depth: usize, samples: usize, stats: Stats, reach: f64) -> bool {
        self.growth.soil.rules.is_last(self.depth + depth, samples, stats)
            || self.growth.bar.as_ref().is_some_and(|bar| bar.is_above(reach, stats.weight, stats.impurity))
    }

    /// The least gain on the path to the children of the node at hand, from that on the path to it and the score of its cut.
    #[inline(always)]
    pub(super) fn reach(&mut self, at: u32, reach: f64, score: f64) -> f64 {
        let Some(bar) = &self.growth.bar else { return reach };
        let gain = self.tree.nodes[at as usize].counted(self.growth.target.gain(&self.node, score));
        self.gains.resize(self.tree.nodes.len(), 0.0);
        self.gains[at as usize] = gain;
        self.reached.push(reach.min(gain));
        if self.reached.len() >= GAINS {
            bar.add(&mut self.reached);
        }
        reach.min(gain)
    }

    #[inline(always)]
    fn all<L: Lanes>(&mut self, _: L) {
        while let Some(part) = self.open.pop() {
            self.node(part);
        }
    }

    /// Writes a node and splits it, where it can be.
    #[inline(always)]
    fn node(&mut self, mut part: Part<T::Sum>) {
        let growth = self.growth;
        let Part { start, end, depth, .. } = part;
        let (rows, count) = (self.rows.len(), end - start);
        let keys = &self.keys[part.by * rows..][start..end];
        let stats = growth.target.enter(&mut self.node, (keys, &self.items[..]));
        let at = self.write(count, part.parent, stats);
        let mut sums = part.sums.take();
        if self.is_last(depth, count, stats, part.reach) {
            self.spare.extend(sums);
            return;
        }
        self.known.enter(depth);
        if let Some(split) = part.split {
            self.finish(split);
        }
        self.sort(&part);
        if T::FEW && count <= SET {
            return self.subtree(&part, at);
        }
        if let Some((feature, cut)) = self.search(&part, &mut sums) {
            self.split(&part, at, feature, cut, &mut sums);
        }
        self.spare.extend(sums);
    }

    /// Splits a node; its children wait for their turn.
    #[inline(always)]
    fn split(&mut self, part: &Part<T::Sum>, at: u32, feature: usize, cut: Cut, sums: &mut Option<Vec<T::Sum>>) {
        let growth = self.growth;
        let Part { start, end, .. } = *part;
        let reach = self.reach(at, part.reach, cut.score);
        let (rows, count, bins) = (self.rows.len(), end - start, &growth.soil.orders.bins);
        let (column, summed) = (&growth.soil.columns[feature], bins.count(count));
        let node = &mut self.tree.nodes[at as usize];
        let (left, by) = if let Some(binned) = bins.place(feature).filter(|&place| place < summed)
            && let Some(sums) = sums
        {
            let next = bins.next(growth.target, &sums[bins.columns[binned].sums.clone()], cut.at);
            let keys = &self.keys[self.columns * rows..][start..end];
            let left = mark_by_code(keys, &self.rows, column.codes, cut.at as u32, &mut self.is_left);
            (node.threshold, node.missing_left) = (column.between(cut.at as u32, next as u32), 2 * left > count);
            (left, self.columns)
        } else {
            let keys = &mut self.keys[feature * rows..][start..end];
            let absent = growth.absent(feature, keys, &self.rows);
            let left = mark(keys, cut, absent, &mut self.is_left);
            let code = |at: usize| column.code(self.rows[keys[at].place()]);
            node.threshold = column.between(code(cut.at), code(cut.at + 1));
            // Where the node has no missing value, later ones go where most rows go.
            node.missing_left = if absent > 0 { cut.missing_left } else { 2 * left > count };
            if cut.missing_left {
                partition(keys, &self.is_left, &mut self.buffer);
            }
            (left, feature)
        };
        node.feature = feature as u32;
        let mut own = [None, None];
        if summed > 0 {
            partition(&mut self.keys[self.columns * rows..][start..end], &self.is_left, &mut self.buffer);
            if let Some(sums) = sums.take() {
                own = self.share(sums, [start, start + left, end]);
            }
        }
        self.splits.push(Split { start, end, by: feature, is_done: false });
        let split = Some(self.splits.len() as u32 - 1);
        let child = |is_left, start, end, sums| Part {
            start,
            end,
            depth: part.depth + 1,
            place: child_place(part.place, is_left),
            reach,
            parent: Some((at, is_left)),
            by,
            split,
            before: count,
            sums,
        };
        let [first, second] = own;
        self.open.extend([child(false, start + left, end, second), child(true, start, start + left, first)]);
    }

    /// The sums of two children from those of their parent: the smaller one's rows are summed, the other has what is left.
    #[inline(always)]
    fn share(&mut self, all: Vec<T::Sum>, [start, middle, end]: [usize; 3]) -> [Option<Vec<T::Sum>>; 2] {
        let growth = self.growth;
        let bins = &growth.soil.orders.bins;
        let is_left_small = middle - start <= end - middle;
        let (small, large) = if is_left_small { (start..middle, end - middle) } else { (middle..end, middle - start) };
        let (columns, is_kept) = (bins.count(large), bins.count(small.len()) > 0);
        if columns == 0 || self.open.len() >= HELD {
            self.spare.push(all);
            return [None, None];
        }
        let (mut own, mut rest) = (self.spare.pop().unwrap_or_default(), self.spare.pop().unwrap_or_default());
        self.sum(small, columns, &mut own);
        bins::rest(&all[..own.len()], &own, &mut rest);
        self.spare.push(all);
        let own = if is_kept {
            Some(own)
        } else {
            self.spare.push(own);
            None
        };
        if is_left_small { [own, Some(rest)] } else { [Some(rest), own] }
    }

    /// Sums a part of the rows by value in the first of the columns.
    #[inline(always)]
    fn sum(&self, part: std::ops::Range<usize>, columns: usize, out: &mut Vec<T::Sum>) {
        let keys = &self.keys[self.columns * self.rows.len()..][part];
        let rows = keys.iter().map(|key| (self.rows[key.place()], self.items[key.place()]));
        self.growth.soil.orders.bins.add(self.growth.target, &(0..columns), rows, out);
    }

    /// Puts the rows of a node in the order of columns that its parent's were summed by.
    #[inline(always)]
    fn sort(&mut self, part: &Part<T::Sum>) {
        let (rows, bins) = (self.rows.len(), &self.growth.soil.orders.bins);
        let (first, last) = (bins.count(part.end - part.start), bins.count(part.before));
        let (columns, order) = self.keys.split_at_mut(self.columns * rows);
        for binned in bins.columns.iter().take(last).skip(first) {
            if self.known.has(binned.column) {
                continue;
            }
            let order = &order[part.start..part.end];
            let [keys, scratch] = &mut self.sorted;
            key_by_code(order, &self.rows, self.growth.soil.columns[binned.column].codes, keys);
            sort::by_code(keys, scratch, 0, (binned.sums.len() / bins.width) as u32 - 1);
            columns[binned.column * rows..][part.start..part.end].copy_from_slice(keys);
        }
    }

    /// Writes a node as a leaf.
    #[inline(always)]
    pub(super) fn write(&mut self, samples: usize, parent: Option<(u32, bool)>, stats: Stats) -> u32 {
        let at = self.tree.nodes.len() as u32;
        if let Some((parent, is_left)) = parent {
            let parent = &mut self.tree.nodes[parent as usize];
            *(if is_left { &mut parent.left } else { &mut parent.right }) = at;
        }
        self.tree.nodes.push(Node::leaf(at, samples, stats));
        self.growth.target.value(&self.node, &mut self.tree.values);
        at
    }

    /// Splits the columns that wait for a split.
    #[inline(always)]
    fn finish(&mut self, split: u32) {
        let split = &mut self.splits[split as usize];
        if std::mem::replace(&mut split.is_done, true) {
            return;
        }
        let (rows, bins) = (self.rows.len(), &self.growth.soil.orders.bins);
        let summed = bins.count(split.end - split.start);
        for (column, keys) in self.keys.chunks_exact_mut(rows).enumerate().take(self.columns) {
            let is_kept = summed == 0 || bins.place(column).is_none_or(|place| place >= summed);
            if column != split.by && is_kept && !self.known.has(column) {
                partition(&mut keys[split.start..split.end], &self.is_left, &mut self.buffer);
            }
        }
    }

    /// The best cut of a node.
    #[inline(always)]
    fn search(&mut self, part: &Part<T::Sum>, sums: &mut Option<Vec<T::Sum>>) -> Option<(usize, Cut)> {
        let growth = self.growth;
        let Part { start, end, .. } = *part;
        let bins = &growth.soil.orders.bins;
        let summed = bins.count(end - start);
        if summed > 0 && sums.is_none() {
            let mut own = self.spare.pop().unwrap_or_default();
            self.sum(start..end, summed, &mut own);
            *sums = Some(own);
        }
        let mut stream = growth.soil.stream.at(part.place);
        let mut best: Option<(usize, Cut)> = None;
        while let Some(feature) = self.draws.next(&mut stream) {
            if self.known.has(feature) {
                continue;
            }
            let cut = if let Some(sums) = sums
                && let Some(place) = bins.place(feature).filter(|&place| place < summed)
            {
                let sums = &sums[bins.columns[place].sums.clone()];
                let cut = growth.target.best_by_value(&self.node, sums, &mut self.room.search);
                let Some((at, score)) = cut else {
                    self.known.add(feature);
                    continue;
                };
                Some(Cut { at, score, missing_left: false })
            } else {
                let keys = &self.keys[feature * self.rows.len()..][start..end];
                if keys[0].code() == keys[keys.len() - 1].code() {
                    self.known.add(feature);
                    continue;
                }
                let absent = growth.absent(feature, keys, &self.rows);
                growth.look(&self.node, keys, absent, &self.items, &mut self.room)
            };
            if let Some(cut) = cut
                && best.is_none_or(|(_, b)| cut.score > b.score)
            {
                best = Some((feature, cut));
                if growth.target.is_perfect(&self.node, cut.score, end - start) {
                    break;
                }
            }
        }
        self.draws.reset();
        best.filter(|(_, cut)| growth.is_worth(&self.node, cut.score, self.weight))
    }
}

struct Run<'w, 'a, T: Target> {
    block: &'w mut Block<'a, T>,
}

impl<T: Target> Work for Run<'_, '_, T> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        self.block.all(lanes);
    }
}
