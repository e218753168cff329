//! Eight rows side by side, in the registers of each level.
//!
//! All implementations do the same operations on each row; [`Plain`] is the twin of the others.

/// Rows of a vector.
pub(super) const WIDTH: usize = 8;

/// Vectors of eight numbers, and of eight yes-or-noes.
///
/// The methods of a level may only be reached from code that is compiled for it: see `at_level`.
pub(super) trait Simd {
    /// Eight numbers.
    type V: Copy;
    /// Eight answers.
    type M: Copy;
    fn splat(x: f64) -> Self::V;
    fn load(from: &[f64; WIDTH]) -> Self::V;
    fn store(v: Self::V, to: &mut [f64; WIDTH]);
    fn mul(a: Self::V, b: Self::V) -> Self::V;
    fn add(a: Self::V, b: Self::V) -> Self::V;
    /// One number or another.
    fn choose(m: Self::M, yes: f64, no: f64) -> Self::V;
    /// A number, or what lies in a vector.
    fn choose_or(m: Self::M, yes: f64, no: Self::V) -> Self::V;
    /// Zero where the answer is no.
    fn keep(m: Self::M, v: Self::V) -> Self::V;
    /// Whether codes are above a threshold.
    fn above(codes: &[u16; WIDTH], threshold: u16) -> Self::M;
    fn of_bits(bits: u8) -> Self::M;
    fn and(a: Self::M, b: Self::M) -> Self::M;
    /// `b` where `a` is no.
    fn and_not(a: Self::M, b: Self::M) -> Self::M;
}

/// Any CPU.
pub(super) struct Plain;

impl Simd for Plain {
    type V = [f64; WIDTH];
    type M = [u64; WIDTH];

    #[inline(always)]
    fn splat(x: f64) -> Self::V {
        [x; WIDTH]
    }

    #[inline(always)]
    fn load(from: &[f64; WIDTH]) -> Self::V {
        *from
    }

    #[inline(always)]
    fn store(v: Self::V, to: &mut [f64; WIDTH]) {
        *to = v;
    }

    #[inline(always)]
    fn mul(a: Self::V, b: Self::V) -> Self::V {
        core::array::from_fn(|i| a[i] * b[i])
    }

    #[inline(always)]
    fn add(a: Self::V, b: Self::V) -> Self::V {
        core::array::from_fn(|i| a[i] + b[i])
    }

    #[inline(always)]
    fn choose(m: Self::M, yes: f64, no: f64) -> Self::V {
        Self::choose_or(m, yes, [no; WIDTH])
    }

    #[inline(always)]
    fn choose_or(m: Self::M, yes: f64, no: Self::V) -> Self::V {
        core::array::from_fn(|i| f64::from_bits(yes.to_bits() & m[i] | no[i].to_bits() & !m[i]))
    }

    #[inline(always)]
    fn keep(m: Self::M, v: Self::V) -> Self::V {
        core::array::from_fn(|i| f64::from_bits(v[i].to_bits() & m[i]))
    }

    #[inline(always)]
    fn above(codes: &[u16; WIDTH], threshold: u16) -> Self::M {
        core::array::from_fn(|i| u64::from(codes[i] > threshold).wrapping_neg())
    }

    #[inline(always)]
    fn of_bits(bits: u8) -> Self::M {
        core::array::from_fn(|i| u64::from(bits >> i & 1).wrapping_neg())
    }

    #[inline(always)]
    fn and(a: Self::M, b: Self::M) -> Self::M {
        core::array::from_fn(|i| a[i] & b[i])
    }

    #[inline(always)]
    fn and_not(a: Self::M, b: Self::M) -> Self::M {
        core::array::from_fn(|i| !a[i] & b[i])
    }
}

#[cfg(all(target_arch = "x86_64", feature = "std"))]
pub(super) use x86::{Avx2, Avx512};

#[cfg(all(target_arch = "x86_64", feature = "std"))]
#[expect(unsafe_code, reason = "instructions of a level; loads and stores go through arrays of eight")]
mod x86 {
    use core::arch::x86_64::*;

    use super::{Simd, WIDTH};

    /// AVX2: two registers a vector.
    pub(in super::super) struct Avx2;

    // SAFETY (all blocks below): reached only from code compiled for AVX2, after `available()` found it; pointers come
    // from arrays of the length that is read or written.
    impl Simd for Avx2 {
        type V = [__m256d; 2];
        type M = [__m256d; 2];

        #[inline(always)]
        fn splat(x: f64) -> Self::V {
            // SAFETY: see above.
            unsafe { [_mm256_set1_pd(x); 2] }
        }

        #[inline(always)]
        fn load(from: &[f64; WIDTH]) -> Self::V {
            // SAFETY: see above.
            unsafe { [_mm256_loadu_pd(from.as_ptr()), _mm256_loadu_pd(from.as_ptr().add(4))] }
        }

        #[inline(always)]
        fn store(v: Self::V, to: &mut [f64; WIDTH]) {
            // SAFETY: see above.
            unsafe {
                _mm256_storeu_pd(to.as_mut_ptr(), v[0]);
                _mm256_storeu_pd(to.as_mut_ptr().add(4), v[1]);
            }
        }

        #[inline(always)]
        fn mul(a: Self::V, b: Self::V) -> Self::V {
            // SAFETY: see above.
            unsafe { [_mm256_mul_pd(a[0], b[0]), _mm256_mul_pd(a[1], b[1])] }
        }

        #[inline(always)]
        fn add(a: Self::V, b: Self::V) -> Self::V {
            // SAFETY: see above.
            unsafe { [_mm256_add_pd(a[0], b[0]), _mm256_add_pd(a[1], b[1])] }
        }

        #[inline(always)]
        fn choose(m: Self::M, yes: f64, no: f64) -> Self::V {
            Self::choose_or(m, yes, Self::splat(no))
        }

        #[inline(always)]
        fn choose_or(m: Self::M, yes: f64, no: Self::V) -> Self::V {
            // SAFETY: see above.
            unsafe {
                let yes = _mm256_set1_pd(yes);
                [_mm256_blendv_pd(no[0], yes, m[0]), _mm256_blendv_pd(no[1], yes, m[1])]
            }
        }

        #[inline(always)]
        fn keep(m: Self::M, v: Self::V) -> Self::V {
            Self::and(m, v)
        }

        #[inline(always)]
        fn above(codes: &[u16; WIDTH], threshold: u16) -> Self::M {
            // SAFETY: see above.
            unsafe {
                let codes = _mm_loadu_si128(codes.as_ptr().cast());
                // What is left above the threshold is not zero; inverted in the end.
                let over = _mm_subs_epu16(codes, _mm_set1_epi16(threshold as i16));
                let within = _mm_cmpeq_epi16(over, _mm_setzero_si128());
                let above = _mm_xor_si128(within, _mm_set1_epi16(-1));
                let low = _mm256_cvtepi16_epi64(above);
                let high = _mm256_cvtepi16_epi64(_mm_srli_si128::<8>(above));
                [_mm256_castsi256_pd(low), _mm256_castsi256_pd(high)]
            }
        }

        #[inline(always)]
        fn of_bits(bits: u8) -> Self::M {
            // SAFETY: see above.
            unsafe {
                let all = _mm256_set1_epi64x(i64::from(bits));
                let one = |which: __m256i| _mm256_castsi256_pd(_mm256_cmpeq_epi64(_mm256_and_si256(all, which), which));
                [one(_mm256_set_epi64x(8, 4, 2, 1)), one(_mm256_set_epi64x(128, 64, 32, 16))]
            }
        }

        #[inline(always)]
        fn and(a: Self::M, b: Self::M) -> Self::M {
            // SAFETY: see above.
            unsafe { [_mm256_and_pd(a[0], b[0]), _mm256_and_pd(a[1], b[1])] }
        }

        #[inline(always)]
        fn and_not(a: Self::M, b: Self::M) -> Self::M {
            // SAFETY: see above.
            unsafe { [_mm256_andnot_pd(a[0], b[0]), _mm256_andnot_pd(a[1], b[1])] }
        }
    }

    /// AVX-512: one register a vector, answers in a mask.
    pub(in super::super) struct Avx512;

    // SAFETY (all blocks below): reached only from code compiled for AVX-512, after `available()` found it; pointers
    // come from arrays of the length that is read or written.
    impl Simd for Avx512 {
        type V = __m512d;
        type M = __mmask8;

        #[inline(always)]
        fn splat(x: f64) -> Self::V {
            // SAFETY: see above.
            unsafe { _mm512_set1_pd(x) }
        }

        #[inline(always)]
        fn load(from: &[f64; WIDTH]) -> Self::V {
            // SAFETY: see above.
            unsafe { _mm512_loadu_pd(from.as_ptr()) }
        }

        #[inline(always)]
        fn store(v: Self::V, to: &mut [f64; WIDTH]) {
            // SAFETY: see above.
            unsafe { _mm512_storeu_pd(to.as_mut_ptr(), v) }
        }

        #[inline(always)]
        fn mul(a: Self::V, b: Self::V) -> Self::V {
            // SAFETY: see above.
            unsafe { _mm512_mul_pd(a, b) }
        }

        #[inline(always)]
        fn add(a: Self::V, b: Self::V) -> Self::V {
            // SAFETY: see above.
            unsafe { _mm512_add_pd(a, b) }
        }

        #[inline(always)]
        fn choose(m: Self::M, yes: f64, no: f64) -> Self::V {
            Self::choose_or(m, yes, Self::splat(no))
        }

        #[inline(always)]
        fn choose_or(m: Self::M, yes: f64, no: Self::V) -> Self::V {
            // SAFETY: see above.
            unsafe { _mm512_mask_blend_pd(m, no, _mm512_set1_pd(yes)) }
        }

        #[inline(always)]
        fn keep(m: Self::M, v: Self::V) -> Self::V {
            // SAFETY: see above.
            unsafe { _mm512_maskz_mov_pd(m, v) }
        }

        #[inline(always)]
        fn above(codes: &[u16; WIDTH], threshold: u16) -> Self::M {
            // SAFETY: see above.
            unsafe { _mm_cmpgt_epu16_mask(_mm_loadu_si128(codes.as_ptr().cast()), _mm_set1_epi16(threshold as i16)) }
        }

        #[inline(always)]
        fn of_bits(bits: u8) -> Self::M {
            bits
        }

        #[inline(always)]
        fn and(a: Self::M, b: Self::M) -> Self::M {
            a & b
        }

        #[inline(always)]
        fn and_not(a: Self::M, b: Self::M) -> Self::M {
            !a & b
        }
    }
}
