//! The loop over iterations.

use std::sync::{Mutex, PoisonError};

use corten_core::Result;
use corten_core::random::bits;
use corten_kernels::boost::partition::Buffers;
use corten_kernels::team::Team;
use corten_model::estimator::{Context, Step};

use super::binning::{Binned, Bins, Columns};
use super::collective::Solo;
use super::grower::{Grower, Grown, GrownTree, LeafRows, Shape, Workspace};
use super::histogram::Scale;
use super::metric::Metric;
use super::objective::{Objective, quantile};
use super::rounding::{Integers, Mode};
use super::splitter::{Rules, Splitter};

/// How long to go on.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) max_iter: usize,
    pub(crate) learning_rate: f64,
    /// Stop when this many iterations bring no gain of `tol`; never when `None`.
    pub(crate) patience: Option<usize>,
    pub(crate) tol: f64,
    pub(crate) seed: u64,
    /// Whether losses are wanted.
    pub(crate) losses: bool,
    /// What is watched in place of the loss.
    pub(crate) metric: Option<Metric>,
}

impl Plan {
    /// What is watched, the lower the better.
    fn watched(&self, objective: Objective, part: &Part, team: Team<'_>) -> f64 {
        match self.metric {
            Some(metric) => -metric.of(&part.y, part.weights.as_deref(), &part.scores, objective),
            None => objective.loss(&part.y, part.weights.as_deref(), &part.scores, team),
        }
    }
}

/// What was trained.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Trained {
    pub(crate) baseline: Vec<f64>,
    /// One list of trees an iteration: a tree an output.
    pub(crate) iterations: Vec<Vec<GrownTree>>,
    pub(crate) train_loss: Vec<f64>,
    pub(crate) validation_loss: Vec<f64>,
}

/// Rows with their targets.
pub(crate) struct Part {
    pub(crate) y: Vec<f64>,
    pub(crate) weights: Option<Vec<f64>>,
    /// One column of rows an output.
    pub(crate) scores: Vec<Vec<f64>>,
}

impl Part {
    pub(crate) fn new(rows: &[u32], y: &[f64], weights: Option<&[f64]>) -> Self {
        let take = |v: &[f64]| {
            if rows.len() == v.len() { v.to_vec() } else { rows.iter().map(|&r| v[r as usize]).collect() }
        };
        Self { y: take(y), weights: weights.map(take), scores: Vec::new() }
    }

    fn start(&mut self, baseline: &[f64]) {
        self.scores = baseline.iter().map(|&b| vec![b; self.y.len()]).collect();
    }
}

/// Held-out rows as bins, column after column.
pub(crate) struct HeldOut {
    pub(crate) part: Part,
    pub(crate) columns: Columns,
}

/// What a tree adds to the scores of its training rows: values of leaves with their rows in ascending order, or all rows.
pub(crate) type Added<'r> = [(f64, Option<&'r [u32]>)];

/// Trains. All rows of `binned` count.
///
/// # Errors
/// [`corten_core::Error::Cancelled`].
pub(crate) fn train(
    objective: Objective,
    binned: &Binned,
    train: Part,
    held_out: Option<HeldOut>,
    previous: Option<&Trained>,
    rules: &Rules,
    shape: &Shape,
    plan: &Plan,
    context: &Context,
    team: Team<'_>,
) -> Result<Trained> {
    let baseline = match previous {
        Some(previous) => previous.baseline.clone(),
        None => objective.baseline(&train.y, train.weights.as_deref()),
    };
    let integers = (0..objective.outputs()).map(|_| Integers::default()).collect();
    let residuals = objective == Objective::SquaredError && train.weights.is_none() && plan.metric.is_none();
    let found = None;
    let mut run = Run { objective, binned, rules, shape, plan, context, team, train, integers, residuals, found };
    run.train.start(&baseline);
    if residuals {
        for (score, y) in run.train.scores[0].iter_mut().zip(&mut run.train.y) {
            *score -= std::mem::take(y);
        }
    }
    let mut out = Trained { baseline, ..Trained::default() };
    let mut held_out = held_out;
    if let Some(h) = &mut held_out {
        h.part.start(&out.baseline);
    }
    let watch = plan.losses || context.progress.is_some();
    let mut begun = false;
    if let Some(previous) = previous {
        out = previous.clone();
        begun = run.resume(&out.iterations, held_out.as_mut());
    }
    // Losses of a fit that watched from its start go on; others start here.
    if plan.losses && out.train_loss.len() != out.iterations.len() + 1 {
        out.train_loss.clear();
        out.validation_loss.clear();
        out.train_loss.push(plan.watched(objective, &run.train, team));
        out.validation_loss.extend(held_out.as_ref().map(|h| plan.watched(objective, &h.part, team)));
    }
    let mut pool = Mutex::new(Vec::new());
    if !begun {
        run.round(&[], 0.0);
    }
    for iteration in out.iterations.len()..plan.max_iter {
        context.cancel.check()?;
        let last = iteration + 1 == plan.max_iter;
        let trees = if objective.outputs() == 1 {
            vec![run.one(iteration, last, &mut pool)?]
        } else {
            let trees = run.several(iteration, &mut pool)?;
            if !last {
                run.round(&[], 0.0);
            }
            trees
        };
        if let Some(h) = &mut held_out {
            h.advance(&binned.features, &trees, team);
        }
        out.iterations.push(trees);
        let losses = watch.then(|| {
            (
                plan.watched(objective, &run.train, team),
                held_out.as_ref().map(|h| plan.watched(objective, &h.part, team)),
            )
        });
        if let (Some(callback), Some((loss, validation_loss))) = (&context.progress, losses) {
            let total = Some(plan.max_iter);
            callback(&Step { iteration: iteration + 1, total, loss: Some(loss), validation_loss });
        }
        if let (true, Some((loss, validation))) = (plan.losses, losses) {
            out.train_loss.push(loss);
            out.validation_loss.extend(validation);
        }
        let watched = if out.validation_loss.is_empty() { &out.train_loss } else { &out.validation_loss };
        if plan.patience.is_some_and(|p| no_gain(watched, p, plan.tol)) {
            break;
        }
    }
    Ok(out)
}

/// Memory of the threads that grow trees.
type Pool = Mutex<Vec<(Buffers, Workspace)>>;

/// A training under way.
pub(crate) struct Run<'a> {
    pub(crate) objective: Objective,
    pub(crate) binned: &'a Binned,
    pub(crate) rules: &'a Rules,
    pub(crate) shape: &'a Shape,
    pub(crate) plan: &'a Plan,
    pub(crate) context: &'a Context,
    pub(crate) team: Team<'a>,
    pub(crate) train: Part,
    pub(crate) integers: Vec<Integers>,
    /// Whether scores are kept less their targets: they are the gradients then.
    pub(crate) residuals: bool,
    /// Largest and mean gradient at the last pass.
    pub(crate) found: Option<(f64, f64)>,
}

impl Run<'_> {
    pub(crate) fn rows(&self) -> usize {
        self.binned.rows
    }

    /// Grows the tree of an objective with one output, and makes the integers of the next.
    fn one(&mut self, iteration: usize, last: bool, pool: &mut Pool) -> Result<GrownTree> {
        let all = pool.get_mut().unwrap_or_else(PoisonError::into_inner);
        let (mut buffers, mut work) =
            all.pop().unwrap_or_else(|| (Buffers::new(self.binned.rows), Workspace::default()));
        let integers = std::mem::take(&mut self.integers[0]);
        let (mut tree, leaves) = self.grow(&integers, iteration, self.team, &mut buffers, &mut work)?;
        self.finish(&mut tree, &leaves, &integers.exact, &self.train.scores[0]);
        self.integers[0] = integers;
        if last && !self.plan.losses && self.context.progress.is_none() {
            // Nobody asks for the scores any more.
        } else if self.shape.rows < 1.0 {
            // Rows that the tree wasn't grown on get its values too.
            let scores = &mut self.train.scores[0];
            walk(self.binned, scores, &tree, self.team);
            self.round(&[], largest_value(&tree));
        } else {
            self.round(&added(&tree, &leaves), largest_value(&tree));
        }
        all.push((buffers, work));
        Ok(tree)
    }

    /// Grows the trees of all outputs: one a thread, and those that are left over by all threads.
    fn several(&mut self, iteration: usize, pool: &mut Pool) -> Result<Vec<GrownTree>> {
        struct Item<'i> {
            integers: &'i Integers,
            scores: Vec<f64>,
            tree: Result<GrownTree>,
        }
        let outputs = self.objective.outputs();
        let scores = std::mem::take(&mut self.train.scores);
        let mut items: Vec<Item<'_>> = scores
            .into_iter()
            .zip(&self.integers)
            .map(|(scores, integers)| Item { integers, scores, tree: Ok(GrownTree::default()) })
            .collect();
        let pool = &*pool;
        let rows = self.binned.rows;
        let grow = |k: usize, item: &mut Item<'_>, team: Team<'_>| {
            let found = pool.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let (mut buffers, mut work) = found.unwrap_or_else(|| (Buffers::new(rows), Workspace::default()));
            let grown = self.grow(item.integers, iteration * outputs + k, team, &mut buffers, &mut work);
            item.tree = grown.map(|(mut tree, leaves)| {
                self.finish(&mut tree, &leaves, &item.integers.exact, &item.scores);
                if self.shape.rows < 1.0 {
                    walk(self.binned, &mut item.scores, &tree, team);
                } else {
                    for (value, rows) in added(&tree, &leaves) {
                        add(&mut item.scores, 0, rows, value);
                    }
                }
                tree
            });
            pool.lock().unwrap_or_else(PoisonError::into_inner).push((buffers, work));
        };
        let whole = outputs - outputs % self.team.threads();
        let (alone, shared) = items.split_at_mut(whole);
        self.team.each(alone, |k, item| grow(k, item, Team::alone()));
        for (k, item) in shared.iter_mut().enumerate() {
            grow(whole + k, item, self.team);
        }
        let (mut scores, mut trees) = (Vec::with_capacity(outputs), Vec::with_capacity(outputs));
        for item in items {
            scores.push(item.scores);
            trees.push(item.tree?);
        }
        self.train.scores = scores;
        Ok(trees)
    }

    fn grow<'r>(
        &self,
        integers: &Integers,
        tree: usize,
        team: Team<'_>,
        buffers: &'r mut Buffers,
        work: &mut Workspace,
    ) -> Result<(GrownTree, Vec<LeafRows<'r>>)> {
        let scale = integers.scale.unwrap_or(Scale { gradient: 1.0, hessian: 1.0, counts: true, most: 1 });
        let splitter = Splitter { binned: self.binned, rules: self.rules, scale };
        let seed = bits(self.plan.seed, 0x7472_6565, tree as u64);
        let cancel = &self.context.cancel;
        let (words, shape) = (&integers.words, self.shape);
        Grower { splitter, words, shape, team, cancel, collective: &Solo, seed, work }.grow(buffers)
    }

    /// Gives leaves their final values: shrunk, and quantiles of residuals where the loss asks for them.
    fn finish(&self, tree: &mut GrownTree, leaves: &[LeafRows<'_>], exact: &[[f64; 2]], scores: &[f64]) {
        if !exact.is_empty() && self.rules.monotonic.iter().all(|&s| s == 0) {
            for leaf in leaves {
                let join = |a: [f64; 2], b: &[f64; 2]| [a[0] + b[0], a[1] + b[1]];
                let [g, h] = match leaf.rows.list() {
                    Some(list) => list.iter().map(|&r| &exact[r as usize]).fold([0.0; 2], join),
                    None => exact.iter().fold([0.0; 2], join),
                };
                tree.nodes[leaf.at] = Grown::Leaf { value: self.rules.step(g, h) };
            }
        }
        if let Some(q) = self.objective.leaf_quantile() {
            let mut items: Vec<(&LeafRows<'_>, f64)> = leaves.iter().map(|l| (l, 0.0)).collect();
            self.team.each(&mut items, |_, (leaf, value)| {
                let whole: Vec<u32>;
                let rows = match leaf.rows.list() {
                    Some(list) => list,
                    None => {
                        whole = (0..leaf.rows.len() as u32).collect();
                        &whole
                    }
                };
                let residuals = rows.iter().map(|&r| self.train.y[r as usize] - scores[r as usize]).collect();
                let weights: Option<Vec<f64>> =
                    self.train.weights.as_ref().map(|w| rows.iter().map(|&r| w[r as usize]).collect());
                *value = quantile(residuals, weights.as_deref(), q);
            });
            for (leaf, found) in items {
                if let Grown::Leaf { value } = &mut tree.nodes[leaf.at] {
                    *value = found;
                }
            }
        }
        for node in &mut tree.nodes {
            if let Grown::Leaf { value } = node {
                *value *= self.plan.learning_rate;
            }
        }
    }

    /// Takes up the trees of an earlier fit; whether the next tree's integers are there then.
    fn resume(&mut self, iterations: &[Vec<GrownTree>], mut held_out: Option<&mut HeldOut>) -> bool {
        let binned = self.binned;
        for (i, trees) in iterations.iter().enumerate() {
            if let Some(h) = held_out.as_deref_mut() {
                h.advance(&binned.features, trees, self.team);
            }
            if self.residuals && i + 1 == iterations.len() {
                // As the longer fit does it: rounded by what the gradients were before this tree, and its values.
                let found = self.pass(&[], false, Mode::Look);
                self.found = Some(self.largest(&found, 0).0);
                walk(binned, &mut self.train.scores[0], &trees[0], self.team);
                self.round(&[], largest_value(&trees[0]));
                return true;
            }
            for (tree, scores) in trees.iter().zip(&mut self.train.scores) {
                walk(binned, scores, tree, self.team);
            }
        }
        false
    }
}

/// What a tree's leaves add to which rows.
fn added<'l>(tree: &GrownTree, leaves: &'l [LeafRows<'_>]) -> Vec<(f64, Option<&'l [u32]>)> {
    let value = |at: usize| match tree.nodes[at] {
        Grown::Leaf { value } => value,
        Grown::Split { .. } => 0.0,
    };
    leaves.iter().map(|l| (value(l.at), l.rows.list())).collect()
}

#[inline]
pub(crate) fn add(scores: &mut [f64], from: usize, rows: Option<&[u32]>, value: f64) {
    match rows {
        Some(rows) => rows.iter().for_each(|&r| scores[r as usize - from] += value),
        None => scores.iter_mut().for_each(|s| *s += value),
    }
}

/// The largest value of a tree's leaves.
fn largest_value(tree: &GrownTree) -> f64 {
    tree.nodes.iter().fold(0.0, |a: f64, n| if let Grown::Leaf { value } = n { a.max(value.abs()) } else { a })
}

/// Adds a tree to the scores of training rows, row by row.
fn walk(binned: &Binned, scores: &mut [f64], tree: &GrownTree, team: Team<'_>) {
    add_rows(scores, tree, team, |row| tree.leaf(&binned.features, |f| binned.bin(f, row)));
}

fn add_rows(scores: &mut [f64], tree: &GrownTree, team: Team<'_>, leaf: impl Fn(usize) -> usize + Sync) {
    let mut blocks: Vec<&mut [f64]> = scores.chunks_mut(4096).collect();
    team.each(&mut blocks, |b, block| {
        for (i, score) in block.iter_mut().enumerate() {
            if let Grown::Leaf { value } = tree.nodes[leaf(b * 4096 + i)] {
                *score += value;
            }
        }
    });
}

impl HeldOut {
    /// Adds trees to the scores.
    fn advance(&mut self, features: &[Bins], trees: &[GrownTree], team: Team<'_>) {
        for (tree, scores) in trees.iter().zip(&mut self.part.scores) {
            add_rows(scores, tree, team, |row| tree.leaf(features, |f| self.columns.get(f)[row]));
        }
    }
}

/// Whether the last `patience` losses all stay within `tol` of, or above, the one before them.
fn no_gain(losses: &[f64], patience: usize, tol: f64) -> bool {
    let Some(reference) = losses.len().checked_sub(patience + 1) else { return false };
    losses[reference + 1..].iter().all(|&l| l >= losses[reference] - tol)
}

#[cfg(test)]
mod tests {
    use super::no_gain;

    #[test]
    fn stops_when_the_last_losses_bring_nothing() {
        assert!(!no_gain(&[1.0, 0.9], 2, 0.0));
        assert!(!no_gain(&[1.0, 0.9, 0.8], 2, 0.0));
        assert!(no_gain(&[1.0, 1.0, 1.1], 2, 0.0));
        assert!(no_gain(&[1.0, 0.99999, 0.99998], 2, 1e-3));
    }
}
