//! The loop over iterations.

use corten_core::Result;
use corten_core::random::Stream;
use corten_kernels::parallel;
use corten_model::estimator::{Context, Step};

use super::binning::Binned;
use super::collective::Solo;
use super::grower::{Grower, Grown, GrownTree, Shape};
use super::histogram::Rounded;
use super::objective::{Objective, quantile};
use super::splitter::Rules;

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
}

/// What was trained.
#[derive(Clone, Debug, Default)]
pub(crate) struct Trained {
    pub(crate) baseline: Vec<f64>,
    /// One list of trees an iteration: a tree an output.
    pub(crate) iterations: Vec<Vec<GrownTree>>,
    pub(crate) train_loss: Vec<f64>,
    pub(crate) validation_loss: Vec<f64>,
}

/// Rows with their targets.
pub(crate) struct Part {
    pub(crate) rows: Vec<u32>,
    pub(crate) y: Vec<f64>,
    pub(crate) weights: Option<Vec<f64>>,
    /// One column of rows an output.
    pub(crate) scores: Vec<f64>,
}

impl Part {
    pub(crate) fn new(rows: Vec<u32>, y: &[f64], weights: Option<&[f64]>) -> Self {
        let take = |v: &[f64]| rows.iter().map(|&r| v[r as usize]).collect();
        Self { y: take(y), weights: weights.map(take), scores: Vec::new(), rows }
    }

    fn start(&mut self, baseline: &[f64]) {
        self.scores = baseline.iter().flat_map(|&b| std::iter::repeat_n(b, self.rows.len())).collect();
    }

    fn loss(&self, objective: Objective, threads: usize) -> f64 {
        objective.loss(&self.y, self.weights.as_deref(), &self.scores, threads)
    }
}

/// Trains. `train` holds all rows of `binned` that count; trees start from its rows, by their position in `binned`.
///
/// # Errors
/// [`corten_core::Error::Cancelled`].
pub(crate) fn train(
    objective: Objective,
    binned: &Binned,
    mut train: Part,
    mut validation: Option<Part>,
    rules: &Rules,
    shape: &Shape,
    plan: &Plan,
    context: &Context,
) -> Result<Trained> {
    let threads = context.threads.max(1);
    let baseline = objective.baseline(&train.y, train.weights.as_deref());
    let mut out = Trained { baseline, ..Trained::default() };
    train.start(&out.baseline);
    if let Some(part) = &mut validation {
        part.start(&out.baseline);
    }
    let watch = plan.losses || context.progress.is_some();
    if plan.losses {
        out.train_loss.push(train.loss(objective, threads));
        out.validation_loss.extend(validation.as_ref().map(|v| v.loss(objective, threads)));
    }
    // Trees index the whole table, so gradients are spread to its rows when some are held out.
    let whole = train.rows.len() == binned.rows;
    let place: Vec<u32> = if whole { Vec::new() } else { inverse(&train.rows, binned.rows) };
    let (mut gradients, mut hessians) = (Vec::new(), Vec::new());
    let mut spare = Vec::new();
    for iteration in 0..plan.max_iter {
        context.cancel.check()?;
        let weights = train.weights.as_deref();
        objective.gradients(&train.y, weights, &train.scores, &mut gradients, &mut hessians, threads);
        let n = train.rows.len();
        let mut trees = Vec::with_capacity(objective.outputs());
        for k in 0..objective.outputs() {
            let (g, h) = (&gradients[k * n..][..n], &hessians[k * n..][..n]);
            let rounded = if whole {
                Rounded::new(g, h, n, threads)
            } else {
                let all = binned.rows;
                Rounded::new(&spread(g, &train.rows, all), &spread(h, &train.rows, all), n, threads)
            };
            let mut grower = Grower {
                binned,
                rounded: &rounded,
                rules,
                shape,
                threads,
                cancel: &context.cancel,
                collective: &Solo,
                stream: Stream::new(plan.seed, (iteration * objective.outputs() + k) as u64),
                spare: std::mem::take(&mut spare),
            };
            let mut tree = grower.grow(train.rows.clone())?;
            spare = grower.spare;
            finish(objective, &mut tree, &train, &place, k, plan.learning_rate);
            trees.push(tree);
        }
        for (k, tree) in trees.iter_mut().enumerate() {
            for node in &tree.nodes {
                if let Grown::Leaf { value, start, end } = node {
                    for &row in &tree.rows[*start..*end] {
                        let at = if whole { row as usize } else { place[row as usize] as usize };
                        train.scores[k * n + at] += value;
                    }
                }
            }
            // The rows have done their work.
            tree.rows = Vec::new();
        }
        if let Some(part) = &mut validation {
            advance(binned, part, &trees, threads);
        }
        out.iterations.push(trees);
        let losses =
            watch.then(|| (train.loss(objective, threads), validation.as_ref().map(|v| v.loss(objective, threads))));
        if let (Some(callback), Some((loss, held_out))) = (&context.progress, losses) {
            let total = Some(plan.max_iter);
            callback(&Step { iteration: iteration + 1, total, loss: Some(loss), validation_loss: held_out });
        }
        if let (true, Some((loss, held_out))) = (plan.losses, losses) {
            out.train_loss.push(loss);
            out.validation_loss.extend(held_out);
        }
        let watched = if out.validation_loss.is_empty() { &out.train_loss } else { &out.validation_loss };
        if plan.patience.is_some_and(|p| no_gain(watched, p, plan.tol)) {
            break;
        }
    }
    Ok(out)
}

fn inverse(rows: &[u32], count: usize) -> Vec<u32> {
    let mut place = vec![0; count];
    for (at, &row) in rows.iter().enumerate() {
        place[row as usize] = at as u32;
    }
    place
}

fn spread(values: &[f64], rows: &[u32], count: usize) -> Vec<f64> {
    let mut out = vec![0.0; count];
    for (&row, &v) in rows.iter().zip(values) {
        out[row as usize] = v;
    }
    out
}

/// Gives leaves their final values: shrunk, and quantiles of residuals where the loss asks for them.
fn finish(objective: Objective, tree: &mut GrownTree, train: &Part, place: &[u32], k: usize, rate: f64) {
    let n = train.rows.len();
    for node in &mut tree.nodes {
        let Grown::Leaf { value, start, end } = node else { continue };
        if let Some(q) = objective.leaf_quantile() {
            let at = |row: &u32| if place.is_empty() { *row as usize } else { place[*row as usize] as usize };
            let places: Vec<usize> = tree.rows[*start..*end].iter().map(at).collect();
            let residuals = places.iter().map(|&i| train.y[i] - train.scores[k * n + i]).collect();
            let weights: Option<Vec<f64>> = train.weights.as_ref().map(|w| places.iter().map(|&i| w[i]).collect());
            *value = quantile(residuals, weights.as_deref(), q);
        }
        *value *= rate;
    }
}

/// Adds trees to the scores of held-out rows.
fn advance(binned: &Binned, part: &mut Part, trees: &[GrownTree], threads: usize) {
    let n = part.rows.len();
    for (k, tree) in trees.iter().enumerate() {
        let added = parallel::map_blocks(threads, n, 4096, |_, range| {
            let value = |&row: &u32| match tree.nodes[tree.leaf(binned, row as usize)] {
                Grown::Leaf { value, .. } => value,
                Grown::Split { .. } => 0.0,
            };
            part.rows[range].iter().map(value).collect::<Vec<f64>>()
        });
        for (score, add) in part.scores[k * n..][..n].iter_mut().zip(added.iter().flatten()) {
            *score += add;
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
