//! The tensors that a model reads and answers, by name, type and shape.

use corten_core::Kind;
use corten_model::{Input, Labels, Method, Model, Output, Slot};
use serde::{Serialize, Serializer};

use crate::tensor::Datatype;

/// The input tensor of a model that was fitted on an array.
pub(crate) const MATRIX: &str = "input";
/// What else clients may call it.
const MATRIX_TOO: [&str; 2] = ["x", "X"];

/// Whether a tensor of this name is the one that a model of a matrix reads.
pub(crate) fn is_matrix(name: &str) -> bool {
    name == MATRIX || MATRIX_TOO.contains(&name)
}

/// The type of the one tensor that a model of an array reads. None where each column has a tensor of its own: in a table, and in
/// an array of numbers and texts, as the elements of a tensor are of one type.
pub(crate) fn matrix_of(model: &Model) -> Option<Datatype> {
    let schema = model.schema();
    if schema.named {
        return None;
    }
    match schema.inputs.iter().filter(|i| i.kind == Kind::Text).count() {
        0 => Some(Datatype::Fp64),
        texts => (texts == schema.inputs.len()).then_some(Datatype::Bytes),
    }
}

/// A tensor before it has values; -1 is a size of the request's choice.
#[derive(Debug, Serialize)]
pub(crate) struct Described {
    pub(crate) name: String,
    #[serde(serialize_with = "by_name")]
    pub(crate) datatype: Datatype,
    pub(crate) shape: Vec<i64>,
}

fn by_name<S: Serializer>(datatype: &Datatype, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(datatype.name())
}

/// The tensors that a model reads.
pub(crate) fn inputs(model: &Model) -> Vec<Described> {
    let schema = model.schema();
    if let Some(datatype) = matrix_of(model) {
        let shape = vec![-1, schema.inputs.len() as i64];
        return vec![Described { name: MATRIX.into(), datatype, shape }];
    }
    let describe = |i: &Input| Described { name: i.name.clone(), datatype: Datatype::of_input(i), shape: vec![-1] };
    schema.inputs.iter().map(describe).collect()
}

/// The type of an output's elements.
pub(crate) fn datatype_of(output: &Output) -> Datatype {
    match (&output.labels, output.method) {
        (Some(Labels::Int(_)), Method::Predict) => Datatype::Int { bytes: 8, signed: true },
        (Some(Labels::Bool(_)), Method::Predict) => Datatype::Bool,
        (Some(Labels::Text(_)), Method::Predict) => Datatype::Bytes,
        _ if output.columns.first().is_some_and(|s| matches!(s, Slot::Text(_))) => Datatype::Bytes,
        _ => Datatype::Fp64,
    }
}

/// Whether an output can be a tensor: all numbers, or all text.
pub(crate) fn is_tensor(output: &Output) -> bool {
    output.columns.iter().all(|s| matches!(s, Slot::Number(_)))
        || output.columns.iter().all(|s| matches!(s, Slot::Text(_)))
}

/// The tensors that a model answers.
pub(crate) fn outputs(model: &Model) -> Vec<Described> {
    let describe = |o: &Output| Described {
        name: o.method.as_str().into(),
        datatype: datatype_of(o),
        shape: if o.columns.len() == 1 { vec![-1] } else { vec![-1, o.columns.len() as i64] },
    };
    model.graph().outputs().iter().filter(|o| is_tensor(o)).map(describe).collect()
}
