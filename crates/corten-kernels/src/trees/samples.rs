//! Ensembles that tests of layouts share.

use alloc::vec;
use alloc::vec::Vec;

use super::{CATEGORY, Coder, Column, Forest, NEVER, Node, Parts, Reads};
use crate::aligned::Aligned;

/// Trees of random shapes over two numbers (one with both rules for missing values) and a few categories, with 1 to 64 leaves.
pub(super) fn ensemble(trees: usize, below: impl Fn(u64) -> u64) -> (Forest, Coder) {
    grown(trees, |tree| tree % 64, 4, below)
}

/// The same of other sizes, with about as many inner nodes as `tries` of a tree, and of the first columns only, of which the
/// fourth one is that of categories.
pub(super) fn grown(
    trees: usize,
    tries: impl Fn(usize) -> usize,
    columns: u64,
    below: impl Fn(u64) -> u64,
) -> (Forest, Coder) {
    let thresholds: Vec<f64> = (0..40).map(f64::from).collect();
    let number = |feature, missing_right, end| {
        let reads = Reads::Number { missing_right, zero_missing: false };
        Column { feature, reads, start: 0, end }
    };
    let category = Column { feature: 2, reads: Reads::Category { levels: 9 }, start: 9, end: 9 };
    let listed = [number(0, false, 40), number(0, true, 40), number(1, true, 3), category];
    let coder = Coder::new(3, &listed, &thresholds, false, 0.0).unwrap();
    let mut parts = Parts { outputs: 1, roots: vec![0], ..Parts::default() };
    let mut nodes: Vec<u64> = Vec::new();
    for tree in 0..trees {
        let start = nodes.len() as u32;
        let leaf = |at: u32| Node { left: at, column: 0, threshold: NEVER };
        let mut of_tree = vec![leaf(start)];
        for _ in 0..tries(tree) {
            let at = below(of_tree.len() as u64) as usize;
            if of_tree[at].left != start + at as u32 {
                continue;
            }
            let left = start + of_tree.len() as u32;
            let column = below(columns) as u16;
            let threshold = if column == 2 { below(3) } else { below(40) } as u16;
            of_tree[at] = match column {
                3 => Node { left, column: column | CATEGORY, threshold: 0 },
                _ => Node { left, column, threshold },
            };
            of_tree.extend([leaf(left), leaf(left + 1)]);
        }
        for (at, node) in (start..).zip(&of_tree) {
            nodes.push(Parts::word(*node));
            parts.payload.push(if node.left == at { parts.leaves.len() as u32 } else { parts.bits.len() as u32 });
            if node.left == at {
                parts.leaves.push(below(1 << 50) as f64 / 7e14 - 0.5);
            } else {
                parts.bits.push(below(1 << 11) as u32);
            }
        }
        parts.roots.push(nodes.len() as u32);
        parts.targets.push(0);
    }
    parts.nodes = Aligned::of(&nodes);
    (Forest::new(parts, &coder).unwrap(), coder)
}

/// Numbers below a limit, one after the other.
pub(super) fn numbers(seed: u64) -> impl Fn(u64) -> u64 {
    let state = core::cell::Cell::new(seed);
    move |limit| {
        state.set(state.get().wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407));
        (state.get() >> 33) % limit
    }
}
