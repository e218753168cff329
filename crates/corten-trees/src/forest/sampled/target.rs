//! What trees of drawn columns are grown for: classes, by Gini impurity.

use corten_kernels::splits;

use super::super::finder::Stats;
use super::super::ordered::classes::{Classes, Room, Two};
use super::super::ordered;

/// Classes whose weights are whole numbers.
pub(crate) trait Target: ordered::Target {
    /// What goes with a row.
    fn item(&self, class: u32, weight: u32) -> Self::Item;
    /// Turns to a node of given class weights.
    fn turn(&self, node: &mut Self::Node, totals: impl Iterator<Item = (u32, u32)>) -> Stats;
    /// Up to how many codes counting beats sorting so many rows.
    fn bins(&self, rows: usize) -> usize;
    /// The best cut of rows counted by code, all of which lie between two: the codes beside it, and its score.
    fn counted(
        &self,
        node: &Self::Node,
        codes: &[u32],
        items: &[Self::Item],
        span: (u32, u32),
        room: &mut Self::Room,
    ) -> Option<(u32, u32, f64)>;
}

impl Target for Two {
    #[inline(always)]
    fn item(&self, class: u32, weight: u32) -> u64 {
        Self::item(class, weight)
    }

    #[inline(always)]
    fn turn(&self, node: &mut [u32; 2], totals: impl Iterator<Item = (u32, u32)>) -> Stats {
        ordered::Target::enter(self, node, totals.map(|(class, weight)| Self::item(class, weight)))
    }

    #[inline(always)]
    fn bins(&self, rows: usize) -> usize {
        rows
    }

    #[inline(always)]
    fn counted(
        &self,
        node: &[u32; 2],
        codes: &[u32],
        items: &[u64],
        (low, high): (u32, u32),
        bins: &mut Vec<u64>,
    ) -> Option<(u32, u32, f64)> {
        let count = (high - low) as usize + 1;
        bins.clear();
        bins.resize(count, 0);
        for (&code, &item) in codes.iter().zip(items) {
            bins[(code - low) as usize] += item;
        }
        let mut sum = 0;
        for bin in &mut *bins {
            sum += *bin;
            *bin = sum;
        }
        // After an empty bin stands the cut before it once more: of equal ones, the first is best.
        let sums = &bins[..count - 1];
        let (at, score) = splits::first_greatest(count - 1, |i| {
            splits::gini(sums[i] as u32, (sums[i] >> u32::BITS) as u32, *node)
        })?;
        let more = bins[at + 1..].iter().take_while(|&&sum| sum == bins[at]).count();
        Some((low + at as u32, low + (at + 1 + more) as u32, score))
    }
}

impl Target for Classes {
    #[inline(always)]
    fn item(&self, class: u32, weight: u32) -> (u32, u32) {
        (class, weight)
    }

    #[inline(always)]
    fn turn(&self, node: &mut Self::Node, totals: impl Iterator<Item = (u32, u32)>) -> Stats {
        ordered::Target::enter(self, node, totals)
    }

    #[inline(always)]
    fn bins(&self, rows: usize) -> usize {
        // A bin costs as much as a row for each of a few classes.
        4 * rows / self.classes.max(8)
    }

    #[inline(always)]
    fn counted(
        &self,
        node: &Self::Node,
        codes: &[u32],
        items: &[(u32, u32)],
        (low, high): (u32, u32),
        room: &mut Room,
    ) -> Option<(u32, u32, f64)> {
        let (count, classes) = ((high - low) as usize + 1, self.classes);
        room.bins.clear();
        room.bins.resize(count * classes, 0);
        for (&code, &(class, weight)) in codes.iter().zip(items) {
            room.bins[(code - low) as usize * classes + class as usize] += weight;
        }
        room.left.clear();
        room.left.resize(classes, 0);
        room.upto.iter_mut().for_each(|upto| upto.resize(upto.len().max(count), 0));
        let [weights, lefts, crosses] = room.upto.each_mut().map(|upto| &mut upto[..count]);
        let mut sum = 0;
        for (at, added) in room.bins.chunks_exact(classes).enumerate() {
            let (mut weight, mut left, mut cross) = (0, 0, 0);
            for ((l, &w), &total) in room.left.iter_mut().zip(added).zip(&node.totals) {
                *l += w;
                weight += w;
                left += u64::from(*l) * u64::from(*l);
                cross += u64::from(*l) * u64::from(total);
            }
            sum += u64::from(weight);
            (weights[at], lefts[at], crosses[at]) = (sum, left, cross);
        }
        // After an empty bin stands the cut before it once more: of equal ones, the first is best.
        let (at, score) = node.best(room, 0..count - 1, |_| true)?;
        let weights = &room.upto[0][..count];
        let more = weights[at + 1..].iter().take_while(|&&weight| weight == weights[at]).count();
        Some((low + at as u32, low + (at + 1 + more) as u32, score))
    }
}
