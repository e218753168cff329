//! Rows of few columns whose codes lie side by side, moved as the rows are split.
//!
//! What every column spans in a node, and what lies left of one cut in each, then takes one pass over the rows.

use corten_kernels::splits::{self, WIDTH};

use super::finder::{Entry, Span};
use super::ranks::{Code, NO_MISSING, Table};

/// A code that no value has.
pub(crate) const NOTHING: u32 = u32::MAX;

/// See the module.
pub(crate) struct Records {
    width: usize,
    codes: Vec<u32>,
    buffer: Vec<u32>,
    /// The code of missing values of each column, or one that isn't there.
    missing: [u32; WIDTH],
    /// Least code, greatest one but that of missing values, and greatest, of each column in the node at hand.
    spans: [[u32; WIDTH]; 3],
}

impl Records {
    /// The codes of rows, where they fit, at most [`WIDTH`] columns, and where enough of them are drawn in each node.
    pub(crate) fn new<C: Code>(table: &Table<C>, rows: &[Entry], drawn: usize) -> Option<Self> {
        let columns = table.columns.len();
        if columns > WIDTH || columns > 2 * drawn {
            return None;
        }
        let mut missing = [NOTHING; WIDTH];
        missing.iter_mut().zip(&table.columns).for_each(|(out, column)| *out = column.missing);
        let width = if columns > 8 { WIDTH } else { 8 };
        let mut codes = vec![0; rows.len() * width];
        for (entry, out) in rows.iter().zip(codes.chunks_exact_mut(width)) {
            for (column, out) in out[..columns].iter_mut().enumerate() {
                *out = table.code(entry.row as usize, column);
            }
        }
        Some(Self { width, buffer: vec![0; codes.len()], codes, missing, spans: [[0; WIDTH]; 3] })
    }

    fn rows(&self, start: usize, end: usize) -> &[u32] {
        &self.codes[start * self.width..end * self.width]
    }

    /// Turns to the rows of a node.
    pub(crate) fn enter(&mut self, start: usize, end: usize) {
        self.spans = splits::spans(self.rows(start, end), self.width, &self.missing);
    }

    /// What a column spans in the node at hand; of missing values only whether there are any.
    pub(crate) fn span(&self, column: usize) -> Span {
        let [low, high, top] = self.spans.map(|codes| codes[column]);
        let missing = usize::from(self.missing[column] != NO_MISSING && top == self.missing[column]);
        if missing > 0 && low == top {
            return Span { missing, ..Span::EMPTY };
        }
        Span { low, high, missing }
    }

    /// Rows of a node and the number of their codes, as kernels take them.
    pub(crate) fn node(&self, start: usize, end: usize) -> (&[u32], usize) {
        (self.rows(start, end), self.width)
    }

    /// The codes of a node's rows in a column.
    pub(crate) fn gather(&self, column: usize, start: usize, end: usize, out: &mut Vec<u32>) {
        out.clear();
        out.extend(self.rows(start, end).iter().skip(column).step_by(self.width));
    }

    /// Moves rows up to a code of a column, and missing ones if told, to the front, as `rows` are; order is kept on both
    /// sides. Gives their number, and whether values are missing.
    pub(crate) fn partition(
        &mut self,
        column: usize,
        (start, end): (usize, usize),
        last: u32,
        missing_left: bool,
        rows: &mut [Entry],
        room: &mut [Entry],
    ) -> (usize, bool) {
        let missing = self.missing[column];
        let by = By { column, last, missing, missing_left };
        let codes = &mut self.codes[start * self.width..end * self.width];
        let buffer = &mut self.buffer[..codes.len()];
        match self.width {
            8 => partition::<8>(codes, buffer, by, rows, room),
            _ => partition::<WIDTH>(codes, buffer, by, rows, room),
        }
    }
}

/// What rows are split by.
#[derive(Clone, Copy)]
struct By {
    column: usize,
    last: u32,
    missing: u32,
    missing_left: bool,
}

fn partition<const W: usize>(
    codes: &mut [u32],
    buffer: &mut [u32],
    by: By,
    rows: &mut [Entry],
    room: &mut [Entry],
) -> (usize, bool) {
    let (codes, buffer) = (codes.as_chunks_mut::<W>().0, buffer.as_chunks_mut::<W>().0);
    let (mut left, mut right) = (0, 0);
    let mut any_missing = false;
    for at in 0..codes.len() {
        let (code, row) = (codes[at], rows[at]);
        let gone = code[by.column] == by.missing;
        any_missing |= gone;
        let goes_left = usize::from((code[by.column] <= by.last) | (gone & by.missing_left));
        // Both places are written; the right one counts.
        (codes[left], rows[left]) = (code, row);
        (buffer[right], room[right]) = (code, row);
        left += goes_left;
        right += 1 - goes_left;
    }
    codes[left..].copy_from_slice(&buffer[..right]);
    rows[left..].copy_from_slice(&room[..right]);
    (left, any_missing)
}
