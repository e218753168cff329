//! Many rows against small trees: a byte a row, leaves merged upwards.
//!
//! Each node picks, for every row of a block, the leaf number of its left or its right child: one compare and one blend
//! a register of rows, children before parents, without a branch. The root's bytes are the leaves. The body is plain
//! Rust that compilers put into registers of any width.

use alloc::vec;
use alloc::vec::Vec;

use super::lanes::Slots;
use super::{Coder, Forest, VECTOR};
use crate::cpu::dispatch;

/// Rows of a block.
const ROWS: usize = 128;
/// Most leaves of a tree: their numbers are bytes.
const MAX_LEAVES: usize = 256;
/// Most slots.
const MAX_SLOTS: usize = 512;

/// A byte a row.
type Bytes = [u8; ROWS];

/// A node: where its children's bytes lie. The first [`MAX_LEAVES`] places hold their own number.
#[derive(Clone, Copy, Debug)]
struct Merge {
    slot: u16,
    left: u16,
    right: u16,
    threshold: u8,
}

/// An ensemble for blocks of rows.
#[derive(Clone, Debug)]
pub struct Blocks {
    slots: Slots,
    merges: Vec<Merge>,
    /// End of each tree's merges.
    ends: Vec<u32>,
    /// End of each tree's leaves.
    leaf_ends: Vec<u32>,
    /// Each leaf's place in the forest's leaves.
    leaves: Vec<u32>,
    /// The leaves' values, where each is one number.
    values: Vec<f64>,
}

/// Memory of a block.
#[derive(Clone, Debug)]
pub struct BlockScratch {
    /// Leaf numbers: those of leaves, then of nodes.
    numbers: Vec<Bytes>,
    /// Codes of each slot.
    codes: Vec<Bytes>,
}

impl Default for BlockScratch {
    fn default() -> Self {
        let mut numbers = vec![[0; ROWS]; 2 * MAX_LEAVES];
        numbers[..MAX_LEAVES].iter_mut().enumerate().for_each(|(i, bytes)| bytes.fill(i as u8));
        Self { numbers, codes: Vec::new() }
    }
}

dispatch! {
    /// Merges a tree's leaf numbers; node `i` writes place `MAX_LEAVES + i`.
    fn merge(merges: &[Merge], codes: &[Bytes], numbers: &mut [Bytes]) {
        for (at, node) in merges.iter().enumerate() {
            let (below, own) = numbers.split_at_mut(MAX_LEAVES + at);
            let (left, right) = (&below[node.left as usize], &below[node.right as usize]);
            let codes = &codes[node.slot as usize];
            // Made apart and by masks: compilers keep both in registers.
            let mut made = [0; ROWS];
            for r in 0..ROWS {
                let mask = 0u8.wrapping_sub(u8::from(codes[r] > node.threshold));
                made[r] = (left[r] & !mask) | (right[r] & mask);
            }
            own[0] = made;
        }
    }
}

/// Adds each row's leaf. Without AVX on purpose: with it the look-ups become gathers, which are slower.
#[inline(never)]
fn add(values: &[f64], numbers: &Bytes, out: &mut [f64]) {
    for (sum, &number) in out.iter_mut().zip(numbers) {
        *sum += values[usize::from(number)];
    }
}

impl Blocks {
    /// `None` where the ensemble has categories, too many thresholds or too large trees.
    pub fn new(forest: &Forest, coder: &Coder) -> Option<Self> {
        if forest.has_categories() {
            return None;
        }
        let parts = forest.parts();
        let scalar = !parts.targets.contains(&VECTOR) && !parts.narrow;
        let slots = Slots::new(coder, MAX_SLOTS)?;
        let mut out = Self {
            slots,
            merges: Vec::new(),
            ends: Vec::new(),
            leaf_ends: Vec::new(),
            leaves: Vec::new(),
            values: Vec::new(),
        };
        let mut order: Vec<u32> = Vec::new();
        let mut place: Vec<u16> = Vec::new();
        for range in parts.roots.windows(2) {
            let start = range[0] as usize;
            place.clear();
            place.resize((range[1] - range[0]) as usize, 0);
            order.clear();
            order.push(range[0]);
            let (mut next, mut leaves) = (0, 0);
            while next < order.len() {
                let at = order[next];
                let node = forest.node(at as usize);
                next += 1;
                if node.left == at {
                    if leaves == MAX_LEAVES {
                        return None;
                    }
                    place[at as usize - start] = leaves as u16;
                    leaves += 1;
                    out.leaves.push(parts.payload[at as usize]);
                } else {
                    order.extend([node.left, node.left + 1]);
                }
            }
            let first = out.merges.len();
            for &at in order.iter().rev() {
                let node = forest.node(at as usize);
                if node.left == at {
                    continue;
                }
                let (slot, threshold) = out.slots.of(node.column, node.threshold);
                let left = place[node.left as usize - start];
                let right = place[node.left as usize + 1 - start];
                place[at as usize - start] = (MAX_LEAVES + out.merges.len() - first) as u16;
                out.merges.push(Merge { slot, left, right, threshold });
            }
            out.ends.push(out.merges.len() as u32);
            out.leaf_ends.push(out.leaves.len() as u32);
        }
        if scalar {
            out.values = out.leaves.iter().map(|&l| parts.leaves[l as usize]).collect();
        }
        Some(out)
    }

    /// Adds all trees to the sums of a block of rows.
    ///
    /// Shapes: `codes[c * rows + r]` is row `r`'s code of column `c`; `out[k * stride + r]` its output `k`.
    pub fn block(
        &self,
        forest: &Forest,
        codes: &[u16],
        rows: usize,
        scratch: &mut BlockScratch,
        out: &mut [f64],
        stride: usize,
    ) {
        let BlockScratch { numbers, codes: slots } = scratch;
        slots.resize(self.slots.len().max(slots.len()), [0; ROWS]);
        let targets = &forest.parts().targets;
        for start in (0..rows).step_by(ROWS) {
            let count = ROWS.min(rows - start);
            for (slot, bytes) in slots[..self.slots.len()].iter_mut().enumerate() {
                self.slots.block(slot, codes, rows, start, &mut bytes[..count]);
            }
            let (mut first, mut leaf) = (0, 0);
            for ((tree, &end), &leaf_end) in self.ends.iter().enumerate().zip(&self.leaf_ends) {
                let merges = &self.merges[first..end as usize];
                merge(merges, slots, numbers);
                // A tree of one leaf has no node: the first leaf's numbers are all 0.
                let root = if merges.is_empty() { 0 } else { MAX_LEAVES + merges.len() - 1 };
                let found = &numbers[root];
                if self.values.is_empty() {
                    for (r, &number) in found[..count].iter().enumerate() {
                        forest.add(tree, self.leaves[leaf + usize::from(number)], &mut out[start + r..], stride);
                    }
                } else {
                    let at = targets[tree] as usize * stride + start;
                    add(&self.values[leaf..leaf_end as usize], found, &mut out[at..at + count]);
                }
                (first, leaf) = (end as usize, leaf_end as usize);
            }
        }
    }
}
