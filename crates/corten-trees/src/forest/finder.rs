//! What the search for a split needs to know, and what it finds.

use corten_kernels::splits;

use super::sort::Key;

/// A row of a node: which one, what a finder keeps beside it, and where its codes stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) row: u32,
    pub(crate) payload: u32,
    /// The row, or its place in a block.
    pub(crate) place: u32,
}

impl Entry {
    pub(crate) fn new(row: u32, payload: u32) -> Self {
        Self { row, payload, place: row }
    }
}

/// The rows of a node by a column: codes above places among the rows that were loaded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Order<'a, K> {
    /// In ascending order of codes.
    pub(crate) present: &'a [K],
    /// Those whose value is missing.
    pub(crate) absent: &'a [K],
}

impl<K: Key> Order<'_, K> {
    pub(crate) fn rows(&self) -> usize {
        self.present.len() + self.absent.len()
    }

    /// Which keys a cut may come after: missing values go left before all of them, or right.
    pub(crate) fn window(&self, missing_left: bool, limits: &Limits) -> std::ops::Range<usize> {
        let start = if missing_left { self.absent.len() } else { 0 };
        let cuts = self.present.len() - usize::from(missing_left || self.absent.is_empty());
        let to = (self.rows() + 1).saturating_sub(limits.min_samples + start).saturating_sub(1).min(cuts);
        limits.min_samples.saturating_sub(start + 1).min(to)..to
    }

    /// Whether a cut may come after a key: the next one has another code.
    #[inline]
    pub(crate) fn is_end(&self, at: usize) -> bool {
        self.present.get(at + 1).is_none_or(|next| next.code() != self.present[at].code())
    }

    /// The cut after a key.
    pub(crate) fn cut(&self, at: usize, missing_left: bool, score: f64) -> Option<Cut> {
        let next = self.present.get(at + 1).or(self.absent.first())?.code();
        Some(Cut { last: self.present[at].code(), next, missing_left, score, middle: 0.0 })
    }
}

/// An order with keys of either width.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Keys<'a> {
    Narrow(Order<'a, u32>),
    Wide(Order<'a, u64>),
}

/// One cut of rows in the order in which they were loaded.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side<'a> {
    /// A code a row.
    pub(crate) codes: &'a [u32],
    /// Greatest code that goes left.
    pub(crate) last: u32,
    /// The code of missing values where they go left too, otherwise one that isn't there.
    pub(crate) also: u32,
}

impl Side<'_> {
    #[inline]
    pub(crate) fn is_left(&self, at: usize) -> bool {
        let code = self.codes[at];
        (code <= self.last) | (code == self.also)
    }

    pub(crate) fn cut(&self, score: f64, middle: f64) -> Cut {
        let missing_left = self.also != super::ranks::NO_MISSING;
        Cut { last: self.last, next: self.last + 1, missing_left, score, middle }
    }
}

/// The codes of a column in a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// Least code of a value that is there.
    pub(crate) low: u32,
    /// Greatest code of a value that is there; below `low` when there is none.
    pub(crate) high: u32,
    /// Number of missing values.
    pub(crate) missing: usize,
}

impl Span {
    pub(crate) const EMPTY: Self = Self { low: u32::MAX, high: 0, missing: 0 };

    /// Whether no split of the node by this column is possible.
    pub(crate) fn is_constant(&self) -> bool {
        self.high < self.low || (self.high == self.low && self.missing == 0)
    }
}

/// A split of a node by a column: codes up to `last` go left.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cut {
    /// Greatest code that goes left.
    pub(crate) last: u32,
    /// Least code of the node that goes right, where all cuts were tried; that of missing values when all others go left.
    pub(crate) next: u32,
    pub(crate) missing_left: bool,
    /// Higher is better; comparable within a node.
    pub(crate) score: f64,
    /// Between the values of the children; set where bounds are asked for.
    pub(crate) middle: f64,
}

/// What a split must respect.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) min_samples: usize,
    pub(crate) min_weight: f64,
    /// Bounds of the values and the direction in which they go with the column.
    pub(crate) monotonic: Option<(f64, f64, i8)>,
}

impl Limits {
    /// Whether only numbers of rows are limited.
    #[inline]
    pub(crate) fn is_loose(&self) -> bool {
        self.min_weight <= 0.0 && self.monotonic.is_none()
    }

    /// Whether children of these weights may be.
    #[inline]
    pub(crate) fn allow_weights(&self, left: f64, right: f64) -> bool {
        left >= self.min_weight && right >= self.min_weight
    }

    /// Whether children of these numbers of rows may be.
    #[inline]
    pub(crate) fn allow_rows(&self, left: usize, right: usize) -> bool {
        left >= self.min_samples && right >= self.min_samples
    }

    /// Whether children of these values may be. Those of a column that nothing is asked of may lie beyond the bounds, which
    /// their values are then put to.
    #[inline]
    pub(crate) fn allow_values(&self, values: impl FnOnce() -> (f64, f64)) -> bool {
        let Some((low, high, sign)) = self.monotonic.filter(|m| m.2 != 0) else { return true };
        let (left, right) = values();
        let inside = |v: f64| v >= low && v <= high;
        inside(left) && inside(right) && (left - right) * f64::from(sign) <= 0.0
    }

    /// Between the values of the children, where bounds are asked for.
    #[inline]
    pub(crate) fn middle(&self, values: impl FnOnce() -> (f64, f64)) -> f64 {
        if self.monotonic.is_none() {
            return 0.0;
        }
        let (left, right) = values();
        (left + right) / 2.0
    }
}

/// A node as a whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stats {
    pub(crate) weight: f64,
    pub(crate) impurity: f64,
}

/// Bits of a row among few.
pub(crate) const LANE: u32 = 4;

/// The row among few of a key.
#[inline]
pub(crate) fn lane(key: u32) -> usize {
    key as usize & (splits::SET - 1)
}

/// Where cuts may be between keys of few rows in ascending order.
#[inline]
pub(crate) fn ends(keys: &[u32], min_samples: usize) -> impl Fn(usize) -> bool {
    move |at| keys[at] >> LANE != keys[at + 1] >> LANE && at + 1 >= min_samples && keys.len() - at > min_samples
}

/// The rows of a set.
#[inline]
pub(crate) fn members(mut set: u16) -> impl Iterator<Item = usize> + Clone {
    std::iter::from_fn(move || {
        let at = set.trailing_zeros() as usize;
        set &= set.wrapping_sub(1);
        (at < splits::SET).then_some(at)
    })
}

/// Searches the splits of a node, column by column.
pub(crate) trait Finder {
    /// Reads what goes with rows.
    fn load(&mut self, rows: &[Entry]);

    /// What scans by order need of each row that was loaded, as lower halves of keys in place of the rows' places; empty
    /// where that doesn't fit. Orders with it may only follow `enter(None)`.
    fn tags(&self) -> &[u16] {
        &[]
    }

    /// Turns to a node: all rows that were loaded, or those whose places stand in the lower half of keys.
    fn enter(&mut self, keys: Option<&[u32]>) -> Stats;

    /// The best cut by a column.
    fn best(&mut self, keys: Keys<'_>, limits: &Limits) -> Option<Cut>;

    /// The same for all rows that were loaded, none of them missing, counted by code.
    fn binned(&mut self, codes: &[u32], low: u32, high: u32, limits: &Limits) -> Option<Cut>;

    /// Up to how many codes counting beats sorting so many rows.
    fn bins(&self, rows: usize) -> usize;

    /// A given cut of all rows that were loaded.
    fn at(&mut self, side: Side<'_>, limits: &Limits) -> Option<Cut>;

    /// Reads what goes with few rows, at most [`splits::SET`], for nodes that are sets of them; says whether it can.
    fn few_load(&mut self, _rows: &[Entry]) -> bool {
        false
    }

    /// Turns to a node: a set of the few rows.
    fn few_enter(&mut self, _set: u16) -> Stats {
        Stats { weight: 0.0, impurity: 0.0 }
    }

    /// The score of a cut of the node, from the set on its left; NaN where it can't be.
    fn few_score(&mut self, _left: u16) -> f64 {
        f64::NAN
    }

    /// The best cut of the node by a column: after which of its keys in ascending order, codes above [`LANE`] bits of
    /// rows, and its score.
    fn few_best(&mut self, _keys: &[u32], _min_samples: usize) -> Option<(usize, f64)> {
        None
    }

    /// By how much a cut of this score lowers the weighted impurity of the node.
    fn gain(&self, score: f64) -> f64;

    /// Whether no cut of the node can be better than one of this score.
    fn is_perfect(&self, _score: f64) -> bool {
        false
    }

    /// Appends the value of the node, kept within bounds.
    fn value(&self, bounds: Option<(f64, f64)>, out: &mut Vec<f64>);
}

/// Tries both sides for missing values, where there are any.
pub(crate) fn both<K: Key>(order: Order<'_, K>, mut scan: impl FnMut(bool) -> Option<Cut>) -> Option<Cut> {
    let right = scan(false);
    if order.absent.is_empty() { right } else { Cut::better(right, scan(true)) }
}

/// Calls `work` with the places of a node's rows.
pub(crate) fn each(rows: usize, keys: Option<&[u32]>, mut work: impl FnMut(usize)) {
    match keys {
        None => (0..rows).for_each(work),
        Some(keys) => keys.iter().for_each(|key| work(key.place())),
    }
}

/// Appends the shares of classes; that of the second of two classes is kept within bounds.
pub(crate) fn shares(shares: impl Iterator<Item = f64>, bounds: Option<(f64, f64)>, out: &mut Vec<f64>) {
    let start = out.len();
    out.extend(shares);
    if let (Some((low, high)), [zeros, ones]) = (bounds, &mut out[start..]) {
        *ones = ones.clamp(low, high);
        *zeros = 1.0 - *ones;
    }
}

impl Cut {
    /// The one of higher score; the first among equals.
    pub(crate) fn better(a: Option<Self>, b: Option<Self>) -> Option<Self> {
        match (a, b) {
            (Some(a), Some(b)) => Some(if b.score > a.score { b } else { a }),
            (a, b) => a.or(b),
        }
    }
}
