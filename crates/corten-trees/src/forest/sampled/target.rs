//! What trees of drawn columns are grown for: classes, by Gini impurity.

use std::ops::Range;

use super::super::ordered::classes::{Classes, Room, Two};
use super::super::ordered::{self, fill};
use super::super::sort::Key;

/// Classes whose weights are whole numbers.
pub(crate) trait Target: ordered::Target {
    /// What goes with a row.
    fn item(&self, class: u32, weight: u32) -> Self::Item;
    /// The best of the cuts before some of the keys of all rows but those of the least code, in ascending order; and its
    /// score.
    fn before<K: Key>(
        &self,
        node: &Self::Node,
        keys: &[K],
        items: &[Self::Item],
        cuts: Range<usize>,
        room: &mut Self::Room,
    ) -> Option<(usize, f64)>;
    /// By how much more the rows of each class weigh, where it isn't 1.
    fn factors(&self) -> Option<&[f64]> {
        None
    }
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
    fn before<K: Key>(
        &self,
        node: &[u32; 2],
        keys: &[K],
        items: &[u64],
        cuts: Range<usize>,
        room: &mut Self::Room,
    ) -> Option<(usize, f64)> {
        let sums = &mut room.upto;
        let end = cuts.end;
        fill(sums, end, 0);
        sums[..cuts.start].fill(0);
        let mut sum = 0;
        for key in &keys[end..] {
            sum += items[key.place()];
        }
        for at in cuts.rev() {
            sum += items[keys[at].place()];
            // Of what is no cut, nothing: such a side has no score.
            sums[at] = sum & u64::from(at == 0 || keys[at - 1].code() != keys[at].code()).wrapping_neg();
        }
        self.best_of(node, sums, end)
    }

    #[inline(always)]
    fn factors(&self) -> Option<&[f64]> {
        self.by_class.as_ref().map(|by_class| &by_class[..])
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
        room: &mut Self::Room,
    ) -> Option<(u32, u32, f64)> {
        let bins = &mut room.upto;
        let count = (high - low) as usize + 1;
        bins.clear();
        bins.resize(count, 0);
        for (&code, &item) in codes.iter().zip(items) {
            bins[(code - low) as usize] += item;
        }
        let mut sum = 0;
        for bin in bins.iter_mut() {
            sum += *bin;
            *bin = sum;
        }
        // What is all is no cut. After an empty bin stands the cut before it once more: of equal ones, the first is best.
        fill(bins, count - 1, 0);
        let (at, score) = self.best_of(node, bins, count - 1)?;
        let more = bins[at + 1..count - 1].iter().take_while(|&&sum| sum == bins[at]).count();
        Some((low + at as u32, low + (at + 1 + more) as u32, score))
    }
}

impl Target for Classes {
    #[inline(always)]
    fn item(&self, class: u32, weight: u32) -> (u32, u32) {
        (class, weight)
    }

    #[inline(always)]
    fn before<K: Key>(
        &self,
        node: &Self::Node,
        keys: &[K],
        items: &[(u32, u32)],
        cuts: Range<usize>,
        room: &mut Room,
    ) -> Option<(usize, f64)> {
        room.reset(self.classes, keys.len());
        let [weights, squares, crosses] = room.upto.each_mut().map(|upto| &mut upto[..keys.len()]);
        let (mut weight, mut square, mut cross, mut first) = (0, 0, 0, keys.len());
        for at in (cuts.start..keys.len()).rev() {
            let (class, w) = items[keys[at].place()];
            let (before, w) = (&mut room.left[class as usize], u64::from(w));
            weight += w;
            square += w * (2 * u64::from(*before) + w);
            cross += w * u64::from(node.totals[class as usize]);
            *before += w as u32;
            // Written in any case, kept where a cut may be: no branch.
            (weights[first - 1], squares[first - 1], crosses[first - 1]) = (weight, square, cross);
            room.places[first - 1] = at as u32;
            let other = at == 0 || keys[at - 1].code() != keys[at].code();
            first -= usize::from(other & (at < cuts.end));
        }
        let (at, score) = node.best(room, first..keys.len())?;
        Some((room.places[at] as usize, score))
    }

    #[inline(always)]
    fn bins(&self, rows: usize) -> usize {
        // A bin costs as much as some rows for each of a few classes.
        rows / self.classes.max(8)
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
        room.reset(classes, count);
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
        // What is all is no cut. After an empty bin stands the cut before it once more: of equal ones, the first is best.
        room.upto.iter_mut().for_each(|upto| upto[count - 1] = 0);
        let (at, score) = node.best(room, 0..count - 1)?;
        let weights = &room.upto[0][..count - 1];
        let more = weights[at + 1..].iter().take_while(|&&weight| weight == weights[at]).count();
        Some((low + at as u32, low + (at + 1 + more) as u32, score))
    }
}
