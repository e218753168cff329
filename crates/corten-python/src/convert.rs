//! Models of other libraries.

use corten_core::CancelToken;
use corten_model::ops::CategoryValues;
use corten_trees::convert::flat::{self, Flat, Meaning};
use corten_trees::convert::{Answer, Wrapping};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::door::{self, Size};
use crate::estimator::labels_of;
use crate::model::Model;

/// Converts the bytes of a model; with `classes` it is a classifier. `categories` are those of columns that the model
/// knows by hashes only; `in_place` is how XGBoost's wrappers predict.
#[pyfunction]
#[pyo3(signature = (bytes, classes = None, categories = Vec::new(), in_place = false))]
pub(crate) fn convert(
    py: Python<'_>,
    bytes: &[u8],
    classes: Option<&Bound<'_, PyList>>,
    categories: Vec<(String, Vec<String>)>,
    in_place: bool,
) -> PyResult<Model> {
    let wrapping = Wrapping { labels: classes.map(labels_of).transpose()?, categories, in_place };
    let model = door::run(py, Size::Medium, &CancelToken::new(), || corten_trees::convert::convert(bytes, &wrapping))?;
    Model::new(py, model)
}

/// The member of a dict, of some type.
fn member<'py, T: for<'a> FromPyObject<'a, 'py>>(dict: &Bound<'py, PyDict>, name: &str) -> PyResult<T> {
    let value = dict.get_item(name)?.ok_or_else(|| PyTypeError::new_err(format!("'{name}' is missing")))?;
    value.extract().map_err(|_| PyTypeError::new_err(format!("'{name}' is of another type")))
}

/// The elements of an array of 8-byte numbers.
fn array<T: pyo3::buffer::Element>(dict: &Bound<'_, PyDict>, name: &str) -> PyResult<Vec<T>> {
    let value = dict.get_item(name)?.ok_or_else(|| PyTypeError::new_err(format!("'{name}' is missing")))?;
    pyo3::buffer::PyBuffer::<T>::get(&value)?.to_vec(value.py())
}

/// Converts trees given as arrays, `trees`, with what they mean.
#[pyfunction]
#[pyo3(signature = (trees, meaning, classes = None))]
pub(crate) fn convert_arrays(
    py: Python<'_>,
    trees: &Bound<'_, PyDict>,
    meaning: &Bound<'_, PyDict>,
    classes: Option<&Bound<'_, PyList>>,
) -> PyResult<Model> {
    let sets: Vec<i64> = array(trees, "sets")?;
    let given = Flat {
        counts: array(trees, "counts")?,
        left: array(trees, "left")?,
        right: array(trees, "right")?,
        feature: array(trees, "feature")?,
        threshold: array(trees, "threshold")?,
        missing_left: array::<i64>(trees, "missing_left")?.into_iter().map(|m| m != 0).collect(),
        cover: array(trees, "cover")?,
        values: array(trees, "values")?,
        width: member(trees, "width")?,
        sets: sets.as_chunks::<2>().0.iter().map(|&[first, count]| (first, count)).collect(),
        codes: array::<i64>(trees, "codes")?.into_iter().map(|c| u32::try_from(c).unwrap_or(u32::MAX)).collect(),
    };
    let mut categories = Vec::new();
    for (column, values) in member::<Vec<(usize, Bound<'_, PyAny>)>>(meaning, "categories")? {
        let values = match values.extract::<Vec<f64>>() {
            Ok(numbers) => CategoryValues::Numbers(numbers),
            Err(_) => CategoryValues::Texts(values.extract::<Vec<String>>()?.into()),
        };
        categories.push((column, values));
    }
    let answer: (String, f64, f64) = member(meaning, "answer")?;
    let answer = match answer.0.as_str() {
        "sums" => Answer::Sums,
        "exp" => Answer::Exp,
        "sigmoid" => Answer::Sigmoid { scale: answer.1 },
        "softmax" => Answer::Softmax,
        "probabilities" => Answer::Probabilities,
        "isolation" => Answer::Isolation { rate: answer.1, offset: answer.2 },
        other => return Err(PyTypeError::new_err(format!("no answer is called '{other}'"))),
    };
    let meaning = Meaning {
        source: member(meaning, "source")?,
        names: member(meaning, "names")?,
        features: member(meaning, "features")?,
        categories,
        base: member(meaning, "base")?,
        average: member(meaning, "average")?,
        narrow: member(meaning, "narrow")?,
        answer,
        scores: member(meaning, "scores")?,
    };
    let wrapping = Wrapping { labels: classes.map(labels_of).transpose()?, ..Wrapping::default() };
    let model = door::run(py, Size::Medium, &CancelToken::new(), || flat::read(&given, meaning)?.lower(&wrapping))?;
    Model::new(py, model)
}

/// A model as LightGBM's text.
#[pyfunction]
pub(crate) fn to_lightgbm(py: Python<'_>, model: &Model) -> PyResult<String> {
    door::run(py, Size::Medium, &CancelToken::new(), || corten_trees::convert::to_lightgbm(&model.read()))
}
