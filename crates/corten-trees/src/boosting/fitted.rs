//! A trained boosting model and its lowering.

use std::any::Any;
use std::borrow::Cow;

use corten_core::{Error, Kind, Result};
use corten_model::estimator::{Attribute, Fitted};
use corten_model::ops::{
    Category, CategoryColumn, CategoryValues, Decide, DecideKind, LeafModel, Link, LinkKind, Rule, Tree, TreeNode,
    TreeSource, Trees, TreesSpec,
};
use corten_model::{Builder, Labels, Method, Output, Slot};
use serde_json::{Value, json};

use super::binning::{Bins, Features};
use super::grower::{Grown, GrownTree, members};
use super::leaf_models::LinearLeaf;
use super::objective::Objective;
use super::split::Left;
use super::train::Trained;

/// What was learnt, over bins.
#[derive(Clone, Debug)]
pub(crate) struct Boosted {
    pub(crate) objective: Objective,
    pub(crate) labels: Option<Labels>,
    pub(crate) features: Features,
    pub(crate) baseline: Vec<f64>,
    /// Gain and number of splits by column.
    pub(crate) gains: Vec<f64>,
    pub(crate) splits: Vec<i64>,
    pub(crate) iterations: usize,
    pub(crate) early_stopping: bool,
    /// The trees over bins, to go on from.
    pub(crate) trained: Trained,
    pub(crate) seconds: f64,
}

/// Trees over bins as trees over raw values.
struct Raw<'a> {
    features: &'a Features,
    /// Where each feature lies among the inputs.
    places: Vec<u32>,
    /// Output and tree.
    trees: Vec<(u32, &'a GrownTree)>,
}

impl TreeSource for Raw<'_> {
    fn count(&self) -> usize {
        self.trees.len()
    }

    fn nodes(&self, at: usize) -> usize {
        self.trees[at].1.nodes.len()
    }

    fn tree(&self, at: usize) -> Cow<'_, Tree> {
        let (output, tree) = self.trees[at];
        Cow::Owned(raw(tree, self.features, &self.places, output))
    }
}

/// A tree over bins as one over raw values.
fn raw(tree: &GrownTree, features: &Features, places: &[u32], output: u32) -> Tree {
    let cover = tree.rows.iter().map(|&rows| f64::from(rows)).collect();
    let nodes = Vec::with_capacity(tree.nodes.len());
    let values = Vec::with_capacity(tree.nodes.len().div_ceil(2));
    let mut out = Tree { cover, nodes, values, ..Tree::new(Some(output)) };
    for (at, node) in tree.nodes.iter().enumerate() {
        match node {
            Grown::Leaf { value, .. } => {
                if let Some(Some(LinearLeaf { intercept, terms })) = tree.models.get(at) {
                    out.models.push(LeafModel { node: at as u32, intercept: *intercept, terms: terms.clone() });
                }
                out.push_leaf(&[*value]);
            }
            Grown::Split { split, left, right } => {
                let feature = places[split.feature()];
                let (missing_left, left, right) = (split.missing_left, *left, *right);
                let bins = &features.bins[split.feature()];
                let node = match (bins.cuts(), &split.left) {
                    (Some(cuts), Left::UpTo(last)) => {
                        // Past the last cut all values go left, and only missing ones right.
                        let threshold = cuts.get(usize::from(*last)).copied().unwrap_or(f64::INFINITY);
                        TreeNode::Number { feature, threshold, missing_left, zero_missing: false, left, right }
                    }
                    (_, set) => {
                        let first = out.codes.len() as u32;
                        out.codes.extend(members(set).into_iter().filter(|&b| (b as usize) < bins.count()));
                        TreeNode::Category {
                            feature,
                            first,
                            count: out.codes.len() as u32 - first,
                            levels: bins.count() as u32,
                            missing_left,
                            unseen_left: missing_left,
                            left,
                            right,
                        }
                    }
                };
                out.nodes.push(node);
            }
        }
    }
    out
}

impl Boosted {
    /// The trees over bins with their outputs, iteration after iteration.
    fn grown(&self) -> impl Iterator<Item = (u32, &GrownTree)> {
        self.trained.iterations.iter().flat_map(|trees| (0..).zip(trees))
    }

    /// # Errors
    /// [`Error::Value`] when a fit of other columns, classes or another loss is to go on from this one.
    pub(crate) fn continues(&self, objective: &Objective, width: usize, labels: Option<&Labels>) -> Result<()> {
        if self.features.width() != width {
            return Err(Error::value(format!(
                "X has {width} features, but the fit that it goes on from had {}",
                self.features.width()
            )));
        }
        if self.objective != *objective || self.labels.as_ref() != labels {
            return Err(Error::value("a fit goes on with the classes and the loss of the fit before"));
        }
        Ok(())
    }

    /// The inputs as the trees read them: categories become codes.
    fn codes(&self, builder: &mut Builder, inputs: &[Slot], names: &[String]) -> Result<Vec<Slot>> {
        let mut slots = inputs.to_vec();
        let (mut columns, mut chosen) = (Vec::new(), Vec::new());
        let places = self.features.places();
        for (i, (bins, &source)) in self.features.bins.iter().zip(&self.features.sources).enumerate() {
            let (values, codes, unknown) = match bins {
                Bins::Number { .. } => continue,
                Bins::Category { values } => (values, None, -1.0),
                Bins::Coded(coded) => (&coded.values, Some(coded.codes.clone()), f64::NAN),
            };
            columns.push(CategoryColumn {
                name: names[source].clone(),
                values: values.clone(),
                codes,
                missing: Rule::Code(f64::NAN),
                unknown: Rule::Code(unknown),
            });
            chosen.push((places[i] as usize, source));
        }
        // A column of text without a single value has no categories, and takes part in no tree.
        if !columns.is_empty() {
            let read: Vec<Slot> = chosen.iter().map(|&(_, source)| inputs[source]).collect();
            let fits = |(c, s): (&CategoryColumn, &Slot)| {
                matches!(c.values, CategoryValues::Texts(_)) == (s.kind() == Kind::Text)
            };
            debug_assert!(columns.iter().zip(&read).all(fits), "categories are of their column's kind");
            let codes = builder.add(Category::new(columns), &read)?;
            for ((place, _), code) in chosen.into_iter().zip(codes) {
                // Features that a column has besides its first come behind all columns, in order.
                match slots.get_mut(place) {
                    Some(slot) => *slot = code,
                    None => slots.push(code),
                }
            }
        }
        Ok(slots)
    }
}

impl Fitted for Boosted {
    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        let floats = |v: &[f64]| Attribute::Floats { shape: vec![v.len()], values: v.to_vec() };
        // As scikit-learn's scores: higher is better.
        let scores = |v: &[f64]| floats(&v.iter().map(|x| -x).collect::<Vec<_>>());
        let total: f64 = self.gains.iter().sum();
        let share: Vec<f64> = self.gains.iter().map(|g| if total > 0.0 { g / total } else { 0.0 }).collect();
        let pair = |[a, b]: &[Vec<f64>; 2]| Attribute::List(vec![scores(a), scores(b)]);
        let more = self.trained.more.iter().map(pair).collect();
        vec![
            ("n_iter_", Attribute::Int(self.iterations as i64)),
            ("n_trees_per_iteration_", Attribute::Int(self.objective.outputs() as i64)),
            ("do_early_stopping_", Attribute::Bool(self.early_stopping)),
            ("train_score_", scores(&self.trained.train_loss)),
            ("validation_score_", scores(&self.trained.validation_loss)),
            ("feature_importances_", floats(&share)),
            ("_gains", floats(&self.gains)),
            ("_splits", Attribute::Ints { shape: vec![self.splits.len()], values: self.splits.clone() }),
            ("_more_scores", Attribute::List(more)),
            ("_interrupted", Attribute::Bool(self.trained.interrupted)),
            ("_tells_targets", Attribute::Bool(self.features.tell_targets())),
        ]
    }

    fn lower(&self, builder: &mut Builder, inputs: &[Slot], names: &[String]) -> Result<Vec<Output>> {
        let slots = self.codes(builder, inputs, names)?;
        let trees = Raw { features: &self.features, places: self.features.places(), trees: self.grown().collect() };
        let outputs = self.objective.outputs() as u32;
        let spec = TreesSpec { base: self.baseline.clone(), ..TreesSpec::new(slots.len() as u32, outputs) };
        let scores = builder.add(Trees::build_from(&spec, &trees)?, &slots)?;
        let Some(labels) = self.labels.clone() else {
            let Some(kind) = self.objective.link() else {
                let names = match &self.objective {
                    Objective::Quantiles(all) => all.iter().map(|q| format!("quantile_{q}")).collect(),
                    _ => vec!["prediction".into()],
                };
                return Ok(vec![Output::new(Method::Predict, scores, names)]);
            };
            let mut predicted = builder.add(Link { kind }, &scores)?;
            // A sigmoid gives both probabilities.
            predicted.drain(..predicted.len() - 1);
            return Ok(vec![Output::new(Method::Predict, predicted, vec!["prediction".into()])]);
        };
        let (link, decide, score_names) = if self.objective.outputs() == 1 {
            (LinkKind::Sigmoid, DecideKind::Threshold(0.0), vec!["decision".into()])
        } else {
            (LinkKind::Softmax, DecideKind::ArgMax, labels.names())
        };
        let probabilities = builder.add(Link { kind: link }, &scores)?;
        let class = builder.add(Decide { kind: decide }, &scores)?;
        Ok(vec![
            Output::of_class(class[0], labels.clone()),
            Output::of_probabilities(probabilities, labels),
            Output::new(Method::DecisionFunction, scores, score_names),
        ])
    }

    fn report(&self) -> Value {
        json!({
            "iterations": self.iterations,
            "trees": self.grown().count(),
            "leaves": self.grown().map(|(_, tree)| tree.nodes.len().div_ceil(2)).sum::<usize>(),
            "train_loss": self.trained.train_loss,
            "validation_loss": self.trained.validation_loss,
            "seconds": self.seconds,
        })
    }

    fn state(&self) -> Option<Vec<u8>> {
        self.write()
    }

    fn average(&self, rounds: usize, others: &[(&dyn Fitted, usize)]) -> Result<Box<dyn Fitted>> {
        let mut members = vec![(self, rounds)];
        for &(other, rounds) in others {
            let other = other.as_any().downcast_ref::<Self>();
            members.push((other.ok_or_else(|| Error::value("models of several types are not averaged"))?, rounds));
        }
        Ok(Box::new(self.mean(&members)?))
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
