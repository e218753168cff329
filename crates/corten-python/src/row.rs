//! One row given as a dict, or a few as an array: no thread, no release of the interpreter lock.

use std::sync::{Mutex, PoisonError};

use corten_core::{Error, Kind};
use corten_model::{Labels, Method, Model, Output, Session, Slot};
use numpy::npyffi::NPY_TYPES;
use numpy::{Element, PyArray1, PyArray2, PyArrayDescrMethods, PyArrayMethods, PyUntypedArray, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyString};

use crate::errors;

/// What is looked up once per model: interned names, the objects of its classes, sessions that are free.
pub(crate) struct Rows {
    /// Name and kind of each column, and whether it is one of singles.
    inputs: Vec<(Py<PyString>, Kind, bool)>,
    classes: Vec<Py<PyAny>>,
    keys: Vec<(Method, Vec<Py<PyAny>>)>,
    /// Columns of the answers that are numbers from rows of numbers, and whether they stand for labels.
    answers: Vec<(Method, usize, bool)>,
    /// The session of calls that don't overlap, and those of others.
    session: Mutex<Option<Session>>,
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
        let inputs = inputs.map(|i| (PyString::intern(py, &i.name).unbind(), i.kind, i.is_single())).collect();
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
        let plain = model.schema().inputs.iter().all(|i| i.kind == Kind::Number);
        let numbers = |o: &&Output| plain && o.columns.iter().all(|s| matches!(s, Slot::Number(_)));
        let labelled = |o: &Output| o.method == Method::Predict && o.labels.is_some();
        let answers = model.graph().outputs().iter().filter(numbers);
        let answers = answers.map(|o| (o.method, o.columns.len(), labelled(o))).collect();
        Ok(Self { inputs, classes, keys, answers, session: Mutex::default(), sessions: Mutex::default() })
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
        if let Ok(mut session) = self.session.try_lock() {
            return f(session.get_or_insert_with(|| model.session()));
        }
        let free = self.sessions.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut session = free.unwrap_or_else(|| model.session());
        let result = f(&mut session);
        let mut free = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < KEPT {
            free.push(session);
        }
        result
    }

    /// A few rows of an array of floats, as the method of that name answers them: one dimension where an answer has one
    /// column, except for probabilities. `None` for everything else, labels included.
    pub(crate) fn answer<'py>(
        &self,
        py: Python<'py>,
        model: &Model,
        method: Method,
        x: &Bound<'py, PyAny>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self.answers.iter().find(|a| a.0 == method) {
            Some(&(_, width, false)) => self.few_of(py, model, method, x, width, method != Method::PredictProba),
            _ => Ok(None),
        }
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
        match self.answers.iter().find(|a| a.0 == method) {
            Some(&(_, width, _)) => self.few_of(py, model, method, x, width, flat),
            None => Ok(None),
        }
    }

    fn few_of<'py>(
        &self,
        py: Python<'py>,
        model: &Model,
        method: Method,
        x: &Bound<'py, PyAny>,
        width: usize,
        flat: bool,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let Ok(x) = x.cast_exact::<PyUntypedArray>() else { return Ok(None) };
        let &[rows, columns] = x.shape() else { return Ok(None) };
        if rows == 0 || rows > FEW || columns == 0 || columns != self.inputs.len() || !x.is_c_contiguous() {
            return Ok(None);
        }
        let dtype = x.dtype();
        if dtype.is_native_byteorder() != Some(true) {
            return Ok(None);
        }
        if dtype.num() == NPY_TYPES::NPY_DOUBLE as i32 {
            self.rows_of::<f64>(py, model, method, x, [rows, width], flat)
        } else if dtype.num() == NPY_TYPES::NPY_FLOAT as i32 {
            self.rows_of::<f32>(py, model, method, x, [rows, width], flat)
        } else {
            Ok(None)
        }
    }

    /// Rows of an array whose numbers are `T`.
    fn rows_of<'py, T: Element + Copy + Into<f64>>(
        &self,
        py: Python<'py>,
        model: &Model,
        method: Method,
        x: &Bound<'py, PyUntypedArray>,
        [rows, width]: [usize; 2],
        flat: bool,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        #[expect(unsafe_code, reason = "counting borrows of arrays takes longer than a small model")]
        // SAFETY: the caller found an array of `T` in two dimensions; `as_slice` finds that it lies in one piece, and here
        // is found that it is aligned. Who calls from Python keeps other threads from writing into an array that is scored.
        let values = unsafe {
            let x = x.cast_unchecked::<PyArray2<T>>();
            if !x.data().is_aligned() {
                return Ok(None);
            }
            x.as_slice()
        };
        let Ok(values) = values else { return Ok(None) };
        #[expect(unsafe_code, reason = "a new array as a slice, without zeros that would be written over")]
        // SAFETY: new arrays are C-ordered and nobody else has this one; every number is written below before it is read,
        // or the array is dropped.
        let (out, answers) = unsafe {
            let (out, data) = if flat && width == 1 {
                let out = PyArray1::<f64>::new(py, [rows], false);
                let data = out.data();
                (out.into_any(), data)
            } else {
                let out = PyArray2::<f64>::new(py, [rows, width], false);
                let data = out.data();
                (out.into_any(), data)
            };
            (out, std::slice::from_raw_parts_mut(data, rows * width))
        };
        self.borrow(model, |session| {
            for (row, answer) in values.chunks_exact((values.len() / rows).max(1)).zip(answers.chunks_exact_mut(width))
            {
                session.numbers_mut().iter_mut().zip(row).for_each(|(to, &from)| *to = from.into());
                let got = model.run_row(method, session, &[]).map_err(|e| errors::to_py(py, e))?;
                answer.copy_from_slice(got);
            }
            Ok(Some(out))
        })
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
        for (key, kind, single) in &self.inputs {
            let value = match row.get_item(key.bind(py))? {
                Some(value) => value,
                None => return Err(self.missing(py, key, row)),
            };
            match kind {
                Kind::Number => {
                    let x = match value.cast_exact::<PyFloat>() {
                        Ok(x) => x.value(),
                        Err(_) => number(&value, key.bind(py))?,
                    };
                    // As in a row of JSON.
                    numbers[at] = if *single { f64::from(x as f32) } else { x };
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
        let present: Vec<String> = row.keys().iter().map(|k| k.to_string()).collect();
        errors::to_py(py, Error::missing_column(key.bind(py), present.iter().map(String::as_str)))
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
