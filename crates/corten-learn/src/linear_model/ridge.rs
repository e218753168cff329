//! `Ridge`: least squares with an L2 penalty, `min |sqrt(w) (y - X b - a)|^2 + alpha |b|^2`.
//!
//! The problem has one solution, and every name in `solver` leads to it: `auto` and `cholesky` (and, for dense data,
//! the iterative names) by the normal equations, or by those of the rows where there are more columns than rows;
//! `svd` by singular values, `b = V diag(s / (s^2 + alpha)) U^T y`; sparse data by damped LSQR. Dense data whose normal
//! equations are singular go to `svd`, as in scikit-learn. Source: Hoerl & Kennard, "Ridge regression", Technometrics
//! 12 (1970); scikit-learn's `linear_model/_ridge.py`.

use std::any::Any;

use corten_core::{Data, Error, Result, parameter};
use corten_kernels::dense;
use corten_model::estimator::{Attribute, Estimator, FitInput, Fitted};
use corten_model::{Builder, Output, Slot};
use serde::{Deserialize, Serialize};

use super::least_squares::{Cholesky, Decomposed, Matrix, centred, compressed, normal_equations};
use super::linear_regression::{Coefficients, Problem};
use super::nnls;
use crate::sums::dot;

/// Parameters of `Ridge`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ridge {
    /// Strength of the penalty: one number, or one a target.
    pub alpha: Alpha,
    /// Whether there is an intercept.
    pub fit_intercept: bool,
    /// Without meaning here: the data are never changed.
    #[serde(rename = "copy_X")]
    pub copy_x: bool,
    /// Most iterations of the iterative solvers.
    pub max_iter: Option<u64>,
    /// Precision of the iterative solvers; theirs is 1e-12 at least.
    pub tol: f64,
    /// One of scikit-learn's names.
    pub solver: String,
    /// Keep coefficients at or above zero.
    pub positive: bool,
    /// Without meaning here: no solver draws random numbers.
    pub random_state: serde_json::Value,
}

/// The parameter `alpha`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a float in the range [0.0, inf) or an array-like")]
pub enum Alpha {
    /// The same for all targets.
    One(f64),
    /// One a target.
    Each(Vec<f64>),
}

impl Default for Ridge {
    fn default() -> Self {
        Self {
            alpha: Alpha::One(1.0),
            fit_intercept: true,
            copy_x: true,
            max_iter: None,
            tol: 1e-4,
            solver: "auto".into(),
            positive: false,
            random_state: serde_json::Value::Null,
        }
    }
}

const SOLVERS: [&str; 8] = ["auto", "svd", "cholesky", "lsqr", "sparse_cg", "sag", "saga", "lbfgs"];

impl Ridge {
    /// Checks what can be checked without the data, and resolves `auto`.
    fn resolve(&self, sparse: bool) -> Result<&'static str> {
        parameter::within("tol", self.tol, 0.0, f64::INFINITY)?;
        if self.max_iter == Some(0) {
            return Err(Error::parameter("max_iter", "an int in the range [1, inf) or None", 0));
        }
        parameter::one_of("solver", &self.solver, &SOLVERS)?;
        let solver = SOLVERS.into_iter().find(|s| *s == self.solver).unwrap_or("auto");
        if solver == "lbfgs" && !self.positive {
            return Err(Error::value("'lbfgs' solver can be used only when positive=True. Please use another solver."));
        }
        if self.positive {
            if !["auto", "lbfgs"].contains(&solver) {
                return Err(Error::value(format!(
                    "solver='{solver}' does not support positive fitting. Please set the solver to 'auto' or 'lbfgs', \
                     or set `positive=False`"
                )));
            }
            return Ok("lbfgs");
        }
        if sparse && self.fit_intercept && ["svd", "cholesky", "saga"].contains(&solver) {
            return Err(Error::value(format!(
                "solver='{solver}' does not support fitting the intercept on sparse data. Please set the solver to \
                 'auto' or 'lsqr', 'sparse_cg', 'sag', 'lbfgs' or set `fit_intercept=False`"
            )));
        }
        if sparse && solver == "svd" {
            return Err(Error::Type("SVD solver does not support sparse inputs currently".into()));
        }
        Ok(match (solver, sparse) {
            ("auto", true) => "sparse_cg",
            ("auto", false) => "cholesky",
            _ => solver,
        })
    }

    fn alphas(&self, targets: usize) -> Result<Vec<f64>> {
        let alphas = match &self.alpha {
            Alpha::One(alpha) => vec![*alpha; targets],
            Alpha::Each(alphas) if alphas.len() == 1 => vec![alphas[0]; targets],
            Alpha::Each(alphas) if alphas.len() == targets => alphas.clone(),
            Alpha::Each(alphas) => {
                return Err(Error::value(format!(
                    "Number of targets and number of penalties do not correspond: {} != {targets}",
                    alphas.len()
                )));
            }
        };
        match alphas.iter().find(|a| !(a.is_finite() && **a >= 0.0)) {
            Some(bad) => Err(Error::parameter("alpha", "a float in the range [0.0, inf) or an array-like", bad)),
            None => Ok(alphas),
        }
    }

    /// The coefficients and whether the singular values had to help.
    fn dense(
        &self,
        problem: &Problem<'_>,
        alphas: &[f64],
        svd: bool,
        input: &FitInput<'_>,
    ) -> Result<(Vec<Vec<f64>>, bool)> {
        let (rows, width) = (problem.design.rows(), problem.design.width());
        let root = problem.root.as_deref();
        if !svd {
            let solved = if width > rows {
                dual(&centred(&problem.design, &problem.means, root), &problem.y, alphas)
            } else {
                let (gram, right) = normal_equations(&problem.design, &problem.means, root, &problem.y, input.context)?;
                each_alpha(&gram, &right, alphas)
            };
            if let Some(weights) = solved {
                return Ok((weights, false));
            }
        }
        let (a, y) = compressed(&problem.design, &problem.means, root, &problem.y, input.context)?;
        let decomposed = Decomposed::of(&a, &input.context.cancel)?;
        // Values below this are rounding errors of zeros, which a penalty of 0 would blow up.
        let largest = decomposed.singular().first().copied().unwrap_or(0.0);
        let cut = f64::EPSILON * rows.max(width) as f64 * largest;
        let filter = |s: f64, alpha: f64| if s > cut { s / (s * s + alpha) } else { 0.0 };
        let weights = y.iter().zip(alphas).map(|(y, &alpha)| decomposed.solve(y, |s| filter(s, alpha)));
        Ok((weights.collect(), true))
    }
}

/// Solves `(G + alpha) x = b` for each target; `None` where that is singular.
fn each_alpha(gram: &Matrix, right: &[Vec<f64>], alphas: &[f64]) -> Option<Vec<Vec<f64>>> {
    let mut factor: Option<(f64, Cholesky)> = None;
    let mut out = Vec::with_capacity(right.len());
    for (b, &alpha) in right.iter().zip(alphas) {
        let known = factor.take().filter(|(a, _)| *a == alpha);
        let (a, cholesky) = match known {
            Some(known) => known,
            None => (alpha, Cholesky::of(gram, alpha)?),
        };
        out.push(cholesky.solve(b));
        factor = Some((a, cholesky));
    }
    Some(out)
}

/// Solves by the normal equations of the rows: `x = A^T (A A^T + alpha)^-1 y`.
fn dual(a: &Matrix, y: &[Vec<f64>], alphas: &[f64]) -> Option<Vec<Vec<f64>>> {
    let mut transposed = Matrix::zeros(a.columns, a.rows);
    for c in 0..a.columns {
        for (r, &v) in a.column(c).iter().enumerate() {
            transposed.values[r * a.columns + c] = v;
        }
    }
    let kernel =
        Matrix { rows: a.rows, columns: a.rows, values: dense::gram(&transposed.values, a.columns, a.rows, 1) };
    let duals = each_alpha(&kernel, y, alphas)?;
    Some(duals.iter().map(|d| (0..a.columns).map(|c| dot(a.column(c), d)).collect()).collect())
}

/// A fitted `Ridge`.
#[derive(Clone, Debug)]
pub struct FittedRidge {
    coefficients: Coefficients,
    /// Iterations of each target, for the solvers of which scikit-learn tells them.
    iterations: Option<Vec<i64>>,
    solver: &'static str,
}

impl Estimator for Ridge {
    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Fitted>> {
        let sparse = matches!(input.x, Data::Csr(_));
        let mut solver = self.resolve(sparse)?;
        let problem = Problem::read(input, self.fit_intercept)?;
        let alphas = self.alphas(problem.y.len())?;
        let mut iterations = vec![1; problem.y.len()];
        let weights: Vec<Vec<f64>> = if self.positive {
            let (gram, right) =
                normal_equations(&problem.design, &problem.means, problem.root.as_deref(), &problem.y, input.context)?;
            let each = right.iter().zip(&alphas);
            each.map(|(b, &alpha)| nnls::solve(&gram, alpha, b, &input.context.cancel)).collect::<Result<_>>()?
        } else if sparse {
            let most = 10 * problem.design.width().min(problem.design.rows()) + 100;
            let mut weights = Vec::with_capacity(problem.y.len());
            for (target, alpha) in alphas.iter().enumerate() {
                let (solution, steps) = problem.lsqr(input, target, alpha.sqrt(), self.tol.min(1e-14), most)?;
                iterations[target] = steps.max(1) as i64;
                weights.push(solution);
            }
            weights
        } else {
            let (weights, by_svd) = self.dense(&problem, &alphas, solver == "svd", input)?;
            if by_svd && solver == "cholesky" {
                solver = "svd";
            }
            weights
        };
        let intercepts = problem.intercepts(&weights);
        let coefficients =
            Coefficients { weights, intercepts, flat: problem.flat, fit_intercept: self.fit_intercept, ravel: true };
        let told = ["lsqr", "sag", "saga"].contains(&solver);
        Ok(Box::new(FittedRidge { coefficients, iterations: told.then_some(iterations), solver }))
    }
}

impl Fitted for FittedRidge {
    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        let mut attributes = self.coefficients.attributes();
        attributes.push((
            "n_iter_",
            match &self.iterations {
                Some(each) => Attribute::Ints { shape: vec![each.len()], values: each.clone() },
                None => Attribute::None,
            },
        ));
        attributes.push(("solver_", Attribute::Text(self.solver.into())));
        attributes
    }

    fn lower(&self, b: &mut Builder, inputs: &[Slot], names: &[String]) -> Result<Vec<Output>> {
        self.coefficients.lower(b, inputs, names)
    }

    fn report(&self) -> serde_json::Value {
        serde_json::json!({ "solver": self.solver, "iterations": self.iterations })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
