//! What the nodes that read categories decide: the bits of a code, spread to their lanes.

use alloc::vec::Vec;

use super::{Coder, Forest, Reads};
use crate::cache::fetch_value;
use crate::trees::levels::EXPANDED;

/// The nodes of a tree that read one code column of categories.
#[derive(Clone, Copy, Debug)]
struct Spread {
    tree: u32,
    vector: u32,
    /// Their bits start with this byte.
    byte: u32,
    /// Their lanes.
    lanes: u64,
}

/// The category nodes of an ensemble in lanes.
#[derive(Clone, Debug, Default)]
pub(super) struct Categories {
    /// Columns of many categories, each with its nodes in the order of the vectors: the bits of a code lie side by side, and
    /// are read in their order.
    spreads: Vec<(u16, Vec<Spread>)>,
    /// The other columns: the column, and its first word in `decided`, a word a vector for each code.
    expanded: Vec<(u16, usize)>,
    decided: Vec<u64>,
    /// Of each vector the nodes that leave their paths by going left.
    turned: Vec<u64>,
}

impl Categories {
    /// Notes a node that leaves its path by going left.
    pub(super) fn turn(&mut self, vector: usize, lane: usize) {
        self.turned.resize(self.turned.len().max(vector + 1), 0);
        self.turned[vector] |= 1 << lane;
    }

    /// Has a word for each vector.
    pub(super) fn cover(&mut self, vectors: usize) {
        self.turned.resize(vectors, 0);
    }

    /// Notes a node that reads categories; those of a tree come in the order of their bits.
    pub(super) fn note(&mut self, forest: &Forest, tree: usize, vector: usize, lane: usize, column: u16, at: usize) {
        let Some(levels) = &forest.levels else { return };
        let known = self.spreads.iter().position(|(of, _)| *of == column).unwrap_or_else(|| {
            self.spreads.push((column, Vec::new()));
            self.spreads.len() - 1
        });
        let spreads = &mut self.spreads[known].1;
        match spreads.last_mut().filter(|s| s.tree as usize == tree) {
            Some(spread) => spread.lanes |= 1 << lane,
            None => {
                let byte = (levels.place(at) / 8) as u32;
                spreads.push(Spread { tree: tree as u32, vector: vector as u32, byte, lanes: 1 << lane });
            }
        }
    }

    /// Spreads the decisions of columns with few categories to all vectors once for each code.
    pub(super) fn expand(&mut self, forest: &Forest, coder: &Coder, vectors: usize) {
        let Self { spreads, expanded, decided, .. } = self;
        spreads.retain(|(column, spreads)| {
            let Reads::Category { levels } = coder.reads(usize::from(*column)) else { return true };
            let (codes, start) = (levels as usize + 2, decided.len());
            if start + codes * vectors > EXPANDED {
                return true;
            }
            decided.resize(start + codes * vectors, 0);
            for (code, words) in (0u16..).zip(decided[start..].chunks_exact_mut(vectors)) {
                add(forest, *column, spreads, code, words);
            }
            expanded.push((*column, start));
            false
        });
    }

    /// What the category nodes of each vector decide, and what turns decisions round; empty where there are none.
    #[inline(always)]
    pub(super) fn decide(&self, forest: &Forest, codes: &[u16], vectors: usize, decided: &mut Vec<u64>) {
        decided.clear();
        let Some(levels) = &forest.levels else { return };
        let words = |&(column, start): &(u16, usize)| {
            &self.decided[start + usize::from(codes[usize::from(column)]) * vectors..][..vectors]
        };
        // Those of many categories come from far away: all at once.
        self.spreads.iter().for_each(|(c, _)| fetch_value(levels.of(usize::from(*c), codes[usize::from(*c)])));
        self.expanded.iter().for_each(|column| fetch_value(words(column)));
        decided.extend_from_slice(&self.turned);
        for column in &self.expanded {
            decided.iter_mut().zip(words(column)).for_each(|(d, w)| *d ^= w);
        }
        for (column, spreads) in &self.spreads {
            add(forest, *column, spreads, codes[usize::from(*column)], decided);
        }
    }
}

/// Adds the decisions of a column's nodes to those of their vectors.
#[inline(always)]
#[expect(unsafe_code, reason = "the innermost loop; the spreads were noted for these vectors and bits")]
fn add(forest: &Forest, column: u16, spreads: &[Spread], code: u16, decided: &mut [u64]) {
    let Some(levels) = &forest.levels else { return };
    let bits = levels.of(usize::from(column), code);
    for &Spread { vector, byte, lanes, .. } in spreads {
        debug_assert!((vector as usize) < decided.len() && byte as usize + 8 <= bits.len());
        // SAFETY: there is a word for each vector, and 8 bytes follow a column's bits.
        unsafe {
            let word = bits.as_ptr().add(byte as usize).cast::<u64>().read_unaligned();
            *decided.get_unchecked_mut(vector as usize) ^= deposit(u64::from_le(word), lanes);
        }
    }
}

/// The low bits of `word`, put where `lanes` has bits.
#[inline(always)]
fn deposit(word: u64, lanes: u64) -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        #[expect(unsafe_code, reason = "instructions beyond the target's base")]
        // SAFETY: lanes are only laid out where vbmi() found BMI2 too.
        unsafe {
            core::arch::x86_64::_pdep_u64(word, lanes)
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        crate::trees::levels::deposit(word, lanes)
    }
}
