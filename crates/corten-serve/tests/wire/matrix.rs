//! Models of an array of text, and of one of numbers and texts: what they read, on every road.

use std::path::PathBuf;

use corten_core::Kind;
use corten_model::compose::{Part, columns};
use corten_model::{Input, Model, Schema};
use hyper::body::Bytes;
use serde_json::json;

use crate::grpc::{numbers, request, typed};
use crate::grpc_server::messages::inference as m;
use crate::grpc_server::{Client, method};
use crate::server::{Server, case, free_port, golden};

/// A model of an array whose columns are of these kinds, texts one-hot and numbers as they are, in a file.
fn saved(name: &str, kinds: &[Kind]) -> PathBuf {
    let codes = Model::load(&golden("one_hot_encoder")).unwrap();
    let input = |(at, &kind): (usize, &Kind)| {
        let dtype = if kind == Kind::Text { "text" } else { "f64" };
        Input { name: format!("x{at}"), kind, dtype: dtype.into() }
    };
    let schema = Schema { named: false, inputs: kinds.iter().enumerate().map(input).collect() };
    let part = |(at, kind): (usize, &Kind)| {
        let part = if *kind == Kind::Text { Part::Model(&codes) } else { Part::Passthrough };
        (Some(format!("p{at}")), part, vec![at])
    };
    let parts: Vec<_> = kinds.iter().enumerate().map(part).collect();
    let folder = std::env::temp_dir().join(format!("corten-matrix-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(format!("{name}.corten"));
    columns(&schema, &parts).unwrap().save(&path).unwrap();
    path
}

/// Two categories of the golden encoder.
fn cities() -> [String; 2] {
    let case = case("one_hot_encoder");
    let values = case["inputs"]["city"]["values"].as_array().unwrap();
    let count = |city: &str| values.iter().filter(|v| *v == city).count();
    // Rare ones have a column together.
    let often = ["Rome", "Bonn"];
    assert!(often.iter().all(|city| count(city) > 5));
    often.map(str::to_owned)
}

#[test]
fn an_array_of_text_is_one_tensor_of_bytes_on_every_road() {
    let port = free_port().to_string();
    let server = Server::of(&[&saved("texts", &[Kind::Text, Kind::Text])], &["--grpc-port", &port]);
    let client = Client::connect(port.parse().unwrap());
    let told = server.get("/v2/models/texts").json();
    assert_eq!(told["inputs"], json!([{ "name": "input", "datatype": "BYTES", "shape": [-1, 2] }]));
    assert_eq!(server.get("/v2/models/texts/config").json()["input"][0]["data_type"], "TYPE_STRING");
    let [a, b] = cities();
    // Both ways through JSON say what rows say.
    let rows = json!({ "rows": [{ "x0": a, "x1": b }, { "x0": b, "x1": a }] }).to_string();
    let by_rows = server.post("/predict/texts", &rows);
    assert_eq!(by_rows.status, 200, "{}", by_rows.text());
    let tensor = json!({ "name": "input", "datatype": "BYTES", "shape": [2, 2], "data": [[a, b], [b, a]] });
    let answer = server.post("/v2/models/texts/infer", &json!({ "inputs": [tensor] }).to_string());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let output = answer.json()["outputs"][0].clone();
    let width = output["shape"][1].as_u64().unwrap() as usize;
    let data: Vec<f64> = output["data"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
    assert!(data.len() == 2 * width && data.contains(&1.0) && data[..width] != data[width..], "{data:?}");
    let flat = json!({ "name": "input", "datatype": "BYTES", "shape": [2, 2], "data": [a, b, b, a] });
    let same = server.post("/v2/models/texts/infer", &json!({ "inputs": [flat] }).to_string());
    assert_eq!(same.text(), answer.text());
    // In bytes behind the JSON.
    let text = |t: &str| [&u32::try_from(t.len()).unwrap().to_le_bytes()[..], t.as_bytes()].concat();
    let bytes = [text(&a), text(&b), text(&b), text(&a)].concat();
    let size = json!({ "binary_data_size": bytes.len() });
    let head =
        json!({ "inputs": [{ "name": "x", "datatype": "BYTES", "shape": [2, 2], "parameters": size }] }).to_string();
    let mut connection = server.connect();
    let start = format!(
        "POST /v2/models/texts/infer HTTP/1.1\r\nHost: x\r\nInference-Header-Content-Length: {}\r\nContent-Length: {}\r\n\r\n{head}",
        head.len(),
        head.len() + bytes.len()
    );
    connection.send(&[start.as_bytes(), &bytes].concat());
    assert_eq!(connection.answer().text(), answer.text());
    // Over gRPC, in a list and in bytes.
    let list = [&a, &b, &b, &a].map(|t| Bytes::from(t.clone())).into();
    let contents = m::InferTensorContents { bytes_contents: list, ..Default::default() };
    let asked = request("texts", vec![typed("input", "BYTES", &[2, 2], contents)]);
    let response: m::ModelInferResponse = client.call(&method("ModelInfer"), &asked).ok();
    assert_eq!(response.outputs[0].contents.as_ref().unwrap().fp64_contents, data);
    let mut raw = asked;
    raw.inputs[0].contents = None;
    raw.raw_input_contents = vec![bytes.into()];
    let response: m::ModelInferResponse = client.call(&method("ModelInfer"), &raw).ok();
    let got: Vec<f64> =
        response.raw_output_contents[0].chunks_exact(8).map(|b| f64::from_le_bytes(b.try_into().unwrap())).collect();
    assert_eq!(got, data);
    // What doesn't fit is named.
    for (tensor, wanted) in [
        (json!({ "name": "input", "datatype": "FP64", "shape": [1, 2], "data": [1, 2] }), "number"),
        (json!({ "name": "input", "datatype": "BYTES", "shape": [2], "data": ["a", "b"] }), "[rows, 2]"),
        (json!({ "name": "city", "datatype": "BYTES", "shape": [1, 2], "data": ["a", "b"] }), "'input'"),
    ] {
        let error = server.post("/v2/models/texts/infer", &json!({ "inputs": [tensor] }).to_string()).error(400);
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn an_array_of_numbers_and_texts_is_a_tensor_a_column() {
    let port = free_port().to_string();
    let server = Server::of(&[&saved("mixed", &[Kind::Text, Kind::Number])], &["--grpc-port", &port]);
    let client = Client::connect(port.parse().unwrap());
    let told = server.get("/v2/models/mixed").json();
    let wanted = json!([
        { "name": "x0", "datatype": "BYTES", "shape": [-1] },
        { "name": "x1", "datatype": "FP64", "shape": [-1] },
    ]);
    assert_eq!(told["inputs"], wanted);
    let inputs = json!([
        { "name": "x1", "datatype": "FP64", "shape": [2], "data": [1.5, 2.5] },
        { "name": "x0", "datatype": "BYTES", "shape": [2], "data": cities() },
    ]);
    let answer = server.post("/v2/models/mixed/infer", &json!({ "inputs": inputs }).to_string());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let output = answer.json()["outputs"][0].clone();
    let width = output["shape"][1].as_u64().unwrap() as usize;
    let data: Vec<f64> = output["data"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
    assert_eq!((data[width - 1], data[2 * width - 1]), (1.5, 2.5));
    let texts = cities().map(Bytes::from).into();
    let contents = m::InferTensorContents { bytes_contents: texts, ..Default::default() };
    let asked = request("mixed", vec![typed("x0", "BYTES", &[2], contents), numbers("x1", &[2], vec![1.5, 2.5])]);
    let response: m::ModelInferResponse = client.call(&method("ModelInfer"), &asked).ok();
    assert_eq!(response.outputs[0].contents.as_ref().unwrap().fp64_contents, data);
    let matrix = json!([{ "name": "input", "datatype": "BYTES", "shape": [1, 2], "data": ["a", "1"] }]);
    let error = server.post("/v2/models/mixed/infer", &json!({ "inputs": matrix }).to_string()).error(400);
    assert!(error.contains("'x0'"), "{error}");
}
