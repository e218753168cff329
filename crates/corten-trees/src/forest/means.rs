//! Regression whose leaves are means: squared error and Poisson deviance.

use std::ops::Range;

use corten_kernels::{special, splits, vector};

use super::finder::{self, Cut, Entry, Finder, Keys, Limits, Order, Side, Stats};
use super::ordered::is_whole;
use super::sort::Key;

/// The mean, rounded where all targets are whole: their sums then stay exact, and a weight counts as rows do.
pub(crate) fn middle(y: &[f64], weights: Option<&[f64]>) -> f64 {
    let mean = match weights.filter(|w| w.len() == y.len()) {
        Some(w) => vector::dot(y, w) / vector::sum(w),
        None => vector::sum(y) / y.len().max(1) as f64,
    };
    // Truncating is slower, and asked only of numbers too large for the other.
    if y.iter().all(|&v| is_whole(v) || v == v.trunc()) { mean.round() } else { mean }
}

/// Which loss.
pub(crate) trait Loss: Send + Sync {
    /// Whether the score of one output is that of [`splits::best_squares`].
    const SQUARES: bool;

    /// What a side of a split adds to the score, from its sum and its weight; NaN where the side can't be.
    fn side(sum: f64, weight: f64) -> f64;
    /// What a row adds to the impurity beside the sides.
    fn own(y: f64) -> f64;
}

/// Squared error.
pub(crate) struct Squared;

impl Loss for Squared {
    const SQUARES: bool = true;

    #[inline]
    fn side(sum: f64, weight: f64) -> f64 {
        sum * sum / weight
    }

    #[inline]
    fn own(y: f64) -> f64 {
        y * y
    }
}

/// Half Poisson deviance; targets are not negative.
pub(crate) struct Poisson;

impl Loss for Poisson {
    const SQUARES: bool = false;

    #[inline]
    fn side(sum: f64, weight: f64) -> f64 {
        // A mean of 0 has no logarithm: such a side may not be.
        if sum > f64::EPSILON { sum * special::ln(sum / weight) } else { f64::NAN }
    }

    #[inline]
    fn own(y: f64) -> f64 {
        if y > 0.0 { y * special::ln(y) } else { 0.0 }
    }
}

/// Cuts that are scored one at a time.
const FEW: usize = 12;

#[inline]
fn add(sums: &mut [f64; 2], pair: [f64; 2]) {
    sums[0] += pair[0];
    sums[1] += pair[1];
}

/// See the module.
pub(crate) struct Means<'a, L> {
    loss: std::marker::PhantomData<L>,
    /// Targets less `center`, row after row.
    y: &'a [f64],
    outputs: usize,
    center: &'a [f64],
    weights: Option<&'a [f64]>,
    /// Weighted targets, weights, and what they add to the impurity, of the rows that were loaded.
    local: Vec<f64>,
    weighted: Vec<f64>,
    /// Of one output: the first two side by side.
    pairs: Vec<[f64; 2]>,
    own: Vec<f64>,
    totals: Vec<f64>,
    rows: usize,
    weight: f64,
    impurity: f64,
    left: Vec<f64>,
    /// Places of cuts, and sums and weights up to each.
    places: Vec<u32>,
    upto: [Vec<f64>; 2],
    /// Sums and weights, and numbers of rows, by code.
    bins: Vec<[f64; 2]>,
    counts: Vec<u32>,
    /// Of few rows: the weighted target, the weight, and what is added to the impurity.
    few: [[f64; 3]; splits::SET],
}

impl<'a, L: Loss> Means<'a, L> {
    /// Shapes: `y` is `(rows, outputs)` row after row, `center` `(outputs,)`; weights beside those of entries.
    pub(crate) fn new(y: &'a [f64], outputs: usize, center: &'a [f64], weights: Option<&'a [f64]>) -> Self {
        Self {
            loss: std::marker::PhantomData,
            y,
            outputs,
            center,
            weights,
            local: Vec::new(),
            weighted: Vec::new(),
            pairs: Vec::new(),
            own: Vec::new(),
            totals: vec![0.0; outputs],
            rows: 0,
            weight: 0.0,
            impurity: 0.0,
            left: vec![0.0; outputs],
            places: Vec::new(),
            upto: Default::default(),
            bins: Vec::new(),
            counts: Vec::new(),
            few: [[0.0; 3]; splits::SET],
        }
    }

    /// Values of the first output on both sides.
    fn values(&self, left: f64, weight: f64) -> (f64, f64) {
        (left / weight + self.center[0], (self.totals[0] - left) / (self.weight - weight) + self.center[0])
    }

    /// Whether sides of this weight and sum of the first output on the left may be.
    #[inline]
    fn allow(&self, left: f64, weight: f64, limits: &Limits) -> bool {
        limits.is_loose()
            || limits.allow_weights(weight, self.weight - weight) && limits.allow_values(|| self.values(left, weight))
    }

    /// The score of sides from the sums on the left.
    fn score(&self, left: &[f64], weight: f64) -> f64 {
        let right = self.weight - weight;
        left.iter().zip(&self.totals).map(|(l, t)| L::side(*l, weight) + L::side(t - l, right)).sum()
    }

    fn search<K: Key>(&mut self, order: Order<'_, K>, limits: &Limits) -> Option<Cut> {
        if L::SQUARES && self.outputs == 1 {
            finder::both(order, |missing_left| self.squares(order, missing_left, limits))
        } else {
            finder::both(order, |missing_left| self.scores(order, missing_left, limits))
        }
    }

    /// Squared error of one output.
    fn squares<K: Key>(&mut self, order: Order<'_, K>, missing_left: bool, limits: &Limits) -> Option<Cut> {
        let window = order.window(missing_left, limits);
        let mut sums = [0.0; 2];
        if missing_left {
            for key in order.absent {
                add(&mut sums, self.pairs[key.place()]);
            }
        }
        if window.end <= FEW {
            return self.few(order, window, sums, missing_left, limits);
        }
        self.reserve(window.end);
        let mut count = 0;
        for at in 0..window.end {
            add(&mut sums, self.pairs[order.present[at].place()]);
            let [sum, weight] = sums;
            // Written in any case, counted where a cut may be: no branch.
            (self.upto[0][count], self.upto[1][count]) = (sum, weight);
            self.places[count] = at as u32;
            count += usize::from(order.is_end(at) & (at >= window.start) && self.allow(sum, weight, limits));
        }
        let (at, score, middle) = self.best_of(count, limits)?;
        order.cut(at, missing_left, score).map(|cut| Cut { middle, ..cut })
    }

    /// The same for few rows, without keeping cuts.
    fn few<K: Key>(
        &self,
        order: Order<'_, K>,
        window: Range<usize>,
        mut sums: [f64; 2],
        missing_left: bool,
        limits: &Limits,
    ) -> Option<Cut> {
        let (total, all) = (self.totals[0], self.weight);
        let (mut best, mut score, mut middle) = (usize::MAX, f64::NEG_INFINITY, 0.0);
        for at in 0..window.end {
            add(&mut sums, self.pairs[order.present[at].place()]);
            let [sum, weight] = sums;
            let may = order.is_end(at) & (at >= window.start) && self.allow(sum, weight, limits);
            let (right, rest) = (total - sum, all - weight);
            let new = splits::ratio(sum * sum, right * right, weight, rest);
            if may & (new > score) {
                (best, score) = (at, new);
                middle = limits.middle(|| self.values(sum, weight));
            }
        }
        if best == usize::MAX {
            return None;
        }
        order.cut(best, missing_left, score).map(|cut| Cut { middle, ..cut })
    }

    /// Room for cuts.
    fn reserve(&mut self, cuts: usize) {
        self.places.resize(self.places.len().max(cuts), 0);
        self.upto.iter_mut().for_each(|v| v.resize(v.len().max(cuts), 0.0));
    }

    /// The best of cuts: its place, score and middle.
    fn best_of(&self, count: usize, limits: &Limits) -> Option<(usize, f64, f64)> {
        let [sums, weights] = &self.upto;
        let (i, score) = splits::best_squares(&sums[..count], &weights[..count], self.totals[0], self.weight)?;
        Some((self.places[i] as usize, score, limits.middle(|| self.values(sums[i], weights[i]))))
    }

    /// A given cut, from what is summed on the left.
    fn given(&self, side: Side<'_>, weight: f64, rows: usize, limits: &Limits) -> Option<Cut> {
        if !limits.allow_rows(rows, self.weighted.len() - rows) || !self.allow(self.left[0], weight, limits) {
            return None;
        }
        let score = self.score(&self.left, weight);
        (!score.is_nan()).then(|| side.cut(score, limits.middle(|| self.values(self.left[0], weight))))
    }

    /// Any loss, any number of outputs.
    fn scores<K: Key>(&mut self, order: Order<'_, K>, missing_left: bool, limits: &Limits) -> Option<Cut> {
        let window = order.window(missing_left, limits);
        let mut left = std::mem::take(&mut self.left);
        left.fill(0.0);
        let mut weight = 0.0;
        let absent = if missing_left { order.absent } else { &[] };
        let (mut best, mut score) = (None, f64::NEG_INFINITY);
        for (count, key) in absent.iter().chain(&order.present[..window.end]).enumerate() {
            let place = key.place();
            weight += self.weighted[place];
            for (l, y) in left.iter_mut().zip(&self.local[place * self.outputs..]) {
                *l += y;
            }
            let Some(at) = count.checked_sub(absent.len()).filter(|at| *at >= window.start) else { continue };
            if order.is_end(at) && self.allow(left[0], weight, limits) {
                let new = self.score(&left, weight);
                // Not so for NaN.
                if new > score {
                    score = new;
                    best = Some((at, limits.middle(|| self.values(left[0], weight))));
                }
            }
        }
        self.left = left;
        let (at, middle) = best?;
        order.cut(at, missing_left, score).map(|cut| Cut { middle, ..cut })
    }
}

impl<L: Loss> Finder for Means<'_, L> {
    fn load(&mut self, rows: &[Entry]) {
        self.local.clear();
        self.weighted.clear();
        self.own.clear();
        for entry in rows {
            let row = entry.row as usize;
            let weight = f64::from(entry.payload) * self.weights.map_or(1.0, |w| w[row]);
            self.weighted.push(weight);
            let targets = &self.y[row * self.outputs..][..self.outputs];
            self.local.extend(targets.iter().map(|y| weight * y));
            self.own.push(weight * targets.iter().map(|y| L::own(*y)).sum::<f64>());
        }
        if self.outputs == 1 {
            self.pairs.clear();
            self.pairs.extend(self.local.iter().zip(&self.weighted).map(|(&y, &w)| [y, w]));
        }
    }

    fn enter(&mut self, keys: Option<&[u32]>) -> Stats {
        let (mut weight, mut own) = (0.0, 0.0);
        if keys.is_none() && self.outputs == 1 {
            (weight, own) = (vector::sum(&self.weighted), vector::sum(&self.own));
            self.totals[0] = vector::sum(&self.local);
        } else {
            self.totals.fill(0.0);
            finder::each(self.weighted.len(), keys, |place| {
                weight += self.weighted[place];
                own += self.own[place];
                for (t, y) in self.totals.iter_mut().zip(&self.local[place * self.outputs..]) {
                    *t += y;
                }
            });
        }
        self.rows = keys.map_or(self.weighted.len(), <[u32]>::len);
        self.weight = weight;
        let sides: f64 = self.totals.iter().map(|&t| L::side(t, weight)).sum();
        let sides = if sides.is_nan() { 0.0 } else { sides };
        self.impurity = ((own - sides) / (weight * self.outputs as f64)).max(0.0);
        Stats { weight, impurity: self.impurity }
    }

    fn best(&mut self, keys: Keys<'_>, limits: &Limits) -> Option<Cut> {
        match keys {
            Keys::Narrow(order) => self.search(order, limits),
            Keys::Wide(order) => self.search(order, limits),
        }
    }

    fn binned(&mut self, codes: &[u32], low: u32, high: u32, limits: &Limits) -> Option<Cut> {
        let bins = (high - low) as usize + 1;
        self.bins.clear();
        self.bins.resize(bins, [0.0; 2]);
        self.counts.clear();
        self.counts.resize(bins, 0);
        for ((&code, &y), &w) in codes.iter().zip(&self.local).zip(&self.weighted) {
            let bin = (code - low) as usize;
            self.bins[bin][0] += y;
            self.bins[bin][1] += w;
            self.counts[bin] += 1;
        }
        self.reserve(bins);
        let (mut sum, mut weight, mut rows, mut count) = (0.0, 0.0, 0, 0);
        for bin in 0..bins - 1 {
            sum += self.bins[bin][0];
            weight += self.bins[bin][1];
            rows += self.counts[bin] as usize;
            (self.upto[0][count], self.upto[1][count]) = (sum, weight);
            self.places[count] = bin as u32;
            let may = (self.counts[bin] > 0) & limits.allow_rows(rows, codes.len() - rows);
            count += usize::from(may && self.allow(sum, weight, limits));
        }
        let (bin, score, middle) = self.best_of(count, limits)?;
        let next = (bin + 1..bins).find(|&bin| self.counts[bin] > 0)?;
        Some(Cut { last: low + bin as u32, next: low + next as u32, missing_left: false, score, middle })
    }

    fn bins(&self, rows: usize) -> usize {
        if L::SQUARES && self.outputs == 1 { rows } else { 0 }
    }

    fn at(&mut self, side: Side<'_>, limits: &Limits) -> Option<Cut> {
        let (weight, rows);
        if self.outputs == 1 {
            (weight, self.left[0], rows) =
                splits::sums_up_to(side.codes, &self.weighted, &self.local, side.last, side.also);
        } else {
            self.left.fill(0.0);
            let mut sums = (0.0, 0);
            for (at, (w, y)) in self.weighted.iter().zip(self.local.chunks_exact(self.outputs)).enumerate() {
                // Multiplied by 0 or 1: no branch on the side.
                let left = f64::from(u8::from(side.is_left(at)));
                sums.0 += left * w;
                sums.1 += left as usize;
                self.left.iter_mut().zip(y).for_each(|(l, y)| *l += left * y);
            }
            (weight, rows) = sums;
        }
        self.given(side, weight, rows, limits)
    }

    fn few_load(&mut self, rows: &[Entry]) -> bool {
        if self.outputs > 1 {
            return false;
        }
        for (few, entry) in self.few.iter_mut().zip(rows) {
            let row = entry.row as usize;
            let (y, weight) = (self.y[row], f64::from(entry.payload) * self.weights.map_or(1.0, |w| w[row]));
            *few = [weight * y, weight, weight * L::own(y)];
        }
        true
    }

    fn few_enter(&mut self, set: u16) -> Stats {
        let [mut total, mut weight, mut own] = [0.0; 3];
        for at in finder::members(set) {
            let [y, w, o] = self.few[at];
            total += y;
            weight += w;
            own += o;
        }
        (self.totals[0], self.weight, self.rows) = (total, weight, set.count_ones() as usize);
        let side = L::side(total, weight);
        self.impurity = ((own - if side.is_nan() { 0.0 } else { side }) / weight).max(0.0);
        Stats { weight, impurity: self.impurity }
    }

    fn few_score(&mut self, left: u16) -> f64 {
        let [mut sum, mut weight] = [0.0; 2];
        for at in finder::members(left) {
            sum += self.few[at][0];
            weight += self.few[at][1];
        }
        self.score(&[sum], weight)
    }

    fn few_best(&mut self, keys: &[u32], min_samples: usize) -> Option<(usize, f64)> {
        let is_end = finder::ends(keys, min_samples);
        let (mut best, mut score) = (None, f64::NEG_INFINITY);
        let [mut sum, mut weight] = [0.0; 2];
        for at in 0..keys.len() - 1 {
            let [y, w, _] = self.few[finder::lane(keys[at])];
            sum += y;
            weight += w;
            if is_end(at) {
                let (right, rest) = (self.totals[0] - sum, self.weight - weight);
                let new = if L::SQUARES {
                    splits::ratio(sum * sum, right * right, weight, rest)
                } else {
                    self.score(&[sum], weight)
                };
                if new > score {
                    (best, score) = (Some(at), new);
                }
            }
        }
        Some((best?, score))
    }

    fn is_perfect(&self, _score: f64) -> bool {
        self.rows == 2
    }

    fn gain(&self, score: f64) -> f64 {
        let sides: f64 = self.totals.iter().map(|&t| L::side(t, self.weight)).sum();
        (score - sides) / self.outputs as f64
    }

    fn value(&self, bounds: Option<(f64, f64)>, out: &mut Vec<f64>) {
        out.extend(self.totals.iter().zip(self.center).map(|(t, c)| t / self.weight + c));
        if let (Some((low, high)), Some(last)) = (bounds, out.last_mut()) {
            *last = last.clamp(low, high);
        }
    }
}
