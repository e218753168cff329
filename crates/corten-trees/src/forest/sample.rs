//! The rows that a tree is grown on.

use corten_core::random::Stream;

use super::finder::Entry;

/// Tells the stream of draws apart from that of features.
const DRAWS: u64 = 0x0064_7261_7773 << 16;

/// How rows are drawn for each tree.
pub(crate) struct Bootstrap {
    /// Draws a tree.
    pub(crate) draws: usize,
    /// Sums of weights up to each row; draws are even when `None`.
    cumulative: Option<Vec<f64>>,
}

impl Bootstrap {
    /// Draws with probabilities in proportion to weights, where there are any.
    pub(crate) fn new(draws: usize, weights: Option<&[f64]>) -> Self {
        let cumulative = weights.map(|weights| {
            weights
                .iter()
                .scan(0.0, |sum, w| {
                    *sum += w;
                    Some(*sum)
                })
                .collect()
        });
        Self { draws, cumulative }
    }

    /// How often each row is drawn for a tree.
    pub(crate) fn counts(&self, rows: usize, seed: u64, tree: usize) -> Vec<u32> {
        let mut stream = Stream::new(seed, DRAWS ^ tree as u64);
        let mut counts = vec![0u32; rows];
        for _ in 0..self.draws {
            let row = match &self.cumulative {
                None => stream.below(rows as u64) as usize,
                Some(sums) => {
                    let at = stream.uniform() * sums[rows - 1];
                    sums.partition_point(|s| *s <= at).min(rows - 1)
                }
            };
            counts[row] += 1;
        }
        counts
    }
}

/// The rows that were drawn, in order, with how often.
pub(crate) fn drawn(counts: &[u32]) -> Vec<Entry> {
    (0u32..).zip(counts).filter(|(_, c)| **c > 0).map(|(row, &payload)| Entry::new(row, payload)).collect()
}
