//! Rows in the order of each column.

use corten_kernels::parallel;

use super::super::ranks::{Code, Table};
use super::super::sort::Key;
use super::Bins;

/// The bit of a row that has another value than the one before it.
const OTHER: u32 = 1 << 31;
/// The place of a row that isn't there.
const NONE: u32 = u32::MAX;

/// The rows of a table in the order of each column, ascending among equal codes.
pub(crate) struct Orders {
    /// Nothing of columns that are summed by value.
    rows: Vec<Vec<u32>>,
    pub(super) bins: Bins,
}

impl Orders {
    pub(crate) fn new<C: Code>(table: &Table<C>, bins: Bins, threads: usize) -> Self {
        let rows = parallel::map_together(threads, table.columns.len(), |at| {
            if bins.place(at).is_some() {
                return Vec::new();
            }
            let codes = &table.columns[at].codes;
            let most = codes.iter().map(|c| c.get()).max().unwrap_or(0) as usize;
            let mut starts = vec![0u32; most + 2];
            codes.iter().for_each(|c| starts[c.get() as usize + 1] += 1);
            for code in 0..=most {
                starts[code + 1] += starts[code];
            }
            let firsts = starts.clone();
            let mut rows = vec![0; codes.len()];
            for (row, code) in (0u32..).zip(codes) {
                let at = &mut starts[code.get() as usize];
                rows[*at as usize] = row;
                *at += 1;
            }
            for &first in &firsts[..=most] {
                if let Some(row) = rows.get_mut(first as usize) {
                    *row |= OTHER;
                }
            }
            rows
        });
        Self { rows, bins }
    }

    /// Where each of some rows stands among them.
    pub(super) fn places(&self, rows: &[u32]) -> Vec<u32> {
        let mut places = vec![NONE; self.rows.iter().map(Vec::len).max().unwrap_or(0)];
        if !places.is_empty() {
            (0u32..).zip(rows).for_each(|(place, &row)| places[row as usize] = place);
        }
        places
    }

    /// Keys of some rows, by their places, in the order of a column: how many lesser values there are above the place. None
    /// of a column that is summed by value.
    pub(super) fn keys<K: Key>(&self, column: usize, rows: usize, places: &[u32]) -> Vec<K> {
        if self.rows[column].is_empty() {
            return Vec::new();
        }
        let mut keys = Vec::with_capacity(rows);
        if rows == self.rows[column].len() {
            // All rows, each in its own place.
            let mut rank = 0;
            for &row in &self.rows[column] {
                rank += u32::from(row & OTHER != 0);
                keys.push(K::new(rank.wrapping_sub(1), (row & !OTHER) as usize));
            }
            return keys;
        }
        let (mut rank, mut other) = (0u32, false);
        for &row in &self.rows[column] {
            other |= row & OTHER != 0;
            let place = places[(row & !OTHER) as usize];
            if place != NONE {
                rank += u32::from(other & !keys.is_empty());
                other = false;
                keys.push(K::new(rank, place as usize));
            }
        }
        keys
    }
}
