//! Sums of gradients and hessians by bin, in integers.
//!
//! A row is two integers: its gradient, and its hessian with a 1 in the low bits that counts rows. Both are rounded once
//! at a scale that leaves room for the sum of all rows, so no sum overflows or depends on its order, and a sibling is
//! exactly its parent less the other child.

use corten_core::Result;
use corten_kernels::parallel;
use rayon::prelude::*;

use super::binning::{Binned, TILE};
use super::collective::Collective;

/// Bins of a column in a histogram, that of missing values included.
pub(crate) const WIDTH: usize = 256;
/// Rows times tiles from which threads are worth waking.
const PARALLEL: usize = 1 << 16;
/// Most bits of a single rounded number.
const BITS: u32 = 40;

/// The gradients of an iteration as integers.
pub(crate) struct Rounded {
    /// Gradient, and hessian with the count of one row below it.
    pub(crate) rows: Vec<[i64; 2]>,
    count_bits: u32,
    gradient: f64,
    hessian: f64,
}

/// Sums in floating point.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sums {
    pub(crate) gradient: f64,
    pub(crate) hessian: f64,
    pub(crate) count: u32,
}

/// The power of two by which numbers up to `max` are multiplied so that `rows` of them stay below `2^bits`.
fn scale(max: f64, bits: u32) -> f64 {
    if max <= 0.0 || !max.is_finite() {
        return 1.0;
    }
    // The exponent e with max < 2^e.
    let exponent = ((max.to_bits() >> 52) & 0x7ff) as i32 - 1022;
    let shift = (bits as i32 - exponent).clamp(-1000, 1000);
    f64::from_bits(((shift + 1023).clamp(1, 2046) as u64) << 52)
}

impl Rounded {
    /// Rounds the gradients and hessians of an iteration (hessians are not negative); sums of `counted` rows fit.
    pub(crate) fn new(gradients: &[f64], hessians: &[f64], counted: usize, threads: usize) -> Self {
        let rows = gradients.len();
        let row_bits = usize::BITS - counted.leading_zeros();
        let largest = |x: &[f64]| {
            parallel::map_blocks(threads, rows, 1 << 16, |_, r| x[r].iter().fold(0.0f64, |m, v| m.max(v.abs())))
                .into_iter()
                .fold(0.0, f64::max)
        };
        let gradient = scale(largest(gradients), (62 - row_bits).min(BITS));
        let hessian = scale(largest(hessians), (62u32.saturating_sub(2 * row_bits)).clamp(1, BITS));
        let blocks = parallel::map_blocks(threads, rows, 1 << 16, |_, range| {
            let pairs = gradients[range.clone()].iter().zip(&hessians[range]);
            pairs
                .map(|(&g, &h)| {
                    let rounded = |x: f64| (x + if x < 0.0 { -0.5 } else { 0.5 }) as i64;
                    [rounded(g * gradient), (rounded(h * hessian) << row_bits) | 1]
                })
                .collect::<Vec<_>>()
        });
        Self { rows: blocks.concat(), count_bits: row_bits, gradient, hessian }
    }

    /// Integer sums in floating point.
    #[inline]
    pub(crate) fn sums(&self, x: [i64; 2]) -> Sums {
        Sums {
            gradient: x[0] as f64 / self.gradient,
            hessian: (x[1] >> self.count_bits) as f64 / self.hessian,
            count: (x[1] & ((1 << self.count_bits) - 1)) as u32,
        }
    }
}

/// One column of [`WIDTH`] sums a feature.
pub(crate) type Histogram = Vec<[i64; 2]>;

/// The histogram of some rows, in ascending order.
pub(crate) fn build(
    binned: &Binned,
    rounded: &Rounded,
    rows: &[u32],
    threads: usize,
    collective: &dyn Collective,
    mut out: Histogram,
) -> Result<Histogram> {
    let tiles = binned.tiles();
    out.clear();
    out.resize(tiles.len() * TILE * WIDTH, [0, 0]);
    let all = rows.len() == binned.rows;
    // Gathered once, then read in order by every tile.
    let gathered: Vec<[i64; 2]> =
        if all { Vec::new() } else { rows.iter().map(|&r| rounded.rows[r as usize]).collect() };
    let fill = |(tile, sums): (&Vec<[u8; TILE]>, &mut [[[i64; 2]; WIDTH]; TILE])| {
        if all {
            for (bins, gh) in tile.iter().zip(&rounded.rows) {
                add(sums, *bins, *gh);
            }
        } else {
            for (&row, gh) in rows.iter().zip(&gathered) {
                add(sums, tile[row as usize], *gh);
            }
        }
    };
    // Arrays of known size: a bin needs no check of its bounds.
    let parts = tiles.iter().zip(out.as_chunks_mut::<WIDTH>().0.as_chunks_mut::<TILE>().0);
    if threads > 1 && rows.len() * tiles.len() >= PARALLEL {
        let parts: Vec<_> = parts.collect();
        parts.into_par_iter().for_each(fill);
    } else {
        parts.for_each(fill);
    }
    collective.sum(&mut out)?;
    Ok(out)
}

#[inline(always)]
fn add(sums: &mut [[[i64; 2]; WIDTH]; TILE], bins: [u8; TILE], gh: [i64; 2]) {
    for (sums, bin) in sums.iter_mut().zip(bins) {
        let sum = &mut sums[usize::from(bin)];
        *sum = [sum[0] + gh[0], sum[1] + gh[1]];
    }
}

/// What is left of a parent's histogram without one child.
pub(crate) fn subtract(parent: &mut [[i64; 2]], child: &[[i64; 2]]) {
    for (p, c) in parent.iter_mut().zip(child) {
        p[0] -= c[0];
        p[1] -= c[1];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_leaves_room_for_all_rows_and_keeps_the_values() {
        let rows = 100_000;
        let g: Vec<f64> = (0..rows).map(|i| f64::from(i) / 1e5 - 0.3).collect();
        let h = vec![0.25; rows as usize];
        let rounded = Rounded::new(&g, &h, g.len(), 1);
        let total = rounded.rows.iter().fold([0i64, 0], |a, x| [a[0] + x[0], a[1] + x[1]]);
        let sums = rounded.sums(total);
        assert_eq!(sums.count, rows as u32);
        assert!((sums.gradient - g.iter().sum::<f64>()).abs() < 1e-4 && (sums.hessian - 25_000.0).abs() < 1.0);
    }

    #[test]
    fn a_scale_brings_the_largest_value_just_below_its_bound() {
        for max in [1.0, 0.999, 1e-7, 3e9] {
            let s = scale(max, 20);
            assert!(max * s < f64::from(1 << 20) && max * s >= f64::from(1 << 18), "{max} {s}");
        }
    }
}
