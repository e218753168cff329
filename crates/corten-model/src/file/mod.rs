//! The model file: a safetensors file whose metadata holds the graph.
//!
//! Tensors hold the numbers. The metadata has one key, `corten`, whose value is JSON: `format` (a version), `digest`
//! (BLAKE3 of the tensor bytes), `schema`, `nodes`, `outputs` and `metadata`. The JSON is padded with spaces so that
//! the tensors start on a cache line. Reading checks everything before anything runs: sizes, digest, every operator's
//! own rules, every slot. `docs/model-file.md` is the specification.

#[cfg(feature = "std")]
mod groups;
mod header;
mod source;
mod tensors;

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use corten_core::{Error, Result};
use header::{Header, NodeHeader};
use safetensors::tensor::{Metadata, TensorView};
use serde_json::Value;
pub(crate) use source::SOME;
use source::Source;
pub(crate) use tensors::{TensorReader, TensorWriter};

use crate::graph::{Builder, Graph, MAX_NODES, MAX_NUMBERS, MAX_TEXTS};
use crate::model::Model;
use crate::ops::Op;

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
    let start = header::LENGTH + header::length(&bytes[..header::LENGTH], bytes.len() as u64)?;
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

/// Reads and checks a model; bytes from outside.
///
/// # Errors
/// [`Error::Format`] or [`Error::Version`].
pub(crate) fn read(bytes: &[u8]) -> Result<Model> {
    let (first, rest) = bytes.split_at(bytes.len().min(header::LENGTH));
    let (text, data) = rest.split_at(header::length(first, bytes.len() as u64)?);
    let (header, tensors) = header::read(text, data.len())?;
    let expected = header.digest.clone();
    let digest = || blake3::hash(data);
    let model = || model_of(header, &tensors, &Source::Memory(data));
    #[cfg(feature = "std")]
    if data.len() >= BESIDE {
        // Every check is made either way, so damaged bytes may be looked at before their digest is known.
        let (digest, model) = std::thread::scope(|scope| {
            let beside = std::thread::Builder::new().spawn_scoped(scope, digest);
            let model = model();
            (beside.map_or_else(|_| Ok(digest()), |beside| beside.join()), model)
        });
        let digest = digest.map_err(|_| Error::Internal("the digest could not be made".into()))?;
        return undamaged(&digest, &expected).and(model);
    }
    undamaged(&digest(), &expected)?;
    model()
}

/// Reads and checks a model that lies in `length` bytes of a file from `start` on. Little more memory is taken than what
/// the model keeps.
///
/// # Errors
/// [`Error::Format`], [`Error::Version`], or [`Error::Io`] without a path.
#[cfg(feature = "std")]
pub(crate) fn read_file(file: &std::fs::File, start: u64, length: u64) -> Result<Model> {
    let take = |from: u64, count: usize| groups::read_at(file, start + from, Vec::new(), count);
    let first = take(0, length.min(header::LENGTH as u64) as usize)?;
    let text = take(header::LENGTH as u64, header::length(&first, length)?)?;
    let before = (header::LENGTH + text.len()) as u64;
    let size = usize::try_from(length - before).map_err(|_| Error::Limit("it is larger than the memory".into()))?;
    let (header, tensors) = header::read(&text, size)?;
    drop(text);
    let expected = header.digest.clone();
    let (model, digest) = groups::with(file, start + before, size, |source| model_of(header, &tensors, source))?;
    undamaged(&digest, &expected).and(model)
}

fn undamaged(digest: &blake3::Hash, expected: &str) -> Result<()> {
    if *digest.to_hex() == *expected {
        return Ok(());
    }
    Err(Error::format("its numbers don't match their digest; the file is damaged"))
}

/// The model of a header whose tensors come from `source`.
fn model_of(header: Header, tensors: &Metadata, source: &Source<'_>) -> Result<Model> {
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
    let mut builder = Builder::new(header.schema);
    for (i, node) in header.nodes.into_iter().enumerate() {
        let op = Op::read(&node.op, &node.with, &TensorReader::new(tensors, source, i))?;
        builder.add(op, &node.inputs)?;
    }
    let mut model = builder.finish(header.outputs)?;
    *model.metadata_mut() = header.metadata;
    Ok(model)
}
