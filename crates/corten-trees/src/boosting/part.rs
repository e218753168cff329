//! Rows with their targets, and what training adds up for them.

use corten_core::{Numbers, Result};
use corten_kernels::team::Team;

use super::binning::{Bins, Features};
use super::grower::{Grown, GrownTree};
use super::layout::Columns;
use super::run::Rowed;
use crate::source::Source;

/// Numbers of columns as they are, a list of rows a column; empty for columns that are no plain numbers.
pub(crate) type Raw = Vec<Vec<f64>>;

/// Rows with their targets.
#[derive(Default)]
pub(crate) struct Part {
    /// Positions of the rows in the data, where somebody outside asks.
    pub(crate) rows: Vec<u32>,
    pub(crate) y: Numbers,
    pub(crate) weights: Option<Vec<f64>>,
    /// One column of rows an output.
    pub(crate) scores: Vec<Vec<f64>>,
    /// Scores to start from besides the best constant, likewise.
    pub(crate) init: Option<Vec<Vec<f64>>>,
    /// Where each query ends.
    pub(crate) queries: Vec<u32>,
    /// Where leaves hold linear models.
    pub(crate) raw: Option<Raw>,
}

impl Part {
    /// Some rows, with their targets and what they weigh among all.
    pub(crate) fn new(rows: &[u32], y: Numbers, weights: Option<&[f64]>) -> Self {
        Self { y, weights: weights.map(|w| take(rows, w)), ..Self::default() }
    }

    /// Takes the rows' scores to start from, from those of all rows.
    pub(crate) fn starting(mut self, rows: &[u32], init: Option<&[f64]>, count: usize) -> Self {
        self.init = init.map(|init| init.chunks_exact(count.max(1)).map(|c| take(rows, c)).collect());
        self
    }

    /// Takes the rows' queries, from the sizes of those of all rows.
    pub(crate) fn of_queries(mut self, rows: &[u32], sizes: &[u32]) -> Self {
        let (mut end, mut taken) = (0u32, 0usize);
        for &size in sizes {
            end += size;
            let here = rows[taken..].partition_point(|&r| r < end);
            taken += here;
            if here > 0 {
                self.queries.push(taken as u32);
            }
        }
        self
    }

    /// Takes the numbers of columns.
    ///
    /// # Errors
    /// [`corten_core::Error::Column`] for a column of text where numbers are needed.
    pub(crate) fn with_numbers(mut self, source: &Source<'_>, features: &Features, rows: &[u32]) -> Result<Self> {
        let read = |(at, bins): (usize, &Bins)| match bins {
            Bins::Number { .. } => Ok(take(rows, &source.column(at).to_f64()?)),
            _ => Ok(Vec::new()),
        };
        self.raw = Some(features.bins.iter().take(features.width()).enumerate().map(read).collect::<Result<_>>()?);
        Ok(self)
    }

    pub(crate) fn start(&mut self, baseline: &[f64]) {
        self.scores = match self.init.take() {
            Some(mut init) => {
                for (scores, &b) in init.iter_mut().zip(baseline) {
                    scores.iter_mut().for_each(|s| *s += b);
                }
                init
            }
            None => baseline.iter().map(|&b| vec![b; self.y.len()]).collect(),
        };
    }

    /// Starts with the scores of the one output less the targets, which are not kept.
    pub(crate) fn start_with_residuals(&mut self, baseline: f64) {
        let rows = self.y.len();
        let y = std::mem::replace(&mut self.y, Numbers::Zeros(rows));
        self.scores = vec![match (self.init.take(), y) {
            (None, Numbers::F64(mut y)) => {
                y.iter_mut().for_each(|y| *y = baseline - *y);
                y
            }
            (init, y) => {
                let init = init.and_then(|mut init| init.pop());
                let start = |row: usize| init.as_ref().map_or(baseline, |init| init[row] + baseline);
                (0..rows).map(|row| start(row) - y.get(row)).collect()
            }
        }];
    }

    /// Adds a tree, times `factor`, to the scores of an output; `bin` gives the bin of a row in a feature.
    pub(crate) fn add(
        &mut self,
        output: usize,
        tree: &GrownTree,
        factor: f64,
        features: &[Bins],
        bin: impl Fn(usize, usize) -> u8 + Sync,
        team: Team<'_>,
    ) {
        let raw = self.raw.as_ref();
        add_rows(&mut self.scores[output], tree, factor, raw, features, bin, team);
    }
}

fn take(rows: &[u32], values: &[f64]) -> Vec<f64> {
    if rows.len() == values.len() { values.to_vec() } else { rows.iter().map(|&r| values[r as usize]).collect() }
}

/// Held-out rows as bins, column after column.
pub(crate) struct HeldOut {
    pub(crate) part: Part,
    pub(crate) columns: Columns,
}

impl HeldOut {
    /// Adds a tree an output, times `factor`, to the scores.
    pub(crate) fn advance(&mut self, features: &[Bins], trees: &[GrownTree], factor: f64, team: Team<'_>) {
        for (k, tree) in trees.iter().enumerate() {
            let columns = &self.columns;
            self.part.add(k, tree, factor, features, |f, row| columns.get(f)[row], team);
        }
    }
}

/// Adds a tree to the scores of training rows, row by row.
///
/// # Errors
/// [`corten_core::Error::Io`] when rows can't be read.
pub(crate) fn walk(
    binned: Rowed<'_>,
    scores: &mut [f64],
    tree: &GrownTree,
    factor: f64,
    raw: Option<&Raw>,
    team: Team<'_>,
) -> Result<()> {
    match binned {
        Rowed::Memory(binned) => {
            add_rows(scores, tree, factor, raw, &binned.features, |f, row| binned.bin(f, row), team);
            Ok(())
        }
        Rowed::Blocks(blocks) => blocks.walk(scores, tree, factor, team),
    }
}

fn add_rows(
    scores: &mut [f64],
    tree: &GrownTree,
    factor: f64,
    raw: Option<&Raw>,
    features: &[Bins],
    bin: impl Fn(usize, usize) -> u8 + Sync,
    team: Team<'_>,
) {
    let mut blocks: Vec<&mut [f64]> = scores.chunks_mut(4096).collect();
    team.each(&mut blocks, |b, block| {
        for (i, score) in block.iter_mut().enumerate() {
            let row = b * 4096 + i;
            let at = tree.leaf(features, |f| bin(f, row));
            let model = raw.and_then(|raw| Some((raw, tree.models.get(at)?.as_ref()?)));
            if let Grown::Leaf { value } = tree.nodes[at] {
                let value = model.map_or(value, |(raw, model)| model.at(value, |f| raw[f][row]));
                *score += if factor == 1.0 { value } else { value * factor };
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_lose_rows_that_are_left_out_and_vanish_without_any() {
        let part = Part::default().of_queries(&[0, 2, 5, 6], &[3, 2, 4]);
        assert_eq!(part.queries, [2, 4]);
    }
}
