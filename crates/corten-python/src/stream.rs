//! The blocks of a stream of Arrow's C interface.
//!
//! As `arrow_array::ffi_stream` reads them, but for columns of type `null`: Polars exports these with a buffer, which is a
//! null pointer, and Arrow's reader knows of none.

use std::ffi::CStr;
use std::sync::Arc;

use corten_data::arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi_and_data_type};
use corten_data::arrow_array::ffi_stream::FFI_ArrowArrayStream;
use corten_data::arrow_array::{RecordBatch, RecordBatchOptions, RecordBatchReader, StructArray};
use corten_data::arrow_schema::{ArrowError, DataType, Schema, SchemaRef};

/// Says of arrays of type `null`, at any depth, that they have no buffers.
pub(crate) fn nulls_without_buffers(array: &mut FFI_ArrowArray, kind: &DataType) {
    let dictionary = match kind {
        DataType::Null => return array.n_buffers = 0,
        DataType::Dictionary(_, values) => Some(&**values),
        _ => None,
    };
    if let Some(values) = dictionary {
        #[expect(unsafe_code, reason = "Arrow's C interface")]
        // SAFETY: the pointer is null, or of an array that belongs to this one, which is not released.
        if let Some(array) = unsafe { array.dictionary.as_mut() } {
            nulls_without_buffers(array, values);
        }
        return;
    }
    let kinds: Vec<&DataType> = match kind {
        DataType::Struct(fields) => fields.iter().map(|f| f.data_type()).collect(),
        DataType::Union(fields, _) => fields.iter().map(|(_, f)| f.data_type()).collect(),
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => vec![field.data_type()],
        DataType::RunEndEncoded(ends, values) => vec![ends.data_type(), values.data_type()],
        _ => return,
    };
    let children = usize::try_from(array.n_children).unwrap_or(0).min(kinds.len());
    for (at, kind) in kinds.into_iter().enumerate().take(children) {
        #[expect(unsafe_code, reason = "Arrow's C interface")]
        // SAFETY: there are so many pointers, each of an array that belongs to this one, which is not released.
        if let Some(child) = unsafe { (*array.children.add(at)).as_mut() } {
            nulls_without_buffers(child, kind);
        }
    }
}

/// Record batches of a producer.
pub(crate) struct Blocks {
    stream: FFI_ArrowArrayStream,
    schema: SchemaRef,
}

impl Blocks {
    /// Asks a stream for its schema.
    ///
    /// # Errors
    /// What the producer says, and for a stream that was taken before.
    pub(crate) fn new(mut stream: FFI_ArrowArrayStream) -> Result<Self, ArrowError> {
        let released = || ArrowError::CDataInterface("the stream was read before".into());
        let get = stream.get_schema.filter(|_| stream.release.is_some()).ok_or_else(released)?;
        let mut schema = FFI_ArrowSchema::empty();
        #[expect(unsafe_code, reason = "Arrow's C interface")]
        // SAFETY: the stream is not released, and the schema is empty memory for the producer to fill.
        let code = unsafe { get(&mut stream, &mut schema) };
        if code != 0 {
            return Err(failure(&mut stream, code));
        }
        let schema = Arc::new(Schema::try_from(&schema)?);
        Ok(Self { stream, schema })
    }
}

/// What the producer says of its last failure.
fn failure(stream: &mut FFI_ArrowArrayStream, code: i32) -> ArrowError {
    #[expect(unsafe_code, reason = "Arrow's C interface")]
    // SAFETY: the stream is not released; the text lives until it is called again.
    let said = stream.get_last_error.and_then(|get| unsafe {
        let text = get(stream);
        (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
    });
    ArrowError::CDataInterface(said.unwrap_or_else(|| format!("its producer gives error {code}")))
}

impl Iterator for Blocks {
    type Item = Result<RecordBatch, ArrowError>;

    fn next(&mut self) -> Option<Self::Item> {
        let get = self.stream.get_next?;
        let mut array = FFI_ArrowArray::empty();
        #[expect(unsafe_code, reason = "Arrow's C interface")]
        // SAFETY: the stream is not released, and the array is empty memory for the producer to fill.
        let code = unsafe { get(&mut self.stream, &mut array) };
        if code != 0 {
            return Some(Err(failure(&mut self.stream, code)));
        }
        if array.is_released() {
            return None;
        }
        let kind = DataType::Struct(self.schema.fields().clone());
        nulls_without_buffers(&mut array, &kind);
        #[expect(unsafe_code, reason = "Arrow's C interface")]
        // SAFETY: the producer's array is of the type that its schema says.
        let data = unsafe { from_ffi_and_data_type(array, kind) };
        Some(data.and_then(|data| {
            let options = RecordBatchOptions::new().with_row_count(Some(data.len()));
            let columns = StructArray::from(data).into_parts().1;
            RecordBatch::try_new_with_options(SchemaRef::clone(&self.schema), columns, &options)
        }))
    }
}

impl RecordBatchReader for Blocks {
    fn schema(&self) -> SchemaRef {
        SchemaRef::clone(&self.schema)
    }
}
