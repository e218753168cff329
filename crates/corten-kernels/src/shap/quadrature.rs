//! Gauss-Legendre rules on the interval from 0 to 1.

use alloc::vec;
use alloc::vec::Vec;

/// Points and weights of the rule that is exact for polynomials of degree `2 * count - 1`.
///
/// Newton's method on the Legendre polynomial, from the classical estimate of its roots; only sums, products and
/// quotients, so that every platform finds the same bits.
pub(super) fn rule(count: usize) -> (Vec<f64>, Vec<f64>) {
    let (mut points, mut weights) = (vec![0.0; count], vec![0.0; count]);
    for i in 0..count.div_ceil(2) {
        let mut x = cosine(core::f64::consts::PI * (i as f64 + 0.75) / (count as f64 + 0.5));
        let mut slope = 1.0;
        // Newton's method doubles the digits with each step.
        for _ in 0..8 {
            let (value, derivative) = legendre(count, x);
            slope = derivative;
            x -= value / derivative;
        }
        // The middle root of an odd rule is 0.
        if 2 * i + 1 == count {
            x = 0.0;
            slope = legendre(count, x).1;
        }
        let weight = 1.0 / ((1.0 - x * x) * slope * slope);
        (points[i], points[count - 1 - i]) = ((1.0 - x) / 2.0, (1.0 + x) / 2.0);
        (weights[i], weights[count - 1 - i]) = (weight, weight);
    }
    (points, weights)
}

/// The Legendre polynomial of a degree, and its derivative.
fn legendre(degree: usize, x: f64) -> (f64, f64) {
    let (mut before, mut now) = (1.0, x);
    for k in 2..=degree {
        let k = k as f64;
        (before, now) = (now, ((2.0 * k - 1.0) * x * now - (k - 1.0) * before) / k);
    }
    (now, degree as f64 * (x * now - before) / (x * x - 1.0))
}

/// The cosine of an angle from 0 to pi / 2 (a little more is fine), good enough to start from.
fn cosine(angle: f64) -> f64 {
    let square = angle * angle;
    (1..9).rev().fold(1.0, |sum, k| 1.0 - sum * square / f64::from((2 * k - 1) * 2 * k))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_exact_for_powers_up_to_its_degree() {
        for count in [1usize, 2, 3, 4, 5, 8, 13, 32, 64, 200] {
            let (points, weights) = rule(count);
            assert!(points.windows(2).all(|w| w[0] < w[1]) && points[0] > 0.0 && points[count - 1] < 1.0);
            for power in (0..2 * count as i32).step_by(1 + count / 8) {
                let sum: f64 = points.iter().zip(&weights).map(|(t, w)| w * t.powi(power)).sum();
                let want = 1.0 / f64::from(power + 1);
                assert!((sum - want).abs() <= 1e-14 * want.max(0.1), "{count} points, power {power}: {sum} {want}");
            }
        }
    }
}
