//! Tensors of a request, in JSON or in binary, as columns.

use corten_core::{Error, Result};
use serde_json::Value;

/// Deepest nesting of `data`.
const MAX_DEPTH: usize = 8;

/// The values of a tensor.
enum Content<'v> {
    Json(Vec<&'v Value>),
    Binary(&'v [u8]),
}

/// One tensor of a request.
pub(crate) struct Tensor<'v> {
    pub(crate) name: &'v str,
    pub(crate) shape: Vec<usize>,
    datatype: &'v str,
    content: Content<'v>,
}

/// Bytes of one element; 0 where elements have lengths of their own.
fn width(datatype: &str) -> Option<usize> {
    Some(match datatype {
        "BOOL" | "INT8" | "UINT8" => 1,
        "INT16" | "UINT16" | "FP16" | "BF16" => 2,
        "INT32" | "UINT32" | "FP32" => 4,
        "INT64" | "UINT64" | "FP64" => 8,
        "BYTES" => 0,
        _ => return None,
    })
}

/// Half precision, exactly.
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    let size = match exponent {
        0 => fraction * f64::from_bits((1023 - 24) << 52),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1024.0 + fraction) * f64::from_bits(((1023 + exponent - 25) as u64) << 52),
    };
    if bits >> 15 == 1 { -size } else { size }
}

fn flatten<'v>(value: &'v Value, out: &mut Vec<&'v Value>, depth: usize) -> Result<()> {
    match value {
        Value::Array(items) if depth < MAX_DEPTH => items.iter().try_for_each(|item| flatten(item, out, depth + 1)),
        Value::Array(_) | Value::Object(_) => Err(Error::value("'data' must be a list of numbers or texts")),
        one => {
            out.push(one);
            Ok(())
        }
    }
}

impl<'v> Tensor<'v> {
    /// A tensor of a request; takes its part of `binary` where its values come in binary.
    ///
    /// # Errors
    /// [`Error::Value`] for an input without a name, [`Error::Column`] for whatever else is wrong with it.
    pub(crate) fn read(value: &'v Value, binary: &mut &'v [u8]) -> Result<Self> {
        let name = value.get("name").and_then(Value::as_str).ok_or_else(|| Error::value("an input has no 'name'"))?;
        let fault = |problem: &str| Error::column(name, problem);
        let shape = value.get("shape").and_then(Value::as_array).ok_or_else(|| fault("the input has no 'shape'"))?;
        let shape = shape
            .iter()
            .map(|d| d.as_u64().and_then(|d| usize::try_from(d).ok()))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| fault("'shape' must be a list of sizes"))?;
        let count = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        let count = count.ok_or_else(|| fault(&format!("'shape' {shape:?} is larger than any memory")))?;
        let datatype = value.get("datatype").and_then(Value::as_str).unwrap_or_default();
        if width(datatype).is_none() && !datatype.is_empty() {
            return Err(fault(&format!(
                "'{datatype}' is no datatype; BOOL, INT8 to INT64, UINT8 to UINT64, FP16, BF16, FP32, FP64 and BYTES are"
            )));
        }
        let size = value.get("parameters").and_then(|p| p.get("binary_data_size"));
        let content = match (value.get("data"), size) {
            (Some(given), None) => {
                let mut data = Vec::new();
                flatten(given, &mut data, 0).map_err(|e| fault(&e.to_string()))?;
                if data.len() != count {
                    return Err(fault(&format!("'shape' {shape:?} doesn't fit {} values", data.len())));
                }
                Content::Json(data)
            }
            (None, Some(size)) => {
                let size = size.as_u64().and_then(|s| usize::try_from(s).ok());
                let size = size.ok_or_else(|| fault("'binary_data_size' must be a number of bytes"))?;
                let Some((bytes, rest)) = binary.split_at_checked(size) else {
                    let left = binary.len();
                    return Err(fault(&format!("'binary_data_size' is {size}, but {left} bytes are left of the body")));
                };
                *binary = rest;
                Self::check_binary(datatype, bytes, &shape, count).map_err(|problem| fault(&problem))?;
                Content::Binary(bytes)
            }
            (None, None) => return Err(fault("the input has no 'data'")),
            _ => return Err(fault("the input has both 'data' and 'binary_data_size'")),
        };
        Ok(Self { name, shape, datatype, content })
    }

    /// A tensor of binary values without a description.
    pub(crate) fn raw(name: &'v str, shape: Vec<usize>, datatype: &'v str, bytes: &'v [u8]) -> Self {
        Self { name, shape, datatype, content: Content::Binary(bytes) }
    }

    fn check_binary(datatype: &str, bytes: &[u8], shape: &[usize], count: usize) -> Result<(), String> {
        match width(datatype) {
            None => Err("an input in binary has no 'datatype'".into()),
            Some(0) => {
                let found = strings(bytes).ok_or("a text reaches beyond the input's bytes")?.len();
                if found == count { Ok(()) } else { Err(format!("'shape' {shape:?} doesn't fit {found} texts")) }
            }
            Some(width) if count.checked_mul(width) == Some(bytes.len()) => Ok(()),
            Some(width) => {
                Err(format!("'shape' {shape:?} of {width}-byte {datatype} doesn't fit {} bytes", bytes.len()))
            }
        }
    }

    /// The values as numbers, row after row.
    ///
    /// # Errors
    /// [`Error::Column`] for text.
    pub(crate) fn numbers(&self) -> Result<Vec<f64>> {
        let bytes = match &self.content {
            Content::Json(values) => return values.iter().map(|v| self.number(v)).collect(),
            Content::Binary(bytes) => *bytes,
        };
        macro_rules! read {
            ($t:ty) => {{
                let (values, _) = bytes.as_chunks();
                values.iter().map(|b| <$t>::from_le_bytes(*b) as f64).collect()
            }};
        }
        Ok(match self.datatype {
            "BOOL" => bytes.iter().map(|&b| f64::from(u8::from(b != 0))).collect(),
            "INT8" => read!(i8),
            "INT16" => read!(i16),
            "INT32" => read!(i32),
            "INT64" => read!(i64),
            "UINT8" => read!(u8),
            "UINT16" => read!(u16),
            "UINT32" => read!(u32),
            "UINT64" => read!(u64),
            "FP32" => read!(f32),
            "FP64" => read!(f64),
            "FP16" => bytes.as_chunks().0.iter().map(|b| half(u16::from_le_bytes(*b))).collect(),
            "BF16" => {
                let wide = |b: &[u8; 2]| f64::from(f32::from_bits(u32::from(u16::from_le_bytes(*b)) << 16));
                bytes.as_chunks().0.iter().map(wide).collect()
            }
            _ => return Err(Error::column(self.name, "holds text where the model reads numbers")),
        })
    }

    fn number(&self, value: &Value) -> Result<f64> {
        match value {
            // The number that the sender holds: text of a float has more digits than it needs.
            Value::Number(n) if self.datatype == "FP32" => Ok(f64::from(n.as_f64().unwrap_or(f64::NAN) as f32)),
            Value::Number(n) => Ok(n.as_f64().unwrap_or(f64::NAN)),
            Value::Null => Ok(f64::NAN),
            Value::Bool(b) => Ok(f64::from(u8::from(*b))),
            _ => Err(Error::column(self.name, "holds text where the model reads numbers")),
        }
    }

    /// The values as text.
    ///
    /// # Errors
    /// [`Error::Column`] for numbers, and for bytes that are no UTF-8.
    pub(crate) fn texts(&self) -> Result<Vec<Option<&'v str>>> {
        let number = || Error::column(self.name, "holds a number where the model reads text");
        match &self.content {
            Content::Json(values) => values
                .iter()
                .map(|value| match value {
                    Value::String(s) => Ok(Some(s.as_str())),
                    Value::Null => Ok(None),
                    _ => Err(number()),
                })
                .collect(),
            Content::Binary(bytes) if self.datatype == "BYTES" => strings(bytes)
                .unwrap_or_default()
                .into_iter()
                .map(|b| std::str::from_utf8(b).map(Some).map_err(|_| Error::column(self.name, "holds no UTF-8")))
                .collect(),
            Content::Binary(_) => Err(number()),
        }
    }

    /// How many values there are.
    pub(crate) fn len(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Texts, each after its length in four bytes, little endian.
fn strings(mut bytes: &[u8]) -> Option<Vec<&[u8]>> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (length, rest) = bytes.split_first_chunk::<4>()?;
        let (text, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        found.push(text);
        bytes = rest;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn halves_are_exact() {
        let cases = [(0x3c00, 1.0), (0xc000, -2.0), (0x7bff, 65504.0), (0x0001, 5.960_464_477_539_063e-8)];
        for (bits, value) in cases {
            assert_eq!(half(bits), value);
        }
        assert_eq!(half(0x3555), 0.333_251_953_125);
        assert!(half(0x7c00).is_infinite() && half(0x7e00).is_nan() && half(0x8000).is_sign_negative());
    }

    #[test]
    fn numbers_come_in_every_datatype() {
        let bytes = 1.5f64.to_le_bytes().iter().chain(&(-2.0f64).to_le_bytes()).copied().collect::<Vec<_>>();
        for (datatype, bytes, wanted) in [
            ("FP64", &bytes[..], [1.5, -2.0]),
            ("FP32", &[0, 0, 192, 63, 0, 0, 0, 192], [1.5, -2.0]),
            ("BF16", &[192, 63, 0, 192], [1.5, -2.0]),
            ("INT8", &[1, 255], [1.0, -1.0]),
            ("UINT8", &[1, 255], [1.0, 255.0]),
            ("BOOL", &[0, 1], [0.0, 1.0]),
            ("INT16", &[1, 0, 255, 255], [1.0, -1.0]),
            ("UINT32", &[1, 0, 0, 0, 0, 1, 0, 0], [1.0, 256.0]),
        ] {
            let size = bytes.len();
            let value =
                json!({ "name": "x", "shape": [2], "datatype": datatype, "parameters": { "binary_data_size": size } });
            let mut rest = bytes;
            let tensor = Tensor::read(&value, &mut rest).unwrap();
            assert_eq!(tensor.numbers().unwrap(), wanted, "{datatype}");
            assert!(rest.is_empty() && tensor.texts().is_err());
        }
    }

    #[test]
    fn broken_binary_is_named() {
        for (value, bytes, wanted) in [
            (
                json!({ "name": "x", "shape": [2], "datatype": "FP64", "parameters": { "binary_data_size": 16 } }),
                &[0u8; 8][..],
                "8 bytes are left",
            ),
            (
                json!({ "name": "x", "shape": [2], "datatype": "FP64", "parameters": { "binary_data_size": 8 } }),
                &[0; 8],
                "doesn't fit 8 bytes",
            ),
            (
                json!({ "name": "x", "shape": [1], "datatype": "BYTES", "parameters": { "binary_data_size": 5 } }),
                &[2, 0, 0, 0, 65],
                "beyond",
            ),
            (
                json!({ "name": "x", "shape": [2], "datatype": "BYTES", "parameters": { "binary_data_size": 5 } }),
                &[1, 0, 0, 0, 65],
                "1 texts",
            ),
            (json!({ "name": "x", "shape": [1], "datatype": "FP8", "data": [1] }), &[], "'FP8' is no datatype"),
            (
                json!({ "name": "x", "shape": [u64::MAX, 16], "datatype": "FP64", "data": [1] }),
                &[],
                "larger than any memory",
            ),
            (json!({ "name": "x", "shape": [1], "parameters": { "binary_data_size": 8 } }), &[0; 8], "no 'datatype'"),
            (
                json!({ "name": "x", "shape": [1], "data": [1], "parameters": { "binary_data_size": 8 } }),
                &[0; 8],
                "both",
            ),
        ] {
            let mut rest = bytes;
            let problem = Tensor::read(&value, &mut rest).err().expect("a refusal").to_string();
            assert!(problem.contains(wanted) && problem.contains("'x'"), "{problem}");
        }
    }
}
