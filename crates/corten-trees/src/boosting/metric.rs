//! Scores that early stopping may watch in place of the loss, by scikit-learn's names: higher is better.

use corten_core::{Error, Result};
use corten_kernels::special;
use corten_kernels::team::Team;
use corten_model::estimator::{Extras, Round};
use corten_model::ops::LinkKind;

use super::objective::Objective;
use super::part::Part;

/// A score of predictions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metric {
    Accuracy,
    BalancedAccuracy,
    LogLoss,
    RocAuc,
    R2,
    SquaredError,
    RootSquaredError,
    AbsoluteError,
    /// Minus the loss.
    Loss,
    /// One from outside, by its number.
    Outside(usize),
}

impl Metric {
    /// Names for classes, then for numbers.
    pub(crate) const NAMES: [&'static [&'static str]; 2] = [
        &["accuracy", "balanced_accuracy", "neg_log_loss", "roc_auc"],
        &["r2", "neg_mean_squared_error", "neg_root_mean_squared_error", "neg_mean_absolute_error"],
    ];

    /// The score of a name.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "accuracy" => Self::Accuracy,
            "balanced_accuracy" => Self::BalancedAccuracy,
            "neg_log_loss" => Self::LogLoss,
            "roc_auc" => Self::RocAuc,
            "r2" => Self::R2,
            "neg_mean_squared_error" => Self::SquaredError,
            "neg_root_mean_squared_error" => Self::RootSquaredError,
            "neg_mean_absolute_error" => Self::AbsoluteError,
            _ => return None,
        })
    }

    /// The score at some raw scores (one column of rows an output).
    ///
    /// # Errors
    /// What a score from outside gives.
    pub(crate) fn of(self, part: &Part, objective: &Objective, extras: &Extras<'_>) -> Result<f64> {
        let y = part.y.all();
        let (y, weights, scores) = (&y[..], part.weights.as_deref(), &part.scores[..]);
        let n = y.len();
        let weight = |i: usize| weights.map_or(1.0, |w| w[i]);
        let mean = |f: &dyn Fn(usize) -> f64| {
            let (sum, total) = (0..n).fold((0.0, 0.0), |a, i| (a.0 + weight(i) * f(i), a.1 + weight(i)));
            sum / total
        };
        let class = |i: usize| {
            if scores.len() == 1 {
                return f64::from(u8::from(scores[0][i] > 0.0));
            }
            let best = (1..scores.len()).fold(0, |b, k| if scores[k][i] > scores[b][i] { k } else { b });
            best as f64
        };
        let number = |i: usize| match objective.link() {
            Some(LinkKind::Exp) => special::exp(scores[0][i]),
            Some(LinkKind::Sigmoid) => special::sigmoid(scores[0][i]),
            _ => scores[0][i],
        };
        Ok(match self {
            Self::Loss => -objective.loss(part, Team::alone()).unwrap_or(f64::NAN),
            Self::Outside(number) => {
                let outside = extras.score.as_ref();
                let outside = outside.ok_or_else(|| Error::Internal("a score from outside is not there".into()))?;
                return outside(number, &Round { rows: &part.rows, y, weights, scores });
            }
            Self::Accuracy => mean(&|i| f64::from(u8::from(class(i) == y[i]))),
            Self::BalancedAccuracy => {
                let count = scores.len().max(2);
                let (mut right, mut all) = (vec![0.0; count], vec![0.0; count]);
                for i in 0..n {
                    all[y[i] as usize] += weight(i);
                    right[y[i] as usize] += if class(i) == y[i] { weight(i) } else { 0.0 };
                }
                let present = all.iter().filter(|a| **a > 0.0).count();
                right.iter().zip(&all).filter(|(_, a)| **a > 0.0).map(|(r, a)| r / a).sum::<f64>() / present as f64
            }
            Self::LogLoss => {
                let mut row = vec![0.0; scores.len()];
                let (mut sum, mut total) = (0.0, 0.0);
                for i in 0..n {
                    for (r, s) in row.iter_mut().zip(scores) {
                        *r = s[i];
                    }
                    sum += weight(i) * objective.loss_of(y[i], &row);
                    total += weight(i);
                }
                -sum / total
            }
            Self::RocAuc => auc(y, weights, &scores[0]),
            Self::R2 => {
                let center = mean(&|i| y[i]);
                let left = mean(&|i| (y[i] - number(i)) * (y[i] - number(i)));
                1.0 - left / mean(&|i| (y[i] - center) * (y[i] - center))
            }
            Self::SquaredError => -mean(&|i| (y[i] - number(i)) * (y[i] - number(i))),
            Self::RootSquaredError => -mean(&|i| (y[i] - number(i)) * (y[i] - number(i))).sqrt(),
            Self::AbsoluteError => -mean(&|i| (y[i] - number(i)).abs()),
        })
    }
}

/// Area under the receiver's curve: the share of pairs in the right order, ties half.
fn auc(y: &[f64], weights: Option<&[f64]>, scores: &[f64]) -> f64 {
    let mut order: Vec<usize> = (0..y.len()).collect();
    order.sort_by(|&a, &b| scores[a].total_cmp(&scores[b]).then(a.cmp(&b)));
    let weight = |i: usize| weights.map_or(1.0, |w| w[i]);
    let (mut below, mut ones, mut pairs) = (0.0, 0.0, 0.0);
    for tie in order.chunk_by(|&a, &b| scores[a] == scores[b]) {
        let (mut zero, mut one) = (0.0, 0.0);
        for &i in tie {
            if y[i] > 0.5 { one += weight(i) } else { zero += weight(i) }
        }
        pairs += one * (below + zero / 2.0);
        below += zero;
        ones += one;
    }
    pairs / (below * ones)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_are_those_of_their_definitions() {
        let y = [0.0, 1.0, 1.0, 0.0];
        let scores = vec![vec![-1.0, 2.0, -0.5, -0.5]];
        let part = |y: &[f64], scores: Vec<Vec<f64>>| Part { y: y.into(), scores, ..Part::default() };
        let classes = part(&y, scores.clone());
        let of = |m: Metric| m.of(&classes, &Objective::Binary, &Extras::default()).unwrap();
        assert_eq!(of(Metric::Accuracy), 0.75);
        assert_eq!(of(Metric::BalancedAccuracy), 0.75);
        assert_eq!(of(Metric::RocAuc), 3.5 / 4.0);
        let loss = -(0..4).map(|i| Objective::Binary.loss_of(y[i], &[scores[0][i]])).sum::<f64>() / 4.0;
        assert!((of(Metric::LogLoss) - loss).abs() < 1e-15);
        let numbers = [1.0, 2.0, 3.0, 6.0];
        let predicted = vec![vec![1.0, 2.0, 3.0, 4.0]];
        let numbers = part(&numbers, predicted);
        let of = |m: Metric| m.of(&numbers, &Objective::SquaredError, &Extras::default()).unwrap();
        assert_eq!(
            (of(Metric::SquaredError), of(Metric::RootSquaredError), of(Metric::AbsoluteError)),
            (-1.0, -1.0, -0.5)
        );
        assert!((of(Metric::R2) - (1.0 - 4.0 / 14.0)).abs() < 1e-15);
    }
}
