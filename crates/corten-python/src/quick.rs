//! The methods that one row is asked through, as the base of the class of models in Python: no frame of Python between the
//! caller and the row.

use corten_model::Method;
use pyo3::intern;
use pyo3::prelude::*;

use crate::model::Model;

/// What answers a few rows of an array at once, and asks `_answer` of its subclass for everything else.
#[pyclass(subclass, frozen, module = "corten._core")]
pub(crate) struct Quick {
    core: Py<Model>,
}

impl Quick {
    fn ask<'py>(slf: &Bound<'py, Self>, method: Method, x: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        let core = slf.get().core.get();
        match core.rows.answer(py, &core.read(), method, x)? {
            Some(answer) => Ok(answer),
            None => slf.call_method1(intern!(py, "_answer"), (method.as_str(), x)),
        }
    }
}

#[pymethods]
#[expect(non_snake_case, reason = "scikit-learn's name")]
impl Quick {
    #[new]
    fn new(core: Py<Model>) -> Self {
        Self { core }
    }

    /// Predicts a class or a number for each row.
    ///
    /// Parameters
    /// ----------
    /// X : array-like or frame of shape (n_samples, n_features)
    ///     The rows; columns of a frame are found by name, in any order.
    ///
    /// Returns
    /// -------
    /// ndarray of shape (n_samples,) or (n_samples, n_targets)
    fn predict<'py>(slf: &Bound<'py, Self>, X: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        Self::ask(slf, Method::Predict, X)
    }

    /// Predicts the probability of each class.
    ///
    /// Parameters
    /// ----------
    /// X : array-like or frame of shape (n_samples, n_features)
    ///     The rows.
    ///
    /// Returns
    /// -------
    /// ndarray of shape (n_samples, n_classes)
    fn predict_proba<'py>(slf: &Bound<'py, Self>, X: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        Self::ask(slf, Method::PredictProba, X)
    }

    /// The score of each class before it becomes a probability.
    ///
    /// Parameters
    /// ----------
    /// X : array-like or frame of shape (n_samples, n_features)
    ///     The rows.
    ///
    /// Returns
    /// -------
    /// ndarray of shape (n_samples,) or (n_samples, n_classes)
    fn decision_function<'py>(slf: &Bound<'py, Self>, X: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        Self::ask(slf, Method::DecisionFunction, X)
    }
}
