//! Writing tables: beside the target first, then renamed.

mod text;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_ipc::writer::{FileWriter, StreamWriter};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use corten_core::{Error, OutputColumn, OutputKind, Result};
#[cfg(feature = "parquet")]
use parquet::arrow::ArrowWriter;

use crate::Format;
use crate::reader::plain;

/// Most bytes of a file's own name in that of the unfinished one: file systems take 255 in all.
const MAX_HEAD: usize = 200;

/// The schema of a table of answers.
pub fn schema_of(columns: &[(String, OutputKind)]) -> SchemaRef {
    let field = |(name, kind): &(String, OutputKind)| {
        let data_type = match kind {
            OutputKind::Float => DataType::Float64,
            OutputKind::Int => DataType::Int64,
            OutputKind::Bool => DataType::Boolean,
            OutputKind::Text => DataType::Utf8,
        };
        Field::new(name, data_type, true)
    };
    Arc::new(Schema::new(columns.iter().map(field).collect::<Vec<_>>()))
}

/// Rows of a table of answers.
pub(crate) fn batch_of(schema: &SchemaRef, columns: &[OutputColumn]) -> Result<RecordBatch> {
    let arrays = columns.iter().map(array).collect();
    RecordBatch::try_new(Arc::clone(schema), arrays)
        .map_err(|e| Error::Internal(format!("a block of output doesn't fit its table: {e}")))
}

fn array(column: &OutputColumn) -> ArrayRef {
    match column {
        OutputColumn::Float(v) => Arc::new(Float64Array::from(v.clone())),
        OutputColumn::Int(v) => Arc::new(Int64Array::from(v.clone())),
        OutputColumn::Bool(v) => Arc::new(BooleanArray::from(v.clone())),
        OutputColumn::Text(v) => Arc::new(v.iter().map(Option::as_deref).collect::<StringArray>()),
    }
}

/// Where bytes go: standard output, or a file that gets its name at the end.
struct Target {
    out: Box<dyn Write + Send>,
}

/// Bytes in memory that outlive the writer.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Write for Target {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.out.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

enum Sink {
    Text(Target),
    #[cfg(feature = "parquet")]
    Parquet(Box<ArrowWriter<Target>>),
    ArrowIpc(Box<FileWriter<Target>>),
    ArrowStream(Box<StreamWriter<Target>>),
}

/// Makes of answers what a table takes; rows of text are written down then, on whichever thread asks.
#[derive(Clone)]
pub struct Encoder {
    format: Format,
    names: Arc<[String]>,
}

/// A block of rows for a table.
pub struct Encoded(Rows);

enum Rows {
    Text(Vec<u8>),
    Columns(Vec<OutputColumn>),
}

impl Encoder {
    /// Encodes rows: one column of values a column of the table, all of one length.
    ///
    /// # Errors
    /// [`Error::Internal`] when the columns don't fit the table.
    pub fn encode(&self, columns: Vec<OutputColumn>) -> Result<Encoded> {
        let rows = columns.first().map_or(0, OutputColumn::len);
        if columns.len() != self.names.len() || columns.iter().any(|c| c.len() != rows) {
            return Err(Error::Internal("a block of output doesn't fit its table".into()));
        }
        Ok(Encoded(match self.format {
            Format::Csv => Rows::Text(text::csv(&columns, rows)),
            Format::JsonLines => Rows::Text(text::json(&self.names, &columns, rows)),
            Format::Parquet | Format::ArrowIpc | Format::ArrowStream => Rows::Columns(columns),
        }))
    }
}

/// A table being written. Dropped without [`Writer::finish`], it leaves nothing behind.
pub struct Writer {
    sink: Option<Sink>,
    encoder: Encoder,
    schema: SchemaRef,
    path: String,
    /// The unfinished file and its final name.
    files: Option<(PathBuf, PathBuf)>,
    /// Whether the file must be on the disk before it gets its name.
    durable: bool,
}

/// The name of an unfinished file: unlike all others of this process, and no longer than file systems take.
fn beside(place: &Path, suffix: &str) -> Option<PathBuf> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let name = place.file_name()?.to_string_lossy();
    let head = &name[..name.floor_char_boundary(MAX_HEAD)];
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    Some(place.with_file_name(format!(".{head}.{}-{count}.{suffix}", std::process::id())))
}

impl Writer {
    /// Starts a table; `-` is standard output. Arrow IPC is written as a stream there, and into pipes.
    ///
    /// # Errors
    /// [`Error::Io`] when the file can't be made.
    pub fn create(path: &str, format: Format, columns: &[(String, OutputKind)]) -> Result<Self> {
        Self::begin(path, format, columns, false)
    }

    /// The same, of a file that outlives a loss of power once it has its name. Until then it is called
    /// `.NAME.NUMBERS.corten-part`, where a long name is cut.
    ///
    /// # Errors
    /// [`Error::Io`] when the file can't be made.
    pub fn create_durable(path: &str, format: Format, columns: &[(String, OutputKind)]) -> Result<Self> {
        Self::begin(path, format, columns, true)
    }

    fn begin(path: &str, format: Format, columns: &[(String, OutputKind)], durable: bool) -> Result<Self> {
        let is_device = fs::metadata(path).is_ok_and(|m| !m.is_file() && !m.is_dir());
        let stream = if format == Format::ArrowIpc { Format::ArrowStream } else { format };
        if path == "-" {
            let target = Target { out: Box::new(BufWriter::new(io::stdout())) };
            return Self::to(target, None, "standard output", stream, columns, false);
        }
        if is_device {
            // A device or a pipe is written to where it is.
            let file = File::options().write(true).open(path);
            let file = file.map_err(|e| fault(path, "can't be written", Some(&e)))?;
            return Self::to(Target { out: Box::new(BufWriter::new(file)) }, None, path, stream, columns, false);
        }
        let place = Path::new(path);
        let part = beside(place, if durable { "corten-part" } else { "part" });
        let part = part.ok_or_else(|| fault(path, "is no name of a file", None))?;
        let file = File::create(&part).map_err(|e| fault(path, "can't be written", Some(&e)))?;
        let target = Target { out: Box::new(BufWriter::with_capacity(1 << 16, file)) };
        Self::to(target, Some((part, place.to_path_buf())), path, format, columns, durable)
    }

    fn to(
        target: Target,
        files: Option<(PathBuf, PathBuf)>,
        path: &str,
        format: Format,
        columns: &[(String, OutputKind)],
        durable: bool,
    ) -> Result<Self> {
        let schema = schema_of(columns);
        let encoder = Encoder { format, names: columns.iter().map(|c| c.0.clone()).collect() };
        let mut writer = Self { sink: None, encoder, schema, path: path.to_owned(), files, durable };
        writer.sink = Some(writer.open(target)?);
        Ok(writer)
    }

    /// Writes a table into memory.
    ///
    /// # Errors
    /// [`Error::Internal`] when the columns don't fit each other.
    pub fn to_bytes(format: Format, columns: &[(String, OutputKind)], values: &[OutputColumn]) -> Result<Vec<u8>> {
        let buffer = Buffer::default();
        let target = Target { out: Box::new(buffer.clone()) };
        let mut writer = Self::to(target, None, "memory", format, columns, false)?;
        writer.write(values.to_vec())?;
        writer.finish()?;
        Ok(std::mem::take(&mut *buffer.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    fn open(&self, mut target: Target) -> Result<Sink> {
        let other = |e: &dyn std::fmt::Display| self.failed(e);
        Ok(match self.encoder.format {
            Format::Csv => {
                target.write_all(&text::header(&self.encoder.names)).map_err(|e| other(&e))?;
                Sink::Text(target)
            }
            Format::JsonLines => Sink::Text(target),
            #[cfg(not(feature = "parquet"))]
            Format::Parquet => return Err(crate::format::no_parquet()),
            #[cfg(feature = "parquet")]
            Format::Parquet => Sink::Parquet(Box::new(
                ArrowWriter::try_new(target, Arc::clone(&self.schema), None).map_err(|e| other(&e))?,
            )),
            Format::ArrowIpc => {
                Sink::ArrowIpc(Box::new(FileWriter::try_new(target, &self.schema).map_err(|e| other(&e))?))
            }
            Format::ArrowStream => {
                Sink::ArrowStream(Box::new(StreamWriter::try_new(target, &self.schema).map_err(|e| other(&e))?))
            }
        })
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> Error {
        Error::Io { path: self.path.clone(), problem: format!("can't be written: {}", plain(error)), not_found: false }
    }

    /// What makes blocks for this table on other threads.
    pub fn encoder(&self) -> Encoder {
        self.encoder.clone()
    }

    /// Appends rows: one column of values a column of the table, all of one length.
    ///
    /// # Errors
    /// [`Error::Io`] when the disk is full or the reader of a pipe is gone; [`Error::Internal`] when the columns don't
    /// fit the table.
    pub fn write(&mut self, columns: Vec<OutputColumn>) -> Result<()> {
        let encoded = self.encoder.encode(columns)?;
        self.append(encoded)
    }

    /// Appends rows that this table's [`Encoder`] made.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub fn append(&mut self, rows: Encoded) -> Result<()> {
        let Some(mut sink) = self.sink.take() else {
            return Err(Error::Internal("a table is written after its end".into()));
        };
        let written = self.write_to(&mut sink, rows);
        self.sink = Some(sink);
        written
    }

    fn write_to(&self, sink: &mut Sink, Encoded(rows): Encoded) -> Result<()> {
        match (sink, rows) {
            (Sink::Text(out), Rows::Text(bytes)) => out.write_all(&bytes).map_err(|e| self.failed(&e)),
            #[cfg(feature = "parquet")]
            (Sink::Parquet(out), Rows::Columns(columns)) => {
                out.write(&batch_of(&self.schema, &columns)?).map_err(|e| self.failed(&e))
            }
            (Sink::ArrowIpc(out), Rows::Columns(columns)) => {
                out.write(&batch_of(&self.schema, &columns)?).map_err(|e| self.failed(&e))
            }
            (Sink::ArrowStream(out), Rows::Columns(columns)) => {
                out.write(&batch_of(&self.schema, &columns)?).map_err(|e| self.failed(&e))
            }
            _ => Err(Error::Internal("a block was encoded for another table".into())),
        }
    }

    /// Hands what was written so far to the system, for a reader of a pipe who waits for it. Parquet keeps its own blocks.
    ///
    /// # Errors
    /// [`Error::Io`] when the reader is gone.
    pub fn flush(&mut self) -> Result<()> {
        let done = match &mut self.sink {
            Some(Sink::Text(out)) => out.flush().map_err(|e| e.to_string()),
            Some(Sink::ArrowIpc(out)) => out.flush().map_err(|e| e.to_string()),
            Some(Sink::ArrowStream(out)) => out.flush().map_err(|e| e.to_string()),
            _ => Ok(()),
        };
        done.map_err(|e| self.failed(&e))
    }

    /// Writes what is left and gives the file its name.
    ///
    /// # Errors
    /// [`Error::Io`]; nothing is left behind then.
    pub fn finish(mut self) -> Result<()> {
        let done = match self.sink.take() {
            Some(Sink::Text(out)) => Ok(out),
            #[cfg(feature = "parquet")]
            Some(Sink::Parquet(out)) => out.into_inner().map_err(|e| self.failed(&e)),
            Some(Sink::ArrowIpc(out)) => out.into_inner().map_err(|e| self.failed(&e)),
            Some(Sink::ArrowStream(out)) => out.into_inner().map_err(|e| self.failed(&e)),
            None => return Ok(()),
        };
        done?.flush().map_err(|e| self.failed(&e))?;
        if let Some((part, place)) = &self.files {
            let sync = |path: &Path| File::open(path).and_then(|f| f.sync_all()).map_err(|e| self.failed(&e));
            if self.durable {
                sync(part)?;
            }
            fs::rename(part, place).map_err(|e| self.failed(&e))?;
            if self.durable {
                let folder = place.parent().filter(|p| !p.as_os_str().is_empty());
                sync(folder.unwrap_or(Path::new(".")))?;
            }
        }
        self.files = None;
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.sink = None;
        if let Some((part, _)) = &self.files {
            // Nothing else can be done about a file that can't be removed.
            let _ = fs::remove_file(part);
        }
    }
}

fn fault(path: &str, problem: &str, error: Option<&io::Error>) -> Error {
    Error::Io {
        path: path.to_owned(),
        problem: error.map_or_else(|| problem.to_owned(), |e| format!("{problem}: {e}")),
        not_found: error.is_some_and(|e| e.kind() == io::ErrorKind::NotFound),
    }
}
