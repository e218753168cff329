//! Many rows against small trees: a bit a row.
//!
//! Every distinct question of the ensemble ("is the code above this threshold?") is answered once for a block of rows,
//! as a mask with a bit a row. A tree then runs as a short list of bitwise merges: the leaves carry labels, each bit of
//! the label is a plane with a bit a row, and a node merges the planes of its children where they differ: the right
//! child's bit where the mask is set, the left child's elsewhere. Whole registers of rows go through a merge at once, no
//! branch depends on the rows, and nodes that share a question share its mask. The planes of the root are the labels of
//! the leaves; looking their values up and adding them is most of the work that is left.
//!
//! Labels are chosen so that few planes need a merge: see [`labels`].

mod add;
mod labels;
mod masks;
#[cfg(target_arch = "aarch64")]
mod neon;

use alloc::vec::Vec;

use super::look::{self, Look};
use super::{CATEGORY, Coder, Forest, VECTOR};
use crate::aligned::Aligned;
use crate::cpu::dispatch;
use masks::Question;

/// Rows of a word.
const WORD: usize = 64;
/// Most words of a block.
const WORDS: usize = 16;
/// Most planes of a label.
const PLANES: usize = 8;
/// Leaves whose values registers look up, planes of their labels, and the bytes of a tree that they are looked up in.
const SHORT_LEAVES: usize = look::LEAVES;
const SHORT_PLANES: usize = 7;
const TABLE: usize = (1 << SHORT_PLANES) + look::TABLE;
/// The place of a mask without rows, and of one with all.
const NONE: u16 = 0;
const ALL: u16 = 1;
/// Places for merged planes; masks follow.
const SCRATCH: u16 = 2;
const SCRATCH_PLACES: u16 = 510;
const FIRST_MASK: usize = (SCRATCH + SCRATCH_PLACES) as usize;
/// Most places of an arena, and the bytes that it should stay below.
const MAX_PLACES: usize = 1 << 16;
const ARENA_BYTES: usize = 1 << 22;

/// One plane of a node: a bit of `one` where `mask` is set, of `zero` elsewhere. Four places in one number, as loads are
/// what merging is short of.
#[derive(Clone, Copy, Debug)]
struct Merge(u64);

impl Merge {
    fn new(mask: u16, zero: u16, one: u16, to: u16) -> Self {
        Self([mask, zero, one, to].into_iter().rev().fold(0, |all, place| all << 16 | u64::from(place)))
    }

    /// `mask`, `zero`, `one` and where the plane goes.
    #[inline(always)]
    fn places(self) -> [usize; 4] {
        [0, 16, 32, 48].map(|shift| usize::from((self.0 >> shift) as u16))
    }
}

/// Where a tree's merges end and what they lead to.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// End of its merges.
    merges: u32,
    /// First of its values: one a label.
    values: u32,
    /// Number of planes.
    width: u8,
    /// Number of leaves.
    leaves: u16,
    /// The planes of its root.
    planes: [u16; PLANES],
}

impl Plan {
    /// Whether registers can look its leaves up.
    fn is_short(&self) -> bool {
        usize::from(self.leaves) <= SHORT_LEAVES && usize::from(self.width) <= SHORT_PLANES
    }
}

/// An ensemble for blocks of rows.
#[derive(Clone, Debug)]
pub struct Planes {
    questions: Vec<Question>,
    merges: Vec<Merge>,
    trees: Vec<Plan>,
    /// Each label's place in the forest's leaves, `u32::MAX` for labels that no leaf has.
    leaves: Vec<u32>,
    /// The leaves' values, where each is one number: by label.
    values: Vec<f64>,
    /// What registers look up, [`TABLE`] bytes a tree: the number of each label among the leaves, then the leaves' values.
    /// Empty where registers can't.
    tables: Aligned<u8>,
    /// How they do.
    look: Look,
    /// End of the masks.
    places: usize,
}

/// A mask or plane of `W` words.
type Mask<const W: usize> = [u64; W];

/// Memory of a block.
#[derive(Clone, Debug, Default)]
pub struct PlaneScratch {
    arena: Aligned<u64>,
    sums: Vec<f64>,
}

#[inline(always)]
#[expect(unsafe_code, reason = "the innermost loop; the constructor made the places")]
fn merge<const W: usize>(merges: &[Merge], arena: &mut [Mask<W>]) {
    for merge in merges {
        let [mask, zero, one, to] = merge.places();
        debug_assert!([mask, zero, one, to].iter().all(|p| *p < arena.len()));
        // SAFETY: the constructor counted the places, and `arena` has as many.
        unsafe {
            let mask = *arena.get_unchecked(mask);
            let zero = *arena.get_unchecked(zero);
            let one = *arena.get_unchecked(one);
            let mut made = [0; W];
            for w in 0..W {
                made[w] = zero[w] ^ ((zero[w] ^ one[w]) & mask[w]);
            }
            *arena.get_unchecked_mut(to) = made;
        }
    }
}

dispatch! {
    /// 64 rows.
    fn merge1(merges: &[Merge], arena: &mut [Mask<1>]) { merge(merges, arena) }
}
dispatch! {
    /// 128 rows.
    fn merge2(merges: &[Merge], arena: &mut [Mask<2>]) { merge(merges, arena) }
}
dispatch! {
    /// 256 rows.
    fn merge4(merges: &[Merge], arena: &mut [Mask<4>]) { merge(merges, arena) }
}
dispatch! {
    /// 512 rows.
    fn merge8(merges: &[Merge], arena: &mut [Mask<8>]) { merge(merges, arena) }
}
dispatch! {
    /// 1,024 rows.
    fn merge16(merges: &[Merge], arena: &mut [Mask<16>]) { merge(merges, arena) }
}

impl Planes {
    /// `None` where the ensemble has too many thresholds or a tree with too many leaves.
    pub fn new(forest: &Forest, coder: &Coder) -> Option<Self> {
        let (questions, places) = masks::questions(forest, coder)?;
        let parts = forest.parts();
        let scalar = !parts.targets.contains(&VECTOR) && !parts.narrow;
        let mut out = Self {
            questions,
            merges: Vec::new(),
            trees: Vec::with_capacity(forest.trees()),
            leaves: Vec::new(),
            values: Vec::new(),
            tables: Aligned::zeroed(0),
            look: Look::here(),
            places,
        };
        let mut maker = labels::Maker::default();
        let masks: Vec<u32> = out.first_places(coder.columns());
        let mask = |at: usize| {
            let node = forest.node(at);
            let column = usize::from(node.column & !CATEGORY);
            let within = match &forest.levels {
                Some(levels) if node.column & CATEGORY != 0 => levels.place(at),
                // Above a threshold is the next code or above.
                _ => usize::from(node.threshold) + 1,
            };
            (masks[column] as usize + within) as u16
        };
        for range in parts.roots.windows(2) {
            let values = out.leaves.len() as u32;
            let (width, planes) = maker.tree(forest, range[0] as usize, &mask, &mut out.merges, &mut out.leaves)?;
            let (merges, leaves) = (out.merges.len() as u32, maker.leaves() as u16);
            out.trees.push(Plan { merges, values, width, leaves, planes });
        }
        if scalar {
            let of = |&leaf: &u32| parts.leaves.get(leaf as usize).copied().unwrap_or(0.0);
            out.values = out.leaves.iter().map(of).collect();
            if add::in_registers() && out.trees.iter().all(Plan::is_short) {
                out.tables = out.tables_for(out.look);
            }
        }
        Some(out)
    }

    /// What registers look up.
    fn tables_for(&self, look: Look) -> Aligned<u8> {
        let mut tables = Aligned::zeroed(self.trees.len() * TABLE);
        for (tree, table) in self.trees.iter().zip(tables.chunks_exact_mut(TABLE)) {
            let (numbers, values) = table.split_at_mut(1 << SHORT_PLANES);
            let labels = tree.values as usize..(tree.values as usize) + (1 << tree.width);
            let of_label = self.leaves[labels.clone()].iter().zip(&self.values[labels]).zip(numbers);
            let used = of_label.filter(|((leaf, _), _)| **leaf != u32::MAX).enumerate();
            let of_number = used.map(|(number, ((_, value), to))| {
                *to = number as u8;
                *value
            });
            look.write(of_number, values);
        }
        tables
    }

    /// The place of each code column's first mask.
    fn first_places(&self, columns: usize) -> Vec<u32> {
        let mut out = alloc::vec![0; columns];
        self.questions.iter().for_each(|q| out[usize::from(q.column)] = q.first as u32);
        out
    }

    /// Words of a block of some rows: as few as hold them, and no more than keep the masks in the cache.
    fn words(&self, rows: usize) -> usize {
        let fits = |w: &usize| self.places * w * 8 <= ARENA_BYTES;
        let most = [WORDS, 8, 4, 2].into_iter().find(fits).unwrap_or(1);
        rows.div_ceil(WORD).next_power_of_two().min(most)
    }

    /// Adds all trees to the sums of a block of rows.
    ///
    /// Shapes: `codes[c * rows + r]` is row `r`'s code of column `c`; `out[k * stride + r]` its output `k`.
    pub fn block(
        &self,
        forest: &Forest,
        codes: &[u16],
        rows: usize,
        scratch: &mut PlaneScratch,
        out: &mut [f64],
        stride: usize,
    ) {
        match self.words(rows) {
            1 => self.run::<1>(forest, codes, rows, scratch, out, stride, merge1),
            2 => self.run::<2>(forest, codes, rows, scratch, out, stride, merge2),
            4 => self.run::<4>(forest, codes, rows, scratch, out, stride, merge4),
            8 => self.run::<8>(forest, codes, rows, scratch, out, stride, merge8),
            _ => self.run::<WORDS>(forest, codes, rows, scratch, out, stride, merge16),
        }
    }

    fn run<const W: usize>(
        &self,
        forest: &Forest,
        codes: &[u16],
        rows: usize,
        scratch: &mut PlaneScratch,
        out: &mut [f64],
        stride: usize,
        merge: impl Fn(&[Merge], &mut [Mask<W>]),
    ) {
        if scratch.arena.len() < self.places * W {
            scratch.arena = Aligned::zeroed(self.places * W);
        }
        let PlaneScratch { arena, sums } = scratch;
        let arena = &mut arena.as_chunks_mut::<W>().0[..self.places];
        arena[usize::from(NONE)] = [0; W];
        arena[usize::from(ALL)] = [u64::MAX; W];
        let targets = &forest.parts().targets;
        for start in (0..rows).step_by(W * WORD) {
            let count = (W * WORD).min(rows - start);
            for question in &self.questions {
                question.answer(forest, &codes[usize::from(question.column) * rows + start..][..count], arena);
            }
            let mut first = 0;
            if !self.tables.is_empty() {
                add::load(self.look, out, stride, start, count, W, sums);
                let tables = self.tables.chunks_exact(TABLE);
                for ((tree, table), &target) in self.trees.iter().zip(tables).zip(targets) {
                    merge(&self.merges[first..tree.merges as usize], arena);
                    first = tree.merges as usize;
                    let sums = &mut sums[target as usize * W * WORD..][..W * WORD];
                    add::in_register::<W>(self.look, table, &tree.planes, arena, sums);
                }
                add::store(self.look, out, stride, start, count, W, sums);
                continue;
            }
            for (at, tree) in self.trees.iter().enumerate() {
                merge(&self.merges[first..tree.merges as usize], arena);
                first = tree.merges as usize;
                let mut labels = [[0u8; WORD]; W];
                add::labels(&tree.planes[..usize::from(tree.width)], arena, &mut labels);
                let labels = &labels.as_flattened()[..count];
                let values = tree.values as usize..(tree.values as usize) + (1 << tree.width);
                if self.values.is_empty() {
                    let leaves = &self.leaves[values];
                    for (r, &label) in labels.iter().enumerate() {
                        forest.add(at, leaves[usize::from(label)], &mut out[start + r..], stride);
                    }
                } else {
                    let at = targets[at] as usize * stride + start;
                    add::add(&self.values[values], labels, &mut out[at..at + count]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::super::samples::{ensemble, numbers};
    use super::*;

    /// Blocks of all sizes, by each way to look values up, with one output and with several.
    #[test]
    fn blocks_have_the_bits_of_a_walk() {
        let below = numbers(5);
        for (trees, outputs) in [(1, 1), (9, 3), (70, 1)] {
            let (forest, coder) = ensemble(trees, &below);
            let mut parts = forest.parts().clone();
            parts.outputs = outputs;
            parts.targets.iter_mut().for_each(|target| *target = below(u64::from(outputs)) as u32);
            let (forest, outputs) = (Forest::new(parts, &coder).expect("sound trees"), outputs as usize);
            let planes = Planes::new(&forest, &coder).expect("small trees");
            assert_eq!(planes.tables.is_empty(), !add::in_registers());
            let mut ways = vec![Planes { tables: Aligned::zeroed(0), ..planes.clone() }];
            if add::in_registers() {
                let way = |look| Planes { look, tables: planes.tables_for(look), ..planes.clone() };
                ways.extend([Look::Words, Look::Bytes].map(way));
            }
            let mut scratch = PlaneScratch::default();
            for rows in [1, 48, 64, 65, 127, 300, 600, 1024, 1500] {
                let mut codes = vec![0; 4 * rows];
                for (codes, highest) in codes.chunks_exact_mut(rows).zip([41, 41, 4, 11]) {
                    codes.iter_mut().for_each(|code| *code = below(highest) as u16);
                }
                let stride = rows + 3;
                let before: Vec<f64> = (0..outputs * stride).map(|i| i as f64 / 7.0 - 0.3).collect();
                let mut want = before.clone();
                for row in 0..rows {
                    let of_row: Vec<u16> = codes.iter().skip(row).step_by(rows).copied().collect();
                    let mut found = vec![0; trees];
                    forest.walk_row(&of_row, &mut found);
                    forest.add_up(&found, &mut want[row..], stride);
                }
                let bits = |values: &[f64]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                for planes in &ways {
                    let mut got = before.clone();
                    planes.block(&forest, &codes, rows, &mut scratch, &mut got, stride);
                    assert_eq!(
                        bits(&got),
                        bits(&want),
                        "{trees} trees, {outputs} outputs, {rows} rows, {:?}",
                        planes.look
                    );
                }
            }
        }
    }
}
