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

/// Draws columns without replacement in one sequence for all nodes, which come depth first.
///
/// As in scikit-learn, columns that don't vary count as drawn, but drawing goes on until one varies; those known not to
/// vary stand in front, and aren't looked at again below.
#[derive(Default)]
pub(crate) struct Shuffled {
    /// The columns, in the order in which draws leave them.
    features: Vec<u32>,
    /// Those that don't vary on the path to the node at hand.
    constant: Vec<u32>,
}

/// The draws of a node.
pub(crate) struct Turn {
    known: usize,
    remaining: usize,
    visited: usize,
    found_constant: usize,
    drawn_constant: usize,
    /// Where the column at hand stands.
    at: usize,
}

impl Shuffled {
    pub(crate) fn new(columns: usize) -> Self {
        let features: Vec<u32> = (0..columns as u32).collect();
        Self { constant: features.clone(), features }
    }

    /// All columns but the first ones.
    pub(crate) fn after(&self, known: usize) -> &[u32] {
        &self.features[known..]
    }

    /// The draws of a node of whose columns so many are known not to vary.
    pub(crate) fn turn(&self, known: usize) -> Turn {
        Turn { known, remaining: self.features.len(), visited: 0, found_constant: 0, drawn_constant: 0, at: 0 }
    }

    /// The next column, at least so many of them; it is to be given to [`Shuffled::skip`] or [`Shuffled::take`].
    #[inline(always)]
    pub(crate) fn next(&mut self, turn: &mut Turn, stream: &mut Stream, most: usize) -> Option<usize> {
        while turn.remaining > turn.known + turn.found_constant
            && (turn.visited < most || turn.visited <= turn.found_constant + turn.drawn_constant)
        {
            turn.visited += 1;
            let span = (turn.remaining - turn.found_constant - turn.drawn_constant) as u64;
            let at = turn.drawn_constant + stream.below(span) as usize;
            if at < turn.known {
                self.features.swap(turn.drawn_constant, at);
                turn.drawn_constant += 1;
                continue;
            }
            turn.at = at + turn.found_constant;
            return Some(self.features[turn.at] as usize);
        }
        None
    }

    /// The column at hand doesn't vary.
    #[inline(always)]
    pub(crate) fn skip(&mut self, turn: &mut Turn) {
        self.features.swap(turn.at, turn.known + turn.found_constant);
        turn.found_constant += 1;
    }

    /// The column at hand varies.
    #[inline(always)]
    pub(crate) fn take(&mut self, turn: &mut Turn) {
        turn.remaining -= 1;
        self.features.swap(turn.at, turn.remaining);
    }

    /// Ends the draws of a node; gives the number of columns known not to vary, for its children.
    #[inline(always)]
    pub(crate) fn end(&mut self, turn: &Turn) -> usize {
        let (known, constant) = (turn.known, turn.known + turn.found_constant);
        // Nodes below permute the front of the list; what was known here must stand there again for the sibling.
        self.features[..known].copy_from_slice(&self.constant[..known]);
        self.constant[known..constant].copy_from_slice(&self.features[known..constant]);
        constant
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
