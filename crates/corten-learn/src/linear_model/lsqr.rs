//! LSQR: least squares by products with the matrix and its transpose only, for sparse data.
//!
//! Minimises `|A x - b|^2 + damp^2 |x|^2`; the numbers it forms are those of the Golub-Kahan bidiagonalisation, so it
//! does not square the condition number as the normal equations do.
//!
//! Source: Paige & Saunders, "LSQR: an algorithm for sparse linear equations and sparse least squares", ACM TOMS 8
//! (1982).

use corten_core::Result;

use crate::sums::{axpy, norm};

/// The solution and the number of iterations.
///
/// `product` adds `A x` to its second argument, `transposed` adds `A^T u`. It stops when the residual, or the gradient,
/// is `tol` times as large as the numbers that it is made of.
///
/// # Errors
/// Those of the products.
pub(super) fn solve(
    product: impl Fn(&[f64], &mut [f64]) -> Result<()>,
    transposed: impl Fn(&[f64], &mut [f64]) -> Result<()>,
    b: &[f64],
    width: usize,
    damp: f64,
    tol: f64,
    max_iter: usize,
) -> Result<(Vec<f64>, usize)> {
    let mut x = vec![0.0; width];
    let mut u = b.to_vec();
    let b_norm = norm(b);
    let mut beta = b_norm;
    if beta == 0.0 {
        return Ok((x, 0));
    }
    u.iter_mut().for_each(|v| *v /= beta);
    let mut v = vec![0.0; width];
    transposed(&u, &mut v)?;
    let mut alpha = norm(&v);
    if alpha == 0.0 {
        return Ok((x, 0));
    }
    v.iter_mut().for_each(|e| *e /= alpha);
    let mut w = v.clone();
    let (mut phi_bar, mut rho_bar) = (beta, alpha);
    let (mut squares, mut residual2) = (0.0, 0.0);
    let mut scratch_u = vec![0.0; u.len()];
    let mut scratch_v = vec![0.0; width];
    for iteration in 1..=max_iter {
        scratch_u.iter_mut().zip(&u).for_each(|(s, u)| *s = -alpha * u);
        product(&v, &mut scratch_u)?;
        beta = norm(&scratch_u);
        squares += alpha * alpha + beta * beta + damp * damp;
        if beta > 0.0 {
            u.iter_mut().zip(&scratch_u).for_each(|(u, s)| *u = s / beta);
            scratch_v.iter_mut().zip(&v).for_each(|(s, v)| *s = -beta * v);
            transposed(&u, &mut scratch_v)?;
            alpha = norm(&scratch_v);
            if alpha > 0.0 {
                v.iter_mut().zip(&scratch_v).for_each(|(v, s)| *v = s / alpha);
            }
        }
        let damped = rho_bar.hypot(damp);
        let psi = damp / damped * phi_bar;
        phi_bar *= rho_bar / damped;
        let rho = damped.hypot(beta);
        let (c, s) = (damped / rho, beta / rho);
        let theta = s * alpha;
        rho_bar = -c * alpha;
        let phi = c * phi_bar;
        phi_bar *= s;
        axpy(phi / rho, &w, &mut x);
        w.iter_mut().zip(&v).for_each(|(w, v)| *w = v - theta / rho * *w);
        residual2 += psi * psi;
        let residual = (phi_bar * phi_bar + residual2).sqrt();
        let gradient = alpha * (s * phi).abs();
        let size = squares.sqrt();
        if gradient <= tol * size * residual
            || residual <= tol * (b_norm + size * norm(&x))
            || alpha == 0.0
            || beta == 0.0
        {
            return Ok((x, iteration));
        }
    }
    Ok((x, max_iter))
}
