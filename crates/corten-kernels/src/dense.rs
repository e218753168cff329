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

/// Eigenvalues in ascending order and eigenvectors (in columns) of a symmetric matrix (its lower triangle is read).
///
/// # Errors
/// [`Singular`] when the iteration does not converge.
pub fn symmetric_eigen(a: &[f64], n: usize) -> Result<(Vec<f64>, Vec<f64>), Singular> {
    let eigen = view(a, n, n).self_adjoint_eigen(Side::Lower).map_err(|_| Singular)?;
    let values = (0..n).map(|i| eigen.S()[i]).collect();
    Ok((values, flat(eigen.U())))
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

/// What [`lstsq`] gives.
#[derive(Clone, Debug, PartialEq)]
pub struct LeastSquares {
    /// The solution, `n x k`.
    pub solution: Vec<f64>,
    /// Number of singular values above the cut.
    pub rank: usize,
    /// Singular values in descending order.
    pub singular_values: Vec<f64>,
}

/// The minimum-norm solution of `min |A X - B|` by the singular value decomposition, with LAPACK `gelsd`'s rule:
/// singular values up to `eps * max(m, n)` times the largest count as zero.
///
/// Shapes: `a` is `m x n`, `b` is `m x k`.
///
/// # Errors
/// [`Singular`] when the decomposition does not converge (NaN or infinite entries).
pub fn lstsq(a: &[f64], m: usize, n: usize, b: &[f64], k: usize) -> Result<LeastSquares, Singular> {
    let (u, s, v) = svd_thin(a, m, n)?;
    let cut = f64::EPSILON * m.max(n) as f64 * s.first().copied().unwrap_or(0.0);
    let rank = s.iter().take_while(|&&x| x > cut).count();
    let mut solution = vec![0.0; n * k];
    for j in 0..k {
        let (b, x) = (&b[j * m..][..m], &mut solution[j * n..][..n]);
        for i in 0..rank {
            let factor = vector::dot(&u[i * m..][..m], b) / s[i];
            vector::axpy(factor, &v[i * n..][..n], x);
        }
    }
    Ok(LeastSquares { solution, rank, singular_values: s })
}

/// `A B`. Shapes: `m x n` times `n x k`.
pub fn multiply(a: &[f64], m: usize, n: usize, b: &[f64], k: usize) -> Vec<f64> {
    let product: Mat<f64> = view(a, m, n) * view(b, n, k);
    flat(product.as_ref())
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

/// `X^T Y`, summed like [`gram`].
///
/// Shapes: `x` is `rows x columns`, `y` is `rows x k`; the answer is `columns x k`.
#[cfg(feature = "parallel")]
pub fn cross(x: &[f64], rows: usize, columns: usize, y: &[f64], k: usize, threads: usize) -> Vec<f64> {
    let parts = crate::parallel::map_blocks(threads, rows, BLOCK, |_, range| {
        let mut out = vec![0.0; columns * k];
        for j in 0..k {
            let y = &y[j * rows..][range.clone()];
            for i in 0..columns {
                out[j * columns + i] = vector::dot(&x[i * rows..][range.clone()], y);
            }
        }
        out
    });
    crate::parallel::reduce_blocks(parts, |a, b| vector::axpy(1.0, &b, a)).unwrap_or_else(|| vec![0.0; columns * k])
}

#[cfg(test)]
mod tests {
    use super::*;
    use corten_core::random::Stream;

    fn random(n: usize, seed: u64) -> Vec<f64> {
        let mut stream = Stream::new(seed, 0);
        (0..n).map(|_| stream.uniform() - 0.5).collect()
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
    fn least_squares_finds_the_minimum_norm_solution_of_a_singular_system() {
        // Two equal columns: the weight is shared between them.
        let a = [1.0, 2.0, 3.0, 1.0, 2.0, 3.0];
        let fit = lstsq(&a, 3, 2, &[2.0, 4.0, 6.0], 1).unwrap();
        close(&fit.solution, &[1.0, 1.0]);
        assert_eq!(fit.rank, 1);
    }

    #[test]
    fn decompositions_give_the_matrix_back() {
        let (m, n) = (6, 4);
        let a = random(m * n, 3);
        let (u, s, v) = svd_thin(&a, m, n).unwrap();
        let back: Vec<f64> = (0..n)
            .flat_map(|j| (0..m).map(move |i| (i, j)))
            .map(|(i, j)| (0..n).map(|r| u[r * m + i] * s[r] * v[r * n + j]).sum())
            .collect();
        close(&back, &a);
        let g = gram(&a, m, n, 1);
        let (values, vectors) = symmetric_eigen(&g, n).unwrap();
        for r in 0..n {
            let v = &vectors[r * n..][..n];
            close(&multiply(&g, n, n, v, 1), &v.iter().map(|x| x * values[r]).collect::<Vec<_>>());
        }
    }

    #[test]
    fn products_over_rows_have_the_same_bits_for_any_threads() {
        let (rows, columns) = (5000, 3);
        let x = random(rows * columns, 4);
        assert_eq!(gram(&x, rows, columns, 1), gram(&x, rows, columns, 3));
        let y = random(rows, 5);
        assert_eq!(cross(&x, rows, columns, &y, 1, 1), cross(&x, rows, columns, &y, 1, 3));
        close(&cross(&x, rows, columns, &x, columns, 2), &gram(&x, rows, columns, 2));
    }
}
