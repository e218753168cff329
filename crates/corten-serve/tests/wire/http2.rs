//! HTTP/2 frame by frame: what no client of gRPC sends, and what all of them may.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use crate::grpc::{numbers, request};
use crate::grpc_server::messages::inference as m;
use crate::grpc_server::{Client, framed, method};
use crate::server::Server;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const PUSH: u8 = 5;
const PING: u8 = 6;
const GO_AWAY: u8 = 7;
const WINDOW: u8 = 8;
const CONTINUATION: u8 = 9;
/// Flags.
const END: u8 = 1;
const WHOLE: u8 = 4;
const PADDED: u8 = 8;
const PRIORITIZED: u8 = 32;

fn start() -> Server {
    Server::start(&["linear_regression"], &[])
}

/// The message of a call that is answered with 2 numbers.
fn message() -> Vec<u8> {
    framed(&request("linear_regression", vec![numbers("input", &[2, 2], vec![1.0, 2.0, 3.0, 4.0])]))
}

fn text(block: &mut Vec<u8>, text: &str) {
    block.push(text.len() as u8);
    block.extend_from_slice(text.as_bytes());
}

/// The fields of a call.
fn fields(more: &[(&str, &str)]) -> Vec<u8> {
    fields_of("ModelInfer", more)
}

fn fields_of(name: &str, more: &[(&str, &str)]) -> Vec<u8> {
    // POST over http, then a path.
    let mut block = vec![0x83, 0x86, 0x04];
    text(&mut block, &method(name));
    for (name, value) in [("content-type", "application/grpc"), ("te", "trailers")].iter().chain(more) {
        block.push(0);
        text(&mut block, name);
        text(&mut block, value);
    }
    block
}

#[derive(Debug, PartialEq)]
struct Frame {
    kind: u8,
    flags: u8,
    id: u32,
    payload: Vec<u8>,
}

impl Frame {
    fn number(&self) -> u32 {
        u32::from_be_bytes(*self.payload.last_chunk().expect("a number"))
    }

    fn says(&self, what: &str) -> bool {
        self.payload.windows(what.len()).any(|w| w == what.as_bytes())
    }
}

fn frame(kind: u8, flags: u8, id: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// A connection behind its preface, settings excluded.
struct Raw(TcpStream);

impl Raw {
    fn new(server: &Server) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
        stream.set_nodelay(true).expect("no delay");
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").expect("bytes are taken");
        Self(stream)
    }

    /// One that has told its settings.
    fn greeted(server: &Server) -> Self {
        let mut raw = Self::new(server);
        raw.send(SETTINGS, 0, 0, &[]);
        raw
    }

    fn write(&mut self, bytes: &[u8]) {
        // The server may have ended the connection already.
        let _ = self.0.write_all(bytes);
    }

    fn send(&mut self, kind: u8, flags: u8, id: u32, payload: &[u8]) {
        self.write(&frame(kind, flags, id, payload));
    }

    /// Sends a call.
    fn call(&mut self, id: u32) {
        self.send(HEADERS, WHOLE, id, &fields(&[]));
        self.send(DATA, END, id, &message());
    }

    /// The next frame; none at the end.
    fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).ok()?;
        let [a, b, c, kind, flags, id @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        self.0.read_exact(&mut payload).ok()?;
        Some(Frame { kind, flags, id: u32::from_be_bytes(id), payload })
    }

    /// The next frame of a kind.
    fn find(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.next().unwrap_or_else(|| panic!("no frame {kind}"));
            assert!(frame.kind != GO_AWAY || kind == GO_AWAY, "{}", String::from_utf8_lossy(&frame.payload));
            if frame.kind == kind {
                return frame;
            }
        }
    }

    /// The bytes of the answer to a call, which went well.
    fn answer(&mut self, id: u32) -> Vec<u8> {
        let mut data = Vec::new();
        loop {
            let frame = self.next().expect("an answer");
            assert!(frame.kind != RESET && frame.kind != GO_AWAY, "{frame:?}");
            if frame.id == id && frame.kind == DATA {
                data.extend_from_slice(&frame.payload);
            }
            if frame.id == id && frame.kind == HEADERS && frame.flags & END != 0 {
                assert!(frame.says("grpc-status\x010"), "{frame:?}");
                return data;
            }
        }
    }
}

/// The answer that every call here has.
fn right(server: &Server) -> Vec<u8> {
    let mut raw = Raw::greeted(server);
    raw.call(1);
    raw.answer(1)
}

/// Calls that begin and are given up at once.
fn begun_and_reset(count: u32) -> Vec<u8> {
    let one =
        |at: u32| [frame(HEADERS, WHOLE, 2 * at + 1, &fields(&[])), frame(RESET, 0, 2 * at + 1, &8u32.to_be_bytes())];
    (0..count).flat_map(one).flatten().collect()
}

#[test]
fn what_ends_a_connection_is_told_with_its_code() {
    let server = start();
    let right = right(&server);
    let head = || frame(HEADERS, WHOLE, 1, &fields(&[]));
    let with = |second: Vec<u8>| [head(), second].concat();
    let long = [frame(HEADERS, 0, 1, &fields(&[])), frame(CONTINUATION, 0, 1, &[0; 16 << 10]).repeat(5)].concat();
    let settings = |setting: u8, value: u32| [&[0, setting][..], &value.to_be_bytes()].concat();
    let window = |more: u32| more.to_be_bytes();
    let cases: Vec<(&str, Vec<u8>, u32)> = vec![
        ("data of no call", frame(DATA, 0, 0, b""), 1),
        ("data before a call", frame(DATA, 0, 1, b""), 1),
        ("an even number", frame(HEADERS, WHOLE, 2, &fields(&[])), 1),
        ("padding beyond the frame", frame(HEADERS, WHOLE | PADDED, 1, &[9, 0x83]), 1),
        ("a short priority", frame(HEADERS, WHOLE | PRIORITIZED, 1, &[0, 0]), 6),
        ("fields that are none", frame(HEADERS, WHOLE, 1, &[0xff, 0xff]), 9),
        ("a number of no field", frame(HEADERS, WHOLE, 1, &[0xbe]), 9),
        ("another frame within fields", [frame(HEADERS, 0, 1, &[0x83]), frame(PING, 0, 0, &[0; 8])].concat(), 1),
        ("fields of another call", [frame(HEADERS, 0, 1, &[0x83]), frame(CONTINUATION, 4, 3, &[])].concat(), 1),
        ("fields that go on from nowhere", frame(CONTINUATION, WHOLE, 1, &[0x83]), 1),
        ("fields without an end", long, 11),
        (
            "empty fields without an end",
            [frame(HEADERS, 0, 1, &[]), frame(CONTINUATION, 0, 1, &[]).repeat(64)].concat(),
            11,
        ),
        ("settings again and again", frame(SETTINGS, 0, 0, &[]).repeat(20_000), 11),
        ("pings again and again", frame(PING, 0, 0, &[0; 8]).repeat(20_000), 11),
        ("unknown frames again and again", frame(99, 0, 0, &[]).repeat(20_000), 11),
        ("priorities again and again", frame(PRIORITY, 0, 1, &[0; 5]).repeat(20_000), 11),
        ("empty data again and again", with(frame(DATA, 0, 1, &[]).repeat(20_000)), 11),
        ("calls that are reset", begun_and_reset(2000), 11),
        ("a priority of no call", frame(PRIORITY, 0, 0, &[0; 5]), 1),
        ("a priority of 4 bytes", frame(PRIORITY, 0, 1, &[0; 4]), 6),
        ("a reset of a call that isn't", frame(RESET, 0, 1, &[0; 4]), 1),
        ("a reset of 3 bytes", with(frame(RESET, 0, 1, &[0; 3])), 6),
        ("settings of a call", frame(SETTINGS, 0, 1, &[]), 1),
        ("settings of 5 bytes", frame(SETTINGS, 0, 0, &[0; 5]), 6),
        ("an answer with settings", frame(SETTINGS, 1, 0, &[0; 6]), 6),
        ("pushing half", frame(SETTINGS, 0, 0, &settings(2, 2)), 1),
        ("a window too wide", frame(SETTINGS, 0, 0, &settings(4, 1 << 31)), 3),
        ("frames too short", frame(SETTINGS, 0, 0, &settings(5, 16_383)), 1),
        ("frames too long", frame(SETTINGS, 0, 0, &settings(5, 1 << 24)), 1),
        ("a push", frame(PUSH, 0, 1, &[0; 4]), 1),
        ("a ping of a call", frame(PING, 0, 1, &[0; 8]), 1),
        ("a ping of 7 bytes", frame(PING, 0, 0, &[0; 7]), 6),
        ("a farewell of a call", frame(GO_AWAY, 0, 1, &[0; 8]), 1),
        ("a window of 3 bytes", frame(WINDOW, 0, 0, &[0; 3]), 6),
        ("a window of nothing", frame(WINDOW, 0, 0, &window(0)), 1),
        ("a window of too much", frame(WINDOW, 0, 0, &window(u32::MAX >> 1)), 3),
        ("a window of no call", frame(WINDOW, 0, 5, &window(1)), 1),
        ("a frame too long", frame(99, 0, 0, &[0; 16_385]), 6),
        ("a call that begins again", [head(), frame(DATA, END, 1, &message()), head()].concat(), 5),
    ];
    for (what, bytes, code) in cases {
        let mut raw = Raw::greeted(&server);
        raw.write(&bytes);
        let told = loop {
            let frame = raw.next().unwrap_or_else(|| panic!("{what}: an end without a word"));
            if frame.kind == GO_AWAY {
                break frame;
            }
        };
        assert_eq!(u32::from_be_bytes(told.payload[4..8].try_into().expect("a code")), code, "{what}");
        assert!(told.payload.len() > 8, "{what}: no sentence");
        assert!(raw.next().is_none(), "{what}");
    }
    let mut raw = Raw::new(&server);
    raw.send(PING, 0, 0, &[0; 8]);
    assert!(raw.find(GO_AWAY).says("the first frame must be settings"));
    // Nobody else has noticed.
    assert_eq!(self::right(&server), right);
}

#[test]
fn calls_that_are_none_are_reset_and_the_connection_stays() {
    let server = start();
    let right = right(&server);
    let mut raw = Raw::greeted(&server);
    let get = |more: &[u8]| [&[0x82, 0x86, 0x84][..], more].concat();
    let mut id = 1;
    for (what, block, code) in [
        ("no path", vec![0x83, 0x86], 1),
        ("no method", vec![0x86, 0x84], 1),
        ("no scheme", vec![0x83, 0x84], 1),
        ("two methods", get(&[0x83]), 1),
        ("a status", get(&[0x88]), 1),
        ("a method behind fields", fields(&[(":method", "POST")]), 1),
        ("a capital letter", fields(&[("X", "y")]), 1),
        ("a connection's field", fields(&[("connection", "close")]), 1),
        ("a chunked body", fields(&[("transfer-encoding", "chunked")]), 1),
        ("other trailers", fields(&[("te", "gzip")]), 1),
        ("a name with a space", fields(&[("a b", "c")]), 1),
        ("a value of two lines", fields(&[("a", "b\nc")]), 1),
        ("a length that is none", fields(&[("content-length", "-1")]), 1),
        ("two lengths", fields(&[("content-length", "1"), ("content-length", "2")]), 1),
    ] {
        raw.send(HEADERS, WHOLE | END, id, &block);
        let reset = raw.find(RESET);
        assert_eq!((reset.id, reset.number()), (id, code), "{what}");
        id += 2;
    }
    // A body of another length than was said, and fields behind it that end nothing.
    raw.send(HEADERS, WHOLE, id, &fields(&[("content-length", "3")]));
    raw.send(DATA, END, id, b"ab");
    assert_eq!(raw.find(RESET).number(), 1);
    raw.send(HEADERS, WHOLE, id + 2, &fields(&[]));
    raw.send(HEADERS, WHOLE, id + 2, &[]);
    assert_eq!(raw.find(RESET).number(), 1);
    // More at once than was told.
    id += 4;
    (0..128).for_each(|at| raw.send(HEADERS, WHOLE, id + 2 * at, &fields(&[])));
    raw.send(HEADERS, WHOLE, id + 256, &fields(&[]));
    let reset = raw.find(RESET);
    assert_eq!((reset.id, reset.number()), (id + 256, 7));
    // One that is let go makes room.
    raw.send(RESET, 0, id, &8u32.to_be_bytes());
    raw.call(id + 258);
    assert_eq!(raw.answer(id + 258), right);
}

#[test]
fn calls_come_in_any_pieces_and_with_all_that_frames_may_have() {
    let server = start();
    let right = right(&server);
    let mut raw = Raw::greeted(&server);
    let (block, message) = (fields(&[("content-length", &message().len().to_string())]), message());
    // Fields in three frames behind a priority and before padding, data in padded pieces, an empty one and the last fields.
    let first = [&[2, 0, 0, 0, 0, 7][..], &block[..10], &[0, 0]].concat();
    let mut bytes = frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1]);
    bytes.extend(frame(HEADERS, PADDED | PRIORITIZED, 1, &first));
    bytes.extend(frame(CONTINUATION, 0, 1, &block[10..50]));
    bytes.extend(frame(CONTINUATION, WHOLE, 1, &block[50..]));
    bytes.extend(frame(77, 255, 1, b"unknown"));
    bytes.extend(frame(DATA, PADDED, 1, &[&[3][..], &message[..20], &[0; 3]].concat()));
    bytes.extend(frame(DATA, 0, 1, &message[20..]));
    bytes.extend(frame(DATA, 0, 1, &[]));
    bytes.extend(frame(HEADERS, WHOLE | END, 1, &[0, 1, b'a', 1, b'b']));
    for &byte in &bytes {
        raw.write(&[byte]);
    }
    assert_eq!(raw.answer(1), right);
    // The same in one piece, and many calls behind each other.
    raw.write(&[frame(HEADERS, WHOLE, 3, &fields(&[])), frame(DATA, END, 3, &message)].concat());
    assert_eq!(raw.answer(3), right);
    let many: Vec<u8> = (0..100)
        .flat_map(|at| {
            [frame(HEADERS, WHOLE, 5 + 2 * at, &fields(&[])), frame(DATA, END, 5 + 2 * at, &message)].concat()
        })
        .collect();
    raw.write(&many);
    for at in 0..100 {
        assert_eq!(raw.answer(5 + 2 * at), right);
    }
    raw.send(PING, 0, 0, b"are you?");
    assert_eq!(raw.find(PING), Frame { kind: PING, flags: 1, id: 0, payload: b"are you?".to_vec() });
}

#[test]
fn answers_keep_to_the_windows_and_tables_that_the_client_tells() {
    let server = start();
    let right = right(&server);
    let mut raw = Raw::new(&server);
    // No table, and windows of one byte.
    raw.send(SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0, 0, 4, 0, 0, 0, 1]);
    raw.call(1);
    let head = raw.find(HEADERS);
    assert!(head.payload[0] == 0x20 && head.says("application/grpc"), "{head:?}");
    let mut got = raw.find(DATA).payload;
    assert_eq!(got.len(), 1);
    raw.send(WINDOW, 0, 1, &3u32.to_be_bytes());
    got.extend(raw.find(DATA).payload);
    assert_eq!(got.len(), 4);
    // Settings move the windows of calls that are under way; here beyond what the first ones left.
    raw.send(SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255]);
    let rest = raw.find(DATA);
    got.extend(rest.payload);
    assert_eq!(got, right);
    assert!(raw.find(HEADERS).says("grpc-status\x010"));
    // One that takes nothing keeps no other from its answer.
    raw.send(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    raw.call(3);
    assert_eq!(raw.find(HEADERS).id, 3);
    raw.send(HEADERS, WHOLE, 5, &fields(&[]));
    raw.send(WINDOW, 0, 5, &1000u32.to_be_bytes());
    raw.send(DATA, END, 5, &message());
    assert_eq!(raw.answer(5), right);
    raw.send(WINDOW, 0, 3, &1000u32.to_be_bytes());
    assert_eq!(raw.answer(3), right);
}

#[test]
fn bodies_beyond_the_windows_come_as_they_are_taken() {
    let server = start();
    let mut raw = Raw::greeted(&server);
    assert_eq!(raw.find(SETTINGS).payload, [0, 3, 0, 0, 0, 128, 0, 4, 0, 16, 0, 0, 0, 6, 0, 0, 64, 0]);
    assert_eq!(raw.find(WINDOW).number(), (1 << 20) - 65_535);
    // A message of 2 MiB.
    let long = [0, 0, 32, 0, 0];
    let open = |raw: &mut Raw, id| {
        raw.send(HEADERS, WHOLE, id, &fields(&[]));
        raw.send(DATA, 0, id, &long);
    };
    open(&mut raw, 1);
    let piece = vec![0; 16 << 10];
    (0..63).for_each(|_| raw.send(DATA, 0, 1, &piece));
    // The call and the connection may send again what was taken.
    let (first, second) = (raw.find(WINDOW), raw.find(WINDOW));
    assert!(first.number() >= 1 << 19 && second.number() >= 1 << 19);
    let mut ids = [first.id, second.id];
    ids.sort_unstable();
    assert_eq!(ids, [0, 1]);
    // Calls that are let go give back what they have got.
    for id in (3..63).step_by(2) {
        open(&mut raw, id);
        (0..3).for_each(|_| raw.send(DATA, 0, id, &piece));
        raw.send(RESET, 0, id, &8u32.to_be_bytes());
    }
    raw.call(63);
    assert_eq!(raw.answer(63), right(&server));
    // A stream whose client takes no answers is read no further, and what it sends then is bounded.
    let mut raw = Raw::new(&server);
    raw.send(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
    raw.send(HEADERS, WHOLE, 1, &fields_of("ModelStreamInfer", &[]));
    raw.send(DATA, 0, 1, &message().repeat(20));
    (0..80).for_each(|_| raw.send(DATA, 0, 1, &piece));
    assert!(raw.find(GO_AWAY).says("more data than the window allows"));
    // 3 MB in one message by a client of gRPC.
    let client = Client::connect(server.port);
    let rows = 200_000;
    let values: Vec<f64> = (0..2 * rows).map(f64::from).collect();
    let asked = request("linear_regression", vec![numbers("input", &[i64::from(rows), 2], values)]);
    assert!(client.call(&method("ModelInfer"), &asked).error(8).contains("100000 rows"));
    let values: Vec<f64> = (0..rows).map(f64::from).collect();
    let asked = request("linear_regression", vec![numbers("input", &[i64::from(rows / 2), 2], values)]);
    let answer: m::ModelInferResponse = client.call(&method("ModelInfer"), &asked).ok();
    assert_eq!(answer.outputs[0].shape[0], 100_000);
}

#[test]
fn calls_that_are_let_go_at_once_keep_nothing() {
    let server = start();
    // As many as a connection may let go of without an answer between them.
    for _ in 0..5 {
        let mut raw = Raw::greeted(&server);
        raw.write(&begun_and_reset(950));
        raw.call(1901);
        assert_eq!(raw.answer(1901), right(&server));
    }
    let metrics = server.get("/metrics").text();
    assert!(metrics.contains("corten_active_requests 1\n"), "{metrics}");
}

#[test]
fn calls_of_many_messages_end_with_their_connection() {
    let server = start();
    let mut held = Vec::new();
    for _ in 0..12 {
        for name in ["ModelStreamInfer", "ModelInfer"] {
            let head = fields_of(name, &[]);
            let mut connections: Vec<Raw> = (0..20).map(|_| Raw::greeted(&server)).collect();
            for raw in &mut connections {
                (0..100).for_each(|call| raw.send(HEADERS, WHOLE, 2 * call + 1, &head));
                raw.send(PING, 0, 0, b"are here");
            }
            for raw in &mut connections {
                while raw.find(PING).payload != b"are here" {}
            }
        }
        assert!(!right(&server).is_empty());
        held.push(server.memory());
    }
    // A round whose calls stayed would leave about 10 MB, and what is freed may stay with the allocator once.
    assert!(held[11] < held[0] + 50_000, "{held:?} kB");
}

#[test]
fn fields_of_calls_that_last_are_bounded() {
    let server = start();
    let mut raw = Raw::greeted(&server);
    let long = "x".repeat(126);
    // 96 fields of 6 + 126 + 32 bytes: a call takes a sixteenth of what its connection may hold.
    let more: Vec<_> = (0..96).map(|_| ("x-long", long.as_str())).collect();
    let (block, calls) = (fields_of("ModelStreamInfer", &more), 20);
    for call in 0..calls {
        raw.send(HEADERS, WHOLE, 2 * call + 1, &block);
    }
    let mut refused = Vec::new();
    while refused.len() < 4 {
        let frame = raw.find(RESET);
        assert_eq!(frame.number(), 7);
        refused.push(frame.id);
    }
    // Those that were first last, and one that ends makes room.
    assert_eq!(refused, [33, 35, 37, 39]);
    raw.send(RESET, 0, 1, &8u32.to_be_bytes());
    raw.send(HEADERS, WHOLE, 41, &block);
    raw.send(DATA, END, 41, &message());
    assert_eq!(raw.find(DATA).id, 41);
}

#[test]
fn calls_whose_message_has_not_come_are_not_at_work() {
    let server = Server::start(&["linear_regression"], &["--max-active", "4"]);
    let mut raw = Raw::greeted(&server);
    (0..20).for_each(|call| raw.send(HEADERS, WHOLE, 2 * call + 1, &fields(&[])));
    raw.send(PING, 0, 0, b"are here");
    while raw.find(PING).payload != b"are here" {}
    assert!(!right(&server).is_empty());
    for call in 0..20 {
        raw.send(DATA, END, 2 * call + 1, &message());
        assert!(!raw.answer(2 * call + 1).is_empty());
    }
}

#[test]
fn the_client_hears_which_call_is_the_last_when_the_server_stops() {
    let mut server = start();
    let right = right(&server);
    let mut raw = Raw::greeted(&server);
    raw.send(HEADERS, WHOLE, 1, &fields(&[]));
    raw.send(PING, 0, 0, &[0; 8]);
    raw.find(PING);
    server.terminate();
    let told = raw.find(GO_AWAY);
    assert_eq!(told.payload, [127, 255, 255, 255, 0, 0, 0, 0]);
    let ping = raw.find(PING);
    // A call that was begun before the client knew.
    raw.send(HEADERS, WHOLE, 3, &fields(&[]));
    raw.send(PING, 1, 0, &ping.payload);
    assert_eq!(raw.find(GO_AWAY).payload, [0, 0, 0, 3, 0, 0, 0, 0]);
    // One behind it has no answer.
    raw.send(HEADERS, WHOLE, 5, &fields(&[]));
    raw.send(DATA, END, 5, &message());
    for id in [3, 1] {
        raw.send(DATA, END, id, &message());
        assert_eq!(raw.answer(id), right);
    }
    assert!(raw.next().is_none());
    assert!(server.wait().success());
}
