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

/// From "the code is this" to "the code is this or above".
#[inline(always)]
fn gather<const W: usize>(masks: &mut [Mask<W>]) {
    let mut above = [0; W];
    for mask in masks.iter_mut().rev() {
        for w in 0..W {
            above[w] |= mask[w];
        }
        *mask = above;
    }
}

dispatch! {
    fn gather16(masks: &mut [Mask<16>]) { gather(masks) }
}
dispatch! {
    fn gather8(masks: &mut [Mask<8>]) { gather(masks) }
}
dispatch! {
    fn gather4(masks: &mut [Mask<4>]) { gather(masks) }
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
        masks.fill([0; W]);
        // The code itself first: one mask for each, and one for 0.
        let last = self.count - 1;
        let mut note = |w: usize, bit: usize, code: u16| masks[usize::from(code).min(last)][w] |= 1 << bit;
        // Word after word at each bit: rows that follow each other often share a code, and would wait for each other.
        let full = codes.len() / WORD;
        for bit in 0..WORD {
            (0..full).for_each(|w| note(w, bit, codes[w * WORD + bit]));
        }
        codes[full * WORD..].iter().enumerate().for_each(|(bit, &code)| note(full, bit, code));
        match W {
            16 => gather16(masks.as_flattened_mut().as_chunks_mut().0),
            8 => gather8(masks.as_flattened_mut().as_chunks_mut().0),
            4 => gather4(masks.as_flattened_mut().as_chunks_mut().0),
            _ => gather(masks),
        }
    }
}
