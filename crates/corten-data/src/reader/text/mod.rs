//! Rows of text, from CSV or JSON lines, to typed columns.
//!
//! The input is cut into chunks of whole records by one thread; a chunk becomes columns on whichever thread takes it. What
//! a record, a number and a member are is `corten_core::rows`' to say.

mod inputs;
mod table;

use std::collections::VecDeque;
use std::io::Read;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use corten_core::rows::{Found, Inputs, MAX_RECORD, Records, without_mark};
use corten_core::{Error, Kind, Result};
use memchr::{memchr, memchr_iter, memrchr};

use super::{MAX_COLUMNS, io_error, shown};

/// Bytes of a chunk; a longer record is one of its own.
const CHUNK: usize = 1 << 20;

/// Whole records.
pub(super) struct Chunk {
    bytes: Vec<u8>,
    /// The line, counted from 1, on which they begin.
    line: u64,
}

/// Makes columns of chunks.
pub(super) trait Decode: Send + Sync {
    fn batch(&self, chunk: &Chunk) -> Result<RecordBatch>;
}

/// How chunks become columns, and the chunks.
pub(super) struct Opened {
    pub(super) schema: SchemaRef,
    pub(super) decoder: Arc<dyn Decode>,
    pub(super) chunks: Chunks,
}

/// Opens a table whose columns are told from its first rows, as far as `kinds` doesn't say; where it has all of `columns`,
/// the others are left out.
///
/// # Errors
/// [`Error::Value`] for a header or first rows that are none, [`Error::Io`] and [`Error::Limit`].
pub(super) fn table(
    path: &str,
    csv: bool,
    input: Box<dyn Read + Send>,
    kinds: &[(String, Kind)],
    columns: Option<&[&str]>,
) -> Result<Opened> {
    table::open(Chunks::new(path, csv, input), kinds, columns)
}

/// Opens rows for a model, which must all have its columns.
///
/// # Errors
/// As [`table`], and [`Error::MissingColumn`] for a header that lacks one.
pub(super) fn inputs(path: &str, csv: bool, input: Box<dyn Read + Send>, inputs: Inputs) -> Result<Opened> {
    inputs::open(Chunks::new(path, csv, input), inputs)
}

/// The chunks of an input.
pub(super) struct Chunks {
    path: String,
    csv: bool,
    input: Box<dyn Read + Send>,
    /// What was read behind the last chunk, and the line on which it begins.
    rest: Vec<u8>,
    line: u64,
    begun: bool,
    ended: bool,
    /// Chunks that were looked at before, and parts of a chunk.
    waiting: VecDeque<Chunk>,
    /// Most lines of JSON in a chunk: members that are left out take no bytes, but memory.
    most: usize,
}

impl Chunks {
    fn new(path: &str, csv: bool, input: Box<dyn Read + Send>) -> Self {
        let path = shown(path).to_owned();
        let (rest, waiting) = (Vec::new(), VecDeque::new());
        Self { path, csv, input, rest, line: 1, begun: false, ended: false, waiting, most: usize::MAX }
    }

    /// Takes the names of the columns off an input of CSV.
    fn header(&mut self) -> Result<Vec<String>> {
        let mut records = Records::new(1);
        self.fill(CHUNK)?;
        let mut from = 0;
        let size = loop {
            let here = &self.rest[from..];
            if here.is_empty() && self.ended {
                let problem = "is empty; its first line must name the columns";
                return Err(Error::value(format!("{}: {problem}", self.path)));
            }
            match records.next(here, self.ended) {
                Found::Blank(size) => from += size,
                Found::Record(size) => break size,
                Found::Broken(_, problem) => return Err(self.fault(records.line(), problem)),
                Found::More => self.longer()?,
            }
        };
        if records.len() > MAX_COLUMNS {
            return Err(Error::Limit(format!("{}: more than {MAX_COLUMNS} columns", self.path)));
        }
        let (header, mut room) = (&self.rest[from..from + size], Vec::new());
        if std::str::from_utf8(header).is_err() {
            return Err(self.fault(records.line(), "the record is no UTF-8"));
        }
        let name = |at| String::from_utf8_lossy(records.get(at, header, &mut room)).into_owned();
        let names = (0..records.len()).map(name).collect();
        self.rest.drain(..from + size);
        self.line = records.next_line();
        Ok(names)
    }

    fn fault(&self, line: u64, problem: &str) -> Error {
        Error::value(format!("{}: line {line}: {problem}", self.path))
    }

    /// Reads until there are so many bytes, or no more.
    fn fill(&mut self, size: usize) -> Result<()> {
        while self.rest.len() < size && !self.ended {
            let wanted = size - self.rest.len();
            self.rest.reserve(wanted);
            let read = self.input.by_ref().take(wanted as u64).read_to_end(&mut self.rest);
            self.ended = read.map_err(|e| io_error(&self.path, &e))? < wanted;
            if !std::mem::replace(&mut self.begun, true) {
                self.rest.drain(..self.rest.len() - without_mark(&self.rest).len());
            }
        }
        Ok(())
    }

    /// Reads more of a record that doesn't end yet.
    fn longer(&mut self) -> Result<()> {
        if self.rest.len() > MAX_RECORD {
            let what = if self.csv { "a CSV record" } else { "a line" };
            return Err(Error::Limit(format!("{}: line {}: {what} of more than 16 MiB", self.path, self.line)));
        }
        self.fill((2 * self.rest.len().max(CHUNK)).min(MAX_RECORD + 1))
    }

    fn read(&mut self) -> Result<Option<Chunk>> {
        if let Some(chunk) = self.waiting.pop_front() {
            return Ok(Some(chunk));
        }
        self.fill(CHUNK)?;
        let size = loop {
            match self.cut() {
                0 if self.rest.is_empty() => return Ok(None),
                0 => self.longer()?,
                size => break size,
            }
        };
        let mut next = Vec::with_capacity(if self.ended { 0 } else { CHUNK.max(self.rest.len() - size) });
        next.extend_from_slice(&self.rest[size..]);
        let mut bytes = std::mem::replace(&mut self.rest, next);
        bytes.truncate(size);
        let chunk = Chunk { line: self.line, bytes };
        self.line += lines(&chunk.bytes, self.csv);
        if self.csv || self.most == usize::MAX {
            return Ok(Some(chunk));
        }
        self.waiting = parts(chunk, self.most);
        Ok(self.waiting.pop_front())
    }

    /// Hands chunks out again, before all others, with at most so many lines each.
    fn again(&mut self, chunks: Vec<Chunk>, most: usize) {
        self.most = most;
        let parts = |chunk| if self.csv { VecDeque::from([chunk]) } else { parts(chunk, most) };
        self.waiting = chunks.into_iter().flat_map(parts).collect();
    }

    /// The end of the last whole record that was read.
    fn cut(&self) -> usize {
        let bytes = &self.rest[..];
        if self.ended {
            return bytes.len();
        }
        if !self.csv {
            return memrchr(b'\n', bytes).map_or(0, |at| at + 1);
        }
        if memchr(b'"', bytes).is_none() {
            // What ends a line may itself be cut: a carriage return at the end is left for later.
            let returned = |bytes: &[u8]| bytes.split_last().and_then(|(_, bytes)| memrchr(b'\r', bytes));
            return memrchr(b'\n', bytes).or_else(|| returned(bytes)).map_or(0, |at| at + 1);
        }
        let (mut records, mut from, mut before) = (Records::new(1), 0, 0);
        while let Found::Record(size) | Found::Blank(size) | Found::Broken(size, _) =
            records.next(&bytes[from..], false)
        {
            (before, from) = (from, from + size);
        }
        if from == bytes.len() && bytes.last() == Some(&b'\r') { before } else { from }
    }
}

impl Iterator for Chunks {
    type Item = Result<Chunk>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.read().transpose();
        if matches!(next, Some(Err(_))) {
            // Nothing comes behind an error.
            self.waiting.clear();
            self.rest.clear();
            self.ended = true;
        }
        next
    }
}

/// Lines that end in some bytes.
fn lines(bytes: &[u8], csv: bool) -> u64 {
    let mut count = memchr_iter(b'\n', bytes).count();
    if csv {
        count += memchr_iter(b'\r', bytes).filter(|at| bytes.get(at + 1) != Some(&b'\n')).count();
    }
    count as u64
}

/// Cuts lines of JSON into chunks of at most so many.
fn parts(chunk: Chunk, most: usize) -> VecDeque<Chunk> {
    let ends: Vec<usize> = memchr_iter(b'\n', &chunk.bytes).skip(most - 1).step_by(most).collect();
    if ends.last().is_none_or(|end| end + 1 == chunk.bytes.len() && ends.len() == 1) {
        return VecDeque::from([chunk]);
    }
    let (mut from, mut line) = (0, chunk.line);
    let ends = ends.into_iter().map(|end| end + 1).chain([chunk.bytes.len()]);
    let part = |end| {
        let bytes = chunk.bytes[from..end].to_vec();
        let part = Chunk { bytes, line };
        (from, line) = (end, line + most as u64);
        part
    };
    ends.map(part).filter(|part| !part.bytes.is_empty()).collect()
}

/// Where in a file an error is.
fn at(path: &str, line: u64, error: Error) -> Error {
    match error {
        Error::Column { column, problem } => Error::column(column, format!("{path}, line {line}: {problem}")),
        Error::MissingColumn { column, present } => {
            let present = if present.is_empty() { "has no members".into() } else { format!("has: {present}") };
            Error::column(column, format!("{path}, line {line}: is missing from the row, which {present}"))
        }
        Error::Limit(problem) => Error::Limit(format!("{path}: line {line}: {problem}")),
        other => Error::value(format!("{path}: line {line}: {other}")),
    }
}

/// Calls `each` with every record of a chunk of CSV, whose fields are cut, and `width` of them.
fn each_record(
    path: &str,
    chunk: &Chunk,
    width: usize,
    mut each: impl FnMut(&Records, &[u8]) -> Result<()>,
) -> Result<()> {
    if let Err(error) = std::str::from_utf8(&chunk.bytes) {
        let line = chunk.line + lines(&chunk.bytes[..error.valid_up_to()], true);
        return Err(at(path, line, Error::value("the record is no UTF-8")));
    }
    let (mut records, mut from) = (Records::new(chunk.line), 0);
    while from < chunk.bytes.len() {
        let here = &chunk.bytes[from..];
        from += match records.next(here, true) {
            Found::Record(size) if size > MAX_RECORD => {
                let problem = "a CSV record of more than 16 MiB".into();
                return Err(at(path, records.line(), Error::Limit(problem)));
            }
            Found::Record(size) => {
                let done = records.check_width(width).and_then(|()| each(&records, here));
                done.map_err(|e| at(path, records.line(), e))?;
                size
            }
            Found::Blank(size) => size,
            Found::Broken(_, problem) => return Err(at(path, records.line(), Error::value(problem))),
            // Chunks are cut behind records.
            Found::More => break,
        };
    }
    Ok(())
}

/// Calls `each` with every line of a chunk of JSON that isn't blank.
fn each_line(path: &str, chunk: &Chunk, mut each: impl FnMut(&[u8]) -> Result<bool>) -> Result<()> {
    let (mut from, mut line) = (0, chunk.line);
    while from < chunk.bytes.len() {
        let end = memchr(b'\n', &chunk.bytes[from..]).map_or(chunk.bytes.len(), |at| from + at);
        let here = &chunk.bytes[from..end];
        if here.len() > MAX_RECORD {
            return Err(at(path, line, Error::Limit("a line of more than 16 MiB".into())));
        }
        if !corten_core::rows::is_blank(here) && !each(here).map_err(|e| at(path, line, e))? {
            break;
        }
        (from, line) = (end + 1, line + 1);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunks(text: &str, csv: bool) -> Chunks {
        Chunks::new("x", csv, Box::new(std::io::Cursor::new(text.as_bytes().to_vec())))
    }

    #[test]
    fn chunks_are_whole_records_with_their_lines() {
        let row = "12345,\"a\nb\",\"\"\"\"\r\n";
        let text = format!("a,b,c\n{}", row.repeat(200_000));
        let mut all = chunks(&text, true);
        assert_eq!(all.header().unwrap(), ["a", "b", "c"]);
        let (mut line, mut size, mut count) = (2, 0, 0);
        for chunk in all {
            let chunk = chunk.unwrap();
            assert_eq!(chunk.line, line);
            assert_eq!(chunk.bytes.len() % row.len(), 0);
            line += 2 * (chunk.bytes.len() / row.len()) as u64;
            (size, count) = (size + chunk.bytes.len(), count + 1);
        }
        assert!(size == row.len() * 200_000 && count > 2);
    }

    #[test]
    fn parts_have_no_more_lines_than_asked_for() {
        for (text, most, wanted) in [
            ("1\n2\n3\n", 2, vec![("1\n2\n", 5), ("3\n", 7)]),
            ("1\n2\n", 2, vec![("1\n2\n", 5)]),
            ("1\n2\n3", 1, vec![("1\n", 5), ("2\n", 6), ("3", 7)]),
            ("1", 1, vec![("1", 5)]),
        ] {
            let parts = parts(Chunk { bytes: text.into(), line: 5 }, most);
            let found: Vec<_> = parts.iter().map(|p| (std::str::from_utf8(&p.bytes).unwrap(), p.line)).collect();
            assert_eq!(found, wanted, "{text:?}");
        }
    }
}
