//! Cuts by entropy of rows that all weigh 1: their scores are sums of terms, which a table has by number of rows.

use std::ops::Range;

use corten_kernels::splits::SET;

use super::super::super::finder::Stats;
use super::super::super::purity::{Entropy, Purity};
use super::super::super::sort::Key;
use super::super::classes::Node;
use super::super::{EIGHT, Scores, fill, first_best};
use super::{Ones, Room};

/// Numbers of few rows have tables of their own, of a size that makes any place one of theirs.
const FEW: usize = 2 * SET;

/// Terms of numbers of rows.
pub(super) struct Terms {
    entropy: Entropy,
    few: [f64; FEW],
    /// What one more row adds.
    steps: [f64; FEW],
}

impl Terms {
    pub(super) fn new(entropy: &Entropy) -> Self {
        let few: [f64; FEW] = std::array::from_fn(|rows| entropy.of_few(rows));
        let steps = std::array::from_fn(|rows| entropy.of_few(rows + 1) - entropy.of_few(rows));
        Self { entropy: entropy.clone(), few, steps }
    }

    /// What moving a row to the left changes, of whose class some are there, of so many in all.
    #[inline(always)]
    pub(super) fn moved(&self, before: u32, all: u32) -> f64 {
        let right = all.wrapping_sub(before + 1);
        self.steps[before as usize % FEW] - self.steps[right as usize % FEW]
    }

    /// The score of a cut of few rows, from the sum of terms on both sides and the rows on the left and in all.
    #[inline(always)]
    pub(super) fn score_of_few(&self, sum: f64, [left, all]: [u32; 2]) -> f64 {
        sum - (self.few[left as usize % FEW] + self.few[all.wrapping_sub(left) as usize % FEW])
    }

    /// Sums over the numbers of rows of the classes.
    #[inline(always)]
    pub(super) fn enter(&self, node: &mut Node) -> Stats {
        (node.weight, node.terms) = (0, 0.0);
        for &total in &node.totals {
            node.weight += total;
            node.terms += self.entropy.term(total);
        }
        let impurity = self.entropy.impurity(node.totals.iter().copied(), node.terms, node.weight);
        Stats { weight: f64::from(node.weight), impurity }
    }

    #[inline(always)]
    pub(super) fn gain(&self, node: &Node, score: f64) -> f64 {
        self.entropy.gain(node.terms, node.weight, score)
    }
}

impl Room {
    /// See [`Ones::best`](super::Target::best).
    #[inline(always)]
    pub(super) fn best_by_terms<K: Key>(
        &mut self,
        terms: &Terms,
        node: &Node,
        keys: &[K],
        classes: &[u32],
        all: &Range<usize>,
    ) -> Option<(usize, f64)> {
        self.reserve_terms(node, all.end);
        let (left, sums, lefts) = (&mut self.left[..], &mut self.terms[..], &mut self.lefts[..]);
        let (mut sum, mut count) = (node.terms, 0);
        for (at, (key, next)) in keys[..all.end].iter().zip(&keys[1..]).enumerate() {
            let class = classes[key.place()] as usize;
            let (before, right) = (left[class], node.totals[class] - left[class]);
            let term = |rows: u32| terms.entropy.term(rows);
            sum += (term(before + 1) - term(before)) - (term(right) - term(right - 1));
            left[class] = before + 1;
            // Written in any case, kept where a cut may be: no branch.
            (sums[count], lefts[count]) = (sum, at as u32 + 1);
            count += usize::from((key.code() != next.code()) & (at >= all.start));
        }
        let (at, score) = self.best_of_terms(terms, node, count)?;
        Some((self.lefts[at] as usize - 1, score))
    }

    /// See [`Ones::best_by_value`](super::Target::best_by_value).
    #[inline(always)]
    pub(super) fn best_value_by_terms(&mut self, terms: &Terms, node: &Node, sums: &[u32]) -> Option<(usize, f64)> {
        let width = Ones::width(node.totals.len());
        let cuts = sums.len() / width - 1;
        self.reserve_terms(node, cuts);
        let (mut sum, mut rows) = (node.terms, 0);
        for (at, own) in sums.chunks_exact(width).take(cuts).enumerate() {
            for ((&own, left), &total) in own.iter().zip(&mut self.left).zip(&node.totals) {
                if own > 0 {
                    let (before, after) = (*left, *left + own);
                    terms.entropy.change(&mut sum, before, after);
                    terms.entropy.change(&mut sum, total - before, total - after);
                    *left = after;
                    rows += own;
                }
            }
            // What is nothing or all is no cut.
            self.terms[at] = if rows == 0 || rows == node.weight { f64::NAN } else { sum };
            self.lefts[at] = rows;
        }
        self.best_of_terms(terms, node, cuts)
    }

    /// Makes room for cuts; nothing is on the left.
    #[inline(always)]
    fn reserve_terms(&mut self, node: &Node, cuts: usize) {
        self.left.clear();
        self.left.resize(node.totals.len(), 0);
        fill(&mut self.terms, cuts, f64::NAN);
        fill(&mut self.lefts, cuts, 0);
    }

    /// The best of so many cuts that are kept, by its place, and its score.
    #[inline(always)]
    fn best_of_terms(&mut self, terms: &Terms, node: &Node, count: usize) -> Option<(usize, f64)> {
        // What fills up the last eight has no score.
        fill(&mut self.terms, count, f64::NAN);
        fill(&mut self.lefts, count, 0);
        let (sums, lefts) = (self.terms.as_chunks().0, self.lefts.as_chunks().0);
        first_best(count.div_ceil(EIGHT), OfTerms { terms, weight: node.weight, sums, lefts })
    }
}

/// Scores from the sums of terms on both sides, and the rows on the left of each cut.
struct OfTerms<'a> {
    terms: &'a Terms,
    weight: u32,
    sums: &'a [[f64; EIGHT]],
    lefts: &'a [[u32; EIGHT]],
}

impl Scores for OfTerms<'_> {
    #[inline(always)]
    fn eight(&self, at: usize) -> [f64; EIGHT] {
        let (mut scores, sums, lefts) = ([0.0; EIGHT], &self.sums[at], &self.lefts[at]);
        for lane in 0..EIGHT {
            let left = lefts[lane];
            let sides = self.terms.entropy.term(left) + self.terms.entropy.term(self.weight - left);
            scores[lane] = sums[lane] - sides;
        }
        scores
    }
}
