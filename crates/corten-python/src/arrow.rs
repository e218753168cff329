//! Arrow's C interface through PyCapsules, and the frame that holds what came in.

use std::ffi::CStr;

use corten_core::{Column, Error, Values};
use corten_data::arrow_array::ffi::{FFI_ArrowArray, FFI_ArrowSchema, from_ffi};
use corten_data::arrow_array::ffi_stream::FFI_ArrowArrayStream;
use corten_data::arrow_array::{RecordBatch, StructArray};
use corten_data::arrow_schema::DataType;
use pyo3::exceptions::{PyIndexError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyCapsule, PyList, PyTuple};

use crate::stream::{Blocks, nulls_without_buffers};
use crate::{arrays, errors};

const STREAM: &CStr = c"arrow_array_stream";
const SCHEMA: &CStr = c"arrow_schema";
const ARRAY: &CStr = c"arrow_array";

/// A table in Arrow's memory: speaks `__arrow_c_stream__`.
#[pyclass(frozen, module = "corten._core")]
pub(crate) struct Frame {
    pub(crate) inner: corten_data::Frame,
}

/// Whether an object speaks Arrow's C interface.
pub(crate) fn speaks_arrow(object: &Bound<'_, PyAny>) -> bool {
    ["__arrow_c_stream__", "__arrow_c_array__"].iter().any(|name| object.hasattr(*name).unwrap_or(false))
}

/// Takes an object's columns, without a copy where it keeps them in one piece.
pub(crate) fn import(object: &Bound<'_, PyAny>) -> PyResult<corten_data::Frame> {
    let py = object.py();
    let unreadable = |e: &dyn std::fmt::Display| PyValueError::new_err(format!("the table can't be read: {e}"));
    if object.hasattr("__arrow_c_stream__")? {
        return corten_data::Frame::from_reader(stream(object)?).map_err(|e| errors::to_py(py, e));
    }
    let pair = object.call_method0("__arrow_c_array__")?.cast_into::<PyTuple>()?;
    let schema = pair.get_item(0)?.cast_into::<PyCapsule>()?;
    let array = pair.get_item(1)?.cast_into::<PyCapsule>()?;
    let schema_pointer = schema.pointer_checked(Some(SCHEMA))?.cast::<FFI_ArrowSchema>();
    let array_pointer = array.pointer_checked(Some(ARRAY))?.cast::<FFI_ArrowArray>();
    #[expect(unsafe_code, reason = "Arrow's C interface")]
    // SAFETY: capsules of these names hold a valid schema and array that belong together; from_raw moves the array out
    // and leaves a released one behind, and the schema is only borrowed while its capsule is alive.
    let (mut array, schema) = unsafe { (FFI_ArrowArray::from_raw(array_pointer.as_ptr()), schema_pointer.as_ref()) };
    let kind = DataType::try_from(schema).map_err(|e| unreadable(&e))?;
    nulls_without_buffers(&mut array, &kind);
    #[expect(unsafe_code, reason = "Arrow's C interface")]
    // SAFETY: as above.
    let data = unsafe { from_ffi(array, schema) };
    let data = data.map_err(|e| unreadable(&e))?;
    if !matches!(data.data_type(), DataType::Struct(_)) {
        return Err(PyTypeError::new_err("a table is needed: a single Arrow array has no columns"));
    }
    if data.null_count() > 0 {
        return Err(PyValueError::new_err("a table is needed: this Arrow array of structs has rows that are missing"));
    }
    Ok(corten_data::Frame::from_batch(RecordBatch::from(StructArray::from(data))))
}

/// The blocks of an object that gives a stream of them.
pub(crate) fn stream(object: &Bound<'_, PyAny>) -> PyResult<Blocks> {
    let capsule = object.call_method0("__arrow_c_stream__")?.cast_into::<PyCapsule>()?;
    let pointer = capsule.pointer_checked(Some(STREAM))?.cast::<FFI_ArrowArrayStream>();
    #[expect(unsafe_code, reason = "Arrow's C interface")]
    // SAFETY: a capsule of this name holds a valid stream (Arrow's PyCapsule interface); from_raw moves it out and
    // leaves a released one behind, which the capsule's destructor accepts.
    let stream = unsafe { FFI_ArrowArrayStream::from_raw(pointer.as_ptr()) };
    Blocks::new(stream).map_err(|e| PyValueError::new_err(format!("the table can't be read: {e}")))
}

impl Frame {
    fn column_at<T>(&self, position: usize, f: impl FnOnce(&Column<'_>) -> PyResult<T>, py: Python<'_>) -> PyResult<T> {
        let table = self.inner.table().map_err(|e| errors::to_py(py, e))?;
        match table.columns().get(position) {
            Some(column) => f(column),
            None => Err(PyIndexError::new_err(format!("column {position} of a table with {} columns", table.width()))),
        }
    }

    fn map_columns<T>(&self, py: Python<'_>, f: impl Fn(&Column<'_>) -> T) -> PyResult<Vec<T>> {
        let table = self.inner.table().map_err(|e| errors::to_py(py, e))?;
        Ok(table.columns().iter().map(f).collect())
    }
}

#[pymethods]
impl Frame {
    #[new]
    fn new(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        Ok(Self { inner: import(object)? })
    }

    #[getter]
    fn names(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        self.map_columns(py, |c| c.name.clone())
    }

    #[getter]
    fn rows(&self) -> usize {
        self.inner.rows()
    }

    fn __len__(&self) -> usize {
        self.inner.rows()
    }

    #[getter]
    fn dtypes(&self, py: Python<'_>) -> PyResult<Vec<String>> {
        self.map_columns(py, |c| c.type_name().to_owned())
    }

    #[getter]
    fn categorical(&self, py: Python<'_>) -> PyResult<Vec<bool>> {
        self.map_columns(py, |c| c.categorical)
    }

    fn select(&self, py: Python<'_>, positions: Vec<usize>) -> PyResult<Self> {
        // Positions count the columns of the table, which leaves out pandas' index.
        let names = self.names(py)?;
        let schema = self.inner.batch().schema();
        let found = positions
            .iter()
            .map(|&p| {
                let name = names.get(p).ok_or_else(|| PyIndexError::new_err(format!("no column {p}")))?;
                schema.index_of(name).map_err(|e| PyIndexError::new_err(e.to_string()))
            })
            .collect::<PyResult<Vec<_>>>()?;
        Ok(Self { inner: self.inner.select(&found).map_err(|e| errors::to_py(py, e))? })
    }

    fn take(&self, py: Python<'_>, rows: Vec<i64>) -> PyResult<Self> {
        let rows = rows
            .into_iter()
            .map(|r| u32::try_from(r).map_err(|_| PyIndexError::new_err(format!("no row {r}"))))
            .collect::<PyResult<Vec<_>>>()?;
        Ok(Self { inner: self.inner.take(rows).map_err(|e| errors::to_py(py, e))? })
    }

    /// One column: an array of numbers, or a list of text.
    fn column<'py>(&self, py: Python<'py>, position: usize) -> PyResult<Bound<'py, PyAny>> {
        self.column_at(position, |column| of_column(py, column), py)
    }

    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        // The interface lets a producer ignore what type is wished for.
        let _ = requested_schema;
        let stream = FFI_ArrowArrayStream::new(self.inner.reader());
        PyCapsule::new_with_value(py, stream, STREAM)
    }
}

fn of_column<'py>(py: Python<'py>, column: &Column<'_>) -> PyResult<Bound<'py, PyAny>> {
    macro_rules! typed {
        ($values:expr, $dtype:literal) => {
            if column.validity.is_none() {
                let values: Vec<_> = (0..$values.len()).map(|i| $values.get(i)).collect();
                return arrays::array(py, &[values.len()], $dtype, &values);
            }
        };
    }
    match &column.values {
        Values::F32(v) => typed!(v, "float32"),
        Values::I64(v) => typed!(v, "int64"),
        Values::I32(v) => typed!(v, "int32"),
        Values::I16(v) => typed!(v, "int16"),
        Values::I8(v) => typed!(v, "int8"),
        Values::U64(v) => typed!(v, "uint64"),
        Values::U32(v) => typed!(v, "uint32"),
        Values::U16(v) => typed!(v, "uint16"),
        Values::U8(v) => typed!(v, "uint8"),
        Values::Bool(v) => {
            if column.validity.is_none() {
                let values: Vec<u8> = (0..v.len()).map(|i| v.get(i)).collect();
                return arrays::array(py, &[values.len()], "uint8", &values)?.call_method1("astype", ("bool",));
            }
        }
        Values::Text(text) => {
            let list = PyList::empty(py);
            for i in 0..text.len() {
                match text.get(i).map(std::str::from_utf8) {
                    Some(Ok(s)) => list.append(s)?,
                    _ => list.append(py.None())?,
                }
            }
            return Ok(list.into_any());
        }
        Values::F64(_) | Values::Unsupported { .. } => {}
    }
    let values = column.to_f64().map_err(|e: Error| errors::to_py(py, e))?;
    arrays::floats(py, &[values.len()], &values)
}
