//! Tensors in binary: the same answers as in JSON, and broken ones named.

use serde_json::{Value, json};

use crate::server::{Answer, Server};

/// The bytes of a request whose body starts with JSON.
fn request(path: &str, head: &str, tail: &[u8]) -> Vec<u8> {
    let (json, all) = (head.len(), head.len() + tail.len());
    let start = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\ninference-header-content-length: {json}\r\nContent-Length: {all}\r\n\r\n{head}"
    );
    [start.as_bytes(), tail].concat()
}

fn send(server: &Server, path: &str, head: &Value, tail: &[u8]) -> Answer {
    let mut connection = server.connect();
    connection.send(&request(path, &head.to_string(), tail));
    connection.answer()
}

fn doubles(values: &[f64]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn texts(values: &[&str]) -> Vec<u8> {
    values.iter().flat_map(|t| [&(t.len() as u32).to_le_bytes()[..], t.as_bytes()].concat()).collect()
}

/// The JSON part of an answer and its bytes after it.
fn parts(answer: &Answer) -> (Value, &[u8]) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.headers["content-type"], "application/octet-stream");
    let length: usize = answer.headers["inference-header-content-length"].parse().expect("a length");
    let (head, tail) = answer.body.split_at(length);
    (serde_json::from_slice(head).expect("JSON"), tail)
}

const MATRIX: [f64; 6] = [0.1, -2.5, 1e-300, 7.0, 0.3, 1e10];

#[test]
fn a_matrix_gives_the_bits_of_json() {
    let server = Server::start(&["linear_regression"], &[]);
    let path = "/v2/models/linear_regression/infer";
    let json_input = json!({ "name": "input", "shape": [3, 2], "datatype": "FP64", "data": MATRIX });
    let plain = server.post(path, &json!({ "inputs": [json_input] }).to_string());
    let wanted: Vec<f64> =
        plain.json()["outputs"][0]["data"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
    let input =
        json!({ "name": "input", "shape": [3, 2], "datatype": "FP64", "parameters": { "binary_data_size": 48 } });
    let body = json!({ "id": "b", "inputs": [input], "parameters": { "binary_data_output": true } });
    let answer = send(&server, path, &body, &doubles(&MATRIX));
    let (head, tail) = parts(&answer);
    assert_eq!((&head["id"], &head["outputs"][0]["shape"]), (&json!("b"), &plain.json()["outputs"][0]["shape"]));
    assert_eq!(head["outputs"][0]["parameters"]["binary_data_size"], json!(tail.len()));
    assert_eq!(tail, doubles(&wanted));
    // Without JSON: one input, and all outputs in binary.
    let mut connection = server.connect();
    connection.send(&request(path, "", &doubles(&MATRIX)));
    assert_eq!(parts(&connection.answer()).1, doubles(&wanted));
    // Binary in, JSON out, when nothing says otherwise.
    let answer = send(&server, path, &json!({ "inputs": body["inputs"] }), &doubles(&MATRIX));
    assert_eq!(answer.json()["outputs"], plain.json()["outputs"]);
}

/// The inputs of a model as JSON, and the same in binary with their bytes.
fn both(server: &Server, name: &str) -> (Vec<Value>, Vec<Value>, Vec<u8>) {
    let meta = server.get(&format!("/v2/models/{name}")).json();
    let (mut plain, mut binary, mut tail) = (Vec::new(), Vec::new(), Vec::new());
    for input in meta["inputs"].as_array().unwrap() {
        let name = &input["name"];
        let (datatype, values, bytes) = if input["datatype"] == "BYTES" {
            ("BYTES", json!(["a", "", "no such category ü"]), texts(&["a", "", "no such category ü"]))
        } else {
            ("FP64", json!([0.1, 2.0, -3.5]), doubles(&[0.1, 2.0, -3.5]))
        };
        plain.push(json!({ "name": name, "shape": [3], "datatype": datatype, "data": values }));
        let size = json!({ "binary_data_size": bytes.len() });
        binary.push(json!({ "name": name, "shape": [3], "datatype": datatype, "parameters": size }));
        tail.extend(bytes);
    }
    (plain, binary, tail)
}

#[test]
fn columns_of_every_kind_give_the_answers_of_json() {
    for name in ["boosting_two", "boosting_three", "logistic_two", "text_imputer", "tree_of_classes"] {
        let server = Server::start(&[name], &[]);
        let path = format!("/v2/models/{name}/infer");
        let (plain, binary, tail) = both(&server, name);
        let wanted = server.post(&path, &json!({ "inputs": plain }).to_string());
        let answer = send(&server, &path, &json!({ "inputs": binary }), &tail);
        assert_eq!(answer.text(), wanted.text(), "{name}");
        let asked = json!({ "inputs": binary, "parameters": { "binary_data_output": true } });
        let answer = send(&server, &path, &asked, &tail);
        let (head, mut rest) = parts(&answer);
        for (output, wanted) in
            head["outputs"].as_array().unwrap().iter().zip(wanted.json()["outputs"].as_array().unwrap())
        {
            assert_eq!((&output["name"], &output["shape"]), (&wanted["name"], &wanted["shape"]));
            let size = output["parameters"]["binary_data_size"].as_u64().unwrap() as usize;
            let (own, after) = rest.split_at(size);
            let values = wanted["data"].as_array().unwrap();
            let bytes: Vec<u8> = match output["datatype"].as_str().unwrap() {
                "BOOL" => values.iter().map(|v| u8::from(v.as_bool().unwrap())).collect(),
                "INT64" => values.iter().flat_map(|v| v.as_i64().unwrap().to_le_bytes()).collect(),
                "BYTES" => values.iter().flat_map(|v| texts(&[v.as_str().unwrap_or_default()])).collect(),
                _ => values.iter().flat_map(|v| v.as_f64().unwrap_or(f64::NAN).to_le_bytes()).collect(),
            };
            assert_eq!(own, bytes, "{name} {}", output["name"]);
            rest = after;
        }
        assert!(rest.is_empty());
    }
}

#[test]
fn broken_binary_bodies_are_named() {
    let server = Server::start(&["linear_regression"], &[]);
    let path = "/v2/models/linear_regression/infer";
    let input = |size: usize| json!({ "inputs": [{ "name": "input", "shape": [1, 2], "datatype": "FP64", "parameters": { "binary_data_size": size } }] });
    for (head, tail, wanted) in [
        (input(16), 8, "'input': 'binary_data_size' is 16, but 8 bytes are left"),
        (input(8), 8, "doesn't fit 8 bytes"),
        (input(16), 20, "4 bytes follow the last input"),
    ] {
        let problem = send(&server, path, &head, &vec![0; tail]).error(400);
        assert!(problem.contains(wanted), "{problem}");
    }
    for (length, status, wanted) in [("999", 400, "is 999, but the body has 2"), ("x", 400, "must be a number")] {
        let mut connection = server.connect();
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nInference-Header-Content-Length: {length}\r\n");
        connection.send(format!("{head}Content-Length: 2\r\n\r\n{{}}").as_bytes());
        let problem = connection.answer().error(status);
        assert!(problem.contains(wanted), "{problem}");
    }
    let mut connection = server.connect();
    connection.send(&request(path, "", &[0; 12]));
    assert!(connection.answer().error(400).contains("rows of 2 FP64; 12 bytes came"));
    let mut connection = server.connect();
    connection.send(
        format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{{}}")
            .as_bytes(),
    );
    assert!(connection.answer().error(415).contains("gzip"));
}
