//! One row with NEON.

use core::arch::aarch64::*;

use super::{Forest, SIDE, Sieve, TREES};

impl Sieve {
    /// [`Sieve::row`] from the first place of each column.
    #[target_feature(enable = "neon")]
    #[expect(unsafe_code, reason = "the innermost loop; the constructor made the places")]
    pub(super) fn row_neon(
        &self,
        forest: &Forest,
        starts: &[usize],
        found: &mut [u32],
        out: &mut [f64],
        stride: usize,
    ) {
        let (places, lines) = (self.places.as_ptr(), self.lines.as_ptr());
        let left = |side: usize| {
            let mut all = [[vdupq_n_u64(u64::MAX); TREES / 2]; SIDE];
            for start in starts {
                for (i, all) in all.iter_mut().enumerate() {
                    // SAFETY: there are `groups` places, a multiple of SIDE, from each start on, and each is a line.
                    let line = unsafe {
                        let place = *places.add(start + side + i);
                        vld1q_u64_x4(lines.add(usize::from(place) * TREES))
                    };
                    let line = [line.0, line.1, line.2, line.3];
                    all.iter_mut().zip(line).for_each(|(all, line)| *all = vandq_u64(*all, line));
                }
            }
            let mut out = [[0; TREES]; SIDE];
            for (to, all) in out.as_flattened_mut().as_chunks_mut::<2>().0.iter_mut().zip(all.as_flattened()) {
                // SAFETY: two words.
                unsafe { vst1q_u64(to.as_mut_ptr(), *all) };
            }
            out
        };
        self.row_of(left, u64::leading_zeros, forest, found, out, stride);
    }
}
