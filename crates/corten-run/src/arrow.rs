//! Tables of Arrow IPC from standard input to standard output, block by block.

use corten_core::Data;
use corten_data::arrow_array::RecordBatch;
use corten_data::{Format, Writer, open, table_of};
use corten_model::{Method, Model, Run, answers};

use crate::stream::Stopped;

/// Rows that are scored at once: a block of the input may hold millions.
const ROWS: usize = 16_384;

/// Scores a stream of record batches. The answers are the columns that `corten predict --proba` writes; a model with a
/// state takes the rows in.
///
/// # Errors
/// [`Stopped`] for an input that is no stream or doesn't fit the model, and when the output breaks off.
pub(crate) fn score(mut model: Model) -> Result<u64, Stopped> {
    let methods = model.table_methods(model.output(Method::PredictProba).is_some())?;
    let outputs: Vec<_> = methods.iter().filter_map(|&m| model.output(m).cloned()).collect();
    let columns: Vec<_> = outputs.iter().flat_map(answers::columns).collect();
    let reader = open("-", Format::ArrowIpc, None)?;
    // A stream without rows must have the model's columns too.
    model.run_all(
        &methods,
        &Data::Table(table_of(&RecordBatch::new_empty(reader.schema().clone()))?),
        &Run::default(),
    )?;
    let mut writer = Writer::create("-", Format::ArrowStream, &columns)?;
    for batch in reader {
        let batch = batch?;
        for start in (0..batch.num_rows()).step_by(ROWS) {
            let block = batch.slice(start, ROWS.min(batch.num_rows() - start));
            let data = Data::Table(table_of(&block)?);
            let made = if model.is_stateful() {
                vec![model.update(&data)?]
            } else {
                model.run_all(&methods, &data, &Run::default())?
            };
            let values: Vec<_> = outputs.iter().zip(made).flat_map(|(output, b)| answers::values(output, b)).collect();
            writer.write(values)?;
        }
        // Somebody may wait for these answers before they write the next batch.
        writer.flush()?;
    }
    writer.finish()?;
    Ok(0)
}
