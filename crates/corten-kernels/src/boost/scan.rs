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
    // No cut leaves enough on both sides. From here on all numbers of a node fit 32 bits.
    if node.hessian / 2 < node.least {
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
    }

    impl Wide {
        /// What both sides of eight cuts score, over a denominator each, which comes second.
        #[target_feature(enable = "avx512f,avx512dq")]
        fn both(&self, left: __m512i) -> (__m512d, __m512d) {
            let g = _mm512_cvtepi64_pd(_mm512_srai_epi64::<32>(left));
            let h = _mm512_cvtepi64_pd(_mm512_and_si512(left, _mm512_set1_epi64(0xffff_ffff)));
            let (right, rest) = (_mm512_sub_pd(self.gradient, g), _mm512_sub_pd(self.hessian, h));
            let (a, b) = (_mm512_add_pd(h, self.l2), _mm512_add_pd(rest, self.l2));
            let sum =
                _mm512_add_pd(_mm512_mul_pd(_mm512_mul_pd(g, g), b), _mm512_mul_pd(_mm512_mul_pd(right, right), a));
            (sum, _mm512_mul_pd(a, b))
        }
    }

    /// A node in registers, for a look at sixteen cuts: their sums fit 32 bits.
    struct Narrow {
        gradient: __m512i,
        hessian: __m512i,
        l2: __m512,
        least: __m512i,
        most: __m512i,
    }

    /// Denominators beyond single precision aren't looked at in it.
    const MOST_L2: f64 = (1u64 << 40) as f64;

    impl Narrow {
        /// Which of the cuts may score above `floor`, which must lie below what has to be beaten by more than rounding: all
        /// differences are taken as integers and all terms are positive, so a score is off by less than 20 units of 2^-24.
        #[target_feature(enable = "avx512f")]
        fn above(&self, of: __mmask16, g: __m512i, h: __m512i, floor: __m512) -> __mmask16 {
            let (right, rest) = (_mm512_sub_epi32(self.gradient, g), _mm512_sub_epi32(self.hessian, h));
            let (g, right) = (_mm512_cvtepi32_ps(g), _mm512_cvtepi32_ps(right));
            let a = _mm512_add_ps(_mm512_cvtepu32_ps(h), self.l2);
            let b = _mm512_add_ps(_mm512_cvtepu32_ps(rest), self.l2);
            let sum = _mm512_fmadd_ps(_mm512_mul_ps(g, g), b, _mm512_mul_ps(_mm512_mul_ps(right, right), a));
            _mm512_mask_cmp_ps_mask::<_CMP_GT_OQ>(of, sum, _mm512_mul_ps(floor, _mm512_mul_ps(a, b)))
        }
    }

    /// A bound that lies below `floor` by more than [`Narrow::above`] rounds.
    #[target_feature(enable = "avx512f")]
    fn nearly(floor: f64) -> __m512 {
        _mm512_set1_ps((floor * (1.0 - 1e-5)) as f32)
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
        };
        let narrow = Narrow {
            gradient: _mm512_set1_epi32(node.gradient as i32),
            hessian: _mm512_set1_epi32(node.hessian as i32),
            l2: _mm512_set1_ps(node.l2 as f32),
            least: _mm512_set1_epi32(node.least as i32),
            most: _mm512_set1_epi32((node.hessian - node.least) as i32),
        };
        // The even and the odd halves of the words of two registers.
        let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
        let odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
        let all = if node.l2 > MOST_L2 { u16::MAX } else { 0 };
        let mut best = _mm512_set1_pd(floor);
        let mut floor = nearly(floor);
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
            let (a, b) = (up_to(a), up_to(b));
            let b = _mm512_add_epi64(b, _mm512_permutexvar_epi64(last, a));
            let pair = [_mm512_add_epi64(a, carry), _mm512_add_epi64(b, carry)];
            carry = _mm512_add_epi64(carry, _mm512_permutexvar_epi64(last, b));
            let h = _mm512_permutex2var_epi32(pair[0], even, pair[1]);
            let low = _mm512_mask_cmple_epu32_mask(here, h, narrow.most);
            if low == 0 {
                // Sums of hessians don't fall.
                break;
            }
            let fits = _mm512_mask_cmple_epu32_mask(low, narrow.least, h);
            let g = _mm512_permutex2var_epi32(pair[0], odd, pair[1]);
            // One question for all that speaks against a block: which of them it is no CPU foresees.
            if narrow.above(fits, g, h, floor) | (fits & all) != 0 {
                for (i, &left) in pair.iter().enumerate() {
                    let (sum, under) = wide.both(left);
                    let score = _mm512_div_pd(sum, under);
                    let fits = (fits >> (8 * i)) as __mmask8;
                    let better = _mm512_mask_cmp_pd_mask::<_CMP_GT_OQ>(fits, score, best);
                    beaten |= better;
                    best = _mm512_mask_mov_pd(best, better, score);
                    let bins = _mm512_add_epi64(
                        _mm512_setr_epi64(0, 1, 2, 3, 4, 5, 6, 7),
                        _mm512_set1_epi64((at + 8 * i) as i64),
                    );
                    place = _mm512_mask_mov_epi64(place, better, bins);
                    lefts = _mm512_mask_mov_epi64(lefts, better, left);
                }
                // All lanes together know how good a cut must be.
                floor = nearly(_mm512_reduce_max_pd(best));
            }
            at += 16;
        }
        if beaten == 0 {
            return None;
        }
        // The lowest bin among the lanes that score most.
        let score = _mm512_mask_reduce_max_pd(beaten, best);
        let top = _mm512_mask_cmpeq_pd_mask(beaten, best, _mm512_set1_pd(score));
        let bin = _mm512_mask_reduce_min_epu64(top, place);
        let here = _mm512_mask_cmpeq_epi64_mask(top, place, _mm512_set1_epi64(bin as i64));
        let left = _mm512_mask_reduce_or_epi64(here, lefts);
        Some(Cut { score, bin: bin as usize, left: (left >> 32, left & 0xffff_ffff) })
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
                // Small sums, and some that need all of their 32 bits.
                let (gradient, hessian) = if round < 10 { (1, 1) } else { (99_991, 999_983) };
                let pairs: Vec<(i64, i64)> = (0..n as u64)
                    .map(|i| {
                        let r = random(i + 1000 * round);
                        // Many empty bins, also many in a row, and ties.
                        if r % 3 == 0 || i / 32 % 2 == round % 3 {
                            (0, 0)
                        } else {
                            (gradient * ((r >> 8) as i64 % 50 - 20), hessian * ((r >> 40) as i64 % 9 + 1))
                        }
                    })
                    .collect();
                let before = if round % 2 == 0 { (0, 0) } else { (-33, 21) };
                let total = pairs.iter().fold(before, |a, p| (a.0 + p.0, a.1 + p.1));
                let node = Node {
                    gradient: total.0,
                    hessian: total.1.max(1),
                    least: hessian * (1 + (round as i64 % 4) * 5),
                    l2: [0.0, 1.5, 1.5, 1e14][round as usize % 4],
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
                // Sides that can't have enough, also where twice as much isn't a number.
                for least in [node.hessian / 2 + 1, 1 << 62, i64::MAX] {
                    for level in Level::ALL.into_iter().filter(|l| *l <= cpu::available()) {
                        let node = Node { least, ..node };
                        let got = packed_on(level, &packed, (before.0 << 32) + before.1, &node, f64::NEG_INFINITY);
                        assert_eq!(got, None, "{level:?}, {least}");
                    }
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
