//! All columns of the rows below a node, each kept in the order of its values while the rows are split.
//!
//! Where every column is looked at in every node, sorting once and keeping the order costs less than sorting in each
//! node (Mehta, Agrawal & Rissanen, SLIQ, EDBT 1996).

use super::finder::{Entry, Order, Span};
use super::ranks::{Code, NO_MISSING, Ranked};
use super::sort::{self, Key};

/// Most rows: places are the lower halves of keys.
pub(crate) const ROWS: usize = 1 << 16;
/// Most keys in all.
pub(crate) const KEYS: usize = 1 << 24;

/// One column.
struct List {
    keys: Vec<u32>,
    /// The column's rank of each rank among these rows.
    ranks: Vec<u32>,
    /// The rank of missing values among these rows, or [`NO_MISSING`].
    missing: u32,
}

/// A split whose other columns wait until a child is searched.
struct Split {
    start: usize,
    end: usize,
    by: usize,
    is_done: bool,
}

/// See the module.
pub(crate) struct Lists {
    columns: Vec<List>,
    /// Whether the row at a place went left in the split at hand.
    is_left: Vec<bool>,
    buffer: Vec<u32>,
    splits: Vec<Split>,
}

impl Lists {
    /// Sorts the rows of a node, at most [`ROWS`], by every column.
    pub(crate) fn new<C: Code>(columns: &[Ranked<C>], rows: &[Entry]) -> Self {
        let (mut keys, mut scratch) = (Vec::<u64>::new(), Vec::new());
        let list = |column: &Ranked<C>| {
            keys.clear();
            keys.extend(rows.iter().enumerate().map(|(at, e)| u64::new(column.codes[e.row as usize].get(), at)));
            let codes = || keys.iter().map(|k| k.code());
            let (low, high) = (codes().min().unwrap_or(0), codes().max().unwrap_or(0));
            sort::by_code(&mut keys, &mut scratch, low, high);
            let mut list = List { keys: Vec::with_capacity(rows.len()), ranks: Vec::new(), missing: NO_MISSING };
            for key in &keys {
                if list.ranks.last() != Some(&key.code()) {
                    list.ranks.push(key.code());
                }
                list.keys.push(<u32 as Key>::new(list.ranks.len() as u32 - 1, key.place()));
            }
            if list.ranks.last() == Some(&column.missing) {
                list.missing = list.ranks.len() as u32 - 1;
            }
            list
        };
        let columns = columns.iter().map(list).collect();
        Self { columns, is_left: vec![false; rows.len()], buffer: vec![0; rows.len()], splits: Vec::new() }
    }

    /// Keys of some rows by a column: their lower halves are the places of the rows.
    pub(crate) fn keys(&self, column: usize, start: usize, end: usize) -> &[u32] {
        &self.columns[column].keys[start..end]
    }

    /// Some rows by a column, and what it spans.
    pub(crate) fn order(&self, column: usize, start: usize, end: usize) -> (Order<'_, u32>, Span) {
        let list = &self.columns[column];
        let keys = &list.keys[start..end];
        let there = match list.missing {
            NO_MISSING => keys.len(),
            missing => keys.partition_point(|k| k.code() < missing),
        };
        let (present, absent) = keys.split_at(there);
        let span = match (present.first(), present.last()) {
            (Some(low), Some(high)) => Span { low: low.code(), high: high.code(), missing: absent.len() },
            _ => Span { missing: absent.len(), ..Span::EMPTY },
        };
        (Order { present, absent }, span)
    }

    /// The column's rank of a rank among these rows; `None` for that of missing values.
    pub(crate) fn rank(&self, column: usize, local: u32) -> Option<u32> {
        let list = &self.columns[column];
        if local == list.missing { None } else { list.ranks.get(local as usize).copied() }
    }

    /// Splits rows by a column; ranks are those among these rows. Gives the number of rows that went left, whether
    /// values are missing, and the split's number.
    pub(crate) fn split(
        &mut self,
        column: usize,
        start: usize,
        end: usize,
        last: u32,
        missing_left: bool,
    ) -> (usize, bool, u32) {
        let list = &mut self.columns[column];
        let missing = list.missing;
        let mut any_missing = false;
        for key in &list.keys[start..end] {
            let gone = key.code() == missing;
            any_missing |= gone;
            self.is_left[key.place()] = (key.code() <= last && !gone) || (gone && missing_left);
        }
        let left = partition(&mut list.keys[start..end], &self.is_left, &mut self.buffer);
        self.splits.push(Split { start, end, by: column, is_done: false });
        (left, any_missing, self.splits.len() as u32 - 1)
    }

    /// Splits the other columns as well, if that is still to be done.
    pub(crate) fn finish(&mut self, split: u32, columns: &[u32]) {
        let split = &mut self.splits[split as usize];
        if std::mem::replace(&mut split.is_done, true) {
            return;
        }
        for &column in columns.iter().filter(|c| **c as usize != split.by) {
            let keys = &mut self.columns[column as usize].keys[split.start..split.end];
            partition(keys, &self.is_left, &mut self.buffer);
        }
    }
}

/// Moves keys of rows on the left to the front; order is kept on both sides. Gives their number.
#[inline(always)]
pub(super) fn partition<K: Key, S: Copy + Into<usize>>(keys: &mut [K], is_left: &[S], buffer: &mut [K]) -> usize {
    let (mut left, mut right) = (0, 0);
    for at in 0..keys.len() {
        let key = keys[at];
        let goes_left: usize = is_left[key.place()].into();
        // Both places are written; the right one counts.
        keys[left] = key;
        buffer[right] = key;
        left += goes_left;
        right += 1 - goes_left;
    }
    keys[left..].copy_from_slice(&buffer[..right]);
    left
}
