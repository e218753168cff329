//! The daemon on a Unix socket: the executor's bits, limits, and an end that loses nothing. And the bench.
#![cfg(unix)]

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../fixtures/models/1/{name}.corten"))
}

fn case(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(golden(name).with_extension("json")).expect("a case")).expect("JSON")
}

/// A running daemon; killed at the end where it still runs.
struct Daemon {
    child: Child,
    socket: PathBuf,
}

impl Daemon {
    fn of(name: &str, arguments: &[&str]) -> Self {
        let thread = format!("{:?}", std::thread::current().id()).replace(['(', ')'], "");
        let socket = std::env::temp_dir().join(format!("corten-{}-{thread}.sock", std::process::id()));
        let mut child = run(name, &socket, arguments);
        let mut line = String::new();
        BufReader::new(child.stderr.as_mut().expect("standard error")).read_line(&mut line).expect("a line");
        assert!(line.starts_with("corten-run: listening on "), "{line}");
        Self { child, socket }
    }

    fn connect(&self) -> UnixStream {
        let stream = UnixStream::connect(&self.socket).expect("a connection");
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
        stream
    }

    fn signal(&self) {
        let done = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().expect("kill");
        assert!(done.success());
    }

    /// Whether it ends well within some seconds, and takes its socket away.
    fn ends(mut self) -> bool {
        let limit = Instant::now() + Duration::from_secs(10);
        while Instant::now() < limit {
            if let Some(status) = self.child.try_wait().expect("a state") {
                return status.success() && !self.socket.exists();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        false
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_file(&self.socket);
    }
}

fn run(name: &str, socket: &Path, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_corten-run"))
        .args([golden(name).as_os_str(), "--socket".as_ref(), socket.as_os_str()])
        .args(arguments)
        .stderr(Stdio::piped())
        .spawn()
        .expect("the runner")
}

fn frame(verb: u8, method: u8, rows: u32, body: &[u8]) -> Vec<u8> {
    let mut out = (8 + body.len() as u32).to_le_bytes().to_vec();
    out.extend_from_slice(&[verb, method, 0, 0]);
    out.extend_from_slice(&rows.to_le_bytes());
    out.extend_from_slice(body);
    out
}

/// Status, rows and body of the next answer.
fn answer(stream: &mut UnixStream) -> (u8, u32, Vec<u8>) {
    let mut word = [0; 4];
    stream.read_exact(&mut word).expect("a size");
    let mut frame = vec![0; u32::from_le_bytes(word) as usize];
    stream.read_exact(&mut frame).expect("a frame");
    let rows = u32::from_le_bytes(std::array::from_fn(|i| frame[4 + i]));
    (frame[0], rows, frame.split_off(8))
}

fn ask(stream: &mut UnixStream, request: &[u8]) -> (u8, u32, Vec<u8>) {
    stream.write_all(request).expect("a request");
    answer(stream)
}

/// The rows of a golden model as a request has them, and how many there are.
fn body(name: &str) -> (Vec<u8>, u32) {
    let case = case(name);
    let model = corten_model::Model::load(&golden(name)).expect("a model");
    let columns: Vec<&Value> = model.schema().inputs.iter().map(|i| &case["inputs"][&i.name]).collect();
    let rows = columns[0]["values"].as_array().expect("values").len();
    let (mut numbers, mut texts) = (Vec::new(), Vec::new());
    for row in 0..rows {
        for column in &columns {
            let value = column["values"][row].as_str();
            if column["kind"] == "number" {
                let x = value.map_or(f64::NAN, |v| v.parse().expect("a number"));
                numbers.extend_from_slice(&x.to_le_bytes());
            } else {
                texts.extend_from_slice(&value.map_or(u32::MAX, |v| v.len() as u32).to_le_bytes());
                texts.extend_from_slice(value.unwrap_or_default().as_bytes());
            }
        }
    }
    numbers.extend(texts);
    (numbers, rows as u32)
}

fn bits(body: &[u8]) -> Vec<u64> {
    body.chunks_exact(8).map(|c| u64::from_le_bytes(std::array::from_fn(|i| c[i]))).collect()
}

fn expected(name: &str, method: &str) -> Vec<u64> {
    let case = case(name);
    let rows = case["outputs"][method].as_array().expect("rows").clone();
    let number = |x: &Value| x.as_str().expect("text").parse::<f64>().expect("a number").to_bits();
    rows.iter().flat_map(|r| r.as_array().expect("a row")).map(number).collect()
}

#[test]
fn frames_are_answered_to_the_last_bit() {
    for name in ["logistic_two", "boosting_three", "forest"] {
        let daemon = Daemon::of(name, &[]);
        let mut stream = daemon.connect();
        let (rows, count) = body(name);
        let wanted = expected(name, "predict_proba");
        // Many at once, before any is read.
        let request = frame(1, 1, count, &rows);
        stream.write_all(&request.repeat(3)).expect("requests");
        for _ in 0..3 {
            let (status, answered, numbers) = answer(&mut stream);
            assert_eq!((status, answered), (0, count), "{}", String::from_utf8_lossy(&numbers));
            assert_eq!(bits(&numbers), wanted, "{name}");
        }
        // Byte by byte.
        for part in request.chunks(1000) {
            stream.write_all(part).expect("a part");
        }
        assert_eq!(bits(&answer(&mut stream).2), wanted);
        // More than a buffer holds at once: the model's description is asked for behind it.
        let large = [vec![b' '; 3 << 20], b"{}\n".to_vec()].concat();
        stream.write_all(&[frame(3, 0, 0, &large), frame(0, 0, 0, b"")].concat()).expect("requests");
        let (status, lines, text) = answer(&mut stream);
        assert!(status == 0 && lines == 1 && text.starts_with(b"{\"error\":"), "{status} {lines}");
        let described: Value = serde_json::from_slice(&answer(&mut stream).2).expect("JSON");
        assert_eq!(described["inputs"].as_array().map(Vec::len), case(name)["inputs"].as_object().map(|o| o.len()));
        let codes: Vec<_> = described["methods"].as_array().expect("methods").iter().map(|m| &m["code"]).collect();
        assert!(codes.contains(&&Value::from(1)), "{described}");
    }
}

#[test]
fn numbers_in_single_precision_and_lines_of_json_are_taken() {
    let daemon = Daemon::of("ridge", &[]);
    let mut stream = daemon.connect();
    let narrow: Vec<u8> = [1.5f32, 2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    let wide: Vec<u8> = [1.5f64, 2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    let number = bits(&ask(&mut stream, &frame(2, 0, 1, &narrow)).2);
    assert_eq!(bits(&ask(&mut stream, &frame(1, 0, 1, &wide)).2), number);
    let (status, lines, text) = ask(&mut stream, &frame(3, 0, 0, b"[1.5, 2.0]\n\n{\"count\": 2}\n"));
    let lines_of: Vec<Value> =
        String::from_utf8(text).expect("text").lines().map(|l| serde_json::from_str(l).expect("JSON")).collect();
    assert_eq!((status, lines, lines_of.len()), (0, 2, 2));
    assert_eq!(lines_of[0]["prediction"].as_f64().map(f64::to_bits), Some(number[0]));
    assert!(lines_of[1]["error"].as_str().is_some_and(|e| e.contains("width")));
    // A model without state says so.
    let (status, _, said) = ask(&mut stream, &frame(4, 0, 1, &wide));
    assert_eq!((status, &*said), (5, &b"This model has no state to update."[..]));
}

#[test]
fn a_wrong_request_is_answered_and_the_next_one_too() {
    let daemon = Daemon::of("logistic_two", &[]);
    let mut stream = daemon.connect();
    let (rows, count) = body("logistic_two");
    let right = frame(1, 1, count, &rows);
    let mut reserved = right.clone();
    reserved[6] = 1;
    let text = [1u32.to_le_bytes().as_slice(), b"\xff"].concat();
    let numbers = rows.len() - rows.len() % 8;
    for (request, status, wanted) in [
        (frame(9, 0, 0, b""), 1, "verb"),
        (frame(1, 77, 0, b""), 1, "method"),
        (frame(1, 3, count, &rows), 5, "transform"),
        (frame(1, 1, count + 1, &rows), 6, "fit"),
        (frame(1, 1, u32::MAX, &rows), 6, "fit"),
        (frame(1, 1, count - 1, &rows), 6, "."),
        (frame(1, 1, count, &[&rows[..], b"x"].concat()), 6, "follow"),
        (frame(1, 1, 1, &[&rows[..numbers.min(24)], &text].concat()), 6, "."),
        (reserved, 6, "must be 0"),
    ] {
        let (code, _, said) = ask(&mut stream, &request);
        let said = String::from_utf8(said).expect("a sentence");
        assert!(code == status && (wanted == "." || said.contains(wanted)), "{code} for {status}: {said}");
        assert_eq!(bits(&ask(&mut stream, &right).2), expected("logistic_two", "predict_proba"));
    }
}

#[test]
fn an_answer_longer_than_a_frame_may_be_is_refused() {
    let daemon = Daemon::of("ridge", &[]);
    let mut stream = daemon.connect();
    // Each row of three bytes is answered by about ninety.
    let (status, _, text) = ask(&mut stream, &frame(3, 0, 0, b"{}\n"));
    assert_eq!(status, 0);
    let fits = ((16 << 20) - 8) / text.len();
    let whole = frame(3, 0, 0, &b"{}\n".repeat(fits));
    let over = frame(3, 0, 0, &b"{}\n".repeat(fits + 1));
    let far = frame(3, 0, 0, &b"{}\n".repeat(4 * fits));
    let body = |stream: &mut UnixStream| {
        let (status, rows, body) = answer(stream);
        (status, rows as usize, body)
    };
    let said = |rows| format!("an answer of {rows} rows is longer than 16777216 bytes").into_bytes();
    for _ in 0..2 {
        // Sent together: what is answered in front takes nothing from the room behind it.
        let mut sender = stream.try_clone().expect("the connection");
        let requests = [&whole[..], &over, &whole, &far].concat();
        let sent = std::thread::spawn(move || sender.write_all(&requests));
        for rows in [fits, fits + 1, fits, 4 * fits] {
            let (status, answered, lines) = body(&mut stream);
            if rows == fits {
                assert_eq!((status, answered, lines.len()), (0, fits, fits * text.len()));
            } else {
                assert_eq!((status, answered), (7, 0));
                assert_eq!(lines, said(rows), "{}", String::from_utf8_lossy(&lines[..lines.len().min(200)]));
            }
        }
        sent.join().expect("a thread").expect("requests");
    }
}

#[test]
fn a_frame_of_an_impossible_size_ends_its_connection_only() {
    let daemon = Daemon::of("ridge", &["--connections", "2"]);
    let mut other = daemon.connect();
    let described = ask(&mut other, &frame(0, 0, 0, b""));
    for (size, wanted) in [((16u32 << 20) + 1, "at most"), (u32::MAX, "at most"), (3, "head")] {
        let mut stream = daemon.connect();
        let (status, _, said) = ask(&mut stream, &[&size.to_le_bytes()[..], b"abcdefgh"].concat());
        assert!(status > 0 && String::from_utf8_lossy(&said).contains(wanted), "{}", String::from_utf8_lossy(&said));
        assert_eq!(stream.read(&mut [0; 1]).expect("the end"), 0);
    }
    assert_eq!(ask(&mut other, &frame(0, 0, 0, b"")), described);
    // One connection too many is told so. The last one of the loop may take a moment to be counted out.
    let limit = Instant::now() + Duration::from_secs(5);
    let mut second = loop {
        let mut second = daemon.connect();
        if second.write_all(&frame(0, 0, 0, b"")).is_ok() && answer(&mut second).0 == 0 {
            break second;
        }
        assert!(Instant::now() < limit, "a connection that ended is still counted");
    };
    let (status, _, said) = answer(&mut daemon.connect());
    assert_eq!((status, &*said), (7, &b"2 connections are open already"[..]));
    assert_eq!(ask(&mut second, &frame(0, 0, 0, b"")), described);
}

#[test]
fn a_signal_ends_it_after_what_was_asked() {
    let daemon = Daemon::of("forest", &[]);
    let (rows, count) = body("forest");
    let mut streams: Vec<UnixStream> = (0..4).map(|_| daemon.connect()).collect();
    // Each is known to be served before the signal.
    streams.iter_mut().for_each(|s| assert_eq!(ask(s, &frame(0, 0, 0, b"")).0, 0));
    let wanted = expected("forest", "predict_proba");
    streams.iter_mut().for_each(|s| s.write_all(&frame(1, 1, count, &rows).repeat(20)).expect("requests"));
    daemon.signal();
    for stream in &mut streams {
        for _ in 0..20 {
            assert_eq!(bits(&answer(stream).2), wanted);
        }
        assert_eq!(stream.read(&mut [0; 1]).expect("the end"), 0);
    }
    assert!(daemon.ends(), "it ends with exit code 0, and its socket goes");
}

#[test]
fn a_socket_in_use_is_refused_and_one_left_behind_replaced() {
    use std::os::unix::fs::PermissionsExt;
    let mut daemon = Daemon::of("ridge", &[]);
    let mode = std::fs::metadata(&daemon.socket).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o077, 0, "other users can't connect");
    let second = run("ridge", &daemon.socket, &[]).wait_with_output().expect("an end");
    let said = String::from_utf8_lossy(&second.stderr);
    assert!(!second.status.success() && said.contains("another process listens there"), "{said}");
    daemon.child.kill().expect("killed");
    daemon.child.wait().expect("an end");
    assert!(daemon.socket.exists());
    let again = Daemon::of("ridge", &[]);
    assert_eq!(ask(&mut again.connect(), &frame(0, 0, 0, b"")).0, 0);
    // What is no socket is never taken away.
    let file = daemon.socket.with_extension("file");
    std::fs::write(&file, b"kept").expect("a file");
    let refused = run("ridge", &file, &[]).wait_with_output().expect("an end");
    assert!(!refused.status.success() && std::fs::read(&file).expect("a file") == b"kept");
    std::fs::remove_file(file).expect("a file");
}

#[test]
fn state_is_one_for_all_connections() {
    let daemon = Daemon::of("running_moments", &[]);
    let row = |width: f64| [&width.to_le_bytes()[..], &0f64.to_le_bytes(), &3u32.to_le_bytes(), b"new"].concat();
    let counts: Vec<f64> = [1.0, 3.0]
        .iter()
        .map(|&x| {
            let (status, rows, numbers) = ask(&mut daemon.connect(), &frame(4, 0, 1, &row(x)));
            assert_eq!((status, rows), (0, 1), "{}", String::from_utf8_lossy(&numbers));
            f64::from_bits(bits(&numbers)[0])
        })
        .collect();
    assert_eq!(counts, [1.0, 2.0]);
}

fn bench(name: &str, arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_corten-run"))
        .arg(golden(name))
        .args(["--bench", "--seconds", "0.1"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the runner");
    child.stdin.take().expect("standard input").write_all(input).expect("rows");
    child.wait_with_output().expect("an end")
}

#[test]
fn the_bench_prints_quantiles_in_order() {
    for (arguments, input, lines) in [
        (&[][..], &b"{\"width\": 1, \"count\": 2}\n{\"width\": 2, \"count\": 2}\n"[..], 2),
        (&["--csv"], b"width,count\n1,2\n3,1\n", 1),
    ] {
        let done = bench("ridge", arguments, input);
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let quantiles: Vec<&str> = text.lines().filter(|l| l.starts_with("p50 ")).collect();
        assert_eq!(quantiles.len(), lines, "{text}");
        for line in quantiles {
            let words: Vec<&str> = line.split_whitespace().collect();
            assert_eq!([words[0], words[2], words[4], words[6], words[8]], ["p50", "p90", "p99", "p99.9", "max"]);
            let numbers: Vec<f64> = (0..5).map(|i| words[2 * i + 1].parse().expect("a number")).collect();
            assert!(numbers.is_sorted() && numbers[4] > 0.0, "{line}");
        }
        assert!(text.contains('#'), "{text}");
    }
    for (name, input, wanted) in [
        ("ridge", &b""[..], "needs rows"),
        ("ridge", b"{\"width\": 1}\n", "line 1: "),
        ("running_moments", b"", "state"),
    ] {
        let done = bench(name, &[], input);
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(!done.status.success() && said.contains(wanted) && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn options_that_do_not_go_together_are_told() {
    for (arguments, wanted) in [
        (&["--socket"][..], "needs a value"),
        (&["--connections", "0", "--socket", "x"], "1 to 4096"),
        (&["--connections", "3"], "goes with --socket"),
        (&["--seconds", "nan", "--bench"], "at most 3600"),
        (&["--bench", "--info"], "don't go together"),
        (&["--csv", "--info"], "standard input"),
    ] {
        let done = Command::new(env!("CARGO_BIN_EXE_corten-run"))
            .arg(golden("ridge"))
            .args(arguments)
            .output()
            .expect("the runner");
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.code() == Some(2) && said.contains(wanted), "{arguments:?}: {said}");
    }
}
