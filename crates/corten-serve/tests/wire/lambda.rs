//! AWS Lambda's runtime interface, played by a stand-in: events go in, answers come out.

use std::collections::VecDeque;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::folder::Folder;
use crate::server::{Server, golden};
use crate::stub::stub;

const TRACE: &str = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";

/// The runtime interface: events that wait, and what came back by path.
struct Runtime {
    port: u16,
    waiting: Arc<(Mutex<VecDeque<(String, i64)>>, Condvar)>,
    came: Receiver<(String, Value)>,
}

impl Runtime {
    fn start() -> Self {
        let waiting = Arc::new((Mutex::new(VecDeque::<(String, i64)>::new()), Condvar::new()));
        let (send, came) = channel();
        let (events, send) = (Arc::clone(&waiting), Mutex::new(send));
        let port = stub(move |came| {
            if came.line() == "get /2018-06-01/runtime/invocation/next" {
                let mut events = events.1.wait_while(events.0.lock().unwrap(), |e| e.is_empty()).unwrap();
                let (event, left) = events.pop_front().unwrap();
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
                let headers = format!(
                    "200 OK\r\nLambda-Runtime-Aws-Request-Id: id-1\r\nLambda-Runtime-Deadline-Ms: {}\r\n\
                     Lambda-Runtime-Trace-Id: {TRACE}\r\nContent-Type: application/json",
                    now + left
                );
                return (headers, event.into_bytes());
            }
            let body = serde_json::from_slice(&came.body).unwrap_or(Value::Null);
            let path = came.line().trim_start_matches("post /2018-06-01/runtime/").to_owned();
            send.lock().unwrap().send((path, body)).unwrap();
            ("202 Accepted".into(), b"{}".to_vec())
        });
        Self { port, waiting, came }
    }

    /// A server as Lambda starts it.
    fn server(&self, program: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Started {
        let child = Command::new(program)
            .args(arguments)
            .env("AWS_LAMBDA_RUNTIME_API", format!("127.0.0.1:{}", self.port))
            .envs(variables.iter().copied())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Started(child)
    }

    fn next(&self) -> (String, Value) {
        self.came.recv_timeout(Duration::from_secs(20)).expect("an answer")
    }

    fn raw(&self, event: &str, left: i64) -> (String, Value) {
        self.waiting.0.lock().unwrap().push_back((event.to_owned(), left));
        self.waiting.1.notify_one();
        self.next()
    }

    /// What comes back for an event.
    fn ask(&self, event: &Value) -> Value {
        let (path, body) = self.raw(&event.to_string(), 30_000);
        assert_eq!(path, "invocation/id-1/response", "{body}");
        body
    }

    fn fault(&self, event: &Value) -> String {
        let (path, body) = self.raw(&event.to_string(), 30_000);
        assert_eq!(path, "invocation/id-1/error", "{body}");
        assert!(body["errorType"].as_str().is_some_and(|t| t.starts_with("Corten.")), "{body}");
        body["errorMessage"].as_str().unwrap().to_owned()
    }
}

struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_corten-serve"))
}

fn rows() -> Value {
    json!({ "rows": [{ "width": 1, "count": 2 }, { "width": 3, "count": 4 }] })
}

/// An event of API Gateway's HTTP interface, in version 2 of its format.
fn http(method: &str, path: &str, body: &str) -> Value {
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": { "content-type": "application/json", "host": "a.example", "content-length": "999" },
        "requestContext": { "http": { "method": method, "path": path, "protocol": "HTTP/1.1" }, "stage": "$default" },
        "body": body,
        "isBase64Encoded": false,
    })
}

#[test]
fn plain_events_are_answered_as_the_server_answers() {
    let runtime = Runtime::start();
    let (ridge, forest) = (golden("ridge"), golden("forest"));
    let _started = runtime.server(program(), &["--lambda", ridge.to_str().unwrap(), forest.to_str().unwrap()], &[]);
    let server = Server::start(&["ridge", "forest"], &[]);
    let wanted = server.post("/predict", &rows().to_string()).json();
    assert_eq!(runtime.ask(&rows()), wanted);
    let mut named = rows();
    named["model"] = json!("ridge");
    assert_eq!(runtime.ask(&named), wanted);
    // What Python's json module writes of a missing number is taken here as there.
    let missing = r#"{"model": "forest", "rows": [{"width": NaN, "height": 1, "count": 2, "city": "NaN"}]}"#;
    let answer = server.post("/predict/forest", missing);
    assert_eq!((answer.status, runtime.raw(missing, 30_000).1), (200, answer.json()));
    named["model"] = json!("ridge@1");
    assert_eq!(runtime.ask(&named), wanted);
    let described = server.get("/v2/models/forest").json();
    let tensor = |input: &Value| {
        let data = if input["datatype"] == "BYTES" { json!(["a"]) } else { json!([1]) };
        json!({ "name": input["name"], "datatype": input["datatype"], "shape": [1], "data": data })
    };
    let inputs: Vec<Value> = described["inputs"].as_array().unwrap().iter().map(tensor).collect();
    let body = json!({ "inputs": inputs });
    let mut tensors = body.clone();
    tensors["model"] = json!("forest");
    let wanted = server.post("/v2/models/forest/infer", &body.to_string()).json();
    let given = runtime.ask(&tensors);
    assert_eq!(given, wanted, "{given}");
    for (event, wanted) in [
        (json!({ "rows": [{ "width": "a" }] }), "width"),
        (json!({ "model": "nobody/", "rows": [] }), "nobody/"),
        (json!({ "model": 7, "rows": [] }), "7"),
        (body, "'model'"),
        (json!({}), "'rows'"),
        (json!([1]), "'rows'"),
    ] {
        let told = runtime.fault(&event);
        assert!(told.contains(wanted), "{event}: {told}");
    }
    assert!(runtime.raw("{", 30_000).1["errorMessage"].as_str().unwrap().contains("no JSON"));
    // A deadline that has passed is one.
    let (path, late) = runtime.raw(&rows().to_string(), -5);
    assert!(path.ends_with("/error") && late["errorMessage"].as_str().unwrap().contains("timeout"), "{late}");
    // Not even those broke the loop.
    assert_eq!(runtime.ask(&named)["predictions"].as_array().unwrap().len(), 2);
}

#[test]
fn events_of_http_are_answered_in_their_form() {
    let runtime = Runtime::start();
    let ridge = golden("ridge");
    let _started = runtime.server(program(), &["--lambda", ridge.to_str().unwrap()], &[]);
    let server = Server::start(&["ridge"], &[]);
    let wanted = server.post("/predict", &rows().to_string());
    let answer = runtime.ask(&http("POST", "/predict", &rows().to_string()));
    assert_eq!((&answer["statusCode"], &answer["isBase64Encoded"]), (&json!(200), &json!(false)));
    assert_eq!(answer["body"].as_str().unwrap(), wanted.text());
    assert_eq!(answer["headers"]["content-type"], "application/json");
    assert_eq!(answer["headers"]["x-request-id"], "id-1");
    assert!(answer["headers"].get("content-length").is_none());
    // A named stage stands before the path; version 1 has other names.
    let mut staged = http("GET", "/prod/v2/health/ready", "");
    staged["requestContext"]["stage"] = json!("prod");
    assert_eq!(runtime.ask(&staged)["statusCode"], 200);
    let mut coded = json!({
        "httpMethod": "POST", "path": "/predict", "headers": { "Content-Type": "application/json" },
        "body": "eyJyb3dzIjogW3sid2lkdGgiOiAxLCAiY291bnQiOiAyfSwgeyJ3aWR0aCI6IDMsICJjb3VudCI6IDR9XX0=",
        "isBase64Encoded": true,
    });
    assert_eq!(runtime.ask(&coded)["body"].as_str().unwrap(), wanted.text());
    coded["body"] = json!("!");
    assert!(runtime.fault(&coded).contains("base64"));
    // Errors keep their status, and a body of bytes comes back in base64.
    let bad = runtime.ask(&http("POST", "/predict", "{}"));
    assert!(bad["statusCode"] == 400 && bad["body"].as_str().unwrap().contains("rows"), "{bad}");
    assert_eq!(runtime.ask(&http("GET", "/nowhere", ""))["statusCode"], 404);
    let inputs = json!({
        "inputs": [
            { "name": "width", "datatype": "FP64", "shape": [1], "data": [1] },
            { "name": "count", "datatype": "INT64", "shape": [1], "data": [2] },
        ],
        "parameters": { "binary_data_output": true },
    });
    let bytes = runtime.ask(&http("POST", "/v2/models/ridge/infer", &inputs.to_string()));
    let wanted = server.post("/v2/models/ridge/infer", &inputs.to_string());
    assert_eq!(bytes["headers"]["inference-header-content-length"], wanted.headers["inference-header-content-length"]);
    let utf8 = std::str::from_utf8(&wanted.body).is_ok();
    assert_eq!(bytes["isBase64Encoded"], !utf8);
    // Invocations are in the metrics as requests are.
    let metrics = runtime.ask(&http("GET", "/metrics", ""));
    assert!(metrics["body"].as_str().unwrap().contains("corten_rows_total{model=\"ridge\"} 5"), "{metrics}");
}

#[test]
fn several_invocations_at_once_have_a_loop_each() {
    let runtime = Runtime::start();
    let ridge = golden("ridge");
    let variables = [("AWS_LAMBDA_MAX_CONCURRENCY", "4")];
    let _started = runtime.server(program(), &["--lambda", ridge.to_str().unwrap()], &variables);
    for _ in 0..20 {
        runtime.waiting.0.lock().unwrap().push_back((rows().to_string(), 30_000));
    }
    runtime.waiting.1.notify_all();
    for _ in 0..20 {
        let (path, body) = runtime.next();
        assert!(path.ends_with("/response") && body["predictions"].as_array().is_some_and(|p| p.len() == 2), "{body}");
    }
}

#[test]
fn a_binary_named_bootstrap_serves_what_the_handler_names() {
    let folder = Folder::new("task");
    folder.model("late.corten", "ridge");
    let program = folder.path().join("bootstrap");
    std::os::unix::fs::symlink(self::program(), &program).unwrap();
    let root = folder.path().to_str().unwrap();
    let runtime = Runtime::start();
    let started = runtime.server(&program, &[], &[("LAMBDA_TASK_ROOT", root), ("_HANDLER", "late.corten")]);
    let mut named = rows();
    named["model"] = json!("late");
    assert_eq!(runtime.ask(&named)["predictions"].as_array().unwrap().len(), 2);
    drop(started);
    // What can't be started is told to Lambda.
    let mut failed = runtime.server(&program, &[], &[("LAMBDA_TASK_ROOT", root), ("_HANDLER", "gone.corten")]);
    let (path, body) = runtime.next();
    assert!(path == "init/error" && body["errorMessage"].as_str().unwrap().contains("gone.corten"), "{path} {body}");
    assert_eq!(failed.0.wait().unwrap().code(), Some(1));
    let done = Command::new(self::program())
        .args(["--lambda", golden("ridge").to_str().unwrap()])
        .env_remove("AWS_LAMBDA_RUNTIME_API")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&done.stderr);
    assert!(done.status.code() == Some(1) && text.contains("AWS_LAMBDA_RUNTIME_API"), "{text}");
    assert_eq!(text.lines().count(), 1);
}

#[test]
fn a_probe_tells_whether_a_server_is_ready() {
    let server = Server::start(&["ridge"], &[]);
    let probe = |address: &str| Command::new(program()).args(["--probe", address]).output().unwrap();
    assert!(probe(&format!("127.0.0.1:{}", server.port)).status.success());
    let port = stub(|_| ("503 Service Unavailable".into(), Vec::new()));
    let done = probe(&format!("127.0.0.1:{port}"));
    let text = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.code() == Some(1) && text.contains("503") && text.lines().count() == 1, "{text}");
    let done = probe("127.0.0.1:1");
    let text = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(done.status.code() == Some(1) && text.contains("can't be reached"), "{text}");
}
