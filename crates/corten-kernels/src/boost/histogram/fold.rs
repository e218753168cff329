//! The sums of features that share the bytes of a column.

use super::WIDTH;
use crate::cpu::Level;

/// Adds up a column's sums by byte modulo `states`, and in blocks of `states` bytes: the feature whose bins count by one,
/// and what the others of the column are got from. Gives the number of blocks.
///
/// # Panics
/// When `own` is shorter than `states`, or there are no states.
#[inline]
pub(super) fn fold(
    level: Level,
    column: &[i64; WIDTH],
    states: usize,
    own: &mut [i64],
    blocks: &mut [i64; WIDTH],
) -> usize {
    let own = &mut own[..states];
    #[cfg(target_arch = "x86_64")]
    if level == Level::Avx512 && states <= super::SHARED {
        #[expect(unsafe_code, reason = "instructions beyond the target's base")]
        // SAFETY: the level was found on this CPU.
        unsafe {
            x86::fold(column, own, blocks);
        }
        return WIDTH.div_ceil(states);
    }
    let _ = level;
    own.fill(0);
    for block in column.chunks(states) {
        own.iter_mut().zip(block).for_each(|(o, s)| *o += s);
    }
    for (sum, block) in blocks.iter_mut().zip(column.chunks(states)) {
        *sum = block.iter().sum();
    }
    WIDTH.div_ceil(states)
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector instructions on raw places")]
mod x86 {
    use core::arch::x86_64::*;

    use super::WIDTH;

    /// The sums of eight registers, in their order.
    #[target_feature(enable = "avx512f")]
    fn sums(r: [__m512i; 8]) -> __m512i {
        // Neighbours in the lanes of two registers, then every other pair of lanes of two.
        let near = |a, b| _mm512_add_epi64(_mm512_unpacklo_epi64(a, b), _mm512_unpackhi_epi64(a, b));
        let far = |a, b| {
            let (even, odd) = (_mm512_shuffle_i64x2::<0b1000_1000>(a, b), _mm512_shuffle_i64x2::<0b1101_1101>(a, b));
            _mm512_add_epi64(even, odd)
        };
        far(far(near(r[0], r[1]), near(r[2], r[3])), far(near(r[4], r[5]), near(r[6], r[7])))
    }

    /// A bit for each of as many lanes.
    fn lanes(count: usize) -> __mmask8 {
        (u32::from(u8::MAX) >> (8 - count.min(8))) as __mmask8
    }

    /// # Safety
    /// The CPU has AVX-512, as [`Level::Avx512`](crate::cpu::Level) tells.
    #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2")]
    pub(super) unsafe fn fold(column: &[i64; WIDTH], own: &mut [i64], blocks: &mut [i64; WIDTH]) {
        match own.len().div_ceil(8) {
            0 => {}
            1 => of::<1>(column, own, blocks),
            2 => of::<2>(column, own, blocks),
            3 => of::<3>(column, own, blocks),
            4 => of::<4>(column, own, blocks),
            _ => of::<8>(column, own, blocks),
        }
    }

    /// Of at most `8 * C` states.
    #[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2")]
    fn of<const C: usize>(column: &[i64; WIDTH], own: &mut [i64], blocks: &mut [i64; WIDTH]) {
        let states = own.len();
        let masks = |count: usize| core::array::from_fn::<_, C, _>(|c| lanes(count.saturating_sub(8 * c)));
        let whole = masks(states);
        let mut by_state = [_mm512_setzero_si512(); C];
        for eight in 0..WIDTH.div_ceil(8 * states) {
            let mut of_blocks = [_mm512_setzero_si512(); 8];
            for (i, of_block) in of_blocks.iter_mut().enumerate() {
                let start = (8 * eight + i) * states;
                if start >= WIDTH {
                    break;
                }
                let masks = if start + states <= WIDTH { whole } else { masks(WIDTH - start) };
                for c in 0..C {
                    // SAFETY: the masks leave out what lies beyond the block and beyond the column.
                    let part =
                        unsafe { _mm512_maskz_loadu_epi64(masks[c], column.as_ptr().wrapping_add(start + 8 * c)) };
                    by_state[c] = _mm512_add_epi64(by_state[c], part);
                    *of_block = _mm512_add_epi64(*of_block, part);
                }
            }
            // SAFETY: at least two states make at most 128 blocks, one as many as there are bytes; eight fit at a time.
            unsafe { _mm512_storeu_si512(blocks.as_mut_ptr().add(8 * eight).cast(), sums(of_blocks)) };
        }
        for (c, &part) in by_state.iter().enumerate() {
            // SAFETY: the masks leave out what lies beyond the states.
            unsafe { _mm512_mask_storeu_epi64(own.as_mut_ptr().wrapping_add(8 * c), whole[c], part) };
        }
    }
}
