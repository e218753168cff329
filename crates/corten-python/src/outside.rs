//! Losses and scores that Python gives in the middle of a fit.

use corten_core::Error;
use corten_model::estimator::{Extras, Round};
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;

use crate::arrays;
use crate::estimator::Raised;

/// What only some estimators take, from Python's objects.
pub(crate) fn extras(
    init_score: Option<&Bound<'_, PyAny>>,
    group: Option<&Bound<'_, PyAny>>,
    objective: Option<Py<PyAny>>,
    score: Option<Py<PyAny>>,
    raised: &Raised,
) -> PyResult<Extras<'static>> {
    let mut extras = Extras::default();
    if let Some(init) = init_score {
        let values = PyBuffer::<f64>::get(&init.call_method1("astype", ("float64",))?)?.to_fortran_vec(init.py())?;
        extras.init_score = Some(values.into());
    }
    if let Some(group) = group {
        extras.group =
            Some(PyBuffer::<u32>::get(&group.call_method1("astype", ("uint32",))?)?.to_vec(group.py())?.into());
    }
    if let Some(call) = objective {
        let raised = raised.clone();
        extras.objective = Some(Box::new(move |round| {
            let slopes = |py: Python<'_>| {
                let (g, h) = call.bind(py).call1(arguments(py, round)?)?.extract()?;
                let (g, h) = (columns(&g)?, columns(&h)?);
                Ok(g.into_iter().zip(h).map(|(g, h)| [g, h]).collect())
            };
            Python::attach(slopes).map_err(|error| stop(error, &raised))
        }));
    }
    if let Some(call) = score {
        let raised = raised.clone();
        extras.score = Some(Box::new(move |number, round| {
            let value = |py: Python<'_>| {
                let (rows, y, scores) = arguments(py, round)?;
                let weights = round.weights.map(|w| arrays::floats(py, &[w.len()], w)).transpose()?;
                call.bind(py).call1((number, rows, y, scores, weights))?.extract()
            };
            Python::attach(value).map_err(|error| stop(error, &raised))
        }));
    }
    Ok(extras)
}

/// Keeps what was raised for when the fit has ended, and ends it.
fn stop(error: PyErr, raised: &Raised) -> Error {
    raised.set(error);
    Error::Cancelled
}

/// Positions of rows, their targets, and their scores with an output after the other.
fn arguments<'py>(
    py: Python<'py>,
    round: &Round<'_>,
) -> PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>, Bound<'py, PyAny>)> {
    let n = round.y.len();
    let rows = arrays::array(py, &[n], "uint32", round.rows)?;
    let flat = round.scores.concat();
    Ok((rows, arrays::floats(py, &[n], round.y)?, arrays::floats(py, &[round.scores.len(), n], &flat)?))
}

/// The rows of a 2-D array.
fn columns(array: &Bound<'_, PyAny>) -> PyResult<Vec<Vec<f64>>> {
    let buffer = PyBuffer::<f64>::get(array)?;
    let width = buffer.shape().get(1).copied().unwrap_or(1).max(1);
    Ok(buffer.to_vec(array.py())?.chunks(width).map(<[f64]>::to_vec).collect())
}
