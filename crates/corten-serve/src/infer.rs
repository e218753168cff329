//! `POST /v2/models/{name}/infer`: tensors in JSON and in binary, as the Open Inference Protocol has them.

use std::sync::PoisonError;

use corten_core::{Column, Data, Error, Kind, Result, Table, Text};
use corten_model::{Batch, Labels, Method, Model, Output, Run};
use serde_json::{Map, Value, json};

use crate::describe::{MATRIX, datatype_of, is_tensor};
use crate::served::Served;
use crate::tensor::Tensor;

/// The answer to a request.
pub(crate) struct Scored {
    pub(crate) bytes: Vec<u8>,
    pub(crate) rows: usize,
    /// How many of the bytes are JSON, where binary tensors follow.
    pub(crate) json_length: Option<usize>,
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
        let values = matrix.numbers()?;
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
        if found.len() != rows {
            let given = found.len();
            return Err(Error::column(&input.name, format!("has {given} rows where the first input has {rows}")));
        }
        columns.push(match input.kind {
            Kind::Number => Column::f64(&input.name, found.numbers()?),
            Kind::Text => Column::text(&input.name, Text::from_options(found.texts()?)),
        });
    }
    Table::named(columns)
}

/// The one tensor of a body without JSON: what the model reads, as `FP64` or as the texts of its only column.
fn raw<'b>(model: &'b Model, body: &'b [u8]) -> Result<Tensor<'b>> {
    let schema = model.schema();
    let width = schema.inputs.len();
    match schema.inputs.as_slice() {
        [only] if schema.named && only.kind == Kind::Number && body.len().is_multiple_of(8) => {
            Ok(Tensor::raw(&only.name, vec![body.len() / 8], "FP64", body))
        }
        _ if !schema.named && width > 0 && body.len().is_multiple_of(8 * width) => {
            Ok(Tensor::raw(MATRIX, vec![body.len() / (8 * width), width], "FP64", body))
        }
        _ if schema.named && width != 1 => {
            Err(Error::value(format!("a body without JSON holds one input; the model reads {width}")))
        }
        _ => Err(Error::value(format!("a body without JSON holds rows of {width} FP64; {} bytes came", body.len()))),
    }
}

/// Which outputs are wanted, each with whether in binary.
fn wanted<'m>(model: &'m Model, request: &Value, all_binary: bool) -> Result<Vec<(&'m Output, bool)>> {
    let tensors = model.graph().outputs().iter().filter(|o| is_tensor(o));
    let Some(named) = request.get("outputs").and_then(Value::as_array).filter(|n| !n.is_empty()) else {
        return Ok(tensors.map(|o| (o, all_binary)).collect());
    };
    let find = |n: &Value| {
        let name = n.get("name").and_then(Value::as_str).unwrap_or_default();
        let binary = n.get("parameters").and_then(|p| p.get("binary_data")).and_then(Value::as_bool);
        let found = tensors.clone().find(|o| o.method.as_str() == name);
        let found = found.ok_or_else(|| {
            let has: Vec<&str> = tensors.clone().map(|o| o.method.as_str()).collect();
            Error::value(format!("this model has no output '{name}'; it has: {}", has.join(", ")))
        });
        found.map(|o| (o, binary.unwrap_or(all_binary)))
    };
    named.iter().map(find).collect()
}

/// The values of an answer in JSON.
fn values(batch: &Batch, labels: Option<&Labels>) -> Vec<Value> {
    let label = |x: &f64| match labels {
        Some(Labels::Int(v)) => json!(v[*x as usize]),
        Some(Labels::Float(v)) => json!(v[*x as usize]),
        Some(Labels::Bool(v)) => json!(v[*x as usize]),
        Some(Labels::Text(v)) => json!(v[*x as usize]),
        None => json!(x),
    };
    if batch.texts.is_empty() {
        return batch.numbers.iter().map(label).collect();
    }
    (0..batch.rows).flat_map(|r| batch.texts.iter().map(move |t| json!(t[r]))).collect()
}

/// The values of an answer in binary, appended to `out`.
fn binary(batch: &Batch, labels: Option<&Labels>, out: &mut Vec<u8>) {
    let text = |out: &mut Vec<u8>, text: &str| {
        out.extend_from_slice(&(text.len() as u32).to_le_bytes());
        out.extend_from_slice(text.as_bytes());
    };
    for x in &batch.numbers {
        match labels {
            Some(Labels::Int(v)) => out.extend_from_slice(&v[*x as usize].to_le_bytes()),
            Some(Labels::Float(v)) => out.extend_from_slice(&v[*x as usize].to_le_bytes()),
            Some(Labels::Bool(v)) => out.push(u8::from(v[*x as usize])),
            Some(Labels::Text(v)) => text(out, &v[*x as usize]),
            None => out.extend_from_slice(&x.to_le_bytes()),
        }
    }
    for row in 0..batch.rows {
        batch.texts.iter().for_each(|column| text(out, column[row].as_deref().unwrap_or_default()));
    }
}

/// Answers an inference request. `json_length` is how many bytes of the body are JSON where binary tensors follow.
///
/// # Errors
/// [`Error::Value`], [`Error::Column`] and [`Error::MissingColumn`] for a request that doesn't fit the model,
/// [`Error::Limit`] for too many rows.
pub(crate) fn infer(served: &Served, body: &[u8], json_length: Option<usize>, max_rows: usize) -> Result<Scored> {
    let (head, mut tail) = body.split_at_checked(json_length.unwrap_or(body.len())).ok_or_else(|| {
        let (said, given) = (json_length.unwrap_or_default(), body.len());
        Error::value(format!("Inference-Header-Content-Length is {said}, but the body has {given} bytes"))
    })?;
    let state = served.state.as_ref().map(|s| s.lock().unwrap_or_else(PoisonError::into_inner));
    let model = state.as_deref().unwrap_or(&served.model);
    let is_raw = json_length == Some(0);
    let request: Value = match is_raw {
        true => Value::Null,
        false => serde_json::from_slice(head).map_err(|e| Error::value(format!("the body is no JSON: {e}")))?,
    };
    let tensors = if is_raw {
        vec![raw(model, std::mem::take(&mut tail))?]
    } else {
        let given = request.get("inputs").and_then(Value::as_array);
        let given = given.ok_or_else(|| Error::value("the body has no 'inputs'"))?;
        given.iter().map(|v| Tensor::read(v, &mut tail)).collect::<Result<Vec<_>>>()?
    };
    if !tail.is_empty() {
        return Err(Error::value(format!("{} bytes follow the last input", tail.len())));
    }
    let table = table(model, &tensors, max_rows)?;
    let rows = table.rows();
    let data = Data::Table(table);
    let all_binary = request.get("parameters").and_then(|p| p.get("binary_data_output")).and_then(Value::as_bool);
    let (mut outputs, mut after) = (Vec::new(), Vec::new());
    let mut has_binary = false;
    for (output, in_binary) in wanted(model, &request, all_binary.unwrap_or(is_raw))? {
        let batch = model.run(output.method, &data, &Run::default())?;
        let labels = output.labels.as_ref().filter(|_| output.method == Method::Predict);
        let width = output.columns.len();
        let shape = if width == 1 { json!([batch.rows]) } else { json!([batch.rows, width]) };
        let mut answer = json!({ "name": output.method.as_str(), "datatype": datatype_of(output), "shape": shape });
        if in_binary {
            has_binary = true;
            let start = after.len();
            binary(&batch, labels, &mut after);
            answer["parameters"] = json!({ "binary_data_size": after.len() - start });
        } else {
            answer["data"] = json!(values(&batch, labels));
        }
        outputs.push(answer);
    }
    let mut response = Map::new();
    response.insert("model_name".into(), json!(served.name));
    response.insert("model_version".into(), json!(served.version.to_string()));
    if let Some(id) = request.get("id").filter(|id| id.is_string()) {
        response.insert("id".into(), id.clone());
    }
    response.insert("outputs".into(), Value::Array(outputs));
    let mut bytes = serde_json::to_vec(&response).map_err(|e| Error::Internal(e.to_string()))?;
    let json_length = has_binary.then_some(bytes.len());
    bytes.append(&mut after);
    Ok(Scored { bytes, rows, json_length })
}
