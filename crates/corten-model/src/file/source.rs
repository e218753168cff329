//! Where the bytes of tensors come from: memory, or a file that is read in groups.

use core::marker::PhantomData;

use alloc::vec::Vec;

use bytemuck::Pod;
use corten_core::Result;
use corten_kernels::aligned::{self, Plain};
use safetensors::Dtype;

/// Numbers that are read at a time on the way to where they stay.
pub(crate) const SOME: usize = 256;

/// The bytes of all tensors.
pub(crate) enum Source<'a> {
    /// All of them.
    Memory(&'a [u8]),
    /// A file that is read as tensors are asked for.
    #[cfg(feature = "std")]
    File(super::groups::Groups<'a>),
}

/// Some bytes in a row.
enum Piece<'a> {
    Memory(&'a [u8]),
    #[cfg(feature = "std")]
    Group(super::groups::Group),
}

impl Piece<'_> {
    /// The bytes from a place on, as far as they lie here.
    fn from(&self, at: usize) -> &[u8] {
        match self {
            Self::Memory(bytes) => bytes.get(at..).unwrap_or_default(),
            #[cfg(feature = "std")]
            Self::Group(group) => group.from(at),
        }
    }
}

impl<'a> Source<'a> {
    #[cfg_attr(not(feature = "std"), expect(unused_variables, reason = "what is in memory lies in one piece"))]
    fn piece(&self, at: usize) -> Result<Piece<'a>> {
        match self {
            Self::Memory(bytes) => Ok(Piece::Memory(bytes)),
            #[cfg(feature = "std")]
            Self::File(groups) => groups.at(at).map(Piece::Group),
        }
    }
}

/// A type of numbers that tensors hold.
pub(crate) trait Number: Pod + Plain + Default {
    const DTYPE: Dtype;
    /// A number whose bytes came in the order of the file.
    fn ordered(self) -> Self;
}

macro_rules! numbers {
    ($($type:ty = $dtype:expr,)*) => {
        $(impl Number for $type {
            const DTYPE: Dtype = $dtype;
            fn ordered(self) -> Self {
                Self::from_le_bytes(self.to_ne_bytes())
            }
        })*
    };
}

numbers! {
    f64 = Dtype::F64,
    u32 = Dtype::U32,
    u16 = Dtype::U16,
    u8 = Dtype::U8,
}

/// The numbers of a tensor, read one after the other.
pub(crate) struct Numbers<'a, T> {
    source: &'a Source<'a>,
    piece: Option<Piece<'a>>,
    at: usize,
    end: usize,
    of: PhantomData<T>,
}

impl<'a, T: Number> Numbers<'a, T> {
    /// The numbers in these bytes, which lie in the source and are a whole number of them.
    pub(super) fn new(source: &'a Source<'a>, bytes: core::ops::Range<usize>) -> Self {
        Self { source, piece: None, at: bytes.start, end: bytes.end, of: PhantomData }
    }

    /// How many are left.
    pub(crate) fn len(&self) -> usize {
        (self.end - self.at) / size_of::<T>()
    }

    /// The bytes that lie in one piece from here on, at least one.
    fn there(&mut self) -> Result<&[u8]> {
        if self.piece.as_ref().is_none_or(|p| p.from(self.at).is_empty()) {
            self.piece = Some(self.source.piece(self.at)?);
        }
        let there = self.piece.as_ref().map_or(&[][..], |p| p.from(self.at));
        Ok(&there[..there.len().min(self.end - self.at)])
    }

    /// Reads the next ones; as many must be left.
    pub(crate) fn read(&mut self, numbers: &mut [T]) -> Result<()> {
        debug_assert!(numbers.len() <= self.len(), "no more than there are");
        let mut rest: &mut [u8] = bytemuck::cast_slice_mut(numbers);
        while !rest.is_empty() {
            let there = self.there()?;
            let count = there.len().min(rest.len());
            let (now, later) = rest.split_at_mut(count);
            now.copy_from_slice(&there[..count]);
            (rest, self.at) = (later, self.at + count);
        }
        if cfg!(target_endian = "big") {
            numbers.iter_mut().for_each(|n| *n = n.ordered());
        }
        Ok(())
    }

    /// All that are left.
    pub(crate) fn into_vec(mut self) -> Result<Vec<T>> {
        let mut out = aligned::room(self.len());
        let mut some = [T::default(); SOME];
        while self.len() > 0 {
            let there = self.there()?;
            let whole = there.len() / size_of::<T>() * size_of::<T>();
            // Whole numbers that lie as they do in memory, as they do in a file that Corten wrote.
            let numbers: &[T] = bytemuck::try_cast_slice(&there[..whole]).unwrap_or_default();
            if !numbers.is_empty() && cfg!(target_endian = "little") {
                out.extend_from_slice(numbers);
                self.at += whole;
                continue;
            }
            let count = self.len().min(some.len());
            self.read(&mut some[..count])?;
            out.extend_from_slice(&some[..count]);
        }
        Ok(out)
    }
}
