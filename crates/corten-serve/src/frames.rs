//! `POST /predict` with a table in Arrow IPC or Parquet, answered in kind with the columns that `corten predict` writes.

use std::sync::PoisonError;

use corten_core::{Data, Result};
use corten_data::{Bounds, Format, OutputColumn, OutputKind, Writer, read_bytes};
use corten_model::{Batch, Labels, Method, Model, Output, Run, Slot};
use hyper::body::Bytes;

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
        ARROW | "application/vnd.apache.arrow.file" => Some((Format::ArrowIpc, ARROW)),
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
    let mut batches = Vec::new();
    match &served.state {
        Some(state) => {
            let batch = state.lock().unwrap_or_else(PoisonError::into_inner).update(&data)?;
            batches.push((Method::Transform, batch));
        }
        None => {
            let methods = wanted(&served.model);
            let answers = served.model.run_all(&methods, &data, &Run::default())?;
            batches.extend(methods.iter().copied().zip(answers));
        }
    }
    let (mut columns, mut values) = (Vec::new(), Vec::new());
    for (method, batch) in batches {
        let Some(output) = served.model.output(method) else { continue };
        for (name, column) in answer(output, batch) {
            columns.push((name, kind_of(&column)));
            values.push(column);
        }
    }
    Ok((Writer::to_bytes(format, &columns, &values)?, frame.rows()))
}

/// What a table is answered with: as rows of JSON are.
fn wanted(model: &Model) -> Vec<Method> {
    let all = [Method::Predict, Method::PredictProba, Method::PredictInterval, Method::PredictSet];
    let there: Vec<Method> = all.into_iter().filter(|&m| model.output(m).is_some()).collect();
    if there.is_empty() { vec![Method::Transform] } else { there }
}

fn kind_of(column: &OutputColumn) -> OutputKind {
    match column {
        OutputColumn::Float(_) => OutputKind::Float,
        OutputColumn::Int(_) => OutputKind::Int,
        OutputColumn::Bool(_) => OutputKind::Bool,
        OutputColumn::Text(_) => OutputKind::Text,
    }
}

fn answer(output: &Output, batch: Batch) -> Vec<(String, OutputColumn)> {
    let at = |x: &f64| *x as usize;
    let indices = &batch.numbers;
    let labelled = output.labels.as_ref().filter(|_| output.method == Method::Predict).map(|labels| match labels {
        Labels::Int(v) => OutputColumn::Int(indices.iter().map(|x| v[at(x)]).collect()),
        Labels::Float(v) => OutputColumn::Float(indices.iter().map(|x| v[at(x)]).collect()),
        Labels::Bool(v) => OutputColumn::Bool(indices.iter().map(|x| v[at(x)]).collect()),
        Labels::Text(v) => OutputColumn::Text(indices.iter().map(|x| Some(v[at(x)].clone())).collect()),
    });
    if let Some(column) = labelled {
        return vec![("prediction".into(), column)];
    }
    let (mut number, mut texts) = (0, batch.texts.into_iter());
    let column = |(i, slot): (usize, &Slot)| {
        let name = match output.method {
            Method::Predict if output.columns.len() == 1 => "prediction".into(),
            Method::Predict => format!("prediction_{i}"),
            Method::PredictProba => format!("probability_{}", output.names[i]),
            Method::PredictSet => format!("in_set_{}", output.names[i]),
            _ => output.names[i].clone(),
        };
        let values = match slot {
            Slot::Number(_) => {
                number += 1;
                let own = batch.numbers.iter().skip(number - 1).step_by(batch.width.max(1));
                OutputColumn::Float(own.copied().collect())
            }
            Slot::Text(_) => OutputColumn::Text(texts.next().unwrap_or_default()),
        };
        (name, values)
    };
    output.columns.iter().enumerate().map(column).collect()
}
