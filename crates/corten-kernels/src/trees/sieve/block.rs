//! Many rows against the lines of a sieve: needs AVX-512 with CD.
//!
//! Eight trees after the other, so that their lines stay in the first-level cache. Columns of which few combinations of
//! codes come in a block are taken as one: the lines of each combination are put together once, and a row reads one line
//! where it would read several. Rows come in the order of one part, whose lines are then read one after the other. Eight
//! rows' counts of zeros are shifted into one register and eight of those turned round, which gives the leaf of 64 rows in
//! each tree as bytes. Their values are looked up 16 bits at a time, as registers look up 64 of those at once, and added to
//! sums that stay in registers for all eight trees.

use alloc::vec;
use alloc::vec::Vec;

use super::{LEAVES, Sieve, TREES, Told};
use crate::aligned::Aligned;
use crate::cpu;
use crate::trees::Forest;
use crate::trees::planes::place;

/// Rows whose leaves a register holds.
const ROWS: usize = 64;
/// Bytes of a tree's values: see [`Look`].
const TABLE: usize = 8 * LEAVES;
/// Words of a line, which places in `index` are multiples of: 16 bits should hold them.
const MOST_LINES: usize = (1 << 16) / TREES - 1;
/// Most parts that columns are put together to.
const MOST_PARTS: usize = 8;
/// Rows that are looked at first, and the codes among them from which a column hardly goes together with others.
const LOOK: usize = 512;
const MANY_CODES: usize = 128;
/// Most combinations of a part of several columns, so that their lines stay in the first-level cache; and rows for each, so
/// that putting lines together is little beside reading them.
const COMBINED: usize = 512;
const ROWS_A_LINE: usize = 8;
/// No combination.
const NONE: u16 = u16::MAX;

/// Columns that are taken as one in a block.
#[derive(Clone, Debug, Default)]
struct Part {
    /// Number of columns.
    columns: usize,
    /// A row of `places` for each column of each combination.
    rows: Vec<u32>,
    /// Each row's combination.
    of_row: Vec<u16>,
}

/// How many codes there are; `known` is none but at theirs.
fn distinct(last: u16, codes: &[u16], known: &mut Vec<u16>) -> usize {
    known.clear();
    known.resize(usize::from(last) + 1, NONE);
    codes.iter().for_each(|&code| known[usize::from(code.min(last))] = 0);
    known.iter().filter(|place| **place != NONE).count()
}

impl Part {
    fn combinations(&self) -> usize {
        self.rows.len() / self.columns
    }

    /// The codes of one column, the combinations in their order, so that their lines are read in theirs.
    fn single(first: u32, last: u16, codes: &[u16], known: &mut Vec<u16>) -> Self {
        let mut rows = Vec::with_capacity(distinct(last, codes, known));
        for (row, place) in (first..).zip(known.iter_mut()).filter(|(_, place)| **place != NONE) {
            *place = rows.len() as u16;
            rows.push(row);
        }
        let of_row = codes.iter().map(|&code| known[usize::from(code.min(last))]).collect();
        Self { columns: 1, rows, of_row }
    }

    /// Takes two as one, where their combinations are at most `most`.
    fn with(&self, other: &Self, most: usize, known: &mut Vec<u16>) -> Option<Self> {
        let (ours, theirs) = (self.combinations(), other.combinations());
        if ours * theirs > 1 << 16 {
            return None;
        }
        known.clear();
        known.resize(ours * theirs, NONE);
        let mut out = Self { columns: self.columns + other.columns, rows: Vec::new(), of_row: self.of_row.clone() };
        let mut count = 0;
        for (to, &b) in out.of_row.iter_mut().zip(&other.of_row) {
            let a = usize::from(*to);
            let place = &mut known[a * theirs + usize::from(b)];
            if *place == NONE {
                if usize::from(count) == most {
                    return None;
                }
                *place = count;
                count += 1;
                out.rows.extend_from_slice(&self.rows[a * self.columns..][..self.columns]);
                out.rows.extend_from_slice(&other.rows[usize::from(b) * other.columns..][..other.columns]);
            }
            *to = *place;
        }
        Some(out)
    }
}

/// Most parts with which lines are quicker than a bit a row. Measured on Zen 4, in ns a row and tree: a bit a row takes 2 for
/// 64 rows, 0.7 for 256 and 0.5 for more; many rows take 0.15 and 0.05 for each part, few rows twice that and more, as lines
/// are put together for each block.
fn most_parts(rows: usize) -> usize {
    match rows {
        0..128 => MOST_PARTS,
        128..512 => 3,
        512..4096 => 4,
        _ => 6,
    }
}

/// Memory of a block.
#[derive(Clone, Debug, Default)]
pub struct SieveScratch {
    parts: Vec<Part>,
    known: Vec<u16>,
    /// The rows in the order in which they are added up: by their line of the part that has most.
    order: Vec<u32>,
    /// The line of each part for each row in this order, in words: 64 rows of a part, the same rows of the next one, and so
    /// on.
    index: Vec<u16>,
    /// The lines of eight trees, part after part.
    lines: Aligned<u64>,
    /// The sums of the rows in their order, output after output.
    sums: Vec<f64>,
}

/// How values are looked up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Look {
    /// 16 bits at a time: the lowest 16 bits of all values come first, then the next, and so on.
    #[default]
    Words,
    /// A byte at a time, which needs VBMI. That is twice as many look-ups in half as many registers: quicker where words in
    /// two registers are looked up by several instructions.
    Bytes,
}

impl Look {
    /// The quickest on this CPU.
    pub(super) fn here() -> Self {
        if cpu::vbmi() && cpu::splits_words() { Self::Bytes } else { Self::Words }
    }

    /// Where each row of 64 lies among the leaves that are looked up together, so that its value comes out at its own place.
    fn positions(self) -> &'static [u8; ROWS] {
        const WORDS: [u8; ROWS] = {
            let mut out = [0; ROWS];
            let mut row = 0;
            while row < ROWS {
                let (half, quarter, lane, odd) = (row >> 5, row >> 3 & 3, row >> 1 & 3, row & 1);
                out[row] = (lane << 4 | quarter << 2 | odd << 1 | half) as u8;
                row += 1;
            }
            out
        };
        const BYTES: [u8; ROWS] = {
            let mut out = [0; ROWS];
            let mut at = 0;
            while at < ROWS {
                out[place(at)] = at as u8;
                at += 1;
            }
            out
        };
        match self {
            Self::Words => &WORDS,
            Self::Bytes => &BYTES,
        }
    }

    /// The values in the order in which they are looked up: [`TABLE`] bytes a tree.
    pub(super) fn tables(self, values: &[f64]) -> Aligned<u8> {
        let mut out = Aligned::zeroed(values.len() * 8);
        let width = if self == Self::Words { 2 } else { 1 };
        for (values, table) in values.chunks_exact(LEAVES).zip(out.chunks_exact_mut(TABLE)) {
            for (leaf, value) in values.iter().enumerate() {
                let bytes = value.to_le_bytes();
                let parts = table.chunks_exact_mut(LEAVES * width).zip(bytes.chunks_exact(width));
                parts.for_each(|(all, part)| all[leaf * width..][..width].copy_from_slice(part));
            }
        }
        out
    }
}

/// Whether the CPU runs blocks.
pub(super) fn runs() -> bool {
    cpu::level() == cpu::Level::Avx512 && cpu::counts_zeros()
}

impl SieveScratch {
    /// Cuts the columns of a block into parts and tells each row's line of each part; the number of lines, `None` where they
    /// are too many.
    fn cut(&mut self, sieve: &Sieve, codes: &[u16], rows: usize) -> Option<usize> {
        let Self { parts, known, order, index, .. } = self;
        let most_parts = most_parts(rows);
        let of = |told: &Told| &codes[usize::from(told.column) * rows..][..rows];
        let counts = sieve.columns.iter().map(|told| distinct(told.last, &of(told)[..rows.min(LOOK)], known));
        if counts.filter(|count| *count > MANY_CODES).count() > most_parts {
            return None;
        }
        let columns = sieve.columns.iter();
        let mut single: Vec<Part> = columns.map(|told| Part::single(told.first, told.last, of(told), known)).collect();
        // Those of few codes first: more of them go together.
        single.sort_by_key(Part::combinations);
        let most = (rows / ROWS_A_LINE).min(COMBINED);
        parts.clear();
        for part in single {
            match parts.last_mut().and_then(|last: &mut Part| last.with(&part, most, known).map(|both| (last, both))) {
                Some((last, both)) => *last = both,
                None => parts.push(part),
            }
        }
        let lines = parts.iter().map(Part::combinations).sum();
        if parts.len() > most_parts || lines > MOST_LINES {
            return None;
        }
        let longest = parts.iter().max_by_key(|part| part.combinations())?;
        let mut next = vec![0; longest.combinations() + 1];
        longest.of_row.iter().for_each(|&of_row| next[usize::from(of_row) + 1] += 1);
        (1..next.len()).for_each(|i| next[i] += next[i - 1]);
        order.clear();
        order.resize(rows, 0);
        for (row, &of_row) in (0u32..).zip(&longest.of_row) {
            let next = &mut next[usize::from(of_row)];
            order[*next] = row;
            *next += 1;
        }
        index.clear();
        index.resize(rows.next_multiple_of(ROWS) * parts.len(), 0);
        let mut first = 0;
        for (at, part) in parts.iter().enumerate() {
            let blocks = index.chunks_exact_mut(ROWS * parts.len()).map(|all| &mut all[at * ROWS..][..ROWS]);
            for (to, rows) in blocks.zip(order.chunks(ROWS)) {
                to.fill((first * TREES) as u16);
                for (&position, &row) in sieve.look.positions().iter().zip(rows) {
                    to[usize::from(position)] = ((first + usize::from(part.of_row[row as usize])) * TREES) as u16;
                }
            }
            first += part.combinations();
        }
        Some(lines)
    }
}

impl Sieve {
    /// Adds all trees to the sums of a block of rows; `false`, and nothing is done, where others are quicker.
    ///
    /// Shapes: `codes[c * rows + r]` is row `r`'s code of column `c`; `out[k * stride + r]` its output `k`.
    pub fn block(
        &self,
        forest: &Forest,
        codes: &[u16],
        rows: usize,
        scratch: &mut SieveScratch,
        out: &mut [f64],
        stride: usize,
    ) -> bool {
        if self.tables.is_empty() {
            return false;
        }
        let Some(lines) = scratch.cut(self, codes, rows) else { return false };
        scratch.lines.resize(lines * TREES);
        let (outputs, places) = (forest.parts().outputs as usize, rows.next_multiple_of(ROWS));
        let SieveScratch { parts, order, index, lines, sums, .. } = scratch;
        sums.clear();
        sums.resize(outputs * places, 0.0);
        for (sums, out) in sums.chunks_exact_mut(places).zip(out.chunks(stride)) {
            sums.iter_mut().zip(&*order).for_each(|(sum, &row)| *sum = out[row as usize]);
        }
        for (group, targets) in forest.parts().targets.chunks(TREES).enumerate() {
            #[cfg(target_arch = "x86_64")]
            {
                #[expect(unsafe_code, reason = "instructions beyond the target's base")]
                // SAFETY: there are tables because runs() found AVX-512 with CD on this CPU, and Look::here() VBMI where
                // bytes are looked up.
                unsafe {
                    x86::group(self, group, targets, parts, lines, index, sums, places);
                }
            }
            #[cfg(not(target_arch = "x86_64"))]
            let _ = (group, targets, &mut *lines, &*index, &*parts);
        }
        for (sums, out) in sums.chunks_exact(places).zip(out.chunks_mut(stride)) {
            sums.iter().zip(&*order).for_each(|(&sum, &row)| out[row as usize] = sum);
        }
        true
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::x86_64::*;

    use super::super::super::planes::{turn, values};
    use super::{LEAVES, Look, MOST_PARTS, Part, ROWS, Sieve, TABLE, TREES};

    /// The lines of a group of trees for all combinations of the parts.
    #[target_feature(enable = "avx512f")]
    #[expect(unsafe_code, reason = "loads and stores of registers")]
    fn put_together(sieve: &Sieve, group: usize, parts: &[Part], out: &mut [[u64; TREES]]) {
        let lines = sieve.lines.as_chunks::<TREES>().0;
        let count = sieve.by_group.len() / sieve.groups;
        let places = &sieve.by_group[group * count..][..count];
        let line = |row: u32| {
            let line: &[u64; TREES] = &lines[usize::from(places[row as usize])];
            // SAFETY: a register's bytes lie there.
            unsafe { _mm512_loadu_si512(line.as_ptr().cast()) }
        };
        let mut out = out.iter_mut();
        for part in parts {
            for (rows, out) in part.rows.chunks_exact(part.columns).zip(&mut out) {
                let all = rows[1..].iter().fold(line(rows[0]), |all, &row| _mm512_and_si512(all, line(row)));
                // SAFETY: a register's bytes lie there.
                unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), all) }
            }
        }
    }

    /// Adds the leaves of a group of trees to the sums of rows: see [`add`].
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512cd")]
    pub(super) fn group(
        sieve: &Sieve,
        group: usize,
        targets: &[u32],
        parts: &[Part],
        lines: &mut [u64],
        index: &[u16],
        out: &mut [f64],
        stride: usize,
    ) {
        put_together(sieve, group, parts, lines.as_chunks_mut().0);
        let tables = &sieve.tables[group * TREES * TABLE..][..TREES * TABLE];
        match sieve.look {
            Look::Words => add_words(parts.len(), lines, index, tables, targets, out, stride),
            #[expect(unsafe_code, reason = "instructions beyond those of other ways")]
            // SAFETY: Look::here() found VBMI on this CPU.
            Look::Bytes => unsafe { add_bytes(parts.len(), lines, index, tables, targets, out, stride) },
        }
    }

    /// The numbers of the leaves that are left of 64 rows in each of eight trees.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512cd")]
    #[expect(unsafe_code, reason = "places that were made for these lines")]
    fn left<const P: usize>(lines: &[u64], index: &[u16]) -> [__m512i; TREES] {
        let row = |row: usize| {
            let line = |part: usize| {
                // SAFETY: the places are multiples of a line's words below their count.
                unsafe { _mm512_load_si512(lines.as_ptr().add(usize::from(index[part * ROWS + row])).cast()) }
            };
            let mut all = line(0);
            for part in 1..P {
                all = _mm512_and_si512(all, line(part));
            }
            _mm512_lzcnt_epi64(all)
        };
        let eight = |first: usize| {
            let pair = |a, b| _mm512_or_si512(a, b);
            let low = pair(row(first), _mm512_slli_epi64::<8>(row(first + 1)));
            let low = pair(low, _mm512_slli_epi64::<16>(row(first + 2)));
            let low = pair(low, _mm512_slli_epi64::<24>(row(first + 3)));
            let high = pair(_mm512_slli_epi64::<32>(row(first + 4)), _mm512_slli_epi64::<40>(row(first + 5)));
            let high = pair(high, _mm512_slli_epi64::<48>(row(first + 6)));
            let high = pair(high, _mm512_slli_epi64::<56>(row(first + 7)));
            pair(low, high)
        };
        let mut numbers = [_mm512_setzero_si512(); TREES];
        for (i, numbers) in numbers.iter_mut().enumerate() {
            *numbers = eight(i * 8);
        }
        turn(numbers)
    }

    /// The values of 64 rows' leaves, by words.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn look_up_words(numbers: __m512i, table: [__m512i; 8]) -> [__m512d; 8] {
        let rows = [numbers, _mm512_srli_epi16::<8>(numbers)];
        let mut out = [_mm512_setzero_pd(); 8];
        for (out, rows) in out.as_chunks_mut::<4>().0.iter_mut().zip(rows) {
            let look = |quarter: usize| _mm512_permutex2var_epi16(table[2 * quarter], rows, table[2 * quarter + 1]);
            let [a, b, c, d] = [look(0), look(1), look(2), look(3)];
            let (low, high) = (
                [_mm512_unpacklo_epi16(a, b), _mm512_unpackhi_epi16(a, b)],
                [_mm512_unpacklo_epi16(c, d), _mm512_unpackhi_epi16(c, d)],
            );
            for i in 0..2 {
                out[i * 2] = _mm512_castsi512_pd(_mm512_unpacklo_epi32(low[i], high[i]));
                out[i * 2 + 1] = _mm512_castsi512_pd(_mm512_unpackhi_epi32(low[i], high[i]));
            }
        }
        out
    }

    /// Compiles one body for each way to look values up.
    macro_rules! adds {
        ($name:ident, $add:ident, $features:literal, $look_up:ident) => {
            /// Adds the leaves of up to eight trees to the sums of rows.
            ///
            /// Shapes: `index` has 64 places a part, and so for each 64 rows; `tables` are those of the trees, `targets`
            /// their outputs; `out[k * stride + r]` is output `k` of row `r`.
            #[target_feature(enable = $features)]
            fn $name(
                parts: usize,
                lines: &[u64],
                index: &[u16],
                tables: &[u8],
                targets: &[u32],
                out: &mut [f64],
                stride: usize,
            ) {
                match parts {
                    1 => $add::<1>(lines, index, tables, targets, out, stride),
                    2 => $add::<2>(lines, index, tables, targets, out, stride),
                    3 => $add::<3>(lines, index, tables, targets, out, stride),
                    4 => $add::<4>(lines, index, tables, targets, out, stride),
                    5 => $add::<5>(lines, index, tables, targets, out, stride),
                    6 => $add::<6>(lines, index, tables, targets, out, stride),
                    7 => $add::<7>(lines, index, tables, targets, out, stride),
                    _ => $add::<MOST_PARTS>(lines, index, tables, targets, out, stride),
                }
            }

            /// The same of `P` parts.
            #[target_feature(enable = $features)]
            #[expect(unsafe_code, reason = "loads of registers")]
            fn $add<const P: usize>(
                lines: &[u64],
                index: &[u16],
                tables: &[u8],
                targets: &[u32],
                out: &mut [f64],
                stride: usize,
            ) {
                debug_assert!(index.iter().all(|&at| usize::from(at) + TREES <= lines.len()), "places of lines");
                for (block, index) in index.chunks_exact(P * ROWS).enumerate() {
                    let numbers = left::<P>(lines, index);
                    let mut of = targets[0] as usize * stride + block * ROWS;
                    let mut sums = load(&out[of..]);
                    for ((&target, &numbers), table) in targets.iter().zip(&numbers).zip(tables.chunks_exact(TABLE)) {
                        let to = target as usize * stride + block * ROWS;
                        if to != of {
                            store(&sums, &mut out[of..]);
                            of = to;
                            sums = load(&out[of..]);
                        }
                        // SAFETY: a table has as many bytes.
                        let eighth = |i: usize| unsafe { _mm512_loadu_si512(table.as_ptr().add(i * LEAVES).cast()) };
                        let table = [0, 1, 2, 3, 4, 5, 6, 7].map(eighth);
                        for (sum, value) in sums.iter_mut().zip($look_up(numbers, table)) {
                            *sum = _mm512_add_pd(*sum, value);
                        }
                    }
                    store(&sums, &mut out[of..]);
                }
            }
        };
    }

    adds!(add_words, add_words_of, "avx512f,avx512bw,avx512dq,avx512vl,avx512cd", look_up_words);
    adds!(add_bytes, add_bytes_of, "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx512vbmi", values);

    #[inline]
    #[target_feature(enable = "avx512f")]
    #[expect(unsafe_code, reason = "loads of registers")]
    fn load(from: &[f64]) -> [__m512d; 8] {
        let from = &from[..ROWS];
        // SAFETY: as many numbers lie there.
        core::array::from_fn(|i| unsafe { _mm512_loadu_pd(from.as_ptr().add(i * 8)) })
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    #[expect(unsafe_code, reason = "stores of registers")]
    fn store(sums: &[__m512d; 8], to: &mut [f64]) {
        let to = &mut to[..ROWS];
        for (i, sum) in sums.iter().enumerate() {
            // SAFETY: as many numbers lie there.
            unsafe { _mm512_storeu_pd(to.as_mut_ptr().add(i * 8), *sum) }
        }
    }
}
