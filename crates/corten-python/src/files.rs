//! Tables in files: scored in constant memory, and read whole.

use corten_core::{CancelToken, Error, Result};
use corten_data::arrow_array::RecordBatch;
use corten_data::{Block, Format, Writer, open, open_inputs, table_of};
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

/// Scores a file block by block and returns the number of rows. Nothing is left under the target's name on failure;
/// with `durable`, nor after a loss of power.
#[pyfunction]
#[pyo3(signature = (model, source, target, source_format = None, target_format = None, proba = false, progress = None, threads = None, durable = false))]
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
    durable: bool,
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
        let reader = open_inputs(source, from, model.schema().in_text(), threads)?;
        let total = reader.total_rows();
        let methods = model.table_methods(proba)?;
        let outputs: Vec<_> = methods.iter().filter_map(|m| model.output(*m)).collect();
        let columns: Vec<_> = outputs.iter().flat_map(|o| answers::columns(o)).collect();
        let answer = |batch: &RecordBatch| {
            let data = corten_core::Data::Table(table_of(batch)?);
            let batches = model.run_all(&methods, &data, &run)?;
            Ok(outputs.iter().zip(batches).flat_map(|(o, batch)| answers::values(o, batch)).collect::<Vec<_>>())
        };
        // A table without rows must have the model's columns too.
        answer(&RecordBatch::new_empty(reader.schema().clone()))?;
        let create = if durable { Writer::create_durable } else { Writer::create };
        let mut writer = create(target, to, &columns)?;
        let encoder = writer.encoder();
        let score = |block: Result<Block>| {
            let batch = block?.batch()?;
            Ok((encoder.encode(answer(&batch)?)?, batch.num_rows()))
        };
        let mut rows = 0u64;
        // Blocks are read, scored and written at once.
        parallel::in_order(threads, reader.blocks(), score, |scored: Result<_>| {
            cancel.check()?;
            let (out, count) = scored?;
            writer.append(out)?;
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
