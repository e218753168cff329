//! Trees as arrays, a node an element: how scikit-learn keeps them.

use corten_core::{Error, Result};
use corten_model::ops::{CategoryValues, Precision, Tree, TreeNode, TreesSpec};

use crate::convert::ensemble::{Answer, Ensemble, Feature, Sums};

/// Trees behind each other. Children count from their tree's first node; -1 has none.
#[derive(Clone, Debug, Default)]
pub struct Flat {
    /// Number of nodes of each tree.
    pub counts: Vec<i64>,
    /// The left child, or -1 for a leaf.
    pub left: Vec<i64>,
    /// The right child.
    pub right: Vec<i64>,
    /// Which column a node reads.
    pub feature: Vec<i64>,
    /// `x <= threshold` goes left.
    pub threshold: Vec<f64>,
    /// Whether a missing value goes left.
    pub missing_left: Vec<bool>,
    /// Rows that reached each node; may be empty.
    pub cover: Vec<f64>,
    /// The values of each node: `width` each; those of inner nodes aren't read.
    pub values: Vec<f64>,
    /// Values of a node.
    pub width: usize,
    /// Of a node that reads categories, the first and the number of its codes in `codes`; `(0, -1)` for numbers. May be
    /// empty.
    pub sets: Vec<(i64, i64)>,
    /// Codes that go left.
    pub codes: Vec<u32>,
}

/// How trees of arrays are meant.
#[derive(Clone, Debug)]
pub struct Meaning {
    /// Where they come from.
    pub source: String,
    /// Names of the columns; `x0`, `x1` ... where there are none.
    pub names: Option<Vec<String>>,
    /// Number of columns.
    pub features: usize,
    /// Categories of columns that aren't read as they are.
    pub categories: Vec<(usize, CategoryValues)>,
    /// Where sums start; one an output.
    pub base: Vec<f64>,
    /// Whether sums are divided by the number of trees.
    pub average: bool,
    /// Whether values are rounded to `f32` before they are compared.
    pub narrow: bool,
    /// The answer.
    pub answer: Answer,
    /// Whether sums may be asked for.
    pub scores: bool,
}

fn bad(problem: impl std::fmt::Display) -> Error {
    Error::foreign(format!("the trees can't be read: {problem}"))
}

/// Makes an ensemble of arrays.
///
/// # Errors
/// [`Error::Foreign`] for arrays that are no trees.
pub fn read(flat: &Flat, meaning: Meaning) -> Result<Ensemble> {
    let (nodes, outputs) = (flat.left.len(), meaning.base.len());
    let lengths = [flat.right.len(), flat.feature.len(), flat.threshold.len(), flat.missing_left.len()];
    let optional = [flat.cover.len(), flat.sets.len()];
    let total = flat.counts.iter().try_fold(0usize, |n, &c| n.checked_add(usize::try_from(c).ok()?));
    if lengths.iter().any(|l| *l != nodes)
        || optional.iter().any(|l| *l != 0 && *l != nodes)
        || total != Some(nodes)
        || flat.values.len() != nodes.saturating_mul(flat.width)
    {
        return Err(bad("their arrays differ in length"));
    }
    if outputs == 0 || flat.width == 0 || (flat.width != outputs && flat.width != 1) {
        return Err(bad(format!("leaves of {} values for {outputs} outputs", flat.width)));
    }
    let names = meaning.names.as_ref();
    if names.is_some_and(|n| n.len() != meaning.features) {
        return Err(bad("there isn't one name a column"));
    }
    let mut levels = vec![None; meaning.features];
    let mut features: Vec<Feature> = (0..meaning.features)
        .map(|i| Feature { name: names.map_or_else(|| format!("x{i}"), |n| n[i].clone()), categories: None })
        .collect();
    for (at, values) in meaning.categories {
        let feature = features.get_mut(at).ok_or_else(|| bad("categories of a column that isn't there"))?;
        levels[at] = Some(values.len() as u32);
        feature.categories = Some(values);
    }
    let mut spec = TreesSpec {
        base: meaning.base,
        average: meaning.average,
        input: if meaning.narrow { Precision::F32 } else { Precision::F64 },
        ..TreesSpec::new(meaning.features as u32, outputs as u32)
    };
    let mut start = 0;
    for (at, &count) in flat.counts.iter().enumerate() {
        let output = if flat.width == outputs && outputs > 1 { None } else { Some((at % outputs) as u32) };
        let count = count as usize;
        spec.trees.push(flat.tree(start, count, output, &levels).map_err(|e| bad(format!("tree {at}: {e}")))?);
        start += count;
    }
    let (sums, named) = (Sums::Trees(spec), meaning.names.is_some());
    let (source, answer, scores) = (meaning.source, meaning.answer, meaning.scores);
    Ok(Ensemble { source, sums, after: None, features, named, answer, scores, narrow: false })
}

impl Flat {
    fn tree(&self, start: usize, count: usize, output: Option<u32>, levels: &[Option<u32>]) -> Result<Tree, String> {
        if count == 0 {
            return Err("it is empty".into());
        }
        let mut out = Tree::new(output);
        let mut order = vec![0usize];
        let mut at = 0;
        while at < order.len() {
            let node = order[at];
            at += 1;
            let here = start + node;
            if let Some(&cover) = self.cover.get(here) {
                if !cover.is_finite() || cover < 0.0 {
                    return Err(format!("node {node} has a weight of {cover}"));
                }
                out.cover.push(cover);
            }
            if self.left[here] < 0 {
                let values = &self.values[here * self.width..][..self.width];
                if values.iter().any(|v| !v.is_finite()) {
                    return Err(format!("the leaf {node} has no finite value"));
                }
                out.push_leaf(values);
                continue;
            }
            let place = |child: i64| {
                usize::try_from(child)
                    .ok()
                    .filter(|c| *c < count)
                    .ok_or_else(|| format!("node {node} leads to {child}"))
            };
            if order.len() + 2 > count {
                return Err(format!("node {node} is reached a second time"));
            }
            let (left, right) = (order.len() as u32, order.len() as u32 + 1);
            order.extend([place(self.left[here])?, place(self.right[here])?]);
            let feature = usize::try_from(self.feature[here]).ok().filter(|f| *f < levels.len());
            let feature = feature.ok_or_else(|| format!("node {node} reads a column that isn't there"))?;
            let missing_left = self.missing_left[here];
            let set = self.sets.get(here).copied().unwrap_or((0, -1));
            out.nodes.push(if set.1 >= 0 {
                let levels = levels[feature].ok_or_else(|| format!("column {feature} has no categories"))?;
                let range = usize::try_from(set.0).ok().and_then(|f| Some(f..f.checked_add(set.1 as usize)?));
                let codes = range.and_then(|r| self.codes.get(r)).ok_or_else(|| format!("node {node} has no codes"))?;
                if codes.iter().any(|c| *c >= levels) {
                    return Err(format!("node {node} has a code that isn't there"));
                }
                let first = out.codes.len() as u32;
                out.codes.extend_from_slice(codes);
                let (feature, count) = (feature as u32, codes.len() as u32);
                TreeNode::Category {
                    feature,
                    first,
                    count,
                    levels,
                    missing_left,
                    unseen_left: missing_left,
                    left,
                    right,
                }
            } else {
                let threshold = self.threshold[here];
                if threshold.is_nan() {
                    return Err(format!("node {node} has no threshold"));
                }
                TreeNode::Number { feature: feature as u32, threshold, missing_left, zero_missing: false, left, right }
            });
        }
        Ok(out)
    }
}
