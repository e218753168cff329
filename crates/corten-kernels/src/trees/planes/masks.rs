//! The answers to an ensemble's questions, a bit a row.

use alloc::vec::Vec;

use super::super::levels::transpose;
use super::super::{Coder, Forest, Reads};
use super::{FIRST_MASK, MAX_PLACES, Mask, WORD};
use crate::cpu::dispatch;

/// What a code column is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    /// The code column.
    pub(super) column: u16,
    /// Place of its first mask.
    pub(super) first: usize,
    /// Number of masks: a threshold each after one that nobody asks for, or a bit of the category nodes each.
    count: usize,
    /// Whether it holds categories.
    category: bool,
}

/// The questions of an ensemble and the places that they end at; `None` where they are too many.
pub(super) fn questions(forest: &Forest, coder: &Coder) -> Option<(Vec<Question>, usize)> {
    let mut place = FIRST_MASK;
    let mut out = Vec::with_capacity(coder.columns());
    for column in 0..coder.columns() {
        let category = matches!(coder.reads(column), Reads::Category { .. });
        let count = match &forest.levels {
            Some(levels) if category => levels.nodes(column),
            _ => coder.thresholds(column).len() + 1,
        };
        out.push(Question { column: column as u16, first: place, count, category });
        place += count;
        if place > MAX_PLACES {
            return None;
        }
    }
    Some((out, place))
}

/// Writes a mask for each code: that rows' codes are this or above.
#[inline(always)]
fn mark<const W: usize>(codes: &[u16], masks: &mut [Mask<W>]) {
    masks.fill([0; W]);
    let Some(last) = masks.len().checked_sub(1) else { return };
    // The code itself first. Word after word at each bit: rows that follow each other often share a code, and would wait for
    // each other.
    let (words, rest) = codes.as_chunks::<WORD>();
    for bit in 0..WORD {
        for (w, codes) in words.iter().enumerate().take(W) {
            masks[usize::from(codes[bit]).min(last)][w] |= 1 << bit;
        }
    }
    if words.len() < W {
        for (bit, &code) in rest.iter().enumerate() {
            masks[usize::from(code).min(last)][words.len()] |= 1 << bit;
        }
    }
    let mut above = [0; W];
    for mask in masks.iter_mut().rev() {
        for w in 0..W {
            above[w] |= mask[w];
        }
        *mask = above;
    }
}

dispatch! {
    fn mark16(codes: &[u16], masks: &mut [Mask<16>]) { mark(codes, masks) }
}
dispatch! {
    fn mark8(codes: &[u16], masks: &mut [Mask<8>]) { mark(codes, masks) }
}
dispatch! {
    fn mark4(codes: &[u16], masks: &mut [Mask<4>]) { mark(codes, masks) }
}

impl Question {
    /// Writes its masks for a block of rows.
    pub(super) fn answer<const W: usize>(&self, forest: &Forest, codes: &[u16], arena: &mut [Mask<W>]) {
        let masks = &mut arena[self.first..self.first + self.count];
        if let Some(levels) = &forest.levels
            && self.category
        {
            for (w, codes) in codes.chunks(WORD).enumerate() {
                for (group, masks) in masks.chunks_exact_mut(WORD).enumerate() {
                    let mut words = [0; WORD];
                    for (word, &code) in words.iter_mut().zip(codes) {
                        let bits = &levels.of(usize::from(self.column), code)[group * (WORD / 8)..];
                        *word = bits.first_chunk().map_or(0, |b| u64::from_le_bytes(*b));
                    }
                    transpose(&mut words);
                    masks.iter_mut().zip(&words).for_each(|(mask, &word)| mask[w] = word);
                }
            }
            return;
        }
        match W {
            16 => mark16(codes, masks.as_flattened_mut().as_chunks_mut().0),
            8 => mark8(codes, masks.as_flattened_mut().as_chunks_mut().0),
            4 => mark4(codes, masks.as_flattened_mut().as_chunks_mut().0),
            _ => mark(codes, masks),
        }
    }
}
