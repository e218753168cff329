//! A row on x86, with AVX2.

use alloc::vec::Vec;
use core::arch::x86_64::*;
use core::cell::Cell;

use super::{BLOCK, Forest, GROUP, Group, MAX_SLOTS, PathScratch, Paths, Spread};
use crate::cache::fetch_value;

/// A row's slots, from a line on.
#[repr(C, align(64))]
struct Bytes([u8; MAX_SLOTS]);

/// Bytes of a register of AVX2, and of the part of it in which bytes are looked up.
const HALF: usize = 32;
const PART: usize = 16;

impl Bytes {
    /// The codes of 32 slots, of which there are at most 16 `N`.
    #[inline]
    #[target_feature(enable = "avx2")]
    #[expect(unsafe_code, reason = "loads of registers")]
    fn look_up<const N: usize>(&self, slots: __m256i) -> __m256i {
        let mut parts: [__m256i; N] = core::array::from_fn(|i| {
            // SAFETY: 16 parts lie there.
            let part = unsafe { _mm_load_si128(self.0.as_ptr().add(PART * i).cast()) };
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

/// Sets the bits of a source in the words of a group.
#[inline(always)]
#[expect(unsafe_code, reason = "instructions beyond the target's base")]
fn spread(of: &Spread, bits: *const u8, words: &mut [u64; GROUP]) {
    for ((to, &byte), &places) in words.iter_mut().zip(&of.bytes).zip(&of.places) {
        // SAFETY: the callers have BMI2.
        *to ^= unsafe { _pdep_u64(word(bits, byte), places) };
    }
}

impl Group {
    /// The place of the leaf of each tree.
    #[inline(always)]
    #[expect(unsafe_code, reason = "the innermost loop; the constructor made the places")]
    fn follow(&self, words: &[u64; GROUP]) -> [usize; GROUP] {
        let left: [u64; GROUP] = core::array::from_fn(|i| alone(words[i] | self.ends[i]));
        let mut at = left.map(|left| alone(left.trailing_zeros().into()));
        for _ in 1..self.paths {
            for ((at, next), left) in at.iter_mut().zip(&self.next).zip(&left) {
                // SAFETY: a path ends before its nodes do.
                let path = u64::from(unsafe { *next.get_unchecked(*at as usize) });
                *at = alone(path + u64::from((left >> path).trailing_zeros()));
            }
        }
        let exit = |i: usize| self.first_leaves[i] as usize + 2 * at[i] as usize + (words[i] >> at[i] & 1) as usize;
        core::array::from_fn(exit)
    }
}

impl Paths {
    /// Decides the nodes of numbers.
    #[target_feature(enable = "avx2")]
    #[expect(unsafe_code, reason = "loads of registers")]
    fn numbers<const N: usize>(&self, row: &Bytes, bits: &mut [u64]) {
        for (block, bits) in self.numbers.chunks_exact(2 * BLOCK).zip(bits) {
            let half = |i: usize| {
                // SAFETY: a block is four registers.
                let (slots, thresholds) = unsafe {
                    let at = block.as_ptr().add(i * HALF);
                    (_mm256_load_si256(at.cast()), _mm256_load_si256(at.add(BLOCK).cast()))
                };
                _mm256_movemask_epi8(_mm256_cmpgt_epi8(row.look_up::<N>(slots), thresholds)) as u32
            };
            *bits = u64::from(half(0)) | u64::from(half(1)) << HALF;
        }
    }

    /// The words of a group of trees; `CATEGORIES` tells whether there are some.
    #[inline(always)]
    fn decide<const CATEGORIES: bool>(&self, row: &Row<'_>, group: usize, of: &Group) -> [u64; GROUP] {
        let mut words = of.turned;
        if !CATEGORIES {
            words.iter_mut().zip(&of.numbers.bytes).for_each(|(to, &byte)| *to ^= word(row.numbers, byte));
            return words;
        }
        for &first in row.expanded {
            let of_code = &self.words[first + group * GROUP..][..GROUP];
            words.iter_mut().zip(of_code).for_each(|(to, word)| *to ^= word);
        }
        spread(&of.numbers, row.numbers, &mut words);
        let count = row.categories.len();
        for (of, &first) in self.spreads[group * count..][..count].iter().zip(row.categories) {
            spread(of, row.levels.wrapping_add(first), &mut words);
        }
        words
    }

    /// Adds what the leaves of all trees hold to a sum.
    #[inline]
    #[target_feature(enable = "bmi1,bmi2")]
    #[expect(unsafe_code, reason = "the innermost loop; the constructor made the places")]
    fn fold<const CATEGORIES: bool, S>(&self, row: &Row<'_>, mut sum: S, add: impl Fn(S, u64) -> S) -> S {
        // SAFETY: there is a leaf for each exit of the trees.
        let leaf = |at: usize| unsafe { self.leaves.as_ptr().cast::<u64>().add(at).read() };
        // Leaves of some trees are read while those of the next ones are looked for.
        let mut before = [0; GROUP];
        for (at, group) in self.groups.iter().enumerate() {
            let words = self.decide::<CATEGORIES>(row, at, group);
            let leaves = group.follow(&words);
            if at > 0 {
                sum = before.iter().fold(sum, |sum, &at| add(sum, leaf(at)));
            }
            before = leaves;
        }
        let last = self.trees - (self.groups.len() - 1) * GROUP;
        before[..last].iter().fold(sum, |sum, &at| add(sum, leaf(at)))
    }

    #[target_feature(enable = "bmi1,bmi2")]
    fn add_trees<const CATEGORIES: bool>(
        &self,
        forest: &Forest,
        row: &Row<'_>,
        leaves: &mut Vec<u64>,
        out: &mut [f64],
        stride: usize,
    ) {
        if self.adds_up {
            out[0] = self.fold::<CATEGORIES, f64>(row, out[0], |sum, leaf| sum + f64::from_bits(leaf));
            return;
        }
        leaves.resize(self.trees, 0);
        let cells = Cell::from_mut(&mut leaves[..]).as_slice_of_cells();
        self.fold::<CATEGORIES, usize>(row, 0, |tree, leaf| {
            cells[tree].set(leaf);
            tree + 1
        });
        forest.add_words(self.scalar, leaves, out, stride);
    }

    /// A row.
    ///
    /// # Safety
    /// The CPU has AVX2, BMI1 and BMI2.
    #[target_feature(enable = "bmi1,bmi2")]
    #[expect(unsafe_code, reason = "instructions of a level")]
    pub(super) unsafe fn row_x86(
        &self,
        forest: &Forest,
        codes: &[u16],
        scratch: &mut PathScratch,
        out: &mut [f64],
        stride: usize,
    ) {
        let PathScratch { bits, expanded, categories, leaves } = scratch;
        let of = |column: u16| (usize::from(column), codes[usize::from(column)]);
        expanded.clear();
        expanded.extend(self.expanded.iter().map(|&(column, first)| {
            let first = first + usize::from(of(column).1) * self.groups.len() * GROUP;
            // They come from far away, all at once.
            fetch_value(&self.words[first..][..self.groups.len() * GROUP]);
            first
        }));
        categories.clear();
        let mut levels = core::ptr::null();
        if let Some(known) = &forest.levels {
            levels = known.bits().as_ptr();
            categories.extend(self.categories.iter().map(|&column| {
                let place = known.place_of(of(column).0, of(column).1);
                fetch_value(&known.bits()[place.clone()]);
                place.start
            }));
        }
        let mut row = Bytes([0; MAX_SLOTS]);
        let slots = self.slots.row(codes, &mut row.0);
        bits.resize(self.numbers.len() / (2 * BLOCK) + 1, 0);
        // SAFETY: the caller found the instructions.
        unsafe {
            match slots {
                0..=16 => self.numbers::<1>(&row, bits),
                17..=32 => self.numbers::<2>(&row, bits),
                33..=64 => self.numbers::<4>(&row, bits),
                _ => self.numbers::<8>(&row, bits),
            }
        }
        let row = Row { numbers: bits.as_ptr().cast(), levels, expanded, categories };
        if forest.has_categories() {
            self.add_trees::<true>(forest, &row, leaves, out, stride);
        } else {
            self.add_trees::<false>(forest, &row, leaves, out, stride);
        }
    }
}
