//! Non-negative least squares on the normal equations, by an active set.
//!
//! Source: Lawson & Hanson, "Solving least squares problems" (1974), chapter 23; Bro & de Jong, "A fast
//! non-negativity-constrained least squares algorithm", J. Chemometrics 11 (1997).

use corten_core::{CancelToken, Error, Result};

use super::least_squares::{Cholesky, Matrix};
use crate::sums::dot;

/// Minimises `x . G x / 2 - b . x` over `x >= 0`; `ridge` is added to the diagonal of `G`.
///
/// # Errors
/// [`Error::Value`] when no solution is found in `3 n` exchanges, [`Error::Cancelled`].
pub(super) fn solve(gram: &Matrix, ridge: f64, b: &[f64], cancel: &CancelToken) -> Result<Vec<f64>> {
    let n = b.len();
    let mut x = vec![0.0f64; n];
    let mut free = vec![false; n];
    let size = (0..n).fold(0.0f64, |m, j| m.max(gram.column(j).iter().map(|v| v.abs()).sum()));
    let tol = 10.0 * f64::EPSILON * (size + ridge) * n as f64;
    let gradient = |x: &[f64], j: usize| b[j] - dot(gram.column(j), x) - ridge * x[j];
    // Columns that depend on the free ones can't enter.
    let mut barred = vec![false; n];
    for _ in 0..(3 * n).max(30) {
        cancel.check()?;
        let scale = x.iter().fold(1.0, |m: f64, v: &f64| m.max(v.abs()));
        let enter = (0..n)
            .filter(|&j| !free[j] && !barred[j])
            .map(|j| (j, gradient(&x, j)))
            .filter(|&(_, g)| g > tol * scale)
            .max_by(|a, b| a.1.total_cmp(&b.1));
        let Some((enter, _)) = enter else { return Ok(x) };
        free[enter] = true;
        loop {
            let set: Vec<usize> = (0..n).filter(|&j| free[j]).collect();
            let mut part = Matrix::zeros(set.len(), set.len());
            for (c, &j) in set.iter().enumerate() {
                for (r, &i) in set.iter().enumerate() {
                    part.column_mut(c)[r] = gram.column(j)[i];
                }
            }
            let right: Vec<f64> = set.iter().map(|&j| b[j]).collect();
            let Some(factor) = Cholesky::of(&part, ridge) else {
                (free[enter], barred[enter]) = (false, true);
                x[enter] = 0.0;
                break;
            };
            let target = factor.solve(&right);
            let negative = set.iter().zip(&target).filter(|&(_, &t)| t <= 0.0);
            let step = negative.map(|(&j, t)| x[j] / (x[j] - t)).fold(f64::INFINITY, f64::min);
            if step == f64::INFINITY {
                for (&j, t) in set.iter().zip(target) {
                    x[j] = t;
                }
                barred.fill(false);
                break;
            }
            let step = if step.is_finite() { step } else { 0.0 };
            let mut left = false;
            for (&j, t) in set.iter().zip(target) {
                x[j] += step * (t - x[j]);
                if t <= 0.0 && x[j] <= tol {
                    (x[j], free[j]) = (0.0, false);
                    left = true;
                }
            }
            if !left {
                break;
            }
        }
    }
    Err(Error::value("Non-negative least squares found no solution: too many exchanges of columns."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn meets_the_conditions_of_a_minimum() {
        let mut stream = corten_core::random::Stream::new(9, 0);
        let n = 12;
        let a: Vec<Vec<f64>> = (0..n).map(|_| (0..30).map(|_| stream.uniform() - 0.5).collect()).collect();
        let y: Vec<f64> = (0..30).map(|_| stream.uniform() - 0.3).collect();
        let mut gram = Matrix::zeros(n, n);
        for i in 0..n {
            for j in 0..n {
                gram.column_mut(i)[j] = dot(&a[i], &a[j]);
            }
        }
        let b: Vec<f64> = a.iter().map(|c| dot(c, &y)).collect();
        let x = solve(&gram, 0.0, &b, &CancelToken::new()).unwrap();
        assert!(x.iter().any(|&v| v > 0.0) && x.contains(&0.0));
        for j in 0..n {
            let g = b[j] - dot(gram.column(j), &x);
            assert!(x[j] >= 0.0 && if x[j] > 0.0 { g.abs() < 1e-12 } else { g < 1e-12 }, "{j}: {g}");
        }
    }
}
