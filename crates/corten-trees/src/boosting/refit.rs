//! Leaves fitted anew to other rows; splits stay as they are.

use std::ops::Range;

use corten_core::{Error, Result, parameter};

use super::grower::{Grown, GrownTree};
use super::layout::Binned;
use super::objective::quantile;
use super::part::Part;
use super::run::Run;
use super::train::{Trained, Training};

/// Gives each leaf `decay` of its old value and the rest of the one that these rows would give it.
///
/// # Errors
/// [`Error::Parameter`] for a share outside 0 to 1, [`Error::Value`] for linear models in leaves, and what [`Run::find_slopes`] gives.
pub(crate) fn refit(
    training: &Training<'_>,
    binned: &Binned,
    train: Part,
    before: &Trained,
    decay: f64,
) -> Result<Trained> {
    parameter::within("decay_rate", decay, 0.0, 1.0)?;
    if before.iterations.iter().flatten().any(|tree| !tree.models.is_empty()) {
        return Err(Error::value(
            "refit changes the values of leaves, and those of linear_tree=True have linear models",
        ));
    }
    let mut out = Trained {
        baseline: before.baseline.clone(),
        learning_rate: before.learning_rate,
        iterations: before.iterations.clone(),
        weights: before.weights.clone(),
        members: before.members.clone(),
        ..Trained::default()
    };
    let mut run = Run::new(training, train, &out.baseline);
    // What is a mean of models is fitted model by model, each of which counts as one of so many.
    let count = before.members.len() as f64;
    let mut first = 0;
    for member in &before.members {
        run.train.start(&member.baseline);
        let rounds = first..first + member.rounds;
        run.rounds_anew(binned, &mut out, rounds, decay, member.learning_rate / count, count)?;
        first += member.rounds;
    }
    if first < out.iterations.len() {
        run.train.start(&out.baseline);
        out.iterations[..first].iter().try_for_each(|trees| run.add(trees, 1.0))?;
        let rounds = first..out.iterations.len();
        run.rounds_anew(binned, &mut out, rounds, decay, before.learning_rate, 1.0)?;
    }
    Ok(out)
}

impl Run<'_> {
    /// The leaves of some rounds, whose trees count `factor` times in the scores from which the next ones start.
    fn rounds_anew(
        &mut self,
        binned: &Binned,
        out: &mut Trained,
        rounds: Range<usize>,
        decay: f64,
        rate: f64,
        factor: f64,
    ) -> Result<()> {
        for i in rounds {
            self.context.cancel.check()?;
            self.find_slopes()?;
            let rate = out.weights.get(i).copied().unwrap_or(rate);
            for (k, tree) in out.iterations[i].iter_mut().enumerate() {
                self.leaves_anew(binned, k, tree, decay, rate);
            }
            self.add(&out.iterations[i], factor)?;
        }
        Ok(())
    }

    fn leaves_anew(&self, binned: &Binned, output: usize, tree: &mut GrownTree, decay: f64, rate: f64) {
        let [g, h] = &self.slopes[output];
        let mut rows: Vec<Vec<u32>> = vec![Vec::new(); tree.nodes.len()];
        for row in 0..self.rows() {
            rows[tree.leaf(&binned.features, |f| binned.bin(f, row))].push(row as u32);
        }
        let which = self.objective.leaf_quantile(output);
        for (node, rows) in tree.nodes.iter_mut().zip(&rows) {
            let Grown::Leaf { value } = node else { continue };
            // A leaf that none of the rows reaches has nothing to learn from.
            if rows.is_empty() {
                continue;
            }
            let new = match which {
                Some(q) => {
                    let residual = |&r: &u32| self.train.y.get(r as usize) - self.train.scores[output][r as usize];
                    let weights = self.train.weights.as_ref();
                    let weights: Option<Vec<f64>> = weights.map(|w| rows.iter().map(|&r| w[r as usize]).collect());
                    quantile(rows.iter().map(residual).collect(), weights.as_deref(), q)
                }
                None => {
                    let sum = |s: &[f64]| rows.iter().map(|&r| s[r as usize]).sum::<f64>();
                    self.rules.step(sum(g), sum(h))
                }
            };
            *value = decay * *value + (1.0 - decay) * rate * new;
        }
    }
}
