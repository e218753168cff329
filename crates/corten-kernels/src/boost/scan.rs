//! The cut of a column's bins that lowers a loss most.

use crate::cpu::{self, Level};

/// A node as integers, and what a cut of it must obey.
#[derive(Clone, Copy, Debug)]
pub struct Node {
    /// Sum of gradients.
    pub gradient: i64,
    /// Sum of hessians, above 0.
    pub hessian: i64,
    /// Least sum of hessians on either side, at least 1.
    pub least: i64,
    /// Added to sums of hessians.
    pub l2: f64,
}

impl Node {
    /// Squared gradient over hessian.
    pub fn score(&self) -> f64 {
        let g = self.gradient as f64;
        g * g / (self.hessian as f64 + self.l2)
    }

    /// The sum of both sides' scores, over one denominator, from the left side's sums.
    #[inline(always)]
    pub fn both(&self, gradient: f64, hessian: f64) -> f64 {
        let (right, rest) = (self.gradient as f64 - gradient, self.hessian as f64 - hessian);
        let (a, b) = (hessian + self.l2, rest + self.l2);
        (gradient * gradient * b + right * right * a) / (a * b)
    }
}

/// A cut after a bin.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cut {
    /// Sum of the scores of both sides.
    pub score: f64,
    /// Last bin of the left side.
    pub bin: usize,
    /// Sums of gradients and hessians on the left.
    pub left: (i64, i64),
}

/// The best cut of packed sums of at most 65,536 rows, the lowest among equals; `before` lies left of the first bin.
///
/// `rows` is how many rows the sums are of: where few of them fill many bins, empty bins are left out first.
pub fn packed(sums: &[i64], before: i64, node: &Node, rows: usize) -> Option<Cut> {
    packed_on(cpu::level(), sums, before, node, 3 * rows < 2 * sums.len())
}

fn packed_on(level: Level, sums: &[i64], before: i64, node: &Node, sparse: bool) -> Option<Cut> {
    if node.hessian < 2 * node.least {
        return None;
    }
    #[cfg(target_arch = "x86_64")]
    if level == Level::Avx512 {
        #[expect(unsafe_code, reason = "instructions beyond the target's base")]
        // SAFETY: the level was found on this CPU.
        return unsafe {
            if sparse && sums.len() <= super::WIDTH {
                x86::sparse_512(sums, before, node)
            } else {
                x86::packed_512(sums, None, before, node)
            }
        };
    }
    let _ = (level, sparse);
    let mut left = before;
    plain(node, sums.len(), |i| {
        left += sums[i];
        (left >> 32, left & 0xffff_ffff)
    })
}

/// The best cut of sums of gradients and hessians apart.
pub fn wide(gradients: &[i64], hessians: &[i64], before: (i64, i64), node: &Node) -> Option<Cut> {
    let n = gradients.len().min(hessians.len());
    let (mut g, mut h) = before;
    plain(node, n, |i| {
        g += gradients[i];
        h += hessians[i];
        (g, h)
    })
}

/// The scalar twin: `next` gives the sums up to each bin in turn.
#[inline(always)]
fn plain(node: &Node, bins: usize, mut next: impl FnMut(usize) -> (i64, i64)) -> Option<Cut> {
    let most = node.hessian - node.least;
    let mut best = Cut { score: f64::NEG_INFINITY, bin: usize::MAX, left: (0, 0) };
    for i in 0..bins {
        let (g, h) = next(i);
        if h < node.least {
            continue;
        }
        if h > most {
            break;
        }
        let score = node.both(g as f64, h as f64);
        if score > best.score {
            best = Cut { score, bin: i, left: (g, h) };
        }
    }
    (best.bin != usize::MAX).then_some(best)
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector instructions on raw places")]
mod x86 {
    use core::arch::x86_64::*;
    use core::mem::MaybeUninit;

    use super::super::WIDTH;
    use super::{Cut, Node};

    /// Leaves empty bins out first: at most [`WIDTH`] bins.
    ///
    /// # Safety
    /// The CPU has these parts of AVX-512.
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx2,popcnt")]
    pub(super) unsafe fn sparse_512(sums: &[i64], before: i64, node: &Node) -> Option<Cut> {
        let n = sums.len();
        // Eight more than can be used: whole registers are stored.
        let mut full = MaybeUninit::<[i64; WIDTH + 8]>::uninit();
        let mut places = MaybeUninit::<[i64; WIDTH + 8]>::uninit();
        let (sums_to, places_to) = (full.as_mut_ptr().cast::<i64>(), places.as_mut_ptr().cast::<i64>());
        let (mut at, mut used) = (0, 0);
        let mut bins = _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7);
        while at < n {
            let here: __mmask8 = if n - at >= 8 { 0xff } else { (1u8 << (n - at)) - 1 };
            // SAFETY: the mask leaves out what lies beyond the sums; `used` is at most `at`, below `WIDTH`.
            unsafe {
                let x = _mm512_maskz_loadu_epi64(here, sums.as_ptr().add(at));
                // The first bin stays: what lies before it may be all of the left side.
                let some = _mm512_test_epi64_mask(x, x) | __mmask8::from(at == 0);
                _mm512_storeu_si512(sums_to.add(used).cast(), _mm512_mask_compress_epi64(x, some, x));
                _mm512_storeu_si512(places_to.add(used).cast(), _mm512_mask_compress_epi64(bins, some, bins));
                used += some.count_ones() as usize;
            }
            bins = _mm512_add_epi64(bins, _mm512_set1_epi64(8));
            at += 8;
        }
        // SAFETY: the first `used` numbers were written; the CPU is the same.
        unsafe {
            let sums = core::slice::from_raw_parts(sums_to, used);
            packed_512(sums, Some(core::slice::from_raw_parts(places_to, used)), before, node)
        }
    }

    /// `places` are the bins of the sums where they aren't all bins in turn.
    ///
    /// # Safety
    /// The CPU has these parts of AVX-512.
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx2")]
    pub(super) unsafe fn packed_512(sums: &[i64], places: Option<&[i64]>, before: i64, node: &Node) -> Option<Cut> {
        let n = sums.len();
        let zero = _mm512_setzero_si512();
        let low = _mm512_set1_epi64(0xffff_ffff);
        let last = _mm512_set1_epi64(7);
        let (least, most) = (_mm512_set1_epi64(node.least), _mm512_set1_epi64(node.hessian - node.least));
        let (all_g, all_h) = (_mm512_set1_pd(node.gradient as f64), _mm512_set1_pd(node.hessian as f64));
        let l2 = _mm512_set1_pd(node.l2);
        let mut best = _mm512_set1_pd(f64::NEG_INFINITY);
        let mut floor = best;
        let mut place = _mm512_set1_epi64(-1);
        let mut lefts = zero;
        let mut carry = _mm512_set1_epi64(before);
        let mut bins = _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7);
        let mut at = 0;
        while at < n {
            let here: __mmask8 = if n - at >= 8 { 0xff } else { (1u8 << (n - at)) - 1 };
            // SAFETY: the mask leaves out what lies beyond the sums.
            let mut x = unsafe { _mm512_maskz_loadu_epi64(here, sums.as_ptr().add(at)) };
            x = _mm512_add_epi64(x, _mm512_alignr_epi64::<7>(x, zero));
            x = _mm512_add_epi64(x, _mm512_alignr_epi64::<6>(x, zero));
            x = _mm512_add_epi64(x, _mm512_alignr_epi64::<4>(x, zero));
            x = _mm512_add_epi64(x, carry);
            carry = _mm512_permutexvar_epi64(last, x);
            let hessian = _mm512_and_si512(x, low);
            let fits = _mm512_mask_cmple_epi64_mask(_mm512_mask_cmple_epi64_mask(here, least, hessian), hessian, most);
            if fits != 0 {
                let g = _mm512_cvtepi64_pd(_mm512_srai_epi64::<32>(x));
                let h = _mm512_cvtepi64_pd(hessian);
                let (right, rest) = (_mm512_sub_pd(all_g, g), _mm512_sub_pd(all_h, h));
                let (a, b) = (_mm512_add_pd(h, l2), _mm512_add_pd(rest, l2));
                let sum =
                    _mm512_add_pd(_mm512_mul_pd(_mm512_mul_pd(g, g), b), _mm512_mul_pd(_mm512_mul_pd(right, right), a));
                let under = _mm512_mul_pd(a, b);
                // Most cuts are worse by more than rounding: they need no division.
                let maybe = _mm512_mask_cmp_pd_mask::<_CMP_GT_OQ>(fits, sum, _mm512_mul_pd(floor, under));
                if maybe == 0 {
                    bins = _mm512_add_epi64(bins, _mm512_set1_epi64(8));
                    at += 8;
                    continue;
                }
                let score = _mm512_div_pd(sum, under);
                let better = _mm512_mask_cmp_pd_mask::<_CMP_GT_OQ>(maybe, score, best);
                floor = _mm512_mask_mul_pd(floor, better, score, _mm512_set1_pd(1.0 - 1e-12));
                best = _mm512_mask_mov_pd(best, better, score);
                place = _mm512_mask_mov_epi64(place, better, bins);
                lefts = _mm512_mask_mov_epi64(lefts, better, x);
            }
            bins = _mm512_add_epi64(bins, _mm512_set1_epi64(8));
            at += 8;
        }
        let (mut scores, mut orders, mut sums) = ([0.0f64; 8], [0i64; 8], [0i64; 8]);
        // SAFETY: eight numbers each.
        unsafe {
            _mm512_storeu_pd(scores.as_mut_ptr(), best);
            _mm512_storeu_si512(orders.as_mut_ptr().cast(), place);
            _mm512_storeu_si512(sums.as_mut_ptr().cast(), lefts);
        }
        let mut found: Option<Cut> = None;
        for ((&score, &order), &left) in scores.iter().zip(&orders).zip(&sums) {
            if order < 0 {
                continue;
            }
            let bin = places.map_or(order, |p| p[order as usize]) as usize;
            if found.is_none_or(|f| score > f.score || (score == f.score && bin < f.bin)) {
                found = Some(Cut { score, bin, left: (left >> 32, left & 0xffff_ffff) });
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn every_level_finds_the_cut_of_the_plain_form() {
        let random = |i: u64| corten_core::random::bits(3, 4, i);
        for n in [1usize, 2, 7, 8, 9, 63, 250, 256] {
            for round in 0..20u64 {
                let pairs: Vec<(i64, i64)> = (0..n as u64)
                    .map(|i| {
                        let r = random(i + 1000 * round);
                        // Many empty bins, and ties.
                        if r % 3 == 0 { (0, 0) } else { ((r >> 8) as i64 % 50 - 20, (r >> 40) as i64 % 9 + 1) }
                    })
                    .collect();
                let before = if round % 2 == 0 { (0, 0) } else { (-33, 21) };
                let total = pairs.iter().fold(before, |a, p| (a.0 + p.0, a.1 + p.1));
                let node = Node {
                    gradient: total.0,
                    hessian: total.1.max(1),
                    least: 1 + (round as i64 % 4) * 5,
                    l2: if round % 3 == 0 { 0.0 } else { 1.5 },
                };
                let packed: Vec<i64> = pairs.iter().map(|p| (p.0 << 32) + p.1).collect();
                let (g, h): (Vec<i64>, Vec<i64>) = pairs.iter().copied().unzip();
                let want = wide(&g, &h, before, &node);
                // What the score means: both sides' squared gradients over their hessians.
                if let Some(cut) = want {
                    let side = |g: i64, h: i64| (g * g) as f64 / (h as f64 + node.l2);
                    let plain = side(cut.left.0, cut.left.1) + side(total.0 - cut.left.0, total.1 - cut.left.1);
                    assert!((cut.score - plain).abs() <= 1e-9 * plain.abs().max(1.0));
                }
                for level in Level::ALL.into_iter().filter(|l| *l <= cpu::available()) {
                    for sparse in [false, true] {
                        let got = packed_on(level, &packed, (before.0 << 32) + before.1, &node, sparse);
                        assert_eq!(got, want, "{level:?}, {n} bins, round {round}");
                    }
                }
            }
        }
    }
}
