//! Rows of few columns whose codes lie side by side, moved as the rows are split.
//!
//! What every column spans in a node, and what lies left of one cut in each, then takes one pass over the rows.

use corten_kernels::splits::{self, WIDTH};

use super::finder::{Entry, Span};
use super::ranks::{Code, NO_MISSING, Table};

/// A code that no value has.
pub(crate) const NOTHING: u16 = u16::MAX;

/// See the module.
pub(crate) struct Records {
    width: usize,
    codes: Vec<u16>,
    buffer: Vec<u16>,
    /// The code of missing values of each column, or one that isn't there.
    missing: [u16; WIDTH],
    /// Least code, greatest one but that of missing values, and greatest, of each column in the node at hand.
    spans: [[u16; WIDTH]; 3],
}

impl Records {
    /// The codes of rows, where they fit: at most [`WIDTH`] columns.
    pub(crate) fn new<C: Code>(table: &Table<C>, rows: &[Entry]) -> Option<Self> {
        let columns = table.columns.len();
        // One code is left for "not there".
        let fits = columns <= WIDTH && C::LIMIT <= u16::LIMIT;
        if !fits || table.columns.iter().any(|c| c.values.len() >= usize::from(NOTHING)) {
            return None;
        }
        let mut missing = [NOTHING; WIDTH];
        for (column, out) in table.columns.iter().zip(&mut missing) {
            if column.missing != NO_MISSING {
                *out = column.missing as u16;
            }
        }
        let width = columns.next_power_of_two().max(8);
        let mut codes = vec![0; rows.len() * width];
        for (entry, out) in rows.iter().zip(codes.chunks_exact_mut(width)) {
            for (column, out) in out[..columns].iter_mut().enumerate() {
                *out = table.code(entry.row as usize, column) as u16;
            }
        }
        Some(Self { width, buffer: vec![0; codes.len()], codes, missing, spans: [[0; WIDTH]; 3] })
    }

    fn rows(&self, start: usize, end: usize) -> &[u16] {
        &self.codes[start * self.width..end * self.width]
    }

    /// Turns to the rows of a node.
    pub(crate) fn enter(&mut self, start: usize, end: usize) {
        self.spans = splits::spans(self.rows(start, end), self.width, &self.missing);
    }

    /// What a column spans in the node at hand; of missing values only whether there are any.
    pub(crate) fn span(&self, column: usize) -> Span {
        let [low, high, top] = self.spans.map(|codes| codes[column]);
        let missing = usize::from(top == self.missing[column]);
        if low == self.missing[column] {
            return Span { missing, ..Span::EMPTY };
        }
        Span { low: u32::from(low), high: u32::from(high), missing }
    }

    /// Rows of a node and the number of their codes, as kernels take them.
    pub(crate) fn node(&self, start: usize, end: usize) -> (&[u16], usize) {
        (self.rows(start, end), self.width)
    }

    /// The codes of a node's rows in a column.
    pub(crate) fn gather(&self, column: usize, start: usize, end: usize, out: &mut Vec<u32>) {
        out.clear();
        out.extend(self.rows(start, end).iter().skip(column).step_by(self.width).map(|&c| u32::from(c)));
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
        let by = By { column, last: last as u16, missing, missing_left };
        let codes = &mut self.codes[start * self.width..end * self.width];
        let buffer = &mut self.buffer[..codes.len()];
        match self.width {
            8 => partition::<8>(codes, buffer, by, rows, room),
            16 => partition::<16>(codes, buffer, by, rows, room),
            _ => partition::<WIDTH>(codes, buffer, by, rows, room),
        }
    }
}

/// What rows are split by.
#[derive(Clone, Copy)]
struct By {
    column: usize,
    last: u16,
    missing: u16,
    missing_left: bool,
}

fn partition<const W: usize>(
    codes: &mut [u16],
    buffer: &mut [u16],
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
