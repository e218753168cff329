//! The cut of a column's bins that lowers a loss most.

use crate::cpu::{self, Level, dispatch};

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

/// The best cut of packed sums of at most 65,536 rows, the lowest among equals, where one scores above `floor`; `before` lies
/// left of the first bin.
pub fn packed(sums: &[i64], before: i64, node: &Node, floor: f64) -> Option<Cut> {
    packed_on(cpu::level(), sums, before, node, floor)
}

fn packed_on(level: Level, sums: &[i64], before: i64, node: &Node, floor: f64) -> Option<Cut> {
    if node.hessian < 2 * node.least {
        return None;
    }
    #[cfg(target_arch = "x86_64")]
    if level == Level::Avx512 {
        #[expect(unsafe_code, reason = "instructions beyond the target's base")]
        // SAFETY: the level was found on this CPU.
        return unsafe { x86::packed_512(sums, before, node, floor) };
    }
    let _ = level;
    let mut left = before;
    plain(node, sums.len(), floor, |i| {
        left += sums[i];
        (left >> 32, left & 0xffff_ffff)
    })
}

/// The best cut of sums of gradients and hessians apart, where one scores above `floor`.
pub fn wide(gradients: &[i64], hessians: &[i64], before: (i64, i64), node: &Node, floor: f64) -> Option<Cut> {
    let n = gradients.len().min(hessians.len());
    let (mut g, mut h) = before;
    plain(node, n, floor, |i| {
        g += gradients[i];
        h += hessians[i];
        (g, h)
    })
}

dispatch! {
    /// What both sides of each cut score, from the sums of gradients and hessians of either; -infinity where a side has too
    /// little.
    ///
    /// Shapes: of one length.
    pub fn twos(sums: &[(i64, i64)], node: &Node, scores: &mut [f64]) {
        let most = node.hessian - node.least;
        for (&(g, h), score) in sums.iter().zip(scores) {
            let both = node.both(g as f64, h as f64);
            *score = if h < node.least || h > most { f64::NEG_INFINITY } else { both };
        }
    }
}

/// The scalar twin: `next` gives the sums up to each bin in turn.
#[inline(always)]
fn plain(node: &Node, bins: usize, floor: f64, mut next: impl FnMut(usize) -> (i64, i64)) -> Option<Cut> {
    let most = node.hessian - node.least;
    let mut best = Cut { score: floor, bin: usize::MAX, left: (0, 0) };
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

    use super::{Cut, Node};

    /// Sums up to each lane, its own included.
    #[target_feature(enable = "avx512f")]
    fn up_to(x: __m512i) -> __m512i {
        let zero = _mm512_setzero_si512();
        let x = _mm512_add_epi64(x, _mm512_alignr_epi64::<7>(x, zero));
        let x = _mm512_add_epi64(x, _mm512_alignr_epi64::<6>(x, zero));
        _mm512_add_epi64(x, _mm512_alignr_epi64::<4>(x, zero))
    }

    /// A node in registers.
    struct Wide {
        gradient: __m512d,
        hessian: __m512d,
        l2: __m512d,
        least: __m512i,
        most: __m512i,
    }

    impl Wide {
        /// What both sides of eight cuts score, over a denominator each, which comes second.
        #[target_feature(enable = "avx512f,avx512dq")]
        fn both(&self, left: __m512i) -> (__m512d, __m512d) {
            let g = _mm512_cvtepi64_pd(_mm512_srai_epi64::<32>(left));
            let h = _mm512_cvtepi64_pd(hessians(left));
            let (right, rest) = (_mm512_sub_pd(self.gradient, g), _mm512_sub_pd(self.hessian, h));
            let (a, b) = (_mm512_add_pd(h, self.l2), _mm512_add_pd(rest, self.l2));
            let sum =
                _mm512_add_pd(_mm512_mul_pd(_mm512_mul_pd(g, g), b), _mm512_mul_pd(_mm512_mul_pd(right, right), a));
            (sum, _mm512_mul_pd(a, b))
        }
    }

    #[target_feature(enable = "avx512f")]
    fn hessians(sums: __m512i) -> __m512i {
        _mm512_and_si512(sums, _mm512_set1_epi64(0xffff_ffff))
    }

    /// # Safety
    /// The CPU has these parts of AVX-512.
    #[target_feature(enable = "avx512f,avx512dq,avx512bw,avx512vl,avx2")]
    pub(super) unsafe fn packed_512(sums: &[i64], before: i64, node: &Node, floor: f64) -> Option<Cut> {
        let n = sums.len();
        let last = _mm512_set1_epi64(7);
        let wide = Wide {
            gradient: _mm512_set1_pd(node.gradient as f64),
            hessian: _mm512_set1_pd(node.hessian as f64),
            l2: _mm512_set1_pd(node.l2),
            least: _mm512_set1_epi64(node.least),
            most: _mm512_set1_epi64(node.hessian - node.least),
        };
        // Most cuts are worse than the best one by more than rounding: they need no division.
        let nearly = _mm512_set1_pd(1.0 - 1e-12);
        let mut best = _mm512_set1_pd(floor);
        let mut floor = _mm512_mul_pd(best, nearly);
        let mut place = _mm512_set1_epi64(-1);
        let mut lefts = _mm512_setzero_si512();
        let mut carry = _mm512_set1_epi64(before);
        let mut beaten: __mmask8 = 0;
        let mut at = 0;
        while at < n {
            let here = u16::MAX >> 16usize.saturating_sub(n - at);
            // SAFETY: the masks leave out what lies beyond the sums.
            let (a, b) = unsafe {
                let from = sums.as_ptr().add(at);
                (
                    _mm512_maskz_loadu_epi64(here as __mmask8, from),
                    _mm512_maskz_loadu_epi64((here >> 8) as __mmask8, from.wrapping_add(8)),
                )
            };
            let any = _mm512_or_si512(a, b);
            if at > 0 && _mm512_test_epi64_mask(any, any) == 0 {
                // Cuts after empty bins part rows as the one before them does.
                at += 16;
                continue;
            }
            let (a, b) = (up_to(a), up_to(b));
            let b = _mm512_add_epi64(b, _mm512_permutexvar_epi64(last, a));
            let pair = [_mm512_add_epi64(a, carry), _mm512_add_epi64(b, carry)];
            carry = _mm512_permutexvar_epi64(last, pair[1]);
            let h = [hessians(pair[0]), hessians(pair[1])];
            let low = _mm512_mask_cmple_epi64_mask(here as __mmask8, h[0], wide.most);
            if low == 0 {
                // Sums of hessians don't fall.
                break;
            }
            let fits = [
                _mm512_mask_cmple_epi64_mask(low, wide.least, h[0]),
                _mm512_mask_cmple_epi64_mask(
                    _mm512_mask_cmple_epi64_mask((here >> 8) as __mmask8, h[1], wide.most),
                    wide.least,
                    h[1],
                ),
            ];
            if fits[0] | fits[1] != 0 {
                let both = [wide.both(pair[0]), wide.both(pair[1])];
                let maybe = |i: usize, floor| {
                    let (sum, under) = both[i];
                    _mm512_mask_cmp_pd_mask::<_CMP_GT_OQ>(fits[i], sum, _mm512_mul_pd(floor, under))
                };
                if maybe(0, floor) | maybe(1, floor) != 0 {
                    for (i, (sum, under)) in both.into_iter().enumerate() {
                        let score = _mm512_div_pd(sum, under);
                        let better = _mm512_mask_cmp_pd_mask::<_CMP_GT_OQ>(fits[i], score, best);
                        beaten |= better;
                        best = _mm512_mask_mov_pd(best, better, score);
                        let bins = _mm512_add_epi64(
                            _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7),
                            _mm512_set1_epi64((at + 8 * i) as i64),
                        );
                        place = _mm512_mask_mov_epi64(place, better, bins);
                        lefts = _mm512_mask_mov_epi64(lefts, better, pair[i]);
                    }
                    // All lanes together know how good a cut must be.
                    floor = _mm512_mul_pd(_mm512_set1_pd(_mm512_reduce_max_pd(best)), nearly);
                }
            }
            at += 16;
        }
        if beaten == 0 {
            return None;
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
            let bin = order as usize;
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
    use alloc::vec;
    use alloc::vec::Vec;

    #[test]
    fn every_level_finds_the_cut_of_the_plain_form() {
        let random = |i: u64| corten_core::random::bits(3, 4, i);
        for n in [1usize, 2, 7, 8, 9, 63, 250, 256] {
            for round in 0..20u64 {
                let pairs: Vec<(i64, i64)> = (0..n as u64)
                    .map(|i| {
                        let r = random(i + 1000 * round);
                        // Many empty bins, also many in a row, and ties.
                        if r % 3 == 0 || i / 32 % 2 == round % 3 {
                            (0, 0)
                        } else {
                            ((r >> 8) as i64 % 50 - 20, (r >> 40) as i64 % 9 + 1)
                        }
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
                let all = wide(&g, &h, before, &node, f64::NEG_INFINITY);
                // What the score means: both sides' squared gradients over their hessians.
                if let Some(cut) = all {
                    let side = |g: i64, h: i64| (g * g) as f64 / (h as f64 + node.l2);
                    let plain = side(cut.left.0, cut.left.1) + side(total.0 - cut.left.0, total.1 - cut.left.1);
                    assert!((cut.score - plain).abs() <= 1e-9 * plain.abs().max(1.0));
                }
                // Cuts of two bins each: what one side holds, or the other.
                let mut scores = vec![0.0; pairs.len()];
                twos(&pairs, &node, &mut scores);
                let others: Vec<(i64, i64)> = pairs.iter().map(|p| (node.gradient - p.0, node.hessian - p.1)).collect();
                let mut same = scores.clone();
                twos(&others, &node, &mut same);
                assert_eq!(scores, same, "{n} bins, round {round}");
                for (&pair, &score) in pairs.iter().zip(&scores) {
                    let one = wide(&[pair.0], &[pair.1], (0, 0), &node, f64::NEG_INFINITY);
                    assert_eq!(one.map_or(f64::NEG_INFINITY, |cut| cut.score), score);
                }
                // What must be beaten leaves the best cut as it is, or none.
                let most = all.map_or(1.0, |cut| cut.score);
                for floor in [f64::NEG_INFINITY, 0.0, most / 2.0, most.next_down(), most, most.next_up()] {
                    let want = all.filter(|cut| cut.score > floor);
                    assert_eq!(wide(&g, &h, before, &node, floor), want, "{n} bins, round {round}");
                    for level in Level::ALL.into_iter().filter(|l| *l <= cpu::available()) {
                        let got = packed_on(level, &packed, (before.0 << 32) + before.1, &node, floor);
                        assert_eq!(got, want, "{level:?}, {n} bins, round {round}");
                    }
                }
            }
        }
    }
}
