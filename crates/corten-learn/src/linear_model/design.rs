//! The rows that a linear model is fitted on, dense or sparse, and the two products every solver is made of.
//!
//! Rows are worked on in blocks whose bounds depend on the number of rows only; partial sums are added in the order of
//! the blocks. So results are the same for any number of threads.

use std::borrow::Cow;
use std::ops::Range;

use corten_core::{CancelToken, Csr, Data, Result};
use corten_kernels::parallel;
use corten_model::estimator::{Context, FitInput};

use crate::columns::{check_finite, check_size, check_weights};
use crate::sums::{axpy, dot, sum};

/// Rows whose scores are computed at a time: they stay in the first-level cache.
const TILE: usize = 1024;
/// Most partial sums of a reduction, and most numbers in all of them: 64 MB.
const PARTS: usize = 64;
const PARTS_SIZE: usize = 1 << 23;

/// The rows.
pub(super) enum Design<'a> {
    /// One slice a column.
    Dense { rows: usize, columns: Vec<Cow<'a, [f64]>> },
    /// Sparse rows.
    Sparse(&'a Csr<'a>),
}

impl<'a> Design<'a> {
    /// Reads the data; NaN and infinite values are refused.
    ///
    /// # Errors
    /// [`Error::Value`] and [`Error::Column`], in scikit-learn's words.
    pub(super) fn read(data: &'a Data<'a>) -> Result<Self> {
        check_size(data)?;
        match data {
            Data::Table(table) => {
                let mut columns = Vec::with_capacity(table.width());
                for (at, column) in table.columns().iter().enumerate() {
                    let values = column.to_f64()?;
                    check_finite(data, at, &values, false)?;
                    columns.push(values);
                }
                Ok(Self::Dense { rows: table.rows(), columns })
            }
            Data::Csr(matrix) => {
                check_finite(data, 0, matrix.values(), false)?;
                Ok(Self::Sparse(matrix))
            }
        }
    }

    /// Number of rows.
    pub(super) fn rows(&self) -> usize {
        match self {
            Self::Dense { rows, .. } => *rows,
            Self::Sparse(m) => m.rows(),
        }
    }

    /// Number of columns.
    pub(super) fn width(&self) -> usize {
        match self {
            Self::Dense { columns, .. } => columns.len(),
            Self::Sparse(m) => m.columns(),
        }
    }

    /// Adds the scores of some rows: `scores[c * rows + r] += sum_j x[r][j] weights[c * stride + j]`.
    pub(super) fn scores(&self, rows: Range<usize>, weights: &[f64], stride: usize, scores: &mut [f64]) {
        let count = rows.len();
        match self {
            Self::Dense { columns, .. } => {
                for (scores, weights) in scores.chunks_exact_mut(count).zip(weights.chunks_exact(stride)) {
                    for (column, &w) in columns.iter().zip(weights) {
                        axpy(w, &column[rows.clone()], scores);
                    }
                }
            }
            Self::Sparse(m) => {
                for (scores, weights) in scores.chunks_exact_mut(count).zip(weights.chunks_exact(stride)) {
                    for (row, score) in rows.clone().zip(scores) {
                        let (indices, values) = m.row(row);
                        for (&j, v) in indices.iter().zip(values) {
                            *score += weights[j as usize] * v;
                        }
                    }
                }
            }
        }
    }

    /// Adds the transposed product of some rows: `out[c * stride + j] += sum_r x[r][j] residuals[c * rows + r]`.
    pub(super) fn gather(&self, rows: Range<usize>, residuals: &[f64], stride: usize, out: &mut [f64]) {
        let count = rows.len();
        match self {
            Self::Dense { columns, .. } => {
                for (residuals, out) in residuals.chunks_exact(count).zip(out.chunks_exact_mut(stride)) {
                    for (column, out) in columns.iter().zip(out) {
                        *out += dot(&column[rows.clone()], residuals);
                    }
                }
            }
            Self::Sparse(m) => {
                for (residuals, out) in residuals.chunks_exact(count).zip(out.chunks_exact_mut(stride)) {
                    for (row, residual) in rows.clone().zip(residuals) {
                        let (indices, values) = m.row(row);
                        for (&j, v) in indices.iter().zip(values) {
                            out[j as usize] += residual * v;
                        }
                    }
                }
            }
        }
    }

    /// Sums vectors of `size` numbers over tiles of rows: `work` adds a tile's part to the vector that it is given.
    ///
    /// # Errors
    /// [`Error::Cancelled`].
    pub(super) fn reduce(
        &self,
        threads: usize,
        cancel: &CancelToken,
        size: usize,
        work: impl Fn(Range<usize>, &mut [f64]) + Sync,
    ) -> Result<Vec<f64>> {
        let rows = self.rows();
        let parts = (PARTS_SIZE / size.max(1)).clamp(1, PARTS);
        let block = rows.div_ceil(parts).next_multiple_of(TILE);
        let parts = parallel::map_blocks(threads, rows, block, |_, range: Range<usize>| {
            let mut part = vec![0.0; size];
            let mut start = range.start;
            while start < range.end && !cancel.is_cancelled() {
                let end = (start + TILE).min(range.end);
                work(start..end, &mut part);
                start = end;
            }
            part
        });
        cancel.check()?;
        let mut parts = parts.into_iter();
        let mut total = parts.next().unwrap_or_else(|| vec![0.0; size]);
        for part in parts {
            for (total, part) in total.iter_mut().zip(part) {
                *total += part;
            }
        }
        Ok(total)
    }

    /// The weighted mean of every column.
    pub(super) fn means(&self, weights: Option<&[f64]>, context: &Context) -> Result<Vec<f64>> {
        let width = self.width();
        let ones = [1.0; TILE];
        let mut sums = self.reduce(context.threads, &context.cancel, width, |rows, out| {
            let weights = weights.map_or(&ones[..rows.len()], |w| &w[rows.clone()]);
            self.gather(rows, weights, width, out);
        })?;
        let total = total_weight(weights, self.rows());
        sums.iter_mut().for_each(|s| *s /= total);
        Ok(sums)
    }
}

/// The sum of the weights.
pub(super) fn total_weight(weights: Option<&[f64]>, rows: usize) -> f64 {
    weights.map_or(rows as f64, |w| sum(w.len(), |i| w[i]))
}

/// Checks the weights of a fit: length, finite, not negative, not all zero.
pub(super) fn checked_weights<'a>(input: &FitInput<'a>, rows: usize) -> Result<Option<&'a [f64]>> {
    check_weights(input.sample_weight, rows, true)?;
    Ok(input.sample_weight)
}
