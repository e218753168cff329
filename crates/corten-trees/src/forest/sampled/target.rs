//! What trees of drawn columns are grown for: classes, by Gini impurity or entropy.

use std::ops::Range;

use super::super::ordered::classes::{Classes, Node, Room, Two};
use super::super::ordered::{self, Shares, fill, shares};
use super::super::purity::Entropy;
use super::super::sort::Key;
use super::{Cuts, Found, terms};

/// Classes whose weights are whole numbers, but for a factor of each class.
pub(crate) trait Target: ordered::Target {
    /// What goes with a row.
    fn item(&self, class: u32, weight: u32) -> Self::Item;
    /// The best of the cuts before some of the keys of all rows but those of the least code, in ascending order: the key that
    /// comes after it, its score, and whether missing values go left. The first one among equals, where they go right.
    fn before<K: Key>(
        &self,
        node: &Self::Node,
        keys: &[K],
        items: &[Self::Item],
        cuts: &Cuts,
        room: &mut Self::Room,
    ) -> Option<(usize, f64, bool)>;
    /// By how much more the rows of each class weigh, where it isn't 1.
    fn factors(&self) -> Option<&[f64]> {
        None
    }
    /// Where trees are grown by entropy, its terms.
    fn entropy(&self) -> Option<&Entropy> {
        None
    }
    /// Up to how many codes counting beats sorting so many rows.
    fn bins(&self, rows: usize) -> usize;
    /// The best cut of rows counted by code, all of which lie between two, the greatest that of missing values or not.
    fn counted(
        &self,
        node: &Self::Node,
        codes: &[u32],
        items: &[Self::Item],
        span: (u32, u32),
        is_gone: bool,
        room: &mut Self::Room,
    ) -> Option<Found>;
}

/// The better one of two cuts, the first of equals, and whether it is the other.
#[inline(always)]
pub(super) fn better(first: Option<(usize, f64)>, other: Option<(usize, f64)>) -> Option<(usize, f64, bool)> {
    match (first, other) {
        (Some((_, score)), Some((at, more))) if more > score => Some((at, more, true)),
        (None, Some((at, score))) => Some((at, score, true)),
        (first, _) => first.map(|(at, score)| (at, score, false)),
    }
}

/// The cut after a bin, from the sums up to each of them but the last: after an empty bin stands the cut before it once
/// more, and of equal ones the first is best.
#[inline(always)]
pub(super) fn after_bin((at, score, missing_left): (usize, f64, bool), low: u32, upto: &[u64]) -> Found {
    let more = upto[at + 1..].iter().take_while(|&&sum| sum == upto[at]).count();
    Found { last: low + at as u32, next: low + (at + 1 + more) as u32, score, missing_left }
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
        cuts: &Cuts,
        room: &mut Self::Room,
    ) -> Option<(usize, f64, bool)> {
        let (sums, all) = (&mut room.upto, cuts.all());
        let end = all.end;
        fill(sums, end, 0);
        sums[..all.start].fill(0);
        let mut sum = 0;
        for key in &keys[end..] {
            sum += items[key.place()];
        }
        for at in all.rev() {
            sum += items[keys[at].place()];
            // Of what is no cut, nothing: such a side has no score.
            sums[at] = sum & u64::from(at == 0 || keys[at - 1].code() != keys[at].code()).wrapping_neg();
        }
        let mut left = None;
        if cuts.gone > 0 {
            let gone: u64 = keys[keys.len() - cuts.gone..].iter().map(|key| items[key.place()]).sum();
            // The same without missing values.
            let (apart, end) = (&mut room.apart, cuts.left.end);
            fill(apart, end, 0);
            for (at, (apart, &sum)) in apart[..end].iter_mut().zip(&*sums).enumerate() {
                *apart = if (sum > 0) & (at >= cuts.left.start) { sum - gone } else { 0 };
            }
            left = self.best_of(node, apart, end);
            sums[..cuts.right.start.min(cuts.right.end)].fill(0);
        }
        better(self.best_of(node, sums, cuts.right.end), left)
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
        is_gone: bool,
        room: &mut Self::Room,
    ) -> Option<Found> {
        let bins = &mut room.upto;
        let count = (high - low) as usize + 1;
        bins.clear();
        bins.resize(count, 0);
        for (&code, &item) in codes.iter().zip(items) {
            bins[(code - low) as usize] += item;
        }
        let gone = if is_gone { bins[count - 1] } else { 0 };
        let mut sum = 0;
        for bin in bins.iter_mut() {
            sum += *bin;
            *bin = sum;
        }
        // What is all is no cut.
        fill(bins, count - 1, 0);
        let right = self.best_of(node, bins, count - 1);
        let mut left = None;
        if is_gone {
            bins[..count - 1].iter_mut().for_each(|bin| *bin += gone);
            left = self.best_of(node, bins, count - 1);
        }
        Some(after_bin(better(right, left)?, low, &bins[..count - 1]))
    }
}

impl Target for Classes {
    #[inline(always)]
    fn item(&self, class: u32, weight: u32) -> (u32, u32) {
        (class, weight)
    }

    #[inline(always)]
    fn entropy(&self) -> Option<&Entropy> {
        self.entropy.as_ref()
    }

    #[inline(always)]
    fn before<K: Key>(
        &self,
        node: &Self::Node,
        keys: &[K],
        items: &[(u32, u32)],
        cuts: &Cuts,
        room: &mut Room,
    ) -> Option<(usize, f64, bool)> {
        if let Some(entropy) = &self.entropy {
            return terms::before(entropy, node, keys, items, cuts, room);
        }
        let count = keys.len();
        room.reset(self.classes, count);
        if cuts.gone == 0 {
            let first = kept::<K, false>(node, keys, items, cuts, room);
            let (at, score) = node.best(room, first..count)?;
            return Some((room.places[at] as usize, score, false));
        }
        room.reset_gone(self.classes, count);
        let there = count - cuts.gone;
        for key in &keys[there..] {
            let (class, weight) = items[key.place()];
            room.gone[class as usize] += weight;
        }
        let first = kept::<K, true>(node, keys, items, cuts, room);
        let before = room.places[first..count].iter().take_while(|&&at| (at as usize) < cuts.right.start).count();
        let right = node.best(room, first + before..count);
        // The same without missing values.
        let (weight, square, cross) = node.of_part(&room.gone);
        let [weights, squares, crosses] = room.upto.each_mut().map(|upto| &mut upto[..count]);
        for at in first..count {
            let may = cuts.left.contains(&(room.places[at] as usize));
            let (w, s, c) = (weights[at] - weight, squares[at] + square - 2 * room.apart[at], crosses[at] - cross);
            // Of what is no cut, nothing: such a side has no score.
            (weights[at], squares[at], crosses[at]) = if may { (w, s, c) } else { (0, 0, 0) };
        }
        let (at, score, missing_left) = better(right, node.best(room, first..count))?;
        Some((room.places[at] as usize, score, missing_left))
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
        is_gone: bool,
        room: &mut Room,
    ) -> Option<Found> {
        let (count, classes) = ((high - low) as usize + 1, self.classes);
        room.bins.clear();
        room.bins.resize(count * classes, 0);
        for (&code, &(class, weight)) in codes.iter().zip(items) {
            room.bins[(code - low) as usize * classes + class as usize] += weight;
        }
        if let Some(entropy) = &self.entropy {
            return terms::counted(entropy, node, low, is_gone, room);
        }
        room.reset(classes, count);
        if is_gone {
            room.reset_gone(classes, count);
            room.gone.copy_from_slice(&room.bins[(count - 1) * classes..]);
            summed::<true>(node, classes, count, room);
        } else {
            summed::<false>(node, classes, count, room);
        }
        // What is all is no cut.
        room.upto.iter_mut().for_each(|upto| upto[count - 1] = 0);
        let right = node.best(room, 0..count - 1);
        let mut left = None;
        if is_gone {
            let (weight, square, cross) = node.of_part(&room.gone);
            let [weights, squares, crosses] = room.upto.each_mut().map(|upto| &mut upto[..count - 1]);
            for at in 0..count - 1 {
                weights[at] += weight;
                squares[at] += square + 2 * room.apart[at];
                crosses[at] += cross;
            }
            left = node.best(room, 0..count - 1);
        }
        Some(after_bin(better(right, left)?, low, &room.upto[0][..count - 1]))
    }
}

impl Target for Shares {
    #[inline(always)]
    fn item(&self, class: u32, weight: u32) -> (u32, f64) {
        (class, f64::from(weight))
    }

    #[inline(always)]
    fn factors(&self) -> Option<&[f64]> {
        Some(&self.by_class)
    }

    #[inline(always)]
    fn before<K: Key>(
        &self,
        node: &Self::Node,
        keys: &[K],
        items: &[(u32, f64)],
        cuts: &Cuts,
        room: &mut Self::Room,
    ) -> Option<(usize, f64, bool)> {
        room.reset(self.by_class.len());
        let there = keys.len() - cuts.gone;
        room.left.clone_from(&node.sums);
        room.gone.clear();
        room.gone.resize(node.sums.len(), 0.0);
        for (at, key) in keys.iter().enumerate() {
            let (class, weight) = items[key.place()];
            room.left[class as usize] -= weight;
            room.gone[class as usize] += if at >= there { weight } else { 0.0 };
        }
        // What lies left of all keys, without missing values and with them.
        room.gone.iter_mut().zip(&room.left).for_each(|(gone, left)| *gone += left);
        let right = self.best_before(node, keys, items, &cuts.right, room);
        if cuts.gone == 0 {
            return better(right, None);
        }
        std::mem::swap(&mut room.left, &mut room.gone);
        better(right, self.best_before(node, keys, items, &cuts.left, room))
    }

    #[inline(always)]
    fn bins(&self, rows: usize) -> usize {
        // A bin costs as much as some rows for each of a few classes.
        rows / self.by_class.len().max(8)
    }

    #[inline(always)]
    fn counted(
        &self,
        node: &Self::Node,
        codes: &[u32],
        items: &[(u32, f64)],
        (low, high): (u32, u32),
        is_gone: bool,
        room: &mut Self::Room,
    ) -> Option<Found> {
        let (count, classes) = ((high - low) as usize + 1, self.by_class.len());
        room.bins.clear();
        room.bins.resize(count * classes, 0.0);
        for (&code, &(class, weight)) in codes.iter().zip(items) {
            room.bins[(code - low) as usize * classes + class as usize] += weight;
        }
        room.reset(classes);
        let right = self.best_after(node, count - 1, room);
        let mut left = None;
        if is_gone {
            room.left.copy_from_slice(&room.bins[(count - 1) * classes..]);
            left = self.best_after(node, count - 1, room);
        }
        let (at, score, missing_left) = better(right, left)?;
        let more = room.bins[(at + 1) * classes..]
            .chunks_exact(classes)
            .take_while(|own| ordered::Target::is_empty(self, own))
            .count();
        Some(Found { last: low + at as u32, next: low + (at + 1 + more) as u32, score, missing_left })
    }
}

impl Shares {
    /// The best of the cuts before some of the keys, from what lies left of all of them.
    #[inline(always)]
    fn best_before<K: Key>(
        &self,
        node: &shares::Node,
        keys: &[K],
        items: &[(u32, f64)],
        cuts: &Range<usize>,
        room: &mut shares::Room,
    ) -> Option<(usize, f64)> {
        let mut best = None;
        room.places.clear();
        for at in 0..cuts.end {
            if at >= cuts.start && (at == 0 || keys[at - 1].code() != keys[at].code()) {
                room.keep(node, &self.by_class, at);
                if room.is_full() {
                    best = room.best(self.measure, node, best);
                    room.places.clear();
                }
            }
            let (class, weight) = items[keys[at].place()];
            room.left[class as usize] += weight;
        }
        room.best(self.measure, node, best)
    }

    /// The best of the cuts after each of some bins, from what lies left of all of them.
    #[inline(always)]
    fn best_after(&self, node: &shares::Node, bins: usize, room: &mut shares::Room) -> Option<(usize, f64)> {
        let (mut best, classes) = (None, self.by_class.len());
        room.places.clear();
        for at in 0..bins {
            let own = &room.bins[at * classes..][..classes];
            room.left.iter_mut().zip(own).for_each(|(left, own)| *left += own);
            room.keep(node, &self.by_class, at);
            if room.is_full() {
                best = room.best(self.measure, node, best);
                room.places.clear();
            }
        }
        room.best(self.measure, node, best)
    }
}

/// Keeps what lies right of each cut, the last ones first; gives where the first one is kept.
#[inline(always)]
fn kept<K: Key, const GONE: bool>(
    node: &Node,
    keys: &[K],
    items: &[(u32, u32)],
    cuts: &Cuts,
    room: &mut Room,
) -> usize {
    let (count, all) = (keys.len(), cuts.all());
    let [weights, squares, crosses] = room.upto.each_mut().map(|upto| &mut upto[..count]);
    let (mut weight, mut square, mut cross, mut apart, mut first) = (0, 0, 0, 0, count);
    for at in (all.start..count).rev() {
        let (class, w) = items[keys[at].place()];
        let (before, w) = (&mut room.left[class as usize], u64::from(w));
        weight += w;
        square += w * (2 * u64::from(*before) + w);
        cross += w * u64::from(node.totals[class as usize]);
        *before += w as u32;
        // Written in any case, kept where a cut may be: no branch.
        (weights[first - 1], squares[first - 1], crosses[first - 1]) = (weight, square, cross);
        if GONE {
            apart += w * u64::from(room.gone[class as usize]);
            room.apart[first - 1] = apart;
        }
        room.places[first - 1] = at as u32;
        let other = at == 0 || keys[at - 1].code() != keys[at].code();
        first -= usize::from(other & (at < all.end));
    }
    first
}

/// Sums what lies left of the cut after each bin.
#[inline(always)]
fn summed<const GONE: bool>(node: &Node, classes: usize, count: usize, room: &mut Room) {
    let [weights, lefts, crosses] = room.upto.each_mut().map(|upto| &mut upto[..count]);
    let mut sum = 0;
    for (at, added) in room.bins.chunks_exact(classes).enumerate() {
        let (mut weight, mut left, mut cross, mut apart) = (0, 0, 0, 0);
        for ((l, &w), &total) in room.left.iter_mut().zip(added).zip(&node.totals) {
            *l += w;
            weight += w;
            left += u64::from(*l) * u64::from(*l);
            cross += u64::from(*l) * u64::from(total);
        }
        if GONE {
            apart = room.left.iter().zip(&room.gone).map(|(&left, &gone)| u64::from(left) * u64::from(gone)).sum();
        }
        sum += u64::from(weight);
        (weights[at], lefts[at], crosses[at]) = (sum, left, cross);
        if GONE {
            room.apart[at] = apart;
        }
    }
}
