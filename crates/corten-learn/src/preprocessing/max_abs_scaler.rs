//! `MaxAbsScaler`: `x / max(|x|)` for each column, which keeps zeros and so suits sparse data.
//!
//! NaN is passed over; a column of zeros keeps scale 1. Source: scikit-learn's `preprocessing/_data.py`.

use std::any::Any;

use corten_core::Result;
use corten_model::estimator::{Attribute, Estimator, FitInput, Fitted};
use corten_model::ops::Scale;
use corten_model::{Builder, Output, Slot};
use serde::{Deserialize, Serialize};

use super::{earlier, floats, lower_scale, without_zeros};
use crate::columns::{Columns, check_width, per_column};

/// Parameters of `MaxAbsScaler`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MaxAbsScaler {
    /// Without meaning here: results are always new.
    pub copy: bool,
    /// Clip values of unseen rows to [-1, 1].
    pub clip: bool,
}

impl Default for MaxAbsScaler {
    fn default() -> Self {
        Self { copy: true, clip: false }
    }
}

/// A fitted `MaxAbsScaler`.
#[derive(Clone, Debug)]
pub struct FittedMaxAbsScaler {
    clip: bool,
    rows: i64,
    largest: Vec<f64>,
    scale: Vec<f64>,
}

impl Estimator for MaxAbsScaler {
    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Fitted>> {
        let columns = Columns::read(input.x, true)?;
        let mut largest = per_column(input.context, columns.width(), |at| {
            let view = columns.view(at);
            let start = if view.zeros > 0 { 0.0 } else { f64::NAN };
            Ok(view.values.iter().fold(start, |most: f64, v| most.max(v.abs())))
        })?;
        let mut rows = columns.rows() as i64;
        if let Some(old) = earlier::<FittedMaxAbsScaler>(input, "MaxAbsScaler")? {
            check_width(input.x, old.largest.len(), "MaxAbsScaler")?;
            rows += old.rows;
            for (new, old) in largest.iter_mut().zip(&old.largest) {
                *new = new.max(*old);
            }
        }
        let scale = largest.iter().map(|&m| without_zeros(m)).collect();
        Ok(Box::new(FittedMaxAbsScaler { clip: self.clip, rows, largest, scale }))
    }
}

impl Fitted for FittedMaxAbsScaler {
    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![
            ("scale_", floats(&self.scale)),
            ("max_abs_", floats(&self.largest)),
            ("n_samples_seen_", Attribute::Int(self.rows)),
        ]
    }

    fn lower(&self, b: &mut Builder, inputs: &[Slot], names: &[String]) -> Result<Vec<Output>> {
        let scale = Scale {
            subtract: None,
            divide: Some(self.scale.clone()),
            multiply: None,
            add: None,
            clip: self.clip.then_some((-1.0, 1.0)),
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
