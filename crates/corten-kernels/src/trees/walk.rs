//! Walks: any ensemble on any CPU, and the twin of every other layout.
//!
//! Several trees of a row go down in step, and many rows of a tree one step after the other, so that their cache misses
//! and compares overlap.

use super::{CATEGORY, Forest, Node};
use crate::cache::fetch;

/// Trees of one row in step.
const TREES: usize = 16;
/// Rows of one tree on their way at a time.
const ROWS: usize = 256;
/// Steps between two looks at whether a row has arrived at all leaves.
const STRIDE: usize = 2;
/// Steps of each row of a block before the first look.
const SURE: usize = 3;

impl Forest {
    /// One step down; a leaf leads to itself.
    ///
    /// # Safety
    /// `at` is one of the nodes and `codes` has [`Forest::columns`] codes.
    #[inline(always)]
    #[expect(unsafe_code, reason = "the innermost step; the indices were checked once")]
    unsafe fn step<const CATEGORIES: bool>(&self, at: u32, codes: &[u16]) -> u32 {
        // SAFETY: `at` is a node, says the caller.
        let node = Node::unpack(unsafe { *self.parts.nodes.get_unchecked(at as usize) });
        let column = usize::from(if CATEGORIES { node.column & !CATEGORY } else { node.column });
        // SAFETY: the constructor checked each node's column, and that no bit marks it where there are no categories. A
        // leaf has column 0, so without columns there is a code to be read nonetheless: see `walk`.
        let code = unsafe { *codes.get_unchecked(column) };
        let mut right = code > node.threshold;
        if CATEGORIES
            && node.column & CATEGORY != 0
            && let Some(levels) = &self.levels
        {
            right = levels.right(node.column, at as usize, code);
        }
        node.left + u32::from(right)
    }

    /// Whether a node is a leaf.
    #[inline(always)]
    fn arrived(&self, before: &[u32], now: &[u32]) -> bool {
        before.iter().zip(now).fold(0, |any, (a, b)| any | (a ^ b)) == 0
    }

    /// The leaf of each tree for one row: its place in the leaves.
    pub fn walk_row(&self, codes: &[u16], found: &mut [u32]) {
        assert!(codes.len() >= self.columns.max(1) && found.len() >= self.trees(), "a code a column, a leaf a tree");
        if self.levels.is_some() { self.row::<true>(codes, found) } else { self.row::<false>(codes, found) }
    }

    // Without AVX on purpose: with it the steps become gathers, which are slower.
    #[inline(never)]
    #[expect(unsafe_code, reason = "the innermost loop; the indices were checked once")]
    fn row<const CATEGORIES: bool>(&self, codes: &[u16], found: &mut [u32]) {
        let roots = &self.parts.roots[..self.trees()];
        for (roots, found) in roots.chunks(TREES).zip(found.chunks_mut(TREES)) {
            let mut at = [roots[0]; TREES];
            at[..roots.len()].copy_from_slice(roots);
            loop {
                let mut before = at;
                for _ in 0..STRIDE {
                    before = at;
                    for a in &mut at {
                        // SAFETY: a root is a node and each step leads to a node; the caller checked the codes.
                        *a = unsafe { self.step::<CATEGORIES>(*a, codes) };
                    }
                }
                if self.arrived(&before, &at) {
                    break;
                }
            }
            for (found, &a) in found.iter_mut().zip(&at[..roots.len()]) {
                *found = self.parts.payload[a as usize];
            }
        }
    }

    /// Adds the trees up for a block of rows, tree by tree.
    ///
    /// Shapes: `codes[r * width + c]` is row `r`'s code of column `c`; `out[k * stride + r]` its output `k`.
    pub fn walk_block(&self, codes: &[u16], width: usize, rows: usize, out: &mut [f64], stride: usize) {
        assert!(width >= self.columns.max(1) && codes.len() >= rows * width && rows <= stride, "codes of every row");
        if self.levels.is_some() {
            self.block::<true>(codes, width, rows, out, stride);
        } else {
            self.block::<false>(codes, width, rows, out, stride);
        }
    }

    #[inline(never)]
    fn block<const CATEGORIES: bool>(&self, codes: &[u16], width: usize, rows: usize, out: &mut [f64], stride: usize) {
        let mut found = [0; ROWS];
        for (tree, &root) in self.parts.roots[..self.trees()].iter().enumerate() {
            for (from, codes) in (0..rows).step_by(ROWS).zip(codes.chunks(ROWS * width)) {
                let found = &mut found[..ROWS.min(rows - from)];
                self.leaves_of::<CATEGORIES>(root, codes, width, found);
                // All places first, then all values: both may be far away.
                found.iter_mut().for_each(|at| *at = self.parts.payload[*at as usize]);
                self.add_block(tree, found, &mut out[from..], stride);
            }
        }
    }

    /// The leaf of a tree for each row. Rows that have arrived leave the list: the others don't wait for the deepest leaf.
    #[inline]
    #[expect(unsafe_code, reason = "the innermost loop; the indices were checked once")]
    fn leaves_of<const CATEGORIES: bool>(&self, root: u32, codes: &[u16], width: usize, found: &mut [u32]) {
        assert!(codes.len() >= found.len() * width && found.len() <= ROWS, "codes of every row");
        let mut open = [(0u32, 0u32); ROWS];
        let mut count = found.len();
        let step = |row: u32, at: u32| {
            let first = row as usize * width;
            // SAFETY: a root is a node and each step leads to a node; there are `width` codes for each of the rows, and the
            // numbers in the list are below their count.
            unsafe {
                let next = self.step::<CATEGORIES>(at, codes.get_unchecked(first..first + width));
                fetch(self.parts.nodes.as_ptr().add(next as usize));
                next
            }
        };
        for (row, open) in (0u32..).zip(&mut open[..count]) {
            *open = (row, (0..SURE).fold(root, |at, _| step(row, at)));
        }
        while count > 0 {
            let mut left = 0;
            for i in 0..count {
                let (row, before) = open[i];
                let at = step(row, before);
                // SAFETY: as above; `left` is at most `i`.
                unsafe {
                    *found.get_unchecked_mut(row as usize) = at;
                    *open.get_unchecked_mut(left) = (row, at);
                }
                left += usize::from(at != before);
            }
            count = left;
        }
    }
}
