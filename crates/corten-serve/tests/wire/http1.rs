//! HTTP/1.1 byte by byte: what could be read in two ways, requests in pieces and in turn, and clients that don't keep up.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use crate::server::{Answer, Server, post};

const PATH: &str = "/v2/models/linear_regression/infer";
const BODY: &str = r#"{"id":"7","inputs":[{"name":"input","shape":[2,2],"datatype":"FP64","data":[1.5,-2,0.1,3e2]}]}"#;

/// Sends bytes, ends, and reads until the server ends too.
fn all(server: &Server, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
    // The server may have refused before all is sent.
    let _ = stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write));
    let mut came = Vec::new();
    let _ = stream.read_to_end(&mut came);
    String::from_utf8_lossy(&came).into_owned()
}

/// The statuses of all answers to bytes.
fn statuses(server: &Server, bytes: &[u8]) -> Vec<u16> {
    let text = all(server, bytes);
    // An error may name the version too, but no number after it.
    text.split("HTTP/1.1 ").skip(1).filter_map(|rest| rest.get(..3)?.parse().ok()).collect()
}

fn chunked(path: &str, body: &str, step: usize) -> Vec<u8> {
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    );
    let mut out = head.into_bytes();
    for piece in body.as_bytes().chunks(step) {
        out.extend_from_slice(format!("{:X};a=\"b\"\r\n", piece.len()).as_bytes());
        out.extend_from_slice(piece);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"0\r\nTrailer: of no use\r\n\r\n");
    out
}

#[test]
fn what_could_smuggle_a_request_is_refused_and_ends_the_connection() {
    let server = Server::start(&["linear_regression"], &[]);
    let next = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    let length = next.len();
    for (fields, body, status) in [
        (format!("Content-Length: {length}\r\nTransfer-Encoding: chunked"), "0\r\n\r\n", 400),
        (format!("Transfer-Encoding: chunked\r\nContent-Length: {length}"), "0\r\n\r\n", 400),
        (format!("Content-Length: 0\r\nContent-Length: {length}"), "", 400),
        (format!("Content-Length: {length}\r\nContent-Length: {length}"), "", 400),
        (format!("Content-Length: {length}, {length}"), "", 400),
        (format!("Content-Length: +{length}"), "", 400),
        (format!("Content-Length : {length}"), "", 400),
        (format!("Content-Length: {length}\r\n "), "", 400),
        (format!("X: y\nContent-Length: {length}"), "", 400),
        (format!("X: y\r Content-Length: {length}"), "", 400),
        (format!("Content-Length: {length}\0"), "", 400),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: identity".into(), "0\r\n\r\n", 400),
        ("Transfer-Encoding: identity\r\nTransfer-Encoding: chunked".into(), "0\r\n\r\n", 501),
        ("Transfer-Encoding: chunked, identity".into(), "0\r\n\r\n", 501),
        ("Transfer-Encoding: xchunked".into(), "0\r\n\r\n", 501),
        ("Transfer-Encoding:\u{b}chunked".into(), "0\r\n\r\n", 400),
        ("Transfer-Encoding : chunked".into(), "0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked".into(), "0\n\n", 400),
        ("Transfer-Encoding: chunked".into(), "-1\r\n\r\n", 400),
        ("Transfer-Encoding: chunked".into(), "0x0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked".into(), "1\r\nab\r\n0\r\n\r\n", 400),
        ("Transfer-Encoding: chunked".into(), "fffffffffffffffff\r\n", 400),
        ("Transfer-Encoding: chunked".into(), "0\r\n: x\r\n\r\n", 400),
        ("Host: y".into(), "", 400),
        ("Expect: something".into(), "", 417),
    ] {
        let request = format!("POST {PATH} HTTP/1.1\r\nHost: x\r\n{fields}\r\n\r\n{body}{next}{next}");
        assert_eq!(statuses(&server, request.as_bytes()), [status], "{fields:?} {body:?}");
    }
    for line in
        ["GET /healthz HTTP/1.1\r\n", "GET /healthz HTTP/1.1 \r\nHost: x\r\n", "GET  /healthz HTTP/1.1\r\nHost: x\r\n"]
    {
        assert_eq!(statuses(&server, format!("{line}\r\n{next}").as_bytes()), [400], "{line:?}");
    }
    let text = all(&server, b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: b\n\r\n\r\n");
    assert!(text.contains("connection: close") && text.contains("{\"error\":\""), "{text}");
    let metrics = server.get("/metrics").text();
    assert!(metrics.contains("corten_requests_total{route=\"other\",status=\"417\"} 1"), "{metrics}");
}

#[test]
fn requests_in_turn_are_answered_in_turn_however_they_are_cut() {
    let server = Server::start(&["linear_regression"], &[]);
    let mut sent = Vec::new();
    let mut wanted = Vec::new();
    for at in 0..60 {
        let id = format!("turn-{at}");
        let head = format!("Host: x\r\nX-Request-Id: {id}\r\n");
        let body = BODY.replace("1.5", &format!("{at}.5"));
        let (request, status) = match at % 5 {
            0 => (format!("GET /healthz HTTP/1.1\r\n{head}\r\n"), 200),
            1 => (format!("POST {PATH} HTTP/1.1\r\n{head}Content-Length: 2\r\n\r\n{{}}"), 400),
            2 => (format!("DELETE /nowhere HTTP/1.1\r\n{head}Content-Length: 3\r\n\r\nabc"), 404),
            _ => (format!("POST {PATH} HTTP/1.1\r\n{head}Content-Length: {}\r\n\r\n{body}", body.len()), 200),
        };
        sent.extend_from_slice(request.as_bytes());
        wanted.push((id, status));
    }
    for step in [1, 7, 100, 1000, sent.len()] {
        let mut connection = server.connect();
        for piece in sent.chunks(step) {
            connection.send(piece);
        }
        for (id, status) in &wanted {
            let answer = connection.answer();
            assert_eq!((answer.status, &answer.headers["x-request-id"]), (*status, id), "{step}");
        }
    }
}

#[test]
fn many_requests_at_once_are_answered_while_the_answers_are_read() {
    let server = Server::start(&["linear_regression"], &[]);
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut writer = stream.try_clone().unwrap();
    let count = 5000;
    let sender = std::thread::spawn(move || writer.write_all(&post(PATH, BODY).repeat(count)).unwrap());
    let (mut came, mut answers, mut first) = (Vec::new(), 0, None);
    let mut bytes = [0; 1 << 16];
    while answers < count {
        let more = stream.read(&mut bytes).unwrap();
        assert!(more > 0);
        came.extend_from_slice(&bytes[..more]);
        while let Some(answer) = Answer::take(&mut came) {
            assert_eq!(&answer.body, first.get_or_insert_with(|| answer.body.clone()));
            answers += 1;
        }
    }
    sender.join().unwrap();
}

#[test]
fn a_body_is_the_same_in_chunks_in_pieces_and_whole() {
    let server = Server::start(&["linear_regression"], &[]);
    let plain = server.post(PATH, BODY);
    assert_eq!(plain.status, 200, "{}", plain.text());
    let told = |answer: &Answer| {
        let mut headers = answer.headers.clone();
        // They differ from one request to the next.
        for name in ["x-request-id", "date"] {
            assert!(headers.remove(name).is_some());
        }
        (answer.status, headers, answer.body.clone())
    };
    for step in [1, 3, 50, 1000] {
        let mut connection = server.connect();
        connection.send(&chunked(PATH, BODY, step));
        connection.send(&post(PATH, BODY));
        assert_eq!(told(&connection.answer()), told(&plain), "{step}");
        assert_eq!(told(&connection.answer()), told(&plain), "{step}");
    }
    let request = post(PATH, BODY);
    for cut in [1, 30, request.len() - BODY.len(), request.len() - 1] {
        let mut connection = server.connect();
        connection.send(&request[..cut]);
        std::thread::sleep(Duration::from_millis(20));
        connection.send(&request[cut..]);
        assert_eq!(told(&connection.answer()), told(&plain), "{cut}");
    }
    // What isn't answered quickly has the same bytes.
    let slow = BODY.replacen('{', "{\"parameters\":{},", 1);
    assert_eq!(told(&server.post(PATH, &slow)), told(&plain));
    // A matrix may be called so too, but not anything.
    assert_eq!(told(&server.post(PATH, &BODY.replace("\"input\"", "\"x\""))), told(&plain));
    let other = server.post(PATH, &BODY.replace("\"input\"", "\"nonsense\"")).error(400);
    assert!(other.contains("'nonsense'") && other.contains("'input'"), "{other}");
    assert_eq!(told(&server.post(&format!("{PATH}?a=b"), BODY)), told(&plain));
    assert_eq!(told(&server.post(&PATH.replace("/infer", "/versions/1/infer"), BODY)), told(&plain));
    assert_eq!(server.post(&PATH.replace("/infer", "/versions/2/infer"), BODY).status, 404);
    // Chunks are bounded as a length is.
    let server = Server::start(&["linear_regression"], &["--max-body", "100"]);
    let long = format!("{BODY}{}", " ".repeat(100));
    assert!(all(&server, &chunked(PATH, &long, 10)).starts_with("HTTP/1.1 413"));
}

#[test]
fn who_expects_a_word_before_the_body_hears_it_or_a_refusal() {
    let server = Server::start(&["linear_regression"], &["--max-body", "1000"]);
    let head = |length: usize| {
        format!("POST {PATH} HTTP/1.1\r\nHost: x\r\nExpect: 100-Continue\r\nContent-Length: {length}\r\n\r\n")
    };
    let mut connection = server.connect();
    connection.send(head(BODY.len()).as_bytes());
    assert_eq!(connection.answer().status, 100);
    connection.send(BODY.as_bytes());
    assert_eq!(connection.answer().status, 200);
    // Who doesn't wait for it doesn't hear it.
    connection.send(format!("{}{BODY}", head(BODY.len())).as_bytes());
    assert_eq!(connection.answer().status, 200);
    connection.send(head(1001).as_bytes());
    let answer = connection.answer();
    assert_eq!((answer.status, answer.headers["connection"].as_str()), (413, "close"));
    assert!(connection.next().is_none());
}

#[test]
fn heads_are_asked_for_without_bodies() {
    let server = Server::start(&["linear_regression"], &[]);
    let text = all(&server, b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\nHEAD /nowhere HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(text.matches("content-length: ").count(), 2, "{text}");
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n") && text.contains("content-length: 2\r\n"), "{text}");
    assert!(text.ends_with("\r\n\r\n") && !text.contains("\r\n\r\nok") && !text.contains("error"), "{text}");
    let text = all(&server, b"HEAD /healthz HTTP/1.1\r\nHost: x\r\nExpect: foo\r\n\r\n");
    assert!(
        text.starts_with("HTTP/1.1 417") && text.contains("x-request-id: ") && text.ends_with("\r\n\r\n"),
        "{text}"
    );
}

#[test]
fn http_1_0_ends_with_its_answer_unless_it_says_otherwise() {
    let server = Server::start(&["linear_regression"], &[]);
    let get = |fields: &str| format!("GET /healthz HTTP/1.0\r\n{fields}\r\n");
    let text = all(&server, format!("{0}{0}", get("")).as_bytes());
    assert!(text.matches("HTTP/1.1 200").count() == 1 && text.contains("connection: close"), "{text}");
    let text = all(&server, format!("{}{}", get("Connection: keep-alive\r\n"), get("")).as_bytes());
    assert!(text.matches("HTTP/1.1 200").count() == 2 && text.contains("connection: keep-alive"), "{text}");
    let infer = format!("POST {PATH} HTTP/1.0\r\nContent-Length: {}\r\n\r\n{BODY}", BODY.len());
    assert_eq!(statuses(&server, infer.as_bytes()), [200]);
    let close = format!("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n{}", get(""));
    assert_eq!(statuses(&server, close.as_bytes()), [200]);
}

#[test]
fn clients_that_go_away_in_a_body_leave_nothing_behind() {
    let server = Server::start(&["linear_regression"], &[]);
    let request = post(PATH, BODY);
    for cut in [10, request.len() - BODY.len(), request.len() - 10] {
        for _ in 0..20 {
            let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
            stream.write_all(&[&request[..], &request[..cut]].concat()).unwrap();
            std::thread::sleep(Duration::from_millis(2));
            // The answer to the first isn't read, which makes a reset of the end.
            drop(stream);
        }
    }
    crate::folder::until("the end of all requests", || {
        server.get("/metrics").text().contains("\ncorten_active_requests 1\n")
    });
    assert_eq!(server.post(PATH, BODY).status, 200);
}

#[test]
fn slow_heads_are_told_and_idle_connections_just_end() {
    let server = Server::start(&["linear_regression"], &["--head-timeout", "2", "--idle-timeout", "2"]);
    let (mut idle, mut slow) = (server.connect(), server.connect());
    slow.send(b"GET /healthz HTTP/1.1\r\nHo");
    let start = Instant::now();
    let mut busy = server.connect();
    // The time counts from the last answer.
    while start.elapsed() < Duration::from_millis(3000) {
        busy.send(&post(PATH, BODY));
        assert_eq!(busy.answer().status, 200);
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(slow.answer().error(408).contains("head"));
    assert!(idle.next().is_none() && slow.next().is_none());
    assert!(start.elapsed() < Duration::from_secs(15));
    busy.send(&post(PATH, BODY));
    assert_eq!(busy.answer().status, 200);
}

#[test]
fn long_answers_count_as_answers_and_an_empty_line_as_nothing() {
    let server = Server::start(&["linear_regression"], &["--head-timeout", "2", "--idle-timeout", "2"]);
    let rows = 6000;
    let data = "0.1,0.7,".repeat(rows);
    let tensor =
        format!(r#""name":"input","shape":[{rows},2],"datatype":"FP64","data":[{}]"#, data.trim_end_matches(','));
    let long = post(PATH, &format!(r#"{{"inputs":[{{{tensor}}}]}}"#));
    let mut connection = server.connect();
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(4000) {
        connection.send(&long);
        let answer = connection.answer();
        assert!(answer.status == 200 && answer.body.len() > 1 << 16, "{}", answer.body.len());
        std::thread::sleep(Duration::from_millis(300));
    }
    connection.send(&[&post(PATH, BODY)[..], b"\r\n\r\n"].concat());
    assert_eq!(connection.answer().status, 200);
    assert!(connection.next().is_none(), "an idle connection just ends");
    assert!(!server.get("/metrics").text().contains("reason=\"slow\""), "nothing was slow");
}

#[test]
fn connections_beyond_the_limit_neither_stay_nor_count() {
    let server = Server::start(&["linear_regression"], &["--max-connections", "1"]);
    let mut first = server.alone();
    first.send(&post(PATH, BODY));
    assert_eq!(first.answer().status, 200);
    let mut silent: Vec<TcpStream> =
        (0..20).map(|_| TcpStream::connect(("127.0.0.1", server.port)).expect("a connection")).collect();
    // They are accepted in turn.
    assert_eq!(server.get("/healthz").status, 503);
    drop(first);
    crate::folder::until("room for another", || server.get("/healthz").status == 200);
    for stream in &mut silent {
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
        assert!(matches!(stream.read(&mut [0; 10]), Ok(0) | Err(_)));
    }
}

#[test]
fn a_client_that_does_not_read_is_let_go() {
    let server = Server::start(&["linear_regression"], &["--body-timeout", "1"]);
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(20))).unwrap();
    let requests = post(PATH, BODY).repeat(1000);
    // Without a reader, the answers fill what lies between, and the server takes no more.
    let start = Instant::now();
    while stream.write_all(&requests).is_ok() {
        assert!(start.elapsed() < Duration::from_secs(20), "the server goes on");
    }
    assert_eq!(server.post(PATH, BODY).status, 200);
}

#[test]
fn a_model_that_goes_away_answers_no_more() {
    let server = Server::start(&["linear_regression", "ridge"], &["--admin", "--watch", "0"]);
    let mut connection = server.connect();
    let path = "/v2/repository/models/linear_regression";
    for _ in 0..3 {
        connection.send(&post(PATH, BODY));
        assert_eq!(connection.answer().status, 200);
        connection.send(&post(&format!("{path}/unload"), "{}"));
        assert_eq!(connection.answer().status, 200);
        connection.send(&post(PATH, BODY));
        assert_eq!(connection.answer().status, 503);
        connection.send(&post(&format!("{path}/load"), "{}"));
        assert_eq!(connection.answer().status, 200);
    }
}

#[test]
fn idle_connections_hold_no_buffers() {
    let server = Server::start(&["linear_regression"], &[]);
    let resident = || {
        let text = server.get("/metrics").text();
        let line = text.lines().find_map(|l| l.strip_prefix("process_resident_memory_bytes ")).expect("a size");
        line.parse::<u64>().expect("a number")
    };
    let mut held = Vec::new();
    // Memory that all share is there after some.
    let mut hold = |count: usize| {
        for _ in 0..count {
            let mut connection = server.connect();
            connection.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
            assert_eq!(connection.answer().status, 200);
            connection.send(&post(PATH, BODY));
            assert_eq!(connection.answer().status, 200);
            held.push(connection);
        }
    };
    hold(20);
    let before = resident();
    hold(400);
    let each = resident().saturating_sub(before) / 400;
    assert!(each < 8 << 10, "{each} bytes a connection");
}
