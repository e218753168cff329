//! Serde helpers: JSON has no NaN and no infinities, so such numbers are written as text.

use alloc::string::String;
use alloc::vec::Vec;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Number {
    Finite(f64),
    Text(String),
}

/// # Errors
/// What the serializer tells.
pub fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
    if value.is_finite() {
        serializer.serialize_f64(*value)
    } else if value.is_nan() {
        serializer.serialize_str("NaN")
    } else {
        serializer.serialize_str(if *value > 0.0 { "inf" } else { "-inf" })
    }
}

/// # Errors
/// What the deserializer tells, and any other text.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    match Number::deserialize(deserializer)? {
        Number::Finite(value) => Ok(value),
        Number::Text(text) => match text.as_str() {
            "NaN" => Ok(f64::NAN),
            "inf" => Ok(f64::INFINITY),
            "-inf" => Ok(f64::NEG_INFINITY),
            _ => Err(serde::de::Error::custom("expected a number, \"NaN\", \"inf\" or \"-inf\"")),
        },
    }
}

/// Any number as a value.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Any(#[serde(with = "crate::number")] f64);

/// Lists of numbers.
pub mod list {
    use super::*;

    /// # Errors
    /// What the serializer tells.
    pub fn serialize<S: Serializer>(values: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(values.iter().map(|&x| Any(x)))
    }

    /// # Errors
    /// What the deserializer tells, and any other text.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
        Ok(Vec::<Any>::deserialize(deserializer)?.into_iter().map(|x| x.0).collect())
    }
}

/// Lists of two lists of numbers each.
pub mod pairs {
    use super::*;

    /// # Errors
    /// What the serializer tells.
    pub fn serialize<S: Serializer>(values: &[[Vec<f64>; 2]], serializer: S) -> Result<S::Ok, S::Error> {
        let pair = |pair: &[Vec<f64>; 2]| pair.each_ref().map(|v| v.iter().map(|&x| Any(x)).collect::<Vec<_>>());
        serializer.collect_seq(values.iter().map(pair))
    }

    /// # Errors
    /// What the deserializer tells, and any other text.
    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<[Vec<f64>; 2]>, D::Error> {
        let pairs = Vec::<[Vec<Any>; 2]>::deserialize(deserializer)?;
        Ok(pairs.into_iter().map(|pair| pair.map(|v| v.into_iter().map(|x| x.0).collect())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Lists {
        #[serde(with = "list")]
        one: Vec<f64>,
        #[serde(with = "pairs")]
        two: Vec<[Vec<f64>; 2]>,
    }

    #[test]
    fn lists_of_any_numbers_come_back() {
        let one = Vec::from([0.1, f64::INFINITY, f64::NAN, f64::NEG_INFINITY, -0.0]);
        let text =
            serde_json::to_string(&Lists { one: one.clone(), two: Vec::from([[one.clone(), Vec::new()]]) }).unwrap();
        let back: Lists = serde_json::from_str(&text).unwrap();
        let bits = |v: &[f64]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&back.one), bits(&one));
        assert_eq!(bits(&back.two[0][0]), bits(&one));
        assert!(serde_json::from_str::<Lists>(r#"{"one": ["infinite"], "two": []}"#).is_err());
    }
}
