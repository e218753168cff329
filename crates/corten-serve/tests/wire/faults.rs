//! Requests that don't fit: one sentence that says what, and the server goes on.

use serde_json::json;

use crate::server::{Server, post};

fn healthy(server: &Server) {
    assert_eq!(server.get("/healthz").text(), "ok");
}

#[test]
fn what_does_not_fit_is_named() {
    let server = Server::start(&["ridge", "logistic_two", "linear_regression"], &["--max-rows", "3"]);
    let tensor = |name: &str, data: serde_json::Value, shape: serde_json::Value| {
        json!({ "inputs": [{ "name": name, "shape": shape, "datatype": "FP64", "data": data }] }).to_string()
    };
    let full = json!({ "width": 1, "count": 2 });
    for (path, body, status, wanted) in [
        ("/predict/ridge", "{".to_string(), 400, "JSON|expected|end"),
        ("/predict/ridge", "[]".to_string(), 400, "'{' is expected"),
        ("/predict/ridge", "{}".to_string(), 400, "rows"),
        ("/predict/ridge", json!({ "rows": [{ "width": 1 }] }).to_string(), 400, "count"),
        ("/predict/ridge", json!({ "rows": [{ "width": "wide", "count": 2 }] }).to_string(), 400, "width"),
        ("/predict/ridge", json!({ "rows": [{ "width": [1], "count": 2 }] }).to_string(), 400, "width"),
        ("/predict/ridge", json!({ "rows": [full, full, full, full] }).to_string(), 413, "3 rows"),
        ("/predict/nothing", json!({ "rows": [full] }).to_string(), 404, "nothing"),
        (
            "/predict/logistic_two",
            json!({ "rows": [{ "width": 1, "height": 2, "count": 3, "city": 4 }] }).to_string(),
            400,
            "city",
        ),
        ("/v2/models/ridge/infer", "{}".to_string(), 400, "inputs"),
        ("/v2/models/ridge/infer", tensor("width", json!([1.0]), json!([1])), 400, "count"),
        ("/v2/models/ridge/infer", tensor("width", json!([1.0]), json!([2])), 400, "width.*shape|shape.*width"),
        ("/v2/models/ridge/infer", tensor("width", json!([{}]), json!([1])), 400, "width"),
        ("/v2/models/ridge/infer", json!({ "inputs": [{ "shape": [1], "data": [1] }] }).to_string(), 400, "name"),
        ("/v2/models/linear_regression/infer", tensor("input", json!([1.0, 2.0, 3.0]), json!([1, 3])), 400, "2"),
        ("/v2/models/linear_regression/infer", tensor("input", json!([1.0, "x"]), json!([1, 2])), 400, "text"),
        ("/v2/models/gone/infer", "{}".to_string(), 404, "gone"),
    ] {
        let error = server.post(path, &body).error(status);
        let found = wanted.split('|').any(|w| w.split(".*").all(|part| error.contains(part)));
        assert!(found, "{path} {body}: {error}");
    }
    healthy(&server);
}

#[test]
fn limits_name_their_number() {
    let server = Server::start(&["ridge"], &["--max-body", "1000"]);
    assert!(server.post("/predict", &" ".repeat(1001)).error(413).contains("1000 bytes"));
    let mut connection = server.connect();
    // A length that is only said.
    connection.send(
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99999999999\r\n\r\n",
    );
    assert!(connection.answer().error(413).contains("1000 bytes"));
    let mut connection = server.connect();
    let chunk = format!("{:x}\r\n{}\r\n", 800, " ".repeat(800));
    connection.send(
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    connection.send(chunk.as_bytes());
    connection.send(chunk.as_bytes());
    assert!(connection.answer().error(413).contains("1000 bytes"));
    // A chunk's size is enough.
    let mut connection = server.connect();
    connection.send(b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n");
    assert!(connection.answer().error(413).contains("1000 bytes"));
    healthy(&server);
}

#[test]
fn a_client_that_reads_only_once_it_has_sent_all_hears_why_it_is_refused() {
    let server = Server::start(&["ridge"], &["--max-body", "1000"]);
    let length = 48 << 20;
    let mut connection = server.connect();
    connection.send(format!("POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n").as_bytes());
    std::thread::sleep(std::time::Duration::from_millis(100));
    let piece = vec![b' '; 1 << 20];
    for at in 0..length >> 20 {
        if at == 24 {
            std::thread::sleep(std::time::Duration::from_millis(300));
        }
        connection.send(&piece);
    }
    let answer = connection.answer();
    assert_eq!(answer.headers["connection"], "close");
    assert!(answer.error(413).contains("1000 bytes"));
    assert!(connection.next().is_none());
    healthy(&server);
}

#[test]
fn a_head_that_says_two_things_is_refused() {
    let server = Server::start(&["ridge"], &[]);
    for (fields, wanted) in [
        ("Content-Type: application/json\r\nContent-Type: text/plain\r\n", "more than one Content-Type"),
        ("Inference-Header-Content-Length: +2\r\n", "'Inference-Header-Content-Length|+2"),
        ("Inference-Header-Content-Length: 2\r\nInference-Header-Content-Length: 2\r\n", "one number of bytes"),
    ] {
        let mut connection = server.connect();
        let head = format!("POST /v2/models/ridge/infer HTTP/1.1\r\nHost: x\r\n{fields}Content-Length: 2\r\n\r\n{{}}");
        connection.send(head.as_bytes());
        let error = connection.answer().error(400);
        assert!(wanted.split('|').any(|w| error.contains(w)), "{fields}: {error}");
    }
    healthy(&server);
}

#[test]
fn wrong_methods_paths_and_types_are_told() {
    let server = Server::start(&["ridge"], &[]);
    let mut connection = server.connect();
    connection.send(b"DELETE /predict HTTP/1.1\r\nHost: x\r\n\r\n");
    let answer = connection.answer();
    assert!(answer.error(405).contains("DELETE") && answer.headers["allow"] == "POST");
    assert_eq!(server.get("/predict").headers["allow"], "POST");
    let answer = server.post("/healthz", "{}");
    assert!(answer.status == 405 && answer.headers["allow"] == "GET, HEAD");
    assert!(server.get("/nowhere").error(404).contains("openapi"));
    assert!(server.get("/v2/models/gone").error(404).contains("gone"));
    let mut connection = server.connect();
    connection.send(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: text/csv\r\nContent-Length: 1\r\n\r\n1");
    assert!(connection.answer().error(415).contains("text/csv"));
    healthy(&server);
}

#[test]
fn what_is_no_http_ends_the_connection_only() {
    let server = Server::start(&["ridge"], &[]);
    let long = format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "y".repeat(2 << 20));
    let noise: Vec<u8> = (0..4096u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    for bytes in [&b"\x16\x03\x01\x02\x00"[..], b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", &noise, long.as_bytes()] {
        let mut connection = server.connect();
        // The server may hang up before all is sent.
        let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| connection.send(bytes)));
        let answer = connection.next();
        assert!(answer.is_none_or(|a| (400..500).contains(&a.status)));
    }
    // A body that breaks off, and one whose length is none.
    let mut connection = server.connect();
    let request = post("/predict", "{\"rows\": []}");
    connection.send(&request[..request.len() - 3]);
    connection.finish();
    assert!(connection.next().is_none_or(|a| a.status == 400));
    let mut connection = server.connect();
    connection.send(b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n");
    assert!(connection.next().is_none_or(|a| a.status == 400));
    healthy(&server);
}
