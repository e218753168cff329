//! Rows of CSV with a header line (RFC 4180).

use std::io::{BufRead, Read};

use corten_core::{Error, Result};

use super::RowReader;
use crate::model::Model;
use crate::session::Session;

/// Longest record.
const MAX_RECORD: u64 = 16 << 20;

/// Reads CSV for one model; columns are found by the names in the header.
pub struct CsvReader<R> {
    input: R,
    /// The field of each input.
    places: Vec<usize>,
    fields: Vec<String>,
    /// Fields of the header.
    width: usize,
    bytes: Vec<u8>,
    /// Lines read so far, and the one on which the record at hand starts.
    lines: u64,
    line: u64,
}

impl<R: BufRead> CsvReader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// [`Error::MissingColumn`] when the header lacks a column, [`Error::Column`] when it has one twice, [`Error::Value`]
    /// for a broken header, [`Error::Io`] when the input can't be read, [`Error::Limit`] for one of more than 16 MiB.
    pub fn new(model: &Model, input: R) -> Result<Self> {
        let mut reader =
            Self { input, places: Vec::new(), fields: Vec::new(), width: 0, bytes: Vec::new(), lines: 0, line: 0 };
        if !reader.record()? {
            return Err(Error::value("the CSV input is empty; its first line must name the columns"));
        }
        let header = std::mem::take(&mut reader.fields);
        reader.width = header.len();
        for input in &model.schema().inputs {
            let mut places = (0..header.len()).filter(|&at| header[at] == input.name);
            reader.places.push(places.next().ok_or_else(|| Error::MissingColumn {
                column: input.name.clone(),
                present: header.iter().take(20).cloned().collect::<Vec<_>>().join(", "),
            })?);
            if places.next().is_some() {
                return Err(Error::column(&input.name, "stands in the header twice"));
            }
        }
        Ok(reader)
    }

    /// The line, counted from 1, on which the row read last starts.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// Reads a row into a session; `false` at the end.
    ///
    /// # Errors
    /// [`Error::Value`] for a broken record and [`Error::Column`] for text in a column of numbers: the next row can be read
    /// all the same. [`Error::Io`] when the input can't be read, [`Error::Limit`] for a record of more than 16 MiB.
    pub fn read(&mut self, rows: &mut RowReader, session: &mut Session) -> Result<bool> {
        if !self.record()? {
            return Ok(false);
        }
        rows.clear();
        if self.fields.len() != self.width {
            let (given, width) = (self.fields.len(), self.width);
            return Err(Error::value(format!("the record has {given} fields where the header has {width}")));
        }
        for (input, &place) in self.places.iter().enumerate() {
            rows.set(input, &self.fields[place], session)?;
        }
        Ok(true)
    }

    /// Splits the next record into fields; `false` at the end.
    fn record(&mut self) -> Result<bool> {
        self.fields.clear();
        self.bytes.clear();
        self.line = self.lines + 1;
        let mut quotes = 0;
        loop {
            let before = self.bytes.len();
            let room = (MAX_RECORD + 1).saturating_sub(self.bytes.len() as u64);
            let read = self.input.by_ref().take(room).read_until(b'\n', &mut self.bytes).map_err(|e| Error::Io {
                path: "CSV".into(),
                problem: e.to_string(),
                not_found: false,
            })?;
            if self.bytes.len() as u64 > MAX_RECORD {
                return Err(Error::Limit(format!("line {}: a CSV record of more than 16 MiB", self.line)));
            }
            if read == 0 {
                if self.bytes.is_empty() {
                    return Ok(false);
                }
                return Err(Error::value("the CSV input ends within quotes"));
            }
            self.lines += 1;
            if self.bytes.iter().all(|b| matches!(b, b'\r' | b'\n')) {
                self.bytes.clear();
                self.line = self.lines + 1;
                continue;
            }
            // Quotes come in pairs in a whole record. Each line is looked at once, however long the record becomes.
            quotes += self.bytes[before..].iter().filter(|&&b| b == b'"').count();
            if quotes.is_multiple_of(2) {
                break;
            }
        }
        let bytes = self.bytes.strip_prefix(b"\xef\xbb\xbf").filter(|_| self.line == 1).unwrap_or(&self.bytes);
        let text = std::str::from_utf8(bytes).map_err(|_| Error::value("the record is no UTF-8"))?;
        let text = text.strip_suffix('\n').unwrap_or(text);
        let text = text.strip_suffix('\r').unwrap_or(text);
        let (mut field, mut quoted) = (String::new(), false);
        let mut characters = text.chars().peekable();
        while let Some(c) = characters.next() {
            match c {
                '"' if quoted && characters.peek() == Some(&'"') => {
                    characters.next();
                    field.push('"');
                }
                '"' => quoted = !quoted,
                ',' if !quoted => self.fields.push(std::mem::take(&mut field)),
                _ => field.push(c),
            }
        }
        self.fields.push(field);
        Ok(true)
    }
}
