//! Regression by squared error of one output.

use std::ops::Range;

use corten_kernels::splits;

use super::super::finder::Stats;
use super::super::sort::Key;
use super::{Target, cuts};

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
    fn enter(&self, node: &mut Node, items: impl Iterator<Item = f64>) -> Stats {
        let (mut total, mut rows, mut own) = (0.0, 0u32, 0.0);
        for y in items {
            total += y;
            rows += 1;
            own += y * y;
        }
        node.stats(total, f64::from(rows), own)
    }

    #[inline(always)]
    fn best<K: Key>(
        &self,
        node: &Node,
        keys: &[K],
        items: &[f64],
        min_samples: usize,
        room: &mut Vec<f64>,
    ) -> Option<(usize, f64)> {
        let all = cuts(keys, min_samples);
        room.resize(room.len().max(all.end), 0.0);
        let mut sum = 0.0;
        for (key, upto) in keys[..all.end].iter().zip(&mut *room) {
            sum += items[key.place()];
            *upto = sum;
        }
        let (start, sums) = (all.start, &room[all.clone()]);
        greatest(keys, all, |i| node.ratio(sums[i], f64::from((start + i + 1) as u32)))
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

/// The first of the best cuts after some keys, none of them between keys that are alike: after which key, and its score.
#[inline(always)]
fn greatest<K: Key>(keys: &[K], all: Range<usize>, score: impl Fn(usize) -> f64) -> Option<(usize, f64)> {
    let (start, count) = (all.start, all.len());
    let (keys, next) = (&keys[all.clone()], &keys[start + 1..=all.end]);
    let (at, score) =
        splits::first_greatest(count, |i| if keys[i].code() == next[i].code() { f64::NEG_INFINITY } else { score(i) })?;
    Some((start + at, score))
}

impl Target for Weighted {
    type Item = [f64; 2];
    type Node = Node;
    type Room = Vec<[f64; 2]>;

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
    fn enter(&self, node: &mut Node, items: impl Iterator<Item = [f64; 2]>) -> Stats {
        let (mut total, mut weight, mut own) = (0.0, 0.0, 0.0);
        for [y, w] in items {
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
        min_samples: usize,
        room: &mut Vec<[f64; 2]>,
    ) -> Option<(usize, f64)> {
        let all = cuts(keys, min_samples);
        room.resize(room.len().max(all.end), [0.0; 2]);
        let mut sums = [0.0; 2];
        for (key, upto) in keys[..all.end].iter().zip(&mut *room) {
            let [y, w] = items[key.place()];
            sums = [sums[0] + y, sums[1] + w];
            *upto = sums;
        }
        let sums = &room[all.clone()];
        greatest(keys, all, |i| node.ratio(sums[i][0], sums[i][1]))
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
