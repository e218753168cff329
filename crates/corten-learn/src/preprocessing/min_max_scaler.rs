//! `MinMaxScaler`: `x * scale + min`, which takes the smallest value of a column to the low end of `feature_range` and
//! the largest to its high end.
//!
//! `scale = (high - low) / (max - min)`, `min = low - min(x) * scale`; NaN is passed over, constant columns use a range
//! of 1. Source: scikit-learn's `preprocessing/_data.py`.

use std::any::Any;

use corten_core::{Data, Error, Result};
use corten_model::estimator::{Attribute, Estimator, FitInput, Fitted};
use corten_model::ops::Scale;
use corten_model::{Builder, Output, Slot};
use serde::{Deserialize, Serialize};

use super::{earlier, floats, lower_scale, without_zeros};
use crate::columns::{Columns, check_width, per_column};
use crate::number::python_float;

/// Parameters of `MinMaxScaler`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MinMaxScaler {
    /// Range of the scaled values.
    pub feature_range: (f64, f64),
    /// Without meaning here: results are always new.
    pub copy: bool,
    /// Clip values of unseen rows to the range.
    pub clip: bool,
}

impl Default for MinMaxScaler {
    fn default() -> Self {
        Self { feature_range: (0.0, 1.0), copy: true, clip: false }
    }
}

/// A fitted `MinMaxScaler`.
#[derive(Clone, Debug)]
pub struct FittedMinMaxScaler {
    parameters: MinMaxScaler,
    rows: i64,
    low: Vec<f64>,
    high: Vec<f64>,
    scale: Vec<f64>,
    offset: Vec<f64>,
}

/// Smallest and largest value; NaN when there is none.
fn extent(values: &[f64]) -> (f64, f64) {
    // `f64::min` passes over NaN.
    values.iter().fold((f64::NAN, f64::NAN), |(low, high), &v| (low.min(v), high.max(v)))
}

impl Estimator for MinMaxScaler {
    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Fitted>> {
        let (from, to) = self.feature_range;
        // Written so that NaN is refused too.
        if !(from < to && from.is_finite() && to.is_finite()) {
            return Err(Error::value(format!(
                "Minimum of desired feature range must be smaller than maximum. Got ({}, {}).",
                python_float(from),
                python_float(to)
            )));
        }
        if matches!(input.x, Data::Csr(_)) {
            return Err(Error::Type(
                "MinMaxScaler does not support sparse input. Consider using MaxAbsScaler instead.".into(),
            ));
        }
        let columns = Columns::read(input.x, true)?;
        let mut extents = per_column(input.context, columns.width(), |at| Ok(extent(columns.view(at).values)))?;
        let mut rows = columns.rows() as i64;
        if let Some(old) = earlier::<FittedMinMaxScaler>(input, "MinMaxScaler")? {
            check_width(input.x, old.low.len(), "MinMaxScaler")?;
            rows += old.rows;
            for (at, (low, high)) in extents.iter_mut().enumerate() {
                (*low, *high) = (low.min(old.low[at]), high.max(old.high[at]));
            }
        }
        let (low, high): (Vec<f64>, Vec<f64>) = extents.into_iter().unzip();
        let scale: Vec<f64> = low.iter().zip(&high).map(|(l, h)| (to - from) / without_zeros(h - l)).collect();
        let offset = low.iter().zip(&scale).map(|(l, s)| from - l * s).collect();
        Ok(Box::new(FittedMinMaxScaler { parameters: self.clone(), rows, low, high, scale, offset }))
    }
}

impl Fitted for FittedMinMaxScaler {
    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        let range: Vec<f64> = self.low.iter().zip(&self.high).map(|(l, h)| h - l).collect();
        vec![
            ("min_", floats(&self.offset)),
            ("scale_", floats(&self.scale)),
            ("data_min_", floats(&self.low)),
            ("data_max_", floats(&self.high)),
            ("data_range_", floats(&range)),
            ("n_samples_seen_", Attribute::Int(self.rows)),
        ]
    }

    fn lower(&self, b: &mut Builder, inputs: &[Slot], names: &[String]) -> Result<Vec<Output>> {
        let scale = Scale {
            subtract: None,
            divide: None,
            multiply: Some(self.scale.clone()),
            add: Some(self.offset.clone()),
            clip: self.parameters.clip.then_some(self.parameters.feature_range),
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
