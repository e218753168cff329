//! Writing tables: beside the target first, then renamed.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use corten_core::{Error, OutputColumn, OutputKind, Result};
#[cfg(feature = "parquet")]
use parquet::arrow::ArrowWriter;

use crate::Format;

/// The schema of a table of answers.
pub(crate) fn schema_of(columns: &[(String, OutputKind)]) -> SchemaRef {
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
    Csv(Box<csv::Writer<Target>>),
    JsonLines(Target),
    #[cfg(feature = "parquet")]
    Parquet(Box<ArrowWriter<Target>>),
    ArrowIpc(Box<StreamWriter<Target>>),
}

/// A table being written. Dropped without [`Writer::finish`], it leaves nothing behind.
pub struct Writer {
    sink: Option<Sink>,
    names: Vec<String>,
    schema: SchemaRef,
    path: String,
    /// The unfinished file and its final name.
    files: Option<(PathBuf, PathBuf)>,
}

impl Writer {
    /// Starts a table; `-` is standard output.
    ///
    /// # Errors
    /// [`Error::Io`] when the file can't be made.
    pub fn create(path: &str, format: Format, columns: &[(String, OutputKind)]) -> Result<Self> {
        let is_device = fs::metadata(path).is_ok_and(|m| !m.is_file() && !m.is_dir());
        let (target, files) = if path == "-" {
            (Target { out: Box::new(BufWriter::new(io::stdout())) }, None)
        } else if is_device {
            // A device or a pipe is written to where it is.
            let file = File::options().write(true).open(path);
            let file = file.map_err(|e| fault(path, "can't be written", Some(&e)))?;
            (Target { out: Box::new(BufWriter::new(file)) }, None)
        } else {
            let place = Path::new(path);
            let name = place.file_name().ok_or_else(|| fault(path, "is no name of a file", None))?;
            let part = place.with_file_name(format!(".{}.{}.part", name.to_string_lossy(), std::process::id()));
            let file = File::create(&part).map_err(|e| fault(path, "can't be written", Some(&e)))?;
            (Target { out: Box::new(BufWriter::new(file)) }, Some((part, place.to_path_buf())))
        };
        Self::to(target, files, path, format, columns)
    }

    fn to(
        target: Target,
        files: Option<(PathBuf, PathBuf)>,
        path: &str,
        format: Format,
        columns: &[(String, OutputKind)],
    ) -> Result<Self> {
        let schema = schema_of(columns);
        let names: Vec<String> = columns.iter().map(|c| c.0.clone()).collect();
        let mut writer = Self { sink: None, names, schema, path: path.to_owned(), files };
        writer.sink = Some(writer.open(target, format)?);
        Ok(writer)
    }

    /// Writes a table into memory.
    ///
    /// # Errors
    /// [`Error::Internal`] when the columns don't fit each other.
    pub fn to_bytes(format: Format, columns: &[(String, OutputKind)], values: &[OutputColumn]) -> Result<Vec<u8>> {
        let buffer = Buffer::default();
        let mut writer = Self::to(Target { out: Box::new(buffer.clone()) }, None, "memory", format, columns)?;
        writer.write(values)?;
        writer.finish()?;
        Ok(std::mem::take(&mut *buffer.0.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    fn open(&self, target: Target, format: Format) -> Result<Sink> {
        let other = |e: &dyn std::fmt::Display| self.failed(e);
        Ok(match format {
            Format::Csv => {
                let mut sink = csv::Writer::from_writer(target);
                sink.write_record(&self.names).map_err(|e| other(&e))?;
                Sink::Csv(Box::new(sink))
            }
            Format::JsonLines => Sink::JsonLines(target),
            #[cfg(not(feature = "parquet"))]
            Format::Parquet => return Err(crate::format::no_parquet()),
            #[cfg(feature = "parquet")]
            Format::Parquet => Sink::Parquet(Box::new(
                ArrowWriter::try_new(target, Arc::clone(&self.schema), None).map_err(|e| other(&e))?,
            )),
            Format::ArrowIpc => {
                Sink::ArrowIpc(Box::new(StreamWriter::try_new(target, &self.schema).map_err(|e| other(&e))?))
            }
        })
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> Error {
        Error::Io { path: self.path.clone(), problem: format!("can't be written: {error}"), not_found: false }
    }

    /// Appends rows: one column of values a column of the table, all of one length.
    ///
    /// # Errors
    /// [`Error::Io`] when the disk is full or the reader of a pipe is gone; [`Error::Internal`] when the columns don't
    /// fit the table.
    pub fn write(&mut self, columns: &[OutputColumn]) -> Result<()> {
        let rows = columns.first().map_or(0, OutputColumn::len);
        if columns.len() != self.names.len() || columns.iter().any(|c| c.len() != rows) {
            return Err(Error::Internal("a block of output doesn't fit its table".into()));
        }
        let Some(mut sink) = self.sink.take() else {
            return Err(Error::Internal("a table is written after its end".into()));
        };
        let written = self.write_to(&mut sink, columns, rows);
        self.sink = Some(sink);
        written
    }

    fn write_to(&self, sink: &mut Sink, columns: &[OutputColumn], rows: usize) -> Result<()> {
        match sink {
            Sink::Csv(out) => {
                let mut field = String::new();
                for r in 0..rows {
                    for column in columns {
                        field.clear();
                        csv_field(column, r, &mut field);
                        out.write_field(&field).map_err(|e| self.failed(&e))?;
                    }
                    out.write_record(None::<&[u8]>).map_err(|e| self.failed(&e))?;
                }
            }
            Sink::JsonLines(out) => {
                let mut line = Vec::new();
                for r in 0..rows {
                    line.clear();
                    json_line(&self.names, columns, r, &mut line);
                    out.write_all(&line).map_err(|e| self.failed(&e))?;
                }
            }
            #[cfg(feature = "parquet")]
            Sink::Parquet(out) => out.write(&batch_of(&self.schema, columns)?).map_err(|e| self.failed(&e))?,
            Sink::ArrowIpc(out) => out.write(&batch_of(&self.schema, columns)?).map_err(|e| self.failed(&e))?,
        }
        Ok(())
    }

    /// Hands what was written so far to the system, for a reader of a pipe who waits for it. Parquet keeps its own blocks.
    ///
    /// # Errors
    /// [`Error::Io`] when the reader is gone.
    pub fn flush(&mut self) -> Result<()> {
        let done = match &mut self.sink {
            Some(Sink::Csv(out)) => out.flush().map_err(|e| e.to_string()),
            Some(Sink::JsonLines(out)) => out.flush().map_err(|e| e.to_string()),
            Some(Sink::ArrowIpc(out)) => out.flush().map_err(|e| e.to_string()),
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
            Some(Sink::Csv(mut out)) => out.flush().map_err(|e| self.failed(&e)),
            Some(Sink::JsonLines(mut out)) => out.flush().map_err(|e| self.failed(&e)),
            #[cfg(feature = "parquet")]
            Some(Sink::Parquet(out)) => {
                out.into_inner().map_err(|e| self.failed(&e)).and_then(|mut t| t.flush().map_err(|e| self.failed(&e)))
            }
            Some(Sink::ArrowIpc(mut out)) => out
                .finish()
                .map_err(|e| self.failed(&e))
                .and_then(|()| out.into_inner().map_err(|e| self.failed(&e)))
                .and_then(|mut t| t.flush().map_err(|e| self.failed(&e))),
            None => Ok(()),
        };
        done?;
        if let Some((part, place)) = &self.files {
            fs::rename(part, place).map_err(|e| self.failed(&e))?;
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

fn csv_field(column: &OutputColumn, row: usize, out: &mut String) {
    match column {
        OutputColumn::Float(v) if v[row].is_nan() => {}
        OutputColumn::Float(v) => out.push_str(ryu::Buffer::new().format(v[row])),
        OutputColumn::Int(v) => out.push_str(&v[row].to_string()),
        OutputColumn::Bool(v) => out.push_str(if v[row] { "true" } else { "false" }),
        OutputColumn::Text(v) => out.push_str(v[row].as_deref().unwrap_or_default()),
    }
}

fn json_line(names: &[String], columns: &[OutputColumn], row: usize, out: &mut Vec<u8>) {
    for (i, (name, column)) in names.iter().zip(columns).enumerate() {
        out.push(if i == 0 { b'{' } else { b',' });
        json_text(name, out);
        out.push(b':');
        match column {
            OutputColumn::Float(v) if !v[row].is_finite() => out.extend_from_slice(b"null"),
            OutputColumn::Text(v) => match &v[row] {
                Some(text) => json_text(text, out),
                None => out.extend_from_slice(b"null"),
            },
            _ => {
                let mut field = String::new();
                csv_field(column, row, &mut field);
                out.extend_from_slice(field.as_bytes());
            }
        }
    }
    out.extend_from_slice(if names.is_empty() { b"{}\n" } else { b"}\n" });
}

fn json_text(text: &str, out: &mut Vec<u8>) {
    // Text always has a JSON form.
    out.extend_from_slice(serde_json::to_string(text).unwrap_or_default().as_bytes());
}
