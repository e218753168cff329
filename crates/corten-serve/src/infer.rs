//! `POST /v2/models/{name}/infer`: tensors in JSON or in bytes behind it, as the Open Inference Protocol has them.

use std::fmt::Display;
use std::time::{Duration, Instant};

use corten_core::{Column, Data, Error, Kind, Result, Strided, Table, Text, Values};
use corten_model::{Batch, Labels, Method, Model, Output, Run};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::clock::{self, Stage};
use crate::describe::{MATRIX, datatype_of, is_matrix, is_tensor, matrix_of};
use crate::quick;
use crate::request::{self, Request};
use crate::served::Served;
use crate::tensor::{Datatype, MAX_INPUTS, Tensor, most_inputs};

/// An answer, and how many of its bytes are JSON where tensors follow them.
pub(crate) struct Inferred {
    pub(crate) bytes: Vec<u8>,
    pub(crate) json: Option<usize>,
    pub(crate) rows: usize,
}

/// Why there is no answer.
pub(crate) enum Fault {
    Error(Error),
    /// An extension of the protocol is asked for that isn't there.
    Absent(Error),
    /// The request's own time is over.
    Late,
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// The table that the tensors are; `values` holds those of a matrix.
pub(crate) fn table<'v>(
    model: &Model,
    tensors: &[Tensor<'_>],
    max_rows: usize,
    values: &'v mut Vec<f64>,
) -> Result<Table<'v>> {
    let schema = model.schema();
    let rows = tensors.first().and_then(|t| t.shape.first()).copied().unwrap_or(0);
    if rows > max_rows {
        return Err(Error::Limit(format!("more than {max_rows} rows in one request")));
    }
    if let Some(datatype) = matrix_of(model) {
        let width = schema.inputs.len();
        let [matrix] = tensors else {
            return Err(Error::value(format!("the model reads one input, '{MATRIX}', of shape [rows, {width}]")));
        };
        if !is_matrix(matrix.name) {
            let problem = format!("isn't read by the model; it reads one input, '{MATRIX}', of shape [rows, {width}]");
            return Err(Error::column(matrix.name, problem));
        }
        if matrix.shape != [rows, width] {
            return Err(Error::column(matrix.name, format!("has shape {:?}; [rows, {width}] is needed", matrix.shape)));
        }
        // Columns of a matrix go by position: names would only cost.
        if datatype == Datatype::Bytes {
            let texts = matrix.texts()?;
            let column = |j: usize| Column::text("", Text::from_options(texts.iter().copied().skip(j).step_by(width)));
            return Table::matrix((0..width).map(column).collect());
        }
        *values = matrix.numbers()?;
        let values: &'v [f64] = values;
        let column = |j: usize| Ok(Column::number("", Values::F64(Strided::new(values, j, width, rows)?), None));
        return Table::matrix((0..width).map(column).collect::<Result<_>>()?);
    }
    let mut columns = Vec::with_capacity(schema.inputs.len());
    for input in &schema.inputs {
        let mut named = tensors.iter().filter(|t| t.name == input.name);
        let missing = || Error::missing_column(&input.name, tensors.iter().map(|t| t.name));
        let found = named.next().ok_or_else(missing)?;
        if named.next().is_some() {
            return Err(Error::column(&input.name, "comes twice in a request"));
        }
        if found.len() != rows {
            let given = found.len();
            return Err(Error::column(&input.name, format!("has {given} rows where the first input has {rows}")));
        }
        columns.push(match input.kind {
            Kind::Number => Column::f64(&input.name, found.numbers()?),
            Kind::Text => Column::text(&input.name, Text::from_options(found.texts()?)),
        });
    }
    if schema.named { Table::named(columns) } else { Table::matrix(columns) }
}

/// Writes an output tensor up to its data.
pub(crate) fn describe(output: &Output, rows: usize, json: &mut Vec<u8>) {
    for part in ["{\"name\":\"", output.method.as_str(), "\",\"datatype\":\"", datatype_of(output).name()] {
        json.extend_from_slice(part.as_bytes());
    }
    json.extend_from_slice(b"\",\"shape\":[");
    plain(json, rows);
    if output.columns.len() != 1 {
        json.push(b',');
        plain(json, output.columns.len());
    }
    json.extend_from_slice(b"],");
}

/// Writes the data of an output of numbers, or of the labels that they stand for.
pub(crate) fn data(output: &Output, numbers: &[f64], json: &mut Vec<u8>) {
    let (labels, numbers) = (output.labels.as_ref().filter(|_| output.method == Method::Predict), numbers.iter());
    json.extend_from_slice(b"\"data\":");
    match labels {
        Some(Labels::Int(v)) => list(json, numbers.map(|&x| v[x as usize])),
        Some(Labels::Float(v)) => list(json, numbers.map(|&x| v[x as usize])),
        Some(Labels::Bool(v)) => list(json, numbers.map(|&x| v[x as usize])),
        Some(Labels::Text(v)) => list(json, numbers.map(|&x| &v[x as usize])),
        None => list(json, numbers),
    }
}

/// Writes the name and version of the model that answers, and the id of the request.
pub(crate) fn start(served: &Served, id: Option<&str>, json: &mut Vec<u8>) {
    json.extend_from_slice(b"{\"model_name\":");
    plain(json, &served.name);
    json.extend_from_slice(b",\"model_version\":\"");
    plain(json, served.version);
    json.extend_from_slice(b"\",");
    if let Some(id) = id {
        json.extend_from_slice(b"\"id\":");
        plain(json, id);
        json.push(b',');
    }
    json.extend_from_slice(b"\"outputs\":[");
}

/// Writes one output tensor, its data into the JSON or behind it.
fn write(output: &Output, batch: &Batch, json: &mut Vec<u8>, binary: Option<&mut Vec<u8>>) {
    describe(output, batch.rows, json);
    match binary {
        None if batch.texts.is_empty() => data(output, &batch.numbers, json),
        None => {
            json.extend_from_slice(b"\"data\":");
            list(json, texts(batch));
        }
        Some(out) => {
            let from = out.len();
            bytes(output, batch, out);
            json.extend_from_slice(format!("\"parameters\":{{\"binary_data_size\":{}}}", out.len() - from).as_bytes());
        }
    }
    json.push(b'}');
}

/// Writes the elements of an output tensor, little-endian and row after row.
pub(crate) fn bytes(output: &Output, batch: &Batch, out: &mut Vec<u8>) {
    let labels = output.labels.as_ref().filter(|_| output.method == Method::Predict);
    let numbers = batch.numbers.iter();
    let text = |text: &str, out: &mut Vec<u8>| {
        out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend_from_slice(text.as_bytes());
    };
    match labels {
        Some(Labels::Int(v)) => numbers.for_each(|&x| out.extend_from_slice(&v[x as usize].to_le_bytes())),
        Some(Labels::Float(v)) => numbers.for_each(|&x| out.extend_from_slice(&v[x as usize].to_le_bytes())),
        Some(Labels::Bool(v)) => numbers.for_each(|&x| out.push(u8::from(v[x as usize]))),
        Some(Labels::Text(v)) => numbers.for_each(|&x| text(&v[x as usize], out)),
        None if batch.texts.is_empty() => numbers.for_each(|x| out.extend_from_slice(&x.to_le_bytes())),
        None => texts(batch).for_each(|t| text(t.unwrap_or_default(), out)),
    }
}

/// The texts of an answer, row after row.
pub(crate) fn texts(batch: &Batch) -> impl Iterator<Item = Option<&str>> {
    (0..batch.rows).flat_map(|r| batch.texts.iter().map(move |t| t[r].as_deref()))
}

/// A list of numbers or texts; what JSON has no number for is `null`.
fn list<T: Serialize>(json: &mut Vec<u8>, values: impl Iterator<Item = T>) {
    json.push(b'[');
    for (at, value) in values.enumerate() {
        if at > 0 {
            json.push(b',');
        }
        plain(json, value);
    }
    json.push(b']');
}

fn plain(json: &mut Vec<u8>, value: impl Serialize) {
    // Numbers and texts always have a form, and a vector takes it.
    let _ = serde_json::to_writer(json, &value);
}

/// The refusal of an output in shared memory.
pub(crate) fn no_shared_memory(name: &str) -> Error {
    Error::value(format!("the output '{name}' can't be put into shared memory; leave it out"))
}

/// The refusal of an output as the names of the highest classes.
pub(crate) fn no_classification(name: &str) -> Fault {
    let text =
        format!("the output '{name}' is asked for as a classification (class_count), an extension that isn't here");
    Fault::Absent(Error::Unsupported(text))
}

/// Parameters, which are an object where they come.
fn object<'p>(given: Option<&'p Value>, of: &dyn Display) -> Result<Option<&'p Map<String, Value>>> {
    let Some(given) = given.filter(|g| !g.is_null()) else { return Ok(None) };
    given.as_object().map(Some).ok_or_else(|| Error::value(format!("'parameters' of {of} must be an object")))
}

/// A parameter that is a boolean where it comes.
fn flag(parameters: Option<&Map<String, Value>>, key: &str) -> Result<Option<bool>> {
    let Some(given) = parameters.and_then(|p| p.get(key)) else { return Ok(None) };
    given.as_bool().map(Some).ok_or_else(|| Error::value(format!("'{key}' must be true or false; {given} came")))
}

/// The outputs that are asked for, and whether each is to come in bytes.
fn wanted<'m>(model: &'m Model, request: &Request<'_>, raw: bool) -> Result<Vec<(&'m Output, bool)>, Fault> {
    let all = flag(object(request.parameters.as_ref(), &"the request")?, "binary_data_output")?;
    let all = raw || all.unwrap_or(false);
    let tensors = model.graph().outputs().iter().filter(|o| is_tensor(o));
    let Some(given) = &request.outputs else {
        return Ok(tensors.map(|o| (o, all)).collect());
    };
    let given = given.as_array().ok_or_else(|| Error::value("'outputs' must be a list"))?;
    if given.len() > MAX_INPUTS {
        return Err(Error::Limit(format!("more than {MAX_INPUTS} outputs in one request")).into());
    }
    let find = |n: &Value| {
        let name = n.get("name").and_then(Value::as_str).unwrap_or_default();
        let found = model.graph().outputs().iter().find(|o| o.method.as_str() == name && is_tensor(o));
        let found = found.ok_or_else(|| Error::value(format!("this model has no output '{name}'")))?;
        let parameters = object(n.get("parameters"), &format_args!("the output '{name}'"))?;
        if parameters.is_some_and(|p| p.contains_key("shared_memory_region")) {
            return Err(no_shared_memory(name).into());
        }
        // None is asked for by 0.
        if parameters.and_then(|p| p.get("classification")).is_some_and(|count| count.as_u64() != Some(0)) {
            return Err(no_classification(name));
        }
        Ok((found, flag(parameters, "binary_data")?.unwrap_or(all)))
    };
    given.iter().map(find).collect()
}

/// Reads the JSON of a request. Where it has Python's bare `NaN`, `tamed` gets the JSON that it stands for.
fn read<'b>(json: &'b [u8], tamed: &'b mut Vec<u8>) -> Result<Request<'b>> {
    let error = match serde_json::from_slice(json) {
        Ok(request) => return Ok(request),
        Err(error) => error,
    };
    *tamed = request::tame(json);
    // The first error tells the place in what came.
    serde_json::from_slice(tamed).map_err(|_| {
        let whole: std::result::Result<serde::de::IgnoredAny, _> = serde_json::from_slice(tamed);
        match whole {
            Ok(_) => Error::value(format!("the body is no inference request, which has a list of 'inputs': {error}")),
            Err(_) => Error::value(format!("the body is no JSON: {error}")),
        }
    })
}

/// A body that is nothing but the bytes of the one input.
fn raw<'b>(model: &'b Model, body: &'b [u8]) -> Result<Tensor<'b>> {
    let inputs = &model.schema().inputs;
    let (name, width, datatype) = match (matrix_of(model), inputs.as_slice()) {
        (Some(Datatype::Fp64), all) => (MATRIX, all.len(), Datatype::Fp64),
        (None, [one]) if one.kind == Kind::Number => (one.name.as_str(), 1, Datatype::of_input(one)),
        _ => return Err(Error::value("a body without JSON fits a model with one input of numbers only")),
    };
    let row = width * datatype.size().unwrap_or(1);
    if row == 0 || !body.len().is_multiple_of(row) {
        return Err(Error::column(name, format!("{} bytes are no rows of {row} bytes", body.len())));
    }
    let rows = body.len() / row;
    Ok(Tensor::raw(name, if model.schema().named { vec![rows] } else { vec![rows, width] }, datatype, body))
}

/// Answers an inference request. `head` is how many bytes of the body are JSON, where tensors follow them.
///
/// # Errors
/// [`Error::Value`], [`Error::Column`] and [`Error::MissingColumn`] for a request that doesn't fit the model,
/// [`Error::Limit`] for too many rows; [`Fault::Late`] when its `timeout` has passed since `begun`.
pub(crate) fn infer(
    served: &Served,
    body: &[u8],
    head: Option<usize>,
    max_rows: usize,
    begun: Instant,
) -> Result<Inferred, Fault> {
    if head.is_none() {
        let mut bytes = Vec::new();
        if let Some(rows) = quick::infer(served, body, max_rows, &mut bytes) {
            return Ok(Inferred { bytes, json: None, rows });
        }
    }
    any(served, body, head, max_rows, begun)
}

/// Answers any inference request, also those that [`quick`] could.
///
/// # Errors
/// Those of [`infer`].
pub(crate) fn any(
    served: &Served,
    body: &[u8],
    head: Option<usize>,
    max_rows: usize,
    begun: Instant,
) -> Result<Inferred, Fault> {
    let (json, mut binary) = body.split_at_checked(head.unwrap_or(body.len())).ok_or_else(|| {
        Error::value(format!("Inference-Header-Content-Length is {}, but {} bytes came", head.unwrap_or(0), body.len()))
    })?;
    let state = served.state.as_ref().map(|s| s.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    let model = state.as_deref().unwrap_or(&served.model);
    let is_raw = head == Some(0);
    let mut tamed = Vec::new();
    let request = if is_raw { Request::default() } else { read(json, &mut tamed)? };
    let tensors = if is_raw {
        vec![raw(model, binary)?]
    } else {
        let given = request.inputs.as_ref().ok_or_else(|| Error::value("the body has no 'inputs'"))?;
        let most = most_inputs(model);
        if given.len() > most {
            return Err(Error::Limit(format!("more than {most} inputs in one request")).into());
        }
        let tensors = given.iter().map(|t| Tensor::of(t, &mut binary)).collect::<Result<Vec<_>>>()?;
        if !binary.is_empty() {
            return Err(Error::value(format!("{} bytes follow the last input", binary.len())).into());
        }
        tensors
    };
    if let Some(request::Text::Other(id)) = &request.id {
        return Err(Error::value(format!("'id' must be a text; {id} came")).into());
    }
    let wanted = wanted(model, &request, is_raw)?;
    let timeout = request.parameters.as_ref().and_then(|p| p.get("timeout"));
    if let Some(limit) = timeout {
        let limit = limit.as_u64().ok_or_else(|| Error::value("'timeout' must be a number of microseconds"))?;
        if limit > 0 && begun.elapsed() > Duration::from_micros(limit) {
            return Err(Fault::Late);
        }
    }
    let mut values = Vec::new();
    let table = table(model, &tensors, max_rows, &mut values)?;
    let rows = table.rows();
    let methods: Vec<Method> = wanted.iter().map(|w| w.0.method).collect();
    clock::lap(Stage::Decode);
    let data = Data::Table(table);
    let batches = model.run_all(&methods, &data, &Run::default())?;
    clock::lap(Stage::Run);
    served.watch(&data, &methods, &batches);
    let (mut whole, mut bytes) =
        (Vec::with_capacity(256 + 24 * batches.iter().map(|b| b.numbers.len()).sum::<usize>()), Vec::new());
    start(served, request.id.as_ref().and_then(|id| id.as_str()), &mut whole);
    for (at, ((output, is_binary), batch)) in wanted.iter().zip(&batches).enumerate() {
        if at > 0 {
            whole.push(b',');
        }
        write(output, batch, &mut whole, is_binary.then_some(&mut bytes));
    }
    whole.extend_from_slice(b"]}");
    let json = wanted.iter().any(|w| w.1).then_some(whole.len());
    whole.append(&mut bytes);
    clock::lap(Stage::Encode);
    Ok(Inferred { bytes: whole, json, rows })
}
