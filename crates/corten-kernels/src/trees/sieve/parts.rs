//! The columns of a block as parts, and its rows in the order of their parts.
//!
//! Columns of which few combinations of codes come in a block are one part. Rows that are alike in every part get the same
//! sums: they are scored once.

use alloc::vec;
use alloc::vec::Vec;

use super::{TREES, Told};

/// Most parts that columns are put together to.
pub(super) const MOST_PARTS: usize = 8;
/// Rows that are looked at first, and the codes among them from which a column hardly goes together with others.
const LOOK: usize = 512;
const MANY_CODES: usize = 128;
/// Most combinations of a part of several columns, so that their lines stay in the first-level cache; and rows for each, so
/// that putting lines together is little beside reading them.
const COMBINED: usize = 512;
const ROWS_A_LINE: usize = 8;
/// Of how many rows one must be like another for that to be looked for in all, where columns had nothing to do with one another:
/// it takes about as long as the lines of one row in this many.
const ALIKE: f64 = 1.0 / 16.0;
/// No combination.
const NONE: u16 = u16::MAX;

/// Most parts with which lines are quicker than a bit a row. Measured on Zen 4, in ns a row and tree: a bit a row takes 2 for
/// 64 rows, 0.7 for 256 and 0.5 for more; many rows take 0.15 and 0.05 for each part, few rows twice that and more, as lines
/// are put together for each block.
fn most_parts(rows: usize) -> usize {
    match rows {
        0..128 => MOST_PARTS,
        128..512 => 3,
        512..4096 => 4,
        _ => 6,
    }
}

/// Columns that are taken as one in a block.
#[derive(Clone, Debug, Default)]
pub(super) struct Part {
    /// Number of columns.
    pub(super) columns: usize,
    /// A row of `places` for each column of each combination.
    pub(super) rows: Vec<u32>,
    /// Each row's combination.
    pub(super) of_row: Vec<u16>,
}

/// How many codes there are; `known` is none but at theirs.
fn distinct(last: u16, codes: &[u16], known: &mut Vec<u16>) -> usize {
    known.clear();
    known.resize(usize::from(last) + 1, NONE);
    codes.iter().for_each(|&code| known[usize::from(code.min(last))] = 0);
    known.iter().filter(|place| **place != NONE).count()
}

impl Part {
    pub(super) fn combinations(&self) -> usize {
        self.rows.len() / self.columns
    }

    /// The codes of one column, the combinations in their order, so that their lines are read in theirs.
    fn single(first: u32, last: u16, codes: &[u16], known: &mut Vec<u16>) -> Self {
        let mut rows = Vec::with_capacity(distinct(last, codes, known));
        for (row, place) in (first..).zip(known.iter_mut()).filter(|(_, place)| **place != NONE) {
            *place = rows.len() as u16;
            rows.push(row);
        }
        let of_row = codes.iter().map(|&code| known[usize::from(code.min(last))]).collect();
        Self { columns: 1, rows, of_row }
    }

    /// Takes two as one, where their combinations are at most `most`.
    fn with(&self, other: &Self, most: usize, known: &mut Vec<u16>) -> Option<Self> {
        let (ours, theirs) = (self.combinations(), other.combinations());
        if ours * theirs > 1 << 16 {
            return None;
        }
        known.clear();
        known.resize(ours * theirs, NONE);
        let mut out = Self { columns: self.columns + other.columns, rows: Vec::new(), of_row: self.of_row.clone() };
        let mut count = 0;
        for (to, &b) in out.of_row.iter_mut().zip(&other.of_row) {
            let a = usize::from(*to);
            let place = &mut known[a * theirs + usize::from(b)];
            if *place == NONE {
                if usize::from(count) == most {
                    return None;
                }
                *place = count;
                count += 1;
                out.rows.extend_from_slice(&self.rows[a * self.columns..][..self.columns]);
                out.rows.extend_from_slice(&other.rows[usize::from(b) * other.columns..][..other.columns]);
            }
            *to = *place;
        }
        Some(out)
    }

    /// How many rows have each combination.
    fn counts(&self) -> Vec<u32> {
        let mut counts = vec![0; self.combinations()];
        self.of_row.iter().for_each(|&of_row| counts[usize::from(of_row)] += 1);
        counts
    }
}

/// Columns that are put together to parts, as few as they go into; `None` where these are too many.
pub(super) fn cut(columns: &[Told], codes: &[u16], rows: usize, known: &mut Vec<u16>) -> Option<Vec<Part>> {
    let most_parts = most_parts(rows);
    let of = |told: &Told| &codes[usize::from(told.column) * rows..][..rows];
    let counts = columns.iter().map(|told| distinct(told.last, &of(told)[..rows.min(LOOK)], known));
    if counts.filter(|count| *count > MANY_CODES).count() > most_parts {
        return None;
    }
    let mut single: Vec<Part> =
        columns.iter().map(|told| Part::single(told.first, told.last, of(told), known)).collect();
    // Those of few codes first: more of them go together.
    single.sort_by_key(Part::combinations);
    let most = (rows / ROWS_A_LINE).min(COMBINED);
    let mut parts: Vec<Part> = Vec::new();
    for part in single {
        match parts.last_mut().and_then(|last| last.with(&part, most, known).map(|both| (last, both))) {
            Some((last, both)) => *last = both,
            None => parts.push(part),
        }
    }
    if parts.len() > most_parts { None } else { Some(parts) }
}

/// The line of a row in each part, 0 where there are fewer parts.
pub(super) type Lines = [u16; MOST_PARTS];

/// The lines of all rows, each [`TREES`] words of those of all parts, one part after the other.
pub(super) fn lines(parts: &[Part], rows: usize, out: &mut Vec<Lines>) {
    out.clear();
    out.resize(rows, [0; MOST_PARTS]);
    let mut first = 0;
    for (at, part) in parts.iter().enumerate() {
        for (lines, &of_row) in out.iter_mut().zip(&part.of_row) {
            lines[at] = ((first + usize::from(of_row)) * TREES) as u16;
        }
        first += part.combinations();
    }
}

/// The rows of a block in the order in which they are added up.
#[derive(Clone, Debug, Default)]
pub(super) struct Order {
    /// By their line of the part that has most. Where some are alike, by the others' lines, too.
    pub(super) rows: Vec<u32>,
    /// The place of the sum of each of them, where rows that are alike have one.
    pub(super) places: Vec<u32>,
    spare: Vec<u32>,
}

impl Order {
    /// Puts rows in order; those that `begin_alike` and have the same `lines` of all parts get one place.
    pub(super) fn put(&mut self, parts: &[Part], lines: &[Lines], begin_alike: impl Fn(usize, usize) -> bool) {
        let Self { rows: order, places, spare } = self;
        let rows = lines.len();
        let counts: Vec<Vec<u32>> = parts.iter().map(Part::counts).collect();
        let mut by_length: Vec<usize> = (0..parts.len()).collect();
        by_length.sort_by_key(|&part| counts[part].len());
        // Rows that are like one that was picked at random, if no part told anything about another: more, as parts do.
        let share = |&count: &u32| f64::from(count) / rows as f64 * f64::from(count) / rows as f64;
        let alike = counts.iter().map(|counts| counts.iter().map(share).sum::<f64>()).product::<f64>() * rows as f64;
        let keys = if alike < ALIKE { by_length.split_off(parts.len() - 1) } else { by_length };
        order.clear();
        order.extend(0..rows as u32);
        spare.resize(rows, 0);
        for &key in &keys {
            let mut first = 0;
            let mut next = counts[key].clone();
            next.iter_mut().for_each(|next| first += core::mem::replace(next, first));
            for &row in &*order {
                let next = &mut next[usize::from(parts[key].of_row[row as usize])];
                spare[*next as usize] = row;
                *next += 1;
            }
            core::mem::swap(order, spare);
        }
        places.clear();
        if keys.len() < parts.len() {
            places.extend(0..rows as u32);
            return;
        }
        let (mut place, mut before) = (0, order[0] as usize);
        for &row in &*order {
            let row = row as usize;
            place += u32::from(lines[before] != lines[row] || !begin_alike(before, row));
            places.push(place);
            before = row;
        }
    }

    /// Number of places.
    pub(super) fn len(&self) -> usize {
        self.places.last().map_or(0, |&last| last as usize + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::samples::numbers;
    use super::*;

    /// Every row has a place of its own or that of rows that are like it and begin as it does; lines of the longest part come
    /// in their order.
    #[test]
    fn rows_that_are_alike_have_one_place() {
        let below = numbers(3);
        let mut order = Order::default();
        for (rows, spreads) in [(1, [1, 1]), (700, [3, 9]), (700, [40, 7]), (900, [400, 300]), (64, [1, 1])] {
            let of = |spread: u64| -> Vec<u16> { (0..rows).map(|_| below(spread) as u16).collect() };
            let codes = [of(spreads[0]), of(spreads[1]), of(2)];
            let mut known = Vec::new();
            let parts: Vec<Part> = codes.iter().map(|codes| Part::single(0, 500, codes, &mut known)).collect();
            let mut of_rows = Vec::new();
            lines(&parts, rows, &mut of_rows);
            order.put(&parts, &of_rows, |a, b| a / 350 == b / 350);
            let mut listed = order.rows.clone();
            listed.sort_unstable();
            assert!(listed.iter().copied().eq(0..rows as u32), "all rows are there");
            assert_eq!(order.places.len(), rows);
            let key = |row: u32| (codes.each_ref().map(|codes| codes[row as usize]), row / 350);
            let of_place =
                |place: usize| order.places.iter().position(|&p| p as usize == place).map(|at| order.rows[at]);
            for (&row, &place) in order.rows.iter().zip(&order.places) {
                assert_eq!(of_place(place as usize).map(key), Some(key(row)), "{rows} rows of {spreads:?}");
            }
            let mut keys: Vec<_> = (0..rows as u32).map(|row| key(row).0).collect();
            keys.sort_unstable();
            keys.dedup();
            assert!(order.len() >= keys.len() && order.len() <= rows);
            assert!(spreads[1] != 9 || order.len() < 120, "{} places for 108 different rows", order.len());
            let longest = parts.iter().max_by_key(|part| part.combinations()).expect("three parts");
            assert!(order.rows.is_sorted_by_key(|&row| longest.of_row[row as usize]));
        }
    }
}
