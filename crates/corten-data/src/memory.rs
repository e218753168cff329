//! Tables in memory, as bodies of requests have them: Arrow IPC and Parquet, within limits.

#[cfg(feature = "parquet")]
use arrow_array::RecordBatchReader;
use arrow_array::{Array, RecordBatch};
use arrow_ipc::MessageHeader;
use arrow_schema::SchemaRef;
use bytes::Bytes;
use corten_core::{Error, Result};
#[cfg(feature = "parquet")]
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

use crate::reader::ipc::Stream;
use crate::reader::plain;
use crate::{Format, Frame};

/// What a table in memory may be.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Most rows.
    pub rows: usize,
    /// Most bytes once it is unpacked.
    pub bytes: usize,
}

/// Rows of a block.
#[cfg(feature = "parquet")]
const BATCH: usize = 4096;

fn broken(error: &dyn std::fmt::Display) -> Error {
    Error::value(format!("the body can't be read: {}", plain(error)))
}

fn too_large(bounds: Bounds) -> Error {
    Error::Limit(format!("a table of more than {} bytes once it is unpacked", bounds.bytes))
}

/// Reads a table from the bytes of an Arrow IPC stream or file, or of a Parquet file.
///
/// # Errors
/// [`Error::Value`] for bytes of another kind or damaged ones, [`Error::Limit`] beyond the bounds,
/// [`Error::Parameter`] for a format of text.
pub fn read_bytes(bytes: Bytes, format: Format, bounds: Bounds) -> Result<Frame> {
    // A defect in a format's library must not take the process down: it becomes an error of these bytes.
    let read = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| match format {
        Format::ArrowIpc | Format::ArrowStream => {
            let stream = stream_part(&bytes);
            let unpacked = unpacked_size(stream)?;
            if unpacked > bounds.bytes as u64 {
                return Err(too_large(bounds));
            }
            let reader = Stream::new(stream).map_err(|e| broken(&e))?;
            let schema = reader.schema();
            collect(&schema, reader.map(|b| b.map_err(|e| broken(&e))), bounds)
        }
        Format::Parquet => parquet(bytes, bounds),
        Format::Csv | Format::JsonLines => Err(Error::parameter("format", "'arrow' or 'parquet'", "a format of text")),
    }));
    read.unwrap_or_else(|_| Err(broken(&"it is damaged")))
}

#[cfg(not(feature = "parquet"))]
fn parquet(_: Bytes, _: Bounds) -> Result<Frame> {
    Err(crate::format::no_parquet())
}

#[cfg(feature = "parquet")]
fn parquet(bytes: Bytes, bounds: Bounds) -> Result<Frame> {
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(|e| broken(&e))?;
    let metadata = builder.metadata();
    let rows = usize::try_from(metadata.file_metadata().num_rows()).unwrap_or(usize::MAX);
    if rows > bounds.rows {
        return Err(Error::Limit(format!("more than {} rows in one request", bounds.rows)));
    }
    let chunks = metadata.row_groups().iter().flat_map(|g| g.columns());
    let unpacked = chunks.fold(0u64, |n, c| n.saturating_add(u64::try_from(c.uncompressed_size()).unwrap_or(u64::MAX)));
    if unpacked > bounds.bytes as u64 {
        return Err(too_large(bounds));
    }
    let reader = builder.with_batch_size(BATCH).build().map_err(|e| broken(&e))?;
    let schema = reader.schema();
    collect(&schema, reader.map(|b| b.map_err(|e| broken(&e))), bounds)
}

/// What the bytes of an Arrow file start with, and most zeros, eight at a time, before its stream.
const FILE_MAGIC: &[u8] = b"ARROW1";
const MAX_PADDING: usize = 8;

/// The stream in the bytes of a stream or of a file.
fn stream_part(bytes: &[u8]) -> &[u8] {
    let Some(padded) = bytes.strip_prefix(FILE_MAGIC).and_then(|rest| rest.get(2..)) else { return bytes };
    let padding = padded.chunks_exact(8).take(MAX_PADDING).take_while(|c| *c == [0; 8]).count();
    &padded[8 * padding..]
}

fn collect(schema: &SchemaRef, batches: impl Iterator<Item = Result<RecordBatch>>, bounds: Bounds) -> Result<Frame> {
    let (mut kept, mut rows, mut size) = (Vec::new(), 0usize, 0usize);
    for batch in batches {
        let batch = batch?;
        rows = rows.saturating_add(batch.num_rows());
        size = size.saturating_add(batch.columns().iter().map(|c| c.get_buffer_memory_size()).sum());
        if rows > bounds.rows {
            return Err(Error::Limit(format!("more than {} rows in one request", bounds.rows)));
        }
        if size > bounds.bytes {
            return Err(too_large(bounds));
        }
        kept.push(batch);
    }
    Frame::from_batches(schema, kept)
}

/// What the buffers of a stream say to need once they are unpacked: asked before a reader believes them.
fn unpacked_size(stream: &[u8]) -> Result<u64> {
    let (mut rest, mut total) = (stream, 0u64);
    while let Some((&word, after)) = rest.split_first_chunk::<4>() {
        // A marker, then the length; files of old have the length alone.
        let (length, after) = if word == [0xff; 4] {
            let Some((&length, after)) = after.split_first_chunk::<4>() else { break };
            (u32::from_le_bytes(length), after)
        } else {
            (u32::from_le_bytes(word), after)
        };
        if length == 0 {
            break;
        }
        let Some((head, after)) = after.split_at_checked(length as usize) else { break };
        let message = arrow_ipc::root_as_message(head).map_err(|e| broken(&e))?;
        let Some((body, after)) = usize::try_from(message.bodyLength()).ok().and_then(|n| after.split_at_checked(n))
        else {
            break;
        };
        rest = after;
        let batch = match message.header_type() {
            MessageHeader::RecordBatch => message.header_as_record_batch(),
            MessageHeader::DictionaryBatch => message.header_as_dictionary_batch().and_then(|d| d.data()),
            _ => None,
        };
        let Some(batch) = batch else { continue };
        let packed = batch.compression().is_some();
        for buffer in batch.buffers().into_iter().flatten() {
            let own = usize::try_from(buffer.offset()).ok().and_then(|at| body.get(at..));
            let said = match own.and_then(|b| b.first_chunk::<8>()) {
                // -1 says that the buffer isn't packed after all.
                Some(&length) if packed && buffer.length() > 0 => match i64::from_le_bytes(length) {
                    -1 => buffer.length(),
                    length => length,
                },
                _ => buffer.length(),
            };
            total = total.saturating_add(u64::try_from(said).map_err(|_| broken(&"a buffer of negative length"))?);
        }
    }
    Ok(total)
}
