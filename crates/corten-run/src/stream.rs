//! Rows from standard input to standard output.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::sync::{PoisonError, RwLock};

use corten::lines::{self, Lines};
use corten_core::rows::MAX_RECORD;
use corten_core::{Error, Result};
use corten_model::Model;
use corten_model::rows::{CsvReader, Scanner, is_blank, without_mark};

/// Why rows could not all be scored.
pub(crate) enum Stopped {
    /// Nobody reads the answers any more.
    Unread,
    Fault(Error),
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::Fault(error)
    }
}

fn gone(error: io::Error) -> Stopped {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Stopped::Unread;
    }
    Stopped::Fault(Error::value(format!("standard output: {error}")))
}

/// Writes what the model reads and answers.
///
/// # Errors
/// [`Stopped`] when standard output is gone.
pub(crate) fn info(model: &Model) -> Result<u64, Stopped> {
    let mut out = io::stdout().lock();
    for input in &model.schema().inputs {
        writeln!(out, "input   {} ({:?}, {})", input.name, input.kind, input.dtype).map_err(gone)?;
    }
    for output in model.graph().outputs() {
        writeln!(out, "output  {} ({})", output.method.as_str(), output.names.join(", ")).map_err(gone)?;
    }
    Ok(0)
}

/// Scores all rows; returns how many failed.
///
/// # Errors
/// [`Stopped`] when input or output break off, for a record of CSV of more than 16 MiB (most of the time a quote that
/// nothing closes, so that where it ends can't be told), and for a header that doesn't fit the model.
pub(crate) fn score(model: Model, csv: bool) -> Result<u64, Stopped> {
    let lines = Lines::new(&model);
    let mut worker = Worker { lines, model: RwLock::new(model), out: Vec::new(), failed: 0 };
    let mut input = BufReader::with_capacity(1 << 16, io::stdin().lock());
    let mut output = io::stdout().lock();
    if csv {
        let mut reader = CsvReader::new(worker.model.get_mut().unwrap_or_else(PoisonError::into_inner), input)?;
        loop {
            match reader.read(&mut worker.lines.rows, &mut worker.lines.session) {
                Ok(false) => break,
                Ok(true) => worker.finish(reader.line(), Ok(())),
                // The row is lost, not those behind it.
                Err(error @ (Error::Column { .. } | Error::Value(_))) => worker.finish(reader.line(), Err(error)),
                Err(error) => return Err(error.into()),
            }
            output.write_all(&worker.out).map_err(gone)?;
            worker.out.clear();
        }
        output.flush().map_err(gone)?;
        return Ok(worker.failed);
    }
    let (mut text, mut line) = (Vec::new(), 0u64);
    loop {
        text.clear();
        let unread = |e: io::Error| Error::value(format!("standard input: {e}"));
        if input.by_ref().take(MAX_RECORD as u64 + 1).read_until(b'\n', &mut text).map_err(unread)? == 0 {
            break;
        }
        line += 1;
        let whole = text.len() <= MAX_RECORD || text.ends_with(b"\n");
        let text = if line == 1 { without_mark(&text) } else { &text[..] };
        if !whole {
            input.skip_until(b'\n').map_err(unread)?;
            worker.finish(line, Err(Error::Limit("a line of more than 16 MiB".into())));
        } else if !is_blank(text) {
            let mut scanner = Scanner::new(text);
            let lines = &mut worker.lines;
            let parsed = lines.rows.read(&mut scanner, &mut lines.session).and_then(|()| scanner.end());
            worker.finish(line, parsed);
        }
        // Somebody may wait for this answer before they write the next row.
        if worker.out.len() > 1 << 15 || !input.buffer().contains(&b'\n') {
            output.write_all(&worker.out).and_then(|()| output.flush()).map_err(gone)?;
            worker.out.clear();
        }
    }
    output.write_all(&worker.out).and_then(|()| output.flush()).map_err(gone)?;
    Ok(worker.failed)
}

struct Worker {
    model: RwLock<Model>,
    lines: Lines,
    out: Vec<u8>,
    failed: u64,
}

impl Worker {
    /// Answers a row that was read, or says why it could not be.
    fn finish(&mut self, line: u64, read: Result<()>) {
        if let Err(error) = read.and_then(|()| self.lines.answer(&self.model, &mut self.out)) {
            self.failed += 1;
            eprintln!("line {line}: {error}");
            lines::fault(&error, &mut self.out);
        }
        self.out.push(b'\n');
    }
}
