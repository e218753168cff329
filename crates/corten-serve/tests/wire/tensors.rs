//! Tensors in bytes, as the protocol's binary extension has them.

use serde_json::{Value, json};

use crate::server::{Answer, Server, case};

const LENGTH: &str = "Inference-Header-Content-Length";

fn ask(server: &Server, model: &str, head: &str, bytes: &[u8]) -> Answer {
    let mut connection = server.connect();
    let length = head.len() + bytes.len();
    let start = format!(
        "POST /v2/models/{model}/infer HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\n\
         {LENGTH}: {}\r\nContent-Length: {length}\r\n\r\n{head}",
        head.len()
    );
    connection.send(&[start.as_bytes(), bytes].concat());
    connection.answer()
}

/// The JSON of an answer and the bytes behind it.
fn split(answer: &Answer) -> (Value, Vec<u8>) {
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.headers["content-type"], "application/octet-stream");
    let length: usize = answer.headers["inference-header-content-length"].parse().unwrap();
    (serde_json::from_slice(&answer.body[..length]).unwrap(), answer.body[length..].to_vec())
}

fn doubles(bytes: &[u8]) -> Vec<u64> {
    bytes.as_chunks::<8>().0.iter().map(|b| u64::from_le_bytes(*b)).collect()
}

fn expected(case: &Value, method: &str) -> Vec<u64> {
    let rows = case["outputs"][method].as_array().unwrap().iter().flat_map(|r| r.as_array().unwrap());
    rows.map(|x| x.as_str().unwrap().parse::<f64>().unwrap().to_bits()).collect()
}

fn text(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_le_bytes()[..], bytes].concat()
}

#[test]
fn tensors_in_bytes_are_answered_in_bytes_to_the_last_bit() {
    let server = Server::start(&["logistic_two"], &[]);
    let case = case("logistic_two");
    let columns = case["inputs"].as_object().unwrap();
    // Only rows without a missing text: bytes have no form for one.
    let count = columns["city"]["values"].as_array().unwrap().len();
    let whole: Vec<usize> = (0..count).filter(|&i| columns["city"]["values"][i].is_string()).collect();
    assert!(whole.len() > 3);
    let (mut inputs, mut bytes) = (Vec::new(), Vec::new());
    for (name, column) in columns {
        let from = bytes.len();
        for &row in &whole {
            let value = column["values"][row].as_str().unwrap_or("nan");
            if column["kind"] == "number" {
                bytes.extend_from_slice(&value.parse::<f64>().unwrap().to_le_bytes());
            } else {
                bytes.extend(text(value.as_bytes()));
            }
        }
        let datatype = if column["kind"] == "number" { "FP64" } else { "BYTES" };
        let size = json!({ "binary_data_size": bytes.len() - from });
        inputs.push(json!({ "name": name, "shape": [whole.len()], "datatype": datatype, "parameters": size }));
    }
    let head = json!({ "inputs": inputs, "parameters": { "binary_data_output": true } }).to_string();
    let (answer, tail) = split(&ask(&server, "logistic_two", &head, &bytes));
    let outputs = answer["outputs"].as_array().unwrap();
    let mut rest = &tail[..];
    for output in outputs {
        let size = usize::try_from(output["parameters"]["binary_data_size"].as_u64().unwrap()).unwrap();
        let (own, after) = rest.split_at(size);
        rest = after;
        let wanted = expected(
            &case,
            if output["name"] == "predict" { "predict_proba" } else { output["name"].as_str().unwrap() },
        );
        if output["name"] == "predict_proba" {
            let wanted: Vec<u64> = whole.iter().flat_map(|&r| [wanted[2 * r], wanted[2 * r + 1]]).collect();
            assert_eq!((output["shape"].clone(), doubles(own)), (json!([whole.len(), 2]), wanted));
        }
    }
    assert!(rest.is_empty());
    // One output in bytes beside one in JSON.
    let head = json!({
        "inputs": inputs,
        "outputs": [{ "name": "predict" }, { "name": "predict_proba", "parameters": { "binary_data": true } }],
    });
    let (answer, tail) = split(&ask(&server, "logistic_two", &head.to_string(), &bytes));
    assert_eq!(answer["outputs"][0]["data"].as_array().unwrap().len(), whole.len());
    assert_eq!(tail.len(), whole.len() * 16);
    // The same answer in JSON, where nothing is asked for.
    let head = json!({ "inputs": inputs }).to_string();
    let answer = ask(&server, "logistic_two", &head, &bytes);
    assert_eq!((answer.status, answer.headers.get("inference-header-content-length")), (200, None));
}

#[test]
fn a_body_of_bytes_alone_is_the_one_input() {
    let server = Server::start(&["linear_regression"], &[]);
    let case = case("linear_regression");
    let column = |name: &str| case["inputs"][name]["values"].as_array().unwrap().clone();
    let (first, second) = (column("x0"), column("x1"));
    let number = |v: &Value| v.as_str().unwrap().parse::<f64>().unwrap().to_le_bytes();
    let bytes: Vec<u8> = first.iter().zip(&second).flat_map(|(a, b)| [number(a), number(b)].concat()).collect();
    let (_, tail) = split(&ask(&server, "linear_regression", "", &bytes));
    assert_eq!(doubles(&tail), expected(&case, "predict"));
    assert!(ask(&server, "linear_regression", "", &bytes[1..]).error(400).contains("16 bytes"));
}

#[test]
fn narrow_types_are_read_as_what_they_are() {
    let server = Server::start(&["ridge"], &[]);
    let in_json = |width: Value, count: Value| {
        let body = json!({ "rows": [{ "width": width, "count": count }] }).to_string();
        server.post("/predict", &body).json()["predictions"][0]["prediction"].clone()
    };
    let body = |datatype: &str, count: &str, size: usize| {
        let size = json!({ "binary_data_size": size });
        json!({ "inputs": [
            { "name": "width", "shape": [1], "datatype": datatype, "parameters": size },
            { "name": "count", "shape": [1], "datatype": count, "data": [2] },
        ] })
        .to_string()
    };
    for (datatype, bytes, value) in [
        ("FP32", 0.1f32.to_le_bytes().to_vec(), json!(f64::from(0.1f32))),
        ("FP16", vec![0x00, 0x3e], json!(1.5)),
        ("INT16", (-3i16).to_le_bytes().to_vec(), json!(-3)),
        ("UINT8", vec![200], json!(200)),
        ("BOOL", vec![1], json!(1)),
    ] {
        let answer = ask(&server, "ridge", &body(datatype, "UINT8", bytes.len()), &bytes);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.json()["outputs"][0]["data"][0], in_json(value, json!(2)), "{datatype}");
    }
}

#[test]
fn tensors_that_do_not_fit_are_named() {
    let server = Server::start(&["logistic_two"], &[]);
    let input = |datatype: &str, shape: Value, size: Value| {
        let tensor =
            json!({ "name": "city", "shape": shape, "datatype": datatype, "parameters": { "binary_data_size": size } });
        json!({ "inputs": [tensor] }).to_string()
    };
    let four = text(b"abcd");
    for (head, bytes, wanted) in [
        (input("BYTES", json!([1]), json!(9)), &four[..], "9 bytes"),
        (input("BYTES", json!([1]), json!(-1)), &four, "binary_data_size"),
        (input("BYTES", json!([1]), json!(4)), &four, "4 bytes follow"),
        (input("FP64", json!([3]), json!(8)), &four, "shape"),
        (input("FP64", json!([1u64 << 62, 1u64 << 62]), json!(8)), &four, "too large"),
        (input("FP8", json!([4]), json!(8)), &four, "BF16"),
        (
            json!({ "inputs": [{ "name": "city", "shape": [1], "datatype": "BYTES",
            "parameters": { "shared_memory_region": "r" } }] })
            .to_string(),
            &[],
            "shared memory",
        ),
        (
            json!({ "inputs": [{ "name": "city", "shape": [1], "datatype": "BYTES", "data": ["x"],
            "parameters": { "binary_data_size": 8 } }] })
            .to_string(),
            &four,
            "one of them",
        ),
    ] {
        let error = ask(&server, "logistic_two", &head, bytes).error(400);
        assert!(error.contains(wanted), "{head}: {error}");
    }
    // The text itself: elements that say more than there is, too few of them, and no UTF-8.
    let head = |size: usize| {
        let number = |name: &str| json!({ "name": name, "shape": [1], "datatype": "FP64", "data": [1.0] });
        let size = json!({ "binary_data_size": size });
        json!({ "inputs": [number("width"), number("height"), number("count"),
            { "name": "city", "shape": [1], "datatype": "BYTES", "parameters": size }] })
        .to_string()
    };
    for (bytes, wanted) in [
        (vec![9, 0, 0, 0, 1], "9 bytes"),
        (vec![0xff; 4], "4294967295 bytes"),
        ([text(b"a"), text(b"b")].concat(), "2 elements"),
        (text(b"\xff"), "UTF-8"),
        (vec![1, 0], "0 elements"),
    ] {
        let error = ask(&server, "logistic_two", &head(bytes.len()), &bytes).error(400);
        assert!(error.contains("'city'") && error.contains(wanted), "{error}");
    }
    // A head that is said to be longer than the body, and one that is no number.
    for (length, wanted) in [("99", "99"), ("x", LENGTH)] {
        let mut connection = server.connect();
        let start = format!(
            "POST /v2/models/logistic_two/infer HTTP/1.1\r\nHost: x\r\n{LENGTH}: {length}\r\nContent-Length: 2\r\n\r\n{{}}"
        );
        connection.send(start.as_bytes());
        assert!(connection.answer().error(400).contains(wanted));
    }
}
