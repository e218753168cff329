//! Nodes of rows that the caches hold, in the order of each column.

use std::sync::atomic::{AtomicU16, Ordering};

use corten_core::Result;
use corten_kernels::lanes::{self, Lanes, Work};
use corten_kernels::splits::SET;

use super::super::draws::{Draws, Known};
use super::super::finder::Stats;
use super::super::grower::child_place;
use super::super::lists::partition;
use super::super::ranks::Code;
use super::super::sort::Key;
use super::super::tree::{GrownTree, Node};
use super::few::Few;
use super::{Cut, Growth, Room, Target, mark, top};

/// Most rows of a block.
pub(super) const ROWS: usize = 2048;

/// Where a block lies, and the node that it grows from.
pub(super) struct Root {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) depth: usize,
    pub(super) place: u64,
    /// A column in whose keys the rows lie together.
    pub(super) by: usize,
    /// A bit a column that doesn't vary.
    pub(super) known: Vec<u64>,
}

/// A part of the rows that becomes a node.
#[derive(Clone, Copy)]
pub(super) struct Part {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Below the root of the block.
    pub(super) depth: usize,
    pub(super) place: u64,
    /// The parent's place, and whether this is its left child.
    parent: Option<(u32, bool)>,
    /// A column in whose keys the rows lie together, and the split that made the part.
    pub(super) by: usize,
    split: Option<u32>,
}

/// A split that columns other than its own wait for until a child is searched.
struct Split {
    start: usize,
    end: usize,
    by: usize,
    is_done: bool,
}

/// See the module.
pub(super) struct Block<'a, C: Code, T: Target> {
    pub(super) growth: &'a Growth<'a, C, T>,
    /// Depth of the root.
    pub(super) depth: usize,
    pub(super) weight: f64,
    /// Rows of the table, and what goes with each.
    pub(super) rows: Vec<u32>,
    pub(super) items: Vec<T::Item>,
    /// Keys of the rows, column after column.
    pub(super) keys: Vec<u32>,
    buffer: Vec<u32>,
    is_left: Vec<u8>,
    splits: Vec<Split>,
    pub(super) draws: Draws,
    pub(super) known: Known,
    pub(super) node: T::Node,
    room: Room<u32, T>,
    /// Room for subtrees of few rows.
    pub(super) few: Few<T>,
    open: Vec<Part>,
    pub(super) tree: GrownTree,
}

impl<'a, C: Code, T: Target> Block<'a, C, T> {
    /// The rows of a block from the keys of all columns; `local` has room for the place of each row.
    pub(super) fn new<K: Key>(
        growth: &'a Growth<'a, C, T>,
        root: &Root,
        weight: f64,
        lists: &[Vec<K>],
        local: &[AtomicU16],
    ) -> Self {
        let part = root.start..root.end;
        let places = top::renumber(lists[root.by][part.clone()].iter().map(|key| key.place()), local);
        let rows = part.len();
        let mut keys = vec![0; rows * lists.len()];
        for (column, (out, list)) in keys.chunks_exact_mut(rows).zip(lists).enumerate() {
            if root.known[column / 64] >> (column % 64) & 1 == 1 {
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
        let first = Part { start: 0, end: rows, depth: 0, place: root.place, parent: None, by: root.by, split: None };
        Self {
            growth,
            depth: root.depth,
            weight,
            rows: places.iter().map(|&place| growth.soil.rows[place as usize]).collect(),
            items: places.iter().map(|&place| growth.items[place as usize]).collect(),
            keys,
            buffer: vec![0; rows],
            is_left: vec![0; rows],
            splits: Vec::new(),
            draws: Draws::new(lists.len()),
            known: Known::of(&root.known),
            node: T::Node::default(),
            room: Room::default(),
            few: Few::new(rows, lists.len()),
            open: vec![first],
            tree,
        }
    }

    pub(super) fn grow(mut self) -> Result<GrownTree> {
        self.growth.soil.cancel.check()?;
        lanes::run(Run { block: &mut self });
        Ok(self.tree)
    }

    #[inline(always)]
    fn all<L: Lanes>(&mut self, _: L) {
        while let Some(part) = self.open.pop() {
            self.node(part);
        }
    }

    /// Writes a node and splits it, where it can be.
    #[inline(always)]
    fn node(&mut self, part: Part) {
        let growth = self.growth;
        let Part { start, end, depth, .. } = part;
        let (rows, count) = (self.rows.len(), end - start);
        let keys = &self.keys[part.by * rows..][start..end];
        let stats = growth.target.enter(&mut self.node, (keys, &self.items[..]));
        let at = self.write(count, part.parent, stats);
        if growth.soil.rules.is_last(self.depth + depth, count, stats) {
            return;
        }
        self.known.enter(depth);
        if let Some(split) = part.split {
            self.finish(split);
        }
        if T::FEW && count <= SET {
            return self.subtree(part, at);
        }
        let Some((feature, cut)) = self.search(part) else { return };
        let keys = &mut self.keys[feature * rows..][start..end];
        let absent = growth.absent(feature, keys, &self.rows);
        let left = mark(keys, cut, absent, &mut self.is_left);
        let column = &growth.soil.table.columns[feature];
        let code = |at: usize| column.codes[self.rows[keys[at].place()] as usize].get();
        let node = &mut self.tree.nodes[at as usize];
        (node.feature, node.threshold) = (feature as u32, column.between(code(cut.at), code(cut.at + 1)));
        // Where the node has no missing value, later ones go where most rows go.
        node.missing_left = if absent > 0 { cut.missing_left } else { 2 * left > count };
        if cut.missing_left {
            partition(keys, &self.is_left, &mut self.buffer);
        }
        self.splits.push(Split { start, end, by: feature, is_done: false });
        let split = Some(self.splits.len() as u32 - 1);
        let child = |is_left, start, end| Part {
            start,
            end,
            depth: depth + 1,
            place: child_place(part.place, is_left),
            parent: Some((at, is_left)),
            by: feature,
            split,
        };
        self.open.extend([child(false, start + left, end), child(true, start, start + left)]);
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
        let rows = self.rows.len();
        for (column, keys) in self.keys.chunks_exact_mut(rows).enumerate() {
            if column != split.by && !self.known.has(column) {
                partition(&mut keys[split.start..split.end], &self.is_left, &mut self.buffer);
            }
        }
    }

    /// The best cut of a node.
    #[inline(always)]
    fn search(&mut self, part: Part) -> Option<(usize, Cut)> {
        let growth = self.growth;
        let Part { start, end, .. } = part;
        let mut stream = growth.soil.stream.at(part.place);
        let mut best: Option<(usize, Cut)> = None;
        while let Some(feature) = self.draws.next(&mut stream) {
            if self.known.has(feature) {
                continue;
            }
            let keys = &self.keys[feature * self.rows.len()..][start..end];
            if keys[0].code() == keys[keys.len() - 1].code() {
                self.known.add(feature);
                continue;
            }
            let absent = growth.absent(feature, keys, &self.rows);
            if let Some(cut) = growth.look(&self.node, keys, absent, &self.items, &mut self.room)
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

struct Run<'w, 'a, C: Code, T: Target> {
    block: &'w mut Block<'a, C, T>,
}

impl<C: Code, T: Target> Work for Run<'_, '_, C, T> {
    type Out = ();

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        self.block.all(lanes);
    }
}
