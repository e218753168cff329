//! A model in Python: whole tables, files, composition.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use corten_core::{CancelToken, Table};
use corten_data::OutputKind;
use corten_kernels::parallel;
use corten_model::compose::{self, Member, Part, Rule};
use corten_model::conformal::Conformal;
use corten_model::ops::{PredictionSet, SetScore};
use corten_model::{Batch, Labels, Method, Output, Run, Schema, Slot, answers, sketch};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList};
use serde::Deserialize;

use crate::arrow::Frame;
use crate::door::{self, Size};
use crate::estimator::labels_of;
use crate::inputs::Input;
use crate::row::Rows;
use crate::{arrays, errors, json};

/// Rows from which a call may be stopped with Ctrl-C, and up to which the interpreter lock is kept.
const LONG_ROWS: usize = 20_000;
const SHORT_ROWS: usize = 4;

fn size_of(rows: usize) -> Size {
    match rows {
        0..=SHORT_ROWS => Size::Short,
        n if n < LONG_ROWS => Size::Medium,
        _ => Size::Long,
    }
}

fn parse(py: Python<'_>, methods: &[String]) -> PyResult<Vec<Method>> {
    methods.iter().map(|m| Method::parse(m).map_err(|e| errors::to_py(py, e))).collect()
}

/// A validated model.
#[pyclass(frozen, module = "corten._core")]
pub(crate) struct Model {
    /// Replaced where it changes while others still score with what it was.
    inner: RwLock<Arc<corten_model::Model>>,
    /// Rows of what it was fitted on, until the model is described by them.
    seen: Mutex<Option<Arc<Table<'static>>>>,
    pub(crate) rows: Rows,
}

fn labels<'py>(py: Python<'py>, labels: &Labels) -> PyResult<Bound<'py, PyList>> {
    match labels {
        Labels::Int(v) => PyList::new(py, v),
        Labels::Float(v) => PyList::new(py, v),
        Labels::Bool(v) => PyList::new(py, v),
        Labels::Text(v) => PyList::new(py, v),
    }
}

impl Model {
    pub(crate) fn new(py: Python<'_>, inner: corten_model::Model) -> PyResult<Self> {
        let rows = Rows::new(py, &inner)?;
        Ok(Self { inner: RwLock::new(Arc::new(inner)), seen: Mutex::default(), rows })
    }

    /// Keeps rows of what the model was fitted on.
    pub(crate) fn keep(self, seen: Option<Arc<Table<'static>>>) -> Self {
        Self { seen: Mutex::new(seen), ..self }
    }

    fn seen(&self) -> Option<Arc<Table<'static>>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The model as it is now. The lock is not kept: what is done with it may call Python, and others wait for them both.
    pub(crate) fn read(&self) -> Arc<corten_model::Model> {
        Arc::clone(&self.inner.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the model, without the interpreter's lock.
    fn change<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut corten_model::Model) -> corten_core::Result<T> + Send,
    ) -> PyResult<T> {
        door::run(py, Size::Medium, &CancelToken::new(), || {
            work(Arc::make_mut(&mut self.inner.write().unwrap_or_else(PoisonError::into_inner)))
        })
    }
}

/// The answer to a table: an array, or names and columns where there is text among them.
fn answer<'py>(py: Python<'py>, output: &Output, batch: &Batch) -> PyResult<Bound<'py, PyAny>> {
    if batch.texts.is_empty() {
        return arrays::floats(py, &[batch.rows, batch.width], &batch.numbers);
    }
    let columns = PyList::empty(py);
    let (mut number, mut text) = (0, 0);
    for slot in &output.columns {
        match slot {
            Slot::Number(_) => {
                let values: Vec<f64> = batch.numbers.iter().skip(number).step_by(batch.width).copied().collect();
                columns.append(arrays::floats(py, &[batch.rows], &values)?)?;
                number += 1;
            }
            Slot::Text(_) => {
                columns.append(PyList::new(py, &batch.texts[text])?)?;
                text += 1;
            }
        }
    }
    Ok((&output.names, columns).into_pyobject(py)?.into_any())
}

#[pymethods]
impl Model {
    /// Runs a method on a table.
    #[pyo3(signature = (method, x, threads = None))]
    fn run<'py>(
        &self,
        py: Python<'py>,
        method: &str,
        x: &Bound<'py, PyAny>,
        threads: Option<i64>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let method = Method::parse(method).map_err(|e| errors::to_py(py, e))?;
        let input = Input::new(x)?;
        let batch = door::run_here(py, size_of(input.rows()), |cancel| {
            let options = Run { threads: parallel::threads(threads), cancel: cancel.clone() };
            self.read().run(method, &input.data()?, &options)
        })?;
        let model = self.read();
        match model.output(method) {
            Some(output) => answer(py, output, &batch),
            None => Ok(py.None().into_bound(py)),
        }
    }

    /// Answers of several methods to a table, as a frame with the columns of [`Self::columns`].
    #[pyo3(signature = (methods, x, threads = None))]
    fn answer(
        &self,
        py: Python<'_>,
        methods: Vec<String>,
        x: &Bound<'_, PyAny>,
        threads: Option<i64>,
    ) -> PyResult<Frame> {
        let methods = parse(py, &methods)?;
        let input = Input::new(x)?;
        let inner = door::run_here(py, size_of(input.rows()), |cancel| {
            let options = Run { threads: parallel::threads(threads), cancel: cancel.clone() };
            let model = self.read();
            let batches = model.run_all(&methods, &input.data()?, &options)?;
            let outputs: Vec<_> = methods.iter().filter_map(|m| model.output(*m)).collect();
            let columns: Vec<_> = outputs.iter().flat_map(|o| answers::columns(o)).collect();
            let values: Vec<_> = outputs.iter().zip(batches).flat_map(|(o, b)| answers::values(o, b)).collect();
            corten_data::Frame::from_columns(&columns, &values)
        })?;
        Ok(Frame { inner })
    }

    /// Name and type of each column that the methods answer with: "float", "int", "bool" or "text".
    fn columns(&self, py: Python<'_>, methods: Vec<String>) -> PyResult<Vec<(String, &'static str)>> {
        let model = self.read();
        let mut columns = Vec::new();
        for method in parse(py, &methods)? {
            columns.extend(answers::columns(model.steps(method).map_err(|e| errors::to_py(py, e))?.0));
        }
        let kind = |kind| match kind {
            OutputKind::Float => "float",
            OutputKind::Int => "int",
            OutputKind::Bool => "bool",
            OutputKind::Text => "text",
        };
        Ok(columns.into_iter().map(|(name, of)| (name, kind(of))).collect())
    }

    /// Runs a method on a few rows of an array of floats; `None` where `run` has to be asked. An answer of one column has
    /// one dimension where `flat`.
    #[pyo3(signature = (method, x, flat = false))]
    fn few<'py>(
        &self,
        py: Python<'py>,
        method: &str,
        x: &Bound<'py, PyAny>,
        flat: bool,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let method = Method::parse(method).map_err(|e| errors::to_py(py, e))?;
        self.rows.few(py, &self.read(), method, x, flat)
    }

    /// Shapley values of a table: a dict of arrays and names.
    #[pyo3(signature = (x, interactions = false, threads = None))]
    fn explain<'py>(
        &self,
        py: Python<'py>,
        x: &Bound<'py, PyAny>,
        interactions: bool,
        threads: Option<i64>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let input = Input::new(x)?;
        let cancel = CancelToken::new();
        let options = Run { threads: parallel::threads(threads), cancel: cancel.clone() };
        let found = door::run(py, Size::Long, &cancel, || self.read().explain(&input.data()?, interactions, &options))?;
        let (rows, features, outputs) = (found.rows, found.features, found.outputs);
        let dict = PyDict::new(py);
        dict.set_item("values", arrays::floats(py, &[rows, features, outputs], &found.values)?)?;
        if let Some(squares) = &found.interactions {
            dict.set_item("interactions", arrays::floats(py, &[rows, features, features, outputs], squares)?)?;
        }
        dict.set_item("base", arrays::floats(py, &[outputs], &found.base)?)?;
        dict.set_item("data", arrays::floats(py, &[rows, features], &found.data)?)?;
        dict.set_item("names", &found.names)?;
        dict.set_item("sources", &found.sources)?;
        Ok(dict)
    }

    /// Where the sums of a boosted model start, and a model of each `count` trees.
    fn stages(&self, py: Python<'_>, count: usize) -> PyResult<(Vec<f64>, Vec<Self>)> {
        let (base, stages) = self.read().stages(count).map_err(|e| errors::to_py(py, e))?;
        Ok((base, stages.into_iter().map(|m| Self::new(py, m)).collect::<PyResult<_>>()?))
    }

    /// Takes rows into the state; `transform` of each row after its step.
    fn update<'py>(&self, py: Python<'py>, x: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        let input = Input::new(x)?;
        let (batch, output) = self.change(py, |model| {
            let batch = model.update(&input.data()?)?;
            Ok((batch, model.output(Method::Transform).cloned()))
        })?;
        match output {
            Some(output) => answer(py, &output, &batch),
            None => Ok(py.None().into_bound(py)),
        }
    }

    /// The label or number that is predicted for one row.
    fn predict_one<'py>(&self, py: Python<'py>, row: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyAny>> {
        self.rows.predict(py, &self.read(), row)
    }

    /// Class to probability for one row.
    fn predict_proba_one<'py>(&self, py: Python<'py>, row: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyAny>> {
        self.rows.named(py, &self.read(), row, Method::PredictProba)
    }

    /// The score of one row.
    fn decision_function_one<'py>(&self, py: Python<'py>, row: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyAny>> {
        self.rows.named(py, &self.read(), row, Method::DecisionFunction)
    }

    /// The ends of one row's interval: "lower" and "upper".
    fn predict_interval_one<'py>(&self, py: Python<'py>, row: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyAny>> {
        self.rows.named(py, &self.read(), row, Method::PredictInterval)
    }

    /// Class to 1 or 0 for one row: whether it is in the set.
    fn predict_set_one<'py>(&self, py: Python<'py>, row: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyAny>> {
        self.rows.named(py, &self.read(), row, Method::PredictSet)
    }

    /// Name to value for one row.
    fn transform_one<'py>(&self, py: Python<'py>, row: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyAny>> {
        self.rows.named(py, &self.read(), row, Method::Transform)
    }

    /// The methods that the model has.
    fn methods(&self) -> Vec<&'static str> {
        self.read().methods().into_iter().map(Method::as_str).collect()
    }

    /// The columns that go in.
    fn schema<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        json::to_py(py, &serde_json::to_value(self.read().schema()).unwrap_or_default())
    }

    /// Names and classes of a method's answer.
    fn output<'py>(&self, py: Python<'py>, method: &str) -> PyResult<Option<Bound<'py, PyDict>>> {
        let method = Method::parse(method).map_err(|e| errors::to_py(py, e))?;
        let model = self.read();
        let Some(output) = model.output(method) else { return Ok(None) };
        let dict = PyDict::new(py);
        dict.set_item("names", &output.names)?;
        match &output.labels {
            Some(classes) => dict.set_item("classes", labels(py, classes)?)?,
            None => dict.set_item("classes", py.None())?,
        }
        Ok(Some(dict))
    }

    #[getter]
    fn stateful(&self) -> bool {
        self.read().is_stateful()
    }

    /// Facts about the model.
    fn metadata<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let value = serde_json::to_value(self.read().metadata()).unwrap_or_default();
        json::to_py(py, &value)
    }

    /// Replaces the facts about the model.
    fn set_metadata(&self, py: Python<'_>, facts: &Bound<'_, PyDict>) -> PyResult<()> {
        let serde_json::Value::Object(map) = json::of_py(facts)? else {
            return Err(PyTypeError::new_err("metadata must be a dict"));
        };
        self.change(py, |model| {
            *model.metadata_mut() = map.into_iter().collect();
            Ok(())
        })
    }

    /// Keeps rows of what the model was fitted on, for `describe`.
    fn see(&self, py: Python<'_>, x: &Bound<'_, PyAny>) -> PyResult<()> {
        let input = Input::new(x)?;
        let rows = door::run(py, Size::Medium, &CancelToken::new(), || Ok(sketch::rows_of(&input.data()?)))?;
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = rows.map(Arc::new);
        Ok(())
    }

    /// Lets go of the rows that were kept.
    fn forget(&self) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Puts the training sketch and the sample into the facts about the model, if rows of its fit were kept.
    fn describe(&self, py: Python<'_>) -> PyResult<()> {
        let Some(seen) = self.seen() else { return Ok(()) };
        self.change(
            py,
            |model| {
                if model.metadata().contains_key("sketch") { Ok(()) } else { sketch::describe(model, &seen) }
            },
        )
    }

    /// Writes the model file.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        door::run(py, Size::Medium, &CancelToken::new(), || self.read().save(&path))
    }

    /// The bytes of the model file.
    fn to_bytes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let bytes = door::run(py, Size::Medium, &CancelToken::new(), || self.read().to_bytes())?;
        Ok(PyBytes::new(py, &bytes))
    }

    fn __reduce__<'py>(slf: &Bound<'py, Self>) -> PyResult<(Bound<'py, PyAny>, (Bound<'py, PyBytes>,))> {
        let py = slf.py();
        let maker = py.import("corten._core")?.getattr("from_bytes")?;
        Ok((maker, (slf.get().to_bytes(py)?,)))
    }
}

/// Reads a model file.
#[pyfunction]
pub(crate) fn load(py: Python<'_>, path: PathBuf) -> PyResult<Model> {
    let model = door::run(py, Size::Medium, &CancelToken::new(), || corten_model::Model::load(&path))?;
    Model::new(py, model)
}

/// Reads a model from bytes.
#[pyfunction]
pub(crate) fn from_bytes(py: Python<'_>, bytes: &[u8]) -> PyResult<Model> {
    let model = door::run(py, Size::Medium, &CancelToken::new(), || corten_model::Model::from_bytes(bytes))?;
    Model::new(py, model)
}

/// A pipeline of models.
#[pyfunction]
pub(crate) fn chain(py: Python<'_>, models: Vec<Bound<'_, Model>>) -> PyResult<Model> {
    let read: Vec<_> = models.iter().map(|m| m.get().read()).collect();
    let parts: Vec<&corten_model::Model> = read.iter().map(|model| &**model).collect();
    let model = compose::chain(&parts).map_err(|e| errors::to_py(py, e))?;
    // The first one saw what comes in.
    Ok(Model::new(py, model)?.keep(models.first().and_then(|m| m.get().seen())))
}

/// Models side by side on parts of a table.
#[pyfunction]
pub(crate) fn columns(py: Python<'_>, schema: &Bound<'_, PyDict>, parts: &Bound<'_, PyAny>) -> PyResult<Model> {
    let schema = Schema::deserialize(&json::of_py(schema)?)
        .map_err(|e| PyTypeError::new_err(format!("the schema can't be read: {e}")))?;
    type Given<'py> = (Option<String>, Bound<'py, PyAny>, Vec<usize>);
    let parts: Vec<Given<'_>> = parts.extract()?;
    let models: Vec<Option<Bound<'_, Model>>> = parts.iter().map(|p| p.1.cast::<Model>().ok().cloned()).collect();
    let read: Vec<_> = models.iter().map(|m| m.as_ref().map(|m| m.get().read())).collect();
    let parts: Vec<(Option<String>, Part<'_>, Vec<usize>)> = parts
        .into_iter()
        .zip(&read)
        .map(|((prefix, _, positions), model)| {
            let part = match model {
                Some(model) => Part::Model(model),
                None => Part::Passthrough,
            };
            (prefix, part, positions)
        })
        .collect();
    let model = compose::columns(&schema, &parts).map_err(|e| errors::to_py(py, e))?;
    Model::new(py, model)
}

/// Several models on the same table, and one answer: `rule` is "mean", "soft", "hard" or "stack".
#[pyfunction]
#[pyo3(signature = (schema, members, rule, *, classes = None, methods = None, passthrough = false))]
pub(crate) fn ensemble(
    py: Python<'_>,
    schema: &Bound<'_, PyDict>,
    members: &Bound<'_, PyAny>,
    rule: &str,
    classes: Option<&Bound<'_, PyList>>,
    methods: Option<Vec<(String, bool)>>,
    passthrough: bool,
) -> PyResult<Model> {
    let schema = Schema::deserialize(&json::of_py(schema)?)
        .map_err(|e| PyTypeError::new_err(format!("the schema can't be read: {e}")))?;
    type Given<'py> = (Bound<'py, Model>, Vec<usize>, Option<Vec<usize>>, f64);
    let given: Vec<Given<'_>> = members.extract()?;
    let read: Vec<_> = given.iter().map(|m| m.0.get().read()).collect();
    let members: Vec<Member<'_>> = given
        .iter()
        .zip(&read)
        .map(|((_, columns, classes, weight), model)| Member {
            model,
            columns: columns.clone(),
            classes: classes.clone(),
            weight: *weight,
        })
        .collect();
    let labels = || match classes {
        Some(classes) => labels_of(classes),
        None => Ok(Labels::Int(Vec::new())),
    };
    let method = |(name, skip): (String, bool)| Ok((Method::parse(&name).map_err(|e| errors::to_py(py, e))?, skip));
    let rule = match rule {
        "mean" => Rule::Mean,
        "median" => Rule::Median,
        "boosted" => Rule::Boosted(labels()?),
        "soft" => Rule::Soft(labels()?),
        "hard" => Rule::Hard(labels()?),
        "stack" => Rule::Stack(methods.unwrap_or_default().into_iter().map(method).collect::<PyResult<_>>()?),
        _ => return Err(PyTypeError::new_err(format!("no rule '{rule}'"))),
    };
    let model = compose::ensemble(&schema, &members, &rule, passthrough).map_err(|e| errors::to_py(py, e))?;
    Model::new(py, model)
}

/// A model with intervals or sets beside its answers: `rule` is "around", "between", "lac" or "aps".
#[pyfunction]
pub(crate) fn conformal(
    py: Python<'_>,
    schema: &Bound<'_, PyDict>,
    members: &Bound<'_, PyAny>,
    rule: &str,
    quantile: f64,
) -> PyResult<Model> {
    let schema = Schema::deserialize(&json::of_py(schema)?)
        .map_err(|e| PyTypeError::new_err(format!("the schema can't be read: {e}")))?;
    let given: Vec<(Bound<'_, Model>, Vec<usize>)> = members.extract()?;
    let read: Vec<_> = given.iter().map(|m| m.0.get().read()).collect();
    let members: Vec<Member<'_>> = given
        .iter()
        .zip(&read)
        .map(|((_, columns), model)| Member { model, columns: columns.clone(), classes: None, weight: 1.0 })
        .collect();
    let set = |score| Conformal::Set(PredictionSet { score, threshold: quantile });
    let rule = match rule {
        "around" => Conformal::Around(quantile),
        "between" => Conformal::Between(quantile),
        "lac" => set(SetScore::Lac),
        "aps" => set(SetScore::Aps),
        _ => return Err(PyTypeError::new_err(format!("no rule '{rule}'"))),
    };
    let model = corten_model::conformal::conformal(&schema, &members, &rule).map_err(|e| errors::to_py(py, e))?;
    Model::new(py, model)
}
