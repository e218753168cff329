//! The shares of a search of nodes that threads take: a column each, or some that are summed by value together.

use std::ops::Range;

use corten_kernels::lanes::{Lanes, Work};

use super::super::super::lists::partition;
use super::super::super::sort::Key;
use super::super::{Cut, Growth, Target, bins};
use super::{Brood, Desk, Look, Part, Split, Top};

/// What columns offer a node, and their sums by value.
pub(super) struct Offer<S> {
    pub(super) looks: Vec<Look>,
    pub(super) sums: Vec<S>,
}

/// One column's share of [`Top::look`].
pub(super) struct Scan<'w, 'a, K, T: Target> {
    pub(super) growth: &'w Growth<'a, T>,
    pub(super) keys: &'w mut [K],
    pub(super) desk: &'w mut Desk<K, T>,
    pub(super) column: usize,
    pub(super) parts: &'w [Part<T>],
    pub(super) broods: &'w [Brood<'w, T::Sum>],
    pub(super) is_left: &'w [u8],
}

impl<K: Key, T: Target> Work for Scan<'_, '_, K, T> {
    type Out = Vec<Look>;

    #[inline(always)]
    fn run<L: Lanes>(self, _: L) -> Vec<Look> {
        let Self { growth, keys: all, desk, column, .. } = self;
        let is_set = |known: &[u64]| known[column / 64] >> (column % 64) & 1 == 1;
        let mut looks = Vec::with_capacity(self.parts.len());
        for Brood { split, parts } in self.broods {
            if let &Some(Split { start, end, by, known, .. }) = split
                && column != by
                && !is_set(known)
            {
                desk.buffer.resize(desk.buffer.len().max(end - start), K::default());
                partition(&mut all[start..end], self.is_left, &mut desk.buffer);
            }
            for part in &self.parts[parts.clone()] {
                let keys = &all[part.start..part.end];
                looks.push(if is_set(&part.known) || keys[0].code() == keys[keys.len() - 1].code() {
                    Look::Constant
                } else {
                    let absent = growth.absent(column, keys, growth.soil.rows);
                    Look::Cut(growth.look(&part.node, keys, absent, growth.items, &mut desk.room))
                });
            }
        }
        looks
    }
}

/// The share of columns that are summed by value together, the group `at`.
pub(super) struct Count<'w, 'a, K, T: Target> {
    pub(super) top: &'w Top<'a, K, T>,
    pub(super) group: &'w Range<usize>,
    pub(super) at: usize,
    pub(super) parts: &'w [Part<T>],
    pub(super) broods: &'w [Brood<'w, T::Sum>],
}

impl<K: Key, T: Target> Count<'_, '_, K, T> {
    /// Sums some rows by value.
    #[inline(always)]
    fn sum(&self, rows: Range<usize>) -> Vec<T::Sum> {
        let (growth, mut sums) = (self.top.growth, Vec::new());
        let rows = self.top.order[rows].iter().map(|key| (growth.soil.rows[key.place()], growth.items[key.place()]));
        growth.soil.orders.bins.add(growth.target, self.group, rows, &mut sums);
        sums
    }
}

impl<K: Key, T: Target> Work for Count<'_, '_, K, T> {
    type Out = Vec<Offer<T::Sum>>;

    #[inline(always)]
    fn run<L: Lanes>(self, _: L) -> Vec<Offer<T::Sum>> {
        let (growth, mut room) = (self.top.growth, T::Room::default());
        let bins = &growth.soil.orders.bins;
        let first = bins.sums(self.group).start;
        let mut offers = Vec::with_capacity(self.parts.len());
        for Brood { split, parts } in self.broods {
            // The smaller of two children is summed, and the other has what is left.
            let small = split.as_ref().map(|split| {
                let is_left = split.middle - split.start <= split.end - split.middle;
                if is_left { split.start..split.middle } else { split.middle..split.end }
            });
            let own = small.as_ref().filter(|_| !parts.is_empty()).map(|rows| self.sum(rows.clone()));
            for part in &self.parts[parts.clone()] {
                let mut sums = Vec::new();
                if let (Some(small), Some(split), Some(own)) = (&small, split, &own) {
                    if *small == (part.start..part.end) {
                        sums.clone_from(own);
                    } else {
                        bins::rest(&split.sums[self.at], own, &mut sums);
                    }
                } else {
                    sums = self.sum(part.start..part.end);
                }
                let looks = bins.columns[self.group.clone()].iter().map(|binned| {
                    let sums = &sums[binned.sums.start - first..binned.sums.end - first];
                    match growth.target.best_by_value(&part.node, sums, &mut room) {
                        Some((at, score)) => Look::Cut(Some(Cut { at, score, missing_left: false })),
                        None => Look::Constant,
                    }
                });
                let looks = looks.collect();
                offers.push(Offer { looks, sums });
            }
        }
        offers
    }
}
