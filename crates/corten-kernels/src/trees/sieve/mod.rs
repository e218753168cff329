//! One row against small trees that read few columns: leaves are struck out.
//!
//! A node that goes right strikes out the leaves of its left subtree; of the leaves that stay, the leftmost one is
//! where the row arrives (QuickScorer, SIGIR 2015). What all nodes of a column leave of a tree depends on the code
//! alone, so it is kept for every code: a word a tree, a bit a leaf, eight trees in a line. A row takes one line a column
//! and eight trees, and counts zeros. Codes between which no node of the eight trees tells share a line.
//!
//! This reads a line for each column and eight trees, and one of leaves for each tree, where [`super::Lanes`] reads two or
//! three for each tree, and needs no instruction that some CPU lacks.

mod block;
#[cfg(target_arch = "aarch64")]
mod neon;
mod parts;

use alloc::collections::BTreeMap;
use alloc::vec;
use alloc::vec::Vec;
use core::iter;

use super::look::{LEAVES, Look};
use super::{CATEGORY, Coder, Forest, Reads, VECTOR};
use crate::aligned::Aligned;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64", test))]
use crate::cpu;

pub use block::SieveScratch;

/// Trees of a line.
const TREES: usize = 8;
/// Groups of trees whose lines are read side by side.
const SIDE: usize = 4;
/// Most columns, and most lines: a row reads a line a column and eight trees, and lines should stay in a second-level cache,
/// or near it.
const MAX_COLUMNS: usize = 32;
const MAX_LINES: usize = 1 << 16;
/// The same where trees could be followed in registers, which takes two or three lines a tree whatever the columns. On Zen 4
/// both take as long over 12 columns, and lines may come from the third-level cache.
const FEW_COLUMNS: usize = 10;
const FEW_LINES: usize = 1 << 15;
/// The same for blocks of rows, which go through the lines of eight trees after those of others: only the width of places
/// limits how many there are. What counts are the parts that a block's columns are put together to.
const BLOCK_COLUMNS: usize = 12;
const BLOCK_LINES: usize = 1 << 16;
/// Fewest trees of those: putting columns together takes as long as is gained with about as many.
const BLOCK_TREES: usize = 160;
/// Most places of lines.
const MAX_PLACES: usize = 1 << 20;
/// Most lines that columns of categories may be looked through for.
const MAX_LOOKS: usize = 1 << 16;

/// What is left of eight trees.
type Line = [u64; TREES];

/// An ensemble of small trees over few columns.
#[derive(Clone, Debug)]
pub struct Sieve {
    columns: Vec<Told>,
    /// The line of each group of trees, a multiple of [`SIDE`] groups a code.
    places: Vec<u16>,
    groups: usize,
    lines: Aligned<u64>,
    /// The first line of each group, but for the one that all share.
    first_lines: Vec<u32>,
    /// The leaves' places in the forest's leaves, [`LEAVES`] a tree from left to right.
    leaves: Vec<u32>,
    /// Their values instead, where each is one number and there is one output.
    values: Vec<f64>,
    /// The same in parts for blocks, where the CPU runs them and each leaf is one number.
    tables: Aligned<u8>,
    look: Look,
    /// Then also the places, code after code for each group.
    by_group: Vec<u16>,
}

/// What tells something: a code column, or two that differ in where missing values go.
#[derive(Clone, Copy, Debug)]
struct Told {
    /// The column whose code is read, the one where missing values go right.
    column: u16,
    /// Its first row of `places`, and the highest code that tells something.
    first: u32,
    last: u16,
    /// Whether the highest code is the missing value of two columns.
    twins: bool,
}

impl Told {
    /// The row of `places` of a code.
    #[inline(always)]
    fn row(&self, codes: &[u16]) -> usize {
        self.first as usize + usize::from(codes[usize::from(self.column)].min(self.last))
    }
}

/// What tells something, where each code column is among it, and how many codes tell something in all; `None` where some
/// column has too many.
fn told(coder: &Coder) -> Option<(Vec<Told>, Vec<u16>, usize)> {
    let (mut listed, mut places, mut rows) = (Vec::new(), Vec::with_capacity(coder.columns()), 0);
    while places.len() < coder.columns() {
        let (column, twins) = (places.len(), coder.are_twins(places.len()));
        let codes = match coder.reads(column) {
            Reads::Category { levels } => levels as usize + 2,
            Reads::Number { .. } => coder.thresholds(column).len() + 1 + usize::from(twins),
        };
        places.extend(iter::repeat_n(listed.len() as u16, 1 + usize::from(twins)));
        let (column, last) = ((column + usize::from(twins)) as u16, u16::try_from(codes - 1).ok()?);
        listed.push(Told { column, first: u32::try_from(rows).ok()?, last, twins });
        rows += codes;
    }
    Some((listed, places, rows))
}

/// An inner node while lines are made.
struct Inner {
    column: u16,
    threshold: u16,
    at: u32,
    lane: usize,
    /// All leaves but those below its left child.
    keeps: u64,
}

/// Lists a tree's inner nodes and leaves from left to right; `None` where there are too many leaves.
fn walk(forest: &Forest, root: u32, lane: usize, inner: &mut Vec<Inner>, leaves: &mut [u32]) -> Option<()> {
    // A right child is met when all leaves to the left of it are listed: then its parent knows what it strikes out.
    let mut open = vec![(root, None)];
    let mut count = 0;
    while let Some((at, parent)) = open.pop() {
        if let Some((index, first)) = parent {
            let below: u64 = (u64::MAX >> first) & !(u64::MAX.checked_shr(count as u32).unwrap_or(0));
            let node: &mut Inner = &mut inner[index];
            node.keeps = !below;
        }
        let node = forest.node(at as usize);
        if node.left == at {
            *leaves.get_mut(count)? = forest.parts().payload[at as usize];
            count += 1;
            continue;
        }
        open.extend([(node.left + 1, Some((inner.len(), count as u32))), (node.left, None)]);
        inner.push(Inner { column: node.column, threshold: node.threshold, at, lane, keeps: u64::MAX });
    }
    Some(())
}

impl Sieve {
    /// `None` where trees are too large, or columns or codes too many: sooner where `registers` could follow the trees.
    pub fn new(forest: &Forest, coder: &Coder, registers: bool) -> Option<Self> {
        let (columns, lines) = if registers { (FEW_COLUMNS, FEW_LINES) } else { (MAX_COLUMNS, MAX_LINES) };
        Self::within(forest, coder, columns, lines)
    }

    /// One for [`Sieve::block`]; `None` where that isn't the quickest, or the CPU doesn't run it.
    pub fn for_blocks(forest: &Forest, coder: &Coder) -> Option<Self> {
        if !block::runs() {
            return None;
        }
        Self::within(forest, coder, BLOCK_COLUMNS, BLOCK_LINES).filter(Self::runs_blocks)
    }

    /// Whether [`Sieve::block`] can be the quickest.
    pub fn runs_blocks(&self) -> bool {
        !self.tables.is_empty() && self.groups * TREES >= BLOCK_TREES
    }

    fn within(forest: &Forest, coder: &Coder, most_columns: usize, most_lines: usize) -> Option<Self> {
        let parts = forest.parts();
        let trees = forest.trees();
        let (listed, told, rows) = told(coder)?;
        let columns = listed.len();
        if trees == 0 || columns > most_columns || parts.roots.windows(2).any(|w| (w[1] - w[0]) as usize > 2 * LEAVES) {
            return None;
        }
        let groups = trees.div_ceil(TREES).next_multiple_of(SIDE);
        if rows.saturating_mul(groups) > MAX_PLACES {
            return None;
        }
        let mut out = Self {
            columns: listed,
            places: vec![0; rows * groups],
            groups,
            lines: Aligned::default(),
            first_lines: Vec::with_capacity(groups),
            leaves: vec![0; groups * TREES * LEAVES],
            values: Vec::new(),
            tables: Aligned::default(),
            look: Look::here(),
            by_group: Vec::new(),
        };
        // The line of which nothing was struck out is the first one.
        let mut lines = vec![[u64::MAX; TREES]];
        let (mut inner, mut looks) = (Vec::new(), 0);
        for (group, roots) in parts.roots[..trees].chunks(TREES).enumerate() {
            inner.clear();
            out.first_lines.push(lines.len() as u32);
            for (lane, &root) in roots.iter().enumerate() {
                let leaves = &mut out.leaves[(group * TREES + lane) * LEAVES..][..LEAVES];
                walk(forest, root, lane, &mut inner, leaves)?;
            }
            let of = |node: &Inner| told[usize::from(node.column & !CATEGORY)];
            inner.sort_unstable_by_key(|node| (of(node), node.threshold));
            let mut rest = &inner[..];
            for column in 0..columns {
                let count = rest.partition_point(|node| usize::from(of(node)) == column);
                let of_column;
                (of_column, rest) = rest.split_at(count);
                if let Reads::Category { levels } = coder.reads(usize::from(out.columns[column].column)) {
                    looks += (levels as usize + 2) * of_column.len();
                    if looks > MAX_LOOKS {
                        return None;
                    }
                }
                out.fill(forest, column, group, of_column, &mut lines);
                // As few as the nodes of eight trees or a column's codes: numbers of 16 bits hold them until here.
                if lines.len() > most_lines {
                    return None;
                }
            }
        }
        out.lines = Aligned::of(lines.as_flattened());
        if !parts.narrow && !parts.targets.contains(&VECTOR) {
            let value = |&leaf: &u32| parts.leaves.get(leaf as usize).copied().unwrap_or(0.0);
            let values: Vec<f64> = out.leaves.iter().map(value).collect();
            if block::runs() && columns > 0 {
                out.tables = out.look.tables(&values);
                let of_group = |group: usize| out.places.chunks_exact(groups).map(move |of_code| of_code[group]);
                out.by_group = (0..groups).flat_map(of_group).collect();
            }
            if parts.outputs == 1 {
                (out.values, out.leaves) = (values, Vec::new());
            }
        }
        Some(out)
    }

    /// The lines of a group; none where there is no such group.
    fn lines_of(&self, group: usize) -> &[Line] {
        let lines = self.lines.as_chunks().0;
        let first = |group: usize| self.first_lines.get(group).map_or(lines.len(), |&first| first as usize);
        &lines[first(group)..first(group + 1)]
    }

    /// Makes the lines of a column for a group of trees, whose nodes come by threshold.
    fn fill(&mut self, forest: &Forest, column: usize, group: usize, nodes: &[Inner], lines: &mut Vec<Line>) {
        let Told { column: of_right, first, last, twins } = self.columns[column];
        let mut put = |code: u16, line: usize| {
            self.places[(first as usize + usize::from(code)) * self.groups + group] = line as u16;
        };
        let mut push = |line: Line| {
            lines.push(line);
            lines.len() - 1
        };
        let mut line = [u64::MAX; TREES];
        if let (Some(levels), true) = (&forest.levels, nodes.first().is_some_and(|n| n.column & CATEGORY != 0)) {
            let mut known = BTreeMap::from([(line, 0)]);
            for code in 0..=last {
                line = [u64::MAX; TREES];
                for node in nodes.iter().filter(|n| levels.right(n.column, n.at as usize, code)) {
                    line[node.lane] &= node.keeps;
                }
                let place = match known.get(&line) {
                    Some(&place) => place,
                    None => push(line),
                };
                known.insert(line, place);
                put(code, place);
            }
            return;
        }
        let (mut next, mut place) = (0, 0);
        for code in 0..=last - u16::from(twins) {
            let before = next;
            while let Some(node) = nodes.get(next).filter(|n| n.threshold < code) {
                line[node.lane] &= node.keeps;
                next += 1;
            }
            if next > before {
                place = push(line);
            }
            put(code, place);
        }
        if twins {
            line = [u64::MAX; TREES];
            nodes.iter().filter(|n| n.column == of_right).for_each(|n| line[n.lane] &= n.keeps);
            put(last, if line == [u64::MAX; TREES] { 0 } else { push(line) });
        }
    }

    /// Adds all trees to a row's sums.
    ///
    /// Shapes: `codes` of the coder that the ensemble was laid out with; `found` a place a tree; `out[k * stride]` is
    /// output `k`.
    pub fn row(&self, forest: &Forest, codes: &[u16], found: &mut [u32], out: &mut [f64], stride: usize) {
        let mut starts = [0; MAX_COLUMNS];
        for (start, told) in starts.iter_mut().zip(&self.columns) {
            *start = told.row(codes) * self.groups;
        }
        let starts = &starts[..self.columns.len()];
        #[cfg(target_arch = "x86_64")]
        if cpu::level() == cpu::Level::Avx512 && cpu::counts_zeros() {
            #[expect(unsafe_code, reason = "instructions beyond the target's base")]
            // SAFETY: the CPU has AVX-512 with its CD part.
            unsafe {
                self.row_avx512(forest, starts, found, out, stride);
            }
            return;
        }
        #[cfg(target_arch = "x86_64")]
        if cpu::level() >= cpu::Level::Avx2 && cpu::counts_words() {
            #[expect(unsafe_code, reason = "instructions beyond the target's base")]
            // SAFETY: the CPU has AVX2 and LZCNT.
            unsafe {
                self.row_avx2(forest, starts, found, out, stride);
            }
            return;
        }
        #[cfg(target_arch = "aarch64")]
        if cpu::level() == cpu::Level::Neon {
            #[expect(unsafe_code, reason = "instructions of a level")]
            // SAFETY: the level was found on this CPU.
            unsafe {
                self.row_neon(forest, starts, found, out, stride);
            }
            return;
        }
        self.row_of(|side| self.left(starts, side), u64::leading_zeros, forest, found, out, stride);
    }

    /// Adds up what `left` tells of each side of groups: of each tree what `number` makes the number of its leaf of.
    #[inline(always)]
    fn row_of<T: Copy>(
        &self,
        left: impl Fn(usize) -> [[T; TREES]; SIDE],
        number: impl Fn(T) -> u32,
        forest: &Forest,
        found: &mut [u32],
        out: &mut [f64],
        stride: usize,
    ) {
        const WIDTH: usize = SIDE * TREES;
        if self.values.is_empty() {
            let leaves = self.leaves.chunks_exact(WIDTH * LEAVES);
            for ((side, leaves), found) in leaves.enumerate().zip(found[..forest.trees()].chunks_mut(WIDTH)) {
                let left = left(side * SIDE);
                for ((found, leaves), &leaf) in
                    found.iter_mut().zip(leaves.chunks_exact(LEAVES)).zip(left.as_flattened())
                {
                    *found = leaves[number(leaf) as usize % LEAVES];
                }
            }
            forest.add_up(found, out, stride);
            return;
        }
        let mut sum = out[0];
        let mut sides = self.values.chunks_exact(WIDTH * LEAVES);
        let rest = forest.trees() % WIDTH;
        let last = if rest > 0 { sides.next_back() } else { None };
        let mut at = 0;
        for values in sides {
            let left = left(at);
            for (values, &leaf) in values.chunks_exact(LEAVES).zip(left.as_flattened()) {
                sum += values[number(leaf) as usize % LEAVES];
            }
            at += SIDE;
        }
        if let Some(values) = last {
            let left = left(at);
            for (values, &leaf) in values.chunks_exact(LEAVES).zip(left.as_flattened()).take(rest) {
                sum += values[number(leaf) as usize % LEAVES];
            }
        }
        out[0] = sum;
    }

    /// The leaves that are left in each tree of some groups.
    #[inline(always)]
    fn left(&self, starts: &[usize], side: usize) -> [Line; SIDE] {
        let lines = self.lines.as_chunks::<TREES>().0;
        let mut all = [[u64::MAX; TREES]; SIDE];
        for start in starts {
            for (all, &place) in all.iter_mut().zip(&self.places[start + side..][..SIDE]) {
                all.iter_mut().zip(&lines[usize::from(place)]).for_each(|(a, l)| *a &= l);
            }
        }
        all
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx2,lzcnt")]
    #[expect(unsafe_code, reason = "the innermost loop; the constructor made the places")]
    fn row_avx2(&self, forest: &Forest, starts: &[usize], found: &mut [u32], out: &mut [f64], stride: usize) {
        use core::arch::x86_64::*;
        let left = |side: usize| {
            let mut all = [[_mm256_set1_epi64x(-1); 2]; SIDE];
            for start in starts {
                for (i, all) in all.iter_mut().enumerate() {
                    // SAFETY: there are `groups` places, a multiple of SIDE, from each start on, and each is a line.
                    unsafe {
                        // Volatile: see `row_avx512`.
                        let place = self.places.as_ptr().add(start + side + i).read_volatile();
                        let line = self.lines.as_ptr().add(usize::from(place) * TREES);
                        all[0] = _mm256_and_si256(all[0], _mm256_load_si256(line.cast()));
                        all[1] = _mm256_and_si256(all[1], _mm256_load_si256(line.add(TREES / 2).cast()));
                    }
                }
            }
            let mut lines = [[0; TREES]; SIDE];
            for (line, all) in lines.iter_mut().zip(all) {
                // SAFETY: a line is two registers.
                unsafe {
                    _mm256_storeu_si256(line.as_mut_ptr().cast(), all[0]);
                    _mm256_storeu_si256(line.as_mut_ptr().add(TREES / 2).cast(), all[1]);
                }
            }
            lines
        };
        self.row_of(left, u64::leading_zeros, forest, found, out, stride);
    }

    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512cd")]
    #[expect(unsafe_code, reason = "the innermost loop; the constructor made the places")]
    fn row_avx512(&self, forest: &Forest, starts: &[usize], found: &mut [u32], out: &mut [f64], stride: usize) {
        use core::arch::x86_64::*;
        let left = |side: usize| {
            let mut all = [_mm512_set1_epi64(-1); SIDE];
            for start in starts {
                for (i, all) in all.iter_mut().enumerate() {
                    // SAFETY: there are `groups` places, a multiple of SIDE, from each start on, and each is a line.
                    *all = unsafe {
                        // Volatile: put together and taken apart again, they would wait for the one port that does so.
                        let place = self.places.as_ptr().add(start + side + i).read_volatile();
                        let line = self.lines.as_ptr().add(usize::from(place) * TREES);
                        _mm512_and_si512(*all, _mm512_load_si512(line.cast()))
                    };
                }
            }
            all.map(|all| {
                let mut word = _mm_cvtsi128_si64(_mm512_cvtepi64_epi8(_mm512_lzcnt_epi64(all)));
                // SAFETY: no instruction at all. Without it the compiler takes each byte from the vector register again,
                // all through one port, which takes longer than all else here.
                unsafe {
                    core::arch::asm!("/* {0} */", inout(reg) word, options(pure, nomem, nostack, preserves_flags))
                };
                word.to_le_bytes()
            })
        };
        self.row_of(left, u32::from, forest, found, out, stride);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Column;
    use super::super::samples::{ensemble, numbers};
    use super::*;

    #[test]
    fn leaves_are_those_of_a_walk_on_every_way() {
        let below = numbers(7);
        // Whole sides of groups, whole groups, and what is left over.
        for trees in [1, 7, 8, 32, 64, 131] {
            let (forest, coder) = ensemble(trees, &below);
            let sieve = Sieve::new(&forest, &coder, true).expect("small trees over few columns");
            assert_eq!(sieve.columns.len(), 3, "two of four columns are told as one");
            let mut places = sieve.clone();
            (places.leaves, places.values) = (walked_leaves(&forest), Vec::new());
            for _ in 0..300 {
                let mut row = [below(42) as f64 - 1.0, below(5) as f64 - 1.0, below(12) as f64 - 1.0];
                if below(4) == 0 {
                    row[below(3) as usize] = f64::NAN;
                }
                let mut codes = [0; 4];
                coder.row(cpu::Level::Plain, &row, &mut codes);
                let mut want = vec![0; trees];
                forest.walk_row(&codes, &mut want);
                let (mut walked, mut summed, mut plain) = ([0.1], [0.1], [0.1]);
                forest.add_up(&want, &mut walked, 1);
                sieve.row(&forest, &codes, &mut [], &mut summed, 1);
                let starts: Vec<usize> = sieve.columns.iter().map(|told| told.row(&codes) * sieve.groups).collect();
                sieve.row_of(|side| sieve.left(&starts, side), u64::leading_zeros, &forest, &mut [], &mut plain, 1);
                let mut found = vec![0; trees];
                let mut of_places = [0.1];
                places.row(&forest, &codes, &mut found, &mut of_places, 1);
                assert_eq!(found, want, "{row:?}");
                #[cfg(target_arch = "x86_64")]
                if cpu::available() >= cpu::Level::Avx2 && cpu::counts_words() {
                    let (mut summed, mut of_places) = ([0.1], [0.1]);
                    found.fill(0);
                    #[expect(unsafe_code, reason = "instructions beyond the target's base")]
                    // SAFETY: the CPU has AVX2 and LZCNT.
                    unsafe {
                        sieve.row_avx2(&forest, &starts, &mut [], &mut summed, 1);
                        places.row_avx2(&forest, &starts, &mut found, &mut of_places, 1);
                    }
                    assert_eq!(found, want, "{row:?}");
                    assert_eq!([summed, of_places].map(|x| x[0].to_bits()), [walked[0].to_bits(); 2], "{row:?}");
                }
                assert_eq!([summed, plain, of_places].map(|x| x[0].to_bits()), [walked[0].to_bits(); 3], "{row:?}");
            }
        }
    }

    /// Blocks of all sizes, of rows that are alike in all columns but few, in few of them, or not at all, with one output
    /// and with several.
    #[test]
    fn blocks_have_the_bits_of_a_walk() {
        let below = numbers(11);
        for (trees, outputs) in [(1, 1), (7, 3), (8, 1), (32, 2), (67, 1)] {
            let (forest, coder) = ensemble(trees, &below);
            let mut parts = forest.parts().clone();
            parts.outputs = outputs;
            parts.targets.iter_mut().for_each(|target| *target = below(u64::from(outputs)) as u32);
            let (forest, outputs) = (Forest::new(parts, &coder).unwrap(), outputs as usize);
            let sieve =
                Sieve::within(&forest, &coder, BLOCK_COLUMNS, BLOCK_LINES).expect("small trees over few columns");
            assert_eq!(sieve.tables.is_empty(), !block::runs());
            if !block::runs() {
                return;
            }
            let places = walked_leaves(&forest);
            let values: Vec<f64> = places.iter().map(|&leaf| forest.parts().leaves[leaf as usize]).collect();
            let looks = [Look::Words, Look::Bytes].into_iter().take(1 + usize::from(cpu::vbmi()));
            let ways = looks.map(|look| Sieve { look, tables: look.tables(&values), ..sieve.clone() });
            let ways: Vec<Sieve> = ways.collect();
            let mut scratch = SieveScratch::default();
            for (rows, spread) in [(1, 40), (63, 40), (64, 1), (65, 2), (200, 3), (1500, 5), (1500, 40)] {
                let highest = [below(spread), below(spread), below(4), below(11)];
                let mut codes = vec![0; 4 * rows];
                for (codes, &highest) in codes.chunks_exact_mut(rows).zip(&highest) {
                    codes.iter_mut().for_each(|code| *code = below(highest + 1) as u16);
                }
                codes[rows..2 * rows]
                    .iter_mut()
                    .filter(|code| **code == 3)
                    .for_each(|code| *code = super::super::MISSING);
                // The first two columns are twins.
                let (left, right) = codes[..2 * rows].split_at_mut(rows);
                left.iter_mut().zip(right).for_each(|(left, &mut right)| {
                    *left = if right == super::super::MISSING { 0 } else { right };
                });
                let stride = rows + 3;
                // Sums that begin alike, as those of rows of a table do, and others.
                let begin = |i: usize| if (i % stride).is_multiple_of(3) { i as f64 / 7.0 - 0.3 } else { 0.7 };
                let before: Vec<f64> = (0..outputs * stride).map(begin).collect();
                let mut want = before.clone();
                for row in 0..rows {
                    let of_row: Vec<u16> = codes.iter().skip(row).step_by(rows).copied().collect();
                    let mut found = vec![0; trees];
                    forest.walk_row(&of_row, &mut found);
                    forest.add_up(&found, &mut want[row..], stride);
                }
                let bits = |values: &[f64]| values.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
                for sieve in &ways {
                    let mut got = before.clone();
                    let done = sieve.block(&forest, &codes, rows, &mut scratch, &mut got, stride);
                    assert!(done, "few columns are at most three parts");
                    assert_eq!(
                        bits(&got),
                        bits(&want),
                        "{trees} trees, {outputs} outputs, {rows} rows, codes to {highest:?}, by {:?}",
                        sieve.look
                    );
                }
            }
        }
    }

    /// The leaves of each tree from left to right, as the ways that tell leaves keep them.
    fn walked_leaves(forest: &Forest) -> Vec<u32> {
        let groups = forest.trees().div_ceil(TREES).next_multiple_of(SIDE);
        let mut out = vec![0; groups * TREES * LEAVES];
        for (&root, leaves) in forest.parts().roots.iter().zip(out.chunks_exact_mut(LEAVES)).take(forest.trees()) {
            walk(forest, root, 0, &mut Vec::new(), leaves).expect("as many leaves as a word has bits");
        }
        out
    }

    #[test]
    fn many_columns_and_large_trees_are_left_to_others() {
        let below = |limit: u64| limit / 2;
        let (forest, _) = ensemble(3, below);
        let columns: Vec<Column> = (0..=FEW_COLUMNS)
            .map(|_| Column { feature: 0, reads: Reads::Category { levels: 2 }, start: 2, end: 2 })
            .collect();
        let wide = Coder::new(1, &columns, &[], false, 0.0).unwrap();
        assert!(Sieve::new(&forest, &wide, true).is_none());
    }
}
