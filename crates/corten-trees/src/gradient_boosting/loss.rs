//! Losses: gradients, values of leaves, first scores.

use corten_kernels::{special, vector};
use corten_model::ops::LinkKind;
use serde::{Deserialize, Serialize};

use crate::boosting::objective::quantile;

/// A leaf whose hessians add up to less keeps the scores as they are.
const TINY: f64 = 1e-150;

/// What is minimised.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Loss {
    Squared,
    Absolute,
    /// The share of the residuals that count in full.
    Huber(f64),
    Quantile(f64),
    /// Two classes, one score.
    Binomial,
    /// One score a class.
    Multinomial(usize),
    /// Two classes, as in AdaBoost.
    Exponential,
}

impl Loss {
    /// Scores of a row, and trees of a stage.
    pub(crate) fn outputs(&self) -> usize {
        if let Self::Multinomial(k) = self { *k } else { 1 }
    }

    /// The scores of the best constant.
    pub(crate) fn start(&self, y: &[f64], weights: Option<&[f64]>) -> Vec<f64> {
        let total = weights.map_or(y.len() as f64, vector::sum);
        let mean = || weights.map_or_else(|| vector::sum(y), |w| vector::dot(y, w)) / total;
        let share = |p: f64| p.clamp(f64::EPSILON, 1.0 - f64::EPSILON);
        let logit = |p: f64| special::ln(p / (1.0 - p));
        match self {
            Self::Squared => vec![mean()],
            Self::Absolute | Self::Huber(_) => vec![quantile(y.to_vec(), weights, 0.5)],
            Self::Quantile(q) => vec![quantile(y.to_vec(), weights, *q)],
            Self::Binomial => vec![logit(share(mean()))],
            Self::Exponential => vec![0.5 * logit(share(mean()))],
            Self::Multinomial(k) => {
                let mut sums = vec![0.0; *k];
                y.iter().enumerate().for_each(|(i, &c)| sums[c as usize] += weights.map_or(1.0, |w| w[i]));
                let logs: Vec<f64> = sums.iter().map(|s| special::ln(share(s / total))).collect();
                let middle = logs.iter().sum::<f64>() / *k as f64;
                logs.iter().map(|l| l - middle).collect()
            }
        }
    }

    /// How probabilities of classes become scores, and what those are multiplied by; `None` for losses of numbers.
    pub(crate) fn of_probabilities(&self) -> Option<(LinkKind, f64)> {
        match self {
            Self::Binomial => Some((LinkKind::LogOdds, 1.0)),
            Self::Exponential => Some((LinkKind::LogOdds, 0.5)),
            Self::Multinomial(_) => Some((LinkKind::CenteredLog, 1.0)),
            Self::Squared | Self::Absolute | Self::Huber(_) | Self::Quantile(_) => None,
        }
    }

    /// Negative gradients of an output; `delta` is the distance from which Huber's loss is linear.
    ///
    /// Shapes: `scores` has a list of rows an output.
    pub(crate) fn residuals(&self, y: &[f64], scores: &[Vec<f64>], output: usize, delta: f64) -> Vec<f64> {
        let one = |(i, &y): (usize, &f64)| {
            let s = scores[output][i];
            let away = y - s;
            match self {
                Self::Squared => away,
                Self::Absolute => sign(away),
                Self::Huber(_) if away.abs() <= delta => away,
                Self::Huber(_) => delta * sign(away),
                Self::Quantile(q) => {
                    if y >= s {
                        *q
                    } else {
                        *q - 1.0
                    }
                }
                Self::Binomial => y - special::sigmoid(s),
                Self::Exponential => y * special::exp(-s) - (1.0 - y) * special::exp(s),
                Self::Multinomial(k) => {
                    let row: Vec<f64> = (0..*k).map(|k| scores[k][i]).collect();
                    f64::from(u8::from(y as usize == output)) - special::exp(s - special::log_sum_exp(&row))
                }
            }
        };
        y.iter().enumerate().map(one).collect()
    }

    /// The distance from which Huber's loss is linear.
    pub(crate) fn delta(&self, y: &[f64], scores: &[Vec<f64>], weights: &[f64]) -> f64 {
        let Self::Huber(share) = self else { return 0.0 };
        let away = y.iter().zip(&scores[0]).map(|(y, s)| (y - s).abs()).collect();
        quantile(away, Some(weights), *share)
    }

    /// The value of a leaf with some rows; `None` where it is their mean residual.
    pub(crate) fn leaf(
        &self,
        rows: &[u32],
        y: &[f64],
        scores: &[f64],
        residuals: &[f64],
        weights: &[f64],
        output: usize,
        delta: f64,
    ) -> Option<f64> {
        let total = || rows.iter().map(|&r| weights[r as usize]).sum::<f64>();
        let mean =
            |f: &dyn Fn(usize) -> f64| rows.iter().map(|&r| weights[r as usize] * f(r as usize)).sum::<f64>() / total();
        let ratio = |a: f64, b: f64| if b.abs() < TINY { 0.0 } else { a / b };
        let middle = |q: f64| {
            let away = rows.iter().map(|&r| y[r as usize] - scores[r as usize]).collect();
            let own: Vec<f64> = rows.iter().map(|&r| weights[r as usize]).collect();
            quantile(away, Some(&own), q)
        };
        Some(match self {
            Self::Squared => return None,
            Self::Absolute => middle(0.5),
            Self::Quantile(q) => middle(*q),
            Self::Huber(_) => {
                let median = middle(0.5);
                median
                    + mean(&|r| {
                        let away = y[r] - scores[r] - median;
                        sign(away) * away.abs().min(delta)
                    })
            }
            Self::Binomial | Self::Multinomial(_) => {
                let (factor, one) = match self {
                    Self::Multinomial(k) => ((*k as f64 - 1.0) / *k as f64, output as f64),
                    _ => (1.0, 1.0),
                };
                let own = |r: usize| f64::from(u8::from(y[r] == one)) - residuals[r];
                ratio(mean(&|r| residuals[r]) * factor, mean(&|r| own(r) * (1.0 - own(r))))
            }
            Self::Exponential => {
                ratio(mean(&|r| residuals[r]), mean(&|r| if y[r] == 0.0 { -residuals[r] } else { residuals[r] }))
            }
        })
    }

    /// The weighted mean loss of some rows, on scikit-learn's scale.
    pub(crate) fn mean(
        &self,
        y: &[f64],
        scores: &[Vec<f64>],
        weights: &[f64],
        delta: f64,
        among: impl Fn(usize) -> bool,
    ) -> f64 {
        let (mut sum, mut total, mut row) = (0.0, 0.0, vec![0.0; scores.len()]);
        for i in (0..y.len()).filter(|&i| among(i)) {
            for (r, s) in row.iter_mut().zip(scores) {
                *r = s[i];
            }
            sum += weights[i] * self.one(y[i], &row, delta);
            total += weights[i];
        }
        sum / total
    }

    fn one(&self, y: f64, scores: &[f64], delta: f64) -> f64 {
        let s = scores[0];
        let away = y - s;
        match self {
            Self::Squared => away * away,
            Self::Absolute => away.abs(),
            Self::Huber(_) if away.abs() <= delta => 0.5 * away * away,
            Self::Huber(_) => delta * (away.abs() - 0.5 * delta),
            Self::Quantile(q) => away * if y >= s { *q } else { *q - 1.0 },
            Self::Binomial => {
                let positive = if s > 0.0 { s } else { 0.0 };
                2.0 * (positive + special::log1p(special::exp(-s.abs())) - y * s)
            }
            Self::Exponential => y * special::exp(-s) + (1.0 - y) * special::exp(s),
            Self::Multinomial(_) => special::log_sum_exp(scores) - scores[y as usize],
        }
    }
}

fn sign(x: f64) -> f64 {
    if x > 0.0 {
        1.0
    } else if x < 0.0 {
        -1.0
    } else {
        0.0
    }
}
