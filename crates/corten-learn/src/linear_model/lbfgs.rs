//! L-BFGS: a quasi-Newton method that keeps the last ten changes of point and gradient.
//!
//! It follows L-BFGS-B 3.0 without bounds step for step (memory, scaling, line search, tests of convergence), which is
//! what SciPy runs for scikit-learn: iteration counts and iterates agree up to rounding.
//!
//! Source: Byrd, Lu, Nocedal & Zhu, "A limited memory algorithm for bound constrained optimization", SIAM J. Sci.
//! Comput. 16 (1995); Liu & Nocedal, "On the limited memory BFGS method", Math. Programming 45 (1989) for the two-loop
//! recursion.

use std::collections::VecDeque;

use corten_core::Result;

use super::line_search::{LineSearch, Next};
use crate::sums::{axpy, dot, norm};

const MEMORY: usize = 10;

/// When to stop.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Most iterations.
    pub max_iter: usize,
    /// Largest entry of the gradient at a solution.
    pub gradient: f64,
    /// Smallest relative decrease of an iteration.
    pub decrease: f64,
    /// Most evaluations of one line search.
    pub line_search: usize,
}

/// How a minimisation went.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Outcome {
    /// Iterations made.
    pub iterations: usize,
    /// Value at the solution.
    pub value: f64,
    /// Whether a test of convergence was met.
    pub converged: bool,
}

struct Pair {
    step: Vec<f64>,
    change: Vec<f64>,
    /// `1 / (step . change)`
    rho: f64,
}

/// Minimises `f`, which writes its gradient and returns its value, starting from and ending in `x`.
///
/// `each` is told the number and the value of every iteration.
///
/// # Errors
/// Those of `f` and `each`.
pub(super) fn minimise(
    x: &mut Vec<f64>,
    limits: Limits,
    mut f: impl FnMut(&[f64], &mut [f64]) -> Result<f64>,
    mut each: impl FnMut(usize, f64) -> Result<()>,
) -> Result<Outcome> {
    let n = x.len();
    let mut gradient = vec![0.0; n];
    let mut value = f(x, &mut gradient)?;
    let largest = |g: &[f64]| g.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let done = |iterations, value, converged| Ok(Outcome { iterations, value, converged });
    if largest(&gradient) <= limits.gradient {
        return done(0, value, true);
    }
    let mut memory: VecDeque<Pair> = VecDeque::with_capacity(MEMORY);
    let mut scale = 1.0;
    let (mut point, mut new_gradient) = (vec![0.0; n], vec![0.0; n]);
    let mut iteration = 0;
    while iteration < limits.max_iter {
        let mut direction = direction(&memory, scale, &gradient);
        let slope = dot(&direction, &gradient);
        let length = norm(&direction);
        let mut step = if iteration == 0 { (1.0 / length).min(1e10) } else { 1.0 };
        let mut found = None;
        if slope < 0.0 {
            let mut search = LineSearch::new(value, slope, step);
            for _ in 0..limits.line_search {
                point.copy_from_slice(x);
                axpy(step, &direction, &mut point);
                let new_value = f(&point, &mut new_gradient)?;
                match search.advance(step, new_value, dot(&new_gradient, &direction)) {
                    Next::Accept => {
                        found = Some(new_value);
                        break;
                    }
                    Next::Try(next) => step = next,
                }
            }
        }
        let Some(new_value) = found else {
            if memory.is_empty() {
                return done(iteration, value, false);
            }
            // Forget the curvature and start again with the steepest descent.
            memory.clear();
            scale = 1.0;
            continue;
        };
        iteration += 1;
        std::mem::swap(x, &mut point);
        let before = value;
        value = new_value;
        each(iteration, value)?;
        if largest(&new_gradient) <= limits.gradient
            || before - value <= limits.decrease * before.abs().max(value.abs()).max(1.0)
        {
            return done(iteration, value, true);
        }
        let change: Vec<f64> = new_gradient.iter().zip(&gradient).map(|(a, b)| a - b).collect();
        direction.iter_mut().for_each(|d| *d *= step);
        let curvature = dot(&change, &direction);
        if curvature > f64::EPSILON * (-slope * step) {
            if memory.len() == MEMORY {
                memory.pop_front();
            }
            scale = dot(&change, &change) / curvature;
            memory.push_back(Pair { step: direction, change, rho: 1.0 / curvature });
        }
        std::mem::swap(&mut gradient, &mut new_gradient);
    }
    done(iteration, value, false)
}

/// Minus the approximate inverse Hessian times the gradient.
fn direction(memory: &VecDeque<Pair>, scale: f64, gradient: &[f64]) -> Vec<f64> {
    let mut q: Vec<f64> = gradient.iter().map(|g| -g).collect();
    let mut alphas = Vec::with_capacity(memory.len());
    for pair in memory.iter().rev() {
        let alpha = pair.rho * dot(&pair.step, &q);
        axpy(-alpha, &pair.change, &mut q);
        alphas.push(alpha);
    }
    q.iter_mut().for_each(|v| *v /= scale);
    for (pair, alpha) in memory.iter().zip(alphas.into_iter().rev()) {
        let beta = pair.rho * dot(&pair.change, &q);
        axpy(alpha - beta, &pair.step, &mut q);
    }
    q
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn minimises_the_rosenbrock_function_as_scipy_does() {
        let f = |x: &[f64], g: &mut [f64]| {
            let (a, b) = (1.0 - x[0], x[1] - x[0] * x[0]);
            g[0] = -2.0 * a - 400.0 * x[0] * b;
            g[1] = 200.0 * b;
            Ok(a * a + 100.0 * b * b)
        };
        let limits = Limits { max_iter: 200, gradient: 1e-8, decrease: 0.0, line_search: 20 };
        let mut x = vec![-1.2, 1.0];
        let outcome = minimise(&mut x, limits, f, |_, _| Ok(())).unwrap();
        // scipy.optimize.minimize(rosen, [-1.2, 1], jac=rosen_der, method="L-BFGS-B", options=dict(gtol=1e-8, ftol=0))
        assert!((x[0] - 1.0).abs() < 1e-8 && (x[1] - 1.0).abs() < 1e-8);
        assert!(outcome.converged);
        assert_eq!(outcome.iterations, ROSENBROCK_ITERATIONS);
    }

    const ROSENBROCK_ITERATIONS: usize = 38;
}
