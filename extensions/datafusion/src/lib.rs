//! The extension module `corten_datafusion`: a model as a scalar function behind DataFusion's foreign interface, so that a
//! query is scored without Python. `corten.datafusion.udf` uses it where it is installed.

mod function;
mod handed;

use std::ffi::CStr;
use std::sync::Arc;

use datafusion_expr::ScalarUDF;
use pyo3::exceptions::{PyImportError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

/// What DataFusion calls a capsule of a scalar function, whatever its version.
const CAPSULE: &CStr = c"datafusion_scalar_udf";

/// A method of a model as a function.
#[pyclass(frozen, module = "corten_datafusion")]
struct Function {
    inner: Arc<ScalarUDF>,
}

#[pymethods]
impl Function {
    /// Reads a model from the bytes of its file.
    #[new]
    fn new(py: Python<'_>, model: &[u8], method: &str, name: &str) -> PyResult<Self> {
        let made = py.detach(|| function::Function::new(model, method, name));
        let function = made.map_err(|e| PyValueError::new_err(e.to_string()))?;
        Ok(Self { inner: Arc::new(ScalarUDF::new_from_impl(function)) })
    }

    /// The function for DataFusion, which can't tell the versions of what it is given: another one than it was made for
    /// gets nothing.
    fn __datafusion_scalar_udf__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyCapsule>> {
        match mismatch(py)? {
            Some(problem) => Err(PyImportError::new_err(problem)),
            None => PyCapsule::new_with_value(py, handed::handed(Arc::clone(&self.inner)), CAPSULE),
        }
    }
}

/// Why functions can't be given to the installed DataFusion; `None` where they can.
#[pyfunction]
fn mismatch(py: Python<'_>) -> PyResult<Option<String>> {
    let installed: String = py.import("importlib.metadata")?.call_method1("version", ("datafusion",))?.extract()?;
    let built = datafusion_ffi::version();
    if installed.split('.').next().and_then(|major| major.parse().ok()) == Some(built) {
        return Ok(None);
    }
    Ok(Some(format!(
        "corten-datafusion was built for DataFusion {built}, and DataFusion {installed} is installed; functions can't be \
         handed from one major version to another."
    )))
}

/// Functions of models for DataFusion.
#[pymodule]
fn corten_datafusion(module: &Bound<'_, PyModule>) -> PyResult<()> {
    corten_model::check_cpu().map_err(|e| PyImportError::new_err(e.to_string()))?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<Function>()?;
    module.add_function(wrap_pyfunction!(mismatch, module)?)
}
