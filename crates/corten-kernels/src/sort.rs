//! Sorting: few integers in registers, and floats as integers.

use alloc::vec;
use alloc::vec::Vec;

/// Most integers that a network sorts.
pub const NETWORK: usize = 256;

/// Sorts integers: in a bitonic network (Batcher, AFIPS 1968) where the CPU has AVX-512 and there are at most
/// [`NETWORK`], as the standard library does otherwise.
#[inline]
pub fn ascending(keys: &mut [u32]) {
    #[cfg(all(target_arch = "x86_64", feature = "std"))]
    if keys.len() <= NETWORK && crate::cpu::level() == crate::cpu::Level::Avx512 {
        #[expect(unsafe_code, reason = "instructions beyond the target's base")]
        // SAFETY: level() found AVX-512 on this CPU.
        unsafe {
            network::sort(keys);
        }
        return;
    }
    keys.sort_unstable();
}

/// Sorts sixteen integers in a register.
#[cfg(all(target_arch = "x86_64", feature = "std"))]
#[inline]
#[target_feature(enable = "avx512f")]
pub(crate) fn sixteen(keys: &[u32; 16]) -> [u32; 16] {
    network::sixteen(keys)
}

/// A float, not NaN, as an integer of the same order; -0 comes before 0.
#[inline]
pub fn ordered(x: f64) -> u64 {
    let bits = x.to_bits();
    // All bits of negative numbers turn, the sign alone of others.
    bits ^ (((bits as i64 >> 63) as u64) | 1 << 63)
}

/// The float of [`ordered`].
#[inline]
pub fn unordered(key: u64) -> f64 {
    f64::from_bits(key ^ (((!key as i64 >> 63) as u64) | 1 << 63))
}

/// Numbers from which digits are counted instead of numbers compared.
const COUNTED: usize = 256;
/// Bits of a digit.
const DIGIT: u32 = 11;

/// The places of numbers in ascending order, places ascending among equal ones; NaN is left out, and -0 comes before 0.
///
/// Leading bits are sorted by counting digits; numbers that share them are few, as a rule, and are compared.
pub fn order(values: &[f64]) -> Vec<u32> {
    let there = || (0u32..).zip(values).filter(|(_, x)| !x.is_nan());
    let (mut low, mut high) = (u64::MAX, 0);
    for (_, &x) in there() {
        let key = ordered(x);
        (low, high) = (low.min(key), high.max(key));
    }
    let bits = u64::BITS - high.saturating_sub(low).leading_zeros();
    let shift = bits.saturating_sub(u32::BITS);
    let mut keys: Vec<u64> = Vec::with_capacity(values.len());
    keys.extend(there().map(|(place, &x)| (ordered(x) - low) >> shift << u32::BITS | u64::from(place)));
    if keys.len() <= COUNTED {
        keys.sort_unstable();
    } else {
        by_digits(&mut keys, bits - shift);
    }
    let mut places: Vec<u32> = keys.iter().map(|&key| key as u32).collect();
    if shift > 0 {
        let mut start = 0;
        for run in keys.chunk_by(|a, b| a >> u32::BITS == b >> u32::BITS) {
            let run = start..start + run.len();
            start = run.end;
            if run.len() > 1 {
                places[run].sort_unstable_by_key(|&place| (ordered(values[place as usize]), place));
            }
        }
    }
    places
}

/// Sorts keys by so many bits above the lower half; equal ones stay in order.
fn by_digits(keys: &mut Vec<u64>, bits: u32) {
    let digits = bits.div_ceil(DIGIT).max(1);
    let digit = |key: u64, at: u32| (key >> (u32::BITS + at * DIGIT)) as usize & ((1 << DIGIT) - 1);
    let mut counts = vec![0u32; (digits as usize) << DIGIT];
    for &key in &*keys {
        for at in 0..digits {
            counts[(at as usize) << DIGIT | digit(key, at)] += 1;
        }
    }
    let mut scratch = vec![0; keys.len()];
    for (at, starts) in (0..digits).zip(counts.chunks_exact_mut(1 << DIGIT)) {
        let mut sum = 0;
        for start in &mut *starts {
            let count = *start;
            *start = sum;
            sum += count;
        }
        for &key in &*keys {
            let to = &mut starts[digit(key, at)];
            scratch[*to as usize] = key;
            *to += 1;
        }
        core::mem::swap(keys, &mut scratch);
    }
}

#[cfg(all(target_arch = "x86_64", feature = "std"))]
mod network {
    use core::arch::x86_64::{
        __m512i, _mm512_loadu_si512, _mm512_mask_max_epu32, _mm512_max_epu32, _mm512_min_epu32,
        _mm512_permutexvar_epi32, _mm512_set1_epi32, _mm512_setr_epi32, _mm512_shuffle_epi32, _mm512_shuffle_i32x4,
        _mm512_storeu_si512,
    };

    const LANES: usize = 16;

    /// Sorts at most [`super::NETWORK`] integers.
    #[target_feature(enable = "avx512f")]
    pub(super) fn sort(keys: &mut [u32]) {
        match keys.len().div_ceil(LANES) {
            0 | 1 => padded::<1>(keys),
            2 => padded::<2>(keys),
            3 | 4 => padded::<4>(keys),
            5..=8 => padded::<8>(keys),
            _ => padded::<16>(keys),
        }
    }

    /// Sorts one register's.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(super) fn sixteen(keys: &[u32; LANES]) -> [u32; LANES] {
        let mut out = [0; LANES];
        store(&mut out, sorted(load(keys)));
        out
    }

    /// Sorts in `R` registers, filled up with the greatest integer.
    #[target_feature(enable = "avx512f")]
    fn padded<const R: usize>(keys: &mut [u32]) {
        let mut block = [[u32::MAX; LANES]; R];
        let flat = block.as_flattened_mut();
        flat[..keys.len()].copy_from_slice(keys);
        let mut v = [_mm512_set1_epi32(0); R];
        for (v, b) in v.iter_mut().zip(&block) {
            *v = sorted(load(b));
        }
        let mut width = 1;
        while width < R {
            for start in (0..R).step_by(2 * width) {
                let pair = &mut v[start..start + 2 * width];
                pair[width..].reverse();
                for x in &mut pair[width..] {
                    *x = reversed(*x);
                }
                let mut distance = width;
                while distance > 0 {
                    for i in 0..2 * width {
                        if i & distance == 0 {
                            let (a, b) = (pair[i], pair[i + distance]);
                            pair[i] = _mm512_min_epu32(a, b);
                            pair[i + distance] = _mm512_max_epu32(a, b);
                        }
                    }
                    distance /= 2;
                }
                for x in pair {
                    *x = merged(*x);
                }
            }
            width *= 2;
        }
        for (v, b) in v.iter().zip(&mut block) {
            store(b, *v);
        }
        keys.copy_from_slice(&block.as_flattened()[..keys.len()]);
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load(from: &[u32; LANES]) -> __m512i {
        #[expect(unsafe_code, reason = "a load")]
        // SAFETY: 64 bytes are there, and no alignment is asked for.
        unsafe {
            _mm512_loadu_si512(from.as_ptr().cast())
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn store(to: &mut [u32; LANES], v: __m512i) {
        #[expect(unsafe_code, reason = "a store")]
        // SAFETY: 64 bytes are there, and no alignment is asked for.
        unsafe {
            _mm512_storeu_si512(to.as_mut_ptr().cast(), v);
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn reversed(v: __m512i) -> __m512i {
        let order = _mm512_setr_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
        _mm512_permutexvar_epi32(order, v)
    }

    /// Compares lanes with their partners; lanes in the mask keep the greater one.
    macro_rules! exchange {
        ($v:expr, 1, $greater:expr) => {{
            let p = _mm512_shuffle_epi32::<0b10_11_00_01>($v);
            _mm512_mask_max_epu32(_mm512_min_epu32($v, p), $greater, $v, p)
        }};
        ($v:expr, 2, $greater:expr) => {{
            let p = _mm512_shuffle_epi32::<0b01_00_11_10>($v);
            _mm512_mask_max_epu32(_mm512_min_epu32($v, p), $greater, $v, p)
        }};
        ($v:expr, 4, $greater:expr) => {{
            let p = _mm512_shuffle_i32x4::<0b10_11_00_01>($v, $v);
            _mm512_mask_max_epu32(_mm512_min_epu32($v, p), $greater, $v, p)
        }};
        ($v:expr, 8, $greater:expr) => {{
            let p = _mm512_shuffle_i32x4::<0b01_00_11_10>($v, $v);
            _mm512_mask_max_epu32(_mm512_min_epu32($v, p), $greater, $v, p)
        }};
    }

    /// Sorts the lanes of a register.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn sorted(v: __m512i) -> __m512i {
        let v = exchange!(v, 1, 0b0110_0110_0110_0110);
        let v = exchange!(v, 2, 0b0011_1100_0011_1100);
        let v = exchange!(v, 1, 0b0101_1010_0101_1010);
        let v = exchange!(v, 4, 0b0000_1111_1111_0000);
        let v = exchange!(v, 2, 0b0011_0011_1100_1100);
        let v = exchange!(v, 1, 0b0101_0101_1010_1010);
        merged(v)
    }

    /// Sorts lanes that rise and then fall, or fall and then rise.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn merged(v: __m512i) -> __m512i {
        let v = exchange!(v, 8, 0b1111_1111_0000_0000);
        let v = exchange!(v, 4, 0b1111_0000_1111_0000);
        let v = exchange!(v, 2, 0b1100_1100_1100_1100);
        exchange!(v, 1, 0b1010_1010_1010_1010)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn integers_have_the_order_of_floats_and_give_them_back() {
        let rising = [f64::NEG_INFINITY, -1e300, -1.0, -f64::MIN_POSITIVE, -0.0, 0.0, 5e-324, 1.0, f64::INFINITY];
        assert!(rising.windows(2).all(|w| ordered(w[0]) < ordered(w[1])));
        assert!(rising.iter().all(|x| unordered(ordered(*x)).to_bits() == x.to_bits()));
    }

    #[test]
    fn sorts_as_the_standard_library_does() {
        for n in 0..NETWORK + 20 {
            for modulus in [2u64, 100, 1 << 32] {
                let keys: Vec<u32> =
                    (0..n as u64).map(|i| (corten_core::random::bits(n as u64, modulus, i) % modulus) as u32).collect();
                let (mut ours, mut theirs) = (keys.clone(), keys);
                ascending(&mut ours);
                theirs.sort_unstable();
                assert_eq!(ours, theirs);
            }
        }
    }

    #[test]
    fn places_are_in_the_order_of_numbers() {
        let kinds: [fn(u64) -> f64; 5] = [
            |x| (x % 7) as f64 - 3.0,
            |x| f64::from_bits(x),
            |x| 1.0 + (x % 1000) as f64 * f64::EPSILON,
            |x| if x.is_multiple_of(500) { 1e300 } else { (x % 100_000) as f64 / 7.0 },
            |x| if x.is_multiple_of(3) { f64::NAN } else { -((x % 90) as f64) },
        ];
        for (n, kind) in [0, 1, 2, 255, 257, 3000].into_iter().flat_map(|n| kinds.map(|kind| (n, kind))) {
            let values: Vec<f64> = (0..n).map(|i| kind(corten_core::random::bits(3, n, i))).collect();
            let mut expected: Vec<u32> = (0..n as u32).filter(|&i| !values[i as usize].is_nan()).collect();
            expected.sort_by_key(|&i| ordered(values[i as usize]));
            assert_eq!(order(&values), expected);
        }
    }
}
