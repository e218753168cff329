//! One row against a whole tree at a time, in registers: needs AVX-512 with VBMI.
//!
//! A register holds up to 64 inner nodes, a byte lane each, in preorder: a left child is the next lane. One shuffle
//! fetches every node's code and one compare decides all nodes. Each lane then names the inner node that its decision
//! leads to, itself where that is none, and pointer doubling (a register shuffled by itself) follows all decisions in
//! as many steps as the logarithm of the depth. The last inner node and its own decision are an exit. No branch depends
//! on the row.
//!
//! What binds is the way from the second-level cache: a line takes as long as two shuffles. So the lowest nodes of a tree
//! are not in its register but lie beside their leaves, in records of one line (see [`records`]), and a register holds up
//! to four trees. Trees that are larger still are cut into pieces of 64 nodes; a row goes from piece to piece. Ensembles that
//! read categories have no nodes here (see [`super::Paths`]).

pub(super) mod records;
#[cfg(target_arch = "x86_64")]
mod x86;

use alloc::collections::BinaryHeap;
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Reverse;

use super::slots::{MAX_SLOTS, Slots};
use super::{Coder, Forest, VECTOR};
use crate::aligned::Aligned;
use records::Record;

/// Lanes of a register.
const LANES: usize = 64;
/// Most inner nodes of a tree: larger ones are walked sooner.
const MAX_NODES: usize = 1024;
/// Most nodes on a way through a piece of a tree that is cut, which [`Lanes::doublings`] of 4 follow to its end.
const DEPTH: usize = 16;
/// Bytes of a vector: the slot, the threshold and the right child of each lane.
const BYTES: usize = 3 * LANES;
/// A right child's bit that says that the left child is none of the piece, and that the right one isn't.
const NO_LEFT: u8 = 1 << 7;
const NO_RIGHT: u8 = 1 << 6;
/// Exits of a vector: a lane's to the left, then with [`NO_RIGHT`] to the right.
const EXITS: usize = 2 * LANES;
/// Trees that are followed side by side, and whose vectors hold the same number of trees.
const GROUP: usize = 8;
/// Numbers of trees of a vector, the most first.
const STEPS: [usize; 3] = [4, 2, 1];

/// An ensemble in registers.
#[derive(Clone, Debug)]
pub struct Lanes {
    trees: usize,
    slots: Slots,
    /// `BYTES` a vector.
    vectors: Aligned<u8>,
    /// A record for each exit that a vector has: its own of the [`EXITS`] from the vector's first one on.
    records: Aligned<u8>,
    first_records: Vec<u32>,
    /// Whether leaves in records are their values, not their places in the forest's leaves.
    scalar: bool,
    /// Whether there also is one output, whose sum isn't rounded.
    adds_up: bool,
    /// Empty where some trees take several vectors.
    runs: Vec<Run>,
    /// `vector * 64 + lane` of each tree's root there.
    roots: Vec<u32>,
    /// Doublings that follow the deepest piece to its end.
    doublings: u32,
}

/// Trees after each other that share vectors, some of them each: their lanes take turns. A run ends with a [`GROUP`].
#[derive(Clone, Copy, Debug)]
struct Run {
    /// Trees of a vector.
    step: usize,
    /// The first vector.
    vector: usize,
    trees: usize,
}

/// A tree's inner nodes but for those in records, cut into pieces.
struct Cut {
    /// Nodes of each piece, in preorder.
    pieces: Vec<Vec<u32>>,
    /// Piece and place in it of each node of the tree.
    place: Vec<(u32, u32)>,
}

const NONE: u32 = u32::MAX;

/// Cuts a tree that one register doesn't hold: the root's piece takes the nodes nearest to the root, of those those with most
/// nodes below, and so on. Most rows then pass few pieces, and pieces are shallow. Small subtrees are left to records.
fn cut(forest: &Forest, start: usize, end: usize) -> Cut {
    let left = |at: usize| forest.node(start + at).left as usize - start;
    let count = end - start;
    // Inner nodes, and those of them that records don't hold, from each node on.
    let (mut inner, mut below) = (vec![0; count], vec![0u32; count]);
    for at in (0..count).rev().filter(|&at| left(at) != at) {
        let (l, r) = (left(at), left(at) + 1);
        inner[at] = 1 + inner[l] + inner[r];
        if inner[at] > records::NODES {
            below[at] = 1 + below[l] + below[r];
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
            let children = [left(at) + 1, left(at)];
            open.extend(children.into_iter().filter(|&c| below[c] > 0 && (whole || out.place[c].0 == piece)));
        }
        out.pieces.push(order);
    }
    out
}

impl Lanes {
    /// `None` where the CPU lacks the instructions, or the ensemble has too many thresholds, too large trees, or categories.
    pub fn new(forest: &Forest, coder: &Coder) -> Option<Self> {
        if !crate::cpu::vbmi() || forest.trees() == 0 || forest.has_categories() {
            return None;
        }
        let parts = forest.parts();
        if parts.roots.windows(2).any(|w| (w[1] - w[0]) as usize > 2 * MAX_NODES) {
            return None;
        }
        let slots = Slots::new(coder, MAX_SLOTS, false)?;
        let cut = |w: &[u32]| cut(forest, w[0] as usize, w[1] as usize);
        let cuts: Vec<Cut> = parts.roots.windows(2).map(cut).collect();
        let single = cuts.iter().all(|c| c.pieces.len() <= 1);
        let mut out = Self {
            trees: forest.trees(),
            slots,
            vectors: Aligned::default(),
            records: Aligned::default(),
            first_records: Vec::new(),
            scalar: !parts.targets.contains(&VECTOR),
            adds_up: parts.outputs == 1 && !parts.narrow && !parts.targets.contains(&VECTOR),
            runs: Vec::new(),
            roots: Vec::new(),
            doublings: 0,
        };
        let (places, vectors) = if single { out.side_by_side(&cuts) } else { out.one_by_one(&cuts) };
        out.vectors = Aligned::zeroed(vectors * BYTES);
        let mut of_vectors = vec![Vec::new(); vectors];
        for (tree, (cut, (places, step))) in cuts.iter().zip(&places).enumerate() {
            out.fill(forest, tree, cut, places, *step, &mut of_vectors);
        }
        (out.records, out.first_records) = records::packed(&of_vectors);
        Some(out)
    }

    /// Vector and first lane of each piece of each tree and the step between its lanes, and the number of vectors, where
    /// trees have one piece: as many of them in a vector as it holds of a group's.
    fn side_by_side(&mut self, cuts: &[Cut]) -> (Vec<(Vec<(usize, usize)>, usize)>, usize) {
        let (mut places, mut vectors) = (Vec::with_capacity(cuts.len()), 0);
        for group in cuts.chunks(GROUP) {
            let longest = group.iter().flat_map(|c| &c.pieces).map(Vec::len).max().unwrap_or(0);
            let step = STEPS.into_iter().find(|step| step * longest <= LANES).unwrap_or(1);
            match self.runs.last_mut().filter(|run| run.step == step) {
                Some(run) => run.trees += group.len(),
                None => self.runs.push(Run { step, vector: vectors, trees: group.len() }),
            }
            places.extend((0..group.len()).map(|tree| (vec![(vectors + tree / step, tree % step)], step)));
            vectors += GROUP / step;
        }
        (places, vectors)
    }

    /// The same where some trees have several pieces: a piece follows others in a vector.
    fn one_by_one(&mut self, cuts: &[Cut]) -> (Vec<(Vec<(usize, usize)>, usize)>, usize) {
        let mut used: Vec<usize> = Vec::new();
        let mut places = Vec::with_capacity(cuts.len());
        for cut in cuts {
            let mut of_tree = Vec::with_capacity(cut.pieces.len().max(1));
            for size in cut.pieces.iter().map(Vec::len).chain(cut.pieces.is_empty().then_some(1)) {
                let open = used.len().saturating_sub(8);
                let vector = (open..used.len()).find(|&v| used[v] + size <= LANES).unwrap_or_else(|| {
                    used.push(0);
                    used.len() - 1
                });
                of_tree.push((vector, used[vector]));
                used[vector] += size;
            }
            self.roots.push((of_tree[0].0 * LANES + of_tree[0].1) as u32);
            places.push((of_tree, 1));
        }
        (places, used.len())
    }

    /// Writes the pieces of a tree, whose first lanes are given, and its records. Lanes of a piece are `step` apart.
    fn fill(
        &mut self,
        forest: &Forest,
        tree: usize,
        cut: &Cut,
        places: &[(usize, usize)],
        step: usize,
        of_vectors: &mut [Vec<(u8, Record)>],
    ) {
        let parts = forest.parts();
        let start = parts.roots[tree] as usize;
        let scalar = self.scalar;
        let word = |leaf: u32| if scalar { parts.leaves[leaf as usize].to_bits() } else { u64::from(leaf) };
        if cut.pieces.is_empty() {
            // All in one record: whatever is decided leads there.
            let (vector, lane) = places[0];
            self.vectors[vector * BYTES + 2 * LANES + lane] = NO_LEFT | NO_RIGHT | lane as u8;
            let record = records::of_nodes(forest, &self.slots, start, word);
            of_vectors[vector].extend([(lane as u8, record), (NO_RIGHT | lane as u8, record)]);
            return;
        }
        for (piece, (nodes, &(vector, first))) in cut.pieces.iter().zip(places).enumerate() {
            let mut depth = vec![1usize; nodes.len()];
            let mut deepest = 1;
            for (i, &at) in nodes.iter().enumerate() {
                let node = forest.node(start + at as usize);
                let lane = first + step * i;
                let (slot, threshold) = self.slots.of(node.column, node.threshold);
                let left = node.left as usize - start;
                let mut right = NO_RIGHT | lane as u8;
                for (decision, child) in [left, left + 1].into_iter().enumerate() {
                    let (of_piece, place) = cut.place[child];
                    if of_piece as usize == piece {
                        depth[place as usize] = depth[i] + 1;
                        deepest = deepest.max(depth[i] + 1);
                        if decision == 1 {
                            right = (right & NO_LEFT) | (first + step * place as usize) as u8;
                        }
                        continue;
                    }
                    if decision == 0 {
                        right |= NO_LEFT;
                    }
                    let record = if of_piece == NONE {
                        records::of_nodes(forest, &self.slots, start + child, word)
                    } else {
                        let (vector, lane) = places[of_piece as usize];
                        records::going_on((vector * LANES + lane) as u32)
                    };
                    of_vectors[vector].push(((decision * LANES + lane) as u8, record));
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

/// Memory of a row.
#[derive(Clone, Debug, Default)]
pub struct LaneScratch {
    /// Tree and place of the trees that haven't come to a leaf.
    work: Vec<(u32, u32)>,
    /// The record of each of them.
    at: Vec<u32>,
    /// What the leaf of each tree holds.
    words: Vec<u64>,
}

impl Lanes {
    /// Adds all trees to a row's sums.
    ///
    /// Shapes: `codes` of the coder that the ensemble was laid out with; `out[k * stride]` is output `k`.
    pub fn row(&self, forest: &Forest, codes: &[u16], scratch: &mut LaneScratch, out: &mut [f64], stride: usize) {
        #[cfg(target_arch = "x86_64")]
        {
            #[expect(unsafe_code, reason = "instructions beyond the target's base")]
            // SAFETY: the constructor found AVX-512 with VBMI on this CPU.
            unsafe {
                self.row_x86(forest, codes, scratch, out, stride);
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let _ = scratch;
            let mut found = vec![0; self.trees];
            forest.walk_row(codes, &mut found);
            forest.add_up(&found, out, stride);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Node;
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
                lanes.row(forest, &codes, &mut scratch, &mut got, 1);
                assert_eq!(got[0].to_bits(), want[0].to_bits(), "{trees} trees, {row:?}");
            }
        }
    }

    /// The same with several outputs, sums that are rounded, and leaves of a value for every output.
    fn check_outputs(forest: &Forest, coder: &Coder, below: impl Fn(u64) -> u64) {
        for (narrow, vector) in [(false, false), (true, false), (false, true)] {
            let mut parts = forest.parts().clone();
            (parts.outputs, parts.narrow) = (2, narrow);
            parts.targets.iter_mut().for_each(|target| *target = if vector { VECTOR } else { below(2) as u32 });
            if vector {
                parts.leaves = parts.leaves.iter().flat_map(|&leaf| [leaf, -leaf / 3.0]).collect();
                for (at, payload) in parts.payload.iter_mut().enumerate() {
                    *payload *= 1 + u32::from(Node::unpack(parts.nodes[at]).left as usize == at);
                }
            }
            let forest = Forest::new(parts, coder).unwrap();
            let lanes = Lanes::new(&forest, coder).expect("one output was laid out");
            let mut scratch = LaneScratch::default();
            for _ in 0..20 {
                let row = [below(42) as f64 - 1.0, below(5) as f64 - 1.0, below(12) as f64 - 1.0];
                let (mut codes, mut found, mut want, mut got) =
                    ([0; 4], vec![0; forest.trees()], [0.1, 0.2], [0.1, 0.2]);
                coder.row(Level::Plain, &row, &mut codes);
                forest.walk_row(&codes, &mut found);
                forest.add_up(&found, &mut want, 1);
                lanes.row(&forest, &codes, &mut scratch, &mut got, 1);
                assert_eq!(got.map(f64::to_bits), want.map(f64::to_bits), "{row:?}, {narrow}, {vector}");
            }
        }
    }

    /// Trees of one vector each; ensembles with categories are not for this.
    #[test]
    fn rows_have_the_bits_of_a_walk() {
        let below = numbers(5);
        for trees in [1, 7, 8, 67, 131] {
            let (forest, coder) = grown(trees, |tree| tree % 64, 3, &below);
            let Some(lanes) = Lanes::new(&forest, &coder) else { return };
            let found = Lanes { adds_up: false, ..lanes.clone() };
            check(&forest, &coder, &[lanes, found], &below);
            check_outputs(&forest, &coder, &below);
        }
        let (forest, coder) = ensemble(7, &below);
        assert!(forest.has_categories() && Lanes::new(&forest, &coder).is_none());
    }

    /// Trees of several pieces, some of them lists that are deeper than a piece, among trees that share vectors.
    #[test]
    fn large_trees_have_the_bits_of_a_walk() {
        let below = numbers(6);
        for trees in [1, 5, 40] {
            let (forest, coder) = grown(trees, |tree| [900, 3, 300, 0, 80][tree % 5], 3, &below);
            let Some(lanes) = Lanes::new(&forest, &coder) else { return };
            assert!(lanes.runs.is_empty() && lanes.doublings <= 6);
            check(&forest, &coder, &[lanes], &below);
            check_outputs(&forest, &coder, &below);
        }
        let lists = numbers(8);
        // A draw of the node to grow that takes the last one makes lists.
        let last = |limit: u64| if limit > 40 { limit - 1 - lists(2) } else { lists(limit) };
        let (forest, coder) = grown(6, |_| 200, 3, last);
        let Some(lanes) = Lanes::new(&forest, &coder) else { return };
        check(&forest, &coder, &[lanes], &below);
    }
}
