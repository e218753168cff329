//! Errors as Python classes: each also one of those that scikit-learn users catch.

use corten_core::Error;
use pyo3::exceptions::{PyFileNotFoundError, PyKeyboardInterrupt, PyOSError, PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyType};

/// The classes, as Python defines them: some have two bases, which only Python can make.
const CLASSES: &std::ffi::CStr = c"
class ParameterError(ValueError):
    'A parameter is outside what is allowed.'
class ColumnError(ValueError):
    'A column of the input can not be used.'
class MissingColumnError(ValueError, KeyError):
    'A column that the model needs is not in the input.'
    __str__ = ValueError.__str__
class FormatError(ValueError):
    'The bytes are no Corten model, or a damaged one.'
class VersionError(FormatError):
    'The model has a newer format than this version reads.'
class LimitError(ValueError):
    'A limit on size was passed.'
class UnsupportedError(ValueError, AttributeError):
    'The model does not have this method.'
class NotFittedError(ValueError, AttributeError):
    'A method was called before fit.'
class InternalError(RuntimeError):
    'A defect of Corten itself.'
";

const NAMES: [&str; 9] = [
    "ParameterError",
    "ColumnError",
    "MissingColumnError",
    "FormatError",
    "VersionError",
    "LimitError",
    "UnsupportedError",
    "NotFittedError",
    "InternalError",
];

static DEFINED: PyOnceLock<Py<PyDict>> = PyOnceLock::new();

/// Makes the classes and puts them into the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let space = PyDict::new(py);
    space.set_item("__name__", "corten.exceptions")?;
    py.run(CLASSES, Some(&space), None)?;
    for name in NAMES {
        module.add(name, space.get_item(name)?)?;
    }
    let _ = DEFINED.set(py, space.unbind());
    Ok(())
}

fn class(py: Python<'_>, name: &str, text: String) -> PyErr {
    let found = DEFINED
        .get(py)
        .and_then(|space| space.bind(py).get_item(name).ok().flatten())
        .and_then(|class| class.cast_into::<PyType>().ok());
    match found {
        Some(class) => PyErr::from_type(class, text),
        None => PyValueError::new_err(text),
    }
}

/// The Python error of a Rust one; its text is the same.
pub(crate) fn to_py(py: Python<'_>, error: Error) -> PyErr {
    let text = error.to_string();
    match error {
        Error::Parameter { .. } => class(py, "ParameterError", text),
        Error::Column { .. } => class(py, "ColumnError", text),
        Error::MissingColumn { .. } => class(py, "MissingColumnError", text),
        Error::Value(_) => PyValueError::new_err(text),
        Error::Type(_) => PyTypeError::new_err(text),
        Error::Format(_) | Error::Foreign(_) => class(py, "FormatError", text),
        Error::Version { .. } => class(py, "VersionError", text),
        Error::Io { not_found: true, .. } => PyFileNotFoundError::new_err(text),
        Error::Io { .. } => PyOSError::new_err(text),
        Error::Unsupported(_) => class(py, "UnsupportedError", text),
        Error::Limit(_) => class(py, "LimitError", text),
        Error::Cancelled => PyKeyboardInterrupt::new_err(()),
        // The enum may grow in its own crate; an error that no one mapped is a defect.
        Error::Internal(_) | _ => class(py, "InternalError", text),
    }
}

/// The error of a panic.
pub(crate) fn panicked(py: Python<'_>, payload: &(dyn std::any::Any + Send)) -> PyErr {
    let text = payload
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    class(py, "InternalError", format!("Internal error, please report it: {text}"))
}
