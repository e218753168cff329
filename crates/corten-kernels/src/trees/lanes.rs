//! One row against a whole tree at a time, in registers: needs AVX-512 with VBMI.
//!
//! A register holds up to 64 inner nodes, a byte lane each, in preorder: a left child is the next lane. One shuffle
//! fetches every node's code and one compare decides all nodes. Each lane then names the inner node that its decision
//! leads to, itself where that is none, and pointer doubling (a register shuffled by itself) follows all decisions in
//! as many steps as the logarithm of the depth. The last inner node and its own decision are the leaf. No branch depends
//! on the row.
//!
//! Larger trees are cut into pieces of 64 nodes; a row goes from piece to piece. Nodes that read categories take their
//! decisions from a table instead: the bits of a code, spread to the lanes.

mod categories;

use alloc::collections::BinaryHeap;
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::{CATEGORY, Coder, Forest, Reads, VECTOR};
use crate::aligned::Aligned;
use categories::Categories;

/// Lanes of a register.
const LANES: usize = 64;
/// Thresholds of a slot: codes `0..=254`, and 255 for a missing value that goes right.
const CHUNK: usize = 254;
/// Most slots: four registers of codes.
const MAX_SLOTS: usize = 256;
/// Most inner nodes of a tree: larger ones are walked sooner.
const MAX_NODES: usize = 1024;
/// Most nodes on a way through a piece of a tree that is cut, which [`Lanes::doublings`] of 4 follow to its end.
const DEPTH: usize = 16;
/// Bytes of a vector: the slot, the threshold and the right child of each lane.
const BYTES: usize = 3 * LANES;
/// A right child's bit that says that the left child is none of the piece.
const NO_LEFT: u8 = 1 << 7;
/// An exit that is a leaf.
const LEAF: u32 = 1 << 31;

/// Bytes of a row: a code column's thresholds in chunks.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots {
    /// Column and first threshold of each slot.
    slots: Vec<(u16, u16)>,
    /// First slot of each column.
    first: Vec<u16>,
    /// Whether slot `i` is column `i`.
    plain: bool,
}

impl Slots {
    /// None where there are more than `limit`.
    pub(super) fn new(coder: &Coder, limit: usize) -> Option<Self> {
        let mut out = Self { plain: true, ..Self::default() };
        for column in 0..coder.columns() {
            out.first.push(out.slots.len() as u16);
            if matches!(coder.reads(column), Reads::Category { .. }) {
                continue;
            }
            let chunks = coder.thresholds(column).len().div_ceil(CHUNK).max(1);
            if out.slots.len() + chunks > limit {
                return None;
            }
            out.slots.extend((0..chunks).map(|c| (column as u16, (c * CHUNK) as u16)));
        }
        out.plain = out.slots.iter().enumerate().all(|(i, s)| *s == (i as u16, 0));
        Some(out)
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Slot and threshold of a number node.
    pub(super) fn of(&self, column: u16, threshold: u16) -> (u16, u8) {
        let threshold = usize::from(threshold);
        (self.first[usize::from(column)] + (threshold / CHUNK) as u16, (threshold % CHUNK) as u8)
    }

    /// A row's slots from its codes.
    #[inline]
    fn row(&self, codes: &[u16], bytes: &mut [u8]) {
        if self.plain {
            bytes.iter_mut().zip(&codes[..self.slots.len()]).for_each(|(b, &c)| *b = c.min(255) as u8);
            return;
        }
        for (byte, &(column, base)) in bytes.iter_mut().zip(&self.slots) {
            *byte = codes[usize::from(column)].saturating_sub(base).min(255) as u8;
        }
    }
}

/// An ensemble in registers.
#[derive(Clone, Debug)]
pub struct Lanes {
    slots: Slots,
    /// `BYTES` a vector.
    vectors: Aligned<u8>,
    /// Where decision `d` of lane `l` of vector `v` leads when it leaves the piece: `[(v * 64 + l) * 2 + d]` is a leaf's
    /// place with [`LEAF`], or `vector * 64 + lane` of another piece.
    exits: Vec<u32>,
    /// The leaves' values in the same places, where every tree has one vector and there is one output.
    values: Vec<f64>,
    /// `vector * 64 + lane` of each tree's root.
    roots: Vec<u32>,
    /// Doublings that follow the deepest piece to its end.
    doublings: u32,
    categories: Categories,
}

/// Inner nodes of a tree, cut into pieces.
struct Cut {
    /// Nodes of each piece in preorder.
    pieces: Vec<Vec<u32>>,
    /// Piece and place in it of each node of the tree.
    place: Vec<(u32, u32)>,
}

const NONE: u32 = u32::MAX;

/// Cuts a tree that one register doesn't hold: the root's piece takes the nodes nearest to the root, of those those with most
/// nodes below, and so on. Most rows then pass few pieces, and pieces are shallow.
fn cut(forest: &Forest, start: usize, end: usize) -> Cut {
    let left = |at: usize| forest.node(start + at).left as usize - start;
    let count = end - start;
    let mut below = vec![0u32; count];
    for at in (0..count).rev() {
        if left(at) != at {
            below[at] = 1 + below[left(at)] + below[left(at) + 1];
        }
    }
    let mut out = Cut { pieces: Vec::new(), place: vec![(NONE, 0); count] };
    let mut roots: Vec<usize> = if below[0] > 0 { vec![0] } else { Vec::new() };
    // What fits as a whole needs no choice.
    let whole = below[0] as usize <= LANES;
    while let Some(root) = roots.pop() {
        let piece = out.pieces.len() as u32;
        let mut size = if whole { below[root] as usize } else { 0 };
        let mut frontier = BinaryHeap::new();
        if !whole {
            frontier.push((Reverse(1), below[root], root));
        }
        while size < LANES
            && let Some((Reverse(depth), _, at)) = frontier.pop()
        {
            out.place[at].0 = piece;
            size += 1;
            let inner = [left(at), left(at) + 1].into_iter().filter(|&c| below[c] > 0);
            if depth < DEPTH {
                frontier.extend(inner.map(|c| (Reverse(depth + 1), below[c], c)));
            } else {
                roots.extend(inner);
            }
        }
        roots.extend(frontier.into_iter().map(|f| f.2));
        let mut order = Vec::with_capacity(size);
        let mut open = vec![root];
        while let Some(at) = open.pop() {
            out.place[at].1 = order.len() as u32;
            order.push(at as u32);
            out.place[at].0 = piece;
            open.extend(
                [left(at) + 1, left(at)].into_iter().filter(|&c| below[c] > 0 && (whole || out.place[c].0 == piece)),
            );
        }
        out.pieces.push(order);
    }
    out
}

impl Lanes {
    /// `None` where the CPU lacks the instructions, or the ensemble has too many thresholds, too large trees, or
    /// categories in trees that take more than one register.
    pub fn new(forest: &Forest, coder: &Coder) -> Option<Self> {
        let mut out = Self::laid_out(forest, coder)?;
        out.categories.expand(forest, coder, out.roots.len());
        Some(out)
    }

    /// The same, with the decisions of all categories still as bits.
    fn laid_out(forest: &Forest, coder: &Coder) -> Option<Self> {
        if !crate::cpu::vbmi() || forest.trees() == 0 {
            return None;
        }
        let parts = forest.parts();
        if parts.roots.windows(2).any(|w| (w[1] - w[0]) as usize > 2 * MAX_NODES) {
            return None;
        }
        let slots = Slots::new(coder, MAX_SLOTS)?;
        let cuts: Vec<Cut> = parts.roots.windows(2).map(|w| cut(forest, w[0] as usize, w[1] as usize)).collect();
        let single = cuts.iter().all(|c| c.pieces.len() <= 1);
        if forest.has_categories() && !single {
            return None;
        }
        // Lanes used of each vector, and where each piece lies.
        let mut used: Vec<usize> = Vec::new();
        let mut places: Vec<Vec<(usize, usize)>> = Vec::with_capacity(cuts.len());
        for cut in &cuts {
            let mut of_tree = Vec::with_capacity(cut.pieces.len().max(1));
            for size in cut.pieces.iter().map(Vec::len).chain(cut.pieces.is_empty().then_some(1)) {
                let open = if single { used.len() } else { used.len().saturating_sub(8) };
                let vector = (open..used.len()).find(|&v| used[v] + size <= LANES).unwrap_or_else(|| {
                    used.push(0);
                    used.len() - 1
                });
                of_tree.push((vector, used[vector]));
                used[vector] += size;
            }
            places.push(of_tree);
        }
        let mut out = Self {
            slots,
            vectors: Aligned::zeroed(used.len() * BYTES),
            exits: vec![0; used.len() * LANES * 2],
            values: Vec::new(),
            roots: Vec::with_capacity(cuts.len()),
            doublings: 0,
            categories: Categories::default(),
        };
        for ((cut, of_tree), range) in cuts.iter().zip(&places).zip(parts.roots.windows(2)) {
            out.roots.push((of_tree[0].0 * LANES + of_tree[0].1) as u32);
            out.fill(forest, range[0] as usize, cut, of_tree);
        }
        let scalar = parts.outputs == 1 && !parts.narrow && !parts.targets.contains(&VECTOR);
        if single && scalar {
            let value = |&e: &u32| parts.leaves.get((e & !LEAF) as usize).copied().unwrap_or(0.0);
            out.values = out.exits.iter().map(value).collect();
        }
        Some(out)
    }

    /// Writes the pieces of a tree.
    fn fill(&mut self, forest: &Forest, start: usize, cut: &Cut, of_tree: &[(usize, usize)]) {
        if cut.pieces.is_empty() {
            // A tree of one leaf: whatever is decided leads there.
            let (vector, lane) = of_tree[0];
            self.vectors[vector * BYTES + 2 * LANES + lane] = NO_LEFT | lane as u8;
            let exit = (vector * LANES + lane) * 2;
            self.exits[exit..exit + 2].fill(LEAF | forest.parts().payload[start]);
            return;
        }
        for (piece, (nodes, &(vector, offset))) in cut.pieces.iter().zip(of_tree).enumerate() {
            let mut depth = vec![1usize; nodes.len()];
            let mut deepest = 1;
            for (i, &at) in nodes.iter().enumerate() {
                let node = forest.node(start + at as usize);
                let lane = offset + i;
                let (slot, threshold) = if node.column & CATEGORY == 0 {
                    self.slots.of(node.column, node.threshold)
                } else {
                    self.categories.note(forest, vector, lane, node.column & !CATEGORY, start + at as usize);
                    (0, u8::MAX)
                };
                let left = node.left as usize - start;
                let mut right = lane as u8;
                for (decision, child) in [left, left + 1].into_iter().enumerate() {
                    let (of_piece, place) = cut.place[child];
                    if of_piece as usize == piece {
                        depth[place as usize] = depth[i] + 1;
                        deepest = deepest.max(depth[i] + 1);
                        if decision == 1 {
                            right = (right & NO_LEFT) | (offset + place as usize) as u8;
                        }
                        continue;
                    }
                    if decision == 0 {
                        right |= NO_LEFT;
                    }
                    self.exits[(vector * LANES + lane) * 2 + decision] = if of_piece == NONE {
                        LEAF | forest.parts().payload[start + child]
                    } else {
                        let (vector, lane) = of_tree[of_piece as usize];
                        (vector * LANES + lane) as u32
                    };
                }
                let at = vector * BYTES + lane;
                self.vectors[at] = slot as u8;
                self.vectors[at + LANES] = threshold;
                self.vectors[at + 2 * LANES] = right;
            }
            self.doublings = self.doublings.max(deepest.next_power_of_two().trailing_zeros());
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::x86_64::*;

    use super::{BYTES, Forest, LANES, LEAF, LaneScratch, Lanes, Vec};
    use crate::cache::fetch;

    /// Bytes that start on a line.
    #[repr(C, align(64))]
    struct Bytes<const N: usize>([u8; N]);

    /// A row's codes and the lane numbers.
    struct Row<'a> {
        codes: [__m512i; 4],
        lane: __m512i,
        next: __m512i,
        /// What the category nodes of each vector decide; empty where there are none.
        categories: &'a [u64],
    }

    impl<'a> Row<'a> {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
        fn new(bytes: &Bytes<256>, categories: &'a [u64]) -> Self {
            let mut lane = Bytes([0; LANES]);
            lane.0.iter_mut().enumerate().for_each(|(i, l)| *l = i as u8);
            let lane = load(&lane.0, 0);
            let codes = [0, 1, 2, 3].map(|i| load(&bytes.0, i * LANES));
            Self { codes, lane, next: _mm512_add_epi8(lane, _mm512_set1_epi8(1)), categories }
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    #[expect(unsafe_code, reason = "64 bytes as a register")]
    fn load(bytes: &[u8], at: usize) -> __m512i {
        debug_assert!(at + LANES <= bytes.len(), "a whole register");
        // SAFETY: callers name vectors that are there; the constructor made the bytes of all.
        unsafe { _mm512_loadu_si512(bytes.as_ptr().add(at).cast()) }
    }

    impl Lanes {
        /// The last inner node that each lane of `vector` leads to after `1 << D` decisions, and all decisions.
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,bmi2")]
        fn follow<const N: usize, const D: u32, const C: bool>(&self, row: &Row<'_>, vector: usize) -> (__m512i, u64) {
            let at = vector * BYTES;
            let slot = load(&self.vectors, at);
            let [a, b, c, d] = row.codes;
            let codes = match N {
                1 => _mm512_permutexvar_epi8(slot, a),
                2 => _mm512_permutex2var_epi8(a, slot, b),
                _ => {
                    let (low, high) = (_mm512_permutex2var_epi8(a, slot, b), _mm512_permutex2var_epi8(c, slot, d));
                    _mm512_mask_blend_epi8(_mm512_movepi8_mask(slot), low, high)
                }
            };
            let mut right = _mm512_cmpgt_epu8_mask(codes, load(&self.vectors, at + LANES));
            if C && let Some(decided) = row.categories.get(vector) {
                right |= decided;
            }
            let child = load(&self.vectors, at + 2 * LANES);
            let left = _mm512_mask_blend_epi8(_mm512_movepi8_mask(child), row.next, row.lane);
            let mut to = _mm512_mask_mov_epi8(left, right, child);
            for _ in 0..D {
                to = _mm512_permutexvar_epi8(to, to);
            }
            (to, right)
        }

        /// The sum of one output of trees of one vector each.
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,bmi2")]
        #[expect(unsafe_code, reason = "the innermost loop; the constructor made the indices")]
        fn sum<const N: usize, const D: u32, const C: bool>(&self, row: &Row<'_>, mut sum: f64) -> f64 {
            let value = |vector: usize| {
                let (to, right) = self.follow::<N, D, C>(row, vector);
                let node = _mm_cvtsi128_si32(_mm512_castsi512_si128(to)) as usize & (LANES - 1);
                let exit = (vector * LANES + node) * 2 + (right >> node & 1) as usize;
                // SAFETY: there is a vector a tree here, whose root is lane 0, and a value an exit.
                unsafe { *self.values.get_unchecked(exit) }
            };
            // How many trees are under way at a time decides the speed: the fewer instructions of each, the more.
            let (eights, rest) = (self.roots.len() / 8, self.roots.len() % 8);
            for eight in 0..eights {
                for i in 0..8 {
                    sum += value(eight * 8 + i);
                }
            }
            for i in 0..rest {
                sum += value(eights * 8 + i);
            }
            sum
        }

        /// The leaf of each tree.
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,bmi2")]
        #[expect(unsafe_code, reason = "the innermost loop; the constructor made the indices")]
        fn find<const N: usize, const D: u32, const C: bool>(
            &self,
            row: &Row<'_>,
            work: &mut Vec<(u32, u32)>,
            at: &mut Vec<u32>,
            found: &mut [u32],
        ) {
            work.clear();
            work.extend((0u32..).zip(self.roots.iter().copied()));
            while !work.is_empty() {
                // All exits are found before one is read: by then, what lies far away is on its way.
                at.resize(work.len(), 0);
                for (at, &(_, place)) in at.iter_mut().zip(&*work) {
                    let (vector, lane) = (place as usize / LANES, place as usize % LANES);
                    let (to, right) = self.follow::<N, D, C>(row, vector);
                    let first = _mm512_permutexvar_epi8(_mm512_set1_epi8(lane as i8), to);
                    let node = _mm_cvtsi128_si32(_mm512_castsi512_si128(first)) as usize & (LANES - 1);
                    let exit = (vector * LANES + node) * 2 + (right >> node & 1) as usize;
                    fetch(self.exits.as_ptr().wrapping_add(exit));
                    *at = exit as u32;
                }
                let mut left = 0;
                for (i, &at) in at.iter().enumerate() {
                    // SAFETY: roots and exits name vectors that are there.
                    let exit = unsafe { *self.exits.get_unchecked(at as usize) };
                    let tree = work[i].0;
                    found[tree as usize] = exit & !LEAF;
                    // Kept, and written over by the next one where it is a leaf.
                    work[left] = (tree, exit);
                    left += usize::from(exit & LEAF == 0);
                }
                for &(_, place) in &work[..left] {
                    let vector = self.vectors.as_ptr().wrapping_add(place as usize / LANES * BYTES);
                    (0..3).for_each(|line| fetch(vector.wrapping_add(line * LANES)));
                }
                work.truncate(left);
            }
        }

        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,bmi2")]
        fn row_of<const N: usize, const D: u32>(
            &self,
            forest: &Forest,
            row: &Row<'_>,
            work: &mut Vec<(u32, u32)>,
            at: &mut Vec<u32>,
            found: &mut [u32],
            out: &mut [f64],
            stride: usize,
        ) {
            if self.values.is_empty() {
                if row.categories.is_empty() {
                    self.find::<N, D, false>(row, work, at, found);
                } else {
                    self.find::<N, D, true>(row, work, at, found);
                }
                forest.add_up(found, out, stride);
            } else {
                out[0] = if row.categories.is_empty() {
                    self.sum::<N, D, false>(row, out[0])
                } else {
                    self.sum::<N, D, true>(row, out[0])
                };
            }
        }

        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,bmi2")]
        pub(super) fn row_x86(
            &self,
            forest: &Forest,
            codes: &[u16],
            scratch: &mut LaneScratch,
            found: &mut [u32],
            out: &mut [f64],
            stride: usize,
        ) {
            let mut bytes = Bytes([0; 256]);
            self.slots.row(codes, &mut bytes.0);
            let LaneScratch { work, at, decided } = scratch;
            self.categories.decide(forest, codes, self.roots.len(), decided);
            let row = Row::new(&bytes, decided);
            match (self.slots.len(), self.doublings) {
                (0..=64, 0..=3) => self.row_of::<1, 3>(forest, &row, work, at, found, out, stride),
                (0..=64, 4) => self.row_of::<1, 4>(forest, &row, work, at, found, out, stride),
                (0..=64, 5) => self.row_of::<1, 5>(forest, &row, work, at, found, out, stride),
                (0..=64, _) => self.row_of::<1, 6>(forest, &row, work, at, found, out, stride),
                (65..=128, 0..=4) => self.row_of::<2, 4>(forest, &row, work, at, found, out, stride),
                (65..=128, 5) => self.row_of::<2, 5>(forest, &row, work, at, found, out, stride),
                (65..=128, _) => self.row_of::<2, 6>(forest, &row, work, at, found, out, stride),
                (_, 0..=5) => self.row_of::<4, 5>(forest, &row, work, at, found, out, stride),
                _ => self.row_of::<4, 6>(forest, &row, work, at, found, out, stride),
            }
        }
    }
}

/// Memory of a row.
#[derive(Clone, Debug, Default)]
pub struct LaneScratch {
    /// Tree and place of the trees that haven't come to a leaf.
    work: Vec<(u32, u32)>,
    /// The exit of each of them.
    at: Vec<u32>,
    /// What the category nodes of each vector decide.
    decided: Vec<u64>,
}

impl Lanes {
    /// Adds all trees to a row's sums.
    ///
    /// Shapes: `codes` of the coder that the ensemble was laid out with; `found` a place a tree; `out[k * stride]` is
    /// output `k`.
    pub fn row(
        &self,
        forest: &Forest,
        codes: &[u16],
        scratch: &mut LaneScratch,
        found: &mut [u32],
        out: &mut [f64],
        stride: usize,
    ) {
        #[cfg(target_arch = "x86_64")]
        {
            #[expect(unsafe_code, reason = "instructions beyond the target's base")]
            // SAFETY: the constructor found AVX-512 with VBMI on this CPU.
            unsafe {
                self.row_x86(forest, codes, scratch, found, out, stride);
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let _ = scratch;
            forest.walk_row(codes, found);
            forest.add_up(found, out, stride);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{ensemble, grown, numbers};
    use super::*;
    use crate::cpu::Level;

    /// Rows of an ensemble have the bits of a walk in each of some layouts.
    fn check(forest: &Forest, coder: &Coder, ways: &[Lanes], below: impl Fn(u64) -> u64) {
        let trees = forest.trees();
        let mut scratch = LaneScratch::default();
        for _ in 0..300 {
            let mut row = [below(42) as f64 - 1.0, below(5) as f64 - 1.0, below(12) as f64 - 1.0];
            if below(4) == 0 {
                row[below(3) as usize] = f64::NAN;
            }
            let (mut codes, mut found, mut want) = ([0; 4], vec![0; trees], [0.1]);
            coder.row(Level::Plain, &row, &mut codes);
            forest.walk_row(&codes, &mut found);
            forest.add_up(&found, &mut want, 1);
            for lanes in ways {
                let mut got = [0.1];
                lanes.row(forest, &codes, &mut scratch, &mut vec![0; trees], &mut got, 1);
                assert_eq!(got[0].to_bits(), want[0].to_bits(), "{trees} trees, {row:?}");
            }
        }
    }

    /// Trees of one vector each, of numbers and categories, whose decisions are bits or spread to the lanes.
    #[test]
    fn rows_have_the_bits_of_a_walk() {
        let below = numbers(5);
        for trees in [1, 7, 8, 67, 131] {
            let (forest, coder) = ensemble(trees, &below);
            let Some(bits) = Lanes::laid_out(&forest, &coder) else { return };
            let spread = Lanes::new(&forest, &coder).expect("laid out before");
            let found = Lanes { values: Vec::new(), ..bits.clone() };
            check(&forest, &coder, &[spread, bits, found], &below);
        }
    }

    /// Trees of several pieces, some of them lists that are deeper than a piece, among trees that share vectors.
    #[test]
    fn large_trees_have_the_bits_of_a_walk() {
        let below = numbers(6);
        for trees in [1, 5, 40] {
            let (forest, coder) = grown(trees, |tree| [900, 3, 300, 0, 80][tree % 5], 3, &below);
            let Some(lanes) = Lanes::new(&forest, &coder) else { return };
            assert!(lanes.values.is_empty() && lanes.doublings <= 6);
            check(&forest, &coder, &[lanes], &below);
        }
        let lists = numbers(8);
        // A draw of the node to grow that takes the last one makes lists.
        let last = |limit: u64| if limit > 40 { limit - 1 - lists(2) } else { lists(limit) };
        let (forest, coder) = grown(6, |_| 200, 3, last);
        let Some(lanes) = Lanes::new(&forest, &coder) else { return };
        check(&forest, &coder, &[lanes], &below);
    }
}
