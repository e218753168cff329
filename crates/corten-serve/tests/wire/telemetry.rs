//! What the server tells about itself: metrics, its log, and traces.

use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;

use crate::server::{Server, golden, post};
use crate::stub::stub;

const ROW: &str = "{\"rows\": [{\"width\": 1, \"count\": 2}]}";
/// The example of the W3C recommendation.
const PARENT: &str = "traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n";

fn with(server: &Server, path: &str, headers: &str) -> crate::server::Answer {
    let mut connection = server.connect();
    let length = ROW.len();
    connection
        .send(format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{headers}\r\n{ROW}").as_bytes());
    connection.answer()
}

/// The value of one line of metrics.
fn value(text: &str, line: &str) -> f64 {
    let found = text.lines().find_map(|l| l.strip_prefix(line)).unwrap_or_else(|| panic!("{line} isn't in {text}"));
    found.trim().parse().expect("a number")
}

#[test]
fn one_request_of_eight_is_measured_whichever_way_it_goes() {
    let server = Server::start(&["linear_regression"], &[]);
    let quick = r#"{"inputs":[{"name":"input","shape":[1,2],"datatype":"FP64","data":[1,2]}]}"#;
    let other = quick.replacen('{', "{\"parameters\":{},", 1);
    let mut connection = server.connect();
    for (body, wanted) in [(quick, 2.0), (&other, 4.0)] {
        for _ in 0..16 {
            connection.send(&post("/v2/models/linear_regression/infer", body));
            assert_eq!(connection.answer().status, 200);
        }
        let text = server.get("/metrics").text();
        for stage in ["queue", "decode", "run", "encode"] {
            let labels = format!("{{model=\"linear_regression\",stage=\"{stage}\"}}");
            assert_eq!(value(&text, &format!("corten_stage_seconds_count{labels}")), wanted, "{stage}");
        }
        assert_eq!(value(&text, "corten_scoring_seconds_count{model=\"linear_regression\"}"), 8.0 * wanted);
    }
}

#[test]
fn histograms_count_every_request_and_stages_one_of_eight() {
    let server = Server::start(&["ridge"], &[]);
    let mut connection = server.connect();
    let two = "{\"rows\": [{\"width\": 1, \"count\": 2}, {\"width\": 1, \"count\": 2}]}";
    for at in 0..16 {
        connection.send(&post("/predict", if at % 2 == 0 { ROW } else { two }));
        assert_eq!(connection.answer().status, 200);
    }
    for (body, status) in [("{}", 400), ("{\"rows\": [{}]}", 400), ("{\"rows\": [{\"width\": \"a\"}]}", 400)] {
        assert_eq!(server.post("/predict", body).status, status);
    }
    let text = server.get("/metrics").text();
    assert_eq!(value(&text, "corten_scoring_seconds_count{model=\"ridge\"}"), 16.0);
    assert_eq!(value(&text, "corten_scoring_seconds_bucket{model=\"ridge\",le=\"+Inf\"}"), 16.0);
    assert!(value(&text, "corten_scoring_seconds_sum{model=\"ridge\"}") > 0.0);
    for (bound, count) in [("1", 8.0), ("2", 16.0), ("+Inf", 16.0)] {
        assert_eq!(value(&text, &format!("corten_batch_rows_bucket{{model=\"ridge\",le=\"{bound}\"}}")), count);
    }
    assert_eq!(value(&text, "corten_batch_rows_sum{model=\"ridge\"}"), 24.0);
    for stage in ["queue", "decode", "run", "encode"] {
        let labels = format!("{{model=\"ridge\",stage=\"{stage}\"}}");
        assert_eq!(value(&text, &format!("corten_stage_seconds_count{labels}")), 3.0, "{stage}");
    }
    let spent = value(&text, "corten_stage_seconds_sum{model=\"ridge\",stage=\"run\"}");
    assert!(spent > 0.0 && spent < 1.0);
    let errors = text.lines().filter(|l| l.starts_with("corten_errors_total{model=\"ridge\""));
    let count: f64 = errors.filter_map(|l| l.rsplit(' ').next()?.parse::<f64>().ok()).sum();
    assert_eq!(count, 3.0, "{text}");
    assert_eq!(value(&text, "corten_model_info{model=\"ridge\",version=\"1\"}"), 1.0);
    assert!(value(&text, "process_resident_memory_bytes") > 1e6 && value(&text, "process_open_fds") > 3.0);
    // Buckets never fall, and every series says what it is.
    let mut last = ("", 0.0);
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap_or_default();
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        assert!([name, family].iter().any(|n| text.contains(&format!("# TYPE {n} "))), "{name}");
        if let Some((series, count)) = line.rsplit_once(' ').filter(|_| name.ends_with("_bucket")) {
            let (series, count) = (series.split("le=").next().unwrap_or_default(), count.parse().expect("a count"));
            assert!(series != last.0 || count >= last.1, "{line}");
            last = (series, count);
        }
    }
}

#[test]
fn the_log_is_json_and_never_has_values() {
    let file = std::env::temp_dir().join(format!("corten-serve-{}-log", std::process::id()));
    let out = std::fs::File::create(&file).unwrap();
    let mut server = Server::telling(&[&golden("ridge")], &["--log"], Stdio::from(out));
    let secret = "{\"rows\": [{\"width\": 123.456, \"count\": 2}]}";
    assert_eq!(server.post("/predict", secret).status, 200);
    assert_eq!(with(&server, "/predict/nobody", "x-request-id: abc\r\n").status, 404);
    server.terminate();
    server.wait();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let lines: Vec<Value> = text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
    assert_eq!(lines.len(), 2, "{text}");
    let (good, bad) = (&lines[0], &lines[1]);
    assert!(good["model"] == "ridge" && good["version"] == 1 && good["rows"] == 1 && good["status"] == 200, "{good}");
    assert!(good["time"].as_f64() > Some(1.7e9) && good["ms"].as_f64() > Some(0.0), "{good}");
    assert!(bad["id"] == "abc" && bad["path"] == "/predict/nobody" && bad["status"] == 404, "{bad}");
    assert!(bad.get("model").is_none() && !text.contains("123.456"));
}

/// A collector that takes each message with this status and tells what came.
fn collector(status: &'static str) -> (u16, Receiver<(String, Value)>) {
    let (send, receive) = channel();
    let send = Mutex::new(send);
    let port = stub(move |came| {
        let body = serde_json::from_slice(&came.body).expect("JSON");
        send.lock().expect("a sender").send((came.head, body)).expect("a test that waits");
        (status.into(), b"{}".to_vec())
    });
    (port, receive)
}

#[test]
fn a_sampled_request_becomes_spans_at_the_collector() {
    let (port, taken) = collector("200 OK");
    let mut server = Server::start(&["ridge"], &["--otlp", &format!("http://127.0.0.1:{port}")]);
    assert!(!with(&server, "/predict", "").headers.contains_key("traceparent"));
    let unsampled = PARENT.replace("-01\r\n", "-00\r\n");
    assert!(!with(&server, "/predict", &unsampled).headers.contains_key("traceparent"));
    let answer = with(&server, "/predict", &format!("{PARENT}x-request-id: abc\r\n"));
    let told = &answer.headers["traceparent"];
    assert!(told.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && told.ends_with("-01"), "{told}");
    let (head, body) = taken.recv_timeout(Duration::from_secs(20)).expect("a message");
    assert!(head.starts_with("post /v1/traces ") && head.contains("content-type: application/json"), "{head}");
    let resource = &body["resourceSpans"][0];
    assert_eq!(resource["resource"]["attributes"][0]["value"]["stringValue"], "corten-serve");
    let spans = resource["scopeSpans"][0]["spans"].as_array().unwrap();
    let names: Vec<_> = spans.iter().map(|s| s["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["POST /predict", "queue", "decode", "run", "encode"]);
    let (root, time) = (&spans[0], |v: &Value| v.as_str().unwrap().parse::<u64>().unwrap());
    assert_eq!(root["parentSpanId"], "b7ad6b7169203331");
    assert!(told.contains(root["spanId"].as_str().unwrap()) && root["kind"] == 2);
    for span in spans {
        assert_eq!(span["traceId"], "0af7651916cd43dd8448eb211c80319c");
        let (start, end) = (time(&span["startTimeUnixNano"]), time(&span["endTimeUnixNano"]));
        assert!(start <= end && start > 1_700_000_000_000_000_000);
        assert!(end <= time(&root["endTimeUnixNano"]));
    }
    assert!(spans[1..].iter().all(|s| s["parentSpanId"] == root["spanId"]));
    let attributes = root["attributes"].to_string();
    for wanted in ["http.route", "\"/predict\"", "corten.model", "\"ridge\"", "\"abc\"", "corten.rows"] {
        assert!(attributes.contains(wanted), "{attributes}");
    }
    crate::folder::until("the count", || {
        value(&server.get("/metrics").text(), "corten_spans_total{result=\"sent\"}") >= 1.0
    });
    // What waits is sent before the end.
    assert_eq!(with(&server, "/predict", PARENT).status, 200);
    server.terminate();
    assert!(server.wait().success());
    assert!(taken.try_recv().is_ok());
}

#[test]
fn a_collector_that_does_not_take_spans_costs_no_answer() {
    let (port, taken) = collector("503 Service Unavailable");
    let url = format!("http://127.0.0.1:{port}/other/path");
    let server = Server::start(&["ridge"], &["--otlp", &url, "--trace-share", "1"]);
    for _ in 0..10 {
        let answer = with(&server, "/predict", "");
        assert!(answer.status == 200 && answer.headers.contains_key("traceparent"));
    }
    assert!(taken.recv_timeout(Duration::from_secs(20)).unwrap().0.starts_with("post /other/path "));
    crate::folder::until("the count", || {
        value(&server.get("/metrics").text(), "corten_spans_total{result=\"failed\"}") >= 10.0
    });
    for (arguments, wanted) in [
        (&["--otlp", "https://a:1"][..], "http://HOST:PORT"),
        (&["--otlp", "http://a", "--trace-share", "2"], "trace-share"),
        (&["--trace-share", "1"], "--otlp"),
    ] {
        let done = Command::new(env!("CARGO_BIN_EXE_corten-serve")).arg("m.corten").args(arguments).output().unwrap();
        let error = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(done.status.code() == Some(2) && error.contains(wanted) && error.lines().count() == 1, "{error}");
    }
}

#[test]
fn a_log_that_cannot_be_written_costs_no_answer() {
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
    let server = Server::telling(&[&golden("ridge")], &["--log"], full.into());
    for _ in 0..4 {
        assert_eq!(server.get("/healthz").text(), "ok");
    }
}
