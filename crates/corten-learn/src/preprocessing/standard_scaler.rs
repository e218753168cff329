//! `StandardScaler`: `z = (x - mean) / std` for each column.
//!
//! Mean and variance are those of the values that are there (NaN is passed over), with weights if given; the variance
//! divides by the sum of weights and is corrected for the rounding of the mean (the two-pass algorithm). A partial fit
//! merges the moments of the new rows with the earlier ones. A column that is constant but for rounding keeps scale 1.
//!
//! Source: Chan, Golub & LeVeque, "Algorithms for computing the sample variance: analysis and recommendations", The
//! American Statistician 37 (1983), equations 1.5a and 1.5b; scikit-learn's `preprocessing/_data.py`.

use std::any::Any;

use corten_core::{Data, Error, Result};
use corten_model::estimator::{Attribute, Estimator, FitInput, Fitted};
use corten_model::ops::Scale;
use corten_model::{Builder, Output, Slot};
use serde::{Deserialize, Serialize};

use super::{earlier, floats, lower_scale, optional};
use crate::columns::{Columns, View, check_weights, check_width, per_column};
use crate::sums::sum;

/// Parameters of `StandardScaler`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StandardScaler {
    /// Without meaning here: results are always new.
    pub copy: bool,
    /// Subtract the mean. Must be off for sparse data.
    pub with_mean: bool,
    /// Divide by the standard deviation.
    pub with_std: bool,
}

impl Default for StandardScaler {
    fn default() -> Self {
        Self { copy: true, with_mean: true, with_std: true }
    }
}

/// Count, mean and variance of one column.
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    count: f64,
    mean: f64,
    variance: f64,
}

impl Moments {
    /// The moments of the values that are there.
    fn of(view: &View<'_>, weights: Option<&[f64]>, total_weight: f64) -> Self {
        let x = view.values;
        let weight = |i: usize| match (weights, view.rows) {
            (None, _) => 1.0,
            (Some(w), None) => w[i],
            (Some(w), Some(rows)) => w[rows[i] as usize],
        };
        let there = |i: usize| !x[i].is_nan();
        let stored = sum(x.len(), |i| if there(i) { weight(i) } else { 0.0 });
        let zeros = match (view.zeros, weights) {
            (0, _) => 0.0,
            (zeros, None) => zeros as f64,
            (_, Some(_)) => total_weight - sum(x.len(), weight),
        };
        let count = stored + zeros;
        let mean = sum(x.len(), |i| if there(i) { weight(i) * x[i] } else { 0.0 }) / count;
        let off = |i: usize| if there(i) { x[i] - mean } else { 0.0 };
        let rest = sum(x.len(), |i| weight(i) * off(i)) - zeros * mean;
        let squares = sum(x.len(), |i| weight(i) * (off(i) * off(i))) + zeros * (mean * mean);
        Self { count, mean, variance: (squares - rest * rest / count) / count }
    }

    /// The moments of both sets of rows together.
    fn merge(self, new: Self) -> Self {
        if new.count == 0.0 {
            return self;
        }
        if self.count == 0.0 {
            return new;
        }
        let count = self.count + new.count;
        let (old_sum, new_sum) = (self.mean * self.count, new.mean * new.count);
        let ratio = self.count / new.count;
        let between = old_sum / ratio - new_sum;
        let squares = self.variance * self.count + new.variance * new.count + ratio / count * (between * between);
        Self { count, mean: (old_sum + new_sum) / count, variance: squares / count }
    }

    fn is_constant(&self) -> bool {
        let (n, eps) = (self.count, f64::EPSILON);
        let error = n * self.mean * eps;
        self.variance <= n * eps * self.variance + error * error
    }
}

/// A fitted `StandardScaler`.
#[derive(Clone, Debug)]
pub struct FittedStandardScaler {
    parameters: StandardScaler,
    moments: Vec<Moments>,
    weighted: bool,
    mean: Option<Vec<f64>>,
    variance: Option<Vec<f64>>,
    scale: Option<Vec<f64>>,
}

impl Estimator for StandardScaler {
    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Fitted>> {
        if matches!(input.x, Data::Csr(_)) && self.with_mean {
            return Err(Error::value(
                "Cannot center sparse matrices: pass `with_mean=False` instead. See docstring for motivation and \
                 alternatives.",
            ));
        }
        let columns = Columns::read(input.x, true)?;
        check_weights(input.sample_weight, columns.rows(), false)?;
        let total = input.sample_weight.map_or(0.0, |w| sum(w.len(), |i| w[i]));
        let mut moments = per_column(input.context, columns.width(), |at| {
            Ok(Moments::of(&columns.view(at), input.sample_weight, total))
        })?;
        let mut weighted = input.sample_weight.is_some();
        if let Some(old) = earlier::<FittedStandardScaler>(input, "StandardScaler")? {
            check_width(input.x, old.moments.len(), "StandardScaler")?;
            weighted |= old.weighted;
            for (new, old) in moments.iter_mut().zip(&old.moments) {
                *new = old.merge(*new);
            }
        }
        let sparse = matches!(input.x, Data::Csr(_));
        let has_mean = self.with_std || (self.with_mean && !sparse);
        Ok(Box::new(FittedStandardScaler {
            parameters: self.clone(),
            weighted,
            mean: has_mean.then(|| moments.iter().map(|m| m.mean).collect()),
            variance: self.with_std.then(|| moments.iter().map(|m| m.variance).collect()),
            scale: self
                .with_std
                .then(|| moments.iter().map(|m| if m.is_constant() { 1.0 } else { m.variance.sqrt() }).collect()),
            moments,
        }))
    }
}

impl Fitted for FittedStandardScaler {
    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        let counts: Vec<f64> = self.moments.iter().map(|m| m.count).collect();
        let same = counts.windows(2).all(|w| w[0] == w[1]);
        let seen = match (self.weighted, same) {
            (true, true) => Attribute::Float(counts[0]),
            (true, false) => floats(&counts),
            (false, true) => Attribute::Int(counts[0] as i64),
            (false, false) => {
                Attribute::Ints { shape: vec![counts.len()], values: counts.iter().map(|&c| c as i64).collect() }
            }
        };
        vec![
            ("mean_", optional(self.mean.as_ref())),
            ("var_", optional(self.variance.as_ref())),
            ("scale_", optional(self.scale.as_ref())),
            ("n_samples_seen_", seen),
        ]
    }

    fn lower(&self, b: &mut Builder, inputs: &[Slot], names: &[String]) -> Result<Vec<Output>> {
        let scale = Scale {
            subtract: if self.parameters.with_mean { self.mean.clone() } else { None },
            divide: self.scale.clone(),
            multiply: None,
            add: None,
            clip: None,
        };
        lower_scale(scale, b, inputs, names)
    }

    fn report(&self) -> serde_json::Value {
        serde_json::json!({})
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
