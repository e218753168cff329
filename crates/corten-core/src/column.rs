//! One column of a table: numbers or text, read where they lie.

use alloc::borrow::Cow;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::{Error, Result, Text};

/// What the executor tells apart: everything is a number or text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A number, `f64` inside the executor; NaN is "missing".
    Number,
    /// UTF-8 text or missing.
    Text,
}

/// Bits that say which rows are there, least significant first (Arrow's layout).
#[derive(Clone, Debug)]
pub struct Validity<'a> {
    bits: Cow<'a, [u8]>,
    offset: usize,
}

impl<'a> Validity<'a> {
    /// Row 0 is bit `offset`.
    pub fn new(bits: impl Into<Cow<'a, [u8]>>, offset: usize) -> Self {
        Self { bits: bits.into(), offset }
    }

    /// The same rows, without a copy.
    pub fn borrowed(&self) -> Validity<'_> {
        Validity { bits: Cow::Borrowed(&self.bits), offset: self.offset }
    }

    /// Whether a row is there.
    #[inline]
    pub fn is_valid(&self, row: usize) -> bool {
        let bit = self.offset + row;
        self.bits[bit / 8] >> (bit % 8) & 1 == 1
    }
}

/// Numbers at a fixed distance: a contiguous column, or one column of a row-major matrix.
#[derive(Clone, Debug)]
pub struct Strided<'a, T: Clone> {
    data: Cow<'a, [T]>,
    offset: usize,
    stride: usize,
    len: usize,
}

impl<'a, T: Copy> Strided<'a, T> {
    /// Row `i` is `data[offset + i * stride]`.
    ///
    /// # Errors
    /// [`Error::Value`] when the last row lies outside `data`.
    pub fn new(data: impl Into<Cow<'a, [T]>>, offset: usize, stride: usize, len: usize) -> Result<Self> {
        let data = data.into();
        let last = len.checked_sub(1).map_or(Some(0), |n| n.checked_mul(stride)?.checked_add(offset)?.checked_add(1));
        if last.is_none_or(|end| end > data.len()) {
            return Err(Error::value("a column reaches beyond its buffer"));
        }
        Ok(Self { data, offset, stride, len })
    }

    /// A contiguous column.
    pub fn contiguous(data: impl Into<Cow<'a, [T]>>) -> Self {
        let data = data.into();
        let len = data.len();
        Self { data, offset: 0, stride: 1, len }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// One row.
    #[inline]
    pub fn get(&self, row: usize) -> T {
        self.data[self.offset + row * self.stride]
    }

    /// The rows as one slice, where they lie side by side.
    pub fn as_slice(&self) -> Option<&[T]> {
        (self.stride == 1 || self.len <= 1).then(|| &self.data[self.offset..self.offset + self.len])
    }

    /// The buffer with the place of row 0 and the distance between rows.
    pub fn parts(&self) -> (&[T], usize, usize) {
        (&self.data, self.offset, self.stride)
    }

    #[inline]
    fn read(&self, start: usize, out: &mut [f64], to: impl Fn(T) -> f64) {
        if self.stride == 1 {
            let from = &self.data[self.offset + start..][..out.len()];
            for (o, &v) in out.iter_mut().zip(from) {
                *o = to(v);
            }
        } else if self.stride == 0 && !out.is_empty() {
            // One value stands for all rows.
            out.fill(to(self.data[self.offset]));
        } else if !out.is_empty() {
            let from = &self.data[self.offset + start * self.stride..];
            for (o, &v) in out.iter_mut().zip(from.iter().step_by(self.stride)) {
                *o = to(v);
            }
        }
    }

    #[inline]
    fn pick(&self, rows: &[u32], out: &mut [f64], to: impl Fn(T) -> f64) {
        for (o, &row) in out.iter_mut().zip(rows) {
            *o = to(self.get(row as usize));
        }
    }
}

/// Runs `$read` on the numbers of a column, with what makes each an `f64`.
macro_rules! numbers {
    ($column:expr, $v:ident, $to:ident => $read:expr) => {
        numbers!(@ $column, $v, $to => $read,
            F64 f64, F32 f32, I64 i64, I32 i32, I16 i16, I8 i8, U64 u64, U32 u32, U16 u16, U8 u8, Bool u8)
    };
    (@ $column:expr, $v:ident, $to:ident => $read:expr, $($kind:ident $type:ty),*) => {
        match &$column.values {
            $(Values::$kind($v) => {
                let $to = |x: $type| x as f64;
                $read
            })*
            Values::Text(_) => return Err(Error::column(&$column.name, "holds text where numbers are needed")),
            Values::Unsupported { type_name, .. } => {
                return Err(Error::column(
                    &$column.name,
                    alloc::format!("has type {type_name}; numbers, booleans and text can be used"),
                ));
            }
        }
    };
}

/// The values of a column.
#[derive(Clone, Debug)]
pub enum Values<'a> {
    /// 64-bit floats.
    F64(Strided<'a, f64>),
    /// 32-bit floats.
    F32(Strided<'a, f32>),
    /// 64-bit integers.
    I64(Strided<'a, i64>),
    /// 32-bit integers.
    I32(Strided<'a, i32>),
    /// 16-bit integers.
    I16(Strided<'a, i16>),
    /// 8-bit integers.
    I8(Strided<'a, i8>),
    /// Unsigned 64-bit integers.
    U64(Strided<'a, u64>),
    /// Unsigned 32-bit integers.
    U32(Strided<'a, u32>),
    /// Unsigned 16-bit integers.
    U16(Strided<'a, u16>),
    /// Unsigned 8-bit integers.
    U8(Strided<'a, u8>),
    /// Booleans, one byte each, 0 or 1.
    Bool(Strided<'a, u8>),
    /// Text.
    Text(Text<'a>),
    /// A type that no estimator takes (a date, a list ...), by its name; an error only when it is used.
    Unsupported {
        /// What the frame calls the type.
        type_name: String,
        /// Number of rows.
        rows: usize,
    },
}

macro_rules! each_number {
    ($values:expr, $v:ident => $body:expr, $other:pat => $rest:expr) => {
        match $values {
            Values::F64($v) => $body,
            Values::F32($v) => $body,
            Values::I64($v) => $body,
            Values::I32($v) => $body,
            Values::I16($v) => $body,
            Values::I8($v) => $body,
            Values::U64($v) => $body,
            Values::U32($v) => $body,
            Values::U16($v) => $body,
            Values::U8($v) => $body,
            Values::Bool($v) => $body,
            $other => $rest,
        }
    };
}

/// A named column.
#[derive(Clone, Debug)]
pub struct Column<'a> {
    /// Its name; `x0`, `x1` ... in a matrix.
    pub name: String,
    /// Its values.
    pub values: Values<'a>,
    /// Which rows of a column of numbers are there (text carries its own); all when `None`.
    pub validity: Option<Validity<'a>>,
    /// Whether the frame calls it categorical.
    pub categorical: bool,
}

impl<'a> Column<'a> {
    /// A column of numbers.
    pub fn number(name: impl ToString, values: Values<'a>, validity: Option<Validity<'a>>) -> Self {
        Self { name: name.to_string(), values, validity, categorical: false }
    }

    /// A contiguous column of `f64`.
    pub fn f64(name: impl ToString, values: impl Into<Cow<'a, [f64]>>) -> Self {
        Self::number(name, Values::F64(Strided::contiguous(values)), None)
    }

    /// A column of text.
    pub fn text(name: impl ToString, text: Text<'a>) -> Self {
        Self { name: name.to_string(), values: Values::Text(text), validity: None, categorical: false }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        each_number!(&self.values, v => v.len(), other => match other {
            Values::Text(text) => text.len(),
            Values::Unsupported { rows, .. } => *rows,
            _ => 0,
        })
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number or text; `None` for a type that no estimator takes.
    pub fn kind(&self) -> Option<Kind> {
        match &self.values {
            Values::Text(_) => Some(Kind::Text),
            Values::Unsupported { .. } => None,
            _ => Some(Kind::Number),
        }
    }

    /// The type's short name: `f64`, `i32`, `bool`, `text` ...
    pub fn type_name(&self) -> &str {
        match &self.values {
            Values::F64(_) => "f64",
            Values::F32(_) => "f32",
            Values::I64(_) => "i64",
            Values::I32(_) => "i32",
            Values::I16(_) => "i16",
            Values::I8(_) => "i8",
            Values::U64(_) => "u64",
            Values::U32(_) => "u32",
            Values::U16(_) => "u16",
            Values::U8(_) => "u8",
            Values::Bool(_) => "bool",
            Values::Text(_) => "text",
            Values::Unsupported { type_name, .. } => type_name,
        }
    }

    /// Reads rows `start..start + out.len()` as `f64`; missing rows become NaN.
    ///
    /// # Errors
    /// [`Error::Column`] when the column doesn't hold numbers.
    pub fn read_f64(&self, start: usize, out: &mut [f64]) -> Result<()> {
        numbers!(self, v, to => v.read(start, out, to));
        if let Some(validity) = &self.validity {
            for (i, o) in out.iter_mut().enumerate() {
                if !validity.is_valid(start + i) {
                    *o = f64::NAN;
                }
            }
        }
        Ok(())
    }

    /// Reads some rows as `f64`, in the order given; missing ones become NaN.
    ///
    /// # Errors
    /// As [`Column::read_f64`].
    pub fn pick_f64(&self, rows: &[u32], out: &mut [f64]) -> Result<()> {
        numbers!(self, v, to => v.pick(rows, out, to));
        if let Some(validity) = &self.validity {
            for (o, &row) in out.iter_mut().zip(rows) {
                if !validity.is_valid(row as usize) {
                    *o = f64::NAN;
                }
            }
        }
        Ok(())
    }

    /// The whole column as `f64`, borrowed where it already is contiguous `f64` without missing rows.
    ///
    /// # Errors
    /// [`Error::Column`] when the column doesn't hold numbers.
    pub fn to_f64(&self) -> Result<Cow<'_, [f64]>> {
        if let (Values::F64(v), None) = (&self.values, &self.validity)
            && let Some(slice) = v.as_slice()
        {
            return Ok(Cow::Borrowed(slice));
        }
        let mut out = alloc::vec![0.0; self.len()];
        self.read_f64(0, &mut out)?;
        Ok(Cow::Owned(out))
    }

    /// The text of the column.
    ///
    /// # Errors
    /// [`Error::Column`] when the column doesn't hold text.
    pub fn as_text(&self) -> Result<&Text<'a>> {
        match &self.values {
            Values::Text(text) => Ok(text),
            _ => Err(Error::column(&self.name, alloc::format!("holds {} where text is needed", self.type_name()))),
        }
    }

    /// A copy of some rows, in the order given.
    pub fn take(&self, rows: &[u32]) -> Column<'static> {
        let values = match &self.values {
            Values::Text(text) => Values::Text(match text.dictionary() {
                Some((codes, values)) => {
                    let owned = Text::from_options((0..values.len()).map(|i| values.get(i).map(lossless)));
                    let missing = owned.len() as u32;
                    Text {
                        values: crate::TextValues::Dictionary {
                            codes: rows
                                .iter()
                                .map(|&r| if text.get(r as usize).is_some() { codes[r as usize] } else { missing })
                                .collect::<Vec<_>>()
                                .into(),
                            values: alloc::boxed::Box::new(owned),
                        },
                        validity: None,
                    }
                }
                None => Text::from_options(rows.iter().map(|&r| text.get(r as usize).map(lossless))),
            }),
            Values::Unsupported { type_name, .. } => {
                Values::Unsupported { type_name: type_name.clone(), rows: rows.len() }
            }
            Values::F32(v) if self.validity.is_none() => {
                Values::F32(Strided::contiguous(rows.iter().map(|&r| v.get(r as usize)).collect::<Vec<_>>()))
            }
            _ => {
                let mut out = alloc::vec![0.0; rows.len()];
                for (o, &r) in out.iter_mut().zip(rows) {
                    // Numbers by construction: text and unsupported types are handled above.
                    let _ = self.read_f64(r as usize, core::slice::from_mut(o));
                }
                Values::F64(Strided::contiguous(out))
            }
        };
        Column { name: self.name.clone(), values, validity: None, categorical: self.categorical }
    }
}

fn lossless(bytes: &[u8]) -> &str {
    core::str::from_utf8(bytes).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn reads_a_column_of_a_row_major_matrix() {
        let data = [1.0, 10.0, 2.0, 20.0, 3.0, 30.0];
        let column = Column::number("x1", Values::F64(Strided::new(&data[..], 1, 2, 3).unwrap()), None);
        let mut out = [0.0; 2];
        column.read_f64(1, &mut out).unwrap();
        assert_eq!(out, [20.0, 30.0]);
        assert!(Strided::new(&data[..], 1, 2, 4).is_err());
    }

    #[test]
    fn reads_one_value_for_all_rows() {
        let column = Column::number("x", Values::F64(Strided::new(vec![1.0, 2.0], 1, 0, 5).unwrap()), None);
        assert_eq!(column.to_f64().unwrap()[..], [2.0; 5]);
        let none = Column::number("x", Values::F64(Strided::new(vec![1.0], 0, 0, 0).unwrap()), None);
        assert!(none.to_f64().unwrap().is_empty());
    }

    #[test]
    fn missing_rows_read_as_nan() {
        let column =
            Column::number("a", Values::I32(Strided::contiguous(vec![1, 2, 3])), Some(Validity::new(vec![0b101u8], 0)));
        let values = column.to_f64().unwrap();
        assert!(values[0] == 1.0 && values[1].is_nan() && values[2] == 3.0);
    }

    #[test]
    fn text_is_no_number_and_says_where() {
        let column = Column::text("city", Text::from_options([Some("Oslo")]));
        assert_eq!(column.to_f64().unwrap_err().to_string(), "Column 'city': holds text where numbers are needed");
    }

    #[test]
    fn take_keeps_text_and_missing_rows() {
        let column = Column::text("c", Text::from_options([Some("a"), None, Some("b")]));
        let taken = column.take(&[2, 1]);
        let text = taken.as_text().unwrap();
        assert_eq!((text.get(0), text.get(1)), (Some(&b"b"[..]), None));
    }
}
