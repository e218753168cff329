//! One row given as a dict, or a few as an array: no thread, no release of the interpreter lock.

use std::sync::{Mutex, PoisonError};

use corten_core::{Error, Kind};
use corten_model::{Labels, Method, Model, Session, Slot};
use numpy::{Element, PyArray2, PyArrayDyn, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyString};

use crate::errors;

/// What is looked up once per model: interned names, the objects of its classes, sessions that are free.
pub(crate) struct Rows {
    inputs: Vec<(Py<PyString>, Kind)>,
    classes: Vec<Py<PyAny>>,
    keys: Vec<(Method, Vec<Py<PyAny>>)>,
    sessions: Mutex<Vec<Session>>,
}

/// Sessions that are kept for later calls.
const KEPT: usize = 64;
/// Most rows of an array that are run one by one.
const FEW: usize = 4;

fn class_objects(py: Python<'_>, labels: &Labels) -> PyResult<Vec<Py<PyAny>>> {
    (0..labels.len())
        .map(|i| {
            Ok(match labels {
                Labels::Int(v) => v[i].into_pyobject(py)?.into_any().unbind(),
                Labels::Float(v) => v[i].into_pyobject(py)?.into_any().unbind(),
                Labels::Bool(v) => PyBool::new(py, v[i]).to_owned().into_any().unbind(),
                Labels::Text(v) => PyString::new(py, &v[i]).into_any().unbind(),
            })
        })
        .collect()
}

impl Rows {
    pub(crate) fn new(py: Python<'_>, model: &Model) -> PyResult<Self> {
        let inputs = model.schema().inputs.iter();
        let inputs = inputs.map(|i| (PyString::intern(py, &i.name).unbind(), i.kind)).collect();
        let classes = match model.output(Method::Predict).and_then(|o| o.labels.as_ref()) {
            Some(labels) => class_objects(py, labels)?,
            None => Vec::new(),
        };
        let mut keys = Vec::new();
        for output in model.graph().outputs() {
            let objects = match (&output.labels, output.method) {
                (Some(labels), Method::PredictProba | Method::PredictSet) => class_objects(py, labels)?,
                _ => output.names.iter().map(|n| PyString::intern(py, n).into_any().unbind()).collect(),
            };
            keys.push((output.method, objects));
        }
        Ok(Self { inputs, classes, keys, sessions: Mutex::default() })
    }

    /// Reads the row, runs it, and gives the answer's numbers to `f`.
    fn with<'py, T>(
        &self,
        py: Python<'py>,
        model: &Model,
        row: &Bound<'py, PyDict>,
        method: Method,
        f: impl FnOnce(&[f64], &[Option<String>]) -> PyResult<T>,
    ) -> PyResult<T> {
        self.borrow(model, |session| self.run(py, model, row, method, session, f))
    }

    /// Lends a session that is free.
    fn borrow<T>(&self, model: &Model, f: impl FnOnce(&mut Session) -> T) -> T {
        let free = self.sessions.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut session = free.unwrap_or_else(|| model.session());
        let result = f(&mut session);
        let mut free = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < KEPT {
            free.push(session);
        }
        result
    }

    /// A few rows of an array of floats, one by one. `None` for everything else: the way of tables takes it, and says
    /// what is wrong with it.
    pub(crate) fn few<'py>(
        &self,
        py: Python<'py>,
        model: &Model,
        method: Method,
        x: &Bound<'py, PyAny>,
        flat: bool,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        if let Ok(x) = x.cast_exact::<PyArray2<f64>>() {
            return self.few_of(py, model, method, x, flat);
        }
        match x.cast_exact::<PyArray2<f32>>() {
            Ok(x) => self.few_of(py, model, method, x, flat),
            Err(_) => Ok(None),
        }
    }

    fn few_of<'py, T: Element + Copy + Into<f64>>(
        &self,
        py: Python<'py>,
        model: &Model,
        method: Method,
        x: &Bound<'py, PyArray2<T>>,
        flat: bool,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let &[rows, columns] = x.shape() else { return Ok(None) };
        let Some(output) = model.output(method) else { return Ok(None) };
        let numbers = |slots: &[Slot]| slots.iter().all(|s| matches!(s, Slot::Number(_)));
        let plain = self.inputs.iter().all(|i| i.1 == Kind::Number) && numbers(&output.columns);
        if rows == 0 || rows > FEW || columns != self.inputs.len() || !plain || !x.is_c_contiguous() {
            return Ok(None);
        }
        let shape: &[usize] = if flat && output.columns.len() == 1 { &[rows] } else { &[rows, output.columns.len()] };
        let out = PyArrayDyn::<f64>::zeros(py, shape, false);
        #[expect(unsafe_code, reason = "counting borrows of arrays takes longer than a small model")]
        // SAFETY: both are C-ordered and aligned (exact arrays of native floats that numpy says are contiguous); `out`
        // is new, and the caller keeps other threads from writing into an array that is being scored.
        let (Ok(values), Ok(answers)) = (unsafe { x.as_slice() }, unsafe { out.as_slice_mut() }) else {
            return Ok(None);
        };
        let done = self.borrow(model, |session| {
            for (row, answer) in values.chunks_exact(columns.max(1)).zip(answers.chunks_exact_mut(output.columns.len()))
            {
                session.numbers_mut().iter_mut().zip(row).for_each(|(to, &from)| *to = from.into());
                let got = model.run_row(method, session, &[]).map_err(|e| errors::to_py(py, e))?;
                answer.copy_from_slice(got);
            }
            Ok(())
        });
        done.map(|()| Some(out.into_any()))
    }

    fn run<'py, T>(
        &self,
        py: Python<'py>,
        model: &Model,
        row: &Bound<'py, PyDict>,
        method: Method,
        session: &mut Session,
        f: impl FnOnce(&[f64], &[Option<String>]) -> PyResult<T>,
    ) -> PyResult<T> {
        let mut strings: Vec<Option<Bound<'py, PyString>>> = Vec::new();
        let numbers = session.numbers_mut();
        let mut at = 0;
        for (key, kind) in &self.inputs {
            let value = match row.get_item(key.bind(py))? {
                Some(value) => value,
                None => return Err(self.missing(py, key, row)),
            };
            match kind {
                Kind::Number => {
                    numbers[at] = match value.cast_exact::<PyFloat>() {
                        Ok(x) => x.value(),
                        Err(_) => number(&value, key.bind(py))?,
                    };
                    at += 1;
                }
                Kind::Text => strings.push(text(value, key.bind(py))?),
            }
        }
        let texts = strings
            .iter()
            .map(|s| s.as_ref().map(|s| s.to_str().map(str::as_bytes)).transpose())
            .collect::<PyResult<Vec<Option<&[u8]>>>>()?;
        let mut answers = Vec::new();
        let out = model
            .run_row_with(method, session, &texts, |t| {
                answers.push(t.map(|bytes| String::from_utf8_lossy(bytes).into_owned()));
            })
            .map_err(|e| errors::to_py(py, e))?;
        f(out, &answers)
    }

    fn missing(&self, py: Python<'_>, key: &Py<PyString>, row: &Bound<'_, PyDict>) -> PyErr {
        let present: Vec<String> = row.keys().iter().take(20).map(|k| k.to_string()).collect();
        let column = key.bind(py).to_string();
        errors::to_py(py, Error::MissingColumn { column, present: present.join(", ") })
    }

    /// The predicted label or number; a list where there are several outputs.
    pub(crate) fn predict<'py>(
        &self,
        py: Python<'py>,
        model: &Model,
        row: &Bound<'py, PyDict>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.with(py, model, row, Method::Predict, |out, _| match (out, self.classes.is_empty()) {
            (&[x], true) => Ok(PyFloat::new(py, x).into_any()),
            (&[index], false) => match self.classes.get(index as usize) {
                Some(class) => Ok(class.bind(py).clone()),
                None => Err(errors::to_py(py, Error::Internal(format!("class {index} is not there")))),
            },
            (many, _) => Ok(many.into_pyobject(py)?.into_any()),
        })
    }

    /// Name, or class, to value.
    pub(crate) fn named<'py>(
        &self,
        py: Python<'py>,
        model: &Model,
        row: &Bound<'py, PyDict>,
        method: Method,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.with(py, model, row, method, |out, texts| {
            let dict = PyDict::new(py);
            let keys = self.keys.iter().find(|k| k.0 == method).map_or(&[][..], |k| &k.1);
            if texts.is_empty() {
                for (key, &x) in keys.iter().zip(out) {
                    dict.set_item(key, x)?;
                }
                return Ok(dict.into_any());
            }
            let slots = model.output(method).map_or(&[][..], |o| &o.columns);
            let (mut numbers, mut texts) = (out.iter(), texts.iter());
            for (key, slot) in keys.iter().zip(slots) {
                match slot {
                    Slot::Number(_) => dict.set_item(key, numbers.next())?,
                    Slot::Text(_) => dict.set_item(key, texts.next().cloned().flatten())?,
                }
            }
            Ok(dict.into_any())
        })
    }
}

/// A number that is no plain float: an integer, a boolean, NumPy's scalars, or missing.
#[cold]
fn refused(column: &Bound<'_, PyString>, value: &Bound<'_, PyAny>, wanted: &str) -> PyErr {
    let given = value.repr().map_or_else(|_| String::from("?"), |r| r.to_string());
    errors::to_py(value.py(), Error::column(column.to_string(), format!("{wanted} is needed, but {given} came")))
}

fn number(value: &Bound<'_, PyAny>, column: &Bound<'_, PyString>) -> PyResult<f64> {
    if value.is_none() {
        return Ok(f64::NAN);
    }
    if value.is_instance_of::<PyString>() {
        return Err(refused(column, value, "a number"));
    }
    value.extract::<f64>().map_err(|_| refused(column, value, "a number"))
}

fn text<'py>(value: Bound<'py, PyAny>, column: &Bound<'py, PyString>) -> PyResult<Option<Bound<'py, PyString>>> {
    match value.cast_into::<PyString>() {
        Ok(text) => Ok(Some(text)),
        Err(error) => {
            let value = error.into_inner();
            if value.is_none() || value.extract::<f64>().is_ok_and(f64::is_nan) {
                return Ok(None);
            }
            Err(refused(column, &value, "text"))
        }
    }
}
