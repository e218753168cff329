//! Columns of text in the layouts in which frames keep them.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::Validity;

/// Where the bytes of a text column lie. Row `i` of a borrowed layout may be out of the bounds of its buffers only
/// when the frame that made it is broken; such a row reads as missing.
#[derive(Clone, Debug)]
pub enum TextValues<'a> {
    /// Arrow `utf8`: 32-bit offsets, one more than there are rows.
    Small {
        /// Ends of the rows, starting with the start of the first.
        offsets: Cow<'a, [i32]>,
        /// All text.
        bytes: Cow<'a, [u8]>,
    },
    /// Arrow `large_utf8`: 64-bit offsets.
    Large {
        /// Ends of the rows, starting with the start of the first.
        offsets: Cow<'a, [i64]>,
        /// All text.
        bytes: Cow<'a, [u8]>,
    },
    /// Arrow `utf8_view`: 16 bytes a row, text of up to 12 bytes inline.
    View {
        /// One view a row: its length, then the text itself or prefix, buffer and offset, all little endian.
        views: Cow<'a, [[u8; 16]]>,
        /// What long views point into.
        buffers: Vec<Cow<'a, [u8]>>,
    },
    /// Codes into a list of values (Arrow `dictionary`, polars `Categorical` and `Enum`, pandas `category`).
    Dictionary {
        /// One code a row.
        codes: Cow<'a, [u32]>,
        /// The values that codes point at; a null value reads as missing.
        values: Box<Text<'a>>,
    },
}

/// A column of text with its missing rows.
#[derive(Clone, Debug)]
pub struct Text<'a> {
    /// The text.
    pub values: TextValues<'a>,
    /// Which rows are there; all when `None`.
    pub validity: Option<Validity<'a>>,
}

impl<'a> Text<'a> {
    /// An owned column from optional strings.
    pub fn from_options<S: AsRef<str>>(rows: impl IntoIterator<Item = Option<S>>) -> Text<'static> {
        let (mut offsets, mut bytes, mut bits) = (Vec::from([0i64]), Vec::new(), Vec::new());
        for (i, row) in rows.into_iter().enumerate() {
            if i % 8 == 0 {
                bits.push(0u8);
            }
            if let Some(text) = row {
                bytes.extend_from_slice(text.as_ref().as_bytes());
                bits[i / 8] |= 1 << (i % 8);
            }
            offsets.push(bytes.len() as i64);
        }
        Text {
            values: TextValues::Large { offsets: offsets.into(), bytes: bytes.into() },
            validity: Some(Validity::new(bits, 0)),
        }
    }

    /// The same column, without a copy.
    pub fn borrowed(&self) -> Text<'_> {
        let values = match &self.values {
            TextValues::Small { offsets, bytes } => {
                TextValues::Small { offsets: Cow::Borrowed(offsets), bytes: Cow::Borrowed(bytes) }
            }
            TextValues::Large { offsets, bytes } => {
                TextValues::Large { offsets: Cow::Borrowed(offsets), bytes: Cow::Borrowed(bytes) }
            }
            TextValues::View { views, buffers } => TextValues::View {
                views: Cow::Borrowed(views),
                buffers: buffers.iter().map(|b| Cow::Borrowed(&b[..])).collect(),
            },
            TextValues::Dictionary { codes, values } => {
                TextValues::Dictionary { codes: Cow::Borrowed(codes), values: Box::new(values.borrowed()) }
            }
        };
        Text { values, validity: self.validity.as_ref().map(Validity::borrowed) }
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        match &self.values {
            TextValues::Small { offsets, .. } => offsets.len().saturating_sub(1),
            TextValues::Large { offsets, .. } => offsets.len().saturating_sub(1),
            TextValues::View { views, .. } => views.len(),
            TextValues::Dictionary { codes, .. } => codes.len(),
        }
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The UTF-8 bytes of a row, or `None` where it is missing.
    #[inline]
    pub fn get(&self, row: usize) -> Option<&[u8]> {
        if let Some(validity) = &self.validity
            && !validity.is_valid(row)
        {
            return None;
        }
        match &self.values {
            TextValues::Small { offsets, bytes } => bytes.get(offsets[row] as usize..offsets[row + 1] as usize),
            TextValues::Large { offsets, bytes } => bytes.get(offsets[row] as usize..offsets[row + 1] as usize),
            TextValues::View { views, buffers } => {
                let view = &views[row];
                let word =
                    |at: usize| u32::from_le_bytes([view[at], view[at + 1], view[at + 2], view[at + 3]]) as usize;
                let len = word(0);
                if len <= 12 {
                    return Some(&view[4..4 + len]);
                }
                buffers.get(word(8))?.get(word(12)..word(12).checked_add(len)?)
            }
            TextValues::Dictionary { codes, values } => {
                let code = codes[row] as usize;
                if code < values.len() { values.get(code) } else { None }
            }
        }
    }

    /// The list of values and the codes, where the column is kept that way.
    pub fn dictionary(&self) -> Option<(&[u32], &Text<'a>)> {
        match &self.values {
            TextValues::Dictionary { codes, values } => Some((codes, values)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    #[test]
    fn reads_every_layout_alike() {
        let long = b"longer than twelve bytes";
        let small = Text {
            values: TextValues::Small { offsets: vec![0, 2, 26].into(), bytes: [b"ab", &long[..]].concat().into() },
            validity: None,
        };
        let inline = [2, 0, 0, 0, b'a', b'b', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let far = [24, 0, 0, 0, b'l', b'o', b'n', b'g', 0, 0, 0, 0, 3, 0, 0, 0];
        let view = Text {
            values: TextValues::View {
                views: vec![inline, far].into(),
                buffers: vec![[b"xyz", &long[..]].concat().into()],
            },
            validity: None,
        };
        let dictionary = Text {
            values: TextValues::Dictionary {
                codes: vec![1, 0].into(),
                values: Box::new(Text::from_options([Some("longer than twelve bytes"), Some("ab")])),
            },
            validity: None,
        };
        for text in [&small, &view, &dictionary] {
            assert_eq!(text.get(0), Some(&b"ab"[..]));
            assert_eq!(text.get(1), Some(&long[..]));
        }
    }

    #[test]
    fn missing_and_broken_rows_read_as_missing() {
        let text = Text::from_options([Some("a"), None]);
        assert_eq!(text.get(1), None);
        let broken = Text {
            values: TextValues::Small { offsets: vec![0, 9].into(), bytes: b"ab".to_vec().into() },
            validity: None,
        };
        assert_eq!(broken.get(0), None);
        let code = Text {
            values: TextValues::Dictionary { codes: vec![7].into(), values: Box::new(Text::from_options([Some("a")])) },
            validity: None,
        };
        assert_eq!(code.get(0), None);
    }
}
