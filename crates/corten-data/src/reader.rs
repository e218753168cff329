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
use std::io::{self, BufRead, BufReader};

use arrow_array::RecordBatch;
#[cfg(feature = "parquet")]
use arrow_array::RecordBatchReader;
use arrow_schema::SchemaRef;
use corten_core::{Error, Kind, Result};
#[cfg(feature = "parquet")]
use parquet::arrow::ProjectionMask;
#[cfg(feature = "parquet")]
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};

use crate::Format;
#[cfg(feature = "parquet")]
use columns::Columns;
use text::{CsvRows, JsonRows, TextReader};

/// Rows of a block.
pub(crate) const BATCH: usize = 16_384;
/// Most columns of a table.
const MAX_COLUMNS: usize = 100_000;

/// A table that is read block by block, in constant memory.
pub struct Reader {
    path: String,
    schema: SchemaRef,
    total: Option<u64>,
    batches: Box<dyn Iterator<Item = Result<RecordBatch>> + Send>,
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
}

impl Iterator for Reader {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        // A defect in a format's library must not take the process down: it becomes an error of this file.
        let next = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.batches.next()));
        next.unwrap_or_else(|_| {
            // What it left behind is not asked again.
            self.batches = Box::new(std::iter::empty());
            Some(Err(broken(&self.path, &"the file is damaged")))
        })
    }
}

fn broken(path: &str, error: &dyn std::fmt::Display) -> Error {
    Error::value(format!("{path}: can't be read: {error}"))
}

fn io_error(path: &str, error: &io::Error) -> Error {
    Error::Io {
        path: path.to_owned(),
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
        Format::ArrowIpc => arrow_ipc(path),
        Format::Csv => CsvRows::new(path, input(path)?).and_then(|rows| lines(path, rows, kinds)),
        Format::JsonLines => lines(path, JsonRows::new(input(path)?), kinds),
    }));
    let reader = opened.unwrap_or_else(|_| Err(broken(path, &"the file is damaged")))?;
    if reader.schema.fields().len() > MAX_COLUMNS {
        return Err(Error::Limit(format!("{path}: more than {MAX_COLUMNS} columns")));
    }
    Ok(reader)
}

fn input(path: &str) -> Result<Box<dyn BufRead + Send>> {
    if path == "-" {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    let file = File::open(path).map_err(|e| io_error(path, &e))?;
    Ok(Box::new(BufReader::with_capacity(1 << 18, file)))
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
        let batches = Box::new(Columns::open(path, &metadata, &wanted, SchemaRef::clone(&schema), threads)?);
        return Ok(Reader { path: path.to_owned(), schema, total, batches });
    }
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata);
    let mask = ProjectionMask::roots(builder.parquet_schema(), wanted);
    let reader = builder.with_batch_size(BATCH).with_projection(mask).build().map_err(|e| broken(path, &e))?;
    Ok(arrow(path, reader.schema(), total, reader))
}

fn arrow_ipc(path: &str) -> Result<Reader> {
    if path == "-" {
        let reader = ipc::Stream::new(BufReader::new(io::stdin())).map_err(|e| broken(path, &e))?;
        return Ok(arrow(path, reader.schema(), None, reader));
    }
    let mut file = BufReader::new(File::open(path).map_err(|e| io_error(path, &e))?);
    if ipc::is_file(&mut file).map_err(|e| io_error(path, &e))? {
        let reader = ipc::Blocks::new(file).map_err(|e| broken(path, &e))?;
        Ok(arrow(path, reader.schema(), None, reader))
    } else {
        let reader = ipc::Stream::new(file).map_err(|e| broken(path, &e))?;
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
    let batches = Box::new(batches.map(move |b| b.map_err(|e| broken(&name, &e))));
    Reader { path: path.to_owned(), schema, total, batches }
}

fn lines(path: &str, rows: impl text::Rows + Send + 'static, kinds: Option<&[(String, Kind)]>) -> Result<Reader> {
    let reader = TextReader::new(path, rows, kinds)?;
    Ok(Reader { path: path.to_owned(), schema: reader.schema(), total: None, batches: Box::new(reader) })
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
                    .write(&[
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
        assert!(error.contains("'a'") && error.contains("'zwei'") && error.contains("row 2"), "{error}");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_reader_whose_library_panicked_has_ended() {
        let schema = std::sync::Arc::new(arrow_schema::Schema::empty());
        let batches = std::iter::from_fn(|| -> Option<Result<RecordBatch>> { panic!("a defect") });
        let mut reader = Reader { path: "x.parquet".into(), schema, total: None, batches: Box::new(batches) };
        let error = reader.next().unwrap().unwrap_err().to_string();
        assert!(error.contains("x.parquet") && error.contains("damaged"), "{error}");
        assert!(reader.next().is_none());
    }
}
