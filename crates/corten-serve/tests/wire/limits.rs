//! Limits of numbers and of time, keys, and what goes with a request.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::server::{Answer, Server, post};

const ROW: &str = "{\"rows\": [{\"width\": 1, \"count\": 2}]}";

fn with(server: &Server, path: &str, headers: &str) -> Answer {
    let mut connection = server.connect();
    let length = ROW.len();
    connection
        .send(format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{headers}\r\n{ROW}").as_bytes());
    connection.answer()
}

#[test]
fn more_connections_and_requests_than_allowed_are_told_to_come_later() {
    let server = Server::start(&["ridge"], &["--max-active", "1", "--max-connections", "3"]);
    let mut first = server.connect();
    let request = post("/predict", ROW);
    first.send(&request[..request.len() - 1]);
    std::thread::sleep(std::time::Duration::from_millis(100));
    let mut second = server.connect();
    second.send(&request);
    let answer = second.answer();
    assert!(answer.headers["retry-after"] == "1" && answer.error(503).contains("1 requests"));
    // Whoever watches the server still gets an answer.
    second.send(b"GET /v2/health/ready HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(second.answer().status, 200);
    first.send(&request[request.len() - 1..]);
    assert_eq!(first.answer().status, 200);
    second.send(&request);
    assert_eq!(second.answer().status, 200);
    let mut third = server.connect();
    third.send(&request);
    assert_eq!(third.answer().status, 200);
    let mut fourth = server.connect();
    fourth.send(&request);
    let answer = fourth.answer();
    assert!(answer.headers["connection"] == "close" && answer.error(503).contains("3 connections"));
    assert!(fourth.next().is_none());
    first.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    let metrics = first.answer().text();
    assert!(metrics.contains("corten_refused_total{reason=\"active\"} 1"), "{metrics}");
    assert!(metrics.contains("corten_refused_total{reason=\"connections\"} 1"), "{metrics}");
}

#[test]
fn slow_clients_are_let_go() {
    let server = Server::start(&["ridge"], &["--head-timeout", "1", "--body-timeout", "1"]);
    let mut head = server.connect();
    head.send(b"POST /predict HT");
    let mut body = server.connect();
    let request = post("/predict", ROW);
    body.send(&request[..request.len() - 1]);
    assert!(body.answer().error(408).contains("1 s"));
    assert!(head.next().is_none_or(|a| a.status == 408));
}

#[test]
fn a_deadline_is_kept() {
    let server = Server::start(&["ridge"], &[]);
    let mut slow = server.connect();
    let head = format!("POST /predict HTTP/1.1\r\nHost: x\r\nTimeout: 50000\r\nContent-Length: {}\r\n\r\n", ROW.len());
    slow.send(head.as_bytes());
    assert!(slow.answer().error(504).contains("timeout"));
    assert_eq!(with(&server, "/predict", "timeout: 20000000\r\n").status, 200);
    assert!(with(&server, "/predict", "timeout: soon\r\n").error(400).contains("microseconds"));
    // As a parameter of the request, the head of which came long ago.
    let body = "{\"inputs\": [], \"parameters\": {\"timeout\": 1000}}";
    let request = post("/v2/models/ridge/infer", body);
    slow = server.connect();
    slow.send(&request[..request.len() - 1]);
    std::thread::sleep(std::time::Duration::from_millis(50));
    slow.send(&request[request.len() - 1..]);
    assert_eq!(slow.answer().status, 504);
}

#[test]
fn keys_open_the_models_that_they_are_for() {
    let hash = |key: &str| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_corten-serve"))
            .arg("--hash-key")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(key.as_bytes()).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap().trim().to_owned()
    };
    let file = std::env::temp_dir().join(format!("corten-serve-{}-keys", std::process::id()));
    let text = format!("# who\n{} infer ridge # one model\n\n{} admin\n", hash("one"), hash("all"));
    std::fs::write(&file, text).unwrap();
    let path = file.to_str().unwrap();
    let server = Server::start(&["ridge", "forest"], &["--admin", "--keys", path]);
    let key = |key: &str| format!("Authorization: Bearer {key}\r\n");
    for (path, headers, status) in [
        ("/predict", String::new(), 401),
        ("/predict", key("other"), 401),
        ("/predict", "Authorization: Basic one\r\n".into(), 401),
        ("/predict", key("one"), 200),
        ("/predict/ridge", key("one"), 200),
        ("/predict/forest", key("one"), 403),
        ("/v2/models/forest/infer", key("one"), 403),
        ("/v2/models/%66orest/infer", key("one"), 403),
        ("/predict/ridge", key("all"), 200),
        ("/v2/repository/models/ridge/unload", key("one"), 403),
        ("/v2/repository/models/forest/load", key("all"), 200),
    ] {
        assert_eq!(with(&server, path, &headers).status, status, "{path} {headers}");
    }
    assert_eq!(server.get("/metrics").status, 401);
    assert_eq!((server.get("/healthz").status, server.get("/v2/health/ready").status), (200, 200));
    for (text, wanted) in
        [("abc infer\n", "line 1"), (&format!("\n{} all\n", hash("x")), "line 2"), ("# none\n", "no key")]
    {
        std::fs::write(&file, text).unwrap();
        let done =
            Command::new(env!("CARGO_BIN_EXE_corten-serve")).args(["m.corten", "--keys", path]).output().unwrap();
        let error = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.code() == Some(2) && error.contains(wanted) && error.lines().count() == 1, "{error}");
    }
    std::fs::remove_file(&file).unwrap();
}

#[test]
fn a_request_has_an_id_and_pages_of_named_origins_may_ask() {
    let server = Server::start(&["ridge"], &["--cors", "https://a.example"]);
    let answer = with(&server, "/predict", "X-Request-Id: abc-1\r\nOrigin: https://a.example\r\n");
    assert_eq!((answer.headers["x-request-id"].as_str(), answer.status), ("abc-1", 200));
    assert_eq!(answer.headers["access-control-allow-origin"], "https://a.example");
    let (one, two) = (with(&server, "/predict", ""), with(&server, "/predict", "Origin: https://b.example\r\n"));
    assert_ne!(one.headers["x-request-id"], two.headers["x-request-id"]);
    assert!(!two.headers.contains_key("access-control-allow-origin"));
    let mut connection = server.connect();
    connection.send(b"OPTIONS /predict HTTP/1.1\r\nHost: x\r\nOrigin: https://a.example\r\n\r\n");
    let answer = connection.answer();
    assert!(answer.status == 204 && answer.headers["access-control-allow-methods"].contains("POST"));
}
