//! Fitting any estimator by its name.

use std::sync::{Arc, Mutex, PoisonError};

use corten_core::{CancelToken, Error, Table};
use corten_kernels::parallel;
use corten_model::estimator::{Context, Entry, FitInput, Step, Target};
use corten_model::{Labels, Schema, sketch};
use pyo3::buffer::PyBuffer;
use pyo3::exceptions::{PyBaseException, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString};

use crate::door::{self, Size};
use crate::inputs::{Array, Input};
use crate::model::Model;
use crate::{arrays, errors, json, outside};

/// The fitted state of an estimator.
#[pyclass(frozen, module = "corten._core")]
pub(crate) struct Fitted {
    inner: Arc<dyn corten_model::estimator::Fitted>,
    schema: Schema,
    /// Rows of what it was fitted on.
    seen: Option<Arc<Table<'static>>>,
    /// What Ctrl-C raised, where the fit kept what it had by then.
    signal: Option<Py<PyBaseException>>,
}

fn registry() -> impl Iterator<Item = Entry> {
    corten_learn::registry::estimators().into_iter().chain(corten_trees::registry::estimators())
}

pub(crate) fn entry(py: Python<'_>, name: &str) -> PyResult<Entry> {
    registry()
        .find(|e| e.name == name)
        .ok_or_else(|| errors::to_py(py, Error::Unsupported(format!("There is no estimator '{name}'."))))
}

/// The names of all estimators.
#[pyfunction]
pub(crate) fn estimators() -> Vec<&'static str> {
    registry().map(|e| e.name).collect()
}

/// The parameters of an estimator with their defaults.
#[pyfunction]
pub(crate) fn defaults<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    json::to_py(py, &(entry(py, name)?.defaults)())
}

/// Classes as labels of one type.
pub(crate) fn labels_of(classes: &Bound<'_, PyList>) -> PyResult<Labels> {
    let Ok(first) = classes.get_item(0) else { return Ok(Labels::Int(Vec::new())) };
    Ok(if first.is_instance_of::<PyBool>() {
        Labels::Bool(classes.extract()?)
    } else if first.is_instance_of::<PyInt>() {
        Labels::Int(classes.extract()?)
    } else if first.is_instance_of::<PyFloat>() {
        Labels::Float(classes.extract()?)
    } else if first.is_instance_of::<PyString>() {
        Labels::Text(classes.extract()?)
    } else {
        Labels::Text(classes.iter().map(|c| Ok(c.str()?.to_str()?.to_owned())).collect::<PyResult<_>>()?)
    })
}

/// What is to be predicted; it lives as long as this value.
enum Goal {
    None,
    Classes { codes: Array<u32>, labels: Labels },
    Numbers(Array<f64>),
}

impl Goal {
    fn new(y: Option<&Bound<'_, PyAny>>, classes: Option<&Bound<'_, PyList>>) -> PyResult<Self> {
        let Some(y) = y else { return Ok(Self::None) };
        if let Some(classes) = classes {
            return Ok(Self::Classes { codes: Array::new(y, "uint32")?, labels: labels_of(classes)? });
        }
        Ok(Self::Numbers(Array::new(y, "float64")?))
    }

    fn target(&self) -> Target<'_> {
        match self {
            Self::None => Target::None,
            Self::Classes { codes, labels } => {
                Target::Classes { codes: codes.as_slice().into(), labels: labels.clone() }
            }
            Self::Numbers(array) => Target::Numbers {
                values: array.as_slice().into(),
                outputs: array.shape().get(1).copied().unwrap_or(1),
                flat: array.shape().len() == 1,
            },
        }
    }
}

/// Fits the estimator of a name.
#[pyfunction]
#[pyo3(signature = (name, params, x, y = None, *, classes = None, sample_weight = None, previous = None,
                    partial = false, threads = None, progress = None, keep = false, init_score = None, group = None,
                    decay_rate = None, objective = None, score = None, start = None, anew = false))]
pub(crate) fn fit(
    py: Python<'_>,
    name: &str,
    params: &Bound<'_, PyDict>,
    x: &Bound<'_, PyAny>,
    y: Option<&Bound<'_, PyAny>>,
    classes: Option<&Bound<'_, PyList>>,
    sample_weight: Option<&Bound<'_, PyAny>>,
    previous: Option<&Bound<'_, Fitted>>,
    partial: bool,
    threads: Option<i64>,
    progress: Option<Py<PyAny>>,
    keep: bool,
    init_score: Option<&Bound<'_, PyAny>>,
    group: Option<&Bound<'_, PyAny>>,
    decay_rate: Option<f64>,
    objective: Option<Py<PyAny>>,
    score: Option<Py<PyAny>>,
    start: Option<&Bound<'_, Model>>,
    anew: bool,
) -> PyResult<Fitted> {
    let entry = entry(py, name)?;
    let params = json::of_py(params)?;
    let input = Input::new(x)?;
    let goal = Goal::new(y, classes)?;
    let weights = sample_weight.map(|w| Array::<f64>::new(w, "float64")).transpose()?;
    let previous = previous.map(|p| Arc::clone(&p.get().inner));
    let cancel = CancelToken::new();
    let raised = Raised::default();
    let context = context(threads, progress, keep, &cancel, &raised);
    let mut extras = outside::extras(init_score, group, objective, score, &raised)?;
    extras.decay_rate = decay_rate;
    extras.anew = anew;
    extras.start = start.map(|model| Arc::unwrap_or_clone(model.get().read()));
    let data = input.data().map_err(|e| errors::to_py(py, e))?;
    let fit = || {
        let schema = Schema::of(&data)?;
        let fit_input = FitInput {
            x: &data,
            y: goal.target(),
            sample_weight: weights.as_ref().map(Array::as_slice),
            previous: previous.as_deref(),
            partial,
            extras: &extras,
            context: &context,
        };
        let fitted = (entry.fit)(&params, &fit_input)?;
        Ok((Arc::from(fitted), schema))
    };
    let (outcome, signal, seen) = door::run_kept(py, &cancel, fit, || sketch::rows_of(&data).map(Arc::new));
    finish(py, outcome.map(|(fitted, schema)| (fitted, schema, seen)), signal, &raised, keep)
}

/// Which rows gradient boosting with `n_iter_no_change` holds out.
#[pyfunction]
pub(crate) fn held_out<'py>(
    y: &Bound<'py, PyAny>,
    classes: usize,
    fraction: f64,
    seed: u64,
) -> PyResult<Bound<'py, PyAny>> {
    let py = y.py();
    let y = PyBuffer::<f64>::get(&y.call_method1("astype", ("float64",))?)?.to_vec(py)?;
    let out: Vec<u8> =
        corten_trees::gradient_boosting::held_out(&y, classes, fraction, seed).into_iter().map(u8::from).collect();
    arrays::array(py, &[out.len()], "uint8", &out)
}

/// How many fits of gradient boosting that use few threads have room beside each other.
#[pyfunction]
#[pyo3(signature = (rows, width, trees, threads = None))]
pub(crate) fn side_by_side(rows: usize, width: usize, trees: usize, threads: Option<i64>) -> usize {
    let threads = parallel::threads(threads);
    threads / corten_trees::boosting::threads_for(rows, width, trees, threads)
}

/// How a fit is carried out; a callback that raises, or answers yes, ends it.
pub(crate) fn context(
    threads: Option<i64>,
    progress: Option<Py<PyAny>>,
    keep: bool,
    cancel: &CancelToken,
    raised: &Raised,
) -> Context {
    let progress = progress.map(|callback| -> Box<dyn Fn(&Step) + Send + Sync> {
        let (told, raised) = (cancel.clone(), raised.clone());
        Box::new(move |step: &Step| {
            let called = Python::attach(|py| {
                let step = (step.iteration, step.total, step.loss, step.validation_loss);
                callback.call1(py, step).and_then(|answer| answer.bind(py).is_truthy())
            });
            match called {
                Ok(false) => {}
                Ok(true) => told.cancel(),
                Err(error) => {
                    raised.set(error);
                    told.cancel();
                }
            }
        })
    });
    Context { threads: parallel::threads(threads), cancel: cancel.clone(), keep, progress }
}

/// The outcome of a fit, or what Python raised meanwhile.
pub(crate) fn finish(
    py: Python<'_>,
    outcome: PyResult<(Arc<dyn corten_model::estimator::Fitted>, Schema, Option<Arc<Table<'static>>>)>,
    signal: Option<PyErr>,
    raised: &Raised,
    keep: bool,
) -> PyResult<Fitted> {
    // What a call to Python raised tells more than what became of the fit.
    if let Some(error) = raised.take() {
        return Err(error);
    }
    match (outcome, signal) {
        (Ok((inner, schema, seen)), None) => Ok(Fitted { inner, schema, seen, signal: None }),
        (Ok((inner, schema, seen)), Some(signal)) if keep => {
            Ok(Fitted { inner, schema, seen, signal: Some(signal.into_value(py)) })
        }
        (_, Some(signal)) => Err(signal),
        (Err(error), None) => Err(error),
    }
}

/// The fitted state of the estimator of a name, from what [`Fitted::state`] gave.
#[pyfunction]
pub(crate) fn restore(py: Python<'_>, name: &str, state: &[u8], schema: &str) -> PyResult<Fitted> {
    let entry = entry(py, name)?;
    let read = || {
        let read = entry.restore.ok_or_else(|| Error::Unsupported(format!("{name} keeps no state to go on from")))?;
        let schema = serde_json::from_str(schema).map_err(|e| Error::Format(format!("no schema: {e}")))?;
        Ok((Arc::from(read(state)?), schema))
    };
    let (inner, schema) = door::run(py, Size::Medium, &CancelToken::new(), read)?;
    Ok(Fitted { inner, schema, seen: None, signal: None })
}

/// The first error that a call to Python raised in the middle of a fit.
#[derive(Clone, Default)]
pub(crate) struct Raised(Arc<Mutex<Option<PyErr>>>);

impl Raised {
    /// Keeps an error, if it is the first.
    pub(crate) fn set(&self, error: PyErr) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    fn take(&self) -> Option<PyErr> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Fitted {
    /// The state.
    pub(crate) fn shared(&self) -> Arc<dyn corten_model::estimator::Fitted> {
        Arc::clone(&self.inner)
    }
}

#[pymethods]
impl Fitted {
    /// The fitted attributes by name.
    fn attributes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let dict = PyDict::new(py);
        for (name, value) in self.inner.attributes() {
            dict.set_item(name, arrays::attribute(py, &value)?)?;
        }
        Ok(dict)
    }

    /// The arrays of a single tree's nodes.
    fn nodes<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        self.inner.nodes().map(|nodes| arrays::attribute(py, &nodes)).transpose()
    }

    /// What Ctrl-C raised, where the fit kept what it had by then.
    #[getter]
    fn signal(&self, py: Python<'_>) -> Option<Py<PyBaseException>> {
        self.signal.as_ref().map(|s| s.clone_ref(py))
    }

    /// How the fit went.
    fn report<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        json::to_py(py, &self.inner.report())
    }

    /// All that a later fit may go on from, and the columns, as bytes; nothing where no fit goes on.
    fn state<'py>(&self, py: Python<'py>) -> PyResult<Option<(Bound<'py, PyBytes>, String)>> {
        let Some(bytes) = py.detach(|| self.inner.state()) else { return Ok(None) };
        let schema = serde_json::to_string(&self.schema).map_err(|e| PyValueError::new_err(e.to_string()))?;
        Ok(Some((PyBytes::new(py, &bytes), schema)))
    }

    /// One state that scores as the mean of this one after `rounds` and others, each with its rounds.
    fn average(&self, py: Python<'_>, rounds: usize, others: Vec<(Bound<'_, Self>, usize)>) -> PyResult<Self> {
        let others: Vec<_> = others.iter().map(|(other, rounds)| (other.get().shared(), *rounds)).collect();
        let average = || {
            let others: Vec<_> = others.iter().map(|(other, rounds)| (&**other, *rounds)).collect();
            self.inner.average(rounds, &others)
        };
        let inner = Arc::from(door::run(py, Size::Medium, &CancelToken::new(), average)?);
        Ok(Self { inner, schema: self.schema.clone(), seen: self.seen.clone(), signal: None })
    }

    /// The members of an ensemble.
    fn members(&self) -> Vec<Self> {
        let members = self.inner.members().into_iter();
        members
            .map(|inner| Self { inner: Arc::from(inner), schema: self.schema.clone(), seen: None, signal: None })
            .collect()
    }

    /// The model over the columns that it was fitted on.
    fn model(&self, py: Python<'_>) -> PyResult<Model> {
        let cancel = CancelToken::new();
        let model = door::run(py, Size::Medium, &cancel, || self.inner.model(self.schema.clone()))?;
        Ok(Model::new(py, model)?.keep(self.seen.clone()))
    }
}
