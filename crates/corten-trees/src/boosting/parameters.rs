//! What the boosting estimators take, checked.

use corten_core::{Error, Result, parameter};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::binning::MOST_OF_NUMBERS;
use super::interactions::Interactions;
use super::metric::Metric;
use super::sampling;

/// Rows from which `early_stopping='auto'` stops early.
const AUTO_ROWS: usize = 10_000;
/// Least hessian of a leaf, as in scikit-learn.
const MIN_HESSIAN: f64 = 1e-3;
/// How a score from outside is named, its number behind.
const OUTSIDE: &str = "outside:";

/// What both estimators take, by scikit-learn's names.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Common {
    pub(super) learning_rate: f64,
    pub(super) max_iter: usize,
    pub(super) max_leaf_nodes: Option<usize>,
    pub(super) max_depth: Option<usize>,
    pub(super) min_samples_leaf: u32,
    pub(super) l1_regularization: f64,
    pub(super) l2_regularization: f64,
    pub(super) min_child_weight: f64,
    pub(super) min_gain_to_split: f64,
    pub(super) max_delta_step: f64,
    pub(super) subsample: f64,
    pub(super) colsample_bytree: f64,
    pub(super) max_features: f64,
    pub(super) max_bins: usize,
    pub(super) categorical_features: Categorical,
    pub(super) monotonic_cst: Option<Vec<i8>>,
    pub(super) interaction_cst: InteractionCst,
    pub(super) warm_start: bool,
    pub(super) early_stopping: EarlyStopping,
    pub(super) scoring: Scoring,
    pub(super) boosting: String,
    pub(super) drop_rate: f64,
    pub(super) max_drop: usize,
    pub(super) skip_drop: f64,
    pub(super) data_sample_strategy: String,
    pub(super) top_rate: f64,
    pub(super) other_rate: f64,
    pub(super) linear_tree: bool,
    pub(super) linear_lambda: f64,
    pub(super) validation_fraction: Option<f64>,
    pub(super) n_iter_no_change: usize,
    pub(super) tol: f64,
    pub(super) verbose: Value,
    pub(super) random_state: Option<u64>,
}

/// Which columns are categories.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Categorical {
    /// `"from_dtype"`: those that the frame calls categorical, and text.
    Named(String),
    /// Positions, or none.
    Positions(Option<Vec<usize>>),
}

/// Which columns may meet on a path: any, by a name, or those of a group.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum InteractionCst {
    None(()),
    Named(String),
    Groups(Vec<Vec<usize>>),
}

/// What early stopping watches: one score, or several of which the first decides.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Scoring {
    One(Option<String>),
    Several(Vec<String>),
}

/// `"auto"`, or yes or no.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum EarlyStopping {
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
            scoring: Scoring::One(Some("loss".into())),
            boosting: "gbdt".into(),
            drop_rate: 0.1,
            max_drop: 50,
            skip_drop: 0.5,
            data_sample_strategy: "bagging".into(),
            top_rate: 0.2,
            other_rate: 0.1,
            linear_tree: false,
            linear_lambda: 0.0,
            validation_fraction: Some(0.1),
            n_iter_no_change: 10,
            tol: 1e-7,
            verbose: Value::Null,
            random_state: None,
        }
    }
}

impl Common {
    pub(super) fn check(&self, width: usize) -> Result<()> {
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
        parameter::within("linear_lambda", self.linear_lambda, 0.0, f64::INFINITY)?;
        if self.linear_tree && self.monotonic_cst.iter().flatten().any(|&s| s != 0) {
            return Err(Error::parameter("monotonic_cst", "None with linear_tree=True", "constraints"));
        }
        parameter::within("tol", self.tol, 0.0, f64::INFINITY)?;
        parameter::at_least("n_iter_no_change", self.n_iter_no_change as u64, 1)?;
        if !(self.max_features > 0.0 && self.max_features <= 1.0) {
            return Err(Error::parameter("max_features", "a float in the range (0, 1]", self.max_features));
        }
        if !(2..=MOST_OF_NUMBERS).contains(&self.max_bins) {
            return Err(Error::parameter("max_bins", "an int in the range [2, 65535]", self.max_bins));
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

    /// Which columns are categories; `told` says which ones are by their type.
    pub(super) fn categorical(&self, told: &[bool]) -> Result<Vec<bool>> {
        match &self.categorical_features {
            Categorical::Named(name) => {
                parameter::one_of("categorical_features", name, &["from_dtype"])?;
                Ok(told.to_vec())
            }
            Categorical::Positions(positions) => {
                let mut out = vec![false; told.len()];
                for &at in positions.iter().flatten() {
                    *out.get_mut(at).ok_or_else(|| {
                        Error::parameter("categorical_features", format!("positions below {}", told.len()), at)
                    })? = true;
                }
                Ok(out)
            }
        }
    }

    /// Which columns may meet on a path.
    pub(super) fn interactions(&self, width: usize) -> Result<Interactions> {
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

    /// What early stopping watches; the loss where there is none.
    pub(super) fn metrics(&self, classes: Option<usize>) -> Result<Vec<Metric>> {
        let names = match &self.scoring {
            Scoring::One(Some(name)) if name == "loss" => return Ok(Vec::new()),
            Scoring::One(None) => return Ok(vec![if classes.is_some() { Metric::Accuracy } else { Metric::R2 }]),
            Scoring::One(Some(name)) => std::slice::from_ref(name),
            Scoring::Several(names) => names,
        };
        if names.is_empty() {
            return Err(Error::parameter("scoring", "a score or a list with at least one", "[]"));
        }
        let allowed = Metric::NAMES[usize::from(classes.is_none())];
        let one = |name: &String| {
            if let Some(number) = name.strip_prefix(OUTSIDE).and_then(|n| n.parse().ok()) {
                return Ok(Metric::Outside(number));
            }
            let all: Vec<&str> = ["loss"].iter().chain(allowed).copied().collect();
            parameter::one_of("scoring", name, &all)?;
            let metric = Metric::named(name).unwrap_or(Metric::Loss);
            if metric == Metric::RocAuc && classes.is_some_and(|c| c > 2) {
                return Err(Error::parameter("scoring", "another score: 'roc_auc' is for two classes", "'roc_auc'"));
            }
            Ok(metric)
        };
        names.iter().map(one).collect()
    }

    /// How rows are chosen, and earlier trees left out.
    pub(super) fn sampling(&self) -> Result<(sampling::Rows, Option<sampling::Dropout>)> {
        parameter::one_of("boosting", &self.boosting, &["gbdt", "dart"])?;
        parameter::one_of("data_sample_strategy", &self.data_sample_strategy, &["bagging", "goss"])?;
        let rows = if self.data_sample_strategy == "goss" {
            let (top, other) = (self.top_rate, self.other_rate);
            if !(top > 0.0 && other > 0.0 && top + other <= 1.0) {
                return Err(Error::parameter(
                    "top_rate",
                    "above 0, as other_rate, and with it at most 1",
                    format!("{top} with other_rate={other}"),
                ));
            }
            if self.subsample < 1.0 {
                return Err(Error::parameter("subsample", "1.0 with data_sample_strategy='goss'", self.subsample));
            }
            sampling::Rows::Largest { top, other }
        } else {
            sampling::Rows::Any
        };
        parameter::within("drop_rate", self.drop_rate, 0.0, 1.0)?;
        parameter::within("skip_drop", self.skip_drop, 0.0, 1.0)?;
        let dropout = sampling::Dropout { rate: self.drop_rate, most: self.max_drop, skip: self.skip_drop };
        Ok((rows, (self.boosting == "dart").then_some(dropout)))
    }

    pub(super) fn stops_early(&self, rows: usize) -> Result<bool> {
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
}
