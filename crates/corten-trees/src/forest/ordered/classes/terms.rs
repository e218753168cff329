//! Cuts by entropy of rows whose weights are whole numbers: their scores are sums of terms, which a table has by weight.

use std::ops::Range;

use super::super::super::finder::Stats;
use super::super::super::purity::{Entropy, Purity};
use super::super::super::sort::Key;
use super::super::{EIGHT, Scores, first_best};
use super::{Node, Room};

impl Node {
    /// Sums over the weights of the classes.
    #[inline(always)]
    pub(super) fn sum_terms(&mut self, entropy: &Entropy) -> Stats {
        (self.weight, self.terms) = (0, 0.0);
        for &total in &self.totals {
            self.weight += total;
            self.terms += entropy.term(total);
        }
        let impurity = entropy.impurity(self.totals.iter().copied(), self.terms, self.weight);
        Stats { weight: f64::from(self.weight), impurity }
    }

    /// What it changes in the sum of terms of both sides that a row of a class goes to one that has so much of it.
    #[inline(always)]
    pub(in super::super::super) fn moved(&self, entropy: &Entropy, class: usize, before: u32, weight: u32) -> f64 {
        let (after, total) = (before + weight, self.totals[class]);
        (entropy.term(after) - entropy.term(before)) + (entropy.term(total - after) - entropy.term(total - before))
    }
}

impl Room {
    /// Keeps the weight and the sum of terms of a cut, where it is one.
    #[inline(always)]
    pub(in super::super::super) fn keep_terms(&mut self, at: usize, weight: u32, sum: f64, is_cut: bool) {
        // NaN is no score.
        (self.upto[0][at], self.upto[1][at]) =
            if is_cut { (u64::from(weight), sum.to_bits()) } else { (0, f64::NAN.to_bits()) };
    }

    /// The first of the best of the cuts that are kept from one place to another.
    #[inline(always)]
    pub(in super::super::super) fn best_of_terms(
        &mut self,
        entropy: &Entropy,
        node: &Node,
        cuts: Range<usize>,
    ) -> Option<(usize, f64)> {
        (cuts.end..cuts.end + EIGHT).for_each(|at| self.keep_terms(at, 0, 0.0, false));
        let [weights, sums] = [0, 1].map(|which| self.upto[which][cuts.start..].as_chunks().0);
        let of = OfTerms { entropy, weight: node.weight, weights, sums };
        let (at, score) = first_best(cuts.len().div_ceil(EIGHT), of)?;
        Some((cuts.start + at, score))
    }

    /// See [`Classes::best`](super::Target::best). Apart from what looks for other cuts, which it would slow down.
    #[inline(never)]
    pub(super) fn best_by_terms<K: Key>(
        &mut self,
        entropy: &Entropy,
        node: &Node,
        keys: &[K],
        items: &[(u32, u32)],
        all: &Range<usize>,
    ) -> Option<(usize, f64)> {
        self.reset(node.totals.len(), all.end);
        let (mut weight, mut sum, mut count) = (0, node.terms, 0);
        for (at, (key, next)) in keys[..all.end].iter().zip(&keys[1..]).enumerate() {
            let (class, w) = items[key.place()];
            let before = self.left[class as usize];
            sum += node.moved(entropy, class as usize, before, w);
            weight += w;
            self.left[class as usize] = before + w;
            // Written in any case, kept where a cut may be: no branch.
            self.keep_terms(count, weight, sum, true);
            self.places[count] = at as u32;
            count += usize::from((key.code() != next.code()) & (at >= all.start));
        }
        let (at, score) = self.best_of_terms(entropy, node, 0..count)?;
        Some((self.places[at] as usize, score))
    }

    /// The best of the cuts after each of some values, from what lies left of all of them, and sums of each value.
    #[inline(never)]
    pub(in super::super::super) fn best_value_by_terms<'a>(
        &mut self,
        entropy: &Entropy,
        node: &Node,
        values: impl ExactSizeIterator<Item = &'a [u32]>,
    ) -> Option<(usize, f64)> {
        let (mut weight, mut sum, cuts) = (0, 0.0, values.len());
        for (&left, &total) in self.left.iter().zip(&node.totals) {
            weight += left;
            sum += entropy.term(left) + entropy.term(total - left);
        }
        for (at, own) in values.enumerate() {
            for (class, &own) in own.iter().enumerate() {
                if own > 0 {
                    sum += node.moved(entropy, class, self.left[class], own);
                    self.left[class] += own;
                    weight += own;
                }
            }
            // What is nothing or all is no cut.
            self.keep_terms(at, weight, sum, weight > 0 && weight < node.weight);
        }
        self.best_of_terms(entropy, node, 0..cuts)
    }
}

/// Scores from the weights on one side, and the sums of terms on both, of each cut.
struct OfTerms<'a> {
    entropy: &'a Entropy,
    weight: u32,
    weights: &'a [[u64; EIGHT]],
    sums: &'a [[u64; EIGHT]],
}

impl Scores for OfTerms<'_> {
    #[inline(always)]
    fn eight(&self, at: usize) -> [f64; EIGHT] {
        let (mut scores, weights, sums) = ([0.0; EIGHT], &self.weights[at], &self.sums[at]);
        for lane in 0..EIGHT {
            let weight = weights[lane] as u32;
            let sides = self.entropy.term(weight) + self.entropy.term(self.weight - weight);
            scores[lane] = f64::from_bits(sums[lane]) - sides;
        }
        scores
    }
}
