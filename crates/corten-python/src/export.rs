//! Models as source code, and on a grid of few bits.

use corten_core::CancelToken;
use corten_model::Method;
use corten_model::export::{Bits, Options};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::door::{self, Size};
use crate::model::Model;

/// A model as one file of C99, and what the function needs.
#[pyfunction]
#[pyo3(signature = (model, name, method = None))]
pub(crate) fn export_c<'py>(
    py: Python<'py>,
    model: &Bound<'py, Model>,
    name: &str,
    method: Option<&str>,
) -> PyResult<(String, Bound<'py, PyDict>)> {
    let inner = model.get();
    let export = door::run(py, Size::Medium, &CancelToken::new(), || {
        let method = method.map(Method::parse).transpose()?;
        corten_model::export::c(&inner.read(), &Options { name: name.into(), method })
    })?;
    let report = PyDict::new(py);
    report.set_item("method", export.report.method.as_str())?;
    report.set_item("table_bytes", export.report.table_bytes)?;
    report.set_item("stack_bytes", export.report.stack_bytes)?;
    report.set_item("inputs", export.report.inputs)?;
    report.set_item("outputs", export.report.outputs)?;
    Ok((export.source, report))
}

/// The model with weights and leaves of `bits`: `int16` or `int8`.
#[pyfunction]
pub(crate) fn quantize(py: Python<'_>, model: &Bound<'_, Model>, bits: &str) -> PyResult<Model> {
    let inner = model.get();
    let quantized = door::run(py, Size::Medium, &CancelToken::new(), || {
        corten_model::export::quantize(&inner.read(), Bits::parse(bits)?)
    })?;
    Model::new(py, quantized)
}
