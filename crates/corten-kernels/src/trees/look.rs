//! The values of 64 rows' leaves, looked up in registers: a tree has at most 64 of them.

use crate::aligned::Aligned;
use crate::cpu;

/// Rows whose leaves a register holds, and most leaves of a tree.
pub(super) const ROWS: usize = 64;
pub(super) const LEAVES: usize = 64;
/// Bytes of a tree's values.
pub(super) const TABLE: usize = 8 * LEAVES;

/// How values are looked up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Look {
    /// 16 bits at a time: the lowest 16 bits of all values come first, then the next, and so on.
    #[default]
    Words,
    /// A byte at a time, which needs VBMI. That is twice as many look-ups in half as many registers: quicker where words in
    /// two registers are looked up by several instructions.
    Bytes,
}

/// Where the value of each of 64 leaves comes out: values are looked up in parts, and these shuffled together.
const BY_WORDS: [u8; ROWS] = {
    let mut out = [0; ROWS];
    let mut at = 0;
    while at < ROWS {
        let (lane, quarter, odd, half) = (at >> 4, at >> 2 & 3, at >> 1 & 1, at & 1);
        out[at] = (half << 5 | quarter << 3 | lane << 1 | odd) as u8;
        at += 1;
    }
    out
};
const BY_BYTES: [u8; ROWS] = {
    let mut out = [0; ROWS];
    let mut at = 0;
    while at < ROWS {
        let (lane, quarter, high, odd) = (at >> 4, at >> 2 & 3, at >> 1 & 1, at & 1);
        out[at] = (odd << 5 | quarter << 3 | lane << 1 | high) as u8;
        at += 1;
    }
    out
};

/// Where each is found that `places` puts elsewhere.
const fn turned_round(places: [u8; ROWS]) -> [u8; ROWS] {
    let mut out = [0; ROWS];
    let mut at = 0;
    while at < ROWS {
        out[places[at] as usize] = at as u8;
        at += 1;
    }
    out
}

impl Look {
    /// The quickest on this CPU.
    pub(super) fn here() -> Self {
        if cpu::vbmi() && cpu::splits_words() { Self::Bytes } else { Self::Words }
    }

    /// Where the value of each of 64 leaves comes out.
    pub(super) fn places(self) -> &'static [u8; ROWS] {
        if self == Self::Words { &BY_WORDS } else { &BY_BYTES }
    }

    /// Where each row's leaf lies among 64, so that its value comes out at its own place.
    pub(super) fn positions(self) -> &'static [u8; ROWS] {
        const WORDS: [u8; ROWS] = turned_round(BY_WORDS);
        const BYTES: [u8; ROWS] = turned_round(BY_BYTES);
        if self == Self::Words { &WORDS } else { &BYTES }
    }

    /// The tables of trees that have [`LEAVES`] values each.
    pub(super) fn tables(self, values: &[f64]) -> Aligned<u8> {
        let mut out = Aligned::zeroed(values.len() * 8);
        let trees = values.chunks_exact(LEAVES).zip(out.chunks_exact_mut(TABLE));
        trees.for_each(|(values, table)| self.write(values.iter().copied(), table));
        out
    }

    /// Writes values in the order in which they are looked up: [`TABLE`] bytes.
    pub(super) fn write(self, values: impl Iterator<Item = f64>, table: &mut [u8]) {
        let width = if self == Self::Words { 2 } else { 1 };
        for (leaf, value) in values.enumerate() {
            let bytes = value.to_le_bytes();
            let parts = table.chunks_exact_mut(LEAVES * width).zip(bytes.chunks_exact(width));
            parts.for_each(|(all, part)| all[leaf * width..][..width].copy_from_slice(part));
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{by_bytes, by_words, load};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::x86_64::*;

    use super::{LEAVES, TABLE};

    /// Every other byte.
    const ODD: u64 = 0xaaaa_aaaa_aaaa_aaaa;

    /// The table of a tree's values.
    #[inline]
    #[target_feature(enable = "avx512f")]
    #[expect(unsafe_code, reason = "loads of registers")]
    pub(in super::super) fn load(from: &[u8]) -> [__m512i; 8] {
        let from = &from[..TABLE];
        // SAFETY: as many bytes lie there.
        core::array::from_fn(|i| unsafe { _mm512_loadu_si512(from.as_ptr().add(i * LEAVES).cast()) })
    }

    /// The values of 64 rows, each of which names its leaf, at [`Look::places`](super::Look::places).
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    pub(in super::super) fn by_words(numbers: __m512i, table: [__m512i; 8]) -> [__m512d; 8] {
        let rows = [numbers, _mm512_srli_epi16::<8>(numbers)];
        let mut out = [_mm512_setzero_pd(); 8];
        for (out, rows) in out.as_chunks_mut::<4>().0.iter_mut().zip(rows) {
            let look = |quarter: usize| _mm512_permutex2var_epi16(table[2 * quarter], rows, table[2 * quarter + 1]);
            let [a, b, c, d] = [look(0), look(1), look(2), look(3)];
            let (low, high) = (
                [_mm512_unpacklo_epi16(a, b), _mm512_unpackhi_epi16(a, b)],
                [_mm512_unpacklo_epi16(c, d), _mm512_unpackhi_epi16(c, d)],
            );
            for i in 0..2 {
                out[i * 2] = _mm512_castsi512_pd(_mm512_unpacklo_epi32(low[i], high[i]));
                out[i * 2 + 1] = _mm512_castsi512_pd(_mm512_unpackhi_epi32(low[i], high[i]));
            }
        }
        out
    }

    /// The same byte by byte.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
    pub(in super::super) fn by_bytes(numbers: __m512i, table: [__m512i; 8]) -> [__m512d; 8] {
        let [a, b, c, d, e, f, g, h] = table.map(|t| _mm512_permutexvar_epi8(numbers, t));
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
}
