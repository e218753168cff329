//! gRPC: answers to the last bit, what describes models, and what is wrong with requests that don't fit.

use std::io::Write;

use hyper::body::Bytes;
use serde_json::Value;

use crate::grpc_server::messages::grpc::health::v1::{HealthCheckRequest, HealthCheckResponse};
use crate::grpc_server::messages::grpc::reflection::v1 as reflection;
use crate::grpc_server::messages::grpc::reflection::v1::server_reflection_request::MessageRequest;
use crate::grpc_server::messages::grpc::reflection::v1::server_reflection_response::MessageResponse;
use crate::grpc_server::messages::inference::infer_parameter::ParameterChoice;
use crate::grpc_server::messages::inference::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use crate::grpc_server::messages::inference::{self as m, InferParameter, InferTensorContents};
use crate::grpc_server::{Client, flagged, framed, method, start};
use crate::server::case;

/// An input of numbers in a list.
pub(crate) fn numbers(name: &str, shape: &[i64], values: Vec<f64>) -> InferInputTensor {
    let contents = InferTensorContents { fp64_contents: values, ..Default::default() };
    typed(name, "FP64", shape, contents)
}

pub(crate) fn typed(name: &str, datatype: &str, shape: &[i64], contents: InferTensorContents) -> InferInputTensor {
    InferInputTensor {
        name: name.into(),
        datatype: datatype.into(),
        shape: shape.to_vec(),
        contents: Some(contents),
        ..Default::default()
    }
}

pub(crate) fn request(model: &str, inputs: Vec<InferInputTensor>) -> m::ModelInferRequest {
    m::ModelInferRequest { model_name: model.into(), id: "a".into(), inputs, ..Default::default() }
}

/// Moves the lists of a request behind it, as bytes.
fn in_bytes(mut request: m::ModelInferRequest) -> m::ModelInferRequest {
    for input in &mut request.inputs {
        let contents = input.contents.take().unwrap_or_default();
        let mut bytes: Vec<u8> = contents.fp64_contents.iter().flat_map(|x| x.to_le_bytes()).collect();
        for text in &contents.bytes_contents {
            bytes.extend_from_slice(&u32::try_from(text.len()).expect("a length").to_le_bytes());
            bytes.extend_from_slice(text);
        }
        request.raw_input_contents.push(bytes.into());
    }
    request
}

/// Rows of a golden model without missing texts, as a request for them, and the numbers that are right for an output.
fn golden(model: &str, output: &str) -> (m::ModelInferRequest, Vec<f64>) {
    let case = case(model);
    let inputs = case["inputs"].as_object().expect("columns");
    let values = |column: &Value| column["values"].as_array().expect("values").clone();
    let count = values(inputs.values().next().expect("a column")).len();
    let rows: Vec<usize> = (0..count).filter(|&r| inputs.values().all(|c| !values(c)[r].is_null())).collect();
    let shape = [i64::try_from(rows.len()).expect("rows")];
    let number = |v: &Value| v.as_str().expect("a number").parse::<f64>().expect("a number");
    let tensor = |(name, column): (&String, &Value)| {
        let values = values(column);
        if column["kind"] == "number" {
            return numbers(name, &shape, rows.iter().map(|&r| number(&values[r])).collect());
        }
        let text = |&r: &usize| Bytes::copy_from_slice(values[r].as_str().expect("a text").as_bytes());
        let contents = InferTensorContents { bytes_contents: rows.iter().map(text).collect(), ..Default::default() };
        typed(name, "BYTES", &shape, contents)
    };
    let wanted = case["outputs"][output].as_array().expect("answers");
    let wanted = rows.iter().flat_map(|&r| wanted[r].as_array().expect("a row").iter().map(number)).collect();
    let mut tensors: Vec<InferInputTensor> = inputs.iter().map(tensor).collect();
    if inputs.values().all(|c| c["kind"] == "number") && !inputs.contains_key("width") {
        let lists: Vec<Vec<f64>> = tensors.iter().map(|t| t.contents.clone().expect("a list").fp64_contents).collect();
        let matrix = (0..rows.len()).flat_map(|r| lists.iter().map(move |l| l[r])).collect();
        tensors = vec![numbers("input", &[shape[0], lists.len() as i64], matrix)];
    }
    (request(model, tensors), wanted)
}

fn same(got: &[f64], wanted: &[f64]) -> bool {
    got.len() == wanted.len() && got.iter().zip(wanted).all(|(a, b)| a.to_bits() == b.to_bits())
}

#[test]
fn golden_rows_are_answered_to_the_last_bit_in_lists_and_in_bytes() {
    let (_server, client) = start(&["linear_regression", "logistic_two"], &[]);
    for (model, output) in [("linear_regression", "predict"), ("logistic_two", "predict_proba")] {
        let (mut request, wanted) = golden(model, output);
        request.outputs = vec![InferRequestedOutputTensor { name: output.into(), ..Default::default() }];
        let response: m::ModelInferResponse = client.call(&method("ModelInfer"), &request).ok();
        assert_eq!((response.model_name.as_str(), response.model_version.as_str()), (model, "1"));
        assert_eq!((response.id.as_str(), response.outputs.len()), ("a", 1));
        assert!(response.raw_output_contents.is_empty());
        let rows = response.outputs[0].shape[0];
        assert_eq!(response.outputs[0].shape, [rows, wanted.len() as i64 / rows]);
        assert!(same(&response.outputs[0].contents.as_ref().expect("a list").fp64_contents, &wanted), "{model}");
        let response: m::ModelInferResponse = client.call(&method("ModelInfer"), &in_bytes(request)).ok();
        assert!(response.outputs[0].contents.is_none());
        let bytes = response.raw_output_contents[0].chunks_exact(8);
        let got: Vec<f64> = bytes.map(|b| f64::from_le_bytes(b.try_into().expect("8 bytes"))).collect();
        assert!(same(&got, &wanted), "{model}");
    }
    // Classes are texts, in lists and in bytes.
    let (request, _) = golden("logistic_two", "predict_proba");
    let response: m::ModelInferResponse = client.call(&method("ModelInfer"), &request).ok();
    let classes = response.outputs.iter().find(|o| o.name == "predict").expect("classes");
    assert_eq!(classes.datatype, "BYTES");
    let texts = &classes.contents.as_ref().expect("a list").bytes_contents;
    let wanted: Vec<Bytes> = ["no", "yes", "yes", "yes", "no"].map(|t| Bytes::from(t.to_owned())).into();
    assert_eq!(texts[..5], wanted);
}

#[test]
fn the_server_and_its_models_are_described() {
    let (_server, client) = start(&["linear_regression", "logistic_two"], &["--admin"]);
    let told: m::ServerMetadataResponse = client.call(&method("ServerMetadata"), &m::ServerMetadataRequest {}).ok();
    assert!(told.name == "corten" && told.extensions.iter().any(|e| e == "model_repository"));
    let ready = |name: &str, version: &str| {
        let asked = m::ModelReadyRequest { name: name.into(), version: version.into() };
        client.call(&method("ModelReady"), &asked).ok::<m::ModelReadyResponse>().ready
    };
    assert!(ready("logistic_two", "") && ready("logistic_two", "1"));
    assert!(!ready("logistic_two", "2") && !ready("logistic_two", "x") && !ready("gone", ""));
    let asked = m::ModelConfigRequest { name: "logistic_two".into(), version: String::new() };
    let config = client.call(&method("ModelConfig"), &asked).ok::<m::ModelConfigResponse>().config.expect("one");
    assert!(config.input.iter().any(|i| i.name == "city" && i.data_type() == m::DataType::TypeString));
    // KServe's clients have the model in the place of Triton's repository.
    let unload = m::RepositoryModelUnloadRequest { repository_name: "logistic_two".into(), ..Default::default() };
    let done: m::RepositoryModelUnloadResponse = client.call(&method("RepositoryModelUnload"), &unload).ok();
    assert!(done.is_unloaded && done.model_name == "logistic_two" && !ready("logistic_two", ""));
    let asked = m::ModelMetadataRequest { name: "logistic_two".into(), version: String::new() };
    assert!(client.call(&method("ModelMetadata"), &asked).error(14).contains("isn't loaded"));
    let index = m::RepositoryIndexRequest { ready: true, ..Default::default() };
    let index: m::RepositoryIndexResponse = client.call(&method("RepositoryIndex"), &index).ok();
    assert_eq!(index.models.iter().map(|m| m.name.as_str()).collect::<Vec<_>>(), ["linear_regression"]);
    let load = m::RepositoryModelLoadRequest { model_name: "logistic_two".into(), ..Default::default() };
    let done: m::RepositoryModelLoadResponse = client.call(&method("RepositoryModelLoad"), &load).ok();
    assert!(done.is_loaded && ready("logistic_two", "1"));
    assert!(client.call(&method("RepositoryModelUnload"), &m::RepositoryModelUnloadRequest::default()).code == Some(3));
}

#[test]
fn health_and_reflection_answer_tools() {
    let (server, client) = start(&["linear_regression"], &["--admin", "--drain-delay", "1"]);
    let check =
        |service: &str| client.call("/grpc.health.v1.Health/Check", &HealthCheckRequest { service: service.into() });
    for service in ["", "inference.GRPCInferenceService", "linear_regression"] {
        assert_eq!(check(service).ok::<HealthCheckResponse>().status, 1, "{service}");
    }
    assert!(check("gone").error(5).contains("'gone'"));
    let ask = |message_request| reflection::ServerReflectionRequest { host: "h".into(), message_request };
    let asked: Vec<u8> = [
        ask(Some(MessageRequest::ListServices(String::new()))),
        ask(Some(MessageRequest::FileContainingSymbol("inference.GRPCInferenceService".into()))),
        ask(Some(MessageRequest::FileContainingSymbol("inference.Nothing".into()))),
        ask(None),
    ]
    .iter()
    .flat_map(framed)
    .collect();
    for version in ["v1", "v1alpha"] {
        let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        let told: Vec<reflection::ServerReflectionResponse> = client.raw(&path, &[], &asked).messages();
        let answers: Vec<MessageResponse> = told.into_iter().map(|t| t.message_response.expect("an answer")).collect();
        let [services, file, missing, nothing] = answers.as_slice() else { panic!("{} answers", answers.len()) };
        let MessageResponse::ListServicesResponse(services) = services else { panic!("{services:?}") };
        assert!(services.service.iter().any(|s| s.name == "grpc.health.v1.Health"));
        let MessageResponse::FileDescriptorResponse(file) = file else { panic!("{file:?}") };
        assert!(file.file_descriptor_proto[0].windows(10).any(|w| w == b"ModelInfer"));
        assert!(matches!(missing, MessageResponse::ErrorResponse(e) if e.error_code == 5));
        assert!(matches!(nothing, MessageResponse::ErrorResponse(e) if e.error_code == 3));
    }
    // Who watches is told of changes, and of the end.
    let mut watched = client.open("/grpc.health.v1.Health/Watch", &[]);
    watched.send(&framed(&HealthCheckRequest { service: String::new() }), true);
    assert_eq!(watched.data(), framed(&HealthCheckResponse { status: 1 }));
    server.terminate();
    assert_eq!(watched.data(), framed(&HealthCheckResponse { status: 2 }));
    assert!(watched.finish().error(14).contains("stopping"));
}

/// Sends a request that must be refused.
fn refused(client: &Client, code: u16, request: &m::ModelInferRequest, words: &[&str]) {
    let reply = client.call(&method("ModelInfer"), request);
    let sentence = reply.error(code);
    assert!(words.iter().all(|w| sentence.contains(w)), "{sentence:?} lacks one of {words:?}");
}

#[test]
fn requests_that_do_not_fit_are_refused_with_a_sentence() {
    let (_server, client) = start(&["linear_regression", "logistic_two"], &["--max-rows", "10"]);
    let good = request("linear_regression", vec![numbers("input", &[1, 2], vec![1.0, 2.0])]);
    let changed = |change: &dyn Fn(&mut m::ModelInferRequest)| {
        let mut request = good.clone();
        change(&mut request);
        request
    };
    let list = |datatype: &str, contents: InferTensorContents| {
        changed(&|r| r.inputs = vec![typed("input", datatype, &[1, 2], contents.clone())])
    };
    let text = |text: &str| InferParameter { parameter_choice: Some(ParameterChoice::StringParam(text.into())) };
    refused(&client, 5, &changed(&|r| r.model_name = "gone".into()), &["'gone'"]);
    refused(&client, 5, &changed(&|r| r.model_version = "7".into()), &["version 7"]);
    refused(&client, 5, &changed(&|r| r.model_version = "new".into()), &["'new'"]);
    refused(&client, 3, &changed(&|r| r.inputs[0].shape = vec![1, 3]), &["input", "16 bytes", "[1, 3]"]);
    refused(&client, 3, &changed(&|r| r.inputs[0].shape = vec![-1, 2]), &["input", "'shape'"]);
    refused(&client, 3, &changed(&|r| r.inputs[0].shape = vec![i64::MAX, i64::MAX]), &["input", "too large"]);
    refused(&client, 3, &changed(&|r| r.inputs[0].shape = vec![2]), &["input", "[rows, 2]"]);
    refused(&client, 3, &changed(&|r| r.inputs[0].datatype = "FP128".into()), &["'FP128'", "FP64"]);
    refused(&client, 3, &changed(&|r| r.inputs[0].datatype = "FP32".into()), &["'fp64_contents'", "'fp32_contents'"]);
    refused(&client, 3, &changed(&|r| r.inputs[0].datatype = "FP16".into()), &["FP16", "raw_input_contents"]);
    refused(&client, 3, &changed(&|r| r.inputs[0].name = "nonsense".into()), &["'nonsense'", "'input'"]);
    refused(&client, 3, &changed(&|r| r.inputs.clear()), &["'input'", "[rows, 2]"]);
    refused(&client, 3, &changed(&|r| r.raw_input_contents = vec![Bytes::new()]), &["'contents'"]);
    refused(&client, 3, &changed(&|r| r.raw_input_contents = vec![Bytes::new(); 2]), &["2 raw_input_contents"]);
    let nothing = InferRequestedOutputTensor { name: "nothing".into(), ..Default::default() };
    refused(&client, 3, &changed(&|r| r.outputs = vec![nothing.clone()]), &["'nothing'"]);
    let region = |r: &mut m::ModelInferRequest| {
        r.inputs[0].parameters.insert("shared_memory_region".into(), text("r"));
    };
    refused(&client, 3, &changed(&region), &["input", "shared memory"]);
    let wide = InferTensorContents { int_contents: vec![1, 128], ..Default::default() };
    refused(&client, 3, &list("INT8", wide), &["128 is no INT8"]);
    let wide = InferTensorContents { uint_contents: vec![1, 65536], ..Default::default() };
    refused(&client, 3, &list("UINT16", wide), &["65536 is no UINT16"]);
    let texts = InferTensorContents { bytes_contents: vec![Bytes::from_static(b"x"); 2], ..Default::default() };
    refused(&client, 3, &list("BYTES", texts), &["input", "text"]);
    let broken = InferTensorContents { bytes_contents: vec![Bytes::from_static(b"\xff")], ..Default::default() };
    let mut table = golden("logistic_two", "predict_proba").0;
    table.inputs.iter_mut().for_each(|i| {
        i.shape = vec![1];
        i.contents.as_mut().expect("a list").fp64_contents.truncate(1);
    });
    table.inputs.iter_mut().filter(|i| i.name == "city").for_each(|i| i.contents = Some(broken.clone()));
    refused(&client, 3, &table, &["city", "UTF-8"]);
    table.inputs.retain(|i| i.name != "width");
    refused(&client, 3, &table, &["width", "missing"]);
    refused(&client, 8, &request("linear_regression", vec![numbers("input", &[11, 2], vec![0.0; 22])]), &["10 rows"]);
    let many = vec![InferInputTensor::default(); 257];
    refused(&client, 8, &request("linear_regression", many), &["256 inputs"]);
    let microseconds = |value| InferParameter { parameter_choice: Some(value) };
    let timeout = |value: ParameterChoice| {
        changed(&|r| {
            r.parameters.insert("timeout".into(), microseconds(value.clone()));
        })
    };
    refused(&client, 3, &timeout(ParameterChoice::Int64Param(-1)), &["'timeout'", "microseconds"]);
    refused(&client, 3, &timeout(ParameterChoice::StringParam("1s".into())), &["'timeout'"]);
    refused(&client, 4, &timeout(ParameterChoice::Uint64Param(1)), &["deadline"]);
    client.call(&method("ModelInfer"), &timeout(ParameterChoice::Int64Param(0))).ok::<m::ModelInferResponse>();
}

#[test]
fn every_type_of_list_is_read() {
    let (_server, client) = start(&["linear_regression"], &[]);
    let answer = |datatype: &str, contents: InferTensorContents| {
        let request = request("linear_regression", vec![typed("input", datatype, &[1, 2], contents)]);
        let response: m::ModelInferResponse = client.call(&method("ModelInfer"), &request).ok();
        response.outputs[0].contents.clone().expect("a list").fp64_contents
    };
    let wanted = answer("FP64", InferTensorContents { fp64_contents: vec![1.0, 0.0], ..Default::default() });
    let of = |contents| contents;
    for (datatype, contents) in [
        ("BOOL", of(InferTensorContents { bool_contents: vec![true, false], ..Default::default() })),
        ("INT8", InferTensorContents { int_contents: vec![1, 0], ..Default::default() }),
        ("INT16", InferTensorContents { int_contents: vec![1, 0], ..Default::default() }),
        ("INT32", InferTensorContents { int_contents: vec![1, 0], ..Default::default() }),
        ("INT64", InferTensorContents { int64_contents: vec![1, 0], ..Default::default() }),
        ("UINT8", InferTensorContents { uint_contents: vec![1, 0], ..Default::default() }),
        ("UINT32", InferTensorContents { uint_contents: vec![1, 0], ..Default::default() }),
        ("UINT64", InferTensorContents { uint64_contents: vec![1, 0], ..Default::default() }),
        ("FP32", InferTensorContents { fp32_contents: vec![1.0, 0.0], ..Default::default() }),
    ] {
        assert_eq!(answer(datatype, contents), wanted, "{datatype}");
    }
    let low = answer("FP64", InferTensorContents { fp64_contents: vec![-128.0, -1.0], ..Default::default() });
    assert_eq!(answer("INT8", InferTensorContents { int_contents: vec![-128, -1], ..Default::default() }), low);
    for (datatype, bytes) in [("FP16", [0x00, 0x3c, 0, 0]), ("BF16", [0x80, 0x3f, 0, 0])] {
        let mut request = request("linear_regression", vec![typed("input", datatype, &[1, 2], Default::default())]);
        request.inputs[0].contents = None;
        request.raw_input_contents = vec![Bytes::copy_from_slice(&bytes)];
        let response: m::ModelInferResponse = client.call(&method("ModelInfer"), &request).ok();
        let got: Vec<f64> = response.raw_output_contents[0]
            .chunks_exact(8)
            .map(|b| f64::from_le_bytes(b.try_into().expect("8 bytes")))
            .collect();
        assert_eq!(got, wanted, "{datatype}");
    }
}

#[test]
fn streams_go_on_after_a_request_that_fails() {
    let (_server, client) = start(&["linear_regression"], &[]);
    let good = request("linear_regression", vec![numbers("input", &[1, 2], vec![1.0, 2.0])]);
    let bad = request("gone", vec![]);
    let bytes: Vec<u8> = [&good, &bad, &good].iter().flat_map(|r| framed(*r)).collect();
    let reply = client.raw(&method("ModelStreamInfer"), &[], &bytes);
    assert_eq!(reply.code, Some(0));
    let answers: Vec<m::ModelStreamInferResponse> = reply.messages();
    assert_eq!(answers.len(), 3);
    assert!(answers[0].error_message.is_empty() && answers[2].infer_response == answers[0].infer_response);
    assert!(answers[1].error_message.contains("'gone'"));
    assert_eq!(answers[1].infer_response.as_ref().expect("an id").id, "a");
    // What is no message ends it.
    let reply = client.raw(&method("ModelStreamInfer"), &[], &[framed(&good), flagged(2, b"")].concat());
    assert!(reply.error(3).contains("0 or 1") && reply.messages::<m::ModelStreamInferResponse>().len() == 1);
}

#[test]
fn what_is_no_call_is_refused_as_the_protocol_says() {
    let (_server, client) = start(&["linear_regression"], &["--max-body", "1000"]);
    let path = method("ModelInfer");
    let good = framed(&request("linear_regression", vec![numbers("input", &[1, 2], vec![1.0, 2.0])]));
    assert!(client.raw("/inference.GRPCInferenceService/Nothing", &[], &good).error(12).contains("Nothing"));
    assert!(client.raw("/", &[], &good).code == Some(12));
    assert_eq!(client.raw(&path, &[("content-type", "application/json")], &good).http, 415);
    assert_eq!(client.raw(&path, &[(":method", "PUT")], &good).http, 405);
    assert!(client.raw(&path, &[], b"").error(3).contains("no message"));
    assert!(client.raw(&path, &[], &good[..good.len() - 1]).error(3).contains("ended after"));
    assert!(client.raw(&path, &[], &good[..3]).error(3).contains("ended after 3 bytes of 5"));
    assert!(client.raw(&path, &[], &[&good[..], &good[..]].concat()).error(3).contains("more than one"));
    assert!(client.raw(&path, &[], &flagged(0, b"\xff\xff\xff")).error(3).contains("no ModelInferRequest"));
    assert!(client.raw(&path, &[], &flagged(0, &[0; 1001])).error(8).contains("1000 bytes"));
    assert!(client.raw(&path, &[], b"\0\xff\xff\xff\xff").error(8).contains("1000 bytes"));
    // Compression: what is named is read, within the limit once it is unpacked.
    let pack = |bytes: &[u8]| {
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packer.write_all(bytes).expect("bytes are packed");
        flagged(1, &packer.finish().expect("bytes are packed"))
    };
    let reply = client.raw(&path, &[("grpc-encoding", "gzip")], &pack(&good[5..]));
    assert_eq!(reply.ok::<m::ModelInferResponse>().id, "a");
    assert!(client.raw(&path, &[("grpc-encoding", "gzip")], &pack(&[0; 100_000])).error(8).contains("1000 bytes"));
    assert!(client.raw(&path, &[], &pack(&good[5..])).error(3).contains("grpc-encoding"));
    let reply = client.raw(&path, &[("grpc-encoding", "snappy")], &pack(&good[5..]));
    assert!(reply.error(12).contains("'snappy'") && reply.headers["grpc-accept-encoding"] == "identity,deflate,gzip");
    // An id of the client's comes back.
    let reply = client.raw(&path, &[("x-request-id", "seven")], &good);
    assert_eq!(reply.headers["x-request-id"], "seven");
}
