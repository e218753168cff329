//! Endpoints and their answers.

use serde_json::{Value, json};

use crate::server::{Server, case, post};

/// A case's rows as `/predict` takes them.
fn rows(case: &Value) -> Value {
    let inputs = case["inputs"].as_object().unwrap();
    let count = inputs.values().next().unwrap()["values"].as_array().unwrap().len();
    let value = |column: &Value, at: usize| match (&column["kind"], &column["values"][at]) {
        (kind, Value::String(text)) if kind == "number" => text.parse::<f64>().map_or(Value::Null, |x| json!(x)),
        (_, other) => other.clone(),
    };
    (0..count).map(|at| inputs.iter().map(|(name, c)| (name.clone(), value(c, at))).collect::<Value>()).collect()
}

/// The numbers that a method answers, row after row.
fn numbers(case: &Value, method: &str) -> Vec<f64> {
    let rows = case["outputs"][method].as_array().unwrap();
    rows.iter().flat_map(|r| r.as_array().unwrap()).map(|x| x.as_str().unwrap().parse().unwrap()).collect()
}

fn bits(values: &[f64]) -> Vec<u64> {
    values.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn rows_are_answered_to_the_last_bit() {
    let server = Server::start(&["logistic_two", "boosting_three"], &[]);
    for name in ["logistic_two", "boosting_three"] {
        let case = case(name);
        let answer = server.post(&format!("/predict/{name}"), &json!({ "rows": rows(&case) }).to_string());
        assert_eq!(answer.status, 200, "{}", answer.text());
        let predictions = answer.json()["predictions"].clone();
        let predictions = predictions.as_array().unwrap();
        let got = predictions.iter().flat_map(|p| p["probability"].as_object().unwrap().values());
        let got: Vec<f64> = got.map(|x| x.as_f64().unwrap()).collect();
        assert_eq!(bits(&got), bits(&numbers(&case, "predict_proba")), "{name}");
        for (prediction, expected) in predictions.iter().zip(case["outputs"]["predict"].as_array().unwrap()) {
            let text = prediction["prediction"].to_string();
            assert_eq!(text.trim_matches('"'), expected[0].as_str().unwrap());
        }
    }
}

#[test]
fn tensors_are_answered_to_the_last_bit() {
    let server = Server::start(&["boosting_number", "linear_regression"], &[]);
    let case_of_table = case("boosting_number");
    let inputs: Vec<Value> = case_of_table["inputs"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, column)| {
            let values = rows(&case_of_table).as_array().unwrap().iter().map(|r| r[name].clone()).collect::<Vec<_>>();
            let datatype = if column["kind"] == "number" { "FP64" } else { "BYTES" };
            json!({ "name": name, "shape": [values.len()], "datatype": datatype, "data": values })
        })
        .collect();
    let body = json!({ "id": "a1", "inputs": inputs, "outputs": [{ "name": "predict" }] }).to_string();
    let answer = server.post("/v2/models/boosting_number/infer", &body).json();
    assert_eq!(
        (&answer["id"], &answer["model_name"], &answer["model_version"]),
        (&json!("a1"), &json!("boosting_number"), &json!("1"))
    );
    let got: Vec<f64> = answer["outputs"][0]["data"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
    assert_eq!(bits(&got), bits(&numbers(&case_of_table, "predict")));

    let case_of_matrix = case("linear_regression");
    let matrix: Vec<Vec<Value>> =
        rows(&case_of_matrix).as_array().unwrap().iter().map(|r| vec![r["x0"].clone(), r["x1"].clone()]).collect();
    let input = json!({ "name": "input", "shape": [matrix.len(), 2], "datatype": "FP64", "data": matrix });
    let body = json!({ "inputs": [input] }).to_string();
    let answer = server.post("/v2/models/linear_regression/versions/1/infer", &body).json();
    assert_eq!(answer["outputs"][0]["shape"], json!([matrix.len(), 2]));
    let got: Vec<f64> = answer["outputs"][0]["data"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
    assert_eq!(bits(&got), bits(&numbers(&case_of_matrix, "predict")));
}

#[test]
fn every_endpoint_answers() {
    let server = Server::start(&["forest"], &[]);
    for (path, pointer, expected) in [
        ("/v2", "/name", json!("corten")),
        ("/v2/health/live", "/live", json!(true)),
        ("/v2/health/ready", "/ready", json!(true)),
        ("/v2/models", "/models/0", json!("forest")),
        ("/v2/models/forest", "/versions/0", json!("1")),
        ("/v2/models/forest/versions/1", "/outputs/0/datatype", json!("INT64")),
        ("/v2/models/forest/ready", "/ready", json!(true)),
        ("/v2/models/forest/versions/1/ready", "/name", json!("forest")),
        ("/openapi.json", "/openapi", json!("3.0.3")),
    ] {
        let answer = server.get(path);
        assert_eq!(answer.status, 200, "{path}");
        assert_eq!(answer.headers["content-type"], "application/json");
        assert_eq!(answer.json().pointer(pointer), Some(&expected), "{path}: {}", answer.text());
    }
    assert_eq!(server.get("/healthz").text(), "ok");
    assert!(server.get("/").headers["content-type"].starts_with("text/html"));
    let body = json!({ "rows": rows(&case("forest")) }).to_string();
    assert_eq!(server.post("/predict", &body).status, 200);
    let metrics = server.get("/metrics");
    assert!(metrics.text().contains("forest"), "{}", metrics.text());
    let mut connection = server.connect();
    connection.send(b"HEAD /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    connection.finish();
    let mut head = connection.next();
    // The length of a body that isn't sent.
    assert!(head.take().is_none_or(|a| a.status == 200));
}

#[test]
fn a_connection_serves_many_requests_however_they_are_cut() {
    let server = Server::start(&["ridge"], &[]);
    let case = case("ridge");
    let rows = rows(&case);
    let expected = numbers(&case, "predict");
    let request = |at: usize| post("/predict", &json!({ "rows": [rows[at]] }).to_string());
    let check = |answer: Value, at: usize| {
        let got = answer["predictions"][0]["prediction"].as_f64().unwrap();
        assert_eq!(got.to_bits(), expected[at].to_bits(), "row {at}");
    };
    let mut connection = server.connect();
    // All at once, one after the other, and byte by byte.
    let all: Vec<u8> = (0..10).flat_map(request).collect();
    connection.send(&all);
    (0..10).for_each(|at| check(connection.answer().json(), at));
    for at in 10..15 {
        connection.send(&request(at));
        check(connection.answer().json(), at);
    }
    for byte in request(3) {
        connection.send(&[byte]);
    }
    check(connection.answer().json(), 3);
    // A body in chunks.
    let body = json!({ "rows": [rows[4]] }).to_string();
    let (first, second) = body.split_at(7);
    let head =
        "POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    connection.send(format!("{head}{}{}0\r\n\r\n", chunk(first), chunk(second)).as_bytes());
    check(connection.answer().json(), 4);
}

#[test]
fn a_request_that_fails_leaves_no_trace_in_the_state() {
    let server = Server::start(&["running_moments"], &[]);
    let row = json!({ "city": "new", "width": 1.0, "count": 0.0 });
    let bad = json!({ "city": "new", "width": "wide", "count": 0.0 });
    let whole = json!({ "rows": [row] }).to_string();
    for body in [json!({ "rows": [row, bad] }).to_string(), format!("{whole}x"), whole[..whole.len() - 1].to_string()] {
        assert_eq!(server.post("/predict", &body).status, 400, "{body}");
    }
    let count = |answer: Value| answer["predictions"][0]["transform"].as_object().unwrap().values().next().cloned();
    assert_eq!(count(server.post("/predict", &whole).json()), Some(json!(1.0)));
    assert_eq!(count(server.post("/predict", &whole).json()), Some(json!(2.0)));
}
