//! Where to cut the numbers of a column into bins.

use corten_kernels::sort::{ordered, unordered};

/// Sorts numbers, none of them NaN.
pub(crate) fn sort(values: &mut [f64]) {
    const DIGIT: u32 = 11;
    const DIGITS: usize = 6;
    if values.len() < 4096 {
        values.sort_unstable_by(f64::total_cmp);
        return;
    }
    // Bits in the order of the numbers, sorted digit by digit, the lowest first.
    let digit = |k: u64, d: usize| (k >> (d as u32 * DIGIT)) as usize & ((1 << DIGIT) - 1);
    let mut keys: Vec<u64> = values.iter().map(|&x| ordered(x)).collect();
    let mut counts = vec![[0u32; 1 << DIGIT]; DIGITS];
    for &k in &keys {
        for (d, counts) in counts.iter_mut().enumerate() {
            counts[digit(k, d)] += 1;
        }
    }
    let mut other = vec![0u64; keys.len()];
    for (d, counts) in counts.iter_mut().enumerate() {
        if counts.iter().any(|&c| c as usize == keys.len()) {
            continue;
        }
        let mut start = 0;
        for c in counts.iter_mut() {
            start += std::mem::replace(c, start);
        }
        for &k in &keys {
            let at = &mut counts[digit(k, d)];
            other[*at as usize] = k;
            *at += 1;
        }
        std::mem::swap(&mut keys, &mut other);
    }
    for (x, k) in values.iter_mut().zip(keys) {
        *x = unordered(k);
    }
}

/// Midpoints between distinct values: all of them where they are few, else those that share the rows evenly.
pub(crate) fn cuts(sorted: &[f64], max_bins: usize) -> Vec<f64> {
    let mut distinct = sorted.to_vec();
    distinct.dedup_by(|a, b| a == b);
    if distinct.len() <= max_bins {
        return distinct.windows(2).map(|w| middle(w[0], w[1])).collect();
    }
    let mut counts = vec![0u64; distinct.len()];
    let mut at = 0;
    for &x in sorted {
        at += usize::from(x != distinct[at]);
        counts[at] += 1;
    }
    weighted_cuts(&distinct, &counts, max_bins)
}

/// The same of distinct values in ascending order, from how many rows have each.
pub(crate) fn weighted_cuts(distinct: &[f64], counts: &[u64], max_bins: usize) -> Vec<f64> {
    if distinct.len() <= max_bins {
        return distinct.windows(2).map(|w| middle(w[0], w[1])).collect();
    }
    greedy(counts, max_bins).into_iter().map(|i| middle(distinct[i], distinct[i + 1])).collect()
}

fn middle(a: f64, b: f64) -> f64 {
    let m = a + (b - a) / 2.0;
    // The sum of huge or infinite values leaves the range between them.
    if m.is_finite() && m < b { m } else { a.clamp(f64::MIN, f64::MAX) }
}

/// Where to cut many distinct values of which so many rows each have one: values with the rows of a whole bin get bins of
/// their own, and the others share the bins that are left evenly. So a column with many ties keeps bins for its tails
/// (the rule of LightGBM's `GreedyFindBin`).
fn greedy(counts: &[u64], max_bins: usize) -> Vec<usize> {
    let even = counts.iter().sum::<u64>() as f64 / max_bins as f64;
    let big: Vec<bool> = counts.iter().map(|&c| c as f64 >= even).collect();
    let mut rest: u64 = counts.iter().zip(&big).filter(|(_, b)| !**b).map(|(c, _)| c).sum();
    let mut bins = max_bins.saturating_sub(big.iter().filter(|b| **b).count());
    let share = |rest: u64, bins: usize| rest as f64 / bins.max(1) as f64;
    let mut mean = share(rest, bins);
    let (mut cuts, mut current) = (Vec::new(), 0u64);
    for i in 0..counts.len() - 1 {
        if !big[i] {
            rest -= counts[i];
        }
        current += counts[i];
        let full = big[i] || current as f64 >= mean || (big[i + 1] && current as f64 >= (mean * 0.5).max(1.0));
        if full {
            cuts.push(i);
            if cuts.len() + 1 >= max_bins {
                break;
            }
            current = 0;
            if !big[i] {
                bins = bins.saturating_sub(1);
                mean = share(rest, bins);
            }
        }
    }
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;
    use corten_core::random::bits;

    #[test]
    fn few_values_are_cut_at_midpoints_and_many_at_quantiles() {
        assert_eq!(cuts(&[1.0, 1.0, 2.0, 4.0], 255), [1.5, 3.0]);
        assert_eq!(cuts(&[f64::NEG_INFINITY, 0.0, f64::INFINITY], 255), [f64::MIN, 0.0]);
        let many: Vec<f64> = (0..10_000).map(f64::from).collect();
        let c = cuts(&many, 10);
        assert_eq!(c.len(), 9);
        assert!((c[0] - 999.5).abs() < 1.0 && c.windows(2).all(|w| w[0] < w[1]));
        // Nine tenths of the rows are ties; the tail keeps its bins.
        let mut ties = vec![0.0; 9000];
        ties.extend((1..=1000).map(f64::from));
        assert_eq!(cuts(&ties, 11).len(), 10);
    }

    #[test]
    fn numbers_are_sorted_whatever_their_sign_and_size() {
        let mut values: Vec<f64> =
            (0..9000u64).map(|i| f64::from_bits(bits(1, 2, i))).filter(|x| !x.is_nan()).collect();
        values.extend([f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 1.0, 1.0]);
        let mut want = values.clone();
        want.sort_by(f64::total_cmp);
        sort(&mut values);
        assert!(values.iter().zip(&want).all(|(a, b)| a.to_bits() == b.to_bits()));
    }
}
