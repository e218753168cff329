//! Walks: any ensemble on any CPU, and the twin of every other layout.
//!
//! Several trees of a row, or several rows of a tree, go down in step, so that their cache misses and compares overlap.

use super::{CATEGORY, Forest, Node};

/// Trees of one row in step.
const TREES: usize = 16;
/// Rows of one tree in step.
const ROWS: usize = 16;
/// Steps between two looks at whether all have arrived.
const STRIDE: usize = 2;

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
    #[expect(unsafe_code, reason = "the innermost loop; the indices were checked once")]
    fn block<const CATEGORIES: bool>(&self, codes: &[u16], width: usize, rows: usize, out: &mut [f64], stride: usize) {
        for (tree, &root) in self.parts.roots[..self.trees()].iter().enumerate() {
            let mut r = 0;
            while r < rows {
                let count = ROWS.min(rows - r);
                let mut at = [root; ROWS];
                loop {
                    let mut before = at;
                    for _ in 0..STRIDE {
                        before = at;
                        for (i, a) in at.iter_mut().enumerate() {
                            // The last block goes on with its first row where rows are missing.
                            let row = r + if i < count { i } else { 0 };
                            // SAFETY: a root is a node and each step leads to a node; there are `rows * width` codes.
                            *a = unsafe {
                                let codes = codes.get_unchecked(row * width..(row + 1) * width);
                                self.step::<CATEGORIES>(*a, codes)
                            };
                        }
                    }
                    if self.arrived(&before, &at) {
                        break;
                    }
                }
                for (i, &a) in at[..count].iter().enumerate() {
                    self.add(tree, self.parts.payload[a as usize], &mut out[r + i..], stride);
                }
                r += count;
            }
        }
    }
}
