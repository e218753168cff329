//! Tensors of one operator in and out of the file.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use corten_core::{Error, Result};
use safetensors::{Dtype, SafeTensors};

/// A tensor to be written.
pub(crate) struct Tensor {
    pub(crate) name: String,
    pub(crate) dtype: Dtype,
    pub(crate) len: usize,
    pub(crate) bytes: Vec<u8>,
}

/// Collects the tensors of all operators, named `{node}.{name}`.
#[derive(Default)]
pub(crate) struct TensorWriter {
    node: usize,
    tensors: Vec<Tensor>,
}

macro_rules! write_numbers {
    ($name:ident, $type:ty, $dtype:expr) => {
        pub(crate) fn $name(&mut self, name: &str, values: &[$type]) {
            let mut bytes = Vec::with_capacity(size_of_val(values));
            for v in values {
                bytes.extend_from_slice(&v.to_le_bytes());
            }
            self.push(name, $dtype, values.len(), bytes);
        }
    };
}

impl TensorWriter {
    pub(crate) fn prefix(&mut self, node: usize) {
        self.node = node;
    }

    pub(crate) fn finish(self) -> Vec<Tensor> {
        self.tensors
    }

    fn push(&mut self, name: &str, dtype: Dtype, len: usize, bytes: Vec<u8>) {
        self.tensors.push(Tensor { name: format!("{}.{name}", self.node), dtype, len, bytes });
    }

    write_numbers!(f64, f64, Dtype::F64);
    write_numbers!(u32, u32, Dtype::U32);
    write_numbers!(u16, u16, Dtype::U16);

    /// Text: all bytes, and the end of each.
    pub(crate) fn texts(&mut self, name: &str, values: &[String]) {
        let mut bytes = Vec::new();
        let mut ends = Vec::with_capacity(values.len());
        for value in values {
            bytes.extend_from_slice(value.as_bytes());
            ends.push(bytes.len() as u32);
        }
        self.push(&format!("{name}.bytes"), Dtype::U8, bytes.len(), bytes);
        self.u32(&format!("{name}.ends"), &ends);
    }
}

/// Finds the tensors of one operator.
pub(crate) struct TensorReader<'a> {
    tensors: &'a SafeTensors<'a>,
    node: usize,
}

macro_rules! read_numbers {
    ($each:ident, $type:ty, $dtype:expr) => {
        /// The numbers one by one.
        pub(crate) fn $each(&self, name: &str) -> Result<impl ExactSizeIterator<Item = $type> + use<'a>> {
            let parts = self.bytes(name, $dtype)?.chunks_exact(size_of::<$type>());
            Ok(parts.map(|part| {
                let mut word = [0; size_of::<$type>()];
                word.copy_from_slice(part);
                <$type>::from_le_bytes(word)
            }))
        }
    };
}

impl<'a> TensorReader<'a> {
    pub(crate) fn new(tensors: &'a SafeTensors<'a>, node: usize) -> Self {
        Self { tensors, node }
    }

    fn bytes(&self, name: &str, dtype: Dtype) -> Result<&'a [u8]> {
        let name = format!("{}.{name}", self.node);
        let view = self.tensors.tensor(&name).map_err(|_| Error::format(format!("tensor '{name}' is missing")))?;
        if view.dtype() != dtype || view.shape().len() != 1 {
            return Err(Error::format(format!("tensor '{name}' must be a list of {dtype:?}")));
        }
        Ok(view.data())
    }

    read_numbers!(each_f64, f64, Dtype::F64);
    read_numbers!(each_u32, u32, Dtype::U32);
    read_numbers!(each_u16, u16, Dtype::U16);

    pub(crate) fn f64(&self, name: &str) -> Result<Vec<f64>> {
        // The exact length is known, so this becomes one copy.
        Ok(self.each_f64(name)?.collect())
    }

    pub(crate) fn u32(&self, name: &str) -> Result<Vec<u32>> {
        Ok(self.each_u32(name)?.collect())
    }

    /// Whether there is such a tensor, and its numbers are whole.
    pub(crate) fn is_u32(&self, name: &str) -> bool {
        self.tensors.tensor(&format!("{}.{name}", self.node)).is_ok_and(|view| view.dtype() == Dtype::U32)
    }

    /// The numbers, or `None` where there is no such tensor.
    pub(crate) fn optional_f64(&self, name: &str) -> Result<Option<Vec<f64>>> {
        match self.tensors.tensor(&format!("{}.{name}", self.node)) {
            Ok(_) => self.f64(name).map(Some),
            Err(_) => Ok(None),
        }
    }

    pub(crate) fn texts(&self, name: &str) -> Result<Vec<String>> {
        let bytes = self.bytes(&format!("{name}.bytes"), Dtype::U8)?;
        let bad = || Error::format(format!("tensor '{}.{name}' holds no text", self.node));
        let text = core::str::from_utf8(bytes).map_err(|_| bad())?;
        let mut start = 0;
        let mut out = Vec::new();
        for end in self.u32(&format!("{name}.ends"))? {
            let end = end as usize;
            out.push(String::from(text.get(start..end).ok_or_else(bad)?));
            start = end;
        }
        if start == bytes.len() { Ok(out) } else { Err(bad()) }
    }
}
