//! Tables of text whose columns are told from their first rows.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow_array::builder::{BooleanBuilder, Float64Builder, Int64Builder, StringBuilder};
use arrow_array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use corten_core::rows::{Records, Scanner, boolean, number};
use corten_core::{Error, Kind, Result};

use super::{Chunk, Chunks, Decode, MAX_COLUMNS, Opened, each_line, each_record};

/// Rows that types are told from.
const LOOK_AT: usize = 1000;
/// Most bytes of these rows.
const MAX_LOOK: usize = 128 << 20;
/// Values of a chunk of JSON, those included that its rows leave out.
const MAX_VALUES: usize = 1 << 22;

/// One value of a row, as it is written.
#[derive(Clone, Copy)]
enum Cell<'b> {
    Missing,
    Bool(bool),
    Number(&'b [u8]),
    Text(&'b [u8]),
    /// Of CSV: a number, a boolean or text.
    Field(&'b [u8]),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Int,
    Float,
    Bool,
    Text,
}

fn integer(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

impl Cell<'_> {
    /// The narrowest type that holds it; `None` where it is missing.
    fn narrowest(self) -> Option<Type> {
        Some(match self {
            Cell::Missing | Cell::Field(b"") => return None,
            Cell::Bool(_) => Type::Bool,
            Cell::Number(t) | Cell::Field(t) if integer(t).is_some() => Type::Int,
            Cell::Number(_) => Type::Float,
            Cell::Field(t) if boolean(t).is_some() => Type::Bool,
            Cell::Field(t) if number(t).is_some() => Type::Float,
            Cell::Field(_) | Cell::Text(_) => Type::Text,
        })
    }
}

impl std::fmt::Display for Cell<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Cell::Missing => f.write_str("nothing"),
            Cell::Bool(b) => b.fmt(f),
            Cell::Number(t) => f.write_str(&String::from_utf8_lossy(t)),
            Cell::Text(t) | Cell::Field(t) => {
                write!(f, "'{}'", String::from_utf8_lossy(t).chars().take(80).collect::<String>())
            }
        }
    }
}

/// The narrowest type that holds the values of both.
fn join(a: Option<Type>, b: Option<Type>) -> Option<Type> {
    match (a, b) {
        (None, one) | (one, None) => one,
        (Some(a), Some(b)) if a == b => Some(a),
        (Some(Type::Int | Type::Float), Some(Type::Int | Type::Float)) => Some(Type::Float),
        _ => Some(Type::Text),
    }
}

enum Builder {
    Int(Int64Builder),
    Float(Float64Builder),
    Bool(BooleanBuilder),
    Text(StringBuilder),
}

impl Builder {
    fn new(t: Type) -> Self {
        match t {
            Type::Int => Self::Int(Int64Builder::new()),
            Type::Float => Self::Float(Float64Builder::new()),
            Type::Bool => Self::Bool(BooleanBuilder::new()),
            Type::Text => Self::Text(StringBuilder::new()),
        }
    }

    /// Appends a value; what the column needs where it isn't that.
    fn push(&mut self, cell: Cell<'_>) -> Result<(), &'static str> {
        let cell = if let Cell::Field(b"") = cell { Cell::Missing } else { cell };
        match self {
            Self::Int(b) => b.append_option(match cell {
                Cell::Missing => None,
                Cell::Number(t) | Cell::Field(t) => Some(integer(t).ok_or("integer, as those before it are")?),
                Cell::Bool(_) | Cell::Text(_) => return Err("integer, as those before it are"),
            }),
            Self::Float(b) => b.append_option(match cell {
                Cell::Missing => None,
                Cell::Number(t) | Cell::Field(t) => Some(number(t).ok_or("number")?),
                Cell::Bool(value) => Some(f64::from(u8::from(value))),
                Cell::Text(_) => return Err("number"),
            }),
            Self::Bool(b) => b.append_option(match cell {
                Cell::Missing => None,
                Cell::Bool(value) => Some(value),
                Cell::Field(t) => Some(boolean(t).ok_or("boolean, as those before it are")?),
                Cell::Number(_) | Cell::Text(_) => return Err("boolean, as those before it are"),
            }),
            Self::Text(b) => b.append_option(match cell {
                Cell::Missing => None,
                // Records and strings are UTF-8.
                Cell::Text(t) | Cell::Field(t) => Some(std::str::from_utf8(t).map_err(|_| "text in UTF-8")?),
                Cell::Bool(_) | Cell::Number(_) => return Err("text"),
            }),
        }
        Ok(())
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            Self::Int(b) => Arc::new(b.finish()),
            Self::Float(b) => Arc::new(b.finish()),
            Self::Bool(b) => Arc::new(b.finish()),
            Self::Text(b) => Arc::new(b.finish()),
        }
    }
}

/// The names of columns, and where they are.
#[derive(Clone, Default)]
struct Names {
    names: Vec<String>,
    places: HashMap<String, usize>,
    /// Whether names that come up are columns.
    grows: bool,
}

impl Names {
    fn add(&mut self, name: String) {
        self.places.insert(name.clone(), self.names.len());
        self.names.push(name);
    }

    /// The place of a name; rows mostly have their members in the order of the columns.
    fn place(&mut self, name: &[u8], guess: usize) -> Result<Option<usize>> {
        if self.names.get(guess).is_some_and(|n| n.as_bytes() == name) {
            return Ok(Some(guess));
        }
        let name = String::from_utf8_lossy(name);
        if let Some(&place) = self.places.get(&*name) {
            return Ok(Some(place));
        }
        if !self.grows {
            return Ok(None);
        }
        if self.names.len() >= MAX_COLUMNS {
            return Err(Error::value("too many columns"));
        }
        self.add(name.into_owned());
        Ok(Some(self.names.len() - 1))
    }
}

/// Reads objects of JSON member by member.
#[derive(Default)]
struct Objects {
    /// The last row that had each column.
    rows: Vec<u64>,
    row: u64,
    key: Vec<u8>,
    text: Vec<u8>,
}

impl Objects {
    /// Calls `each` with the columns that a row has.
    fn read(
        &mut self,
        line: &[u8],
        names: &mut Names,
        mut each: impl FnMut(usize, &str, Cell<'_>) -> Result<()>,
    ) -> Result<()> {
        let mut scanner = Scanner::new(line);
        if scanner.peek() != Some(b'{') {
            return Err(Error::value("must be a JSON object"));
        }
        self.row += 1;
        scanner.expect(b'{')?;
        let (mut guess, mut goes_on) = (0, !scanner.take(b'}'));
        while goes_on {
            self.key.clear();
            scanner.string(&mut self.key)?;
            scanner.expect(b':')?;
            match names.place(&self.key, guess)? {
                None => scanner.skip()?,
                Some(place) => {
                    guess = place + 1;
                    if self.rows.len() < names.names.len() {
                        self.rows.resize(names.names.len(), 0);
                    }
                    let name = &names.names[place];
                    if std::mem::replace(&mut self.rows[place], self.row) == self.row {
                        return Err(Error::column(name, "comes twice in a row"));
                    }
                    let cell = self.value(&mut scanner, name)?;
                    each(place, name, cell)?;
                }
            }
            goes_on = scanner.take(b',');
            if !goes_on {
                scanner.expect(b'}')?;
            }
        }
        scanner.end()
    }

    fn value<'b, 's: 'b>(&'b mut self, scanner: &mut Scanner<'s>, name: &str) -> Result<Cell<'b>> {
        match scanner.peek() {
            Some(b'"') => {
                self.text.clear();
                scanner.string(&mut self.text)?;
                Ok(Cell::Text(&self.text))
            }
            Some(b'[' | b'{') => Err(Error::column(name, "must be a number, text, a boolean or null")),
            _ => Ok(match scanner.word().map_err(|e| Error::column(name, e))? {
                b"null" => Cell::Missing,
                b"true" => Cell::Bool(true),
                b"false" => Cell::Bool(false),
                number => Cell::Number(number),
            }),
        }
    }
}

/// Makes columns of known types.
struct Typed {
    path: String,
    /// Of CSV, the field of each column, and the fields of the header.
    csv: Option<(Vec<usize>, usize)>,
    names: Names,
    types: Vec<Type>,
    schema: SchemaRef,
}

fn misfit(name: &str, cell: Cell<'_>, wanted: &str) -> Error {
    Error::column(name, format!("{cell} is no {wanted}"))
}

impl Decode for Typed {
    fn batch(&self, chunk: &Chunk) -> Result<RecordBatch> {
        let mut builders: Vec<Builder> = self.types.iter().map(|&t| Builder::new(t)).collect();
        let mut rows = 0;
        let push = |builder: &mut Builder, name: &str, cell: Cell<'_>| {
            builder.push(cell).map_err(|wanted| misfit(name, cell, wanted))
        };
        match &self.csv {
            Some((places, width)) => {
                let mut room = Vec::new();
                each_record(&self.path, chunk, *width, |records, bytes| {
                    rows += 1;
                    let columns = builders.iter_mut().zip(places).zip(&self.names.names);
                    columns.into_iter().try_for_each(|((builder, &place), name)| {
                        push(builder, name, Cell::Field(records.get(place, bytes, &mut room)))
                    })
                })?;
            }
            None => {
                let (mut names, mut objects) = (self.names.clone(), Objects::default());
                each_line(&self.path, chunk, |line| {
                    rows += 1;
                    objects.read(line, &mut names, |place, name, cell| push(&mut builders[place], name, cell))?;
                    objects.rows.resize(builders.len(), 0);
                    let absent = builders.iter_mut().zip(&objects.rows).filter(|(_, row)| **row != objects.row);
                    for (builder, _) in absent {
                        // Nothing fits every column.
                        let _ = builder.push(Cell::Missing);
                    }
                    Ok(true)
                })?;
            }
        }
        let arrays = builders.iter_mut().map(Builder::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        RecordBatch::try_new_with_options(Arc::clone(&self.schema), arrays, &options).map_err(Error::value)
    }
}

/// What the first rows say.
#[derive(Default)]
struct Look {
    types: Vec<Option<Type>>,
    rows: usize,
}

impl Look {
    fn see(&mut self, place: usize, cell: Cell<'_>) {
        if self.types.len() <= place {
            self.types.resize(place + 1, None);
        }
        let known = &mut self.types[place];
        if *known != Some(Type::Text) {
            *known = join(*known, cell.narrowest());
        }
    }

    fn records(&mut self, path: &str, chunk: &Chunk, width: usize) -> Result<()> {
        let mut room = Vec::new();
        each_record(path, chunk, width, |records: &Records, bytes| {
            self.rows += 1;
            if self.rows <= LOOK_AT {
                (0..width).for_each(|at| self.see(at, Cell::Field(records.get(at, bytes, &mut room))));
            }
            Ok(())
        })
    }

    fn objects(&mut self, path: &str, chunk: &Chunk, names: &mut Names, objects: &mut Objects) -> Result<()> {
        each_line(path, chunk, |line| {
            self.rows += 1;
            objects.read(line, names, |place, _, cell| {
                self.see(place, cell);
                Ok(())
            })?;
            Ok(self.rows < LOOK_AT)
        })
    }
}

pub(super) fn open(mut chunks: Chunks, kinds: &[(String, Kind)], columns: Option<&[&str]>) -> Result<Opened> {
    let path = chunks.path.clone();
    let mut names = Names { grows: !chunks.csv, ..Names::default() };
    if chunks.csv {
        chunks.header()?.into_iter().for_each(|name| names.add(name));
    }
    let width = chunks.csv.then_some(names.names.len());
    let (mut look, mut objects) = (Look::default(), Objects::default());
    let (mut first, mut taken) = (Vec::new(), 0);
    let kinds: HashMap<&str, Kind> = kinds.iter().map(|(n, k)| (n.as_str(), *k)).collect();
    let is_told = width.is_some() && names.names.iter().all(|n| kinds.contains_key(n.as_str()));
    while !is_told && look.rows < LOOK_AT && taken < MAX_LOOK {
        let Some(chunk) = chunks.read()? else { break };
        match width {
            Some(width) => look.records(&path, &chunk, width)?,
            None => look.objects(&path, &chunk, &mut names, &mut objects)?,
        }
        taken += chunk.bytes.len();
        first.push(chunk);
    }
    names.grows = false;
    // JSON rows leave members out, but a column that none of them has is missing. Without rows nothing is.
    if width.is_none() && look.rows == 0 {
        let mut told: Vec<&str> = kinds.keys().copied().filter(|n| !names.places.contains_key(*n)).collect();
        told.sort_unstable();
        told.into_iter().for_each(|name| names.add(name.to_owned()));
    }
    if names.places.len() < names.names.len() {
        let mut seen = HashSet::new();
        let twice = names.names.iter().find(|n| !seen.insert(n.as_str())).map_or("", |n| n);
        return Err(Error::value(format!("{path}: two columns named '{twice}'")));
    }
    // What nothing but missing values is known of is numbers: a model reads them as text too.
    let unknown = if look.rows < LOOK_AT && taken < MAX_LOOK { Type::Float } else { Type::Text };
    look.types.resize(names.names.len(), None);
    let type_of = |at: usize| match kinds.get(names.names[at].as_str()) {
        Some(Kind::Number) => Type::Float,
        Some(Kind::Text) => Type::Text,
        None => look.types[at].unwrap_or(unknown),
    };
    let mut kept: Vec<usize> = (0..names.names.len()).collect();
    if let Some(columns) = columns.filter(|c| c.iter().all(|n| names.places.contains_key(*n))) {
        let wanted: HashSet<&str> = columns.iter().copied().collect();
        kept.retain(|&at| wanted.contains(names.names[at].as_str()));
    }
    let types: Vec<Type> = kept.iter().map(|&at| type_of(at)).collect();
    let field = |(&at, t): (&usize, &Type)| {
        let data_type = match t {
            Type::Int => DataType::Int64,
            Type::Float => DataType::Float64,
            Type::Bool => DataType::Boolean,
            Type::Text => DataType::Utf8,
        };
        Field::new(&names.names[at], data_type, true)
    };
    let schema: SchemaRef = Arc::new(Schema::new(kept.iter().zip(&types).map(field).collect::<Vec<_>>()));
    let mut own = Names::default();
    kept.iter().for_each(|&at| own.add(names.names[at].clone()));
    chunks.again(first, (MAX_VALUES / types.len().max(1)).max(1));
    let csv = width.map(|width| (kept, width));
    let decoder = Arc::new(Typed { path, csv, names: own, types, schema: Arc::clone(&schema) });
    Ok(Opened { schema, decoder, chunks })
}
