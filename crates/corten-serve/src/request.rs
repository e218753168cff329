//! An inference request's JSON, read without a tree of values: its numbers are most of a request.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

/// Deepest nesting of `data`.
pub(crate) const MAX_DEPTH: usize = 8;

/// An inference request.
#[derive(Default, serde::Deserialize)]
pub(crate) struct Request<'b> {
    #[serde(borrow)]
    pub(crate) id: Option<Text<'b>>,
    pub(crate) parameters: Option<Value>,
    #[serde(borrow)]
    pub(crate) inputs: Option<Vec<Input<'b>>>,
    pub(crate) outputs: Option<Value>,
}

/// A tensor of a request.
#[derive(serde::Deserialize)]
pub(crate) struct Input<'b> {
    #[serde(borrow)]
    pub(crate) name: Option<Text<'b>>,
    pub(crate) shape: Option<Value>,
    #[serde(borrow)]
    pub(crate) datatype: Option<Text<'b>>,
    pub(crate) parameters: Option<Value>,
    #[serde(borrow, default)]
    pub(crate) data: Data<'b>,
}

/// A text, or that something else came.
#[derive(Debug, PartialEq)]
pub(crate) enum Text<'b> {
    Text(Cow<'b, str>),
    Other(Value),
}

impl Text<'_> {
    pub(crate) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Other(_) => None,
        }
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{}", Value::from(&**text)),
            Self::Other(value) => write!(f, "{value}"),
        }
    }
}

/// An element of `data`.
#[derive(Debug, PartialEq)]
pub(crate) enum Element<'b> {
    Number(f64),
    Bool(bool),
    Null,
    Text(Cow<'b, str>),
}

impl fmt::Display for Element<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(x) => write!(f, "{}", Value::from(*x)),
            Self::Bool(b) => write!(f, "{b}"),
            Self::Null => f.write_str("null"),
            Self::Text(text) => write!(f, "{}", Value::from(&**text)),
        }
    }
}

/// The elements of `data`, however deep they are nested.
#[derive(Debug, Default, PartialEq)]
pub(crate) enum Data<'b> {
    /// Nothing came.
    #[default]
    None,
    Elements(Vec<Element<'b>>),
    /// An object among them, or lists too deep.
    Unknown,
}

struct Elements<'o, 'b> {
    out: &'o mut Vec<Element<'b>>,
    known: &'o mut bool,
    depth: usize,
}

impl<'b> serde::de::DeserializeSeed<'b> for Elements<'_, 'b> {
    type Value = ();

    fn deserialize<D: Deserializer<'b>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'b> Visitor<'b> for Elements<'_, 'b> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers or texts")
    }

    fn visit_f64<E>(self, x: f64) -> Result<(), E> {
        self.out.push(Element::Number(x));
        Ok(())
    }

    fn visit_u64<E>(self, x: u64) -> Result<(), E> {
        self.out.push(Element::Number(x as f64));
        Ok(())
    }

    fn visit_i64<E>(self, x: i64) -> Result<(), E> {
        self.out.push(Element::Number(x as f64));
        Ok(())
    }

    fn visit_bool<E>(self, b: bool) -> Result<(), E> {
        self.out.push(Element::Bool(b));
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.out.push(Element::Null);
        Ok(())
    }

    fn visit_borrowed_str<E>(self, text: &'b str) -> Result<(), E> {
        self.out.push(Element::Text(Cow::Borrowed(text)));
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.out.push(Element::Text(Cow::Owned(text.to_owned())));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'b>>(self, mut list: A) -> Result<(), A::Error> {
        if self.depth >= MAX_DEPTH {
            *self.known = false;
            while list.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        while list.next_element_seed(Elements { out: self.out, known: self.known, depth: self.depth + 1 })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'b>>(self, mut map: A) -> Result<(), A::Error> {
        *self.known = false;
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(())
    }
}

impl<'de: 'b, 'b> Deserialize<'de> for Data<'b> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (mut out, mut known) = (Vec::new(), true);
        deserializer.deserialize_any(Elements { out: &mut out, known: &mut known, depth: 0 })?;
        Ok(if known { Self::Elements(out) } else { Self::Unknown })
    }
}

impl<'de: 'b, 'b> Deserialize<'de> for Text<'b> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text::Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text::Text(Cow::Owned(text.to_owned())))
            }

            fn visit_bool<E>(self, b: bool) -> Result<Self::Value, E> {
                Ok(Text::Other(b.into()))
            }

            fn visit_u64<E>(self, x: u64) -> Result<Self::Value, E> {
                Ok(Text::Other(x.into()))
            }

            fn visit_i64<E>(self, x: i64) -> Result<Self::Value, E> {
                Ok(Text::Other(x.into()))
            }

            fn visit_f64<E>(self, x: f64) -> Result<Self::Value, E> {
                Ok(Text::Other(x.into()))
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Text::Other(Value::Null))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Self::Value, A::Error> {
                Value::deserialize(serde::de::value::SeqAccessDeserializer::new(list)).map(Text::Other)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                Value::deserialize(serde::de::value::MapAccessDeserializer::new(map)).map(Text::Other)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// Writes `null` for each bare `NaN` that Python writes: both are missing here. As long as it was.
pub(crate) fn tame(json: &[u8]) -> Vec<u8> {
    let (mut tamed, mut at, mut quoted) = (Vec::with_capacity(json.len()), 0, false);
    while at < json.len() {
        let rest = &json[at..];
        if !quoted && rest.starts_with(b"NaN") {
            tamed.extend_from_slice(b"null");
            at += 3;
            continue;
        }
        let taken = if quoted && rest[0] == b'\\' { rest.len().min(2) } else { 1 };
        quoted ^= rest[0] == b'"';
        tamed.extend_from_slice(&rest[..taken]);
        at += taken;
    }
    tamed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_nan_is_missing_and_one_in_text_is_text() {
        let tamed = |json: &[u8]| serde_json::from_slice::<Value>(&tame(json));
        let parsed = tamed(br#"{"a": [NaN, 1.0, NaN], "b\"": "NaN \\"}"#).unwrap();
        assert_eq!(parsed, serde_json::json!({ "a": [null, 1.0, null], "b\"": "NaN \\" }));
        assert!(tamed(br#"{"a": NaNNaN}"#).is_err() && tamed(br#"{"a": Infinity}"#).is_err());
    }

    #[test]
    fn data_is_flat_however_it_is_nested() {
        let data = |json: &str| {
            serde_json::from_str::<Input<'_>>(json).unwrap().data == {
                let flat = r#"{"data": [1, null, "a\n", true, -2.5]}"#;
                serde_json::from_str::<Input<'_>>(flat).unwrap().data
            }
        };
        assert!(data(r#"{"data": [[1, null], [["a\n", true], -2.5]]}"#) && !data(r#"{"data": [1]}"#));
        let unknown = |json: &str| serde_json::from_str::<Input<'_>>(json).unwrap().data == Data::Unknown;
        assert!(unknown(r#"{"data": [1, {"a": [2]}]}"#) && unknown(r#"{"data": [[[[[[[[[[1]]]]]]]]]]}"#));
        assert_eq!(serde_json::from_str::<Input<'_>>("{}").unwrap().data, Data::None);
    }
}
