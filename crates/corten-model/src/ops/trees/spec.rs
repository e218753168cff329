//! Trees over raw values, as fitting and converting hand them over.

use alloc::vec;
use alloc::vec::Vec;

use super::Precision;

/// A node of a tree over raw values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum TreeNode {
    /// `x <= threshold` (`<` where [`TreesSpec::strict`]) goes left.
    Number {
        /// Which input.
        feature: u32,
        /// Not NaN; infinities are allowed.
        threshold: f64,
        /// Whether missing values go left.
        missing_left: bool,
        /// Whether 0 counts as missing, as NaN does.
        zero_missing: bool,
        /// Index of the left child, after this node.
        left: u32,
        /// Index of the right child, after this node.
        right: u32,
    },
    /// A code of a category goes left when it is listed.
    Category {
        /// Which input; its values are codes `0..levels`, cut to whole numbers.
        feature: u32,
        /// The codes that go left: `first..first + count` of [`Tree::codes`].
        first: u32,
        /// How many go left.
        count: u32,
        /// Number of categories; the same in every node of a feature.
        levels: u32,
        /// Whether NaN goes left.
        missing_left: bool,
        /// Whether a value that is none of the codes goes left.
        unseen_left: bool,
        /// Index of the left child, after this node.
        left: u32,
        /// Index of the right child, after this node.
        right: u32,
    },
    /// The end of a path.
    Leaf {
        /// Its place in [`Tree::values`]: one value, or one an output where [`Tree::output`] is `None`.
        value: u32,
    },
}

/// A leaf's linear model: `intercept + sum of weight * input`, or the leaf's value where one of the inputs is NaN.
#[derive(Clone, Debug, PartialEq)]
pub struct LeafModel {
    /// The leaf's node.
    pub node: u32,
    /// Its constant.
    pub intercept: f64,
    /// Input and weight, in the order in which they add up.
    pub terms: Vec<(u32, f64)>,
}

/// One tree; its root is node 0 and children come after their parents.
#[derive(Clone, Debug, PartialEq)]
pub struct Tree {
    /// The output that its leaves add to; `None` when each leaf has a value for every output.
    pub output: Option<u32>,
    /// What its leaves are multiplied with.
    pub weight: f64,
    /// Its nodes.
    pub nodes: Vec<TreeNode>,
    /// The values of its leaves.
    pub values: Vec<f64>,
    /// The codes of its category nodes.
    pub codes: Vec<u32>,
    /// The linear models of its leaves, where it has some.
    pub models: Vec<LeafModel>,
    /// Training weight that reached each node; empty where it isn't known.
    pub cover: Vec<f64>,
}

impl Tree {
    /// A tree without nodes yet.
    pub fn new(output: Option<u32>) -> Self {
        Self {
            output,
            weight: 1.0,
            nodes: Vec::new(),
            values: Vec::new(),
            codes: Vec::new(),
            models: Vec::new(),
            cover: Vec::new(),
        }
    }

    /// Appends a leaf.
    pub fn push_leaf(&mut self, values: &[f64]) {
        self.nodes.push(TreeNode::Leaf { value: self.values.len() as u32 });
        self.values.extend_from_slice(values);
    }
}

/// What an ensemble is built from.
#[derive(Clone, Debug, PartialEq)]
pub struct TreesSpec {
    /// Number of inputs.
    pub features: u32,
    /// Number of outputs.
    pub outputs: u32,
    /// Where each output's sum starts.
    pub base: Vec<f64>,
    /// Whether each sum is divided by the number of trees that add to it at the end.
    pub average: bool,
    /// Whether a value equal to a threshold goes right.
    pub strict: bool,
    /// How inputs are compared.
    pub input: Precision,
    /// How leaves add up.
    pub sum: Precision,
    /// Inputs of at most this magnitude are 0.
    pub zero_threshold: f64,
    /// The trees, in the order in which they add up.
    pub trees: Vec<Tree>,
}

impl TreesSpec {
    /// An ensemble without trees yet whose sums start from 0.
    pub fn new(features: u32, outputs: u32) -> Self {
        Self {
            features,
            outputs,
            base: vec![0.0; outputs as usize],
            average: false,
            strict: false,
            input: Precision::F64,
            sum: Precision::F64,
            zero_threshold: 0.0,
            trees: Vec::new(),
        }
    }
}
