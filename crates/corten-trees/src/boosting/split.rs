//! How a node parts its rows.

use corten_kernels::boost::{SHARED, WIDTH};
use serde::{Deserialize, Serialize};

use super::bundles::Member;
use super::histogram::Pair;

/// Which bins go left.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Left {
    /// Bins up to this one.
    UpTo(u8),
    /// A bit a bin.
    Set(Box<[u32; 8]>),
}

/// How a node parts its rows, as trees keep it: trees of a long fit have millions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Branch {
    feature: u32,
    pub(crate) missing_left: bool,
    /// Whether the node has missing values in this column; if not, they later go where most rows go.
    pub(crate) missing_seen: bool,
    pub(crate) gain: f64,
    pub(crate) left: Left,
}

/// A way to split a node, with what it makes of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Split {
    pub(crate) branch: Branch,
    pub(crate) left_sums: Pair,
    pub(crate) left_value: f64,
    pub(crate) right_value: f64,
}

impl Branch {
    pub(crate) fn new(feature: usize, gain: f64, left: Left, missing_left: bool, missing_seen: bool) -> Self {
        Self { feature: feature as u32, missing_left, missing_seen, gain, left }
    }

    #[inline]
    pub(crate) fn feature(&self) -> usize {
        self.feature as usize
    }

    /// Whether it gains more than another, or as much by an earlier feature.
    pub(crate) fn is_before(&self, other: &Self) -> bool {
        self.gain > other.gain || self.gain == other.gain && self.feature < other.feature
    }

    #[inline]
    pub(crate) fn goes_left(&self, bin: u8, missing: usize) -> bool {
        if usize::from(bin) == missing {
            return self.missing_left;
        }
        match &self.left {
            Left::UpTo(last) => bin <= *last,
            Left::Set(set) => set[usize::from(bin >> 5)] >> (bin & 31) & 1 == 1,
        }
    }

    /// A bit for each of the first [`SHARED`] bins: whether it goes left.
    fn few(&self, missing: usize) -> u64 {
        let bits = match &self.left {
            Left::UpTo(last) => u64::MAX >> (SHARED - 1).saturating_sub(usize::from(*last)),
            Left::Set(set) => u64::from(set[1]) << 32 | u64::from(set[0]),
        };
        if missing >= SHARED {
            return bits;
        }
        bits & !(1 << missing) | u64::from(self.missing_left) << missing
    }

    /// A bit a byte of the column's group.
    pub(crate) fn set(&self, missing: usize, member: Member) -> [u32; 8] {
        let mut set = [0; 8];
        if let (Left::UpTo(last), Member::Alone) = (&self.left, member) {
            for (word, bits) in set.iter_mut().enumerate() {
                *bits = match (usize::from(*last) + 1).saturating_sub(32 * word) {
                    0 => 0,
                    count => u32::MAX >> 32usize.saturating_sub(count),
                };
            }
            if let Some(bits) = set.get_mut(missing / 32) {
                *bits = *bits & !(1 << (missing % 32)) | u32::from(self.missing_left) << (missing % 32);
            }
            return set;
        }
        if let Member::Combined { divisor, states } = member {
            // Each run of bins that go left is one of bytes in every block of `states` bins.
            let mut rest = self.few(missing) & u64::MAX >> (SHARED - states);
            while rest != 0 {
                let from = rest.trailing_zeros() as usize;
                let count = (rest >> from).trailing_ones() as usize;
                for block in (0..WIDTH).step_by(divisor * states) {
                    fill(&mut set, block + divisor * from, divisor * count);
                }
                rest &= rest.wrapping_add(1 << from);
            }
            return set;
        }
        for byte in 0..=255u8 {
            set[usize::from(byte >> 5)] |= u32::from(self.goes_left(member.bin(byte), missing)) << (byte & 31);
        }
        set
    }
}

/// Sets so many bits from one on, as far as there are bits.
fn fill(set: &mut [u32; 8], from: usize, count: usize) {
    let end = (from + count).min(WIDTH);
    for (word, bits) in set.iter_mut().enumerate().take(end.div_ceil(32)).skip(from / 32) {
        let (low, high) = (from.max(32 * word) - 32 * word, end.min(32 * word + 32) - 32 * word);
        *bits |= u32::MAX >> (32 - (high - low)) << low;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_hold_the_bytes_of_bins_that_go_left() {
        let set = std::array::from_fn(|i| 0x9e37_79b9u32.rotate_left(i as u32 * 3));
        let lefts = [0, 1, 30, 31, 32, 63, 200, 254, 255].map(Left::UpTo);
        let combined = [(1, 16), (3, 40), (16, 16), (1, 64), (64, 4), (1, 2), (128, 2), (7, 5)];
        let members = combined.map(|(divisor, states)| Member::Combined { divisor, states });
        let members: Vec<Member> = members.into_iter().chain([Member::Alone]).collect();
        for left in lefts.into_iter().chain([Left::Set(Box::new(set))]) {
            for (missing, missing_left) in [(2, true), (31, false), (254, true), (255, false), (255, true)] {
                for &member in &members {
                    let split = Branch::new(0, 1.0, left.clone(), missing_left, true);
                    let set = split.set(missing, member);
                    for byte in 0..=255u8 {
                        let is_in = set[usize::from(byte / 32)] >> (byte % 32) & 1 == 1;
                        assert_eq!(is_in, split.goes_left(member.bin(byte), missing), "{split:?}, {member:?}, {byte}");
                    }
                }
            }
        }
    }
}
