//! The columns of a table, or of a sparse matrix one at a time: what lies between its entries is never there for all
//! columns at once.

use std::borrow::Cow;

use corten_core::{Column, Csr, Data, Result};

/// Columns to fit from.
pub(crate) enum Source<'d> {
    Table(&'d [Column<'d>]),
    Sparse(Columns),
}

/// A sparse matrix column by column.
pub(crate) struct Columns {
    rows: usize,
    starts: Vec<usize>,
    places: Vec<u32>,
    values: Vec<f64>,
}

impl Columns {
    fn new(matrix: &Csr<'_>) -> Self {
        let mut starts = vec![0; matrix.columns() + 1];
        for row in 0..matrix.rows() {
            matrix.row(row).0.iter().for_each(|&c| starts[c as usize + 1] += 1);
        }
        for c in 0..matrix.columns() {
            starts[c + 1] += starts[c];
        }
        let (mut at, mut places, mut values) = (starts.clone(), vec![0; matrix.stored()], vec![0.0; matrix.stored()]);
        for row in 0..matrix.rows() {
            let (columns, entries) = matrix.row(row);
            for (&c, &value) in columns.iter().zip(entries) {
                let place = &mut at[c as usize];
                (places[*place], values[*place]) = (row as u32, value);
                *place += 1;
            }
        }
        Self { rows: matrix.rows(), starts, places, values }
    }

    /// One column with its zeros.
    fn dense(&self, column: usize) -> Vec<f64> {
        let mut out = vec![0.0; self.rows];
        let range = self.starts[column]..self.starts[column + 1];
        for (&row, &value) in self.places[range.clone()].iter().zip(&self.values[range]) {
            out[row as usize] += value;
        }
        out
    }
}

impl<'d> Source<'d> {
    pub(crate) fn new(data: &'d Data<'d>) -> Result<Self> {
        Ok(match data {
            Data::Table(table) => Self::Table(table.columns()),
            Data::Csr(matrix) => Self::Sparse(Columns::new(matrix)),
        })
    }

    /// Number of columns.
    pub(crate) fn width(&self) -> usize {
        match self {
            Self::Table(columns) => columns.len(),
            Self::Sparse(columns) => columns.starts.len() - 1,
        }
    }

    /// One column.
    pub(crate) fn column(&self, at: usize) -> Cow<'d, Column<'d>> {
        match self {
            Self::Table(columns) => Cow::Borrowed(&columns[at]),
            Self::Sparse(columns) => Cow::Owned(Column::f64(format!("x{at}"), columns.dense(at))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_of_a_sparse_matrix_have_its_entries_and_zeros_between() {
        let matrix = Csr::new(3, 2, vec![0, 2, 2, 4], vec![1, 0, 1, 1], vec![1.0, 2.0, 3.0, 4.0]).unwrap();
        let data = Data::Csr(matrix);
        let source = Source::new(&data).unwrap();
        assert_eq!(source.column(0).to_f64().unwrap().to_vec(), [2.0, 0.0, 0.0]);
        assert_eq!(source.column(1).to_f64().unwrap().to_vec(), [1.0, 0.0, 7.0]);
    }
}
