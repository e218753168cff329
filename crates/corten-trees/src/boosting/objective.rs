//! What boosting minimises: losses with their gradients, hessians, first scores and leaf values.
//!
//! The formulas are those of scikit-learn's `_loss` (half squared error, half deviances). A score is the number before
//! the link.

use corten_core::{Error, Result};
use corten_kernels::boost::gradients;
use corten_kernels::team::Team;
use corten_kernels::{parallel, special, vector};

/// A loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Objective {
    SquaredError,
    AbsoluteError,
    Quantile(f64),
    Poisson,
    Gamma,
    /// Squared near the target, linear beyond this distance.
    Huber(f64),
    /// Variance that grows with this power of the mean, between 1 and 2.
    Tweedie(f64),
    /// Targets between 0 and 1, one score before the sigmoid.
    CrossEntropy,
    /// Two classes, one score.
    Binary,
    /// One score a class.
    Multiclass(usize),
}

/// Rows whose losses are summed before they are joined.
const BLOCK: usize = 4096;

impl Objective {
    /// Scores of a row.
    pub(crate) fn outputs(self) -> usize {
        if let Self::Multiclass(k) = self { k } else { 1 }
    }

    /// # Errors
    /// [`Error::Value`] when the loss is not defined for a target.
    pub(crate) fn check(self, y: &[f64]) -> Result<()> {
        match self {
            Self::Poisson if y.iter().any(|&v| v < 0.0) || y.iter().all(|&v| v == 0.0) => {
                Err(Error::value("loss='poisson' requires non-negative y and sum(y) > 0."))
            }
            Self::Tweedie(_) if y.iter().any(|&v| v < 0.0) || y.iter().all(|&v| v == 0.0) => {
                Err(Error::value("loss='tweedie' requires non-negative y and sum(y) > 0."))
            }
            Self::CrossEntropy if y.iter().any(|&v| !(0.0..=1.0).contains(&v)) => {
                Err(Error::value("loss='cross_entropy' requires y between 0 and 1."))
            }
            Self::Gamma if y.iter().any(|&v| v <= 0.0) => {
                Err(Error::value("loss='gamma' requires strictly positive y."))
            }
            _ => Ok(()),
        }
    }

    /// The first scores, one an output: the best constant.
    pub(crate) fn baseline(self, y: &[f64], weights: Option<&[f64]>) -> Vec<f64> {
        let total = weights.map_or(y.len() as f64, vector::sum);
        let mean = || weights.map_or_else(|| vector::sum(y), |w| vector::dot(y, w)) / total;
        match self {
            Self::SquaredError => vec![mean()],
            Self::AbsoluteError | Self::Huber(_) => vec![quantile(y.to_vec(), weights, 0.5)],
            Self::Quantile(q) => vec![quantile(y.to_vec(), weights, q)],
            Self::Poisson | Self::Gamma | Self::Tweedie(_) => vec![special::ln(mean().max(f64::EPSILON))],
            Self::Binary | Self::CrossEntropy => {
                let p = mean().clamp(f64::EPSILON, 1.0 - f64::EPSILON);
                vec![special::ln(p / (1.0 - p))]
            }
            Self::Multiclass(k) => {
                let mut share = vec![0.0; k];
                for (i, &c) in y.iter().enumerate() {
                    share[c as usize] += weights.map_or(1.0, |w| w[i]);
                }
                let logs: Vec<f64> =
                    share.iter().map(|s| special::ln((s / total).clamp(f64::EPSILON, 1.0 - f64::EPSILON))).collect();
                let mean = logs.iter().sum::<f64>() / k as f64;
                logs.iter().map(|l| l - mean).collect()
            }
        }
    }

    /// Hessian of every row without weights, where all have the same.
    pub(crate) fn constant_hessian(self) -> bool {
        matches!(self, Self::SquaredError | Self::AbsoluteError | Self::Quantile(_) | Self::Huber(_))
    }

    /// Most that a gradient and a hessian can be without weights, where that is known.
    pub(crate) fn bounds(self) -> Option<(f64, f64)> {
        match self {
            Self::Binary | Self::CrossEntropy | Self::Multiclass(_) => Some((1.0, 0.25)),
            Self::Huber(delta) => Some((delta, 1.0)),
            Self::AbsoluteError | Self::Quantile(_) => Some((1.0, 1.0)),
            _ => None,
        }
    }

    /// Gradients and hessians of a block of rows at their scores, for an objective of one output.
    ///
    /// Shapes: all of one length.
    pub(crate) fn block(self, y: &[f64], weights: Option<&[f64]>, scores: &[f64], g: &mut [f64], h: &mut [f64]) {
        match self {
            Self::Binary | Self::CrossEntropy => gradients::logistic(y, scores, g, h),
            Self::Poisson => {
                h.copy_from_slice(scores);
                gradients::exp_all(h);
                for ((g, &h), &y) in g.iter_mut().zip(&*h).zip(y) {
                    *g = h - y;
                }
            }
            Self::Gamma => {
                for (h, &s) in h.iter_mut().zip(scores) {
                    *h = -s;
                }
                gradients::exp_all(h);
                for ((g, h), &y) in g.iter_mut().zip(h.iter_mut()).zip(y) {
                    *h *= y;
                    *g = 1.0 - *h;
                }
            }
            _ => {
                for (((g, h), &y), &s) in g.iter_mut().zip(h.iter_mut()).zip(y).zip(scores) {
                    (*g, *h) = self.one(y, s);
                }
            }
        }
        weigh(weights, g, h);
    }

    /// Gradients and hessians of a block of rows, class after class; `give` gets each class with them.
    ///
    /// Shapes: `scores` has a slice of the block's length for each class.
    pub(crate) fn classes(
        self,
        y: &[f64],
        weights: Option<&[f64]>,
        scores: &[&[f64]],
        mut give: impl FnMut(usize, &[f64], &[f64]),
    ) {
        let n = y.len();
        let mut top = scores[0].to_vec();
        for scores in &scores[1..] {
            for (t, &s) in top.iter_mut().zip(*scores) {
                *t = if s > *t { s } else { *t };
            }
        }
        let (mut exps, mut sums) = (vec![0.0; n * scores.len()], vec![0.0; n]);
        for (e, scores) in exps.chunks_exact_mut(n).zip(scores) {
            for ((e, &s), &t) in e.iter_mut().zip(*scores).zip(&top) {
                *e = s - t;
            }
            gradients::exp_all(e);
            for (sum, &e) in sums.iter_mut().zip(&*e) {
                *sum += e;
            }
        }
        let (mut g, mut h) = (vec![0.0; n], vec![0.0; n]);
        for (k, e) in exps.chunks_exact(n).enumerate() {
            gradients::softmax(k as f64, y, e, &sums, &mut g, &mut h);
            weigh(weights, &mut g, &mut h);
            give(k, &g, &h);
        }
    }

    /// Gradient and hessian of one row with one score.
    #[inline]
    fn one(self, y: f64, score: f64) -> (f64, f64) {
        match self {
            Self::SquaredError => (score - y, 1.0),
            Self::AbsoluteError => (
                if score > y {
                    1.0
                } else if score < y {
                    -1.0
                } else {
                    0.0
                },
                1.0,
            ),
            Self::Quantile(q) => (if y >= score { -q } else { 1.0 - q }, 1.0),
            Self::Poisson => {
                let e = special::exp(score);
                (e - y, e)
            }
            Self::Gamma => {
                let e = y * special::exp(-score);
                (1.0 - e, e)
            }
            Self::Huber(delta) => {
                let residual = score - y;
                (residual.clamp(-delta, delta), 1.0)
            }
            Self::Tweedie(power) => {
                let (a, b) = (special::exp((1.0 - power) * score), special::exp((2.0 - power) * score));
                (b - y * a, (2.0 - power) * b - (1.0 - power) * y * a)
            }
            Self::Binary | Self::CrossEntropy | Self::Multiclass(_) => {
                let p = special::sigmoid(score);
                (p - y, p * (1.0 - p))
            }
        }
    }

    /// The mean loss, the same bits for any number of threads.
    ///
    /// Shapes: `scores` has one column of rows an output.
    pub(crate) fn loss(self, y: &[f64], weights: Option<&[f64]>, scores: &[Vec<f64>], team: Team<'_>) -> f64 {
        let mut parts = vec![(0.0, 0.0); y.len().div_ceil(BLOCK)];
        team.each(&mut parts, |b, part| {
            let (mut sum, mut total, mut row) = (0.0, 0.0, vec![0.0; scores.len()]);
            for i in b * BLOCK..((b + 1) * BLOCK).min(y.len()) {
                let w = weights.map_or(1.0, |w| w[i]);
                for (s, scores) in row.iter_mut().zip(scores) {
                    *s = scores[i];
                }
                sum += w * self.loss_of(y[i], &row);
                total += w;
            }
            *part = (sum, total);
        });
        let (sum, total) = parallel::reduce_blocks(parts, |a, b| *a = (a.0 + b.0, a.1 + b.1)).unwrap_or((0.0, 1.0));
        sum / total
    }

    pub(crate) fn loss_of(self, y: f64, scores: &[f64]) -> f64 {
        let score = scores[0];
        match self {
            Self::SquaredError => 0.5 * (score - y) * (score - y),
            Self::AbsoluteError => (score - y).abs(),
            Self::Quantile(q) => (y - score) * if y >= score { q } else { q - 1.0 },
            Self::Poisson => special::exp(score) - y * score,
            Self::Gamma => score + y * special::exp(-score),
            Self::Huber(delta) => {
                let residual = (score - y).abs();
                if residual <= delta { 0.5 * residual * residual } else { delta * (residual - 0.5 * delta) }
            }
            Self::Tweedie(power) => {
                let (a, b) = (special::exp((1.0 - power) * score), special::exp((2.0 - power) * score));
                b / (2.0 - power) - y * a / (1.0 - power)
            }
            Self::Binary | Self::CrossEntropy => {
                // log(1 + e^s) - y s, from the side where the exponential is small.
                let positive = if score > 0.0 { score } else { 0.0 };
                positive + special::log1p(special::exp(-score.abs())) - y * score
            }
            Self::Multiclass(_) => special::log_sum_exp(scores) - scores[y as usize],
        }
    }

    /// Whether leaves take a quantile of the residuals instead of a Newton step, and which.
    pub(crate) fn leaf_quantile(self) -> Option<f64> {
        match self {
            Self::AbsoluteError => Some(0.5),
            Self::Quantile(q) => Some(q),
            _ => None,
        }
    }
}

fn weigh(weights: Option<&[f64]>, g: &mut [f64], h: &mut [f64]) {
    let Some(weights) = weights else { return };
    for ((g, h), &w) in g.iter_mut().zip(h).zip(weights) {
        *g *= w;
        *h *= w;
    }
}

/// A quantile: interpolated between ranks, or the lowest value that at least that share of the weight lies up to.
pub(crate) fn quantile(mut values: Vec<f64>, weights: Option<&[f64]>, q: f64) -> f64 {
    if values.is_empty() {
        return 0.0;
    }
    match weights {
        None => {
            values.sort_unstable_by(f64::total_cmp);
            let at = (values.len() - 1) as f64 * q;
            let low = at as usize;
            let high = (low + 1).min(values.len() - 1);
            values[low] + (values[high] - values[low]) * (at - low as f64)
        }
        Some(weights) => {
            let mut order: Vec<usize> = (0..values.len()).collect();
            order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
            let total: f64 = order.iter().map(|&i| weights[i]).sum();
            let mut sum = 0.0;
            for &i in &order {
                sum += weights[i];
                if sum >= q * total {
                    return values[i];
                }
            }
            values[order[order.len() - 1]]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gradients_are_the_slopes_of_the_losses() {
        let objectives = [
            (Objective::SquaredError, 1.3),
            (Objective::Poisson, 2.0),
            (Objective::Gamma, 1.7),
            (Objective::Binary, 1.0),
            (Objective::CrossEntropy, 0.3),
            (Objective::Huber(0.8), 1.3),
            (Objective::Tweedie(1.4), 2.5),
            (Objective::Quantile(0.3), 2.0),
        ];
        for (objective, y) in objectives {
            for score in [-0.7, 0.2, 1.1] {
                let d = 1e-6;
                let slope = (objective.loss_of(y, &[score + d]) - objective.loss_of(y, &[score - d])) / (2.0 * d);
                let (g, h) = objective.one(y, score);
                assert!((slope - g).abs() < 1e-6, "{objective:?} {slope} {g}");
                let bend = (objective.one(y, score + d).0 - objective.one(y, score - d).0) / (2.0 * d);
                if !matches!(objective, Objective::Quantile(_) | Objective::Huber(_)) {
                    assert!((bend - h).abs() < 1e-5, "{objective:?} {bend} {h}");
                }
            }
        }
    }

    #[test]
    fn baselines_are_where_gradients_add_to_zero() {
        let y = [1.0, 2.0, 4.0, 9.0];
        for objective in [Objective::SquaredError, Objective::Poisson, Objective::Gamma, Objective::Tweedie(1.5)] {
            let score = objective.baseline(&y, None)[0];
            let sum: f64 = y.iter().map(|&y| objective.one(y, score).0).sum();
            assert!(sum.abs() < 1e-9, "{objective:?} {sum}");
        }
        assert_eq!(Objective::AbsoluteError.baseline(&y, None), [3.0]);
        assert_eq!(quantile(vec![3.0, 1.0, 2.0], Some(&[1.0, 1.0, 1.0]), 0.5), 2.0);
    }
}
