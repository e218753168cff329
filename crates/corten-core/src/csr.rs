//! Compressed sparse rows.

use alloc::borrow::Cow;
use alloc::format;
use alloc::vec::Vec;

use crate::{Error, Result};

/// A sparse matrix in compressed rows; explicit zeros and repeated entries are allowed (repeated entries add up).
///
/// Shapes: `indptr` has `rows + 1` entries, `indices` and `values` one per stored entry.
#[derive(Clone, Debug)]
pub struct Csr<'a> {
    rows: usize,
    columns: usize,
    indptr: Cow<'a, [i64]>,
    indices: Cow<'a, [i32]>,
    values: Cow<'a, [f64]>,
}

impl<'a> Csr<'a> {
    /// Checks the parts and keeps them.
    ///
    /// # Errors
    /// [`Error::Value`] when a row pointer falls, an index is outside `columns`, or lengths differ.
    pub fn new(
        rows: usize,
        columns: usize,
        indptr: impl Into<Cow<'a, [i64]>>,
        indices: impl Into<Cow<'a, [i32]>>,
        values: impl Into<Cow<'a, [f64]>>,
    ) -> Result<Self> {
        let (indptr, indices, values) = (indptr.into(), indices.into(), values.into());
        let stored = indices.len();
        if indptr.len() != rows + 1
            || values.len() != stored
            || indptr.first() != Some(&0)
            || indptr.last().copied() != i64::try_from(stored).ok()
            || indptr.windows(2).any(|w| w[0] > w[1])
        {
            return Err(Error::value("the sparse matrix has row pointers that don't fit its entries"));
        }
        if let Some(bad) = indices.iter().find(|&&i| i < 0 || i as usize >= columns) {
            return Err(Error::value(format!("the sparse matrix has column index {bad}, outside 0..{columns}")));
        }
        Ok(Self { rows, columns, indptr, indices, values })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    /// Number of stored entries.
    pub fn stored(&self) -> usize {
        self.values.len()
    }

    /// Column indices and values of one row.
    #[inline]
    pub fn row(&self, row: usize) -> (&[i32], &[f64]) {
        let range = self.indptr[row] as usize..self.indptr[row + 1] as usize;
        (&self.indices[range.clone()], &self.values[range])
    }

    /// All stored values, row after row.
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// Adds rows `start..` into a zeroed column-major block: `out[c * stride + r]` for `r` in `0..count`.
    pub fn fill_block(&self, start: usize, count: usize, stride: usize, out: &mut [f64]) {
        for r in 0..count {
            let (indices, values) = self.row(start + r);
            for (&c, &v) in indices.iter().zip(values) {
                out[c as usize * stride + r] += v;
            }
        }
    }

    /// A copy of some rows, in the order given.
    pub fn take(&self, rows: &[u32]) -> Csr<'static> {
        let mut indptr = Vec::with_capacity(rows.len() + 1);
        let (mut indices, mut values) = (Vec::new(), Vec::new());
        indptr.push(0);
        for &row in rows {
            let (i, v) = self.row(row as usize);
            indices.extend_from_slice(i);
            values.extend_from_slice(v);
            indptr.push(indices.len() as i64);
        }
        Csr {
            rows: rows.len(),
            columns: self.columns,
            indptr: indptr.into(),
            indices: indices.into(),
            values: values.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn refuses_parts_that_do_not_fit() {
        assert!(Csr::new(2, 3, vec![0, 1, 2], vec![0, 2], vec![1.0, 2.0]).is_ok());
        assert!(Csr::new(2, 3, vec![0, 2, 1], vec![0, 2], vec![1.0, 2.0]).is_err());
        assert!(Csr::new(2, 3, vec![0, 1, 2], vec![0, 3], vec![1.0, 2.0]).is_err());
        assert!(Csr::new(2, 3, vec![0, 1, 2], vec![0, -1], vec![1.0, 2.0]).is_err());
        assert!(Csr::new(2, 3, vec![0, 1, 3], vec![0, 2], vec![1.0, 2.0]).is_err());
    }

    #[test]
    fn fills_a_column_major_block_and_adds_repeats() {
        let m = Csr::new(2, 2, vec![0, 2, 3], vec![1, 1, 0], vec![1.0, 2.0, 5.0]).unwrap();
        let mut out = vec![0.0; 4];
        m.fill_block(0, 2, 2, &mut out);
        assert_eq!(out, [0.0, 5.0, 3.0, 0.0]);
    }
}
