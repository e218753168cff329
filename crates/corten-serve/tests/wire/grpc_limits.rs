//! gRPC: deadlines, keys, limits, and going down.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::grpc::{numbers, request};
use crate::grpc_server::messages::grpc::health::v1::{HealthCheckRequest, HealthCheckResponse};
use crate::grpc_server::messages::inference as m;
use crate::grpc_server::{Client, framed, method, start};
use crate::server::{Server, free_port};

fn good() -> m::ModelInferRequest {
    request("linear_regression", vec![numbers("input", &[1, 2], vec![1.0, 2.0])])
}

#[test]
fn answers_are_not_waited_for_beyond_their_deadline() {
    let (_server, client) = start(&["linear_regression"], &["--body-timeout", "1"]);
    let path = method("ModelInfer");
    let with = |timeout: &str| client.raw(&path, &[("grpc-timeout", timeout)], &framed(&good()));
    assert!(with("0n").error(4).contains("deadline"));
    assert!(with("soon").error(3).contains("'grpc-timeout'"));
    with("10S").ok::<m::ModelInferResponse>();
    let mut slow = client.open(&path, &[("grpc-timeout", "50m")]);
    slow.send(&framed(&good())[..9], false);
    assert!(slow.finish().error(4).contains("deadline"));
    let mut slow = client.open(&path, &[]);
    slow.send(&framed(&good())[..9], false);
    assert!(slow.finish().error(4).contains("1 s"));
    // A stream may be silent between messages, not within one.
    let mut stream = client.open(&method("ModelStreamInfer"), &[]);
    std::thread::sleep(Duration::from_millis(1100));
    stream.send(&framed(&good()), false);
    assert!(!stream.data().is_empty());
    stream.send(&framed(&good())[..9], false);
    assert!(stream.finish().error(4).contains("1 s"));
}

#[test]
fn messages_that_trickle_in_are_let_go() {
    let (_server, client) = start(&["linear_regression"], &[]);
    let (message, path) = (framed(&good()), method("ModelInfer"));
    let mut calls = [client.open(&path, &[]), client.open(&method("ModelStreamInfer"), &[])];
    for at in 0..25 {
        calls.iter_mut().for_each(|call| call.send(&message[at..=at], false));
        std::thread::sleep(Duration::from_millis(250));
    }
    for call in calls {
        assert!(call.finish().error(4).contains("less than 1024 bytes a second"));
    }
    client.call(&path, &good()).ok::<m::ModelInferResponse>();
}

fn hash(key: &str) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_corten-serve"))
        .arg("--hash-key")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("corten-serve starts");
    child.stdin.take().expect("a pipe").write_all(key.as_bytes()).expect("the key is taken");
    let out = child.wait_with_output().expect("it ends");
    String::from_utf8(out.stdout).expect("text").trim().to_owned()
}

#[test]
fn keys_open_what_they_are_for() {
    let file = std::env::temp_dir().join(format!("corten-grpc-keys-{}", std::process::id()));
    let lines = format!("{} infer linear_regression\n{} infer ridge\n{} admin\n", hash("a"), hash("b"), hash("c"));
    std::fs::write(&file, lines).expect("a file");
    let (_server, client) =
        start(&["linear_regression", "ridge"], &["--admin", "--keys", file.to_str().expect("a path")]);
    std::fs::remove_file(&file).expect("the file is read");
    let infer = |key: &str| client.raw(&method("ModelInfer"), &[("authorization", key)], &framed(&good()));
    infer("Bearer a").ok::<m::ModelInferResponse>();
    assert!(infer("Bearer b").error(7).contains("'linear_regression'"));
    assert!(infer("Bearer d").error(16).contains("Bearer KEY"));
    assert!(client.call(&method("ModelInfer"), &good()).code == Some(16));
    let load = framed(&m::RepositoryModelLoadRequest { model_name: "ridge".into(), ..Default::default() });
    let loads = |key: &str| client.raw(&method("RepositoryModelLoad"), &[("authorization", key)], &load);
    assert!(loads("Bearer b").error(7).contains("'ridge'"));
    loads("Bearer c").ok::<m::RepositoryModelLoadResponse>();
    // Each message of a stream is for a model.
    let stream = client.raw(&method("ModelStreamInfer"), &[("authorization", "Bearer b")], &framed(&good()));
    assert!(stream.messages::<m::ModelStreamInferResponse>()[0].error_message.contains("'linear_regression'"));
    assert!(client.raw(&method("ModelStreamInfer"), &[], &framed(&good())).code == Some(16));
    let stats = framed(&m::ModelStatisticsRequest::default());
    let stats = client.raw(&method("ModelStatistics"), &[("authorization", "Bearer b")], &stats);
    let names: Vec<String> = stats.ok::<m::ModelStatisticsResponse>().model_stats.into_iter().map(|s| s.name).collect();
    assert_eq!(names, ["ridge"]);
    let index = framed(&m::RepositoryIndexRequest::default());
    let index = client.raw(&method("RepositoryIndex"), &[("authorization", "Bearer b")], &index);
    let names: Vec<String> = index.ok::<m::RepositoryIndexResponse>().models.into_iter().map(|m| m.name).collect();
    assert_eq!(names, ["ridge"]);
    // Whoever watches whether the server lives has no key.
    client.call(&method("ServerLive"), &m::ServerLiveRequest {}).ok::<m::ServerLiveResponse>();
    client.call("/grpc.health.v1.Health/Check", &HealthCheckRequest::default()).ok::<HealthCheckResponse>();
}

#[test]
fn loading_needs_the_option() {
    let (_server, client) = start(&["linear_regression"], &[]);
    let asked = m::RepositoryModelUnloadRequest { model_name: "linear_regression".into(), ..Default::default() };
    assert!(client.call(&method("RepositoryModelUnload"), &asked).error(7).contains("--admin"));
    client.call(&method("ModelInfer"), &good()).ok::<m::ModelInferResponse>();
}

#[test]
fn more_calls_and_connections_than_allowed_are_told_to_come_later() {
    let port = free_port();
    let options = ["--max-active", "1", "--max-connections", "3", "--grpc-port", &port.to_string()];
    let server = Server::start(&["linear_regression"], &options);
    let mut watching = server.alone();
    let mut metrics = || {
        watching.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        watching.answer().text()
    };
    let client = Client::connect(port);
    let mut first = client.open(&method("ModelInfer"), &[]);
    first.send(&framed(&good())[..9], false);
    // The request that asks is one of two.
    while !metrics().contains("\ncorten_active_requests 2\n") {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(client.call(&method("ModelInfer"), &good()).error(8).contains("1 requests"));
    let stream = client.call(&method("ModelStreamInfer"), &good());
    assert!(stream.messages::<m::ModelStreamInferResponse>()[0].error_message.contains("1 requests"));
    client.call(&method("ServerReady"), &m::ServerReadyRequest {}).ok::<m::ServerReadyResponse>();
    first.send(&framed(&good())[9..], true);
    first.finish().ok::<m::ModelInferResponse>();
    client.call(&method("ModelInfer"), &good()).ok::<m::ModelInferResponse>();
    let second = Client::connect(port);
    second.call(&method("ServerReady"), &m::ServerReadyRequest {}).ok::<m::ServerReadyResponse>();
    let third = Client::connect(port);
    assert!(third.call(&method("ModelInfer"), &good()).error(8).contains("3 connections"));
    third.wait();
    let metrics = metrics();
    for reason in ["active\"} 2", "connections\"} 1"] {
        assert!(metrics.contains(&format!("corten_refused_total{{reason=\"{reason}")), "{metrics}");
    }
    let counted = "route=\"/inference.GRPCInferenceService/ModelInfer\",status=\"8\"} 2";
    assert!(metrics.contains(counted), "{metrics}");
}

#[test]
fn how_many_calls_and_bytes_of_fields_a_connection_may_have_is_told_and_kept() {
    let (_server, client) = start(&["linear_regression"], &[]);
    let path = method("ModelInfer");
    client.call(&path, &good()).ok::<m::ModelInferResponse>();
    assert_eq!(client.calls_at_once(), 128);
    // A client that knows it waits with the next one: all of them are answered.
    let mut calls: Vec<_> = (0..128).map(|_| client.open(&path, &[])).collect();
    calls.iter_mut().for_each(|call| call.send(&framed(&good()), true));
    calls.into_iter().for_each(|call| drop(call.finish().ok::<m::ModelInferResponse>()));
    let long = "x".repeat(17 << 10);
    assert_eq!(client.raw(&path, &[("x-long", &long)], &framed(&good())).http, 431);
    client.call(&path, &good()).ok::<m::ModelInferResponse>();
}

#[test]
fn connections_that_speak_nothing_or_something_else_are_let_go() {
    let port = free_port();
    let options = ["--head-timeout", "1", "--grpc-port", &port.to_string()];
    let _server = Server::start(&["linear_regression"], &options);
    for begin in ["", "PRI * HTTP/2.0\r\n", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"] {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a limit");
        stream.write_all(begin.as_bytes()).expect("bytes are taken");
        let mut rest = Vec::new();
        // An end or a reset, but no silence.
        let ended = stream.read_to_end(&mut rest);
        assert!(ended.is_ok_and(|n| n == 0) || rest.is_empty(), "{begin:?}");
    }
}

#[test]
fn calls_that_were_begun_are_answered_when_the_server_stops() {
    let (mut server, client) = start(&["linear_regression"], &[]);
    let mut call = client.open(&method("ModelInfer"), &[]);
    call.send(&framed(&good())[..9], false);
    let mut stream = client.open(&method("ModelStreamInfer"), &[]);
    stream.send(&framed(&good()), false);
    assert!(!stream.data().is_empty());
    server.terminate();
    std::thread::sleep(Duration::from_millis(200));
    call.send(&framed(&good())[9..], true);
    call.finish().ok::<m::ModelInferResponse>();
    assert!(stream.finish().error(14).contains("stopping"));
    client.wait();
    assert!(server.wait().success());
}

#[test]
fn a_port_that_is_taken_stops_the_start_with_a_sentence() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port().to_string();
    let run = Command::new(env!("CARGO_BIN_EXE_corten-serve"))
        .arg(crate::server::golden("ridge"))
        .args(["--port", "0", "--grpc-port", &port])
        .output()
        .expect("corten-serve starts");
    let said = String::from_utf8(run.stderr).expect("text");
    assert!(!run.status.success() && said.contains(&format!("127.0.0.1:{port}: can't be listened on")), "{said}");
}
