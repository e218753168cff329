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

/// An empty vector with room for `len` values, on large pages where there is much of it.
pub fn room<T: Copy>(len: usize) -> Vec<T> {
    #[cfg_attr(not(feature = "std"), expect(unused_mut, reason = "nobody to be advised"))]
    let mut out: Vec<T> = Vec::with_capacity(len);
    #[cfg(feature = "std")]
    crate::pages::advise_inside(out.as_mut_ptr().cast(), len * size_of::<T>());
    out
}

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
        let mut lines: Vec<Line> = room(count);
        lines.resize(count, Line([0; LINE]));
        Self { lines, len, of: PhantomData }
    }

    /// Values that come in pieces of `piece`, which fill whole cache lines: `fill` is handed the places of one after the
    /// other, and sets all of them. Memory is written once, without zeros before.
    ///
    /// # Errors
    /// Those of `fill`.
    pub fn piece_by_piece<E>(
        len: usize,
        piece: usize,
        mut fill: impl FnMut(&mut [T]) -> Result<(), E>,
    ) -> Result<Self, E> {
        assert!(piece > 0 && (piece * size_of::<T>()).is_multiple_of(LINE), "pieces of whole lines");
        let mut lines: Vec<Line> = room((len * size_of::<T>()).div_ceil(LINE));
        let mut some = Self::zeroed(piece.min(len));
        for start in (0..len).step_by(piece) {
            if len - start < some.len {
                some = Self::zeroed(len - start);
            }
            fill(&mut some)?;
            lines.extend_from_slice(&some.lines);
        }
        Ok(Self { lines, len, of: PhantomData })
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

    #[test]
    fn pieces_come_in_order_and_what_fails_ends_them() {
        for len in [0usize, 1, 31, 32, 33, 64, 100] {
            let mut next = 0;
            let filled = Aligned::piece_by_piece(len, 32, |some: &mut [u16]| {
                some.iter_mut().for_each(|v| {
                    next += 1;
                    *v = next;
                });
                Ok::<(), ()>(())
            });
            let filled = filled.expect("nothing fails");
            assert_eq!(filled.to_vec(), (1..=len as u16).collect::<Vec<_>>());
            let bytes: usize = filled.lines.iter().flat_map(|l| l.0).map(usize::from).sum();
            assert_eq!(bytes, filled.iter().map(|&v| usize::from(v)).sum(), "zeros behind the end");
        }
        let mut pieces = 0;
        let failed = Aligned::piece_by_piece(100, 32, |_: &mut [u16]| {
            pieces += 1;
            if pieces == 2 { Err("no more") } else { Ok(()) }
        });
        assert_eq!((failed.err(), pieces), (Some("no more"), 2));
    }
}
