//! The same with AVX-512 and AVX2.

use core::arch::x86_64::*;

use super::{Move, Set, plain, table};

/// # Safety
/// The CPU has AVX-512 F and VL; unless `all`, rows are below the length of `column`, else their number is;
/// `spare` is as long as `list`.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,popcnt")]
pub(super) unsafe fn part_512(list: &mut [u32], spare: &mut [u32], column: &[u8], set: &Set, all: bool) -> usize {
    let n = list.len();
    let (rows, out, bins) = (list.as_mut_ptr(), spare.as_mut_ptr(), column.as_ptr());
    let (mut l, mut r, mut k) = (0usize, 0usize, 0usize);
    // SAFETY: `k + 16 <= n`, `l <= k` and `r <= k`, so the 16 places written from `l` and `r` on exist, and those
    // from `l` on have been read.
    unsafe {
        let words = _mm512_castsi256_si512(_mm256_loadu_si256(set.as_ptr().cast()));
        let (low, bit) = (_mm512_set1_epi32(31), _mm512_set1_epi32(1));
        let mut ids = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        let mut bytes = [0u8; 16];
        while k + 16 <= n {
            let b = if all {
                _mm512_cvtepu8_epi32(_mm_loadu_si128(bins.add(k).cast()))
            } else {
                ids = _mm512_loadu_si512(rows.add(k).cast());
                // Loads of single bytes: as fast as a gather where that is fast, and faster elsewhere.
                for (i, byte) in bytes.iter_mut().enumerate() {
                    *byte = *bins.add(*rows.add(k + i) as usize);
                }
                _mm512_cvtepu8_epi32(_mm_loadu_si128(bytes.as_ptr().cast()))
            };
            let word = _mm512_permutexvar_epi32(_mm512_srli_epi32::<5>(b), words);
            let mask = _mm512_test_epi32_mask(_mm512_srlv_epi32(word, _mm512_and_si512(b, low)), bit);
            // Merged into the ids rather than zeros: that form waits for nothing on any CPU.
            _mm512_storeu_si512(out.add(r).cast(), _mm512_mask_compress_epi32(ids, !mask, ids));
            _mm512_storeu_si512(rows.add(l).cast(), _mm512_mask_compress_epi32(ids, mask, ids));
            let left = mask.count_ones() as usize;
            l += left;
            r += 16 - left;
            k += 16;
            if all {
                ids = _mm512_add_epi32(ids, _mm512_set1_epi32(16));
            }
        }
    }
    plain(list, spare, column, set, all, k, l)
}

/// Which bins are in the set.
#[inline]
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,popcnt")]
pub(super) fn mark_512(bins: &[u8; 64], set: &Set) -> u64 {
    // SAFETY: 64 bytes, and twice 16 of the set's 32, lie there.
    let (bins, low, high) = unsafe {
        let set: *const __m128i = set.as_ptr().cast();
        let (low, high) = (_mm_loadu_si128(set), _mm_loadu_si128(set.add(1)));
        (_mm512_loadu_si512(bins.as_ptr().cast()), _mm512_broadcast_i32x4(low), _mm512_broadcast_i32x4(high))
    };
    // The byte of the set in which a bin's bit lies, and the bit.
    let byte = _mm512_and_si512(_mm512_srli_epi16::<3>(bins), _mm512_set1_epi8(15));
    let words = _mm512_mask_blend_epi8(
        _mm512_movepi8_mask(bins),
        _mm512_shuffle_epi8(low, byte),
        _mm512_shuffle_epi8(high, byte),
    );
    let single = _mm512_set1_epi64(0x8040_2010_0804_0201_u64.cast_signed());
    let bit = _mm512_shuffle_epi8(single, _mm512_and_si512(bins, _mm512_set1_epi8(7)));
    _mm512_test_epi8_mask(words, bit)
}

/// Moves all rows but the last few; how many were moved, and how many of them to the left.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,popcnt")]
pub(super) fn move_512(this: &mut Move<'_>) -> (usize, usize) {
    let count = this.left.len() + this.right.len();
    let (mut l, mut r, mut k) = (0, 0, 0);
    let first = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    let ids = |this: &Move<'_>, k: usize| match this.from {
        // SAFETY: 16 rows lie there.
        Some(list) => unsafe { _mm512_loadu_si512(list[k..k + 16].as_ptr().cast()) },
        None => _mm512_add_epi32(first, _mm512_set1_epi32((this.start + k) as i32)),
    };
    while k + 16 <= count && l + 16 <= this.left.len() && r + 16 <= this.right.len() {
        let ids = ids(this, k);
        let mask = (this.marks[k / 64] >> (k % 64)) as u16;
        // SAFETY: 16 rows fit on each side.
        unsafe {
            let (left, right) = (this.left[l..l + 16].as_mut_ptr(), this.right[r..r + 16].as_mut_ptr());
            _mm512_storeu_si512(left.cast(), _mm512_mask_compress_epi32(ids, mask, ids));
            _mm512_storeu_si512(right.cast(), _mm512_mask_compress_epi32(ids, !mask, ids));
        }
        let left = mask.count_ones() as usize;
        (l, r, k) = (l + left, r + 16 - left, k + 16);
    }
    // One side is nearly full, as it soon is where rows come in the order of the column: no more is written than fits.
    while k + 16 <= count {
        let ids = ids(this, k);
        let mask = (this.marks[k / 64] >> (k % 64)) as u16;
        let left = mask.count_ones() as usize;
        let (to_left, to_right) = (&mut this.left[l..l + left], &mut this.right[r..r + 16 - left]);
        let (low, high) = ((1u32 << left) - 1, (1u32 << (16 - left)) - 1);
        // SAFETY: as many rows are written as each side has room for.
        unsafe {
            let (left, right) =
                (_mm512_mask_compress_epi32(ids, mask, ids), _mm512_mask_compress_epi32(ids, !mask, ids));
            _mm512_mask_storeu_epi32(to_left.as_mut_ptr().cast(), low as u16, left);
            _mm512_mask_storeu_epi32(to_right.as_mut_ptr().cast(), high as u16, right);
        }
        (l, r, k) = (l + left, r + 16 - left, k + 16);
    }
    (k, l)
}

/// Moves 8 rows a step as long as so many fit on both sides; how many were moved, and how many of them to the left.
#[target_feature(enable = "avx2,popcnt")]
pub(super) fn move_2(this: &mut Move<'_>) -> (usize, usize) {
    let count = this.left.len() + this.right.len();
    let (mut l, mut r, mut k) = (0, 0, 0);
    let first = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    while k + 8 <= count && l + 8 <= this.left.len() && r + 8 <= this.right.len() {
        let ids = match this.from {
            // SAFETY: 8 rows lie there.
            Some(list) => unsafe { _mm256_loadu_si256(list[k..k + 8].as_ptr().cast()) },
            None => _mm256_add_epi32(first, _mm256_set1_epi32((this.start + k) as i32)),
        };
        let mask = usize::from((this.marks[k / 64] >> (k % 64)) as u8);
        // SAFETY: 8 rows fit on each side; a pattern has 8 places.
        unsafe {
            let (left, right) = (this.left[l..l + 8].as_mut_ptr(), this.right[r..r + 8].as_mut_ptr());
            let ones = _mm256_loadu_si256(PLACES[mask].as_ptr().cast());
            let zeros = _mm256_loadu_si256(PLACES[!mask & 255].as_ptr().cast());
            _mm256_storeu_si256(left.cast(), _mm256_permutevar8x32_epi32(ids, ones));
            _mm256_storeu_si256(right.cast(), _mm256_permutevar8x32_epi32(ids, zeros));
        }
        let left = mask.count_ones() as usize;
        (l, r, k) = (l + left, r + 8 - left, k + 8);
    }
    (k, l)
}

/// For each pattern of 8 bits the places of its ones, then of its zeros.
static PLACES: [[u32; 8]; 256] = {
    let mut out = [[0; 8]; 256];
    let mut mask = 0;
    while mask < 256 {
        let (mut to, mut i) = (0, 0);
        while i < 16 {
            let place = i % 8;
            if (mask >> place & 1 == 1) == (i < 8) {
                out[mask][to] = place as u32;
                to += 1;
            }
            i += 1;
        }
        mask += 1;
    }
    out
};

/// # Safety
/// The CPU has AVX2; the rest as [`part_512`].
#[target_feature(enable = "avx2,popcnt")]
pub(super) unsafe fn part_2(list: &mut [u32], spare: &mut [u32], column: &[u8], set: &Set, all: bool) -> usize {
    let n = list.len();
    let table = table(set);
    let (rows, out, bins) = (list.as_mut_ptr(), spare.as_mut_ptr(), column.as_ptr());
    let (mut l, mut r, mut k) = (0usize, 0usize, 0usize);
    // SAFETY: as in `part_512`, with 8 rows a step.
    unsafe {
        let mut ids = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        while k + 8 <= n {
            if !all {
                ids = _mm256_loadu_si256(rows.add(k).cast());
            }
            let mut mask = 0usize;
            for i in 0..8 {
                let row = if all { k + i } else { *rows.add(k + i) as usize };
                mask |= usize::from(table[usize::from(*bins.add(row))]) << i;
            }
            let left = mask.count_ones() as usize;
            let ones = _mm256_loadu_si256(PLACES[mask].as_ptr().cast());
            let zeros = _mm256_loadu_si256(PLACES[!mask & 255].as_ptr().cast());
            _mm256_storeu_si256(out.add(r).cast(), _mm256_permutevar8x32_epi32(ids, zeros));
            _mm256_storeu_si256(rows.add(l).cast(), _mm256_permutevar8x32_epi32(ids, ones));
            l += left;
            r += 8 - left;
            k += 8;
            if all {
                ids = _mm256_add_epi32(ids, _mm256_set1_epi32(8));
            }
        }
    }
    plain(list, spare, column, set, all, k, l)
}
