//! Many rows against the lines of a sieve: needs AVX-512 with CD.
//!
//! Eight trees after the other, so that their lines stay in the first-level cache. Columns of which few combinations of
//! codes come in a block are taken as one: the lines of each combination are put together once, and a row reads one line
//! where it would read several. Rows come in the order of one part, whose lines are then read one after the other. Eight
//! rows' counts of zeros are shifted into one register and eight of those turned round, which gives the leaf of 64 rows in
//! each tree as bytes. Their values are looked up 16 bits at a time, as registers look up 64 of those at once, and added to
//! sums that stay in registers for all eight trees.

use alloc::vec::Vec;

use super::parts::{MOST_PARTS, Order, Part, cut};
use super::{LEAVES, Sieve, TREES};
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

/// Memory of a block.
#[derive(Clone, Debug, Default)]
pub struct SieveScratch {
    parts: Vec<Part>,
    known: Vec<u16>,
    order: Order,
    /// The line of each part for each place of a sum, in words: see [`width`].
    index: Vec<u16>,
    /// The lines of eight trees, part after part.
    lines: Aligned<u64>,
    /// The sums, output after output.
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

/// Numbers of 16 bits that name the lines of a row: as many parts as there are, and more where they are not loaded at once.
const fn width(parts: usize) -> usize {
    parts.next_power_of_two()
}

impl SieveScratch {
    /// Cuts a block into parts, tells each row's line of each part, and takes the sums over; the number of lines, `None` where
    /// parts or lines are too many.
    fn begin(&mut self, sieve: &Sieve, codes: &[u16], rows: usize, out: &[f64], stride: usize) -> Option<usize> {
        let Self { parts, known, order, index, sums, .. } = self;
        *parts = cut(&sieve.columns, codes, rows, known)?;
        let count = parts.iter().map(Part::combinations).sum();
        if count > MOST_LINES {
            return None;
        }
        let alike = |a: usize, b: usize| out.chunks(stride).all(|out| out[a].to_bits() == out[b].to_bits());
        order.put(parts, rows, alike);
        let (places, width) = (order.len().next_multiple_of(ROWS), width(parts.len()));
        let mut firsts = [0; MOST_PARTS];
        let mut first = 0;
        for (to, part) in firsts.iter_mut().zip(&*parts) {
            *to = first;
            first += part.combinations();
        }
        index.clear();
        index.resize(places * width, 0);
        sums.clear();
        sums.resize(out.len().div_ceil(stride) * places, 0.0);
        // Places without a row read the first line of all parts.
        let positions = sieve.look.positions();
        for (&row, &place) in order.rows.iter().zip(&order.places) {
            let (row, place) = (row as usize, place as usize);
            let position = place / ROWS * ROWS + usize::from(positions[place % ROWS]);
            for ((to, part), first) in index[position * width..].iter_mut().zip(&*parts).zip(&firsts) {
                *to = ((first + usize::from(part.of_row[row])) * TREES) as u16;
            }
            for (sums, out) in sums.chunks_exact_mut(places).zip(out.chunks(stride)) {
                sums[place] = out[row];
            }
        }
        Some(count)
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
        let Some(lines) = scratch.begin(self, codes, rows, out, stride) else { return false };
        scratch.lines.resize(lines * TREES);
        let SieveScratch { parts, order, index, lines, sums, .. } = scratch;
        let places = order.len().next_multiple_of(ROWS);
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
            let sums = order.places.iter().map(|&place| sums[place as usize]);
            order.rows.iter().zip(sums).for_each(|(&row, sum)| out[row as usize] = sum);
        }
        true
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::x86_64::*;

    use super::super::super::planes::{turn, values};
    use super::{LEAVES, Look, MOST_PARTS, Part, ROWS, Sieve, TABLE, TREES, width};

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

    /// The places of a row's lines, of which up to four are loaded as one number: loads are what rows are short of.
    #[inline(always)]
    #[expect(unsafe_code, reason = "loads of numbers that must stay whole")]
    fn places<const P: usize>(index: &[u16], row: usize) -> [usize; P] {
        debug_assert!(index.len() >= ROWS * width(P) && row < ROWS, "places of so many rows");
        let mut out = [0; P];
        for (four, out) in out.chunks_mut(4).enumerate() {
            // SAFETY: from there on are as many numbers as are loaded. The instruction is none at all: without it the compiler
            // loads each place by itself.
            unsafe {
                let from = index.as_ptr().add(row * width(P) + four * 4);
                let mut word = match width(P) {
                    1 => u64::from(*from),
                    2 => u64::from(from.cast::<u32>().read_unaligned()),
                    _ => from.cast::<u64>().read_unaligned(),
                };
                core::arch::asm!("/* {0} */", inout(reg) word, options(pure, nomem, nostack, preserves_flags));
                for place in out {
                    *place = usize::from(word as u16);
                    word >>= 16;
                }
            }
        }
        out
    }

    /// The numbers of the leaves that are left of 64 rows in each of eight trees.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512cd")]
    #[expect(unsafe_code, reason = "places that were made for these lines")]
    fn left<const P: usize>(lines: &[u64], index: &[u16]) -> [__m512i; TREES] {
        let row = |row: usize| {
            // SAFETY: the places are multiples of a line's words below their count.
            let line = |at: usize| unsafe { _mm512_load_si512(lines.as_ptr().add(at).cast()) };
            let at = places::<P>(index, row);
            let all = at[1..].iter().fold(line(at[0]), |all, &at| _mm512_and_si512(all, line(at)));
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
        turn([eight(0), eight(8), eight(16), eight(24), eight(32), eight(40), eight(48), eight(56)])
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
            /// Shapes: `index` has the places of each part's lines for each row, [`width`] numbers a row; `tables` are those of the trees, `targets`
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
                for (block, index) in index.chunks_exact(width(P) * ROWS).enumerate() {
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
