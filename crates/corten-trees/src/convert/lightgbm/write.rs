//! Trees as LightGBM's text model.

use std::fmt::Write;

use corten_core::Result;
use corten_model::Model;
use corten_model::ops::{CategoryValues, Precision, Tree, TreeNode, TreesSpec};
use serde_json::Value;

use super::meaning::{Meaning, unsupported};

/// Most bytes of text.
const MAX_TEXT: usize = 2 << 30;

/// The model as LightGBM's text: its booster predicts what the model does, probabilities of classes included.
///
/// LightGBM takes values of a magnitude of at most 1e-35 for 0, whatever the model does.
///
/// # Errors
/// [`corten_core::Error::Unsupported`] with the reason, for what LightGBM's models can't say.
pub fn to_lightgbm(model: &Model) -> Result<String> {
    let graph = model.graph();
    let mut meaning = Meaning::of(graph)?;
    let spec = over_inputs(&mut meaning, graph.schema().inputs.len())?;
    let rounds = rounds(&spec, &meaning.shift)?;
    let outputs = spec.outputs as usize;
    let schema = graph.schema();
    let names: Vec<String> = (0..schema.inputs.len()).map(|at| name(schema, at)).collect();
    let features = Features::of(&spec, &meaning)?;

    let mut trees = Vec::with_capacity(rounds.len());
    let mut total = 0usize;
    for (at, tree) in rounds.iter().enumerate() {
        let text = tree_text(at, tree, &spec).map_err(|e| unsupported(format!("tree {at}: {e}")))?;
        total = total.saturating_add(text.len());
        if total > MAX_TEXT {
            return Err(unsupported(format!("it takes more than {MAX_TEXT} bytes")));
        }
        trees.push(text);
    }
    let sizes: Vec<String> = trees.iter().map(|t| t.len().to_string()).collect();
    let mut out = String::with_capacity(total + 4096);
    let _ = write!(
        out,
        "tree\nversion=v4\nnum_class={outputs}\nnum_tree_per_iteration={outputs}\nlabel_index=0\nmax_feature_idx={}\n",
        spec.features.saturating_sub(1)
    );
    if !meaning.objective.is_empty() {
        let _ = writeln!(out, "objective={}", meaning.objective);
    }
    if spec.average {
        out.push_str("average_output\n");
    }
    let _ = writeln!(out, "feature_names={}", names.join(" "));
    let _ = writeln!(out, "feature_infos={}", features.infos.join(" "));
    let _ = writeln!(out, "tree_sizes={}\n", sizes.join(" "));
    trees.iter().for_each(|t| out.push_str(t));
    let columns: Vec<String> = features.categorical.iter().map(usize::to_string).collect();
    let _ = write!(
        out,
        "end of trees\n\nfeature_importances:\n\nparameters:\n[categorical_feature: {}]\nend of parameters\n\npandas_categorical:{}\n",
        columns.join(","),
        features.pandas
    );
    Ok(out)
}

/// A name without what LightGBM's lists are separated by.
fn name(schema: &corten_model::Schema, at: usize) -> String {
    if !schema.named {
        return format!("Column_{at}");
    }
    schema.inputs[at].name.chars().map(|c| if c.is_whitespace() { '_' } else { c }).collect()
}

/// The ensemble over the model's own inputs: a feature of ordered codes becomes the categories that have them.
fn over_inputs(meaning: &mut Meaning<'_>, inputs: usize) -> Result<TreesSpec> {
    let mut spec = std::mem::replace(&mut meaning.spec, TreesSpec::new(0, 0));
    spec.features = u32::try_from(inputs).unwrap_or(u32::MAX);
    for tree in &mut spec.trees {
        for node in &mut tree.nodes {
            match node {
                TreeNode::Category { feature, .. } => *feature = meaning.features[*feature as usize].0 as u32,
                TreeNode::Number { feature, threshold, missing_left, zero_missing, left, right } => {
                    let (input, column) = meaning.features[*feature as usize];
                    *feature = input as u32;
                    let Some(column) = column else { continue };
                    if *zero_missing || spec.zero_threshold > 0.0 || spec.input == Precision::F32 {
                        return Err(unsupported("it compares codes of categories in a way of its own"));
                    }
                    let code = |p: u32| column.codes.as_ref().map_or(f64::from(p), |codes| codes[p as usize]);
                    let first = tree.codes.len() as u32;
                    let levels = u32::try_from(column.values.len()).unwrap_or(u32::MAX);
                    tree.codes
                        .extend((0..levels).filter(|&p| code(p) <= *threshold || (code(p).is_nan() && *missing_left)));
                    *node = TreeNode::Category {
                        feature: input as u32,
                        first,
                        count: tree.codes.len() as u32 - first,
                        levels,
                        missing_left: *missing_left,
                        unseen_left: *missing_left,
                        left: *left,
                        right: *right,
                    };
                }
                TreeNode::Leaf { .. } => {}
            }
        }
        for term in tree.models.iter_mut().flat_map(|m| &mut m.terms) {
            let (input, column) = meaning.features[term.0 as usize];
            if column.is_some() {
                return Err(unsupported("a leaf is linear in the codes of categories"));
            }
            term.0 = input as u32;
        }
    }
    Ok(spec)
}

/// What is told of each feature.
struct Features {
    infos: Vec<String>,
    categorical: Vec<usize>,
    pandas: String,
}

impl Features {
    fn of(spec: &TreesSpec, meaning: &Meaning<'_>) -> Result<Self> {
        let mut levels: Vec<Option<u32>> = vec![None; spec.features as usize];
        let mut used = vec![false; spec.features as usize];
        for node in spec.trees.iter().flat_map(|t| &t.nodes) {
            match *node {
                TreeNode::Category { feature, levels: count, .. } => levels[feature as usize] = Some(count),
                TreeNode::Number { feature, .. } => used[feature as usize] = true,
                TreeNode::Leaf { .. } => {}
            }
        }
        let mut known: Vec<Option<&CategoryValues>> = vec![None; spec.features as usize];
        for (input, values) in meaning.features.iter().filter_map(|(i, c)| Some((*i, &(*c)?.values))) {
            if known[input].is_some_and(|k| k != values) {
                return Err(unsupported("a column has two sets of categories"));
            }
            known[input] = Some(values);
            let count = u32::try_from(values.len()).unwrap_or(u32::MAX);
            levels[input] = Some(levels[input].unwrap_or(0).max(count));
        }
        if (0..used.len()).any(|at| used[at] && levels[at].is_some()) {
            return Err(unsupported("a column is read as a number and as a category"));
        }
        let info = |(levels, &used): (&Option<u32>, &bool)| match levels {
            Some(0) => "-1".to_string(),
            Some(levels) => (0..*levels).map(|c| c.to_string()).collect::<Vec<_>>().join(":"),
            None if used => "[-1e+308:1e+308]".to_string(),
            None => "none".to_string(),
        };
        let infos = levels.iter().zip(&used).map(info).collect();
        let categorical: Vec<usize> = (0..levels.len()).filter(|&at| levels[at].is_some()).collect();
        let lists: Vec<Value> = known.iter().flatten().map(|v| list(v)).collect();
        if !lists.is_empty() && lists.len() != categorical.len() {
            return Err(unsupported("some of its columns of categories are codes and others are not"));
        }
        let pandas = if lists.is_empty() { "null".into() } else { Value::from(lists).to_string() };
        Ok(Self { infos, categorical, pandas })
    }
}

/// Categories as pandas has them; whole numbers as integers.
fn list(values: &CategoryValues) -> Value {
    match values {
        CategoryValues::Texts(texts) => texts.iter().collect(),
        CategoryValues::Numbers(numbers) => {
            let whole = numbers.iter().all(|x| x.abs() < 9e15 && (*x as i64) as f64 == *x);
            if whole { numbers.iter().map(|&x| x as i64).collect() } else { numbers.iter().copied().collect() }
        }
    }
}

/// The trees, a tree of one value a leaf for each output in turn; what sums start from lies in the first ones.
fn rounds(spec: &TreesSpec, shift: &[f64]) -> Result<Vec<Tree>> {
    let outputs = spec.outputs as usize;
    let mut of: Vec<Vec<Tree>> = vec![Vec::new(); outputs];
    for tree in &spec.trees {
        match tree.output {
            Some(output) => of[output as usize].push(tree.clone()),
            None => {
                for (output, trees) in of.iter_mut().enumerate() {
                    let values = tree.values.chunks_exact(outputs).map(|v| v[output]).collect();
                    let mut nodes = tree.nodes.clone();
                    for node in &mut nodes {
                        if let TreeNode::Leaf { value } = node {
                            *value /= outputs as u32;
                        }
                    }
                    trees.push(Tree { output: Some(output as u32), nodes, values, ..tree.clone() });
                }
            }
        }
    }
    let most = of.iter().map(Vec::len).max().unwrap_or(0).max(1);
    let starts = spec.base.iter().zip(shift);
    for (output, (trees, (&base, &shift))) in of.iter_mut().zip(starts).enumerate() {
        if spec.average && ((trees.len() != most && !spec.trees.is_empty()) || base != 0.0 || shift != 0.0) {
            return Err(unsupported("its average is one that LightGBM hasn't"));
        }
        while trees.len() < most {
            let mut empty = Tree::new(Some(output as u32));
            empty.push_leaf(&[0.0]);
            trees.push(empty);
        }
        let start = base + shift;
        if start != 0.0 {
            trees[0].values.iter_mut().for_each(|v| *v += start);
            trees[0].models.iter_mut().for_each(|m| m.intercept += start);
        }
    }
    let mut all: Vec<_> = of.into_iter().map(Vec::into_iter).collect();
    Ok((0..most).flat_map(|_| all.iter_mut().filter_map(Iterator::next).collect::<Vec<_>>()).collect())
}

/// The greatest `f64` that rounds to at most `t` as `f32`: `(x as f32) <= t` is `x <=` it.
fn widened(t: f64) -> f64 {
    let mut below = t as f32;
    if f64::from(below) > t {
        below = below.next_down();
    }
    if below == f32::INFINITY {
        return f64::INFINITY;
    }
    // Half way to the next one; beyond the greatest of all lies what would come next without a bound.
    let half_last_place = f64::from(f32::MAX) - f64::from(f32::MAX.next_down());
    let middle = if below == f32::MAX {
        f64::from(f32::MAX) + half_last_place / 2.0
    } else if below == f32::NEG_INFINITY {
        f64::from(f32::MIN) - half_last_place / 2.0
    } else {
        f64::midpoint(f64::from(below), f64::from(below.next_up()))
    };
    if middle as f32 == below { middle } else { middle.next_down() }
}

/// `key=value value ...` on a line of its own.
fn line<T>(out: &mut String, key: &str, values: impl IntoIterator<Item = T>, write: impl Fn(&mut String, T)) {
    out.push_str(key);
    for (i, value) in values.into_iter().enumerate() {
        out.push(if i == 0 { '=' } else { ' ' });
        write(out, value);
    }
    if out.ends_with(key) {
        out.push('=');
    }
    out.push('\n');
}

fn whole<T: std::fmt::Display>(out: &mut String, x: T) {
    let _ = write!(out, "{x}");
}

/// The shortest text that gives the number again.
fn exact(out: &mut String, x: f64) {
    let _ = write!(out, "{x:?}");
}

/// A category node's words of bits, and whether its children change places.
fn words(tree: &Tree, node: &TreeNode, bits: &mut Vec<u32>) -> Result<bool, String> {
    let TreeNode::Category { feature, first, count, levels, missing_left, unseen_left, .. } = *node else {
        return Ok(false);
    };
    if missing_left != unseen_left {
        let problem = "missing values and unseen categories go different ways, which they never do in LightGBM";
        return Err(format!("in feature {feature} {problem}"));
    }
    let listed = &tree.codes[first as usize..(first + count) as usize];
    let start = bits.len();
    bits.resize(start + (levels as usize).div_ceil(32).max(1), 0);
    for &code in listed {
        bits[start + code as usize / 32] |= 1 << (code % 32);
    }
    if missing_left {
        // What LightGBM lists goes left and all else right: the others are listed, and the children change places.
        for code in 0..levels {
            bits[start + code as usize / 32] ^= 1 << (code % 32);
        }
    }
    Ok(missing_left)
}

fn tree_text(at: usize, tree: &Tree, spec: &TreesSpec) -> Result<String, String> {
    let (mut inner, mut leaves) = (Vec::new(), Vec::new());
    let mut place = vec![0i64; tree.nodes.len()];
    for (i, node) in tree.nodes.iter().enumerate() {
        if let TreeNode::Leaf { value } = *node {
            place[i] = !(leaves.len() as i64);
            leaves.push((i, value as usize));
        } else {
            place[i] = inner.len() as i64;
            inner.push(i);
        }
    }
    let (mut bits, mut bounds) = (Vec::new(), vec![0usize]);
    let (mut features, mut thresholds, mut kinds) = (Vec::new(), Vec::new(), Vec::new());
    let (mut lefts, mut rights) = (Vec::new(), Vec::new());
    for &i in &inner {
        let node = &tree.nodes[i];
        match *node {
            TreeNode::Number { feature, threshold, missing_left, zero_missing, left, right } => {
                features.push(feature);
                thresholds.push(if spec.input == Precision::F32 { widened(threshold) } else { threshold });
                kinds.push(u8::from(missing_left) << 1 | if zero_missing { 1 << 2 } else { 2 << 2 });
                lefts.push(place[left as usize]);
                rights.push(place[right as usize]);
            }
            TreeNode::Category { feature, left, right, .. } => {
                let swapped = words(tree, node, &mut bits)?;
                features.push(feature);
                thresholds.push((bounds.len() - 1) as f64);
                bounds.push(bits.len());
                kinds.push(1);
                lefts.push(place[if swapped { right } else { left } as usize]);
                rights.push(place[if swapped { left } else { right } as usize]);
            }
            TreeNode::Leaf { .. } => {}
        }
    }
    let rows = |i: usize| tree.cover.get(i).copied().unwrap_or(0.0);
    let mut out = format!("Tree={at}\nnum_leaves={}\nnum_cat={}\n", leaves.len(), bounds.len() - 1);
    if !inner.is_empty() {
        line(&mut out, "split_feature", &features, whole);
        line(&mut out, "split_gain", &inner, |o, _| whole(o, 0));
        line(&mut out, "threshold", thresholds, exact);
        line(&mut out, "decision_type", &kinds, whole);
        line(&mut out, "left_child", &lefts, whole);
        line(&mut out, "right_child", &rights, whole);
    }
    line(&mut out, "leaf_value", &leaves, |o, &(_, value)| exact(o, tree.values[value]));
    if !inner.is_empty() {
        line(&mut out, "leaf_weight", &leaves, |o, &(i, _)| exact(o, rows(i)));
        line(&mut out, "leaf_count", &leaves, |o, &(i, _)| whole(o, rows(i).round() as i32));
        line(&mut out, "internal_value", &inner, |o, _| whole(o, 0));
        line(&mut out, "internal_weight", &inner, |o, &i| exact(o, rows(i)));
        line(&mut out, "internal_count", &inner, |o, &i| whole(o, rows(i).round() as i32));
    }
    if bounds.len() > 1 {
        line(&mut out, "cat_boundaries", &bounds, whole);
        line(&mut out, "cat_threshold", &bits, whole);
    }
    let linear = !tree.models.is_empty();
    let _ = writeln!(out, "is_linear={}", u8::from(linear));
    if linear {
        let of = |i: usize| tree.models.iter().find(|m| m.node as usize == i);
        line(&mut out, "leaf_const", &leaves, |o, &(i, value)| {
            exact(o, of(i).map_or(tree.values[value], |m| m.intercept));
        });
        line(&mut out, "num_features", &leaves, |o, &(i, _)| whole(o, of(i).map_or(0, |m| m.terms.len())));
        let terms = |i: usize| of(i).map_or(&[][..], |m| &m.terms[..]);
        line(&mut out, "leaf_features", leaves.iter().flat_map(|l| terms(l.0)), |o, t| whole(o, t.0));
        line(&mut out, "leaf_coeff", leaves.iter().flat_map(|l| terms(l.0)), |o, t| exact(o, t.1));
    }
    out.push_str("shrinkage=1\n\n\n");
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widened_thresholds_part_numbers_as_rounding_does() {
        let edges = [0.0, 1.0, -1.0, 0.1, 16_777_217.0, 1e-46, -1e-46, 3.5e38, -3.5e38, f64::from(f32::MAX)];
        let more = edges.into_iter().chain([f64::INFINITY, f64::NEG_INFINITY, f64::from(f32::MIN), 5e-324]);
        for t in more {
            let wide = widened(t);
            let close = [wide, wide.next_up(), wide.next_down(), t, t.next_up(), t.next_down(), 0.0, -1e-45];
            for x in close {
                assert_eq!(f64::from(x as f32) <= t, x <= wide, "{x:e} at {t:e}, widened {wide:e}");
            }
        }
    }
}
