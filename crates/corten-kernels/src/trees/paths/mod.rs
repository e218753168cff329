//! One row down the heavy paths of small trees: any kinds of nodes, and instructions that most CPUs of x86 have.
//!
//! The inner nodes of a tree are the bits of a word, in the order of [`Heavy::each`]: a bit is set where the row leaves the
//! node's path. The node that a way leaves its first path at is the lowest such bit among those of this path; where another
//! path begins there, it begins with the next bit, and its nodes are those of the bits from there on that as many paths lie
//! before. So a row passes lists of nodes, which is what categories make of trees, as quickly as bushes. No branch depends on
//! it, and a register holds the words of several trees, which are followed side by side.
//!
//! All nodes of numbers are decided first, a register of them at a time, and all nodes of a column of categories by the bits
//! of a code. The bits of each such source lie side by side, those of a tree in the order of its word, and are spread to
//! their places there.

#[cfg(target_arch = "x86_64")]
mod x86;

use alloc::vec;
use alloc::vec::Vec;
use core::array;

use super::heavy::Heavy;
use super::lanes::records;
use super::levels::{EXPANDED, deposit};
use super::slots::{HIGHEST, MAX_SLOTS, Slots};
use super::{CATEGORY, Coder, Forest, Reads, VECTOR};
use crate::aligned::Aligned;
use crate::cpu::{self, Level};

/// Most inner nodes of a tree.
const NODES: usize = 64;
/// Most paths that a way through so many nodes passes: each but the last one is left for one that as many nodes stand beside.
const MOST: usize = 6;
/// Trees that are followed side by side.
const GROUP: usize = 8;
/// Nodes of numbers that are decided at a time.
const BLOCK: usize = 64;
/// Most slots where a register of 32 bytes looks them up: more take as long as a walk.
const NARROW_SLOTS: usize = 128;

/// A word for each tree of a group.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(64))]
struct Words([u64; GROUP]);

/// Where the bits of a source go in the words of a group of trees.
#[derive(Clone, Copy, Debug, Default)]
#[repr(C, align(32))]
struct Spread {
    places: [u64; GROUP],
    /// The byte that the bits of each tree start with.
    bytes: [u32; GROUP],
}

/// Trees that are followed side by side: what is read of them lies together, as lists of their own would fall on the same
/// sets of a cache.
#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Group {
    /// The bits of nodes that leave their paths by going left.
    turned: Words,
    /// Those of the last nodes of paths, which are left in any case.
    ends: Words,
    /// Where the bits of nodes of numbers go. Where there are no others, each tree's bits are its word.
    numbers: Spread,
    first_leaves: [u32; GROUP],
    /// The nodes of the paths that a way comes to after as many others. One that leaves a path for such a path goes on at the
    /// next node.
    on: [Words; MOST],
}

impl Group {
    /// Trees of a leaf: of a node that is left at once.
    const EMPTY: Self = Self {
        turned: Words([0; GROUP]),
        ends: Words([1; GROUP]),
        numbers: Spread { places: [0; GROUP], bytes: [0; GROUP] },
        first_leaves: [0; GROUP],
        on: {
            let mut on = [Words([0; GROUP]); MOST];
            on[0] = Words([1; GROUP]);
            on
        },
    };
}

/// The exit of a tree at a node, to the side that its bit says: the last nodes come first, as zeros are counted.
const fn exit(node: usize, bit: usize) -> u8 {
    (2 * (NODES - 1 - node) + bit) as u8
}

/// An ensemble as words.
#[derive(Clone, Debug)]
pub struct Paths {
    trees: usize,
    /// Whether registers have 64 bytes: with AVX-512, VBMI too.
    wide: bool,
    slots: Slots,
    /// Nodes of numbers by block: their slots, then their thresholds.
    numbers: Aligned<u8>,
    groups: Vec<Group>,
    /// Most paths that a way through each group passes.
    paths: Vec<u8>,
    /// Columns of many categories, and where the bits of their codes go: all columns of a group, then those of the next one.
    categories: Vec<u16>,
    spreads: Vec<Spread>,
    /// The other columns of categories, and their first words: those of a code have its bits where they go.
    expanded: Vec<(u16, usize)>,
    words: Vec<Words>,
    /// A leaf for each [`exit`] of a tree from its first one on; those that it doesn't have are those of others.
    leaves: Aligned<u8>,
    /// Whether leaves are values, not their places in the forest's leaves.
    scalar: bool,
    /// Whether there also is one output, whose sum isn't rounded.
    adds_up: bool,
}

/// A column of categories while words are made: the groups' spreads.
type OfColumn = (u16, Vec<Spread>);

impl Paths {
    /// `None` where the CPU lacks the instructions, or the ensemble has too many thresholds or too large trees.
    pub fn new(forest: &Forest, coder: &Coder) -> Option<Self> {
        let level = cpu::level();
        let wide = level == Level::Avx512 && cpu::vbmi() && cpu::counts_zeros();
        let runs = level >= Level::Avx2 && cpu::moves_bits() && cpu::counts_words();
        if runs { Self::within(forest, coder, wide, EXPANDED) } else { None }
    }

    /// The same in registers of 64 bytes or of 32, with at most so many words for columns with few categories.
    fn within(forest: &Forest, coder: &Coder, wide: bool, most_words: usize) -> Option<Self> {
        let (parts, trees) = (forest.parts(), forest.trees());
        if trees == 0 || parts.roots.windows(2).any(|w| (w[1] - w[0]) as usize > 2 * NODES + 1) {
            return None;
        }
        let scalar = !parts.targets.contains(&VECTOR);
        let mut out = Self {
            trees,
            wide,
            slots: Slots::new(coder, if wide { MAX_SLOTS } else { NARROW_SLOTS }, !wide)?,
            numbers: Aligned::default(),
            groups: vec![Group::EMPTY; trees.div_ceil(GROUP)],
            paths: vec![1; trees.div_ceil(GROUP)],
            categories: Vec::new(),
            spreads: Vec::new(),
            expanded: Vec::new(),
            words: Vec::new(),
            leaves: Aligned::default(),
            scalar,
            adds_up: scalar && parts.outputs == 1 && !parts.narrow,
        };
        let (mut nodes, mut categories, mut leaves) = (Vec::new(), Vec::new(), Vec::with_capacity(trees));
        for tree in 0..trees {
            leaves.push(out.fill(forest, tree, &mut nodes, &mut categories));
        }
        out.numbers = Aligned::zeroed(nodes.len().div_ceil(BLOCK) * 2 * BLOCK);
        for (block, nodes) in out.numbers.chunks_exact_mut(2 * BLOCK).zip(nodes.chunks(BLOCK)) {
            block[BLOCK..].fill(HIGHEST);
            for (i, &(slot, threshold)) in nodes.iter().enumerate() {
                (block[i], block[BLOCK + i]) = (slot, threshold);
            }
        }
        let firsts;
        (out.leaves, firsts) = records::packed(&leaves);
        for (group, firsts) in out.groups.iter_mut().zip(firsts.chunks(GROUP)) {
            group.first_leaves[..firsts.len()].copy_from_slice(firsts);
        }
        out.expand(forest, coder, categories, most_words);
        Some(out)
    }

    /// Writes a tree's word and appends its nodes of numbers, from a whole byte of bits on; its leaves, each with its exit.
    fn fill(
        &mut self,
        forest: &Forest,
        tree: usize,
        nodes: &mut Vec<(u8, u8)>,
        categories: &mut Vec<OfColumn>,
    ) -> Vec<(u8, [u8; 8])> {
        let parts = forest.parts();
        let (start, end) = (parts.roots[tree] as usize, parts.roots[tree + 1] as usize);
        let heavy = Heavy::new(parts, start, end);
        let is_leaf = |at: usize| heavy.paths(at) == 0;
        let leaf = |at: usize| {
            let place = parts.payload[at];
            if self.scalar { parts.leaves[place as usize].to_bits() } else { u64::from(place) }.to_le_bytes()
        };
        nodes.resize(nodes.len().next_multiple_of(8), (0, HIGHEST));
        let (of_group, tree, groups) = (tree / GROUP, tree % GROUP, self.groups.len());
        let group = &mut self.groups[of_group];
        self.paths[of_group] = self.paths[of_group].max(heavy.paths(start));
        group.numbers.bytes[tree] = (nodes.len() / 8) as u32;
        let mut order = Vec::new();
        heavy.each(parts, |at, left, before| order.push((at, left, before)));
        let mut leaves = Vec::with_capacity(order.len() + 1);
        if !order.is_empty() {
            group.ends.0[tree] = 0;
            group.on[0].0[tree] = 0;
        }
        for (i, &(at, left, before)) in order.iter().enumerate() {
            let (node, bit) = (forest.node(at), 1 << i);
            group.on[before].0[tree] |= bit;
            if node.column & CATEGORY == 0 {
                group.numbers.places[tree] |= bit;
                let (slot, threshold) = self.slots.of(node.column, node.threshold);
                nodes.push((slot as u8, threshold));
            } else if let Some(levels) = &forest.levels {
                let column = node.column & !CATEGORY;
                let known = categories.iter().position(|(of, _)| *of == column).unwrap_or_else(|| {
                    categories.push((column, vec![Spread::default(); groups]));
                    categories.len() - 1
                });
                let spread = &mut categories[known].1[of_group];
                if spread.places[tree] == 0 {
                    spread.bytes[tree] = (levels.place(at) / 8) as u32;
                }
                spread.places[tree] |= bit;
            }
            let right = usize::from(heavy.stays_right(left));
            let (stays, other) = (left + right, left + 1 - right);
            group.turned.0[tree] |= (right as u64) << i;
            if is_leaf(stays) {
                group.ends.0[tree] |= bit;
                leaves.push((exit(i, 0), leaf(stays)));
            }
            if is_leaf(other) {
                leaves.push((exit(i, 1), leaf(other)));
            }
        }
        if order.is_empty() {
            // Whatever bit of another tree its word has.
            leaves.extend([(exit(0, 0), leaf(start)), (exit(0, 1), leaf(start))]);
        }
        leaves
    }

    /// Spreads the bits of columns with few categories once for each code, those with fewest first.
    fn expand(&mut self, forest: &Forest, coder: &Coder, mut categories: Vec<OfColumn>, most_words: usize) {
        let Some(levels) = &forest.levels else { return };
        let codes = |column: u16| match coder.reads(usize::from(column)) {
            Reads::Category { levels } => levels + 2,
            Reads::Number { .. } => 0,
        };
        categories.sort_by_key(|(column, _)| codes(*column));
        categories.retain(|(column, spreads)| {
            let (codes, first) = (codes(*column) as usize, self.words.len());
            if (first + codes * spreads.len()) * GROUP > most_words {
                return true;
            }
            for code in 0..codes {
                let bits = levels.of(usize::from(*column), code as u16);
                let word = |byte: u32| bits[byte as usize..].first_chunk().map_or(0, |b| u64::from_le_bytes(*b));
                let of_group = |of: &Spread| Words(array::from_fn(|i| deposit(word(of.bytes[i]), of.places[i])));
                self.words.extend(spreads.iter().map(of_group));
            }
            self.expanded.push((*column, first));
            false
        });
        self.categories = categories.iter().map(|(column, _)| *column).collect();
        self.spreads = (0..self.groups.len()).flat_map(|g| categories.iter().map(move |(_, all)| all[g])).collect();
    }
}

/// Memory of a row.
#[derive(Clone, Debug, Default)]
pub struct PathScratch {
    /// The bits of all nodes of numbers, and 8 bytes more.
    bits: Vec<u64>,
    /// The words of trees, as far as they have to be put together.
    words: Vec<Words>,
    /// Where the words, or bits, of the code of each column of categories start.
    expanded: Vec<usize>,
    categories: Vec<usize>,
    /// What the leaf of each tree holds.
    leaves: Vec<u64>,
}

impl Paths {
    /// Adds what the leaves hold to a row's sums, in the order of the trees.
    ///
    /// Shapes: `codes` of the coder that the ensemble was laid out with; `out[k * stride]` is output `k`.
    pub fn row(&self, forest: &Forest, codes: &[u16], scratch: &mut PathScratch, out: &mut [f64], stride: usize) {
        #[cfg(target_arch = "x86_64")]
        {
            #[expect(unsafe_code, reason = "instructions beyond the target's base")]
            // SAFETY: the constructor found AVX2 and what moves bits on this CPU.
            unsafe {
                self.row_x86(forest, codes, scratch, out, stride);
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let _ = scratch;
            let mut found = vec![0; forest.trees()];
            forest.walk_row(codes, &mut found);
            forest.add_up(&found, out, stride);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{ensemble, grown, numbers};
    use super::super::{Column, Node, Parts};
    use super::*;

    /// The layout, where the CPU has what it takes and the slots suffice.
    fn laid_out(forest: &Forest, coder: &Coder, most_words: usize) -> Vec<Paths> {
        let has = |wide: &bool| {
            let narrow = cpu::available() >= Level::Avx2 && cpu::moves_bits() && cpu::counts_words();
            if *wide { cpu::vbmi() && cpu::counts_zeros() } else { narrow }
        };
        let widths = [false, true].into_iter().filter(has);
        widths.filter_map(|wide| Paths::within(forest, coder, wide, most_words)).collect()
    }

    /// Rows have the bits of a walk in some layouts.
    fn check(forest: &Forest, coder: &Coder, ways: &[Paths], row: impl Fn() -> Vec<f64>) {
        let (trees, outputs) = (forest.trees(), forest.parts().outputs as usize);
        let mut scratch = PathScratch::default();
        for _ in 0..200 {
            let row = row();
            let (mut codes, mut found, mut want) = (vec![0; coder.columns()], vec![0; trees], vec![0.1; outputs]);
            coder.row(Level::Plain, &row, &mut codes);
            forest.walk_row(&codes, &mut found);
            forest.add_up(&found, &mut want, 1);
            let want: Vec<u64> = want.iter().map(|y| y.to_bits()).collect();
            for paths in ways {
                let mut got = vec![0.1; outputs];
                paths.row(forest, &codes, &mut scratch, &mut got, 1);
                assert!(got.iter().map(|y| y.to_bits()).eq(want.iter().copied()), "{trees} trees, {row:?}");
            }
        }
    }

    /// Rows of the ensembles that tests share.
    fn row_of(below: &impl Fn(u64) -> u64) -> Vec<f64> {
        let mut row = vec![below(42) as f64 - 1.0, below(5) as f64 - 1.0, below(12) as f64 - 1.0];
        if below(4) == 0 {
            row[below(3) as usize] = f64::NAN;
        }
        row
    }

    /// Trees of 1 to 64 leaves over numbers and categories, whose decisions are bits or words.
    #[test]
    fn rows_have_the_bits_of_a_walk() {
        let below = numbers(15);
        for trees in [1, 7, 8, 67, 131] {
            let (forest, coder) = ensemble(trees, &below);
            let (words, bits) = (laid_out(&forest, &coder, EXPANDED), laid_out(&forest, &coder, 0));
            assert!(words.iter().all(|paths| paths.categories.is_empty()));
            assert!(trees == 1 || bits.iter().all(|paths| paths.expanded.is_empty() && !paths.categories.is_empty()));
            let found = bits.iter().map(|paths| Paths { adds_up: false, ..paths.clone() });
            let ways: Vec<Paths> = found.chain(words).chain(bits.iter().cloned()).collect();
            check(&forest, &coder, &ways, || row_of(&below));
            let (forest, coder) = grown(trees, |tree| tree % 64, 3, &below);
            check(&forest, &coder, &laid_out(&forest, &coder, 0), || row_of(&below));
        }
    }

    /// Several outputs, sums that are rounded, and leaves of a value for every output.
    #[test]
    fn outputs_have_the_bits_of_a_walk() {
        let below = numbers(16);
        let (forest, coder) = ensemble(67, &below);
        for (narrow, vector) in [(false, false), (true, false), (false, true)] {
            let mut parts = forest.parts().clone();
            (parts.outputs, parts.narrow) = (2, narrow);
            parts.targets.iter_mut().for_each(|target| *target = if vector { VECTOR } else { below(2) as u32 });
            if vector {
                parts.leaves = parts.leaves.iter().flat_map(|&leaf| [leaf, -leaf / 3.0]).collect();
                for at in 0..parts.nodes.len() {
                    let leaf = parts.node(at).left as usize == at;
                    parts.payload[at] *= 1 + u32::from(leaf);
                }
            }
            let forest = Forest::new(parts, &coder).unwrap();
            check(&forest, &coder, &laid_out(&forest, &coder, EXPANDED), || row_of(&below));
        }
    }

    /// Slots for one to eight registers, in halves where columns differ in where missing values go, and columns of more
    /// thresholds than a slot has.
    #[test]
    fn many_columns_have_the_bits_of_a_walk() {
        let below = numbers(17);
        let (forest, _) = grown(50, |tree| 14 + tree, 3, &below);
        for (features, twins, most) in [
            (3, true, 40),
            (20, false, 40),
            (30, true, 40),
            (60, true, 40),
            (100, false, 40),
            (70, true, 40),
            (9, true, 900),
        ] {
            let thresholds: Vec<f64> = (0..most).map(f64::from).collect();
            let column = |feature, missing_right| {
                let reads = Reads::Number { missing_right, zero_missing: false };
                Column { feature, reads, start: 0, end: most as u32 }
            };
            let listed: Vec<Column> = (0..features)
                .flat_map(|f| [column(f, false), column(f, true)].into_iter().take(1 + usize::from(twins)))
                .collect();
            let coder = Coder::new(features as usize, &listed, &thresholds, false, 0.0).unwrap();
            let mut parts = forest.parts().clone();
            for at in 0..parts.nodes.len() {
                let node = parts.node(at);
                if node.left as usize != at {
                    let (column, threshold) = (below(listed.len() as u64) as u16, below(most as u64) as u16);
                    parts.nodes[at] = Parts::word(Node { column, threshold, ..node });
                }
            }
            let forest = Forest::new(parts, &coder).unwrap();
            let row = || -> Vec<f64> {
                let missing = below(2) == 0;
                let one = |_| if missing && below(9) == 0 { f64::NAN } else { below(most as u64 + 2) as f64 - 1.0 };
                (0..features).map(one).collect()
            };
            check(&forest, &coder, &laid_out(&forest, &coder, EXPANDED), row);
        }
    }
}
