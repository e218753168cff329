//! What the search for a split needs to know, and what it finds.

use super::ranks::Code;

/// A row of a node: which one, and what a finder keeps beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) row: u32,
    pub(crate) payload: u32,
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
    /// Whether children of this many rows and weights may be.
    #[inline]
    pub(crate) fn allow(&self, left: (usize, f64), right: (usize, f64)) -> bool {
        left.0 >= self.min_samples
            && right.0 >= self.min_samples
            && left.1 >= self.min_weight
            && right.1 >= self.min_weight
    }

    /// Whether children of these values may be.
    #[inline]
    pub(crate) fn allow_values(&self, values: impl FnOnce() -> (f64, f64)) -> bool {
        let Some((low, high, sign)) = self.monotonic else { return true };
        let (left, right) = values();
        let inside = |v: f64| v >= low && v <= high;
        inside(left) && inside(right) && (left - right) * f64::from(sign) <= 0.0
    }
}

/// A node as a whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stats {
    pub(crate) weight: f64,
    pub(crate) impurity: f64,
}

/// Searches the splits of a node, column by column.
pub(crate) trait Finder<C: Code> {
    /// Turns to a node.
    fn enter(&mut self, rows: &[Entry]) -> Stats;

    /// Reads a column of the node's rows; `missing` is the code of missing values.
    fn gather(&mut self, codes: &[C], missing: u32, rows: &[Entry]) -> Span;

    /// The best cut of the column read last.
    fn best(&mut self, span: &Span, limits: &Limits) -> Option<Cut>;

    /// The cut of the column read last that sends codes up to `last` left.
    fn at(&mut self, last: u32, missing_left: bool, limits: &Limits) -> Option<Cut>;

    /// By how much a cut of this score lowers the weighted impurity of the node.
    fn gain(&self, score: f64) -> f64;

    /// Appends the value of the node, kept within bounds.
    fn value(&self, bounds: Option<(f64, f64)>, out: &mut Vec<f64>);
}

/// Reads codes into keys: values that are there first, missing ones after them.
#[inline]
pub(crate) fn gather<C: Code, K>(
    codes: &[C],
    missing: u32,
    rows: &[Entry],
    keys: &mut Vec<K>,
    absent: &mut Vec<K>,
    key: impl Fn(C, usize, &Entry) -> K,
) -> Span {
    keys.clear();
    absent.clear();
    let mut span = Span::EMPTY;
    if missing == super::ranks::NO_MISSING {
        keys.extend(rows.iter().enumerate().map(|(i, entry)| {
            let code = codes[entry.row as usize];
            span.low = span.low.min(code.get());
            span.high = span.high.max(code.get());
            key(code, i, entry)
        }));
        return span;
    }
    for (i, entry) in rows.iter().enumerate() {
        let code = codes[entry.row as usize];
        if code.get() == missing {
            absent.push(key(code, i, entry));
        } else {
            span.low = span.low.min(code.get());
            span.high = span.high.max(code.get());
            keys.push(key(code, i, entry));
        }
    }
    span.missing = absent.len();
    span
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
