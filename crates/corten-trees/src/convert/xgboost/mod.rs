//! XGBoost's models, as JSON and as UBJSON (versions 1 to 3).
//!
//! Its rules, as `include/xgboost/tree_model.h`, `src/common/categorical.h` and `src/predictor` have them: values are
//! `f32`; below a split condition is left; the categories that a node lists go right, all others left; leaves add up in
//! `f32` from the base score on, in the order of the trees.

mod ubjson;

use std::borrow::Cow;

use corten_core::{Error, Result};
use corten_model::ops::{CategoryValues, Precision, Tree, TreeNode, TreesSpec};
use corten_model::texts::Texts;
use serde::Deserialize;
use serde::de::{Deserializer, Visitor};

use crate::convert::ensemble::{Answer, Ensemble, Feature, Sums};
use crate::convert::numbers::shown;

/// Most features and outputs.
const MAX_FEATURES: usize = 1 << 24;

fn bad(problem: impl std::fmt::Display) -> Error {
    Error::foreign(format!("the XGBoost model can't be read: {problem}"))
}

/// A number that may stand in a text.
#[derive(Clone, Debug, Default)]
struct Loose<'b>(Cow<'b, str>);

impl<'de: 'b, 'b> Deserialize<'de> for Loose<'b> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Loose<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number or a text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Loose(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Loose(Cow::Owned(text.to_owned())))
            }

            fn visit_i64<E>(self, x: i64) -> Result<Self::Value, E> {
                Ok(Loose(Cow::Owned(x.to_string())))
            }

            fn visit_u64<E>(self, x: u64) -> Result<Self::Value, E> {
                Ok(Loose(Cow::Owned(x.to_string())))
            }

            fn visit_f64<E>(self, x: f64) -> Result<Self::Value, E> {
                Ok(Loose(Cow::Owned(x.to_string())))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

impl Loose<'_> {
    fn size(&self, name: &str) -> Result<usize> {
        let text = if self.0.is_empty() { "0" } else { &self.0 };
        text.parse().map_err(|_| bad(format!("'{name}' is '{}'", shown(text))))
    }

    /// The numbers of `5E-1` or `[5E-1,2E0]`.
    fn floats(&self, name: &str) -> Result<Vec<f32>> {
        let text = self.0.trim().trim_start_matches('[').trim_end_matches(']');
        text.split(',')
            .map(|word| word.trim().parse().map_err(|_| bad(format!("'{name}' is '{}'", shown(&self.0)))))
            .collect()
    }
}

/// Whether something holds: 0 and 1, or the words.
#[derive(Clone, Copy, Debug)]
struct Flag(bool);

impl<'de> Deserialize<'de> for Flag {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl Visitor<'_> for Any {
            type Value = Flag;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("0 or 1")
            }

            fn visit_bool<E>(self, b: bool) -> Result<Flag, E> {
                Ok(Flag(b))
            }

            fn visit_i64<E>(self, x: i64) -> Result<Flag, E> {
                Ok(Flag(x != 0))
            }

            fn visit_u64<E>(self, x: u64) -> Result<Flag, E> {
                Ok(Flag(x != 0))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

#[derive(Deserialize)]
struct File<'b> {
    #[serde(borrow)]
    learner: Learner<'b>,
}

#[derive(Deserialize)]
struct Learner<'b> {
    #[serde(default)]
    feature_names: Vec<String>,
    #[serde(default)]
    feature_types: Vec<String>,
    #[serde(borrow)]
    gradient_booster: Booster<'b>,
    #[serde(borrow)]
    learner_model_param: Parameters<'b>,
    #[serde(borrow)]
    objective: Objective<'b>,
}

#[derive(Deserialize)]
struct Parameters<'b> {
    #[serde(borrow)]
    base_score: Loose<'b>,
    #[serde(borrow, default)]
    num_class: Loose<'b>,
    #[serde(borrow)]
    num_feature: Loose<'b>,
    #[serde(borrow, default)]
    num_target: Loose<'b>,
}

#[derive(Deserialize)]
struct Objective<'b> {
    #[serde(borrow)]
    name: Cow<'b, str>,
}

#[derive(Deserialize)]
struct Booster<'b> {
    #[serde(borrow)]
    name: Cow<'b, str>,
    #[serde(borrow)]
    model: Option<Forest<'b>>,
    /// A dart booster holds a gbtree.
    #[serde(borrow)]
    gbtree: Option<Inner<'b>>,
    #[serde(default)]
    weight_drop: Vec<f32>,
}

#[derive(Deserialize)]
struct Inner<'b> {
    #[serde(borrow)]
    model: Forest<'b>,
}

#[derive(Deserialize)]
struct Forest<'b> {
    #[serde(borrow, default)]
    trees: Vec<TreeOf<'b>>,
    #[serde(default)]
    tree_info: Vec<i64>,
    cats: Option<Categories>,
    /// Of a linear booster: a row a feature and one for the bias, a column an output.
    #[serde(default)]
    weights: Vec<f32>,
}

#[derive(Deserialize)]
struct Categories {
    #[serde(default)]
    enc: Vec<Encoding>,
}

/// The categories of a feature: the bytes of texts with where each starts, or numbers.
#[derive(Deserialize)]
struct Encoding {
    offsets: Option<Vec<i64>>,
    #[serde(default)]
    values: Vec<f64>,
}

#[derive(Deserialize)]
struct TreeOf<'b> {
    left_children: Vec<i64>,
    right_children: Vec<i64>,
    split_indices: Vec<i64>,
    split_conditions: Vec<f32>,
    default_left: Vec<Flag>,
    #[serde(default)]
    split_type: Vec<i64>,
    #[serde(default)]
    categories: Vec<i64>,
    #[serde(default)]
    categories_nodes: Vec<i64>,
    #[serde(default)]
    categories_segments: Vec<i64>,
    #[serde(default)]
    categories_sizes: Vec<i64>,
    #[serde(default)]
    leaf_weights: Vec<f32>,
    #[serde(default)]
    sum_hessian: Vec<f64>,
    #[serde(borrow)]
    tree_param: TreeParameters<'b>,
}

#[derive(Deserialize)]
struct TreeParameters<'b> {
    #[serde(borrow, default)]
    size_leaf_vector: Loose<'b>,
}

/// Reads a model from JSON or UBJSON.
///
/// # Errors
/// [`Error::Foreign`] for a damaged model, [`Error::Unsupported`] for boosters and objectives that aren't known.
pub(crate) fn read(bytes: &[u8], in_place: bool) -> Result<Ensemble> {
    // JSON goes on with a quote; UBJSON with the marker of a length.
    let is_json = bytes.iter().skip(1).find(|b| !b.is_ascii_whitespace()) == Some(&b'"');
    let file: File<'_> = if is_json {
        serde_json::from_slice(bytes).map_err(bad)?
    } else {
        File::deserialize(&mut ubjson::Reader::new(bytes)).map_err(bad)?
    };
    let learner = file.learner;
    let width = learner.learner_model_param.num_feature.size("num_feature")?;
    let classes = learner.learner_model_param.num_class.size("num_class")?;
    let targets = learner.learner_model_param.num_target.size("num_target")?.max(1);
    let outputs = classes.max(1).saturating_mul(targets);
    if width > MAX_FEATURES || outputs > MAX_FEATURES {
        return Err(bad(format!("{outputs} outputs of {width} features")));
    }
    let (answer, margin) = objective(&learner.objective.name, outputs)?;
    let mut base = learner.learner_model_param.base_score.floats("base_score")?;
    if base.len() == 1 {
        base.resize(outputs, base[0]);
    }
    if base.len() != outputs {
        return Err(bad(format!("'base_score' has {} numbers for {outputs} outputs", base.len())));
    }
    let base: Vec<f64> = base.into_iter().map(|b| f64::from(margin(b))).collect();
    if base.iter().any(|b| !b.is_finite()) {
        return Err(bad("'base_score' is out of its objective's range"));
    }
    let booster = learner.gradient_booster;
    let (model, drops) = match (&*booster.name, booster.model, booster.gbtree) {
        ("gbtree" | "gblinear", Some(model), None) => (model, Vec::new()),
        ("dart", None, Some(inner)) => (inner.model, booster.weight_drop),
        (name, ..) => return Err(Error::Unsupported(format!("XGBoost's booster '{}' isn't known", shown(name)))),
    };
    let names = names(learner.feature_names, width)?;
    let sums = if booster.name == "gblinear" {
        linear(&model.weights, width, base)?
    } else {
        Sums::Trees(trees(&model, &drops, in_place, width, base, &learner.feature_types)?)
    };
    let named = !names.is_empty();
    let mut features: Vec<Feature> = (0..width)
        .map(|i| Feature { name: names.get(i).cloned().unwrap_or_else(|| format!("x{i}")), categories: None })
        .collect();
    for (feature, encoding) in features.iter_mut().zip(model.cats.map(|c| c.enc).unwrap_or_default()) {
        feature.categories = encoding.values()?;
    }
    let source = "xgboost.Booster".into();
    Ok(Ensemble { source, sums, after: None, features, named, answer, scores: true, narrow: true })
}

fn names(given: Vec<String>, width: usize) -> Result<Vec<String>> {
    if given.is_empty() || given.len() == width {
        return Ok(given);
    }
    Err(bad(format!("it has {} names for {width} features", given.len())))
}

/// What an objective answers, and how its base score becomes a sum.
fn objective(name: &str, outputs: usize) -> Result<(Answer, fn(f32) -> f32)> {
    fn same(x: f32) -> f32 {
        x
    }
    fn logit(p: f32) -> f32 {
        -(1.0 / p - 1.0).ln()
    }
    Ok(match name {
        "binary:logistic" if outputs == 1 => (Answer::Sigmoid { scale: 1.0 }, logit),
        "binary:logistic" | "reg:logistic" => (Answer::Sigmoids { scale: 1.0, normalized: false }, logit),
        "multi:softprob" => (Answer::Softmax, same),
        "multi:softmax" => (Answer::ArgMax, same),
        "count:poisson" | "reg:gamma" | "reg:tweedie" | "survival:cox" | "survival:aft" => (Answer::Exp, f32::ln),
        "reg:squarederror"
        | "reg:linear"
        | "reg:absoluteerror"
        | "reg:pseudohubererror"
        | "reg:squaredlogerror"
        | "reg:quantileerror"
        | "rank:pairwise"
        | "rank:ndcg"
        | "rank:map"
        | "binary:logitraw" => (Answer::Sums, same),
        "binary:hinge" => (Answer::Hinge, same),
        other => return Err(Error::Unsupported(format!("XGBoost's objective '{}' isn't known", shown(other)))),
    })
}

impl Encoding {
    /// The categories; none for a column of numbers.
    fn values(self) -> Result<Option<CategoryValues>> {
        let Some(offsets) = self.offsets else {
            let any = !self.values.is_empty();
            return Ok(any.then_some(CategoryValues::Numbers(self.values)));
        };
        if offsets.is_empty() {
            return Ok(None);
        }
        let bytes: Option<Vec<u8>> = self
            .values
            .iter()
            .map(|&x| (x.fract() == 0.0 && (-128.0..256.0).contains(&x)).then_some(x as i64 as u8))
            .collect();
        let bytes = bytes.ok_or_else(|| bad("the text of a category holds what is no byte"))?;
        let text = |range: &[i64]| {
            let (from, to) = (usize::try_from(range[0]).ok()?, usize::try_from(range[1]).ok()?);
            std::str::from_utf8(bytes.get(from..to)?).ok()
        };
        let texts: Option<Texts> = offsets.windows(2).map(text).collect();
        texts.map(|t| Some(CategoryValues::Texts(t))).ok_or_else(|| bad("the texts of categories aren't there"))
    }
}

fn linear(weights: &[f32], width: usize, base: Vec<f64>) -> Result<Sums> {
    let outputs = base.len();
    if weights.len() != (width + 1) * outputs || weights.iter().any(|w| !w.is_finite()) {
        return Err(bad(format!("{} weights for {width} features and {outputs} outputs", weights.len())));
    }
    let weight = |at: usize, output: usize| f64::from(weights[at * outputs + output]);
    let intercept = base.iter().enumerate().map(|(k, b)| b + weight(width, k)).collect();
    let weights = (0..outputs).flat_map(|k| (0..width).map(move |f| (f, k))).map(|(f, k)| weight(f, k)).collect();
    Ok(Sums::Linear { weights, intercept })
}

fn trees(
    model: &Forest<'_>,
    drops: &[f32],
    in_place: bool,
    width: usize,
    base: Vec<f64>,
    types: &[String],
) -> Result<TreesSpec> {
    let outputs = base.len();
    let mut spec = TreesSpec {
        base,
        strict: true,
        input: Precision::F32,
        sum: Precision::F32,
        ..TreesSpec::new(width as u32, outputs as u32)
    };
    if model.tree_info.len() != model.trees.len() || (!drops.is_empty() && drops.len() != model.trees.len()) {
        return Err(bad("its trees, their outputs and their weights differ in number"));
    }
    // One more than the greatest category of each feature.
    let mut levels = vec![0u32; width];
    for (at, tree) in model.trees.iter().enumerate() {
        tree.check(width, &mut levels).map_err(|e| bad(format!("tree {at}: {e}")))?;
    }
    let is_category = |f: usize| levels[f] > 0 || types.get(f).is_some_and(|t| t == "c");
    for (at, tree) in model.trees.iter().enumerate() {
        let vector = tree.tree_param.size_leaf_vector.size("size_leaf_vector")?;
        let output = match vector {
            0 | 1 => {
                let output = usize::try_from(model.tree_info[at]).ok().filter(|o| *o < outputs);
                Some(output.ok_or_else(|| bad(format!("tree {at} adds to an output that isn't there")))? as u32)
            }
            n if n == outputs => None,
            n => return Err(bad(format!("tree {at} has leaves of {n} values for {outputs} outputs"))),
        };
        // In place, a dart booster scores each tree from the base score on, takes that off again and weighs the rest.
        let bases: Vec<f32> = spec.base.iter().map(|b| *b as f32).collect();
        let first = output.map_or(0, |o| o as usize);
        let weigh = |k: usize, value: f32| match drops.get(at) {
            Some(drop) if in_place => ((value + bases[first + k]) - bases[first + k]) * drop,
            Some(drop) => value * drop,
            None => value,
        };
        let read = tree.lower(output, outputs, &weigh, &levels, &is_category);
        spec.trees.push(read.map_err(|e| bad(format!("tree {at}: {e}")))?);
    }
    Ok(spec)
}

impl TreeOf<'_> {
    fn is_category(&self, node: usize) -> bool {
        self.split_type.get(node) == Some(&1)
    }

    /// Checks lengths and categories, and finds the greatest category of each feature.
    fn check(&self, width: usize, levels: &mut [u32]) -> Result<(), String> {
        let count = self.left_children.len();
        let lengths =
            [self.right_children.len(), self.split_indices.len(), self.split_conditions.len(), self.default_left.len()];
        if count == 0
            || lengths.iter().any(|l| *l != count)
            || !(self.split_type.is_empty() || self.split_type.len() == count)
        {
            return Err("its lists differ in length, or are empty".into());
        }
        if self.categories_nodes.len() != self.categories_segments.len()
            || self.categories_nodes.len() != self.categories_sizes.len()
        {
            return Err("its lists of categories differ in length".into());
        }
        for node in (0..count).filter(|&n| self.left_children[n] != -1 && self.is_category(n)) {
            let feature = usize::try_from(self.split_indices[node]).ok().filter(|f| *f < width);
            let feature = feature.ok_or_else(|| format!("node {node} reads a feature that isn't there"))?;
            for &category in self.set(node)? {
                let category = u32::try_from(category).ok().filter(|c| *c < 1 << 24);
                let category = category.ok_or_else(|| format!("node {node} has a category out of range"))?;
                levels[feature] = levels[feature].max(category + 1);
            }
            levels[feature] = levels[feature].max(1);
        }
        Ok(())
    }

    /// The categories that a node lists.
    fn set(&self, node: usize) -> Result<&[i64], String> {
        let at = self.categories_nodes.binary_search(&(node as i64));
        let at = at.map_err(|_| format!("node {node} has no categories"))?;
        let (from, count) = (usize::try_from(self.categories_segments[at]), usize::try_from(self.categories_sizes[at]));
        let range = from.ok().zip(count.ok()).and_then(|(from, count)| Some(from..from.checked_add(count)?));
        range.and_then(|r| self.categories.get(r)).ok_or_else(|| format!("the categories of node {node} aren't there"))
    }

    fn lower(
        &self,
        output: Option<u32>,
        outputs: usize,
        weigh: &impl Fn(usize, f32) -> f32,
        levels: &[u32],
        is_category: &impl Fn(usize) -> bool,
    ) -> Result<Tree, String> {
        let count = self.left_children.len();
        let mut out = Tree::new(output);
        let covered = self.sum_hessian.len() == count && self.sum_hessian.iter().all(|c| c.is_finite() && *c >= 0.0);
        let mut order = vec![0usize];
        let mut at = 0;
        while at < order.len() {
            let node = order[at];
            at += 1;
            if covered {
                out.cover.push(self.sum_hessian[node]);
            }
            if self.left_children[node] == -1 {
                let leaf = self.leaf(node, output, outputs)?;
                if leaf.iter().any(|v| !v.is_finite()) {
                    return Err(format!("the leaf {node} has no finite value"));
                }
                out.push_leaf(&leaf.iter().enumerate().map(|(k, &v)| f64::from(weigh(k, v))).collect::<Vec<_>>());
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
            order.extend([place(self.left_children[node])?, place(self.right_children[node])?]);
            let feature = usize::try_from(self.split_indices[node]).ok().filter(|f| *f < levels.len());
            let feature = feature.ok_or_else(|| format!("node {node} reads a feature that isn't there"))?;
            let missing_left = self.default_left[node].0;
            out.nodes.push(if self.is_category(node) {
                let set = self.set(node)?;
                let first = out.codes.len() as u32;
                out.codes.extend(set.iter().map(|&c| c as u32));
                let count = out.codes.len() as u32 - first;
                let (feature, levels) = (feature as u32, levels[feature]);
                // What is listed goes right and all else left: the children change places.
                let (missing_left, unseen_left, left, right) = (!missing_left, false, right, left);
                TreeNode::Category { feature, first, count, levels, missing_left, unseen_left, left, right }
            } else {
                if is_category(feature) && levels[feature] > 0 {
                    return Err(format!("feature {feature} is compared as a number and as a category"));
                }
                let threshold = f64::from(self.split_conditions[node]);
                if threshold.is_nan() {
                    return Err(format!("node {node} has no split condition"));
                }
                TreeNode::Number { feature: feature as u32, threshold, missing_left, zero_missing: false, left, right }
            });
        }
        Ok(out)
    }

    fn leaf(&self, node: usize, output: Option<u32>, outputs: usize) -> Result<Cow<'_, [f32]>, String> {
        if output.is_some() {
            return Ok(Cow::Owned(vec![self.split_conditions[node]]));
        }
        // A leaf's right child is its place among the leaves' vectors.
        let place = usize::try_from(self.right_children[node]).ok();
        let range = place.and_then(|p| Some(p.checked_mul(outputs)?..p.checked_add(1)?.checked_mul(outputs)?));
        let values = range.and_then(|r| self.leaf_weights.get(r));
        values.map(Cow::Borrowed).ok_or_else(|| format!("the values of leaf {node} aren't there"))
    }
}

/// Whether bytes look like a model of XGBoost.
pub(crate) fn is_one(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(256)];
    bytes.first() == Some(&b'{') && head.windows(7).any(|w| w == b"learner" || w == b"version")
}
