//! The model file: a safetensors file whose metadata holds the graph.
//!
//! Tensors hold the numbers. The metadata has one key, `corten`, whose value is JSON: `format` (a version), `digest`
//! (BLAKE3 of the tensor bytes), `schema`, `nodes`, `outputs` and `metadata`. The JSON is padded with spaces so that
//! the tensors start on a cache line. Reading checks everything before anything runs: sizes, digest, every operator's
//! own rules, every slot. `docs/model-file.md` is the specification.

mod tensors;

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use corten_core::{Error, Result};
use safetensors::SafeTensors;
use safetensors::tensor::TensorView;
use serde::{Deserialize, Serialize};
use serde_json::Value;

pub(crate) use tensors::{TensorReader, TensorWriter};

use crate::graph::{Builder, Graph, MAX_NODES, MAX_NUMBERS, MAX_TEXTS, Output, Slot};
use crate::model::Model;
use crate::ops::Op;
use crate::schema::Schema;

/// Newest version of the format that can be read, and the one that is written.
pub const FORMAT_VERSION: u32 = 1;
/// The key of the metadata.
const KEY: &str = "corten";
/// Tensors start at a multiple of this.
const ALIGNMENT: usize = 64;
/// Size from which the digest is made on a thread of its own.
#[cfg(feature = "std")]
const BESIDE: usize = 1 << 20;
/// Longest JSON header that is read: safetensors' own limit.
const MAX_HEADER: u64 = 100_000_000;

#[derive(Serialize, Deserialize)]
struct Header {
    format: u32,
    digest: String,
    schema: Schema,
    nodes: Vec<NodeHeader>,
    outputs: Vec<Output>,
    #[serde(default)]
    metadata: BTreeMap<String, Value>,
}

#[derive(Serialize, Deserialize)]
struct NodeHeader {
    op: String,
    inputs: Vec<Slot>,
    #[serde(default)]
    with: Value,
}

#[derive(Deserialize)]
struct VersionOnly {
    format: u32,
}

/// The bytes of a model. The same model gives the same bytes.
///
/// # Errors
/// [`Error::Internal`] when the parts can't be written as JSON.
pub(crate) fn write(graph: &Graph, metadata: &BTreeMap<String, Value>) -> Result<Vec<u8>> {
    let mut writer = TensorWriter::default();
    let mut nodes = Vec::with_capacity(graph.nodes.len());
    for (i, node) in graph.nodes.iter().enumerate() {
        writer.prefix(i);
        nodes.push(NodeHeader {
            op: node.op.name().to_string(),
            inputs: node.inputs.clone(),
            with: node.op.write(&mut writer),
        });
    }
    let tensors = writer.finish();
    let header = Header {
        format: FORMAT_VERSION,
        digest: String::new(),
        schema: graph.schema.clone(),
        nodes,
        outputs: graph.outputs.clone(),
        metadata: metadata.clone(),
    };
    let internal = |e: &dyn core::fmt::Display| Error::Internal(format!("the model can't be written: {e}"));
    let serialize = |json: &str| -> Result<Vec<u8>> {
        let views = tensors
            .iter()
            .map(|t| {
                Ok((t.name.clone(), TensorView::new(t.dtype, Vec::from([t.len]), &t.bytes).map_err(|e| internal(&e))?))
            })
            .collect::<Result<Vec<_>>>()?;
        let map = [(KEY.to_owned(), json.to_owned())].into_iter().collect();
        safetensors::serialize(views, Some(map)).map_err(|e| internal(&e))
    };
    let json_of =
        |digest: String| serde_json::to_string(&Header { digest, ..clone(&header) }).map_err(|e| internal(&e));
    // A digest has a fixed length, so the first pass already has the final header length.
    let mut json = json_of("0".repeat(64))?;
    let bytes = serialize(&json)?;
    let start = data_start(&bytes)?;
    let digest = blake3::hash(&bytes[start..]).to_hex().to_string();
    json = json_of(digest)?;
    json.extend(core::iter::repeat_n(' ', start.next_multiple_of(ALIGNMENT) - start));
    serialize(&json)
}

fn clone(h: &Header) -> Header {
    Header {
        format: h.format,
        digest: String::new(),
        schema: h.schema.clone(),
        nodes: h
            .nodes
            .iter()
            .map(|n| NodeHeader { op: n.op.clone(), inputs: n.inputs.clone(), with: n.with.clone() })
            .collect(),
        outputs: h.outputs.clone(),
        metadata: h.metadata.clone(),
    }
}

fn data_start(bytes: &[u8]) -> Result<usize> {
    let head: [u8; 8] =
        bytes.get(..8).and_then(|h| h.try_into().ok()).ok_or_else(|| Error::format("it is too short"))?;
    let length = u64::from_le_bytes(head);
    if length > MAX_HEADER {
        return Err(Error::format("its header is longer than 100 MB"));
    }
    let start = length as usize + 8;
    if start > bytes.len() {
        return Err(Error::format("it ends within its header"));
    }
    Ok(start)
}

/// Reads and checks a model; bytes from outside.
///
/// # Errors
/// [`Error::Format`] or [`Error::Version`].
pub(crate) fn read(bytes: &[u8]) -> Result<Model> {
    let start = data_start(bytes)?;
    let digest = || blake3::hash(&bytes[start..]).to_hex().to_string();
    #[cfg(feature = "std")]
    if bytes.len() >= BESIDE {
        // Every check is made either way, so a damaged file may be looked at before its digest is known.
        return std::thread::scope(|scope| {
            let digest = scope.spawn(digest);
            let model = model_of(bytes, None);
            let digest = digest.join().map_err(|_| Error::Internal("the digest could not be made".into()))?;
            let (model, expected) = model?;
            if digest == expected { Ok(model) } else { Err(damaged_numbers()) }
        });
    }
    model_of(bytes, Some(&digest)).map(|(model, _)| model)
}

fn damaged_numbers() -> Error {
    Error::format("its numbers don't match their digest; the file is damaged")
}

/// The model, and the digest that its file gives; what `digest` makes is compared with it first.
fn model_of(bytes: &[u8], digest: Option<&dyn Fn() -> String>) -> Result<(Model, String)> {
    let broken = |e: safetensors::SafeTensorError| Error::format(format!("{e}"));
    let (_, information) = SafeTensors::read_metadata(bytes).map_err(broken)?;
    let json = information
        .metadata()
        .as_ref()
        .and_then(|m| m.get(KEY))
        .ok_or_else(|| Error::format("it is a safetensors file, but its metadata has no 'corten' entry"))?;
    let unreadable = |e: serde_json::Error| Error::format(format!("its graph: {e}"));
    let VersionOnly { format: found } = serde_json::from_str(json).map_err(unreadable)?;
    if found == 0 || found > FORMAT_VERSION {
        return Err(Error::Version { found, newest: FORMAT_VERSION });
    }
    let header: Header = serde_json::from_str(json).map_err(unreadable)?;
    if digest.is_some_and(|digest| digest() != header.digest) {
        return Err(damaged_numbers());
    }
    if header.nodes.len() > MAX_NODES {
        return Err(Error::format(format!("more than {MAX_NODES} operators")));
    }
    if header.schema.counts().0 > MAX_NUMBERS || header.schema.counts().1 > MAX_TEXTS {
        return Err(Error::format("too many inputs"));
    }
    let mut names = header.schema.names();
    names.sort_unstable();
    if header.schema.named && names.windows(2).any(|w| w[0] == w[1]) {
        return Err(Error::format("two inputs of the same name"));
    }
    let tensors = SafeTensors::deserialize(bytes).map_err(broken)?;
    let mut builder = Builder::new(header.schema);
    for (i, node) in header.nodes.into_iter().enumerate() {
        let op = Op::read(&node.op, &node.with, &TensorReader::new(&tensors, i))?;
        builder.add(op, &node.inputs)?;
    }
    let mut model = builder.finish(header.outputs)?;
    *model.metadata_mut() = header.metadata;
    Ok((model, header.digest))
}
