//! The rows of a sketch from a table that is read block by block: taken on the way, as each column is read the first time.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use corten_core::{Column, Kind, Result, Table, Text};

use crate::estimator::Blocks;
use crate::sketch;

/// Some values of a column, in the order of the rows.
enum Values {
    Numbers(Vec<f64>),
    Texts(Vec<Option<String>>),
}

/// Blocks that are passed on, and some of their rows kept.
pub struct Gather<'b> {
    blocks: &'b dyn Blocks,
    rows: usize,
    /// How many rows are kept; none where they are not to be sketched.
    count: usize,
    kept: Mutex<BTreeMap<usize, Values>>,
}

impl<'b> Gather<'b> {
    /// Keeps rows spread evenly over `rows`, which is how many the blocks have.
    pub fn new(blocks: &'b dyn Blocks, rows: usize) -> Self {
        let count = sketch::rows_to_keep(rows, blocks.head().width());
        Self { blocks, rows, count, kept: Mutex::default() }
    }

    /// The rows that were kept; none where a column was never read to its end.
    pub fn table(self) -> Option<Table<'static>> {
        let head = self.blocks.head();
        let mut kept = self.kept.into_inner().unwrap_or_else(PoisonError::into_inner);
        let column = |(at, column): (usize, &Column<'static>)| {
            Some(match kept.remove(&at)? {
                Values::Numbers(values) => Column::f64(&column.name, values),
                Values::Texts(values) => Column::text(&column.name, Text::from_options(values)),
            })
        };
        let columns = head.columns().iter().enumerate().map(column).collect::<Option<Vec<_>>>()?;
        if columns.is_empty() { None } else { Table::named(columns).ok() }
    }
}

impl Blocks for Gather<'_> {
    fn head(&self) -> &Table<'static> {
        self.blocks.head()
    }

    fn read(&self, columns: &[usize], each: &mut dyn FnMut(&Table<'_>) -> Result<()>) -> Result<()> {
        let known = |c: &usize| self.kept.lock().unwrap_or_else(PoisonError::into_inner).contains_key(c);
        let mut wanted: Vec<(usize, usize, Values)> = Vec::new();
        for (place, &at) in columns.iter().enumerate().filter(|(_, c)| self.count > 0 && !known(c)) {
            let text = self.head().columns()[at].kind() == Some(Kind::Text);
            wanted.push((place, at, if text { Values::Texts(Vec::new()) } else { Values::Numbers(Vec::new()) }));
        }
        if wanted.is_empty() {
            return self.blocks.read(columns, each);
        }
        let (mut next, mut start) = (0, 0);
        self.blocks.read(columns, &mut |table: &Table<'_>| {
            let end = start + table.rows();
            let mut places = Vec::new();
            while next < self.count && sketch::place(next, self.rows, self.count) < end {
                places.push((sketch::place(next, self.rows, self.count) - start) as u32);
                next += 1;
            }
            for (place, _, values) in &mut wanted {
                let taken = table.columns()[*place].take(&places);
                match values {
                    Values::Numbers(values) => values.extend_from_slice(&taken.to_f64()?),
                    Values::Texts(values) => {
                        let texts = taken.as_text()?;
                        let text = |row| texts.get(row).map(|t| String::from_utf8_lossy(t).into_owned());
                        values.extend((0..texts.len()).map(text));
                    }
                }
            }
            start = end;
            each(table)
        })?;
        if start == self.rows {
            let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.extend(wanted.into_iter().map(|(_, at, values)| (at, values)));
        }
        Ok(())
    }
}
