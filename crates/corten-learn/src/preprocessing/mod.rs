//! Scaling of numbers and encoding of categories.

mod categories;
pub mod max_abs_scaler;
pub mod min_max_scaler;
pub mod one_hot_encoder;
pub mod ordinal_encoder;
pub mod robust_scaler;
pub mod standard_scaler;

use corten_core::{Error, Result};
use corten_model::estimator::{Attribute, FitInput};
use corten_model::ops::{CheckFinite, Scale};
use corten_model::{Builder, Method, Output, Slot};

/// Lowers a scaler: infinite values are refused, missing ones pass.
fn lower_scale(scale: Scale, b: &mut Builder, inputs: &[Slot], names: &[String]) -> Result<Vec<Output>> {
    let checked = b.add(CheckFinite { allow_nan: true, names: names.to_vec() }, inputs)?;
    let columns = b.add(scale, &checked)?;
    Ok(vec![Output::new(Method::Transform, columns, names.to_vec())])
}

/// A vector as an attribute of shape `(n,)`.
fn floats(values: &[f64]) -> Attribute {
    Attribute::Floats { shape: vec![values.len()], values: values.to_vec() }
}

fn optional(values: Option<&Vec<f64>>) -> Attribute {
    values.map_or(Attribute::None, |v| floats(v))
}

/// Replaces scales that are zero but for rounding by 1, so that constant columns pass unchanged.
fn without_zeros(scale: f64) -> f64 {
    if scale < 10.0 * f64::EPSILON { 1.0 } else { scale }
}

/// The earlier state that a `partial_fit` goes on from.
///
/// # Errors
/// [`Error::Value`] when it belongs to another estimator.
fn earlier<'a, T: 'static>(input: &FitInput<'a>, estimator: &str) -> Result<Option<&'a T>> {
    match input.previous {
        Some(previous) if input.partial => previous
            .as_any()
            .downcast_ref::<T>()
            .map(Some)
            .ok_or_else(|| Error::value(format!("the earlier state is not that of a {estimator}"))),
        _ => Ok(None),
    }
}
