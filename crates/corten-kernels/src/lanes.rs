//! Sixteen codes at a time, for work that is compiled as a whole for each [`Level`](crate::cpu::Level).
//!
//! A kernel of a few instructions costs more to call than to run. [`run`] compiles what calls it together with it: all
//! that is marked `#[inline(always)]` below [`Work::run`].

use crate::splits::{SET, span_by_lanes};

/// Instructions on sixteen codes.
pub trait Lanes: Copy {
    /// Least and greatest code of the rows of a set; `(u32::MAX, 0)` of an empty one.
    fn span(self, codes: &[u32; SET], set: u16) -> (u32, u32);
    /// The rows whose code is at most `last`, once `shift` is added to both: codes that wrap around then come first.
    fn up_to(self, codes: &[u32; SET], last: u32, shift: u32) -> u16;
    /// The codes at some rows times a stride; 0 where that lies beyond the end.
    fn gather(self, codes: &[u32], stride: u32, rows: &[u32; SET]) -> [u32; SET];
    /// The same of codes of 16 bits.
    fn gather_u16(self, codes: &[u16], stride: u32, rows: &[u32; SET]) -> [u32; SET];
    /// The same of codes of 8 bits.
    fn gather_u8(self, codes: &[u8], stride: u32, rows: &[u32; SET]) -> [u32; SET];
    /// In ascending order.
    fn sorted(self, keys: &[u32; SET]) -> [u32; SET];
    /// What stands at some places, of which four bits count.
    fn permuted(self, from: &[u32; SET], at: &[u32; SET]) -> [u32; SET];
    /// Sums up to each lane, its own number included.
    fn sums_up_to(self, x: &[u32; SET]) -> [u32; SET];
    /// The members of a set, in order; what stands behind them is any of the others.
    fn members(self, set: u16, from: &[u32; SET]) -> [u32; SET];
    /// The same of numbers, by the lower half of the set.
    fn members_f64(self, set: u16, from: &[f64; HALF]) -> [f64; HALF];
}

/// Numbers of twice the width in a register.
pub const HALF: usize = SET / 2;

/// What is compiled for each level.
pub trait Work {
    /// What comes of it.
    type Out;
    /// Does it; to be marked `#[inline(always)]`.
    fn run<L: Lanes>(self, lanes: L) -> Self::Out;
}

/// Lanes in loops, the oracle of the others.
#[derive(Clone, Copy, Debug)]
pub struct Plain;

impl Lanes for Plain {
    #[inline(always)]
    fn span(self, codes: &[u32; SET], set: u16) -> (u32, u32) {
        span_by_lanes(codes, set)
    }

    #[inline(always)]
    fn up_to(self, codes: &[u32; SET], last: u32, shift: u32) -> u16 {
        let mut set = 0u32;
        for lane in 0..SET {
            set |= u32::from(codes[lane].wrapping_add(shift) <= last.wrapping_add(shift)) << lane;
        }
        set as u16
    }

    #[inline(always)]
    fn gather(self, codes: &[u32], stride: u32, rows: &[u32; SET]) -> [u32; SET] {
        gathered(codes, stride, rows)
    }

    #[inline(always)]
    fn gather_u16(self, codes: &[u16], stride: u32, rows: &[u32; SET]) -> [u32; SET] {
        gathered(codes, stride, rows)
    }

    #[inline(always)]
    fn gather_u8(self, codes: &[u8], stride: u32, rows: &[u32; SET]) -> [u32; SET] {
        gathered(codes, stride, rows)
    }

    #[inline(always)]
    fn sorted(self, keys: &[u32; SET]) -> [u32; SET] {
        let mut out = *keys;
        out.sort_unstable();
        out
    }

    #[inline(always)]
    fn permuted(self, from: &[u32; SET], at: &[u32; SET]) -> [u32; SET] {
        at.map(|at| from[at as usize % SET])
    }

    #[inline(always)]
    fn sums_up_to(self, x: &[u32; SET]) -> [u32; SET] {
        let mut sum = 0u32;
        x.map(|x| {
            sum = sum.wrapping_add(x);
            sum
        })
    }

    #[inline(always)]
    fn members(self, set: u16, from: &[u32; SET]) -> [u32; SET] {
        members(set, from)
    }

    #[inline(always)]
    fn members_f64(self, set: u16, from: &[f64; HALF]) -> [f64; HALF] {
        members(set, from)
    }
}

#[inline(always)]
fn gathered<T: Copy + Into<u32>>(codes: &[T], stride: u32, rows: &[u32; SET]) -> [u32; SET] {
    rows.map(|row| codes.get(row as usize * stride as usize).map_or(0, |&code| code.into()))
}

#[inline(always)]
fn members<T: Copy, const N: usize>(set: u16, from: &[T; N]) -> [T; N] {
    let (mut out, mut count) = (*from, 0);
    for (lane, &x) in from.iter().enumerate() {
        // Written in any case, counted where it is a member: no branch.
        out[count] = x;
        count += usize::from(set >> lane & 1);
    }
    out
}

/// Does work by the best instructions that the CPU has and [`level`](crate::cpu::level) allows.
#[inline]
pub fn run<W: Work>(work: W) -> W::Out {
    #[cfg(all(target_arch = "x86_64", feature = "std"))]
    {
        use crate::cpu::Level;
        let level = if x86::counts() { crate::cpu::level() } else { Level::Plain };
        match level {
            Level::Plain | Level::Neon => {}
            #[expect(unsafe_code, reason = "instructions beyond the target's base")]
            // SAFETY: level() found AVX2 on this CPU, and counts() the others.
            Level::Avx2 => return unsafe { x86::avx2(work) },
            #[expect(unsafe_code, reason = "instructions beyond the target's base")]
            // SAFETY: level() found these parts of AVX-512 on this CPU, and counts() the others.
            Level::Avx512 => return unsafe { x86::avx512(work) },
        }
    }
    work.run(Plain)
}

#[cfg(all(target_arch = "x86_64", feature = "std"))]
mod x86 {
    use core::arch::x86_64::{
        _mm512_add_epi32, _mm512_alignr_epi32, _mm512_and_si512, _mm512_cmple_epu32_mask, _mm512_cmplt_epu32_mask,
        _mm512_i32gather_epi32, _mm512_loadu_pd, _mm512_loadu_si512, _mm512_mask_compress_epi32,
        _mm512_mask_compress_pd, _mm512_mask_i32gather_epi32, _mm512_mask_reduce_max_epu32,
        _mm512_mask_reduce_min_epu32, _mm512_mullo_epi32, _mm512_permutexvar_epi32, _mm512_set1_epi32,
        _mm512_setzero_si512, _mm512_storeu_pd, _mm512_storeu_si512,
    };

    use super::{HALF, Lanes, Plain, SET, Work};

    /// Whether the CPU counts bits.
    pub(super) fn counts() -> bool {
        std::is_x86_feature_detected!("popcnt")
            && std::is_x86_feature_detected!("bmi1")
            && std::is_x86_feature_detected!("bmi2")
    }

    #[target_feature(enable = "avx2,popcnt,bmi1,bmi2")]
    pub(super) fn avx2<W: Work>(work: W) -> W::Out {
        work.run(Plain)
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,popcnt,bmi1,bmi2")]
    pub(super) fn avx512<W: Work>(work: W) -> W::Out {
        work.run(Avx512(()))
    }

    /// Lanes of a register; only made where AVX-512 is.
    #[derive(Clone, Copy)]
    struct Avx512(());

    /// Codes of `BYTES` bytes; `None` where a word from one of them on goes beyond the end.
    #[inline(always)]
    fn narrow<T, const BYTES: i32>(codes: &[T], stride: u32, rows: &[u32; SET]) -> Option<[u32; SET]> {
        let end = i32::try_from(codes.len()).ok()? - (3 / BYTES);
        let mut out = [0; SET];
        #[expect(unsafe_code, reason = "instructions beyond the target's base")]
        // SAFETY: this is only called where AVX-512 is; words are read only where all of them start at least four bytes
        // before the end of the codes, at places that 31 bits hold; 64 bytes are at the other ends, and no alignment is
        // asked for.
        unsafe {
            let rows = _mm512_loadu_si512(rows.as_ptr().cast());
            let places = _mm512_mullo_epi32(rows, _mm512_set1_epi32(stride as i32));
            if end < 0 || _mm512_cmplt_epu32_mask(places, _mm512_set1_epi32(end)) != u16::MAX {
                return None;
            }
            let words = _mm512_i32gather_epi32::<BYTES>(places, codes.as_ptr().cast());
            let low = _mm512_and_si512(words, _mm512_set1_epi32(if BYTES == 1 { 0xff } else { 0xffff }));
            _mm512_storeu_si512(out.as_mut_ptr().cast(), low);
        }
        Some(out)
    }

    impl Lanes for Avx512 {
        #[inline(always)]
        fn span(self, codes: &[u32; SET], set: u16) -> (u32, u32) {
            #[expect(unsafe_code, reason = "instructions beyond the target's base")]
            // SAFETY: this is only made where AVX-512 is; 64 bytes are there, and no alignment is asked for.
            unsafe {
                let codes = _mm512_loadu_si512(codes.as_ptr().cast());
                (_mm512_mask_reduce_min_epu32(set, codes), _mm512_mask_reduce_max_epu32(set, codes))
            }
        }

        #[inline(always)]
        fn up_to(self, codes: &[u32; SET], last: u32, shift: u32) -> u16 {
            #[expect(unsafe_code, reason = "instructions beyond the target's base")]
            // SAFETY: this is only made where AVX-512 is; 64 bytes are there, and no alignment is asked for.
            unsafe {
                let codes =
                    _mm512_add_epi32(_mm512_loadu_si512(codes.as_ptr().cast()), _mm512_set1_epi32(shift as i32));
                _mm512_cmple_epu32_mask(codes, _mm512_set1_epi32(last.wrapping_add(shift) as i32))
            }
        }

        #[inline(always)]
        fn gather(self, codes: &[u32], stride: u32, rows: &[u32; SET]) -> [u32; SET] {
            let Ok(end) = i32::try_from(codes.len()) else { return Plain.gather(codes, stride, rows) };
            let mut out = [0; SET];
            #[expect(unsafe_code, reason = "instructions beyond the target's base")]
            // SAFETY: this is only made where AVX-512 is; of the codes only those at places below their number are read,
            // which 31 bits hold; 64 bytes are at the other ends, and no alignment is asked for.
            unsafe {
                let rows = _mm512_loadu_si512(rows.as_ptr().cast());
                let places = _mm512_mullo_epi32(rows, _mm512_set1_epi32(stride as i32));
                let there = _mm512_cmplt_epu32_mask(places, _mm512_set1_epi32(end));
                let zero = _mm512_setzero_si512();
                let found = _mm512_mask_i32gather_epi32::<4>(zero, there, places, codes.as_ptr().cast());
                _mm512_storeu_si512(out.as_mut_ptr().cast(), found);
            }
            out
        }

        #[inline(always)]
        fn gather_u16(self, codes: &[u16], stride: u32, rows: &[u32; SET]) -> [u32; SET] {
            narrow::<u16, 2>(codes, stride, rows).unwrap_or_else(|| Plain.gather_u16(codes, stride, rows))
        }

        #[inline(always)]
        fn gather_u8(self, codes: &[u8], stride: u32, rows: &[u32; SET]) -> [u32; SET] {
            narrow::<u8, 1>(codes, stride, rows).unwrap_or_else(|| Plain.gather_u8(codes, stride, rows))
        }

        #[inline(always)]
        fn sorted(self, keys: &[u32; SET]) -> [u32; SET] {
            #[expect(unsafe_code, reason = "instructions beyond the target's base")]
            // SAFETY: this is only made where AVX-512 is.
            unsafe {
                crate::sort::sixteen(keys)
            }
        }

        #[inline(always)]
        fn permuted(self, from: &[u32; SET], at: &[u32; SET]) -> [u32; SET] {
            let mut out = [0; SET];
            #[expect(unsafe_code, reason = "instructions beyond the target's base")]
            // SAFETY: this is only made where AVX-512 is; 64 bytes are at all ends, and no alignment is asked for.
            unsafe {
                let (from, at) = (_mm512_loadu_si512(from.as_ptr().cast()), _mm512_loadu_si512(at.as_ptr().cast()));
                _mm512_storeu_si512(out.as_mut_ptr().cast(), _mm512_permutexvar_epi32(at, from));
            }
            out
        }

        #[inline(always)]
        fn sums_up_to(self, x: &[u32; SET]) -> [u32; SET] {
            let mut out = [0; SET];
            #[expect(unsafe_code, reason = "instructions beyond the target's base")]
            // SAFETY: this is only made where AVX-512 is; 64 bytes are at both ends, and no alignment is asked for.
            unsafe {
                let zero = _mm512_setzero_si512();
                let mut sums = _mm512_loadu_si512(x.as_ptr().cast());
                // Each lane and those 1, 2, 4 and 8 before it.
                sums = _mm512_add_epi32(sums, _mm512_alignr_epi32::<15>(sums, zero));
                sums = _mm512_add_epi32(sums, _mm512_alignr_epi32::<14>(sums, zero));
                sums = _mm512_add_epi32(sums, _mm512_alignr_epi32::<12>(sums, zero));
                sums = _mm512_add_epi32(sums, _mm512_alignr_epi32::<8>(sums, zero));
                _mm512_storeu_si512(out.as_mut_ptr().cast(), sums);
            }
            out
        }

        #[inline(always)]
        fn members(self, set: u16, from: &[u32; SET]) -> [u32; SET] {
            let mut out = [0; SET];
            #[expect(unsafe_code, reason = "instructions beyond the target's base")]
            // SAFETY: this is only made where AVX-512 is; 64 bytes are at both ends, and no alignment is asked for.
            unsafe {
                let from = _mm512_loadu_si512(from.as_ptr().cast());
                // Zeroing what is left instead waits for the register's last value on some CPUs.
                _mm512_storeu_si512(out.as_mut_ptr().cast(), _mm512_mask_compress_epi32(from, set, from));
            }
            out
        }

        #[inline(always)]
        fn members_f64(self, set: u16, from: &[f64; HALF]) -> [f64; HALF] {
            let mut out = [0.0; HALF];
            #[expect(unsafe_code, reason = "instructions beyond the target's base")]
            // SAFETY: this is only made where AVX-512 is; 64 bytes are at both ends, and no alignment is asked for.
            unsafe {
                let from = _mm512_loadu_pd(from.as_ptr());
                _mm512_storeu_pd(out.as_mut_ptr(), _mm512_mask_compress_pd(from, set as u8, from));
            }
            out
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    struct Both<'a>(&'a [u32; SET], u16, u32, u32);

    impl Work for Both<'_> {
        type Out = ((u32, u32), u16, [u32; SET], Vec<u32>, Vec<f64>);

        #[inline(always)]
        fn run<L: Lanes>(self, lanes: L) -> Self::Out {
            let Both(codes, set, last, shift) = self;
            let table: Vec<u32> = (0..200).map(|i| i * i).collect();
            let rows = codes.map(|code| code % 80);
            let members = lanes.members(set, codes);
            let numbers: [f64; HALF] = core::array::from_fn(|i| f64::from(codes[i]));
            let half = lanes.members_f64(set, &numbers);
            let counts = [set, set & 0xff].map(|set| set.count_ones() as usize);
            let (members, half) = (members[..counts[0]].to_vec(), half[..counts[1]].to_vec());
            (lanes.span(codes, set), lanes.up_to(codes, last, shift), lanes.gather(&table, 3, &rows), members, half)
        }
    }

    #[test]
    fn every_level_does_what_loops_do() {
        for seed in 0..400u64 {
            let modulus = [3, 1 << 16, 1 << 32][seed as usize % 3];
            let draw = |i| corten_core::random::bits(seed, 1, i);
            let codes: Vec<u32> = (0..SET as u64).map(|i| (draw(i) % modulus) as u32).collect();
            let codes: &[u32; SET] = codes.first_chunk().unwrap();
            let set = [0, u16::MAX, draw(20) as u16, 1 << (seed % 16)][seed as usize / 3 % 4];
            let last = codes[seed as usize % SET];
            let shift = [0, codes[3].wrapping_neg()][seed as usize / 5 % 2];
            let members = || codes.iter().enumerate().filter(|(i, _)| set >> i & 1 == 1).map(|(_, &c)| c);
            let span = (members().min().unwrap_or(u32::MAX), members().max().unwrap_or(0));
            let left = codes
                .iter()
                .enumerate()
                .fold(0, |s, (i, &c)| s | u16::from(c.wrapping_add(shift) <= last.wrapping_add(shift)) << i);
            let places = codes.map(|code| code % 80 * 3);
            let found = places.map(|at| if at < 200 { at * at } else { 0 });
            let all: Vec<u32> = members().collect();
            let half = members().take((set & 0xff).count_ones() as usize).map(f64::from).collect();
            let expected = (span, left, found, all, half);
            assert_eq!(run(Both(codes, set, last, shift)), expected);
            assert_eq!(Both(codes, set, last, shift).run(Plain), expected);
        }
    }

    struct Moved<'a>(&'a [u32; SET], usize);

    impl Work for Moved<'_> {
        type Out = [[u32; SET]; 5];

        #[inline(always)]
        fn run<L: Lanes>(self, lanes: L) -> Self::Out {
            let Moved(codes, rows) = self;
            let (words, bytes): (Vec<u16>, Vec<u8>) =
                (0..rows as u32 * 3).map(|i| ((i * i) as u16, (i * i) as u8)).unzip();
            let places = codes.map(|code| code % 80);
            [
                lanes.gather_u16(&words, 3, &places),
                lanes.gather_u8(&bytes, 3, &places),
                lanes.sorted(codes),
                lanes.permuted(&places, codes),
                lanes.sums_up_to(codes),
            ]
        }
    }

    #[test]
    fn every_level_reads_narrow_codes_sorts_and_sums_as_loops_do() {
        for seed in 0..200u64 {
            let codes: Vec<u32> = (0..SET as u64).map(|i| corten_core::random::bits(seed, 2, i) as u32).collect();
            let codes: &[u32; SET] = codes.first_chunk().unwrap();
            // The last words of codes, and places beyond the end, are among them.
            for rows in [0, 1, 40, 80, 200] {
                assert_eq!(run(Moved(codes, rows)), Moved(codes, rows).run(Plain));
            }
            let [.., sorted, permuted, sums] = Moved(codes, 80).run(Plain);
            assert!(sorted.is_sorted());
            assert!((0..SET).all(|i| permuted[i] == codes[codes[i] as usize % SET] % 80));
            assert_eq!(sums[SET - 1], codes.iter().fold(0, |sum: u32, x| sum.wrapping_add(*x)));
        }
    }
}
