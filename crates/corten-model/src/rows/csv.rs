//! Rows of CSV with a header line (RFC 4180).

use std::io::BufRead;

use corten_core::{Error, Result};

use super::RowReader;
use crate::model::{Model, Session};

/// Longest record.
const MAX_RECORD: usize = 16 << 20;

/// Reads CSV for one model; columns are found by the names in the header.
pub struct CsvReader<R> {
    input: R,
    /// The field of each input.
    places: Vec<usize>,
    fields: Vec<String>,
    line: Vec<u8>,
}

impl<R: BufRead> CsvReader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// [`Error::MissingColumn`] when the header lacks a column, [`Error::Value`] for a broken header.
    pub fn new(model: &Model, input: R) -> Result<Self> {
        let mut reader = Self { input, places: Vec::new(), fields: Vec::new(), line: Vec::new() };
        if !reader.record()? {
            return Err(Error::value("the CSV input is empty; its first line must name the columns"));
        }
        let header = std::mem::take(&mut reader.fields);
        for input in &model.schema().inputs {
            let place = header.iter().position(|h| h.trim_start_matches('\u{feff}') == input.name);
            reader.places.push(place.ok_or_else(|| Error::MissingColumn {
                column: input.name.clone(),
                present: header.iter().take(20).cloned().collect::<Vec<_>>().join(", "),
            })?);
        }
        Ok(reader)
    }

    /// Reads a row into a session; `false` at the end.
    ///
    /// # Errors
    /// [`Error::Value`] for a broken record, [`Error::Column`] for text in a column of numbers.
    pub fn read(&mut self, rows: &mut RowReader, session: &mut Session) -> Result<bool> {
        if !self.record()? {
            return Ok(false);
        }
        rows.clear();
        for (input, &place) in self.places.iter().enumerate() {
            let field = self.fields.get(place).ok_or_else(|| {
                Error::value(format!("a record has {} fields, fewer than the header", self.fields.len()))
            })?;
            rows.set(input, field, session)?;
        }
        Ok(true)
    }

    /// Splits the next record into fields; `false` at the end.
    fn record(&mut self) -> Result<bool> {
        self.fields.clear();
        self.line.clear();
        loop {
            let before = self.line.len();
            let read = self.input.read_until(b'\n', &mut self.line).map_err(Error::value)?;
            if self.line.len() > MAX_RECORD {
                return Err(Error::Limit("a CSV record of more than 16 MiB".into()));
            }
            if read == 0 {
                if before == 0 {
                    return Ok(false);
                }
                return Err(Error::value("the CSV input ends within quotes"));
            }
            if self.line.iter().all(|b| matches!(b, b'\r' | b'\n')) {
                self.line.clear();
                continue;
            }
            // Quotes come in pairs in a whole record.
            if self.line.iter().filter(|&&b| b == b'"').count() % 2 == 0 {
                break;
            }
        }
        let text = std::str::from_utf8(&self.line).map_err(|_| Error::value("the CSV input is no UTF-8"))?;
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
