//! Reading tables block by block.

#[cfg(feature = "parquet")]
mod columns;
#[cfg(feature = "parquet")]
mod footer;
pub(crate) mod ipc;
mod text;

#[cfg(feature = "parquet")]
use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::sync::Arc;

use arrow_array::RecordBatch;
#[cfg(feature = "parquet")]
use arrow_array::RecordBatchReader;
use arrow_schema::SchemaRef;
use corten_core::rows::Inputs;
use corten_core::{Error, Kind, Result};
#[cfg(feature = "parquet")]
use parquet::arrow::ProjectionMask;
#[cfg(feature = "parquet")]
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

use crate::Format;
#[cfg(feature = "parquet")]
use columns::Columns;
use text::{Chunk, Decode, Opened};

/// Rows of a block of Arrow's or Parquet.
pub(crate) const BATCH: usize = 16_384;
/// Most columns of a table.
const MAX_COLUMNS: usize = 100_000;

/// A table that is read block by block, in constant memory.
pub struct Reader {
    path: String,
    schema: SchemaRef,
    total: Option<u64>,
    blocks: Box<dyn Iterator<Item = Result<Block>> + Send>,
}

/// Rows that were read, in formats of text as they are written there: making columns of them is most of the work and
/// may be done by many threads at once.
pub struct Block(Content);

enum Content {
    Ready(RecordBatch),
    Text(Arc<dyn Decode>, Chunk),
}

impl Block {
    /// Its columns.
    ///
    /// # Errors
    /// [`Error::Value`] and [`Error::Column`] for text that is no row or doesn't fit a column, naming file and line.
    pub fn batch(self) -> Result<RecordBatch> {
        match self.0 {
            Content::Ready(batch) => Ok(batch),
            Content::Text(decoder, chunk) => decoder.batch(&chunk),
        }
    }
}

impl Reader {
    /// The columns.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// Number of rows, where the format tells it beforehand.
    pub fn total_rows(&self) -> Option<u64> {
        self.total
    }

    /// The table in blocks that are not made into columns yet.
    pub fn blocks(mut self) -> impl Iterator<Item = Result<Block>> + Send {
        std::iter::from_fn(move || self.block())
    }

    fn block(&mut self) -> Option<Result<Block>> {
        // A defect in a format's library must not take the process down: it becomes an error of this file.
        let next = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.blocks.next()));
        next.unwrap_or_else(|_| {
            // What it left behind is not asked again.
            self.blocks = Box::new(std::iter::empty());
            Some(Err(broken(&self.path, &"the file is damaged")))
        })
    }
}

impl Iterator for Reader {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let batch = self.block()?.and_then(Block::batch);
        if batch.is_err() {
            self.blocks = Box::new(std::iter::empty());
        }
        Some(batch)
    }
}

/// A path as errors name it.
fn shown(path: &str) -> &str {
    if path == "-" { "standard input" } else { path }
}

/// What a format's library says, without its own names for kinds of errors.
pub(crate) fn plain(error: &dyn std::fmt::Display) -> String {
    const KINDS: [&str; 10] = [
        "External: ",
        "External error: ",
        "Io error: ",
        "IO error: ",
        "Ipc error: ",
        "Parquet error: ",
        "Parquet argument error: ",
        "Arrow: ",
        "EOF: ",
        "C Data interface error: ",
    ];
    let text = error.to_string();
    let mut rest = &text[..];
    while let Some(behind) = KINDS.iter().find_map(|kind| rest.strip_prefix(kind)) {
        rest = behind;
    }
    rest.to_owned()
}

fn broken(path: &str, error: &dyn std::fmt::Display) -> Error {
    Error::value(format!("{}: can't be read: {}", shown(path), plain(error)))
}

fn io_error(path: &str, error: &io::Error) -> Error {
    Error::Io {
        path: shown(path).to_owned(),
        problem: format!("can't be read: {error}"),
        not_found: error.kind() == io::ErrorKind::NotFound,
    }
}

/// Opens a table; `-` is standard input. In CSV and JSON lines the columns named in `kinds` are read as these kinds;
/// others are told from the first thousand rows.
///
/// # Errors
/// [`Error::Io`] when the file can't be opened, [`Error::Value`] when it isn't of the format. Reading on gives the
/// same, naming row and column.
pub fn open(path: &str, format: Format, kinds: Option<&[(String, Kind)]>) -> Result<Reader> {
    open_columns(path, format, kinds, None, 1)
}

/// The same of a table of which only some columns matter: where it has all of these, others may be left out. Parquet is
/// decoded by `threads` threads.
///
/// # Errors
/// As [`open`].
pub fn open_columns(
    path: &str,
    format: Format,
    kinds: Option<&[(String, Kind)]>,
    columns: Option<&[&str]>,
    threads: usize,
) -> Result<Reader> {
    let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| match format {
        Format::Parquet => parquet(path, columns, threads),
        Format::ArrowIpc | Format::ArrowStream => arrow_ipc(path),
        Format::Csv | Format::JsonLines => {
            let csv = format == Format::Csv;
            text::table(path, csv, input(path)?, kinds.unwrap_or_default(), columns).map(|o| in_chunks(path, o))
        }
    }));
    let reader = opened.unwrap_or_else(|_| Err(broken(path, &"the file is damaged")))?;
    if reader.schema.fields().len() > MAX_COLUMNS {
        return Err(Error::Limit(format!("{path}: more than {MAX_COLUMNS} columns")));
    }
    Ok(reader)
}

/// Opens a table that a model reads. Of formats of text come the model's columns alone, read as the executable and the
/// server read them: every row of JSON has all of them, or is a list in their order.
///
/// # Errors
/// As [`open`], and [`Error::MissingColumn`] for a header of CSV that lacks a column.
pub fn open_inputs(path: &str, format: Format, inputs: Inputs, threads: usize) -> Result<Reader> {
    match format {
        Format::Csv | Format::JsonLines => {
            let opened = text::inputs(path, format == Format::Csv, input(path)?, inputs)?;
            Ok(in_chunks(path, opened))
        }
        _ => {
            let names: Vec<&str> = inputs.columns().map(|c| c.0).collect();
            open_columns(path, format, None, inputs.is_named().then_some(&names), threads)
        }
    }
}

fn input(path: &str) -> Result<Box<dyn Read + Send>> {
    if path == "-" {
        return Ok(Box::new(io::stdin()));
    }
    Ok(Box::new(File::open(path).map_err(|e| io_error(path, &e))?))
}

fn in_chunks(path: &str, opened: Opened) -> Reader {
    let Opened { schema, decoder, chunks } = opened;
    let blocks = chunks.map(move |chunk| Ok(Block(Content::Text(Arc::clone(&decoder), chunk?))));
    Reader { path: path.to_owned(), schema, total: None, blocks: Box::new(blocks) }
}

#[cfg(not(feature = "parquet"))]
fn parquet(_: &str, _: Option<&[&str]>, _: usize) -> Result<Reader> {
    Err(crate::format::no_parquet())
}

#[cfg(feature = "parquet")]
fn parquet(path: &str, columns: Option<&[&str]>, threads: usize) -> Result<Reader> {
    if path == "-" {
        return Err(Error::parameter("format", "'csv', 'arrow' or 'jsonl' on standard input", "'parquet'"));
    }
    let mut file = File::open(path).map_err(|e| io_error(path, &e))?;
    if !footer::fits(&mut file).map_err(|e| io_error(path, &e))? {
        return Err(broken(path, &"it is no Parquet file, or its footer is damaged"));
    }
    let metadata = ArrowReaderMetadata::load(&file, ArrowReaderOptions::default()).map_err(|e| broken(path, &e))?;
    let total = u64::try_from(metadata.metadata().file_metadata().num_rows()).ok();
    let fields = metadata.schema().fields();
    let mut wanted: Vec<usize> = (0..fields.len()).collect();
    if let Some(columns) = columns {
        let columns: HashSet<&str> = columns.iter().copied().collect();
        // A table that lacks one is read whole, so that the error can name what is there.
        let names: HashSet<&str> = fields.iter().map(|f| f.name().as_str()).collect();
        if columns.is_subset(&names) {
            wanted.retain(|&i| columns.contains(fields[i].name().as_str()));
        }
    }
    if threads > 1 && wanted.len() > 1 {
        let schema = SchemaRef::new(metadata.schema().project(&wanted).map_err(|e| broken(path, &e))?);
        let batches = Columns::open(path, &metadata, &wanted, SchemaRef::clone(&schema), threads)?;
        return Ok(ready(path, schema, total, batches));
    }
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata);
    let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
    let reader = builder.with_batch_size(BATCH).with_projection(mask).build().map_err(|e| broken(path, &e))?;
    Ok(arrow(path, reader.schema(), total, reader))
}

fn arrow_ipc(path: &str) -> Result<Reader> {
    if path == "-" {
        let reader = ipc::Stream::whole(BufReader::new(io::stdin())).map_err(|e| broken(path, &e))?;
        return Ok(arrow(path, reader.schema(), None, reader));
    }
    let mut file = BufReader::new(File::open(path).map_err(|e| io_error(path, &e))?);
    if ipc::is_file(&mut file).map_err(|e| io_error(path, &e))? {
        let reader = ipc::Blocks::new(file).map_err(|e| broken(path, &e))?;
        Ok(arrow(path, reader.schema(), None, reader))
    } else {
        let reader = ipc::Stream::whole(file).map_err(|e| broken(path, &e))?;
        Ok(arrow(path, reader.schema(), None, reader))
    }
}

fn arrow<E: std::fmt::Display>(
    path: &str,
    schema: SchemaRef,
    total: Option<u64>,
    batches: impl Iterator<Item = Result<RecordBatch, E>> + Send + 'static,
) -> Reader {
    let name = path.to_owned();
    ready(path, schema, total, batches.map(move |b| b.map_err(|e| broken(&name, &e))))
}

fn ready(
    path: &str,
    schema: SchemaRef,
    total: Option<u64>,
    batches: impl Iterator<Item = Result<RecordBatch>> + Send + 'static,
) -> Reader {
    let blocks = Box::new(batches.map(|b| Ok(Block(Content::Ready(b?)))));
    Reader { path: path.to_owned(), schema, total, blocks }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Frame, OutputColumn, OutputKind, Writer};
    use std::path::PathBuf;

    fn file(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("corten-data-{}-{name}", std::process::id()))
    }

    fn read(path: &str, format: Format) -> Result<Frame> {
        let reader = open(path, format, None)?;
        let schema = reader.schema().clone();
        Frame::from_batches(&schema, reader.collect::<Result<Vec<_>>>()?)
    }

    #[test]
    fn every_format_gives_back_what_was_written() {
        let columns = [
            ("x".to_owned(), OutputKind::Float),
            ("n".to_owned(), OutputKind::Int),
            ("ok".to_owned(), OutputKind::Bool),
            ("name".to_owned(), OutputKind::Text),
        ];
        for (format, suffix) in [
            (Format::Csv, "csv"),
            (Format::JsonLines, "jsonl"),
            (Format::Parquet, "parquet"),
            (Format::ArrowIpc, "arrow"),
        ] {
            let path = file(&format!("round.{suffix}"));
            let path = path.to_str().unwrap();
            let mut writer = Writer::create(path, format, &columns).unwrap();
            for block in 0..3 {
                writer
                    .write(vec![
                        OutputColumn::Float(vec![0.1 + f64::from(block), f64::NAN, 1e-300]),
                        OutputColumn::Int(vec![1, -2, i64::MAX]),
                        OutputColumn::Bool(vec![true, false, true]),
                        OutputColumn::Text(vec![Some("a, \"b\"\nc".into()), None, Some("Ærø".into())]),
                    ])
                    .unwrap();
            }
            assert!(!std::path::Path::new(path).exists(), "no file before its end");
            writer.finish().unwrap();
            let frame = read(path, format).unwrap();
            let table = frame.table().unwrap();
            assert_eq!(table.rows(), 9, "{suffix}");
            let x = table.column("x").unwrap().to_f64().unwrap();
            assert!(x[3] == 1.1 && x[1].is_nan() && x[2] == 1e-300, "{suffix}");
            assert_eq!(table.column("n").unwrap().to_f64().unwrap()[1], -2.0);
            assert_eq!(table.column("ok").unwrap().type_name(), "bool", "{suffix}");
            let text = table.column("name").unwrap().as_text().unwrap();
            assert_eq!(text.get(0), Some("a, \"b\"\nc".as_bytes()), "{suffix}");
            assert_eq!((text.get(1), text.get(2)), (None, Some("Ærø".as_bytes())), "{suffix}");
            std::fs::remove_file(path).unwrap();
        }
    }

    #[test]
    fn a_writer_that_is_dropped_leaves_nothing() {
        let path = file("dropped.csv");
        let writer = Writer::create(path.to_str().unwrap(), Format::Csv, &[("a".into(), OutputKind::Int)]).unwrap();
        drop(writer);
        let left = std::fs::read_dir(std::env::temp_dir()).unwrap().flatten();
        assert!(
            !left
                .into_iter()
                .any(|e| e.file_name().to_string_lossy().contains(&format!("{}-dropped", std::process::id())))
        );
    }

    #[test]
    fn broken_files_are_errors_that_name_the_file() {
        for (name, format, bytes) in [
            ("a.parquet", Format::Parquet, &b"PAR1 this is no parquet PAR1"[..]),
            ("a.arrow", Format::ArrowIpc, b"ARROW1\0\0broken"),
            ("b.arrow", Format::ArrowIpc, b"\xff\xff\xff\xff\xff\xff\xff\x7f"),
            ("a.csv", Format::Csv, b"a,b\n1,2\n3\n"),
            ("b.csv", Format::Csv, b"a,a\n1,2\n"),
            ("a.jsonl", Format::JsonLines, b"{\"a\": 1}\n{\"a\": \n"),
            ("b.jsonl", Format::JsonLines, b"[1]\n"),
        ] {
            let path = file(name);
            std::fs::write(&path, bytes).unwrap();
            let error = read(path.to_str().unwrap(), format).unwrap_err().to_string();
            assert!(error.contains(name), "{name}: {error}");
            std::fs::remove_file(&path).unwrap();
        }
        assert!(matches!(read("/nowhere/x.csv", Format::Csv), Err(Error::Io { not_found: true, .. })));
    }

    #[test]
    fn parquet_is_the_same_table_for_any_threads_and_columns() {
        let path = file("threads.parquet");
        let path = path.to_str().unwrap();
        let kinds =
            [("x", OutputKind::Float), ("t", OutputKind::Text), ("n", OutputKind::Int), ("y", OutputKind::Float)];
        let columns: Vec<_> = kinds.iter().map(|(n, k)| ((*n).to_owned(), *k)).collect();
        let rows = 3 * BATCH as i64 + 77;
        let float = |by: f64| OutputColumn::Float((0..rows).map(|i| i as f64 * by).collect());
        let text = (0..rows).map(|i| (i % 3 > 0).then(|| format!("text {}", i % 101))).collect();
        let values = [float(0.5), OutputColumn::Text(text), OutputColumn::Int((0..rows).collect()), float(-2.0)];
        std::fs::write(path, Writer::to_bytes(Format::Parquet, &columns, &values).unwrap()).unwrap();

        let read = |wanted: Option<&[&str]>, threads| {
            let reader = open_columns(path, Format::Parquet, None, wanted, threads).unwrap();
            assert_eq!(reader.total_rows(), Some(rows as u64));
            let schema = reader.schema().clone();
            (schema, reader.collect::<Result<Vec<_>>>().unwrap())
        };
        let (schema, whole) = read(None, 1);
        assert_eq!((schema.fields().len(), whole.len()), (4, 4));
        for threads in [2, 3, 9] {
            assert_eq!(read(None, threads), (schema.clone(), whole.clone()), "{threads} threads");
        }
        for threads in [1, 2] {
            let some: Vec<_> = whole.iter().map(|b| b.project(&[0, 2]).unwrap()).collect();
            assert_eq!(read(Some(&["n", "x"]), threads).1, some);
            // What is missing is told from all that is there.
            assert_eq!(read(Some(&["n", "nowhere"]), threads).1, whole);
        }
        // A reader that is given up lets its threads go.
        drop(open_columns(path, Format::Parquet, None, None, 4).unwrap());

        // Damage in the pages of one column is an error, not the end.
        let mut bytes = std::fs::read(path).unwrap();
        bytes[4..2000].fill(0xff);
        std::fs::write(path, bytes).unwrap();
        for threads in [1, 4] {
            let read = open_columns(path, Format::Parquet, None, None, threads).unwrap().collect::<Result<Vec<_>>>();
            assert!(read.unwrap_err().to_string().contains("threads.parquet"));
        }
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_value_of_another_kind_is_named_by_row_and_column() {
        let path = file("kinds.csv");
        std::fs::write(&path, "a,b\n1,x\nzwei,y\n").unwrap();
        let kinds = [("a".to_owned(), Kind::Number), ("b".to_owned(), Kind::Text)];
        let error = open(path.to_str().unwrap(), Format::Csv, Some(&kinds))
            .and_then(|r| r.collect::<Result<Vec<_>>>())
            .unwrap_err()
            .to_string();
        assert!(error.contains("'a'") && error.contains("'zwei'") && error.contains("line 3"), "{error}");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn tables_of_text_are_told_from_their_first_rows() {
        let types = |name: &str, text: &str, columns: Option<&[&str]>| {
            let path = file(name);
            std::fs::write(&path, text).unwrap();
            let format = Format::of_path(name).unwrap();
            let read = open_columns(path.to_str().unwrap(), format, None, columns, 1).and_then(|reader| {
                let schema = reader.schema().clone();
                let rows = reader.collect::<Result<Vec<_>>>()?.iter().map(RecordBatch::num_rows).sum::<usize>();
                let field = |f: &std::sync::Arc<arrow_schema::Field>| format!("{}: {}", f.name(), f.data_type());
                Ok((rows, schema.fields().iter().map(field).collect::<Vec<_>>().join(", ")))
            });
            std::fs::remove_file(&path).unwrap();
            read.map_err(|e| e.to_string())
        };
        let csv = "i,f,b,t,n\n1,1,true,a,\n,2.5,False,1,\n-3,NA,,true,\n";
        let all = "i: Int64, f: Float64, b: Boolean, t: Utf8, n: Float64".to_owned();
        assert_eq!(types("told.csv", csv, None), Ok((3, all)));
        assert_eq!(types("some.csv", csv, Some(&["t", "i"])), Ok((3, "i: Int64, t: Utf8".into())));
        // What comes up after the rows that were looked at is left out, and what a row lacks is missing.
        let json = "{\"i\": 1, \"t\": \"x\"}\n{\"f\": 1.0, \"b\": true}\n";
        let long = format!("{json}{}{{\"late\": [1], \"i\": 2}}\n", "{\"f\": 2}\n".repeat(998));
        let wanted = "i: Int64, t: Utf8, f: Float64, b: Boolean";
        assert_eq!(types("told.jsonl", &long, None), Ok((1001, wanted.into())));
        let late = types("late.jsonl", &long.replace("\"i\": 2", "\"i\": 2.5"), None).unwrap_err();
        assert!(late.contains("'i'") && late.contains("line 1001: 2.5 is no integer"), "{late}");
        let twice = types("twice.jsonl", "{\"i\": 1, \"i\": 2}\n", None).unwrap_err();
        assert!(twice.contains("line 1: comes twice in a row"), "{twice}");
        assert!(types("list.jsonl", "{\"i\": [1]}\n", None).unwrap_err().contains("must be a number, text"));
        assert!(types("empty.csv", "", None).unwrap_err().contains("is empty; its first line must name"));
    }

    #[test]
    fn a_reader_whose_library_panicked_has_ended() {
        let schema = std::sync::Arc::new(arrow_schema::Schema::empty());
        let batches = std::iter::from_fn(|| -> Option<Result<RecordBatch>> { panic!("a defect") });
        let mut reader = ready("x.parquet", schema, None, batches);
        let error = reader.next().unwrap().unwrap_err().to_string();
        assert!(error.contains("x.parquet") && error.contains("damaged"), "{error}");
        assert!(reader.next().is_none());
    }
}
