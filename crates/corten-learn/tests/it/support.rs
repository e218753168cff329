//! Building data and running fits.

use corten_core::{Column, Csr, Data, Result, Table, Text};
use corten_learn::registry::estimators;
use corten_model::estimator::{Attribute, Context, Extras, FitInput, Fitted, Target};
use corten_model::{Batch, Labels, Method, Model, Run, Schema};
use serde_json::Value;

/// A number of the fixture.
pub(crate) fn number(value: &Value) -> f64 {
    match value {
        Value::Number(n) => n.as_f64().unwrap(),
        Value::Bool(b) => f64::from(u8::from(*b)),
        Value::String(s) if s == "NaN" => f64::NAN,
        other => panic!("no number: {other}"),
    }
}

pub(crate) fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(number).collect()
}

/// A matrix, from rows in JSON: of numbers, of text, or sparse.
pub(crate) fn data(value: &Value) -> Data<'static> {
    if let Some(parts) = value.get("csr") {
        let part = |i: usize| numbers(&parts[i]);
        let shape = part(0);
        let indptr: Vec<i64> = part(1).iter().map(|&v| v as i64).collect();
        let indices: Vec<i32> = part(2).iter().map(|&v| v as i32).collect();
        return Data::Csr(Csr::new(shape[0] as usize, shape[1] as usize, indptr, indices, part(3)).unwrap());
    }
    let rows = value.as_array().unwrap();
    let width = rows[0].as_array().unwrap().len();
    let is_text = |j: usize| rows.iter().any(|r| r[j].as_str().is_some_and(|s| s != "NaN"));
    let columns = (0..width).map(|j| {
        let name = format!("x{j}");
        if is_text(j) {
            Column::text(name, Text::from_options(rows.iter().map(|r| r[j].as_str().filter(|s| *s != "NaN"))))
        } else {
            Column::f64(name, rows.iter().map(|r| number(&r[j])).collect::<Vec<_>>())
        }
    });
    Data::Table(Table::matrix(columns.collect()).unwrap())
}

/// A table of named columns of numbers.
pub(crate) fn table(columns: &[(&str, &[f64])]) -> Data<'static> {
    Data::Table(Table::named(columns.iter().map(|(n, v)| Column::f64(n, v.to_vec())).collect()).unwrap())
}

/// A table of named columns of text.
pub(crate) fn texts(columns: &[(&str, &[Option<&str>])]) -> Data<'static> {
    let columns = columns.iter().map(|(n, v)| Column::text(n, Text::from_options(v.iter().copied())));
    Data::Table(Table::named(columns.collect()).unwrap())
}

pub(crate) fn line(values: &[f64]) -> Target<'static> {
    Target::Numbers { values: values.to_vec().into(), outputs: 1, flat: true }
}

pub(crate) fn classes(codes: &[u32]) -> Target<'static> {
    let count = codes.iter().max().map_or(0, |m| i64::from(*m) + 1);
    Target::Classes { codes: codes.to_vec().into(), labels: Labels::Int((0..count).collect()) }
}

/// What a fit is given beside the rows.
#[derive(Default)]
pub(crate) struct With<'a> {
    pub weights: Option<&'a [f64]>,
    pub previous: Option<&'a dyn Fitted>,
    pub partial: bool,
    pub threads: usize,
}

pub(crate) fn fit_with(
    name: &str,
    params: Value,
    x: &Data<'_>,
    y: Target<'_>,
    with: With<'_>,
) -> Result<Box<dyn Fitted>> {
    let entry = estimators().into_iter().find(|e| e.name == name).unwrap();
    let context = Context { threads: with.threads, ..Context::default() };
    let input = FitInput {
        x,
        y,
        sample_weight: with.weights,
        previous: with.previous,
        partial: with.partial,
        extras: &Extras::default(),
        context: &context,
    };
    (entry.fit)(&params, &input)
}

pub(crate) fn fit(name: &str, params: Value, x: &Data<'_>, y: Target<'_>) -> Result<Box<dyn Fitted>> {
    fit_with(name, params, x, y, With::default())
}

pub(crate) fn model(fitted: &dyn Fitted, x: &Data<'_>) -> Model {
    fitted.model(Schema::of(x).unwrap()).unwrap()
}

pub(crate) fn run(model: &Model, method: &str, x: &Data<'_>) -> Result<Batch> {
    model.run(Method::parse(method).unwrap(), x, &Run::default())
}

pub(crate) fn attribute(fitted: &dyn Fitted, name: &str) -> Attribute {
    let found = fitted.attributes().into_iter().find(|(n, _)| *n == name);
    found.unwrap_or_else(|| panic!("no attribute {name}")).1
}

pub(crate) fn floats(fitted: &dyn Fitted, name: &str) -> Vec<f64> {
    match attribute(fitted, name) {
        Attribute::Floats { values, .. } => values,
        Attribute::Float(v) => vec![v],
        other => panic!("{name} is {other:?}"),
    }
}

/// The text of the error of something that must fail.
pub(crate) fn error<T>(result: Result<T>) -> String {
    match result {
        Ok(_) => panic!("no error"),
        Err(error) => error.to_string(),
    }
}
