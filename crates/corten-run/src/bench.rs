//! How long rows take here: every row of the input again and again, one at a time.

use std::io::{self, Read, Write};
use std::sync::RwLock;
use std::time::{Duration, Instant};

use corten::histogram::Histogram;
use corten::lines::Lines;
use corten_core::{Error, Result};
use corten_model::rows::{CsvReader, Scanner, is_blank, without_mark};
use corten_model::{Method, Model};

/// Most bytes of rows that are kept.
const MAX_INPUT: u64 = 256 << 20;
/// Most rows that are kept.
const MAX_ROWS: usize = 1_000_000;
/// Rounds before the measurement counts.
const WARM: usize = 2;

/// A row as the executor takes it.
struct Row {
    numbers: Vec<f64>,
    texts: Vec<Option<Vec<u8>>>,
}

/// Measures the executor alone, and where the input is JSON whole lines: text in, text out.
///
/// # Errors
/// [`Error::Value`] for an input without rows or with a row that the model refuses, [`Error::Limit`], and what the output
/// says.
pub(crate) fn run(model: Model, csv: bool, seconds: f64) -> Result<()> {
    if model.is_stateful() {
        return Err(Error::Unsupported(
            "--bench would change the state of this model; it takes models without one".into(),
        ));
    }
    let mut text = Vec::new();
    let unread = |e: io::Error| Error::value(format!("standard input: {e}"));
    io::stdin().lock().take(MAX_INPUT + 1).read_to_end(&mut text).map_err(unread)?;
    if text.len() as u64 > MAX_INPUT {
        return Err(Error::Limit("--bench takes at most 256 MiB of rows".into()));
    }
    let mut lines = Lines::new(&model);
    let rows = read(&model, &mut lines, &text, csv)?;
    if rows.is_empty() {
        return Err(Error::value("--bench needs rows on standard input: JSON lines, or CSV with --csv"));
    }
    let methods = model.methods();
    let method = [Method::PredictProba, Method::Predict].into_iter().find(|m| methods.contains(m));
    let method = method.unwrap_or(Method::Transform);
    let mut session = model.prepared_session(1);
    let for_each = Duration::from_secs_f64(seconds / if csv { 1.0 } else { 2.0 });

    let executor = measure(for_each, rows.len(), |at| {
        session.numbers_mut().copy_from_slice(&rows[at].numbers);
        let texts: Vec<Option<&[u8]>> = rows[at].texts.iter().map(Option::as_deref).collect();
        let before = Instant::now();
        model.run_row(method, &mut session, &texts)?;
        Ok(before.elapsed())
    })?;
    let mut out = io::stdout().lock();
    let gone = |e: io::Error| Error::value(format!("standard output: {e}"));
    write!(out, "{} of one row, {} calls over {} rows\n{executor}", method.as_str(), executor.count(), rows.len())
        .map_err(gone)?;
    if csv {
        return Ok(());
    }
    let model = RwLock::new(model);
    let given: Vec<&[u8]> = without_mark(&text).split(|&b| b == b'\n').filter(|l| !is_blank(l)).collect();
    let mut answer = Vec::new();
    let whole = measure(for_each, given.len(), |at| {
        answer.clear();
        let before = Instant::now();
        lines.json(&model, given[at], &mut answer)?;
        Ok(before.elapsed())
    })?;
    write!(out, "a line of JSON to a line of JSON, {} calls\n{whole}", whole.count()).map_err(gone)
}

/// Calls `f` with every row in turn until the time is over.
fn measure(time: Duration, rows: usize, mut f: impl FnMut(usize) -> Result<Duration>) -> Result<Histogram> {
    for at in (0..rows.min(100_000)).cycle().take(WARM * rows.min(100_000)) {
        f(at)?;
    }
    let mut histogram = Histogram::default();
    let end = Instant::now() + time;
    while Instant::now() < end {
        for at in 0..rows {
            histogram.add(f(at)?);
        }
    }
    Ok(histogram)
}

fn read(model: &Model, lines: &mut Lines, text: &[u8], csv: bool) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    let mut keep = |lines: &mut Lines, line: u64, read: Result<()>| {
        read.map_err(|e| Error::value(format!("line {line}: {e}")))?;
        if rows.len() == MAX_ROWS {
            return Err(Error::Limit("--bench takes at most 1,000,000 rows".into()));
        }
        let texts = lines.rows.texts().into_iter().map(|t| t.map(<[u8]>::to_vec)).collect();
        rows.push(Row { numbers: lines.session.numbers_mut().to_vec(), texts });
        Ok(())
    };
    if csv {
        let mut reader = CsvReader::new(model, text)?;
        loop {
            match reader.read(&mut lines.rows, &mut lines.session) {
                Ok(false) => break,
                read => keep(lines, reader.line(), read.map(drop))?,
            }
        }
        return Ok(rows);
    }
    for (line, bytes) in (1..).zip(without_mark(text).split(|&b| b == b'\n')) {
        if !is_blank(bytes) {
            let mut scanner = Scanner::new(bytes);
            let read = lines.rows.read(&mut scanner, &mut lines.session).and_then(|()| scanner.end());
            keep(lines, line, read)?;
        }
    }
    Ok(rows)
}
