//! `POST /predict`: rows as JSON objects.

use std::sync::PoisonError;

use corten_core::{Error, Result};
use corten_model::Model;
use corten_model::rows::Scanner;

use crate::clock::{self, Stage};
use crate::served::{Served, Worker};

/// Answers `{"rows": [...]}` with `{"predictions": [...]}`; returns the number of rows too.
///
/// # Errors
/// [`Error::Value`] for what is no such body, [`Error::Limit`] for too many rows, and those of a row, which is named.
pub(crate) fn predict(served: &Served, body: &[u8], max_rows: usize) -> Result<(Vec<u8>, usize)> {
    served.with(|worker| {
        if let Ok(drift) = &served.drift {
            drift.add(&mut worker.seen, false);
        }
        let Some(state) = &served.state else { return answer(served, None, worker, body, max_rows) };
        let mut model = state.lock().unwrap_or_else(PoisonError::into_inner);
        // A request counts whole or not at all: it may be corrected and sent again.
        let before = model.clone();
        let answered = answer(served, Some(&mut model), worker, body, max_rows);
        if answered.is_err() {
            *model = before;
        }
        answered
    })
}

/// Answers a body; `state` is the model that its rows advance, where they do.
fn answer(
    served: &Served,
    mut state: Option<&mut Model>,
    worker: &mut Worker,
    body: &[u8],
    max_rows: usize,
) -> Result<(Vec<u8>, usize)> {
    let mut out = b"{\"predictions\":[".to_vec();
    let count = each_row(body, max_rows, |scanner, at| {
        if at > 0 {
            out.push(b',');
        }
        row(served, state.as_deref_mut(), worker, scanner, &mut out)
    })?;
    out.extend_from_slice(b"]}");
    Ok((out, count))
}

/// Calls `row` where each row of `{"rows": [...]}` begins, with its number; returns how many there are.
///
/// # Errors
/// [`Error::Value`] for what is no such body, [`Error::Limit`] for too many rows, and those of a row, which is named.
pub(crate) fn each_row(
    body: &[u8],
    max_rows: usize,
    mut row: impl FnMut(&mut Scanner<'_>, usize) -> Result<()>,
) -> Result<usize> {
    let mut scanner = Scanner::new(body);
    let mut count = None;
    scanner.expect(b'{')?;
    let mut key = Vec::new();
    if !scanner.take(b'}') {
        loop {
            key.clear();
            scanner.peek();
            scanner.string(&mut key)?;
            scanner.expect(b':')?;
            if key == b"rows" {
                if count.is_some() {
                    return Err(Error::value("'rows' comes twice"));
                }
                count = Some(rows(&mut scanner, max_rows, &mut row)?);
            } else {
                scanner.skip()?;
            }
            if !scanner.take(b',') {
                scanner.expect(b'}')?;
                break;
            }
        }
    }
    scanner.end()?;
    count.ok_or_else(|| Error::value("the body must be {\"rows\": [{column: value, ...}, ...]}"))
}

fn rows(
    scanner: &mut Scanner<'_>,
    max_rows: usize,
    row: &mut impl FnMut(&mut Scanner<'_>, usize) -> Result<()>,
) -> Result<usize> {
    let mut count = 0;
    scanner.expect(b'[')?;
    if !scanner.take(b']') {
        loop {
            if count >= max_rows {
                return Err(Error::Limit(format!("more than {max_rows} rows in one request")));
            }
            row(scanner, count).map_err(|e| named(e, count))?;
            count += 1;
            if !scanner.take(b',') {
                scanner.expect(b']')?;
                break;
            }
        }
    }
    Ok(count)
}

fn row(
    served: &Served,
    state: Option<&mut Model>,
    worker: &mut Worker,
    scanner: &mut Scanner<'_>,
    out: &mut Vec<u8>,
) -> Result<()> {
    let Worker { session, rows, answers, seen, .. } = worker;
    rows.read(scanner, session)?;
    clock::lap(Stage::Decode);
    let texts = rows.texts();
    let answered = match state {
        Some(model) => {
            model.update_row(session, &texts)?;
            answers.answer(model, session, &texts, out)
        }
        None => answers.answer(&served.model, session, &texts, out),
    };
    clock::lap(Stage::Run);
    if let (Ok(()), Ok(drift)) = (&answered, &served.drift) {
        drift.row(seen, session.numbers_mut(), &texts, answers.score());
    }
    answered
}

fn named(error: Error, row: usize) -> Error {
    match error {
        Error::Limit(_) | Error::Internal(_) => error,
        other => Error::value(format!("row {row}: {other}")),
    }
}
