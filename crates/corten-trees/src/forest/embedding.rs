//! Leaves of trees with random splits as indicator columns (Moosmann, Triggs & Jurie, NIPS 2006).

use std::any::Any;

use corten_core::random::Stream;
use corten_core::{Error, Result};
use corten_model::estimator::{Attribute, Estimator, FitInput, Fitted, Target};
use corten_model::ops::{CheckFinite, OneHot, Tree, Trees as TreesOp, TreesSpec};
use corten_model::{Builder, Method, Output, Slot};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::estimator::{self, Forest};
use super::fitted::Grove;
use super::parameters::Growth;
use super::tree::GrownTree;
use crate::source::Source;

/// Tells the stream of targets apart from others.
const TARGETS: u64 = 0x0065_6d62_6564;

/// A forest of trees grown to noise; parameters as scikit-learn's estimator of this name.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct RandomTreesEmbedding {
    n_estimators: usize,
    max_depth: Option<usize>,
    min_samples_split: Value,
    min_samples_leaf: Value,
    min_weight_fraction_leaf: f64,
    max_leaf_nodes: Option<usize>,
    min_impurity_decrease: f64,
    random_state: Option<u64>,
    warm_start: bool,
}

impl Default for RandomTreesEmbedding {
    fn default() -> Self {
        Self {
            n_estimators: 100,
            max_depth: Some(5),
            min_samples_split: 2.into(),
            min_samples_leaf: 1.into(),
            min_weight_fraction_leaf: 0.0,
            max_leaf_nodes: None,
            min_impurity_decrease: 0.0,
            random_state: None,
            warm_start: false,
        }
    }
}

impl Estimator for RandomTreesEmbedding {
    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Fitted>> {
        corten_core::parameter::at_least("n_estimators", self.n_estimators as u64, 1)?;
        let source = Source::new(input.x)?;
        for at in 0..source.width() {
            let column = source.column(at);
            if column.to_f64()?.iter().any(|x| x.is_nan()) {
                return Err(Error::column(&column.name, "Input X contains NaN."));
            }
        }
        let seed = self.random_state.unwrap_or(0);
        let mut stream = Stream::new(seed, TARGETS);
        let values: Vec<f64> = (0..input.x.rows()).map(|_| stream.uniform()).collect();
        let growth = Growth {
            criterion: "squared_error".into(),
            max_depth: self.max_depth,
            min_samples_split: self.min_samples_split.clone(),
            min_samples_leaf: self.min_samples_leaf.clone(),
            min_weight_fraction_leaf: self.min_weight_fraction_leaf,
            max_features: 1.into(),
            max_leaf_nodes: self.max_leaf_nodes,
            min_impurity_decrease: self.min_impurity_decrease,
            random_state: Some(seed),
            ..Growth::default()
        };
        let forest = Forest {
            growth: &growth,
            random: true,
            trees: self.n_estimators,
            draws: None,
            oob: false,
            warm: self.warm_start,
            balanced: false,
            single: false,
        };
        let previous = input.previous.and_then(|p| p.as_any().downcast_ref::<Embedding>());
        let input = FitInput {
            x: input.x,
            y: Target::Numbers { values: values.into(), outputs: 1, flat: true },
            sample_weight: input.sample_weight,
            previous: previous.map(|e| e.grove.as_ref()),
            partial: false,
            extras: input.extras,
            context: input.context,
        };
        Ok(Box::new(Embedding { grove: estimator::fit(&forest, &input)? }))
    }
}

/// A forest that says in which leaf of each tree a row is.
struct Embedding {
    grove: Box<dyn Fitted>,
}

impl Embedding {
    fn trees(&self) -> &[GrownTree] {
        self.grove.as_any().downcast_ref::<Grove>().map_or(&[], |g| &g.trees)
    }
}

impl Fitted for Embedding {
    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        self.grove.attributes().into_iter().filter(|(name, _)| *name == "feature_importances_").collect()
    }

    fn lower(&self, builder: &mut Builder, inputs: &[Slot], names: &[String]) -> Result<Vec<Output>> {
        let checked = builder.add(CheckFinite { allow_nan: false, names: names.to_vec() }, inputs)?;
        let trees = self.trees();
        let widths: Vec<u32> = trees.iter().map(|t| t.leaves() as u32).collect();
        // A leaf's value is its place among the leaves of its tree.
        let tree = |(i, tree): (usize, &GrownTree)| {
            let mut place = 0.0;
            let values = (0..tree.nodes.len()).map(|at| {
                place += f64::from(u8::from(tree.is_leaf(at)));
                place - 1.0
            });
            Tree { values: values.collect(), output: Some(i as u32), ..tree.lowered() }
        };
        let spec = TreesSpec {
            trees: trees.iter().enumerate().map(tree).collect(),
            ..TreesSpec::new(inputs.len() as u32, trees.len() as u32)
        };
        let leaves = builder.add(TreesOp::build(spec)?, &checked)?;
        let name = |(i, tree): (usize, &GrownTree)| {
            let leaves: Vec<usize> = (0..tree.nodes.len()).filter(|&at| tree.is_leaf(at)).collect();
            leaves.into_iter().map(move |at| format!("randomtreesembedding_{i}_{at}"))
        };
        let names = trees.iter().enumerate().flat_map(name).collect();
        let columns = builder.add(OneHot { widths }, &leaves)?;
        if columns.is_empty() {
            return Err(Error::Internal("trees without leaves".into()));
        }
        Ok(vec![Output::new(Method::Transform, columns, names)])
    }

    fn report(&self) -> Value {
        let mut report = self.grove.report();
        report["out_of_bag_score"] = json!(null);
        report
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn members(&self) -> Vec<Box<dyn Fitted>> {
        self.grove.members()
    }
}
