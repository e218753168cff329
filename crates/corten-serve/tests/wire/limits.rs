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
    let mut first = server.alone();
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
    assert!(head.answer().error(408).contains("1 s"));
}

#[test]
fn bodies_that_trickle_in_are_let_go_and_slow_ones_are_not() {
    let (server, patient) = (Server::start(&["ridge"], &[]), Server::start(&["ridge"], &["--min-body-rate", "0"]));
    let bytes = post("/predict", &format!("{}{ROW}", " ".repeat(40_000)));
    let [mut trickling, mut slow] = [server.connect(), server.connect()];
    let mut waited_for = patient.connect();
    let (few, many) = (600, 30_000);
    trickling.send(&bytes[..few]);
    waited_for.send(&bytes[..few]);
    slow.send(&bytes[..many]);
    for at in 0..16 {
        trickling.send(&bytes[few + at..][..1]);
        std::thread::sleep(std::time::Duration::from_millis(250));
    }
    assert!(trickling.answer().error(408).contains("less than 1024 bytes a second"));
    // By now the others have taken longer than a body may before its pace counts.
    std::thread::sleep(std::time::Duration::from_millis(500));
    slow.send(&bytes[many..]);
    waited_for.send(&bytes[few..]);
    assert_eq!((slow.answer().status, waited_for.answer().status), (200, 200));
    assert!(server.get("/metrics").text().contains("corten_refused_total{reason=\"slow\"} 1\n"));
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
    // A key hears of the models that it is for, and of no others.
    let hears = |name: &str, method: &str, path: &str| {
        let mut connection = server.connect();
        connection.send(format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{}\r\n", key(name)).as_bytes());
        let answer = connection.answer();
        assert_eq!(answer.status, 200, "{path}: {}", answer.text());
        ["ridge", "forest"].map(|model| answer.text().contains(model))
    };
    for (method, path) in
        [("GET", "/v2/models"), ("GET", "/v2/models/stats"), ("GET", "/openapi.json"), ("POST", "/v2/repository/index")]
    {
        assert_eq!(hears("one", method, path), [true, false], "{path}");
        assert_eq!(hears("all", method, path), [true, true], "{path}");
    }
    // The file is read again at a signal; one that can't be used changes nothing.
    let status = |name: &str| with(&server, "/predict/ridge", &key(name)).status;
    for (text, allowed, refused) in [
        (format!("{} infer\n", hash("new")), "new", "one"),
        ("abc infer\n".into(), "new", "all"),
        (String::new(), "new", "other"),
        (format!("{} infer\n", hash("one")), "one", "new"),
    ] {
        std::fs::write(&file, text).unwrap();
        server.signal("-HUP");
        crate::folder::until("the keys", || status(allowed) == 200);
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert_eq!((status(allowed), status(refused)), (200, 401), "{allowed}");
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

#[test]
fn what_a_body_may_hold_is_bounded_and_the_number_named() {
    let server = Server::start(&["ridge", "forest"], &["--max-body", "3000000", "--max-rows", "2"]);
    let path = |verb: &str| format!("/v2/models/ridge/{verb}");
    let tensor = |name: &str, shape: &str, data: &str| {
        format!("{{\"name\":\"{name}\",\"datatype\":\"FP64\",\"shape\":{shape},\"data\":{data}}}")
    };
    let rows = |count: usize| format!("{{\"rows\":[{}]}}", vec!["{\"width\":1,\"count\":2}"; count].join(","));
    let one = |name: &str| tensor(name, "[1]", "[1]");
    let inputs = |inputs: &[String]| format!("{{\"inputs\":[{}]}}", inputs.join(","));
    let pair = [one("width"), one("count")];
    let long = "x".repeat((1 << 20) + 1);
    let outputs = vec!["{\"name\":\"predict\"}"; 257].join(",");
    let good = inputs(&pair);
    let three = [tensor("width", "[3]", "[1,2,3]"), tensor("count", "[3]", "[1,2,3]")];
    let deep = tensor("width", "[1]", &format!("{}1{}", "[".repeat(9), "]".repeat(9)));
    for (path, body, status, number) in [
        ("/predict".to_owned(), rows(3), 413, "2 rows"),
        (path("infer"), inputs(&three), 413, "2 rows"),
        (path("infer"), inputs(&vec![one("width"); 257]), 413, "256 inputs"),
        (path("infer"), good.replace("]}]}", &format!("]}}],\"outputs\":[{outputs}]}}")), 413, "256 outputs"),
        (path("infer"), inputs(&[deep, one("count")]), 400, "8"),
        ("/predict".to_owned(), format!("{{\"rows\":[{{\"city\":\"{long}\"}}]}}"), 413, "1048576 bytes"),
        ("/predict".to_owned(), format!("{{\"more\":{}{}}}", "[".repeat(40), "]".repeat(40)), 400, "32"),
    ] {
        let answer = server.post(&path, &body);
        let told = answer.error(status);
        assert!(told.contains(number), "{path}: {told}");
    }
    // Up to the limit all is well.
    assert_eq!(server.post("/predict", &rows(2)).status, 200);
    assert_eq!(server.post(&path("infer"), &good).status, 200);
}

#[test]
fn what_a_head_may_hold_is_bounded_and_the_number_named() {
    let server = Server::start(&["ridge"], &[]);
    let ask = |fields: &str| {
        let mut connection = server.connect();
        connection.send(format!("GET /healthz HTTP/1.1\r\nHost: x\r\n{fields}\r\n").as_bytes());
        connection.answer()
    };
    let many = |count: usize| "a: b\r\n".repeat(count);
    let long = |length: usize| format!("a: {}\r\n", "b".repeat(length));
    assert!(ask(&many(64)).error(431).contains("64 fields"));
    assert!(ask(&long(16 << 10)).error(431).contains("16384 bytes"));
    assert_eq!((ask(&many(63)).status, ask(&long(16_000)).status), (200, 200));
}

#[test]
fn what_a_folder_may_hold_is_bounded_and_the_number_named() {
    let folder = crate::folder::Folder::new("limits");
    let start = |arguments: &[&str]| {
        let done = Command::new(env!("CARGO_BIN_EXE_corten-serve")).args(arguments).output().unwrap();
        let text = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.code() != Some(0) && text.lines().count() == 1, "{text}");
        text
    };
    let model = crate::server::golden("ridge");
    let named = format!("{}={}", "n".repeat(257), model.display());
    assert!(start(&[&named]).contains("1 to 256 bytes"));
    let keys = folder.path().join("keys");
    std::fs::write(&keys, vec![b'#'; (1 << 20) + 1]).unwrap();
    assert!(start(&["m.corten", "--keys", keys.to_str().unwrap()]).contains("1048576 bytes"));
    for at in 0..=10_000 {
        std::fs::write(folder.path().join(format!("{at}.corten")), b"").unwrap();
    }
    assert!(start(&[folder.path().to_str().unwrap()]).contains("more than 10000 models"));
}
