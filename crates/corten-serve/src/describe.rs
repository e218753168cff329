//! What a model reads and answers, as the Open Inference Protocol names it.

use corten_core::Kind;
use corten_model::{Input, Labels, Method, Model, Output, Slot};
use serde_json::{Value, json};

use crate::repository::Entry;
use crate::served::Served;

/// The input tensor of a model that was fitted on an array.
pub(crate) const MATRIX: &str = "input";

fn datatype_of_input(input: &Input) -> &'static str {
    match (input.kind, input.dtype.as_str()) {
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
    }
}

/// Name, type and shape of the tensors that a model reads.
fn inputs(model: &Model) -> Vec<Value> {
    let schema = model.schema();
    if !schema.named {
        return vec![json!({ "name": MATRIX, "datatype": "FP64", "shape": [-1, schema.inputs.len()] })];
    }
    let describe = |i: &Input| json!({ "name": i.name, "datatype": datatype_of_input(i), "shape": [-1] });
    schema.inputs.iter().map(describe).collect()
}

/// The type of an answer.
pub(crate) fn datatype_of(output: &Output) -> &'static str {
    match (&output.labels, output.method) {
        (Some(Labels::Int(_)), Method::Predict) => "INT64",
        (Some(Labels::Bool(_)), Method::Predict) => "BOOL",
        (Some(Labels::Text(_)), Method::Predict) => "BYTES",
        _ if output.columns.iter().any(|s| matches!(s, Slot::Text(_))) => "BYTES",
        _ => "FP64",
    }
}

/// Whether an output can be a tensor: all numbers, or all text.
pub(crate) fn is_tensor(output: &Output) -> bool {
    output.columns.iter().all(|s| matches!(s, Slot::Number(_)))
        || output.columns.iter().all(|s| matches!(s, Slot::Text(_)))
}

fn outputs(model: &Model) -> Vec<Value> {
    let describe = |o: &Output| {
        let shape = if o.columns.len() == 1 { json!([-1]) } else { json!([-1, o.columns.len()]) };
        json!({ "name": o.method.as_str(), "datatype": datatype_of(o), "shape": shape })
    };
    model.graph().outputs().iter().filter(|o| is_tensor(o)).map(describe).collect()
}

/// The metadata of a model.
pub(crate) fn model(served: &Served, entries: &[Entry]) -> Value {
    let own = entries.iter().filter(|e| e.name == served.name && e.served.is_some());
    json!({
        "name": served.name,
        "versions": own.map(|e| e.version.to_string()).collect::<Vec<_>>(),
        "platform": "corten",
        "inputs": inputs(&served.model),
        "outputs": outputs(&served.model),
    })
}
