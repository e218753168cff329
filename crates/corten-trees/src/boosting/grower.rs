//! One tree, grown leaf by leaf.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use corten_core::random::Stream;
use corten_core::{CancelToken, Result};

use super::binning::Binned;
use super::collective::Collective;
use super::histogram::{self, Histogram, Rounded};
use super::splitter::{self, Left, Node, Rules, Split};

/// Limits on a tree's shape.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) max_leaf_nodes: usize,
    pub(crate) max_depth: usize,
    /// Features that a split may choose from.
    pub(crate) features_per_split: usize,
}

/// A node of a tree over bins.
#[derive(Clone, Debug)]
pub(crate) enum Grown {
    Split { split: Split, left: u32, right: u32 },
    Leaf { value: f64, start: usize, end: usize },
}

/// A tree over bins; children come after their parents.
#[derive(Clone, Debug)]
pub(crate) struct GrownTree {
    pub(crate) nodes: Vec<Grown>,
    /// The training rows, leaf by leaf; a leaf names its range.
    pub(crate) rows: Vec<u32>,
}

impl GrownTree {
    /// The leaf that a row falls into.
    pub(crate) fn leaf(&self, binned: &Binned, row: usize) -> usize {
        let mut at = 0;
        while let Grown::Split { split, left, right } = &self.nodes[at] {
            at = if split.goes_left(binned.bin(split.feature, row)) { *left } else { *right } as usize;
        }
        at
    }
}

/// A leaf that could be split.
struct Candidate {
    at: usize,
    depth: usize,
    start: usize,
    end: usize,
    node: Node,
    split: Split,
    histogram: Histogram,
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
    /// By gain; the older node first among equals.
    fn cmp(&self, other: &Self) -> Ordering {
        self.split.gain.total_cmp(&other.split.gain).then(other.at.cmp(&self.at))
    }
}

/// What a tree is grown from.
pub(crate) struct Grower<'a> {
    pub(crate) binned: &'a Binned,
    pub(crate) rounded: &'a Rounded,
    pub(crate) rules: &'a Rules,
    pub(crate) shape: &'a Shape,
    pub(crate) threads: usize,
    pub(crate) cancel: &'a CancelToken,
    pub(crate) collective: &'a dyn Collective,
    /// Chooses the features of a split, where there is a choice.
    pub(crate) stream: Stream,
    /// Histograms of leaves that are no more.
    pub(crate) spare: Vec<Histogram>,
}

impl Grower<'_> {
    /// Grows a tree on some rows (in ascending order).
    ///
    /// # Errors
    /// [`corten_core::Error::Cancelled`].
    pub(crate) fn grow(&mut self, rows: Vec<u32>) -> Result<GrownTree> {
        let mut tree = GrownTree { nodes: Vec::new(), rows };
        let mut open: BinaryHeap<Candidate> = BinaryHeap::new();
        let end = tree.rows.len();
        let histogram = self.histogram(&tree.rows)?;
        // Every row is in exactly one bin of the first feature.
        let total = histogram[..histogram::WIDTH].iter().fold([0i64; 2], |a, x| [a[0] + x[0], a[1] + x[1]]);
        let bounds = (f64::NEG_INFINITY, f64::INFINITY);
        let value = splitter::value(self.rounded.sums(total), self.rules.l2, bounds);
        tree.nodes.push(Grown::Leaf { value, start: 0, end });
        self.offer(&mut open, 0, 0, (0, end), Node { total, value, bounds }, histogram);
        let mut leaves = 1;
        let mut buffer = Vec::new();
        while leaves < self.shape.max_leaf_nodes
            && let Some(candidate) = open.pop()
        {
            self.cancel.check()?;
            leaves += 1;
            self.split(&mut tree, &mut open, candidate, &mut buffer, leaves)?;
        }
        self.spare.extend(open.into_iter().map(|c| c.histogram));
        Ok(tree)
    }

    fn histogram(&mut self, rows: &[u32]) -> Result<Histogram> {
        let out = self.spare.pop().unwrap_or_default();
        histogram::build(self.binned, self.rounded, rows, self.threads, self.collective, out)
    }

    /// Puts a leaf among the candidates if a split of it gains.
    fn offer(
        &mut self,
        open: &mut BinaryHeap<Candidate>,
        at: usize,
        depth: usize,
        (start, end): (usize, usize),
        node: Node,
        histogram: Histogram,
    ) {
        let small = (end - start) < 2 * self.rules.min_samples_leaf.max(1) as usize;
        let split = if small || depth >= self.shape.max_depth {
            None
        } else {
            let features = self.features();
            splitter::best(self.binned, self.rounded, self.rules, &histogram, node, &features)
        };
        match split {
            Some(split) => open.push(Candidate { at, depth, start, end, node, split, histogram }),
            None => self.spare.push(histogram),
        }
    }

    fn features(&mut self) -> Vec<usize> {
        let count = self.binned.features.len();
        let mut all: Vec<usize> = (0..count).collect();
        let wanted = self.shape.features_per_split;
        if wanted < count {
            for i in 0..wanted {
                let j = i + self.stream.below((count - i) as u64) as usize;
                all.swap(i, j);
            }
            all.truncate(wanted);
            all.sort_unstable();
        }
        all
    }

    fn split(
        &mut self,
        tree: &mut GrownTree,
        open: &mut BinaryHeap<Candidate>,
        candidate: Candidate,
        buffer: &mut Vec<u32>,
        leaves: usize,
    ) -> Result<()> {
        let Candidate { at, depth, start, end, node, split, histogram } = candidate;
        let middle = start + self.partition(&mut tree.rows[start..end], &split, buffer);
        let left_total = split.left_sums;
        let right_total = [node.total[0] - left_total[0], node.total[1] - left_total[1]];
        let (left_bounds, right_bounds) = self.bounds(&split, node.bounds);
        let left = tree.nodes.len();
        let left_node = Node { total: left_total, value: split.left_value, bounds: left_bounds };
        let right_node = Node { total: right_total, value: split.right_value, bounds: right_bounds };
        tree.nodes.push(Grown::Leaf { value: left_node.value, start, end: middle });
        tree.nodes.push(Grown::Leaf { value: right_node.value, start: middle, end });
        tree.nodes[at] = Grown::Split { split, left: left as u32, right: left as u32 + 1 };
        // The last split needs no histograms of its children.
        if leaves >= self.shape.max_leaf_nodes || depth + 1 >= self.shape.max_depth {
            self.spare.push(histogram);
            return Ok(());
        }
        let smaller_is_left = middle - start <= end - middle;
        let smaller = if smaller_is_left { start..middle } else { middle..end };
        let small = self.histogram(&tree.rows[smaller])?;
        let mut large = histogram;
        histogram::subtract(&mut large, &small);
        let (left_histogram, right_histogram) = if smaller_is_left { (small, large) } else { (large, small) };
        self.offer(open, left, depth + 1, (start, middle), left_node, left_histogram);
        self.offer(open, left + 1, depth + 1, (middle, end), right_node, right_histogram);
        Ok(())
    }

    /// The bounds of children: monotonic features keep them on their side of the middle.
    fn bounds(&self, split: &Split, bounds: (f64, f64)) -> ((f64, f64), (f64, f64)) {
        let middle = (split.left_value + split.right_value) / 2.0;
        match self.rules.monotonic.get(split.feature).copied().unwrap_or(0) {
            0 => (bounds, bounds),
            sign if sign > 0 => ((bounds.0, middle), (middle, bounds.1)),
            _ => ((middle, bounds.1), (bounds.0, middle)),
        }
    }

    /// Left rows first, each side in its order; returns how many go left.
    fn partition(&self, rows: &mut [u32], split: &Split, buffer: &mut Vec<u32>) -> usize {
        buffer.clear();
        buffer.resize(rows.len(), 0);
        // A table by bin: no branch on how the split tells sides apart.
        let mut right = [0u8; histogram::WIDTH];
        for (bin, r) in right.iter_mut().enumerate() {
            *r = u8::from(!split.goes_left(bin as u8));
        }
        let (mut left, mut other) = (0, 0);
        for i in 0..rows.len() {
            let row = rows[i];
            let goes_right = usize::from(right[self.binned.bin(split.feature, row as usize) as usize]);
            // Both places are written; the right one counts.
            rows[left] = row;
            buffer[other] = row;
            left += 1 - goes_right;
            other += goes_right;
        }
        rows[left..].copy_from_slice(&buffer[..other]);
        left
    }
}

/// The bins of a set as a list.
pub(crate) fn members(left: &Left) -> Vec<u32> {
    match left {
        Left::UpTo(last) => (0..=u32::from(*last)).collect(),
        Left::Set(set) => (0..256).filter(|b| set[(b / 64) as usize] >> (b % 64) & 1 == 1).collect(),
    }
}
