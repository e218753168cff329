//! What a tree predicts.

use corten_core::{Error, Result, parameter};
use corten_model::Labels;
use corten_model::estimator::Target;

use super::means::middle;

/// What is predicted.
pub(crate) enum Task<'a> {
    Classes {
        codes: &'a [u32],
        labels: &'a Labels,
    },
    /// Row after row.
    Numbers {
        values: Vec<f64>,
        outputs: usize,
        center: Vec<f64>,
        flat: bool,
    },
}

impl<'a> Task<'a> {
    pub(super) fn of(target: &'a Target<'a>, criterion: &str, weights: Option<&[f64]>) -> Result<Self> {
        match target {
            Target::Classes { codes, labels } => {
                parameter::one_of("criterion", criterion, &["gini", "entropy", "log_loss"])?;
                if codes.iter().any(|&c| c as usize >= labels.len()) {
                    return Err(Error::Internal("a class that isn't there".into()));
                }
                Ok(Self::Classes { codes, labels })
            }
            Target::Numbers { values, outputs, flat } => {
                let allowed = ["squared_error", "friedman_mse", "absolute_error", "poisson"];
                parameter::one_of("criterion", criterion, &allowed)?;
                let rows = values.len() / (*outputs).max(1);
                let mut center = vec![0.0; *outputs];
                if criterion == "poisson" {
                    if values.iter().any(|&v| v < 0.0) {
                        return Err(Error::value(
                            "Some value(s) of y are negative which is not allowed for Poisson regression.",
                        ));
                    }
                    if values.iter().all(|&v| v == 0.0) {
                        return Err(Error::value(
                            "Sum of y is not strictly positive which is necessary for Poisson regression.",
                        ));
                    }
                } else if criterion != "absolute_error" {
                    // Sums of squares keep their digits when the mean is taken off.
                    for (o, c) in center.iter_mut().enumerate() {
                        *c = middle(&values[o * rows..][..rows], weights);
                    }
                }
                let mut by_row = vec![0.0; values.len()];
                for o in 0..*outputs {
                    for r in 0..rows {
                        by_row[r * outputs + o] = values[o * rows + r] - center[o];
                    }
                }
                Ok(Self::Numbers { values: by_row, outputs: *outputs, center, flat: *flat })
            }
            Target::None => Err(Error::Internal("a tree is fitted without a target".into())),
        }
    }

    pub(super) fn rows(&self) -> usize {
        match self {
            Self::Classes { codes, .. } => codes.len(),
            Self::Numbers { values, outputs, .. } => values.len() / outputs,
        }
    }

    /// Numbers of a node's value.
    pub(super) fn width(&self) -> usize {
        match self {
            Self::Classes { labels, .. } => labels.len(),
            Self::Numbers { outputs, .. } => *outputs,
        }
    }
}
