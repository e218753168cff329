//! Start and stop.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::server::{Server, golden, post};

fn refused(arguments: &[&str]) -> (i32, String) {
    let done = Command::new(env!("CARGO_BIN_EXE_corten-serve")).args(arguments).output().expect("corten-serve runs");
    (done.status.code().unwrap_or(-1), String::from_utf8_lossy(&done.stderr).into_owned())
}

#[test]
fn a_request_in_flight_is_answered_before_the_server_stops() {
    let mut server = Server::start(&["ridge"], &[]);
    let mut idle = server.connect();
    idle.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!(idle.answer().status, 200);
    let mut busy = server.connect();
    let request = post("/predict", "{\"rows\": [{\"width\": 1, \"count\": 2}]}");
    busy.send(&request[..request.len() - 5]);
    std::thread::sleep(std::time::Duration::from_millis(100));
    server.terminate();
    std::thread::sleep(std::time::Duration::from_millis(100));
    busy.send(&request[request.len() - 5..]);
    let answer = busy.answer();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(idle.next().is_none());
    assert!(server.wait().success());
}

#[test]
fn an_idle_connection_is_listened_to_for_a_moment_before_the_server_stops() {
    let mut server = Server::start(&["ridge"], &[]);
    let request = post("/predict", "{\"rows\": [{\"width\": 1, \"count\": 2}]}");
    let mut connections = [(); 2].map(|()| server.connect());
    for connection in &mut connections {
        connection.send(&request);
        assert_eq!(connection.answer().status, 200);
    }
    server.terminate();
    std::thread::sleep(std::time::Duration::from_millis(150));
    // Its client can't know yet.
    connections[0].send(&request);
    let answer = connections[0].answer();
    assert_eq!((answer.status, answer.headers["connection"].as_str()), (200, "close"));
    assert!(connections[0].next().is_none() && connections[1].next().is_none());
    // Sooner than the longest that calls may take.
    assert!(server.wait().success());
}

#[test]
fn a_start_that_can_not_be_says_why() {
    let model = golden("ridge");
    let model = model.to_str().expect("a path");
    let server = Server::start(&["ridge"], &[]);
    let (code, text) = refused(&[model, "--port", &server.port.to_string()]);
    assert!(code == 1 && text.contains(&server.port.to_string()), "{code} {text}");
    let (code, text) = refused(&["nowhere.corten"]);
    assert!(code == 1 && text.contains("nowhere.corten"), "{code} {text}");
    let (code, text) = refused(&[&golden("ridge").with_extension("json").to_string_lossy()]);
    assert!(code == 1 && text.contains("Not a valid Corten model"), "{code} {text}");
    let (code, text) = refused(&[model, model]);
    assert!(code == 1 && text.contains("ridge"), "{code} {text}");
    for (arguments, wanted) in [
        (&[][..], "model is needed"),
        (&[model, "--port", "x"], "--port"),
        (&[model, "--port", "70000"], "from 0 to 65535; '70000'"),
        (&[model, "--grpc-port", "-1"], "--grpc-port must be a number from 0 to 65535"),
        (&[model, "--max-body", "0"], "--max-body must be at least 1"),
        (&[model, "--max-rows", "0"], "--max-rows must be at least 1"),
        (&[model, "--max-active", "0"], "--max-active must be at least 1"),
        (&[model, "--cors", "example.com"], "'example.com'"),
        (&[model, "--cors", "https://example.com/"], "without a path"),
        (&[model, "--what"], "--what"),
        (&[model, "--host"], "--host"),
    ] {
        let (code, text) = refused(arguments);
        assert!(code == 2 && text.contains(wanted) && text.lines().count() == 1, "{arguments:?}: {code} {text}");
    }
}

#[test]
fn output_that_nobody_takes_is_one_sentence_or_none() {
    let run = |arguments: &[&str], input: &str, out: Stdio| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_corten-serve"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(out)
            .stderr(Stdio::piped())
            .spawn()
            .expect("corten-serve starts");
        child.stdin.take().expect("input").write_all(input.as_bytes()).expect("a key");
        let done = child.wait_with_output().expect("an end");
        (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    // The help reads no input: it may have ended before a word could be written.
    for (arguments, input) in [(["--help"], ""), (["--hash-key"], "key\n")] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
        let (code, text) = run(&arguments, input, full.into());
        assert!(
            code == Some(1) && text.starts_with("corten-serve: standard output: ") && text.lines().count() == 1,
            "{text}"
        );
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        assert_eq!(run(&arguments, input, writer.into()), (Some(1), String::new()));
    }
    let (code, text) = run(&["--hash-key"], " \n", Stdio::null());
    assert!(code == Some(1) && text.contains("a key is needed"), "{text}");
}

#[test]
fn a_service_manager_hears_when_the_server_is_ready_and_when_it_stops() {
    let folder = crate::folder::Folder::new("notify");
    let path = folder.path().join("socket");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).expect("a socket");
    socket.set_read_timeout(Some(std::time::Duration::from_secs(20))).expect("a limit");
    let mut child = Command::new(env!("CARGO_BIN_EXE_corten-serve"))
        .arg(golden("ridge"))
        .args(["--port", "0"])
        .env("NOTIFY_SOCKET", &path)
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("corten-serve starts");
    let hear = || {
        let mut bytes = [0; 100];
        let count = socket.recv(&mut bytes).expect("a word");
        String::from_utf8_lossy(&bytes[..count]).into_owned()
    };
    assert_eq!(hear(), "READY=1");
    // A word to read again is no word to stop.
    for word in ["-HUP", "-TERM"] {
        let done = Command::new("kill").args([word, &child.id().to_string()]).status().expect("kill");
        assert!(done.success());
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert_eq!(hear(), "STOPPING=1");
    assert!(child.wait().expect("a status").success());
}
