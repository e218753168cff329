//! The loop over iterations.

use std::sync::Mutex;

use corten_core::{Error, Result};
use corten_kernels::team::Team;
use corten_model::estimator::{Context, Extras, Step};
use corten_model::number;
use serde::{Deserialize, Serialize};

use super::average::Member;
use super::choice::Shape;
use super::grower::GrownTree;
use super::metric::Metric;
use super::objective::Objective;
use super::part::{HeldOut, Part};
use super::rounding::Mode;
use super::run::{Added, Rowed, Run, largest_value};
use super::sampling;
use super::splitter::Rules;

/// How long to go on, and by what choices.
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
    /// What is watched in place of the loss; the first decides.
    pub(crate) metrics: Vec<Metric>,
    pub(crate) rows: sampling::Rows,
    pub(crate) dropout: Option<sampling::Dropout>,
    /// The penalty on the weights of linear models in leaves; values alone when `None`.
    pub(crate) linear: Option<f64>,
}

impl Plan {
    /// What is watched, the lower the better; nothing where a loss from outside isn't known.
    pub(crate) fn watched(&self, run: &Run<'_>, part: &Part) -> Result<Vec<f64>> {
        if self.metrics.is_empty() {
            return Ok(run.objective.loss(part, run.team).into_iter().collect());
        }
        self.metrics.iter().map(|m| m.of(part, run.objective, run.extras).map(|x| -x)).collect()
    }
}

/// What was trained.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Trained {
    pub(crate) baseline: Vec<f64>,
    /// Of the last fit.
    pub(crate) learning_rate: f64,
    /// One list of trees an iteration: a tree an output.
    pub(crate) iterations: Vec<Vec<GrownTree>>,
    /// What each iteration's trees count, where trees are left out at times.
    pub(crate) weights: Vec<f64>,
    #[serde(with = "number::list")]
    pub(crate) train_loss: Vec<f64>,
    #[serde(with = "number::list")]
    pub(crate) validation_loss: Vec<f64>,
    /// The metrics beyond the first: on training and on held-out rows.
    #[serde(with = "number::pairs")]
    pub(crate) more: Vec<[Vec<f64>; 2]>,
    /// Whether somebody stopped it.
    pub(crate) interrupted: bool,
    /// Of a mean of models: those, whose rounds come first, one's after the other's.
    pub(crate) members: Vec<Member>,
}

impl Trained {
    /// What rounds count that were fitted without leaving trees out. Those of a mean of models become rounds like others:
    /// what is left out and comes back smaller is no share of it any more.
    fn weigh(&mut self, rounds: usize) {
        if self.weights.len() == rounds {
            return;
        }
        let members = std::mem::take(&mut self.members);
        for member in &members {
            let weight = member.learning_rate / members.len() as f64;
            self.weights.extend(std::iter::repeat_n(weight, member.rounds));
        }
        self.weights.resize(rounds, self.learning_rate);
    }

    fn forget(&mut self, metrics: usize) {
        self.train_loss.clear();
        self.validation_loss.clear();
        self.more = vec![Default::default(); metrics.saturating_sub(1)];
    }

    fn note(&mut self, train: &[f64], held_out: &[f64]) {
        self.train_loss.extend(train.first());
        self.validation_loss.extend(held_out.first());
        for (i, [a, b]) in self.more.iter_mut().enumerate() {
            a.extend(train.get(i + 1));
            b.extend(held_out.get(i + 1));
        }
    }
}

/// All that a training is of.
pub(crate) struct Training<'a> {
    pub(crate) objective: &'a Objective,
    pub(crate) binned: Rowed<'a>,
    pub(crate) rules: &'a Rules,
    pub(crate) shape: &'a Shape,
    pub(crate) plan: &'a Plan,
    pub(crate) extras: &'a Extras<'a>,
    pub(crate) context: &'a Context,
    pub(crate) team: Team<'a>,
}

/// Trains. All rows of `binned` count.
///
/// # Errors
/// [`corten_core::Error::Cancelled`], and what comes from outside.
pub(crate) fn train(
    training: &Training<'_>,
    train: Part,
    mut held_out: Option<HeldOut>,
    previous: Option<&Trained>,
) -> Result<Trained> {
    let &Training { objective, plan, context, .. } = training;
    let baseline = match previous {
        Some(previous) => previous.baseline.clone(),
        // Who says where to start says it all.
        None if train.init.is_some() => vec![0.0; objective.outputs()],
        None => objective.baseline(&train.y.all(), train.weights.as_deref()),
    };
    let mut run = Run::new(training, train, &baseline);
    let learning_rate = plan.learning_rate;
    let mut out = Trained { baseline, learning_rate, ..Trained::default() };
    if let Some(h) = &mut held_out {
        h.part.start(&out.baseline);
    }
    let watch = plan.losses || context.progress.is_some();
    let mut begun = run.late;
    if let Some(previous) = previous {
        out = Trained { interrupted: false, learning_rate, ..previous.clone() };
        begun |= run.resume(&out.iterations, held_out.as_mut())?;
    }
    // Losses of a fit that watched from its start go on; others start here.
    if plan.losses
        && (out.train_loss.len() != out.iterations.len() + 1 || out.more.len() + 1 != plan.metrics.len().max(1))
    {
        out.forget(plan.metrics.len());
        let validation = held_out.as_ref().map(|h| plan.watched(&run, &h.part)).transpose()?;
        out.note(&plan.watched(&run, &run.train)?, &validation.unwrap_or_default());
    }
    let mut pool = Mutex::new(Vec::new());
    if !begun {
        run.round(&Added::Nothing, 0.0)?;
    }
    for iteration in out.iterations.len()..plan.max_iter {
        match run.iteration(iteration, &mut out, held_out.as_mut(), &mut pool) {
            Err(Error::Cancelled) if context.keep && !out.iterations.is_empty() => {
                out.interrupted = true;
                break;
            }
            done => done?,
        }
        if watch {
            let losses = plan.watched(&run, &run.train)?;
            let validation = held_out.as_ref().map(|h| plan.watched(&run, &h.part)).transpose()?.unwrap_or_default();
            if let Some(callback) = &context.progress {
                let (loss, validation_loss) = (losses.first().copied(), validation.first().copied());
                callback(&Step { iteration: iteration + 1, total: Some(plan.max_iter), loss, validation_loss });
            }
            if plan.losses {
                out.note(&losses, &validation);
            }
        }
        let watched = if out.validation_loss.is_empty() { &out.train_loss } else { &out.validation_loss };
        if plan.patience.is_some_and(|p| no_gain(watched, p, plan.tol)) {
            break;
        }
    }
    Ok(out)
}

impl Run<'_> {
    /// One iteration: its trees, added to all scores.
    fn iteration(
        &mut self,
        iteration: usize,
        out: &mut Trained,
        mut held_out: Option<&mut HeldOut>,
        pool: &mut super::run::Pool,
    ) -> Result<()> {
        self.context.cancel.check()?;
        let features = &self.binned.layout().features;
        let dropped = match self.plan.dropout {
            Some(dropout) => {
                out.weigh(iteration);
                dropout.choose(&out.weights, self.seed(iteration))
            }
            None => Vec::new(),
        };
        self.rate = self.plan.learning_rate / (1.0 + dropped.len() as f64);
        for &at in &dropped {
            self.add(&out.iterations[at], -1.0)?;
        }
        if self.late {
            self.prepare(iteration)?;
        }
        let last = iteration + 1 == self.plan.max_iter;
        let trees = if self.objective.outputs() == 1 {
            vec![self.one(iteration, last, pool)?]
        } else {
            let trees = self.several(iteration, pool)?;
            if !last && !self.late {
                self.round(&Added::Nothing, 0.0)?;
            }
            trees
        };
        if !trees.iter().all(GrownTree::is_finite) {
            return Err(Error::value(format!(
                "the loss gave numbers beyond all bounds in iteration {}",
                iteration + 1
            )));
        }
        if let Some(h) = held_out.as_deref_mut() {
            h.advance(features, &trees, 1.0, self.team);
        }
        // Trees that were left out come back smaller.
        let left = dropped.len() as f64 / (1.0 + dropped.len() as f64);
        for &at in &dropped {
            if let Some(h) = held_out.as_deref_mut() {
                h.advance(features, &out.iterations[at], left - 1.0, self.team);
            }
            out.iterations[at].iter_mut().for_each(|tree| tree.scale(left));
            out.weights[at] *= left;
            self.add(&out.iterations[at], 1.0)?;
        }
        if self.plan.dropout.is_some() || !out.weights.is_empty() {
            out.weights.push(self.rate);
        }
        out.iterations.push(trees);
        Ok(())
    }

    /// Takes up the trees of an earlier fit; whether the next tree's integers are there then.
    fn resume(&mut self, iterations: &[Vec<GrownTree>], mut held_out: Option<&mut HeldOut>) -> Result<bool> {
        for (i, trees) in iterations.iter().enumerate() {
            if let Some(h) = held_out.as_deref_mut() {
                h.advance(&self.binned.layout().features, trees, 1.0, self.team);
            }
            if self.residuals && i + 1 == iterations.len() {
                // As the longer fit does it: rounded by what the gradients were before this tree, and its values.
                let found = self.pass(&Added::Nothing, false, Mode::Look);
                self.found = Some(self.largest(&found, 0).0);
                self.add(trees, 1.0)?;
                self.round(&Added::Nothing, largest_value(&trees[0]))?;
                return Ok(true);
            }
            self.add(trees, 1.0)?;
        }
        Ok(false)
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
