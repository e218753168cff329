//! Tables in files: scored in constant memory, and read whole.

use corten_core::{CancelToken, Error, Result};
use corten_data::arrow_array::RecordBatch;
use corten_data::{Format, Writer, open, open_columns, table_of};
use corten_kernels::parallel;
use corten_model::{Run, answers};
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
    let threads = parallel::threads(threads);
    let cancel = CancelToken::new();
    // A block is one thread's.
    let run = Run { threads: 1, cancel: cancel.clone() };
    door::run(py, Size::Long, &cancel, || {
        let model = model.read();
        let from = format_of(source, source_format)?;
        let to = format_of(target, target_format)?;
        let schema = model.schema();
        let names: Vec<&str> = schema.inputs.iter().map(|i| i.name.as_str()).collect();
        let reader = open_columns(source, from, Some(&schema.kinds()), schema.named.then_some(&names), threads)?;
        let total = reader.total_rows();
        let methods = model.table_methods(proba)?;
        let outputs: Vec<_> = methods.iter().filter_map(|m| model.output(*m)).collect();
        let columns: Vec<_> = outputs.iter().flat_map(|o| answers::columns(o)).collect();
        let mut writer = Writer::create(target, to, &columns)?;
        let score = |batch: Result<RecordBatch>| {
            let batch = batch?;
            let data = corten_core::Data::Table(table_of(&batch)?);
            let batches = model.run_all(&methods, &data, &run)?;
            let out: Vec<_> = outputs.iter().zip(batches).flat_map(|(o, batch)| answers::values(o, batch)).collect();
            Ok((out, batch.num_rows()))
        };
        let mut rows = 0u64;
        // Blocks are read, scored and written at once.
        parallel::in_order(threads, reader, score, |scored: Result<_>| {
            cancel.check()?;
            let (out, count) = scored?;
            writer.write(&out)?;
            rows += count as u64;
            if let Some(callback) = &progress {
                Python::attach(|py| callback.call1(py, (rows, total)).map(drop))
                    .map_err(|e| Error::Internal(format!("the progress callback failed: {e}")))?;
            }
            Ok(())
        })?;
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
