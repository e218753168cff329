//! Nodes of many rows: columns are searched and split side by side.

use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, PoisonError};

use corten_core::Result;
use corten_kernels::lanes::{self, Lanes, Work};
use corten_kernels::parallel;

use super::super::draws::Draws;
use super::super::finder::Stats;
use super::super::grower::{ROOT, child_place};
use super::super::lists::partition;
use super::super::ranks::Code;
use super::super::sort::Key;
use super::super::tree::{GrownTree, Node};
use super::block::{self, Block};
use super::{Cut, Growth, Room, Target, mark};

/// Keys of a node below which columns aren't spread over threads.
const SPREAD: usize = 1 << 14;

/// A node whose rows are many.
struct Part<N> {
    start: usize,
    end: usize,
    depth: usize,
    place: u64,
    node: N,
    /// Its place among nodes.
    at: usize,
    /// A bit a column that doesn't vary.
    known: Vec<u64>,
    /// What each column offers; nothing of a node that stays a leaf.
    looks: Vec<Look>,
}

/// What a column offers.
#[derive(Clone, Copy)]
enum Look {
    Constant,
    Cut(Option<Cut>),
}

/// What follows from a node.
#[derive(Clone, Copy)]
enum Child {
    Node(usize),
    Block(usize),
}

/// Room for a copy of keys and a search: one a thread, as one a column would be new memory for each.
struct Desk<K, T: Target> {
    buffer: Vec<K>,
    room: Room<K, T>,
}

impl<K, T: Target> Default for Desk<K, T> {
    fn default() -> Self {
        Self { buffer: Vec::new(), room: Room::default() }
    }
}

/// See the module.
pub(super) struct Top<'a, K, C: Code, T: Target> {
    growth: &'a Growth<'a, C, T>,
    /// Each column's keys.
    lists: Vec<Mutex<Vec<K>>>,
    /// Desks at which no thread works.
    desks: Mutex<Vec<Desk<K, T>>>,
    /// Whether the row at a place goes left.
    is_left: Vec<u8>,
    draws: Draws,
    weight: f64,
    nodes: Vec<Node>,
    values: Vec<f64>,
    children: Vec<Option<[Child; 2]>>,
    blocks: Vec<block::Root>,
}

impl<'a, K: Key, C: Code, T: Target> Top<'a, K, C, T> {
    pub(super) fn grow(growth: &'a Growth<'a, C, T>) -> Result<GrownTree> {
        let (rows, columns) = (growth.soil.rows.len(), growth.soil.table.columns.len());
        let places = growth.soil.orders.places(growth.soil.rows);
        let lists = parallel::map_blocks(growth.soil.threads, columns, 1, |at, _| {
            Mutex::new(growth.soil.orders.keys(at, rows, &places))
        });
        let mut top = Self {
            growth,
            lists,
            desks: Mutex::new(Vec::new()),
            is_left: vec![0; rows],
            draws: Draws::new(columns),
            weight: 0.0,
            nodes: Vec::new(),
            values: Vec::new(),
            children: Vec::new(),
            blocks: Vec::new(),
        };
        let mut node = T::Node::default();
        let stats = top.enter(&mut node, 0, 0, rows);
        top.weight = stats.weight;
        let known = vec![0; columns.div_ceil(64)];
        let mut open = Vec::new();
        let first = if rows <= block::ROWS {
            top.block(block::Root { start: 0, end: rows, depth: 0, place: ROOT, by: 0, known })
        } else {
            let part = Part { start: 0, end: rows, depth: 0, place: ROOT, node, at: 0, known, looks: Vec::new() };
            let mut parts = [part];
            let is_searched = top.write(&mut parts[0], stats);
            if is_searched {
                top.look(&mut parts, None);
            }
            open.extend(parts);
            Child::Node(0)
        };
        while let Some(part) = open.pop() {
            growth.soil.cancel.check()?;
            if let Some((feature, cut)) = top.choose(&part) {
                open.extend(top.split(&part, feature, cut));
            }
        }
        let blocks = top.grow_blocks()?;
        Ok(top.joined(first, blocks))
    }

    /// Sums what goes with rows, in the order of a column.
    fn enter(&self, node: &mut T::Node, by: usize, start: usize, end: usize) -> Stats {
        let keys = self.lists[by].lock().unwrap_or_else(PoisonError::into_inner);
        self.growth.target.enter(node, (&keys[start..end], self.growth.items))
    }

    fn desk(&self) -> Desk<K, T> {
        self.desks.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn block(&mut self, root: block::Root) -> Child {
        self.blocks.push(root);
        Child::Block(self.blocks.len() - 1)
    }

    /// Writes a node as a leaf; says whether it is to be searched.
    fn write(&mut self, part: &mut Part<T::Node>, stats: Stats) -> bool {
        part.at = self.nodes.len();
        let samples = part.end - part.start;
        self.nodes.push(Node::leaf(0, samples, stats));
        self.children.push(None);
        self.growth.target.value(&part.node, &mut self.values);
        !self.growth.soil.rules.is_last(part.depth, samples, stats)
    }

    /// Finds what columns offer nodes, once their parent's split has been done on each; `by` is the column of that split.
    fn look(&self, parts: &mut [Part<T::Node>], split: Option<(usize, usize, usize, &[u64])>) {
        let growth = self.growth;
        let columns = self.lists.len();
        let all = match split {
            Some((start, end, ..)) => end - start,
            None => parts.iter().map(|p| p.end - p.start).sum(),
        };
        let threads = if all * columns < SPREAD { 1 } else { growth.soil.threads };
        let shared: &[Part<T::Node>] = parts;
        let offered = parallel::map_blocks(threads, columns, 1, |column, _| {
            let keys = &mut *self.lists[column].lock().unwrap_or_else(PoisonError::into_inner);
            let mut desk = self.desk();
            let looks = lanes::run(Scan {
                growth,
                keys,
                desk: &mut desk,
                column,
                parts: shared,
                split,
                is_left: &self.is_left,
            });
            self.desks.lock().unwrap_or_else(PoisonError::into_inner).push(desk);
            looks
        });
        for (at, part) in parts.iter_mut().enumerate() {
            part.looks = offered.iter().map(|looks| looks[at]).collect();
            for (column, look) in part.looks.iter().enumerate() {
                if matches!(look, Look::Constant) {
                    part.known[column / 64] |= 1 << (column % 64);
                }
            }
        }
    }

    /// The best of what columns offer, the first one drawn among equals.
    fn choose(&mut self, part: &Part<T::Node>) -> Option<(usize, Cut)> {
        let growth = self.growth;
        let mut stream = growth.soil.stream.at(part.place);
        let mut best: Option<(usize, Cut)> = None;
        while !part.looks.is_empty()
            && let Some(feature) = self.draws.next(&mut stream)
        {
            if let Look::Cut(Some(cut)) = part.looks[feature]
                && best.is_none_or(|(_, b)| cut.score > b.score)
            {
                best = Some((feature, cut));
                if growth.target.is_perfect(&part.node, cut.score, part.end - part.start) {
                    break;
                }
            }
        }
        self.draws.reset();
        best.filter(|(_, cut)| growth.is_worth(&part.node, cut.score, self.weight))
    }

    /// Splits a node; gives those of its children that are to be split.
    fn split(&mut self, part: &Part<T::Node>, feature: usize, cut: Cut) -> Vec<Part<T::Node>> {
        let growth = self.growth;
        let Part { start, end, .. } = *part;
        let node = &mut self.nodes[part.at];
        let left = {
            let mut keys = self.lists[feature].lock().unwrap_or_else(PoisonError::into_inner);
            let keys = &mut keys[start..end];
            let absent = growth.absent(feature, keys, growth.soil.rows);
            let left = mark(keys, cut, absent, &mut self.is_left);
            let column = &growth.soil.table.columns[feature];
            let code = |key: &K| column.codes[growth.soil.rows[key.place()] as usize].get();
            let threshold = column.between(code(&keys[cut.at]), code(&keys[cut.at + 1]));
            (node.feature, node.threshold) = (feature as u32, threshold);
            // Where the node has no missing value, later ones go where most rows go.
            node.missing_left = if absent > 0 { cut.missing_left } else { 2 * left > end - start };
            if cut.missing_left {
                partition(keys, &self.is_left, &mut vec![K::default(); end - start]);
            }
            left
        };
        let sides = [(start, start + left, true), (start + left, end, false)];
        let mut parts = Vec::with_capacity(2);
        let children = sides.map(|(start, end, is_left)| {
            let (depth, place) = (part.depth + 1, child_place(part.place, is_left));
            let known = part.known.clone();
            if end - start <= block::ROWS {
                return self.block(block::Root { start, end, depth, place, by: feature, known });
            }
            let mut node = T::Node::default();
            let stats = self.enter(&mut node, feature, start, end);
            let mut child = Part { start, end, depth, place, node, at: 0, known, looks: Vec::new() };
            let is_searched = self.write(&mut child, stats);
            let at = child.at;
            if is_searched {
                parts.push(child);
            }
            Child::Node(at)
        });
        self.children[part.at] = Some(children);
        self.look(&mut parts, Some((start, end, feature, &part.known)));
        parts
    }

    fn grow_blocks(&mut self) -> Result<Vec<GrownTree>> {
        let growth = self.growth;
        let lists: Vec<Vec<K>> =
            self.lists.drain(..).map(|l| l.into_inner().unwrap_or_else(PoisonError::into_inner)).collect();
        let local: Vec<AtomicU16> = (0..growth.soil.rows.len()).map(|_| AtomicU16::new(0)).collect();
        let threads = if growth.soil.rows.len() * lists.len() < SPREAD { 1 } else { growth.soil.threads };
        let (blocks, weight) = (&self.blocks, self.weight);
        let grown = parallel::map_blocks(threads, blocks.len(), 1, |at, _| {
            Block::new(growth, &blocks[at], weight, &lists, &local).grow()
        });
        grown.into_iter().collect()
    }

    /// All nodes in one tree, depth first.
    fn joined(self, first: Child, mut blocks: Vec<GrownTree>) -> GrownTree {
        let width = self.growth.soil.width;
        let mut tree = GrownTree { width, ..GrownTree::default() };
        let nodes = self.nodes.len() + blocks.iter().map(|block| block.nodes.len()).sum::<usize>();
        if blocks.len() > 1 {
            tree.nodes.reserve_exact(nodes);
            tree.values.reserve_exact(nodes * width);
        }
        let mut open: Vec<(Child, Option<(u32, bool)>)> = vec![(first, None)];
        while let Some((child, parent)) = open.pop() {
            let at = tree.nodes.len() as u32;
            if let Some((parent, is_left)) = parent {
                let parent = &mut tree.nodes[parent as usize];
                *(if is_left { &mut parent.left } else { &mut parent.right }) = at;
            }
            match child {
                Child::Node(place) => {
                    tree.nodes.push(Node { left: at, right: at, ..self.nodes[place] });
                    tree.values.extend_from_slice(&self.values[place * width..][..width]);
                    if let Some([left, right]) = self.children[place] {
                        open.extend([(right, Some((at, false))), (left, Some((at, true)))]);
                    }
                }
                Child::Block(place) => {
                    let mut block = std::mem::take(&mut blocks[place]);
                    if at == 0 {
                        return block;
                    }
                    let moved = |node: &Node| Node { left: node.left + at, right: node.right + at, ..*node };
                    tree.nodes.extend(block.nodes.iter().map(moved));
                    tree.values.append(&mut block.values);
                }
            }
        }
        tree
    }
}

/// One column's share of [`Top::look`].
struct Scan<'w, 'a, K, C: Code, T: Target> {
    growth: &'w Growth<'a, C, T>,
    keys: &'w mut [K],
    desk: &'w mut Desk<K, T>,
    column: usize,
    parts: &'w [Part<T::Node>],
    split: Option<(usize, usize, usize, &'w [u64])>,
    is_left: &'w [u8],
}

impl<K: Key, C: Code, T: Target> Work for Scan<'_, '_, K, C, T> {
    type Out = Vec<Look>;

    #[inline(always)]
    fn run<L: Lanes>(self, _: L) -> Vec<Look> {
        let Self { growth, keys: all, desk, column, .. } = self;
        let is_set = |known: &[u64]| known[column / 64] >> (column % 64) & 1 == 1;
        if let Some((start, end, by, known)) = self.split
            && column != by
            && !is_set(known)
        {
            desk.buffer.resize(desk.buffer.len().max(end - start), K::default());
            partition(&mut all[start..end], self.is_left, &mut desk.buffer);
        }
        let mut looks = Vec::with_capacity(self.parts.len());
        for part in self.parts {
            let keys = &all[part.start..part.end];
            looks.push(if is_set(&part.known) || keys[0].code() == keys[keys.len() - 1].code() {
                Look::Constant
            } else {
                let absent = growth.absent(column, keys, growth.soil.rows);
                Look::Cut(growth.look(&part.node, keys, absent, growth.items, &mut desk.room))
            });
        }
        looks
    }
}

/// The places of rows of a block, ascending, and where each stands among them.
pub(super) fn renumber(places: impl Iterator<Item = usize>, local: &[AtomicU16]) -> Vec<u32> {
    let mut there = vec![0u64; local.len().div_ceil(64)];
    let mut count = 0;
    for place in places {
        there[place / 64] |= 1 << (place % 64);
        count += 1;
    }
    let mut out = Vec::with_capacity(count);
    for (start, mut word) in (0u32..).step_by(64).zip(there) {
        while word != 0 {
            let place = start + word.trailing_zeros();
            // Blocks share no row, so that no other thread uses this place.
            local[place as usize].store(out.len() as u16, Ordering::Relaxed);
            out.push(place);
            word &= word - 1;
        }
    }
    out
}
