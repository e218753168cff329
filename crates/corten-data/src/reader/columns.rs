//! A Parquet file whose columns are decoded by several threads.

use std::fs::File;
use std::sync::mpsc::{Receiver, sync_channel};

use arrow_array::{ArrayRef, RecordBatch};
use arrow_schema::SchemaRef;
use corten_core::Result;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReaderBuilder};

use super::{BATCH, broken, io_error};

/// Blocks of each thread that are read ahead.
const AHEAD: usize = 2;

/// Blocks of a table, put together from what each thread read of them.
pub(super) struct Columns {
    path: String,
    schema: SchemaRef,
    /// The thread at place `p` of `n` reads columns `p`, `p + n`, `p + 2n` ...
    parts: Vec<Receiver<Result<RecordBatch>>>,
}

impl Columns {
    /// Reads some columns of a file by at most `threads` threads, which end when this is dropped.
    ///
    /// # Errors
    /// Those of the file.
    pub(super) fn open(
        path: &str,
        metadata: &ArrowReaderMetadata,
        columns: &[usize],
        schema: SchemaRef,
        threads: usize,
    ) -> Result<Self> {
        let count = threads.clamp(1, columns.len().max(1));
        let part = |p: usize| {
            let own = columns.iter().copied().skip(p).step_by(count);
            let file = File::open(path).map_err(|e| io_error(path, &e))?;
            let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone());
            let mask = ProjectionMask::roots(builder.parquet_schema(), own);
            let reader = builder.with_batch_size(BATCH).with_projection(mask).build().map_err(|e| broken(path, &e))?;
            let (send, receive) = sync_channel(AHEAD);
            let name = path.to_owned();
            let mut batches = reader.map(move |b| b.map_err(|e| broken(&name, &e)));
            let name = path.to_owned();
            let read = move || {
                loop {
                    // A defect in the library must not look like the end of the file.
                    let next = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| batches.next()));
                    let next = next.unwrap_or_else(|_| Some(Err(broken(&name, &"the file is damaged"))));
                    let Some(next) = next else { return };
                    let is_last = next.is_err();
                    // Nobody listens where the table was dropped.
                    if send.send(next).is_err() || is_last {
                        return;
                    }
                }
            };
            std::thread::Builder::new().spawn(read).map_err(|e| io_error(path, &e))?;
            Ok(receive)
        };
        let parts = (0..count).map(part).collect::<Result<_>>()?;
        Ok(Self { path: path.to_owned(), schema, parts })
    }
}

impl Iterator for Columns {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let parts: Vec<_> = self.parts.iter().map_while(|part| part.recv().ok()).collect();
        if parts.is_empty() {
            return None;
        }
        let count = self.parts.len();
        let joined = parts.into_iter().collect::<Result<Vec<_>>>().and_then(|parts| {
            if parts.len() != count {
                return Err(broken(&self.path, &"its columns have different numbers of rows"));
            }
            let column = |i: usize| ArrayRef::clone(parts[i % count].column(i / count));
            let columns = (0..self.schema.fields().len()).map(column).collect();
            RecordBatch::try_new(SchemaRef::clone(&self.schema), columns).map_err(|e| broken(&self.path, &e))
        });
        if joined.is_err() {
            self.parts.clear();
        }
        Some(joined)
    }
}
