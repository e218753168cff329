//! Labels of leaves, and the merges that they take.
//!
//! A node merges those planes in which the labels below it differ. So the labels of a subtree should share their upper
//! bits: the labels of the narrower child move, as they are, to a free and aligned part of the wider child's labels, and
//! the width grows only where none is free. Where that takes too many planes, labels are the leaves' numbers from left
//! to right.

use alloc::vec::Vec;

use super::super::Forest;
use super::{ALL, Merge, NONE, PLANES, SCRATCH, SCRATCH_PLACES};

/// Labels in use.
type Used = [u64; 4];

/// A subtree while its tree is labelled.
#[derive(Clone, Copy, Debug, Default)]
struct Below {
    used: Used,
    /// Bits of its labels.
    width: u8,
    /// Its leaves in the list of leaves.
    first: u32,
    end: u32,
}

/// Lists that trees share while they are made.
#[derive(Debug, Default)]
pub(super) struct Maker {
    /// Nodes, each before its children.
    order: Vec<u32>,
    below: Vec<Below>,
    /// Leaves from left to right, and their labels.
    leaves: Vec<u32>,
    labels: Vec<u8>,
    /// The planes of each node.
    planes: Vec<[u16; PLANES]>,
    free: Vec<u16>,
    /// Inner nodes, the deepest first, and every node's depth.
    inner: Vec<u32>,
    depth: Vec<u16>,
}

/// All labels moved up by `by`.
fn moved(used: &Used, by: usize) -> Used {
    let (words, bits) = (by / 64, by % 64);
    let mut out = [0; 4];
    for i in words..4 {
        out[i] = used[i - words] << bits;
        if bits > 0 && i > words {
            out[i] |= used[i - words - 1] >> (64 - bits);
        }
    }
    out
}

impl Maker {
    /// Labels a tree, appends its merges and its leaves by label, and tells the width of its labels and the planes of its
    /// root. `mask` is the place of a node's mask. `None` where the tree has too many leaves.
    pub(super) fn tree(
        &mut self,
        forest: &Forest,
        root: usize,
        mask: &impl Fn(usize) -> u16,
        merges: &mut Vec<Merge>,
        by_label: &mut Vec<u32>,
    ) -> Option<(u8, [u16; PLANES])> {
        self.walk(forest, root)?;
        let leaves = self.leaves.len();
        let ranks = leaves.next_power_of_two().trailing_zeros() as u8;
        let width = match self.pack(forest, root, (ranks + 1).min(PLANES as u8)) {
            Some(width) => width,
            None => {
                self.labels.iter_mut().enumerate().for_each(|(rank, label)| *label = rank as u8);
                ranks
            }
        };
        let start = by_label.len();
        by_label.resize(start + (1 << width), u32::MAX);
        for (&leaf, &label) in self.leaves.iter().zip(&self.labels) {
            by_label[start + usize::from(label)] = forest.parts().payload[leaf as usize];
        }
        Some((width, self.merge(forest, root, width, mask, merges)?))
    }

    /// Leaves of the last tree.
    pub(super) fn leaves(&self) -> usize {
        self.leaves.len()
    }

    /// Lists the nodes and the leaves from left to right.
    fn walk(&mut self, forest: &Forest, root: usize) -> Option<()> {
        self.order.clear();
        self.leaves.clear();
        let mut open = alloc::vec![root as u32];
        while let Some(at) = open.pop() {
            self.order.push(at);
            let left = forest.node(at as usize).left;
            if left == at {
                self.leaves.push(at);
                if self.leaves.len() > 1 << PLANES {
                    return None;
                }
            } else {
                open.extend([left + 1, left]);
            }
        }
        self.labels.clear();
        self.labels.resize(self.leaves.len(), 0);
        Some(())
    }

    /// Gives labels of at most `most` bits, from the leaves upwards; the bits that they take.
    fn pack(&mut self, forest: &Forest, root: usize, most: u8) -> Option<u8> {
        let last = *self.order.iter().max()? as usize;
        self.below.clear();
        self.below.resize(last + 1 - root, Below::default());
        let mut leaf = self.leaves.len() as u32;
        for &at in self.order.iter().rev() {
            let left = forest.node(at as usize).left;
            if left == at {
                leaf -= 1;
                self.below[at as usize - root] = Below { used: [1, 0, 0, 0], width: 0, first: leaf, end: leaf + 1 };
                continue;
            }
            let (l, r) = (self.below[left as usize - root], self.below[left as usize + 1 - root]);
            // The right child moves where both are alike: a node above two leaves then is its mask.
            let (stays, moves) = if l.width >= r.width { (l, r) } else { (r, l) };
            let free = |by: &usize| moved(&moves.used, *by).iter().zip(&stays.used).all(|(a, b)| a & b == 0);
            let by = (0..1usize << most).step_by(1 << moves.width).skip(1).find(free)?;
            for label in &mut self.labels[moves.first as usize..moves.end as usize] {
                *label |= by as u8;
            }
            let mut used = moved(&moves.used, by);
            used.iter_mut().zip(&stays.used).for_each(|(u, s)| *u |= s);
            let width = stays.width.max((usize::BITS - by.leading_zeros()) as u8);
            self.below[at as usize - root] = Below { used, width, first: l.first, end: r.end };
        }
        Some(self.below[0].width)
    }

    /// Appends the merges, those of children before those of their parent.
    fn merge(
        &mut self,
        forest: &Forest,
        root: usize,
        width: u8,
        mask: &impl Fn(usize) -> u16,
        merges: &mut Vec<Merge>,
    ) -> Option<[u16; PLANES]> {
        let scratch = SCRATCH..SCRATCH + SCRATCH_PLACES;
        self.free.clear();
        self.free.extend(scratch.clone().rev());
        let last = *self.order.iter().max()? as usize;
        self.planes.clear();
        self.planes.resize(last + 1 - root, [NONE; PLANES]);
        let mut leaf = self.leaves.len();
        self.inner.clear();
        self.depth.clear();
        self.depth.resize(last + 1 - root, 0);
        for &at in &self.order {
            let left = forest.node(at as usize).left as usize;
            if left != at as usize {
                let depth = self.depth[at as usize - root] + 1;
                self.depth[left - root] = depth;
                self.depth[left + 1 - root] = depth;
                self.inner.push(at);
            }
        }
        for &at in self.order.iter().rev() {
            if forest.node(at as usize).left != at {
                continue;
            }
            leaf -= 1;
            let planes = &mut self.planes[at as usize - root];
            for (i, plane) in planes.iter_mut().enumerate() {
                *plane = if self.labels[leaf] >> i & 1 == 1 { ALL } else { NONE };
            }
        }
        self.inner.sort_by_key(|&at| core::cmp::Reverse(self.depth[at as usize - root]));
        for &at in &self.inner {
            let left = forest.node(at as usize).left;
            let mut planes = [NONE; PLANES];
            let mask = mask(at as usize);
            let (l, r) = (self.planes[left as usize - root], self.planes[left as usize + 1 - root]);
            for i in 0..usize::from(width) {
                planes[i] = match (l[i], r[i]) {
                    (zero, one) if zero == one => zero,
                    (NONE, ALL) => mask,
                    (zero, one) => {
                        self.free.extend([zero, one].into_iter().filter(|p| scratch.contains(p)));
                        let to = self.free.pop()?;
                        merges.push(Merge::new(mask, zero, one, to));
                        to
                    }
                };
            }
            self.planes[at as usize - root] = planes;
        }
        Some(self.planes[0])
    }
}
