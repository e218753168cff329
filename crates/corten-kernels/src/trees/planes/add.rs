//! From labels to sums.

use alloc::vec::Vec;

use super::super::look::Look;
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

/// The sums of a block, output after output, those of each word at the places where `look` leaves values.
pub(super) fn load(
    look: Look,
    out: &[f64],
    stride: usize,
    start: usize,
    count: usize,
    words: usize,
    sums: &mut Vec<f64>,
) {
    let places = look.places();
    let outputs = out.len().div_ceil(stride);
    sums.clear();
    sums.resize(outputs * words * WORD, 0.0);
    for (k, sums) in sums.chunks_exact_mut(words * WORD).enumerate() {
        for (rows, sums) in out[k * stride + start..][..count].chunks(WORD).zip(sums.chunks_exact_mut(WORD)) {
            rows.iter().enumerate().for_each(|(r, &x)| sums[usize::from(places[r])] = x);
        }
    }
}

/// Puts sums back.
pub(super) fn store(
    look: Look,
    out: &mut [f64],
    stride: usize,
    start: usize,
    count: usize,
    words: usize,
    sums: &[f64],
) {
    let places = look.places();
    for (k, sums) in sums.chunks_exact(words * WORD).enumerate() {
        for (rows, sums) in out[k * stride + start..][..count].chunks_mut(WORD).zip(sums.chunks_exact(WORD)) {
            rows.iter_mut().enumerate().for_each(|(r, x)| *x = sums[usize::from(places[r])]);
        }
    }
}

/// Adds the values of a block's labels to sums that [`load`] took over.
///
/// Shapes: `table` has the numbers of 128 labels, then what `look` wrote of 64 values; `sums` a number a row.
pub(super) fn in_register<const W: usize>(
    look: Look,
    table: &[u8],
    planes: &[u16; PLANES],
    arena: &[Mask<W>],
    sums: &mut [f64],
) {
    #[cfg(target_arch = "x86_64")]
    {
        #[expect(unsafe_code, reason = "instructions beyond the target's base")]
        // SAFETY: the table was made because in_registers() found AVX-512 with VBMI and GFNI on this CPU.
        unsafe {
            match look {
                Look::Words => x86::add::<W, true>(table, planes, arena, sums),
                Look::Bytes => x86::add::<W, false>(table, planes, arena, sums),
            }
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        let _ = (look, table, planes, arena, sums);
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::x86_64::*;

    use super::super::super::look;
    use super::super::{SHORT_PLANES, TABLE};
    use super::{Mask, PLANES, WORD};
    use crate::transpose::turn;

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

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,gfni")]
    #[expect(unsafe_code, reason = "loads and stores of registers")]
    pub(super) fn add<const W: usize, const WORDS: bool>(
        table: &[u8],
        planes: &[u16; PLANES],
        arena: &[Mask<W>],
        sums: &mut [f64],
    ) {
        assert!(table.len() == TABLE && sums.len() == W * WORD, "a table of 128 labels and 64 values, a sum a row");
        let (labels, table) = table.split_at(1 << SHORT_PLANES);
        // SAFETY: 128 bytes lie there.
        let [low, high] = [0, 64].map(|at| unsafe { _mm512_loadu_si512(labels.as_ptr().add(at).cast()) });
        let table = look::load(table);
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
                let values = if WORDS { look::by_words(number, table) } else { look::by_bytes(number, table) };
                for (i, value) in values.into_iter().enumerate() {
                    let sum = sums[i * 8..][..8].as_mut_ptr();
                    // SAFETY: eight sums lie there.
                    unsafe { _mm512_storeu_pd(sum, _mm512_add_pd(_mm512_loadu_pd(sum), value)) }
                }
            }
        }
    }
}
