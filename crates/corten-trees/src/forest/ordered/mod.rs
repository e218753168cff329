//! Growing a tree that looks at every column in every node: rows are sorted by each column once.
//!
//! Each column keeps its rows in order while nodes split them (Mehta, Agrawal & Rissanen, "SLIQ", EDBT 1996). Nodes of
//! many rows are searched column beside column, in threads; what lies below them are blocks that the caches hold, each
//! grown by one thread. Trees are those of [`Grower`](super::grower::Grower), which is the oracle and grows what isn't
//! simple: missing values, limits on more than numbers of rows, several outputs, other losses.

mod block;
pub(super) mod classes;
mod few;
mod lists;
mod means;
#[cfg(test)]
mod tests;
mod top;

use corten_core::random::Stream;
use corten_core::{CancelToken, Result};

use super::finder::Stats;
use super::grower::Rules;
use super::ranks::{Code, NO_MISSING, Table};
use super::sort::Key;
use super::tree::GrownTree;

pub(crate) use classes::{Classes, Two};
pub(crate) use lists::Orders;
pub(crate) use means::{Even, Weighted};

/// Most keys of all columns.
const KEYS: usize = 1 << 25;
/// Rows up to which keys are narrow.
const NARROW: usize = 1 << 16;

/// What a tree is grown for.
pub(crate) trait Target: Sync {
    /// What goes with a row.
    type Item: Copy + Default + Send + Sync;
    /// What is known of a node.
    type Node: Clone + Default + Send + Sync;
    /// Room for a search.
    type Room: Default + Send;

    /// Sums what goes with the rows of a node.
    fn enter(&self, node: &mut Self::Node, items: impl Items<Self::Item>) -> Stats;
    /// The best cut between the keys of a node's rows in ascending order: after which one, and its score. Their places
    /// are those of items.
    fn best<K: Key>(
        &self,
        node: &Self::Node,
        keys: &[K],
        items: &[Self::Item],
        min_samples: usize,
        room: &mut Self::Room,
    ) -> Option<(usize, f64)>;
    /// Whether scores come from sums of two terms a row.
    const FEW: bool = false;
    /// The terms of a row.
    fn terms(&self, _item: Self::Item) -> [f64; 2] {
        [f64::NAN; 2]
    }
    /// The score of a cut from the sums of terms on its left.
    fn score(&self, _node: &Self::Node, _left: [f64; 2]) -> f64 {
        f64::NAN
    }
    /// Whether no cut of the node, which has so many rows, can be better than one of this score.
    fn is_perfect(&self, node: &Self::Node, score: f64, rows: usize) -> bool;
    /// By how much a cut of this score lowers the weighted impurity of the node.
    fn gain(&self, node: &Self::Node, score: f64) -> f64;
    /// Appends the value of the node.
    fn value(&self, node: &Self::Node, out: &mut Vec<f64>);
}

/// What goes with rows, in order. A trait, as closures aren't compiled together with loops that call them.
pub(crate) trait Items<T>: Copy {
    fn count(self) -> usize;
    fn at(self, at: usize) -> T;
}

impl<T: Copy> Items<T> for &[T] {
    #[inline(always)]
    fn count(self) -> usize {
        self.len()
    }

    #[inline(always)]
    fn at(self, at: usize) -> T {
        self[at]
    }
}

/// By keys.
impl<T: Copy, K: Key> Items<T> for (&[K], &[T]) {
    #[inline(always)]
    fn count(self) -> usize {
        self.0.len()
    }

    #[inline(always)]
    fn at(self, at: usize) -> T {
        self.1[self.0[at].place()]
    }
}

/// What a tree is grown on.
#[derive(Clone, Copy)]
pub(crate) struct Soil<'a, C: Code> {
    pub(crate) table: &'a Table<C>,
    pub(crate) orders: &'a Orders,
    pub(crate) rules: &'a Rules,
    /// Rows of the table, ascending.
    pub(crate) rows: &'a [u32],
    /// What nodes draw from, each from a sequence of its own.
    pub(crate) stream: &'a Stream,
    /// Numbers of a node's value.
    pub(crate) width: usize,
    pub(crate) threads: usize,
    pub(crate) cancel: &'a CancelToken,
}

/// All that a tree is grown from.
struct Growth<'a, C: Code, T: Target> {
    soil: Soil<'a, C>,
    target: &'a T,
    /// What goes with each row.
    items: &'a [T::Item],
}

/// Whether trees of such rules are grown here, each on up to so many rows.
pub(crate) fn suits<C: Code>(rules: &Rules, table: &Table<C>, rows: usize) -> bool {
    let columns = table.columns.len();
    !rules.random
        && rules.max_features >= columns
        && rules.max_leaf_nodes.is_none()
        && rules.monotonic.is_empty()
        && rules.min_weight_leaf <= 0.0
        && rows.saturating_mul(columns) <= KEYS
        && table.columns.iter().all(|c| c.missing == NO_MISSING)
}

impl<C: Code> Soil<'_, C> {
    /// Grows a tree for a target; an item goes with each row.
    ///
    /// # Errors
    /// [`corten_core::Error::Cancelled`].
    pub(crate) fn grow<T: Target>(self, target: &T, items: &[T::Item]) -> Result<GrownTree> {
        let growth = Growth { soil: self, target, items };
        if self.rows.len() <= NARROW {
            top::Top::<u32, C, T>::grow(&growth)
        } else {
            top::Top::<u64, C, T>::grow(&growth)
        }
    }
}

impl<C: Code, T: Target> Growth<'_, C, T> {
    /// Whether a cut gains enough; `weight` is that of all rows.
    fn is_worth(&self, node: &T::Node, score: f64, weight: f64) -> bool {
        self.soil.rules.is_worth(self.target.gain(node, score), weight)
    }
}

/// The best cut of a node by one of its columns.
#[derive(Clone, Copy)]
struct Found {
    feature: usize,
    /// The key it comes after.
    at: usize,
    score: f64,
}

/// Cuts that are scored side by side.
pub(super) const EIGHT: usize = 8;

/// Scores of cuts, eight by eight.
pub(super) trait Scores {
    fn eight(&self, at: usize) -> [f64; EIGHT];
}

/// The first of the greatest scores that come in eights, so many of them: its place. Scores that are NaN are none.
#[inline(always)]
pub(super) fn first_best(eights: usize, cuts: impl Scores) -> Option<(usize, f64)> {
    let (mut best, mut places) = ([f64::NEG_INFINITY; EIGHT], [u64::MAX; EIGHT]);
    for at in 0..eights {
        let scores = cuts.eight(at);
        for lane in 0..EIGHT {
            let is_better = scores[lane] > best[lane];
            best[lane] = if is_better { scores[lane] } else { best[lane] };
            places[lane] = if is_better { (at * EIGHT + lane) as u64 } else { places[lane] };
        }
    }
    let mut first = (f64::NEG_INFINITY, u64::MAX);
    for (&score, &place) in best.iter().zip(&places) {
        if score > first.0 || (score == first.0 && place < first.1) {
            first = (score, place);
        }
    }
    (first.1 != u64::MAX).then_some((first.1 as usize, first.0))
}

/// Room for so many cuts, filled up to eights.
#[inline(always)]
pub(super) fn fill<T: Copy>(room: &mut Vec<T>, cuts: usize, with: T) {
    let eights = cuts.next_multiple_of(EIGHT);
    room.resize(room.len().max(eights), with);
    room[cuts..eights].fill(with);
}

/// Which keys a cut may come after.
#[inline(always)]
fn cuts<K>(keys: &[K], min_samples: usize) -> std::ops::Range<usize> {
    let to = keys.len() - min_samples.clamp(1, keys.len());
    (min_samples.max(1) - 1).min(to)..to
}
