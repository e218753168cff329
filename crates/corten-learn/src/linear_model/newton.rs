//! Newton's method with conjugate gradients for the direction and a backtracking line search.
//!
//! It needs products with the Hessian only, so it serves dense and sparse data and any number of classes; directions
//! in which the objective is flat (a constant added to all classes' intercepts) are never entered from a start at zero.
//!
//! Source: Nocedal & Wright, "Numerical optimization" (2006), algorithm 7.1; scikit-learn's `utils/optimize.py`.

use corten_core::Result;

use super::lbfgs::Outcome;
use super::logistic_loss::{Curvature, LogisticLoss};
use crate::sums::{axpy, dot};

/// Halvings of a step before giving up.
const HALVINGS: usize = 60;

/// Minimises the objective from and into `w`, until no entry of the gradient is larger than `tol`.
///
/// `each` is told the number and the value of every iteration.
///
/// # Errors
/// [`corten_core::Error::Cancelled`], and those of `each`.
pub(super) fn minimise(
    loss: &LogisticLoss<'_>,
    w: &mut Vec<f64>,
    max_iter: usize,
    tol: f64,
    mut each: impl FnMut(usize, f64) -> Result<()>,
) -> Result<Outcome> {
    let n = w.len();
    let mut gradient = vec![0.0; n];
    let mut value = loss.value_and_gradient(w, &mut gradient)?;
    let mut iterations = 0;
    loop {
        let largest = gradient.iter().fold(0.0f64, |m, g| m.max(g.abs()));
        if largest <= tol {
            return Ok(Outcome { iterations, value, converged: true });
        }
        if iterations == max_iter {
            return Ok(Outcome { iterations, value, converged: false });
        }
        let total: f64 = gradient.iter().map(|g| g.abs()).sum();
        let direction = direction(loss, &loss.curvature(w), &gradient, total * total.sqrt().min(0.5))?;
        let slope = dot(&direction, &gradient);
        let (mut step, mut found) = (1.0, false);
        let (mut point, mut new_gradient) = (vec![0.0; n], vec![0.0; n]);
        for _ in 0..HALVINGS {
            point.copy_from_slice(w);
            axpy(step, &direction, &mut point);
            let new_value = loss.value_and_gradient(&point, &mut new_gradient)?;
            let smaller = new_gradient.iter().map(|g| g.abs()).sum::<f64>() < total;
            // Near the solution the value no longer tells steps apart, but the gradient does.
            let flat = (new_value - value).abs() <= 16.0 * f64::EPSILON * value.abs() && smaller;
            if new_value <= value + 1e-4 * step * slope || flat {
                (value, found) = (new_value, true);
                break;
            }
            step *= 0.5;
        }
        if !found {
            return Ok(Outcome { iterations, value, converged: false });
        }
        *w = point;
        gradient = new_gradient;
        iterations += 1;
        each(iterations, value)?;
    }
}

/// Solves `H d = -g` until the residual's absolute sum is at most `tol`.
fn direction(loss: &LogisticLoss<'_>, at: &Curvature, gradient: &[f64], tol: f64) -> Result<Vec<f64>> {
    let n = gradient.len();
    let mut d = vec![0.0; n];
    let mut residual = gradient.to_vec();
    let mut p: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut squares = dot(&residual, &residual);
    for round in 0..(20 * n).max(200) {
        if residual.iter().map(|r| r.abs()).sum::<f64>() <= tol {
            break;
        }
        let hp = loss.hessian_product(at, &p)?;
        let curvature = dot(&p, &hp);
        if curvature <= f64::EPSILON * dot(&p, &p) {
            if round == 0 {
                d.copy_from_slice(&p);
            }
            break;
        }
        let alpha = squares / curvature;
        axpy(alpha, &p, &mut d);
        axpy(alpha, &hp, &mut residual);
        let new = dot(&residual, &residual);
        let beta = new / squares;
        squares = new;
        for (p, r) in p.iter_mut().zip(&residual) {
            *p = beta * *p - r;
        }
    }
    Ok(d)
}
