//! The header: which tensors there are, and the graph over them.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use corten_core::{Error, Result};
use safetensors::SafeTensorError;
use safetensors::tensor::{Metadata, TensorInfo};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{FORMAT_VERSION, KEY, MAX_HEADER};
use crate::graph::{Output, Slot};
use crate::schema::Schema;

/// Bytes that hold the length of the header.
pub(super) const LENGTH: usize = 8;

#[derive(Serialize, Deserialize)]
pub(super) struct Header {
    pub(super) format: u32,
    pub(super) digest: String,
    pub(super) schema: Schema,
    pub(super) nodes: Vec<NodeHeader>,
    pub(super) outputs: Vec<Output>,
    #[serde(default)]
    pub(super) metadata: BTreeMap<String, Value>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct NodeHeader {
    pub(super) op: String,
    pub(super) inputs: Vec<Slot>,
    #[serde(default)]
    pub(super) with: Value,
}

#[derive(Deserialize)]
struct VersionOnly {
    format: u32,
}

/// What a safetensors header lists.
#[derive(Deserialize)]
struct Listed {
    #[serde(rename = "__metadata__")]
    metadata: Option<BTreeMap<String, String>>,
    #[serde(flatten)]
    tensors: BTreeMap<String, TensorInfo>,
}

/// The length of the header behind its first bytes.
///
/// # Errors
/// [`Error::Format`] when a file of `size` bytes has no room for it.
pub(super) fn length(first: &[u8], size: u64) -> Result<usize> {
    let first: [u8; LENGTH] = first.try_into().map_err(|_| Error::format("it is too short"))?;
    let length = u64::from_le_bytes(first);
    if length > MAX_HEADER {
        return Err(Error::format("its header is longer than 100 MB"));
    }
    if length + LENGTH as u64 > size {
        return Err(Error::format("it ends within its header"));
    }
    Ok(length as usize)
}

/// Reads a header that `data` bytes of tensors follow.
///
/// # Errors
/// [`Error::Format`] or [`Error::Version`].
pub(super) fn read(text: &[u8], data: usize) -> Result<(Header, Metadata)> {
    let broken = |e: SafeTensorError| Error::format(format!("{e}"));
    let text = core::str::from_utf8(text).map_err(|e| broken(SafeTensorError::InvalidHeader(e)))?;
    let Listed { metadata, tensors } =
        serde_json::from_str(text).map_err(|e| broken(SafeTensorError::InvalidHeaderDeserialization(e)))?;
    let mut tensors: Vec<(String, TensorInfo)> = tensors.into_iter().collect();
    tensors.sort_by_key(|(_, tensor)| tensor.data_offsets);
    let tensors = Metadata::new(None, tensors).map_err(broken)?;
    if tensors.data_len() != data {
        return Err(broken(SafeTensorError::MetadataIncompleteBuffer));
    }
    let json = metadata
        .and_then(|mut m| m.remove(KEY))
        .ok_or_else(|| Error::format("it is a safetensors file, but its metadata has no 'corten' entry"))?;
    let unreadable = |e: serde_json::Error| Error::format(format!("its graph: {e}"));
    let VersionOnly { format: found } = serde_json::from_str(&json).map_err(unreadable)?;
    if found == 0 || found > FORMAT_VERSION {
        return Err(Error::Version { found, newest: FORMAT_VERSION });
    }
    Ok((serde_json::from_str(&json).map_err(unreadable)?, tensors))
}
