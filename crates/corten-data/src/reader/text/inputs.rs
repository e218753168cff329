//! Rows of text for a model: its columns alone, as the executable and the server read them.

use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, RecordBatch, RecordBatchOptions, StringArray};
use arrow_buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use corten_core::rows::{Cells, Inputs, Scanner};
use corten_core::{Error, Kind, Result};

use super::{Chunk, Chunks, Decode, Opened, each_line, each_record};

struct ForModel {
    path: String,
    inputs: Inputs,
    schema: SchemaRef,
    /// In CSV, the field of each column, and the fields of the header.
    csv: Option<(Vec<usize>, usize)>,
}

pub(super) fn open(mut chunks: Chunks, inputs: Inputs) -> Result<Opened> {
    let header = if chunks.csv { Some(chunks.header()?) } else { None };
    let csv = header.map(|h| Ok((inputs.places(&h)?, h.len()))).transpose()?;
    let field = |(name, kind): (&str, Kind)| {
        let data_type = if kind == Kind::Text { DataType::Utf8 } else { DataType::Float64 };
        Field::new(name, data_type, true)
    };
    let schema: SchemaRef = Arc::new(Schema::new(inputs.columns().map(field).collect::<Vec<_>>()));
    let decoder = Arc::new(ForModel { path: chunks.path.clone(), inputs, schema: Arc::clone(&schema), csv });
    Ok(Opened { schema, decoder, chunks })
}

#[derive(Default)]
struct Texts {
    bytes: Vec<u8>,
    ends: Vec<i32>,
    there: Vec<bool>,
}

struct Columns {
    numbers: Vec<Vec<f64>>,
    texts: Vec<Texts>,
}

impl Cells for Columns {
    #[inline]
    fn number(&mut self, at: usize, value: f64) {
        self.numbers[at].push(value);
    }

    fn room(&mut self, at: usize) -> &mut Vec<u8> {
        &mut self.texts[at].bytes
    }

    fn text(&mut self, at: usize, start: Option<usize>) {
        let texts = &mut self.texts[at];
        // A chunk has far fewer bytes than that.
        texts.ends.push(i32::try_from(texts.bytes.len()).unwrap_or(i32::MAX));
        texts.there.push(start.is_some());
    }
}

impl Texts {
    fn array(self) -> Result<ArrayRef> {
        let ends = OffsetBuffer::new(ScalarBuffer::from(self.ends));
        let nulls = NullBuffer::new(BooleanBuffer::from(self.there));
        let array = StringArray::try_new(ends, Buffer::from_vec(self.bytes), Some(nulls)).map_err(Error::value)?;
        Ok(Arc::new(array))
    }
}

impl Decode for ForModel {
    fn batch(&self, chunk: &Chunk) -> Result<RecordBatch> {
        let texts = self.inputs.texts();
        let numbers = self.schema.fields().len() - texts;
        let mut columns = Columns {
            numbers: vec![Vec::new(); numbers],
            texts: (0..texts).map(|_| Texts { ends: vec![0], ..Texts::default() }).collect(),
        };
        let mut rows = 0;
        match &self.csv {
            Some((places, width)) => {
                let mut room = Vec::new();
                each_record(&self.path, chunk, *width, |records, bytes| {
                    rows += 1;
                    places.iter().enumerate().try_for_each(|(input, &place)| {
                        self.inputs.field(input, records.get(place, bytes, &mut room), &mut columns)
                    })
                })?;
            }
            None => {
                let mut inputs = self.inputs.clone();
                each_line(&self.path, chunk, |line| {
                    rows += 1;
                    let mut scanner = Scanner::new(line);
                    inputs.row(&mut scanner, &mut columns)?;
                    scanner.end().map(|()| true)
                })?;
            }
        }
        let (mut numbers, mut texts) = (columns.numbers.into_iter(), columns.texts.into_iter());
        let array = |(_, kind)| match kind {
            Kind::Number => Ok(Arc::new(Float64Array::from(numbers.next().unwrap_or_default())) as ArrayRef),
            Kind::Text => texts.next().unwrap_or_default().array(),
        };
        let arrays = self.inputs.columns().map(array).collect::<Result<_>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options).map_err(Error::value)
    }
}
