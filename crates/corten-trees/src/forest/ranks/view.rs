//! Columns whose codes have whatever width: what is large and reads few of them is compiled once for all widths.

use super::{Code, Scale};

/// Codes of whatever width.
#[derive(Clone, Copy)]
pub(crate) enum Packed<'a> {
    Bytes(&'a [u8]),
    Halves(&'a [u16]),
    Words(&'a [u32]),
}

/// Runs `$read` on codes of the width that they have.
macro_rules! packed {
    ($packed:expr, $codes:ident => $read:expr) => {
        match $packed {
            Packed::Bytes($codes) => $read,
            Packed::Halves($codes) => $read,
            Packed::Words($codes) => $read,
        }
    };
}
pub(in super::super) use packed;

/// A column whose codes have whatever width.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) codes: Packed<'a>,
    pub(crate) scale: &'a Scale,
    pub(crate) missing: u32,
}

impl View<'_> {
    /// The code of a row.
    #[inline]
    pub(crate) fn code(&self, row: u32) -> u32 {
        packed!(self.codes, codes => codes[row as usize].get())
    }

    /// A threshold between the values of two codes, the second of which may be that of missing values.
    pub(crate) fn between(&self, last: u32, next: u32) -> f64 {
        self.scale.between(last, (next != self.missing).then_some(next))
    }
}
