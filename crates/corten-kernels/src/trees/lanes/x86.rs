//! A row with AVX-512 and VBMI.

use alloc::vec::Vec;
use core::arch::x86_64::*;
use core::cell::Cell;

use super::records::{self, GOES_ON, STARTS, THRESHOLDS};
use super::{BYTES, EXITS, Forest, GROUP, LANES, LaneScratch, Lanes, Run};
use crate::cache::fetch;
use crate::trees::slots::{Bytes, Codes};

/// A row's codes and the lane numbers.
struct Row {
    codes: Codes,
    lane: __m512i,
}

impl Row {
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
    fn new(bytes: &Bytes) -> Self {
        let lane: [u8; LANES] = core::array::from_fn(|i| i as u8);
        Self { codes: Codes::new(bytes), lane: load(&lane, 0) }
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
    /// The exit that each lane of `vector` leads to after `1 << D` decisions. A left child is `STEP` lanes on.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,bmi2")]
    fn follow<const N: usize, const D: u32, const STEP: usize>(&self, row: &Row, vector: usize) -> __m512i {
        let at = vector * BYTES;
        let codes = row.codes.of::<N>(load(&self.vectors, at));
        let right = _mm512_cmpgt_epi8_mask(codes, load(&self.vectors, at + LANES));
        let child = load(&self.vectors, at + 2 * LANES);
        let next = _mm512_add_epi8(row.lane, _mm512_set1_epi8(STEP as i8));
        let left = _mm512_mask_blend_epi8(_mm512_movepi8_mask(child), next, row.lane);
        let mut to = _mm512_mask_mov_epi8(left, right, child);
        for _ in 0..D {
            to = _mm512_permutexvar_epi8(to, to);
        }
        to
    }

    /// The record of the exit of a vector in a number's lowest byte.
    #[inline(always)]
    #[expect(unsafe_code, reason = "the innermost loop; the constructor made the vectors")]
    fn record(&self, vector: usize, to: u64) -> usize {
        let mut exit = to as usize & (EXITS - 1);
        // SAFETY: no instruction at all. Without it the compiler puts the exits of several trees together and takes them
        // apart again, all through one port.
        unsafe { core::arch::asm!("/* {0} */", inout(reg) exit, options(pure, nomem, nostack, preserves_flags)) };
        // SAFETY: each vector has a first record.
        exit + unsafe { *self.first_records.get_unchecked(vector) } as usize
    }

    /// What record `at` holds for a row, and the start of it, which may say that the way goes on where
    /// there is `MORE`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,bmi2")]
    #[expect(unsafe_code, reason = "the innermost loop; the constructor made the records")]
    fn read<const N: usize, const MORE: bool>(&self, row: &Row, at: usize) -> (u64, u8) {
        // SAFETY: there is a record for each exit of the vectors' trees, and its starts name places in it.
        unsafe {
            let record = self.records.as_ptr().add(at * records::BYTES);
            let slots = _mm_cvtsi32_si128(record.cast::<i32>().read());
            let codes = _mm512_castsi512_si128(row.codes.of::<N>(_mm512_castsi128_si512(slots)));
            let thresholds = _mm_loadu_si128(record.add(THRESHOLDS).cast());
            // The bytes behind the thresholds are compared with, too.
            let decisions = _mm_movemask_epi8(_mm_cmpgt_epi8(codes, thresholds)) as usize % (1 << records::NODES);
            let start = *record.add(STARTS + decisions);
            let leaf = if MORE { start & !GOES_ON } else { start };
            (record.add(usize::from(leaf)).cast::<u64>().read(), start)
        }
    }

    /// Adds what the leaves of trees from `vector` on hold to a sum, `STEP` trees a vector.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,bmi2")]
    fn run<const N: usize, const D: u32, const STEP: usize, S>(
        &self,
        row: &Row,
        vector: usize,
        trees: usize,
        mut sum: S,
        add: &impl Fn(S, u64) -> S,
    ) -> S {
        // Records of some trees are read while those of the next ones are looked for: what takes long overlaps.
        let mut before = [0; GROUP];
        let groups = trees.div_ceil(GROUP);
        let read = |at: usize| self.read::<N, false>(row, at).0;
        for group in 0..groups {
            let mut records = [0; GROUP];
            for (i, records) in records.chunks_exact_mut(STEP).enumerate() {
                let vector = vector + group * (GROUP / STEP) + i;
                let to = self.follow::<N, D, STEP>(row, vector);
                let exits = _mm_cvtsi128_si64(_mm512_castsi512_si128(to)) as u64;
                records.iter_mut().enumerate().for_each(|(i, at)| *at = self.record(vector, exits >> (8 * i)));
            }
            if group > 0 {
                for at in before {
                    sum = add(sum, read(at));
                }
            }
            before = records;
        }
        for &at in &before[..trees - groups.saturating_sub(1) * GROUP] {
            sum = add(sum, read(at));
        }
        sum
    }

    /// Adds what the leaf of each tree holds to a sum, where every tree takes one vector.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,bmi2")]
    fn fold<const N: usize, const D: u32, S>(&self, row: &Row, mut sum: S, add: impl Fn(S, u64) -> S) -> S {
        for &Run { step, vector, trees } in &self.runs {
            sum = match step {
                4 => self.run::<N, D, 4, S>(row, vector, trees, sum, &add),
                2 => self.run::<N, D, 2, S>(row, vector, trees, sum, &add),
                _ => self.run::<N, D, 1, S>(row, vector, trees, sum, &add),
            };
        }
        sum
    }

    /// What the leaf of each tree holds, where trees take several vectors.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,bmi2")]
    fn find<const N: usize, const D: u32>(
        &self,
        row: &Row,
        work: &mut Vec<(u32, u32)>,
        at: &mut Vec<u32>,
        words: &mut Vec<u64>,
    ) {
        words.resize(self.trees, 0);
        work.clear();
        work.extend((0u32..).zip(self.roots.iter().copied()));
        while !work.is_empty() {
            // All records are found before one is read: by then, what lies far away is on its way.
            at.resize(work.len(), 0);
            for (at, &(_, place)) in at.iter_mut().zip(&*work) {
                let (vector, lane) = (place as usize / LANES, place as usize % LANES);
                let to = self.follow::<N, D, 1>(row, vector);
                let exits = _mm512_permutexvar_epi8(_mm512_set1_epi8(lane as i8), to);
                *at = self.record(vector, _mm_cvtsi128_si32(_mm512_castsi512_si128(exits)) as u64) as u32;
                fetch(self.records.as_ptr().wrapping_add(*at as usize * records::BYTES));
            }
            let mut left = 0;
            for (i, &at) in at.iter().enumerate() {
                let (word, start) = self.read::<N, true>(row, at as usize);
                let tree = work[i].0;
                words[tree as usize] = word;
                // Kept, and written over by the next one where it is a leaf.
                work[left] = (tree, word as u32);
                left += usize::from(start & GOES_ON != 0);
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
        row: &Row,
        work: &mut Vec<(u32, u32)>,
        at: &mut Vec<u32>,
        words: &mut Vec<u64>,
        out: &mut [f64],
        stride: usize,
    ) {
        if self.runs.is_empty() {
            self.find::<N, D>(row, work, at, words);
        } else if self.adds_up {
            let add = |sum: f64, word: u64| sum + f64::from_bits(word);
            out[0] = self.fold::<N, D, f64>(row, out[0], add);
            return;
        } else {
            words.resize(self.trees, 0);
            let words = Cell::from_mut(&mut words[..]).as_slice_of_cells();
            let add = |tree: usize, word: u64| {
                words[tree].set(word);
                tree + 1
            };
            self.fold::<N, D, usize>(row, 0, add);
        }
        forest.add_words(self.scalar, words, out, stride);
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,bmi2")]
    pub(super) fn row_x86(
        &self,
        forest: &Forest,
        codes: &[u16],
        scratch: &mut LaneScratch,
        out: &mut [f64],
        stride: usize,
    ) {
        let mut bytes = Bytes::default();
        let slots = self.slots.row(codes, &mut bytes.0);
        let LaneScratch { work, at, words } = scratch;
        let row = Row::new(&bytes);
        match (slots, self.doublings) {
            (0..=64, 0..=3) => self.row_of::<1, 3>(forest, &row, work, at, words, out, stride),
            (0..=64, 4) => self.row_of::<1, 4>(forest, &row, work, at, words, out, stride),
            (0..=64, 5) => self.row_of::<1, 5>(forest, &row, work, at, words, out, stride),
            (0..=64, _) => self.row_of::<1, 6>(forest, &row, work, at, words, out, stride),
            (65..=128, 0..=4) => self.row_of::<2, 4>(forest, &row, work, at, words, out, stride),
            (65..=128, 5) => self.row_of::<2, 5>(forest, &row, work, at, words, out, stride),
            (65..=128, _) => self.row_of::<2, 6>(forest, &row, work, at, words, out, stride),
            (_, 0..=5) => self.row_of::<4, 5>(forest, &row, work, at, words, out, stride),
            _ => self.row_of::<4, 6>(forest, &row, work, at, words, out, stride),
        }
    }
}
