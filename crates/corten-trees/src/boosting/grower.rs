//! One tree, grown leaf by leaf.
//!
//! The leaf whose split gains most is split next. Leaves too small to share among threads are split several at a time,
//! each by one thread, before it is known that they are next: what a split gives depends on its leaf alone, so the tree
//! is the one that a single thread grows.

use std::borrow::Cow;
use std::collections::BinaryHeap;

use corten_core::{CancelToken, Result};
use corten_kernels::boost::WIDTH;
use corten_kernels::boost::histogram::{Packed, Sums};
use corten_kernels::boost::partition::{Buffers, Rows, Stretch};
use corten_kernels::team::Team;
use serde::{Deserialize, Serialize};

use super::binning::Bins;
use super::choice::{Candidate, Choice, Way, better};
use super::collective::Collective;
use super::histogram::{self, Histogram, TileSums, Words};
use super::layout::Binned;
use super::leaf_models::LinearLeaf;
use super::split::{Branch, Left, Split};
use super::splitter::{FREE, Node};

/// Rows times columns of the smaller child from which all threads work on one split.
const SHARED: usize = 1 << 17;
/// Rows of a node that all threads part.
const PARTED: usize = 1 << 15;
/// Rows of a tree's root that make a stretch of their own worth it, and how many there are at most: nodes of few rows have
/// as many.
const STRETCH: usize = 1 << 16;
const STRETCHES: usize = 8;

/// A node of a tree over bins.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Grown {
    Split { split: Branch, left: u32, right: u32 },
    Leaf { value: f64 },
}

/// A tree over bins; children come after their parents.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct GrownTree {
    pub(crate) nodes: Vec<Grown>,
    /// Rows that reached each node.
    pub(crate) rows: Vec<u32>,
    /// The linear models of leaves, a place a node; empty where none has one.
    pub(crate) models: Vec<Option<LinearLeaf>>,
}

impl GrownTree {
    /// Whether it holds nothing but finite numbers.
    pub(crate) fn is_finite(&self) -> bool {
        let models = self.models.iter().flatten();
        self.nodes.iter().all(|node| match node {
            Grown::Split { split, .. } => split.gain.is_finite(),
            Grown::Leaf { value } => value.is_finite(),
        }) && models.flat_map(|m| m.terms.iter().map(|t| t.1).chain([m.intercept])).all(f64::is_finite)
    }

    /// Multiplies all that leaves say.
    pub(crate) fn scale(&mut self, factor: f64) {
        for node in &mut self.nodes {
            if let Grown::Leaf { value } = node {
                *value *= factor;
            }
        }
        self.models.iter_mut().flatten().for_each(|m| m.scale(factor));
    }

    /// The leaf that a row falls into, from its bin in a column.
    pub(crate) fn leaf(&self, features: &[Bins], bin: impl Fn(usize) -> u8) -> usize {
        let mut at = 0;
        while let Grown::Split { split, left, right } = &self.nodes[at] {
            let f = split.feature();
            at = if split.goes_left(bin(f), features[f].count()) { *left } else { *right } as usize;
        }
        at
    }
}

/// A leaf with its rows.
pub(crate) struct LeafRows<'r> {
    pub(crate) at: usize,
    pub(crate) rows: Kept<'r>,
}

/// The rows of a leaf in ascending order.
pub(crate) enum Kept<'r> {
    Whole(Rows<'r>),
    /// Of a leaf that was split in vain.
    Joined(Vec<u32>),
}

impl Kept<'_> {
    /// The rows, one stretch after the other.
    pub(crate) fn stretches(&self) -> Vec<Stretch<'_>> {
        match self {
            Self::Whole(rows) => rows.stretches().collect(),
            Self::Joined(rows) => vec![Stretch::some(rows, rows.last().map_or(0, |&last| last as usize + 1))],
        }
    }

    /// The rows as one list.
    pub(crate) fn list(&self) -> Cow<'_, [u32]> {
        match &self.stretches()[..] {
            [stretch] if let Some(list) = stretch.list() => Cow::Borrowed(list),
            stretches => stretches.iter().flat_map(Stretch::to_vec).collect(),
        }
    }

    /// The rows of both sides of a split.
    fn joined(left: &Rows<'_>, right: &Rows<'_>) -> Self {
        let mut out = Vec::with_capacity(left.len() + right.len());
        // Sides have their stretches among the same rows.
        for (left, right) in left.stretches().zip(right.stretches()) {
            let right = right.to_vec();
            let mut rest = &right[..];
            for row in left.to_vec() {
                let before = rest.iter().take_while(|r| **r < row).count();
                out.extend_from_slice(&rest[..before]);
                rest = &rest[before..];
                out.push(row);
            }
            out.extend_from_slice(rest);
        }
        Self::Joined(out)
    }
}

/// A leaf that could be split.
struct Leaf<'r> {
    at: usize,
    /// Its place in the queue: that of the first split found for it, or of another one that gains less. One that gains
    /// more is known only once its turn has come, or before where threads look ahead, and must not change the order.
    gain: f64,
    depth: usize,
    rows: Rows<'r>,
    node: Node,
    split: Split,
    histogram: Histogram,
    way: Way,
}

enum State<'r> {
    Whole(Box<Leaf<'r>>),
    /// Already split, and not yet in the tree.
    Split(Box<Pieces<'r>>),
}

/// A leaf after its split.
struct Pieces<'r> {
    split: Split,
    children: [Child<'r>; 2],
}

/// One side of a split.
struct Child<'r> {
    depth: usize,
    rows: Rows<'r>,
    node: Node,
    way: Way,
    next: Option<(Split, Histogram)>,
}

/// Memory that trees hand on.
#[derive(Default)]
pub(crate) struct Workspace {
    sums: Vec<Sums>,
    spare: Vec<Histogram>,
}

#[cfg(test)]
impl Workspace {
    /// Sums and histograms that wait for the next tree.
    pub(crate) fn kept(&self) -> (usize, usize) {
        (self.sums.len(), self.spare.len())
    }
}

/// What a tree is grown from.
pub(crate) struct Grower<'a> {
    pub(crate) choice: Choice<'a>,
    pub(crate) binned: &'a Binned,
    pub(crate) words: &'a Words,
    pub(crate) team: Team<'a>,
    pub(crate) cancel: &'a CancelToken,
    pub(crate) collective: &'a dyn Collective,
    /// The rows to grow on, where they are chosen already.
    pub(crate) chosen: Option<&'a [u32]>,
    pub(crate) work: &'a mut Workspace,
}

/// What one thread needs to split leaves.
struct Tools<'w> {
    team: Team<'w>,
    sums: Vec<Sums>,
    spare: Vec<Histogram>,
}

/// A leaf that one thread splits.
struct Task<'r> {
    at: usize,
    gain: f64,
    leaf: Option<Box<Leaf<'r>>>,
    outcome: Option<Outcome<'r>>,
    tools: Tools<'static>,
}

impl<'r> Task<'r> {
    /// Takes what one split needs: a histogram, and sums for each tile.
    fn new(leaf: Box<Leaf<'r>>, tiles: usize, tools: &mut Tools<'_>) -> Self {
        let sums = tools.sums.split_off(tools.sums.len().saturating_sub(tiles));
        let spare = tools.spare.pop().into_iter().collect();
        Self {
            at: leaf.at,
            gain: leaf.gain,
            leaf: Some(leaf),
            outcome: None,
            tools: Tools { team: Team::alone(), sums, spare },
        }
    }
}

/// The outcome of splitting a leaf.
enum Outcome<'r> {
    Split(Box<Pieces<'r>>),
    /// The split leaves too few rows on a side; the leaf has another one, or none.
    Refused(Box<Leaf<'r>>, Option<Split>),
}

/// A tile's share of a split's work.
struct TileTask {
    small: TileSums,
    large: TileSums,
    sums: Sums,
    best: [Option<Split>; 2],
}

impl Grower<'_> {
    /// Grows a tree on some rows; gives its leaves' rows too.
    ///
    /// # Errors
    /// [`corten_core::Error::Cancelled`], and what [`Collective::check`] tells.
    pub(crate) fn grow<'r>(&mut self, buffers: &'r mut Buffers) -> Result<(GrownTree, Vec<LeafRows<'r>>)> {
        let stretches = |rows: usize| (rows / STRETCH).clamp(1, self.team.threads().min(STRETCHES));
        let rows = match (self.chosen, self.choice.sample(buffers.rows())) {
            (Some(chosen), _) => buffers.some(chosen, stretches(chosen.len())),
            (None, Some(some)) => buffers.some(&some, stretches(some.len())),
            (None, None) => buffers.all(stretches(buffers.rows())),
        };
        let mut tree = GrownTree::default();
        let mut done = Vec::new();
        let mut open: BinaryHeap<Candidate<State<'r>>> = BinaryHeap::new();
        let mut tools = Tools {
            team: self.team,
            sums: std::mem::take(&mut self.work.sums),
            spare: std::mem::take(&mut self.work.spare),
        };
        let root = self.root(rows, &mut tools);
        tree.nodes.push(Grown::Leaf { value: root.node.value });
        tree.rows.push(root.node.rows as u32);
        offer(&mut open, &mut done, 0, root);
        let mut leaves = 1;
        while leaves < self.choice.shape.max_leaf_nodes
            && let Some(candidate) = open.pop()
        {
            self.cancel.check()?;
            self.collective.check()?;
            let pieces = match candidate.state {
                State::Split(pieces) => pieces,
                State::Whole(leaf) => {
                    // A split that is refused queues its leaf again.
                    let Some(pieces) = self.take(leaf, leaves, &mut open, &mut done, &mut tools) else { continue };
                    pieces
                }
            };
            leaves += 1;
            let Pieces { split, children } = *pieces;
            let left = tree.nodes.len();
            tree.nodes[candidate.at] = Grown::Split { split: split.branch, left: left as u32, right: left as u32 + 1 };
            for (i, child) in children.into_iter().enumerate() {
                tree.nodes.push(Grown::Leaf { value: child.node.value });
                tree.rows.push(child.node.rows as u32);
                offer(&mut open, &mut done, left + i, child);
            }
        }
        for candidate in open {
            let rows = match candidate.state {
                State::Whole(leaf) => {
                    tools.spare.push(leaf.histogram);
                    Kept::Whole(leaf.rows)
                }
                State::Split(pieces) => {
                    let [left, right] = pieces.children;
                    tools.spare.extend([left.next, right.next].into_iter().flatten().map(|n| n.1));
                    Kept::joined(&left.rows, &right.rows)
                }
            };
            done.push(LeafRows { at: candidate.at, rows });
        }
        (self.work.sums, self.work.spare) = (tools.sums, tools.spare);
        Ok((tree, done))
    }

    fn root<'r>(&self, rows: Rows<'r>, tools: &mut Tools<'_>) -> Child<'r> {
        let binned = self.binned;
        let mut histogram = tools.spare.pop().unwrap_or_default();
        histogram.fit(binned, histogram::is_wide(self.words, rows.len()));
        histogram::build(binned, self.words, &rows, tools.team, &mut tools.sums, &mut histogram);
        histogram.tiles.iter_mut().for_each(|tile| self.collective.sum(tile));
        let total = histogram::total(binned, &histogram);
        let node = Node { total, rows: rows.len(), value: self.choice.splitter.value(total, FREE), bounds: FREE };
        let way = Way::root(self.choice.seed);
        let mut best = None;
        if self.choice.may_split(&node, 0) {
            let allowed = self.choice.allowed(&way);
            let mut found: Vec<Option<Split>> = vec![None; binned.tiles.len()];
            tools.team.each(&mut found, |tile, best| {
                *best =
                    self.choice.splitter.best(tile, &histogram.tiles[tile], histogram.wide, &node, allowed.as_deref());
            });
            best = better(found);
        }
        let next = match best {
            Some(split) => Some((split, histogram)),
            None => {
                tools.spare.push(histogram);
                None
            }
        };
        Child { depth: 0, rows, node, way, next }
    }

    /// Splits the best leaf, and with it, where threads would wait, the ones that may come next.
    fn take<'r>(
        &self,
        leaf: Box<Leaf<'r>>,
        leaves: usize,
        open: &mut BinaryHeap<Candidate<State<'r>>>,
        done: &mut Vec<LeafRows<'r>>,
        tools: &mut Tools<'_>,
    ) -> Option<Box<Pieces<'r>>> {
        let last = leaves + 1 >= self.choice.shape.max_leaf_nodes;
        let small = |leaf: &Leaf<'_>| leaf.rows.len() / 2 * self.binned.places.len() < SHARED;
        if tools.team.threads() == 1 || last || !small(&leaf) {
            return match self.expand(*leaf, last, tools) {
                Outcome::Split(pieces) => Some(pieces),
                Outcome::Refused(leaf, split) => {
                    again(open, done, leaf, split, &mut tools.spare);
                    None
                }
            };
        }
        let tiles = self.binned.tiles.len();
        let room = (self.choice.shape.max_leaf_nodes - leaves).min(tools.team.threads());
        let mut tasks = vec![Task::new(leaf, tiles, tools)];
        let mut passed = Vec::new();
        while tasks.len() < room
            && passed.len() < tools.team.threads()
            && let Some(candidate) = open.pop()
        {
            match candidate.state {
                State::Whole(leaf) if small(&leaf) => tasks.push(Task::new(leaf, tiles, tools)),
                state => passed.push(Candidate { state, ..candidate }),
            }
        }
        open.extend(passed);
        tools.team.each(&mut tasks, |_, task| {
            task.outcome = task.leaf.take().map(|leaf| self.expand(*leaf, false, &mut task.tools));
        });
        let mut first = None;
        for (i, mut task) in tasks.into_iter().enumerate() {
            tools.sums.append(&mut task.tools.sums);
            tools.spare.append(&mut task.tools.spare);
            match task.outcome {
                Some(Outcome::Split(pieces)) if i == 0 => first = Some(pieces),
                Some(Outcome::Split(pieces)) => {
                    open.push(Candidate { at: task.at, gain: task.gain, state: State::Split(pieces) });
                }
                Some(Outcome::Refused(leaf, split)) => again(open, done, leaf, split, &mut tools.spare),
                None => {}
            }
        }
        first
    }

    /// The best split of a leaf that leaves enough rows on both sides, counted one by one.
    fn counted(&self, leaf: &Leaf<'_>) -> Option<Split> {
        let allowed = self.choice.allowed(&leaf.way);
        let count = |group: usize| {
            // Several counts of each byte: neighbours often have the same, and one would wait for the other.
            let (column, mut counts) = (self.binned.groups.get(group), [[0u32; WIDTH]; 4]);
            let mut count = |row: usize, byte: u8| counts[row % 4][usize::from(byte)] += 1;
            for stretch in leaf.rows.stretches() {
                match stretch.list() {
                    None => column[stretch.range()].iter().enumerate().for_each(|(i, &byte)| count(i, byte)),
                    Some(list) => list.iter().enumerate().for_each(|(i, &row)| count(i, column[row as usize])),
                }
            }
            std::array::from_fn(|byte| counts.iter().map(|c| c[byte]).sum())
        };
        self.choice.splitter.counted(count, &leaf.histogram, &leaf.node, allowed.as_deref())
    }

    /// Splits a leaf and finds the next splits of its children.
    fn expand<'r>(&self, mut leaf: Leaf<'r>, last: bool, tools: &mut Tools<'_>) -> Outcome<'r> {
        let binned = self.binned;
        let (rules, scale) = (self.choice.splitter.rules, self.choice.splitter.scale);
        let missing = binned.features[leaf.split.branch.feature()].count();
        let (group, member) = binned.members[leaf.split.branch.feature()];
        let set = leaf.split.branch.set(missing, member);
        let column = binned.groups.get(group);
        let (left_sums, total) = (leaf.split.left_sums, leaf.node.total);
        let right_sums = (total.0 - left_sums.0, total.1 - left_sums.1);
        let team = if leaf.rows.len() < PARTED { Team::alone() } else { tools.team };
        let parted = leaf.rows.part(column, &set, team);
        let (left, right) = parted.counts();
        // Hessians only say how many rows there are at least.
        let least = i64::from(rules.min_samples_leaf) * scale.most;
        if !scale.counts && left_sums.1.min(right_sums.1) < least && left.min(right) < rules.min_samples_leaf as usize {
            leaf.rows = parted.joined();
            let split = self.counted(&leaf);
            return Outcome::Refused(Box::new(leaf), split);
        }
        let (left_rows, right_rows) = parted.sides();
        let Leaf { depth, node, mut split, mut histogram, way, .. } = leaf;
        if !split.branch.missing_seen {
            split.branch.missing_left = left > right;
        }
        let bounds = self.choice.bounds(&split, node.bounds);
        let nodes = [
            Node { total: left_sums, rows: left, value: split.left_value, bounds: bounds.0 },
            Node { total: right_sums, rows: right, value: split.right_value, bounds: bounds.1 },
        ];
        let ways = [1, 2].map(|side| self.choice.way(&way, side, split.branch.feature()));
        let open = nodes.each_ref().map(|n| !last && self.choice.may_split(n, depth + 1));
        let mut next: [Option<(Split, Histogram)>; 2] = [None, None];
        if open[0] || open[1] {
            let small_left = left <= right;
            let (s, l) = if small_left { (0, 1) } else { (1, 0) };
            let small_rows = if small_left { &left_rows } else { &right_rows };
            let allowed = ways.each_ref().map(|w| self.choice.allowed(w));
            let mut small = tools.spare.pop().unwrap_or_default();
            small.fit(binned, histogram::is_wide(self.words, small_rows.len()));
            let large_wide = histogram::is_wide(self.words, nodes[l].rows);
            let wide = [histogram.wide, small.wide, large_wide];
            // A thread a tile where that feeds all of them; pieces of rows otherwise.
            let shares = !small.wide && binned.tiles.len() >= tools.team.threads();
            if !shares {
                histogram::build(binned, self.words, small_rows, tools.team, &mut tools.sums, &mut small);
                small.tiles.iter_mut().for_each(|tile| self.collective.sum(tile));
            }
            let mut tasks: Vec<TileTask> = Vec::with_capacity(binned.tiles.len());
            for (small, large) in small.tiles.iter_mut().zip(&mut histogram.tiles) {
                let (small, large) = (std::mem::take(small), std::mem::take(large));
                tasks.push(TileTask { small, large, sums: tools.sums.pop().unwrap_or_default(), best: [None, None] });
            }
            tools.team.each(&mut tasks, |tile, task| {
                if shares && let Words::Packed(words) = self.words {
                    let words: &[Packed] = words;
                    histogram::build_packed(binned, tile, words, small_rows, &mut task.sums, &mut task.small);
                    self.collective.sum(&mut task.small);
                }
                histogram::subtract(&mut task.large, &task.small, binned.sizes[tile], wide);
                let found = |child: usize, sums: &TileSums, wide: bool| {
                    let allowed = allowed[child].as_deref();
                    open[child].then(|| self.choice.splitter.best(tile, sums, wide, &nodes[child], allowed)).flatten()
                };
                task.best = [found(s, &task.small, wide[1]), found(l, &task.large, wide[2])];
            });
            let mut best: [Vec<Option<Split>>; 2] = [Vec::new(), Vec::new()];
            for (i, task) in tasks.into_iter().enumerate() {
                small.tiles[i] = task.small;
                histogram.tiles[i] = task.large;
                tools.sums.push(task.sums);
                let [a, b] = task.best;
                best[0].push(a);
                best[1].push(b);
            }
            histogram.wide = large_wide;
            let [a, b] = best.map(better);
            for (child, split, histogram) in [(s, a, small), (l, b, histogram)] {
                match split {
                    Some(split) => next[child] = Some((split, histogram)),
                    None => tools.spare.push(histogram),
                }
            }
        } else {
            tools.spare.push(histogram);
        }
        let [left_next, right_next] = next;
        let depth = depth + 1;
        let [left_way, right_way] = ways;
        let left = Child { depth, rows: left_rows, node: nodes[0], way: left_way, next: left_next };
        let right = Child { depth, rows: right_rows, node: nodes[1], way: right_way, next: right_next };
        Outcome::Split(Box::new(Pieces { split, children: [left, right] }))
    }
}

/// Queues a leaf that has a split; one that has none is done.
fn offer<'r>(open: &mut BinaryHeap<Candidate<State<'r>>>, done: &mut Vec<LeafRows<'r>>, at: usize, child: Child<'r>) {
    let Child { depth, rows, node, way, next } = child;
    match next {
        Some((split, histogram)) => {
            let gain = split.branch.gain;
            let leaf = Leaf { at, gain, depth, rows, node, split, histogram, way };
            open.push(Candidate { at, gain, state: State::Whole(Box::new(leaf)) });
        }
        None => done.push(LeafRows { at, rows: Kept::Whole(rows) }),
    }
}

/// Queues a leaf again whose split was refused.
fn again<'r>(
    open: &mut BinaryHeap<Candidate<State<'r>>>,
    done: &mut Vec<LeafRows<'r>>,
    mut leaf: Box<Leaf<'r>>,
    split: Option<Split>,
    spare: &mut Vec<Histogram>,
) {
    match split {
        Some(split) => {
            leaf.gain = leaf.gain.min(split.branch.gain);
            leaf.split = split;
            open.push(Candidate { at: leaf.at, gain: leaf.gain, state: State::Whole(leaf) });
        }
        None => {
            spare.push(leaf.histogram);
            done.push(LeafRows { at: leaf.at, rows: Kept::Whole(leaf.rows) });
        }
    }
}

/// The bins of a set as a list.
pub(crate) fn members(left: &Left) -> Vec<u32> {
    match left {
        Left::UpTo(last) => (0..=u32::from(*last)).collect(),
        Left::Set(set) => (0..256).filter(|b| set[(b / 32) as usize] >> (b % 32) & 1 == 1).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_sides_of_a_split_joined_are_its_rows_in_order() {
        let rows = 1000;
        let column: Vec<u8> = (0..rows).map(|row| (row * row % 7) as u8).collect();
        for stretches in [1, 3] {
            let mut buffers = Buffers::new(rows);
            let (left, right) = buffers.all(stretches).part(&column, &[0b101; 8], Team::alone()).sides();
            assert!(!left.is_empty() && !right.is_empty());
            let joined = Kept::joined(&left, &right);
            assert!(joined.list().iter().copied().eq(0..rows as u32));
            assert_eq!(joined.stretches().len(), 1);
            let whole = Kept::Whole(left);
            assert_eq!(whole.stretches().len(), stretches);
            assert!(
                whole.list().iter().copied().eq((0..rows as u32).filter(|&r| [0, 2].contains(&column[r as usize])))
            );
        }
    }
}
