//! `RunningMoments`: count, mean and variance per key, advanced row by row.
//!
//! The first column is the key (text or a number), the others are values. Fitting takes the rows in one after the
//! other, as `update` on the model goes on to do, so that fitting on some rows and updating with others gives the same
//! bits as fitting on all of them. A row's output is the state of its key.
//!
//! Source: Welford, "Note on a method for calculating corrected sums of squares and products", Technometrics 4 (1962).

use std::any::Any;

use corten_core::{Error, Kind, Result};
use corten_model::estimator::{Attribute, Estimator, FitInput, Fitted};
use corten_model::ops::{self, CheckFinite, Op};
use corten_model::{Builder, Method, Output, Schema, Slot};
use serde::{Deserialize, Serialize};

use crate::columns::{check_finite, check_size, check_told_apart, check_width};

/// Parameters of `RunningMoments`: it has none; the first column is the key.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RunningMoments {}

/// A fitted `RunningMoments`.
#[derive(Clone, Debug)]
pub struct FittedRunningMoments {
    state: ops::RunningMoments,
    width: usize,
    rows: i64,
}

impl Estimator for RunningMoments {
    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Fitted>> {
        check_size(input.x)?;
        let table = input.x.table()?;
        let width = table.width();
        for (at, column) in table.columns().iter().enumerate() {
            if at == 0 && column.kind() == Some(Kind::Text) {
                continue;
            }
            let numbers = column.to_f64()?;
            check_finite(input.x, at, &numbers, true)?;
            if at == 0 {
                check_told_apart(column, &numbers)?;
            }
        }
        let earlier = match input.previous {
            Some(previous) if input.partial => {
                let previous = previous.as_any().downcast_ref::<FittedRunningMoments>();
                previous.ok_or_else(|| Error::value("the earlier state is not that of a RunningMoments"))?.clone()
            }
            _ => FittedRunningMoments {
                state: ops::RunningMoments::new(u32::try_from(width - 1).unwrap_or(u32::MAX)),
                width,
                rows: 0,
            },
        };
        check_width(input.x, earlier.width, "RunningMoments")?;
        let rows = earlier.rows + table.rows() as i64;
        let dynamic: &dyn Fitted = &earlier;
        let mut model = dynamic.model(Schema::of(input.x)?)?;
        model.update(input.x)?;
        let state = model.graph().nodes().iter().find_map(|n| match &n.op {
            Op::RunningMoments(state) => Some(state.clone()),
            _ => None,
        });
        let state = state.ok_or_else(|| Error::Internal("the model of a RunningMoments has no state".into()))?;
        Ok(Box::new(FittedRunningMoments { state, width, rows }))
    }
}

impl Fitted for FittedRunningMoments {
    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![("n_keys_", Attribute::Int(self.state.keys() as i64)), ("n_samples_seen_", Attribute::Int(self.rows))]
    }

    fn lower(&self, b: &mut Builder, inputs: &[Slot], names: &[String]) -> Result<Vec<Output>> {
        let mut slots = inputs.to_vec();
        if slots.len() > 1 {
            let check = CheckFinite { allow_nan: true, names: names[1..].to_vec() };
            let checked = b.add(check, &inputs[1..])?;
            slots.splice(1.., checked);
        }
        let columns = b.add(self.state.clone(), &slots)?;
        let mut names_out = vec!["count".to_string()];
        for name in &names[1..] {
            names_out.push(format!("{name}_mean"));
            names_out.push(format!("{name}_var"));
        }
        Ok(vec![Output::new(Method::Transform, columns, names_out)])
    }

    fn report(&self) -> serde_json::Value {
        serde_json::json!({ "keys": self.state.keys() })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
