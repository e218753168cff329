//! Classification where weights are whole numbers: no weights at all, or how often a row was drawn.
//!
//! Class counts are integers and every sum is exact, so a split doesn't depend on the order of rows.

use std::ops::Range;

use corten_kernels::splits;

use super::finder::{self, Cut, Entry, Finder, Keys, Limits, Order, Side, Stats};
use super::purity::Purity;
use super::sort::Key;

/// Bits of a weight in a payload; those above are the class.
const WEIGHT_BITS: u32 = 16;
const WEIGHT: u32 = (1 << WEIGHT_BITS) - 1;
/// The same in a tag.
const TAG_BITS: u32 = 8;
const TAG: u32 = (1 << TAG_BITS) - 1;

/// Cuts that are scored one at a time.
const FEW_CUTS: usize = 12;

/// See the module.
pub(crate) struct Counts<P: Purity> {
    purity: P,
    /// Payloads and weights of the rows that were loaded, and the weights of those of the second class.
    payloads: Vec<u32>,
    weights: Vec<u32>,
    ones: Vec<u32>,
    /// Classes above weights of eight bits, where all fit, and whether orders are of them.
    tags: Vec<u16>,
    is_tagged: bool,
    totals: Vec<u32>,
    weight: u32,
    sum: P::Sum,
    left: Vec<u32>,
    /// Places of cuts, the weights up to each, in all and of the second class, and of more classes the sums of terms on
    /// both sides.
    places: Vec<u32>,
    upto: [Vec<u32>; 2],
    cuts: [Vec<P::Sum>; 2],
    /// Weights of each class by code; of two classes all of it and that of the second, in the halves of one number.
    bins: Vec<u32>,
    pairs: Vec<u64>,
    /// Numbers of rows by code, where they are limited.
    rows: Vec<u32>,
    few: Few,
}

/// Few rows: those of each class that is there, in turn, and those whose weight has each bit.
#[derive(Default)]
struct Few {
    classes: Vec<(u32, u16)>,
    bits: Vec<u16>,
    /// Place among `classes`, and weight, of each row.
    rows: [(u32, u32); splits::SET],
    /// Weights of `classes` in the node at hand.
    totals: [u32; splits::SET],
}

impl Few {
    /// The weight of a set of rows.
    #[inline]
    fn weight(&self, set: u16) -> u32 {
        self.bits.iter().rev().fold(0, |sum, bit| 2 * sum + (set & bit).count_ones())
    }
}

impl<P: Purity> Counts<P> {
    pub(crate) fn new(purity: P, classes: usize) -> Self {
        Self {
            purity,
            payloads: Vec::new(),
            weights: Vec::new(),
            ones: Vec::new(),
            tags: Vec::new(),
            is_tagged: false,
            totals: vec![0; classes],
            weight: 0,
            sum: P::Sum::default(),
            left: vec![0; classes],
            places: Vec::new(),
            upto: Default::default(),
            cuts: [Vec::new(), Vec::new()],
            bins: Vec::new(),
            pairs: Vec::new(),
            rows: Vec::new(),
            few: Few::default(),
        }
    }

    /// What a row carries, where it fits.
    pub(crate) fn payload(class: u32, weight: u32) -> Option<u32> {
        (class >> (u32::BITS - WEIGHT_BITS) == 0 && weight >> WEIGHT_BITS == 0).then_some(class << WEIGHT_BITS | weight)
    }

    /// Whether two numbers tell all.
    fn is_simple(&self) -> bool {
        P::RATIO && self.totals.len() == 2
    }

    /// Shares of the second class on both sides.
    fn values(&self, weight: u32, ones: u32) -> (f64, f64) {
        let right = (self.weight - weight, self.totals[1] - ones);
        (f64::from(ones) / f64::from(weight), f64::from(right.1) / f64::from(right.0))
    }

    /// The weight of a key's row, and that of the second class.
    #[inline]
    fn pair<const TAGGED: bool>(&self, key: impl Key) -> (u32, u32) {
        let place = key.place();
        if TAGGED {
            let weight = place as u32 & TAG;
            (weight, weight * (place as u32 >> TAG_BITS))
        } else {
            (self.weights[place], self.ones[place])
        }
    }

    /// The class and the weight of a key's row.
    #[inline]
    fn class<const TAGGED: bool>(&self, key: impl Key) -> (usize, u32) {
        let place = key.place();
        if TAGGED {
            (place >> TAG_BITS, place as u32 & TAG)
        } else {
            let payload = self.payloads[place];
            ((payload >> WEIGHT_BITS) as usize, payload & WEIGHT)
        }
    }

    fn search<K: Key>(&mut self, order: Order<'_, K>, limits: &Limits) -> Option<Cut> {
        if self.is_tagged { self.scan::<K, true>(order, limits) } else { self.scan::<K, false>(order, limits) }
    }

    fn scan<K: Key, const TAGGED: bool>(&mut self, order: Order<'_, K>, limits: &Limits) -> Option<Cut> {
        finder::both(order, |missing_left| {
            let window = order.window(missing_left, limits);
            self.reserve(window.end);
            let absent = if missing_left { order.absent } else { &[] };
            let (at, score, middle) = if self.is_simple() {
                self.two::<K, TAGGED>(order, absent, window, limits)?
            } else {
                self.many::<K, TAGGED>(order, absent, window, limits)?
            };
            order.cut(at, missing_left, score).map(|cut| Cut { middle, ..cut })
        })
    }

    /// Whether sides of these weights, and of this weight of the second class on the left, may be.
    #[inline]
    fn allow(&self, weight: u32, ones: u32, limits: &Limits) -> bool {
        if limits.is_loose() {
            return true;
        }
        limits.allow_weights(f64::from(weight), f64::from(self.weight - weight))
            && limits.allow_values(|| self.values(weight, ones))
    }

    /// Two classes by Gini impurity: the best cut's place, score and middle.
    fn two<K: Key, const TAGGED: bool>(
        &mut self,
        order: Order<'_, K>,
        absent: &[K],
        window: Range<usize>,
        limits: &Limits,
    ) -> Option<(usize, f64, f64)> {
        let (mut weight, mut ones, mut count) = (0, 0, 0);
        for &key in absent {
            let (w, one) = self.pair::<TAGGED>(key);
            weight += w;
            ones += one;
        }
        if window.end <= FEW_CUTS {
            return self.few_of_two::<K, TAGGED>(order, window, (weight, ones), limits);
        }
        for at in 0..window.end {
            let (w, one) = self.pair::<TAGGED>(order.present[at]);
            weight += w;
            ones += one;
            // Written in any case, counted where a cut may be: no branch.
            self.upto[0][count] = weight;
            self.upto[1][count] = ones;
            self.places[count] = at as u32;
            count += usize::from(order.is_end(at) & (at >= window.start) && self.allow(weight, ones, limits));
        }
        self.best_of_two(count, limits)
    }

    /// Two classes and few rows, without keeping cuts.
    fn few_of_two<K: Key, const TAGGED: bool>(
        &self,
        order: Order<'_, K>,
        window: Range<usize>,
        (mut weight, mut ones): (u32, u32),
        limits: &Limits,
    ) -> Option<(usize, f64, f64)> {
        let mut best: Option<(usize, f64, f64)> = None;
        let mut score = f64::NEG_INFINITY;
        for at in 0..window.end {
            let (w, one) = self.pair::<TAGGED>(order.present[at]);
            weight += w;
            ones += one;
            let may = order.is_end(at) & (at >= window.start) && self.allow(weight, ones, limits);
            let new = splits::gini(weight, ones, [self.totals[0], self.totals[1]]);
            if may & (new > score) {
                score = new;
                best = Some((at, score, limits.middle(|| self.values(weight, ones))));
            }
        }
        best
    }

    /// The best of cuts of two classes.
    fn best_of_two(&self, count: usize, limits: &Limits) -> Option<(usize, f64, f64)> {
        let [weights, ones] = &self.upto;
        let (i, score) = splits::best_gini(&weights[..count], &ones[..count], [self.totals[0], self.totals[1]])?;
        Some((self.places[i] as usize, score, limits.middle(|| self.values(weights[i], ones[i]))))
    }

    /// Any number of classes; sums of terms follow each row.
    fn many<K: Key, const TAGGED: bool>(
        &mut self,
        order: Order<'_, K>,
        absent: &[K],
        window: Range<usize>,
        limits: &Limits,
    ) -> Option<(usize, f64, f64)> {
        self.left.fill(0);
        let (mut sums, mut weight, mut count) = ((P::Sum::default(), self.sum), 0, 0);
        for &key in absent {
            self.add(self.class::<TAGGED>(key), &mut sums, &mut weight);
        }
        for at in 0..window.end {
            self.add(self.class::<TAGGED>(order.present[at]), &mut sums, &mut weight);
            let ones = if limits.monotonic.is_some() { self.second() } else { 0 };
            (self.upto[0][count], self.upto[1][count]) = (weight, ones);
            self.places[count] = at as u32;
            (self.cuts[0][count], self.cuts[1][count]) = sums;
            count += usize::from(order.is_end(at) & (at >= window.start) && self.allow(weight, ones, limits));
        }
        self.best_of_many(count, limits)
    }

    /// The best of cuts of any number of classes.
    fn best_of_many(&mut self, count: usize, limits: &Limits) -> Option<(usize, f64, f64)> {
        let ([left, right], [weights, ones]) = (&mut self.cuts, &self.upto);
        let (i, score) = self.purity.best(&left[..count], &mut right[..count], &weights[..count], self.weight)?;
        Some((self.places[i] as usize, score, limits.middle(|| self.values(weights[i], ones[i]))))
    }

    /// Weight of the second class on the left.
    #[inline]
    fn second(&self) -> u32 {
        self.left.get(1).copied().unwrap_or(0)
    }

    /// Weights of each class, and where asked for the numbers of rows, by code.
    fn count(&mut self, codes: &[u32], low: u32, bins: usize, rows: bool) {
        let classes = self.totals.len();
        if self.is_simple() {
            self.pairs.clear();
            self.pairs.resize(bins, 0);
            for ((&code, &w), &one) in codes.iter().zip(&self.weights).zip(&self.ones) {
                self.pairs[(code - low) as usize] += u64::from(one) << u32::BITS | u64::from(w);
            }
        } else {
            self.bins.clear();
            self.bins.resize(bins * classes, 0);
            for (&code, &payload) in codes.iter().zip(&self.payloads) {
                self.bins[(code - low) as usize * classes + (payload >> WEIGHT_BITS) as usize] += payload & WEIGHT;
            }
        }
        self.rows.clear();
        if rows {
            self.rows.resize(bins, 0);
            codes.iter().for_each(|&code| self.rows[(code - low) as usize] += 1);
        }
    }

    /// The best cut between bins: its bin, the next one that isn't empty, score and middle.
    fn between(&mut self, rows: usize, bins: usize, limits: &Limits) -> Option<(usize, usize, f64, f64)> {
        let classes = self.totals.len();
        let simple = self.is_simple();
        self.reserve(bins);
        self.left.fill(0);
        let (mut sums, mut weight, mut ones) = ((P::Sum::default(), self.sum), 0, 0);
        let (mut seen, mut count) = (0, 0);
        for bin in 0..bins - 1 {
            let before = weight;
            if simple {
                weight += self.pairs[bin] as u32;
                ones += (self.pairs[bin] >> u32::BITS) as u32;
            } else {
                let added = &self.bins[bin * classes..][..classes];
                weight += self.purity.move_left(&mut sums, &mut self.left, added, &self.totals);
                ones = self.second();
                (self.cuts[0][count], self.cuts[1][count]) = sums;
            }
            (self.upto[0][count], self.upto[1][count]) = (weight, ones);
            self.places[count] = bin as u32;
            seen += self.rows.get(bin).map_or(0, |&rows| rows as usize);
            let enough = self.rows.is_empty() || limits.allow_rows(seen, rows - seen);
            // No row weighs nothing.
            count += usize::from((weight > before) & enough && self.allow(weight, ones, limits));
        }
        let (bin, score, middle) =
            if simple { self.best_of_two(count, limits) } else { self.best_of_many(count, limits) }?;
        let weighs = |bin: usize| match simple {
            true => self.pairs[bin] > 0,
            false => self.bins[bin * classes..][..classes].iter().any(|&w| w > 0),
        };
        Some((bin, (bin + 1..bins).find(|&bin| weighs(bin))?, score, middle))
    }

    /// Room for cuts.
    fn reserve(&mut self, cuts: usize) {
        for v in self.upto.iter_mut().chain([&mut self.places]) {
            v.resize(v.len().max(cuts), 0);
        }
        if !self.is_simple() {
            self.cuts.iter_mut().for_each(|v| v.resize(v.len().max(cuts), P::Sum::default()));
        }
    }

    /// A given cut of two classes.
    fn cut_of_two(&self, side: Side<'_>, weight: u32, ones: u32, rows: usize, limits: &Limits) -> Option<Cut> {
        let mut sums = (P::Sum::default(), P::Sum::default());
        for (l, all) in [weight - ones, ones].into_iter().zip(&self.totals) {
            self.purity.change(&mut sums.0, 0, l);
            self.purity.change(&mut sums.1, 0, all - l);
        }
        let may = limits.allow_rows(rows, self.weights.len() - rows) && self.allow(weight, ones, limits);
        let score = self.purity.side(sums.0, weight) + self.purity.side(sums.1, self.weight - weight);
        may.then(|| side.cut(score, limits.middle(|| self.values(weight, ones))))
    }

    /// Sums the weights of classes on the left of a cut; gives the number of rows there.
    fn sum_left(&mut self, side: &Side<'_>) -> usize {
        let classes = self.left.len();
        if classes <= splits::CLASSES {
            let (sums, rows) = splits::classes_up_to(side.codes, &self.payloads, side.last, side.also);
            self.left.copy_from_slice(&sums[..classes]);
            return rows;
        }
        self.left.fill(0);
        let mut rows = 0;
        for (at, &payload) in self.payloads.iter().enumerate() {
            // A weight of 0 moves nothing: no branch on the side.
            let left = u32::from(side.is_left(at));
            rows += left as usize;
            self.left[(payload >> WEIGHT_BITS) as usize] += (payload & WEIGHT) * left;
        }
        rows
    }

    /// Moves a row to the left.
    #[inline]
    fn add(&mut self, (class, w): (usize, u32), sums: &mut (P::Sum, P::Sum), weight: &mut u32) {
        *weight += w;
        let (l, all) = (&mut self.left[class], self.totals[class]);
        let (before, after) = (*l, *l + w);
        *l = after;
        self.purity.change(&mut sums.0, before, after);
        self.purity.change(&mut sums.1, all - before, all - after);
    }
}

impl<P: Purity> Finder for Counts<P> {
    fn load(&mut self, rows: &[Entry]) {
        let weight = |e: &Entry| e.payload & WEIGHT;
        let class = |e: &Entry| e.payload >> WEIGHT_BITS;
        self.weights.clear();
        self.weights.extend(rows.iter().map(weight));
        self.ones.clear();
        self.ones.extend(rows.iter().map(|e| if class(e) == 1 { weight(e) } else { 0 }));
        if !self.is_simple() {
            self.payloads.clear();
            self.payloads.extend(rows.iter().map(|e| e.payload));
        }
        self.tags.clear();
        if rows.iter().all(|e| weight(e) <= TAG && class(e) <= TAG) {
            self.tags.extend(rows.iter().map(|e| (class(e) << TAG_BITS | weight(e)) as u16));
        }
    }

    fn tags(&self) -> &[u16] {
        &self.tags
    }

    fn enter(&mut self, keys: Option<&[u32]>) -> Stats {
        self.is_tagged = keys.is_none() && !self.tags.is_empty();
        if self.is_simple() {
            let (mut weight, mut ones) = (0, 0);
            if keys.is_some() {
                finder::each(0, keys, |place| {
                    weight += self.weights[place];
                    ones += self.ones[place];
                });
            } else {
                (weight, ones) = (self.weights.iter().sum(), self.ones.iter().sum());
            }
            self.totals.copy_from_slice(&[weight - ones, ones]);
        } else {
            self.totals.fill(0);
            finder::each(self.weights.len(), keys, |place| {
                let payload = self.payloads[place];
                self.totals[(payload >> WEIGHT_BITS) as usize] += payload & WEIGHT;
            });
        }
        self.weight = self.totals.iter().sum();
        self.sum = P::Sum::default();
        for &total in &self.totals {
            self.purity.change(&mut self.sum, 0, total);
        }
        let totals = self.totals.iter().copied();
        Stats { weight: f64::from(self.weight), impurity: self.purity.impurity(totals, self.sum, self.weight) }
    }

    fn best(&mut self, keys: Keys<'_>, limits: &Limits) -> Option<Cut> {
        match keys {
            Keys::Narrow(order) => self.search(order, limits),
            Keys::Wide(order) => self.search(order, limits),
        }
    }

    fn binned(&mut self, codes: &[u32], low: u32, high: u32, limits: &Limits) -> Option<Cut> {
        let bins = (high - low) as usize + 1;
        self.count(codes, low, bins, limits.min_samples > 1);
        let (bin, next, score, middle) = self.between(codes.len(), bins, limits)?;
        Some(Cut { last: low + bin as u32, next: low + next as u32, missing_left: false, score, middle })
    }

    fn bins(&self, rows: usize) -> usize {
        // A bin costs as much as a row for each of a few classes.
        if self.is_simple() { rows } else { 4 * rows / self.totals.len().max(8) }
    }

    fn at(&mut self, side: Side<'_>, limits: &Limits) -> Option<Cut> {
        if self.is_simple() {
            let (weight, ones, rows) =
                splits::counts_up_to(side.codes, &self.weights, &self.ones, side.last, side.also);
            return self.cut_of_two(side, weight, ones, rows, limits);
        }
        let rows = self.sum_left(&side);
        let mut sums = (P::Sum::default(), P::Sum::default());
        for (&l, &all) in self.left.iter().zip(&self.totals) {
            self.purity.change(&mut sums.0, 0, l);
            self.purity.change(&mut sums.1, 0, all - l);
        }
        let (weight, ones) = (self.left.iter().sum(), self.second());
        let may = limits.allow_rows(rows, side.codes.len() - rows) && self.allow(weight, ones, limits);
        let score = self.purity.side(sums.0, weight) + self.purity.side(sums.1, self.weight - weight);
        may.then(|| side.cut(score, limits.middle(|| self.values(weight, ones))))
    }

    fn few_load(&mut self, rows: &[Entry]) -> bool {
        let few = &mut self.few;
        few.classes.clear();
        few.bits.clear();
        for (at, entry) in rows.iter().enumerate() {
            let (class, weight) = (entry.payload >> WEIGHT_BITS, entry.payload & WEIGHT);
            let place = few.classes.iter().position(|c| c.0 == class).unwrap_or_else(|| {
                few.classes.push((class, 0));
                few.classes.len() - 1
            });
            few.classes[place].1 |= 1 << at;
            few.rows[at] = (place as u32, weight);
            let bits = (u32::BITS - weight.leading_zeros()) as usize;
            few.bits.resize(few.bits.len().max(bits), 0);
            for (bit, set) in few.bits.iter_mut().enumerate() {
                *set |= ((weight >> bit & 1) as u16) << at;
            }
        }
        true
    }

    fn few_enter(&mut self, set: u16) -> Stats {
        self.totals.fill(0);
        (self.weight, self.sum) = (0, P::Sum::default());
        for (at, &(class, rows)) in self.few.classes.iter().enumerate() {
            let total = self.few.weight(set & rows);
            self.few.totals[at] = total;
            self.totals[class as usize] = total;
            self.weight += total;
            self.purity.change(&mut self.sum, 0, total);
        }
        let totals = self.totals.iter().copied();
        Stats { weight: f64::from(self.weight), impurity: self.purity.impurity(totals, self.sum, self.weight) }
    }

    fn few_score(&mut self, left: u16) -> f64 {
        let (mut sums, mut weight) = ((P::Sum::default(), P::Sum::default()), 0);
        for (&(_, rows), &all) in self.few.classes.iter().zip(&self.few.totals) {
            let l = self.few.weight(left & rows);
            weight += l;
            self.purity.change(&mut sums.0, 0, l);
            self.purity.change(&mut sums.1, 0, all - l);
        }
        self.purity.side(sums.0, weight) + self.purity.side(sums.1, self.weight - weight)
    }

    fn few_best(&mut self, keys: &[u32], min_samples: usize) -> Option<(usize, f64)> {
        let is_end = finder::ends(keys, min_samples);
        let (mut best, mut score) = (None, f64::NEG_INFINITY);
        let mut left = [0u32; splits::SET];
        let (mut sums, mut weight) = ((P::Sum::default(), self.sum), 0);
        for at in 0..keys.len() - 1 {
            let (class, w) = self.few.rows[finder::lane(keys[at])];
            weight += w;
            let (l, all) = (&mut left[class as usize], self.few.totals[class as usize]);
            let (before, after) = (*l, *l + w);
            *l = after;
            self.purity.change(&mut sums.0, before, after);
            self.purity.change(&mut sums.1, all - before, all - after);
            if is_end(at) {
                let new = self.purity.cut(sums, weight, self.weight - weight);
                if new > score {
                    (best, score) = (Some(at), new);
                }
            }
        }
        Some((best?, score))
    }

    fn gain(&self, score: f64) -> f64 {
        self.purity.gain(self.sum, self.weight, score)
    }

    fn is_perfect(&self, score: f64) -> bool {
        score >= self.purity.perfect(f64::from(self.weight))
    }

    fn value(&self, bounds: Option<(f64, f64)>, out: &mut Vec<f64>) {
        let weight = f64::from(self.weight);
        finder::shares(self.totals.iter().map(|&t| f64::from(t) / weight), bounds, out);
    }
}
