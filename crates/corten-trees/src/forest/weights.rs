//! Sample weights as trees take them.

use corten_core::{Error, Result};
use corten_kernels::vector;

use super::counts::Counts;
use super::finder::Entry;
use super::purity::Gini;

/// Greatest weights from and up to which they are taken as they are.
const FEWEST: f64 = 1e-60;
const MOST: f64 = 1e60;
/// The exponent of 1.
const EXPONENT: i32 = 1023;

/// Refuses weights that nodes can't be weighed by.
///
/// # Errors
/// [`Error::Value`] when their sum is infinite.
pub(crate) fn check(weights: Option<&[f64]>) -> Result<()> {
    if weights.is_some_and(|weights| vector::sum(weights) == f64::INFINITY) {
        return Err(Error::value("sample weights, times class weights, must have a finite sum"));
    }
    Ok(())
}

/// A power of two that brings weights near 1 where products of several of them might be no numbers, otherwise 1. What is
/// rounded is the same whatever the power, but for logarithms of weights.
pub(crate) fn scale(weights: Option<&[f64]>) -> f64 {
    let most = weights.unwrap_or(&[]).iter().fold(0.0, |most: f64, &w| if w > most { w } else { most });
    if !most.is_normal() || (FEWEST..MOST).contains(&most) {
        return 1.0;
    }
    let exponent = (most.to_bits() >> (f64::MANTISSA_DIGITS - 1)) as i32 - EXPONENT;
    2f64.powi(-exponent.min(EXPONENT - 1))
}

/// Weights as whole numbers, where all of them are small and whole, and their sum is `most` or less.
pub(crate) fn whole(weights: Option<&[f64]>, rows: usize, most: usize) -> Option<Vec<u32>> {
    let Some(weights) = weights else { return Some(vec![1; rows]) };
    let fits = |w: &f64| *w == w.trunc() && *w <= f64::from(u16::MAX);
    let fits = weights.iter().all(fits) && weights.iter().sum::<f64>() <= most as f64;
    fits.then(|| weights.iter().map(|&w| w as u32).collect())
}

/// The weights of classes, where all rows of a class that weigh anything weigh the same.
pub(crate) fn by_class(codes: &[u32], weights: &[f64], classes: usize) -> Option<Vec<f64>> {
    let mut found = vec![None; classes];
    for (&class, &weight) in codes.iter().zip(weights).filter(|(_, weight)| **weight > 0.0) {
        if *found[class as usize].get_or_insert(weight) != weight {
            return None;
        }
    }
    Some(found.into_iter().map(|weight| weight.unwrap_or(1.0)).collect())
}

/// Weights that make classes count evenly among rows that were drawn so often; 0 for those that weren't.
pub(crate) fn balance(codes: &[u32], counts: &[u32], classes: usize) -> Vec<f64> {
    let mut drawn = vec![0u64; classes];
    codes.iter().zip(counts).for_each(|(&class, &count)| drawn[class as usize] += u64::from(count));
    let (all, present) = (drawn.iter().sum::<u64>() as f64, drawn.iter().filter(|drawn| **drawn > 0).count());
    drawn.iter().map(|&drawn| if drawn > 0 { all / (present as f64 * drawn as f64) } else { 0.0 }).collect()
}

/// Rows of positive weight with class and weight beside them; `None` where they don't fit.
pub(crate) fn payloads(codes: &[u32], weights: &[u32]) -> Option<Vec<Entry>> {
    let rows = (0u32..).zip(codes).zip(weights).filter(|(_, w)| **w > 0);
    rows.map(|((row, &class), &weight)| Counts::<Gini>::payload(class, weight).map(|payload| Entry::new(row, payload)))
        .collect()
}

/// Rows of positive weight.
pub(crate) fn positive(weights: &[f64]) -> Vec<Entry> {
    (0u32..).zip(weights).filter(|(_, w)| **w > 0.0).map(|(row, _)| Entry::new(row, 1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_have_a_weight_where_their_rows_do() {
        assert_eq!(by_class(&[1, 0, 1, 0], &[0.7, 2.5, 0.7, 0.0], 2), Some(vec![2.5, 0.7]));
        assert_eq!(by_class(&[1, 0, 1], &[0.7, 2.5, 0.8], 2), None);
        assert_eq!(by_class(&[1, 2], &[0.7, 3.0], 3), Some(vec![1.0, 0.7, 3.0]));
    }

    #[test]
    fn extreme_weights_are_brought_near_one_by_a_power_of_two() {
        for weights in [&[1.0, 0.0][..], &[1e59, 1e-300], &[0.0], &[f64::INFINITY], &[f64::NAN], &[-1e300], &[]] {
            assert_eq!(scale(Some(weights)), 1.0);
        }
        assert_eq!(scale(None), 1.0);
        for most in [f64::MAX, 1e308, 1e61, 1e-61, f64::MIN_POSITIVE] {
            let scale = scale(Some(&[most / 2.0, most, 0.0]));
            assert!((0.5..4.0).contains(&(most * scale)), "{most}");
            assert_eq!(scale.to_bits() << 12, 0);
        }
    }
}
