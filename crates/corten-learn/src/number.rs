//! Numbers in parameters: JSON has no NaN and no infinities, so they come as text; and numbers as Python prints them.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A number of a parameter; `"NaN"`, `"inf"` and `"-inf"` where it is not finite. `null` reads as NaN.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Real(pub f64);

impl Serialize for Real {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_finite() {
            serializer.serialize_f64(self.0)
        } else if self.0.is_nan() {
            serializer.serialize_str("NaN")
        } else {
            serializer.serialize_str(if self.0 > 0.0 { "inf" } else { "-inf" })
        }
    }
}

impl<'de> Deserialize<'de> for Real {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Raw {
            Number(f64),
            Text(String),
            Nothing(()),
        }
        match Raw::deserialize(deserializer).map_err(|_| serde::de::Error::custom("expected a number"))? {
            Raw::Number(value) => Ok(Self(value)),
            Raw::Nothing(()) => Ok(Self(f64::NAN)),
            Raw::Text(text) => match text.as_str() {
                "NaN" | "nan" => Ok(Self(f64::NAN)),
                "inf" => Ok(Self(f64::INFINITY)),
                "-inf" => Ok(Self(f64::NEG_INFINITY)),
                _ => Err(serde::de::Error::custom("expected a number, \"NaN\", \"inf\" or \"-inf\"")),
            },
        }
    }
}

/// A float as Python's `str` prints it: `1.0`, `0.1`, `1e+16`, `1e-05`, `nan`.
pub(crate) fn python_float(value: f64) -> String {
    python(value, format!("{value:e}"))
}

/// A single-precision float as NumPy's `str` prints it.
pub(crate) fn python_float32(value: f64) -> String {
    python(value, format!("{:e}", value as f32))
}

fn python(value: f64, scientific: String) -> String {
    if value.is_nan() {
        return "nan".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf".into() } else { "-inf".into() };
    }
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if !(-4..16).contains(&exponent) {
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    let (sign, digits) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest.replace('.', "")),
        None => ("", mantissa.replace('.', "")),
    };
    if exponent < 0 {
        return format!("{sign}0.{}{digits}", "0".repeat((-exponent - 1) as usize));
    }
    let point = exponent as usize + 1;
    if digits.len() <= point {
        return format!("{sign}{digits}{}.0", "0".repeat(point - digits.len()));
    }
    format!("{sign}{}.{}", &digits[..point], &digits[point..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_floats_as_python_does() {
        for (value, text) in [
            (1.0, "1.0"),
            (-0.0, "-0.0"),
            (0.1, "0.1"),
            (123.25, "123.25"),
            (1e16, "1e+16"),
            (123456789012345680.0, "1.2345678901234568e+17"),
            (1e15, "1000000000000000.0"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (-2.5e-7, "-2.5e-07"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(python_float(value), text);
        }
        assert_eq!(python_float32(f64::from(0.1f32)), "0.1");
    }

    #[test]
    fn reads_numbers_that_json_lacks() {
        let read = |text: &str| serde_json::from_str::<Real>(text).map(|r| r.0);
        assert!(read("\"NaN\"").unwrap().is_nan() && read("null").unwrap().is_nan());
        assert_eq!(read("\"inf\"").unwrap(), f64::INFINITY);
        assert_eq!(read("3").unwrap(), 3.0);
        assert!(read("\"three\"").is_err() && read("true").is_err());
    }
}
