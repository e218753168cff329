//! The boosting estimators and their fits.

use std::time::Instant;

use corten_core::random::Stream;
use corten_core::{Error, Result, parameter};
use corten_kernels::team::Team;
use corten_model::Labels;
use corten_model::estimator::{Estimator, FitInput, Fitted, Target};
use serde::{Deserialize, Serialize};

use super::binning::{self, Binned, Features};
use super::categories::Crossed;
use super::fitted::{Boosted, raw};
use super::grower::{Grown, GrownTree, Shape};
use super::objective::{Objective, Ranking};
use super::parameters::{Common, EarlyStopping};
use super::part::{HeldOut, Part};
use super::refit;
use super::splitter::Rules;
use super::train::{Plan, Trained, Training, train};
use crate::source::Source;

/// Rows times columns below which a second thread costs more than it does.
const SMALL: usize = 400_000;
/// Classes up to which each has a column of its own for what categories are told by.
const MOST_CLASSES: usize = 10;
/// The name of a loss from outside.
const OUTSIDE: &str = "outside";

/// Gradient boosting of classification trees; parameters as scikit-learn's estimator of this name.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct HistGradientBoostingClassifier {
    loss: String,
    #[serde(flatten)]
    common: Common,
}

/// One quantile, or several at once.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Quantile {
    One(Option<f64>),
    Several(Vec<f64>),
}

impl Quantile {
    fn objective(&self) -> Result<Objective> {
        let none = || Error::parameter("quantile", "a number in the range [0, 1] for loss='quantile'", "None");
        match self {
            Self::One(q) => {
                let q = q.ok_or_else(none)?;
                parameter::within("quantile", q, 0.0, 1.0)?;
                Ok(Objective::Quantile(q))
            }
            Self::Several(all) => {
                all.iter().try_for_each(|&q| parameter::within("quantile", q, 0.0, 1.0))?;
                match all[..] {
                    [] => Err(Error::parameter("quantile", "a number or a list with at least one", "[]")),
                    [q] => Ok(Objective::Quantile(q)),
                    _ => Ok(Objective::Quantiles(all.clone())),
                }
            }
        }
    }
}

/// Boosting of trees that put the rows of each query in order (LambdaMART).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct HistGradientBoostingRanker {
    lambdarank_truncation_level: usize,
    lambdarank_norm: bool,
    sigmoid: f64,
    #[serde(flatten)]
    common: Common,
}

impl Default for HistGradientBoostingRanker {
    fn default() -> Self {
        Self { lambdarank_truncation_level: 30, lambdarank_norm: true, sigmoid: 1.0, common: Common::default() }
    }
}

impl Estimator for HistGradientBoostingRanker {
    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Fitted>> {
        parameter::at_least("lambdarank_truncation_level", self.lambdarank_truncation_level as u64, 1)?;
        parameter::above("sigmoid", self.sigmoid, 0.0)?;
        let ranking =
            Ranking { truncation: self.lambdarank_truncation_level, norm: self.lambdarank_norm, sigmoid: self.sigmoid };
        let Target::Numbers { values, outputs: 1, .. } = &input.y else {
            return Err(Error::value("y should be a 1d array: how relevant each row is"));
        };
        let objective = Objective::Ranking(ranking);
        objective.check(values)?;
        self.common.fit(input, objective, values, None)
    }
}

/// Gradient boosting of regression trees; parameters as scikit-learn's estimator of this name.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct HistGradientBoostingRegressor {
    loss: String,
    quantile: Quantile,
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
            quantile: Quantile::One(None),
            huber_delta: 1.0,
            tweedie_power: 1.5,
            common: Common::default(),
        }
    }
}

impl Estimator for HistGradientBoostingClassifier {
    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Fitted>> {
        if self.loss != OUTSIDE {
            parameter::one_of("loss", &self.loss, &["log_loss"])?;
        }
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
        let objective = match (self.loss.as_str(), labels.len()) {
            (OUTSIDE, 2) => Objective::Outside(1),
            (OUTSIDE, k) => Objective::Outside(k),
            (_, 2) => Objective::Binary,
            (_, k) => Objective::Multiclass(k),
        };
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
            "quantile" => self.quantile.objective()?,
            "cox" => Objective::Cox,
            OUTSIDE => Objective::Outside(1),
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
                    "cox",
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
    fn fit(
        &self,
        input: &FitInput<'_>,
        objective: Objective,
        y: &[f64],
        labels: Option<Labels>,
    ) -> Result<Box<dyn Fitted>> {
        let start = Instant::now();
        let source = Source::new(input.x)?;
        let (rows, width) = (input.x.rows(), input.x.width());
        self.check(width)?;
        if rows == 0 || width == 0 {
            return Err(Error::value(format!(
                "Found array with {rows} sample(s) and {} feature(s) while a minimum of 1 of each is required.",
                width
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
        let extras = input.extras;
        let classes = labels.as_ref().map(Labels::len);
        let metrics = self.metrics(classes)?;
        let known = !metrics.is_empty() || !matches!(objective, Objective::Outside(_));
        let early = self.stops_early(used.len())? && (known || matches!(self.early_stopping, EarlyStopping::Fixed(_)));
        if early && !known {
            return Err(Error::parameter(
                "scoring",
                "a score with early_stopping=True and a loss of your own",
                "'loss'",
            ));
        }
        let groups = groups(&objective, extras.group.as_deref(), rows)?;
        if let Some(init) = &extras.init_score
            && init.len() != rows * objective.outputs()
        {
            let (outputs, found) = (objective.outputs(), init.len());
            return Err(Error::value(format!(
                "init_score should have shape ({rows}, {outputs}), but has {found} numbers"
            )));
        }
        let refit = extras.decay_rate.is_some();
        let (train_rows, held_out) = match (early && !refit, self.validation_fraction) {
            (true, Some(fraction)) => match &groups {
                Some(sizes) => split_queries(&used, sizes, fraction, seed)?,
                None => split(&used, y, labels.is_some(), fraction, seed)?,
            },
            _ => (used, Vec::new()),
        };
        let categorical = self.categorical(input.x)?;
        let threads = if train_rows.len() * width < SMALL { 1 } else { input.context.threads.max(1) };
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
            interactions: self.interactions(width)?,
            rows: self.subsample,
        };
        let (sampled, dropout) = self.sampling()?;
        let plan = Plan {
            max_iter: self.max_iter,
            learning_rate: self.learning_rate,
            patience: early.then_some(self.n_iter_no_change),
            tol: self.tol,
            seed,
            losses: early,
            metrics: if early { metrics } else { Vec::new() },
            rows: sampled,
            dropout,
            linear: self.linear_tree.then_some(self.linear_lambda),
        };
        let previous = input.previous.and_then(|p| p.as_any().downcast_ref::<Boosted>());
        if let Some(before) = previous {
            before.continues(&objective, width, labels.as_ref())?;
            if before.iterations > self.max_iter && !refit {
                return Err(Error::value(format!(
                    "max_iter={} should be larger than or equal to n_iter_={} when warm_start==True",
                    self.max_iter, before.iterations
                )));
            }
        }
        Team::scope(threads, |team| {
            // The thresholds of earlier trees lie between the bins that they were grown on.
            let crossed = Crossed { targets: told_by(&objective, y), weights: input.sample_weight, seed };
            let features = match previous {
                Some(before) => before.features.clone(),
                None => binning::find(&source, &categorical, self.max_bins, &train_rows, &crossed, team)?,
            };
            let columns = binning::encode(&source, rows, &features, &train_rows, Some(&crossed), team)?;
            drop(crossed);
            input.context.cancel.check()?;
            let part = |chosen: &[u32]| -> Result<Part> {
                let mut part = Part::new(chosen, y, input.sample_weight);
                part = part.starting(chosen, extras.init_score.as_deref(), rows);
                if let Some(sizes) = &groups {
                    part = part.of_queries(chosen, sizes);
                }
                if self.linear_tree {
                    part = part.with_numbers(&source, &features, chosen)?;
                }
                if extras.objective.is_some() || extras.score.is_some() {
                    part.rows = chosen.to_vec();
                }
                Ok(part)
            };
            let held_out = if held_out.is_empty() {
                None
            } else {
                let columns = binning::encode(&source, rows, &features, &held_out, None, team)?;
                Some(HeldOut { part: part(&held_out)?, columns })
            };
            let part = part(&train_rows)?;
            let binned = Binned::new(features, columns, team);
            let training = Training {
                objective: &objective,
                binned: &binned,
                rules: &rules,
                shape: &shape,
                plan: &plan,
                extras,
                context: input.context,
                team,
            };
            let before = previous.map(|p| &p.trained);
            let trained = match (extras.decay_rate, before) {
                (Some(decay), Some(before)) => refit::refit(&training, part, before, decay)?,
                (Some(_), None) => return Err(Error::value("refit needs the fit whose leaves it changes")),
                (None, before) => train(&training, part, held_out, before)?,
            };
            let features = Features { bins: binned.features, sources: binned.sources };
            let fitted: Box<dyn Fitted> = Box::new(boosted(objective, labels, width, features, trained, early, start));
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
fn told_by(objective: &Objective, y: &[f64]) -> Vec<Vec<f64>> {
    match objective {
        // A column a class: beyond some, the order of categories has to do.
        Objective::Multiclass(k) if *k > MOST_CLASSES => Vec::new(),
        Objective::Multiclass(k) => {
            (0..*k).map(|c| y.iter().map(|&v| f64::from(u8::from(v as usize == c))).collect()).collect()
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

/// The sizes of queries; all rows are one where none are given.
fn groups(objective: &Objective, sizes: Option<&[u32]>, rows: usize) -> Result<Option<Vec<u32>>> {
    if !matches!(objective, Objective::Ranking(_)) {
        return Ok(None);
    }
    let sizes = sizes.map_or_else(|| vec![rows as u32], <[u32]>::to_vec);
    let sum: u64 = sizes.iter().map(|&s| u64::from(s)).sum();
    if sum != rows as u64 {
        return Err(Error::value(format!("group should add up to the {rows} rows of X, but adds up to {sum}")));
    }
    Ok(Some(sizes))
}

/// Holds whole queries out.
fn split_queries(used: &[u32], sizes: &[u32], fraction: f64, seed: u64) -> Result<(Vec<u32>, Vec<u32>)> {
    let share = if fraction < 1.0 { fraction } else { fraction / used.len() as f64 };
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    Stream::new(seed, 0x0073_706c_6974).shuffle(&mut order);
    let count = (sizes.len() as f64 * share + 0.5) as usize;
    let mut out = vec![false; sizes.len()];
    order[..count].iter().for_each(|&q| out[q] = true);
    let of_row: Vec<bool> = sizes.iter().zip(out).flat_map(|(&n, out)| std::iter::repeat_n(out, n as usize)).collect();
    let (held_out, train): (Vec<u32>, Vec<u32>) = used.iter().partition(|&&r| of_row[r as usize]);
    if held_out.is_empty() || train.is_empty() {
        return Err(Error::value(format!(
            "validation_fraction={fraction} of {} queries leaves none to train on or to validate with; \
             early_stopping=False needs none",
            sizes.len()
        )));
    }
    Ok((train, held_out))
}
