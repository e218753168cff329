//! Tensors of one operator in and out of the file.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use corten_core::{Error, Result};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};

use super::source::{Number, Numbers, Source};
use crate::texts::Texts;

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
    pub(crate) fn texts(&mut self, name: &str, values: &Texts) {
        let (bytes, ends) = values.parts();
        self.push(&format!("{name}.bytes"), Dtype::U8, bytes.len(), bytes.to_vec());
        self.u32(&format!("{name}.ends"), ends);
    }
}

/// Finds the tensors of one operator.
pub(crate) struct TensorReader<'a> {
    tensors: &'a Metadata,
    source: &'a Source<'a>,
    node: usize,
}

impl<'a> TensorReader<'a> {
    pub(crate) fn new(tensors: &'a Metadata, source: &'a Source<'a>, node: usize) -> Self {
        Self { tensors, source, node }
    }

    fn find(&self, name: &str) -> Option<&'a TensorInfo> {
        self.tensors.info(&format!("{}.{name}", self.node))
    }

    /// The numbers one after the other, for what is made of them.
    pub(crate) fn each<T: Number>(&self, name: &str) -> Result<Numbers<'a, T>> {
        let bad = |problem: &str| Error::format(format!("tensor '{}.{name}' {problem}", self.node));
        let found = self.find(name).ok_or_else(|| bad("is missing"))?;
        if found.dtype != T::DTYPE || found.shape.len() != 1 {
            return Err(bad(&format!("must be a list of {:?}", T::DTYPE)));
        }
        Ok(Numbers::new(self.source, found.data_offsets.0..found.data_offsets.1))
    }

    pub(crate) fn f64(&self, name: &str) -> Result<Vec<f64>> {
        self.each(name)?.into_vec()
    }

    pub(crate) fn u32(&self, name: &str) -> Result<Vec<u32>> {
        self.each(name)?.into_vec()
    }

    /// Whether there is such a tensor, and its numbers are whole.
    pub(crate) fn is_u32(&self, name: &str) -> bool {
        self.find(name).is_some_and(|tensor| tensor.dtype == Dtype::U32)
    }

    /// The numbers, or `None` where there is no such tensor.
    pub(crate) fn optional_f64(&self, name: &str) -> Result<Option<Vec<f64>>> {
        self.find(name).map(|_| self.f64(name)).transpose()
    }

    pub(crate) fn texts(&self, name: &str) -> Result<Texts> {
        let bytes = self.each(&format!("{name}.bytes"))?.into_vec()?;
        Texts::of_parts(bytes, self.u32(&format!("{name}.ends"))?)
            .ok_or_else(|| Error::format(format!("tensor '{}.{name}' holds no text", self.node)))
    }
}
