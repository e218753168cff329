//! Rows in the order of each column.

use corten_kernels::parallel;

use super::super::ranks::{Code, Table};
use super::super::sort::Key;

/// The bit of a row that has another value than the one before it.
const OTHER: u32 = 1 << 31;
/// The place of a row that isn't there.
const NONE: u32 = u32::MAX;

/// The rows of a table in the order of each column, ascending among equal codes.
pub(crate) struct Orders(Vec<Vec<u32>>);

impl Orders {
    pub(crate) fn new<C: Code>(table: &Table<C>, threads: usize) -> Self {
        Self(parallel::map_blocks(threads, table.columns.len(), 1, |at, _| {
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
        }))
    }

    /// Where each of some rows stands among them.
    pub(super) fn places(&self, rows: &[u32]) -> Vec<u32> {
        let mut places = vec![NONE; self.0.first().map_or(0, Vec::len)];
        (0u32..).zip(rows).for_each(|(place, &row)| places[row as usize] = place);
        places
    }

    /// Keys of some rows, by their places, in the order of a column: how many lesser values there are above the place.
    pub(super) fn keys<K: Key>(&self, column: usize, rows: usize, places: &[u32]) -> Vec<K> {
        let mut keys = Vec::with_capacity(rows);
        if rows == self.0[column].len() {
            // All rows, each in its own place.
            let mut rank = 0;
            for &row in &self.0[column] {
                rank += u32::from(row & OTHER != 0);
                keys.push(K::new(rank.wrapping_sub(1), (row & !OTHER) as usize));
            }
            return keys;
        }
        let (mut rank, mut other) = (0u32, false);
        for &row in &self.0[column] {
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
