//! How mixed the classes of a node are, from whole class weights.

use corten_kernels::splits;

/// How mixed classes are, from a sum over classes that changes by one term a row.
pub(crate) trait Purity: Send + Sync {
    /// A sum of terms.
    type Sum: Copy + Default + Send + Sync;
    /// Whether the score of two classes is that of [`splits::best_gini`].
    const RATIO: bool;

    /// Changes a sum when the weight of one of its classes does.
    fn change(&self, sum: &mut Self::Sum, before: u32, after: u32);
    /// Changes the sums of both sides as class weights are added on the left of `all`; gives what was added in all.
    fn move_left(&self, sums: &mut (Self::Sum, Self::Sum), left: &mut [u32], added: &[u32], all: &[u32]) -> u32 {
        let mut weight = 0;
        for ((l, &w), &all) in left.iter_mut().zip(added).zip(all) {
            weight += w;
            let (before, after) = (*l, *l + w);
            *l = after;
            self.change(&mut sums.0, before, after);
            self.change(&mut sums.1, all - before, all - after);
        }
        weight
    }
    /// What a side of a split adds to the score.
    fn side(&self, sum: Self::Sum, weight: u32) -> f64;
    /// The score of one of the cuts of [`Purity::best`], with the same bits.
    fn cut(&self, sums: (Self::Sum, Self::Sum), left: u32, right: u32) -> f64 {
        self.side(sums.0, left) + self.side(sums.1, right)
    }
    /// The best of cuts by the sums on both sides and the weights on the left.
    fn best(&self, left: &[Self::Sum], right: &mut [Self::Sum], weights: &[u32], weight: u32) -> Option<(usize, f64)>;
    /// Impurity from the weights of classes, the sum of their terms and their weight.
    fn impurity(&self, totals: impl Iterator<Item = u32>, sum: Self::Sum, weight: u32) -> f64;
    /// By how much a cut of this score lowers the weighted impurity of a node of such a sum and weight.
    fn gain(&self, sum: Self::Sum, weight: u32, score: f64) -> f64;
    /// The score of two pure children of this joint weight, where it is exact.
    fn perfect(&self, weight: f64) -> f64;
}

/// Gini impurity: 1 less the sum of squared shares.
#[derive(Clone)]
pub(crate) struct Gini;

impl Purity for Gini {
    type Sum = u64;
    const RATIO: bool = true;

    #[inline]
    fn change(&self, sum: &mut u64, before: u32, after: u32) {
        let (before, after) = (u64::from(before), u64::from(after));
        // The difference of two squares.
        *sum = sum.wrapping_add((after + before).wrapping_mul(after.wrapping_sub(before)));
    }

    fn move_left(&self, sums: &mut (u64, u64), left: &mut [u32], added: &[u32], all: &[u32]) -> u32 {
        let (weight, lefts, rights) = splits::move_classes(left, added, all);
        *sums = (lefts, rights);
        weight
    }

    #[inline]
    fn side(&self, sum: u64, weight: u32) -> f64 {
        sum as f64 / f64::from(weight)
    }

    fn cut(&self, sums: (u64, u64), left: u32, right: u32) -> f64 {
        splits::ratio(sums.0 as f64, sums.1 as f64, f64::from(left), f64::from(right))
    }

    fn best(&self, left: &[u64], right: &mut [u64], weights: &[u32], weight: u32) -> Option<(usize, f64)> {
        splits::best_ratio(left, right, weights, weight)
    }

    fn impurity(&self, _: impl Iterator<Item = u32>, sum: u64, weight: u32) -> f64 {
        let w = f64::from(weight);
        1.0 - sum as f64 / (w * w)
    }

    fn gain(&self, sum: u64, weight: u32, score: f64) -> f64 {
        let w = f64::from(weight);
        w * (1.0 - sum as f64 / (w * w)) - (w - score)
    }

    fn perfect(&self, weight: f64) -> f64 {
        weight
    }
}

/// Digits of a number behind the first one, below its exponent.
const DIGITS: u32 = f64::MANTISSA_DIGITS - 1;

/// Shannon entropy in bits.
///
/// Terms of scores are rounded to multiples of a power of two, so that their sums are exact: a score depends on the weights
/// on both sides of a cut alone, whatever the order in which rows were added up, and cuts that part classes alike are equal.
#[derive(Clone)]
pub(crate) struct Entropy {
    /// `x log2(x)`.
    logs: std::sync::Arc<[f64]>,
    /// The same, rounded.
    terms: std::sync::Arc<[f64]>,
}

impl Entropy {
    /// For weights up to `most`.
    pub(crate) fn up_to(most: usize) -> Self {
        let logs: std::sync::Arc<[f64]> = (0..=most).map(|x| weighted_log(x as f64)).collect();
        // Sums of terms of both sides are at most twice that of the whole. What is added to a number above all of them, and
        // taken away again, loses the digits that it has no room for.
        let whole = (2.0 * logs[most]).max(1.0);
        let shift = 3.0 * f64::from_bits(((whole.to_bits() >> DIGITS) + 1) << DIGITS);
        Self { terms: logs.iter().map(|log| log + shift - shift).collect(), logs }
    }

    /// `x log2(x)` as scores take it.
    #[inline(always)]
    pub(crate) fn term(&self, x: u32) -> f64 {
        self.terms[x as usize]
    }

    /// The same; not a number where weights are never as large.
    pub(crate) fn of_few(&self, x: usize) -> f64 {
        self.terms.get(x).copied().unwrap_or(f64::NAN)
    }
}

/// `x log2(x)` of finite numbers, 0 for 0 and below. Without branches, so that loops of it are done side by side.
#[inline(always)]
pub(crate) fn weighted_log(x: f64) -> f64 {
    let log = x * corten_kernels::special::ln_of_positive(x) * std::f64::consts::LOG2_E;
    if x > 0.0 { log } else { 0.0 }
}

impl Purity for Entropy {
    type Sum = f64;
    const RATIO: bool = false;

    #[inline]
    fn change(&self, sum: &mut f64, before: u32, after: u32) {
        *sum += self.term(after) - self.term(before);
    }

    #[inline]
    fn side(&self, sum: f64, weight: u32) -> f64 {
        sum - self.term(weight)
    }

    fn best(&self, left: &[f64], right: &mut [f64], weights: &[u32], weight: u32) -> Option<(usize, f64)> {
        for ((r, l), &w) in right.iter_mut().zip(left).zip(weights) {
            *r = (l - self.term(w)) + (*r - self.term(weight - w));
        }
        splits::best_score(right)
    }

    fn impurity(&self, totals: impl Iterator<Item = u32>, _: f64, weight: u32) -> f64 {
        let sum: f64 = totals.map(|total| self.logs[total as usize]).sum();
        ((self.logs[weight as usize] - sum) / f64::from(weight)).max(0.0)
    }

    fn gain(&self, sum: f64, weight: u32, score: f64) -> f64 {
        // No cut makes classes more mixed, but for what was rounded.
        (score - self.side(sum, weight)).max(0.0)
    }

    fn perfect(&self, _: f64) -> f64 {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_of_terms_are_exact() {
        for most in [0, 1, 2, 3, 1000, 1 << 20] {
            let entropy = Entropy::up_to(most);
            let close =
                |x: u32| (entropy.term(x) - weighted_log(f64::from(x))).abs() <= 1e-15 * entropy.logs[most].max(1.0);
            assert!((0..=most as u32).all(close), "{most}");
        }
        let (entropy, most) = (Entropy::up_to(50_000), 50_000u32);
        // Up and down again, by steps of any size.
        for step in [1, 7, 331, 9_999] {
            let ups = (0..most / step).map(|at| at * step);
            let sum: f64 = ups.clone().map(|x| entropy.term(x + step) - entropy.term(x)).sum();
            assert_eq!(sum, entropy.term(most / step * step));
            assert_eq!(ups.fold(sum, |sum, x| sum + (entropy.term(x) - entropy.term(x + step))), 0.0);
        }
        let node = [3u32, 5, 8];
        let sum = node.iter().map(|&total| entropy.term(total)).sum();
        let score = entropy.cut((entropy.term(3) + entropy.term(5), entropy.term(8)), 8, 8);
        assert_eq!(entropy.perfect(16.0), entropy.cut((entropy.term(8), entropy.term(8)), 8, 8));
        assert!(entropy.gain(sum, 16, score) > 15.9 && entropy.gain(sum, 16, score) < 16.0 + 1e-9);
        // Equal shares on both sides gain nothing.
        let mixed: f64 = [6, 10].map(|x| entropy.term(x)).iter().sum();
        let halves: f64 = [3, 5].map(|x| entropy.term(x)).iter().sum();
        assert!(entropy.gain(mixed, 16, entropy.cut((halves, halves), 8, 8)) < 1e-9);
        assert_eq!(entropy.gain(mixed, 16, entropy.side(mixed, 16) - 1e-9), 0.0);
    }
}
