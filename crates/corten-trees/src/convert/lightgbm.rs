//! LightGBM's text models (versions 2 to 4).
//!
//! Its rules, as `src/io/tree.cpp` and `src/boosting` have them: values of at most 1e-35 (as `f32`) are 0 before anything
//! is compared; a missing value is NaN, zero and NaN, or none (then NaN is 0); categories are cut to whole numbers, and
//! what is not listed goes right. The leaves of a random forest are averaged.

mod meaning;
mod write;

use std::collections::HashMap;

use corten_core::{Error, Result};
use corten_model::ops::{CategoryValues, LeafModel, Tree, TreeNode, TreesSpec};
use serde_json::Value;

use crate::convert::ensemble::{Answer, Ensemble, Feature, Sums};
use crate::convert::numbers::{list, one, shown};

pub use write::to_lightgbm;

/// Most trees, features, and leaves of a tree.
const MAX_TREES: usize = 1 << 24;
const MAX_FEATURES: usize = 1 << 24;
const MAX_LEAVES: usize = 1 << 28;
/// Most words of a set of categories: as many as 31-bit codes take.
const MAX_WORDS: usize = 1 << 26;

fn bad(problem: impl std::fmt::Display) -> Error {
    Error::foreign(format!("the LightGBM model can't be read: {problem}"))
}

/// Lines of `key=value` up to an empty line.
struct Section<'t>(HashMap<&'t str, &'t str>);

impl<'t> Section<'t> {
    fn get(&self, key: &str) -> Option<&'t str> {
        self.0.get(key).copied()
    }

    fn need(&self, key: &str) -> Result<&'t str> {
        self.get(key).ok_or_else(|| bad(format!("'{key}' is missing")))
    }

    fn list<T: std::str::FromStr>(&self, key: &str, count: usize) -> Result<Vec<T>> {
        list(key, self.need(key)?, count).map_err(bad)
    }

    fn one<T: std::str::FromStr>(&self, key: &str) -> Result<T> {
        one(key, self.need(key)?).map_err(bad)
    }
}

/// Reads a text model.
///
/// # Errors
/// [`Error::Foreign`] for a damaged model, [`Error::Unsupported`] for an objective whose answer isn't known.
pub(crate) fn read(bytes: &[u8]) -> Result<Ensemble> {
    let text = std::str::from_utf8(bytes).map_err(|_| bad("it is no UTF-8"))?;
    let mut lines = text.lines();
    let mut header = Section(HashMap::new());
    let mut flags = Vec::new();
    let mut first_tree = None;
    for line in lines.by_ref() {
        if line.starts_with("Tree=") {
            first_tree = Some(line);
            break;
        }
        match line.split_once('=') {
            Some((key, value)) => {
                header.0.insert(key, value);
            }
            None if line == "end of trees" => break,
            None => flags.push(line),
        }
    }
    let outputs: usize = header.one("num_tree_per_iteration")?;
    let features = header.one::<usize>("max_feature_idx")?.saturating_add(1);
    if outputs == 0 || outputs > MAX_FEATURES || features > MAX_FEATURES {
        return Err(bad(format!("{outputs} outputs of {features} features")));
    }
    let names: Vec<String> = header.need("feature_names")?.split(' ').map(str::to_owned).collect();
    if names.len() != features {
        return Err(bad(format!("it has {} names for {features} features", names.len())));
    }
    let mut spec = TreesSpec {
        average: flags.contains(&"average_output"),
        zero_threshold: f64::from(1e-35f32),
        ..TreesSpec::new(features as u32, outputs as u32)
    };
    let mut next = first_tree;
    while next.is_some() {
        let mut section = Section(HashMap::new());
        next = None;
        for line in lines.by_ref() {
            if line.starts_with("Tree=") {
                next = Some(line);
                break;
            }
            if line == "end of trees" {
                break;
            }
            if let Some((key, value)) = line.split_once('=') {
                section.0.insert(key, value);
            }
        }
        let at = spec.trees.len();
        if at == MAX_TREES {
            return Err(bad(format!("it has more than {MAX_TREES} trees")));
        }
        let tree = self::tree(&section, features, (at % outputs) as u32);
        spec.trees.push(tree.map_err(|e| bad(format!("tree {at}: {}", reason(&e))))?);
    }
    if !spec.trees.len().is_multiple_of(outputs) {
        return Err(bad(format!("{} trees are no whole rounds of {outputs}", spec.trees.len())));
    }
    if text.lines().all(|line| line != "end of trees") {
        return Err(bad("it ends before its trees do"));
    }
    let categorical = levels(&mut spec, &names)?;
    let objective = header.get("objective").unwrap_or_default();
    let answer = answer(objective, outputs)?;
    let lists = pandas(text)?;
    let infos: Vec<&str> = header.get("feature_infos").unwrap_or_default().split(' ').collect();
    // A column of categories lists those that it has; one of numbers has a range.
    let is_category = |at: usize| categorical[at] || infos.get(at).is_some_and(|i| !i.starts_with('[') && *i != "none");
    let columns: Vec<usize> = (0..names.len()).filter(|&at| is_category(at)).collect();
    if !lists.is_empty() && lists.len() != columns.len() {
        return Err(Error::Unsupported(format!(
            "the LightGBM model was fitted on a data frame with {} columns of categories, but reads {}: which is which can't be told",
            lists.len(),
            columns.len()
        )));
    }
    let mut features: Vec<Feature> =
        names.iter().map(|name| Feature { name: name.clone(), categories: None }).collect();
    for (at, list) in columns.into_iter().zip(lists) {
        features[at].categories = Some(list);
    }
    let unnamed = names.iter().enumerate().all(|(i, n)| *n == format!("Column_{i}"));
    if unnamed {
        features.iter_mut().enumerate().for_each(|(i, f)| f.name = format!("x{i}"));
    }
    let (sums, named) = (Sums::Trees(spec), !unnamed);
    Ok(Ensemble {
        source: "lightgbm.Booster".into(),
        sums,
        after: None,
        features,
        named,
        answer,
        scores: true,
        narrow: false,
    })
}

/// What is wrong, without "the LightGBM model ..." a second time.
fn reason(error: &Error) -> String {
    let text = error.to_string();
    text.rsplit_once("can't be read: ").map_or(text.clone(), |(_, reason)| reason.to_owned())
}

/// The categories of each column that was one in a pandas frame.
fn pandas(text: &str) -> Result<Vec<CategoryValues>> {
    let Some(found) = text.rsplit_once("\npandas_categorical:") else { return Ok(Vec::new()) };
    let line = found.1.lines().next().unwrap_or_default();
    let lists: Option<Vec<Vec<Value>>> =
        serde_json::from_str(line).map_err(|e| bad(format!("'pandas_categorical' is no list of lists: {e}")))?;
    let values = |list: Vec<Value>| -> Result<CategoryValues> {
        if list.iter().all(|v| v.is_string()) {
            let text = |v: Value| if let Value::String(s) = v { s } else { String::new() };
            return Ok(CategoryValues::Texts(list.into_iter().map(text).collect()));
        }
        let number = |v: &Value| match v {
            Value::Bool(b) => Some(f64::from(u8::from(*b))),
            v => v.as_f64(),
        };
        let numbers: Option<Vec<f64>> = list.iter().map(number).collect();
        numbers
            .map(CategoryValues::Numbers)
            .ok_or_else(|| Error::Unsupported("the LightGBM model has a column with categories of mixed types".into()))
    };
    lists.unwrap_or_default().into_iter().map(values).collect()
}

fn answer(objective: &str, outputs: usize) -> Result<Answer> {
    let mut words = objective.split(' ');
    let name = words.next().unwrap_or_default();
    let rest: Vec<&str> = words.collect();
    let setting = |key: &str| rest.iter().find_map(|w| w.strip_prefix(key)?.strip_prefix(':'));
    let scale = match setting("sigmoid") {
        Some(text) => one::<f64>("sigmoid", text).map_err(bad)?,
        None => 1.0,
    };
    if !scale.is_finite() {
        return Err(bad("'sigmoid' is no number"));
    }
    Ok(match name {
        "binary" => Answer::Sigmoid { scale },
        "multiclass" => Answer::Softmax,
        "multiclassova" => Answer::Sigmoids { scale, normalized: false },
        "poisson" | "gamma" | "tweedie" => Answer::Exp,
        "cross_entropy" => Answer::Sigmoids { scale: 1.0, normalized: false },
        "cross_entropy_lambda" => Answer::Softplus,
        "regression" | "regression_l1" | "regression_l2" | "fair" | "quantile" | "mape" if rest.contains(&"sqrt") => {
            Answer::SignedSquare
        }
        "regression" | "regression_l1" | "regression_l2" | "huber" | "fair" | "quantile" | "mape" | "lambdarank"
        | "rank_xendcg" => Answer::Sums,
        // A model with a loss of its own predicts sums.
        "custom" | "none" | "" => Answer::Sums,
        other => {
            let text = format!("LightGBM's objective '{}' with {outputs} outputs isn't known", shown(other));
            return Err(Error::Unsupported(text));
        }
    })
}

/// Reads a tree.
fn tree(section: &Section<'_>, features: usize, output: u32) -> Result<Tree> {
    let leaves: usize = section.one("num_leaves")?;
    if leaves == 0 || leaves > MAX_LEAVES {
        return Err(bad(format!("{leaves} leaves")));
    }
    let values: Vec<f64> = section.list("leaf_value", leaves)?;
    let mut out = Tree::new(Some(output));
    let linear = match section.get("is_linear").map(str::trim) {
        Some("1") => Some(LeafModels::read(section, leaves, features)?),
        _ => None,
    };
    let inner = leaves - 1;
    let split_feature: Vec<usize> = if inner > 0 { section.list("split_feature", inner)? } else { Vec::new() };
    let of_inner = |key: &str| if inner > 0 { section.list::<f64>(key, inner) } else { Ok(Vec::new()) };
    let threshold = of_inner("threshold")?;
    let decision: Vec<u8> = if inner > 0 { section.list("decision_type", inner)? } else { Vec::new() };
    let child = |key: &str| if inner > 0 { section.list::<i64>(key, inner) } else { Ok(Vec::new()) };
    let (left, right) = (child("left_child")?, child("right_child")?);
    let categories: usize = section.get("num_cat").map_or(Ok(0), |t| one("num_cat", t).map_err(bad))?;
    let (bounds, words) = if categories > 0 {
        let bounds: Vec<usize> = section.list("cat_boundaries", categories.saturating_add(1))?;
        if bounds.windows(2).any(|w| w[0] > w[1] || w[1] - w[0] > MAX_WORDS) || bounds.first() != Some(&0) {
            return Err(bad("'cat_boundaries' go back, or too far"));
        }
        let words: Vec<u32> = section.list("cat_threshold", bounds.last().copied().unwrap_or(0))?;
        (bounds, words)
    } else {
        (Vec::new(), Vec::new())
    };
    // Rows that reached each node, where the model says so.
    let counts = |key: &str, count: usize| section.get(key).and_then(|t| list::<f64>(key, t, count).ok());
    let cover =
        counts("leaf_count", leaves).zip(if inner > 0 { counts("internal_count", inner) } else { Some(Vec::new()) });
    let sound = |c: &(Vec<f64>, Vec<f64>)| c.0.iter().chain(&c.1).all(|x| x.is_finite() && *x >= 0.0);
    let cover = cover.filter(sound);
    // Nodes as they are met from the root; `0..inner` are splits, then leaves.
    let mut order = vec![if inner > 0 { 0 } else { inner }];
    let mut at = 0;
    while at < order.len() {
        let node = order[at];
        if let Some((leaf_cover, inner_cover)) = &cover {
            out.cover.push(if node < inner { inner_cover[node] } else { leaf_cover[node - inner] });
        }
        if node >= inner {
            let leaf = node - inner;
            let mut value = values[leaf];
            match linear.as_ref().and_then(|models| models.of(leaf, at as u32)) {
                // A constant is all of its model, for it has no input that may be missing.
                Some(model) if model.terms.is_empty() => value = model.intercept,
                Some(model) => out.models.push(model),
                None => {}
            }
            out.push_leaf(&[value]);
            at += 1;
            continue;
        }
        let place = |child: i64| -> Result<usize> {
            let place =
                if child >= 0 { usize::try_from(child).ok() } else { usize::try_from(!child).ok().map(|l| l + inner) };
            let is_there = |p: &usize| if child >= 0 { *p < inner } else { *p < inner + leaves };
            place.filter(is_there).ok_or_else(|| bad(format!("node {node} leads to a child {child} that isn't there")))
        };
        if order.len() + 2 > inner + leaves {
            return Err(bad(format!("node {node} is reached a second time")));
        }
        let children = (order.len() as u32, order.len() as u32 + 1);
        order.extend([place(left[node])?, place(right[node])?]);
        let feature = split_feature[node];
        if feature >= features {
            return Err(bad(format!("node {node} reads feature {feature} of {features}")));
        }
        let kind = decision[node];
        out.nodes.push(if kind & 1 == 1 {
            let bits = match threshold[node] {
                t if t >= 0.0 && t < categories as f64 => &words[bounds[t as usize]..bounds[t as usize + 1]],
                t => return Err(bad(format!("node {node} has the categories {t} of {categories}"))),
            };
            let first = out.codes.len() as u32;
            let set = bits
                .iter()
                .zip(0u32..)
                .flat_map(|(word, at)| (0..32).filter(move |bit| word >> bit & 1 == 1).map(move |bit| at * 32 + bit));
            out.codes.extend(set);
            TreeNode::Category {
                feature: feature as u32,
                first,
                count: out.codes.len() as u32 - first,
                levels: 0,
                missing_left: false,
                unseen_left: false,
                left: children.0,
                right: children.1,
            }
        } else {
            let t = threshold[node];
            if t.is_nan() {
                return Err(bad(format!("node {node} has no threshold")));
            }
            let (missing_left, zero_missing) = match kind >> 2 & 3 {
                // A missing value counts as 0.
                0 => (0.0 <= t, false),
                1 => (kind & 2 != 0, true),
                _ => (kind & 2 != 0, false),
            };
            TreeNode::Number {
                feature: feature as u32,
                threshold: t,
                missing_left,
                zero_missing,
                left: children.0,
                right: children.1,
            }
        });
        at += 1;
    }
    Ok(out)
}

/// The linear models of a tree's leaves.
struct LeafModels {
    constants: Vec<f64>,
    counts: Vec<usize>,
    starts: Vec<usize>,
    features: Vec<usize>,
    weights: Vec<f64>,
}

impl LeafModels {
    fn read(section: &Section<'_>, leaves: usize, inputs: usize) -> Result<Self> {
        let constants: Vec<f64> = section.list("leaf_const", leaves)?;
        let counts: Vec<usize> = section.list("num_features", leaves)?;
        let mut starts = Vec::with_capacity(leaves);
        let mut total = 0usize;
        for &count in &counts {
            starts.push(total);
            total =
                total.checked_add(count).filter(|t| *t <= MAX_LEAVES).ok_or_else(|| bad("too many leaf features"))?;
        }
        let all = |key: &str| section.get(key).unwrap_or_default();
        let features: Vec<usize> = list("leaf_features", all("leaf_features"), total).map_err(bad)?;
        let weights: Vec<f64> = list("leaf_coeff", all("leaf_coeff"), total).map_err(bad)?;
        if let Some(feature) = features.iter().find(|f| **f >= inputs) {
            return Err(bad(format!("a leaf reads feature {feature} of {inputs}")));
        }
        Ok(Self { constants, counts, starts, features, weights })
    }

    fn of(&self, leaf: usize, node: u32) -> Option<LeafModel> {
        let range = self.starts[leaf]..self.starts[leaf] + self.counts[leaf];
        let terms = self.features[range.clone()].iter().zip(&self.weights[range]);
        let terms = terms.map(|(&feature, &weight)| (feature as u32, weight)).collect();
        Some(LeafModel { node, intercept: self.constants[leaf], terms })
    }
}

/// Gives all category nodes of a feature the same number of categories; tells which features are categories.
fn levels(spec: &mut TreesSpec, names: &[String]) -> Result<Vec<bool>> {
    let mut most: Vec<Option<u32>> = vec![None; spec.features as usize];
    let mut numbers = vec![false; spec.features as usize];
    for tree in &spec.trees {
        for node in &tree.nodes {
            match *node {
                TreeNode::Category { feature, first, count, .. } => {
                    let codes = &tree.codes[first as usize..(first + count) as usize];
                    let top = codes.iter().max().map_or(0, |c| c + 1);
                    let most = &mut most[feature as usize];
                    *most = Some(most.unwrap_or(0).max(top));
                }
                TreeNode::Number { feature, .. } => numbers[feature as usize] = true,
                TreeNode::Leaf { .. } => {}
            }
        }
    }
    for (at, most) in most.iter().enumerate() {
        if most.is_some() && numbers[at] {
            return Err(bad(format!("column '{}' is compared as a number and as a category", names[at])));
        }
    }
    for tree in &mut spec.trees {
        for node in &mut tree.nodes {
            if let TreeNode::Category { feature, levels, .. } = node {
                *levels = most[*feature as usize].unwrap_or(0);
            }
        }
    }
    Ok(most.iter().map(Option::is_some).collect())
}
