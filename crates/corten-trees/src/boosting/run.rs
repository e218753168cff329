//! A training under way: growing the trees of an iteration, and adding them to the scores.

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};

use corten_core::random::bits;
use corten_core::{Error, Result};
use corten_kernels::boost::partition::{Buffers, Stretch};
use corten_kernels::cache;
use corten_kernels::team::Team;
use corten_model::estimator::{Context, Extras, Slopes};

use super::blocks::{BlockGrower, BlockLeaves, Blocks, Desk};
use super::choice::{Choice, Shape};
use super::collective::Solo;
use super::grower::{Grower, Grown, GrownTree, LeafRows, Workspace};
use super::histogram::Scale;
use super::layout::{Binned, Layout};
use super::leaf_models;
use super::objective::{Objective, quantile};
use super::part::{Part, walk};
use super::rounding::Integers;
use super::sampling;
use super::splitter::{Rules, Splitter};
use super::train::{Plan, Training};

/// Scores that stay in the first-level cache.
const NEAR: usize = 2048;
/// Rows of a leaf, on average, that are worth turning to it for.
const ROWS_OF_A_LEAF: usize = 32;
/// Rows of a line of the cache.
const LINE: usize = 16;

/// Binned training rows, wherever they lie.
#[derive(Clone, Copy)]
pub(crate) enum Rowed<'a> {
    Memory(&'a Binned),
    Blocks(&'a Blocks),
}

impl<'a> Rowed<'a> {
    pub(crate) fn layout(self) -> &'a Layout {
        match self {
            Self::Memory(binned) => &binned.layout,
            Self::Blocks(blocks) => &blocks.layout,
        }
    }

    pub(crate) fn rows(self) -> usize {
        match self {
            Self::Memory(binned) => binned.rows,
            Self::Blocks(blocks) => blocks.rows(),
        }
    }
}

/// What a tree adds to the scores of its training rows: values of leaves with their rows.
pub(crate) enum Added<'r> {
    Nothing,
    Stretches(Vec<(f64, Stretch<'r>)>),
    Blocks(Vec<f64>, &'r BlockLeaves<'r>),
}

impl Added<'_> {
    /// Adds it to the scores of the rows from `from` on.
    pub(crate) fn to(&self, scores: &mut [f64], from: usize) {
        match self {
            Self::Nothing => {}
            Self::Stretches(leaves) => add_stretches(leaves, scores, from),
            Self::Blocks(values, leaves) => leaves.add(values, scores, from),
        }
    }
}

/// Adds the values of leaves to the scores of their rows that lie among those from `from` on: some scores at a time, which
/// stay in the first-level cache while leaf after leaf adds to them.
fn add_stretches(leaves: &[(f64, Stretch<'_>)], scores: &mut [f64], from: usize) {
    let mut lists = Vec::with_capacity(leaves.len());
    for &(value, stretch) in leaves {
        let Some(rows) = stretch.list() else {
            let to = from + scores.len();
            let [start, end] = [stretch.range().start, stretch.range().end].map(|row| row.clamp(from, to) - from);
            scores[start..end].iter_mut().for_each(|s| *s += value);
            continue;
        };
        let rest = &rows[rows.partition_point(|&r| (r as usize) < from)..];
        if rest.first().is_some_and(|&r| (r as usize) < from + scores.len()) {
            lists.push((value, rest));
        }
    }
    let size = (lists.len().max(1) * ROWS_OF_A_LEAF).next_multiple_of(NEAR);
    for (i, near) in scores.chunks_mut(size).enumerate() {
        let start = from + i * size;
        for (value, rest) in &mut lists {
            let mut done = 0;
            while let Some(score) = rest.get(done).and_then(|&r| near.get_mut(r as usize - start)) {
                *score += *value;
                done += 1;
            }
            *rest = &rest[done..];
            // More lists than a CPU foresees the reading of: what comes next of this one is asked for while others add.
            for ahead in [0, LINE, 2 * LINE] {
                cache::fetch(rest.as_ptr().wrapping_add(ahead));
            }
        }
    }
}

/// The leaves of a grown tree with their rows.
pub(crate) enum Leaves<'r> {
    Lists(Vec<LeafRows<'r>>),
    Blocks(BlockLeaves<'r>),
}

impl Leaves<'_> {
    /// The node of each.
    pub(crate) fn nodes(&self) -> Vec<usize> {
        match self {
            Self::Lists(leaves) => leaves.iter().map(|l| l.at).collect(),
            Self::Blocks(leaves) => leaves.nodes().collect(),
        }
    }

    /// The rows of a leaf in ascending order.
    pub(crate) fn rows(&self, leaf: usize) -> Cow<'_, [u32]> {
        match self {
            Self::Lists(leaves) => leaves[leaf].rows.list(),
            Self::Blocks(leaves) => leaves.rows(leaf),
        }
    }

    /// What they add to scores.
    fn added(&self, tree: &GrownTree) -> Added<'_> {
        let value = |at: usize| match tree.nodes[at] {
            Grown::Leaf { value } => value,
            Grown::Split { .. } => 0.0,
        };
        match self {
            Self::Lists(leaves) => {
                let mut added = Vec::with_capacity(leaves.len());
                for leaf in leaves {
                    let value = value(leaf.at);
                    added.extend(leaf.rows.stretches().into_iter().map(|stretch| (value, stretch)));
                }
                Added::Stretches(added)
            }
            Self::Blocks(leaves) => Added::Blocks(leaves.nodes().map(value).collect(), leaves),
        }
    }
}

/// Memory of a thread that grows trees.
#[derive(Default)]
pub(crate) struct Memory {
    buffers: Option<Buffers>,
    work: Workspace,
    desk: Desk,
}

/// Memory of all of them.
pub(crate) type Pool = Mutex<Vec<Memory>>;

/// A training under way.
pub(crate) struct Run<'a> {
    pub(crate) objective: &'a Objective,
    pub(crate) binned: Rowed<'a>,
    pub(crate) rules: &'a Rules,
    pub(crate) shape: &'a Shape,
    pub(crate) plan: &'a Plan,
    pub(crate) extras: &'a Extras<'a>,
    pub(crate) context: &'a Context,
    pub(crate) team: Team<'a>,
    pub(crate) train: Part,
    pub(crate) integers: Vec<Integers>,
    /// Whether scores are kept less their targets: they are the gradients then.
    pub(crate) residuals: bool,
    /// Largest and mean gradient at the last pass.
    pub(crate) found: Option<(f64, f64)>,
    /// Whether integers are made when an iteration begins, and not as soon as the one before has ended.
    pub(crate) late: bool,
    /// Gradients and hessians of all rows, where they are found before they are rounded.
    pub(crate) slopes: Slopes,
    /// Rows that the next trees are grown on, where gradients choose them.
    pub(crate) chosen: Option<Vec<u32>>,
    /// What the values of the next trees are multiplied by.
    pub(crate) rate: f64,
}

impl<'a> Run<'a> {
    /// A training whose scores start from the best constants.
    pub(crate) fn new(training: &Training<'a>, train: Part, baseline: &[f64]) -> Self {
        let &Training { objective, binned, rules, shape, plan, extras, context, team } = training;
        let integers = (0..objective.outputs()).map(|_| Integers::default()).collect();
        let late =
            objective.is_whole() || plan.rows != sampling::Rows::Any || plan.dropout.is_some() || plan.linear.is_some();
        let plain = *objective == Objective::SquaredError && train.weights.is_none();
        let residuals = plain && plan.metrics.is_empty() && !late && extras.decay_rate.is_none();
        let rate = plan.learning_rate;
        let mut run = Self {
            objective,
            binned,
            rules,
            shape,
            plan,
            extras,
            context,
            team,
            train,
            integers,
            residuals,
            found: None,
            late,
            slopes: Slopes::new(),
            chosen: None,
            rate,
        };
        if residuals {
            run.train.start_with_residuals(baseline[0]);
        } else {
            run.train.start(baseline);
        }
        run
    }

    pub(crate) fn rows(&self) -> usize {
        self.binned.rows()
    }

    /// The seed of an iteration's choices.
    pub(crate) fn seed(&self, iteration: usize) -> u64 {
        bits(self.plan.seed, 0x726f_756e, iteration as u64)
    }

    /// Whether hessians are 1 a row, so that sums of them count rows.
    pub(crate) fn counts(&self) -> bool {
        self.objective.constant_hessian() && self.train.weights.is_none() && self.chosen.is_none()
    }

    /// Adds a tree an output, times `factor`, to the scores of training rows.
    ///
    /// # Errors
    /// [`Error::Io`] when rows can't be read.
    pub(crate) fn add(&mut self, trees: &[GrownTree], factor: f64) -> Result<()> {
        for (tree, scores) in trees.iter().zip(&mut self.train.scores) {
            walk(self.binned, scores, tree, factor, self.train.raw.as_ref(), self.team)?;
        }
        Ok(())
    }

    /// Finds what the trees of an iteration are grown from: gradients at the scores as they are, rows, integers.
    ///
    /// # Errors
    /// What a loss from outside gives.
    pub(crate) fn prepare(&mut self, iteration: usize) -> Result<()> {
        let goss = matches!(self.plan.rows, sampling::Rows::Largest { .. });
        if self.objective.is_whole() || goss || self.plan.linear.is_some() {
            self.find_slopes()?;
        }
        self.chosen = None;
        // The first trees see all rows, until gradients tell rows apart.
        if let sampling::Rows::Largest { top, other } = self.plan.rows
            && iteration as f64 >= 1.0 / self.plan.learning_rate
        {
            let seed = self.seed(iteration);
            self.chosen = Some(sampling::largest(&mut self.slopes, top, other, seed));
        }
        self.round(&Added::Nothing, 0.0)
    }

    /// The gradients and hessians of all rows.
    ///
    /// # Errors
    /// What a loss from outside gives, and [`Error::Value`] for what isn't finite.
    pub(crate) fn find_slopes(&mut self) -> Result<()> {
        if !self.objective.is_whole() {
            self.slopes = self.objective.by_blocks(&self.train, self.team);
            return Ok(());
        }
        self.slopes = self.objective.slopes(&self.train, self.extras)?;
        let (outputs, rows) = (self.objective.outputs(), self.rows());
        let fits = |[g, h]: &[Vec<f64>; 2]| g.len() == rows && h.len() == rows;
        if self.slopes.len() != outputs || !self.slopes.iter().all(fits) {
            return Err(Error::value(format!(
                "the loss must give gradients and hessians of {rows} rows and {outputs} scores each"
            )));
        }
        for [g, h] in &mut self.slopes {
            if !g.iter().chain(&*h).all(|x| x.is_finite()) {
                return Err(Error::value("the loss gave a gradient or hessian that is not finite"));
            }
            h.iter_mut().for_each(|h| *h = h.max(0.0));
        }
        Ok(())
    }

    /// Grows the tree of an objective with one output, and makes the integers of the next.
    pub(crate) fn one(&mut self, iteration: usize, last: bool, pool: &mut Pool) -> Result<GrownTree> {
        let all = pool.get_mut().unwrap_or_else(PoisonError::into_inner);
        let mut memory = all.pop().unwrap_or_default();
        let integers = std::mem::take(&mut self.integers[0]);
        let (mut tree, leaves) = self.grow(&integers, iteration, self.team, &mut memory)?;
        self.finish(&mut tree, &leaves, &integers.exact, 0, iteration == 0, &self.train.scores[0]);
        self.integers[0] = integers;
        if last && !self.plan.losses && self.context.progress.is_none() {
            // Nobody asks for the scores any more.
        } else if self.by_walking(&tree) {
            let scores = &mut self.train.scores[0];
            walk(self.binned, scores, &tree, 1.0, self.train.raw.as_ref(), self.team)?;
            if !self.late {
                self.round(&Added::Nothing, largest_value(&tree))?;
            }
        } else if self.late {
            leaves.added(&tree).to(&mut self.train.scores[0], 0);
        } else {
            self.round(&leaves.added(&tree), largest_value(&tree))?;
        }
        drop(leaves);
        all.push(memory);
        Ok(tree)
    }

    /// Grows the trees of all outputs: one a thread, and those that are left over, or grown from blocks, by all threads.
    pub(crate) fn several(&mut self, iteration: usize, pool: &mut Pool) -> Result<Vec<GrownTree>> {
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
        let grow = |k: usize, item: &mut Item<'_>, team: Team<'_>| {
            let found = pool.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut memory = found.unwrap_or_default();
            let grown = self.grow(item.integers, iteration * outputs + k, team, &mut memory);
            item.tree = grown.and_then(|(mut tree, leaves)| {
                self.finish(&mut tree, &leaves, &item.integers.exact, k, iteration == 0, &item.scores);
                if self.by_walking(&tree) {
                    walk(self.binned, &mut item.scores, &tree, 1.0, self.train.raw.as_ref(), team)?;
                } else {
                    leaves.added(&tree).to(&mut item.scores, 0);
                }
                Ok(tree)
            });
            pool.lock().unwrap_or_else(PoisonError::into_inner).push(memory);
        };
        let whole = match self.binned {
            Rowed::Memory(_) => outputs - outputs % self.team.threads(),
            Rowed::Blocks(_) => 0,
        };
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

    /// Whether a tree is added row by row: because rows that it wasn't grown on get its values too, or its leaves hold
    /// more than one.
    fn by_walking(&self, tree: &GrownTree) -> bool {
        self.shape.rows < 1.0 || self.chosen.is_some() || !tree.models.is_empty()
    }

    fn grow<'r>(
        &self,
        integers: &Integers,
        tree: usize,
        team: Team<'_>,
        memory: &'r mut Memory,
    ) -> Result<(GrownTree, Leaves<'r>)> {
        let scale = integers.scale.unwrap_or(Scale { gradient: 1.0, hessian: 1.0, counts: true, most: 1 });
        let splitter = Splitter { binned: self.binned.layout(), rules: self.rules, scale };
        let seed = bits(self.plan.seed, 0x7472_6565, tree as u64);
        let choice = Choice { splitter, shape: self.shape, seed };
        let (words, cancel, chosen) = (&integers.words, &self.context.cancel, self.chosen.as_deref());
        let Memory { buffers, work, desk } = memory;
        match self.binned {
            Rowed::Memory(binned) => {
                let buffers = buffers.get_or_insert_with(|| Buffers::new(binned.rows));
                let mut grower = Grower { choice, binned, words, team, cancel, collective: &Solo, chosen, work };
                grower.grow(buffers).map(|(tree, leaves)| (tree, Leaves::Lists(leaves)))
            }
            Rowed::Blocks(blocks) => {
                let grown = BlockGrower { choice, blocks, words, team, cancel, chosen }.grow(desk);
                grown.map(|(tree, leaves)| (tree, Leaves::Blocks(leaves)))
            }
        }
    }

    /// Gives leaves their final values: shrunk, and quantiles of residuals where the loss asks for them.
    fn finish(
        &self,
        tree: &mut GrownTree,
        leaves: &Leaves<'_>,
        exact: &[[f64; 2]],
        output: usize,
        first: bool,
        scores: &[f64],
    ) {
        if !exact.is_empty() && self.rules.monotonic.iter().all(|&s| s == 0) {
            for (i, at) in leaves.nodes().into_iter().enumerate() {
                let [g, h] = sums(&leaves.rows(i), exact);
                tree.nodes[at] = Grown::Leaf { value: self.rules.step(g, h) };
            }
        }
        if let Some(q) = self.objective.leaf_quantile(output) {
            let mut items: Vec<(usize, f64)> = leaves.nodes().into_iter().map(|at| (at, 0.0)).collect();
            self.team.each(&mut items, |i, (_, value)| {
                let rows = leaves.rows(i);
                let residuals = rows.iter().map(|&r| self.train.y.get(r as usize) - scores[r as usize]).collect();
                let weights: Option<Vec<f64>> =
                    self.train.weights.as_ref().map(|w| rows.iter().map(|&r| w[r as usize]).collect());
                *value = quantile(residuals, weights.as_deref(), q);
            });
            for (at, found) in items {
                if let Grown::Leaf { value } = &mut tree.nodes[at] {
                    *value = found;
                }
            }
        }
        if let (Some(lambda), Some(raw), false) = (self.plan.linear, &self.train.raw, first) {
            let (layout, slopes) = (self.binned.layout(), &self.slopes[output]);
            leaf_models::fit(tree, leaves, layout, raw, slopes, lambda, self.team);
        }
        tree.scale(self.rate);
    }
}

/// The sums of some rows' gradients and hessians, in four parts so that no addition waits for the one before.
fn sums(rows: &[u32], exact: &[[f64; 2]]) -> [f64; 2] {
    let join = |a: [f64; 2], b: [f64; 2]| [a[0] + b[0], a[1] + b[1]];
    let mut parts = [[0.0; 2]; 4];
    let (fours, rest) = rows.as_chunks::<4>();
    for four in fours {
        parts = std::array::from_fn(|i| join(parts[i], exact[four[i] as usize]));
    }
    for (part, &row) in parts.iter_mut().zip(rest) {
        *part = join(*part, exact[row as usize]);
    }
    let [a, b, c, d] = parts;
    join(join(a, b), join(c, d))
}

/// The largest value of a tree's leaves.
pub(crate) fn largest_value(tree: &GrownTree) -> f64 {
    tree.nodes.iter().fold(0.0, |a: f64, n| if let Grown::Leaf { value } = n { a.max(value.abs()) } else { a })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_gets_the_value_of_its_leaf_once() {
        let rows = 3 * NEAR + 77;
        let leaf = |row: usize| (bits(1, 2, row as u64) % 5) as usize;
        let lists: Vec<Vec<u32>> =
            (0..5).map(|k| (0..rows as u32).filter(|&r| leaf(r as usize) == k).collect()).collect();
        let leaves: Vec<(f64, Stretch<'_>)> =
            lists.iter().enumerate().map(|(k, list)| (k as f64 + 0.5, Stretch::some(list, rows))).collect();
        for (from, to) in [(0, rows), (5, rows), (NEAR, 2 * NEAR + 1), (rows - 1, rows)] {
            let mut scores: Vec<f64> = (from..to).map(|row| row as f64).collect();
            Added::Stretches(leaves.clone()).to(&mut scores, from);
            assert!((from..to).zip(&scores).all(|(row, &score)| score == row as f64 + leaf(row) as f64 + 0.5));
        }
        // Those of a tree without splits.
        let halves = |rows: usize| Stretch::all(rows).pieces(rows.div_ceil(2)).map(|half| (2.0, half)).collect();
        for (from, want) in [(0, [3.0; 3]), (2, [3.0; 3]), (4, [3.0, 1.0, 1.0])] {
            let mut scores = [1.0; 3];
            Added::Stretches(halves(5)).to(&mut scores, from);
            assert_eq!(scores, want);
        }
    }
}
