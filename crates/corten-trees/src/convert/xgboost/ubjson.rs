//! UBJSON (draft 12, with the typed and counted containers that XGBoost writes), as a serde deserializer.

use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

/// Deepest nesting.
const MAX_DEPTH: usize = 64;

/// What is wrong with the bytes, and where.
#[derive(Debug)]
pub(crate) struct Fault(String);

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

/// Reads a value from the bytes of a document.
pub(crate) struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
    depth: usize,
}

impl<'b> Reader<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, at: 0, depth: 0 }
    }

    fn fault<T>(&self, problem: impl fmt::Display) -> Result<T, Fault> {
        Err(Fault(format!("{problem} at byte {}", self.at)))
    }

    fn take(&mut self, count: usize) -> Result<&'b [u8], Fault> {
        match self.bytes.get(self.at..).and_then(|rest| rest.get(..count)) {
            Some(taken) => {
                self.at += count;
                Ok(taken)
            }
            None => self.fault("the bytes end too soon"),
        }
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let taken = self.take(N)?;
        taken.try_into().map_err(|_| Fault("the bytes end too soon".into()))
    }

    /// The next marker; `N` stands for nothing.
    fn marker(&mut self) -> Result<u8, Fault> {
        loop {
            let [marker] = self.fixed()?;
            if marker != b'N' {
                return Ok(marker);
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn integer(&mut self, marker: u8) -> Result<i64, Fault> {
        Ok(match marker {
            b'i' => i64::from(i8::from_be_bytes(self.fixed()?)),
            b'U' => i64::from(u8::from_be_bytes(self.fixed()?)),
            b'I' => i64::from(i16::from_be_bytes(self.fixed()?)),
            b'l' => i64::from(i32::from_be_bytes(self.fixed()?)),
            b'L' => i64::from_be_bytes(self.fixed()?),
            other => return self.fault(format!("a number was expected, but '{}' came", char::from(other))),
        })
    }

    /// A length; never more than bytes are left, as each element takes one at least.
    fn length(&mut self) -> Result<usize, Fault> {
        let marker = self.marker()?;
        let length = self.integer(marker)?;
        match usize::try_from(length) {
            Ok(length) if length <= self.bytes.len() - self.at => Ok(length),
            _ => self.fault(format!("a length of {length}")),
        }
    }

    fn text(&mut self) -> Result<&'b str, Fault> {
        let length = self.length()?;
        let bytes = self.take(length)?;
        std::str::from_utf8(bytes).or_else(|_| self.fault("a text is no UTF-8"))
    }

    fn value<V: Visitor<'b>>(&mut self, marker: u8, visitor: V) -> Result<V::Value, Fault> {
        match marker {
            b'Z' => visitor.visit_unit(),
            b'T' => visitor.visit_bool(true),
            b'F' => visitor.visit_bool(false),
            b'i' | b'U' | b'I' | b'l' | b'L' => visitor.visit_i64(self.integer(marker)?),
            b'd' => visitor.visit_f64(f64::from(f32::from_be_bytes(self.fixed()?))),
            b'D' => visitor.visit_f64(f64::from_be_bytes(self.fixed()?)),
            b'C' => {
                let [byte] = self.fixed()?;
                visitor.visit_char(char::from(byte))
            }
            b'S' | b'H' => visitor.visit_borrowed_str(self.text()?),
            b'[' => self.container(|reader, kind, left| visitor.visit_seq(Items { reader, kind, left, close: b']' })),
            b'{' => self.container(|reader, kind, left| visitor.visit_map(Items { reader, kind, left, close: b'}' })),
            other => self.fault(format!("'{}' is no kind of value", char::from(other))),
        }
    }

    /// Reads the head of a container: the kind of its elements and their number, where they are given.
    fn container<T>(
        &mut self,
        read: impl FnOnce(&mut Self, Option<u8>, Option<usize>) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        if self.depth == MAX_DEPTH {
            return self.fault(format!("lists are nested more than {MAX_DEPTH} deep"));
        }
        self.depth += 1;
        let (mut kind, mut left) = (None, None);
        if self.peek() == Some(b'$') {
            let [_, marker] = self.fixed()?;
            kind = Some(marker);
        }
        if self.peek() == Some(b'#') {
            self.at += 1;
            left = Some(self.length()?);
        }
        if kind.is_some() && (left.is_none() || matches!(kind, Some(b'Z' | b'T' | b'F' | b'N'))) {
            return self.fault("a list of one kind without a length, or of a kind without bytes");
        }
        let value = read(self, kind, left)?;
        self.depth -= 1;
        Ok(value)
    }
}

struct Items<'r, 'b> {
    reader: &'r mut Reader<'b>,
    kind: Option<u8>,
    left: Option<usize>,
    close: u8,
}

impl<'b> Items<'_, 'b> {
    /// Whether another element follows.
    fn more(&mut self) -> Result<bool, Fault> {
        match &mut self.left {
            Some(0) => Ok(false),
            Some(left) => {
                *left -= 1;
                Ok(true)
            }
            None => {
                while self.reader.peek() == Some(b'N') {
                    self.reader.at += 1;
                }
                if self.reader.peek() == Some(self.close) {
                    self.reader.at += 1;
                    return Ok(false);
                }
                Ok(true)
            }
        }
    }

    fn element<T: DeserializeSeed<'b>>(&mut self, seed: T) -> Result<T::Value, Fault> {
        let marker = match self.kind {
            Some(kind) => kind,
            None => self.reader.marker()?,
        };
        seed.deserialize(Marked { reader: self.reader, marker })
    }
}

impl<'b> SeqAccess<'b> for Items<'_, 'b> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'b>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        if self.more()? { self.element(seed).map(Some) } else { Ok(None) }
    }

    fn size_hint(&self) -> Option<usize> {
        self.left
    }
}

impl<'b> MapAccess<'b> for Items<'_, 'b> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'b>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        if !self.more()? {
            return Ok(None);
        }
        let key = self.reader.text()?;
        seed.deserialize(de::value::BorrowedStrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'b>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        self.element(seed)
    }
}

/// A value whose marker was read.
struct Marked<'r, 'b> {
    reader: &'r mut Reader<'b>,
    marker: u8,
}

impl<'de> Deserializer<'de> for Marked<'_, 'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.reader.value(self.marker, visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        if self.marker == b'Z' { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf unit unit_struct newtype_struct seq
        tuple tuple_struct map struct enum identifier ignored_any
    }
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let marker = self.marker()?;
        self.value(marker, visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit unit_struct newtype_struct
        seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::{Value, json};

    use super::*;

    fn read(bytes: &[u8]) -> Result<Value, Fault> {
        Value::deserialize(&mut Reader::new(bytes))
    }

    #[test]
    fn every_kind_of_value_is_read() {
        let cases: [(&[u8], Value); 7] = [
            (b"Z", json!(null)),
            (b"[TFi\xffU\xffI\x80\x00l\x00\x01\x00\x00]", json!([true, false, -1, 255, -32768, 65536])),
            (b"[$d#i\x02\x3f\x80\x00\x00\xbf\x00\x00\x00", json!([1.0, -0.5])),
            (b"{i\x01aSi\x02hii\x01bZ}", json!({ "a": "hi", "b": null })),
            (b"{#i\x01L\x00\x00\x00\x00\x00\x00\x00\x01kCx", json!({ "k": "x" })),
            (b"[#L\x00\x00\x00\x00\x00\x00\x00\x00", json!([])),
            (b"D\x40\x09\x21\xfb\x54\x44\x2d\x18", json!(std::f64::consts::PI)),
        ];
        for (bytes, want) in cases {
            assert_eq!(read(bytes).unwrap(), want, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn damaged_bytes_are_refused_with_their_place() {
        let deep = [b'['; 100];
        let cases: [(&[u8], &str); 8] = [
            (b"", "end too soon"),
            (b"[$d#i\x7f\x00", "a length of 127"),
            (b"[#L\x7f\xff\xff\xff\xff\xff\xff\xff", "a length of"),
            (b"[#i\xff", "a length of -1"),
            (b"[$T#i\x01T", "a kind without bytes"),
            (b"[$i\x05", "without a length"),
            (b"Si\x02\xff\xfe", "no UTF-8"),
            (&deep, "64 deep"),
        ];
        for (bytes, part) in cases {
            let error = read(bytes).unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("at byte"), "{error}");
        }
    }
}
