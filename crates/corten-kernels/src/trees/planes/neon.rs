//! NEON's way from planes to sums.

use core::arch::aarch64::*;

use super::add::plain;
use super::{PLANES, WORD};

/// One bit each of eight bytes, twice.
const SINGLE: [u8; 16] = [1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128];
/// The byte of a word in which each of sixteen rows has its bit.
const BYTES: [[u8; 16]; 4] = {
    let mut out = [[0; 16]; 4];
    let mut row = 0;
    while row < WORD {
        out[row / 16][row % 16] = (row / 8) as u8;
        row += 1;
    }
    out
};

/// The labels of a word of rows from their planes, the lowest bits first.
#[target_feature(enable = "neon")]
#[expect(unsafe_code, reason = "loads and stores of registers")]
pub(super) fn labels(planes: &[u64], labels: &mut [u8; WORD]) {
    debug_assert!(planes.len() <= PLANES, "a label is a byte");
    // SAFETY: sixteen bytes.
    let single = unsafe { vld1q_u8(SINGLE.as_ptr()) };
    // SAFETY: as above.
    let bytes = BYTES.map(|bytes| unsafe { vld1q_u8(bytes.as_ptr()) });
    let mut out = [vdupq_n_u8(0); 4];
    for &word in planes.iter().rev() {
        let word = vreinterpretq_u8_u64(vdupq_n_u64(word));
        for (out, &bytes) in out.iter_mut().zip(&bytes) {
            // All ones where the row's bit is set, of which the lowest goes below the bits that are there.
            let mask = vtstq_u8(vqtbl1q_u8(word, bytes), single);
            *out = vsliq_n_u8::<1>(mask, *out);
        }
    }
    for (labels, out) in labels.as_chunks_mut::<16>().0.iter_mut().zip(out) {
        // SAFETY: sixteen bytes.
        unsafe { vst1q_u8(labels.as_mut_ptr(), out) };
    }
}

/// Adds each row's leaf: its labels are read eight at a time, as loads are what this is short of.
///
/// # Panics
/// When there isn't a value for each label of some bits.
#[expect(unsafe_code, reason = "the innermost loop; labels are cut to the values")]
pub(super) fn add(values: &[f64], labels: &[u8], out: &mut [f64]) {
    assert!(values.len().is_power_of_two() && values.len() <= 1 << PLANES, "a value for each label");
    let bits = (values.len() as u64 - 1) * 0x0101_0101_0101_0101;
    let (eights, labels) = labels.as_chunks::<8>();
    let (sums, out) = out.split_at_mut(8 * eights.len());
    for (eight, sums) in eights.iter().zip(sums.as_chunks_mut::<8>().0) {
        let word = u64::from_le_bytes(*eight) & bits;
        for (i, sum) in sums.iter_mut().enumerate() {
            // SAFETY: a byte of `bits` is the last place.
            *sum += unsafe { *values.get_unchecked((word >> (8 * i)) as usize & 255) };
        }
    }
    plain(values, labels, out);
}
