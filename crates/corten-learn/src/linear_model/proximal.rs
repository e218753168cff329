//! Proximal Newton: logistic regression with an L1 penalty.
//!
//! Each iteration replaces the smooth part by its quadratic model and minimises that plus the penalty by coordinate
//! descent, then searches along the line for enough decrease. Where the Hessian would be too large, accelerated
//! proximal gradient steps (FISTA with restarts) are taken instead.
//!
//! Source: Lee, Sun & Saunders, "Proximal Newton-type methods", SIAM J. Optim. 24 (2014); Yuan, Ho & Lin, "An improved
//! GLMNET for L1-regularized logistic regression", JMLR 13 (2012); Beck & Teboulle, "A fast iterative
//! shrinkage-thresholding algorithm", SIAM J. Imaging Sci. 2 (2009); O'Donoghue & Candes, "Adaptive restart for
//! accelerated gradient schemes", Found. Comput. Math. 15 (2015).

use corten_core::Result;

use super::lbfgs::Outcome;
use super::logistic_loss::LogisticLoss;
use crate::sums::{axpy, dot};

/// Most parameters for which the whole Hessian is made: 32 MB.
const MAX_HESSIAN: usize = 2000;
/// Sweeps of coordinate descent in one iteration.
const SWEEPS: usize = 2000;

fn shrink(x: f64, by: f64) -> f64 {
    if x > by {
        x - by
    } else if x < -by {
        x + by
    } else {
        0.0
    }
}

/// How far a point is from meeting the conditions of a minimum.
fn violation(w: &[f64], gradient: &[f64], l1: &[f64]) -> f64 {
    let each = |((w, g), l1): ((&f64, &f64), &f64)| match *w {
        w if w > 0.0 => (g + l1).abs(),
        w if w < 0.0 => (g - l1).abs(),
        _ => (g.abs() - l1).max(0.0),
    };
    w.iter().zip(gradient).zip(l1).map(each).fold(0.0, f64::max)
}

fn penalty(w: &[f64], l1: &[f64]) -> f64 {
    w.iter().zip(l1).map(|(w, l1)| l1 * w.abs()).sum()
}

/// Minimises the objective plus `sum_i l1[i] |w[i]|` from and into `w`, until the conditions of a minimum are met to
/// `tol`.
///
/// # Errors
/// [`corten_core::Error::Cancelled`], and those of `each`.
pub(super) fn minimise(
    loss: &LogisticLoss<'_>,
    l1: &[f64],
    w: &mut Vec<f64>,
    max_iter: usize,
    tol: f64,
    each: impl FnMut(usize, f64) -> Result<()>,
) -> Result<Outcome> {
    if w.len() <= MAX_HESSIAN {
        newton(loss, l1, w, max_iter, tol, each)
    } else {
        accelerated(loss, l1, w, max_iter, tol, each)
    }
}

fn newton(
    loss: &LogisticLoss<'_>,
    l1: &[f64],
    w: &mut Vec<f64>,
    max_iter: usize,
    tol: f64,
    mut each: impl FnMut(usize, f64) -> Result<()>,
) -> Result<Outcome> {
    let n = w.len();
    let mut gradient = vec![0.0; n];
    let mut value = loss.value_and_gradient(w, &mut gradient)? + penalty(w, l1);
    let mut iterations = 0;
    loop {
        let off = violation(w, &gradient, l1);
        if off <= tol || iterations == max_iter {
            return Ok(Outcome { iterations, value, converged: off <= tol });
        }
        let hessian = loss.hessian(&loss.curvature(w))?;
        let step = quadratic(&hessian, &gradient, l1, w, 0.1 * off.min(tol.max(off * off)));
        let target: Vec<f64> = w.iter().zip(&step).map(|(w, d)| w + d).collect();
        let slope = dot(&gradient, &step) + penalty(&target, l1) - penalty(w, l1);
        let (mut t, mut found) = (1.0, false);
        let (mut point, mut new_gradient) = (vec![0.0; n], vec![0.0; n]);
        for _ in 0..60 {
            // The full step is taken as such, so that zeros are exact.
            if t == 1.0 {
                point.copy_from_slice(&target);
            } else {
                point.copy_from_slice(w);
                axpy(t, &step, &mut point);
            }
            let new = loss.value_and_gradient(&point, &mut new_gradient)? + penalty(&point, l1);
            let flat =
                (new - value).abs() <= 16.0 * f64::EPSILON * value.abs() && violation(&point, &new_gradient, l1) < off;
            if new <= value + 0.01 * t * slope || flat {
                (value, found) = (new, true);
                break;
            }
            t *= 0.5;
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

/// Minimises `g . d + d . H d / 2 + sum_i l1[i] |w[i] + d[i]|` over `d` by coordinate descent.
fn quadratic(hessian: &[f64], gradient: &[f64], l1: &[f64], w: &[f64], tol: f64) -> Vec<f64> {
    let n = w.len();
    let mut d = vec![0.0; n];
    // The gradient of the smooth part at `d`.
    let mut slope = gradient.to_vec();
    for _ in 0..SWEEPS {
        let mut largest = 0.0f64;
        for i in 0..n {
            let curvature = hessian[i * n + i];
            if curvature <= 0.0 {
                continue;
            }
            let now = w[i] + d[i];
            let next = shrink(now - slope[i] / curvature, l1[i] / curvature);
            let change = next - now;
            if change != 0.0 {
                d[i] = if next == 0.0 { -w[i] } else { d[i] + change };
                axpy(change, &hessian[i * n..(i + 1) * n], &mut slope);
                largest = largest.max(change.abs() * curvature);
            }
        }
        if largest <= tol {
            break;
        }
    }
    d
}

fn accelerated(
    loss: &LogisticLoss<'_>,
    l1: &[f64],
    w: &mut Vec<f64>,
    max_iter: usize,
    tol: f64,
    mut each: impl FnMut(usize, f64) -> Result<()>,
) -> Result<Outcome> {
    let n = w.len();
    let (mut gradient, mut scratch) = (vec![0.0; n], vec![0.0; n]);
    let mut ahead = w.clone();
    let (mut momentum, mut lipschitz) = (1.0f64, 1.0);
    let mut value = f64::INFINITY;
    for iteration in 1..=max_iter {
        let here = loss.value_and_gradient(&ahead, &mut gradient)?;
        let next = loop {
            let next: Vec<f64> =
                (0..n).map(|i| shrink(ahead[i] - gradient[i] / lipschitz, l1[i] / lipschitz)).collect();
            let step: Vec<f64> = next.iter().zip(&ahead).map(|(a, b)| a - b).collect();
            let smooth = loss.value_and_gradient(&next, &mut scratch)?;
            let bound = here + dot(&gradient, &step) + 0.5 * lipschitz * dot(&step, &step);
            if smooth <= bound + 1e-12 * bound.abs() || lipschitz > 1e300 {
                value = smooth + penalty(&next, l1);
                break next;
            }
            lipschitz *= 2.0;
        };
        let uphill: f64 = (0..n).map(|i| (ahead[i] - next[i]) * (next[i] - w[i])).sum();
        momentum = if uphill > 0.0 { 1.0 } else { momentum };
        let new_momentum = (1.0 + (1.0 + 4.0 * momentum * momentum).sqrt()) / 2.0;
        let factor = (momentum - 1.0) / new_momentum;
        ahead = next.iter().zip(w.iter()).map(|(new, old)| new + factor * (new - old)).collect();
        momentum = new_momentum;
        *w = next;
        each(iteration, value)?;
        if violation(w, &scratch, l1) <= tol {
            return Ok(Outcome { iterations: iteration, value, converged: true });
        }
    }
    Ok(Outcome { iterations: max_iter, value, converged: false })
}

#[cfg(test)]
mod tests {
    use corten_core::{Column, Data, Table};
    use corten_model::estimator::Context;

    use super::*;
    use crate::linear_model::design::Design;

    #[test]
    fn both_roads_meet_the_conditions_of_the_same_minimum() {
        let mut stream = corten_core::random::Stream::new(11, 0);
        let rows = 200;
        let columns: Vec<Vec<f64>> = (0..5).map(|_| (0..rows).map(|_| stream.uniform() - 0.5).collect()).collect();
        let classes: Vec<u32> =
            (0..rows).map(|r| if columns[0][r] > 0.1 { 2 } else { u32::from(columns[1][r] > 0.0) }).collect();
        let columns = columns.into_iter().enumerate().map(|(j, c)| Column::f64(j, c)).collect();
        let data = Data::Table(Table::matrix(columns).unwrap());
        let design = Design::read(&data).unwrap();
        let context = Context::default();
        let loss = LogisticLoss {
            design: &design,
            classes: &classes,
            weights: None,
            total_weight: rows as f64,
            outputs: 3,
            intercept: true,
            l2: 0.001,
            intercept_l2: 0.0,
            context: &context,
        };
        let l1: Vec<f64> = (0..loss.size()).map(|at| if at % 6 == 5 { 0.0 } else { 0.02 }).collect();
        let (mut a, mut b) = (vec![0.0; loss.size()], vec![0.0; loss.size()]);
        let first = newton(&loss, &l1, &mut a, 100, 1e-10, |_, _| Ok(())).unwrap();
        let second = accelerated(&loss, &l1, &mut b, 20_000, 1e-10, |_, _| Ok(())).unwrap();
        assert!(first.converged && second.converged, "{first:?} {second:?}");
        assert!((first.value - second.value).abs() < 1e-12);
        assert!(a.contains(&0.0));
        for at in (0..loss.size()).filter(|at| at % 6 != 5) {
            assert!((a[at] - b[at]).abs() < 1e-6, "{at}: {} {}", a[at], b[at]);
        }
    }
}
