//! CatBoost's JSON models: numbers and one-hot categories, symmetric trees and others.
//!
//! Its rules, as `catboost/libs/model` has them: values are `f32`; above a border is right; a missing value is below or
//! above all borders, as the feature says; a category is the hash of its text; leaves add up in `f64`, and scale and bias
//! come last.

use std::borrow::Cow;
use std::collections::HashMap;

use corten_core::{Error, Result};
use corten_model::ops::{CategoryValues, Precision, Tree, TreeNode, TreesSpec};
use serde::Deserialize;

use crate::convert::Wrapping;
use crate::convert::city::hash_of_category;
use crate::convert::ensemble::{Answer, Ensemble, Feature, Sums};
use crate::convert::numbers::shown;

/// Deepest symmetric tree, and deepest of the others.
const MAX_DEPTH: usize = 16;
const MAX_FEATURES: usize = 1 << 20;

fn bad(problem: impl std::fmt::Display) -> Error {
    Error::foreign(format!("the CatBoost model can't be read: {problem}"))
}

fn unsupported(what: &str) -> Error {
    Error::Unsupported(format!("the CatBoost model {what}; numbers and one-hot categories can be converted"))
}

#[derive(Deserialize)]
struct File<'b> {
    #[serde(borrow)]
    features_info: Features<'b>,
    #[serde(borrow)]
    oblivious_trees: Option<Vec<Symmetric<'b>>>,
    #[serde(borrow)]
    trees: Option<Vec<Branch<'b>>>,
    scale_and_bias: Option<(f64, Vec<f64>)>,
    model_info: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Features<'b> {
    #[serde(borrow, default)]
    float_features: Vec<FloatFeature<'b>>,
    #[serde(borrow, default)]
    categorical_features: Vec<CategoricalFeature<'b>>,
    #[serde(default)]
    text_features: Vec<serde_json::Value>,
    #[serde(default)]
    embedding_features: Vec<serde_json::Value>,
}

#[derive(Deserialize)]
struct FloatFeature<'b> {
    feature_index: usize,
    flat_feature_index: usize,
    #[serde(borrow)]
    feature_id: Option<Cow<'b, str>>,
    #[serde(borrow)]
    nan_value_treatment: Option<Cow<'b, str>>,
}

#[derive(Deserialize)]
struct CategoricalFeature<'b> {
    feature_index: usize,
    flat_feature_index: usize,
    #[serde(borrow)]
    feature_id: Option<Cow<'b, str>>,
    #[serde(default)]
    values: Vec<i64>,
}

#[derive(Deserialize)]
struct Symmetric<'b> {
    leaf_values: Vec<f64>,
    #[serde(default)]
    leaf_weights: Vec<f64>,
    #[serde(borrow)]
    splits: Vec<Split<'b>>,
}

#[derive(Deserialize)]
struct Split<'b> {
    #[serde(borrow)]
    split_type: Option<Cow<'b, str>>,
    border: Option<f64>,
    float_feature_index: Option<usize>,
    cat_feature_index: Option<usize>,
    value: Option<i64>,
}

#[derive(Deserialize)]
struct Branch<'b> {
    #[serde(borrow)]
    split: Option<Split<'b>>,
    left: Option<Box<Branch<'b>>>,
    right: Option<Box<Branch<'b>>>,
    value: Option<Values>,
    weight: Option<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    One(f64),
    Many(Vec<f64>),
}

impl Values {
    fn as_slice(&self) -> &[f64] {
        match self {
            Self::One(x) => std::slice::from_ref(x),
            Self::Many(x) => x,
        }
    }
}

/// Where a feature of the trees is among the columns.
struct Places {
    floats: HashMap<usize, (u32, bool)>,
    /// The column, and the code of each hash.
    categories: HashMap<usize, (u32, HashMap<i64, u32>)>,
    features: Vec<Feature>,
    named: bool,
}

impl Places {
    fn new(info: &Features<'_>, wrapping: &Wrapping) -> Result<Self> {
        let flat = info.float_features.iter().map(|f| f.flat_feature_index);
        let flat = flat.chain(info.categorical_features.iter().map(|f| f.flat_feature_index));
        let width = flat.max().map_or(0, |m| m.saturating_add(1));
        if width > MAX_FEATURES {
            return Err(bad(format!("{width} features")));
        }
        let mut features: Vec<Feature> =
            (0..width).map(|i| Feature { name: format!("x{i}"), categories: None }).collect();
        let mut named = width > 0;
        let mut name = |at: usize, id: &Option<Cow<'_, str>>| match id.as_deref().filter(|i| !i.is_empty()) {
            Some(id) if id != at.to_string() => features[at].name = id.to_owned(),
            _ => named = false,
        };
        let mut floats = HashMap::new();
        for feature in &info.float_features {
            let missing_right = match feature.nan_value_treatment.as_deref() {
                Some("AsTrue") => true,
                Some("AsFalse" | "AsIs") | None => false,
                Some(other) => return Err(bad(format!("missing values are taken '{}'", shown(other)))),
            };
            name(feature.flat_feature_index, &feature.feature_id);
            floats.insert(feature.feature_index, (feature.flat_feature_index as u32, missing_right));
        }
        for feature in &info.categorical_features {
            name(feature.flat_feature_index, &feature.feature_id);
        }
        let mut categories = HashMap::new();
        for feature in &info.categorical_features {
            let at = feature.flat_feature_index;
            if feature.values.is_empty() {
                continue;
            }
            let column = &features[at].name;
            let known = wrapping.categories.iter().find(|c| c.0 == *column || c.0 == at.to_string());
            let Some((_, known)) = known else {
                return Err(Error::Unsupported(format!(
                    "the CatBoost model knows the categories of column '{column}' by their hashes only; name them: categories={{'{column}': [...]}}"
                )));
            };
            let mut texts = Vec::new();
            let mut codes = HashMap::new();
            for text in known {
                let hash = i64::from(hash_of_category(text));
                // A category that no tree asks for is as good as one that isn't known.
                if feature.values.contains(&hash) {
                    codes.insert(hash, texts.len() as u32);
                    texts.push(text.clone());
                }
            }
            if let Some(hash) = feature.values.iter().find(|h| !codes.contains_key(h)) {
                return Err(Error::Unsupported(format!(
                    "column '{column}' of the CatBoost model has a category (hash {hash}) that is none of the {} given",
                    known.len()
                )));
            }
            features[at].categories = Some(CategoryValues::Texts(texts.into()));
            categories.insert(feature.feature_index, (at as u32, codes));
        }
        Ok(Self { floats, categories, features, named })
    }

    /// A node of a split.
    fn node(&self, split: &Split<'_>, tree: &mut Tree, left: u32, right: u32) -> Result<TreeNode> {
        match split.split_type.as_deref().unwrap_or("FloatFeature") {
            "FloatFeature" => {
                let found = split.float_feature_index.and_then(|f| self.floats.get(&f));
                let (&(feature, missing_right), border) = found
                    .zip(split.border)
                    .ok_or_else(|| bad("a split has no border, or a feature that isn't there"))?;
                let border = f64::from(border as f32);
                if border.is_nan() {
                    return Err(bad("a border is no number"));
                }
                let missing_left = !missing_right;
                Ok(TreeNode::Number { feature, threshold: border, missing_left, zero_missing: false, left, right })
            }
            "OneHotFeature" => {
                let found = split.cat_feature_index.and_then(|f| self.categories.get(&f));
                let code = found.zip(split.value).and_then(|((_, codes), value)| codes.get(&value));
                let ((feature, codes), &code) =
                    found.zip(code).ok_or_else(|| bad("a split has a category that isn't there"))?;
                // The category goes right, all others left.
                let levels = codes.len() as u32;
                let first = tree.codes.len() as u32;
                tree.codes.extend((0..levels).filter(|&c| c != code));
                let count = tree.codes.len() as u32 - first;
                let feature = *feature;
                Ok(TreeNode::Category {
                    feature,
                    first,
                    count,
                    levels,
                    missing_left: true,
                    unseen_left: true,
                    left,
                    right,
                })
            }
            other => Err(unsupported(&format!("has splits of kind '{}'", shown(other)))),
        }
    }
}

/// Reads a model.
///
/// # Errors
/// [`Error::Foreign`] for a damaged model, [`Error::Unsupported`] for features and losses that can't be converted.
pub(crate) fn read(bytes: &[u8], wrapping: &Wrapping) -> Result<Ensemble> {
    let file: File<'_> = serde_json::from_slice(bytes).map_err(bad)?;
    if !file.features_info.text_features.is_empty() {
        return Err(unsupported("reads texts"));
    }
    if !file.features_info.embedding_features.is_empty() {
        return Err(unsupported("reads embeddings"));
    }
    let places = Places::new(&file.features_info, wrapping)?;
    let (scale, bias) = file.scale_and_bias.unwrap_or((1.0, vec![0.0]));
    let outputs = bias.len();
    if outputs == 0 || outputs > MAX_FEATURES || !scale.is_finite() || bias.iter().any(|b| !b.is_finite()) {
        return Err(bad("its scale and bias are no numbers"));
    }
    let mut spec = TreesSpec { input: Precision::F32, ..TreesSpec::new(places.features.len() as u32, outputs as u32) };
    let output = (outputs == 1).then_some(0);
    match (&file.oblivious_trees, &file.trees) {
        (Some(trees), None) => {
            for (at, tree) in trees.iter().enumerate() {
                spec.trees.push(symmetric(tree, &places, output, outputs).map_err(|e| named(at, e))?);
            }
        }
        (None, Some(trees)) => {
            for (at, tree) in trees.iter().enumerate() {
                spec.trees.push(branches(tree, &places, output, outputs).map_err(|e| named(at, e))?);
            }
        }
        _ => return Err(bad("it has no trees, or two kinds of them")),
    }
    let answer = answer(file.model_info.as_ref(), outputs)?;
    let after = (scale != 1.0 || bias.iter().any(|b| *b != 0.0)).then_some((scale, bias));
    let (features, named) = (places.features, places.named);
    let source = "catboost.CatBoost".into();
    Ok(Ensemble { source, sums: Sums::Trees(spec), after, features, named, answer, scores: true, narrow: false })
}

fn named(tree: usize, error: Error) -> Error {
    match error {
        Error::Foreign(text) => Error::foreign(format!("{text} (tree {tree})")),
        other => other,
    }
}

/// A symmetric tree as a full binary one: the last split is the root, as it is the highest bit of a leaf's place.
fn symmetric(tree: &Symmetric<'_>, places: &Places, output: Option<u32>, outputs: usize) -> Result<Tree> {
    let depth = tree.splits.len();
    if depth > MAX_DEPTH {
        return Err(bad(format!("a tree is {depth} deep; {MAX_DEPTH} are possible")));
    }
    let leaves = 1usize << depth;
    if tree.leaf_values.len() != leaves * outputs {
        return Err(bad(format!("{} leaf values for {leaves} leaves", tree.leaf_values.len())));
    }
    if tree.leaf_values.iter().any(|v| !v.is_finite()) {
        return Err(bad("a leaf has no finite value"));
    }
    let mut out = Tree::new(output);
    for (level, split) in tree.splits.iter().rev().enumerate() {
        for at in 0..1u32 << level {
            let left = (2 << level) - 1 + 2 * at;
            let node = places.node(split, &mut out, left, left + 1)?;
            out.nodes.push(node);
        }
    }
    tree.leaf_values.chunks_exact(outputs).for_each(|values| out.push_leaf(values));
    let sound = |w: &f64| w.is_finite() && *w >= 0.0;
    if tree.leaf_weights.len() == leaves && tree.leaf_weights.iter().all(sound) {
        out.cover = vec![0.0; 2 * leaves - 1];
        out.cover[leaves - 1..].copy_from_slice(&tree.leaf_weights);
        for at in (0..leaves - 1).rev() {
            out.cover[at] = out.cover[2 * at + 1] + out.cover[2 * at + 2];
        }
    }
    Ok(out)
}

fn branches(root: &Branch<'_>, places: &Places, output: Option<u32>, outputs: usize) -> Result<Tree> {
    let mut out = Tree::new(output);
    let mut order = vec![root];
    let mut children = Vec::new();
    let mut at = 0;
    while at < order.len() {
        let branch = order[at];
        at += 1;
        match (&branch.split, &branch.left, &branch.right, &branch.value) {
            (Some(split), Some(left), Some(right), _) => {
                let first = order.len() as u32;
                let node = places.node(split, &mut out, first, first + 1)?;
                out.nodes.push(node);
                order.extend([&**left, &**right]);
                children.push(Some((first as usize, first as usize + 1)));
            }
            (None, None, None, Some(values)) => {
                let values = values.as_slice();
                if values.len() != outputs || values.iter().any(|v| !v.is_finite()) {
                    return Err(bad(format!("a leaf has {} values, or none that is finite", values.len())));
                }
                out.push_leaf(values);
                children.push(None);
            }
            _ => return Err(bad("a node is neither a split nor a leaf")),
        }
    }
    let weights: Option<Vec<f64>> = order
        .iter()
        .zip(&children)
        .map(|(b, c)| if c.is_some() { Some(0.0) } else { b.weight.filter(|w| w.is_finite() && *w >= 0.0) })
        .collect();
    if let Some(mut cover) = weights {
        for at in (0..order.len()).rev() {
            if let Some((left, right)) = children[at] {
                cover[at] = cover[left] + cover[right];
            }
        }
        out.cover = cover;
    }
    Ok(out)
}

/// What the loss makes of the sums.
fn answer(info: Option<&serde_json::Value>, outputs: usize) -> Result<Answer> {
    let loss = info.and_then(|i| i.pointer("/params/loss_function/type")).and_then(|v| v.as_str()).unwrap_or("RMSE");
    Ok(match loss {
        "Logloss" | "CrossEntropy" => Answer::Sigmoid { scale: 1.0 },
        "MultiClass" => Answer::Softmax,
        "MultiClassOneVsAll" | "MultiLogloss" | "MultiCrossEntropy" => {
            Answer::Sigmoids { scale: 1.0, normalized: loss == "MultiClassOneVsAll" }
        }
        "Poisson" | "Tweedie" => Answer::Exp,
        "RMSEWithUncertainty" => return Err(unsupported("has the loss RMSEWithUncertainty")),
        _ if outputs >= 1 => Answer::Sums,
        other => return Err(unsupported(&format!("has the loss '{}'", shown(other)))),
    })
}

/// Whether bytes look like a model of CatBoost.
pub(crate) fn is_one(bytes: &[u8]) -> bool {
    let head = &bytes[..bytes.len().min(4096)];
    let has = |word: &[u8]| head.windows(word.len()).any(|w| w == word);
    bytes.first() == Some(&b'{') && (has(b"\"features_info\"") || has(b"\"oblivious_trees\"") || has(b"\"model_info\""))
}
