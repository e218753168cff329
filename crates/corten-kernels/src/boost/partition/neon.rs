//! NEON's way: sixteen bins are told at once, and a look-up of bytes moves four rows together.

use core::arch::aarch64::*;

use super::{Set, plain};

/// Rows of a register.
const FOUR: usize = 4;
/// Bins of a register.
const STEP: usize = 16;

/// For each pattern of four bits where the bytes of its ones' rows come from, and then those of its zeros'.
static PLACES: [[u8; STEP]; 16] = {
    let mut out = [[0; STEP]; 16];
    let mut pattern = 0;
    while pattern < 16 {
        let (mut to, mut i) = (0, 0);
        while i < 2 * FOUR {
            let place = i % FOUR;
            if (pattern >> place & 1 == 1) == (i < FOUR) {
                let mut byte = 0;
                while byte < FOUR {
                    out[pattern][to] = (place * FOUR + byte) as u8;
                    (to, byte) = (to + 1, byte + 1);
                }
            }
            i += 1;
        }
        pattern += 1;
    }
    out
};

/// The ones of each pattern: counting them takes a way to a vector register and back.
static ONES: [u8; 16] = {
    let mut out = [0; 16];
    let mut pattern = 0u32;
    while pattern < 16 {
        out[pattern as usize] = pattern.count_ones() as u8;
        pattern += 1;
    }
    out
};

/// A set in registers.
#[derive(Clone, Copy)]
struct Answers {
    bytes: uint8x16x2_t,
    single: uint8x16_t,
}

impl Answers {
    #[inline]
    #[target_feature(enable = "neon")]
    #[expect(unsafe_code, reason = "a load of registers")]
    fn new(set: &Set) -> Self {
        // SAFETY: a set has 32 bytes.
        let bytes = unsafe { vld1q_u8_x2(set.as_ptr().cast()) };
        Self { bytes, single: bits() }
    }

    /// A byte a bin, with all bits where it is in the set.
    #[inline]
    #[target_feature(enable = "neon")]
    fn of(self, bins: uint8x16_t) -> uint8x16_t {
        // The byte of the set in which a bin's bit lies, and the bit.
        let byte = vqtbl2q_u8(self.bytes, vshrq_n_u8::<3>(bins));
        vtstq_u8(byte, vqtbl1q_u8(self.single, vandq_u8(bins, vdupq_n_u8(7))))
    }

    /// The same of sixteen bins, a bit each.
    #[inline]
    #[target_feature(enable = "neon")]
    fn sixteen(self, bins: uint8x16_t) -> usize {
        let single = vandq_u8(self.of(bins), self.single);
        usize::from(vaddv_u8(vget_low_u8(single))) | usize::from(vaddv_u8(vget_high_u8(single))) << 8
    }
}

/// One bit each of eight bytes, twice.
#[inline]
#[target_feature(enable = "neon")]
fn bits() -> uint8x16_t {
    vreinterpretq_u8_u64(vdupq_n_u64(0x8040_2010_0804_0201))
}

/// Writes the ones among four rows to `left` and the zeros to `right`, four places each; the number of ones.
///
/// # Safety
/// There are four places at both.
#[inline]
#[target_feature(enable = "neon")]
#[expect(unsafe_code, reason = "stores of registers")]
unsafe fn four(ids: uint32x4_t, pattern: usize, left: *mut u32, right: *mut u32) -> usize {
    let ids = vreinterpretq_u8_u32(ids);
    // SAFETY: 16 bytes a pattern; the caller says that four rows fit.
    unsafe {
        let (ones, zeros) = (vld1q_u8(PLACES[pattern % 16].as_ptr()), vld1q_u8(PLACES[!pattern % 16].as_ptr()));
        vst1q_u8(right.cast(), vqtbl1q_u8(ids, zeros));
        vst1q_u8(left.cast(), vqtbl1q_u8(ids, ones));
    }
    usize::from(ONES[pattern % 16])
}

/// # Safety
/// Rows, those of the list or as many consecutive ones from `first` on, are below the length of `column`; `spare` is as
/// long as `list`.
#[target_feature(enable = "neon")]
#[expect(unsafe_code, reason = "vector instructions on raw places")]
pub(super) unsafe fn part(
    list: &mut [u32],
    spare: &mut [u32],
    column: &[u8],
    set: &Set,
    first: Option<usize>,
) -> usize {
    let n = list.len();
    let (rows, out, bins) = (list.as_mut_ptr(), spare.as_mut_ptr(), column.as_ptr());
    let (mut l, mut k) = (0usize, 0usize);
    let answers = Answers::new(set);
    // SAFETY: `k + 16 <= n` and `l <= k`, so the 4 places written from `l` and from `k - l` on exist, and those from `l` on
    // have been read.
    unsafe {
        let mut next = vaddq_u32(vld1q_u32([0, 1, 2, 3].as_ptr()), vdupq_n_u32(first.unwrap_or(0) as u32));
        while k + STEP <= n {
            let told = answers.sixteen(match first {
                Some(first) => vld1q_u8(bins.add(first + k)),
                None => gathered(rows.add(k), bins),
            });
            for i in 0..STEP / FOUR {
                let ids = if first.is_some() { next } else { vld1q_u32(rows.add(k)) };
                l += four(ids, told >> (FOUR * i), rows.add(l), out.add(k - l));
                next = vaddq_u32(next, vdupq_n_u32(FOUR as u32));
                k += FOUR;
            }
        }
    }
    plain(list, spare, column, set, first, k, l)
}

/// The bins of sixteen rows: put together in general registers, as lanes of a vector would wait for each other.
///
/// # Safety
/// There are sixteen rows, and a bin for each.
#[inline]
#[target_feature(enable = "neon")]
#[expect(unsafe_code, reason = "loads of single bytes")]
unsafe fn gathered(rows: *const u32, bins: *const u8) -> uint8x16_t {
    let eight = |first: usize| {
        let mut word = (first..first + 8).rev().fold(0u64, |all, i| {
            // SAFETY: as the caller says.
            let bin = unsafe { *bins.add(*rows.add(i) as usize) };
            all << 8 | u64::from(bin)
        });
        // SAFETY: no instruction at all. Without it the compiler makes lanes of them.
        unsafe { core::arch::asm!("/* {0} */", inout(reg) word, options(pure, nomem, nostack, preserves_flags)) };
        word
    };
    vcombine_u8(vcreate_u8(eight(0)), vcreate_u8(eight(8)))
}
