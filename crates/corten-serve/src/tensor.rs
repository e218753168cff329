//! Tensors of the Open Inference Protocol, as JSON and as bytes (its binary tensor extension).

use corten_core::{Error, Kind, Result};
use corten_model::{Input, Model};
use serde_json::Value;

use crate::request::{self, Element};

/// Most inputs and outputs of a request to a model of fewer columns.
pub(crate) const MAX_INPUTS: usize = 256;

/// Most inputs of a request: a model of more columns than others have may be sent each of them.
pub(crate) fn most_inputs(model: &Model) -> usize {
    MAX_INPUTS.max(model.schema().inputs.len())
}

/// The type of a tensor's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Datatype {
    Bool,
    Int { bytes: usize, signed: bool },
    Fp16,
    Bf16,
    Fp32,
    Fp64,
    Bytes,
}

impl Datatype {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        Some(match name {
            "BOOL" => Self::Bool,
            "FP16" => Self::Fp16,
            "BF16" => Self::Bf16,
            "FP32" => Self::Fp32,
            "FP64" => Self::Fp64,
            "BYTES" => Self::Bytes,
            _ => {
                let (bits, signed) = match name.strip_prefix('U') {
                    Some(rest) => (rest.strip_prefix("INT")?, false),
                    None => (name.strip_prefix("INT")?, true),
                };
                let bytes = match bits {
                    "8" => 1,
                    "16" => 2,
                    "32" => 4,
                    "64" => 8,
                    _ => return None,
                };
                Self::Int { bytes, signed }
            }
        })
    }

    /// The type that a column had when the model was fitted.
    pub(crate) fn of_input(input: &Input) -> Self {
        let int = |bytes, signed| Self::Int { bytes, signed };
        match (input.kind, input.dtype.as_str()) {
            (Kind::Text, _) => Self::Bytes,
            (_, "bool") => Self::Bool,
            (_, "f32") => Self::Fp32,
            (_, "i8") => int(1, true),
            (_, "i16") => int(2, true),
            (_, "i32") => int(4, true),
            (_, "i64") => int(8, true),
            (_, "u8") => int(1, false),
            (_, "u16") => int(2, false),
            (_, "u32") => int(4, false),
            (_, "u64") => int(8, false),
            _ => Self::Fp64,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bool => "BOOL",
            Self::Int { bytes: 1, signed: true } => "INT8",
            Self::Int { bytes: 2, signed: true } => "INT16",
            Self::Int { bytes: 4, signed: true } => "INT32",
            Self::Int { signed: true, .. } => "INT64",
            Self::Int { bytes: 1, .. } => "UINT8",
            Self::Int { bytes: 2, .. } => "UINT16",
            Self::Int { bytes: 4, .. } => "UINT32",
            Self::Int { .. } => "UINT64",
            Self::Fp16 => "FP16",
            Self::Bf16 => "BF16",
            Self::Fp32 => "FP32",
            Self::Fp64 => "FP64",
            Self::Bytes => "BYTES",
        }
    }

    /// Bytes of an element, where all have as many.
    pub(crate) fn size(self) -> Option<usize> {
        match self {
            Self::Bool => Some(1),
            Self::Int { bytes, .. } => Some(bytes),
            Self::Fp16 | Self::Bf16 => Some(2),
            Self::Fp32 => Some(4),
            Self::Fp64 => Some(8),
            Self::Bytes => None,
        }
    }

    /// A number from its bytes, little-endian.
    fn number(self, bytes: &[u8]) -> f64 {
        let mut wide = [0; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        let bits = u64::from_le_bytes(wide);
        match self {
            Self::Bool => f64::from(u8::from(bits != 0)),
            Self::Int { signed: false, .. } => bits as f64,
            Self::Int { bytes, .. } => {
                let unused = 64 - 8 * bytes as u32;
                (((bits << unused) as i64) >> unused) as f64
            }
            Self::Fp16 => half(bits as u16),
            Self::Bf16 => f64::from(f32::from_bits((bits as u32) << 16)),
            Self::Fp32 => f64::from(f32::from_bits(bits as u32)),
            _ => f64::from_bits(bits),
        }
    }

    /// A number from JSON, if the type has it.
    pub(crate) fn of_json(self, x: f64) -> Option<f64> {
        match self {
            Self::Fp32 => Some(f64::from(x as f32)),
            Self::Bool => (x == 0.0 || x == 1.0).then_some(x),
            Self::Int { bytes, signed } => {
                let (low, high) = if signed {
                    (-(2f64.powi(8 * bytes as i32 - 1)), 2f64.powi(8 * bytes as i32 - 1))
                } else {
                    (0.0, 2f64.powi(8 * bytes as i32))
                };
                (x.fract() == 0.0 && x >= low && x < high).then_some(x)
            }
            _ => Some(x),
        }
    }
}

/// A half-precision number, exactly.
fn half(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    sign * match exponent {
        0 => fraction * 2f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction / 1024.0) * 2f64.powi(exponent - 15),
    }
}

/// The number of elements of a shape.
fn count_of(name: &str, shape: &[usize]) -> Result<usize> {
    let count = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    count.ok_or_else(|| Error::column(name, format!("'shape' {shape:?} is too large")))
}

/// The refusal of a datatype.
pub(crate) fn unknown(name: &str, given: impl std::fmt::Display) -> Error {
    let known = "BOOL, INT8 to INT64, UINT8 to UINT64, FP16, BF16, FP32, FP64 and BYTES are";
    Error::column(name, format!("'datatype' {given} isn't known; {known}"))
}

enum Values<'b> {
    Json(&'b [Element<'b>]),
    Binary(&'b [u8]),
}

/// One tensor of a request.
pub(crate) struct Tensor<'b> {
    pub(crate) name: &'b str,
    pub(crate) shape: Vec<usize>,
    datatype: Option<Datatype>,
    count: usize,
    values: Values<'b>,
}

impl<'b> Tensor<'b> {
    /// Reads the description of a tensor; takes its bytes off `binary` where they don't stand in the JSON.
    ///
    /// # Errors
    /// [`Error::Value`] and [`Error::Column`] that name the tensor.
    pub(crate) fn of(value: &'b request::Input<'b>, binary: &mut &'b [u8]) -> Result<Self> {
        let name =
            value.name.as_ref().and_then(|n| n.as_str()).ok_or_else(|| Error::value("an input has no 'name'"))?;
        let fault = |problem: &str| Error::column(name, problem);
        let shape = value.shape.as_ref().and_then(Value::as_array).ok_or_else(|| fault("the input has no 'shape'"))?;
        let shape = shape
            .iter()
            .map(|d| d.as_u64().and_then(|d| usize::try_from(d).ok()))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| fault("'shape' must be a list of sizes"))?;
        let datatype = match &value.datatype {
            None => None,
            Some(given) => Some(given.as_str().and_then(Datatype::parse).ok_or_else(|| unknown(name, given))?),
        };
        let count = count_of(name, &shape)?;
        if value.parameters.as_ref().is_some_and(|p| !p.is_object()) {
            return Err(fault("'parameters' must be an object"));
        }
        let parameter = |key: &str| value.parameters.as_ref().and_then(|p| p.get(key));
        if parameter("shared_memory_region").is_some() {
            return Err(fault("shared memory isn't supported; send the data with the request"));
        }
        let values = match (&value.data, parameter("binary_data_size")) {
            (request::Data::None, None) => return Err(fault("the input has no 'data'")),
            (request::Data::Elements(..) | request::Data::Unknown, Some(_)) => {
                return Err(fault("has 'data' and 'binary_data_size'; one of them is needed"));
            }
            (request::Data::Unknown, None) => {
                let text =
                    format!("'data' must be a list of numbers or texts, nested at most {} deep", request::MAX_DEPTH);
                return Err(fault(&text));
            }
            (request::Data::Elements(flat, nest), None) => {
                if flat.len() != count {
                    return Err(fault(&format!("'shape' {shape:?} doesn't fit {} values", flat.len())));
                }
                if !nest.fits(&shape) {
                    return Err(fault(&format!("'data' must be one list, or nested as 'shape' {shape:?} says")));
                }
                if let Some(half @ (Datatype::Fp16 | Datatype::Bf16)) = datatype {
                    return Err(fault(&format!("{} has no form in JSON; send FP32, or bytes", half.name())));
                }
                Values::Json(flat)
            }
            (request::Data::None, Some(size)) => {
                let size = size.as_u64().and_then(|s| usize::try_from(s).ok());
                let size = size.ok_or_else(|| fault("'binary_data_size' must be a number of bytes"))?;
                let datatype = datatype.ok_or_else(|| fault("the input has no 'datatype'"))?;
                let rest = *binary;
                if size > rest.len() {
                    return Err(fault(&format!("{size} bytes are said to follow, but {} came", rest.len())));
                }
                let (own, rest) = rest.split_at(size);
                *binary = rest;
                return Self::of_bytes(name, shape, datatype, own);
            }
        };
        Ok(Self { name, shape, datatype, count, values })
    }

    /// A tensor whose elements are bytes, little-endian and row after row.
    ///
    /// # Errors
    /// [`Error::Column`] for another number of bytes than the shape has.
    pub(crate) fn of_bytes(name: &'b str, shape: Vec<usize>, datatype: Datatype, bytes: &'b [u8]) -> Result<Self> {
        let count = count_of(name, &shape)?;
        if let Some(each) = datatype.size()
            && count.checked_mul(each) != Some(bytes.len())
        {
            let problem = format!("{} bytes don't fit 'shape' {shape:?} of {}", bytes.len(), datatype.name());
            return Err(Error::column(name, problem));
        }
        Ok(Self { name, shape, datatype: Some(datatype), count, values: Values::Binary(bytes) })
    }

    /// A tensor that is all of the body.
    pub(crate) fn raw(name: &'b str, shape: Vec<usize>, datatype: Datatype, bytes: &'b [u8]) -> Self {
        let count = shape.iter().product();
        Self { name, shape, datatype: Some(datatype), count, values: Values::Binary(bytes) }
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// The elements as numbers; JSON's `null` is missing.
    ///
    /// # Errors
    /// [`Error::Column`] for text, and for a number that the datatype doesn't have.
    pub(crate) fn numbers(&self) -> Result<Vec<f64>> {
        let text = || Error::column(self.name, "holds text where the model reads numbers");
        if self.datatype == Some(Datatype::Bytes) {
            return Err(text());
        }
        match &self.values {
            Values::Json(values) => values
                .iter()
                .map(|value| {
                    let x = match value {
                        Element::Number(x) => *x,
                        Element::Null => return Ok(f64::NAN),
                        Element::Bool(b) => f64::from(u8::from(*b)),
                        Element::Text(_) => return Err(text()),
                    };
                    let Some(datatype) = self.datatype else { return Ok(x) };
                    let fits = datatype.of_json(x);
                    fits.ok_or_else(|| Error::column(self.name, format!("{value} is no {}", datatype.name())))
                })
                .collect(),
            Values::Binary(bytes) => {
                let datatype = self.datatype.unwrap_or(Datatype::Fp64);
                let size = datatype.size().unwrap_or(1);
                Ok(bytes.chunks_exact(size).map(|b| datatype.number(b)).collect())
            }
        }
    }

    /// The elements as text; JSON's `null` is missing.
    ///
    /// # Errors
    /// [`Error::Column`] for numbers, text that is no UTF-8, and lengths beyond the bytes.
    pub(crate) fn texts(&self) -> Result<Vec<Option<&'b str>>> {
        let fault = |problem: &str| Error::column(self.name, problem);
        let number = || fault("holds a number where the model reads text");
        if self.datatype.is_some_and(|d| d != Datatype::Bytes) {
            return Err(number());
        }
        match &self.values {
            Values::Json(values) => values
                .iter()
                .map(|value| match value {
                    Element::Text(text) => Ok(Some(&**text)),
                    Element::Null => Ok(None),
                    _ => Err(number()),
                })
                .collect(),
            Values::Binary(bytes) => {
                let (mut rest, mut out) = (*bytes, Vec::new());
                while let Some((length, after)) = rest.split_first_chunk::<4>() {
                    let length = u32::from_le_bytes(*length) as usize;
                    let Some((text, after)) = after.split_at_checked(length) else {
                        return Err(fault(&format!("element {} is said to have {length} bytes", out.len())));
                    };
                    let text = std::str::from_utf8(text);
                    out.push(Some(text.map_err(|_| fault(&format!("element {} is no UTF-8", out.len())))?));
                    rest = after;
                }
                if out.len() != self.count || !rest.is_empty() {
                    let (shape, given) = (&self.shape, out.len());
                    return Err(fault(&format!("'shape' {shape:?} doesn't fit {given} elements in its bytes")));
                }
                Ok(out)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_read_exactly() {
        for (bits, value) in [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 2f64.powi(-24)),
            (0x3555, 0.333_251_953_125),
            (0xfc00, f64::NEG_INFINITY),
        ] {
            assert_eq!(half(bits), value);
        }
        assert!(half(0x7e00).is_nan());
    }

    #[test]
    fn integers_keep_their_sign_and_names_come_back() {
        let read = |name: &str, bytes: &[u8]| Datatype::parse(name).unwrap().number(bytes);
        assert_eq!(read("INT8", &[0xff]), -1.0);
        assert_eq!(read("UINT8", &[0xff]), 255.0);
        assert_eq!(read("INT16", &[0, 0x80]), -32768.0);
        assert_eq!(read("INT64", &(-5i64).to_le_bytes()), -5.0);
        assert_eq!(read("UINT64", &u64::MAX.to_le_bytes()), 18_446_744_073_709_551_615.0);
        assert_eq!(read("BF16", &[0x20, 0xc0]), -2.5);
        assert_eq!(read("FP32", &0.1f32.to_le_bytes()), f64::from(0.1f32));
        for name in ["BOOL", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "FP32", "BYTES"]
        {
            assert_eq!(Datatype::parse(name).unwrap().name(), name);
        }
        assert!(["INT", "UINT128", "BF32", "fp32", ""].iter().all(|n| Datatype::parse(n).is_none()));
    }
}
