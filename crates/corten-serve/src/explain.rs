//! `POST /explain`: rows as JSON objects, answered with what each feature adds to a row's score.

use corten_core::{Column, Data, Kind, Result, Table, Text};
use corten_model::rows::quote;
use corten_model::{Model, Run};

use crate::clock::{self, Stage};
use crate::predict::each_row;
use crate::served::{Served, Worker};

/// Answers `{"rows": [...]}` with `{"base_values": ..., "feature_names": [...], "values": [...]}`; returns the number of
/// rows too. A model with several outputs has a list in the place of each number of `base_values` and `values`.
///
/// # Errors
/// [`corten_core::Error::Unsupported`] for models that can't be explained; [`corten_core::Error::Value`] for what is no such
/// body, [`corten_core::Error::Limit`] for too many rows, and those of a row, which is named.
pub(crate) fn explain(served: &Served, body: &[u8], max_rows: usize) -> Result<(Vec<u8>, usize)> {
    served.model.explainable()?;
    let mut columns = Columns::new(&served.model);
    let rows = served.with(|Worker { session, rows, .. }| {
        each_row(body, max_rows, |scanner, _| {
            rows.read(scanner, session)?;
            columns.push(session.numbers_mut(), &rows.texts());
            Ok(())
        })
    })?;
    clock::lap(Stage::Decode);
    let found = served.model.explain(&Data::Table(columns.table(&served.model)?), false, &Run::default())?;
    clock::lap(Stage::Run);
    let mut out = b"{\"base_values\":".to_vec();
    numbers(&found.base, &mut out);
    out.extend_from_slice(b",\"feature_names\":[");
    list(found.names.iter(), &mut out, |name, out| out.extend_from_slice(&quote(name)));
    out.extend_from_slice(b"],\"values\":[");
    let width = (found.features * found.outputs).max(1);
    list(found.values.chunks_exact(width), &mut out, |row, out| {
        out.push(b'[');
        list(row.chunks_exact(found.outputs), out, numbers);
        out.push(b']');
    });
    out.extend_from_slice(b"]}");
    clock::lap(Stage::Encode);
    Ok((out, rows))
}

/// One number, or a list of several.
fn numbers(values: &[f64], out: &mut Vec<u8>) {
    // Sums of finite leaves: a leaf beyond numbers is told as missing.
    let one = |x: &f64, out: &mut Vec<u8>| match serde_json::Number::from_f64(*x) {
        Some(number) => out.extend_from_slice(number.to_string().as_bytes()),
        None => out.extend_from_slice(b"null"),
    };
    match values {
        [x] => one(x, out),
        many => {
            out.push(b'[');
            list(many.iter(), out, one);
            out.push(b']');
        }
    }
}

fn list<T>(items: impl Iterator<Item = T>, out: &mut Vec<u8>, mut write: impl FnMut(T, &mut Vec<u8>)) {
    for (i, item) in items.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write(item, out);
    }
}

/// Rows as the columns of a table.
struct Columns {
    numbers: Vec<Vec<f64>>,
    texts: Vec<Vec<Option<String>>>,
}

impl Columns {
    fn new(model: &Model) -> Self {
        let (numbers, texts) = model.schema().counts();
        Self { numbers: vec![Vec::new(); numbers], texts: vec![Vec::new(); texts] }
    }

    fn push(&mut self, numbers: &[f64], texts: &[Option<&[u8]>]) {
        self.numbers.iter_mut().zip(numbers).for_each(|(to, x)| to.push(*x));
        let text = |t: &Option<&[u8]>| t.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        self.texts.iter_mut().zip(texts).for_each(|(to, t)| to.push(text(t)));
    }

    fn table(self, model: &Model) -> Result<Table<'static>> {
        let (mut numbers, mut texts) = (self.numbers.into_iter(), self.texts.into_iter());
        let column = |input: &corten_model::Input| match input.kind {
            Kind::Number => Column::f64(&input.name, numbers.next().unwrap_or_default()),
            Kind::Text => Column::text(&input.name, Text::from_options(texts.next().unwrap_or_default())),
        };
        let columns: Vec<Column<'static>> = model.schema().inputs.iter().map(column).collect();
        if model.schema().named { Table::named(columns) } else { Table::matrix(columns) }
    }
}
