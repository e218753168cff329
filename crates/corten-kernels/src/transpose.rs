//! Rows as columns.

/// Rows and columns that registers turn round at a time.
const SIDE: usize = 8;

/// Copies rows to columns.
///
/// Shapes: number `c` of row `r` is `rows[r * step + c]` and goes to `out[c * stride + r]`, for `count` rows of `width` numbers.
///
/// # Panics
/// Where there are fewer numbers, or there is less room.
pub fn to_columns(rows: &[f64], step: usize, count: usize, width: usize, out: &mut [f64], stride: usize) {
    if count == 0 || width == 0 {
        return;
    }
    let end = |last: usize, step: usize, more: usize| last.checked_mul(step).and_then(|at| at.checked_add(more));
    assert!(end(count - 1, step, width).is_some_and(|end| end <= rows.len()) && count <= stride, "numbers of all rows");
    assert!(end(width - 1, stride, count).is_some_and(|end| end <= out.len()), "room for all columns");
    #[cfg(target_arch = "x86_64")]
    let done = if crate::cpu::level() == crate::cpu::Level::Avx512 {
        let whole = count / SIDE * SIDE;
        #[expect(unsafe_code, reason = "instructions beyond the target's base")]
        // SAFETY: level() found AVX-512 on this CPU; the numbers and the room were counted.
        unsafe {
            x86::to_columns(rows, step, whole, width, out, stride);
        }
        whole
    } else {
        0
    };
    #[cfg(not(target_arch = "x86_64"))]
    let done = 0;
    // Some rows at a time: their lines hold numbers of other columns, and are still at hand.
    for start in (done..count).step_by(SIDE * SIDE) {
        let end = (start + SIDE * SIDE).min(count);
        for c in 0..width {
            let from = rows[start * step + c..].iter().step_by(step.max(1));
            out[c * stride + start..c * stride + end].iter_mut().zip(from).for_each(|(to, x)| *to = *x);
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::turn;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::x86_64::*;

    use super::SIDE;

    /// Eight words of eight registers as eight registers of eight words.
    #[inline]
    #[target_feature(enable = "avx512f")]
    pub(crate) fn turn(x: [__m512i; SIDE]) -> [__m512i; SIDE] {
        let pair = |i: usize| (_mm512_unpacklo_epi64(x[i], x[i + 1]), _mm512_unpackhi_epi64(x[i], x[i + 1]));
        let ((a, b), (c, d), (e, f), (g, h)) = (pair(0), pair(2), pair(4), pair(6));
        let even_odd = |x, y| (_mm512_shuffle_i64x2::<0x88>(x, y), _mm512_shuffle_i64x2::<0xdd>(x, y));
        // Lanes 0 and 2 apart from 1 and 3, of registers 0 to 3 and of 4 to 7; then each lane's word of all eight.
        let ((a, c), (b, d)) = (even_odd(a, c), even_odd(b, d));
        let ((e, g), (f, h)) = (even_odd(e, g), even_odd(f, h));
        let ((w0, w4), (w1, w5)) = (even_odd(a, e), even_odd(b, f));
        let ((w2, w6), (w3, w7)) = (even_odd(c, g), even_odd(d, h));
        [w0, w1, w2, w3, w4, w5, w6, w7]
    }

    /// # Safety
    /// As many numbers and as much room as [`super::to_columns`] asks for, for a multiple of [`SIDE`] rows.
    #[target_feature(enable = "avx512f")]
    #[expect(unsafe_code, reason = "loads and stores of registers")]
    pub(super) unsafe fn to_columns(
        rows: &[f64],
        step: usize,
        count: usize,
        width: usize,
        out: &mut [f64],
        stride: usize,
    ) {
        for r in (0..count).step_by(SIDE) {
            for c in (0..width).step_by(SIDE) {
                let some = (width - c).min(SIDE);
                let mask = 0xff_u8 >> (SIDE - some);
                // SAFETY: as many numbers of each row as the mask has bits lie there.
                let row =
                    |i: usize| unsafe { _mm512_maskz_loadu_epi64(mask, rows.as_ptr().add((r + i) * step + c).cast()) };
                let columns = turn([row(0), row(1), row(2), row(3), row(4), row(5), row(6), row(7)]);
                for (i, column) in columns.into_iter().take(some).enumerate() {
                    // SAFETY: there is room for eight rows from this one on in each column.
                    unsafe { _mm512_storeu_si512(out.as_mut_ptr().add((c + i) * stride + r).cast(), column) }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    #[test]
    fn every_number_goes_to_its_column_and_no_other_place_is_written() {
        for (count, width) in [(0, 3), (1, 1), (7, 5), (8, 8), (9, 23), (100, 3), (64, 16), (131, 9)] {
            for (step, stride) in [(width, count), (width + 3, count + 5)] {
                let rows: Vec<f64> = (0..count * step).map(|i| i as f64).collect();
                let mut out = vec![-1.0; width * stride];
                to_columns(&rows, step, count, width, &mut out, stride);
                for (at, &x) in out.iter().enumerate() {
                    let (c, r) = (at / stride, at % stride);
                    let want = if r < count { (r * step + c) as f64 } else { -1.0 };
                    assert_eq!(x, want, "row {r}, column {c} of {count} x {width}");
                }
            }
        }
    }
}
