//! The parameters of both estimators, checked, and their fits.

use std::time::Instant;

use corten_core::random::Stream;
use corten_core::{Data, Error, Result, parameter};
use corten_model::Labels;
use corten_model::estimator::{Estimator, FitInput, Fitted, Target};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fitted::Boosted;
use super::loss::Loss;
use super::stages::{Plan, Rows, Stages};
use super::start::Start;
use crate::forest::parameters::Growth;
use crate::forest::ranks::{self, Code, NO_MISSING, Ranks, Table};
use crate::forest::task::Task;

/// What both take beside how trees grow.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
struct Common {
    learning_rate: f64,
    n_estimators: usize,
    subsample: f64,
    init: Option<String>,
    verbose: Value,
    warm_start: bool,
    validation_fraction: f64,
    n_iter_no_change: Option<usize>,
    tol: f64,
}

impl Default for Common {
    fn default() -> Self {
        Self {
            learning_rate: 0.1,
            n_estimators: 100,
            subsample: 1.0,
            init: None,
            verbose: 0.into(),
            warm_start: false,
            validation_fraction: 0.1,
            n_iter_no_change: None,
            tol: 1e-4,
        }
    }
}

fn growth() -> Growth {
    Growth { criterion: "deprecated".into(), max_depth: Some(3), ..Growth::default() }
}

/// Boosting of exact regression trees to the gradients of a loss of classes, as scikit-learn's estimator of this name.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct GradientBoostingClassifier {
    loss: String,
    #[serde(flatten)]
    common: Common,
    #[serde(flatten)]
    growth: Growth,
}

/// Boosting of exact regression trees to the gradients of a loss of numbers, as scikit-learn's estimator of this name.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct GradientBoostingRegressor {
    loss: String,
    alpha: f64,
    #[serde(flatten)]
    common: Common,
    #[serde(flatten)]
    growth: Growth,
}

impl Default for GradientBoostingClassifier {
    fn default() -> Self {
        Self { loss: "log_loss".into(), common: Common::default(), growth: growth() }
    }
}

impl Default for GradientBoostingRegressor {
    fn default() -> Self {
        Self { loss: "squared_error".into(), alpha: 0.9, common: Common::default(), growth: growth() }
    }
}

impl Estimator for GradientBoostingClassifier {
    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Fitted>> {
        parameter::one_of("loss", &self.loss, &["log_loss", "exponential"])?;
        let Target::Classes { codes, labels } = &input.y else {
            return Err(Error::Internal("a classifier is fitted without classes".into()));
        };
        let loss = match (self.loss.as_str(), labels.len()) {
            ("log_loss", 2) => Loss::Binomial,
            ("log_loss", k) => Loss::Multinomial(k),
            (_, 2) => Loss::Exponential,
            (_, k) => {
                return Err(Error::value(format!(
                    "loss='exponential' is only suitable for a binary classification problem, you have \
                     n_classes={k}. Please use loss='log_loss' instead."
                )));
            }
        };
        let y: Vec<f64> = codes.iter().map(|&c| f64::from(c)).collect();
        self.common.fit(input, loss, &self.growth, &y, Some(labels))
    }
}

impl Estimator for GradientBoostingRegressor {
    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Fitted>> {
        parameter::one_of("loss", &self.loss, &["squared_error", "absolute_error", "huber", "quantile"])?;
        if !(self.alpha > 0.0 && self.alpha < 1.0) {
            return Err(Error::parameter("alpha", "a float in the range (0.0, 1.0)", self.alpha));
        }
        let loss = match self.loss.as_str() {
            "squared_error" => Loss::Squared,
            "absolute_error" => Loss::Absolute,
            "huber" => Loss::Huber(self.alpha),
            _ => Loss::Quantile(self.alpha),
        };
        let Target::Numbers { values, outputs: 1, .. } = &input.y else {
            return Err(Error::value("y should be a 1d array: this estimator predicts one number"));
        };
        self.common.fit(input, loss, &self.growth, values, None)
    }
}

impl Common {
    fn check(&self) -> Result<()> {
        parameter::within("learning_rate", self.learning_rate, 0.0, f64::INFINITY)?;
        parameter::at_least("n_estimators", self.n_estimators as u64, 1)?;
        parameter::at_least("n_iter_no_change", self.n_iter_no_change.unwrap_or(1) as u64, 1)?;
        parameter::within("tol", self.tol, 0.0, f64::INFINITY)?;
        if !(self.subsample > 0.0 && self.subsample <= 1.0) {
            return Err(Error::parameter("subsample", "a float in the range (0.0, 1.0]", self.subsample));
        }
        if !(self.validation_fraction > 0.0 && self.validation_fraction < 1.0) {
            let allowed = "a float in the range (0.0, 1.0)";
            return Err(Error::parameter("validation_fraction", allowed, self.validation_fraction));
        }
        match self.init.as_deref() {
            None | Some("zero") => Ok(()),
            Some(other) => Err(Error::parameter("init", "'zero' or None", format!("'{other}'"))),
        }
    }

    fn fit(
        &self,
        input: &FitInput<'_>,
        loss: Loss,
        growth: &Growth,
        y: &[f64],
        labels: Option<&Labels>,
    ) -> Result<Box<dyn Fitted>> {
        let begin = Instant::now();
        self.check()?;
        let (rows, width) = (input.x.rows(), input.x.width());
        if rows == 0 || width == 0 || y.len() != rows || input.sample_weight.is_some_and(|w| w.len() != rows) {
            return Err(Error::value(format!(
                "Found input variables with inconsistent numbers of samples: [{rows}, {}]",
                y.len()
            )));
        }
        if let Some(bad) = input.sample_weight.and_then(|w| w.iter().find(|x| !x.is_finite() || **x < 0.0)) {
            return Err(Error::value(format!("sample_weight must be finite and not negative, but {bad} came")));
        }
        let ones = vec![1.0; if input.sample_weight.is_some() { 0 } else { rows }];
        let weights = input.sample_weight.unwrap_or(&ones);
        let total: f64 = weights.iter().sum();
        if total <= 0.0 {
            return Err(Error::value("Sample weights must contain at least one non-zero number."));
        }
        let center = vec![0.0];
        let task = Task::Numbers { values: Vec::new(), outputs: 1, center, flat: true };
        let rules = growth.rules(false, rows, width, total, &task)?;
        let seed = growth.random_state.unwrap_or(0);
        let held_out = match self.n_iter_no_change {
            Some(_) => held_out(y, labels.map_or(1, Labels::len), self.validation_fraction, seed),
            None => vec![false; rows],
        };
        let plan = Plan {
            loss: &loss,
            rules: &rules,
            rate: self.learning_rate,
            stages: self.n_estimators,
            subsample: self.subsample,
            alpha: growth.ccp_alpha,
            seed,
            patience: self.n_iter_no_change.map(|n| (n, self.tol)),
            context: input.context,
        };
        let before = input.previous.filter(|_| self.warm_start).and_then(|p| p.as_any().downcast_ref::<Boosted>());
        let stages = match before {
            Some(before) => self.earlier(before, &loss, width, labels)?,
            None => Stages { start: self.start(&loss, y, input.sample_weight, &held_out), ..Stages::default() },
        };
        // A fit that goes on starts from the model that it started from.
        let start = match (before, &input.extras.start) {
            (Some(before), _) => before.start.clone(),
            (None, Some(model)) => Some(Start::new(model.clone(), &loss)?),
            (None, None) => None,
        };
        let init = start.as_ref().map(|s| s.of_rows(input.x, &loss, input.context)).transpose()?;
        let ranks = ranks::rank(input.x, input.context.threads.max(1))?;
        match &ranks {
            Ranks::Byte(table) => complete(table, input.x)?,
            Ranks::Narrow(table) => complete(table, input.x)?,
            Ranks::Wide(table) => complete(table, input.x)?,
        }
        let all = Rows { y, weights, held_out: &held_out, init: init.as_deref() };
        let stages = match &ranks {
            Ranks::Byte(table) => plan.run(table, &all, stages)?,
            Ranks::Narrow(table) => plan.run(table, &all, stages)?,
            Ranks::Wide(table) => plan.run(table, &all, stages)?,
        };
        Ok(Box::new(Boosted {
            loss,
            labels: labels.cloned(),
            features: width,
            max_features: rules.max_features.min(width),
            rate: self.learning_rate,
            start,
            stages,
            seconds: begin.elapsed().as_secs_f64(),
        }))
    }

    /// The first scores, of the rows that aren't held out.
    fn start(&self, loss: &Loss, y: &[f64], weights: Option<&[f64]>, held_out: &[bool]) -> Vec<f64> {
        if self.init.is_some() {
            return vec![0.0; loss.outputs()];
        }
        let keep = |v: &[f64]| -> Vec<f64> { v.iter().zip(held_out).filter(|(_, h)| !**h).map(|(x, _)| *x).collect() };
        loss.start(&keep(y), weights.map(keep).as_deref())
    }

    fn earlier(&self, before: &Boosted, loss: &Loss, width: usize, labels: Option<&Labels>) -> Result<Stages> {
        if before.features != width || before.labels.as_ref() != labels || before.loss != *loss {
            return Err(Error::value(
                "warm_start keeps the stages of the fit before, which had other columns, classes or loss",
            ));
        }
        if before.rate != self.learning_rate {
            return Err(Error::value("warm_start keeps the stages of the fit before, which had another learning_rate"));
        }
        if self.n_estimators < before.stages.trees.len() {
            return Err(Error::value(format!(
                "n_estimators={} must be larger or equal to estimators_.shape[0]={} when warm_start==True",
                self.n_estimators,
                before.stages.trees.len()
            )));
        }
        Ok(before.stages.clone())
    }
}

/// # Errors
/// [`Error::Column`] for a column with missing values.
fn complete<C: Code>(table: &Table<C>, data: &Data<'_>) -> Result<()> {
    match table.columns.iter().position(|ranked| ranked.missing != NO_MISSING) {
        Some(at) => Err(Error::column(data.name(at), "Input X contains NaN.")),
        None => Ok(()),
    }
}

/// Which rows are held out of fits with `n_iter_no_change`: of each of some classes, coded in `y`, the same share; of
/// all where there is one class or none.
pub fn held_out(y: &[f64], classes: usize, fraction: f64, seed: u64) -> Vec<bool> {
    let mut out = vec![false; y.len()];
    let mut stream = Stream::new(seed, 0x0067_6273_706c);
    for class in 0..classes.max(1) {
        let of = |r: &usize| classes <= 1 || y[*r] as usize == class;
        let mut rows: Vec<usize> = (0..y.len()).filter(of).collect();
        stream.shuffle(&mut rows);
        let count = ((rows.len() as f64 * fraction).ceil() as usize).min(rows.len().saturating_sub(1));
        rows[..count].iter().for_each(|&r| out[r] = true);
    }
    out
}
