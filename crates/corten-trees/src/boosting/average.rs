//! Several models as one that scores as their mean.

use corten_core::{Error, Result};
use serde::{Deserialize, Serialize};

use super::fitted::Boosted;
use super::fitting::recount;
use super::grower::GrownTree;
use super::train::Trained;

/// One of the models that were averaged.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Member {
    pub(crate) rounds: usize,
    pub(crate) learning_rate: f64,
    pub(crate) baseline: Vec<f64>,
}

impl Boosted {
    /// One model of the first rounds of several, each with theirs; this one's bins, loss and classes are those of all. Trees
    /// that were dropped out at times count as they do after the last round, so of those models all rounds are taken.
    ///
    /// # Errors
    /// [`Error::Value`] for models of other bins, classes or losses, and for those that are means already.
    pub(crate) fn mean(&self, members: &[(&Self, usize)]) -> Result<Self> {
        let one = 1.0 / members.len() as f64;
        let mut out = Trained {
            baseline: vec![0.0; self.baseline.len()],
            learning_rate: self.trained.learning_rate,
            ..Trained::default()
        };
        let mut seconds = 0.0;
        for &(member, rounds) in members {
            member.continues(&self.objective, self.features.width(), self.labels.as_ref())?;
            let Trained { iterations, weights, .. } = &member.trained;
            if member.features != self.features {
                return Err(Error::value("only models on the same bins are averaged"));
            }
            if weights.is_empty() != self.trained.weights.is_empty() {
                return Err(Error::value("a model that left trees out is averaged with others that did"));
            }
            if !member.trained.members.is_empty() {
                return Err(Error::value("a mean of models is averaged with no other"));
            }
            let rounds =
                if weights.is_empty() || rounds == 0 { rounds.min(iterations.len()) } else { iterations.len() };
            let scaled = |tree: &GrownTree| {
                let mut tree = tree.clone();
                tree.scale(one);
                tree
            };
            let of_all = |trees: &Vec<GrownTree>| trees.iter().map(scaled).collect();
            out.iterations.extend(iterations[..rounds].iter().map(of_all));
            out.weights.extend(weights.iter().take(rounds).map(|w| w * one));
            out.baseline.iter_mut().zip(&member.baseline).for_each(|(sum, b)| *sum += b * one);
            out.interrupted |= member.trained.interrupted;
            let (learning_rate, baseline) = (member.trained.learning_rate, member.baseline.clone());
            out.members.push(Member { rounds, learning_rate, baseline });
            seconds += member.seconds;
        }
        if let [(member, _)] = members {
            let rounds = out.iterations.len();
            let first = |losses: &Vec<f64>| losses[..losses.len().min(rounds + 1)].to_vec();
            let Trained { train_loss, validation_loss, more, .. } = &member.trained;
            (out.train_loss, out.validation_loss) = (first(train_loss), first(validation_loss));
            out.more = more.iter().map(|both| both.each_ref().map(first)).collect();
            out.members.clear();
        }
        let (gains, splits) = recount(&out, &self.features, self.gains.len());
        Ok(Self {
            baseline: out.baseline.clone(),
            gains,
            splits,
            iterations: out.iterations.len(),
            trained: out,
            seconds,
            objective: self.objective.clone(),
            labels: self.labels.clone(),
            features: self.features.clone(),
            early_stopping: self.early_stopping,
        })
    }
}
