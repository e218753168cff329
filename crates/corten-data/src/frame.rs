//! A whole table in Arrow's memory.

use arrow_array::{RecordBatch, RecordBatchIterator, RecordBatchReader, UInt32Array};
use arrow_schema::{ArrowError, SchemaRef};
use corten_core::{Error, OutputColumn, OutputKind, Result, Table};

use crate::convert::table_of;
use crate::reader::plain;
use crate::writer::{batch_of, schema_of};

/// A table that owns its columns.
#[derive(Clone, Debug)]
pub struct Frame {
    batch: RecordBatch,
}

fn unreadable(error: &ArrowError) -> Error {
    Error::value(format!("the table can't be read: {}", plain(error)))
}

impl Frame {
    /// Takes a stream whole. Several batches are joined by a copy; one stays where it is.
    ///
    /// # Errors
    /// [`Error::Value`] when the stream breaks off or its batches don't fit each other.
    pub fn from_reader(reader: impl RecordBatchReader) -> Result<Self> {
        let schema = reader.schema();
        let batches = reader.collect::<Result<Vec<_>, _>>().map_err(|e| unreadable(&e))?;
        Self::from_batches(&schema, batches)
    }

    /// Joins batches of one schema.
    ///
    /// # Errors
    /// [`Error::Value`] when they don't fit each other.
    pub fn from_batches(schema: &SchemaRef, mut batches: Vec<RecordBatch>) -> Result<Self> {
        if batches.len() == 1 {
            return Ok(Self { batch: batches.remove(0) });
        }
        let batch = arrow_select::concat::concat_batches(schema, &batches).map_err(|e| unreadable(&e))?;
        Ok(Self { batch })
    }

    /// One batch.
    pub fn from_batch(batch: RecordBatch) -> Self {
        Self { batch }
    }

    /// A table of answers: name and type of each column, and its values.
    ///
    /// # Errors
    /// [`Error::Internal`] when the values don't fit the columns.
    pub fn from_columns(columns: &[(String, OutputKind)], values: &[OutputColumn]) -> Result<Self> {
        Ok(Self { batch: batch_of(&schema_of(columns), values)? })
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.batch.num_rows()
    }

    /// The batch.
    pub fn batch(&self) -> &RecordBatch {
        &self.batch
    }

    /// The columns, borrowed.
    ///
    /// # Errors
    /// [`Error::Value`] when two columns have the same name.
    pub fn table(&self) -> Result<Table<'_>> {
        table_of(&self.batch)
    }

    /// Some of the columns, without a copy.
    ///
    /// # Errors
    /// [`Error::Value`] for a position that isn't there.
    pub fn select(&self, positions: &[usize]) -> Result<Self> {
        Ok(Self { batch: self.batch.project(positions).map_err(|e| unreadable(&e))? })
    }

    /// A copy of some rows, in the order given.
    ///
    /// # Errors
    /// [`Error::Value`] for a row that isn't there.
    pub fn take(&self, rows: Vec<u32>) -> Result<Self> {
        if let Some(bad) = rows.iter().find(|&&r| r as usize >= self.rows()) {
            return Err(Error::value(format!("row {bad} of a table with {} rows", self.rows())));
        }
        let batch = arrow_select::take::take_record_batch(&self.batch, &UInt32Array::from(rows));
        Ok(Self { batch: batch.map_err(|e| unreadable(&e))? })
    }

    /// The table as a stream, for Arrow's C interface.
    pub fn reader(&self) -> Box<dyn RecordBatchReader + Send> {
        let schema = self.batch.schema();
        Box::new(RecordBatchIterator::new([Ok(self.batch.clone())], schema))
    }
}
