//! Trees whose leaves are counted, and many: they are grown whole, and the splits that gain most are picked of them.
//!
//! What a node draws depends on its place alone, so that its split is the same whichever leaf is split first. The best split
//! first takes nodes in the order of the least gain on the path to each, itself included: those that so many others
//! surely come before needn't be split.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicU64, Ordering as Memory};
use std::sync::{Mutex, PoisonError};

use super::super::tree::{GrownTree, Node};

/// What nodes must gain to be picked, as far as is known.
pub(super) struct Bar {
    /// Splits that are picked.
    splits: usize,
    /// The least of the greatest gains, so many of them, in bits; they are in the order of numbers, as none is below 0.
    least: AtomicU64,
    greatest: Mutex<BinaryHeap<Reverse<u64>>>,
}

impl Bar {
    pub(super) fn new(leaves: usize) -> Self {
        let greatest = Mutex::new(BinaryHeap::new());
        Self { splits: leaves.saturating_sub(1), least: AtomicU64::new(0), greatest }
    }

    /// Whether no split below a path of such a least gain is picked, of a node of such a weight and impurity.
    #[inline(always)]
    pub(super) fn is_above(&self, reach: f64, weight: f64, impurity: f64) -> bool {
        // Threads may see an earlier bar: nodes below it are grown, and not picked.
        reach.min(weight * impurity) < f64::from_bits(self.least.load(Memory::Relaxed))
    }

    /// Takes account of nodes: the least gain on the path to each.
    pub(super) fn add(&self, gains: &mut Vec<f64>) {
        let mut greatest = self.greatest.lock().unwrap_or_else(PoisonError::into_inner);
        for gain in gains.drain(..).map(|gain| gain.max(0.0).to_bits()) {
            if greatest.len() < self.splits {
                greatest.push(Reverse(gain));
            } else if let Some(mut least) = greatest.peek_mut().filter(|least| least.0 < gain) {
                *least = Reverse(gain);
            }
        }
        if let Some(least) = greatest.peek().filter(|_| greatest.len() == self.splits) {
            self.least.store(least.0, Memory::Relaxed);
        }
    }
}

/// A leaf that is split where it gains most: its place, and that in the whole tree.
struct Leaf {
    gain: f64,
    at: u32,
    whole: u32,
}

impl PartialEq for Leaf {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Leaf {}

impl PartialOrd for Leaf {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Leaf {
    /// The one written first among equals.
    fn cmp(&self, other: &Self) -> Ordering {
        self.gain.total_cmp(&other.gain).then(other.at.cmp(&self.at))
    }
}

/// The tree of the best splits first, until there are so many leaves, of one that was grown whole; a gain goes with each
/// of its nodes.
pub(super) fn pick(whole: &GrownTree, gains: &[f64], leaves: usize) -> GrownTree {
    let mut tree = GrownTree { width: whole.width, ..GrownTree::default() };
    let mut open = BinaryHeap::new();
    let mut write = |from: u32, open: &mut BinaryHeap<Leaf>| {
        let at = tree.nodes.len() as u32;
        tree.nodes.push(Node {
            left: at,
            right: at,
            feature: 0,
            threshold: 0.0,
            missing_left: false,
            ..whole.nodes[from as usize]
        });
        tree.values.extend_from_slice(whole.value(from as usize));
        if !whole.is_leaf(from as usize) {
            open.push(Leaf { gain: gains[from as usize], at, whole: from });
        }
        at
    };
    write(0, &mut open);
    let mut splits = Vec::new();
    while splits.len() + 1 < leaves
        && let Some(leaf) = open.pop()
    {
        let Node { left, right, .. } = whole.nodes[leaf.whole as usize];
        splits.push((leaf, [left, right].map(|child| write(child, &mut open))));
    }
    for (Leaf { at, whole: from, .. }, [left, right]) in splits {
        let Node { feature, threshold, missing_left, .. } = whole.nodes[from as usize];
        let node = &mut tree.nodes[at as usize];
        *node = Node { left, right, feature, threshold, missing_left, ..*node };
    }
    tree
}
