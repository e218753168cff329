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
    /// Impurity from the sum of terms and the weight.
    fn impurity(&self, sum: Self::Sum, weight: u32) -> f64;
    /// The weighted impurity of two children, from their score and their joint weight.
    fn remaining(&self, score: f64, weight: f64) -> f64;
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

    fn impurity(&self, sum: u64, weight: u32) -> f64 {
        let w = f64::from(weight);
        1.0 - sum as f64 / (w * w)
    }

    fn remaining(&self, score: f64, weight: f64) -> f64 {
        weight - score
    }

    fn perfect(&self, weight: f64) -> f64 {
        weight
    }
}

/// Shannon entropy in bits.
#[derive(Clone)]
pub(crate) struct Entropy(std::sync::Arc<[f64]>);

impl Entropy {
    /// For weights up to `most`.
    pub(crate) fn up_to(most: usize) -> Self {
        Self((0..=most).map(|x| weighted_log(x as f64)).collect())
    }

    #[inline]
    fn term(&self, x: u32) -> f64 {
        self.0[x as usize]
    }
}

/// `x log2(x)`, 0 for 0.
pub(crate) fn weighted_log(x: f64) -> f64 {
    if x > 0.0 { x * corten_kernels::special::ln(x) * std::f64::consts::LOG2_E } else { 0.0 }
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

    fn impurity(&self, sum: f64, weight: u32) -> f64 {
        ((self.term(weight) - sum) / f64::from(weight)).max(0.0)
    }

    fn remaining(&self, score: f64, _: f64) -> f64 {
        -score
    }

    fn perfect(&self, _: f64) -> f64 {
        0.0
    }
}
