//! `POST /predict` with a table in Arrow IPC or Parquet, answered in kind with the columns that `corten predict --proba` writes.

use std::sync::PoisonError;

use corten_core::{Data, Result};
use corten_data::{Bounds, Format, Writer, read_bytes};
use corten_model::{Method, Run, answers};
use hyper::body::Bytes;

use crate::clock::{self, Stage};
use crate::served::Served;

/// How many times its own size a body may have once it is unpacked, of the largest body.
const MAX_RATIO: usize = 20;
/// The type of a stream of Arrow's, and of its answer.
pub(crate) const ARROW: &str = "application/vnd.apache.arrow.stream";
/// The type of a Parquet file.
pub(crate) const PARQUET: &str = "application/vnd.apache.parquet";

/// The format of a content type that is a table.
pub(crate) fn format_of(kind: &str) -> Option<(Format, &'static str)> {
    match kind.to_ascii_lowercase().as_str() {
        ARROW | "application/vnd.apache.arrow.file" => Some((Format::ArrowStream, ARROW)),
        PARQUET => Some((Format::Parquet, PARQUET)),
        _ => None,
    }
}

/// Scores a table; returns the answer and its rows.
///
/// # Errors
/// Those of [`read_bytes`], and of the model for columns that don't fit it.
pub(crate) fn predict(
    served: &Served,
    body: Bytes,
    format: Format,
    max_rows: usize,
    max_body: usize,
) -> Result<(Vec<u8>, usize)> {
    let bounds = Bounds { rows: max_rows, bytes: max_body.saturating_mul(MAX_RATIO) };
    let frame = read_bytes(body, format, bounds)?;
    let data = Data::Table(frame.table()?);
    clock::lap(Stage::Decode);
    let model = &served.model;
    let (methods, batches) = match &served.state {
        Some(state) => {
            let batch = state.lock().unwrap_or_else(PoisonError::into_inner).update(&data)?;
            (vec![Method::Transform], vec![batch])
        }
        None => {
            let methods = model.table_methods(model.output(Method::PredictProba).is_some())?;
            let batches = model.run_all(&methods, &data, &Run::default())?;
            served.watch(&data, &methods, &batches);
            (methods, batches)
        }
    };
    clock::lap(Stage::Run);
    let (mut columns, mut values) = (Vec::new(), Vec::new());
    for (output, batch) in methods.iter().filter_map(|m| model.output(*m)).zip(batches) {
        columns.extend(answers::columns(output));
        values.extend(answers::values(output, batch));
    }
    let bytes = Writer::to_bytes(format, &columns, &values)?;
    clock::lap(Stage::Encode);
    Ok((bytes, frame.rows()))
}
