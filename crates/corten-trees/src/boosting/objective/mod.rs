//! What boosting minimises: losses with their gradients, hessians, first scores and leaf values.
//!
//! The formulas are those of scikit-learn's `_loss` (half squared error, half deviances). A score is the number before
//! the link. Losses whose gradient at a row asks for other rows too (`ranking`, `survival`), and those from outside,
//! give the gradients of all rows at once.

mod expression;
mod ranking;
mod slopes;
mod survival;

use corten_core::{Error, Result};
use corten_kernels::team::Team;
use corten_kernels::{parallel, special, vector};
use corten_model::estimator::{Extras, Round, Slopes};
use corten_model::ops::LinkKind;
use serde::{Deserialize, Serialize};

pub(crate) use expression::Expression;
pub(crate) use ranking::Ranking;

use super::part::Part;

/// A loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
    /// One score a quantile.
    Quantiles(Vec<f64>),
    /// The order of the rows of each query.
    Ranking(Ranking),
    /// Times until an event; minus the time where it was not seen.
    Cox,
    /// A loss from outside, known by its slopes; so many scores.
    Outside(usize),
    /// A loss that is written down.
    Expression(Expression),
}

/// Rows whose losses are summed before they are joined.
const BLOCK: usize = 4096;

impl Objective {
    /// Scores of a row.
    pub(crate) fn outputs(&self) -> usize {
        match self {
            Self::Multiclass(k) | Self::Outside(k) => *k,
            Self::Quantiles(q) => q.len(),
            _ => 1,
        }
    }

    /// Whether gradients are those of all rows at once.
    pub(crate) fn is_whole(&self) -> bool {
        matches!(self, Self::Ranking(_) | Self::Cox | Self::Outside(_))
    }

    /// What makes a prediction of a number's score.
    pub(crate) fn link(&self) -> Option<LinkKind> {
        match self {
            Self::Poisson | Self::Gamma | Self::Tweedie(_) => Some(LinkKind::Exp),
            Self::CrossEntropy => Some(LinkKind::Sigmoid),
            _ => None,
        }
    }

    /// # Errors
    /// [`Error::Value`] when the loss is not defined for a target.
    pub(crate) fn check(&self, y: &[f64]) -> Result<()> {
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
            Self::Ranking(ranking) => ranking.check(y),
            Self::Cox if y.iter().all(|&v| v <= 0.0) => Err(Error::value(
                "loss='cox' requires times above 0 of at least one event; those of rows without have a minus.",
            )),
            Self::Gamma if y.iter().any(|&v| v <= 0.0) => {
                Err(Error::value("loss='gamma' requires strictly positive y."))
            }
            _ => Ok(()),
        }
    }

    /// The first scores, one an output: the best constant.
    pub(crate) fn baseline(&self, y: &[f64], weights: Option<&[f64]>) -> Vec<f64> {
        let total = weights.map_or(y.len() as f64, vector::sum);
        let mean = || weights.map_or_else(|| vector::sum(y), |w| vector::dot(y, w)) / total;
        match self {
            Self::SquaredError => vec![mean()],
            Self::AbsoluteError | Self::Huber(_) => vec![quantile(y.to_vec(), weights, 0.5)],
            Self::Quantile(q) => vec![quantile(y.to_vec(), weights, *q)],
            Self::Quantiles(all) => all.iter().map(|&q| quantile(y.to_vec(), weights, q)).collect(),
            Self::Ranking(_) | Self::Cox | Self::Outside(_) => vec![0.0; self.outputs()],
            Self::Expression(loss) => vec![loss.constant(&y.into(), weights)],
            Self::Poisson | Self::Gamma | Self::Tweedie(_) => vec![special::ln(mean().max(f64::EPSILON))],
            Self::Binary | Self::CrossEntropy => {
                let p = mean().clamp(f64::EPSILON, 1.0 - f64::EPSILON);
                vec![special::ln(p / (1.0 - p))]
            }
            Self::Multiclass(k) => {
                let mut share = vec![0.0; *k];
                for (i, &c) in y.iter().enumerate() {
                    share[c as usize] += weights.map_or(1.0, |w| w[i]);
                }
                let logs: Vec<f64> =
                    share.iter().map(|s| special::ln((s / total).clamp(f64::EPSILON, 1.0 - f64::EPSILON))).collect();
                let mean = logs.iter().sum::<f64>() / *k as f64;
                logs.iter().map(|l| l - mean).collect()
            }
        }
    }

    /// Hessian of every row without weights, where all have the same.
    pub(crate) fn constant_hessian(&self) -> bool {
        matches!(&self, Self::SquaredError | Self::AbsoluteError | Self::Quantile(_) | Self::Huber(_))
    }

    /// Most that a gradient and a hessian can be without weights, where that is known.
    pub(crate) fn bounds(&self) -> Option<(f64, f64)> {
        match self {
            Self::Binary | Self::CrossEntropy | Self::Multiclass(_) => Some((1.0, 0.25)),
            Self::Huber(delta) => Some((*delta, 1.0)),
            Self::AbsoluteError | Self::Quantile(_) | Self::Quantiles(_) => Some((1.0, 1.0)),
            _ => None,
        }
    }

    /// The gradients and hessians of all rows of an objective that is whole, weights included.
    ///
    /// # Errors
    /// What an objective from outside gives.
    pub(crate) fn slopes(&self, part: &Part, extras: &Extras<'_>) -> Result<Slopes> {
        let weights = part.weights.as_deref();
        let mut slopes = match self {
            Self::Ranking(ranking) => vec![ranking.slopes(&part.y.all(), &part.scores[0], &part.queries)],
            Self::Cox => return Ok(vec![survival::slopes(&part.y.all(), weights, &part.scores[0])]),
            _ => {
                let outside = extras.objective.as_ref();
                let outside =
                    outside.ok_or_else(|| Error::Internal("an objective from outside is not there".into()))?;
                outside(&Round { rows: &part.rows, y: &part.y.all(), weights, scores: &part.scores })?
            }
        };
        for [g, h] in &mut slopes {
            slopes::weigh(weights, g, h);
        }
        Ok(slopes)
    }

    /// The mean loss, the same bits for any number of threads; `None` for a loss from outside.
    pub(crate) fn loss(&self, part: &Part, team: Team<'_>) -> Option<f64> {
        let (y, weights, scores) = (&part.y, part.weights.as_deref(), &part.scores);
        match self {
            Self::Ranking(ranking) => return Some(ranking.loss(&y.all(), &scores[0], &part.queries)),
            Self::Cox => return Some(survival::loss(&y.all(), weights, &scores[0])),
            Self::Outside(_) => return None,
            _ => {}
        }
        let mut parts = vec![(0.0, 0.0); y.len().div_ceil(BLOCK)];
        team.each(&mut parts, |b, part| {
            let (mut sum, mut total, mut row) = (0.0, 0.0, vec![0.0; scores.len()]);
            for i in b * BLOCK..((b + 1) * BLOCK).min(y.len()) {
                let w = weights.map_or(1.0, |w| w[i]);
                for (s, scores) in row.iter_mut().zip(scores) {
                    *s = scores[i];
                }
                sum += w * self.loss_of(y.get(i), &row);
                total += w;
            }
            *part = (sum, total);
        });
        let (sum, total) = parallel::reduce_blocks(parts, |a, b| *a = (a.0 + b.0, a.1 + b.1)).unwrap_or((0.0, 1.0));
        Some(sum / total)
    }

    pub(crate) fn loss_of(&self, y: f64, scores: &[f64]) -> f64 {
        let score = scores[0];
        match self {
            Self::SquaredError => 0.5 * (score - y) * (score - y),
            Self::AbsoluteError => (score - y).abs(),
            Self::Quantile(q) => pinball(*q, y, score),
            Self::Quantiles(all) => {
                all.iter().zip(scores).map(|(&q, &s)| pinball(q, y, s)).sum::<f64>() / all.len() as f64
            }
            // Their losses are not sums over rows.
            Self::Ranking(_) | Self::Cox | Self::Outside(_) => f64::NAN,
            Self::Expression(loss) => loss.loss(y, score),
            Self::Poisson => special::exp(score) - y * score,
            Self::Gamma => score + y * special::exp(-score),
            Self::Huber(delta) => {
                let residual = (score - y).abs();
                if residual <= *delta { 0.5 * residual * residual } else { delta * (residual - 0.5 * delta) }
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

    /// # Errors
    /// [`Error::Value`] when a loss that is written down has no finite slopes at some score.
    pub(crate) fn slopes_are_finite(&self) -> Result<()> {
        match self {
            Self::Expression(loss) if loss.failed() => {
                Err(Error::value("the loss gave a gradient or hessian that is not finite"))
            }
            _ => Ok(()),
        }
    }

    /// Whether leaves of an output take a quantile of the residuals instead of a Newton step, and which.
    pub(crate) fn leaf_quantile(&self, output: usize) -> Option<f64> {
        match self {
            Self::AbsoluteError => Some(0.5),
            Self::Quantile(q) => Some(*q),
            Self::Quantiles(all) => all.get(output).copied(),
            _ => None,
        }
    }
}

fn pinball(q: f64, y: f64, score: f64) -> f64 {
    (y - score) * if y >= score { q } else { q - 1.0 }
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
