//! The bytes that nodes of numbers compare with: a row's codes, cut into chunks that a byte holds.

use alloc::vec::Vec;

use super::{Coder, Reads};

/// Thresholds of a slot: codes `0..=254`, and 255 for a missing value that goes right.
const CHUNK: usize = 254;
/// Codes and thresholds are compared as signed bytes: what turns them into such, and the one that none is above.
const SIGN: u8 = 1 << 7;
pub(super) const HIGHEST: u8 = u8::MAX ^ SIGN;
/// Fewest slots of a half: those that any CPU looks up at once.
const LEAST_HALF: usize = 16;
/// Most slots.
pub(super) const MAX_SLOTS: usize = 256;

/// Bytes of a row: a code column's thresholds in chunks.
///
/// In `halves`, of two columns that differ in where missing values go, the slots of the second one follow those of the first
/// one by a power of two. A row without missing values has the same codes in both halves, and looks codes up in the first one
/// alone: that pays where a register holds few slots.
#[derive(Clone, Debug, Default)]
pub(super) struct Slots {
    /// Column and first threshold of each slot.
    slots: Vec<(u16, u16)>,
    /// First slot of each column.
    first: Vec<u16>,
    /// The second ones of two such columns, and where the second half begins; 0 where there is none.
    seconds: Vec<u16>,
    half: usize,
    /// Whether slot `i` is column `i`.
    plain: bool,
}

impl Slots {
    /// None where there are more than `limit`.
    pub(super) fn new(coder: &Coder, limit: usize, halves: bool) -> Option<Self> {
        let chunks = |column: usize| match coder.reads(column) {
            Reads::Category { .. } => 0,
            Reads::Number { .. } => coder.thresholds(column).len().div_ceil(CHUNK).max(1),
        };
        let slots_of = |column: usize| (0..chunks(column)).map(move |c| (column as u16, (c * CHUNK) as u16));
        let mut out = Self { first: alloc::vec![0; coder.columns()], ..Self::default() };
        for column in 0..coder.columns() {
            if halves && column > 0 && coder.are_twins(column - 1) {
                out.seconds.push(column as u16);
                continue;
            }
            out.first[column] = out.slots.len() as u16;
            out.slots.extend(slots_of(column));
            if out.slots.len() > limit {
                return None;
            }
        }
        let half = out.slots.len().next_power_of_two().max(LEAST_HALF);
        if !out.seconds.is_empty() && 2 * half <= limit {
            out.half = half;
            // Those that are in one half alone are the same in both.
            out.slots.resize(half, (0, 0));
            out.slots.extend_from_within(..);
        }
        for &column in &out.seconds {
            let column = usize::from(column);
            let at = if out.half > 0 { out.half + usize::from(out.first[column - 1]) } else { out.slots.len() };
            out.first[column] = at as u16;
            out.slots.resize(out.slots.len().max(at + chunks(column)), (0, 0));
            out.slots[at..].iter_mut().zip(slots_of(column)).for_each(|(to, slot)| *to = slot);
        }
        out.plain = out.slots.iter().enumerate().all(|(i, s)| *s == (i as u16, 0));
        if out.slots.len() > limit { None } else { Some(out) }
    }

    /// Slot and threshold of a number node.
    pub(super) fn of(&self, column: u16, threshold: u16) -> (u16, u8) {
        let threshold = usize::from(threshold);
        (self.first[usize::from(column)] + (threshold / CHUNK) as u16, (threshold % CHUNK) as u8 ^ SIGN)
    }

    /// A row's slots from its codes, and how many of them codes may be looked up in: those of others are found where a
    /// slot's highest bits are left out.
    #[inline]
    pub(super) fn row(&self, codes: &[u16], bytes: &mut [u8]) -> usize {
        if self.plain {
            bytes.iter_mut().zip(&codes[..self.slots.len()]).for_each(|(b, &c)| *b = c.min(255) as u8 ^ SIGN);
            return self.slots.len();
        }
        let missing = |any: u16, &second: &u16| any | (codes[usize::from(second) - 1] ^ codes[usize::from(second)]);
        let all = self.half == 0 || self.seconds.iter().fold(0, missing) != 0;
        let slots = if all { &self.slots[..] } else { &self.slots[..self.half] };
        for (byte, &(column, base)) in bytes.iter_mut().zip(slots) {
            *byte = codes[usize::from(column)].saturating_sub(base).min(255) as u8 ^ SIGN;
        }
        slots.len()
    }
}

/// A row's slots, from a line on.
#[cfg(target_arch = "x86_64")]
#[repr(C, align(64))]
pub(super) struct Bytes(pub(super) [u8; MAX_SLOTS]);

#[cfg(target_arch = "x86_64")]
impl Default for Bytes {
    fn default() -> Self {
        Self([0; MAX_SLOTS])
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::Codes;

#[cfg(target_arch = "x86_64")]
mod x86 {
    use core::arch::x86_64::*;

    use super::Bytes;

    /// A row's slots in registers of AVX-512.
    pub(in super::super) struct Codes([__m512i; 4]);

    impl Codes {
        #[inline]
        #[target_feature(enable = "avx512f")]
        #[expect(unsafe_code, reason = "loads of registers")]
        pub(in super::super) fn new(bytes: &Bytes) -> Self {
            // SAFETY: there are as many bytes as four registers have.
            Self(core::array::from_fn(|i| unsafe { _mm512_load_si512(bytes.0.as_ptr().add(64 * i).cast()) }))
        }

        /// The codes of some slots, of which there are at most 64 `N`.
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi")]
        pub(in super::super) fn of<const N: usize>(&self, slots: __m512i) -> __m512i {
            let [a, b, c, d] = self.0;
            match N {
                1 => _mm512_permutexvar_epi8(slots, a),
                2 => _mm512_permutex2var_epi8(a, slots, b),
                _ => {
                    let (low, high) = (_mm512_permutex2var_epi8(a, slots, b), _mm512_permutex2var_epi8(c, slots, d));
                    _mm512_mask_blend_epi8(_mm512_movepi8_mask(slots), low, high)
                }
            }
        }
    }
}
