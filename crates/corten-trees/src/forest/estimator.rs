//! The fit of single trees and forests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use corten_core::random::Stream;
use corten_core::{Error, Result};
use corten_kernels::parallel;
use corten_model::estimator::{Context, FitInput, Fitted, Step};

use super::absolute::Absolute;
use super::classes::{Classes, Measure};
use super::counts::Counts;
use super::drawn::{self, Drawn};
use super::finder::{Entry, Finder};
use super::fitted::{Grove, OutOfBag};
use super::grower::{Grower, Rules};
use super::means::{Means, Poisson, Squared};
use super::ordered::{self, Orders};
use super::parameters::Growth;
use super::prune::prune;
use super::purity::{Entropy, Gini};
use super::ranks::{self, Code, Ranked, Ranks, Table};
use super::sample::{self, Bootstrap};
use super::sampled::{self, Sampled};
use super::task::Task;
use super::tree::{GrownTree, Summary};
use super::weights::{self, balance, by_class, payloads, positive, scale, whole};

/// Weights whose logarithms are kept in a table, however few the rows.
const TERMS: usize = 1 << 20;
/// Most classes of trees whose leaves are picked of a whole one.
const PICKED_CLASSES: usize = 100;
/// Tells the stream of a tree's draws of columns apart from that of rows.
const COLUMNS: u64 = 0x0063_6f6c_756d << 16;

/// What is to be fitted.
pub(crate) struct Forest<'a> {
    pub(crate) growth: &'a Growth,
    /// Whether thresholds are drawn.
    pub(crate) random: bool,
    pub(crate) trees: usize,
    /// Rows drawn with replacement for each tree; all rows as they are when `None`.
    pub(crate) draws: Option<usize>,
    pub(crate) oob: bool,
    pub(crate) warm: bool,
    /// Whether classes are weighted evenly among the rows drawn for each tree.
    pub(crate) balanced: bool,
    pub(crate) single: bool,
}

/// What a fit adds.
#[derive(Default)]
struct Grown {
    trees: Vec<GrownTree>,
    summaries: Vec<Summary>,
    oob: Option<OutOfBag>,
}

/// All that a tree is grown from.
struct Plan<'a> {
    forest: &'a Forest<'a>,
    task: &'a Task<'a>,
    rules: &'a Rules,
    weights: Option<&'a [f64]>,
    bootstrap: Option<Bootstrap>,
    /// Weights as whole numbers, where they are.
    whole: Option<Vec<u32>>,
    /// Those of classes, where they aren't, and rows of a class weigh alike or nothing.
    class_weights: Option<Vec<f64>>,
    entropy: Option<Entropy>,
    /// Rows in the order of their classes, where cuts are drawn and all rows of a class weigh the same.
    by_class: Option<Vec<u32>>,
    seed: u64,
    context: &'a Context,
}

/// # Errors
/// [`Error::Parameter`], [`Error::Value`] and [`Error::Column`] for what can't be fitted, [`Error::Cancelled`].
pub(crate) fn fit(forest: &Forest<'_>, input: &FitInput<'_>) -> Result<Box<dyn Fitted>> {
    let start = Instant::now();
    weights::check(input.sample_weight)?;
    let scale = if forest.draws.is_none() { scale(input.sample_weight) } else { 1.0 };
    let scaled: Option<Vec<f64>> =
        input.sample_weight.filter(|_| scale != 1.0).map(|weights| weights.iter().map(|w| w * scale).collect());
    let weights = scaled.as_deref().or(input.sample_weight);
    let task = Task::of(&input.y, &forest.growth.criterion, weights)?;
    let (rows, width) = (input.x.rows(), input.x.width());
    if rows == 0 || width == 0 {
        return Err(Error::value(format!(
            "Found array with {rows} sample(s) and {width} feature(s) while a minimum of 1 of each is required."
        )));
    }
    if task.rows() != rows || weights.is_some_and(|w| w.len() != rows) || rows > u32::MAX as usize / 2 {
        return Err(Error::value(format!(
            "Found input variables with inconsistent numbers of samples: [{rows}, {}]",
            task.rows()
        )));
    }
    if let Some(bad) = weights.and_then(|w| w.iter().find(|x| !x.is_finite() || **x < 0.0)) {
        return Err(Error::value(format!("sample_weight must be finite and not negative, but {bad} came")));
    }
    let total = weights.map_or(rows as f64, |w| w.iter().sum());
    if total <= 0.0 {
        return Err(Error::value("Sample weights must contain at least one non-zero number."));
    }
    let tree_weight = forest.draws.map_or(total, |d| d as f64);
    let rules = forest.growth.rules(forest.random, rows, width, tree_weight, &task)?;
    let seed = forest.growth.random_state.unwrap_or(0);
    let by_entropy =
        matches!(task, Task::Classes { .. }) && ["entropy", "log_loss"].contains(&forest.growth.criterion.as_str());
    // Whole weights are summed in 32 bits, and have a table of terms where those are logarithms.
    let most = if by_entropy { TERMS.max(16 * rows) } else { u32::MAX as usize };
    if let Some(draws) = forest.draws.filter(|&draws| draws > most) {
        return Err(Error::value(format!(
            "max_samples draws {draws} rows for a tree of {rows}, but at most {most} are possible"
        )));
    }
    let whole = if forest.draws.is_none() { whole(weights, rows, most) } else { None };
    let entropy = by_entropy.then(|| {
        let most = forest.draws.or(whole.as_ref().map(|w| w.iter().map(|&x| x as usize).sum()));
        Entropy::up_to(most.unwrap_or(0))
    });
    let class_weights = match (&task, weights) {
        (Task::Classes { codes, labels }, Some(weights)) if whole.is_none() && forest.draws.is_none() => {
            by_class(codes, weights, labels.len())
        }
        _ => None,
    };
    let bootstrap = forest.draws.map(|draws| Bootstrap::new(draws, weights));
    let by_class = match &task {
        Task::Classes { codes, labels }
            if forest.random
                && (whole.as_ref().is_some_and(|w| w.iter().all(|&w| w == 1))
                    || class_weights.is_some() && weights.is_some_and(|w| w.iter().all(|&w| w > 0.0))) =>
        {
            Some(drawn::classes::sorted(codes, labels.len()))
        }
        _ => None,
    };
    let plan = Plan {
        forest,
        task: &task,
        rules: &rules,
        weights,
        bootstrap,
        whole,
        class_weights,
        entropy,
        by_class,
        seed,
        context: input.context,
    };
    let threads = input.context.threads.max(1);
    let earlier = earlier(forest, input, &task, width)?;
    // Cuts that are drawn need codes in the order of numbers, not all of their ranks.
    let mut ranks = None;
    if forest.random {
        ranks = ranks::floats(input.x, threads, rules.max_features)?;
        if ranks.is_none() {
            ranks = ranks::whole(input.x, threads)?;
        }
    }
    let ranks = ranks.map_or_else(|| ranks::rank(input.x, threads), Ok)?;
    input.context.cancel.check()?;
    let Grown { mut trees, summaries, oob } = match &ranks {
        Ranks::Byte(table) => plan.trees(table, earlier.len(), threads)?,
        Ranks::Narrow(table) => plan.trees(table, earlier.len(), threads)?,
        Ranks::Wide(table) => plan.trees(table, earlier.len(), threads)?,
    };
    if scale != 1.0 {
        trees.iter_mut().flat_map(|tree| &mut tree.nodes).for_each(|node| node.weight /= scale);
    }
    let added = trees.len();
    let (mut importances, mut depth) = (vec![0.0; width], 0);
    let before = earlier.iter().map(|tree| tree.summary(width));
    for summary in before.chain(summaries) {
        importances.iter_mut().zip(summary.importances).for_each(|(sum, x)| *sum += x);
        depth = depth.max(summary.depth);
    }
    let trees: Vec<GrownTree> = earlier.iter().cloned().chain(trees).collect();
    let sum: f64 = importances.iter().sum();
    if sum > 0.0 {
        importances.iter_mut().for_each(|x| *x /= sum);
    }
    Ok(Box::new(Grove {
        labels: if let Task::Classes { labels, .. } = &task { Some((*labels).clone()) } else { None },
        flat: matches!(&task, Task::Numbers { flat: true, .. } | Task::Classes { .. }),
        outputs: if let Task::Numbers { outputs, .. } = &task { *outputs } else { 1 },
        features: width,
        max_features: rules.max_features.min(width),
        single: forest.single,
        trees: Arc::new(trees),
        depth,
        added,
        importances,
        oob,
        seconds: start.elapsed().as_secs_f64(),
    }))
}

/// The trees of an earlier fit, which a warm start keeps.
fn earlier<'a>(forest: &Forest<'_>, input: &FitInput<'a>, task: &Task<'_>, features: usize) -> Result<&'a [GrownTree]> {
    let Some(grove) = input.previous.filter(|_| forest.warm).and_then(|p| p.as_any().downcast_ref::<Grove>()) else {
        return Ok(&[]);
    };
    let labels = if let Task::Classes { labels, .. } = task { Some(*labels) } else { None };
    if grove.features != features
        || grove.trees.first().is_some_and(|t| t.width != task.width())
        || grove.labels.as_ref() != labels
    {
        return Err(Error::value(
            "warm_start keeps the trees of the fit before, which had other columns, classes or outputs",
        ));
    }
    if forest.trees < grove.trees.len() {
        return Err(Error::value(format!(
            "n_estimators={} must be larger or equal to len(estimators_)={} when warm_start==True",
            forest.trees,
            grove.trees.len()
        )));
    }
    Ok(&grove.trees)
}

impl Plan<'_> {
    /// Grows the trees from number `first` on, and scores each row by the trees that didn't see it.
    fn trees<C: Code>(&self, table: &Table<C>, first: usize, threads: usize) -> Result<Grown> {
        let total = self.forest.trees - first;
        let orders = self.orders(table, threads);
        if orders.is_none() {
            table.prepare(threads);
        }
        // Threads grow trees, or where those are fewer, a tree.
        let within = if total < threads { threads } else { 1 };
        let done = AtomicUsize::new(0);
        let grown = parallel::map_blocks(threads, total, 1, |i, _| {
            let (tree, counts) = self.tree(table, orders.as_ref(), within, first + i)?;
            let tree =
                if self.forest.growth.ccp_alpha > 0.0 { prune(&tree, self.forest.growth.ccp_alpha) } else { tree };
            let leaves: Vec<(u32, u32)> = match &counts {
                Some(counts) if self.forest.oob => {
                    let unseen = (0u32..).zip(counts).filter(|(_, c)| **c == 0);
                    unseen.map(|(row, _)| (row, tree.leaf(table, row as usize) as u32)).collect()
                }
                _ => Vec::new(),
            };
            let iteration = done.fetch_add(1, Ordering::Relaxed) + 1;
            if let Some(progress) = &self.context.progress {
                progress(&Step { iteration, total: Some(total), loss: None, validation_loss: None });
            }
            let summary = tree.summary(table.columns.len());
            Ok((tree, leaves, summary))
        });
        let mut out = Grown::default();
        let mut unseen = Vec::new();
        for grown in grown {
            let (tree, leaves, summary) = grown?;
            out.trees.push(tree);
            out.summaries.push(summary);
            unseen.push(leaves);
        }
        out.oob = self.forest.oob.then(|| OutOfBag::of(self.task, &out.trees, &unseen));
        Ok(out)
    }

    /// One tree, and how often each row was drawn for it.
    fn tree<C: Code>(
        &self,
        table: &Table<C>,
        orders: Option<&Orders>,
        threads: usize,
        number: usize,
    ) -> Result<(GrownTree, Option<Vec<u32>>)> {
        let counts = self.bootstrap.as_ref().map(|b| b.counts(self.task.rows(), self.seed, number));
        let stream = Stream::new(self.seed, COLUMNS ^ number as u64);
        let width = self.task.width();
        let grow = |finder: &mut dyn Finder, rows: Vec<Entry>| {
            Grower::new(table, self.rules, finder, stream.clone(), rows, width).grow(&self.context.cancel)
        };
        if let Some(tree) = self.drawn(table, &stream, counts.as_deref()) {
            return Ok((tree?, counts));
        }
        if let Some(orders) = orders
            && let Some(tree) = self.ordered(table, orders, &stream, counts.as_deref(), threads)
        {
            return Ok((tree?, counts));
        }
        if let Some(tree) = self.sampled(table, &stream, counts.as_deref()) {
            return Ok((tree?, counts));
        }
        let tree = match self.task {
            Task::Classes { codes, .. } => {
                let whole = if self.forest.balanced { None } else { counts.as_ref().or(self.whole.as_ref()) };
                let payloads = whole.and_then(|whole| payloads(codes, whole));
                match (payloads, &self.entropy) {
                    (Some(rows), Some(entropy)) => grow(&mut Counts::new(entropy.clone(), width), rows)?,
                    (Some(rows), None) => grow(&mut Counts::new(Gini, width), rows)?,
                    (None, _) => {
                        let weights = self.row_weights(counts.as_deref(), codes, width);
                        grow(&mut Classes::new(self.measure(), width, codes, &weights), positive(&weights))?
                    }
                }
            }
            Task::Numbers { values, outputs, center, .. } => {
                let weights = if counts.is_some() { None } else { self.weights };
                let rows = match (&counts, weights) {
                    (Some(counts), _) => sample::drawn(counts),
                    (None, Some(weights)) => positive(weights),
                    (None, None) => (0..self.task.rows() as u32).map(|row| Entry::new(row, 1)).collect(),
                };
                match self.forest.growth.criterion.as_str() {
                    "poisson" => grow(&mut Means::<Poisson>::new(values, *outputs, center, weights), rows)?,
                    "absolute_error" => grow(&mut Absolute::new(values, *outputs, weights), rows)?,
                    _ => grow(&mut Means::<Squared>::new(values, *outputs, center, weights), rows)?,
                }
            }
        };
        Ok((tree, counts))
    }

    /// The rows by each column, where trees look at all columns and are simple ones.
    fn orders<C: Code>(&self, table: &Table<C>, threads: usize) -> Option<Orders> {
        // Where leaves are picked of a whole tree, one whose nodes take long would take longer than the leaves alone.
        let is_long = |classes: usize| self.entropy.is_some() || classes > PICKED_CLASSES;
        let is_simple = match self.task {
            Task::Classes { labels, .. } if ordered::picks(self.rules) && is_long(labels.len()) => false,
            Task::Classes { .. } => !self.forest.balanced,
            Task::Numbers { outputs, .. } => *outputs == 1 && self.is_squared(),
        };
        (is_simple && ordered::suits(self.rules, table, self.task.rows()))
            .then(|| Orders::new(table, self.bins(table, threads), threads))
    }

    /// Whether rows count as several, or as one.
    fn has_counts(&self) -> bool {
        self.whole.is_some() || self.bootstrap.is_some()
    }

    /// Columns of few values, where sums don't depend on the order of rows.
    fn bins<C: Code>(&self, table: &Table<C>, threads: usize) -> ordered::Bins {
        if self.rules.min_samples_leaf > 1 {
            return ordered::Bins::default();
        }
        match self.task {
            Task::Classes { .. } if !self.has_counts() && self.class_weights.is_none() => ordered::Bins::default(),
            Task::Classes { labels, .. } if labels.len() == 2 && self.entropy.is_none() => {
                ordered::Bins::new(table, 1, size_of::<u64>(), threads)
            }
            Task::Classes { labels, .. } if !self.has_counts() => {
                ordered::Bins::new(table, labels.len(), size_of::<f64>(), threads)
            }
            Task::Classes { labels, .. } => {
                ordered::Bins::new(table, ordered::Ones::width(labels.len()), size_of::<u32>(), threads)
            }
            Task::Numbers { values, .. } => {
                let all_alike = self.bootstrap.is_none() && self.weights.is_none_or(|w| w.iter().all(|&w| w == 1.0));
                if !(all_alike && ordered::Even::are_exact(values)[1]) {
                    return ordered::Bins::default();
                }
                ordered::Bins::new(table, 1, size_of::<[f64; 2]>(), threads)
            }
        }
    }

    /// What classes are judged by.
    fn measure(&self) -> Measure {
        if self.entropy.is_some() { Measure::Entropy } else { Measure::Gini }
    }

    /// Whether means are judged by squared error.
    fn is_squared(&self) -> bool {
        ["squared_error", "friedman_mse"].contains(&self.forest.growth.criterion.as_str())
    }

    /// A tree that looks at all columns, where weights fit.
    fn ordered<C: Code>(
        &self,
        table: &Table<C>,
        orders: &Orders,
        stream: &Stream,
        counts: Option<&[u32]>,
        threads: usize,
    ) -> Option<Result<GrownTree>> {
        let (count, weights) = (self.task.rows(), if counts.is_some() { None } else { self.weights });
        let weight = |row: usize| match (counts, weights) {
            (Some(counts), _) => f64::from(counts[row]),
            (None, Some(weights)) => weights[row],
            (None, None) => 1.0,
        };
        let rows: Vec<u32> = (0..count as u32).filter(|&row| weight(row as usize) > 0.0).collect();
        let columns: Vec<_> = table.columns.iter().map(Ranked::view).collect();
        let soil = ordered::Soil {
            columns: &columns,
            orders,
            rules: self.rules,
            stream,
            threads,
            rows: &rows,
            width: self.task.width(),
            cancel: &self.context.cancel,
        };
        Some(match self.task {
            Task::Classes { codes, labels } if !self.has_counts() => {
                if labels.len() > 2 || self.entropy.is_some() {
                    let is_exact = self.class_weights.is_some();
                    let by_class = self.class_weights.clone().unwrap_or_else(|| vec![1.0; labels.len()]);
                    let own = |row: u32| if is_exact { 1.0 } else { weight(row as usize) };
                    let items: Vec<(u32, f64)> = rows.iter().map(|&row| (codes[row as usize], own(row))).collect();
                    soil.grow(&ordered::Shares { measure: self.measure(), by_class, is_exact }, &items)
                } else if let Some(&[zero, one]) = self.class_weights.as_deref() {
                    let items: Vec<u64> = rows.iter().map(|&row| ordered::Two::item(codes[row as usize], 1)).collect();
                    soil.grow(&ordered::Two { by_class: Some([zero, one]) }, &items)
                } else {
                    let item = |&row: &u32| {
                        let weight = weight(row as usize);
                        [if codes[row as usize] == 1 { weight } else { 0.0 }, weight]
                    };
                    let items: Vec<[f64; 2]> = rows.iter().map(item).collect();
                    soil.grow(&ordered::Weighted { center: 0.0, of_classes: true }, &items)
                }
            }
            Task::Classes { codes, labels } => {
                let whole = counts.or(self.whole.as_deref())?;
                if whole.iter().any(|&w| w > u32::from(u16::MAX)) {
                    return None;
                }
                let item = |&row: &u32| (codes[row as usize], whole[row as usize]);
                if labels.len() == 2 && self.entropy.is_none() {
                    let items: Vec<u64> =
                        rows.iter().map(item).map(|(class, w)| ordered::Two::item(class, w)).collect();
                    soil.grow(&ordered::Two::default(), &items)
                } else if whole.iter().all(|&w| w <= 1) {
                    let items: Vec<u32> = rows.iter().map(|&row| codes[row as usize]).collect();
                    soil.grow(&ordered::Ones::new(labels.len(), self.entropy.as_ref()), &items)
                } else {
                    let items: Vec<(u32, u32)> = rows.iter().map(item).collect();
                    soil.grow(&ordered::Classes { classes: labels.len(), entropy: self.entropy.clone() }, &items)
                }
            }
            Task::Numbers { values, center, .. } => {
                let center = center[0];
                if rows.iter().all(|&row| weight(row as usize) == 1.0) {
                    let items: Vec<f64> = rows.iter().map(|&row| values[row as usize]).collect();
                    soil.grow(&ordered::Even::new(center, &items), &items)
                } else {
                    let item = |&row: &u32| [weight(row as usize) * values[row as usize], weight(row as usize)];
                    let items: Vec<[f64; 2]> = rows.iter().map(item).collect();
                    soil.grow(&ordered::Weighted { center, of_classes: false }, &items)
                }
            }
        })
    }

    /// A tree whose cuts are drawn, where it is a simple one.
    fn drawn<C: Code>(&self, table: &Table<C>, stream: &Stream, counts: Option<&[u32]>) -> Option<Result<GrownTree>> {
        if !drawn::suits(self.rules) {
            return None;
        }
        match self.task {
            Task::Classes { codes, labels } => {
                let classes = labels.len();
                let Some(rows) = self.by_class.clone().filter(|_| counts.is_none()) else {
                    if classes > drawn::shares::CLASSES {
                        return None;
                    }
                    let weights = self.row_weights(counts, codes, classes);
                    let rows: Vec<u32> = positive(&weights).iter().map(|entry| entry.row).collect();
                    let target = drawn::Shares::new(self.measure(), classes, codes, &weights, &rows);
                    return Some(self.simple(table, stream, target, rows));
                };
                Some(match (&self.class_weights, &self.entropy) {
                    (Some(by_class), _) => {
                        let purity = drawn::Factors::new(self.measure(), by_class);
                        self.simple(table, stream, drawn::Classes::new(purity, classes, codes, &rows), rows)
                    }
                    (None, Some(entropy)) => {
                        self.simple(table, stream, drawn::Classes::new(entropy.clone(), classes, codes, &rows), rows)
                    }
                    (None, None) => self.simple(table, stream, drawn::Classes::new(Gini, classes, codes, &rows), rows),
                })
            }
            Task::Numbers { values, outputs: 1, center, .. } => {
                if !self.is_squared() {
                    return None;
                }
                let repeats = counts.map(|counts| counts.iter().map(|&c| f64::from(c)).collect::<Vec<f64>>());
                let weights = repeats.as_deref().or(self.weights);
                Some(match weights.filter(|weights| weights.iter().any(|&w| w != 1.0)) {
                    Some(weights) => {
                        let rows =
                            (0u32..).zip(weights).filter(|(_, w)| **w > 0.0).map(|(row, _)| row).collect::<Vec<_>>();
                        self.simple(
                            table,
                            stream,
                            drawn::Means::<true>::new(values, center[0], Some(weights), &rows),
                            rows,
                        )
                    }
                    None => {
                        let rows: Vec<u32> = (0..values.len() as u32).collect();
                        self.simple(table, stream, drawn::Means::<false>::new(values, center[0], None, &rows), rows)
                    }
                })
            }
            Task::Numbers { .. } => None,
        }
    }

    /// A tree of the best cuts of columns that are drawn, where it is a simple one.
    fn sampled<C: Code>(&self, table: &Table<C>, stream: &Stream, counts: Option<&[u32]>) -> Option<Result<GrownTree>> {
        let Task::Classes { codes, labels } = self.task else { return None };
        if self.entropy.is_some() && self.forest.balanced || !sampled::suits(self.rules, table) {
            return None;
        }
        let whole = counts.or(self.whole.as_deref())?;
        // Weights are summed in integers.
        u32::try_from(whole.iter().map(|&w| u64::from(w)).sum::<u64>()).ok()?;
        let (mut rows, mut payloads) = (Vec::with_capacity(whole.len()), Vec::with_capacity(whole.len()));
        for (row, (&class, &weight)) in (0u32..).zip(codes.iter().zip(whole)) {
            if weight > 0 {
                rows.push(row);
                payloads.push(sampled::payload(class, weight)?);
            }
        }
        let (rows, classes) = ((rows, payloads), labels.len());
        let stream = stream.clone();
        let balance = counts.filter(|_| self.forest.balanced).map(|counts| balance(codes, counts, classes));
        Some(if classes == 2 && self.entropy.is_none() {
            let target = ordered::Two { by_class: balance.map(|by_class| [by_class[0], by_class[1]]) };
            Sampled::new(table, self.rules, stream, rows, target, classes).grow(&self.context.cancel)
        } else if let Some(by_class) = balance {
            let target = ordered::Shares { measure: Measure::Gini, by_class, is_exact: true };
            Sampled::new(table, self.rules, stream, rows, target, classes).grow(&self.context.cancel)
        } else {
            let target = ordered::Classes { classes, entropy: self.entropy.clone() };
            Sampled::new(table, self.rules, stream, rows, target, classes).grow(&self.context.cancel)
        })
    }

    fn simple<C: Code>(
        &self,
        table: &Table<C>,
        stream: &Stream,
        target: impl drawn::Target,
        rows: Vec<u32>,
    ) -> Result<GrownTree> {
        Drawn::new(table, self.rules, stream.clone(), rows, target, self.task.width()).grow(&self.context.cancel)
    }

    /// Weights where they are no small whole numbers.
    fn row_weights(&self, counts: Option<&[u32]>, codes: &[u32], classes: usize) -> Vec<f64> {
        let Some(counts) = counts else { return self.weights.unwrap_or(&[]).to_vec() };
        let by_class = if self.forest.balanced { balance(codes, counts, classes) } else { vec![1.0; classes] };
        codes.iter().zip(counts).map(|(&c, &n)| f64::from(n) * by_class[c as usize]).collect()
    }
}
