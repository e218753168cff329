//! Ensembles of trees over codes: checked once, then walked without a check.
//!
//! A [`Coder`] turns raw values into codes; a [`Forest`] holds the trees. Every layout and every level of instructions
//! finds the same leaves and adds them in the order of the trees, so all give the same bits. [`walk`] is the scalar
//! twin of all others.

pub mod codes;
mod heavy;
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "made on x86 alone"))]
mod lanes;
mod levels;
mod look;
mod one;
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "made on x86 alone"))]
mod paths;
mod planes;
#[cfg(test)]
mod samples;
mod sieve;
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "read on x86 alone"))]
mod slots;
mod walk;

use alloc::vec::Vec;

use crate::aligned::Aligned;
use crate::cpu::dispatch;

pub use codes::{Coder, Column, MAX_THRESHOLDS, MISSING, Reads};
pub use lanes::{LaneScratch, Lanes};
use levels::Levels;
pub use one::{OneRow, RowScratch};
pub use paths::{PathScratch, Paths};
pub use planes::{PlaneScratch, Planes};
pub use sieve::{Sieve, SieveScratch};

/// A node's column is one of categories when this bit is set.
pub const CATEGORY: u16 = 1 << 15;
/// No code lies above it: a leaf compares with it and stays where it is.
pub const NEVER: u16 = u16::MAX;
/// The target of a tree whose leaves have a value for every output.
pub const VECTOR: u32 = u32::MAX;

/// A node in 8 bytes: where it leads (low half), its code column and its threshold.
///
/// The right child follows the left one; a leaf leads to itself. A node goes right when the code is above its
/// threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// The left child.
    pub left: u32,
    /// Code column, with [`CATEGORY`] where it holds categories.
    pub column: u16,
    /// Goes right when the code is above it.
    pub threshold: u16,
}

impl Node {
    #[inline(always)]
    const fn pack(self) -> u64 {
        self.left as u64 | (self.column as u64) << 32 | (self.threshold as u64) << 48
    }

    #[inline(always)]
    const fn unpack(word: u64) -> Self {
        Self { left: word as u32, column: (word >> 32) as u16, threshold: (word >> 48) as u16 }
    }
}

/// What a [`Forest`] is made of.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    /// Number of outputs.
    pub outputs: u32,
    /// First node of each tree, and the end.
    pub roots: Vec<u32>,
    /// Each node as a word: see [`Parts::word`].
    pub nodes: Aligned<u64>,
    /// Of a leaf: its place in `leaves`. Of a category node: its first word in `bits`.
    pub payload: Vec<u32>,
    /// Which categories go left, 32 a word.
    pub bits: Vec<u32>,
    /// Values of leaves.
    pub leaves: Vec<f64>,
    /// The output that a tree's scalar leaves add to, or [`VECTOR`].
    pub targets: Vec<u32>,
    /// Whether sums are rounded to `f32` after each tree.
    pub narrow: bool,
}

impl Parts {
    /// A node as a word.
    #[inline]
    pub const fn word(node: Node) -> u64 {
        node.pack()
    }

    /// A node.
    #[inline]
    pub fn node(&self, at: usize) -> Node {
        Node::unpack(self.nodes[at])
    }
}

/// Trees whose every index has been checked.
#[derive(Clone, Debug)]
pub struct Forest {
    parts: Parts,
    /// Number of code columns.
    columns: usize,
    /// The answers of nodes that read categories, where there are some.
    levels: Option<Levels>,
}

impl Forest {
    /// Checks every index, so that walking needs no checks.
    ///
    /// # Errors
    /// What is wrong.
    pub fn new(parts: Parts, coder: &Coder) -> Result<Self, &'static str> {
        let (nodes, trees, outputs) = (parts.nodes.len(), parts.targets.len(), parts.outputs as usize);
        if outputs == 0 {
            return Err("there are no outputs");
        }
        if parts.roots.len() != trees + 1
            || parts.roots.first() != Some(&0)
            || parts.roots.last().map(|&r| r as usize) != Some(nodes)
            || parts.roots.windows(2).any(|w| w[0] >= w[1])
            || parts.payload.len() != nodes
        {
            return Err("its trees don't cover its nodes");
        }
        let columns = coder.columns();
        // Words that a node's categories take; numbers have none.
        let words: Vec<usize> = (0..columns)
            .map(|c| match coder.reads(c) {
                Reads::Category { levels } => (levels as usize + 2).div_ceil(32),
                Reads::Number { .. } => 0,
            })
            .collect();
        let numbers_only = words.iter().all(|&words| words == 0);
        let thresholds: Vec<usize> = (0..columns).map(|c| coder.thresholds(c).len()).collect();
        let mut met = Vec::new();
        let mut categories = false;
        for (tree, &target) in parts.targets.iter().enumerate() {
            let (start, end) = (parts.roots[tree] as usize, parts.roots[tree + 1] as usize);
            if target != VECTOR && target >= parts.outputs {
                return Err("a tree adds to an output that isn't there");
            }
            let width = if target == VECTOR { outputs } else { 1 };
            // Places below it have a whole leaf.
            let leaves = (parts.leaves.len() + 1).saturating_sub(width);
            let (nodes, payload) = (&parts.nodes[start..end], &parts.payload[start..end]);
            let sound = if numbers_only {
                are_sound(nodes, payload, start as u32, columns as u32, u32::try_from(leaves).unwrap_or(u32::MAX))
            } else {
                are_sound_with_categories(nodes, payload, start, &words, parts.bits.len(), leaves, &mut categories)
            };
            if !sound {
                return Err("a node leads back, to nothing, or to what its code column isn't");
            }
            if !are_apart(nodes, start as u32, &thresholds, &mut met) {
                return Err(AMISS);
            }
        }
        let levels = categories.then(|| Levels::new(&parts, coder));
        Ok(Self { parts, columns, levels })
    }

    /// What it was made of.
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Number of trees.
    pub fn trees(&self) -> usize {
        self.parts.targets.len()
    }

    /// Number of code columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// A node.
    pub fn node(&self, at: usize) -> Node {
        self.parts.node(at)
    }

    /// Whether some node reads categories.
    pub fn has_categories(&self) -> bool {
        self.levels.is_some()
    }

    /// Adds a leaf's values to a row's sums: `out[k * stride]` for output `k`.
    #[inline(always)]
    fn add(&self, tree: usize, leaf: u32, out: &mut [f64], stride: usize) {
        let leaf = leaf as usize;
        let narrow = self.parts.narrow;
        match self.parts.targets[tree] {
            VECTOR => {
                let values = &self.parts.leaves[leaf..][..self.parts.outputs as usize];
                for (sum, &v) in out.iter_mut().step_by(stride).zip(values) {
                    *sum = rounded(*sum + v, narrow);
                }
            }
            target => {
                let sum = &mut out[target as usize * stride];
                *sum = rounded(*sum + self.parts.leaves[leaf], narrow);
            }
        }
    }

    /// Adds the leaves of one tree to the sums of rows: `out[k * stride + r]` for output `k` of row `r`.
    fn add_block(&self, tree: usize, leaves: &[u32], out: &mut [f64], stride: usize) {
        let target = self.parts.targets[tree];
        if target == VECTOR || self.parts.narrow {
            leaves.iter().enumerate().for_each(|(r, &leaf)| self.add(tree, leaf, &mut out[r..], stride));
            return;
        }
        let values = &self.parts.leaves;
        for (sum, &leaf) in out[target as usize * stride..].iter_mut().zip(leaves) {
            *sum += values[leaf as usize];
        }
    }

    /// Adds the leaves of all trees, in their order, to a row's sums.
    ///
    /// Shapes: `found` has each tree's place in the leaves, `out[k * stride]` is output `k`.
    pub fn add_up(&self, found: &[u32], out: &mut [f64], stride: usize) {
        let Parts { leaves, targets, narrow, outputs, .. } = &self.parts;
        if *outputs == 1 && !narrow {
            let mut sum = out[0];
            for &leaf in &found[..self.trees()] {
                sum += leaves[leaf as usize];
            }
            out[0] = sum;
            return;
        }
        for (tree, &leaf) in found[..targets.len()].iter().enumerate() {
            self.add(tree, leaf, out, stride);
        }
    }

    /// The same of what the leaves hold: values, where all are `scalar`, or places in the leaves.
    #[cfg(target_arch = "x86_64")]
    fn add_words(&self, scalar: bool, words: &[u64], out: &mut [f64], stride: usize) {
        let Parts { targets, narrow, outputs, .. } = &self.parts;
        if !scalar {
            words.iter().enumerate().for_each(|(tree, &leaf)| self.add(tree, leaf as u32, out, stride));
        } else if *outputs == 1 && !narrow {
            out[0] = words.iter().fold(out[0], |sum, &word| sum + f64::from_bits(word));
        } else {
            for (&word, &target) in words.iter().zip(targets) {
                let sum = &mut out[target as usize * stride];
                *sum = rounded(*sum + f64::from_bits(word), *narrow);
            }
        }
    }
}

dispatch! {
    /// Whether the nodes of a tree from node `start` on, of an ensemble without categories, are sound: each is a leaf whose
    /// value is there, or leads to two nodes after it and reads one of the columns.
    fn are_sound(nodes: &[u64], payload: &[u32], start: u32, columns: u32, leaves: u32) -> bool {
        const LEAF: u32 = (NEVER as u32) << 16;
        let last = (nodes.len() as u32).wrapping_sub(1);
        let mut bad = 0;
        for (at, (&word, &payload)) in (0u32..).zip(nodes.iter().zip(payload)) {
            let (left, reads) = ((word as u32).wrapping_sub(start), (word >> 32) as u32);
            let inner = (left > at) & (left < last) & (reads & 0xffff < columns);
            let leaf = (left == at) & (reads == LEAF) & (payload < leaves);
            bad |= u32::from(!(inner | leaf));
        }
        bad == 0
    }
}

/// The same where columns may hold categories, in as many `words` of the `bits` as each of them takes; and whether one does.
fn are_sound_with_categories(
    nodes: &[u64],
    payload: &[u32],
    start: usize,
    words: &[usize],
    bits: usize,
    leaves: usize,
    categories: &mut bool,
) -> bool {
    const UNKNOWN: usize = usize::MAX;
    let mut sound = true;
    for (at, (&word, &payload)) in nodes.iter().zip(payload).enumerate() {
        let node = Node::unpack(word);
        let (left, payload) = ((node.left as usize).wrapping_sub(start), payload as usize);
        let category = node.column & CATEGORY != 0;
        let words = words.get(usize::from(node.column & !CATEGORY)).copied().unwrap_or(UNKNOWN);
        let inner = (left > at) & (left < nodes.len() - 1) & (words != UNKNOWN) & (category == (words > 0));
        let listed = !category | (payload.saturating_add(words) <= bits);
        let leaf = (left == at) & (node.column == 0) & (node.threshold == NEVER) & (payload < leaves);
        // Without a branch: which nodes are leaves can't be foreseen.
        sound &= leaf | (inner & listed);
        *categories |= category;
    }
    sound
}

const AMISS: &str = "two nodes lead to the same one, or a threshold isn't there";

/// Whether each of a tree's sound nodes is led to by one other at most, so that the ways through it are as many as its leaves,
/// and compares with a threshold that its column has.
fn are_apart(nodes: &[u64], start: u32, thresholds: &[usize], met: &mut Vec<bool>) -> bool {
    met.clear();
    met.resize(nodes.len(), false);
    let mut apart = true;
    for (at, &word) in (start..).zip(nodes) {
        let node = Node::unpack(word);
        if node.left == at {
            continue;
        }
        let children = &mut met[(node.left - start) as usize..][..2];
        apart &= !children[0] & !children[1];
        children.fill(true);
        apart &= node.column & CATEGORY != 0
            || usize::from(node.threshold) < thresholds.get(usize::from(node.column)).copied().unwrap_or(0);
    }
    apart
}

/// A sum as it is kept: of two `f32`, the `f64` sum rounded once more is the `f32` sum.
#[inline(always)]
fn rounded(sum: f64, narrow: bool) -> f64 {
    if narrow { f64::from(sum as f32) } else { sum }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use corten_core::random::Stream;

    /// Sound nodes of which one or none is changed: both checks find the same ones, and the change is found where it counts.
    #[test]
    fn both_checks_find_the_same_nodes_unsound() {
        let mut random = Stream::new(4, 0);
        let (mut sound, mut unsound) = (0, 0);
        for case in 0..4000 {
            let (inner, start) = (random.below(40) as u32, random.below(100) as u32);
            let (columns, leaves) = (1 + random.below(5) as u16, 1 + random.below(50) as u32);
            // A list: the left child of each inner node is a leaf.
            let mut nodes: Vec<Node> =
                (0..2 * inner + 1).map(|at| Node { left: start + at, column: 0, threshold: NEVER }).collect();
            for i in 0..inner {
                let (column, threshold) = (random.below(u64::from(columns)) as u16, random.below(65_536) as u16);
                nodes[2 * i as usize] = Node { left: start + 2 * i + 1, column, threshold };
            }
            let mut payload: Vec<u32> = nodes.iter().map(|_| random.below(u64::from(leaves)) as u32).collect();
            let at = random.below(nodes.len() as u64) as usize;
            match case % 8 {
                0 => nodes[at].left = start + random.below(2 * u64::from(inner) + 3) as u32,
                1 => nodes[at].left = start.wrapping_sub(1),
                2 => nodes[at].column = random.below(u64::from(columns) + 2) as u16,
                3 => nodes[at].column |= CATEGORY,
                4 => nodes[at].threshold = NEVER - random.below(2) as u16,
                5 => payload[at] = leaves - 1 + random.below(2) as u32,
                6 => nodes[at].left = random.next_bits() as u32,
                _ => {}
            }
            let words: Vec<u64> = nodes.iter().map(|&node| node.pack()).collect();
            let (numbers, mut categories) = (vec![0; usize::from(columns)], false);
            let wanted = are_sound_with_categories(
                &words,
                &payload,
                start as usize,
                &numbers,
                0,
                leaves as usize,
                &mut categories,
            );
            assert_eq!(are_sound(&words, &payload, start, u32::from(columns), leaves), wanted, "case {case}");
            *if wanted { &mut sound } else { &mut unsound } += 1;
            assert!(wanted || case % 8 < 7, "case {case} was sound");
        }
        assert!(sound > 1000 && unsound > 500, "{sound} sound, {unsound} not");
    }

    /// Ways through a tree that meet again would be as many as there are subsets, and codes end with the thresholds.
    #[test]
    fn nodes_with_two_parents_and_thresholds_that_are_not_there_are_refused() {
        let below = samples::numbers(23);
        let (forest, coder) = samples::grown(3, |_| 20, 3, &below);
        let parts = forest.parts();
        let inner: Vec<usize> = (0..parts.roots[1] as usize).filter(|&at| parts.node(at).left as usize != at).collect();
        assert!(Forest::new(parts.clone(), &coder).is_ok());
        let (first, last) = (parts.node(inner[0]), parts.node(inner[inner.len() - 1]));
        let mut meeting = parts.clone();
        meeting.nodes[inner[0]] = Parts::word(Node { left: last.left, ..first });
        assert_eq!(Forest::new(meeting, &coder).err(), Some(AMISS));
        let mut beyond = parts.clone();
        let threshold = coder.thresholds(usize::from(last.column)).len() as u16;
        beyond.nodes[inner[inner.len() - 1]] = Parts::word(Node { threshold, ..last });
        assert_eq!(Forest::new(beyond, &coder).err(), Some(AMISS));
    }
}
