//! From labels to sums.

use alloc::vec::Vec;

use super::{Mask, PLANES, WORD};
use crate::cpu::{self, dispatch};

/// Whether [`in_register`] runs on this CPU.
pub(super) fn in_registers() -> bool {
    cpu::level() == cpu::Level::Avx512 && cpu::vbmi() && cpu::gfni()
}

#[inline(always)]
fn bytes_of_planes(planes: [u64; PLANES], labels: &mut [u8; WORD]) {
    // Eight rows at a time: a square of eight planes and eight rows is turned round.
    for (eight, labels) in labels.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let mut x = 0u64;
        for (i, plane) in planes.iter().enumerate() {
            x |= (plane >> (8 * eight) & 0xff) << (8 * i);
        }
        let t = (x ^ x >> 7) & 0x00aa_00aa_00aa_00aa;
        x ^= t ^ t << 7;
        let t = (x ^ x >> 14) & 0x0000_cccc_0000_cccc;
        x ^= t ^ t << 14;
        let t = (x ^ x >> 28) & 0x0000_0000_f0f0_f0f0;
        x ^= t ^ t << 28;
        *labels = x.to_le_bytes();
    }
}

dispatch! {
    /// The labels of eight planes.
    fn turned(planes: [u64; PLANES], labels: &mut [u8; WORD]) { bytes_of_planes(planes, labels) }
}

/// The labels of a block from the places of its planes.
pub(super) fn labels<const W: usize>(planes: &[u16], arena: &[Mask<W>], labels: &mut [[u8; WORD]; W]) {
    for (w, labels) in labels.iter_mut().enumerate() {
        let mut words = [0; PLANES];
        words.iter_mut().zip(planes).for_each(|(word, &place)| *word = arena[usize::from(place)][w]);
        #[cfg(target_arch = "aarch64")]
        if cpu::level() == cpu::Level::Neon {
            #[expect(unsafe_code, reason = "instructions of a level")]
            // SAFETY: the level was found on this CPU.
            unsafe {
                super::neon::labels(&words[..planes.len()], labels);
            }
            continue;
        }
        turned(words, labels);
    }
}

/// Adds each row's leaf.
pub(super) fn add(values: &[f64], labels: &[u8], out: &mut [f64]) {
    #[cfg(target_arch = "aarch64")]
    if cpu::level() == cpu::Level::Neon {
        return super::neon::add(values, labels, out);
    }
    plain(values, labels, out);
}

/// Without AVX on purpose: with it the look-ups become gathers, which are slower.
#[inline(never)]
pub(super) fn plain(values: &[f64], labels: &[u8], out: &mut [f64]) {
    for (sum, &label) in out.iter_mut().zip(labels) {
        *sum += values[usize::from(label)];
    }
}

/// Where [`in_register`] keeps a row's sum among those of its word: it looks bytes up and shuffles them together, which
/// puts rows in this order.
pub(in super::super) const fn place(row: usize) -> usize {
    let (sixteen, within) = (row / 16, row % 16);
    let register = within % 2 * 4 + within / 4;
    register * 8 + sixteen * 2 + within / 2 % 2
}

/// The sums of a block in the order of [`place`], output after output.
pub(super) fn load(out: &[f64], stride: usize, start: usize, count: usize, words: usize, sums: &mut Vec<f64>) {
    let outputs = out.len().div_ceil(stride);
    sums.clear();
    sums.resize(outputs * words * WORD, 0.0);
    for (k, sums) in sums.chunks_exact_mut(words * WORD).enumerate() {
        for (rows, sums) in out[k * stride + start..][..count].chunks(WORD).zip(sums.chunks_exact_mut(WORD)) {
            rows.iter().enumerate().for_each(|(r, &x)| sums[place(r)] = x);
        }
    }
}

/// Puts sums back.
pub(super) fn store(out: &mut [f64], stride: usize, start: usize, count: usize, words: usize, sums: &[f64]) {
    for (k, sums) in sums.chunks_exact(words * WORD).enumerate() {
        for (rows, sums) in out[k * stride + start..][..count].chunks_mut(WORD).zip(sums.chunks_exact(WORD)) {
            rows.iter_mut().enumerate().for_each(|(r, x)| *x = sums[place(r)]);
        }
    }
}

/// Adds the values of a block's labels to sums in the order of [`place`].
///
/// Shapes: `table` has the numbers of 128 labels, then the first byte of 64 values, the second of all, and so on; `sums` a
/// number a row.
pub(super) fn in_register<const W: usize>(table: &[u8], planes: &[u16; PLANES], arena: &[Mask<W>], sums: &mut [f64]) {
    #[cfg(target_arch = "x86_64")]
    {
        #[expect(unsafe_code, reason = "instructions beyond the target's base")]
        // SAFETY: the table was made because in_registers() found AVX-512 with VBMI and GFNI on this CPU.
        unsafe {
            x86::add::<W>(table, planes, arena, sums);
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = (table, planes, arena, sums);
    }
}

#[cfg(target_arch = "x86_64")]
pub(in super::super) use x86::{turn, values};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::x86_64::*;

    use super::super::TABLE;
    use super::{Mask, PLANES, WORD};

    /// Every other byte.
    const ODD: u64 = 0xaaaa_aaaa_aaaa_aaaa;

    /// Eight words of eight planes as eight planes of eight words.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(in super::super::super) fn turn(x: [__m512i; PLANES]) -> [__m512i; PLANES] {
        let pair = |i: usize| (_mm512_unpacklo_epi64(x[i], x[i + 1]), _mm512_unpackhi_epi64(x[i], x[i + 1]));
        let ((a, b), (c, d), (e, f), (g, h)) = (pair(0), pair(2), pair(4), pair(6));
        let even_odd = |x, y| (_mm512_shuffle_i64x2::<0x88>(x, y), _mm512_shuffle_i64x2::<0xdd>(x, y));
        // Lanes 0 and 2 apart from 1 and 3, of planes 0 to 3 and of planes 4 to 7; then each lane's word of all eight.
        let ((a, c), (b, d)) = (even_odd(a, c), even_odd(b, d));
        let ((e, g), (f, h)) = (even_odd(e, g), even_odd(f, h));
        let ((w0, w4), (w1, w5)) = (even_odd(a, e), even_odd(b, f));
        let ((w2, w6), (w3, w7)) = (even_odd(c, g), even_odd(d, h));
        [w0, w1, w2, w3, w4, w5, w6, w7]
    }

    /// From byte `8 * plane + eight` to byte `8 * eight + 7 - plane`: a bit matrix has its last row first.
    const SQUARE: [u8; 64] = {
        let mut out = [0; 64];
        let mut i = 0;
        while i < 64 {
            out[i] = ((7 - i % 8) * 8 + i / 8) as u8;
            i += 1;
        }
        out
    };

    /// The numbers of 64 rows, of which each names one of 64, in the order of [`place`](super::place): looked up byte by
    /// byte, the first bytes of all numbers first.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
    pub(in super::super::super) fn values(number: __m512i, table: [__m512i; 8]) -> [__m512d; 8] {
        let [a, b, c, d, e, f, g, h] = table.map(|t| _mm512_permutexvar_epi8(number, t));
        // Bytes to pairs, even rows and odd ones apart: by shifts, as the port of shuffles has enough to do. Then pairs to
        // fours, and fours to numbers.
        let pairs = |low, high| {
            [
                _mm512_mask_blend_epi8(ODD, low, _mm512_slli_epi16::<8>(high)),
                _mm512_mask_blend_epi8(ODD, _mm512_srli_epi16::<8>(low), high),
            ]
        };
        let (ab, cd, ef, gh) = (pairs(a, b), pairs(c, d), pairs(e, f), pairs(g, h));
        let mut out = [_mm512_setzero_pd(); 8];
        for half in 0..2 {
            let (low, high) = (
                [_mm512_unpacklo_epi16(ab[half], cd[half]), _mm512_unpackhi_epi16(ab[half], cd[half])],
                [_mm512_unpacklo_epi16(ef[half], gh[half]), _mm512_unpackhi_epi16(ef[half], gh[half])],
            );
            for quarter in 0..2 {
                let at = half * 4 + quarter * 2;
                out[at] = _mm512_castsi512_pd(_mm512_unpacklo_epi32(low[quarter], high[quarter]));
                out[at + 1] = _mm512_castsi512_pd(_mm512_unpackhi_epi32(low[quarter], high[quarter]));
            }
        }
        out
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,gfni")]
    #[expect(unsafe_code, reason = "loads and stores of registers")]
    pub(super) fn add<const W: usize>(table: &[u8], planes: &[u16; PLANES], arena: &[Mask<W>], sums: &mut [f64]) {
        assert!(table.len() == TABLE && sums.len() == W * WORD, "a table of 128 labels and 64 values, a sum a row");
        let [low, high, table @ ..]: [__m512i; TABLE / 64] = core::array::from_fn(|i| {
            // SAFETY: 64 bytes lie there.
            unsafe { _mm512_loadu_si512(table.as_ptr().add(i * 64).cast()) }
        });
        // SAFETY: 64 bytes lie there.
        let square = unsafe { _mm512_loadu_si512(SQUARE.as_ptr().cast()) };
        // The matrix product with each single bit takes the bit of that column from every row.
        let single = _mm512_set1_epi64(0x8040_2010_0804_0201_u64.cast_signed());
        for from in (0..W).step_by(8) {
            let count = W.min(8);
            let words = planes.map(|plane| {
                let words = &arena[usize::from(plane)][from..from + count];
                // SAFETY: as many words as the mask has bits lie there.
                unsafe { _mm512_maskz_loadu_epi64((0xff_u16 >> (8 - count)) as u8, words.as_ptr().cast()) }
            });
            let words = turn(words);
            for (word, sums) in words.into_iter().zip(sums[from * WORD..].chunks_exact_mut(WORD)) {
                let label = _mm512_gf2p8affine_epi64_epi8::<0>(single, _mm512_permutexvar_epi8(square, word));
                let number = _mm512_permutex2var_epi8(low, label, high);
                for (i, value) in values(number, table).into_iter().enumerate() {
                    let sum = sums[i * 8..][..8].as_mut_ptr();
                    // SAFETY: eight sums lie there.
                    unsafe { _mm512_storeu_pd(sum, _mm512_add_pd(_mm512_loadu_pd(sum), value)) }
                }
            }
        }
    }
}
