//! `POST /v2/models/{name}/infer`: tensors in JSON, as the Open Inference Protocol has them.

use corten_core::{Column, Data, Error, Kind, Result, Table, Text};
use corten_model::{Labels, Method, Model, Output, Run, Slot};
use serde_json::{Map, Value, json};

use crate::served::Served;

/// The input tensor of a model that was fitted on an array.
pub(crate) const MATRIX: &str = "input";

/// Name, type and shape of the tensors that a model reads.
pub(crate) fn inputs(model: &Model) -> Vec<Value> {
    let schema = model.schema();
    if !schema.named {
        return vec![json!({ "name": MATRIX, "datatype": "FP64", "shape": [-1, schema.inputs.len()] })];
    }
    let datatype = |i: &corten_model::Input| match (i.kind, i.dtype.as_str()) {
        (Kind::Text, _) => "BYTES",
        (_, "bool") => "BOOL",
        (_, "f32") => "FP32",
        (_, "i8") => "INT8",
        (_, "i16") => "INT16",
        (_, "i32") => "INT32",
        (_, "i64") => "INT64",
        (_, "u8") => "UINT8",
        (_, "u16") => "UINT16",
        (_, "u32") => "UINT32",
        (_, "u64") => "UINT64",
        _ => "FP64",
    };
    schema.inputs.iter().map(|i| json!({ "name": i.name, "datatype": datatype(i), "shape": [-1] })).collect()
}

fn datatype_of(output: &Output) -> &'static str {
    match (&output.labels, output.method) {
        (Some(Labels::Int(_)), Method::Predict) => "INT64",
        (Some(Labels::Bool(_)), Method::Predict) => "BOOL",
        (Some(Labels::Text(_)), Method::Predict) => "BYTES",
        _ => "FP64",
    }
}

/// Whether an output can be a tensor: all numbers, or all text.
fn is_tensor(output: &Output) -> bool {
    output.columns.iter().all(|s| matches!(s, Slot::Number(_)))
        || output.columns.iter().all(|s| matches!(s, Slot::Text(_)))
}

/// Name, type and shape of the tensors that a model answers.
pub(crate) fn outputs(model: &Model) -> Vec<Value> {
    let describe = |o: &Output| {
        let shape = if o.columns.len() == 1 { json!([-1]) } else { json!([-1, o.columns.len()]) };
        json!({ "name": o.method.as_str(), "datatype": datatype_of(o), "shape": shape })
    };
    model.graph().outputs().iter().filter(|o| is_tensor(o)).map(describe).collect()
}

fn flatten<'v>(value: &'v Value, out: &mut Vec<&'v Value>, depth: usize) -> Result<()> {
    match value {
        Value::Array(items) if depth < 8 => items.iter().try_for_each(|item| flatten(item, out, depth + 1)),
        Value::Array(_) | Value::Object(_) => Err(Error::value("'data' must be a list of numbers or texts")),
        one => {
            out.push(one);
            Ok(())
        }
    }
}

/// One tensor of a request.
struct Tensor<'v> {
    name: &'v str,
    shape: Vec<usize>,
    data: Vec<&'v Value>,
}

fn tensor(value: &Value) -> Result<Tensor<'_>> {
    let name = value.get("name").and_then(Value::as_str).ok_or_else(|| Error::value("an input has no 'name'"))?;
    let fault = |problem: &str| Error::column(name, problem);
    let shape = value.get("shape").and_then(Value::as_array).ok_or_else(|| fault("the input has no 'shape'"))?;
    let shape = shape
        .iter()
        .map(|d| d.as_u64().and_then(|d| usize::try_from(d).ok()))
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| fault("'shape' must be a list of sizes"))?;
    let mut data = Vec::new();
    let given = value.get("data").ok_or_else(|| fault("the input has no 'data'"))?;
    flatten(given, &mut data, 0).map_err(|e| fault(&e.to_string()))?;
    if shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)) != Some(data.len()) {
        return Err(fault(&format!("'shape' {shape:?} doesn't fit {} values", data.len())));
    }
    Ok(Tensor { name, shape, data })
}

fn number(name: &str, value: &Value) -> Result<f64> {
    match value {
        Value::Number(n) => Ok(n.as_f64().unwrap_or(f64::NAN)),
        Value::Null => Ok(f64::NAN),
        Value::Bool(b) => Ok(f64::from(u8::from(*b))),
        _ => Err(Error::column(name, "holds text where the model reads numbers")),
    }
}

fn text<'v>(name: &str, value: &'v Value) -> Result<Option<&'v str>> {
    match value {
        Value::String(s) => Ok(Some(s)),
        Value::Null => Ok(None),
        _ => Err(Error::column(name, "holds a number where the model reads text")),
    }
}

fn table(model: &Model, tensors: &[Tensor<'_>], max_rows: usize) -> Result<Table<'static>> {
    let schema = model.schema();
    let rows = tensors.first().and_then(|t| t.shape.first()).copied().unwrap_or(0);
    if rows > max_rows {
        return Err(Error::Limit(format!("more than {max_rows} rows in one request")));
    }
    if !schema.named {
        let [matrix] = tensors else {
            return Err(Error::value(format!(
                "the model reads one input, '{MATRIX}', of shape [rows, {}]",
                schema.inputs.len()
            )));
        };
        let width = schema.inputs.len();
        if matrix.shape != [rows, width] {
            return Err(Error::column(matrix.name, format!("has shape {:?}; [rows, {width}] is needed", matrix.shape)));
        }
        let values = matrix.data.iter().map(|v| number(matrix.name, v)).collect::<Result<Vec<_>>>()?;
        let column =
            |j: usize| Column::f64(format!("x{j}"), (0..rows).map(|i| values[i * width + j]).collect::<Vec<_>>());
        return Table::matrix((0..width).map(column).collect());
    }
    let mut columns = Vec::with_capacity(schema.inputs.len());
    for input in &schema.inputs {
        let found = tensors.iter().find(|t| t.name == input.name).ok_or_else(|| Error::MissingColumn {
            column: input.name.clone(),
            present: tensors.iter().take(20).map(|t| t.name).collect::<Vec<_>>().join(", "),
        })?;
        if found.data.len() != rows {
            let given = found.data.len();
            return Err(Error::column(&input.name, format!("has {given} rows where the first input has {rows}")));
        }
        columns.push(match input.kind {
            Kind::Number => {
                let values = found.data.iter().map(|v| number(&input.name, v)).collect::<Result<Vec<_>>>()?;
                Column::f64(&input.name, values)
            }
            Kind::Text => {
                let values = found.data.iter().map(|v| text(&input.name, v)).collect::<Result<Vec<_>>>()?;
                Column::text(&input.name, Text::from_options(values))
            }
        });
    }
    Table::named(columns)
}

fn answer(model: &Model, output: &Output, data: &Data<'_>) -> Result<Value> {
    let batch = model.run(output.method, data, &Run::default())?;
    let values: Vec<Value> = match (&output.labels, output.method) {
        (Some(labels), Method::Predict) => {
            let label = |x: &f64| match labels {
                Labels::Int(v) => json!(v[*x as usize]),
                Labels::Float(v) => json!(v[*x as usize]),
                Labels::Bool(v) => json!(v[*x as usize]),
                Labels::Text(v) => json!(v[*x as usize]),
            };
            batch.numbers.iter().map(label).collect()
        }
        _ if batch.texts.is_empty() => batch.numbers.iter().map(|x| json!(x)).collect(),
        _ => (0..batch.rows).flat_map(|r| batch.texts.iter().map(move |t| json!(t[r]))).collect(),
    };
    let shape = if output.columns.len() == 1 { json!([batch.rows]) } else { json!([batch.rows, output.columns.len()]) };
    Ok(json!({ "name": output.method.as_str(), "datatype": datatype_of(output), "shape": shape, "data": values }))
}

/// Answers an inference request; returns the number of rows too.
///
/// # Errors
/// [`Error::Value`], [`Error::Column`] and [`Error::MissingColumn`] for a request that doesn't fit the model,
/// [`Error::Limit`] for too many rows.
pub(crate) fn infer(served: &Served, body: &[u8], max_rows: usize) -> Result<(Vec<u8>, usize)> {
    let request: Value = serde_json::from_slice(body).map_err(|e| Error::value(format!("the body is no JSON: {e}")))?;
    let given =
        request.get("inputs").and_then(Value::as_array).ok_or_else(|| Error::value("the body has no 'inputs'"))?;
    let tensors = given.iter().map(tensor).collect::<Result<Vec<_>>>()?;
    let state = served.state.as_ref().map(|s| s.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    let model = state.as_deref().unwrap_or(&served.model);
    let table = table(model, &tensors, max_rows)?;
    let rows = table.rows();
    let data = Data::Table(table);
    let wanted: Vec<&Output> = match request.get("outputs").and_then(Value::as_array) {
        None => model.graph().outputs().iter().filter(|o| is_tensor(o)).collect(),
        Some(names) => names
            .iter()
            .map(|n| {
                let name = n.get("name").and_then(Value::as_str).unwrap_or_default();
                let found = model.graph().outputs().iter().find(|o| o.method.as_str() == name && is_tensor(o));
                found.ok_or_else(|| Error::value(format!("this model has no output '{name}'")))
            })
            .collect::<Result<_>>()?,
    };
    let outputs = wanted.into_iter().map(|o| answer(model, o, &data)).collect::<Result<Vec<_>>>()?;
    let mut response = Map::new();
    response.insert("model_name".into(), json!(served.name));
    response.insert("model_version".into(), json!("1"));
    if let Some(id) = request.get("id").filter(|id| id.is_string()) {
        response.insert("id".into(), id.clone());
    }
    response.insert("outputs".into(), json!(outputs));
    let bytes = serde_json::to_vec(&response).map_err(|e| Error::Internal(e.to_string()))?;
    Ok((bytes, rows))
}
