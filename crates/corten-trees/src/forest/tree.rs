//! A grown tree.

use std::mem::offset_of;

use corten_kernels::cache::fetch;
use corten_model::ops::{Tree, TreeNode};
use serde::{Deserialize, Serialize};

use super::finder::Stats;
use super::ranks::{Code, NO_MISSING, Table};

/// Rows that go down a tree in step; they and their nodes stay in the first-level cache.
const TOGETHER: usize = 128;

/// A node; a leaf has itself as its left child.
///
/// What a row reads of it comes first: most nodes have that in one line of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[repr(C)]
pub(crate) struct Node {
    pub(crate) left: u32,
    pub(crate) right: u32,
    pub(crate) feature: u32,
    pub(crate) threshold: f64,
    pub(crate) missing_left: bool,
    /// Rows, and their weight.
    pub(crate) samples: u32,
    pub(crate) weight: f64,
    pub(crate) impurity: f64,
}

impl Node {
    /// A leaf at a place of its own.
    pub(crate) fn leaf(at: u32, samples: usize, stats: Stats) -> Self {
        Self {
            left: at,
            right: at,
            feature: 0,
            threshold: 0.0,
            missing_left: false,
            samples: samples as u32,
            weight: stats.weight,
            impurity: stats.impurity,
        }
    }

    /// What its split counts where leaves are counted: its gain, but no more than there is to gain. Rounding may lift it
    /// above that, and the order of splits may not hang on that.
    #[inline(always)]
    pub(crate) fn counted(&self, gain: f64) -> f64 {
        gain.min(self.weight * self.impurity)
    }
}

/// A tree whose children come after their parents.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct GrownTree {
    pub(crate) nodes: Vec<Node>,
    /// `width` numbers a node.
    pub(crate) values: Vec<f64>,
    pub(crate) width: usize,
}

/// What is told of a tree as a whole.
pub(crate) struct Summary {
    pub(crate) importances: Vec<f64>,
    pub(crate) depth: usize,
}

impl GrownTree {
    /// Adds a leaf below a node, on its left or its right, or as the root; gives its place.
    #[inline(always)]
    pub(crate) fn add(&mut self, parent: Option<(u32, bool)>, samples: usize, stats: Stats) -> u32 {
        let at = self.nodes.len() as u32;
        if let Some((parent, is_left)) = parent {
            let parent = &mut self.nodes[parent as usize];
            *(if is_left { &mut parent.left } else { &mut parent.right }) = at;
        }
        self.nodes.push(Node::leaf(at, samples, stats));
        at
    }

    pub(crate) fn is_leaf(&self, at: usize) -> bool {
        self.nodes[at].left as usize == at
    }

    pub(crate) fn value(&self, at: usize) -> &[f64] {
        &self.values[at * self.width..][..self.width]
    }

    /// The leaf of a training row.
    pub(crate) fn leaf<C: Code>(&self, table: &Table<C>, row: usize) -> usize {
        let mut at = 0;
        while !self.is_leaf(at) {
            let node = &self.nodes[at];
            let column = &table.columns[node.feature as usize];
            let code = table.code(row, node.feature as usize);
            let missing = column.missing != NO_MISSING && code == column.missing;
            let left = if missing { node.missing_left } else { column.value(code) <= node.threshold };
            at = if left { node.left } else { node.right } as usize;
        }
        at
    }

    /// Adds the values of the leaves of raw rows to their sums.
    ///
    /// Shapes: `rows` has `features` numbers a row; `out[k * stride + r]` is sum `k` of row `r`.
    pub(crate) fn add_leaves(&self, rows: &[f64], features: usize, out: &mut [f64], stride: usize) {
        let mut places = [0; TOGETHER];
        for (rows, first) in rows.chunks(TOGETHER * features).zip((0..).step_by(TOGETHER)) {
            let places = &mut places[..rows.len() / features];
            self.leaves_of(rows, features, places);
            for (r, &at) in (first..).zip(&*places) {
                for (k, &value) in self.value(at as usize).iter().enumerate() {
                    out[k * stride + r] += value;
                }
            }
        }
    }

    /// The leaf of each raw row. Rows go down in step, so that nodes that come from far away come together; those that have
    /// arrived leave the list.
    fn leaves_of(&self, rows: &[f64], features: usize, places: &mut [u32]) {
        let mut open: [u32; TOGETHER] = core::array::from_fn(|row| row as u32);
        let mut count = places.len();
        places.fill(0);
        while count > 0 {
            let mut left = 0;
            for i in 0..count {
                let row = open[i] as usize;
                let at = places[row];
                let node = &self.nodes[at as usize];
                let x = rows[row * features + node.feature as usize];
                // Nothing compares with NaN.
                let goes_left = (x <= node.threshold) | (x.is_nan() & node.missing_left);
                let next = if goes_left { node.left } else { node.right };
                // Of some nodes, what is read lies in two lines.
                let next_node = self.nodes.as_ptr().wrapping_add(next as usize);
                fetch(next_node);
                fetch(next_node.cast::<u8>().wrapping_add(offset_of!(Node, threshold)));
                places[row] = next;
                // Kept, and written over by the next one where it has arrived.
                open[left] = row as u32;
                left += usize::from(next != at);
            }
            count = left;
        }
        for &at in &*places {
            fetch(self.values.as_ptr().wrapping_add(at as usize * self.width));
        }
    }

    /// Each feature's share of the gain (1 in all, or 0 for a single leaf), and the length of the longest path.
    pub(crate) fn summary(&self, features: usize) -> Summary {
        let (mut importances, depth) = self.gains(features);
        let total: f64 = importances.iter().sum();
        if total > 0.0 {
            importances.iter_mut().for_each(|x| *x /= total);
        } else {
            importances.fill(0.0);
        }
        Summary { importances, depth }
    }

    /// By how much each feature lowers the impurity, times the weight of the rows; and the length of the longest path.
    pub(crate) fn gains(&self, features: usize) -> (Vec<f64>, usize) {
        let mut own = vec![0.0; features];
        let (mut depths, mut most) = (vec![0u32; self.nodes.len()], 0);
        // By themselves, as children lie far away and nodes are large.
        let impure: Vec<f64> = self.nodes.iter().map(|node| node.weight * node.impurity).collect();
        for (at, node) in self.nodes.iter().enumerate() {
            let (left, right) = (node.left as usize, node.right as usize);
            if left != at {
                own[node.feature as usize] += impure[at] - impure[left] - impure[right];
                let below = depths[at] + 1;
                (depths[left], depths[right]) = (below, below);
                most = most.max(below);
            }
        }
        (own, most as usize)
    }

    pub(crate) fn leaves(&self) -> usize {
        self.nodes.len().div_ceil(2)
    }

    /// As the model's operator takes it.
    pub(crate) fn lowered(&self) -> Tree {
        let nodes = (0u32..).zip(&self.nodes).map(|(at, node)| {
            if self.is_leaf(at as usize) {
                return TreeNode::Leaf { value: at * self.width as u32 };
            }
            let Node { feature, threshold, missing_left, left, right, .. } = *node;
            TreeNode::Number { feature, threshold, missing_left, zero_missing: false, left, right }
        });
        let cover = self.nodes.iter().map(|n| n.weight).collect();
        Tree { nodes: nodes.collect(), values: self.values.clone(), cover, ..Tree::new(None) }
    }
}
