//! Values of leaves that many leaves have in common.

use alloc::vec;
use alloc::vec::Vec;

use corten_core::Result;
use corten_kernels::trees::{Parts, VECTOR};

use crate::threads::each;

/// Leaves below which nothing is shared.
const FEW: usize = 4096;
/// Parts of the leaves that are read side by side.
const PARTS: usize = 16;

/// Distinct values, in the order in which they came, and where each is.
struct Distinct {
    width: usize,
    /// Most that there may be.
    limit: usize,
    /// Open addressing; distinct values stay below half of it.
    table: Vec<u32>,
    values: Vec<f64>,
}

impl Distinct {
    fn new(width: usize, limit: usize) -> Self {
        Self { width, limit, table: vec![u32::MAX; (2 * limit).next_power_of_two()], values: Vec::new() }
    }

    fn len(&self) -> usize {
        self.values.len() / self.width
    }

    /// The place of a value among the distinct ones; `None` once there are too many of them.
    fn place(&mut self, leaf: &[f64]) -> Option<u32> {
        let mask = self.table.len() - 1;
        let hash = leaf.iter().fold(0u64, |h, v| corten_core::random::mix(h ^ v.to_bits()));
        let mut at = hash as usize & mask;
        loop {
            let place = self.table[at];
            if place == u32::MAX {
                let place = self.len() as u32;
                self.table[at] = place;
                self.values.extend_from_slice(leaf);
                return (self.len() < self.limit).then_some(place);
            }
            let known = &self.values[place as usize * self.width..][..self.width];
            if known.iter().zip(leaf).all(|(a, b)| a.to_bits() == b.to_bits()) {
                return Some(place);
            }
            at = (at + 1) & mask;
        }
    }

    /// The places of many values.
    fn places(&mut self, leaves: &[f64]) -> Option<Vec<u32>> {
        leaves.chunks_exact(self.width).map(|leaf| self.place(leaf)).collect()
    }
}

/// Keeps each value of a leaf once where that makes the leaves much fewer: pure leaves of a deep forest are all alike.
///
/// # Errors
/// None of its own.
pub(super) fn share_leaves(parts: &mut Parts, threads: usize) -> Result<()> {
    let vectors = parts.targets.iter().filter(|t| **t == VECTOR).count();
    if parts.leaves.len() < FEW || (vectors != 0 && vectors != parts.targets.len()) {
        return Ok(());
    }
    let width = if vectors > 0 { parts.outputs as usize } else { 1 };
    let count = parts.leaves.len() / width;
    let limit = (count / 8).max(64);
    // The first leaves tell whether it is worth the rest.
    let first = &parts.leaves[..(FEW / 4 + 1).min(count) * width];
    let mut all = Distinct::new(width, limit);
    if all.places(first).is_none() || (count > FEW / 4 && all.len() > FEW / 8) {
        return Ok(());
    }
    let size = if threads > 1 { count.div_ceil(PARTS) } else { count };
    let chunks: Vec<&[f64]> = parts.leaves.chunks(size * width).collect();
    let read = each(threads, chunks, |leaves| {
        let mut distinct = Distinct::new(width, limit.min(leaves.len() / width + 1));
        let places = distinct.places(leaves);
        Ok(places.map(|places| (distinct.values, places)))
    })?;
    let mut to = Vec::with_capacity(read.len());
    for part in read {
        let Some((values, places)) = part else { return Ok(()) };
        let Some(shared) = all.places(&values) else { return Ok(()) };
        to.push((shared, places));
    }
    let leaf = |at: usize| {
        let (shared, places) = &to[at / size];
        shared[places[at % size] as usize] * width as u32
    };
    let mut payload = core::mem::take(&mut parts.payload);
    let size = payload.len().div_ceil(if threads > 1 { PARTS } else { 1 });
    let changed = payload.chunks_mut(size).zip((0..).step_by(size)).collect();
    each(threads, changed, |(payload, start): (&mut [u32], usize)| {
        for (payload, at) in payload.iter_mut().zip(start..) {
            if parts.node(at).left as usize == at {
                *payload = leaf(*payload as usize / width);
            }
        }
        Ok(())
    })?;
    parts.payload = payload;
    parts.leaves = all.values;
    Ok(())
}
