//! Dense least squares: centring and weighting, singular values, normal equations.
//!
//! Matrices are column-major. Decompositions are `faer`'s, through `corten-kernels`. Source: Golub & Van Loan, "Matrix
//! computations" (2013), sections 5.5 (minimum-norm solutions), 4.2 (Cholesky).

use std::ops::Range;

use corten_core::{CancelToken, Error, Result};
use corten_kernels::{dense, parallel};
use corten_model::estimator::Context;

use super::design::Design;
use crate::sums::{axpy, dot};

/// A column-major matrix.
#[derive(Clone, Debug)]
pub(super) struct Matrix {
    pub(super) rows: usize,
    pub(super) columns: usize,
    pub(super) values: Vec<f64>,
}

impl Matrix {
    pub(super) fn zeros(rows: usize, columns: usize) -> Self {
        Self { rows, columns, values: vec![0.0; rows * columns] }
    }

    pub(super) fn column(&self, at: usize) -> &[f64] {
        &self.values[at * self.rows..(at + 1) * self.rows]
    }

    pub(super) fn column_mut(&mut self, at: usize) -> &mut [f64] {
        &mut self.values[at * self.rows..(at + 1) * self.rows]
    }
}

/// `root (x - mean)` for every column of some rows.
fn tile(design: &Design<'_>, means: &[f64], root: Option<&[f64]>, rows: Range<usize>) -> Matrix {
    let count = rows.len();
    let mut out = Matrix::zeros(count, design.width());
    match design {
        Design::Dense { columns, .. } => {
            for (j, column) in columns.iter().enumerate() {
                out.column_mut(j).copy_from_slice(&column[rows.clone()]);
            }
        }
        Design::Sparse(m) => m.fill_block(rows.start, count, count, &mut out.values),
    }
    for (j, mean) in means.iter().enumerate() {
        let column = out.column_mut(j);
        column.iter_mut().for_each(|x| *x -= mean);
        if let Some(root) = root {
            column.iter_mut().zip(&root[rows.clone()]).for_each(|(x, r)| *x *= r);
        }
    }
    out
}

/// `root (x - mean)` for every column.
pub(super) fn centred(design: &Design<'_>, means: &[f64], root: Option<&[f64]>) -> Matrix {
    tile(design, means, root, 0..design.rows())
}

/// Rows of a block that is compressed on its own; more where there are many columns.
const BLOCK: usize = 2048;

/// A shorter matrix and targets with the same least-squares problem as the centred, weighted rows.
///
/// Each block of rows is decomposed into `U (S V^T)`; `S V^T` stands for its rows and `U^T y` for its targets. Only
/// orthogonal steps are taken, so nothing of the precision is lost, and long data are never copied as a whole (Demmel,
/// Grigori, Hoemmen & Langou, "Communication-optimal parallel and sequential QR and LU factorizations", SIAM J. Sci.
/// Comput. 34, 2012).
///
/// # Errors
/// [`Error::Value`] when a decomposition does not converge, [`Error::Cancelled`].
pub(super) fn compressed(
    design: &Design<'_>,
    means: &[f64],
    root: Option<&[f64]>,
    y: &[Vec<f64>],
    context: &Context,
) -> Result<(Matrix, Vec<Vec<f64>>)> {
    let (rows, p) = (design.rows(), design.width());
    let block = BLOCK.max(16 * p);
    if rows < 4 * block {
        return Ok((centred(design, means, root), y.to_vec()));
    }
    let parts = parallel::map_blocks(context.threads, rows, block, |_, range: Range<usize>| {
        let part = Decomposed::of(&tile(design, means, root, range.clone()), &context.cancel)?;
        let short = part.singular.len();
        let mut triangle = Matrix::zeros(short, p);
        for j in 0..p {
            for (i, out) in triangle.column_mut(j).iter_mut().enumerate() {
                *out = part.singular[i] * part.v.column(i)[j];
            }
        }
        let y: Vec<Vec<f64>> =
            y.iter().map(|y| (0..short).map(|i| dot(part.u.column(i), &y[range.clone()])).collect()).collect();
        Ok((triangle, y))
    });
    let parts: Vec<(Matrix, Vec<Vec<f64>>)> = parts.into_iter().collect::<Result<_>>()?;
    let mut matrix = Matrix::zeros(parts.iter().map(|(m, _)| m.rows).sum(), p);
    let mut targets = vec![Vec::with_capacity(matrix.rows); y.len()];
    let mut start = 0;
    for (part, y) in &parts {
        for j in 0..p {
            matrix.column_mut(j)[start..start + part.rows].copy_from_slice(part.column(j));
        }
        for (target, y) in targets.iter_mut().zip(y) {
            target.extend_from_slice(y);
        }
        start += part.rows;
    }
    Ok((matrix, targets))
}

/// A matrix reduced to singular values, ready to solve for any right-hand side and any filter of those values.
pub(super) struct Decomposed {
    u: Matrix,
    singular: Vec<f64>,
    v: Matrix,
}

impl Decomposed {
    /// Decomposes a matrix.
    ///
    /// # Errors
    /// [`Error::Value`] when the iteration does not converge, [`Error::Cancelled`].
    pub(super) fn of(a: &Matrix, cancel: &CancelToken) -> Result<Self> {
        cancel.check()?;
        let (u, singular, v) = dense::svd_thin(&a.values, a.rows, a.columns)
            .map_err(|_| Error::value("SVD did not converge in Linear Least Squares"))?;
        cancel.check()?;
        let size = singular.len();
        let u = Matrix { rows: a.rows, columns: size, values: u };
        Ok(Self { u, singular, v: Matrix { rows: a.columns, columns: size, values: v } })
    }

    /// The singular values, largest first.
    pub(super) fn singular(&self) -> &[f64] {
        &self.singular
    }

    /// `V diag(filter(s)) U^T y`.
    pub(super) fn solve(&self, y: &[f64], filter: impl Fn(f64) -> f64) -> Vec<f64> {
        let mut x = vec![0.0; self.v.rows];
        for (i, &s) in self.singular.iter().enumerate() {
            let factor = filter(s);
            if factor != 0.0 {
                axpy(factor * dot(self.u.column(i), y), self.v.column(i), &mut x);
            }
        }
        x
    }
}

/// The Gram matrix `A^T A` and the products `A^T y`, where `A` is `root (x - mean)`, from one pass over the rows.
///
/// `y` holds the targets, centred and multiplied by `root` too.
///
/// # Errors
/// [`Error::Cancelled`].
pub(super) fn normal_equations(
    design: &Design<'_>,
    means: &[f64],
    root: Option<&[f64]>,
    y: &[Vec<f64>],
    context: &Context,
) -> Result<(Matrix, Vec<Vec<f64>>)> {
    let p = design.width();
    let sums = design.reduce(context.threads, &context.cancel, p * (p + y.len()), |rows, out| {
        let tile = tile(design, means, root, rows.clone());
        axpy(1.0, &dense::gram(&tile.values, rows.len(), p, 1), &mut out[..p * p]);
        for (y, out) in y.iter().zip(out[p * p..].chunks_exact_mut(p)) {
            for (j, out) in out.iter_mut().enumerate() {
                *out += dot(tile.column(j), &y[rows.clone()]);
            }
        }
    })?;
    let gram = Matrix { rows: p, columns: p, values: sums[..p * p].to_vec() };
    Ok((gram, sums[p * p..].chunks_exact(p).map(<[f64]>::to_vec).collect()))
}

/// A Cholesky factor, lower triangle by rows. Unlike `faer`'s it refuses pivots that rounding has eaten, which is how
/// dependent columns are found.
pub(super) struct Cholesky {
    rows: Vec<Vec<f64>>,
}

impl Cholesky {
    /// Factors a symmetric matrix plus `ridge` on its diagonal; `None` when it is not positive definite to working
    /// precision.
    pub(super) fn of(a: &Matrix, ridge: f64) -> Option<Self> {
        let mut rows: Vec<Vec<f64>> = Vec::with_capacity(a.rows);
        for i in 0..a.rows {
            let mut row = a.column(i)[..=i].to_vec();
            row[i] += ridge;
            let whole = row[i];
            for j in 0..i {
                let known = dot(&row[..j], &rows[j][..j]);
                row[j] = (row[j] - known) / rows[j][j];
            }
            let pivot = whole - dot(&row[..i], &row[..i]);
            // Below this the pivot is rounding error.
            if pivot.is_nan() || pivot <= whole.abs() * f64::EPSILON * a.rows as f64 {
                return None;
            }
            row[i] = pivot.sqrt();
            rows.push(row);
        }
        Some(Self { rows })
    }

    /// Solves for one right-hand side.
    pub(super) fn solve(&self, b: &[f64]) -> Vec<f64> {
        let n = self.rows.len();
        let mut x = b.to_vec();
        for i in 0..n {
            x[i] = (x[i] - dot(&self.rows[i][..i], &x[..i])) / self.rows[i][i];
        }
        for i in (0..n).rev() {
            x[i] /= self.rows[i][i];
            let xi = x[i];
            axpy(-xi, &self.rows[i][..i], &mut x[..i]);
        }
        x
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(rows: usize, columns: usize) -> Matrix {
        let mut stream = corten_core::random::Stream::new(5, 0);
        Matrix { rows, columns, values: (0..rows * columns).map(|_| stream.uniform() - 0.5).collect() }
    }

    #[test]
    fn residuals_of_least_squares_are_orthogonal_to_the_columns() {
        for (rows, columns) in [(20, 4), (4, 4), (3, 7), (1, 1)] {
            let a = sample(rows, columns);
            let y: Vec<f64> = (0..rows).map(|i| (i as f64).sin() + 0.3).collect();
            let d = Decomposed::of(&a, &CancelToken::new()).unwrap();
            let x = d.solve(&y, |s| if s > 1e-12 { 1.0 / s } else { 0.0 });
            let mut residual = y;
            for j in 0..columns {
                axpy(-x[j], a.column(j), &mut residual);
            }
            for j in 0..columns {
                assert!(dot(a.column(j), &residual).abs() < 1e-13, "{rows} x {columns}");
            }
            let squares: f64 = d.singular().iter().map(|s| s * s).sum();
            assert!((squares - dot(&a.values, &a.values)).abs() < 1e-12 * squares);
        }
    }

    #[test]
    fn compressed_rows_have_the_same_solution_and_singular_values() {
        use std::borrow::Cow;
        let (rows, p) = (9000, 3);
        let a = sample(rows, p);
        let columns = (0..p).map(|j| Cow::Borrowed(a.column(j))).collect();
        let design = Design::Dense { rows, columns };
        let y: Vec<f64> = (0..rows).map(|i| a.column(0)[i] - 2.0 * a.column(2)[i] + (i as f64).sin()).collect();
        let root: Vec<f64> = (0..rows).map(|i| 0.5 + (i % 3) as f64).collect();
        let means = [0.1, 0.0, -0.2];
        let context = Context::default();
        let (short, z) = compressed(&design, &means, Some(&root), std::slice::from_ref(&y), &context).unwrap();
        assert!(short.rows < rows / 100);
        let short = Decomposed::of(&short, &context.cancel).unwrap();
        let whole = Decomposed::of(&centred(&design, &means, Some(&root)), &context.cancel).unwrap();
        let (got, want) = (short.solve(&z[0], |s| 1.0 / s), whole.solve(&y, |s| 1.0 / s));
        for j in 0..p {
            assert!((got[j] - want[j]).abs() < 1e-13);
            assert!((short.singular()[j] - whole.singular()[j]).abs() < 1e-13 * whole.singular()[0]);
        }
    }

    #[test]
    fn cholesky_solves_and_refuses_singular_matrices() {
        let a = Matrix { rows: 2, columns: 2, values: vec![4.0, 2.0, 2.0, 3.0] };
        let x = Cholesky::of(&a, 0.0).unwrap().solve(&[2.0, 1.0]);
        assert!((x[0] - 0.5).abs() < 1e-15 && x[1].abs() < 1e-15);
        let singular = Matrix { rows: 2, columns: 2, values: vec![1.0; 4] };
        assert!(Cholesky::of(&singular, 0.0).is_none());
        assert!(Cholesky::of(&singular, 0.5).is_some());
    }
}
