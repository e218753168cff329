//! Gradients of blocks of rows, and their rounding to integers.

use super::histogram::{Packed, Wide};
use crate::cpu::dispatch;

/// Adding it rounds a number below `2^51` to an integer, ties to even, which then fills the low bits.
const ROUND: f64 = 6_755_399_441_055_744.0;
const LN2_HIGH: f64 = 6.931_471_803_691_238e-1;
const LN2_LOW: f64 = 1.908_214_929_270_587_7e-10;

/// `e^x` without a branch, for `x` within +-700 (beyond, that of the nearer bound); the steps of `special::exp`.
#[inline(always)]
fn exp(x: f64) -> f64 {
    const P: [f64; 5] = [
        1.666_666_666_666_660_2e-1,
        -2.777_777_777_701_559_3e-3,
        6.613_756_321_437_934e-5,
        -1.653_390_220_546_525_2e-6,
        4.138_136_797_057_238_5e-8,
    ];
    let x = if x > 700.0 { 700.0 } else { x };
    let x = if x < -700.0 { -700.0 } else { x };
    let shifted = x * core::f64::consts::LOG2_E + ROUND;
    let k = shifted - ROUND;
    let (high, low) = (x - k * LN2_HIGH, k * LN2_LOW);
    let r = high - low;
    let t = r * r;
    let c = r - t * (P[0] + t * (P[1] + t * (P[2] + t * (P[3] + t * P[4]))));
    let y = 1.0 + (r * c / (2.0 - c) - low + high);
    // The integer lies in the low bits of `shifted`; moved to the exponent it is 2^k.
    y * f64::from_bits((shifted.to_bits().wrapping_add(1023)) << 52)
}

dispatch! {
    /// `e^x` of each number, as [`exp`] of this module.
    pub fn exp_all(x: &mut [f64]) {
        for x in x {
            *x = exp(*x);
        }
    }
}

dispatch! {
    /// Gradients and hessians of the logistic loss.
    ///
    /// Shapes: all of one length.
    pub fn logistic(y: &[f64], scores: &[f64], gradients: &mut [f64], hessians: &mut [f64]) {
        let n = y.len().min(scores.len()).min(gradients.len()).min(hessians.len());
        let (y, scores, gradients, hessians) = (&y[..n], &scores[..n], &mut gradients[..n], &mut hessians[..n]);
        for i in 0..n {
            let p = 1.0 / (1.0 + exp(-scores[i]));
            gradients[i] = p - y[i];
            hessians[i] = p * (1.0 - p);
        }
    }
}

dispatch! {
    /// Gradient and hessian of one class of the softmax loss from exponentials and their sums.
    ///
    /// Shapes: all of one length.
    pub fn softmax(
        class: f64, y: &[f64], exps: &[f64], sums: &[f64], gradients: &mut [f64], hessians: &mut [f64],
    ) {
        let n = y.len().min(exps.len()).min(sums.len()).min(gradients.len()).min(hessians.len());
        let (y, exps, sums) = (&y[..n], &exps[..n], &sums[..n]);
        let (gradients, hessians) = (&mut gradients[..n], &mut hessians[..n]);
        for i in 0..n {
            let p = exps[i] / sums[i];
            gradients[i] = p - if y[i] == class { 1.0 } else { 0.0 };
            hessians[i] = p * (1.0 - p);
        }
    }
}

dispatch! {
    /// Largest and summed magnitude, in a fixed order.
    pub fn largest(x: &[f64]) -> (f64, f64) {
        const LANES: usize = 16;
        let (mut top, mut sum) = ([0.0f64; LANES], [0.0f64; LANES]);
        let (chunks, rest) = x.as_chunks::<LANES>();
        for chunk in chunks {
            for i in 0..LANES {
                let a = chunk[i].abs();
                top[i] = if a > top[i] { a } else { top[i] };
                sum[i] += a;
            }
        }
        for (i, x) in rest.iter().enumerate() {
            let a = x.abs();
            top[i] = if a > top[i] { a } else { top[i] };
            sum[i] += a;
        }
        let mut out = (0.0f64, 0.0f64);
        for i in 0..LANES {
            out = (if top[i] > out.0 { top[i] } else { out.0 }, out.1 + sum[i]);
        }
        out
    }
}

dispatch! {
    /// Rounds gradients and hessians, times their scales, to 16 bits each; hessians to 1 at least.
    ///
    /// Shapes: all of one length. Scaled gradients lie within +-32,767 and hessians within 65,535.
    pub fn pack(gradients: &[f64], hessians: &[f64], gradient: f64, hessian: f64, out: &mut [Packed]) {
        let n = gradients.len().min(hessians.len()).min(out.len());
        let (gradients, hessians, out) = (&gradients[..n], &hessians[..n], &mut out[..n]);
        for i in 0..n {
            let h = hessians[i] * hessian;
            let h = if h < 1.0 { 1.0 } else { h };
            let (g, h) = ((gradients[i] * gradient + ROUND).to_bits(), (h + ROUND).to_bits());
            out[i] = (g as u32) << 16 | (h as u32 & 0xffff);
        }
    }
}

dispatch! {
    /// Rounds gradients, times their scale, to 16 bits, with a hessian of 1.
    ///
    /// Shapes: of one length. Scaled gradients lie within +-32,767.
    pub fn pack_ones(gradients: &[f64], gradient: f64, out: &mut [Packed]) {
        let n = gradients.len().min(out.len());
        let (gradients, out) = (&gradients[..n], &mut out[..n]);
        for i in 0..n {
            out[i] = ((gradients[i] * gradient + ROUND).to_bits() as u32) << 16 | 1;
        }
    }
}

dispatch! {
    /// Rounds gradients and hessians, times their scales, to 31 bits each; hessians to 1 at least.
    ///
    /// Shapes: all of one length. Scaled numbers lie within +-2^30.
    pub fn pack_wide(gradients: &[f64], hessians: &[f64], gradient: f64, hessian: f64, out: &mut [Wide]) {
        let n = gradients.len().min(hessians.len()).min(out.len());
        let (gradients, hessians, out) = (&gradients[..n], &hessians[..n], &mut out[..n]);
        for i in 0..n {
            let h = hessians[i] * hessian;
            let h = if h < 1.0 { 1.0 } else { h };
            out[i] = [(gradients[i] * gradient + ROUND).to_bits() as i32, (h + ROUND).to_bits() as i32];
        }
    }
}

dispatch! {
    /// The bin of each number: how many cuts lie below it; NaN is in bin `missing`.
    ///
    /// Shapes: `values` and `out` of one length; at most 255 cuts in ascending order.
    pub fn bins(values: &[f64], cuts: &[f64], missing: u8, out: &mut [u8]) {
        // A whole tree of cuts: the search takes the same steps for every number.
        let mut tree = [f64::INFINITY; 256];
        let count = cuts.len().min(255);
        tree[..count].copy_from_slice(&cuts[..count]);
        let first = if count == 0 { 0 } else { 1usize << count.ilog2() };
        let n = values.len().min(out.len());
        let (values, out) = (&values[..n], &mut out[..n]);
        for (x, o) in values.chunks(8).zip(out.chunks_mut(8)) {
            let mut v = [f64::NAN; 8];
            v[..x.len()].copy_from_slice(x);
            let mut at = [0usize; 8];
            let mut step = first;
            while step > 0 {
                for i in 0..8 {
                    let next = at[i] + step;
                    at[i] = if tree[(next - 1) & 255] < v[i] { next } else { at[i] };
                }
                step /= 2;
            }
            for (o, (&at, &v)) in o.iter_mut().zip(at.iter().zip(&v)) {
                *o = if v.is_nan() { missing } else { at as u8 };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    #[test]
    fn exponentials_are_those_of_the_platform() {
        let mut x: Vec<f64> = (-7000..7000).map(|i| f64::from(i) / 10.0 + 0.037).collect();
        let want: Vec<f64> = x.iter().map(|x| x.exp()).collect();
        exp_all(&mut x);
        for (x, w) in x.iter().zip(&want) {
            assert!((x - w).abs() <= 4e-16 * w, "{x} {w}");
        }
        let mut ends = [f64::INFINITY, f64::NEG_INFINITY];
        exp_all(&mut ends);
        assert!(ends[0] > 1e300 && ends[1] < 1e-300);
    }

    #[test]
    fn rounding_is_to_the_nearest_and_keeps_signs() {
        let g = [0.0, 1.0, -1.0, 0.499, -32767.0, 32767.0, -0.51];
        let h = [0.0, 0.2, 65535.0, 7.4, 7.6, 2.5, 3.5];
        let mut out = vec![0; g.len()];
        pack(&g, &h, 1.0, 1.0, &mut out);
        let parts: Vec<(i32, u32)> = out.iter().map(|&w| (w as i32 >> 16, w & 0xffff)).collect();
        assert_eq!(parts, [(0, 1), (1, 1), (-1, 65535), (0, 7), (-32767, 8), (32767, 2), (-1, 4)]);
        let mut wide = vec![[0; 2]; 2];
        pack_wide(&[-1e9, 3.0], &[1e9, 0.0], 1.0, 1.0, &mut wide);
        assert_eq!(wide, [[-1_000_000_000, 1_000_000_000], [3, 1]]);
    }

    #[test]
    fn a_bin_counts_the_cuts_below() {
        for count in [0usize, 1, 2, 3, 100, 127, 128, 254, 255] {
            let cuts: Vec<f64> = (0..count).map(|i| i as f64).collect();
            let mut values: Vec<f64> = (-3..600).map(|i| f64::from(i) / 2.0).collect();
            values.extend([f64::INFINITY, f64::NEG_INFINITY, f64::NAN]);
            let mut out = vec![0; values.len()];
            bins(&values, &cuts, 77, &mut out);
            for (x, b) in values.iter().zip(&out) {
                let want = if x.is_nan() { 77 } else { cuts.partition_point(|c| c < x) as u8 };
                assert_eq!(*b, want, "{x} in {count} cuts");
            }
        }
    }
}
