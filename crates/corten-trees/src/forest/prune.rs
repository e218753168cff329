//! Minimal cost-complexity pruning (Breiman, Friedman, Olshen & Stone 1984, chapter 3).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::tree::{GrownTree, Node};

/// A link's strength, ordered as numbers.
#[derive(Clone, Copy, PartialEq)]
struct Strength(f64);

impl Eq for Strength {}

impl PartialOrd for Strength {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Strength {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

/// Cuts the weakest links while their strength is at most `alpha`.
pub(crate) fn prune(tree: &GrownTree, alpha: f64) -> GrownTree {
    let n = tree.nodes.len();
    let total = tree.nodes[0].weight;
    let own: Vec<f64> = tree.nodes.iter().map(|t| t.weight * t.impurity / total).collect();
    let (mut risk, mut leaves, mut parent) = (own.clone(), vec![1usize; n], vec![usize::MAX; n]);
    let mut inner: Vec<bool> = (0..n).map(|at| !tree.is_leaf(at)).collect();
    for at in (0..n).rev().filter(|&at| !tree.is_leaf(at)) {
        let Node { left, right, .. } = tree.nodes[at];
        let (l, r) = (left as usize, right as usize);
        (parent[l], parent[r]) = (at, at);
        (risk[at], leaves[at]) = (risk[l] + risk[r], leaves[l] + leaves[r]);
    }
    let strength = |at: usize, risk: &[f64], leaves: &[usize]| Strength((own[at] - risk[at]) / (leaves[at] - 1) as f64);
    let mut heap: BinaryHeap<Reverse<(Strength, usize)>> =
        (0..n).filter(|&at| inner[at]).map(|at| Reverse((strength(at, &risk, &leaves), at))).collect();
    while let Some(Reverse((weakest, at))) = heap.pop() {
        // An entry is stale when its node was cut, or when something below it was.
        if !inner[at] || weakest != strength(at, &risk, &leaves) {
            continue;
        }
        if weakest.0 > alpha {
            break;
        }
        let (lost, gone) = (own[at] - risk[at], leaves[at] - 1);
        let mut below = vec![at];
        while let Some(node) = below.pop() {
            if std::mem::take(&mut inner[node]) {
                below.extend([tree.nodes[node].left as usize, tree.nodes[node].right as usize]);
            }
        }
        let mut up = at;
        while up != usize::MAX {
            risk[up] += lost;
            leaves[up] -= gone;
            if inner[up] {
                heap.push(Reverse((strength(up, &risk, &leaves), up)));
            }
            up = parent[up];
        }
    }
    keep(tree, &inner)
}

/// The tree whose splits are `inner`.
fn keep(tree: &GrownTree, inner: &[bool]) -> GrownTree {
    let mut out = GrownTree { width: tree.width, ..GrownTree::default() };
    // Of each node that is yet to be written: where it is, its parent's new place, and which child it is.
    let mut open = vec![(0usize, None)];
    while let Some((at, above)) = open.pop() {
        let place = out.nodes.len() as u32;
        if let Some((parent, is_left)) = above {
            let parent: &mut Node = &mut out.nodes[parent as usize];
            *(if is_left { &mut parent.left } else { &mut parent.right }) = place;
        }
        out.nodes.push(Node { left: place, right: place, ..tree.nodes[at] });
        out.values.extend_from_slice(tree.value(at));
        if inner[at] {
            open.push((tree.nodes[at].right as usize, Some((place, false))));
            open.push((tree.nodes[at].left as usize, Some((place, true))));
        }
    }
    out
}
