//! Columns as ranks: the place of each value among the distinct values of its column.

use corten_core::{Column, Data, Result};
use corten_kernels::parallel;
use corten_kernels::sort::ordered;

use super::finder::Entry;
use crate::source::Source;

/// Columns that are read together: two cache lines of a row-major matrix.
const GROUP: usize = 16;
/// Rows of a group that are read before the next column's.
const BLOCK: usize = 256;
/// Largest integers that are ranked by a table instead of a sort.
const TABLE: usize = 1 << 16;
/// A node that holds one of so many rows is read along columns.
const DENSE: usize = 8;
/// The code of a missing value in a column without one.
pub(crate) const NO_MISSING: u32 = u32::MAX;

/// A rank as it is stored.
pub(crate) trait Code: Copy + Ord + Send + Sync + 'static {
    /// Most distinct values of a column, a missing one among them.
    const LIMIT: usize;

    fn new(rank: u32) -> Self;
    fn get(self) -> u32;
}

macro_rules! code {
    ($type:ty, $limit:expr) => {
        impl Code for $type {
            const LIMIT: usize = $limit;

            #[inline]
            fn new(rank: u32) -> Self {
                rank as $type
            }

            #[inline]
            fn get(self) -> u32 {
                self as u32
            }
        }
    };
}

code!(u8, 1 << 8);
code!(u16, 1 << 16);
code!(u32, u32::MAX as usize - 1);

/// One column of ranks.
pub(crate) struct Ranked<C> {
    /// A rank a row; the number of values where the value is missing.
    pub(crate) codes: Vec<C>,
    /// The distinct values in ascending order.
    pub(crate) values: Vec<f64>,
    /// The rank of a missing value, or [`NO_MISSING`].
    pub(crate) missing: u32,
}

/// A table of ranks, held both ways: a node of many rows reads along a column, one of few finds the columns of a row
/// side by side.
pub(crate) struct Table<C> {
    pub(crate) columns: Vec<Ranked<C>>,
    by_row: Vec<C>,
}

impl<C: Code> Table<C> {
    fn new(ranked: Vec<Ranked<u32>>, rows: usize, threads: usize) -> Self {
        let narrow = |c: Ranked<u32>| Ranked {
            codes: c.codes.into_iter().map(C::new).collect(),
            values: c.values,
            missing: c.missing,
        };
        let columns: Vec<Ranked<C>> = ranked.into_iter().map(narrow).collect();
        let width = columns.len();
        let blocks = parallel::map_blocks(threads, rows, BLOCK, |_, range| {
            let mut block = vec![C::new(0); range.len() * width];
            for (at, column) in columns.iter().enumerate() {
                for (row, code) in column.codes[range.clone()].iter().enumerate() {
                    block[row * width + at] = *code;
                }
            }
            block
        });
        Self { columns, by_row: blocks.concat() }
    }

    /// The code of a row in a column.
    #[inline]
    pub(crate) fn code(&self, row: usize, column: usize) -> u32 {
        self.by_row[row * self.columns.len() + column].get()
    }

    /// The codes of rows in a column.
    pub(crate) fn gather(&self, column: usize, rows: &[Entry], out: &mut Vec<u32>) {
        let (codes, width) = (&self.columns[column].codes, self.columns.len());
        out.clear();
        if rows.len() * DENSE >= codes.len() {
            out.extend(rows.iter().map(|e| codes[e.row as usize].get()));
        } else {
            out.extend(rows.iter().map(|e| self.by_row[e.row as usize * width + column].get()));
        }
    }
}

/// All columns as ranks of the narrowest type that holds them.
pub(crate) enum Ranks {
    Byte(Table<u8>),
    Narrow(Table<u16>),
    Wide(Table<u32>),
}

/// Ranks all columns of a table.
///
/// # Errors
/// [`corten_core::Error::Column`] for text and for infinite values.
pub(crate) fn rank(data: &Data<'_>, threads: usize) -> Result<Ranks> {
    let (source, rows) = (Source::new(data)?, data.rows());
    let made = parallel::map_blocks(threads, data.width(), GROUP, |_, range| match &source {
        Source::Table(columns) => group(&columns[range], rows),
        Source::Sparse(_) => range
            .map(|at| {
                let column = source.column(at);
                one(&column, column.to_f64()?.into_owned())
            })
            .collect(),
    });
    let mut ranked = Vec::with_capacity(data.width());
    for part in made {
        ranked.extend(part?);
    }
    let most = ranked.iter().map(|c| c.values.len() + usize::from(c.missing != NO_MISSING)).max().unwrap_or(0);
    Ok(if most <= u8::LIMIT {
        Ranks::Byte(Table::new(ranked, rows, threads))
    } else if most <= u16::LIMIT {
        Ranks::Narrow(Table::new(ranked, rows, threads))
    } else {
        Ranks::Wide(Table::new(ranked, rows, threads))
    })
}

fn group(columns: &[Column<'_>], rows: usize) -> Result<Vec<Ranked<u32>>> {
    let mut values = vec![vec![0.0; rows]; columns.len()];
    for start in (0..rows).step_by(BLOCK) {
        let end = (start + BLOCK).min(rows);
        for (column, out) in columns.iter().zip(&mut values) {
            column.read_f64(start, &mut out[start..end])?;
        }
    }
    columns.iter().zip(values).map(|(column, values)| one(column, values)).collect()
}

fn one(column: &Column<'_>, mut values: Vec<f64>) -> Result<Ranked<u32>> {
    let mut whole = true;
    for x in &mut values {
        if x.is_infinite() {
            let what = "Input X contains infinity or a value too large for dtype('float64').";
            return Err(corten_core::Error::column(&column.name, what));
        }
        // Adding 0 turns -0 into 0: one value, one rank.
        *x += 0.0;
        whole &= (*x >= 0.0 && *x < TABLE as f64 && *x == x.trunc()) || x.is_nan();
    }
    let any_missing = values.iter().any(|x| x.is_nan());
    let (codes, distinct) = if whole { by_table(&values) } else { by_sort(&values) };
    let missing = if any_missing { distinct.len() as u32 } else { NO_MISSING };
    Ok(Ranked { codes, values: distinct, missing })
}

/// Ranks of small whole numbers.
fn by_table(values: &[f64]) -> (Vec<u32>, Vec<f64>) {
    let top = values.iter().fold(0.0f64, |m, &x| if x > m { x } else { m }) as usize;
    let mut ranks = vec![0u32; top + 1];
    for &x in values {
        if !x.is_nan() {
            ranks[x as usize] = 1;
        }
    }
    let mut distinct = Vec::new();
    for (x, rank) in ranks.iter_mut().enumerate() {
        if *rank == 1 {
            *rank = distinct.len() as u32;
            distinct.push(x as f64);
        }
    }
    let missing = distinct.len() as u32;
    let codes = values.iter().map(|&x| if x.is_nan() { missing } else { ranks[x as usize] }).collect();
    (codes, distinct)
}

fn by_sort(values: &[f64]) -> (Vec<u32>, Vec<f64>) {
    let mut order: Vec<(u64, u32)> =
        (0u32..).zip(values).filter(|(_, x)| !x.is_nan()).map(|(row, &x)| (ordered(x), row)).collect();
    order.sort_unstable();
    let mut distinct: Vec<f64> = Vec::new();
    let mut codes = vec![u32::MAX; values.len()];
    for &(_, row) in &order {
        let x = values[row as usize];
        if distinct.last() != Some(&x) {
            distinct.push(x);
        }
        codes[row as usize] = distinct.len() as u32 - 1;
    }
    let missing = distinct.len() as u32;
    codes.iter_mut().filter(|c| **c == u32::MAX).for_each(|c| *c = missing);
    (codes, distinct)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_sorts_rank_alike() {
        let values = [3.0, 0.0, f64::NAN, 7.0, 3.0, 65_000.0];
        assert_eq!(by_table(&values), by_sort(&values));
        assert_eq!(by_table(&values), (vec![1, 0, 4, 2, 1, 3], vec![0.0, 3.0, 7.0, 65_000.0]));
        let negative = [-1.5, f64::NAN, 2.0, -3.0];
        assert_eq!(by_sort(&negative), (vec![1, 3, 2, 0], vec![-3.0, -1.5, 2.0]));
    }
}
