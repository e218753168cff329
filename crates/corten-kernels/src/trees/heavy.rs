//! Heavy paths: each inner node stays on a path with one child, and begins another one with the other child.
//!
//! The child that a node stays with is the one from which ways pass more paths; so no way passes more than the logarithm of
//! the leaves, and the nodes of a list are one path.

use alloc::vec;
use alloc::vec::Vec;

use super::{Node, Parts};

/// The paths of a tree.
pub(super) struct Heavy {
    start: usize,
    /// Paths that some way passes from each node on; none from leaves.
    paths: Vec<u8>,
}

impl Heavy {
    /// Of the nodes `start..end`, whose children follow them.
    pub(super) fn new(parts: &Parts, start: usize, end: usize) -> Self {
        let mut paths = vec![0u8; end - start];
        for at in (start..end).rev() {
            let left = Node::unpack(parts.nodes[at]).left as usize;
            if left != at {
                let (l, r) = (paths[left - start], paths[left + 1 - start]);
                paths[at - start] = if l == r { l + 1 } else { l.max(r) };
            }
        }
        Self { start, paths }
    }

    /// Paths that some way passes from a node on.
    pub(super) fn paths(&self, at: usize) -> u8 {
        self.paths[at - self.start]
    }

    /// Whether an inner node with this left child stays on its path with the right one.
    pub(super) fn stays_right(&self, left: usize) -> bool {
        self.paths(left + 1) > self.paths(left)
    }

    /// Calls `see` with each inner node and its left child, path after path, a node's own path before the other one.
    pub(super) fn each(&self, parts: &Parts, mut see: impl FnMut(usize, usize)) {
        let mut open = vec![self.start];
        while let Some(at) = open.pop() {
            let left = Node::unpack(parts.nodes[at]).left as usize;
            if left != at {
                see(at, left);
                open.extend(if self.stays_right(left) { [left, left + 1] } else { [left + 1, left] });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{grown, numbers};
    use super::*;

    /// Lists are one path, and each node comes after its parent: the one that it stays with directly.
    #[test]
    fn children_on_a_path_follow_their_parents() {
        let below = numbers(3);
        let (forest, _) = grown(40, |tree| tree % 64, 3, &below);
        // The last node is grown each time.
        let (list, _) = grown(1, |_| 50, 3, |limit| if limit <= 101 { limit - 1 } else { 0 });
        for (forest, longest) in [(forest, 6), (list, 1)] {
            let parts = forest.parts();
            for range in parts.roots.windows(2) {
                let heavy = Heavy::new(parts, range[0] as usize, range[1] as usize);
                let mut seen = Vec::new();
                heavy.each(parts, |at, _| seen.push(at));
                assert_eq!(seen.len(), (range[1] - range[0]) as usize / 2);
                assert!(heavy.paths(range[0] as usize) <= longest);
                for (i, &at) in seen.iter().enumerate() {
                    let left = forest.node(at).left as usize;
                    let stays = left + usize::from(heavy.stays_right(left));
                    let is_leaf = forest.node(stays).left as usize == stays;
                    assert!(is_leaf || seen.get(i + 1) == Some(&stays), "{at} of {seen:?}");
                }
            }
        }
    }
}
