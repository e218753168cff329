//! The parameters of single trees and forests, by scikit-learn's names.

use corten_core::{Error, Result, parameter};
use corten_model::estimator::{Estimator, FitInput, Fitted};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::estimator::{self, Forest};
use super::grower::Rules;
use super::task::Task;

/// How trees grow.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Growth {
    pub(crate) criterion: String,
    pub(crate) max_depth: Option<usize>,
    pub(crate) min_samples_split: Value,
    pub(crate) min_samples_leaf: Value,
    pub(crate) min_weight_fraction_leaf: f64,
    pub(crate) max_features: Value,
    pub(crate) max_leaf_nodes: Option<usize>,
    pub(crate) min_impurity_decrease: f64,
    pub(crate) ccp_alpha: f64,
    pub(crate) monotonic_cst: Option<Vec<i64>>,
    pub(crate) random_state: Option<u64>,
}

impl Default for Growth {
    fn default() -> Self {
        Self {
            criterion: String::new(),
            max_depth: None,
            min_samples_split: 2.into(),
            min_samples_leaf: 1.into(),
            min_weight_fraction_leaf: 0.0,
            max_features: Value::Null,
            max_leaf_nodes: None,
            min_impurity_decrease: 0.0,
            ccp_alpha: 0.0,
            monotonic_cst: None,
            random_state: None,
        }
    }
}

/// A number of rows: as it is, or the share of `rows` rounded up.
fn count(name: &str, value: &Value, least: u64, below_one: bool, rows: usize) -> Result<usize> {
    if let Some(n) = value.as_u64()
        && n >= least
        && value.is_u64()
    {
        return Ok(usize::try_from(n).unwrap_or(usize::MAX));
    }
    match value.as_f64().filter(|_| value.is_f64()) {
        Some(share) if share > 0.0 && (share < 1.0 || (share == 1.0 && !below_one)) => {
            Ok((share * rows as f64).ceil() as usize)
        }
        _ => {
            let end = if below_one { ')' } else { ']' };
            Err(Error::parameter(
                name,
                format!("an int in the range [{least}, inf) or a float in the range (0.0, 1.0{end}"),
                value,
            ))
        }
    }
}

impl Growth {
    /// The rules for a table; `weight` is that of all rows.
    pub(crate) fn rules(&self, random: bool, rows: usize, width: usize, weight: f64, task: &Task<'_>) -> Result<Rules> {
        parameter::at_least("max_depth", self.max_depth.unwrap_or(1) as u64, 1)?;
        parameter::at_least("max_leaf_nodes", self.max_leaf_nodes.unwrap_or(2) as u64, 2)?;
        parameter::within("min_weight_fraction_leaf", self.min_weight_fraction_leaf, 0.0, 0.5)?;
        parameter::within("min_impurity_decrease", self.min_impurity_decrease, 0.0, f64::INFINITY)?;
        parameter::within("ccp_alpha", self.ccp_alpha, 0.0, f64::INFINITY)?;
        let min_samples_leaf = count("min_samples_leaf", &self.min_samples_leaf, 1, true, rows)?;
        let min_samples_split = count("min_samples_split", &self.min_samples_split, 2, false, rows)?.max(2);
        Ok(Rules {
            random,
            max_depth: self.max_depth.unwrap_or(usize::MAX),
            min_samples_split: min_samples_split.max(min_samples_leaf.saturating_mul(2)),
            min_samples_leaf,
            min_weight_leaf: self.min_weight_fraction_leaf * weight,
            max_features: self.max_features(width)?,
            max_leaf_nodes: self.max_leaf_nodes,
            min_impurity_decrease: self.min_impurity_decrease,
            monotonic: self.monotonic(width, task)?,
            bounds: if matches!(task, Task::Classes { .. }) { (0.0, 1.0) } else { (f64::NEG_INFINITY, f64::INFINITY) },
        })
    }

    fn max_features(&self, width: usize) -> Result<usize> {
        let at_least_one = |x: f64| (x as usize).max(1);
        let given = &self.max_features;
        match (given, given.as_str(), given.as_f64()) {
            (Value::Null, ..) => Ok(width),
            (_, Some("sqrt"), _) => Ok(at_least_one((width as f64).sqrt())),
            (_, Some("log2"), _) => Ok(at_least_one((width as f64).log2())),
            (_, _, Some(n)) if given.is_u64() && n >= 1.0 => Ok(n as usize),
            (_, _, Some(share)) if given.is_f64() && share > 0.0 && share <= 1.0 => {
                Ok(at_least_one(share * width as f64))
            }
            _ => Err(Error::parameter(
                "max_features",
                "an int in the range [1, inf), a float in the range (0.0, 1.0], a str among {'sqrt', 'log2'} or None",
                given,
            )),
        }
    }

    fn monotonic(&self, width: usize, task: &Task<'_>) -> Result<Vec<i8>> {
        let Some(signs) = &self.monotonic_cst else { return Ok(Vec::new()) };
        if signs.len() != width {
            return Err(Error::value(format!(
                "monotonic_cst has shape {} but the input data X has {width} features.",
                signs.len()
            )));
        }
        if let Some(bad) = signs.iter().find(|s| !(-1..=1).contains(*s)) {
            return Err(Error::parameter("monotonic_cst", "None or an array-like of -1, 0 or 1", bad));
        }
        match task {
            Task::Classes { labels, .. } if labels.len() > 2 => {
                Err(Error::value("Monotonicity constraints are not supported with multiclass classification"))
            }
            Task::Numbers { outputs, .. } if *outputs > 1 => {
                Err(Error::value("Monotonicity constraints are not supported with multiple outputs."))
            }
            // A node of one class has no second class to bound.
            Task::Classes { labels, .. } if labels.len() < 2 => Ok(Vec::new()),
            _ => Ok(signs.iter().map(|&s| s as i8).collect()),
        }
    }
}

/// What a forest takes beside its trees' parameters.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Trees {
    n_estimators: usize,
    bootstrap: bool,
    oob_score: bool,
    max_samples: Value,
    warm_start: bool,
}

impl Default for Trees {
    fn default() -> Self {
        Self { n_estimators: 100, bootstrap: true, oob_score: false, max_samples: Value::Null, warm_start: false }
    }
}

impl Trees {
    /// Rows drawn a tree; `weight` is the sum of the weights of `rows` rows.
    fn draws(&self, rows: usize, weight: f64) -> Result<usize> {
        let given = &self.max_samples;
        let draws = match given.as_f64() {
            None if given.is_null() => rows,
            Some(n) if given.is_u64() && n >= 1.0 => n as usize,
            Some(share) if given.is_f64() && share > 0.0 => ((share * weight) as usize).max(1),
            _ => {
                let allowed = "None, a float in the range (0.0, inf) or an int in the range [1, inf)";
                return Err(Error::parameter("max_samples", allowed, given));
            }
        };
        if draws > u32::MAX as usize {
            return Err(Error::parameter("max_samples", format!("at most {} draws", u32::MAX), draws));
        }
        Ok(draws)
    }

    fn forest(
        &self,
        growth: &Growth,
        random: bool,
        class_weight: Option<&str>,
        input: &FitInput<'_>,
    ) -> Result<Box<dyn Fitted>> {
        parameter::at_least("n_estimators", self.n_estimators as u64, 1)?;
        if !self.bootstrap && !self.max_samples.is_null() {
            return Err(Error::value(
                "`max_samples` cannot be set if `bootstrap=False`. Either switch to `bootstrap=True` or set \
                 `max_samples=None`.",
            ));
        }
        if !self.bootstrap && self.oob_score {
            return Err(Error::value("Out of bag estimation only available if bootstrap=True"));
        }
        let rows = input.x.rows();
        let weight = input.sample_weight.map_or(rows as f64, |w| w.iter().sum());
        estimator::fit(
            &Forest {
                growth,
                random,
                trees: self.n_estimators,
                draws: self.bootstrap.then(|| self.draws(rows, weight)).transpose()?,
                oob: self.oob_score,
                warm: self.warm_start,
                balanced: self.bootstrap && class_weight == Some("balanced_subsample"),
                single: false,
            },
            input,
        )
    }
}

fn single(growth: &Growth, splitter: &str, input: &FitInput<'_>) -> Result<Box<dyn Fitted>> {
    parameter::one_of("splitter", splitter, &["best", "random"])?;
    let random = splitter == "random";
    estimator::fit(
        &Forest { growth, random, trees: 1, draws: None, oob: false, warm: false, balanced: false, single: true },
        input,
    )
}

macro_rules! trees {
    ($($(#[$doc:meta])* $name:ident: $splitter:literal, $criterion:literal, $features:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Serialize, Deserialize)]
        #[serde(default)]
        pub struct $name {
            splitter: String,
            #[serde(flatten)]
            growth: Growth,
        }

        impl Default for $name {
            fn default() -> Self {
                let growth = Growth { criterion: $criterion.into(), max_features: $features, ..Growth::default() };
                Self { splitter: $splitter.into(), growth }
            }
        }

        impl Estimator for $name {
            fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Fitted>> {
                single(&self.growth, &self.splitter, input)
            }
        }
    )*};
}

macro_rules! forests {
    ($($(#[$doc:meta])* $name:ident $({ $class_weight:ident })?: $random:literal, $criterion:literal, $features:expr;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Serialize, Deserialize)]
        #[serde(default)]
        pub struct $name {
            #[serde(flatten)]
            trees: Trees,
            #[serde(flatten)]
            growth: Growth,
            $(
                /// `"balanced_subsample"`, or `None` where weights of classes are in the weights of rows already.
                $class_weight: Option<String>,
            )?
        }

        impl Default for $name {
            fn default() -> Self {
                let growth = Growth { criterion: $criterion.into(), max_features: $features, ..Growth::default() };
                let trees = Trees { bootstrap: !$random, ..Trees::default() };
                Self { trees, growth, $($class_weight: None)? }
            }
        }

        impl Estimator for $name {
            fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Fitted>> {
                let class_weight: Option<&str> = None $(.or(self.$class_weight.as_deref()))?;
                self.trees.forest(&self.growth, $random, class_weight, input)
            }
        }
    )*};
}

trees! {
    /// A classification tree; parameters as scikit-learn's estimator of this name.
    DecisionTreeClassifier: "best", "gini", Value::Null;
    /// A regression tree; parameters as scikit-learn's estimator of this name.
    DecisionTreeRegressor: "best", "squared_error", Value::Null;
    /// A classification tree with drawn thresholds; parameters as scikit-learn's estimator of this name.
    ExtraTreeClassifier: "random", "gini", "sqrt".into();
    /// A regression tree with drawn thresholds; parameters as scikit-learn's estimator of this name.
    ExtraTreeRegressor: "random", "squared_error", 1.0.into();
}

forests! {
    /// A forest of classification trees; parameters as scikit-learn's estimator of this name.
    RandomForestClassifier { class_weight }: false, "gini", "sqrt".into();
    /// A forest of regression trees; parameters as scikit-learn's estimator of this name.
    RandomForestRegressor: false, "squared_error", 1.0.into();
    /// A forest of classification trees with drawn thresholds; parameters as scikit-learn's estimator of this name.
    ExtraTreesClassifier { class_weight }: true, "gini", "sqrt".into();
    /// A forest of regression trees with drawn thresholds; parameters as scikit-learn's estimator of this name.
    ExtraTreesRegressor: true, "squared_error", 1.0.into();
}
