//! Dense linear algebra over `faer`, as plain functions so that crates above don't compile its generic code.
//!
//! Matrices are slices in column-major order. Everything runs on the calling thread, so results don't depend on how
//! many there are.

use alloc::vec;
use alloc::vec::Vec;

use faer::linalg::solvers::Solve;
use faer::{Mat, MatRef, Side};

use crate::vector;

/// A factorisation met a pivot that is not positive, or did not converge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Singular;

/// Rows whose products are summed before they are joined with those of other rows.
const BLOCK: usize = 1024;

fn view(a: &[f64], rows: usize, columns: usize) -> MatRef<'_, f64> {
    MatRef::from_column_major_slice(&a[..rows * columns], rows, columns)
}

fn flat(a: MatRef<'_, f64>) -> Vec<f64> {
    (0..a.ncols()).flat_map(|j| (0..a.nrows()).map(move |i| a[(i, j)])).collect()
}

/// Solves `A X = B` for a symmetric positive definite `A` (its lower triangle is read).
///
/// Shapes: `a` is `n x n`, `b` is `n x k`; the answer is `n x k`.
///
/// # Errors
/// [`Singular`] when `A` is not positive definite.
pub fn cholesky_solve(a: &[f64], n: usize, b: &[f64], k: usize) -> Result<Vec<f64>, Singular> {
    let factor = view(a, n, n).llt(Side::Lower).map_err(|_| Singular)?;
    Ok(flat(factor.solve(view(b, n, k)).as_ref()))
}

/// `U`, the singular values in descending order, and `V` (not transposed) of an `m x n` matrix; `min(m, n)` columns.
///
/// # Errors
/// [`Singular`] when the iteration does not converge.
pub fn svd_thin(a: &[f64], m: usize, n: usize) -> Result<(Vec<f64>, Vec<f64>, Vec<f64>), Singular> {
    let svd = view(a, m, n).thin_svd().map_err(|_| Singular)?;
    let values = (0..m.min(n)).map(|i| svd.S()[i]).collect();
    Ok((flat(svd.U()), values, flat(svd.V())))
}

/// `X^T X`, summed over fixed blocks of rows joined in a fixed tree, so the same bits for any number of threads.
///
/// Shapes: `x` is `rows x columns`; the answer is `columns x columns`.
#[cfg(feature = "parallel")]
pub fn gram(x: &[f64], rows: usize, columns: usize, threads: usize) -> Vec<f64> {
    let parts = crate::parallel::map_blocks(threads, rows, BLOCK, |_, range| {
        let block = view(x, rows, columns).subrows(range.start, range.len());
        let product: Mat<f64> = block.transpose() * block;
        flat(product.as_ref())
    });
    crate::parallel::reduce_blocks(parts, |a, b| vector::axpy(1.0, &b, a))
        .unwrap_or_else(|| vec![0.0; columns * columns])
}

#[cfg(test)]
mod tests {
    use super::*;
    use corten_core::random::Stream;

    fn random(n: usize, seed: u64) -> Vec<f64> {
        let mut stream = Stream::new(seed, 0);
        (0..n).map(|_| stream.uniform() - 0.5).collect()
    }

    /// `A B` for `m x n` times `n x k`.
    fn multiply(a: &[f64], m: usize, n: usize, b: &[f64], k: usize) -> Vec<f64> {
        let at = |i: usize, j: usize| (0..n).map(|r| a[r * m + i] * b[j * n + r]).sum();
        (0..k).flat_map(|j| (0..m).map(move |i| (i, j))).map(|(i, j)| at(i, j)).collect()
    }

    fn close(a: &[f64], b: &[f64]) {
        assert_eq!(a.len(), b.len());
        for (x, y) in a.iter().zip(b) {
            assert!((x - y).abs() < 1e-10, "{x} {y}");
        }
    }

    #[test]
    fn cholesky_solves_and_refuses_what_is_not_positive() {
        let (n, k) = (7, 2);
        let x = random(30 * n, 1);
        let a = gram(&x, 30, n, 1);
        let want = random(n * k, 2);
        close(&cholesky_solve(&a, n, &multiply(&a, n, n, &want, k), k).unwrap(), &want);
        assert_eq!(cholesky_solve(&[-1.0], 1, &[1.0], 1), Err(Singular));
    }

    #[test]
    fn the_decomposition_gives_the_matrix_back() {
        let (m, n) = (6, 4);
        let a = random(m * n, 3);
        let (u, s, v) = svd_thin(&a, m, n).unwrap();
        let back: Vec<f64> = (0..n)
            .flat_map(|j| (0..m).map(move |i| (i, j)))
            .map(|(i, j)| (0..n).map(|r| u[r * m + i] * s[r] * v[r * n + j]).sum())
            .collect();
        close(&back, &a);
    }

    #[test]
    fn products_over_rows_have_the_same_bits_for_any_threads() {
        let (rows, columns) = (5000, 3);
        let x = random(rows * columns, 4);
        assert_eq!(gram(&x, rows, columns, 1), gram(&x, rows, columns, 3));
    }
}
