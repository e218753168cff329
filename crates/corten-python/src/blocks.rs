//! Fits on files that are read block by block.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use corten_core::{CancelToken, Column, Data, Error, Numbers, Result, Table, Values};
use corten_data::{Format, table_of};
use corten_model::estimator::{BlockInput, Blocks};
use corten_model::{Gather, Labels, Schema};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::door::{self, Size};
use crate::estimator::{self, Fitted, Raised};
use crate::{arrays, arrow, errors, json, outside};

/// Most classes of a target.
const MOST_CLASSES: usize = 65_535;

/// Files of the same columns.
#[pyclass(frozen, module = "corten._core")]
pub(crate) struct Files {
    inner: Arc<corten_data::Files>,
}

#[pymethods]
impl Files {
    #[new]
    #[pyo3(signature = (paths, format = None))]
    fn new(py: Python<'_>, paths: Vec<String>, format: Option<&str>) -> PyResult<Self> {
        let format = format.map(Format::parse).transpose().map_err(|e| errors::to_py(py, e))?;
        let open = || corten_data::Files::open(paths, format);
        let inner = door::run(py, Size::Medium, &CancelToken::new(), open)?;
        Ok(Self { inner: Arc::new(inner) })
    }

    /// The names of the columns.
    #[getter]
    fn names(&self) -> Vec<String> {
        self.inner.schema().fields().iter().map(|f| f.name().clone()).collect()
    }

    /// Reads the column of targets, and that of weights: classes as codes, or numbers.
    #[pyo3(signature = (name, classes, weights = None))]
    fn target(&self, py: Python<'_>, name: &str, classes: bool, weights: Option<&str>) -> PyResult<Targets> {
        let cancel = CancelToken::new();
        let read = || read_targets(&self.inner, name, classes, weights, &cancel);
        let (y, labels, weights) = door::run(py, Size::Long, &cancel, read)?;
        Ok(Targets { y: Mutex::new(Some(y)), labels, weights: Mutex::new(weights) })
    }

    /// Reads columns of numbers, each finite: an array of the rows.
    fn numbers<'py>(&self, py: Python<'py>, names: Vec<String>) -> PyResult<Bound<'py, PyAny>> {
        let cancel = CancelToken::new();
        let rows = door::run(py, Size::Long, &cancel, || read_numbers(&self.inner, &names, &cancel))?;
        arrays::floats(py, &[rows.len() / names.len().max(1), names.len()], &rows)
    }

    /// How many rows with the same value follow each other in a column, from the first row to the last.
    fn runs(&self, py: Python<'_>, name: &str) -> PyResult<Vec<u32>> {
        let cancel = CancelToken::new();
        door::run(py, Size::Long, &cancel, || read_runs(&self.inner, name, &cancel))
    }
}

/// The targets of files, and what rows weigh.
#[pyclass(frozen, module = "corten._core")]
pub(crate) struct Targets {
    y: Mutex<Option<Numbers>>,
    labels: Option<Labels>,
    weights: Mutex<Option<Vec<f64>>>,
}

impl Targets {
    fn with<T>(&self, work: impl FnOnce(&Numbers, Option<&[f64]>) -> T) -> Option<T> {
        let weights = self.weights.lock().unwrap_or_else(PoisonError::into_inner);
        let y = self.y.lock().unwrap_or_else(PoisonError::into_inner);
        y.as_ref().map(|y| work(y, weights.as_deref()))
    }
}

#[pymethods]
impl Targets {
    /// Number of rows.
    #[getter]
    fn rows(&self) -> usize {
        self.with(|y, _| y.len()).unwrap_or(0)
    }

    /// The classes in ascending order.
    #[getter]
    fn classes<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyList>>> {
        Ok(match &self.labels {
            None => None,
            Some(Labels::Int(v)) => Some(PyList::new(py, v)?),
            Some(Labels::Float(v)) => Some(PyList::new(py, v)?),
            Some(Labels::Bool(v)) => Some(PyList::new(py, v)?),
            Some(Labels::Text(v)) => Some(PyList::new(py, v)?),
        })
    }

    /// The weight of each class: its rows, or the sum of theirs.
    #[getter]
    fn counts(&self) -> Vec<f64> {
        let mut counts = vec![0.0; self.labels.as_ref().map_or(0, Labels::len)];
        self.with(|y, weights| {
            for row in 0..y.len() {
                counts[y.get(row) as usize] += weights.map_or(1.0, |w| w[row]);
            }
        });
        counts
    }
}

/// Codes of values in the order in which they come.
struct Codes<K> {
    codes: HashMap<K, u32>,
}

impl<K: Hash + Eq> Codes<K> {
    fn of(&mut self, key: K) -> u32 {
        let next = self.codes.len() as u32;
        *self.codes.entry(key).or_insert(next)
    }
}

fn read_targets(
    files: &corten_data::Files,
    name: &str,
    classes: bool,
    weights: Option<&str>,
    cancel: &CancelToken,
) -> Result<(Numbers, Option<Labels>, Option<Vec<f64>>)> {
    let columns: Vec<&str> = [name].into_iter().chain(weights).collect();
    let mut y = Numbers::default();
    let mut of_rows: Option<Vec<f64>> = weights.map(|_| Vec::new());
    let (mut texts, mut numbers) = (Codes { codes: HashMap::new() }, Codes { codes: HashMap::new() });
    let mut kind = String::new();
    let mut room = Vec::new();
    files.read(&columns, &mut |table| {
        cancel.check()?;
        let column = &table.columns()[0];
        if kind.is_empty() {
            column.type_name().clone_into(&mut kind);
        }
        room.resize(table.rows(), 0.0);
        match &column.values {
            Values::Text(text) if classes => {
                let code = |bytes: Option<&[u8]>, row: usize, texts: &mut Codes<Vec<u8>>| {
                    let bytes = bytes.ok_or_else(|| missing(name, y.len() + row))?;
                    Ok(f64::from(texts.codes.get(bytes).copied().unwrap_or_else(|| texts.of(bytes.to_vec()))))
                };
                for (row, out) in room.iter_mut().enumerate() {
                    *out = code(text.get(row), row, &mut texts)?;
                }
            }
            _ => {
                column.read_f64(0, &mut room)?;
                if let Some(row) = room.iter().position(|x| !x.is_finite()) {
                    return Err(missing(name, y.len() + row));
                }
                if classes {
                    // Adding 0 makes -0 and 0 one class.
                    room.iter_mut().for_each(|x| *x = f64::from(numbers.of((*x + 0.0).to_bits())));
                }
            }
        }
        let found = texts.codes.len().max(numbers.codes.len());
        if found > MOST_CLASSES {
            return Err(Error::Limit(format!("Column '{name}': more than {MOST_CLASSES} classes; is it a number?")));
        }
        y.extend(&room);
        if let Some(of_rows) = &mut of_rows {
            of_rows.extend_from_slice(&table.columns()[1].to_f64()?);
        }
        Ok(())
    })?;
    if !classes {
        return Ok((y, None, of_rows));
    }
    let (order, labels) = if texts.codes.is_empty() {
        let mut found: Vec<(f64, u32)> = numbers.codes.iter().map(|(&b, &c)| (f64::from_bits(b), c)).collect();
        found.sort_by(|a, b| a.0.total_cmp(&b.0));
        if found.iter().any(|f| f.0 != f.0.floor()) {
            return Err(Error::value(
                "Unknown label type: continuous. Maybe you are trying to fit a classifier, which expects discrete \
                 classes on a regression target with continuous values.",
            ));
        }
        let values = found.iter().map(|f| f.0);
        let labels = match kind.as_str() {
            "bool" => Labels::Bool(values.map(|v| v != 0.0).collect()),
            "f64" | "f32" => Labels::Float(values.collect()),
            _ => Labels::Int(values.map(|v| v as i64).collect()),
        };
        (found.into_iter().map(|f| f.1).collect::<Vec<_>>(), labels)
    } else {
        let mut found: Vec<(&Vec<u8>, u32)> = texts.codes.iter().map(|(b, &c)| (b, c)).collect();
        found.sort_unstable();
        let utf8 = |(b, _): &(&Vec<u8>, u32)| {
            String::from_utf8((*b).clone()).map_err(|_| Error::column(name, "holds text that is no UTF-8"))
        };
        let labels = Labels::Text(found.iter().map(utf8).collect::<Result<_>>()?);
        (found.into_iter().map(|f| f.1).collect(), labels)
    };
    Ok((renumbered(y, &order), Some(labels), of_rows))
}

/// Row after row.
fn read_numbers(files: &corten_data::Files, names: &[String], cancel: &CancelToken) -> Result<Vec<f64>> {
    let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
    let (mut out, mut room) = (Vec::new(), Vec::new());
    files.read(&wanted, &mut |table| {
        cancel.check()?;
        let (first, width) = (out.len(), wanted.len());
        out.resize(first + table.rows() * width, 0.0);
        room.resize(table.rows(), 0.0);
        for (k, column) in table.columns().iter().enumerate() {
            column.read_f64(0, &mut room)?;
            if let Some(row) = room.iter().position(|x| !x.is_finite()) {
                let row = first / width + row + 1;
                return Err(Error::column(wanted[k], format!("has no finite value in row {row}")));
            }
            for (to, &x) in out[first + k..].iter_mut().step_by(width).zip(&room) {
                *to = x;
            }
        }
        Ok(())
    })?;
    Ok(out)
}

fn read_runs(files: &corten_data::Files, name: &str, cancel: &CancelToken) -> Result<Vec<u32>> {
    /// What a row has: the bits of a number, or text.
    #[derive(PartialEq)]
    enum Key {
        Number(u64),
        Text(Option<Vec<u8>>),
    }
    let (mut runs, mut last): (Vec<u32>, Option<Key>) = (Vec::new(), None);
    let mut room = Vec::new();
    files.read(&[name], &mut |table| {
        cancel.check()?;
        let column = &table.columns()[0];
        let mut step = |key: Key| {
            if last.as_ref() == Some(&key) {
                *runs.last_mut().unwrap_or(&mut 0) += 1;
            } else {
                runs.push(1);
                last = Some(key);
            }
        };
        if let Values::Text(text) = &column.values {
            (0..table.rows()).for_each(|row| step(Key::Text(text.get(row).map(<[u8]>::to_vec))));
            return Ok(());
        }
        room.resize(table.rows(), 0.0);
        column.read_f64(0, &mut room)?;
        room.iter().for_each(|x: &f64| step(Key::Number((x + 0.0).to_bits())));
        Ok(())
    })?;
    Ok(runs)
}

/// Codes in the order of the classes; `order` holds the old code of each.
fn renumbered(mut y: Numbers, order: &[u32]) -> Numbers {
    let mut new = vec![0u32; order.len()];
    for (to, &from) in order.iter().enumerate() {
        new[from as usize] = to as u32;
    }
    match &mut y {
        Numbers::Zeros(_) => {}
        Numbers::U8(v) => v.iter_mut().for_each(|x| *x = new[usize::from(*x)] as u8),
        Numbers::F32(v) => v.iter_mut().for_each(|x| *x = new[*x as usize] as f32),
        Numbers::F64(v) => v.iter_mut().for_each(|x| *x = f64::from(new[*x as usize])),
    }
    y
}

fn missing(name: &str, row: usize) -> Error {
    Error::column(name, format!("has no finite value in row {}; a target must have one in every row", row + 1))
}

/// The features of files.
struct Features {
    files: Arc<corten_data::Files>,
    names: Vec<String>,
    head: Table<'static>,
}

impl Features {
    fn new(files: Arc<corten_data::Files>, names: Vec<String>) -> Result<(Self, Schema)> {
        let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
        let batch = files.head(&wanted)?;
        let table = table_of(&batch)?;
        let head = Table::named(table.columns().iter().map(empty).collect())?;
        let schema = Schema::of(&Data::Table(table))?;
        Ok((Self { files, names, head }, schema))
    }
}

/// A column without rows that owns its memory.
fn empty(column: &Column<'_>) -> Column<'static> {
    column.take(&[])
}

impl Blocks for Features {
    fn head(&self) -> &Table<'static> {
        &self.head
    }

    fn read(&self, columns: &[usize], each: &mut dyn FnMut(&Table<'_>) -> Result<()>) -> Result<()> {
        let names: Vec<&str> = columns.iter().map(|&c| self.names[c].as_str()).collect();
        self.files.read(&names, each)
    }
}

/// Fits the estimator of a name on some columns of files.
#[pyfunction]
#[pyo3(signature = (name, params, files, features, targets, *, memory, share = 1.0, class_weight = None, previous = None,
                    threads = None, progress = None, keep = false, init_score = None, group = None, objective = None,
                    score = None, anew = false))]
pub(crate) fn fit_files(
    py: Python<'_>,
    name: &str,
    params: &Bound<'_, PyDict>,
    files: &Bound<'_, Files>,
    features: Vec<String>,
    targets: &Bound<'_, Targets>,
    memory: usize,
    share: f64,
    class_weight: Option<Vec<f64>>,
    previous: Option<&Bound<'_, Fitted>>,
    threads: Option<i64>,
    progress: Option<Py<PyAny>>,
    keep: bool,
    init_score: Option<&Bound<'_, PyAny>>,
    group: Option<&Bound<'_, PyAny>>,
    objective: Option<Py<PyAny>>,
    score: Option<Py<PyAny>>,
    anew: bool,
) -> PyResult<Fitted> {
    let entry = estimator::entry(py, name)?;
    let params = json::of_py(params)?;
    let targets = targets.get();
    let take = || errors::to_py(py, Error::Internal("targets that were used already".into()));
    let y = targets.y.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or_else(take)?;
    let mut weights = targets.weights.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(own) = class_weight {
        let all = weights.get_or_insert_with(|| vec![1.0; y.len()]);
        for (row, w) in all.iter_mut().enumerate() {
            *w *= own.get(y.get(row) as usize).copied().unwrap_or(1.0);
        }
    }
    let labels = targets.labels.clone();
    let previous = previous.map(|p| p.get().shared());
    let (cancel, raised) = (CancelToken::new(), Raised::default());
    let context = estimator::context(threads, progress, keep, &cancel, &raised);
    let mut extras = outside::extras(init_score, group, objective, score, &raised)?;
    extras.anew = anew;
    let files = Arc::clone(&files.get().inner);
    let fit = || {
        let (features, schema) = Features::new(files, features)?;
        let gather = Gather::new(&features, y.len());
        let input = BlockInput {
            x: &gather,
            y,
            labels,
            sample_weight: weights,
            memory: (memory, share),
            previous: previous.as_deref(),
            extras: &extras,
            context: &context,
        };
        let fitted = Arc::from((entry.fit_blocks)(&params, input)?);
        Ok((fitted, schema, gather.table().map(Arc::new)))
    };
    let (outcome, signal, ()) = door::run_kept(py, &cancel, fit, || ());
    estimator::finish(py, outcome, signal, &raised, keep)
}

/// Writes what a stream of Arrow's gives into a file that can be read again, and returns the number of rows.
#[pyfunction]
pub(crate) fn spool(py: Python<'_>, stream: &Bound<'_, PyAny>, path: &str) -> PyResult<u64> {
    let reader = arrow::stream(stream)?;
    let cancel = CancelToken::new();
    door::run(py, Size::Long, &cancel, || corten_data::spool(reader, path, &|| cancel.check()))
}
