//! NumPy arrays out.

use pyo3::buffer::{Element, PyBuffer};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

use corten_model::estimator::Attribute;
use corten_model::ops::CategoryValues;

static EMPTY: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

fn empty(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    EMPTY.get_or_try_init(py, || Ok(py.import("numpy")?.getattr("empty")?.unbind())).map(|f| f.bind(py))
}

/// A C-ordered array of some shape; `dtype` is the name of `T`.
pub(crate) fn array<'py, T: Element>(
    py: Python<'py>,
    shape: &[usize],
    dtype: &str,
    values: &[T],
) -> PyResult<Bound<'py, PyAny>> {
    let shape: Vec<usize> = shape.to_vec();
    let shape = pyo3::types::PyTuple::new(py, shape)?;
    let array = empty(py)?.call1((shape, dtype))?;
    if !values.is_empty() {
        PyBuffer::<T>::get(&array)?.copy_from_slice(py, values)?;
    }
    Ok(array)
}

/// An array of `float64`.
pub(crate) fn floats<'py>(py: Python<'py>, shape: &[usize], values: &[f64]) -> PyResult<Bound<'py, PyAny>> {
    array(py, shape, "float64", values)
}

/// A fitted attribute as Python sees it.
pub(crate) fn attribute<'py>(py: Python<'py>, value: &Attribute) -> PyResult<Bound<'py, PyAny>> {
    Ok(match value {
        Attribute::None => py.None().into_bound(py),
        Attribute::Int(i) => i.into_pyobject(py)?.into_any(),
        Attribute::Float(x) => x.into_pyobject(py)?.into_any(),
        Attribute::Bool(b) => pyo3::types::PyBool::new(py, *b).to_owned().into_any(),
        Attribute::Text(s) => s.into_pyobject(py)?.into_any(),
        Attribute::Floats { shape, values } if shape.is_empty() => match values.first() {
            Some(x) => x.into_pyobject(py)?.into_any(),
            None => py.None().into_bound(py),
        },
        Attribute::Floats { shape, values } => floats(py, shape, values)?,
        Attribute::Ints { shape, values } => array(py, shape, "int64", values)?,
        Attribute::Values(CategoryValues::Numbers(values)) => floats(py, &[values.len()], values)?,
        Attribute::Values(CategoryValues::Texts(values)) => {
            let kwargs = PyDict::new(py);
            kwargs.set_item("dtype", "object")?;
            py.import("numpy")?.call_method("array", (values.iter().collect::<Vec<_>>(),), Some(&kwargs))?
        }
        Attribute::List(items) => {
            let list = pyo3::types::PyList::empty(py);
            for item in items {
                list.append(attribute(py, item)?)?;
            }
            list.into_any()
        }
    })
}
