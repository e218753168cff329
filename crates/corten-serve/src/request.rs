//! An inference request's JSON, read without a tree of values: its numbers are most of a request.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::nested::{Member, Skipped};

/// Deepest nesting of `data`.
pub(crate) const MAX_DEPTH: usize = 8;

/// An inference request.
#[derive(Debug, Default)]
pub(crate) struct Request<'b> {
    pub(crate) id: Option<Text<'b>>,
    pub(crate) parameters: Option<Value>,
    pub(crate) inputs: Option<Vec<Input<'b>>>,
    pub(crate) outputs: Option<Value>,
}

/// A tensor of a request.
#[derive(Debug, Default)]
pub(crate) struct Input<'b> {
    pub(crate) name: Option<Text<'b>>,
    pub(crate) shape: Option<Value>,
    pub(crate) datatype: Option<Text<'b>>,
    pub(crate) parameters: Option<Value>,
    pub(crate) data: Data<'b>,
}

/// What is read member by member: an object, and never a list of its members' values.
trait Members<'b>: Default {
    const WHAT: &'static str;
    const NAMES: &'static [&'static str];

    /// Reads the member of this place in the names.
    fn read<A: MapAccess<'b>>(&mut self, at: usize, map: &mut A) -> Result<(), A::Error>;
}

impl<'b> Members<'b> for Request<'b> {
    const WHAT: &'static str = "an object with 'inputs'";
    const NAMES: &'static [&'static str] = &["id", "parameters", "inputs", "outputs"];

    fn read<A: MapAccess<'b>>(&mut self, at: usize, map: &mut A) -> Result<(), A::Error> {
        match at {
            0 => self.id = map.next_value()?,
            1 => self.parameters = map.next_value::<Member>()?.0,
            2 => self.inputs = map.next_value()?,
            _ => self.outputs = map.next_value::<Member>()?.0,
        }
        Ok(())
    }
}

impl<'b> Members<'b> for Input<'b> {
    const WHAT: &'static str = "an input as an object";
    const NAMES: &'static [&'static str] = &["name", "shape", "datatype", "parameters", "data"];

    fn read<A: MapAccess<'b>>(&mut self, at: usize, map: &mut A) -> Result<(), A::Error> {
        match at {
            0 => self.name = map.next_value()?,
            1 => self.shape = map.next_value::<Member>()?.0,
            2 => self.datatype = map.next_value()?,
            3 => self.parameters = map.next_value::<Member>()?.0,
            _ => self.data = map.next_value()?,
        }
        Ok(())
    }
}

struct Object<M>(PhantomData<M>);

impl<'b, M: Members<'b>> Visitor<'b> for Object<M> {
    type Value = M;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(M::WHAT)
    }

    fn visit_map<A: MapAccess<'b>>(self, mut map: A) -> Result<M, A::Error> {
        let (mut read, mut seen) = (M::default(), 0u8);
        while let Some(Key(name)) = map.next_key()? {
            let Some(at) = M::NAMES.iter().position(|n| *n == name) else {
                map.next_value::<Skipped>()?;
                continue;
            };
            if seen & 1 << at != 0 {
                return Err(A::Error::custom(format_args!("'{name}' comes twice")));
            }
            seen |= 1 << at;
            read.read(at, &mut map)?;
        }
        Ok(read)
    }
}

impl<'de: 'b, 'b> Deserialize<'de> for Request<'b> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Object(PhantomData))
    }
}

impl<'de: 'b, 'b> Deserialize<'de> for Input<'b> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Object(PhantomData))
    }
}

/// The name of a member.
struct Key<'b>(Cow<'b, str>);

impl<'de: 'b, 'b> Deserialize<'de> for Key<'b> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl<'de> Visitor<'de> for Name {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(name)))
            }

            fn visit_str<E>(self, name: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(name.to_owned())))
            }
        }
        deserializer.deserialize_str(Name)
    }
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

/// The elements of `data`, and how their lists are nested.
#[derive(Debug, Default, PartialEq)]
pub(crate) enum Data<'b> {
    /// Nothing came.
    #[default]
    None,
    Elements(Vec<Element<'b>>, Nest),
    /// An object among them, lists too deep, or no list.
    Unknown,
}

/// How lists are nested.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Nest {
    /// How many elements the lists of each level have.
    sizes: [Option<usize>; MAX_DEPTH],
    /// The level of the elements that are no lists.
    leaves: Option<usize>,
    /// Whether lists of one level differ in length, or what is no list stands beside lists.
    ragged: bool,
}

impl Nest {
    fn leaf(&mut self, depth: usize) {
        self.ragged |= *self.leaves.get_or_insert(depth) != depth;
    }

    fn list(&mut self, depth: usize, length: usize) {
        self.ragged |= *self.sizes[depth].get_or_insert(length) != length;
    }

    /// Whether the lists are one, flat, or nested as a shape says.
    pub(crate) fn fits(&self, shape: &[usize]) -> bool {
        let depth = self.sizes.iter().flatten().count();
        // An element can't stand above the deepest list.
        let whole = !self.ragged && self.leaves.is_none_or(|leaves| leaves == depth);
        whole && (depth == 1 || self.sizes[..depth].iter().copied().eq(shape.iter().copied().map(Some)))
    }
}

struct Elements<'o, 'b> {
    out: &'o mut Vec<Element<'b>>,
    nest: &'o mut Nest,
    known: &'o mut bool,
    depth: usize,
}

impl<'b> Elements<'_, 'b> {
    fn push(self, element: Element<'b>) {
        self.nest.leaf(self.depth);
        self.out.push(element);
    }
}

impl<'b> DeserializeSeed<'b> for Elements<'_, 'b> {
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
        self.push(Element::Number(x));
        Ok(())
    }

    fn visit_u64<E>(self, x: u64) -> Result<(), E> {
        self.push(Element::Number(x as f64));
        Ok(())
    }

    fn visit_i64<E>(self, x: i64) -> Result<(), E> {
        self.push(Element::Number(x as f64));
        Ok(())
    }

    fn visit_bool<E>(self, b: bool) -> Result<(), E> {
        self.push(Element::Bool(b));
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.push(Element::Null);
        Ok(())
    }

    fn visit_borrowed_str<E>(self, text: &'b str) -> Result<(), E> {
        self.push(Element::Text(Cow::Borrowed(text)));
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        self.push(Element::Text(Cow::Owned(text.to_owned())));
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'b>>(self, mut list: A) -> Result<(), A::Error> {
        if self.depth >= MAX_DEPTH {
            *self.known = false;
            while list.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        let (Elements { out, nest, known, depth }, mut length) = (self, 0);
        while list.next_element_seed(Elements { out, nest, known, depth: depth + 1 })?.is_some() {
            length += 1;
        }
        nest.list(depth, length);
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
        let (mut out, mut nest, mut known) = (Vec::new(), Nest::default(), true);
        deserializer.deserialize_any(Elements { out: &mut out, nest: &mut nest, known: &mut known, depth: 0 })?;
        Ok(if known && nest.sizes[0].is_some() { Self::Elements(out, nest) } else { Self::Unknown })
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
                let list = SeqAccessDeserializer::new(list);
                Member::deserialize(list).map(|m| Text::Other(m.0.unwrap_or_default()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                let map = MapAccessDeserializer::new(map);
                Member::deserialize(map).map(|m| Text::Other(m.0.unwrap_or_default()))
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
    fn data_is_one_list_or_nested_as_its_shape() {
        let data = |json: &str| match serde_json::from_str::<Input<'_>>(&format!("{{\"data\": {json}}}")).unwrap().data
        {
            Data::Elements(flat, nest) => (flat.iter().map(Element::to_string).collect::<Vec<_>>().join(" "), nest),
            other => panic!("{json}: {other:?}"),
        };
        let (text, nest) = data(r#"[[1, null], ["a\n", true], [-2.5, 0]]"#);
        assert_eq!(text, r#"1.0 null "a\n" true -2.5 0.0"#);
        assert!(nest.fits(&[3, 2]) && !nest.fits(&[2, 3]) && !nest.fits(&[6]) && !nest.fits(&[3, 2, 1]));
        for (json, shape) in
            [("[1, 2]", &[1, 2][..]), ("[]", &[0, 2]), ("[[], []]", &[2, 0]), ("[[[1]], [[2]]]", &[2, 1, 1])]
        {
            assert!(data(json).1.fits(shape), "{json}");
        }
        for json in
            ["[[1, 2], [3]]", "[1, [2, 3]]", "[[1, 2], 3]", "[[1], [[2]]]", "[[[1]], [2]]", "[[], 1]", "[[1, 2, 3]]"]
        {
            assert!(!data(json).1.fits(&[3]) && !data(json).1.fits(&[2, 2]) && !data(json).1.fits(&[2, 1]), "{json}");
        }
        let unknown = |json: &str| serde_json::from_str::<Input<'_>>(json).unwrap().data == Data::Unknown;
        assert!(unknown(r#"{"data": 1}"#) && unknown(r#"{"data": null}"#));
        assert!(unknown(r#"{"data": [1, {"a": [2]}]}"#) && unknown(r#"{"data": [[[[[[[[[[1]]]]]]]]]]}"#));
        assert_eq!(serde_json::from_str::<Input<'_>>("{}").unwrap().data, Data::None);
    }
}
