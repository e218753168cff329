//! Several files read as one table, block by block and as often as asked.

use std::fs::File;
use std::io::BufWriter;
use std::sync::mpsc::sync_channel;

use arrow_array::{RecordBatch, RecordBatchReader};
use arrow_ipc::CompressionType;
use arrow_ipc::writer::{IpcWriteOptions, StreamWriter};
use arrow_schema::{DataType, Schema, SchemaRef};
use corten_core::{Error, Kind, Result, Table};

use crate::convert::table_of;
use crate::reader::{BATCH, open_columns, plain};
use crate::{Format, open};

/// Most files of a table.
const MAX_FILES: usize = 1_000_000;
/// Blocks that are read ahead.
const AHEAD: usize = 4;

/// Files of the same columns, in the order of their rows.
pub struct Files {
    paths: Vec<String>,
    formats: Vec<Format>,
    schema: SchemaRef,
    /// Of each column of the first file; `None` for a type that is neither.
    kinds: Vec<Option<Kind>>,
}

fn kinds_of(schema: &SchemaRef) -> Result<Vec<Option<Kind>>> {
    let empty = RecordBatch::new_empty(SchemaRef::clone(schema));
    let table = table_of(&empty)?;
    // Columns that tables leave out are never asked for.
    let kind = |name: &str| table.columns().iter().find(|c| c.name == name).and_then(|c| c.kind());
    Ok(schema.fields().iter().map(|f| kind(f.name())).collect())
}

impl Files {
    /// Looks at the first of some files; `format` is that of all where their names don't tell.
    ///
    /// # Errors
    /// [`Error::Value`] for no files, [`Error::Parameter`] for an unknown format, and what [`open`] gives.
    pub fn open(paths: Vec<String>, format: Option<Format>) -> Result<Self> {
        let Some(first) = paths.first() else { return Err(Error::value("no files to read")) };
        if paths.len() > MAX_FILES {
            return Err(Error::Limit(format!("{} files; at most {MAX_FILES} can be read", paths.len())));
        }
        if let Some(bad) = paths.iter().find(|p| *p == "-") {
            return Err(Error::parameter("X", "files that can be read more than once", format!("'{bad}'")));
        }
        let formats = match format {
            Some(format) => vec![format; paths.len()],
            None => paths.iter().map(|p| Format::of_path(p)).collect::<Result<_>>()?,
        };
        let schema = open(first, formats[0], None)?.schema().clone();
        let kinds = kinds_of(&schema)?;
        Ok(Self { paths, formats, schema, kinds })
    }

    /// The columns of the first file.
    pub fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    /// No rows of some columns.
    ///
    /// # Errors
    /// [`Error::MissingColumn`].
    pub fn head(&self, columns: &[&str]) -> Result<RecordBatch> {
        let fields = columns.iter().map(|name| self.field(name)).collect::<Result<Vec<_>>>()?;
        let schema = Schema::new(fields.into_iter().map(|i| self.schema.field(i).clone()).collect::<Vec<_>>());
        Ok(RecordBatch::new_empty(schema.into()))
    }

    fn field(&self, name: &str) -> Result<usize> {
        self.schema
            .index_of(name)
            .map_err(|_| Error::missing_column(name, self.schema.fields().iter().map(|f| f.name().as_str())))
    }

    /// Calls `each` with the rows of some columns, block after block.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Value`] naming the file: it can't be read, lacks a column, or has another kind of values
    /// in one than the first file; and what `each` gives.
    pub fn read(&self, columns: &[&str], each: &mut dyn FnMut(&Table<'_>) -> Result<()>) -> Result<()> {
        let wanted = columns.iter().map(|name| self.field(name)).collect::<Result<Vec<_>>>()?;
        let told: Vec<(String, Kind)> = self
            .schema
            .fields()
            .iter()
            .zip(&self.kinds)
            .filter_map(|(f, kind)| kind.map(|k| (f.name().clone(), k)))
            .collect();
        std::thread::scope(|scope| {
            let (send, receive) = sync_channel::<Result<RecordBatch>>(AHEAD);
            scope.spawn(move || {
                for (path, &format) in self.paths.iter().zip(&self.formats) {
                    let opened = open_columns(path, format, Some(&told), Some(columns), 1);
                    let batches = opened.and_then(|reader| {
                        let places = self.places(path, reader.schema(), columns, &wanted)?;
                        Ok((reader, places))
                    });
                    let (reader, places) = match batches {
                        Ok(both) => both,
                        Err(error) => return drop(send.send(Err(error))),
                    };
                    for batch in reader {
                        let own = batch.and_then(|b| {
                            b.project(&places).map_err(|e| Error::value(format!("{path}: can't be read: {e}")))
                        });
                        let is_bad = own.is_err();
                        // Nobody listens any more, or will after an error.
                        if send.send(own).is_err() || is_bad {
                            return;
                        }
                    }
                }
            });
            for batch in receive {
                each(&table_of(&batch?)?)?;
            }
            Ok(())
        })
    }

    /// Where a file has some columns.
    fn places(&self, path: &str, schema: &SchemaRef, columns: &[&str], wanted: &[usize]) -> Result<Vec<usize>> {
        let kinds = kinds_of(schema)?;
        let place = |(name, &at): (&&str, &usize)| {
            let place = schema
                .index_of(name)
                .map_err(|_| Error::value(format!("{path}: has no column '{name}', which {} has", self.paths[0])))?;
            let types: [&DataType; 2] = [schema.field(place).data_type(), self.schema.field(at).data_type()];
            if kinds[place] != self.kinds[at] {
                let [own, first] = types;
                return Err(Error::value(format!(
                    "{path}: column '{name}' holds {own}, but {first} in {}",
                    self.paths[0]
                )));
            }
            Ok(place)
        };
        columns.iter().zip(wanted).map(place).collect()
    }
}

/// Writes what a reader gives into a file of Arrow's stream format that can be read again; the number of rows.
///
/// # Errors
/// [`Error::Value`] when the reader breaks off, [`Error::Io`] naming the file when it can't be written, and what `check`
/// gives between blocks.
pub fn spool(reader: impl RecordBatchReader, path: &str, check: &dyn Fn() -> Result<()>) -> Result<u64> {
    let fault = |e: &dyn std::fmt::Display| Error::Io {
        path: path.to_owned(),
        problem: format!(
            "can't be written: {} (the rows of a stream lie there; TMPDIR names another folder)",
            plain(e)
        ),
        not_found: false,
    };
    let file = File::create_new(path).map_err(|e| fault(&e))?;
    let options = IpcWriteOptions::default().try_with_compression(Some(CompressionType::LZ4_FRAME));
    let options = options.map_err(|e| fault(&e))?;
    let mut writer =
        StreamWriter::try_new_with_options(BufWriter::new(file), &reader.schema(), options).map_err(|e| fault(&e))?;
    let mut rows = 0;
    for batch in reader {
        check()?;
        let batch = batch.map_err(|e| Error::value(format!("the stream can't be read: {}", plain(&e))))?;
        // Blocks as small as those of files, whatever the stream's are.
        for from in (0..batch.num_rows()).step_by(BATCH) {
            let part = batch.slice(from, BATCH.min(batch.num_rows() - from));
            writer.write(&part).map_err(|e| fault(&e))?;
        }
        rows += batch.num_rows() as u64;
    }
    writer.finish().map_err(|e| fault(&e))?;
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{OutputColumn, OutputKind, Writer};

    fn write(name: &str, columns: &[(&str, OutputColumn)]) -> String {
        let path = std::env::temp_dir().join(format!("corten-files-{}-{name}", std::process::id()));
        let path = path.to_str().unwrap().to_owned();
        let kind = |c: &OutputColumn| match c {
            OutputColumn::Float(_) => OutputKind::Float,
            OutputColumn::Int(_) => OutputKind::Int,
            OutputColumn::Bool(_) => OutputKind::Bool,
            OutputColumn::Text(_) => OutputKind::Text,
        };
        let kinds: Vec<_> = columns.iter().map(|(n, c)| ((*n).to_owned(), kind(c))).collect();
        let values: Vec<_> = columns.iter().map(|c| c.1.clone()).collect();
        std::fs::write(&path, Writer::to_bytes(Format::of_path(&path).unwrap(), &kinds, &values).unwrap()).unwrap();
        path
    }

    fn numbers(files: &Files, column: &str) -> Result<Vec<f64>> {
        let mut out = Vec::new();
        files.read(&[column], &mut |table| {
            out.extend_from_slice(&table.columns()[0].to_f64()?);
            Ok(())
        })?;
        Ok(out)
    }

    #[test]
    fn files_of_any_formats_and_orders_of_columns_read_as_one_table_again_and_again() {
        let float = |v: &[f64]| OutputColumn::Float(v.to_vec());
        let int = |v: &[i64]| OutputColumn::Int(v.to_vec());
        let text = OutputColumn::Text(vec![Some("a".into()), None]);
        let paths = vec![
            write("a.parquet", &[("x", float(&[1.5, 2.0])), ("t", text.clone()), ("y", int(&[1, 2]))]),
            write("b.arrow", &[("y", int(&[3, 4])), ("x", int(&[5, 6])), ("t", text.clone())]),
            write("c.csv", &[("t", text.clone()), ("y", int(&[5, 6])), ("x", float(&[7.5, 8.5]))]),
        ];
        let files = Files::open(paths.clone(), None).unwrap();
        for _ in 0..2 {
            assert_eq!(numbers(&files, "x").unwrap(), [1.5, 2.0, 5.0, 6.0, 7.5, 8.5]);
            assert_eq!(numbers(&files, "y").unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        }
        assert!(matches!(numbers(&files, "z"), Err(Error::MissingColumn { .. })));
        // A reader that is given up lets its thread go.
        let stopped = files.read(&["x"], &mut |_| Err(Error::Cancelled));
        assert_eq!(stopped, Err(Error::Cancelled));

        let other = write("d.parquet", &[("x", text)]);
        let wrong = Files::open(vec![paths[0].clone(), other.clone()], None).unwrap();
        let error = numbers(&wrong, "x").unwrap_err().to_string();
        assert!(error.contains("d.parquet: column 'x' holds Utf8, but Float64 in"), "{error}");
        let error = numbers(&wrong, "y").unwrap_err().to_string();
        assert!(error.contains("d.parquet: has no column 'y'"), "{error}");
        std::fs::write(&other, b"PAR1 no table PAR1").unwrap();
        assert!(numbers(&wrong, "x").unwrap_err().to_string().contains("d.parquet"));
        for path in paths.iter().chain([&other]) {
            std::fs::remove_file(path).unwrap();
        }
        assert!(Files::open(Vec::new(), None).is_err());
    }
}
