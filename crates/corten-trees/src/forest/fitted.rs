//! Fitted trees and their lowering.

use std::any::Any;
use std::borrow::Cow;
use std::sync::Arc;

use corten_core::Result;
use corten_model::estimator::{Attribute, Fitted};
use corten_model::ops::{CheckFinite, Decide, DecideKind, Grown, Tree, TreeSource, Trees, TreesSpec};
use corten_model::{Builder, Labels, Method, Output, Slot};
use serde_json::{Value, json};

use super::task::Task;
use super::tree::{GrownTree, Summary};

/// What the trees that didn't see a row say of it.
#[derive(Clone, Debug)]
pub(crate) struct OutOfBag {
    /// `width` numbers a row.
    answers: Vec<f64>,
    width: usize,
    score: f64,
    /// Rows that every tree saw.
    unscored: usize,
}

impl OutOfBag {
    /// Averages over trees; each has a list of (row, leaf) for the rows that it didn't see.
    pub(crate) fn of(task: &Task<'_>, trees: &[GrownTree], unseen: &[Vec<(u32, u32)>]) -> Self {
        let (rows, width) = match task {
            Task::Classes { codes, labels } => (codes.len(), labels.len()),
            Task::Numbers { values, outputs, .. } => (values.len() / outputs, *outputs),
        };
        let mut answers = vec![0.0; rows * width];
        let mut counts = vec![0u32; rows];
        for (tree, leaves) in trees.iter().zip(unseen) {
            for &(row, leaf) in leaves {
                counts[row as usize] += 1;
                let sums = &mut answers[row as usize * width..][..width];
                sums.iter_mut().zip(tree.value(leaf as usize)).for_each(|(s, v)| *s += v);
            }
        }
        for (sums, &count) in answers.chunks_mut(width).zip(&counts) {
            sums.iter_mut().for_each(|s| *s /= f64::from(count.max(1)));
        }
        let score = match task {
            Task::Classes { codes, .. } => {
                let best = |row: &[f64]| (0..width).fold(0, |b, k| if row[k] > row[b] { k } else { b });
                let right = answers.chunks(width).zip(*codes).filter(|(row, c)| best(row) == **c as usize).count();
                right as f64 / rows as f64
            }
            Task::Numbers { values, center, .. } => {
                // The mean over outputs of the coefficient of determination.
                let one = |o: usize| {
                    let y = |r: usize| values[r * width + o] + center[o];
                    let mean = (0..rows).map(y).sum::<f64>() / rows as f64;
                    let error: f64 = (0..rows).map(|r| (y(r) - answers[r * width + o]).powi(2)).sum();
                    let spread: f64 = (0..rows).map(|r| (y(r) - mean).powi(2)).sum();
                    if spread > 0.0 { 1.0 - error / spread } else { f64::from(u8::from(error == 0.0)) }
                };
                (0..width).map(one).sum::<f64>() / width as f64
            }
        };
        let unscored = counts.iter().filter(|c| **c == 0).count();
        Self { answers, width, score, unscored }
    }
}

/// One tree or many.
#[derive(Clone, Debug)]
pub(crate) struct Grove {
    pub(crate) labels: Option<Labels>,
    /// Whether the target was a plain list.
    pub(crate) flat: bool,
    pub(crate) outputs: usize,
    pub(crate) features: usize,
    pub(crate) max_features: usize,
    pub(crate) single: bool,
    /// Shared with the model, which codes them when it is first run.
    pub(crate) trees: Arc<Vec<GrownTree>>,
    pub(crate) depth: usize,
    /// Trees that this fit grew.
    pub(crate) added: usize,
    pub(crate) importances: Vec<f64>,
    pub(crate) oob: Option<OutOfBag>,
    pub(crate) seconds: f64,
}

impl Grove {
    /// The nodes of a tree by scikit-learn's names of arrays.
    fn tree(&self) -> Attribute {
        let tree = &self.trees[0];
        let leaf = |at: usize| tree.is_leaf(at);
        let ints = |f: &dyn Fn(usize) -> i64| Attribute::Ints {
            shape: vec![tree.nodes.len()],
            values: (0..tree.nodes.len()).map(f).collect(),
        };
        let floats = |f: &dyn Fn(usize) -> f64| Attribute::Floats {
            shape: vec![tree.nodes.len()],
            values: (0..tree.nodes.len()).map(f).collect(),
        };
        let node = |at: usize| &tree.nodes[at];
        let shape = match &self.labels {
            Some(labels) => vec![tree.nodes.len(), 1, labels.len()],
            None => vec![tree.nodes.len(), self.outputs, 1],
        };
        Attribute::List(vec![
            ints(&|at| if leaf(at) { -1 } else { i64::from(node(at).left) }),
            ints(&|at| if leaf(at) { -1 } else { i64::from(node(at).right) }),
            ints(&|at| if leaf(at) { -2 } else { i64::from(node(at).feature) }),
            floats(&|at| if leaf(at) { -2.0 } else { node(at).threshold }),
            ints(&|at| i64::from(node(at).missing_left)),
            floats(&|at| node(at).impurity),
            ints(&|at| i64::from(node(at).samples)),
            floats(&|at| node(at).weight),
            Attribute::Floats { shape, values: tree.values.clone() },
        ])
    }
}

/// Trees whose values are averaged.
struct Averaged {
    features: usize,
    trees: Arc<Vec<GrownTree>>,
}

impl TreeSource for Averaged {
    fn count(&self) -> usize {
        self.trees.len()
    }

    fn nodes(&self, at: usize) -> usize {
        self.trees[at].nodes.len()
    }

    fn tree(&self, at: usize) -> Cow<'_, Tree> {
        Cow::Owned(self.trees[at].lowered())
    }
}

impl Grown for Averaged {
    fn spec(&self) -> TreesSpec {
        TreesSpec { average: true, ..TreesSpec::new(self.features as u32, self.trees[0].width as u32) }
    }

    fn score(&self, rows: &[f64], out: &mut [f64], stride: usize) {
        let count = rows.len() / self.features;
        let each = |out: &mut [f64], f: &dyn Fn(&mut f64)| {
            out.chunks_mut(stride).take(self.trees[0].width).for_each(|out| out[..count].iter_mut().for_each(f));
        };
        each(out, &|sum| *sum = 0.0);
        self.trees.iter().for_each(|tree| tree.add_leaves(rows, self.features, out, stride));
        let trees = self.trees.len() as f64;
        each(out, &|sum| *sum /= trees);
    }
}

impl Fitted for Grove {
    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        let floats = |v: &[f64]| Attribute::Floats { shape: vec![v.len()], values: v.to_vec() };
        let mut out = vec![
            ("feature_importances_", floats(&self.importances)),
            ("n_outputs_", Attribute::Int(self.outputs as i64)),
        ];
        if let Some(labels) = &self.labels {
            out.push(("n_classes_", Attribute::Int(labels.len() as i64)));
        }
        if self.single {
            out.push(("max_features_", Attribute::Int(self.max_features as i64)));
        }
        if let Some(oob) = &self.oob {
            let rows = oob.answers.len() / oob.width;
            let shape = if self.labels.is_none() && oob.width == 1 { vec![rows] } else { vec![rows, oob.width] };
            let name = if self.labels.is_some() { "oob_decision_function_" } else { "oob_prediction_" };
            out.push((name, Attribute::Floats { shape, values: oob.answers.clone() }));
            out.push(("oob_score_", Attribute::Float(oob.score)));
        }
        out
    }

    fn nodes(&self) -> Option<Attribute> {
        self.single.then(|| self.tree())
    }

    fn lower(&self, builder: &mut Builder, inputs: &[Slot], names: &[String]) -> Result<Vec<Output>> {
        let checked = builder.add(CheckFinite { allow_nan: true, names: names.to_vec() }, inputs)?;
        let width = self.trees[0].width;
        let (features, outputs) = (self.features as u32, width as u32);
        let nodes = self.trees.iter().map(|t| t.nodes.len()).sum();
        let averaged = Averaged { features: self.features, trees: Arc::clone(&self.trees) };
        let trees = Trees::later(features, outputs, self.trees.len(), nodes, averaged)?;
        let answers = builder.add(trees, &checked)?;
        let Some(labels) = self.labels.clone() else {
            let names = if self.flat {
                vec!["prediction".into()]
            } else {
                (0..width).map(|o| format!("prediction_{o}")).collect()
            };
            return Ok(vec![Output::new(Method::Predict, answers, names)]);
        };
        let class = builder.add(Decide { kind: DecideKind::ArgMax }, &answers)?;
        Ok(vec![Output::of_class(class[0], labels.clone()), Output::of_probabilities(answers, labels)])
    }

    fn report(&self) -> Value {
        json!({
            "trees": self.trees.len(),
            "added": self.added,
            "leaves": self.trees.iter().map(GrownTree::leaves).sum::<usize>(),
            "depth": self.depth,
            "out_of_bag_score": self.oob.as_ref().map(|o| o.score),
            "rows_without_out_of_bag_score": self.oob.as_ref().map(|o| o.unscored),
            "seconds": self.seconds,
        })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }

    fn members(&self) -> Vec<Box<dyn Fitted>> {
        let member = |tree: &GrownTree| -> Box<dyn Fitted> {
            let Summary { importances, depth } = tree.summary(self.features);
            let (labels, trees) = (self.labels.clone(), Arc::new(vec![tree.clone()]));
            Box::new(Self {
                labels,
                single: true,
                trees,
                depth,
                added: 1,
                importances,
                oob: None,
                seconds: 0.0,
                ..*self
            })
        };
        self.trees.iter().map(member).collect()
    }
}
