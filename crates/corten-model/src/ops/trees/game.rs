//! Trees as a game whose players are features.

use alloc::vec;
use alloc::vec::Vec;

use corten_core::{Error, Result};
use corten_kernels::cpu;
use corten_kernels::shap::{Codes, Game, Scratch};

use super::Trees;

/// Most edges from a root to a leaf: what explaining keeps grows with them.
const MOST_DEPTH: u32 = 1 << 14;

/// An ensemble made ready to be explained.
pub(crate) struct TreesGame<'a> {
    trees: &'a Trees,
    /// Player of each code column, number of players, training weights.
    players: Vec<u32>,
    count: usize,
    cover: Vec<f64>,
}

/// Working memory of one thread.
#[derive(Default)]
pub(crate) struct GameScratch {
    codes: Vec<u16>,
    kernel: Scratch,
}

impl Trees {
    /// The ensemble as a game: `players` has the player behind each input, below `count`.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for linear leaves, and where it isn't known how many rows reached the nodes;
    /// [`Error::Limit`] for trees that are too deep.
    pub(crate) fn game(&self, players: &[u32], count: usize) -> Result<TreesGame<'_>> {
        let inner = self.inner();
        if inner.linear.is_some() {
            return Err(Error::Unsupported("Trees whose leaves are linear models can't be explained exactly.".into()));
        }
        let Some(cover) = inner.cover.weights() else {
            return Err(Error::Unsupported(
                "The trees of this model don't say how many training rows reached their nodes; fit it again to explain it."
                    .into(),
            ));
        };
        if self.depth() > MOST_DEPTH {
            return Err(Error::Limit(alloc::format!(
                "Trees of up to {MOST_DEPTH} levels can be explained; this model has one of {}.",
                self.depth()
            )));
        }
        let players = inner.columns.iter().map(|c| players[c.feature as usize]).collect();
        Ok(TreesGame { trees: self, players, count, cover })
    }
}

impl Trees {
    /// Edges from a root to the deepest leaf.
    fn depth(&self) -> u32 {
        let forest = &self.inner().forest;
        let mut depths = vec![0u32; forest.parts().nodes.len()];
        let mut deepest = 0;
        // Children come after their parents.
        for at in 0..depths.len() {
            let left = forest.node(at).left as usize;
            if left != at {
                let below = depths[at] + 1;
                deepest = deepest.max(below);
                for child in [left, left + 1] {
                    depths[child] = depths[child].max(below);
                }
            }
        }
        deepest
    }
}

impl TreesGame<'_> {
    fn game(&self) -> Result<Game<'_>> {
        let forest = &self.trees.inner().forest;
        Game::new(forest, &self.players, self.count, &self.cover).map_err(|e| Error::Internal(e.into()))
    }

    pub(crate) fn outputs(&self) -> usize {
        self.trees.inner().base.len()
    }

    /// Number that sums are divided by at the end.
    fn divisor(&self) -> f64 {
        let trees = &self.trees;
        if trees.inner().rules.average && !trees.is_empty() { trees.len() as f64 } else { 1.0 }
    }

    /// The mean answer over the training weight, by output.
    pub(crate) fn base(&self) -> Result<Vec<f64>> {
        let mut mean = vec![0.0; self.outputs()];
        self.game()?.means(&mut mean);
        let divisor = self.divisor();
        Ok(mean.iter().zip(&self.trees.inner().base).map(|(m, base)| (m + base) / divisor).collect())
    }

    /// Shapley values of `stride` rows, a multiple of the kernel's lanes: `values[(output * count + player) * stride + row]`;
    /// and halves of the interactions of pairs in the same way, where there is room for them. `column(i)` is input `i`.
    pub(crate) fn explain<'x>(
        &self,
        stride: usize,
        column: impl Fn(usize) -> &'x [f64],
        scratch: &mut GameScratch,
        values: &mut [f64],
        pairs: Option<&mut [f64]>,
    ) -> Result<()> {
        let (inner, level, game) = (self.trees.inner(), cpu::level(), self.game()?);
        scratch.codes.clear();
        scratch.codes.resize(inner.coder.columns() * stride, 0);
        inner.coder.block(level, stride, column, &mut scratch.codes);
        let (codes, divisor) = (Codes { codes: &scratch.codes, stride }, self.divisor());
        let mut run = |out: &mut [f64], of_pairs: bool| {
            out.fill(0.0);
            if of_pairs {
                game.interactions(level, codes, &mut scratch.kernel, out);
            } else {
                game.values(level, codes, &mut scratch.kernel, out);
            }
            if divisor != 1.0 {
                out.iter_mut().for_each(|x| *x /= divisor);
            }
        };
        run(values, false);
        if let Some(pairs) = pairs {
            run(pairs, true);
        }
        Ok(())
    }
}
