//! `ModelInfer`: tensors in protobuf, typed or as bytes, answered in kind.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use corten_core::{Data, Error, Result};
use corten_model::{Batch, Labels, Method, Model, Output, Run};
use hyper::body::Bytes;
use prost::Message;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};

use super::messages::inference::infer_parameter::ParameterChoice;
use super::messages::inference::model_infer_request::InferInputTensor;
use super::messages::inference::model_infer_response::InferOutputTensor;
use super::messages::inference::{InferParameter, InferTensorContents, ModelInferRequest, ModelInferResponse};
use crate::clock::{self, Stage};
use crate::describe::{datatype_of, is_tensor};
use crate::infer::{self, Fault};
use crate::served::Served;
use crate::tensor::{Datatype, Tensor, unknown};

type Parameters = BTreeMap<String, InferParameter>;

/// Reads a request, of which the model of that name may have so many inputs and outputs. Lists are counted before anything is
/// made of them: an empty tensor is two bytes as it comes, and hundreds once it is read.
///
/// # Errors
/// [`Error::Value`] for what is no such message, [`Error::Limit`] for too many inputs or outputs.
pub(crate) fn decode(message: Bytes, most: impl FnOnce(&str) -> usize) -> Result<ModelInferRequest> {
    let fault = |e: prost::DecodeError| Error::value(format!("the message is no ModelInferRequest: {e}"));
    let mut rest: &[u8] = &message;
    let (mut counts, mut name) = ([0usize; 8], &rest[..0]);
    while !rest.is_empty() {
        let (tag, kind) = decode_key(&mut rest).map_err(fault)?;
        if let Some(count) = counts.get_mut(tag as usize) {
            *count += 1;
        }
        let field = rest;
        skip_field(kind, tag, &mut rest, DecodeContext::default()).map_err(fault)?;
        if tag == 1 && kind == WireType::LengthDelimited {
            name = &field[..field.len() - rest.len()];
            // What isn't skipped has a length that can be read.
            decode_varint(&mut name).map_err(fault)?;
        }
    }
    let most = most(std::str::from_utf8(name).unwrap_or_default());
    for (tag, what) in [(4, "parameters"), (5, "inputs"), (6, "outputs"), (7, "raw_input_contents")] {
        if counts[tag] > most {
            return Err(Error::Limit(format!("more than {most} {what} in one request")));
        }
    }
    ModelInferRequest::decode(message).map_err(fault)
}

fn parameter<'p>(parameters: &'p Parameters, key: &str) -> Option<&'p ParameterChoice> {
    // Most requests have none.
    if parameters.is_empty() { None } else { parameters.get(key)?.parameter_choice.as_ref() }
}

/// The elements of a typed tensor as bytes, little-endian, so that there is one way to read them.
fn bytes_of(name: &str, datatype: Datatype, contents: &InferTensorContents) -> Result<Vec<u8>> {
    let InferTensorContents {
        bool_contents,
        int_contents,
        int64_contents,
        uint_contents,
        uint64_contents,
        fp32_contents,
        fp64_contents,
        bytes_contents,
    } = contents;
    let given = [
        ("bool_contents", bool_contents.len()),
        ("int_contents", int_contents.len()),
        ("int64_contents", int64_contents.len()),
        ("uint_contents", uint_contents.len()),
        ("uint64_contents", uint64_contents.len()),
        ("fp32_contents", fp32_contents.len()),
        ("fp64_contents", fp64_contents.len()),
        ("bytes_contents", bytes_contents.len()),
    ];
    let list = match datatype {
        Datatype::Bool => "bool_contents",
        Datatype::Int { bytes: 8, signed: true } => "int64_contents",
        Datatype::Int { signed: true, .. } => "int_contents",
        Datatype::Int { bytes: 8, .. } => "uint64_contents",
        Datatype::Int { .. } => "uint_contents",
        Datatype::Fp32 => "fp32_contents",
        Datatype::Fp64 => "fp64_contents",
        Datatype::Bytes => "bytes_contents",
        Datatype::Fp16 | Datatype::Bf16 => {
            let text = format!("{} has no list in 'contents'; send it in raw_input_contents", datatype.name());
            return Err(Error::column(name, text));
        }
    };
    if let Some((other, _)) = given.iter().find(|(other, length)| *length > 0 && *other != list) {
        return Err(Error::column(name, format!("'{other}' came where {} needs '{list}'", datatype.name())));
    }
    let narrow = |fits: bool, x: &dyn std::fmt::Display| {
        if fits { Ok(()) } else { Err(Error::column(name, format!("{x} is no {}", datatype.name()))) }
    };
    let mut out = Vec::with_capacity(given.iter().map(|g| g.1).sum::<usize>() * datatype.size().unwrap_or(16));
    match datatype {
        Datatype::Bool => out.extend(bool_contents.iter().map(|&b| u8::from(b))),
        Datatype::Int { bytes: 8, signed: true } => int64_contents.iter().for_each(|x| out.extend(x.to_le_bytes())),
        Datatype::Int { bytes: 8, .. } => uint64_contents.iter().for_each(|x| out.extend(x.to_le_bytes())),
        Datatype::Int { bytes, signed: true } => {
            let limit = 1i64 << (8 * bytes - 1);
            for x in int_contents {
                narrow((-limit..limit).contains(&i64::from(*x)), x)?;
                out.extend_from_slice(&x.to_le_bytes()[..bytes]);
            }
        }
        Datatype::Int { bytes, .. } => {
            for x in uint_contents {
                narrow(u64::from(*x) < 1u64 << (8 * bytes), x)?;
                out.extend_from_slice(&x.to_le_bytes()[..bytes]);
            }
        }
        Datatype::Fp32 => fp32_contents.iter().for_each(|x| out.extend(x.to_le_bytes())),
        Datatype::Fp64 => fp64_contents.iter().for_each(|x| out.extend(x.to_le_bytes())),
        _ => bytes_contents.iter().for_each(|text| {
            // A message has fewer bytes than this can count.
            out.extend_from_slice(&u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
            out.extend_from_slice(text);
        }),
    }
    Ok(out)
}

/// The tensors of a request; `typed` holds the bytes of those that came as lists.
fn tensors<'b>(request: &'b ModelInferRequest, typed: &'b mut Vec<Vec<u8>>) -> Result<Vec<Tensor<'b>>> {
    let inputs = &request.inputs;
    let raw = &request.raw_input_contents;
    let datatype = |input: &InferInputTensor| {
        Datatype::parse(&input.datatype).ok_or_else(|| unknown(&input.name, format!("'{}'", input.datatype)))
    };
    if raw.is_empty() {
        for input in inputs {
            let none = InferTensorContents::default();
            let contents = input.contents.as_ref().unwrap_or(&none);
            typed.push(bytes_of(&input.name, datatype(input)?, contents)?);
        }
    } else if raw.len() != inputs.len() {
        let text = format!("{} raw_input_contents came for {} inputs; one each is needed", raw.len(), inputs.len());
        return Err(Error::value(text));
    }
    let typed: &'b [Vec<u8>] = typed;
    let one = |(at, input): (usize, &'b InferInputTensor)| {
        if !raw.is_empty() && input.contents.is_some() {
            return Err(Error::column(&input.name, "has 'contents' beside raw_input_contents; one of them is needed"));
        }
        if parameter(&input.parameters, "shared_memory_region").is_some() {
            return Err(Error::column(&input.name, "shared memory isn't supported; send the data with the request"));
        }
        let size = |d: &i64| usize::try_from(*d).ok();
        let shape = input.shape.iter().map(size).collect::<Option<Vec<_>>>();
        let shape = shape.ok_or_else(|| Error::column(&input.name, "'shape' must be a list of sizes"))?;
        let bytes: &'b [u8] = if raw.is_empty() { &typed[at] } else { &raw[at] };
        Tensor::of_bytes(&input.name, shape, datatype(input)?, bytes)
    };
    inputs.iter().enumerate().map(one).collect()
}

/// The outputs that are asked for.
fn wanted<'m>(model: &'m Model, request: &ModelInferRequest) -> Result<Vec<&'m Output>, Fault> {
    let all = model.graph().outputs();
    if request.outputs.is_empty() {
        return Ok(all.iter().filter(|o| is_tensor(o)).collect());
    }
    let find = |asked: &super::messages::inference::model_infer_request::InferRequestedOutputTensor| {
        let name = &asked.name;
        if parameter(&asked.parameters, "shared_memory_region").is_some() {
            return Err(infer::no_shared_memory(name).into());
        }
        match parameter(&asked.parameters, "classification") {
            None | Some(ParameterChoice::Int64Param(0) | ParameterChoice::Uint64Param(0)) => {}
            Some(_) => return Err(infer::no_classification(name)),
        }
        let found = all.iter().find(|o| o.method.as_str() == name && is_tensor(o));
        found.ok_or_else(|| Error::value(format!("this model has no output '{name}'")).into())
    };
    request.outputs.iter().map(find).collect()
}

/// The elements of an answer as the list that its type has.
fn contents(output: &Output, batch: &Batch) -> InferTensorContents {
    let mut contents = InferTensorContents::default();
    let labels = output.labels.as_ref().filter(|_| output.method == Method::Predict);
    let numbers = batch.numbers.iter();
    match labels {
        Some(Labels::Int(v)) => contents.int64_contents = numbers.map(|&x| v[x as usize]).collect(),
        Some(Labels::Float(v)) => contents.fp64_contents = numbers.map(|&x| v[x as usize]).collect(),
        Some(Labels::Bool(v)) => contents.bool_contents = numbers.map(|&x| v[x as usize]).collect(),
        Some(Labels::Text(v)) => {
            contents.bytes_contents = numbers.map(|&x| Bytes::copy_from_slice(v[x as usize].as_bytes())).collect();
        }
        None if batch.texts.is_empty() => contents.fp64_contents.extend_from_slice(&batch.numbers),
        None => {
            let texts = infer::texts(batch).map(|t| Bytes::copy_from_slice(t.unwrap_or_default().as_bytes()));
            contents.bytes_contents = texts.collect();
        }
    }
    contents
}

/// How long an answer may take by the request's own word.
///
/// # Errors
/// [`Error::Value`] for what is no time.
fn timeout(request: &ModelInferRequest) -> Result<Option<Duration>> {
    let micros = match parameter(&request.parameters, "timeout") {
        None => return Ok(None),
        Some(ParameterChoice::Int64Param(x)) => u64::try_from(*x).ok(),
        Some(ParameterChoice::Uint64Param(x)) => Some(*x),
        Some(_) => None,
    };
    let micros = micros.ok_or_else(|| Error::value("'timeout' must be a number of microseconds"))?;
    Ok((micros > 0).then(|| Duration::from_micros(micros)))
}

/// Answers a request, and tells its rows. One whose tensors came as bytes is answered in bytes, one with lists in lists.
///
/// # Errors
/// [`Error::Value`], [`Error::Column`] and [`Error::MissingColumn`] for a request that doesn't fit the model,
/// [`Error::Limit`] for too many rows; [`Fault::Late`] when its `timeout` has passed since `begun`.
pub(crate) fn infer(
    served: &Served,
    request: &ModelInferRequest,
    max_rows: usize,
    begun: Instant,
) -> Result<(ModelInferResponse, usize), Fault> {
    let state = served.state.as_ref().map(|s| s.lock().unwrap_or_else(PoisonError::into_inner));
    let model = state.as_deref().unwrap_or(&served.model);
    let mut typed = Vec::new();
    let tensors = tensors(request, &mut typed)?;
    let wanted = wanted(model, request)?;
    if timeout(request)?.is_some_and(|limit| begun.elapsed() > limit) {
        return Err(Fault::Late);
    }
    let mut values = Vec::new();
    let table = infer::table(model, &tensors, max_rows, &mut values)?;
    let rows = table.rows();
    let methods: Vec<Method> = wanted.iter().map(|w| w.method).collect();
    clock::lap(Stage::Decode);
    let data = Data::Table(table);
    let batches = model.run_all(&methods, &data, &Run::default())?;
    clock::lap(Stage::Run);
    served.watch(&data, &methods, &batches);
    let raw = !request.raw_input_contents.is_empty();
    let mut response = ModelInferResponse {
        model_name: served.name.clone(),
        model_version: served.version.to_string(),
        id: request.id.clone(),
        outputs: Vec::with_capacity(wanted.len()),
        ..Default::default()
    };
    for (output, batch) in wanted.into_iter().zip(&batches) {
        let mut shape = vec![batch.rows as i64];
        if output.columns.len() != 1 {
            shape.push(output.columns.len() as i64);
        }
        let mut tensor = InferOutputTensor {
            name: output.method.as_str().into(),
            datatype: datatype_of(output).name().into(),
            shape,
            ..Default::default()
        };
        if raw {
            let mut bytes = Vec::with_capacity(8 * batch.numbers.len());
            infer::bytes(output, batch, &mut bytes);
            response.raw_output_contents.push(bytes.into());
        } else {
            tensor.contents = Some(contents(output, batch));
        }
        response.outputs.push(tensor);
    }
    clock::lap(Stage::Encode);
    Ok((response, rows))
}

/// An answer as it is compared with one of another version: without the versions.
pub(crate) fn versionless(mut response: ModelInferResponse) -> Vec<u8> {
    response.model_version.clear();
    response.encode_to_vec()
}
