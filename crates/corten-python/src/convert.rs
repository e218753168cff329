//! Models of other libraries.

use corten_convert::Wrapping;
use corten_core::CancelToken;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::door::{self, Size};
use crate::estimator::labels_of;
use crate::model::Model;

/// Converts the bytes of a model; with `classes` it is a classifier.
#[pyfunction]
#[pyo3(signature = (bytes, classes = None))]
pub(crate) fn convert(py: Python<'_>, bytes: &[u8], classes: Option<&Bound<'_, PyList>>) -> PyResult<Model> {
    let wrapping = Wrapping { labels: classes.map(labels_of).transpose()? };
    let model = door::run(py, Size::Medium, &CancelToken::new(), || corten_convert::convert(bytes, &wrapping))?;
    Model::new(py, model)
}
