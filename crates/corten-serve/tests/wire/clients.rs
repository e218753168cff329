//! What real clients sent and were answered (`fixtures/clients`, written by `tests/clients/record.py`), sent again: their
//! bytes are answered as they were when the clients themselves checked the answers.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::server::{Answer, Server, free_port};

/// The models that the clients spoke to.
const SERVED: [&str; 3] = ["logistic_two", "linear_regression", "tree_of_classes"];

struct Turn {
    sent: Vec<u8>,
    answered: Vec<u8>,
}

struct Recorded {
    name: String,
    protocol: String,
    /// Whether the answers are the same each time.
    steady: bool,
    connections: Vec<Vec<Turn>>,
}

/// Bytes from the characters of their numbers.
fn bytes(text: &Value) -> Vec<u8> {
    let text = text.as_str().expect("a text");
    text.chars().map(|c| u8::try_from(u32::from(c)).expect("a byte")).collect()
}

fn recorded() -> Vec<Recorded> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/clients");
    let mut paths: Vec<_> = std::fs::read_dir(folder).expect("a folder").map(|e| e.expect("a file").path()).collect();
    paths.sort();
    let read = |path: &std::path::PathBuf| {
        let value: Value = serde_json::from_slice(&std::fs::read(path).expect("bytes")).expect("JSON");
        let turn = |turn: &Value| Turn { sent: bytes(&turn["sent"]), answered: bytes(&turn["answered"]) };
        let connection = |turns: &Value| turns.as_array().expect("turns").iter().map(turn).collect();
        Recorded {
            name: path.file_stem().expect("a name").to_string_lossy().into_owned(),
            protocol: value["protocol"].as_str().expect("a protocol").to_owned(),
            steady: value["steady"].as_bool().expect("whether it is steady"),
            connections: value["connections"].as_array().expect("connections").iter().map(connection).collect(),
        }
    };
    paths.iter().filter(|p| p.extension().is_some_and(|e| e == "json")).map(read).collect()
}

#[test]
fn clients_over_http_are_answered_as_recorded() {
    let server = Server::start(&SERVED, &["--admin"]);
    let mut count = 0;
    for recorded in recorded().iter().filter(|r| r.protocol == "http") {
        for turns in &recorded.connections {
            let mut connection = server.connect();
            for turn in turns {
                connection.send(&turn.sent);
                let mut wanted = turn.answered.clone();
                while let Some(wanted) = Answer::take(&mut wanted) {
                    let got = connection.answer();
                    assert_eq!(got.status, wanted.status, "{}: {}", recorded.name, got.text());
                    for header in ["content-type", "inference-header-content-length"] {
                        assert_eq!(got.headers.get(header), wanted.headers.get(header), "{}", recorded.name);
                    }
                    if recorded.steady {
                        assert_eq!(got.body, wanted.body, "{}: {}", recorded.name, got.text());
                    }
                    count += 1;
                }
                assert!(wanted.is_empty(), "{}: a recorded answer isn't whole", recorded.name);
            }
        }
    }
    assert!(count > 60, "only {count} answers were recorded");
}

/// What came on the streams of HTTP/2: their data, and how many have ended.
#[derive(Default)]
struct Streams {
    came: Vec<u8>,
    data: BTreeMap<u32, Vec<u8>>,
    ended: usize,
}

impl Streams {
    /// Takes the whole frames off what came.
    fn take(&mut self, more: &[u8]) {
        self.came.extend_from_slice(more);
        while let Some(head) = self.came.first_chunk::<9>() {
            let [a, b, c, kind, flags, stream @ ..] = *head;
            let length = u32::from_be_bytes([0, a, b, c]) as usize;
            let stream = u32::from_be_bytes(stream) & (u32::MAX >> 1);
            if self.came.len() < 9 + length {
                return;
            }
            let payload: Vec<u8> = self.came.drain(..9 + length).skip(9).collect();
            // DATA and HEADERS, the last of which ends a stream.
            assert!(kind != 3 && kind != 7, "the server broke off stream {stream} or the connection");
            if kind == 0 {
                self.data.entry(stream).or_default().extend_from_slice(&payload);
            }
            if kind <= 1 && flags & 1 == 1 {
                self.ended += 1;
            }
        }
    }
}

#[test]
fn clients_over_grpc_are_answered_as_recorded() {
    let port = free_port();
    let server = Server::start(&SERVED, &["--admin", "--grpc-port", &port.to_string()]);
    answered_over_grpc(port);
    // The port of HTTP/1.1 tells gRPC by its first bytes.
    answered_over_grpc(server.port);
}

fn answered_over_grpc(port: u16) {
    let mut count = 0;
    for recorded in recorded().iter().filter(|r| r.protocol == "grpc") {
        for turns in &recorded.connections {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
            stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
            let (mut wanted, mut got) = (Streams::default(), Streams::default());
            for turn in turns {
                stream.write_all(&turn.sent).expect("bytes are taken");
                wanted.take(&turn.answered);
                // Messages of a stream that goes on are waited for too.
                let length = |s: &Streams| s.data.values().map(Vec::len).sum::<usize>();
                while got.ended < wanted.ended || recorded.steady && length(&got) < length(&wanted) {
                    let mut more = [0; 8192];
                    let length = stream.read(&mut more).unwrap_or_else(|e| panic!("{}: {e}", recorded.name));
                    assert!(length > 0, "{}: the server ended the connection", recorded.name);
                    got.take(&more[..length]);
                }
            }
            count += got.ended;
            assert_eq!(got.ended, wanted.ended, "{}", recorded.name);
            if recorded.steady {
                assert_eq!(got.data, wanted.data, "{}", recorded.name);
            }
        }
    }
    assert!(count > 50, "only {count} calls were recorded");
}
