//! The order of rows within queries: LambdaMART (Burges, MSR-TR-2010-82), with LightGBM's rules.

use corten_core::{Error, Result};
use corten_kernels::special;
use serde::{Deserialize, Serialize};

/// The most relevant that a row may be: gains are powers of two.
const MOST: f64 = 31.0;

/// Pairs of rows pull at each other by what their exchange would change in the normalised discounted cumulative gain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ranking {
    /// Ranks of a query that count.
    pub(crate) truncation: usize,
    /// Whether pairs count less the further their scores are apart, and queries by the logarithm of their sums.
    pub(crate) norm: bool,
    /// How steep the sigmoid of a pair is.
    pub(crate) sigmoid: f64,
}

fn gain(relevance: f64) -> f64 {
    ((1u64 << relevance as u64) - 1) as f64
}

fn discount(rank: usize) -> f64 {
    std::f64::consts::LN_2 / special::ln(2.0 + rank as f64)
}

impl Ranking {
    /// # Errors
    /// [`Error::Value`] when a target is no relevance.
    pub(crate) fn check(&self, y: &[f64]) -> Result<()> {
        match y.iter().find(|&&v| !(0.0..=MOST).contains(&v) || v != v.trunc()) {
            Some(bad) => Err(Error::value(format!(
                "y must hold whole numbers from 0 to {MOST}, how relevant a row is, but {bad} came"
            ))),
            None => Ok(()),
        }
    }

    /// The best that a query's order may be.
    fn best(&self, y: &[f64]) -> f64 {
        let mut sorted = y.to_vec();
        sorted.sort_by(|a, b| b.total_cmp(a));
        sorted.iter().take(self.truncation).enumerate().map(|(i, &v)| gain(v) * discount(i)).sum()
    }

    /// Rows from the highest score down; ties keep their order.
    fn order(scores: &[f64]) -> Vec<usize> {
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        order
    }

    /// Gradients and hessians; queries end at the rows of `queries`.
    pub(crate) fn slopes(&self, y: &[f64], scores: &[f64], queries: &[u32]) -> [Vec<f64>; 2] {
        let (mut g, mut h) = (vec![0.0; y.len()], vec![0.0; y.len()]);
        let mut from = 0;
        for &to in queries {
            let rows = from..to as usize;
            self.query(&y[rows.clone()], &scores[rows.clone()], &mut g[rows.clone()], &mut h[rows]);
            from = to as usize;
        }
        [g, h]
    }

    fn query(&self, y: &[f64], scores: &[f64], g: &mut [f64], h: &mut [f64]) {
        let best = self.best(y);
        if best <= 0.0 {
            return;
        }
        let order = Self::order(scores);
        let (Some(&first), Some(&last)) = (order.first(), order.last()) else { return };
        let spread = self.norm && scores[first] != scores[last];
        let mut sum = 0.0;
        for (i, &a) in order.iter().enumerate().take(self.truncation) {
            for (j, &b) in order.iter().enumerate().skip(i + 1) {
                if y[a] == y[b] {
                    continue;
                }
                let (high, low) = if y[a] > y[b] { (a, b) } else { (b, a) };
                let apart = scores[high] - scores[low];
                let mut change = (gain(y[high]) - gain(y[low])) * (discount(i) - discount(j)) / best;
                if spread {
                    change /= 0.01 + apart.abs();
                }
                let p = special::sigmoid(-self.sigmoid * apart);
                let (pull, bend) = (self.sigmoid * change * p, self.sigmoid * self.sigmoid * change * p * (1.0 - p));
                g[high] -= pull;
                g[low] += pull;
                h[high] += bend;
                h[low] += bend;
                sum += 2.0 * pull;
            }
        }
        if self.norm && sum > 0.0 {
            let factor = special::log1p(sum) / std::f64::consts::LN_2 / sum;
            g.iter_mut().chain(h).for_each(|x| *x *= factor);
        }
    }

    /// What the mean normalised discounted cumulative gain of queries lacks to 1.
    pub(crate) fn loss(&self, y: &[f64], scores: &[f64], queries: &[u32]) -> f64 {
        let (mut from, mut sum) = (0, 0.0);
        for &to in queries {
            let rows = from..to as usize;
            let (y, scores) = (&y[rows.clone()], &scores[rows]);
            let best = self.best(y);
            let order = Self::order(scores);
            let got: f64 = order.iter().take(self.truncation).enumerate().map(|(i, &r)| gain(y[r]) * discount(i)).sum();
            // A query of which nothing is relevant is in any order right.
            sum += if best > 0.0 { 1.0 - got / best } else { 0.0 };
            from = to as usize;
        }
        sum / queries.len().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pulls_within_a_query_add_to_zero_and_lift_what_is_relevant() {
        let ranking = Ranking { truncation: 30, norm: true, sigmoid: 1.0 };
        let (y, scores) = ([0.0, 2.0, 1.0, 0.0, 3.0], [0.5, 0.1, 0.2, 0.3, 0.0]);
        let [g, h] = ranking.slopes(&y, &scores, &[3, 5]);
        assert!(g[..3].iter().sum::<f64>().abs() < 1e-12 && g[3..].iter().sum::<f64>().abs() < 1e-12);
        assert!(g[1] < 0.0 && g[4] < 0.0 && g[0] > 0.0 && h.iter().all(|&x| x > 0.0));
        assert!(ranking.loss(&y, &y, &[3, 5]).abs() < 1e-15);
        assert!(ranking.check(&[0.5]).is_err() && ranking.check(&[32.0]).is_err());
    }

    #[test]
    fn the_loss_is_that_of_its_definition() {
        let ranking = Ranking { truncation: 2, norm: true, sigmoid: 1.0 };
        let best = 7.0 + 3.0 / 3f64.log2();
        let got = 1.0 + 7.0 / 3f64.log2();
        assert!((ranking.loss(&[3.0, 1.0, 2.0], &[0.2, 0.3, 0.1], &[3]) - (1.0 - got / best)).abs() < 1e-12);
    }
}
