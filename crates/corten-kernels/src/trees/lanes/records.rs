//! The lowest nodes of trees: up to four of them and their leaves, in one line of the cache.
//!
//! What would take two lines, one of leaves and its share of a register's nodes, takes one, and a tree's register holds a
//! third of its nodes, so that several trees share one. The decisions of a record's nodes are a number of four bits, which
//! says where in the record the leaf lies.

use alloc::vec;
use alloc::vec::Vec;

use super::{EXITS, Forest, Slots};
use crate::aligned::Aligned;
use crate::trees::slots::HIGHEST;

/// Most inner nodes of a record.
pub(super) const NODES: usize = 4;
/// Bytes of a record: the slots and thresholds of its nodes, where the leaf of each combination of decisions starts, and
/// the leaves.
pub(super) const BYTES: usize = 64;
pub(super) type Record = [u8; BYTES];
pub(super) const THRESHOLDS: usize = NODES;
pub(super) const STARTS: usize = THRESHOLDS + NODES;
const LEAVES: usize = STARTS + (1 << NODES);
/// The bit of a start that says that no leaf lies there, but the place where the way goes on.
pub(super) const GOES_ON: u8 = 1 << 7;

/// A record of the nodes from `root` on, at most [`NODES`] that read numbers; a leaf is what `word` makes of its place in
/// the forest's leaves.
pub(super) fn of_nodes(forest: &Forest, slots: &Slots, root: usize, word: impl Fn(u32) -> u64) -> Record {
    let (mut inner, mut leaves, mut open) =
        (Vec::with_capacity(NODES), Vec::with_capacity(NODES + 1), Vec::from([root]));
    while let Some(at) = open.pop() {
        let left = forest.node(at).left as usize;
        if left == at {
            leaves.push(at);
        } else {
            inner.push(at);
            open.extend([left + 1, left]);
        }
    }
    let mut out = [0; BYTES];
    out[THRESHOLDS..STARTS].fill(HIGHEST);
    for (i, &at) in inner.iter().enumerate() {
        let node = forest.node(at);
        let (slot, threshold) = slots.of(node.column, node.threshold);
        (out[i], out[THRESHOLDS + i]) = (slot as u8, threshold);
    }
    let place = |list: &[usize], at: usize| list.iter().position(|&of| of == at);
    for (decisions, start) in out[STARTS..LEAVES].iter_mut().enumerate() {
        let mut at = root;
        while let Some(i) = place(&inner, at) {
            at = forest.node(at).left as usize + (decisions >> i & 1);
        }
        *start = (LEAVES + 8 * place(&leaves, at).unwrap_or(0)) as u8;
    }
    for (to, &at) in out[LEAVES..].as_chunks_mut().0.iter_mut().zip(&leaves) {
        *to = word(forest.parts().payload[at]).to_le_bytes();
    }
    out
}

/// The record of a way that goes on at a place.
pub(super) fn going_on(place: u32) -> Record {
    let mut out = [0; BYTES];
    out[THRESHOLDS..STARTS].fill(HIGHEST);
    out[STARTS..LEAVES].fill(LEAVES as u8 | GOES_ON);
    out[LEAVES..LEAVES + 8].copy_from_slice(&u64::from(place).to_le_bytes());
    out
}

/// How far back from the last record holes are looked for.
const BACK: usize = 256;

/// The records of some vectors, each with its exit, and the first one of each vector: exits that a vector doesn't have are
/// those of others, so that records lie close together.
pub(in crate::trees) fn packed<const N: usize>(of_vectors: &[Vec<(u8, [u8; N])>]) -> (Aligned<u8>, Vec<u32>) {
    let mut taken: Vec<u128> = vec![0; 2];
    let window = |taken: &[u128], at: usize| match at % EXITS {
        0 => taken[at / EXITS],
        low => taken[at / EXITS] >> low | taken[at / EXITS + 1] << (EXITS - low),
    };
    let (mut firsts, mut end) = (Vec::with_capacity(of_vectors.len()), 0usize);
    for records in of_vectors {
        let exits = records.iter().fold(0u128, |exits, record| exits | 1 << record.0);
        let mut first = end.saturating_sub(BACK);
        while window(&taken, first) & exits != 0 {
            first += 1;
        }
        firsts.push(first as u32);
        end = end.max(first + EXITS - exits.leading_zeros() as usize);
        taken.resize(end / EXITS + 3, 0);
        taken[first / EXITS] |= exits << (first % EXITS);
        if !first.is_multiple_of(EXITS) {
            taken[first / EXITS + 1] |= exits >> (EXITS - first % EXITS);
        }
    }
    // Exits of trees that a last vector isn't filled up with are told, too, but not read.
    let mut out = Aligned::zeroed(end * N);
    for (records, &first) in of_vectors.iter().zip(&firsts) {
        for (exit, record) in records {
            out[(first as usize + usize::from(*exit)) * N..][..N].copy_from_slice(record);
        }
    }
    (out, firsts)
}
