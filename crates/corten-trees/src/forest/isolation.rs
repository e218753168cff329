//! Isolation forests: rows that few drawn cuts set apart are outliers.
//!
//! Liu, Ting & Zhou, "Isolation forest", ICDM 2008. A tree is grown on few rows, so no ranks are made: cuts are drawn
//! between the least and the greatest value of a node.

use std::any::Any;
use std::borrow::Cow;
use std::time::Instant;

use crate::source::Source;
use corten_core::random::Stream;
use corten_core::{Column, Data, Error, Result, parameter};
use corten_kernels::{parallel, special};
use corten_model::estimator::{Attribute, Estimator, FitInput, Fitted};
use corten_model::ops::{
    CheckFinite, Decide, DecideKind, Linear, Link, LinkKind, Tree, TreeNode, Trees as Ensemble, TreesSpec,
};
use corten_model::{Builder, Labels, Method, Output, Run, Schema, Slot};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Tells the streams of rows, columns and cuts apart.
const ROWS: u64 = 0x0069_726f_7773 << 16;
const CUTS: u64 = 0x0069_6375_7473 << 16;
/// Euler's constant.
const GAMMA: f64 = 0.577_215_664_901_532_9;
/// Rows that `max_samples="auto"` draws at most.
const AUTO: usize = 256;
/// Rows that are looked through at a time.
const BLOCK: usize = 256;

/// Parameters as scikit-learn's estimator of this name.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct IsolationForest {
    n_estimators: usize,
    max_samples: Value,
    contamination: Value,
    max_features: Value,
    bootstrap: bool,
    random_state: Option<u64>,
    warm_start: bool,
}

impl Default for IsolationForest {
    fn default() -> Self {
        Self {
            n_estimators: 100,
            max_samples: "auto".into(),
            contamination: "auto".into(),
            max_features: 1.0.into(),
            bootstrap: false,
            random_state: None,
            warm_start: false,
        }
    }
}

/// Mean depth of a row in a tree of drawn cuts over `n` rows.
fn mean_depth(n: usize) -> f64 {
    match n {
        0 | 1 => 0.0,
        2 => 1.0,
        _ => 2.0 * (special::ln(n as f64 - 1.0) + GAMMA) - 2.0 * (n as f64 - 1.0) / n as f64,
    }
}

/// An integer from 1, or a share of `all` in (0, 1].
fn count(name: &str, given: &Value, all: usize) -> Result<usize> {
    match given.as_f64() {
        Some(n) if given.is_u64() && n >= 1.0 => Ok(n as usize),
        Some(share) if given.is_f64() && share > 0.0 && share <= 1.0 => Ok(((share * all as f64) as usize).max(1)),
        _ => Err(Error::parameter(name, "an int in the range [1, inf) or a float in the range (0.0, 1.0]", given)),
    }
}

/// What trees are grown from.
struct Plan<'a> {
    columns: &'a [Cow<'a, Column<'a>>],
    total: usize,
    weights: Option<&'a [f64]>,
    bootstrap: bool,
    draws: usize,
    features: usize,
    max_depth: usize,
    seed: u64,
}

impl Plan<'_> {
    /// The rows of a tree.
    fn rows(&self, tree: usize) -> Vec<u32> {
        let n = self.total;
        let mut stream = Stream::new(self.seed, ROWS ^ tree as u64);
        match (self.weights, self.bootstrap) {
            (None, true) => (0..self.draws).map(|_| stream.below(n as u64) as u32).collect(),
            (Some(weights), true) => {
                let mut sums = weights.to_vec();
                for i in 1..n {
                    sums[i] += sums[i - 1];
                }
                let draw = |_| {
                    let at = stream.uniform() * sums[n - 1];
                    sums.partition_point(|s| *s <= at).min(n - 1) as u32
                };
                (0..self.draws).map(draw).collect()
            }
            (None, false) => {
                // Floyd's draw without replacement, with a bit a row.
                let mut taken = vec![0u64; n.div_ceil(64)];
                for last in n - self.draws.min(n)..n {
                    let at = stream.below(last as u64 + 1) as usize;
                    let at = if taken[at / 64] >> (at % 64) & 1 == 1 { last } else { at };
                    taken[at / 64] |= 1 << (at % 64);
                }
                let mut rows = Vec::with_capacity(self.draws);
                for (start, mut word) in (0u32..).step_by(64).zip(taken) {
                    while word != 0 {
                        rows.push(start + word.trailing_zeros());
                        word &= word - 1;
                    }
                }
                rows
            }
            (Some(weights), false) => {
                // The greatest of log(u) / w are a weighted draw without replacement (Efraimidis & Spirakis 2006).
                let positive = (0u32..).zip(weights).filter(|(_, w)| **w > 0.0);
                let mut keys: Vec<(f64, u32)> =
                    positive.map(|(row, w)| (special::ln(1.0 - stream.uniform()) / w, row)).collect();
                keys.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
                keys.truncate(self.draws);
                keys.into_iter().map(|(_, row)| row).collect()
            }
        }
    }

    fn grow(&self, number: usize) -> Result<Tree> {
        let mut values = vec![0.0; self.draws];
        let mut rows = self.rows(number);
        let mut stream = Stream::new(self.seed, CUTS ^ number as u64);
        let mut features: Vec<u32> = (0..self.columns.len() as u32).collect();
        if self.features < features.len() {
            stream.shuffle(&mut features);
            features.truncate(self.features);
        }
        let mut tree = Tree::new(None);
        let mut open = vec![(0usize, rows.len(), 0usize, None)];
        while let Some((start, end, depth, above)) = open.pop() {
            let at = tree.nodes.len() as u32;
            if let Some((parent, is_left)) = above
                && let TreeNode::Number { left, right, .. } = &mut tree.nodes[parent as usize]
            {
                *(if is_left { left } else { right }) = at;
            }
            let part = &mut rows[start..end];
            tree.cover.push(part.len() as f64);
            let values = &mut values[..part.len()];
            let cut = if depth < self.max_depth { self.cut(part, values, &mut features, &mut stream)? } else { None };
            let Some((feature, threshold, missing_left)) = cut else {
                tree.push_leaf(&[depth as f64 + mean_depth(part.len())]);
                continue;
            };
            let mut middle = 0;
            for (i, x) in values.iter().enumerate() {
                if *x <= threshold || (missing_left && x.is_nan()) {
                    part.swap(i, middle);
                    middle += 1;
                }
            }
            let zero_missing = false;
            tree.nodes.push(TreeNode::Number { feature, threshold, missing_left, zero_missing, left: 0, right: 0 });
            open.push((start + middle, end, depth + 1, Some((at, false))));
            open.push((start, start + middle, depth + 1, Some((at, true))));
        }
        Ok(tree)
    }

    /// A cut of some rows by a column that varies among them, whose values it leaves; `None` where none does.
    fn cut(
        &self,
        rows: &[u32],
        values: &mut [f64],
        features: &mut [u32],
        stream: &mut Stream,
    ) -> Result<Option<(u32, f64, bool)>> {
        if rows.len() < 2 {
            return Ok(None);
        }
        for left in (1..=features.len()).rev() {
            let at = stream.below(left as u64) as usize;
            let feature = features[at];
            features.swap(at, left - 1);
            self.columns[feature as usize].pick_f64(rows, values)?;
            let (mut low, mut high, mut missing) = (f64::INFINITY, f64::NEG_INFINITY, 0);
            for &x in &*values {
                low = low.min(x);
                high = high.max(x);
                missing += usize::from(x.is_nan());
            }
            if missing == rows.len() || (low >= high && missing == 0) {
                continue;
            }
            let u = stream.uniform();
            let mut threshold = low + (high - low) * u;
            if threshold.is_nan() || threshold >= high {
                threshold = low;
            }
            // Where all values are the same, missing ones are set apart from them.
            let missing_left = missing > 0 && low < high && stream.below(2) == 1;
            return Ok(Some((feature, threshold, missing_left)));
        }
        Ok(None)
    }
}

/// All columns, once their numbers were looked through; only drawn rows are read again.
fn columns_of<'d>(data: &'d Data<'d>, threads: usize) -> Result<Vec<Cow<'d, Column<'d>>>> {
    let (source, rows) = (Source::new(data)?, data.rows());
    let columns: Vec<Cow<'d, Column<'d>>> = (0..source.width()).map(|at| source.column(at)).collect();
    let looked = parallel::map_blocks(threads, rows, BLOCK, |_, range| {
        let mut values = [0.0; BLOCK];
        let values = &mut values[..range.len()];
        for column in &columns {
            column.read_f64(range.start, values)?;
            if values.iter().map(|x| u32::from(x.is_infinite())).sum::<u32>() > 0 {
                let what = "Input X contains infinity or a value too large for dtype('float64').";
                return Err(Error::column(&column.name, what));
            }
        }
        Ok(())
    });
    looked.into_iter().collect::<Result<()>>()?;
    Ok(columns)
}

impl IsolationForest {
    /// The share of outliers; `None` for "auto".
    fn share(&self) -> Result<Option<f64>> {
        let given = &self.contamination;
        match given.as_f64() {
            None if given.as_str() == Some("auto") => Ok(None),
            Some(share) if share > 0.0 && share <= 0.5 => Ok(Some(share)),
            _ => Err(Error::parameter("contamination", "'auto' or a float in the range (0.0, 0.5]", given)),
        }
    }
}

impl Estimator for IsolationForest {
    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Fitted>> {
        let start = Instant::now();
        parameter::at_least("n_estimators", self.n_estimators as u64, 1)?;
        let share = self.share()?;
        let (rows, width) = (input.x.rows(), input.x.width());
        let auto = self.max_samples.as_str() == Some("auto");
        let draws = if auto { AUTO } else { count("max_samples", &self.max_samples, rows)? }.min(rows);
        let features = count("max_features", &self.max_features, width)?;
        if features > width {
            return Err(Error::parameter("max_features", format!("at most the {width} columns"), features));
        }
        let threads = input.context.threads.max(1);
        let columns = columns_of(input.x, threads)?;
        if columns.is_empty() || rows == 0 {
            return Err(Error::value("an isolation forest needs at least one row and one column"));
        }
        let weights = input.sample_weight;
        if weights.is_some_and(|w| w.len() != rows || w.iter().any(|x| !x.is_finite() || *x < 0.0)) {
            return Err(Error::value(format!("sample_weight must be {rows} finite numbers, none of them negative")));
        }
        let earlier: &[Tree] = match input.previous.and_then(|p| p.as_any().downcast_ref::<Isolation>()) {
            Some(before) if self.warm_start && before.features == width => &before.trees,
            Some(_) if self.warm_start => {
                return Err(Error::value("warm_start keeps the trees of the fit before, which had other columns"));
            }
            _ => &[],
        };
        if earlier.len() > self.n_estimators {
            return Err(Error::value(format!(
                "n_estimators={} must be larger or equal to len(estimators_)={} when warm_start==True",
                self.n_estimators,
                earlier.len()
            )));
        }
        let plan = Plan {
            columns: &columns,
            total: rows,
            weights,
            bootstrap: self.bootstrap,
            draws,
            features,
            max_depth: draws.max(2).next_power_of_two().trailing_zeros() as usize,
            seed: self.random_state.unwrap_or(0),
        };
        let first = earlier.len();
        let grown = parallel::map_blocks(threads, self.n_estimators - first, 4, |_, range| {
            input.context.cancel.check()?;
            range.map(|i| plan.grow(first + i)).collect::<Result<Vec<_>>>()
        });
        let mut trees = earlier.to_vec();
        for part in grown {
            trees.extend(part?);
        }
        let mut fitted = Isolation { trees, features: width, draws, offset: -0.5, seconds: 0.0 };
        if let Some(share) = share {
            // Without an offset, decisions are scores.
            fitted.offset = 0.0;
            let model = (&fitted as &dyn Fitted).model(Schema::of(input.x)?)?;
            let run = Run { threads, cancel: input.context.cancel.clone() };
            fitted.offset = quantile(model.run(Method::DecisionFunction, input.x, &run)?.numbers, share);
        }
        fitted.seconds = start.elapsed().as_secs_f64();
        Ok(Box::new(fitted))
    }
}

/// The quantile between the two values beside its place.
fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let place = share * (values.len() - 1) as f64;
    let (at, rest) = (place as usize, place - place.floor());
    let next = values[(at + 1).min(values.len() - 1)];
    values[at] + (next - values[at]) * rest
}

/// A fitted isolation forest.
struct Isolation {
    trees: Vec<Tree>,
    features: usize,
    draws: usize,
    offset: f64,
    seconds: f64,
}

impl Isolation {
    /// What a mean depth is multiplied with before it becomes a power.
    fn rate(&self) -> f64 {
        let depth = mean_depth(self.draws);
        if depth > 0.0 { -std::f64::consts::LN_2 / depth } else { 0.0 }
    }

    /// With a single row in each tree every depth is 0, and the score is that of a row in doubt.
    fn constant(&self) -> f64 {
        if self.draws > 1 { 0.0 } else { -std::f64::consts::LN_2 }
    }
}

impl Fitted for Isolation {
    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        vec![("offset_", Attribute::Float(self.offset)), ("max_samples_", Attribute::Int(self.draws as i64))]
    }

    fn lower(&self, builder: &mut Builder, inputs: &[Slot], names: &[String]) -> Result<Vec<Output>> {
        let checked = builder.add(CheckFinite { allow_nan: true, names: names.to_vec() }, inputs)?;
        let trees = Ensemble::build(TreesSpec {
            average: true,
            trees: self.trees.clone(),
            ..TreesSpec::new(self.features as u32, 1)
        })?;
        let depth = builder.add(trees, &checked)?;
        let rate = Linear { outputs: 1, weights: vec![self.rate()], intercept: vec![self.constant()] };
        let rate = builder.add(rate, &depth)?;
        let power = builder.add(Link { kind: LinkKind::Exp }, &rate)?;
        let score = builder.add(Linear { outputs: 1, weights: vec![-1.0], intercept: vec![-self.offset] }, &power)?;
        // Not below 0: above the greatest number below it.
        let threshold = DecideKind::Threshold(-f64::from_bits(1));
        let class = builder.add(Decide { kind: threshold }, &score)?;
        Ok(vec![
            Output::of_class(class[0], Labels::Int(vec![-1, 1])),
            Output::new(Method::DecisionFunction, score, vec!["score".into()]),
        ])
    }

    fn report(&self) -> Value {
        json!({ "trees": self.trees.len(), "rows_per_tree": self.draws, "seconds": self.seconds })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_depths_are_those_of_the_paper() {
        // scikit-learn's value of 2 H(n-1) - 2 (n-1) / n, with H(i) near ln(i) + Euler's constant.
        assert_eq!((mean_depth(1), mean_depth(2)), (0.0, 1.0));
        assert!((mean_depth(256) - 10.244_770_920_119_917).abs() < 1e-12);
    }

    #[test]
    fn draws_without_replacement_are_distinct() {
        let columns = [Cow::Owned(Column::f64("x", (0..50).map(f64::from).collect::<Vec<_>>()))];
        let weights: Vec<f64> = (0..50).map(|i| f64::from(i % 2)).collect();
        for weights in [None, Some(&weights[..])] {
            let plan = Plan {
                columns: &columns,
                total: 50,
                weights,
                bootstrap: false,
                draws: 20,
                features: 1,
                max_depth: 5,
                seed: 3,
            };
            let mut rows = plan.rows(1);
            rows.sort_unstable();
            rows.dedup();
            assert_eq!(rows.len(), 20);
            assert!(weights.is_none() || rows.iter().all(|r| r % 2 == 1));
        }
    }
}
