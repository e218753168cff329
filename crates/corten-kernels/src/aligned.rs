//! A vector that starts on a cache line.

use alloc::vec::Vec;
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};

/// Bytes of a cache line, and of the widest register.
const LINE: usize = 64;

#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line([u8; LINE]);

mod plain {
    /// Numbers of which every bit pattern is a value and that have no padding.
    pub trait Plain: Copy + 'static {}
    impl Plain for u8 {}
    impl Plain for u16 {}
    impl Plain for u32 {}
    impl Plain for u64 {}
    impl Plain for f64 {}
}
pub use plain::Plain;

/// A fixed number of values that starts on a cache line. The bytes after its end, up to a whole line, are zero.
#[derive(Debug)]
pub struct Aligned<T: Plain> {
    lines: Vec<Line>,
    len: usize,
    of: PhantomData<T>,
}

impl<T: Plain> Aligned<T> {
    /// All bytes zero.
    pub fn zeroed(len: usize) -> Self {
        let count = (len * size_of::<T>()).div_ceil(LINE);
        let mut lines: Vec<Line> = Vec::with_capacity(count);
        #[cfg(feature = "std")]
        crate::pages::advise_inside(lines.as_mut_ptr().cast(), count * LINE);
        lines.resize(count, Line([0; LINE]));
        Self { lines, len, of: PhantomData }
    }

    /// A copy.
    pub fn of(values: &[T]) -> Self {
        let mut out = Self::zeroed(values.len());
        out.copy_from_slice(values);
        out
    }

    /// Grows with zeros, or shrinks.
    pub fn resize(&mut self, len: usize) {
        self.lines.resize((len * size_of::<T>()).div_ceil(LINE), Line([0; LINE]));
        self.len = len;
    }
}

impl<T: Plain> Default for Aligned<T> {
    fn default() -> Self {
        Self::zeroed(0)
    }
}

impl<T: Plain> Clone for Aligned<T> {
    fn clone(&self) -> Self {
        Self { lines: self.lines.clone(), len: self.len, of: PhantomData }
    }
}

#[expect(unsafe_code, reason = "lines seen as numbers")]
impl<T: Plain> Deref for Aligned<T> {
    type Target = [T];
    #[inline]
    fn deref(&self) -> &[T] {
        // SAFETY: the lines hold at least `len` values, all bytes are set, and any bytes are a `T`.
        unsafe { core::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

#[expect(unsafe_code, reason = "lines seen as numbers")]
impl<T: Plain> DerefMut for Aligned<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        // SAFETY: as above, and any `T` leaves valid bytes.
        unsafe { core::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_on_a_line_and_keeps_its_values() {
        let mut values = Aligned::of(&[1.5f64, -2.0, 3.0]);
        assert_eq!(values.as_ptr() as usize % LINE, 0);
        values.resize(20);
        assert_eq!(values[..4], [1.5, -2.0, 3.0, 0.0]);
        assert_eq!((values.len(), Aligned::<u16>::default().len()), (20, 0));
    }
}
