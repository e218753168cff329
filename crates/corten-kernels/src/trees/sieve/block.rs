//! Many rows against the lines of a sieve: needs AVX-512 with CD.
//!
//! Eight trees after the other, so that their lines stay in the first-level cache. Columns of which few combinations of
//! codes come in a block are taken as one: the lines of each combination are put together once, and a row reads one line
//! where it would read several. Rows come in the order of one part, whose lines are then read one after the other. Eight
//! rows' counts of zeros are shifted into one register and eight of those turned round, which gives the leaf of 64 rows in
//! each tree as bytes. Their values are looked up in registers, 64 at once (see [`look`](super::super::look)), and added to
//! sums that stay in registers for all eight trees.

use alloc::vec::Vec;

use super::parts::{Lines, MOST_PARTS, Order, Part, cut, lines};
use super::{Sieve, TREES};
use crate::aligned::Aligned;
use crate::cpu;
use crate::trees::Forest;
use crate::trees::look::ROWS;

/// Most lines of all parts: places in `index` are multiples of a line's words, and 16 bits hold them.
const MOST_LINES: usize = (1 << 16) / TREES - 1;

/// Memory of a block.
#[derive(Clone, Debug, Default)]
pub struct SieveScratch {
    parts: Vec<Part>,
    known: Vec<u16>,
    of_rows: Vec<Lines>,
    order: Order,
    /// The line of each part for each place of a sum, in words: see [`width`].
    index: Vec<u16>,
    /// The lines of eight trees, part after part.
    lines: Aligned<u64>,
    /// The sums, output after output.
    sums: Vec<f64>,
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
        let Self { parts, known, of_rows, order, index, sums, .. } = self;
        *parts = cut(&sieve.columns, codes, rows, known)?;
        let count = parts.iter().map(Part::combinations).sum();
        if count > MOST_LINES {
            return None;
        }
        lines(parts, rows, of_rows);
        // Almost always the base score.
        if out.chunks(stride).all(|out| out[..rows].iter().all(|x| x.to_bits() == out[0].to_bits())) {
            order.put(parts, of_rows, |_, _| true);
        } else {
            let alike = |a: usize, b: usize| out.chunks(stride).all(|out| out[a].to_bits() == out[b].to_bits());
            order.put(parts, of_rows, alike);
        }
        let (places, width) = (order.len().next_multiple_of(ROWS), width(parts.len()));
        // Places without a row read the first line of all parts.
        index.clear();
        index.resize(places * width, 0);
        let positions = sieve.look.positions();
        for (&row, &place) in order.rows.iter().zip(&order.places) {
            let place = place as usize;
            let position = place / ROWS * ROWS + usize::from(positions[place % ROWS]);
            index[position * width..][..width].copy_from_slice(&of_rows[row as usize][..width]);
        }
        sums.clear();
        sums.resize(out.len().div_ceil(stride) * places, 0.0);
        for (sums, out) in sums.chunks_exact_mut(places).zip(out.chunks(stride)) {
            let begin = order.rows.iter().map(|&row| out[row as usize]);
            order.places.iter().zip(begin).for_each(|(&place, sum)| sums[place as usize] = sum);
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
            let next = self.lines_of(group + 1);
            #[cfg(target_arch = "x86_64")]
            {
                #[expect(unsafe_code, reason = "instructions beyond the target's base")]
                // SAFETY: there are tables because runs() found AVX-512 with CD on this CPU, and Look::here() VBMI where
                // bytes are looked up.
                unsafe {
                    x86::group(self, group, targets, next, parts, lines, index, sums, places);
                }
            }
            #[cfg(not(target_arch = "x86_64"))]
            let _ = (group, targets, next, &mut *lines, &*index, &*parts);
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

    use super::super::super::look::{self, Look, ROWS, TABLE};
    use super::super::Line;
    use super::{MOST_PARTS, Part, Sieve, TREES, width};
    use crate::cache;
    use crate::transpose::turn;

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

    /// Eight trees, or the last ones.
    #[derive(Clone, Copy)]
    struct Eight<'t> {
        tables: &'t [u8],
        targets: &'t [u32],
        /// The lines of the next eight.
        next: &'t [Line],
    }

    /// Adds the leaves of a group of trees to the sums of rows: see [`add`].
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512cd")]
    pub(super) fn group(
        sieve: &Sieve,
        group: usize,
        targets: &[u32],
        next: &[Line],
        parts: &[Part],
        lines: &mut [u64],
        index: &[u16],
        out: &mut [f64],
        stride: usize,
    ) {
        put_together(sieve, group, parts, lines.as_chunks_mut().0);
        let tables = &sieve.tables[group * TREES * TABLE..][..TREES * TABLE];
        let trees = Eight { tables, targets, next };
        match sieve.look {
            Look::Words => add_words(parts.len(), lines, index, trees, out, stride),
            #[expect(unsafe_code, reason = "instructions beyond those of other ways")]
            // SAFETY: Look::here() found VBMI on this CPU.
            Look::Bytes => unsafe { add_bytes(parts.len(), lines, index, trees, out, stride) },
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
        // A loop: called for each eight, it would be a function of its own.
        let mut eights = [_mm512_setzero_si512(); TREES];
        for (i, to) in eights.iter_mut().enumerate() {
            *to = eight(i * 8);
        }
        turn(eights)
    }

    /// Compiles one body for each way to look values up.
    macro_rules! adds {
        ($name:ident, $add:ident, $features:literal, $look_up:ident) => {
            /// Adds the leaves of up to eight trees to the sums of rows.
            ///
            /// Shapes: `index` has the places of each part's lines for each row, [`width`] numbers a row; `out[k * stride + r]`
            /// is output `k` of row `r`.
            #[target_feature(enable = $features)]
            fn $name(parts: usize, lines: &[u64], index: &[u16], trees: Eight<'_>, out: &mut [f64], stride: usize) {
                match parts {
                    1 => $add::<1>(lines, index, trees, out, stride),
                    2 => $add::<2>(lines, index, trees, out, stride),
                    3 => $add::<3>(lines, index, trees, out, stride),
                    4 => $add::<4>(lines, index, trees, out, stride),
                    5 => $add::<5>(lines, index, trees, out, stride),
                    6 => $add::<6>(lines, index, trees, out, stride),
                    7 => $add::<7>(lines, index, trees, out, stride),
                    _ => $add::<MOST_PARTS>(lines, index, trees, out, stride),
                }
            }

            /// The same of `P` parts.
            #[target_feature(enable = $features)]
            fn $add<const P: usize>(lines: &[u64], index: &[u16], trees: Eight<'_>, out: &mut [f64], stride: usize) {
                debug_assert!(index.iter().all(|&at| usize::from(at) + TREES <= lines.len()), "places of lines");
                let Eight { tables, targets, next } = trees;
                // Some at each step: lines that come from far away come while others are read.
                let some = next.len().div_ceil(index.len() / (width(P) * ROWS)).max(1);
                let mut next = next.chunks(some);
                for (block, index) in index.chunks_exact(width(P) * ROWS).enumerate() {
                    next.next().into_iter().flatten().for_each(cache::fetch_value);
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
                        for (sum, value) in sums.iter_mut().zip(look::$look_up(numbers, look::load(table))) {
                            *sum = _mm512_add_pd(*sum, value);
                        }
                    }
                    store(&sums, &mut out[of..]);
                }
            }
        };
    }

    adds!(add_words, add_words_of, "avx512f,avx512bw,avx512dq,avx512vl,avx512cd", by_words);
    adds!(add_bytes, add_bytes_of, "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,avx512vbmi", by_bytes);

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
