//! `LogisticRegression`: classes by a linear score, with an L2, an L1 or both penalties.
//!
//! Minimises `C sum_i w_i loss_i + r1 |b|_1 + (1 - r1) / 2 |b|^2` with the log loss (two classes) or the multinomial
//! loss. The names in `solver` share that objective and differ in the road:
//!
//! - `lbfgs` follows SciPy's L-BFGS-B step for step;
//! - `newton-cg`, `newton-cholesky` and `sag` are Newton's method with conjugate gradients;
//! - `liblinear` adds the penalty of its intercept, and `saga` the L1 part: Newton, or proximal Newton with L1.
//!
//! The Newton roads end at the solution, where `sag`, `saga` and `liblinear` of scikit-learn end near it. Source: the
//! files of this folder; scikit-learn's `linear_model/_logistic.py`; Fan et al., "LIBLINEAR", JMLR 9 (2008).

use std::any::Any;

use corten_core::{Error, Result, parameter};
use corten_model::estimator::{Attribute, Estimator, FitInput, Fitted, Step, Target};
use corten_model::ops::{Decide, DecideKind, Link, LinkKind};
use corten_model::{Builder, Labels, Method, Output, Slot};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::design::{Design, checked_weights, total_weight};
use super::lbfgs::{self, Limits, Outcome};
use super::linear_regression::lower_scores;
use super::logistic_loss::LogisticLoss;
use super::{newton, proximal};
use crate::number::{Real, python_float};

/// Parameters of `LogisticRegression`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogisticRegression {
    /// `deprecated` (by `l1_ratio` and `C`), `l2`, `l1`, `elasticnet` or `None`.
    pub penalty: Option<String>,
    /// Inverse of the penalty's strength; infinite for none.
    #[serde(rename = "C")]
    pub c: Real,
    /// Share of the L1 penalty.
    pub l1_ratio: Option<f64>,
    /// Without meaning here: the dual problem has the same solution.
    pub dual: bool,
    /// Largest entry of the gradient at the solution.
    pub tol: f64,
    /// Whether there is an intercept.
    pub fit_intercept: bool,
    /// Scale of the intercept that `liblinear` penalises.
    pub intercept_scaling: f64,
    /// Without meaning here: Python multiplies it into the sample weights.
    pub class_weight: Value,
    /// Without meaning here: no solver draws random numbers.
    pub random_state: Value,
    /// One of scikit-learn's names.
    pub solver: String,
    /// Most iterations.
    pub max_iter: u64,
    /// Without meaning here: progress is an argument of the fit.
    pub verbose: Value,
    /// Start from the earlier solution.
    pub warm_start: bool,
    /// Without meaning here: threads are an argument of the fit.
    pub n_jobs: Option<i64>,
}

impl Default for LogisticRegression {
    fn default() -> Self {
        Self {
            penalty: Some("deprecated".into()),
            c: Real(1.0),
            l1_ratio: Some(0.0),
            dual: false,
            tol: 1e-4,
            fit_intercept: true,
            intercept_scaling: 1.0,
            class_weight: Value::Null,
            random_state: Value::Null,
            solver: "lbfgs".into(),
            max_iter: 100,
            verbose: Value::from(0),
            warm_start: false,
            n_jobs: None,
        }
    }
}

/// The penalty that the parameters amount to.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Penalty {
    /// Inverse strength; infinite for none.
    c: f64,
    l1_ratio: f64,
}

impl LogisticRegression {
    fn penalty(&self) -> Result<Penalty> {
        let c = self.c.0;
        if c.is_nan() || c <= 0.0 {
            return Err(Error::parameter("C", "a float in the range (0.0, inf]", python_float(c)));
        }
        let ratio = self.l1_ratio.unwrap_or(0.0);
        if !(0.0..=1.0).contains(&ratio) {
            return Err(Error::parameter("l1_ratio", "a float in the range [0.0, 1.0] or None", python_float(ratio)));
        }
        parameter::within("tol", self.tol, 0.0, f64::INFINITY)?;
        parameter::above("intercept_scaling", self.intercept_scaling, 0.0)?;
        parameter::one_of(
            "solver",
            &self.solver,
            &["lbfgs", "liblinear", "newton-cg", "newton-cholesky", "sag", "saga"],
        )?;
        let name = match self.penalty.as_deref() {
            Some("deprecated") if c == f64::INFINITY => None,
            Some("deprecated") => Some(if ratio == 0.0 {
                "l2"
            } else if ratio == 1.0 {
                "l1"
            } else {
                "elasticnet"
            }),
            Some(given) => {
                if !["l1", "l2", "elasticnet"].contains(&given) {
                    return Err(Error::parameter(
                        "penalty",
                        "a str among {'elasticnet', 'l1', 'l2'} or None",
                        format!("'{given}'"),
                    ));
                }
                Some(given)
            }
            None => None,
        };
        self.check_solver(name)?;
        if name == Some("elasticnet") && self.l1_ratio.is_none() {
            return Err(Error::value("l1_ratio must be specified when penalty is elasticnet."));
        }
        Ok(match name {
            None => Penalty { c: f64::INFINITY, l1_ratio: 0.0 },
            Some("l1") => Penalty { c, l1_ratio: 1.0 },
            Some("l2") => Penalty { c, l1_ratio: 0.0 },
            Some(_) => Penalty { c, l1_ratio: ratio },
        })
    }

    fn check_solver(&self, penalty: Option<&str>) -> Result<()> {
        let solver = self.solver.as_str();
        if !["liblinear", "saga"].contains(&solver)
            && let Some(penalty @ ("l1" | "elasticnet")) = penalty
        {
            return Err(Error::value(format!(
                "Solver {solver} supports only 'l2' or None penalties, got {penalty} penalty."
            )));
        }
        if solver != "liblinear" && self.dual {
            return Err(Error::value(format!("Solver {solver} supports only dual=False, got dual=True")));
        }
        if penalty == Some("elasticnet") && solver != "saga" {
            return Err(Error::value(format!("Only 'saga' solver supports elasticnet penalty, got solver={solver}.")));
        }
        if solver == "liblinear" && penalty.is_none() {
            return Err(Error::value("C=np.inf as well as penalty=None is not supported for the liblinear solver"));
        }
        Ok(())
    }

    /// The start: zero, or the earlier solution.
    fn start(&self, input: &FitInput<'_>, outputs: usize, width: usize) -> Result<Vec<f64>> {
        let stride = width + usize::from(self.fit_intercept);
        let mut w = vec![0.0; outputs * stride];
        let previous = input.previous.filter(|_| self.warm_start && self.solver != "liblinear");
        if let Some(previous) = previous.and_then(|p| p.as_any().downcast_ref::<FittedLogisticRegression>()) {
            if previous.weights.len() != outputs || previous.weights.iter().any(|w| w.len() != width) {
                return Err(Error::value(format!(
                    "Initialization coef is of shape ({}, {}), expected shape ({outputs}, {width})",
                    previous.weights.len(),
                    previous.weights.first().map_or(0, Vec::len)
                )));
            }
            for (c, w) in w.chunks_exact_mut(stride).enumerate() {
                w[..width].copy_from_slice(&previous.weights[c]);
                if self.fit_intercept {
                    w[width] = previous.intercepts[c];
                }
            }
        }
        Ok(w)
    }

    fn solve(&self, loss: &LogisticLoss<'_>, l1: f64, w: &mut Vec<f64>) -> Result<Outcome> {
        let max_iter = usize::try_from(self.max_iter).unwrap_or(usize::MAX);
        let context = loss.context;
        let each = |iteration: usize, value: f64| {
            if let Some(progress) = &context.progress {
                progress(&Step { iteration, total: Some(max_iter), loss: Some(value), validation_loss: None });
            }
            context.cancel.check()
        };
        // These end near the solution in scikit-learn, by tests of their own; here they end at it.
        let exact = self.tol * 1e-3;
        if l1 > 0.0 {
            let (width, stride) = (loss.design.width(), loss.stride());
            let scaled = if self.solver == "liblinear" { l1 / self.intercept_scaling } else { 0.0 };
            let l1: Vec<f64> = (0..w.len()).map(|at| if at % stride < width { l1 } else { scaled }).collect();
            return proximal::minimise(loss, &l1, w, max_iter, exact, each);
        }
        match self.solver.as_str() {
            "lbfgs" => {
                let limits = Limits { max_iter, gradient: self.tol, decrease: 64.0 * f64::EPSILON, line_search: 50 };
                lbfgs::minimise(w, limits, |w, g| loss.value_and_gradient(w, g), each)
            }
            "newton-cg" | "newton-cholesky" => newton::minimise(loss, w, max_iter, self.tol, each),
            _ => newton::minimise(loss, w, max_iter, exact, each),
        }
    }
}

/// A fitted `LogisticRegression`.
#[derive(Clone, Debug)]
pub struct FittedLogisticRegression {
    labels: Labels,
    /// One list a score.
    weights: Vec<Vec<f64>>,
    intercepts: Vec<f64>,
    outcome: Outcome,
}

/// The classes of the rows.
///
/// # Errors
/// [`Error::Value`] for a target that isn't made of classes, of another length, or with codes out of range.
fn classes<'a>(input: &'a FitInput<'_>, rows: usize) -> Result<(&'a [u32], &'a Labels)> {
    let (codes, labels) = match &input.y {
        Target::Classes { codes, labels } => (codes, labels),
        Target::None => {
            return Err(Error::value("This estimator requires y to be passed, but the target y is None."));
        }
        Target::Numbers { .. } => {
            return Err(Error::value("a classification needs classes as its target, not numbers"));
        }
    };
    if codes.len() != rows {
        return Err(Error::value(format!(
            "Found input variables with inconsistent numbers of samples: [{rows}, {}]",
            codes.len()
        )));
    }
    if codes.iter().any(|&c| c as usize >= labels.len()) {
        return Err(Error::value("the target has codes for which there is no class"));
    }
    Ok((codes, labels))
}

impl Estimator for LogisticRegression {
    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Fitted>> {
        let penalty = self.penalty()?;
        let design = Design::read(input.x)?;
        let (rows, width) = (design.rows(), design.width());
        let weights = checked_weights(input, rows)?;
        let (codes, labels) = classes(input, rows)?;
        let liblinear = self.solver == "liblinear";
        if liblinear && labels.len() > 2 {
            return Err(Error::value(
                "The 'liblinear' solver does not support multiclass classification (n_classes >= 3). Either use \
                 another solver or wrap the estimator in a OneVsRestClassifier to keep applying a one-versus-rest \
                 scheme.",
            ));
        }
        if labels.len() < 2 {
            let only = match labels {
                Labels::Text(_) => format!("'{}'", labels.name(0)),
                _ => labels.name(0),
            };
            return Err(Error::value(format!(
                "This solver needs samples of at least 2 classes in the data, but the data contains only one class: \
                 {only}"
            )));
        }
        let outputs = if labels.len() == 2 { 1 } else { labels.len() };
        let total_weight = total_weight(weights, rows);
        let strength = 1.0 / (penalty.c * total_weight);
        let l2 = strength * (1.0 - penalty.l1_ratio);
        let loss = LogisticLoss {
            design: &design,
            classes: codes,
            weights,
            total_weight,
            outputs,
            intercept: self.fit_intercept,
            l2,
            intercept_l2: if liblinear { l2 / (self.intercept_scaling * self.intercept_scaling) } else { 0.0 },
            context: input.context,
        };
        let mut w = self.start(input, outputs, width)?;
        let outcome = self.solve(&loss, strength * penalty.l1_ratio, &mut w)?;
        if w.iter().any(|w| !w.is_finite()) {
            return Err(Error::value(
                "the fit did not stay finite: scale the columns (StandardScaler) or use a smaller C",
            ));
        }
        if self.fit_intercept && outputs > 1 {
            // A constant added to all intercepts changes nothing: the solution with mean zero is scikit-learn's.
            let stride = loss.stride();
            let mean = w.chunks_exact(stride).map(|w| w[width]).sum::<f64>() / outputs as f64;
            w.chunks_exact_mut(stride).for_each(|w| w[width] -= mean);
        }
        let each = || w.chunks_exact(loss.stride());
        Ok(Box::new(FittedLogisticRegression {
            labels: labels.clone(),
            weights: each().map(|w| w[..width].to_vec()).collect(),
            intercepts: each().map(|w| w.get(width).copied().unwrap_or(0.0)).collect(),
            outcome,
        }))
    }
}

impl Fitted for FittedLogisticRegression {
    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        let width = self.weights.first().map_or(0, Vec::len);
        let shape = vec![self.weights.len(), width];
        vec![
            ("coef_", Attribute::Floats { shape, values: self.weights.concat() }),
            ("intercept_", Attribute::Floats { shape: vec![self.intercepts.len()], values: self.intercepts.clone() }),
            ("n_iter_", Attribute::Ints { shape: vec![1], values: vec![self.outcome.iterations as i64] }),
        ]
    }

    fn lower(&self, b: &mut Builder, inputs: &[Slot], names: &[String]) -> Result<Vec<Output>> {
        let scores = lower_scores(b, inputs, names, &self.weights, &self.intercepts)?;
        let (link, decide) = match scores.len() {
            1 => (LinkKind::Sigmoid, DecideKind::Threshold(0.0)),
            _ => (LinkKind::Softmax, DecideKind::ArgMax),
        };
        let probabilities = b.add(Link { kind: link }, &scores)?;
        let class = b.add(Decide { kind: decide }, &scores)?;
        let names = match scores.len() {
            1 => vec!["decision".to_string()],
            _ => self.labels.names(),
        };
        Ok(vec![
            Output::of_class(class[0], self.labels.clone()),
            Output::of_probabilities(probabilities, self.labels.clone()),
            Output::new(Method::DecisionFunction, scores, names),
        ])
    }

    fn report(&self) -> Value {
        serde_json::json!({
            "iterations": self.outcome.iterations,
            "loss": self.outcome.value,
            "converged": self.outcome.converged,
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
