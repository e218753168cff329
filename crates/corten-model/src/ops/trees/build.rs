//! From trees over raw values to trees over codes.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use corten_core::{Error, Result};

use super::{CATEGORY, CodeColumn, ColumnRule, MAX_THRESHOLDS, NEVER, Node, Trees, VECTOR};

/// A node of a tree over raw values.
#[derive(Clone, Debug, PartialEq)]
pub enum TreeNode {
    /// `x <= threshold` goes left.
    Number {
        /// Which input.
        feature: u32,
        /// Not NaN; infinities are allowed.
        threshold: f64,
        /// Whether NaN goes left.
        missing_left: bool,
        /// Index of the left child, after this node.
        left: u32,
        /// Index of the right child, after this node.
        right: u32,
    },
    /// A code of a category goes left when it is listed.
    Category {
        /// Which input; its values are codes `0..levels`.
        feature: u32,
        /// The codes that go left.
        left_codes: Vec<u32>,
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
        /// One value, or one an output where [`Tree::output`] is `None`.
        values: Vec<f64>,
    },
}

/// One tree; its root is node 0 and children come after their parents.
#[derive(Clone, Debug, PartialEq)]
pub struct Tree {
    /// The output that its leaves add to; `None` when each leaf has a value for every output.
    pub output: Option<u32>,
    /// Its nodes.
    pub nodes: Vec<TreeNode>,
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
    /// Whether sums are divided by the number of trees at the end.
    pub average: bool,
    /// The trees, in the order in which they add up.
    pub trees: Vec<Tree>,
}

/// The code columns of one (feature, missing rule), and its thresholds.
type Columns = BTreeMap<(u32, bool), (Vec<f64>, u16)>;

impl Trees {
    /// Codes an ensemble.
    ///
    /// # Errors
    /// [`Error::Format`] for indices that don't fit, a NaN threshold, or sizes beyond the limits.
    pub fn build(spec: TreesSpec) -> Result<Self> {
        let bad = |what: &str| Error::format(format!("operator 'trees': {what}"));
        let mut numbers = Columns::new();
        let mut categories: BTreeMap<u32, (u32, u16)> = BTreeMap::new();
        for node in spec.trees.iter().flat_map(|t| &t.nodes) {
            match node {
                TreeNode::Number { feature, threshold, missing_left, .. } => {
                    if threshold.is_nan() {
                        return Err(bad("a threshold is NaN"));
                    }
                    // Adding 0 turns -0 into 0, which compares the same and sorts once.
                    numbers.entry((*feature, *missing_left)).or_default().0.push(threshold + 0.0);
                }
                TreeNode::Category { feature, levels, .. } => {
                    if *levels as usize > MAX_THRESHOLDS - 2 {
                        return Err(bad(&format!("{levels} categories; at most {} are possible", MAX_THRESHOLDS - 2)));
                    }
                    let entry = categories.entry(*feature).or_insert((*levels, 0));
                    if entry.0 != *levels {
                        return Err(bad("two nodes of a feature disagree on its categories"));
                    }
                }
                TreeNode::Leaf { .. } => {}
            }
        }
        let (mut columns, mut thresholds) = (Vec::new(), Vec::new());
        for ((feature, missing_left), (values, first)) in &mut numbers {
            values.sort_unstable_by(f64::total_cmp);
            values.dedup();
            *first = u16::try_from(columns.len()).map_err(|_| bad("too many code columns"))?;
            let rule = if *missing_left { ColumnRule::MissingLeft } else { ColumnRule::MissingRight };
            for chunk in values.chunks(MAX_THRESHOLDS) {
                let start = u32::try_from(thresholds.len()).map_err(|_| bad("too many thresholds"))?;
                thresholds.extend_from_slice(chunk);
                columns.push(CodeColumn { feature: *feature, rule, start, end: start + chunk.len() as u32 });
            }
        }
        for (feature, (levels, column)) in &mut categories {
            *column = u16::try_from(columns.len()).map_err(|_| bad("too many code columns"))?;
            columns.push(CodeColumn { feature: *feature, rule: ColumnRule::Category, start: *levels, end: *levels });
        }
        if columns.len() >= CATEGORY as usize {
            return Err(bad("too many code columns"));
        }
        let mut trees = Self {
            features: spec.features,
            outputs: spec.outputs,
            average: spec.average,
            base: spec.base,
            columns,
            thresholds,
            bits: Vec::new(),
            roots: vec![0],
            nodes: Vec::new(),
            payload: Vec::new(),
            leaves: Vec::new(),
            targets: Vec::new(),
            depths: Vec::new(),
        };
        for tree in &spec.trees {
            trees.push(tree, &numbers, &categories)?;
        }
        trees.validate()?;
        Ok(trees)
    }

    /// Appends a tree, siblings side by side, level by level.
    fn push(&mut self, tree: &Tree, numbers: &Columns, categories: &BTreeMap<u32, (u32, u16)>) -> Result<()> {
        let bad = |what: &str| Error::format(format!("operator 'trees': {what}"));
        let width = if tree.output.is_none() { self.outputs as usize } else { 1 };
        let start = self.nodes.len();
        if tree.nodes.is_empty() || start + tree.nodes.len() > u32::MAX as usize / 2 {
            return Err(bad("a tree without nodes, or too many nodes"));
        }
        // `order[i]` is the source node of the i-th node written.
        let mut order = Vec::with_capacity(tree.nodes.len());
        order.push(0u32);
        let mut next = 0;
        while next < order.len() {
            let source = order[next] as usize;
            let at = start + next;
            next += 1;
            let node = &tree.nodes[source];
            if let TreeNode::Leaf { values } = node {
                if values.len() != width {
                    return Err(bad("a leaf has another number of values than its tree has outputs"));
                }
                self.payload.push(u32::try_from(self.leaves.len()).map_err(|_| bad("too many leaves"))?);
                self.leaves.extend_from_slice(values);
                self.nodes.push(Node { left: at as u32, column: 0, threshold: NEVER });
                continue;
            }
            let (&left, &right) = match node {
                TreeNode::Number { left, right, .. } | TreeNode::Category { left, right, .. } => (left, right),
                TreeNode::Leaf { .. } => (&0, &0),
            };
            for child in [left, right] {
                if child as usize <= source || child as usize >= tree.nodes.len() {
                    return Err(bad("a child doesn't follow its parent"));
                }
            }
            if order.len() + 2 > tree.nodes.len() {
                return Err(bad("a node has two parents"));
            }
            let child = (start + order.len()) as u32;
            order.extend([left, right]);
            match node {
                TreeNode::Number { feature, threshold, missing_left, .. } => {
                    let (values, first) = &numbers[&(*feature, *missing_left)];
                    let rank = values.partition_point(|v| *v < *threshold);
                    self.nodes.push(Node {
                        left: child,
                        column: first + (rank / MAX_THRESHOLDS) as u16,
                        threshold: (rank % MAX_THRESHOLDS) as u16,
                    });
                    self.payload.push(0);
                }
                TreeNode::Category { feature, left_codes, missing_left, unseen_left, .. } => {
                    let (levels, column) = categories[feature];
                    let word = self.bits.len();
                    self.payload.push(u32::try_from(word).map_err(|_| bad("too many categories"))?);
                    self.bits.resize(word + (levels as usize + 2).div_ceil(32), 0);
                    let extra = [(levels, *unseen_left), (levels + 1, *missing_left)];
                    let codes = left_codes.iter().copied();
                    for code in codes.chain(extra.into_iter().filter(|e| e.1).map(|e| e.0)) {
                        if code > levels + 1 {
                            return Err(bad("a category that isn't there"));
                        }
                        self.bits[word + code as usize / 32] |= 1 << (code % 32);
                    }
                    self.nodes.push(Node { left: child, column: column | CATEGORY, threshold: 0 });
                }
                TreeNode::Leaf { .. } => {}
            }
        }
        self.targets.push(tree.output.unwrap_or(VECTOR));
        self.roots.push(self.nodes.len() as u32);
        Ok(())
    }
}
