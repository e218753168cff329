//! Numbers in the smallest type that keeps them exactly: targets of many rows are mostly classes or short floats.

use alloc::borrow::Cow;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

/// A list of numbers that reads as `f64`.
#[derive(Clone, Debug, PartialEq)]
pub enum Numbers {
    /// So many zeros.
    Zeros(usize),
    /// Whole numbers from 0 to 255.
    U8(Vec<u8>),
    /// Numbers that 32 bits keep.
    F32(Vec<f32>),
    /// Any.
    F64(Vec<f64>),
}

impl Default for Numbers {
    fn default() -> Self {
        Self::U8(Vec::new())
    }
}

fn is_byte(x: f64) -> bool {
    // The sign of a zero counts too.
    f64::from(x as u8).to_bits() == x.to_bits()
}

fn is_short(x: f64) -> bool {
    f64::from(x as f32).to_bits() == x.to_bits()
}

impl Numbers {
    /// Number of numbers.
    pub fn len(&self) -> usize {
        match self {
            Self::Zeros(n) => *n,
            Self::U8(v) => v.len(),
            Self::F32(v) => v.len(),
            Self::F64(v) => v.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// One number.
    #[inline]
    pub fn get(&self, at: usize) -> f64 {
        match self {
            Self::Zeros(_) => 0.0,
            Self::U8(v) => f64::from(v[at]),
            Self::F32(v) => f64::from(v[at]),
            Self::F64(v) => v[at],
        }
    }

    /// Some numbers in a row, in `room` where they aren't there as `f64`.
    pub fn read<'a>(&'a self, range: Range<usize>, room: &'a mut [f64]) -> &'a [f64] {
        let room = &mut room[..range.len()];
        match self {
            Self::F64(v) => return &v[range],
            Self::Zeros(_) => room.fill(0.0),
            Self::U8(v) => room.iter_mut().zip(&v[range]).for_each(|(o, &x)| *o = f64::from(x)),
            Self::F32(v) => room.iter_mut().zip(&v[range]).for_each(|(o, &x)| *o = f64::from(x)),
        }
        room
    }

    /// All numbers.
    pub fn all(&self) -> Cow<'_, [f64]> {
        match self {
            Self::F64(v) => Cow::Borrowed(v),
            _ => {
                let mut out = vec![0.0; self.len()];
                self.read(0..self.len(), &mut out);
                out.into()
            }
        }
    }

    /// Appends numbers; those before them move to a larger type where that is needed.
    pub fn extend(&mut self, numbers: &[f64]) {
        if let Self::Zeros(n) = *self {
            *self = Self::U8(vec![0; n]);
        }
        if matches!(self, Self::U8(_)) && !numbers.iter().all(|&x| is_byte(x)) {
            let before = self.all();
            *self = Self::F32(before.iter().map(|&x| x as f32).collect());
        }
        if matches!(self, Self::F32(_)) && !numbers.iter().all(|&x| is_short(x)) {
            *self = Self::F64(self.all().into_owned());
        }
        match self {
            Self::Zeros(_) => {}
            Self::U8(v) => v.extend(numbers.iter().map(|&x| x as u8)),
            Self::F32(v) => v.extend(numbers.iter().map(|&x| x as f32)),
            Self::F64(v) => v.extend_from_slice(numbers),
        }
    }

    /// The numbers at some places, in the order given.
    pub fn take(&self, places: &[u32]) -> Self {
        match self {
            Self::Zeros(_) => Self::Zeros(places.len()),
            Self::U8(v) => Self::U8(places.iter().map(|&p| v[p as usize]).collect()),
            Self::F32(v) => Self::F32(places.iter().map(|&p| v[p as usize]).collect()),
            Self::F64(v) => Self::F64(places.iter().map(|&p| v[p as usize]).collect()),
        }
    }
}

impl From<&[f64]> for Numbers {
    fn from(numbers: &[f64]) -> Self {
        if numbers.iter().all(|&x| is_byte(x)) {
            Self::U8(numbers.iter().map(|&x| x as u8).collect())
        } else if numbers.iter().all(|&x| is_short(x)) {
            Self::F32(numbers.iter().map(|&x| x as f32).collect())
        } else {
            Self::F64(numbers.to_vec())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_move_to_a_larger_type_and_keep_their_bits() {
        let mut numbers = Numbers::default();
        let mut want = Vec::new();
        let kinds: [fn(&Numbers) -> bool; 3] =
            [|n| matches!(n, Numbers::U8(_)), |n| matches!(n, Numbers::F32(_)), |n| matches!(n, Numbers::F64(_))];
        for (more, kind) in [[0.0, 1.0, 255.0], [-0.0, 0.5, 256.0], [0.1, f64::NAN, 1e300]].iter().zip(kinds) {
            numbers.extend(more);
            want.extend_from_slice(more);
            assert!(kind(&numbers), "{numbers:?}");
            let bits = |v: &[f64]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&numbers.all()), bits(&want));
            assert_eq!(bits(&Numbers::from(&want[..]).all()), bits(&want));
            assert_eq!(bits(numbers.read(1..3, &mut [0.0; 4])), bits(&want[1..3]));
            assert_eq!(bits(&numbers.take(&[2, 0]).all()), bits(&[want[2], want[0]]));
        }
        assert_eq!(Numbers::Zeros(3).all().to_vec(), [0.0; 3]);
    }
}
