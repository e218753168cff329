//! Sums and products of vectors in one fixed order.
//!
//! A sum runs in 16 lanes: lane `i` takes the elements `i`, `i + 16` ... in order. The lanes are folded 16 to 8 to 4 to
//! 2 to 1, upper half onto lower half. Registers of any width hold whole lanes, so every CPU gives the same bits.

use crate::cpu::dispatch;

/// Lanes of every sum.
pub const LANES: usize = 16;
/// Rows that [`dot_columns`] takes at a time.
const ROWS: usize = 16;

macro_rules! fold {
    ($lanes:expr) => {{
        let mut lanes = $lanes;
        let mut half = LANES / 2;
        while half > 0 {
            for i in 0..half {
                lanes[i] += lanes[i + half];
            }
            half /= 2;
        }
        lanes[0]
    }};
}

macro_rules! dot_body {
    ($a:expr, $b:expr, $zero:expr) => {{
        let n = $a.len().min($b.len());
        let (a, b) = (&$a[..n], &$b[..n]);
        let mut lanes = [$zero; LANES];
        let (mut x, mut y) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
        for (x, y) in (&mut x).zip(&mut y) {
            for i in 0..LANES {
                lanes[i] += x[i] * y[i];
            }
        }
        for (lane, (x, y)) in lanes.iter_mut().zip(x.remainder().iter().zip(y.remainder())) {
            *lane += x * y;
        }
        fold!(lanes)
    }};
}

dispatch! {
    /// The dot product of two vectors; of the shorter length where they differ.
    pub fn dot(a: &[f64], b: &[f64]) -> f64 {
        dot_body!(a, b, 0.0f64)
    }
}

dispatch! {
    /// The dot product of two vectors of `f32`.
    pub fn dot_f32(a: &[f32], b: &[f32]) -> f32 {
        dot_body!(a, b, 0.0f32)
    }
}

dispatch! {
    /// Whether no number is infinite or NaN.
    pub fn all_finite(x: &[f64]) -> bool {
        // An exponent of ones alone carries into the sign when its last bit is counted up.
        const EXPONENT: u64 = 0x7ff0_0000_0000_0000;
        const LAST: u64 = 1 << 52;
        x.iter().fold(0, |any, x| any | ((x.to_bits() & EXPONENT) + LAST)) >> 63 == 0
    }
}

dispatch! {
    /// The sum of a vector.
    pub fn sum(x: &[f64]) -> f64 {
        let mut lanes = [0.0; LANES];
        let mut parts = x.chunks_exact(LANES);
        for part in &mut parts {
            for i in 0..LANES {
                lanes[i] += part[i];
            }
        }
        for (lane, x) in lanes.iter_mut().zip(parts.remainder()) {
            *lane += x;
        }
        fold!(lanes)
    }
}

dispatch! {
    /// `y += alpha * x`, element by element.
    pub fn axpy(alpha: f64, x: &[f64], y: &mut [f64]) {
        for (y, x) in y.iter_mut().zip(x) {
            *y += alpha * x;
        }
    }
}

dispatch! {
    /// The dot product of each row of a column-major block with the same weights, in the very order of [`dot`].
    ///
    /// Shapes: column `i` is `x[columns[i]..][..rows]`; `weights` has one entry a column and `out` one a row.
    pub fn dot_columns(x: &[f64], rows: usize, columns: &[usize], weights: &[f64], out: &mut [f64]) {
        let mut start = 0;
        while start < rows {
            let count = ROWS.min(rows - start);
            let mut lanes = [[0.0f64; ROWS]; LANES];
            for (i, (&column, &w)) in columns.iter().zip(weights).enumerate() {
                let lane = &mut lanes[i % LANES];
                let x = &x[column + start..][..count];
                if count == ROWS {
                    for r in 0..ROWS {
                        lane[r] += x[r] * w;
                    }
                } else {
                    for (lane, x) in lane.iter_mut().zip(x) {
                        *lane += x * w;
                    }
                }
            }
            let mut half = LANES / 2;
            while half > 0 {
                for i in 0..half {
                    let (low, high) = lanes.split_at_mut(half);
                    for (a, b) in low[i].iter_mut().zip(&high[i]) {
                        *a += b;
                    }
                }
                half /= 2;
            }
            out[start..start + count].copy_from_slice(&lanes[0][..count]);
            start += count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use corten_core::random::Stream;

    /// The order of the module's first paragraph, spelled out.
    fn plain(a: &[f64], b: &[f64]) -> f64 {
        let mut lanes = [0.0; 16];
        for (i, (x, y)) in a.iter().zip(b).enumerate() {
            lanes[i % 16] += x * y;
        }
        for half in [8, 4, 2, 1] {
            for i in 0..half {
                lanes[i] += lanes[i + half];
            }
        }
        lanes[0]
    }

    #[test]
    fn every_length_and_road_has_the_bits_of_the_plain_order() {
        let mut random = Stream::new(1, 1);
        let mut number = || (random.uniform() - 0.5) * 10f64.powi((random.below(20) as i32) - 10);
        for n in 0..70 {
            let a: Vec<f64> = (0..n).map(|_| number()).collect();
            let b: Vec<f64> = (0..n).map(|_| number()).collect();
            let want = plain(&a, &b);
            assert_eq!(dot(&a, &b).to_bits(), want.to_bits(), "length {n}");
            let rows = 21;
            let block: Vec<f64> =
                a.iter().flat_map(|&x| (0..rows).map(move |r| if r == 17 { x } else { 0.5 })).collect();
            let columns: Vec<usize> = (0..n).map(|i| i * rows).collect();
            let mut out = vec![0.0; rows];
            dot_columns(&block, rows, &columns, &b, &mut out);
            assert_eq!(out[17].to_bits(), want.to_bits(), "length {n}");
            let ones = vec![1.0; n];
            assert_eq!(sum(&a).to_bits(), plain(&a, &ones).to_bits());
        }
    }

    #[test]
    fn special_values_come_through() {
        assert!(dot(&[f64::NAN, 1.0], &[1.0, 1.0]).is_nan());
        assert_eq!(dot(&[f64::INFINITY; 3], &[1.0; 3]), f64::INFINITY);
        assert_eq!(dot_f32(&[1.5; 40], &[2.0; 40]), 120.0);
    }
}
