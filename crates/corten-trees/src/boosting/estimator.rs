//! The parameters of the two estimators, checked, and their fits.

use std::time::Instant;

use corten_core::random::Stream;
use corten_core::{Data, Error, Result, Values, parameter};
use corten_kernels::team::Team;
use corten_model::Labels;
use corten_model::estimator::{Estimator, FitInput, Fitted, Target};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::binning::{self, Binned, Features, MOST};
use super::categories::Crossed;
use super::fitted::{Boosted, raw};
use super::grower::{Grown, GrownTree, Interactions, Shape};
use super::metric::Metric;
use super::objective::Objective;
use super::splitter::Rules;
use super::train::{HeldOut, Part, Plan, Trained, train};

/// Rows times columns below which a second thread costs more than it does.
const SMALL: usize = 400_000;
/// Rows from which `early_stopping='auto'` stops early.
const AUTO_ROWS: usize = 10_000;
/// Classes up to which each has a column of its own for what categories are told by.
const MOST_CLASSES: usize = 10;
/// Least hessian of a leaf, as in scikit-learn.
const MIN_HESSIAN: f64 = 1e-3;

/// What both estimators take, by scikit-learn's names.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
struct Common {
    learning_rate: f64,
    max_iter: usize,
    max_leaf_nodes: Option<usize>,
    max_depth: Option<usize>,
    min_samples_leaf: u32,
    l1_regularization: f64,
    l2_regularization: f64,
    min_child_weight: f64,
    min_gain_to_split: f64,
    max_delta_step: f64,
    subsample: f64,
    colsample_bytree: f64,
    max_features: f64,
    max_bins: usize,
    categorical_features: Categorical,
    monotonic_cst: Option<Vec<i8>>,
    interaction_cst: InteractionCst,
    warm_start: bool,
    early_stopping: EarlyStopping,
    scoring: Option<String>,
    validation_fraction: Option<f64>,
    n_iter_no_change: usize,
    tol: f64,
    verbose: Value,
    random_state: Option<u64>,
}

/// Which columns are categories.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Categorical {
    /// `"from_dtype"`: those that the frame calls categorical, and text.
    Named(String),
    /// Positions, or none.
    Positions(Option<Vec<usize>>),
}

/// Which columns may meet on a path: any, by a name, or those of a group.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum InteractionCst {
    None(()),
    Named(String),
    Groups(Vec<Vec<usize>>),
}

/// `"auto"`, or yes or no.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum EarlyStopping {
    Named(String),
    Fixed(bool),
}

impl Default for Common {
    fn default() -> Self {
        Self {
            learning_rate: 0.1,
            max_iter: 100,
            max_leaf_nodes: Some(31),
            max_depth: None,
            min_samples_leaf: 20,
            l1_regularization: 0.0,
            l2_regularization: 0.0,
            min_child_weight: MIN_HESSIAN,
            min_gain_to_split: 0.0,
            max_delta_step: 0.0,
            subsample: 1.0,
            colsample_bytree: 1.0,
            max_features: 1.0,
            max_bins: 255,
            categorical_features: Categorical::Named("from_dtype".into()),
            monotonic_cst: None,
            interaction_cst: InteractionCst::None(()),
            warm_start: false,
            early_stopping: EarlyStopping::Named("auto".into()),
            scoring: Some("loss".into()),
            validation_fraction: Some(0.1),
            n_iter_no_change: 10,
            tol: 1e-7,
            verbose: Value::Null,
            random_state: None,
        }
    }
}

/// Gradient boosting of classification trees; parameters as scikit-learn's estimator of this name.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct HistGradientBoostingClassifier {
    loss: String,
    #[serde(flatten)]
    common: Common,
}

/// Gradient boosting of regression trees; parameters as scikit-learn's estimator of this name.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct HistGradientBoostingRegressor {
    loss: String,
    quantile: Option<f64>,
    huber_delta: f64,
    tweedie_power: f64,
    #[serde(flatten)]
    common: Common,
}

impl Default for HistGradientBoostingClassifier {
    fn default() -> Self {
        Self { loss: "log_loss".into(), common: Common::default() }
    }
}

impl Default for HistGradientBoostingRegressor {
    fn default() -> Self {
        Self {
            loss: "squared_error".into(),
            quantile: None,
            huber_delta: 1.0,
            tweedie_power: 1.5,
            common: Common::default(),
        }
    }
}

impl Estimator for HistGradientBoostingClassifier {
    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Fitted>> {
        parameter::one_of("loss", &self.loss, &["log_loss"])?;
        let Target::Classes { codes, labels } = &input.y else {
            return Err(Error::Internal("a classifier is fitted without classes".into()));
        };
        if labels.len() < 2 {
            return Err(Error::value(format!(
                "This estimator needs samples of at least 2 classes in the data, but the data contains only one class: {}",
                labels.name(0)
            )));
        }
        if codes.iter().any(|&c| c as usize >= labels.len()) {
            return Err(Error::Internal("a class that isn't there".into()));
        }
        let y: Vec<f64> = codes.iter().map(|&c| f64::from(c)).collect();
        let objective = if labels.len() == 2 { Objective::Binary } else { Objective::Multiclass(labels.len()) };
        self.common.fit(input, objective, &y, Some(labels.clone()))
    }
}

impl Estimator for HistGradientBoostingRegressor {
    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Fitted>> {
        let objective = match self.loss.as_str() {
            "squared_error" => Objective::SquaredError,
            "absolute_error" => Objective::AbsoluteError,
            "gamma" => Objective::Gamma,
            "poisson" => Objective::Poisson,
            "quantile" => {
                let q = self.quantile.ok_or_else(|| {
                    Error::parameter("quantile", "a number in the range [0, 1] for loss='quantile'", "None")
                })?;
                parameter::within("quantile", q, 0.0, 1.0)?;
                Objective::Quantile(q)
            }
            "huber" => {
                parameter::above("huber_delta", self.huber_delta, 0.0)?;
                Objective::Huber(self.huber_delta)
            }
            "tweedie" => {
                if !(self.tweedie_power > 1.0 && self.tweedie_power < 2.0) {
                    return Err(Error::parameter("tweedie_power", "a float in the range (1, 2)", self.tweedie_power));
                }
                Objective::Tweedie(self.tweedie_power)
            }
            "cross_entropy" => Objective::CrossEntropy,
            other => {
                let allowed = [
                    "squared_error",
                    "absolute_error",
                    "gamma",
                    "poisson",
                    "quantile",
                    "huber",
                    "tweedie",
                    "cross_entropy",
                ];
                return parameter::one_of("loss", other, &allowed)
                    .and(Err(Error::Internal("a loss that is allowed but not known".into())));
            }
        };
        let Target::Numbers { values, outputs: 1, .. } = &input.y else {
            return Err(Error::value("y should be a 1d array: this estimator predicts one number"));
        };
        objective.check(values)?;
        self.common.fit(input, objective, values, None)
    }
}

impl Common {
    fn check(&self, width: usize) -> Result<()> {
        parameter::above("learning_rate", self.learning_rate, 0.0)?;
        parameter::at_least("max_iter", self.max_iter as u64, 1)?;
        parameter::at_least("max_leaf_nodes", self.max_leaf_nodes.unwrap_or(2) as u64, 2)?;
        parameter::at_least("max_depth", self.max_depth.unwrap_or(1) as u64, 1)?;
        parameter::at_least("min_samples_leaf", u64::from(self.min_samples_leaf), 1)?;
        parameter::within("l1_regularization", self.l1_regularization, 0.0, f64::INFINITY)?;
        parameter::within("l2_regularization", self.l2_regularization, 0.0, f64::INFINITY)?;
        parameter::within("min_child_weight", self.min_child_weight, 0.0, f64::INFINITY)?;
        parameter::within("min_gain_to_split", self.min_gain_to_split, 0.0, f64::INFINITY)?;
        parameter::within("max_delta_step", self.max_delta_step, 0.0, f64::INFINITY)?;
        for (name, share) in [("subsample", self.subsample), ("colsample_bytree", self.colsample_bytree)] {
            if !(share > 0.0 && share <= 1.0) {
                return Err(Error::parameter(name, "a float in the range (0, 1]", share));
            }
        }
        parameter::within("tol", self.tol, 0.0, f64::INFINITY)?;
        parameter::at_least("n_iter_no_change", self.n_iter_no_change as u64, 1)?;
        if !(self.max_features > 0.0 && self.max_features <= 1.0) {
            return Err(Error::parameter("max_features", "a float in the range (0, 1]", self.max_features));
        }
        if !(2..=MOST).contains(&self.max_bins) {
            return Err(Error::parameter("max_bins", "an int in the range [2, 255]", self.max_bins));
        }
        if let Some(f) = self.validation_fraction
            && !(f > 0.0 && (f < 1.0 || f == f.trunc()))
        {
            return Err(Error::parameter("validation_fraction", "a float in the range (0, 1), an int or None", f));
        }
        if let Some(signs) = &self.monotonic_cst {
            if signs.len() != width {
                return Err(Error::value(format!(
                    "monotonic_cst has shape {} but the input data X has {width} features.",
                    signs.len()
                )));
            }
            if let Some(bad) = signs.iter().find(|s| !(-1..=1).contains(*s)) {
                return Err(Error::parameter("monotonic_cst", "an array of -1, 0 or 1", bad));
            }
        }
        Ok(())
    }

    /// Which columns are categories.
    fn categorical(&self, data: &Data<'_>) -> Result<Vec<bool>> {
        let table = data.table()?;
        let columns = table.columns();
        match &self.categorical_features {
            Categorical::Named(name) => {
                parameter::one_of("categorical_features", name, &["from_dtype"])?;
                Ok(columns.iter().map(|c| c.categorical || matches!(c.values, Values::Text(_))).collect())
            }
            Categorical::Positions(positions) => {
                let mut out = vec![false; columns.len()];
                for &at in positions.iter().flatten() {
                    *out.get_mut(at).ok_or_else(|| {
                        Error::parameter("categorical_features", format!("positions below {}", columns.len()), at)
                    })? = true;
                }
                Ok(out)
            }
        }
    }

    /// Which columns may meet on a path.
    fn interactions(&self, width: usize) -> Result<Interactions> {
        match &self.interaction_cst {
            InteractionCst::None(()) => Ok(Interactions::Any),
            InteractionCst::Named(name) => {
                parameter::one_of("interaction_cst", name, &["pairwise", "no_interactions"])?;
                Ok(Interactions::UpTo(if name == "pairwise" { 2 } else { 1 }))
            }
            InteractionCst::Groups(groups) => {
                if let Some(bad) = groups.iter().flatten().find(|&&f| f >= width) {
                    return Err(Error::parameter("interaction_cst", format!("positions below {width}"), bad));
                }
                let mut groups = groups.clone();
                // Columns that no group names are one more group.
                let rest: Vec<usize> = (0..width).filter(|f| !groups.iter().flatten().any(|g| g == f)).collect();
                if !rest.is_empty() {
                    groups.push(rest);
                }
                Ok(Interactions::Groups(groups))
            }
        }
    }

    /// What early stopping watches; the loss where `None`.
    fn metric(&self, classes: Option<usize>) -> Result<Option<Metric>> {
        let allowed = Metric::NAMES[usize::from(classes.is_none())];
        match self.scoring.as_deref() {
            Some("loss") => Ok(None),
            None => Ok(Some(if classes.is_some() { Metric::Accuracy } else { Metric::R2 })),
            Some(name) => {
                let all: Vec<&str> = ["loss"].iter().chain(allowed).copied().collect();
                parameter::one_of("scoring", name, &all)?;
                let metric = Metric::named(name);
                if metric == Some(Metric::RocAuc) && classes.is_some_and(|c| c > 2) {
                    return Err(Error::parameter(
                        "scoring",
                        "another score: 'roc_auc' is for two classes",
                        "'roc_auc'",
                    ));
                }
                Ok(metric)
            }
        }
    }

    fn stops_early(&self, rows: usize) -> Result<bool> {
        match &self.early_stopping {
            EarlyStopping::Fixed(yes) => Ok(*yes),
            EarlyStopping::Named(name) => {
                if name != "auto" {
                    return Err(Error::parameter("early_stopping", "'auto' or a bool", format!("'{name}'")));
                }
                Ok(rows > AUTO_ROWS)
            }
        }
    }

    fn fit(
        &self,
        input: &FitInput<'_>,
        objective: Objective,
        y: &[f64],
        labels: Option<Labels>,
    ) -> Result<Box<dyn Fitted>> {
        let start = Instant::now();
        let table = input.x.table()?;
        self.check(table.width())?;
        let rows = table.rows();
        if rows == 0 || table.width() == 0 {
            return Err(Error::value(format!(
                "Found array with {rows} sample(s) and {} feature(s) while a minimum of 1 of each is required.",
                table.width()
            )));
        }
        if y.len() != rows || input.sample_weight.is_some_and(|w| w.len() != rows) || rows > u32::MAX as usize / 2 {
            return Err(Error::value(format!(
                "Found input variables with inconsistent numbers of samples: [{rows}, {}]",
                y.len()
            )));
        }
        if let Some(bad) = input.sample_weight.and_then(|w| w.iter().find(|x| !x.is_finite() || **x < 0.0)) {
            return Err(Error::value(format!("sample_weight must be finite and not negative, but {bad} came")));
        }
        let seed = self.random_state.unwrap_or(0);
        // A row without weight is no row.
        let used: Vec<u32> = match input.sample_weight {
            Some(w) => (0..rows as u32).filter(|&r| w[r as usize] > 0.0).collect(),
            None => (0..rows as u32).collect(),
        };
        if used.is_empty() {
            return Err(Error::value("Sample weights must contain at least one non-zero number."));
        }
        let early = self.stops_early(used.len())?;
        let (train_rows, held_out) = match (early, self.validation_fraction) {
            (true, Some(fraction)) => split(&used, y, labels.is_some(), fraction, seed)?,
            _ => (used, Vec::new()),
        };
        let categorical = self.categorical(input.x)?;
        let threads = if train_rows.len() * table.width() < SMALL { 1 } else { input.context.threads.max(1) };
        let rules = Rules {
            l1: self.l1_regularization,
            l2: self.l2_regularization,
            min_samples_leaf: self.min_samples_leaf,
            min_hessian: self.min_child_weight,
            min_gain: self.min_gain_to_split,
            max_delta: self.max_delta_step,
            monotonic: self.monotonic_cst.clone().unwrap_or_default(),
        };
        let shape = Shape {
            max_leaf_nodes: self.max_leaf_nodes.unwrap_or(usize::MAX),
            max_depth: self.max_depth.unwrap_or(usize::MAX),
            features_per_split: self.max_features,
            features_per_tree: self.colsample_bytree,
            interactions: self.interactions(table.width())?,
            rows: self.subsample,
        };
        let plan = Plan {
            max_iter: self.max_iter,
            learning_rate: self.learning_rate,
            patience: early.then_some(self.n_iter_no_change),
            tol: self.tol,
            seed,
            losses: early,
            metric: if early { self.metric(labels.as_ref().map(Labels::len))? } else { None },
        };
        let previous = input.previous.and_then(|p| p.as_any().downcast_ref::<Boosted>()).filter(|_| self.warm_start);
        if let Some(before) = previous {
            before.continues(objective, table.width(), labels.as_ref())?;
            if before.iterations > self.max_iter {
                return Err(Error::value(format!(
                    "max_iter={} should be larger than or equal to n_iter_={} when warm_start==True",
                    self.max_iter, before.iterations
                )));
            }
        }
        Team::scope(threads, |team| {
            // The thresholds of earlier trees lie between the bins that they were grown on.
            let crossed = Crossed { targets: told_by(objective, y), weights: input.sample_weight, seed };
            let features = match previous {
                Some(before) => before.features.clone(),
                None => binning::find(input.x, &categorical, self.max_bins, &train_rows, &crossed, team)?,
            };
            let columns = binning::encode(input.x, &features, &train_rows, Some(&crossed), team)?;
            drop(crossed);
            input.context.cancel.check()?;
            let held_out = if held_out.is_empty() {
                None
            } else {
                let columns = binning::encode(input.x, &features, &held_out, None, team)?;
                Some(HeldOut { part: Part::new(&held_out, y, input.sample_weight), columns })
            };
            let part = Part::new(&train_rows, y, input.sample_weight);
            let binned = Binned::new(features, columns, team);
            let before = previous.map(|p| &p.trained);
            let trained =
                train(objective, &binned, part, held_out, before, &rules, &shape, &plan, input.context, team)?;
            let features = Features { bins: binned.features, sources: binned.sources };
            let fitted: Box<dyn Fitted> =
                Box::new(boosted(objective, labels, table.width(), features, trained, early, start));
            Ok(fitted)
        })
    }
}

/// The trained trees over raw values.
fn boosted(
    objective: Objective,
    labels: Option<Labels>,
    width: usize,
    features: Features,
    trained: Trained,
    early_stopping: bool,
    start: Instant,
) -> Boosted {
    let (mut gains, mut splits) = (vec![0.0; width], vec![0i64; width]);
    let mut add = |tree: &GrownTree| {
        for node in &tree.nodes {
            if let Grown::Split { split, .. } = node {
                gains[features.sources[split.feature]] += split.gain;
                splits[features.sources[split.feature]] += 1;
            }
        }
    };
    let mut trees = Vec::new();
    for iteration in &trained.iterations {
        for (k, tree) in iteration.iter().enumerate() {
            add(tree);
            trees.push(raw(tree, &features.bins, k as u32));
        }
    }
    Boosted {
        objective,
        labels,
        features,
        baseline: trained.baseline.clone(),
        trees,
        gains,
        splits,
        iterations: trained.iterations.len(),
        early_stopping,
        trained,
        seconds: start.elapsed().as_secs_f64(),
    }
}

/// What categories of columns with many are told by: the target, or which class a row has.
fn told_by(objective: Objective, y: &[f64]) -> Vec<Vec<f64>> {
    match objective {
        // A column a class: beyond some, the order of categories has to do.
        Objective::Multiclass(k) if k > MOST_CLASSES => Vec::new(),
        Objective::Multiclass(k) => {
            (0..k).map(|c| y.iter().map(|&v| f64::from(u8::from(v as usize == c))).collect()).collect()
        }
        _ => vec![y.to_vec()],
    }
}

/// Holds rows out; of each class the same share.
fn split(used: &[u32], y: &[f64], classes: bool, fraction: f64, seed: u64) -> Result<(Vec<u32>, Vec<u32>)> {
    let share = if fraction < 1.0 { fraction } else { fraction / used.len() as f64 };
    let mut stream = Stream::new(seed, 0x0073_706c_6974);
    let mut groups: std::collections::BTreeMap<u64, Vec<u32>> = std::collections::BTreeMap::new();
    for &row in used {
        groups.entry(if classes { y[row as usize] as u64 } else { 0 }).or_default().push(row);
    }
    let (mut train, mut held_out) = (Vec::new(), Vec::new());
    for rows in groups.values_mut() {
        stream.shuffle(rows);
        let count = ((rows.len() as f64 * share + 0.5) as usize).min(rows.len().saturating_sub(1));
        held_out.extend_from_slice(&rows[..count]);
        train.extend_from_slice(&rows[count..]);
    }
    if held_out.is_empty() || train.is_empty() {
        return Err(Error::value(format!(
            "validation_fraction={fraction} of {} rows leaves no rows to train on or to validate with",
            used.len()
        )));
    }
    train.sort_unstable();
    held_out.sort_unstable();
    Ok((train, held_out))
}
