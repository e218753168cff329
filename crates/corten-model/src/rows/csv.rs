//! Rows of CSV with a header line.

use std::io::BufRead;

use corten_core::rows::{Found, MAX_RECORD, Records, may_be_mark, without_mark};
use corten_core::{Error, Result};

use super::RowReader;
use crate::model::Model;
use crate::session::Session;

/// Reads CSV for one model; columns are found by the names in the header.
pub struct CsvReader<R> {
    input: R,
    /// The field of each input.
    places: Vec<usize>,
    /// Fields of the header.
    width: usize,
    records: Records,
    /// What was read, the record at hand, and whether nothing follows.
    bytes: Vec<u8>,
    record: std::ops::Range<usize>,
    ended: bool,
    room: Vec<u8>,
}

impl<R: BufRead> CsvReader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// [`Error::MissingColumn`] when the header lacks a column, [`Error::Column`] when it has one twice, [`Error::Value`]
    /// for a broken header, [`Error::Io`] when the input can't be read, [`Error::Limit`] for one of more than 16 MiB.
    pub fn new(model: &Model, input: R) -> Result<Self> {
        let mut reader = Self {
            input,
            places: Vec::new(),
            width: 0,
            records: Records::new(1),
            bytes: Vec::new(),
            record: 0..0,
            ended: false,
            room: Vec::new(),
        };
        while may_be_mark(&reader.bytes) && !reader.ended {
            reader.more()?;
        }
        let mark = reader.bytes.len() - without_mark(&reader.bytes).len();
        reader.record = 0..mark;
        if !reader.next()? {
            return Err(Error::value("the CSV input is empty; its first line must name the columns"));
        }
        reader.width = reader.records.len();
        let header: Vec<String> = (0..reader.width)
            .map(|at| {
                let record = &reader.bytes[reader.record.clone()];
                // All of a record is UTF-8.
                String::from_utf8_lossy(reader.records.get(at, record, &mut reader.room)).into_owned()
            })
            .collect();
        reader.places = RowReader::new(model).inputs().places(&header)?;
        Ok(reader)
    }

    /// The line, counted from 1, on which the row read last starts.
    pub fn line(&self) -> u64 {
        self.records.line()
    }

    /// Reads a row into a session; `false` at the end.
    ///
    /// # Errors
    /// [`Error::Value`] for a broken record and [`Error::Column`] for text in a column of numbers: the next row can be read
    /// all the same. [`Error::Io`] when the input can't be read, [`Error::Limit`] for a record of more than 16 MiB.
    pub fn read(&mut self, rows: &mut RowReader, session: &mut Session) -> Result<bool> {
        if !self.next()? {
            return Ok(false);
        }
        rows.clear();
        self.records.check_width(self.width)?;
        let record = &self.bytes[self.record.clone()];
        for (input, &place) in self.places.iter().enumerate() {
            rows.set(input, self.records.get(place, record, &mut self.room), session)?;
        }
        Ok(true)
    }

    /// Finds the next record; `false` at the end.
    fn next(&mut self) -> Result<bool> {
        let mut from = self.record.end;
        loop {
            if from == self.bytes.len() && self.ended {
                self.record = from..from;
                return Ok(false);
            }
            let (size, problem) = match self.records.next(&self.bytes[from..], self.ended) {
                Found::Record(size) => (size, None),
                Found::Broken(size, problem) => (size, Some(problem)),
                Found::Blank(size) => {
                    from += size;
                    continue;
                }
                Found::More => {
                    self.bytes.drain(..from);
                    from = 0;
                    if self.bytes.len() > MAX_RECORD {
                        let line = self.records.line();
                        return Err(Error::Limit(format!("line {line}: a CSV record of more than 16 MiB")));
                    }
                    self.more()?;
                    continue;
                }
            };
            self.record = from..from + size;
            if let Some(problem) = problem {
                return Err(Error::value(problem));
            }
            return match std::str::from_utf8(&self.bytes[self.record.clone()]) {
                Ok(_) => Ok(true),
                Err(_) => Err(Error::value("the record is no UTF-8")),
            };
        }
    }

    /// Takes in what has come.
    fn more(&mut self) -> Result<()> {
        let come = self.input.fill_buf().map_err(|e| Error::Io {
            path: "CSV".into(),
            problem: e.to_string(),
            not_found: false,
        })?;
        self.ended = come.is_empty();
        self.bytes.extend_from_slice(come);
        let size = come.len();
        self.input.consume(size);
        Ok(())
    }
}
