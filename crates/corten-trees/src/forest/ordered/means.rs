//! Regression by squared error of one output; two classes whose rows weigh more or less are targets of 0 and 1.

use std::ops::Range;

use corten_kernels::splits;

use super::super::finder::Stats;
use super::super::sort::Key;
use super::classes::{gain_weighed, side, stats_weighed};
use super::{EIGHT, Items, Scores, Target, fill, first_best, runs};

/// Targets, less a mean that was taken off them; see [`super::Target`].
pub(crate) struct Even {
    pub(crate) center: f64,
    /// Whether sums don't depend on their order: see [`Even::are_exact`].
    pub(crate) is_exact: bool,
    /// The same of squares: see [`Even::are_exact`].
    pub(crate) has_exact_squares: bool,
}

/// Up to which sums of whole numbers are whole numbers.
const EXACT: f64 = (1u64 << 53) as f64;
/// Targets that are looked at before it is asked whether all are whole.
const BLOCK: usize = 256;
/// Targets that are added up before a sum so far is.
const STEP: usize = 4;

/// Whether a number is whole, of those that are a quarter of [`EXACT`] or less.
#[inline(always)]
pub(crate) fn is_whole(x: f64) -> bool {
    // A sum with it has no digits behind the point. No call, as that of a function that truncates.
    const SHIFT: f64 = EXACT / 4.0 * 3.0;
    (x + SHIFT - SHIFT == x) & (x.abs() <= EXACT / 4.0)
}

impl Even {
    /// For these targets.
    pub(crate) fn new(center: f64, items: &[f64]) -> Self {
        let [is_exact, has_exact_squares] = Self::are_exact(items);
        Self { center, is_exact, has_exact_squares }
    }

    /// Whether sums of some of these, and of their squares, are exact.
    pub(crate) fn are_exact(items: &[f64]) -> [bool; 2] {
        let (mut whole, mut sums, mut squares) = (true, [0.0; EIGHT], [0.0; EIGHT]);
        // In blocks, the first of which may tell.
        for block in items.chunks(BLOCK) {
            whole = block.iter().fold(whole, |whole, &y| whole & is_whole(y));
            if !whole {
                return [false; 2];
            }
            let (eights, rest) = block.as_chunks::<EIGHT>();
            for eight in eights {
                for lane in 0..EIGHT {
                    sums[lane] += eight[lane].abs();
                    squares[lane] += eight[lane] * eight[lane];
                }
            }
            for (lane, y) in rest.iter().enumerate() {
                sums[lane] += y.abs();
                squares[lane] += y * y;
            }
        }
        let is_exact = sums.iter().sum::<f64>() < EXACT;
        [is_exact, is_exact && squares.iter().sum::<f64>() < EXACT]
    }

    /// Sums up to each of some keys, or NaN where no cut may come after one; the first of them is added to `sum`.
    #[inline(always)]
    fn sums<K: Key>(&self, mut sum: f64, keys: &[K], nexts: &[K], items: &[f64], out: &mut [f64]) {
        let mut at = 0;
        if self.is_exact {
            let fours = keys.as_chunks::<STEP>().0.iter().zip(nexts.as_chunks::<STEP>().0);
            for ((keys, nexts), out) in fours.zip(out.as_chunks_mut::<STEP>().0) {
                let mut y = [0.0; STEP];
                for (y, key) in y.iter_mut().zip(keys) {
                    *y = items[key.place()];
                }
                let two = y[0] + y[1];
                for (lane, part) in [y[0], two, two + y[2], two + (y[2] + y[3])].into_iter().enumerate() {
                    out[lane] = sum_of_cut(sum + part, &keys[lane], &nexts[lane]);
                }
                sum += two + (y[2] + y[3]);
                at += STEP;
            }
        }
        for ((key, next), out) in keys[at..].iter().zip(&nexts[at..]).zip(&mut out[at..]) {
            sum += items[key.place()];
            *out = sum_of_cut(sum, key, next);
        }
    }
}

/// Room for a search.
#[derive(Default)]
pub(crate) struct Sums {
    upto: Vec<f64>,
    /// Where runs of equal codes end.
    ends: Vec<u32>,
    /// Rows on the left of each cut.
    lefts: Vec<f64>,
}

impl Sums {
    /// The best cut between runs of equal codes.
    #[inline(always)]
    fn best_of_runs<K: Key>(
        &mut self,
        node: &Node,
        keys: &[K],
        items: &[f64],
        all: &Range<usize>,
        is_exact: bool,
    ) -> Option<(usize, f64)> {
        let ends = &self.ends[..];
        let cuts = ends.len() - 1;
        let longest = if is_exact { runs::longest(ends) } else { cuts };
        fill(&mut self.upto, cuts, f64::NAN);
        fill(&mut self.lefts, cuts, f64::NAN);
        let (mut sum, mut start) = (0.0, 0);
        for (&end, upto) in ends[..longest].iter().zip(&mut self.upto) {
            for key in &keys[start..end as usize] {
                sum += items[key.place()];
            }
            (*upto, start) = (sum, end as usize);
        }
        let mut sum = node.total;
        for run in (longest + 1..ends.len()).rev() {
            for key in &keys[runs::start(ends, run)..ends[run] as usize] {
                sum -= items[key.place()];
            }
            self.upto[run - 1] = sum;
        }
        for (left, &end) in self.lefts.iter_mut().zip(&ends[..cuts]) {
            *left = if all.contains(&(end as usize - 1)) { f64::from(end) } else { f64::NAN };
        }
        let (at, score) = first_best(cuts.div_ceil(EIGHT), OfWeighted::of(node, &self.upto, &self.lefts))?;
        Some((ends[at] as usize - 1, score))
    }
}

/// The same where rows weigh more or less than 1: the weighted target goes with a row, and the weight.
pub(crate) struct Weighted {
    pub(crate) center: f64,
    /// Whether the target is 1 for the second of two classes, and nodes are judged by Gini impurity.
    pub(crate) of_classes: bool,
}

/// What is known of a node.
#[derive(Clone, Default)]
pub(crate) struct Node {
    total: f64,
    weight: f64,
}

impl Node {
    #[inline(always)]
    fn stats(&mut self, total: f64, weight: f64, own: f64) -> Stats {
        (self.total, self.weight) = (total, weight);
        Stats { weight, impurity: ((own - total * total / weight) / weight).max(0.0) }
    }

    /// The score of a cut from what lies on its left.
    #[inline(always)]
    fn ratio(&self, sum: f64, weight: f64) -> f64 {
        let right = self.total - sum;
        splits::ratio(sum * sum, right * right, weight, self.weight - weight)
    }

    #[inline(always)]
    fn gain(&self, score: f64) -> f64 {
        score - self.total * self.total / self.weight
    }

    /// The weights of two classes.
    #[inline(always)]
    fn classes(&self) -> [f64; 2] {
        [self.weight - self.total, self.total]
    }

    /// The score of a cut by Gini impurity.
    #[inline(always)]
    fn gini(&self, ones: f64, weight: f64) -> f64 {
        let ([zeros, all], left) = (self.classes(), weight - ones);
        side([left, ones]) + side([zeros - left, all - ones])
    }
}

/// Scores from the sums on the left of each cut, the first of which has so many rows there.
struct OfSums<'a> {
    node: &'a Node,
    sums: &'a [[f64; EIGHT]],
    first: usize,
}

impl Scores for OfSums<'_> {
    #[inline(always)]
    fn eight(&self, at: usize) -> [f64; EIGHT] {
        let (mut scores, sums) = ([0.0; EIGHT], &self.sums[at]);
        for lane in 0..EIGHT {
            scores[lane] = self.node.ratio(sums[lane], f64::from((self.first + at * EIGHT + lane) as u32));
        }
        scores
    }
}

impl Target for Even {
    type Item = f64;
    type Node = Node;
    type Room = Sums;
    type Sum = [f64; 2];

    const FEW: bool = true;

    #[inline(always)]
    fn terms(&self, y: f64) -> [f64; 2] {
        [y, 1.0]
    }

    #[inline(always)]
    fn score(&self, node: &Node, [sum, weight]: [f64; 2]) -> f64 {
        node.ratio(sum, weight)
    }

    #[inline(always)]
    fn enter(&self, node: &mut Node, items: impl Items<f64>) -> Stats {
        // Side by side in a register.
        let mut sums = [0.0; 2];
        let (rows, mut start) = (items.count(), 0);
        if self.has_exact_squares {
            // Several at a time, as a sum waits for the one before it.
            let mut all = [[0.0; 2]; STEP];
            while start + STEP <= rows {
                for (lane, sums) in all.iter_mut().enumerate() {
                    let y = items.at(start + lane);
                    *sums = [sums[0] + y, sums[1] + y * y];
                }
                start += STEP;
            }
            all.iter().for_each(|part| sums = [sums[0] + part[0], sums[1] + part[1]]);
        }
        for at in start..rows {
            let y = items.at(at);
            sums = [sums[0] + y, sums[1] + y * y];
        }
        node.stats(sums[0], f64::from(rows as u32), sums[1])
    }

    #[inline(always)]
    fn best<K: Key>(
        &self,
        node: &Node,
        keys: &[K],
        items: &[f64],
        all: Range<usize>,
        room: &mut Sums,
    ) -> Option<(usize, f64)> {
        if runs::find(keys, &mut room.ends) {
            return room.best_of_runs(node, keys, items, &all, self.is_exact);
        }
        let room = &mut room.upto;
        fill(room, all.len(), f64::NAN);
        let mut sum = 0.0;
        for key in &keys[..all.start] {
            sum += items[key.place()];
        }
        self.sums(sum, &keys[all.clone()], &keys[all.start + 1..], items, &mut room[..all.len()]);
        let scores = OfSums { node, sums: room.as_chunks().0, first: all.start + 1 };
        let (at, score) = first_best(all.len().div_ceil(EIGHT), scores)?;
        Some((all.start + at, score))
    }

    #[inline(always)]
    fn add(&self, sums: &mut [[f64; 2]], y: f64) {
        let [sum, rows] = &mut sums[0];
        *sum += y;
        *rows += 1.0;
    }

    #[inline(always)]
    fn is_empty(&self, sums: &[[f64; 2]]) -> bool {
        sums[0][1] == 0.0
    }

    #[inline(always)]
    fn best_by_value(&self, node: &Node, sums: &[[f64; 2]], room: &mut Sums) -> Option<(usize, f64)> {
        let cuts = sums.len() - 1;
        fill(&mut room.upto, cuts, f64::NAN);
        fill(&mut room.lefts, cuts, f64::NAN);
        let (mut sum, mut rows) = (0.0, 0.0);
        for ((own, upto), left) in sums[..cuts].iter().zip(&mut room.upto).zip(&mut room.lefts) {
            (sum, rows) = (sum + own[0], rows + own[1]);
            (*upto, *left) = (sum, rows);
        }
        first_best(cuts.div_ceil(EIGHT), OfWeighted::of(node, &room.upto, &room.lefts))
    }

    #[inline(always)]
    fn is_perfect(&self, _: &Node, _: f64, rows: usize) -> bool {
        rows == 2
    }

    #[inline(always)]
    fn gain(&self, node: &Node, score: f64) -> f64 {
        node.gain(score)
    }

    #[inline(always)]
    fn value(&self, node: &Node, out: &mut Vec<f64>) {
        out.push(node.total / node.weight + self.center);
    }
}

/// A sum, or NaN, whose score is none, where no cut may come between two keys.
#[inline(always)]
fn sum_of_cut<K: Key>(sum: f64, key: &K, next: &K) -> f64 {
    // All bits set are NaN: no branch.
    f64::from_bits(sum.to_bits() | u64::from(key.code() == next.code()).wrapping_neg())
}

/// Scores from the sums and weights on the left of each cut.
struct OfWeighted<'a> {
    node: &'a Node,
    sums: &'a [[f64; EIGHT]],
    weights: &'a [[f64; EIGHT]],
}

impl<'a> OfWeighted<'a> {
    #[inline(always)]
    fn of(node: &'a Node, sums: &'a [f64], weights: &'a [f64]) -> Self {
        Self { node, sums: sums.as_chunks().0, weights: weights.as_chunks().0 }
    }
}

impl Scores for OfWeighted<'_> {
    #[inline(always)]
    fn eight(&self, at: usize) -> [f64; EIGHT] {
        let (mut scores, sums, weights) = ([0.0; EIGHT], &self.sums[at], &self.weights[at]);
        for lane in 0..EIGHT {
            scores[lane] = self.node.ratio(sums[lane], weights[lane]);
        }
        scores
    }
}

/// The same of two classes.
struct OfClasses<'a>(OfWeighted<'a>);

impl Scores for OfClasses<'_> {
    #[inline(always)]
    fn eight(&self, at: usize) -> [f64; EIGHT] {
        let (mut scores, sums, weights) = ([0.0; EIGHT], &self.0.sums[at], &self.0.weights[at]);
        for lane in 0..EIGHT {
            scores[lane] = self.0.node.gini(sums[lane], weights[lane]);
        }
        scores
    }
}

impl Target for Weighted {
    type Item = [f64; 2];
    type Node = Node;
    type Room = [Vec<f64>; 2];
    type Sum = [f64; 2];

    const FEW: bool = true;
    const OTHER: bool = true;

    #[inline(always)]
    fn is_other(&self) -> bool {
        self.of_classes
    }

    #[inline(always)]
    fn other_score(&self, node: &Node, [sum, weight]: [f64; 2], _: [u32; 2]) -> f64 {
        node.gini(sum, weight)
    }

    #[inline(always)]
    fn terms(&self, item: [f64; 2]) -> [f64; 2] {
        item
    }

    #[inline(always)]
    fn score(&self, node: &Node, [sum, weight]: [f64; 2]) -> f64 {
        node.ratio(sum, weight)
    }

    #[inline(always)]
    fn enter(&self, node: &mut Node, items: impl Items<[f64; 2]>) -> Stats {
        let (mut total, mut weight, mut own) = (0.0, 0.0, 0.0);
        for at in 0..items.count() {
            let [y, w] = items.at(at);
            total += y;
            weight += w;
            own += y * y / w;
        }
        let stats = node.stats(total, weight, own);
        if self.of_classes { stats_weighed(node.classes()) } else { stats }
    }

    #[inline(always)]
    fn best<K: Key>(
        &self,
        node: &Node,
        keys: &[K],
        items: &[[f64; 2]],
        all: Range<usize>,
        room: &mut [Vec<f64>; 2],
    ) -> Option<(usize, f64)> {
        room.iter_mut().for_each(|room| fill(room, all.len(), f64::NAN));
        let [sums, weights] = room;
        let (mut sum, mut weight) = (0.0, 0.0);
        for key in &keys[..all.start] {
            let [y, w] = items[key.place()];
            (sum, weight) = (sum + y, weight + w);
        }
        let upto = sums.iter_mut().zip(&mut *weights);
        for ((key, next), upto) in keys[all.clone()].iter().zip(&keys[all.start + 1..]).zip(upto) {
            let [y, w] = items[key.place()];
            (sum, weight) = (sum + y, weight + w);
            (*upto.0, *upto.1) = (sum_of_cut(sum, key, next), weight);
        }
        let (eights, cuts) = (all.len().div_ceil(EIGHT), OfWeighted::of(node, sums, weights));
        let best = if self.of_classes { first_best(eights, OfClasses(cuts)) } else { first_best(eights, cuts) };
        best.map(|(at, score)| (all.start + at, score))
    }

    #[inline(always)]
    fn is_perfect(&self, _: &Node, _: f64, rows: usize) -> bool {
        rows == 2
    }

    #[inline(always)]
    fn gain(&self, node: &Node, score: f64) -> f64 {
        if self.of_classes { gain_weighed(node.classes(), score) } else { node.gain(score) }
    }

    #[inline(always)]
    fn value(&self, node: &Node, out: &mut Vec<f64>) {
        if self.of_classes {
            out.extend(node.classes().map(|own| own / node.weight));
        } else {
            out.push(node.total / node.weight + self.center);
        }
    }
}
