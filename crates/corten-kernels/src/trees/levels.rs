//! Which way the category nodes send each code, a row of bits a code.
//!
//! A node's own list of codes is scattered over the file: a row that meets a thousand category nodes would miss the
//! cache a thousand times. Turned round, all nodes of a code column answer one code from bits that lie side by side.

use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use super::heavy::Heavy;
use super::{CATEGORY, Coder, Node, Parts, Reads};
use crate::cpu::dispatch;

/// Words that the decisions of columns with few categories may take.
pub(super) const EXPANDED: usize = 1 << 18;

/// Bits that are turned round at a time.
const SIDE: usize = 64;

/// The nodes of a code column of categories.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LevelColumn {
    /// First byte of code 0.
    start: usize,
    /// Bytes from a code to the next.
    stride: usize,
}

/// Which category nodes send a code right.
#[derive(Clone, Debug, Default)]
pub(super) struct Levels {
    /// One a code column; empty for numbers.
    columns: Vec<LevelColumn>,
    /// `bits[start + code * stride..]` of a column: a bit a node, set where the node sends the code right.
    bits: Vec<u8>,
    /// Each category node's bit in its column. The nodes of a tree follow each other as [`Heavy`] has them, from a whole byte on.
    places: Vec<u32>,
}

dispatch! {
    /// Turns a square of bits round: bit `j` of word `i` becomes bit `i` of word `j`.
    pub(super) fn transpose(words: &mut [u64; SIDE]) {
        let mut half = SIDE / 2;
        let mut mask = u64::MAX >> half;
        while half > 0 {
            for pair in words.chunks_exact_mut(2 * half) {
                let (low, high) = pair.split_at_mut(half);
                for (a, b) in low.iter_mut().zip(high) {
                    let t = ((*a >> half) ^ *b) & mask;
                    *b ^= t;
                    *a ^= t << half;
                }
            }
            half /= 2;
            mask ^= mask << half;
        }
    }
}

impl Levels {
    /// For parts whose indices were checked.
    pub(super) fn new(parts: &Parts, coder: &Coder) -> Self {
        let mut out = Self { columns: vec![LevelColumn::default(); coder.columns()], ..Self::default() };
        out.places = vec![0; parts.nodes.len()];
        // The node of each bit, a list a column; a gap is none.
        let mut nodes: Vec<Vec<u32>> = vec![Vec::new(); coder.columns()];
        for range in parts.roots.windows(2) {
            nodes.iter_mut().for_each(|n| n.resize(n.len().next_multiple_of(8), u32::MAX));
            Heavy::new(parts, range[0] as usize, range[1] as usize).each(parts, |at, _, _| {
                let node = Node::unpack(parts.nodes[at]);
                if node.column & CATEGORY != 0 {
                    let list = &mut nodes[usize::from(node.column & !CATEGORY)];
                    out.places[at] = list.len() as u32;
                    list.push(at as u32);
                }
            });
        }
        for (c, nodes) in nodes.iter().enumerate() {
            let Reads::Category { levels } = coder.reads(c) else { continue };
            // A word may be read from each byte on.
            let stride = nodes.len().div_ceil(SIDE) * (SIDE / 8) + 8;
            let (start, codes) = (out.bits.len(), levels as usize + 2);
            out.columns[c] = LevelColumn { start, stride };
            out.bits.resize(start + stride * codes, 0);
            for (group, nodes) in nodes.chunks(SIDE).enumerate() {
                for first in (0..codes).step_by(SIDE) {
                    let mut words = [0u64; SIDE];
                    for (word, &at) in words.iter_mut().zip(nodes) {
                        if at != u32::MAX {
                            let payload = parts.payload[at as usize] as usize + first / 32;
                            let left = |i: usize| u64::from(parts.bits.get(payload + i).copied().unwrap_or(0));
                            *word = !(left(0) | left(1) << 32);
                        }
                    }
                    transpose(&mut words);
                    for (code, word) in (first..codes).zip(&words) {
                        let at = start + code * stride + group * (SIDE / 8);
                        out.bits[at..at + 8].copy_from_slice(&word.to_le_bytes());
                    }
                }
            }
        }
        out
    }

    /// Bits of a column's nodes, in whole words.
    pub(super) fn nodes(&self, column: usize) -> usize {
        self.columns[column].stride.saturating_sub(8) * 8
    }

    /// A category node's bit in its column.
    #[inline]
    pub(super) fn place(&self, at: usize) -> usize {
        self.places[at] as usize
    }

    /// All bits: those of the nodes of a column for a code are at their [`Levels::place_of`].
    #[cfg(target_arch = "x86_64")]
    pub(super) fn bits(&self) -> &[u8] {
        &self.bits
    }

    /// Where the bits of a column's nodes for a code lie, with 8 bytes more at the end.
    #[inline(always)]
    pub(super) fn place_of(&self, column: usize, code: u16) -> Range<usize> {
        let LevelColumn { start, stride } = self.columns[column];
        let first = start + usize::from(code) * stride;
        first..first + stride
    }

    /// The bits of a column's nodes for a code, with 8 bytes more at the end.
    #[inline(always)]
    pub(super) fn of(&self, column: usize, code: u16) -> &[u8] {
        &self.bits[self.place_of(column, code)]
    }

    /// Whether a category node sends a code right.
    #[inline(always)]
    pub(super) fn right(&self, column: u16, at: usize, code: u16) -> bool {
        let place = self.places[at] as usize;
        self.of(usize::from(column & !CATEGORY), code)[place / 8] >> (place % 8) & 1 == 1
    }
}

/// The low bits of `word`, put where `places` has bits.
#[inline(always)]
pub(super) fn deposit(word: u64, places: u64) -> u64 {
    let (mut out, mut word, mut places) = (0, word, places);
    while places > 0 {
        let lowest = places & places.wrapping_neg();
        out |= if word & 1 == 1 { lowest } else { 0 };
        (word, places) = (word >> 1, places ^ lowest);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squares_are_turned_round() {
        let mut state = 9u64;
        let words: [u64; SIDE] = core::array::from_fn(|_| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            state ^ state >> 29
        });
        let mut turned = words;
        transpose(&mut turned);
        for (i, word) in words.iter().enumerate() {
            for (j, other) in turned.iter().enumerate() {
                assert_eq!(word >> j & 1, other >> i & 1, "bit {j} of word {i}");
            }
        }
    }
}
