//! A boosted model stage by stage.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use corten_core::{Error, Result};

use crate::graph::{Method, Output, Slot};
use crate::model::Model;
use crate::ops::{Op, Trees, TreesSpec};

impl Model {
    /// Where the sums of a boosted model's trees start, and the trees in groups of `count` in their order: of each group a
    /// model whose `decision_function` is what its trees add. Added up one after the other they are the sums of the model
    /// itself, to the last bit.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a model without trees or with several ensembles of them, and for averages;
    /// [`Error::Value`] where `count` doesn't divide the number of trees.
    pub fn stages(&self, count: usize) -> Result<(Vec<f64>, Vec<Self>)> {
        let mut found = self.graph.nodes.iter().enumerate().filter_map(|(at, node)| match &node.op {
            Op::Trees(trees) => Some((at, trees, node.first)),
            _ => None,
        });
        let (Some((at, trees, first)), None) = (found.next(), found.next()) else {
            return Err(Error::Unsupported("Only a model of one boosted ensemble has stages.".into()));
        };
        let spec = trees.spec();
        if spec.average {
            return Err(Error::Unsupported("The trees of this model are averaged: it has no stages.".into()));
        }
        if count == 0 || !spec.trees.len().is_multiple_of(count) {
            return Err(Error::value(format!("{} trees don't make stages of {count}", spec.trees.len())));
        }
        let columns: Vec<Slot> = (first..).take(spec.base.len()).map(Slot::Number).collect();
        let names = (0..columns.len()).map(|k| format!("{k}")).collect();
        let mut graph = self.graph.clone();
        graph.outputs = vec![Output::new(Method::DecisionFunction, columns, names)];
        let stage = |trees: &[_]| {
            let part = TreesSpec { base: vec![0.0; spec.base.len()], trees: trees.to_vec(), ..spec.clone() };
            let mut graph = graph.clone();
            graph.nodes[at].op = Op::Trees(Trees::build(part)?);
            Ok(Self::of(graph))
        };
        let stages = spec.trees.chunks(count).map(stage).collect::<Result<_>>()?;
        Ok((spec.base.clone(), stages))
    }
}
