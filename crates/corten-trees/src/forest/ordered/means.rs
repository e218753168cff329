//! Regression by squared error of one output.

use std::ops::Range;

use corten_kernels::splits;

use super::super::finder::Stats;
use super::super::sort::Key;
use super::{EIGHT, Items, Scores, Target, fill, first_best};

/// Targets, less a mean that was taken off them; see [`super::Target`].
pub(crate) struct Even {
    pub(crate) center: f64,
}

/// The same where rows weigh more or less than 1: the weighted target goes with a row, and the weight.
pub(crate) struct Weighted {
    pub(crate) center: f64,
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
    type Room = Vec<f64>;

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
        let (mut total, mut own) = (0.0, 0.0);
        for at in 0..items.count() {
            let y = items.at(at);
            total += y;
            own += y * y;
        }
        node.stats(total, f64::from(items.count() as u32), own)
    }

    #[inline(always)]
    fn best<K: Key>(
        &self,
        node: &Node,
        keys: &[K],
        items: &[f64],
        all: Range<usize>,
        room: &mut Vec<f64>,
    ) -> Option<(usize, f64)> {
        fill(room, all.len(), f64::NAN);
        let mut sum = 0.0;
        for key in &keys[..all.start] {
            sum += items[key.place()];
        }
        for ((key, next), upto) in keys[all.clone()].iter().zip(&keys[all.start + 1..]).zip(&mut *room) {
            sum += items[key.place()];
            *upto = sum_of_cut(sum, key, next);
        }
        let scores = OfSums { node, sums: room.as_chunks().0, first: all.start + 1 };
        let (at, score) = first_best(all.len().div_ceil(EIGHT), scores)?;
        Some((all.start + at, score))
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

impl Target for Weighted {
    type Item = [f64; 2];
    type Node = Node;
    type Room = [Vec<f64>; 2];

    const FEW: bool = true;

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
        node.stats(total, weight, own)
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
        let scores = OfWeighted { node, sums: sums.as_chunks().0, weights: weights.as_chunks().0 };
        let (at, score) = first_best(all.len().div_ceil(EIGHT), scores)?;
        Some((all.start + at, score))
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
