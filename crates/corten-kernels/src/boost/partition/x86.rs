//! The same with AVX-512 and AVX2.

use core::arch::x86_64::*;

use super::{Set, plain, table};

/// # Safety
/// The CPU has AVX-512, as [`Level::Avx512`](crate::cpu::Level) tells; rows, those of the list or as many consecutive ones from
/// `first` on, are below the length of `column`; `spare` is as long as `list`.
#[target_feature(enable = "avx512f,avx512vl,avx512bw,avx512dq,avx2,popcnt")]
pub(super) unsafe fn part_512(
    list: &mut [u32],
    spare: &mut [u32],
    column: &[u8],
    set: &Set,
    first: Option<usize>,
) -> usize {
    let n = list.len();
    let (rows, out, bins) = (list.as_mut_ptr(), spare.as_mut_ptr(), column.as_ptr());
    let (mut l, mut r, mut k) = (0usize, 0usize, 0usize);
    // SAFETY: rows are below the length of the column. While `k + 16 <= n`, `l <= k` and `r <= k`, so the 16 places written
    // from `l` and `r` on exist, and those from `l` on have been read; of the last rows only as many as there are are read
    // and written.
    unsafe {
        let words = _mm512_castsi256_si512(_mm256_loadu_si256(set.as_ptr().cast()));
        let lanes = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
        let left_of = |bytes: __m128i| {
            let b = _mm512_cvtepu8_epi32(bytes);
            let word = _mm512_permutexvar_epi32(_mm512_srli_epi32::<5>(b), words);
            let bit = _mm512_srlv_epi32(word, _mm512_and_si512(b, _mm512_set1_epi32(31)));
            _mm512_test_epi32_mask(bit, _mm512_set1_epi32(1))
        };
        let mut bytes = [0u8; 16];
        while k + 16 <= n {
            let (ids, mask) = if let Some(first) = first {
                let ids = _mm512_add_epi32(lanes, _mm512_set1_epi32((first + k) as i32));
                (ids, left_of(_mm_loadu_si128(bins.add(first + k).cast())))
            } else {
                let ids = _mm512_loadu_si512(rows.add(k).cast());
                // Loads of single bytes: as fast as a gather where that is fast, and faster elsewhere.
                for (i, byte) in bytes.iter_mut().enumerate() {
                    *byte = *bins.add(*rows.add(k + i) as usize);
                }
                (ids, left_of(_mm_loadu_si128(bytes.as_ptr().cast())))
            };
            // Merged into the ids rather than zeros: that form waits for nothing on any CPU.
            _mm512_storeu_si512(out.add(r).cast(), _mm512_mask_compress_epi32(ids, !mask, ids));
            _mm512_storeu_si512(rows.add(l).cast(), _mm512_mask_compress_epi32(ids, mask, ids));
            let left = mask.count_ones() as usize;
            l += left;
            r += 16 - left;
            k += 16;
        }
        let rest = n - k;
        let some = |count: usize| ((1u32 << count) - 1) as __mmask16;
        let ids = match first {
            Some(first) => _mm512_add_epi32(lanes, _mm512_set1_epi32((first + k) as i32)),
            None => _mm512_maskz_loadu_epi32(some(rest), rows.add(k).cast()),
        };
        for (i, byte) in bytes.iter_mut().enumerate().take(rest) {
            *byte = *bins.add(first.map_or_else(|| *rows.add(k + i) as usize, |first| first + k + i));
        }
        let here = left_of(_mm_loadu_si128(bytes.as_ptr().cast()));
        let (left, right) = (here & some(rest), !here & some(rest));
        let count = left.count_ones() as usize;
        _mm512_mask_storeu_epi32(out.add(r).cast(), some(rest - count), _mm512_mask_compress_epi32(ids, right, ids));
        _mm512_mask_storeu_epi32(rows.add(l).cast(), some(count), _mm512_mask_compress_epi32(ids, left, ids));
        l + count
    }
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
pub(super) unsafe fn part_2(
    list: &mut [u32],
    spare: &mut [u32],
    column: &[u8],
    set: &Set,
    first: Option<usize>,
) -> usize {
    let n = list.len();
    let table = table(set);
    let (rows, out, bins) = (list.as_mut_ptr(), spare.as_mut_ptr(), column.as_ptr());
    let (mut l, mut r, mut k) = (0usize, 0usize, 0usize);
    // SAFETY: as in `part_512`, with 8 rows a step.
    unsafe {
        let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
        while k + 8 <= n {
            let ids = match first {
                Some(first) => _mm256_add_epi32(lanes, _mm256_set1_epi32((first + k) as i32)),
                None => _mm256_loadu_si256(rows.add(k).cast()),
            };
            let mut mask = 0usize;
            for i in 0..8 {
                let row = first.map_or_else(|| *rows.add(k + i) as usize, |first| first + k + i);
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
        }
    }
    plain(list, spare, column, set, first, k, l)
}
