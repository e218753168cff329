//! What Python passes as data, kept alive and seen as Corten's tables.

use corten_core::{Column, Csr, Data, Result, Strided, Table, Text, Values};
use corten_model::Schema;
use pyo3::buffer::{Element, ElementType, PyBuffer, PyUntypedBuffer};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString, PyTuple};

use crate::arrow::{self, Frame};
use crate::{errors, json};

/// Data that lives as long as this value.
pub(crate) enum Input {
    /// A 2-D array.
    Matrix(Matrix),
    /// A table in Arrow's memory.
    Frame(corten_data::Frame),
    /// Columns of their own: arrays, and text made from Python's.
    Columns { columns: Vec<Part>, named: bool },
    /// A sparse matrix.
    Csr(Csr<'static>),
}

/// One column.
pub(crate) struct Part {
    name: String,
    values: PartValues,
    categorical: bool,
}

enum PartValues {
    /// An array of one column.
    Numbers(Matrix),
    Text(Text<'static>),
}

impl Part {
    fn column(&self) -> Result<Column<'_>> {
        let mut column = match &self.values {
            PartValues::Numbers(matrix) => Column::number(self.name.clone(), matrix.values(0)?, None),
            PartValues::Text(text) => Column::text(self.name.clone(), text.borrowed()),
        };
        column.categorical = self.categorical;
        Ok(column)
    }

    fn len(&self) -> usize {
        match &self.values {
            PartValues::Numbers(matrix) => matrix.rows,
            PartValues::Text(text) => text.len(),
        }
    }
}

/// A 2-D array that numbers are read from where they lie.
pub(crate) struct Matrix {
    buffer: Typed,
    rows: usize,
    columns: usize,
    /// Steps in elements between rows and between columns.
    steps: (usize, usize),
}

enum Typed {
    F64(PyBuffer<f64>),
    F32(PyBuffer<f32>),
    I64(PyBuffer<i64>),
    I32(PyBuffer<i32>),
    I16(PyBuffer<i16>),
    I8(PyBuffer<i8>),
    U64(PyBuffer<u64>),
    U32(PyBuffer<u32>),
    U16(PyBuffer<u16>),
    U8(PyBuffer<u8>),
    Bool(PyUntypedBuffer),
}

/// The elements of a buffer from its first to its last.
fn elements<T>(buffer: &PyUntypedBuffer, count: usize) -> &[T] {
    if count == 0 {
        return &[];
    }
    #[expect(unsafe_code, reason = "the buffer protocol")]
    // SAFETY: Matrix::new checked that all strides are whole, not negative and that `count` elements end with the last
    // element of the buffer, and Array::as_slice that its elements lie together; its type was checked by its format; the
    // exporter keeps the memory until the buffer is released, and the caller keeps other threads from writing into an
    // array that is being fitted or scored.
    unsafe {
        std::slice::from_raw_parts(buffer.buf_ptr().cast::<T>(), count)
    }
}

/// An array of one type, seen where it lies if its numbers lie together, column after column.
pub(crate) struct Array<T: Element> {
    buffer: PyBuffer<T>,
    /// Its numbers where they don't.
    copy: Option<Vec<T>>,
}

impl<T: Element> Array<T> {
    /// Takes an array, converted to the type of this name, which is that of `T`.
    pub(crate) fn new(array: &Bound<'_, PyAny>, dtype: &str) -> PyResult<Self> {
        let py = array.py();
        let as_type = |copy: bool| {
            let kwargs = PyDict::new(py);
            kwargs.set_item("copy", copy)?;
            array.call_method("astype", (dtype,), Some(&kwargs))
        };
        let buffer = match PyBuffer::<T>::get(&as_type(false)?) {
            Ok(buffer) => buffer,
            // What isn't aligned can't be read where it lies.
            Err(_) => PyBuffer::<T>::get(&as_type(true)?)?,
        };
        let copy = if buffer.is_fortran_contiguous() { None } else { Some(buffer.to_fortran_vec(py)?) };
        Ok(Self { buffer, copy })
    }

    pub(crate) fn shape(&self) -> &[usize] {
        self.buffer.shape()
    }

    pub(crate) fn as_slice(&self) -> &[T] {
        self.copy.as_deref().unwrap_or_else(|| elements(&self.buffer, self.buffer.item_count()))
    }
}

impl Matrix {
    /// Looks at an array; one that can't be used in place, for its strides or where it starts, is copied first.
    fn new(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        match Self::in_place(object)? {
            Some(matrix) => Ok(matrix),
            None => {
                let numpy = object.py().import("numpy")?;
                let kwargs = PyDict::new(object.py());
                kwargs.set_item("dtype", "float64")?;
                // Always a copy: what only isn't aligned would be handed back.
                kwargs.set_item("order", "C")?;
                let copy = numpy.call_method("array", (object,), Some(&kwargs))?;
                Self::in_place(&copy)?.ok_or_else(|| PyTypeError::new_err("the array can't be read as numbers"))
            }
        }
    }

    fn in_place(object: &Bound<'_, PyAny>) -> PyResult<Option<Self>> {
        let Ok(buffer) = PyUntypedBuffer::get(object) else { return Ok(None) };
        let (shape, strides, size) = (buffer.shape(), buffer.strides(), buffer.item_size());
        if shape.len() != 2 {
            return Err(PyValueError::new_err(format!("Expected 2D array, got {}D array instead", shape.len())));
        }
        let (rows, columns) = (shape[0], shape[1]);
        let step =
            |s: isize| usize::try_from(s).ok().filter(|s| s.is_multiple_of(size.max(1))).map(|s| s / size.max(1));
        let (Some(down), Some(across)) = (step(strides[0]), step(strides[1])) else { return Ok(None) };
        if !(buffer.buf_ptr() as usize).is_multiple_of(size.max(1)) {
            return Ok(None);
        }
        let kind = ElementType::from_format(buffer.format());
        fn typed<T: Element>(buffer: PyUntypedBuffer, wrap: impl Fn(PyBuffer<T>) -> Typed) -> Option<Typed> {
            buffer.into_typed::<T>().ok().map(wrap)
        }
        let buffer = match kind {
            ElementType::Float { bytes: 8 } => typed(buffer, Typed::F64),
            ElementType::Float { bytes: 4 } => typed(buffer, Typed::F32),
            ElementType::SignedInteger { bytes: 8 } => typed(buffer, Typed::I64),
            ElementType::SignedInteger { bytes: 4 } => typed(buffer, Typed::I32),
            ElementType::SignedInteger { bytes: 2 } => typed(buffer, Typed::I16),
            ElementType::SignedInteger { bytes: 1 } => typed(buffer, Typed::I8),
            ElementType::UnsignedInteger { bytes: 8 } => typed(buffer, Typed::U64),
            ElementType::UnsignedInteger { bytes: 4 } => typed(buffer, Typed::U32),
            ElementType::UnsignedInteger { bytes: 2 } => typed(buffer, Typed::U16),
            ElementType::UnsignedInteger { bytes: 1 } => typed(buffer, Typed::U8),
            ElementType::Bool => Some(Typed::Bool(buffer)),
            _ => None,
        };
        Ok(buffer.map(|buffer| Self { buffer, rows, columns, steps: (down, across) }))
    }

    /// The numbers of a column.
    fn values(&self, column: usize) -> Result<Values<'_>> {
        let (down, across) = self.steps;
        let is_empty = self.rows == 0 || self.columns == 0;
        let count = if is_empty { 0 } else { (self.rows - 1) * down + (self.columns - 1) * across + 1 };
        let offset = if is_empty { 0 } else { column * across };
        macro_rules! values {
            ($buffer:expr, $kind:ident) => {
                Values::$kind(Strided::new(elements($buffer, count), offset, down, self.rows)?)
            };
        }
        Ok(match &self.buffer {
            Typed::F64(b) => values!(b, F64),
            Typed::F32(b) => values!(b, F32),
            Typed::I64(b) => values!(b, I64),
            Typed::I32(b) => values!(b, I32),
            Typed::I16(b) => values!(b, I16),
            Typed::I8(b) => values!(b, I8),
            Typed::U64(b) => values!(b, U64),
            Typed::U32(b) => values!(b, U32),
            Typed::U16(b) => values!(b, U16),
            Typed::U8(b) => values!(b, U8),
            Typed::Bool(b) => values!(b, Bool),
        })
    }

    fn table(&self) -> Result<Table<'_>> {
        let column = |j: usize| Ok(Column::number(format!("x{j}"), self.values(j)?, None));
        Table::matrix((0..self.columns).map(column).collect::<Result<Vec<_>>>()?)
    }
}

impl Input {
    /// Takes what the Python package passes: an array, a frame, `("columns", ...)` or `("csr", ...)`.
    pub(crate) fn new(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        if let Ok(frame) = object.cast::<Frame>() {
            return Ok(Self::Frame(frame.get().inner.clone()));
        }
        if let Ok(parts) = object.cast::<PyTuple>() {
            let tag: String = parts.get_item(0)?.extract()?;
            return match tag.as_str() {
                "columns" => Self::of_columns(parts),
                "csr" => Self::of_csr(parts),
                _ => Err(PyTypeError::new_err(format!("data of an unknown kind '{tag}'"))),
            };
        }
        if arrow::speaks_arrow(object) {
            return Ok(Self::Frame(arrow::import(object)?));
        }
        Ok(Self::Matrix(Matrix::new(object)?))
    }

    fn of_columns(parts: &Bound<'_, PyTuple>) -> PyResult<Self> {
        let names: Option<Vec<String>> = parts.get_item(1)?.extract()?;
        let categorical: Option<Vec<bool>> = if parts.len() > 3 { parts.get_item(3)?.extract()? } else { None };
        let mut columns = Vec::new();
        for (i, values) in parts.get_item(2)?.try_iter()?.enumerate() {
            let values = values?;
            let name = names.as_ref().and_then(|n| n.get(i).cloned()).unwrap_or_else(|| format!("x{i}"));
            let values = match values.cast::<PyList>() {
                Ok(list) => PartValues::Text(of_texts(list)?),
                Err(_) => PartValues::Numbers(Matrix::new(&values.call_method1("reshape", (-1, 1))?)?),
            };
            let categorical = categorical.as_ref().and_then(|c| c.get(i).copied()).unwrap_or(false);
            columns.push(Part { name, values, categorical });
        }
        Ok(Self::Columns { columns, named: names.is_some() })
    }

    fn of_csr(parts: &Bound<'_, PyTuple>) -> PyResult<Self> {
        let py = parts.py();
        let (rows, columns): (usize, usize) = parts.get_item(1)?.extract()?;
        let as_type = |at: usize, dtype: &str| parts.get_item(at)?.call_method1("astype", (dtype,));
        let indptr = PyBuffer::<i64>::get(&as_type(2, "int64")?)?.to_vec(py)?;
        let indices = PyBuffer::<i32>::get(&as_type(3, "int32")?)?.to_vec(py)?;
        let values = PyBuffer::<f64>::get(&as_type(4, "float64")?)?.to_vec(py)?;
        Csr::new(rows, columns, indptr, indices, values).map(Self::Csr).map_err(|e| errors::to_py(py, e))
    }

    /// The data, borrowed.
    pub(crate) fn data(&self) -> Result<Data<'_>> {
        Ok(match self {
            Self::Matrix(matrix) => Data::Table(matrix.table()?),
            Self::Frame(frame) => Data::Table(frame.table()?),
            Self::Columns { columns, named } => {
                let columns = columns.iter().map(Part::column).collect::<Result<Vec<_>>>()?;
                Data::Table(if *named { Table::named(columns)? } else { Table::matrix(columns)? })
            }
            Self::Csr(matrix) => Data::Csr(matrix.clone()),
        })
    }

    /// Number of rows.
    pub(crate) fn rows(&self) -> usize {
        match self {
            Self::Matrix(matrix) => matrix.rows,
            Self::Frame(frame) => frame.rows(),
            Self::Columns { columns, .. } => columns.first().map_or(0, Part::len),
            Self::Csr(matrix) => matrix.rows(),
        }
    }
}

fn of_texts(list: &Bound<'_, PyList>) -> PyResult<Text<'static>> {
    let mut texts: Vec<Option<String>> = Vec::with_capacity(list.len());
    for item in list {
        texts.push(match item.cast::<PyString>() {
            Ok(text) => Some(text.to_str()?.to_owned()),
            Err(_) if item.is_none() => None,
            Err(_) => return Err(PyTypeError::new_err(format!("a text column holds {}", item.repr()?))),
        });
    }
    Ok(Text::from_options(texts))
}

/// The schema of some data: `{"named": bool, "inputs": [{"name", "kind", "dtype"}, ...]}`.
#[pyfunction]
pub(crate) fn schema<'py>(py: Python<'py>, x: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let input = Input::new(x)?;
    let schema = input.data().and_then(|d| Schema::of(&d)).map_err(|e| errors::to_py(py, e))?;
    json::to_py(py, &serde_json::to_value(schema).unwrap_or_default())
}
