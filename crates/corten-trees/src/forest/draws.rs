//! Columns in the order in which a node draws them.

use corten_core::random::Stream;

/// Draws columns without replacement, anew for each node: what a node draws depends on its own stream alone.
pub(crate) struct Draws {
    /// All columns in order, but for the exchanges at hand.
    features: Vec<u32>,
    /// Places that were exchanged with the last one that was left.
    swaps: Vec<u32>,
}

impl Draws {
    pub(crate) fn new(columns: usize) -> Self {
        Self { features: (0..columns as u32).collect(), swaps: Vec::with_capacity(columns) }
    }

    /// The next column.
    #[inline(always)]
    pub(crate) fn next(&mut self, stream: &mut Stream) -> Option<usize> {
        let left = self.features.len() - self.swaps.len();
        if left == 0 {
            return None;
        }
        let at = stream.below(left as u64) as usize;
        let feature = self.features[at];
        self.features.swap(at, left - 1);
        self.swaps.push(at as u32);
        Some(feature as usize)
    }

    /// Puts all columns back.
    #[inline(always)]
    pub(crate) fn reset(&mut self) {
        while let Some(at) = self.swaps.pop() {
            let last = self.features.len() - 1 - self.swaps.len();
            self.features.swap(at as usize, last);
        }
    }
}

/// The columns that don't vary on the path to a node, nor below it: a set of bits for each depth.
pub(crate) struct Known {
    words: usize,
    sets: Vec<u64>,
    /// Where the set of the node at hand starts.
    at: usize,
}

impl Known {
    pub(crate) fn new(columns: usize) -> Self {
        Self { words: columns.div_ceil(64), sets: Vec::new(), at: 0 }
    }

    /// What is known of the root's columns, a bit each.
    pub(crate) fn of(set: &[u64]) -> Self {
        Self { words: set.len(), sets: set.to_vec(), at: 0 }
    }

    /// Turns to a node; nodes come depth first.
    #[inline(always)]
    pub(crate) fn enter(&mut self, depth: usize) {
        self.at = depth * self.words;
        let end = self.at + self.words;
        if self.sets.len() < end {
            self.sets.resize(end, 0);
        }
        if depth > 0 {
            self.sets.copy_within(self.at - self.words..self.at, self.at);
        }
    }

    #[inline(always)]
    pub(crate) fn has(&self, column: usize) -> bool {
        self.sets[self.at + column / 64] >> (column % 64) & 1 == 1
    }

    #[inline(always)]
    pub(crate) fn add(&mut self, column: usize) {
        self.sets[self.at + column / 64] |= 1 << (column % 64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_draws_every_column_once_whatever_was_drawn_before() {
        let mut draws = Draws::new(10);
        let node = |draws: &mut Draws, place, count| {
            let mut stream = Stream::new(1, 2).at(place);
            let drawn: Vec<usize> = (0..count).filter_map(|_| draws.next(&mut stream)).collect();
            draws.reset();
            drawn
        };
        let all = node(&mut draws, 5, 11);
        let mut sorted = all.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..10).collect::<Vec<_>>());
        node(&mut draws, 6, 4);
        assert_eq!(node(&mut draws, 5, 7), all[..7]);
    }

    #[test]
    fn what_is_known_holds_below_and_not_beside() {
        let mut known = Known::new(70);
        known.enter(0);
        known.add(3);
        known.enter(1);
        known.add(69);
        known.enter(2);
        assert!(known.has(3) && known.has(69) && !known.has(4));
        known.enter(1);
        assert!(known.has(3) && !known.has(69));
    }
}
