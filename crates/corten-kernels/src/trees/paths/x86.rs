//! A row on x86, with AVX2 or with AVX-512.

use alloc::vec::Vec;
use core::arch::x86_64::*;
use core::array;
use core::cell::Cell;

use super::{BLOCK, Forest, GROUP, Group, PathScratch, Paths, Spread, Words};
use crate::cache::{fetch, fetch_value};
use crate::trees::slots::{Bytes, Codes};

/// Bytes of a register of AVX2, and of the part of it in which bytes are looked up.
const HALF: usize = 32;
const PART: usize = 16;
/// Groups whose words are put together before those of one are read: it waits for what is still being written.
const AHEAD: usize = 4;
/// Groups whose words are asked for before those of one are read.
const FAR: usize = 16;

/// The codes of 32 slots, of which there are at most 16 `N`.
#[inline]
#[target_feature(enable = "avx2")]
#[expect(unsafe_code, reason = "loads of registers")]
fn look_up<const N: usize>(row: &Bytes, slots: __m256i) -> __m256i {
    let mut parts: [__m256i; N] = array::from_fn(|i| {
        // SAFETY: 16 parts lie there.
        let part = unsafe { _mm_load_si128(row.0.as_ptr().add(PART * i).cast()) };
        _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(part), slots)
    });
    // A bit of the slots at a time tells which of two parts it is; it is moved to the highest one of a byte.
    let by_bit = [_mm256_slli_epi16::<3>(slots), _mm256_slli_epi16::<2>(slots), _mm256_slli_epi16::<1>(slots)];
    let mut left = N;
    for by in by_bit {
        left /= 2;
        for i in 0..left {
            parts[i] = _mm256_blendv_epi8(parts[2 * i], parts[2 * i + 1], by);
        }
    }
    parts[0]
}

/// What has been decided of a row: bits, and where those of its codes start.
struct Row<'a> {
    numbers: *const u8,
    levels: *const u8,
    expanded: &'a [usize],
    categories: &'a [usize],
}

/// A number as it is. Numbers of several trees would be put together and taken apart again, all through one port.
#[inline(always)]
#[expect(unsafe_code, reason = "no instruction at all")]
fn alone(mut number: u64) -> u64 {
    // SAFETY: no instruction at all.
    unsafe { core::arch::asm!("/* {0} */", inout(reg) number, options(pure, nomem, nostack, preserves_flags)) };
    number
}

/// A word that starts with a byte.
#[inline(always)]
#[expect(unsafe_code, reason = "the innermost loop; the constructor made the places")]
fn word(bits: *const u8, byte: u32) -> u64 {
    // SAFETY: the bits of a tree lie there, and 8 bytes follow the last ones.
    unsafe { bits.add(byte as usize).cast::<u64>().read_unaligned() }
}

/// The bits of a source for a tree of a group, at their places.
#[inline(always)]
#[expect(unsafe_code, reason = "instructions beyond the target's base")]
fn spread(of: &Spread, bits: *const u8, tree: usize) -> u64 {
    // SAFETY: the callers have BMI2.
    unsafe { _pdep_u64(word(bits, of.bytes[tree]), of.places[tree]) }
}

impl Group {
    /// The place of the leaf of each tree, whose ways pass at most so many paths.
    #[inline]
    #[target_feature(enable = "avx2,lzcnt")]
    #[expect(unsafe_code, reason = "loads and stores of registers")]
    fn follow_narrow(&self, words: &Words, paths: usize, out: &mut Words) {
        let zero = _mm256_setzero_si256();
        for half in [0, GROUP / 2] {
            // SAFETY: a register lies there.
            let load = |words: &Words| unsafe { _mm256_load_si256(words.0.as_ptr().add(half).cast()) };
            let lowest = |words: __m256i| _mm256_and_si256(words, _mm256_sub_epi64(zero, words));
            let left = _mm256_or_si256(load(words), load(&self.ends));
            // The bit of the node that each path is left at.
            let mut at = lowest(_mm256_and_si256(left, load(&self.on[0])));
            for on in self.on.iter().take(paths).skip(1) {
                let (on, begins) = (load(on), _mm256_add_epi64(at, at));
                let next = _mm256_and_si256(_mm256_and_si256(left, on), _mm256_sub_epi64(zero, begins));
                let stays = _mm256_cmpeq_epi64(_mm256_and_si256(begins, on), zero);
                at = _mm256_blendv_epi8(lowest(next), at, stays);
            }
            // SAFETY: a register has room there.
            unsafe { _mm256_store_si256(out.0.as_mut_ptr().add(half).cast(), at) };
        }
        for (i, out) in out.0.iter_mut().enumerate() {
            let (at, side) = (alone(*out), u64::from(*out & words.0[i] != 0));
            *out = alone(u64::from(self.first_leaves[i]) + 2 * u64::from(at.leading_zeros()) + side);
        }
    }

    /// The same in wide registers.
    #[inline]
    #[target_feature(enable = "avx512f,avx512dq,avx512vl,avx512cd")]
    #[expect(unsafe_code, reason = "loads and stores of registers")]
    fn follow_wide(&self, words: __m512i, paths: usize, out: &mut Words) {
        // SAFETY: a register lies there.
        let load = |words: &Words| unsafe { _mm512_load_si512(words.0.as_ptr().cast()) };
        let negative = |words: __m512i| _mm512_sub_epi64(_mm512_setzero_si512(), words);
        let left = _mm512_or_si512(words, load(&self.ends));
        let first = _mm512_and_si512(left, load(&self.on[0]));
        let mut at = _mm512_and_si512(first, negative(first));
        for on in self.on.iter().take(paths).skip(1) {
            let (on, begins) = (load(on), _mm512_add_epi64(at, at));
            let next = _mm512_and_si512(_mm512_and_si512(left, on), negative(begins));
            at = _mm512_mask_and_epi64(at, _mm512_test_epi64_mask(begins, on), next, negative(next));
        }
        let zeros = _mm512_lzcnt_epi64(at);
        // SAFETY: eight numbers lie there.
        let firsts = _mm512_cvtepu32_epi64(unsafe { _mm256_load_si256(self.first_leaves.as_ptr().cast()) });
        let exits = _mm512_add_epi64(firsts, _mm512_add_epi64(zeros, zeros));
        let exits = _mm512_mask_add_epi64(exits, _mm512_test_epi64_mask(at, words), exits, _mm512_set1_epi64(1));
        // SAFETY: a register has room there.
        unsafe { _mm512_store_si512(out.0.as_mut_ptr().cast(), exits) };
    }
}

impl Paths {
    /// Decides the nodes of numbers.
    #[target_feature(enable = "avx2")]
    #[expect(unsafe_code, reason = "loads of registers")]
    fn numbers_narrow<const N: usize>(&self, row: &Bytes, bits: &mut [u64]) {
        for (block, bits) in self.numbers.chunks_exact(2 * BLOCK).zip(bits) {
            let half = |i: usize| {
                // SAFETY: a block is four registers.
                let (slots, thresholds) = unsafe {
                    let at = block.as_ptr().add(i * HALF);
                    (_mm256_load_si256(at.cast()), _mm256_load_si256(at.add(BLOCK).cast()))
                };
                _mm256_movemask_epi8(_mm256_cmpgt_epi8(look_up::<N>(row, slots), thresholds)) as u32
            };
            *bits = u64::from(half(0)) | u64::from(half(1)) << HALF;
        }
    }

    /// The same in wide registers.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
    #[expect(unsafe_code, reason = "loads of registers")]
    fn numbers_wide<const N: usize>(&self, row: &Bytes, bits: &mut [u64]) {
        let codes = Codes::new(row);
        for (block, bits) in self.numbers.chunks_exact(2 * BLOCK).zip(bits) {
            // SAFETY: a block is two registers.
            let (slots, thresholds) = unsafe {
                let at = block.as_ptr();
                (_mm512_load_si512(at.cast()), _mm512_load_si512(at.add(BLOCK).cast()))
            };
            *bits = _mm512_cmpgt_epi8_mask(codes.of::<N>(slots), thresholds);
        }
    }

    /// Puts the bits of a group's trees together that aren't there as words.
    #[inline(always)]
    fn gather<const CATEGORIES: bool>(&self, row: &Row<'_>, group: usize, to: &mut Words) {
        let of = &self.groups[group].numbers;
        if !CATEGORIES {
            to.0 = array::from_fn(|i| alone(word(row.numbers, of.bytes[i])));
            return;
        }
        let count = row.categories.len();
        let mut columns = self.spreads[group * count..][..count].iter().zip(row.categories);
        let numbers = |i: usize| spread(of, row.numbers, i);
        let of_column = |(of, &first): (&Spread, &usize), i: usize| spread(of, row.levels.wrapping_add(first), i);
        to.0 = match columns.next() {
            Some(column) => array::from_fn(|i| alone(numbers(i) ^ of_column(column, i))),
            None => array::from_fn(|i| alone(numbers(i))),
        };
        for column in columns {
            to.0 = array::from_fn(|i| alone(to.0[i] ^ of_column(column, i)));
        }
    }

    /// Adds what the leaves of all trees hold to a sum.
    #[inline(always)]
    #[expect(unsafe_code, reason = "the innermost loop; the constructor made the places")]
    fn fold<const CATEGORIES: bool, const WIDE: bool, S>(
        &self,
        row: &Row<'_>,
        gathered: &mut Vec<Words>,
        mut sum: S,
        add: impl Fn(S, u64) -> S,
    ) -> S {
        // SAFETY: there is a leaf for each exit of the trees.
        let leaf = |at: u64| unsafe { self.leaves.as_ptr().cast::<u64>().add(at as usize).read() };
        let count = self.groups.len();
        gathered.resize(count, Words::default());
        let gathered = &mut gathered[..count];
        for (at, words) in gathered.iter_mut().enumerate().take(AHEAD) {
            self.gather::<CATEGORIES>(row, at, words);
        }
        for (at, (group, &paths)) in self.groups.iter().zip(&self.paths).enumerate() {
            if let Some(words) = gathered.get_mut(at + AHEAD) {
                self.gather::<CATEGORIES>(row, at + AHEAD, words);
            }
            let of_group = &mut gathered[at];
            row.expanded.iter().for_each(|&first| fetch(self.words.as_ptr().wrapping_add(first + at + FAR)));
            if WIDE {
                // SAFETY: callers have the instructions, and a register lies in words.
                unsafe {
                    let load = |words: &Words| _mm512_load_si512(words.0.as_ptr().cast());
                    let mut words = _mm512_xor_si512(load(of_group), load(&group.turned));
                    if CATEGORIES {
                        for &first in row.expanded {
                            words = _mm512_xor_si512(words, load(&self.words[first + at]));
                        }
                    }
                    group.follow_wide(words, paths.into(), of_group);
                }
            } else {
                let mut words = group.turned;
                let mut turn = |by: &Words| words.0.iter_mut().zip(&by.0).for_each(|(to, word)| *to ^= word);
                turn(of_group);
                if CATEGORIES {
                    row.expanded.iter().for_each(|&first| turn(&self.words[first + at]));
                }
                // SAFETY: as above.
                unsafe { group.follow_narrow(&words, paths.into(), of_group) };
            }
            // Leaves of some trees are read while those of the next ones are looked for.
            if at > 0 {
                sum = gathered[at - 1].0.iter().fold(sum, |sum, &at| add(sum, leaf(at)));
            }
        }
        let last = self.trees - (count - 1) * GROUP;
        gathered[count - 1].0[..last].iter().fold(sum, |sum, &at| add(sum, leaf(at)))
    }

    #[inline(always)]
    fn add_trees<const CATEGORIES: bool, const WIDE: bool>(
        &self,
        forest: &Forest,
        row: &Row<'_>,
        words: &mut Vec<Words>,
        leaves: &mut Vec<u64>,
        out: &mut [f64],
        stride: usize,
    ) {
        if self.adds_up {
            out[0] = self.fold::<CATEGORIES, WIDE, f64>(row, words, out[0], |sum, leaf| sum + f64::from_bits(leaf));
            return;
        }
        leaves.resize(self.trees, 0);
        let cells = Cell::from_mut(&mut leaves[..]).as_slice_of_cells();
        self.fold::<CATEGORIES, WIDE, usize>(row, words, 0, |tree, leaf| {
            cells[tree].set(leaf);
            tree + 1
        });
        forest.add_words(self.scalar, leaves, out, stride);
    }

    /// Adds all trees of a row to its sums.
    #[inline(always)]
    fn add_all<const WIDE: bool>(
        &self,
        forest: &Forest,
        row: &Row<'_>,
        words: &mut Vec<Words>,
        leaves: &mut Vec<u64>,
        out: &mut [f64],
        stride: usize,
    ) {
        if forest.has_categories() {
            self.add_trees::<true, WIDE>(forest, row, words, leaves, out, stride);
        } else {
            self.add_trees::<false, WIDE>(forest, row, words, leaves, out, stride);
        }
    }

    #[target_feature(enable = "avx2,bmi1,bmi2,lzcnt")]
    fn add_narrow(
        &self,
        forest: &Forest,
        row: &Row<'_>,
        words: &mut Vec<Words>,
        leaves: &mut Vec<u64>,
        out: &mut [f64],
        stride: usize,
    ) {
        self.add_all::<false>(forest, row, words, leaves, out, stride);
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512cd,bmi1,bmi2,lzcnt")]
    fn add_wide(
        &self,
        forest: &Forest,
        row: &Row<'_>,
        words: &mut Vec<Words>,
        leaves: &mut Vec<u64>,
        out: &mut [f64],
        stride: usize,
    ) {
        self.add_all::<true>(forest, row, words, leaves, out, stride);
    }

    /// A row.
    ///
    /// # Safety
    /// The CPU has AVX2, BMI1, BMI2 and LZCNT, and where registers are wide AVX-512 with CD and VBMI.
    #[expect(unsafe_code, reason = "instructions of a level")]
    pub(super) unsafe fn row_x86(
        &self,
        forest: &Forest,
        codes: &[u16],
        scratch: &mut PathScratch,
        out: &mut [f64],
        stride: usize,
    ) {
        let PathScratch { bits, words, expanded, categories, leaves } = scratch;
        let of = |column: u16| (usize::from(column), codes[usize::from(column)]);
        expanded.clear();
        expanded.extend(self.expanded.iter().map(|&(column, first)| {
            let first = first + usize::from(of(column).1) * self.groups.len();
            // They come from far away: as far as the others are ahead of them all at once.
            self.words[first..][..FAR.min(self.groups.len())].iter().for_each(fetch_value);
            first
        }));
        categories.clear();
        let mut levels = core::ptr::null();
        if let Some(known) = &forest.levels {
            levels = known.bits().as_ptr();
            categories.extend(self.categories.iter().map(|&column| {
                let place = known.place_of(of(column).0, of(column).1);
                let bits = &known.bits()[place.clone()];
                fetch_value(&bits[..bits.len().min(FAR * GROUP * 8)]);
                place.start
            }));
        }
        let mut row = Bytes::default();
        let slots = self.slots.row(codes, &mut row.0);
        bits.resize(self.numbers.len() / (2 * BLOCK) + 1, 0);
        // SAFETY: the caller found the instructions.
        unsafe {
            match (self.wide, slots) {
                (true, 0..=64) => self.numbers_wide::<1>(&row, bits),
                (true, 65..=128) => self.numbers_wide::<2>(&row, bits),
                (true, _) => self.numbers_wide::<4>(&row, bits),
                (false, 0..=16) => self.numbers_narrow::<1>(&row, bits),
                (false, 17..=32) => self.numbers_narrow::<2>(&row, bits),
                (false, 33..=64) => self.numbers_narrow::<4>(&row, bits),
                (false, _) => self.numbers_narrow::<8>(&row, bits),
            }
        }
        let row = Row { numbers: bits.as_ptr().cast(), levels, expanded, categories };
        // SAFETY: as above.
        unsafe {
            if self.wide {
                self.add_wide(forest, &row, words, leaves, out, stride);
            } else {
                self.add_narrow(forest, &row, words, leaves, out, stride);
            }
        }
    }
}
