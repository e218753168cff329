//! The loop over stages.

use corten_core::random::Stream;
use corten_core::{Error, Result};
use corten_model::estimator::{Context, Step};
use corten_model::number;
use serde::{Deserialize, Serialize};

use super::loss::Loss;
use crate::forest::finder::Entry;
use crate::forest::grower::{Grower, Rules};
use crate::forest::means::{Means, Squared};
use crate::forest::prune::prune;
use crate::forest::ranks::{Code, Table};
use crate::forest::tree::GrownTree;

/// Tell the draws of columns and of rows apart.
const COLUMNS: u64 = 0x0067_6263_6f6c << 16;
const ROWS: u64 = 0x0067_6272_6f77 << 16;

/// What was fitted, stage after stage.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Stages {
    pub(crate) start: Vec<f64>,
    /// A tree an output in each.
    pub(crate) trees: Vec<Vec<GrownTree>>,
    #[serde(with = "number::list")]
    pub(crate) losses: Vec<f64>,
    /// Losses on the rows that a stage's trees were not grown on, and how much each stage lowered them.
    #[serde(with = "number::list")]
    pub(crate) out_of_bag: Vec<f64>,
    #[serde(with = "number::list")]
    pub(crate) improvements: Vec<f64>,
}

/// How stages are grown.
pub(crate) struct Plan<'a> {
    pub(crate) loss: &'a Loss,
    pub(crate) rules: &'a Rules,
    pub(crate) rate: f64,
    pub(crate) stages: usize,
    pub(crate) subsample: f64,
    pub(crate) alpha: f64,
    pub(crate) seed: u64,
    /// Stages without a gain of the second number on held-out rows after which no more are grown.
    pub(crate) patience: Option<(usize, f64)>,
    pub(crate) context: &'a Context,
}

/// All rows, of which some may be held out.
pub(crate) struct Rows<'a> {
    pub(crate) y: &'a [f64],
    pub(crate) weights: &'a [f64],
    pub(crate) held_out: &'a [bool],
    /// Scores to start from besides the stages' own, an output's rows after the other's.
    pub(crate) init: Option<&'a [f64]>,
}

impl Plan<'_> {
    /// Grows the stages that are missing.
    ///
    /// # Errors
    /// [`Error::Cancelled`].
    pub(crate) fn run<C: Code>(&self, table: &Table<C>, rows: &Rows<'_>, mut done: Stages) -> Result<Stages> {
        let Rows { y, weights, held_out, init } = *rows;
        let loss = self.loss;
        let from = |(k, &start): (usize, &f64)| match init {
            Some(init) => init[k * y.len()..][..y.len()].iter().map(|s| s + start).collect(),
            None => vec![start; y.len()],
        };
        let mut scores: Vec<Vec<f64>> = done.start.iter().enumerate().map(from).collect();
        for stage in &done.trees {
            self.add(table, stage, &mut scores);
        }
        let usable: Vec<u32> =
            (0..y.len() as u32).filter(|&r| !held_out[r as usize] && weights[r as usize] > 0.0).collect();
        let mut delta = 0.0;
        let mut best = self.patience.map(|(n, _)| vec![f64::INFINITY; n]);
        for stage in done.trees.len()..self.stages {
            match self.stage(table, rows, &usable, stage, &mut scores, &mut delta, &mut done) {
                Err(Error::Cancelled) if self.context.keep && !done.trees.is_empty() => break,
                grown => grown?,
            }
            if let Some(callback) = &self.context.progress {
                let validation_loss = best.is_some().then(|| loss.mean(y, &scores, weights, delta, |r| held_out[r]));
                let loss = done.losses.last().copied();
                callback(&Step { iteration: stage + 1, total: Some(self.stages), loss, validation_loss });
            }
            if let (Some(best), Some((n, tol))) = (&mut best, self.patience) {
                let now = loss.mean(y, &scores, weights, delta, |r| held_out[r]);
                if !best.iter().any(|b| now + tol < *b) {
                    break;
                }
                best[stage % n] = now;
            }
        }
        Ok(done)
    }

    fn stage<C: Code>(
        &self,
        table: &Table<C>,
        rows: &Rows<'_>,
        usable: &[u32],
        stage: usize,
        scores: &mut [Vec<f64>],
        delta: &mut f64,
        done: &mut Stages,
    ) -> Result<()> {
        let Rows { y, weights, held_out, .. } = *rows;
        let (loss, outputs) = (self.loss, self.loss.outputs());
        let sampled = self.sample(usable, stage);
        let mut inside = vec![sampled.is_none(); y.len()];
        sampled.iter().flatten().for_each(|&r| inside[r as usize] = true);
        let chosen: &[u32] = sampled.as_deref().unwrap_or(usable);
        *delta = loss.delta(y, scores, weights);
        let outside = |r: usize| !inside[r] && !held_out[r];
        let first = sampled.is_some().then(|| loss.mean(y, scores, weights, *delta, outside));
        let residuals: Vec<Vec<f64>> = (0..outputs).map(|k| loss.residuals(y, scores, k, *delta)).collect();
        let mut trees = Vec::with_capacity(outputs);
        for (k, residuals) in residuals.iter().enumerate() {
            let center = [0.0];
            let mut finder = Means::<Squared>::new(residuals, 1, &center, Some(weights));
            let entries: Vec<Entry> = chosen.iter().map(|&row| Entry::new(row, 1)).collect();
            let stream = Stream::new(self.seed, COLUMNS ^ (stage * outputs + k) as u64);
            let grower = Grower::new(table, self.rules, &mut finder, stream, entries, 1);
            let mut tree = grower.grow(&self.context.cancel)?;
            if self.alpha > 0.0 {
                tree = prune(&tree, self.alpha);
            }
            let mut by_leaf: Vec<Vec<u32>> = vec![Vec::new(); tree.nodes.len()];
            for &row in chosen {
                by_leaf[tree.leaf(table, row as usize)].push(row);
            }
            for (at, rows) in by_leaf.iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
                if let Some(value) = loss.leaf(rows, y, &scores[k], residuals, weights, k, *delta) {
                    tree.values[at] = value;
                }
            }
            trees.push(tree);
        }
        self.add(table, &trees, scores);
        done.trees.push(trees);
        done.losses.push(loss.mean(y, scores, weights, *delta, |r| inside[r] && !held_out[r]));
        if let Some(first) = first {
            let before = done.out_of_bag.last().copied().unwrap_or(first);
            let now = loss.mean(y, scores, weights, *delta, outside);
            done.out_of_bag.push(now);
            done.improvements.push(before - now);
        }
        Ok(())
    }

    fn add<C: Code>(&self, table: &Table<C>, trees: &[GrownTree], scores: &mut [Vec<f64>]) {
        for (tree, scores) in trees.iter().zip(scores) {
            for (row, score) in scores.iter_mut().enumerate() {
                *score += self.rate * tree.values[tree.leaf(table, row)];
            }
        }
    }

    /// The rows of a stage, as many as asked for, each as likely as the other; all when `None`.
    fn sample(&self, usable: &[u32], stage: usize) -> Option<Vec<u32>> {
        if self.subsample >= 1.0 {
            return None;
        }
        let mut wanted = ((self.subsample * usable.len() as f64) as usize).max(1);
        let mut stream = Stream::new(self.seed, ROWS ^ stage as u64);
        let mut chosen = Vec::with_capacity(wanted);
        for (i, &row) in usable.iter().enumerate() {
            if stream.below((usable.len() - i) as u64) < wanted as u64 {
                chosen.push(row);
                wanted -= 1;
            }
        }
        Some(chosen)
    }
}
