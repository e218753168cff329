//! A tree grown in passes over blocks.
//!
//! A pass parts the rows of every leaf that may be split next, and sums up the smaller side of each. Splits are then taken
//! in the order in which a tree in memory takes them: what a split gives depends on its leaf alone.

use std::borrow::Cow;
use std::collections::BinaryHeap;
use std::sync::{Mutex, PoisonError};

use corten_core::{CancelToken, Result};
use corten_kernels::boost::WIDTH;
use corten_kernels::team::Team;

use super::pass::{Found, Summed, Task, Thread};
use super::store::{Blocks, ROWS};
use crate::boosting::choice::{Candidate, Choice, Way, better};
use crate::boosting::grower::{Grown, GrownTree};
use crate::boosting::histogram::{self, Histogram, TileSums, Words};
use crate::boosting::split::Split;
use crate::boosting::splitter::{FREE, Node};

/// Bytes of sums that a thread may hold: they bound the leaves of a pass.
const HELD: usize = 32 << 20;

/// Where a node's rows lie in the order of each block: start and length.
pub(super) type Spans = Vec<[u32; 2]>;

/// Memory that trees hand on.
#[derive(Default)]
pub(crate) struct Desk {
    /// The rows of each block, those of a leaf side by side.
    pub(super) order: Vec<u16>,
    pub(super) threads: Vec<Thread>,
}

/// The rows of a grown tree's leaves.
pub(crate) struct BlockLeaves<'r> {
    order: &'r [u16],
    leaves: Vec<Ended>,
}

/// A leaf with its rows.
struct Ended {
    at: usize,
    spans: Spans,
    /// Whether they ascend.
    sorted: bool,
}

impl BlockLeaves<'_> {
    /// The nodes.
    pub(crate) fn nodes(&self) -> impl Iterator<Item = usize> {
        self.leaves.iter().map(|l| l.at)
    }

    /// The rows of a leaf in ascending order.
    pub(crate) fn rows(&self, leaf: usize) -> Cow<'_, [u32]> {
        let leaf = &self.leaves[leaf];
        let mut rows = Vec::new();
        for (block, &[start, len]) in leaf.spans.iter().enumerate() {
            let from = block * ROWS;
            let first = rows.len();
            rows.extend(
                self.order[from + start as usize..][..len as usize].iter().map(|&r| from as u32 + u32::from(r)),
            );
            if !leaf.sorted {
                rows[first..].sort_unstable();
            }
        }
        rows.into()
    }

    /// Adds a value a leaf to the scores of its rows, of which those from `from` on are given.
    pub(crate) fn add(&self, values: &[f64], scores: &mut [f64], from: usize) {
        let end = from + scores.len();
        for block in from / ROWS..end.div_ceil(ROWS) {
            let first = block * ROWS;
            let (low, high) = (from.max(first) - first, end.min(first + ROWS) - first);
            let scores = &mut scores[first + low - from..first + high - from];
            for (leaf, &value) in self.leaves.iter().zip(values) {
                let [start, len] = leaf.spans[block];
                for &row in &self.order[first + start as usize..][..len as usize] {
                    if let Some(score) = usize::from(row).checked_sub(low).and_then(|at| scores.get_mut(at)) {
                        *score += value;
                    }
                }
            }
        }
    }
}

/// A leaf that could be split.
struct Leaf {
    at: usize,
    /// Its place in the queue, as in memory.
    gain: f64,
    depth: usize,
    node: Node,
    split: Split,
    histogram: Histogram,
    way: Way,
    spans: Spans,
}

enum State {
    Whole(Box<Leaf>),
    /// Already split, and not yet in the tree; its rows beside it.
    Split(Box<Pieces>, Spans),
}

/// A leaf after its split.
struct Pieces {
    split: Split,
    children: [Child; 2],
}

/// One side of a split.
struct Child {
    depth: usize,
    node: Node,
    way: Way,
    spans: Spans,
    next: Option<(Split, Histogram)>,
}

/// What a tree is grown from.
pub(crate) struct BlockGrower<'a> {
    pub(crate) choice: Choice<'a>,
    pub(crate) blocks: &'a Blocks,
    pub(crate) words: &'a Words,
    pub(crate) team: Team<'a>,
    pub(crate) cancel: &'a CancelToken,
    /// The rows to grow on, where they are chosen already.
    pub(crate) chosen: Option<&'a [u32]>,
}

impl BlockGrower<'_> {
    /// Grows a tree on some rows; gives its leaves' rows too.
    ///
    /// # Errors
    /// [`corten_core::Error::Cancelled`], and [`corten_core::Error::Io`] when blocks can't be read.
    pub(crate) fn grow<'r>(&self, desk: &'r mut Desk) -> Result<(GrownTree, BlockLeaves<'r>)> {
        let (spans, rows) = self.first(desk);
        let mut tree = GrownTree::default();
        let (mut open, mut done) = (BinaryHeap::new(), Vec::new());
        let root = self.root(spans, rows, desk)?;
        tree.nodes.push(Grown::Leaf { value: root.node.value });
        tree.rows.push(root.node.rows as u32);
        offer(&mut open, &mut done, 0, root);
        let (mut leaves, most) = (1, self.choice.shape.max_leaf_nodes);
        while leaves < most {
            // The best leaf is looked at before it is taken: a pass splits it together with others.
            match open.peek() {
                None => break,
                Some(Candidate { state: State::Whole(_), .. }) => {
                    self.wave(&mut open, &mut done, most - leaves, desk)?;
                    continue;
                }
                Some(_) => {}
            }
            let Some(Candidate { at, state: State::Split(pieces, _), .. }) = open.pop() else { continue };
            leaves += 1;
            let Pieces { split, children } = *pieces;
            let left = tree.nodes.len();
            tree.nodes[at] = Grown::Split { split: split.branch, left: left as u32, right: left as u32 + 1 };
            for (i, child) in children.into_iter().enumerate() {
                tree.nodes.push(Grown::Leaf { value: child.node.value });
                tree.rows.push(child.node.rows as u32);
                offer(&mut open, &mut done, left + i, child);
            }
        }
        done.extend(open.into_iter().map(|c| match c.state {
            State::Whole(leaf) => Ended { at: c.at, spans: leaf.spans, sorted: true },
            State::Split(_, spans) => Ended { at: c.at, spans, sorted: false },
        }));
        Ok((tree, BlockLeaves { order: &desk.order, leaves: done }))
    }

    /// Puts the rows of a tree into order, and counts them.
    fn first(&self, desk: &mut Desk) -> (Spans, usize) {
        let rows = self.blocks.rows();
        desk.order.resize(rows, 0);
        let sampled;
        let chosen = match self.chosen {
            Some(chosen) => Some(chosen),
            None => {
                sampled = self.choice.sample(rows);
                sampled.as_deref()
            }
        };
        let mut spans = Vec::with_capacity(self.blocks.count());
        for (block, order) in desk.order.chunks_mut(ROWS).enumerate() {
            let len = match chosen {
                None => {
                    order.iter_mut().enumerate().for_each(|(i, o)| *o = i as u16);
                    order.len()
                }
                Some(chosen) => {
                    let from = block * ROWS;
                    let start = chosen.partition_point(|&r| (r as usize) < from);
                    let own = &chosen[start..];
                    let own = &own[..own.partition_point(|&r| (r as usize) < from + order.len())];
                    order.iter_mut().zip(own).for_each(|(o, &r)| *o = (r as usize - from) as u16);
                    own.len()
                }
            };
            spans.push([0, len as u32]);
        }
        (spans, chosen.map_or(rows, <[u32]>::len))
    }

    fn root(&self, spans: Spans, rows: usize, desk: &mut Desk) -> Result<Child> {
        let Choice { splitter, seed, .. } = self.choice;
        let layout = &self.blocks.layout;
        let found = self.pass(&[Task { spans: &spans, parting: None, summed: Summed::All }], desk)?;
        let mut histogram = Histogram::default();
        for Found { sums, .. } in found {
            histogram = self.histogram(sums, rows);
        }
        let total = histogram::total(layout, &histogram);
        let node = Node { total, rows, value: splitter.value(total, FREE), bounds: FREE };
        let way = Way::root(seed);
        let mut best = None;
        if self.choice.may_split(&node, 0) {
            best = self.best(&histogram, &node, &way, self.team);
        }
        let next = best.map(|split| (split, histogram));
        Ok(Child { depth: 0, node, way, spans, next })
    }

    fn best(&self, histogram: &Histogram, node: &Node, way: &Way, team: Team<'_>) -> Option<Split> {
        let allowed = self.choice.allowed(way);
        let mut found: Vec<Option<Split>> = vec![None; histogram.tiles.len()];
        team.each(&mut found, |tile, best| {
            let sums = &histogram.tiles[tile];
            *best = self.choice.splitter.best(tile, sums, histogram.wide, node, allowed.as_deref());
        });
        better(found)
    }

    /// Sums in words of their own as those of a node of so many rows.
    fn histogram(&self, mut tiles: Vec<TileSums>, rows: usize) -> Histogram {
        let wide = histogram::is_wide(self.words, rows);
        if !wide {
            for (tile, &size) in tiles.iter_mut().zip(&self.blocks.layout.sizes) {
                let (gradients, hessians) = tile.split_at_mut(size);
                for (g, h) in gradients.iter_mut().zip(hessians) {
                    *g = (*g << 32) + *h;
                }
                tile.truncate(size);
            }
        }
        Histogram { wide, tiles }
    }

    /// Splits the leaves that may come next, of which `most` will be taken at most.
    fn wave(
        &self,
        open: &mut BinaryHeap<Candidate<State>>,
        done: &mut Vec<Ended>,
        most: usize,
        desk: &mut Desk,
    ) -> Result<()> {
        self.cancel.check()?;
        let layout = &self.blocks.layout;
        let splitter = &self.choice.splitter;
        let each = layout.sizes.len() * WIDTH * corten_kernels::boost::TILE * size_of::<i64>();
        let room = most.min((HELD / each).max(4));
        let mut leaves: Vec<Leaf> = Vec::new();
        let mut passed = Vec::new();
        for _ in 0..most.min(open.len()) {
            let Some(Candidate { at, gain, state }) = open.pop() else { break };
            match state {
                State::Whole(leaf) if leaves.len() < room => leaves.push(*leaf),
                state => passed.push(Candidate { at, gain, state }),
            }
        }
        open.extend(passed);
        // The last split's children are split no more.
        let last = most == 1;
        let tasks: Vec<Task<'_>> = leaves
            .iter()
            .map(|leaf| {
                let missing = layout.features[leaf.split.branch.feature()].count();
                let (group, member) = layout.members[leaf.split.branch.feature()];
                let set = leaf.split.branch.set(missing, member);
                let place = layout.places[group];
                let left = leaf.split.left_sums;
                // The side that seems to have fewer rows; nothing but speed depends on it.
                let small = if 2 * left.1 <= leaf.node.total.1 { Summed::Left } else { Summed::Right };
                let deep = leaf.depth + 1 >= self.choice.shape.max_depth;
                Task {
                    spans: &leaf.spans,
                    parting: Some((
                        place.tile,
                        place.column,
                        std::array::from_fn(|b| set[b >> 5] >> (b & 31) & 1 == 1),
                    )),
                    summed: if last || deep { Summed::None } else { small },
                }
            })
            .collect();
        let found = self.pass(&tasks, desk)?;
        let summed: Vec<Summed> = tasks.iter().map(|t| t.summed).collect();
        drop(tasks);
        struct Item {
            at: usize,
            gain: f64,
            leaf: Option<Leaf>,
            found: Found,
            summed: Summed,
            outcome: Option<(Pieces, Spans)>,
        }
        let (mut items, mut refused) = (Vec::new(), Vec::new());
        for ((leaf, found), summed) in leaves.into_iter().zip(found).zip(summed) {
            let (left_sums, total) = (leaf.split.left_sums, leaf.node.total);
            let least = i64::from(splitter.rules.min_samples_leaf) * splitter.scale.most;
            let left: usize = found.left.iter().map(|&n| n as usize).sum();
            let few = left.min(leaf.node.rows - left) < splitter.rules.min_samples_leaf as usize;
            // As in memory: rows are counted where hessians leave it open.
            if !splitter.scale.counts && left_sums.1.min(total.1 - left_sums.1) < least && few {
                refused.push(leaf);
            } else {
                items.push(Item { at: leaf.at, gain: leaf.gain, leaf: Some(leaf), found, summed, outcome: None });
            }
        }
        self.team.each(&mut items, |_, item| {
            let found = std::mem::take(&mut item.found);
            item.outcome = item.leaf.take().map(|leaf| self.split(leaf, found, item.summed));
        });
        for item in items {
            if let Some((pieces, spans)) = item.outcome {
                open.push(Candidate { at: item.at, gain: item.gain, state: State::Split(Box::new(pieces), spans) });
            }
        }
        self.again(refused, open, done, desk)
    }

    /// Both sides of a split leaf.
    fn split(&self, leaf: Leaf, found: Found, summed: Summed) -> (Pieces, Spans) {
        let Leaf { depth, node, mut split, mut histogram, way, spans, .. } = leaf;
        let left: usize = found.left.iter().map(|&n| n as usize).sum();
        let right = node.rows - left;
        if !split.branch.missing_seen {
            split.branch.missing_left = left > right;
        }
        let bounds = self.choice.bounds(&split, node.bounds);
        let (left_sums, total) = (split.left_sums, node.total);
        let right_sums = (total.0 - left_sums.0, total.1 - left_sums.1);
        let nodes = [
            Node { total: left_sums, rows: left, value: split.left_value, bounds: bounds.0 },
            Node { total: right_sums, rows: right, value: split.right_value, bounds: bounds.1 },
        ];
        let ways = [1, 2].map(|side| self.choice.way(&way, side, split.branch.feature()));
        let open = nodes.each_ref().map(|n| summed != Summed::None && self.choice.may_split(n, depth + 1));
        let mut next: [Option<(Split, Histogram)>; 2] = [None, None];
        if open[0] || open[1] {
            let (s, l) = if summed == Summed::Left { (0, 1) } else { (1, 0) };
            // The parent's sums less one side's, both in words of their own.
            let mut rest = self.wide(std::mem::take(&mut histogram));
            for (rest, own) in rest.iter_mut().zip(&found.sums) {
                rest.iter_mut().zip(own).for_each(|(r, o)| *r -= o);
            }
            for (child, sums) in [(s, found.sums), (l, rest)] {
                if open[child] {
                    let histogram = self.histogram(sums, nodes[child].rows);
                    let best = self.best(&histogram, &nodes[child], &ways[child], Team::alone());
                    next[child] = best.map(|split| (split, histogram));
                }
            }
        }
        let sides = |right: bool| {
            let side = |(&[start, len], &left): (&[u32; 2], &u32)| {
                if right { [start + left, len - left] } else { [start, left] }
            };
            spans.iter().zip(&found.left).map(side).collect::<Spans>()
        };
        let depth = depth + 1;
        let [left_way, right_way] = ways;
        let [left_next, right_next] = next;
        let children = [
            Child { depth, node: nodes[0], way: left_way, spans: sides(false), next: left_next },
            Child { depth, node: nodes[1], way: right_way, spans: sides(true), next: right_next },
        ];
        (Pieces { split, children }, spans)
    }

    /// Sums of a node in words of their own.
    fn wide(&self, histogram: Histogram) -> Vec<TileSums> {
        if histogram.wide {
            return histogram.tiles;
        }
        let apart = |tile: TileSums| {
            let (gradients, hessians): (Vec<i64>, Vec<i64>) =
                tile.into_iter().map(corten_kernels::boost::histogram::unpack).unzip();
            [gradients, hessians].concat()
        };
        histogram.tiles.into_iter().map(apart).collect()
    }

    /// Finds other splits for leaves whose own left too few rows on a side, from their rows counted by bin.
    fn again(
        &self,
        leaves: Vec<Leaf>,
        open: &mut BinaryHeap<Candidate<State>>,
        done: &mut Vec<Ended>,
        desk: &mut Desk,
    ) -> Result<()> {
        if leaves.is_empty() {
            return Ok(());
        }
        let layout = &self.blocks.layout;
        let groups = layout.places.len();
        let counts: Vec<Mutex<Vec<[u32; WIDTH]>>> =
            leaves.iter().map(|_| Mutex::new(vec![[0; WIDTH]; groups])).collect();
        self.each_block(desk, |block, order, thread| {
            for leaf in &leaves {
                let [start, len] = leaf.spans[block];
                // The split that was refused has parted them.
                order[start as usize..][..len as usize].sort_unstable();
            }
            self.blocks.with(block, &mut thread.room, |tiles| {
                for (leaf, counts) in leaves.iter().zip(&counts) {
                    let [start, len] = leaf.spans[block];
                    let rows = &order[start as usize..][..len as usize];
                    let mut own = vec![[0u32; WIDTH]; groups];
                    for (place, own) in layout.places.iter().zip(&mut own) {
                        let (bins, n) = (tiles[place.tile].bins(), tiles[place.tile].columns());
                        rows.iter().for_each(|&r| own[usize::from(bins[usize::from(r) * n + place.column])] += 1);
                    }
                    let mut all = counts.lock().unwrap_or_else(PoisonError::into_inner);
                    all.iter_mut().flatten().zip(own.iter().flatten()).for_each(|(a, o)| *a += o);
                }
            })
        })?;
        for (mut leaf, counts) in leaves.into_iter().zip(counts) {
            let counts = counts.into_inner().unwrap_or_else(PoisonError::into_inner);
            let allowed = self.choice.allowed(&leaf.way);
            let count = |group: usize| counts[group];
            match self.choice.splitter.counted(count, &leaf.histogram, &leaf.node, allowed.as_deref()) {
                Some(split) => {
                    leaf.gain = leaf.gain.min(split.branch.gain);
                    leaf.split = split;
                    open.push(Candidate { at: leaf.at, gain: leaf.gain, state: State::Whole(Box::new(leaf)) });
                }
                None => done.push(Ended { at: leaf.at, spans: leaf.spans, sorted: true }),
            }
        }
        Ok(())
    }
}

/// Queues a leaf that has a split; one that has none is done.
fn offer(open: &mut BinaryHeap<Candidate<State>>, done: &mut Vec<Ended>, at: usize, child: Child) {
    let Child { depth, node, way, spans, next } = child;
    match next {
        Some((split, histogram)) => {
            let gain = split.branch.gain;
            let leaf = Leaf { at, gain, depth, node, split, histogram, way, spans };
            open.push(Candidate { at, gain, state: State::Whole(Box::new(leaf)) });
        }
        None => done.push(Ended { at, spans, sorted: true }),
    }
}
