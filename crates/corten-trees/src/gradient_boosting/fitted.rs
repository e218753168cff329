//! Fitted stages and their lowering.

use std::any::Any;
use std::sync::Arc;

use corten_core::Result;
use corten_model::estimator::{Attribute, Fitted};
use corten_model::ops::{CheckFinite, Decide, DecideKind, Linear, Link, LinkKind, Tree, Trees, TreesSpec};
use corten_model::{Builder, Labels, Method, Output, Slot};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::loss::Loss;
use super::stages::Stages;
use super::start::Start;
use crate::forest::fitted::Grove;
use crate::forest::tree::{GrownTree, Summary};

/// What was fitted.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Boosted {
    pub(crate) loss: Loss,
    pub(crate) labels: Option<Labels>,
    pub(crate) features: usize,
    pub(crate) max_features: usize,
    pub(crate) rate: f64,
    /// What the scores start from.
    #[serde(default)]
    pub(crate) start: Option<Start>,
    pub(crate) stages: Stages,
    pub(crate) seconds: f64,
}

impl Boosted {
    fn trees(&self) -> impl Iterator<Item = &GrownTree> {
        self.stages.trees.iter().flatten()
    }

    /// Each column's share of what all trees lower the mean impurity by.
    fn importances(&self) -> Vec<f64> {
        let mut sum = vec![0.0; self.features];
        for tree in self.trees() {
            let (gains, _) = tree.gains(self.features);
            sum.iter_mut().zip(gains).for_each(|(s, g)| *s += g / tree.nodes[0].weight);
        }
        let total: f64 = sum.iter().sum();
        if total > 0.0 {
            sum.iter_mut().for_each(|x| *x /= total);
        }
        sum
    }
}

impl Fitted for Boosted {
    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        let floats = |v: &[f64]| Attribute::Floats { shape: vec![v.len()], values: v.to_vec() };
        let mut out = vec![
            ("n_estimators_", Attribute::Int(self.stages.trees.len() as i64)),
            ("n_trees_per_iteration_", Attribute::Int(self.loss.outputs() as i64)),
            ("max_features_", Attribute::Int(self.max_features as i64)),
            ("train_score_", floats(&self.stages.losses)),
            ("feature_importances_", floats(&self.importances())),
            ("_start", floats(&self.stages.start)),
        ];
        if let Some(&last) = self.stages.out_of_bag.last() {
            out.push(("oob_improvement_", floats(&self.stages.improvements)));
            out.push(("oob_scores_", floats(&self.stages.out_of_bag)));
            out.push(("oob_score_", Attribute::Float(last)));
        }
        if let Some(labels) = &self.labels {
            out.push(("n_classes_", Attribute::Int(labels.len() as i64)));
        }
        out
    }

    fn lower(&self, builder: &mut Builder, inputs: &[Slot], names: &[String]) -> Result<Vec<Output>> {
        let checked = builder.add(CheckFinite { allow_nan: false, names: names.to_vec() }, inputs)?;
        let outputs = self.loss.outputs();
        let tree = |(i, tree): (usize, &GrownTree)| Tree {
            output: Some((i % outputs) as u32),
            values: tree.values.iter().map(|v| self.rate * v).collect(),
            ..tree.lowered()
        };
        let trees = self.trees().enumerate().map(tree).collect();
        let base = self.stages.start.clone();
        let spec = TreesSpec { base, trees, ..TreesSpec::new(self.features as u32, outputs as u32) };
        let mut scores = builder.add(Trees::build(spec)?, &checked)?;
        if let Some(start) = &self.start {
            for (score, from) in scores.iter_mut().zip(start.scores(builder, inputs, &self.loss)?) {
                let sum = Linear { outputs: 1, weights: vec![1.0, 1.0], intercept: vec![0.0] };
                *score = builder.add(sum, &[from, *score])?[0];
            }
        }
        let Some(labels) = self.labels.clone() else {
            return Ok(vec![Output::new(Method::Predict, scores, vec!["prediction".into()])]);
        };
        if outputs > 1 {
            let probabilities = builder.add(Link { kind: LinkKind::Softmax }, &scores)?;
            let class = builder.add(Decide { kind: DecideKind::ArgMax }, &scores)?;
            let names = labels.names();
            return Ok(vec![
                Output::of_class(class[0], labels.clone()),
                Output::of_probabilities(probabilities, labels),
                Output::new(Method::DecisionFunction, scores, names),
            ]);
        }
        let linked = match self.loss {
            // The exponential loss finds half of the log odds.
            Loss::Exponential => {
                builder.add(Linear { outputs: 1, weights: vec![2.0], intercept: vec![0.0] }, &scores)?
            }
            _ => scores.clone(),
        };
        let probabilities = builder.add(Link { kind: LinkKind::Sigmoid }, &linked)?;
        let class = builder.add(Decide { kind: DecideKind::Threshold(0.0) }, &scores)?;
        Ok(vec![
            Output::of_class(class[0], labels.clone()),
            Output::of_probabilities(probabilities, labels),
            Output::new(Method::DecisionFunction, scores, vec!["decision".into()]),
        ])
    }

    fn report(&self) -> Value {
        json!({
            "stages": self.stages.trees.len(),
            "trees": self.trees().count(),
            "leaves": self.trees().map(GrownTree::leaves).sum::<usize>(),
            "train_loss": self.stages.losses,
            "seconds": self.seconds,
        })
    }

    fn state(&self) -> Option<Vec<u8>> {
        self.write()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn members(&self) -> Vec<Box<dyn Fitted>> {
        let member = |tree: &GrownTree| -> Box<dyn Fitted> {
            let Summary { importances, depth } = tree.summary(self.features);
            Box::new(Grove {
                labels: None,
                flat: true,
                outputs: 1,
                features: self.features,
                max_features: self.max_features,
                single: true,
                trees: Arc::new(vec![tree.clone()]),
                depth,
                added: 1,
                importances,
                oob: None,
                seconds: 0.0,
            })
        };
        self.trees().map(member).collect()
    }
}
