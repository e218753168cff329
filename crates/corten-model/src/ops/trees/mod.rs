//! Ensembles of trees.
//!
//! Raw values are compared once with the ensemble's own sorted thresholds and become small codes; trees are walked on
//! codes. `x <= t[j]` is exactly `code(x) <= j` with `code(x)` the number of thresholds below `x`, so every layout of
//! the nodes is exact (the idea of RapidScorer, KDD 2018). A code belongs to a *code column*: one feature with one rule
//! for missing values and at most 65,534 thresholds. Leaves add up in `f64` in the order of the trees.

mod build;
mod walk;

use alloc::format;
use alloc::vec::Vec;

use corten_core::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use build::{Tree, TreeNode, TreesSpec};

use super::{Flow, Operator, Shape, damaged, numbers_only};
use crate::file::{TensorReader, TensorWriter};
use crate::graph::Slot;

/// A node's column is one of categories when this bit is set.
const CATEGORY: u16 = 1 << 15;
/// No code lies above it: a leaf compares with it and stays where it is.
const NEVER: u16 = u16::MAX;
/// Most thresholds of a code column: codes `0..=MAX`, and 65,535 for a missing value that goes right.
const MAX_THRESHOLDS: usize = 65_534;

/// One node: 8 bytes. The right child follows the left one; a leaf's `left` is the leaf itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Node {
    left: u32,
    /// Code column, with [`CATEGORY`] where it holds categories.
    column: u16,
    /// Goes right when the code is above it.
    threshold: u16,
}

/// What a code column reads and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct CodeColumn {
    /// Which input.
    feature: u32,
    rule: ColumnRule,
    /// First threshold, or for categories the number of levels.
    start: u32,
    /// End of the thresholds.
    end: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ColumnRule {
    /// NaN goes left.
    MissingLeft,
    /// NaN goes right.
    MissingRight,
    /// Codes of categories `0..levels`, then "unseen", then "missing".
    Category,
}

/// An ensemble of trees: `n` numbers in, `outputs` numbers out.
#[derive(Clone, Debug, PartialEq)]
pub struct Trees {
    features: u32,
    outputs: u32,
    average: bool,
    base: Vec<f64>,
    columns: Vec<CodeColumn>,
    thresholds: Vec<f64>,
    /// Which categories go left, 32 a word.
    bits: Vec<u32>,
    /// First node of each tree, and the end.
    roots: Vec<u32>,
    nodes: Vec<Node>,
    /// Of a leaf: its place in `leaves`. Of a category node: its first word in `bits`.
    payload: Vec<u32>,
    leaves: Vec<f64>,
    /// The output that a tree's scalar leaves add to; `u32::MAX` where leaves are vectors.
    targets: Vec<u32>,
    /// Steps from the root to the deepest leaf.
    depths: Vec<u32>,
}

const VECTOR: u32 = u32::MAX;

impl Trees {
    /// Number of trees.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Whether there are no trees.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// Checks every index, so that walking needs no checks, and finds the depths.
    fn validate(&mut self) -> Result<()> {
        let bad = |what: &str| Err(Error::format(format!("operator 'trees': {what}")));
        let (nodes, trees) = (self.nodes.len(), self.targets.len());
        if self.outputs == 0 || self.base.len() != self.outputs as usize {
            return bad("as many base scores as outputs are needed");
        }
        if self.roots.len() != trees + 1
            || self.roots.first() != Some(&0)
            || self.roots.last().map(|&r| r as usize) != Some(nodes)
            || self.roots.windows(2).any(|w| w[0] >= w[1])
            || self.payload.len() != nodes
        {
            return bad("its trees don't cover its nodes");
        }
        if self.columns.len() >= CATEGORY as usize {
            return bad("too many code columns");
        }
        for column in &self.columns {
            if column.feature >= self.features {
                return bad("a code column reads a feature that isn't there");
            }
            if column.rule == ColumnRule::Category {
                if column.start as usize > MAX_THRESHOLDS - 2 {
                    return bad("too many categories");
                }
                continue;
            }
            let Some(t) = self.thresholds.get(column.start as usize..column.end as usize) else {
                return bad("a code column's thresholds aren't there");
            };
            if t.len() > MAX_THRESHOLDS || t.iter().any(|x| x.is_nan()) || t.windows(2).any(|w| w[0] >= w[1]) {
                return bad("thresholds are out of order");
            }
        }
        let mut depth: Vec<u32> = alloc::vec![0; nodes];
        self.depths.clear();
        for (tree, &target) in self.targets.iter().enumerate() {
            let (start, end) = (self.roots[tree] as usize, self.roots[tree + 1] as usize);
            let width = if target == VECTOR { self.outputs as usize } else { 1 };
            if target != VECTOR && target >= self.outputs {
                return bad("a tree adds to an output that isn't there");
            }
            let mut deepest = 0;
            for at in start..end {
                let Node { left, column, threshold } = self.nodes[at];
                let left = left as usize;
                if left == at {
                    if column != 0 || threshold != NEVER {
                        return bad("a leaf compares");
                    }
                    let leaf = self.payload[at] as usize;
                    if leaf.checked_add(width).is_none_or(|e| e > self.leaves.len()) {
                        return bad("a leaf's value isn't there");
                    }
                    deepest = deepest.max(depth[at]);
                    continue;
                }
                if left < at || left + 1 >= end {
                    return bad("a child doesn't follow its parent");
                }
                let Some(rule) = self.columns.get((column & !CATEGORY) as usize) else {
                    return bad("a node reads a code column that isn't there");
                };
                if (column & CATEGORY != 0) != (rule.rule == ColumnRule::Category) {
                    return bad("a node and its code column are of different kinds");
                }
                if rule.rule == ColumnRule::Category {
                    let words = (rule.start as usize + 2).div_ceil(32);
                    if (self.payload[at] as usize).checked_add(words).is_none_or(|e| e > self.bits.len()) {
                        return bad("a node's categories aren't there");
                    }
                }
                depth[left] = depth[left].max(depth[at] + 1);
                depth[left + 1] = depth[left + 1].max(depth[at] + 1);
            }
            self.depths.push(deepest);
        }
        Ok(())
    }
}

impl Operator for Trees {
    fn check(&self, inputs: &[Slot]) -> Result<Shape> {
        numbers_only("trees", inputs, Some(self.features as usize))?;
        Ok(Shape::numbers(self.outputs as usize))
    }

    fn write(&self, tensors: &mut TensorWriter) -> Value {
        tensors.f64("base", &self.base);
        tensors.f64("thresholds", &self.thresholds);
        tensors.f64("leaves", &self.leaves);
        tensors.u32("bits", &self.bits);
        tensors.u32("roots", &self.roots);
        tensors.u32("payload", &self.payload);
        tensors.u32("targets", &self.targets);
        tensors.u32("left", &self.nodes.iter().map(|n| n.left).collect::<Vec<_>>());
        tensors.u16("column", &self.nodes.iter().map(|n| n.column).collect::<Vec<_>>());
        tensors.u16("threshold", &self.nodes.iter().map(|n| n.threshold).collect::<Vec<_>>());
        json!({ "features": self.features, "outputs": self.outputs, "average": self.average, "columns": self.columns })
    }

    fn read(value: &Value, tensors: &TensorReader<'_>) -> Result<Self> {
        #[derive(Deserialize)]
        struct Described {
            features: u32,
            outputs: u32,
            average: bool,
            columns: Vec<CodeColumn>,
        }
        let d = Described::deserialize(value).map_err(|e| damaged("trees", &e))?;
        let (left, column, threshold) = (tensors.u32("left")?, tensors.u16("column")?, tensors.u16("threshold")?);
        if left.len() != column.len() || left.len() != threshold.len() {
            return Err(Error::format("operator 'trees': the parts of its nodes differ in length"));
        }
        let nodes = left
            .into_iter()
            .zip(column.into_iter().zip(threshold))
            .map(|(left, (column, threshold))| Node { left, column, threshold })
            .collect();
        let mut trees = Self {
            features: d.features,
            outputs: d.outputs,
            average: d.average,
            columns: d.columns,
            base: tensors.f64("base")?,
            thresholds: tensors.f64("thresholds")?,
            bits: tensors.u32("bits")?,
            roots: tensors.u32("roots")?,
            nodes,
            payload: tensors.u32("payload")?,
            leaves: tensors.f64("leaves")?,
            targets: tensors.u32("targets")?,
            depths: Vec::new(),
        };
        trees.validate()?;
        Ok(trees)
    }

    fn run<'d>(&'d self, flow: &mut Flow<'_, 'd>, inputs: &[Slot], first: u32) -> Result<()> {
        self.score(flow, inputs, first);
        Ok(())
    }
}
