//! Tables in files: scored in constant memory, and read whole.

use corten_core::{CancelToken, Error, Result};
use corten_data::{Format, OutputColumn, OutputKind, Writer, open, table_of};
use corten_kernels::parallel;
use corten_model::{Labels, Method, Run, Slot};
use pyo3::prelude::*;

use crate::arrow::Frame;
use crate::door::{self, Size};
use crate::errors;
use crate::model::Model;

fn format_of(path: &str, format: Option<&str>) -> Result<Format> {
    match format {
        Some(name) => Format::parse(name),
        None => Format::of_path(path),
    }
}

/// One block of labels.
fn labelled(labels: &Labels, indices: &[f64]) -> OutputColumn {
    let at = |x: &f64| *x as usize;
    match labels {
        Labels::Int(v) => OutputColumn::Int(indices.iter().map(|x| v[at(x)]).collect()),
        Labels::Float(v) => OutputColumn::Float(indices.iter().map(|x| v[at(x)]).collect()),
        Labels::Bool(v) => OutputColumn::Bool(indices.iter().map(|x| v[at(x)]).collect()),
        Labels::Text(v) => OutputColumn::Text(indices.iter().map(|x| Some(v[at(x)].clone())).collect()),
    }
}

/// The columns that a model writes: name, kind, and how they are filled.
fn plan(model: &corten_model::Model, proba: bool) -> Result<Vec<(Method, Vec<(String, OutputKind)>)>> {
    let mut plan = Vec::new();
    if let Some(output) = model.output(Method::Predict) {
        let columns = match &output.labels {
            Some(labels) => {
                let kind = match labels {
                    Labels::Int(_) => OutputKind::Int,
                    Labels::Float(_) => OutputKind::Float,
                    Labels::Bool(_) => OutputKind::Bool,
                    Labels::Text(_) => OutputKind::Text,
                };
                vec![("prediction".to_owned(), kind)]
            }
            None if output.columns.len() == 1 => vec![("prediction".to_owned(), OutputKind::Float)],
            None => (0..output.columns.len()).map(|i| (format!("prediction_{i}"), OutputKind::Float)).collect(),
        };
        plan.push((Method::Predict, columns));
    }
    if proba {
        let output = model
            .output(Method::PredictProba)
            .ok_or_else(|| Error::Unsupported("This model has no 'predict_proba'.".into()))?;
        let named = output.names.iter().map(|n| (format!("probability_{n}"), OutputKind::Float));
        plan.push((Method::PredictProba, named.collect()));
    }
    for (method, prefix) in [(Method::PredictInterval, ""), (Method::PredictSet, "in_set_")] {
        if let Some(output) = model.output(method) {
            let named = output.names.iter().map(|n| (format!("{prefix}{n}"), OutputKind::Float));
            plan.push((method, named.collect()));
        }
    }
    if plan.is_empty()
        && let Some(output) = model.output(Method::Transform)
    {
        let kind = |slot: &Slot| match slot {
            Slot::Number(_) => OutputKind::Float,
            Slot::Text(_) => OutputKind::Text,
        };
        let columns = output.names.iter().cloned().zip(output.columns.iter().map(kind)).collect();
        plan.push((Method::Transform, columns));
    }
    Ok(plan)
}

fn block(
    model: &corten_model::Model,
    method: Method,
    data: &corten_core::Data<'_>,
    run: &Run,
) -> Result<Vec<OutputColumn>> {
    let batch = model.run(method, data, run)?;
    let Some(output) = model.output(method) else { return Ok(Vec::new()) };
    if let (Method::Predict, Some(labels)) = (method, &output.labels) {
        return Ok(vec![labelled(labels, &batch.numbers)]);
    }
    let (mut number, mut texts) = (0, batch.texts.into_iter());
    Ok(output
        .columns
        .iter()
        .map(|slot| match slot {
            Slot::Number(_) => {
                number += 1;
                let column = batch.numbers.iter().skip(number - 1).step_by(batch.width.max(1));
                OutputColumn::Float(column.copied().collect())
            }
            Slot::Text(_) => OutputColumn::Text(texts.next().unwrap_or_default()),
        })
        .collect())
}

/// Scores a file block by block and returns the number of rows. Nothing is left under the target's name on failure.
#[pyfunction]
#[pyo3(signature = (model, source, target, source_format = None, target_format = None, proba = false, progress = None, threads = None))]
pub(crate) fn score_file(
    py: Python<'_>,
    model: &Bound<'_, Model>,
    source: &str,
    target: &str,
    source_format: Option<&str>,
    target_format: Option<&str>,
    proba: bool,
    progress: Option<Py<PyAny>>,
    threads: Option<i64>,
) -> PyResult<u64> {
    let model = model.get();
    let cancel = CancelToken::new();
    let run = Run { threads: parallel::threads(threads), cancel: cancel.clone() };
    door::run(py, Size::Long, &cancel, || {
        let model = model.read();
        let from = format_of(source, source_format)?;
        let to = format_of(target, target_format)?;
        let reader = open(source, from, Some(&model.schema().kinds()))?;
        let total = reader.total_rows();
        let plan = plan(&model, proba)?;
        let columns: Vec<(String, OutputKind)> = plan.iter().flat_map(|p| p.1.clone()).collect();
        let mut writer = Writer::create(target, to, &columns)?;
        let mut rows = 0u64;
        for batch in reader {
            cancel.check()?;
            let batch = batch?;
            let data = corten_core::Data::Table(table_of(&batch)?);
            let mut out = Vec::with_capacity(columns.len());
            for (method, _) in &plan {
                out.extend(block(&model, *method, &data, &run)?);
            }
            writer.write(&out)?;
            rows += batch.num_rows() as u64;
            if let Some(callback) = &progress {
                Python::attach(|py| callback.call1(py, (rows, total)).map(drop))
                    .map_err(|e| Error::Internal(format!("the progress callback failed: {e}")))?;
            }
        }
        writer.finish()?;
        Ok(rows)
    })
}

/// Reads a table whole.
#[pyfunction]
#[pyo3(signature = (path, format = None))]
pub(crate) fn read_table(py: Python<'_>, path: &str, format: Option<&str>) -> PyResult<Frame> {
    let format = format_of(path, format).map_err(|e| errors::to_py(py, e))?;
    let cancel = CancelToken::new();
    let inner = door::run(py, Size::Long, &cancel, || {
        let reader = open(path, format, None)?;
        let schema = reader.schema().clone();
        corten_data::Frame::from_batches(&schema, reader.collect::<Result<Vec<_>>>()?)
    })?;
    Ok(Frame { inner })
}
