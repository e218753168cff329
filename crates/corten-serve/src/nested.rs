//! Members of a request that may be anything: read to a bounded depth, or passed over to the same.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Deepest nesting of lists and objects.
const MAX_DEPTH: usize = 32;

/// A member of any kind; none for `null`.
pub(crate) struct Member(pub(crate) Option<Value>);

/// A member that nobody reads.
pub(crate) struct Skipped;

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Nested { depth: 0, kept: true }.deserialize(deserializer)?;
        Ok(Self((!value.is_null()).then_some(value)))
    }
}

impl<'de> Deserialize<'de> for Skipped {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Nested { depth: 0, kept: false }.deserialize(deserializer).map(|_| Self)
    }
}

/// Reads a value of any kind; what isn't kept takes no memory, and is `null`.
#[derive(Clone, Copy)]
struct Nested {
    depth: usize,
    kept: bool,
}

impl Nested {
    fn inner<E: Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(E::custom(format_args!("nested more than {MAX_DEPTH} deep")));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }

    fn value<E>(self, value: impl Into<Value>) -> Result<Value, E> {
        Ok(if self.kept { value.into() } else { Value::Null })
    }
}

impl<'de> DeserializeSeed<'de> for Nested {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Nested {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, x: bool) -> Result<Value, E> {
        self.value(x)
    }

    fn visit_u64<E>(self, x: u64) -> Result<Value, E> {
        self.value(x)
    }

    fn visit_i64<E>(self, x: i64) -> Result<Value, E> {
        self.value(x)
    }

    fn visit_f64<E>(self, x: f64) -> Result<Value, E> {
        self.value(x)
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(if self.kept { text.into() } else { Value::Null })
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let (inner, mut all) = (self.inner()?, Vec::new());
        while let Some(value) = list.next_element_seed(inner)? {
            if self.kept {
                all.push(value);
            }
        }
        self.value(all)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let (inner, mut all) = (self.inner()?, Map::new());
        while let Some(key) = map.next_key_seed(Nested { depth: 0, kept: self.kept })? {
            let value = map.next_value_seed(inner)?;
            if let (true, Value::String(key)) = (self.kept, key) {
                all.insert(key, value);
            }
        }
        self.value(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_read_as_they_are_and_no_deeper_than_the_limit() {
        let text = r#"{"a\n": [1, -2, 0.5, null, true, "b\n", {"c": []}], "d": {}}"#;
        let wanted: Value = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::from_str::<Member>(text).unwrap().0, Some(wanted));
        assert!(serde_json::from_str::<Member>("null").unwrap().0.is_none());
        let deep = |depth: usize| format!("{}1{}", "[{\"a\":".repeat(depth / 2), "}]".repeat(depth / 2));
        for depth in [2, MAX_DEPTH, MAX_DEPTH + 2, 100_000] {
            let (kept, skipped) =
                (serde_json::from_str::<Member>(&deep(depth)), serde_json::from_str::<Skipped>(&deep(depth)));
            assert_eq!((kept.is_ok(), skipped.is_ok()), (depth <= MAX_DEPTH, depth <= MAX_DEPTH), "{depth}");
            assert!(skipped.err().is_none_or(|e| e.to_string().contains("nested more than 32 deep")));
        }
        assert!(serde_json::from_str::<Skipped>(&"[".repeat(40)).is_err_and(|e| e.to_string().contains("32 deep")));
    }
}
