//! Growing a tree that looks at every column in every node: rows are sorted by each column once.
//!
//! Each column keeps its rows in order while nodes split them (Mehta, Agrawal & Rissanen, "SLIQ", EDBT 1996). Nodes of
//! many rows are searched column beside column, in threads; what lies below them are blocks that the caches hold, each
//! grown by one thread. Trees are those of [`Grower`](super::grower::Grower), which is the oracle and grows what isn't
//! simple: limits on weights, several outputs, other losses.

pub(super) mod bins;
mod block;
pub(super) mod classes;
mod few;
mod lists;
mod means;
mod ones;
mod picked;
mod runs;
pub(super) mod shares;
#[cfg(test)]
mod tests;
mod top;

use std::ops::Range;

use corten_core::random::Stream;
use corten_core::{CancelToken, Result};

use super::finder::Stats;
use super::grower::Rules;
use super::ranks::{Code, NO_MISSING, Packed, Table, View, packed};
use super::sort::Key;
use super::tree::GrownTree;

pub(crate) use bins::Bins;
pub(crate) use classes::{Classes, Two};
pub(crate) use lists::Orders;
pub(crate) use means::{Even, Weighted, is_whole};
pub(crate) use ones::Ones;
pub(crate) use shares::Shares;

/// Most keys of all columns.
const KEYS: usize = 1 << 25;
/// Most leaves of a tree that is grown leaf by leaf, each of which waits with its sums.
const LEAVES: usize = 128;
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
    /// The best cut after some of the keys of a node's rows, where the next one has another code: after which one, and its
    /// score. Their places are those of items.
    fn best<K: Key>(
        &self,
        node: &Self::Node,
        keys: &[K],
        items: &[Self::Item],
        cuts: Range<usize>,
        room: &mut Self::Room,
    ) -> Option<(usize, f64)>;
    /// What is summed of rows by value.
    type Sum: bins::Sum;
    /// Adds a row to the sums of its value, with which these start.
    fn add(&self, _sums: &mut [Self::Sum], _item: Self::Item) {}
    /// Whether no row has a value of such sums.
    fn is_empty(&self, _sums: &[Self::Sum]) -> bool {
        true
    }
    /// The best cut by sums of all values: after which one, and its score; nothing where all rows have one value.
    fn best_by_value(&self, _node: &Self::Node, _sums: &[Self::Sum], _room: &mut Self::Room) -> Option<(usize, f64)> {
        None
    }
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
    /// Whether scores come from numbers of rows instead, of each class of rows that are alike: of sums over classes of the
    /// squares of those on the left, and of their products with those of the node.
    const ALIKE: bool = false;
    /// Whether two rows are of one class.
    fn is_alike(&self, _one: Self::Item, _other: Self::Item) -> bool {
        false
    }
    /// The score of a cut from such sums, and the number of rows on its left.
    fn score_alike(&self, _node: &Self::Node, _left: [f64; 2], _rows: f64) -> f64 {
        f64::NAN
    }
    /// Whether there is another way to score cuts of few rows, and whether it is this target's: from the sums of terms on
    /// the left, or of what each row of a class changes there, and from the numbers of rows on the left and of the node.
    const OTHER: bool = false;
    fn is_other(&self) -> bool {
        false
    }
    fn other_score(&self, _node: &Self::Node, _left: [f64; 2], _rows: [u32; 2]) -> f64 {
        f64::NAN
    }
    /// What moving a row to the left changes, of whose class some are there, of so many in all.
    fn moved(&self, _before: u32, _all: u32) -> f64 {
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
pub(crate) struct Soil<'a> {
    pub(crate) columns: &'a [View<'a>],
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
struct Growth<'a, T: Target> {
    soil: Soil<'a>,
    target: &'a T,
    /// What goes with each row.
    items: &'a [T::Item],
    /// What nodes must gain, where leaves are counted, and many.
    bar: Option<picked::Bar>,
}

/// Whether leaves of such rules are picked of a whole tree.
pub(crate) fn picks(rules: &Rules) -> bool {
    rules.max_leaf_nodes.is_some_and(|leaves| leaves > LEAVES)
}

/// Whether trees of such rules are grown here, each on up to so many rows.
pub(crate) fn suits<C: Code>(rules: &Rules, table: &Table<C>, rows: usize) -> bool {
    let columns = table.columns.len();
    !rules.random
        && rules.max_features >= columns
        && rules.monotonic.is_empty()
        && rules.min_weight_leaf <= 0.0
        && rows.saturating_mul(columns) <= KEYS
}

impl Soil<'_> {
    /// Grows a tree for a target; an item goes with each row.
    ///
    /// # Errors
    /// [`corten_core::Error::Cancelled`].
    pub(crate) fn grow<T: Target>(self, target: &T, items: &[T::Item]) -> Result<GrownTree> {
        let bar = self.rules.max_leaf_nodes.filter(|_| picks(self.rules)).map(picked::Bar::new);
        let growth = Growth { soil: self, target, items, bar };
        if self.rows.len() <= NARROW { top::Top::<u32, T>::grow(&growth) } else { top::Top::<u64, T>::grow(&growth) }
    }
}

impl<T: Target> Growth<'_, T> {
    /// Whether a cut gains enough; `weight` is that of all rows.
    fn is_worth(&self, node: &T::Node, score: f64, weight: f64) -> bool {
        self.soil.rules.is_worth(self.target.gain(node, score), weight)
    }

    /// How many of a node's keys by a column, the last ones, are of missing values; places are those of some rows.
    #[inline(always)]
    fn absent<K: Key>(&self, column: usize, keys: &[K], rows: &[u32]) -> usize {
        let column = &self.soil.columns[column];
        let Some(last) = keys.last().filter(|_| column.missing != NO_MISSING) else { return 0 };
        if column.code(rows[last.place()]) != column.missing {
            return 0;
        }
        keys.len() - keys.partition_point(|key| key.code() < last.code())
    }

    /// The best cut by a column of a node whose keys vary.
    #[inline(always)]
    fn look<K: Key>(
        &self,
        node: &T::Node,
        keys: &[K],
        absent: usize,
        items: &[T::Item],
        room: &mut Room<K, T>,
    ) -> Option<Cut> {
        let (rows, least) = (keys.len(), self.soil.rules.min_samples_leaf.max(1));
        // Cuts that leave enough rows on both sides.
        let end = rows.saturating_sub(least);
        let right = self.target.best(node, keys, items, (least - 1).min(end)..end, &mut room.search);
        let right = right.map(|(at, score)| Cut { at, score, missing_left: false });
        if absent == 0 {
            return right;
        }
        let (present, gone) = keys.split_at(rows - absent);
        room.keys.clear();
        room.keys.extend_from_slice(gone);
        room.keys.extend_from_slice(present);
        // Missing values alone on one side were looked at.
        let start = (least - 1).max(absent).min(end);
        let left = self.target.best(node, &room.keys, items, start..end, &mut room.search);
        match left {
            Some((at, score)) if right.is_none_or(|right| score > right.score) => {
                Some(Cut { at: at - absent, score, missing_left: true })
            }
            _ => right,
        }
    }
}

/// Room for a search, and for keys with those of missing values in front.
struct Room<K, T: Target> {
    search: T::Room,
    keys: Vec<K>,
}

impl<K, T: Target> Default for Room<K, T> {
    fn default() -> Self {
        Self { search: T::Room::default(), keys: Vec::new() }
    }
}

/// The best cut of a node by one of its columns.
#[derive(Clone, Copy)]
struct Cut {
    /// The key it comes after, or the code where rows are summed by value.
    at: usize,
    score: f64,
    missing_left: bool,
}

/// Marks what goes left of a cut, by place; gives the number of rows.
#[inline(always)]
fn mark<K: Key>(keys: &[K], cut: Cut, absent: usize, is_left: &mut [u8]) -> usize {
    let there = keys.len() - absent;
    for (at, key) in keys.iter().enumerate() {
        is_left[key.place()] = u8::from((at <= cut.at) | (cut.missing_left & (at >= there)));
    }
    cut.at + 1 + if cut.missing_left { absent } else { 0 }
}

/// The same after a code, of rows in any order.
fn mark_by_code<K: Key>(keys: &[K], rows: &[u32], codes: Packed<'_>, last: u32, is_left: &mut [u8]) -> usize {
    packed!(codes, codes => {
        let mut left = 0;
        for key in keys {
            let goes_left = codes[rows[key.place()] as usize].get() <= last;
            is_left[key.place()] = u8::from(goes_left);
            left += usize::from(goes_left);
        }
        left
    })
}

/// Keys of rows in the order of others, by their codes in a column.
fn key_by_code(order: &[u32], rows: &[u32], codes: Packed<'_>, out: &mut Vec<u32>) {
    out.clear();
    packed!(codes, codes => out.extend(order.iter().map(|key| {
        <u32 as Key>::new(codes[rows[key.place()] as usize].get(), key.place())
    })));
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
    let score = best.iter().fold(f64::NEG_INFINITY, |most, &score| if score > most { score } else { most });
    let mut place = u64::MAX;
    for lane in 0..EIGHT {
        place = place.min(if best[lane] == score { places[lane] } else { u64::MAX });
    }
    (place != u64::MAX).then_some((place as usize, score))
}

/// Room for so many cuts, filled up to eights.
#[inline(always)]
pub(super) fn fill<T: Copy>(room: &mut Vec<T>, cuts: usize, with: T) {
    let eights = cuts.next_multiple_of(EIGHT);
    room.resize(room.len().max(eights), with);
    room[cuts..eights].fill(with);
}
