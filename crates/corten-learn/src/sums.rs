//! Sums of one fixed shape: eight lanes over blocks of 1,024 values, blocks folded pairwise.
//!
//! The shape depends on the number of values only, so a sum has the same bits on every machine and for any number of
//! threads; the error grows with the logarithm of the number of values, as in NumPy's pairwise sum.

pub(crate) use corten_kernels::vector::axpy;

const LANES: usize = 8;
const BLOCK: usize = 1024;

/// The sum of `term(i)` for `i` in `0..len`.
pub(crate) fn sum(len: usize, term: impl Fn(usize) -> f64 + Copy) -> f64 {
    range(0, len, term)
}

fn range(start: usize, len: usize, term: impl Fn(usize) -> f64 + Copy) -> f64 {
    if len > BLOCK {
        let left = (len / 2).div_ceil(BLOCK) * BLOCK;
        return range(start, left, term) + range(start + left, len - left, term);
    }
    let mut lanes = [0.0; LANES];
    let whole = len - len % LANES;
    let mut at = start;
    while at < start + whole {
        for (lane, sum) in lanes.iter_mut().enumerate() {
            *sum += term(at + lane);
        }
        at += LANES;
    }
    for (lane, at) in (at..start + len).enumerate() {
        lanes[lane] += term(at);
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

/// The dot product of two slices of the same length.
pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let n = a.len().min(b.len());
    let (a, b) = (&a[..n], &b[..n]);
    sum(n, |i| a[i] * b[i])
}

/// The euclidean norm.
pub(crate) fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_every_term_once_for_any_length() {
        for len in [0, 1, 7, 8, 9, 1023, 1024, 1025, 2048, 5000, 12_345] {
            let exact = (len * (len + 1) / 2) as f64;
            assert_eq!(sum(len, |i| (i + 1) as f64), exact);
        }
    }

    #[test]
    fn error_stays_small_over_many_values() {
        let n = 1_000_000;
        assert!((sum(n, |_| 0.1) - 1e5).abs() < 1e-9);
    }
}
