//! `LinearRegression`: ordinary least squares, `min |sqrt(w) (y - X b - a)|^2`.
//!
//! Dense data are centred and weighted, and solved by singular values: those up to `tol` times the largest count as
//! zero, and of all solutions the one of least norm is taken. Sparse data are solved by LSQR without being centred in
//! memory. `positive` keeps coefficients at or above zero by an active set. Source: scikit-learn's
//! `linear_model/_base.py`.

use std::any::Any;

use corten_core::{Error, Result, parameter};
use corten_model::estimator::{Attribute, Estimator, FitInput, Fitted, Target};
use corten_model::ops::{CheckFinite, Linear};
use corten_model::{Builder, Method, Output, Slot};
use serde::{Deserialize, Serialize};

use super::design::{Design, checked_weights, total_weight};
use super::least_squares::{Decomposed, compressed, normal_equations};
use super::{lsqr, nnls};
use crate::sums::{dot, sum};

/// Parameters of `LinearRegression`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LinearRegression {
    /// Whether there is an intercept.
    pub fit_intercept: bool,
    /// Without meaning here: the data are never changed.
    #[serde(rename = "copy_X")]
    pub copy_x: bool,
    /// Share of the largest singular value below which others count as zero.
    pub tol: f64,
    /// Without meaning here: threads are an argument of the fit.
    pub n_jobs: Option<i64>,
    /// Keep coefficients at or above zero.
    pub positive: bool,
}

impl Default for LinearRegression {
    fn default() -> Self {
        Self { fit_intercept: true, copy_x: true, tol: 1e-6, n_jobs: None, positive: false }
    }
}

/// Coefficients of a regression, and what a fit reports beside them.
#[derive(Clone, Debug)]
pub(super) struct Coefficients {
    /// One list a target.
    pub(super) weights: Vec<Vec<f64>>,
    pub(super) intercepts: Vec<f64>,
    /// Whether the target was a plain list.
    pub(super) flat: bool,
    pub(super) fit_intercept: bool,
    /// Whether the coefficients of a single target are a plain list even where the target was a table.
    pub(super) ravel: bool,
}

impl Coefficients {
    /// `coef_` and `intercept_`.
    pub(super) fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        let width = self.weights.first().map_or(0, Vec::len);
        let one = self.flat || (self.ravel && self.weights.len() == 1);
        let shape = if one { vec![width] } else { vec![self.weights.len(), width] };
        let intercept = if !self.fit_intercept {
            Attribute::Float(0.0)
        } else if self.flat {
            Attribute::Float(self.intercepts[0])
        } else {
            Attribute::Floats { shape: vec![self.intercepts.len()], values: self.intercepts.clone() }
        };
        vec![("coef_", Attribute::Floats { shape, values: self.weights.concat() }), ("intercept_", intercept)]
    }

    /// The check of the inputs and the weighted sums.
    pub(super) fn lower(&self, b: &mut Builder, inputs: &[Slot], names: &[String]) -> Result<Vec<Output>> {
        let scores = lower_scores(b, inputs, names, &self.weights, &self.intercepts)?;
        let names = match scores.len() {
            1 => vec!["prediction".to_string()],
            n => (0..n).map(|i| format!("prediction_{i}")).collect(),
        };
        Ok(vec![Output::new(Method::Predict, scores, names)])
    }
}

/// Refuses missing and infinite values, then makes one weighted sum an output.
pub(super) fn lower_scores(
    b: &mut Builder,
    inputs: &[Slot],
    names: &[String],
    weights: &[Vec<f64>],
    intercepts: &[f64],
) -> Result<Vec<Slot>> {
    let checked = b.add(CheckFinite { allow_nan: false, names: names.to_vec() }, inputs)?;
    let outputs = u32::try_from(weights.len()).unwrap_or(u32::MAX);
    b.add(Linear { outputs, weights: weights.concat(), intercept: intercepts.to_vec() }, &checked)
}

/// The targets, one list each.
///
/// # Errors
/// [`Error::Value`] for a target of another length, NaN or infinite values.
pub(super) fn targets(input: &FitInput<'_>, rows: usize) -> Result<(Vec<Vec<f64>>, bool)> {
    let (values, outputs, flat) = match &input.y {
        Target::Numbers { values, outputs, flat } => (values, *outputs, *flat),
        Target::None => {
            return Err(Error::value("This estimator requires y to be passed, but the target y is None."));
        }
        Target::Classes { .. } => return Err(Error::value("a regression needs numbers as its target, not classes")),
    };
    if outputs == 0 || values.len() != rows * outputs {
        return Err(Error::value(format!(
            "Found input variables with inconsistent numbers of samples: [{rows}, {}]",
            values.len() / outputs.max(1)
        )));
    }
    if values.iter().any(|v| v.is_nan()) {
        return Err(Error::value("Input y contains NaN."));
    }
    if values.iter().any(|v| v.is_infinite()) {
        return Err(Error::value("Input y contains infinity or a value too large for dtype('float64')."));
    }
    Ok((values.chunks_exact(rows).map(<[f64]>::to_vec).collect(), flat))
}

/// The data of a least-squares problem, centred where there is an intercept.
pub(super) struct Problem<'a> {
    pub(super) design: Design<'a>,
    pub(super) means: Vec<f64>,
    /// Square roots of the weights.
    pub(super) root: Option<Vec<f64>>,
    /// Targets, centred and multiplied by `root`.
    pub(super) y: Vec<Vec<f64>>,
    pub(super) y_means: Vec<f64>,
    pub(super) flat: bool,
}

impl<'a> Problem<'a> {
    pub(super) fn read(input: &FitInput<'a>, fit_intercept: bool) -> Result<Self> {
        let design = Design::read(input.x)?;
        let rows = design.rows();
        let weights = checked_weights(input, rows)?;
        let (mut y, flat) = targets(input, rows)?;
        let (mut means, mut y_means) = (vec![0.0; design.width()], vec![0.0; y.len()]);
        if fit_intercept {
            means = design.means(weights, input.context)?;
            let total = total_weight(weights, rows);
            for (y, mean) in y.iter_mut().zip(&mut y_means) {
                *mean = match weights {
                    Some(w) => dot(w, y),
                    None => sum(rows, |i| y[i]),
                } / total;
                y.iter_mut().for_each(|v| *v -= *mean);
            }
        }
        let root: Option<Vec<f64>> = weights.map(|w| w.iter().map(|w| w.sqrt()).collect());
        if let Some(root) = &root {
            for y in &mut y {
                y.iter_mut().zip(root).for_each(|(y, r)| *y *= r);
            }
        }
        Ok(Self { design, means, root, y, y_means, flat })
    }

    /// The intercepts that belong to some coefficients.
    pub(super) fn intercepts(&self, weights: &[Vec<f64>]) -> Vec<f64> {
        weights.iter().zip(&self.y_means).map(|(w, mean)| mean - dot(&self.means, w)).collect()
    }

    /// Solves one target by LSQR, without centring in memory.
    pub(super) fn lsqr(
        &self,
        input: &FitInput<'_>,
        target: usize,
        damp: f64,
        tol: f64,
        max_iter: usize,
    ) -> Result<(Vec<f64>, usize)> {
        let (rows, width) = (self.design.rows(), self.design.width());
        let context = input.context;
        let root = |i: usize| self.root.as_ref().map_or(1.0, |r| r[i]);
        let product = |x: &[f64], out: &mut [f64]| {
            context.cancel.check()?;
            let mut scores = vec![-dot(&self.means, x); rows];
            self.design.scores(0..rows, x, width, &mut scores);
            out.iter_mut().zip(&scores).enumerate().for_each(|(i, (o, s))| *o += root(i) * s);
            Ok(())
        };
        let transposed = |u: &[f64], out: &mut [f64]| {
            let scaled: Vec<f64> = u.iter().enumerate().map(|(i, u)| root(i) * u).collect();
            let part = self.design.reduce(context.threads, &context.cancel, width, |rows, out| {
                self.design.gather(rows.clone(), &scaled[rows], width, out);
            })?;
            let total = sum(rows, |i| scaled[i]);
            for ((o, p), mean) in out.iter_mut().zip(&part).zip(&self.means) {
                *o += p - mean * total;
            }
            Ok(())
        };
        lsqr::solve(product, transposed, &self.y[target], width, damp, tol, max_iter)
    }
}

/// A fitted `LinearRegression`.
#[derive(Clone, Debug)]
pub struct FittedLinearRegression {
    coefficients: Coefficients,
    /// Rank and singular values, where the data were dense.
    singular: Option<(i64, Vec<f64>)>,
}

impl Estimator for LinearRegression {
    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Fitted>> {
        parameter::within("tol", self.tol, 0.0, f64::INFINITY)?;
        if self.positive {
            input.x.table()?;
        }
        let problem = Problem::read(input, self.fit_intercept)?;
        let cancel = &input.context.cancel;
        let mut singular = None;
        let weights: Vec<Vec<f64>> = if self.positive {
            let (gram, right) =
                normal_equations(&problem.design, &problem.means, problem.root.as_deref(), &problem.y, input.context)?;
            right.iter().map(|b| nnls::solve(&gram, 0.0, b, cancel)).collect::<Result<_>>()?
        } else if matches!(problem.design, Design::Sparse(_)) {
            let most = 10 * problem.design.width().min(problem.design.rows()) + 100;
            // SciPy stops at the user's `tol`; going on costs little and gives the least-squares solution itself.
            let tol = self.tol.min(1e-14);
            (0..problem.y.len())
                .map(|target| Ok(problem.lsqr(input, target, 0.0, tol, most)?.0))
                .collect::<Result<_>>()?
        } else {
            let (a, y) =
                compressed(&problem.design, &problem.means, problem.root.as_deref(), &problem.y, input.context)?;
            let decomposed = Decomposed::of(&a, cancel)?;
            let s = decomposed.singular();
            let cut = self.tol.max(f64::EPSILON) * s.first().copied().unwrap_or(0.0);
            singular = Some((s.iter().filter(|&&s| s > cut).count() as i64, s.to_vec()));
            y.iter().map(|y| decomposed.solve(y, |s| if s > cut { 1.0 / s } else { 0.0 })).collect()
        };
        let intercepts = problem.intercepts(&weights);
        let coefficients =
            Coefficients { weights, intercepts, flat: problem.flat, fit_intercept: self.fit_intercept, ravel: false };
        Ok(Box::new(FittedLinearRegression { coefficients, singular }))
    }
}

impl Fitted for FittedLinearRegression {
    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        let mut attributes = self.coefficients.attributes();
        if let Some((rank, values)) = &self.singular {
            attributes.push(("rank_", Attribute::Int(*rank)));
            attributes.push(("singular_", Attribute::Floats { shape: vec![values.len()], values: values.clone() }));
        }
        attributes
    }

    fn lower(&self, b: &mut Builder, inputs: &[Slot], names: &[String]) -> Result<Vec<Output>> {
        self.coefficients.lower(b, inputs, names)
    }

    fn report(&self) -> serde_json::Value {
        serde_json::json!({ "rank": self.singular.as_ref().map(|s| s.0) })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
