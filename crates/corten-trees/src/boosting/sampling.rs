//! Which rows a tree is grown on, and which earlier trees it doesn't see.

use corten_core::random::bits;
use corten_model::estimator::Slopes;

/// Tells draws of rows and of trees apart from others.
const ROWS: u64 = 0x676f_7373;
const TREES: u64 = 0x6461_7274;

/// How the rows of a tree are chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Rows {
    /// By chance, as the tree's shape says.
    Any,
    /// Those of large gradients, and of the others some that count more (GOSS; Ke et al., NIPS 2017).
    Largest { top: f64, other: f64 },
}

/// Earlier trees that take no part in a round (DART; Rashmi & Gilad-Bachrach, AISTATS 2015), by LightGBM's rules.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Dropout {
    /// Share of the trees.
    pub(crate) rate: f64,
    /// Most trees; 0 for any number.
    pub(crate) most: usize,
    /// Chance that a round leaves none out.
    pub(crate) skip: f64,
}

fn chance(seed: u64, stream: u64, at: u64) -> f64 {
    (bits(seed, stream, at) >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
}

/// Keeps the rows of large gradients and draws among the others, whose slopes then stand for those left out.
pub(crate) fn largest(slopes: &mut Slopes, top: f64, other: f64, seed: u64) -> Vec<u32> {
    let n = slopes[0][0].len();
    let size = |r: usize| slopes.iter().map(|[g, h]| (g[r] * h[r]).abs()).sum::<f64>();
    let sizes: Vec<f64> = (0..n).map(size).collect();
    let (kept, drawn) = (((n as f64 * top) as usize).max(1), ((n as f64 * other) as usize).max(1));
    let mut order = sizes.clone();
    let (_, &mut limit, _) = order.select_nth_unstable_by(kept - 1, |a, b| b.total_cmp(a));
    let above = sizes.iter().filter(|s| **s > limit).count();
    // Of equal ones the first.
    let mut equal = kept - above;
    let is_top: Vec<bool> = sizes
        .iter()
        .map(|&s| {
            let tied = s == limit && equal > 0;
            equal -= usize::from(tied);
            s > limit || tied
        })
        .collect();
    let others = n - kept;
    let share = drawn as f64 / others.max(1) as f64;
    let factor = others as f64 / drawn as f64;
    let mut rows = Vec::with_capacity(kept + drawn);
    for r in 0..n {
        if is_top[r] {
            rows.push(r as u32);
        } else if chance(seed, ROWS, r as u64) < share {
            rows.push(r as u32);
            if factor > 1.0 {
                for [g, h] in slopes.iter_mut() {
                    g[r] *= factor;
                    h[r] *= factor;
                }
            }
        }
    }
    rows
}

impl Dropout {
    /// The rounds that a new one doesn't see; `weights` are those of all before.
    pub(crate) fn choose(self, weights: &[f64], seed: u64) -> Vec<usize> {
        let total: f64 = weights.iter().sum();
        if total <= 0.0 || chance(seed, TREES, u64::MAX) < self.skip {
            return Vec::new();
        }
        let inverse = weights.len() as f64 / total;
        let rate = if self.most > 0 { self.rate.min(self.most as f64 * inverse / total) } else { self.rate };
        let chosen = (0..weights.len()).filter(|&i| chance(seed, TREES, i as u64) < rate * weights[i] * inverse);
        let most = if self.most > 0 { self.most } else { usize::MAX };
        chosen.take(most).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_large_gradients_are_kept_and_the_sum_of_others_is_about_theirs() {
        let g: Vec<f64> = (0..10_000).map(|i| f64::from(i % 100)).collect();
        let mut slopes = vec![[g.clone(), vec![1.0; 10_000]]];
        let rows = largest(&mut slopes, 0.2, 0.1, 3);
        assert!(rows.windows(2).all(|w| w[0] < w[1]));
        assert_eq!(rows.iter().filter(|&&r| g[r as usize] >= 80.0).count(), 2000);
        let sum: f64 = rows.iter().map(|&r| slopes[0][0][r as usize]).sum();
        assert!((sum / g.iter().sum::<f64>() - 1.0).abs() < 0.03, "{sum}");
        assert!((rows.len() as f64 - 3000.0).abs() < 150.0);
    }

    #[test]
    fn rounds_are_dropped_at_their_rate() {
        let drop = Dropout { rate: 0.2, most: 0, skip: 0.0 };
        let count: usize = (0..200).map(|s| drop.choose(&[0.1; 50], s).len()).sum();
        assert!((count as f64 / 200.0 - 10.0).abs() < 1.0, "{count}");
        assert!(Dropout { skip: 1.0, ..drop }.choose(&[0.1; 50], 1).is_empty());
        assert!((0..50).all(|s| Dropout { most: 3, ..drop }.choose(&[0.1; 50], s).len() <= 3));
    }
}
