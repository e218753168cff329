//! Which of many candidate splits of a tree's node is best, in one fixed order of operations.
//!
//! A candidate of weight 0 is none: its score is NaN, and NaN is never best. Among equal scores the first one is best.

use crate::cpu::dispatch;

/// Candidates, or rows, that are looked at side by side.
const LANES: usize = 8;

/// The first greatest score of `n` candidates, where any is above negative infinity.
macro_rules! best {
    ($n:expr, $i:ident => $score:expr) => {{
        let n = $n;
        let mut scores = [f64::NEG_INFINITY; LANES];
        let mut places = [u64::MAX; LANES];
        let mut start = 0;
        // The last eight overlap those before, where less than eight are left: a candidate looked at twice stays one.
        while n >= LANES && start < n {
            start = start.min(n - LANES);
            for lane in 0..LANES {
                let $i = start + lane;
                let score: f64 = $score;
                let better = score > scores[lane];
                scores[lane] = if better { score } else { scores[lane] };
                places[lane] = if better { $i as u64 } else { places[lane] };
            }
            start += LANES;
        }
        if n < LANES {
            for lane in 0..n {
                let $i = lane;
                let score: f64 = $score;
                if score > scores[lane] {
                    (scores[lane], places[lane]) = (score, $i as u64);
                }
            }
        }
        let mut best = (f64::NEG_INFINITY, u64::MAX);
        for (&score, &place) in scores.iter().zip(&places) {
            if score > best.0 || (score == best.0 && place < best.1) {
                best = (score, place);
            }
        }
        (best.1 != u64::MAX).then_some((best.1 as usize, best.0))
    }};
}

/// `left / l + right / r`, with one division; NaN where `l` or `r` is 0.
#[inline(always)]
pub fn ratio(left: f64, right: f64, l: f64, r: f64) -> f64 {
    (left * r + right * l) / (l * r)
}

/// The score of [`best_gini`]: from the weight, and that of the second class, left of a cut.
#[inline(always)]
pub fn gini(weight: u32, ones: u32, all: [u32; 2]) -> f64 {
    gini_of(f64::from(weight), f64::from(ones), all)
}

/// The same from whole numbers.
#[inline(always)]
pub fn gini_of(w: f64, one: f64, all: [u32; 2]) -> f64 {
    let zero = w - one;
    let (right_zero, right_one) = (f64::from(all[0]) - zero, f64::from(all[1]) - one);
    let left = zero * zero + one * one;
    ratio(left, right_zero * right_zero + right_one * right_one, w, right_zero + right_one)
}

dispatch! {
    /// The cut of rows of two classes that leaves the least Gini impurity: its place and the sum over both sides of
    /// squared class weights by weight.
    ///
    /// Shapes: `weights` and `ones` hold the weight, and that of the second class, up to each cut.
    pub fn best_gini(weights: &[u32], ones: &[u32], all: [u32; 2]) -> Option<(usize, f64)> {
        let n = weights.len().min(ones.len());
        let (weights, ones) = (&weights[..n], &ones[..n]);
        best!(n, i => gini(weights[i], ones[i], all))
    }
}

dispatch! {
    /// The cut of greatest `left / weight + right / (total - weight)`.
    pub fn best_ratio(left: &[u64], right: &[u64], weights: &[u32], total: u32) -> Option<(usize, f64)> {
        let n = left.len().min(right.len()).min(weights.len());
        let (left, right, weights) = (&left[..n], &right[..n], &weights[..n]);
        best!(n, i => {
            let (l, r) = (f64::from(weights[i]), f64::from(total - weights[i]));
            ratio(left[i] as f64, right[i] as f64, l, r)
        })
    }
}

dispatch! {
    /// The cut of greatest `sum^2 / weight` over both sides, from sums and weights up to each cut and of all rows.
    pub fn best_squares(sums: &[f64], weights: &[f64], total: f64, weight: f64) -> Option<(usize, f64)> {
        let n = sums.len().min(weights.len());
        let (sums, weights) = (&sums[..n], &weights[..n]);
        best!(n, i => {
            let (l, r) = (sums[i], total - sums[i]);
            ratio(l * l, r * r, weights[i], weight - weights[i])
        })
    }
}

dispatch! {
    /// The first greatest score.
    pub fn best_score(scores: &[f64]) -> Option<(usize, f64)> {
        best!(scores.len(), i => scores[i])
    }
}

/// Codes that are looked at side by side.
const CODES: usize = 16;
/// A code that nothing has; the missing value of a column without one is another.
const NOTHING: u32 = u32::MAX - 1;

/// The last, incomplete chunk, filled up.
#[inline(always)]
fn filled(rest: &[u32], with: u32) -> [u32; CODES] {
    let mut chunk = [with; CODES];
    chunk[..rest.len()].copy_from_slice(rest);
    chunk
}

dispatch! {
    /// Least and greatest code other than `missing`, and how many are `missing`; `(u32::MAX, 0, _)` where all are.
    pub fn span(codes: &[u32], missing: u32) -> (u32, u32, usize) {
        let (mut low, mut high, mut absent) = ([u32::MAX; CODES], [0u32; CODES], [0u32; CODES]);
        let (chunks, rest) = codes.as_chunks::<CODES>();
        let mut look = |chunk: &[u32; CODES]| {
            for lane in 0..CODES {
                let code = chunk[lane];
                let gone = code == missing;
                low[lane] = low[lane].min(if gone { u32::MAX } else { code });
                high[lane] = high[lane].max(if gone { 0 } else { code });
                absent[lane] += u32::from(gone);
            }
        };
        chunks.iter().for_each(&mut look);
        if !rest.is_empty() {
            // A first code again changes neither end; it is counted where it is missing.
            look(&filled(rest, rest[0]));
        }
        let filler = if rest.first() == Some(&missing) { CODES - rest.len() } else { 0 };
        let low = low.into_iter().fold(u32::MAX, u32::min);
        (low, high.into_iter().fold(0, u32::max), absent.iter().sum::<u32>() as usize - filler)
    }
}

dispatch! {
    /// Adds class weights to those left of a cut; gives what was added in all, and the sums of squares then on the left
    /// and, of `all` less those, on the right.
    pub fn move_classes(left: &mut [u32], added: &[u32], all: &[u32]) -> (u32, u64, u64) {
        let (mut weight, mut lefts, mut rights) = (0u32, 0u64, 0u64);
        for ((l, &a), &all) in left.iter_mut().zip(added).zip(all) {
            *l = l.wrapping_add(a);
            weight = weight.wrapping_add(a);
            let (l, r) = (u64::from(*l), u64::from(all.wrapping_sub(*l)));
            lefts = lefts.wrapping_add(l * l);
            rights = rights.wrapping_add(r * r);
        }
        (weight, lefts, rights)
    }
}

/// Rows that a set of bits tells apart.
pub const SET: usize = u16::BITS as usize;

/// The loop of [`span_of`].
#[inline(always)]
pub(crate) fn span_by_lanes(codes: &[u32; SET], set: u16) -> (u32, u32) {
    let (mut low, mut high) = (u32::MAX, 0);
    for lane in 0..SET {
        let is_in = u32::from(set) >> lane & 1 == 1;
        low = low.min(if is_in { codes[lane] } else { u32::MAX });
        high = high.max(if is_in { codes[lane] } else { 0 });
    }
    (low, high)
}

dispatch! {
    /// Least and greatest code of the rows of a set; `(u32::MAX, 0)` of an empty one.
    pub fn span_of(codes: &[u32; SET], set: u16) -> (u32, u32) {
        span_by_lanes(codes, set)
    }
}

dispatch! {
    /// The rows whose code is at most `last`.
    pub fn set_up_to(codes: &[u32; SET], last: u32) -> u16 {
        let mut set = 0u32;
        for lane in 0..SET {
            set |= u32::from(codes[lane] <= last) << lane;
        }
        set as u16
    }
}

dispatch! {
    /// Sums of `a` and `b` over the rows whose code is at most `last`, or `also`, and their number.
    pub fn counts_up_to(codes: &[u32], a: &[u32], b: &[u32], last: u32, also: u32) -> (u32, u32, usize) {
        let n = codes.len().min(a.len()).min(b.len());
        let (mut sum_a, mut sum_b, mut count) = ([0u32; CODES], [0u32; CODES], [0u32; CODES]);
        let mut add = |codes: &[u32; CODES], a: &[u32; CODES], b: &[u32; CODES]| {
            for lane in 0..CODES {
                let mask = if (codes[lane] <= last) | (codes[lane] == also) { u32::MAX } else { 0 };
                sum_a[lane] = sum_a[lane].wrapping_add(a[lane] & mask);
                sum_b[lane] = sum_b[lane].wrapping_add(b[lane] & mask);
                count[lane] += mask & 1;
            }
        };
        let ((codes, c), (a, x), (b, y)) =
            (codes[..n].as_chunks::<CODES>(), a[..n].as_chunks::<CODES>(), b[..n].as_chunks::<CODES>());
        for ((codes, a), b) in codes.iter().zip(a).zip(b) {
            add(codes, a, b);
        }
        if !c.is_empty() {
            add(&filled(c, NOTHING), &filled(x, 0), &filled(y, 0));
        }
        let sum = |v: [u32; CODES]| v.into_iter().fold(0, u32::wrapping_add);
        (sum(sum_a), sum(sum_b), sum(count) as usize)
    }
}

dispatch! {
    /// Sums of `a` and `b` over the rows whose code is at most `last`, or `also`, and their number.
    pub fn sums_up_to(codes: &[u32], a: &[f64], b: &[f64], last: u32, also: u32) -> (f64, f64, usize) {
        let n = codes.len().min(a.len()).min(b.len());
        let (codes, a, b) = (&codes[..n], &a[..n], &b[..n]);
        let (mut sum_a, mut sum_b, mut count) = ([0.0; LANES], [0.0; LANES], [0u32; LANES]);
        let full = n / LANES * LANES;
        let mut start = 0;
        while start < full {
            for lane in 0..LANES {
                let code = codes[start + lane];
                let left = (code <= last) | (code == also);
                sum_a[lane] += if left { a[start + lane] } else { 0.0 };
                sum_b[lane] += if left { b[start + lane] } else { 0.0 };
                count[lane] += u32::from(left);
            }
            start += LANES;
        }
        for lane in 0..n - full {
            let code = codes[full + lane];
            if (code <= last) | (code == also) {
                sum_a[lane] += a[full + lane];
                sum_b[lane] += b[full + lane];
                count[lane] += 1;
            }
        }
        let mut half = LANES / 2;
        while half > 0 {
            for lane in 0..half {
                sum_a[lane] += sum_a[lane + half];
                sum_b[lane] += sum_b[lane + half];
            }
            half /= 2;
        }
        (sum_a[0], sum_b[0], count.iter().sum::<u32>() as usize)
    }
}

/// Most classes that are summed side by side.
pub const CLASSES: usize = 16;

dispatch! {
    /// Sums of weights, class by class, over the rows whose code is at most `last`, or `also`, and their number. A payload
    /// is a class below [`CLASSES`] above a weight of 16 bits.
    pub fn classes_up_to(codes: &[u32], payloads: &[u32], last: u32, also: u32) -> ([u32; CLASSES], usize) {
        let (mut sums, mut count) = ([0u32; CLASSES], 0);
        for (&code, &payload) in codes.iter().zip(payloads) {
            let left = (code <= last) | (code == also);
            let weight = if left { payload & 0xffff } else { 0 };
            count += usize::from(left);
            for (class, sum) in (0u32..).zip(&mut sums) {
                *sum += if payload >> 16 == class { weight } else { 0 };
            }
        }
        (sums, count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn noise(n: usize, seed: u64) -> Vec<f64> {
        (0..n as u64)
            .map(|i| ((i.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ seed).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40) as f64)
            .collect()
    }

    /// What the kernels promise, one candidate at a time.
    fn greatest_one_by_one(scores: impl Iterator<Item = f64>) -> Option<(usize, f64)> {
        let mut best = None;
        for (i, s) in scores.enumerate() {
            if !s.is_nan() && s > best.map_or(f64::NEG_INFINITY, |(_, b)| b) {
                best = Some((i, s));
            }
        }
        best
    }

    #[test]
    fn the_first_of_the_best_is_found_whatever_the_length() {
        for n in 0..70 {
            let coarse: Vec<f64> = noise(n, 1).iter().map(|x| x % 5.0).collect();
            assert_eq!(best_score(&coarse), greatest_one_by_one(coarse.iter().copied()));
            let sums: Vec<f64> = noise(n, 2).iter().map(|x| x % 9.0).collect();
            let weights: Vec<f64> = noise(n, 3).iter().map(|x| x % 4.0).collect();
            let (total, weight) = (100.0, 200.0);
            let squares = |i: usize| {
                let (l, r) = (sums[i], total - sums[i]);
                ratio(l * l, r * r, weights[i], weight - weights[i])
            };
            // A candidate of weight 0 and sum 0 is none.
            let sums: Vec<f64> = sums.iter().zip(&weights).map(|(s, w)| if *w == 0.0 { 0.0 } else { *s }).collect();
            let expected = greatest_one_by_one((0..n).map(|i| if weights[i] == 0.0 { f64::NAN } else { squares(i) }));
            assert_eq!(best_squares(&sums, &weights, total, weight), expected);
        }
    }

    #[test]
    fn classes_that_move_left_leave_squares_on_both_sides() {
        let mut left = [1u32; 26];
        let added: [u32; 26] = core::array::from_fn(|i| i as u32 % 5);
        let squares = |f: &dyn Fn(u32) -> u32| added.iter().map(|a| u64::from(f(1 + a)).pow(2)).sum::<u64>();
        let (lefts, rights) = (squares(&|l| l), squares(&|l| 1_000_000 - l));
        assert_eq!(move_classes(&mut left, &added, &[1_000_000; 26]), (added.iter().sum(), lefts, rights));
        assert!(left.iter().zip(&added).all(|(l, a)| *l == 1 + a));
    }

    #[test]
    fn sets_of_rows_have_the_codes_of_their_members() {
        let codes: [u32; SET] = core::array::from_fn(|i| (noise(SET, 5)[i] % 7.0) as u32);
        for set in (0..=u16::MAX).step_by(37) {
            let members = || (0..SET).filter(|i| set >> i & 1 == 1).map(|i| codes[i]);
            assert_eq!(span_of(&codes, set), (members().min().unwrap_or(u32::MAX), members().max().unwrap_or(0)));
        }
        for last in 0..8 {
            assert!((0..SET).all(|i| (set_up_to(&codes, last) >> i & 1 == 1) == (codes[i] <= last)));
        }
    }

    #[test]
    fn gini_of_two_classes_is_the_ratio_of_squares() {
        let weights = [1u32, 0, 3, 5, 8];
        let ones = [0u32, 0, 1, 3, 4];
        let all = [5u32, 6];
        let f = |x: u32| u64::from(x) * u64::from(x);
        let left: Vec<u64> = weights.iter().zip(ones).map(|(w, o)| f(o) + f(w - o)).collect();
        let right: Vec<u64> = weights.iter().zip(ones).map(|(w, o)| f(all[1] - o) + f(all[0] - (w - o))).collect();
        assert_eq!(best_gini(&weights, &ones, all), best_ratio(&left, &right, &weights, 11));
    }

    #[test]
    fn sums_and_spans_take_missing_codes_where_told() {
        for n in [0, 1, 7, 8, 9, 33] {
            let (missing, last) = (9, 4);
            let codes: Vec<u32> = noise(n, 4).iter().map(|x| *x as u32 % 10).collect();
            let (a, b) = (noise(n, 5), noise(n, 6));
            let whole = |v: &[f64]| v.iter().map(|x| *x as u32 % 100).collect::<Vec<u32>>();
            let (whole_a, whole_b) = (whole(&a), whole(&b));
            for also in [u32::MAX, missing] {
                let left = |i: &usize| codes[*i] <= last || codes[*i] == also;
                let sum = |v: &[f64]| (0..n).filter(left).map(|i| v[i]).sum::<f64>();
                let count = |v: &[u32]| (0..n).filter(left).map(|i| v[i]).sum::<u32>();
                let rows = (0..n).filter(left).count();
                // Whole numbers: every order gives the same sum.
                assert_eq!(sums_up_to(&codes, &a, &b, last, also), (sum(&a), sum(&b), rows));
                assert_eq!(
                    counts_up_to(&codes, &whole_a, &whole_b, last, also),
                    (count(&whole_a), count(&whole_b), rows)
                );
            }
            let there = || codes.iter().copied().filter(|c| *c != missing);
            let expected = (there().min().unwrap_or(u32::MAX), there().max().unwrap_or(0), n - there().count());
            assert_eq!(span(&codes, missing), expected);
        }
    }

    #[test]
    fn classes_sum_as_they_do_one_at_a_time() {
        for n in [0, 1, 9, 50] {
            let codes: Vec<u32> = noise(n, 10).iter().map(|x| *x as u32 % 10).collect();
            let payloads: Vec<u32> = noise(n, 11).iter().map(|x| (*x as u32 % 16) << 16 | (*x as u32 % 7)).collect();
            for also in [u32::MAX, 9] {
                let left = |i: &usize| codes[*i] <= 4 || codes[*i] == also;
                let (sums, count) = classes_up_to(&codes, &payloads, 4, also);
                assert_eq!(count, (0..n).filter(left).count());
                for (class, &sum) in (0..).zip(&sums) {
                    let of_class = (0..n).filter(left).filter(|&i| payloads[i] >> 16 == class);
                    assert_eq!(sum, of_class.map(|i| payloads[i] & 0xffff).sum::<u32>());
                }
            }
        }
    }
}
