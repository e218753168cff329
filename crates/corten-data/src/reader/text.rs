//! Rows of text, from CSV or JSON lines, to typed columns.

use std::collections::{HashMap, HashSet};
use std::io::{self, BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use corten_core::{Error, Kind, Result};
use serde_json::Value;

use super::{BATCH, MAX_COLUMNS};

/// Rows that types are told from.
const LOOK_AT: usize = 1000;
/// Longest line of JSON and record of CSV.
const MAX_LINE: u64 = 16 << 20;
/// Bytes of rows that a block may take before it is turned into columns.
const MAX_BLOCK: usize = 128 << 20;

/// One value of a row.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Cell {
    Missing,
    Bool(bool),
    /// A number as it was written.
    Number(String),
    /// Text; in CSV it may be a number or a boolean as well.
    Text(String),
}

/// What a row takes in memory.
fn size(row: &[Cell]) -> usize {
    let text = |cell: &Cell| match cell {
        Cell::Number(t) | Cell::Text(t) => t.len(),
        Cell::Missing | Cell::Bool(_) => 0,
    };
    size_of_val(row) + row.iter().map(text).sum::<usize>()
}

/// Where rows come from.
pub(super) trait Rows {
    /// The names, when the source has them before the first row.
    fn names(&self) -> Option<Vec<String>>;
    /// Whether text may stand for numbers and booleans.
    fn untyped(&self) -> bool;
    /// The next row as (name or position, value); `None` at the end.
    fn next_row(&mut self, names: &mut Vec<String>, row: &mut Vec<Cell>) -> Result<bool>;
    /// Leaves out members that come from now on under new names.
    fn fix_names(&mut self) {}
}

/// An input that gives so many bytes and no more.
struct Metered {
    input: Box<dyn BufRead + Send>,
    left: Arc<AtomicU64>,
}

impl Read for Metered {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(out)?;
        match self.left.load(Ordering::Relaxed).checked_sub(count as u64) {
            Some(left) => self.left.store(left, Ordering::Relaxed),
            None => return Err(io::Error::other("a record is longer than 16 MiB")),
        }
        Ok(count)
    }
}

pub(super) struct CsvRows {
    reader: csv::Reader<Metered>,
    /// What a record may still take.
    left: Arc<AtomicU64>,
    record: csv::StringRecord,
    names: Vec<String>,
}

impl CsvRows {
    pub(super) fn new(path: &str, input: Box<dyn BufRead + Send>) -> Result<Self> {
        let left = Arc::new(AtomicU64::new(MAX_LINE));
        let mut reader = csv::ReaderBuilder::new().from_reader(Metered { input, left: left.clone() });
        let headers = reader.headers().map_err(|e| super::broken(path, &e))?;
        if headers.len() > MAX_COLUMNS {
            return Err(Error::Limit(format!("{path}: more than {MAX_COLUMNS} columns")));
        }
        let names = headers.iter().map(|n| n.trim_start_matches('\u{feff}').to_owned()).collect();
        Ok(Self { reader, left, record: csv::StringRecord::new(), names })
    }
}

impl Rows for CsvRows {
    fn names(&self) -> Option<Vec<String>> {
        Some(self.names.clone())
    }

    fn untyped(&self) -> bool {
        true
    }

    fn next_row(&mut self, _: &mut Vec<String>, row: &mut Vec<Cell>) -> Result<bool> {
        self.left.store(MAX_LINE, Ordering::Relaxed);
        if !self.reader.read_record(&mut self.record).map_err(Error::value)? {
            return Ok(false);
        }
        row.clear();
        row.extend(self.record.iter().map(|f| if f.is_empty() { Cell::Missing } else { Cell::Text(f.to_owned()) }));
        Ok(true)
    }
}

pub(super) struct JsonRows {
    input: Box<dyn BufRead + Send>,
    line: Vec<u8>,
    number: u64,
    /// The positions of the names.
    places: HashMap<String, usize>,
    fixed: bool,
}

impl JsonRows {
    pub(super) fn new(input: Box<dyn BufRead + Send>) -> Self {
        Self { input, line: Vec::new(), number: 0, places: HashMap::new(), fixed: false }
    }
}

impl Rows for JsonRows {
    fn names(&self) -> Option<Vec<String>> {
        None
    }

    fn untyped(&self) -> bool {
        false
    }

    fn next_row(&mut self, names: &mut Vec<String>, row: &mut Vec<Cell>) -> Result<bool> {
        loop {
            self.line.clear();
            self.number += 1;
            let fault = |e: &dyn std::fmt::Display, n| Error::value(format!("line {n}: {e}"));
            let n = self.number;
            let read = self.input.by_ref().take(MAX_LINE + 1).read_until(b'\n', &mut self.line);
            if read.map_err(|e| fault(&e, n))? == 0 {
                return Ok(false);
            }
            if self.line.len() as u64 > MAX_LINE {
                return Err(fault(&"is longer than 16 MiB", n));
            }
            if self.line.iter().all(u8::is_ascii_whitespace) {
                continue;
            }
            let Value::Object(object) = serde_json::from_slice(&self.line).map_err(|e| fault(&e, n))? else {
                return Err(fault(&"must be a JSON object", n));
            };
            // Names may have been added elsewhere too.
            for at in self.places.len()..names.len() {
                self.places.insert(names[at].clone(), at);
            }
            row.clear();
            row.resize(names.len(), Cell::Missing);
            for (name, value) in object {
                let place = self.places.get(&name).copied();
                if place.is_none() && self.fixed {
                    continue;
                }
                let cell = match value {
                    Value::Null => Cell::Missing,
                    Value::Bool(b) => Cell::Bool(b),
                    Value::Number(x) => Cell::Number(x.to_string()),
                    Value::String(s) => Cell::Text(s),
                    _ => return Err(fault(&format!("'{name}' must be a number, text, a boolean or null"), n)),
                };
                match place {
                    Some(at) => row[at] = cell,
                    None if names.len() >= MAX_COLUMNS => return Err(fault(&"too many columns", n)),
                    None => {
                        self.places.insert(name.clone(), names.len());
                        names.push(name);
                        row.push(cell);
                    }
                }
            }
            return Ok(true);
        }
    }

    fn fix_names(&mut self) {
        self.fixed = true;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Int,
    Float,
    Bool,
    Text,
}

/// A number as JSON and Python write it.
fn number(text: &str) -> Option<f64> {
    match text.trim() {
        "NaN" | "nan" | "NA" => Some(f64::NAN),
        t if t
            .as_bytes()
            .first()
            .is_some_and(|b| b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.' | b'i' | b'I')) =>
        {
            t.parse().ok()
        }
        _ => None,
    }
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

/// The narrowest type that holds all values; `None` where all are missing.
fn type_of<'c>(cells: impl Iterator<Item = &'c Cell>, untyped: bool) -> Option<Type> {
    let mut found: Option<Type> = None;
    for cell in cells {
        let this = match cell {
            Cell::Missing => continue,
            Cell::Bool(_) => Type::Bool,
            Cell::Number(t) if t.parse::<i64>().is_ok() => Type::Int,
            Cell::Number(_) => Type::Float,
            Cell::Text(t) if untyped && t.parse::<i64>().is_ok() => Type::Int,
            Cell::Text(t) if untyped && number(t).is_some() => Type::Float,
            Cell::Text(t) if untyped && boolean(t).is_some() => Type::Bool,
            Cell::Text(_) => return Some(Type::Text),
        };
        found = Some(match (found, this) {
            (None, this) => this,
            (Some(a), b) if a == b => a,
            (Some(Type::Int | Type::Float), Type::Int | Type::Float) => Type::Float,
            _ => return Some(Type::Text),
        });
    }
    found
}

/// Makes typed batches of rows.
pub(super) struct TextReader<R> {
    path: String,
    rows: R,
    names: Vec<String>,
    types: Vec<Type>,
    first: Vec<Vec<Cell>>,
    read: u64,
    done: bool,
}

impl<R: Rows> TextReader<R> {
    pub(super) fn new(path: &str, mut rows: R, kinds: Option<&[(String, Kind)]>) -> Result<Self> {
        let mut names = rows.names().unwrap_or_default();
        let named = |e: Error| Error::value(format!("{path}: {e}"));
        let (mut first, mut row, mut taken) = (Vec::new(), Vec::new(), 0);
        while first.len() < LOOK_AT && taken < MAX_BLOCK && rows.next_row(&mut names, &mut row).map_err(named)? {
            taken += size(&row);
            first.push(row.clone());
        }
        rows.fix_names();
        // JSON rows leave members out, but a column that none of them has is missing. Without rows nothing is.
        if !rows.untyped() && first.is_empty() {
            let mut known: HashSet<String> = names.iter().cloned().collect();
            for (name, _) in kinds.unwrap_or_default() {
                if known.insert(name.clone()) {
                    names.push(name.clone());
                }
            }
        }
        let mut sorted: Vec<&String> = names.iter().collect();
        sorted.sort_unstable();
        if let Some(twice) = sorted.windows(2).find(|w| w[0] == w[1]) {
            return Err(Error::value(format!("{path}: two columns named '{}'", twice[0])));
        }
        let untyped = rows.untyped();
        // What nothing but missing values is known of is numbers: a model reads them as text too.
        let unknown = if first.len() < LOOK_AT && taken < MAX_BLOCK { Type::Float } else { Type::Text };
        let kinds: HashMap<&str, Kind> = kinds.unwrap_or_default().iter().map(|(n, k)| (n.as_str(), *k)).collect();
        let types = names.iter().enumerate().map(|(i, name)| match kinds.get(name.as_str()) {
            Some(Kind::Number) => Type::Float,
            Some(Kind::Text) => Type::Text,
            None => type_of(first.iter().filter_map(|r| r.get(i)), untyped).unwrap_or(unknown),
        });
        let types = types.collect();
        Ok(Self { path: path.to_owned(), rows, names, types, first, read: 0, done: false })
    }

    pub(super) fn schema(&self) -> SchemaRef {
        let field = |(name, t): (&String, &Type)| {
            let data_type = match t {
                Type::Int => DataType::Int64,
                Type::Float => DataType::Float64,
                Type::Bool => DataType::Boolean,
                Type::Text => DataType::Utf8,
            };
            Field::new(name, data_type, true)
        };
        Arc::new(Schema::new(self.names.iter().zip(&self.types).map(field).collect::<Vec<_>>()))
    }

    fn batch(&mut self) -> Result<Option<RecordBatch>> {
        let mut rows = std::mem::take(&mut self.first);
        let (mut row, width) = (Vec::new(), self.names.len());
        let mut taken: usize = rows.iter().map(|r| size(r)).sum();
        while rows.len() < BATCH && taken < MAX_BLOCK {
            if !self.rows.next_row(&mut self.names, &mut row)? {
                break;
            }
            taken += size(&row);
            rows.push(row.clone());
        }
        if rows.is_empty() {
            return Ok(None);
        }
        let arrays = (0..width).map(|c| self.array(c, &rows)).collect::<Result<Vec<_>>>()?;
        self.read += rows.len() as u64;
        let batch = RecordBatch::try_new(self.schema(), arrays).map_err(Error::value)?;
        Ok(Some(batch))
    }

    fn array(&self, column: usize, rows: &[Vec<Cell>]) -> Result<ArrayRef> {
        let untyped = self.rows.untyped();
        let cells = || rows.iter().map(|r| r.get(column).unwrap_or(&Cell::Missing)).enumerate();
        let misfit = |at: usize, cell: &Cell, wanted: &str| {
            let value = match cell {
                Cell::Missing => String::new(),
                Cell::Bool(b) => b.to_string(),
                Cell::Number(t) => t.clone(),
                Cell::Text(t) => format!("'{}'", t.chars().take(80).collect::<String>()),
            };
            Error::column(&self.names[column], format!("row {}: {value} is no {wanted}", self.read + at as u64 + 1))
        };
        Ok(match self.types[column] {
            Type::Int => Arc::new(
                cells()
                    .map(|(i, cell)| match cell {
                        Cell::Missing => Ok(None),
                        Cell::Number(t) | Cell::Text(t) => {
                            t.parse().map(Some).map_err(|_| misfit(i, cell, "integer, as those before it are"))
                        }
                        Cell::Bool(_) => Err(misfit(i, cell, "integer, as those before it are")),
                    })
                    .collect::<Result<Int64Array>>()?,
            ),
            Type::Float => Arc::new(
                cells()
                    .map(|(i, cell)| match cell {
                        Cell::Missing => Ok(None),
                        Cell::Number(t) => t.parse().map(Some).map_err(|_| misfit(i, cell, "number")),
                        Cell::Bool(b) => Ok(Some(f64::from(u8::from(*b)))),
                        Cell::Text(t) if untyped => number(t)
                            .or_else(|| boolean(t).map(|b| f64::from(u8::from(b))))
                            .map(Some)
                            .ok_or_else(|| misfit(i, cell, "number")),
                        Cell::Text(_) => Err(misfit(i, cell, "number")),
                    })
                    .collect::<Result<Float64Array>>()?,
            ),
            Type::Bool => Arc::new(
                cells()
                    .map(|(i, cell)| match cell {
                        Cell::Missing => Ok(None),
                        Cell::Bool(b) => Ok(Some(*b)),
                        Cell::Text(t) if untyped => {
                            boolean(t).map(Some).ok_or_else(|| misfit(i, cell, "boolean, as those before it are"))
                        }
                        _ => Err(misfit(i, cell, "boolean, as those before it are")),
                    })
                    .collect::<Result<BooleanArray>>()?,
            ),
            Type::Text => Arc::new(
                cells()
                    .map(|(i, cell)| match cell {
                        Cell::Missing => Ok(None),
                        Cell::Text(t) => Ok(Some(t.clone())),
                        _ => Err(misfit(i, cell, "text")),
                    })
                    .collect::<Result<StringArray>>()?,
            ),
        })
    }
}

impl<R: Rows> Iterator for TextReader<R> {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done {
            return None;
        }
        match self.batch() {
            Ok(Some(batch)) => Some(Ok(batch)),
            Ok(None) => {
                self.done = true;
                None
            }
            Err(error) => {
                self.done = true;
                let named = match error {
                    Error::Column { .. } => error,
                    other => Error::value(format!("{}: {other}", self.path)),
                };
                Some(Err(named))
            }
        }
    }
}
