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

    /// Calls `see` with each inner node, its left child, and the number of paths that the way to it leaves: in preorder, where
    /// the child that begins another path comes before the one that a node stays with.
    pub(super) fn each(&self, parts: &Parts, mut see: impl FnMut(usize, usize, usize)) {
        let mut open = vec![(self.start, 0)];
        while let Some((at, left_before)) = open.pop() {
            let left = Node::unpack(parts.nodes[at]).left as usize;
            if left != at {
                see(at, left, left_before);
                let right = usize::from(self.stays_right(left));
                open.extend([(left + right, left_before), (left + 1 - right, left_before + 1)]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{grown, numbers};
    use super::*;

    /// Lists are one path, and each node comes after its parent: directly where it begins a path. The nodes between it and the
    /// one that its parent stays with leave more paths.
    #[test]
    fn children_that_begin_paths_follow_their_parents() {
        let below = numbers(3);
        let (forest, _) = grown(40, |tree| tree % 64, 3, &below);
        // The last node is grown each time.
        let (list, _) = grown(1, |_| 50, 3, |limit| if limit <= 101 { limit - 1 } else { 0 });
        for (forest, longest) in [(forest, 6), (list, 1)] {
            let parts = forest.parts();
            for range in parts.roots.windows(2) {
                let heavy = Heavy::new(parts, range[0] as usize, range[1] as usize);
                let (mut seen, mut depths) = (Vec::new(), Vec::new());
                heavy.each(parts, |at, _, depth| {
                    seen.push(at);
                    depths.push(depth);
                });
                assert_eq!(seen.len(), (range[1] - range[0]) as usize / 2);
                assert!(heavy.paths(range[0] as usize) <= longest);
                assert!(depths.iter().all(|&depth| depth < longest as usize));
                let is_leaf = |at: usize| forest.node(at).left as usize == at;
                for (i, &at) in seen.iter().enumerate() {
                    let left = forest.node(at).left as usize;
                    let right = usize::from(heavy.stays_right(left));
                    let (stays, other) = (left + right, left + 1 - right);
                    assert!(is_leaf(other) || seen.get(i + 1) == Some(&other), "{at} of {seen:?}");
                    let Some(next) = seen.iter().position(|&of| of == stays) else { continue };
                    assert!(next > i && depths[next] == depths[i]);
                    assert!(depths[i + 1..next].iter().all(|&depth| depth > depths[i]), "{at} of {seen:?}");
                }
            }
        }
    }
}
