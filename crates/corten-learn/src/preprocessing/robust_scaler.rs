//! `RobustScaler`: `(x - median) / (q_high - q_low)` for each column.
//!
//! Quantiles are NumPy's (`linear`: the value at position `q (n - 1)` of the sorted values, between neighbours in
//! proportion); NaN is passed over. With `unit_variance` the range is divided by that of a standard normal variable,
//! whose quantiles come from Wichura's algorithm AS 241 (Applied Statistics 37, 1988). Source: scikit-learn's
//! `preprocessing/_data.py`.

use std::any::Any;

use corten_core::{Data, Error, Result};
use corten_model::estimator::{Attribute, Estimator, FitInput, Fitted};
use corten_model::ops::Scale;
use corten_model::{Builder, Output, Slot};
use serde::{Deserialize, Serialize};

use super::{lower_scale, optional, without_zeros};
use crate::columns::{Columns, per_column};
use crate::number::python_float;

/// Parameters of `RobustScaler`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RobustScaler {
    /// Subtract the median. Must be off for sparse data.
    pub with_centering: bool,
    /// Divide by the range between the quantiles.
    pub with_scaling: bool,
    /// The quantiles, in per cent.
    pub quantile_range: (f64, f64),
    /// Without meaning here: results are always new.
    pub copy: bool,
    /// Scale so that normal columns get variance 1.
    pub unit_variance: bool,
}

impl Default for RobustScaler {
    fn default() -> Self {
        Self {
            with_centering: true,
            with_scaling: true,
            quantile_range: (25.0, 75.0),
            copy: true,
            unit_variance: false,
        }
    }
}

/// A fitted `RobustScaler`.
#[derive(Clone, Debug)]
pub struct FittedRobustScaler {
    center: Option<Vec<f64>>,
    scale: Option<Vec<f64>>,
}

/// A quantile of sorted values, `q` in 0..=1; NaN when there are none.
pub(crate) fn quantile(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let position = q * last as f64;
    let low = (position.floor() as usize).min(last);
    let high = (low + 1).min(last);
    let (t, a, b) = (position - low as f64, sorted[low], sorted[high]);
    // NumPy's form of the interpolation: exact at both ends and monotonic.
    if t >= 0.5 { b - (b - a) * (1.0 - t) } else { a + (b - a) * t }
}

/// The values that are there, in order.
pub(crate) fn sorted(values: &[f64], zeros: usize) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
    sorted.resize(sorted.len() + zeros, 0.0);
    sorted.sort_unstable_by(f64::total_cmp);
    sorted
}

/// The median of sorted values; NaN when there are none.
pub(crate) fn median(sorted: &[f64]) -> f64 {
    let n = sorted.len();
    match n {
        0 => f64::NAN,
        _ if n % 2 == 1 => sorted[n / 2],
        _ => (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0,
    }
}

impl Estimator for RobustScaler {
    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Fitted>> {
        let (from, to) = self.quantile_range;
        if !(0.0 <= from && from <= to && to <= 100.0) {
            return Err(Error::value(format!(
                "Invalid quantile range: ({}, {})",
                python_float(from),
                python_float(to)
            )));
        }
        if matches!(input.x, Data::Csr(_)) && self.with_centering {
            return Err(Error::value(
                "Cannot center sparse matrices: use `with_centering=False` instead. See docstring for motivation and \
                 alternatives.",
            ));
        }
        let adjust = if self.unit_variance { normal_quantile(to / 100.0) - normal_quantile(from / 100.0) } else { 1.0 };
        let columns = Columns::read(input.x, true)?;
        let fitted = per_column(input.context, columns.width(), |at| {
            let view = columns.view(at);
            let sorted = sorted(view.values, view.zeros);
            let range = quantile(&sorted, to / 100.0) - quantile(&sorted, from / 100.0);
            Ok((median(&sorted), without_zeros(range) / adjust))
        })?;
        let (center, scale): (Vec<f64>, Vec<f64>) = fitted.into_iter().unzip();
        Ok(Box::new(FittedRobustScaler {
            center: self.with_centering.then_some(center),
            scale: self.with_scaling.then_some(scale),
        }))
    }
}

impl Fitted for FittedRobustScaler {
    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![("center_", optional(self.center.as_ref())), ("scale_", optional(self.scale.as_ref()))]
    }

    fn lower(&self, b: &mut Builder, inputs: &[Slot], names: &[String]) -> Result<Vec<Output>> {
        let scale =
            Scale { subtract: self.center.clone(), divide: self.scale.clone(), multiply: None, add: None, clip: None };
        lower_scale(scale, b, inputs, names)
    }

    fn report(&self) -> serde_json::Value {
        serde_json::json!({})
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn horner(x: f64, coefficients: &[f64]) -> f64 {
    coefficients.iter().fold(0.0, |sum, c| sum * x + c)
}

/// The quantile function of the standard normal distribution (AS 241, relative error about 1e-16).
#[expect(clippy::excessive_precision, reason = "the digits are those of the publication")]
fn normal_quantile(p: f64) -> f64 {
    if p <= 0.0 || p >= 1.0 {
        return if p <= 0.0 { f64::NEG_INFINITY } else { f64::INFINITY };
    }
    let q = p - 0.5;
    if q.abs() <= 0.425 {
        let r = 0.180625 - q * q;
        return q * horner(
            r,
            &[
                2509.0809287301226727,
                33430.575583588128105,
                67265.770927008700853,
                45921.953931549871457,
                13731.693765509461125,
                1971.5909503065514427,
                133.14166789178437745,
                3.387132872796366608,
            ],
        ) / horner(
            r,
            &[
                5226.495278852545925,
                28729.085735721942674,
                39307.89580009271061,
                21213.794301586595867,
                5394.1960214247511077,
                687.1870074920579083,
                42.313330701600911252,
                1.0,
            ],
        );
    }
    let r = (-(corten_kernels::special::ln(if q < 0.0 { p } else { 1.0 - p }))).sqrt();
    let value = if r <= 5.0 {
        let r = r - 1.6;
        horner(
            r,
            &[
                7.7454501427834140764e-4,
                0.0227238449892691845833,
                0.24178072517745061177,
                1.27045825245236838258,
                3.64784832476320460504,
                5.7694972214606914055,
                4.6303378461565452959,
                1.42343711074968357734,
            ],
        ) / horner(
            r,
            &[
                1.05075007164441684324e-9,
                5.475938084995344946e-4,
                0.0151986665636164571966,
                0.14810397642748007459,
                0.68976733498510000455,
                1.6763848301838038494,
                2.05319162663775882187,
                1.0,
            ],
        )
    } else {
        let r = r - 5.0;
        horner(
            r,
            &[
                2.01033439929228813265e-7,
                2.71155556874348757815e-5,
                0.0012426609473880784386,
                0.026532189526576123093,
                0.29656057182850489123,
                1.7848265399172913358,
                5.4637849111641143699,
                6.6579046435011037772,
            ],
        ) / horner(
            r,
            &[
                2.04426310338993978564e-15,
                1.4215117583164458887e-7,
                1.8463183175100546818e-5,
                7.868691311456132591e-4,
                0.0148753612908506148525,
                0.13692988092273580531,
                0.59983220655588793769,
                1.0,
            ],
        )
    };
    if q < 0.0 { -value } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_quantiles_match_scipy() {
        for (p, expected) in [
            (0.75, 0.6744897501960817),
            (0.9, 1.2815515655446004),
            (0.99, 2.3263478740408408),
            (1e-9, -5.9978070150076865),
            (1e-20, -9.262340089798408),
        ] {
            let got = normal_quantile(p);
            assert!((got - expected).abs() <= 4e-15 * expected.abs(), "{p}: {got} {expected}");
        }
    }

    #[test]
    fn quantiles_interpolate_and_keep_the_ends() {
        let x = [1.0, 2.0, 4.0, 8.0];
        assert_eq!(quantile(&x, 0.0), 1.0);
        assert_eq!(quantile(&x, 1.0), 8.0);
        assert_eq!(quantile(&x, 0.25), 1.75);
        assert!(quantile(&[], 0.5).is_nan());
    }
}
