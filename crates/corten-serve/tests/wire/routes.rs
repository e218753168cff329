//! Aliases, shares of traffic, and candidates that only listen.

use std::collections::BTreeMap;

use serde_json::json;

use crate::folder::{Folder, until};
use crate::grpc::{numbers, request, typed};
use crate::grpc_server::messages::inference as m;
use crate::grpc_server::{Client, Reply, method};
use crate::server::{Answer, Server, free_port, post};

const ROW: &str = "{\"rows\": [{\"width\": 1, \"count\": 2, \"height\": 3, \"city\": \"a\"}]}";

/// Two versions of one model, of which the second answers otherwise, and routes.
fn folder(name: &str, routes: &str) -> Folder {
    let folder = Folder::new(name);
    folder.model("m/1/model.corten", "ridge");
    folder.model("m/2/model.corten", "boosting_number");
    folder.put("routes.json", routes.as_bytes());
    folder
}

fn ask(server: &Server, path: &str, headers: &str) -> Answer {
    let mut connection = server.connect();
    let length = ROW.len();
    connection
        .send(format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n{headers}\r\n{ROW}").as_bytes());
    connection.answer()
}

fn counted(server: &Server, metric: &str) -> u64 {
    let text = server.get("/metrics").text();
    text.lines().find_map(|l| l.strip_prefix(metric)).map_or(0, |rest| rest.trim().parse().expect("a count"))
}

#[test]
fn an_alias_leads_to_its_version_on_every_road() {
    let folder = folder("aliases", r#"{"m": {"aliases": {"champion": 1, "challenger": 2}}}"#);
    let server = Server::of(&[folder.path()], &["--watch", "20"]);
    let (first, second) = (ask(&server, "/predict/m@champion", ""), ask(&server, "/predict/m@challenger", ""));
    assert_eq!((first.headers["x-model-version"].as_str(), first.status), ("1", 200));
    assert_eq!(second.headers["x-model-version"], "2");
    assert_ne!(first.text(), second.text());
    // Without shares of traffic the highest version answers.
    assert_eq!(ask(&server, "/predict/m", "").text(), second.text());
    for path in ["/v2/models/m/versions/champion", "/v2/models/m@champion"] {
        let described = server.get(path).json();
        assert_eq!(described["outputs"], server.get("/v2/models/m/versions/1").json()["outputs"]);
        assert_eq!(described["parameters"]["aliases"], json!({ "champion": 1, "challenger": 2 }));
        assert_eq!(server.get(&format!("{path}/ready")).status, 200);
        // The model's own word about what is missing: the road is there.
        let answer = server.post(&format!("{path}/infer"), "{\"inputs\": []}");
        assert_eq!((answer.headers["x-model-version"].as_str(), answer.status), ("1", 400), "{}", answer.text());
    }
    // A number stands where an alias does.
    for (path, wanted) in [("/predict/m@1", &first), ("/predict/m@2", &second)] {
        let answer = ask(&server, path, "");
        assert_eq!((answer.status, answer.text()), (200, wanted.text()), "{path}");
    }
    assert_eq!(ask(&server, "/explain/m@1", "").status, 400);
    let explained = ask(&server, "/explain/m@2", "");
    assert_eq!((explained.status, explained.text()), (400, ask(&server, "/explain/m@challenger", "").text()));
    assert_eq!(server.get("/v2/models/m@1/ready").status, 200);
    assert!(ask(&server, "/predict/m@7", "").error(404).contains("version 7"));
    assert!(ask(&server, "/predict/m@nobody", "").error(404).contains("'nobody'"));
    assert!(server.get("/v2/models/m/versions/nobody").error(404).contains("'nobody'"));
    assert_eq!(server.get("/v2/models/m@champion/versions/1").status, 404);
    // A new file of routes takes over; a broken one, or one that leads nowhere, does not.
    folder.put("routes.json", br#"{"m": {"aliases": {"champion": 2}}}"#);
    until("the new alias", || ask(&server, "/predict/m@champion", "").headers["x-model-version"] == "2");
    for bad in [&b"{"[..], br#"{"m": {"aliases": {"champion": 9}}}"#, br#"{"n": {}}"#] {
        folder.put("routes.json", bad);
        std::thread::sleep(std::time::Duration::from_millis(100));
        assert_eq!(ask(&server, "/predict/m@champion", "").headers["x-model-version"], "2");
    }
    // A route and its version may come in any order.
    folder.put("routes.json", br#"{"m": {"aliases": {"champion": 3}}}"#);
    folder.model("m/3/model.corten", "ridge");
    until("the third version", || ask(&server, "/predict/m@champion", "").headers["x-model-version"] == "3");
}

#[test]
fn traffic_is_shared_and_a_caller_stays_with_a_version() {
    let routes = r#"{"m": {"aliases": {"new": 2}, "traffic": {"1": 75, "new": 25}, "sticky": "X-User"}}"#;
    let folder = folder("traffic", routes);
    let server = Server::of(&[folder.path()], &["--admin"]);
    let mut counts = BTreeMap::<String, u32>::new();
    let mut connection = server.connect();
    for _ in 0..400 {
        connection.send(&post("/predict/m", ROW));
        *counts.entry(connection.answer().headers["x-model-version"].clone()).or_default() += 1;
    }
    // Four standard deviations of a binomial with these shares.
    assert!(counts["1"].abs_diff(300) < 35 && counts["1"] + counts["2"] == 400, "{counts:?}");
    let version = |user: &str, id: &str| {
        ask(&server, "/predict/m", &format!("x-user: {user}\r\nx-request-id: {id}\r\n")).headers["x-model-version"]
            .clone()
    };
    let mut seen = BTreeMap::new();
    for user in 0..40 {
        let user = user.to_string();
        let first = version(&user, "a");
        assert!((0..5).all(|id| version(&user, &id.to_string()) == first));
        *seen.entry(first).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 2, "{seen:?}");
    // A version that is asked for answers, whatever the shares are.
    assert_eq!(ask(&server, "/v2/models/m/versions/2/infer", "").headers["x-model-version"], "2");
}

#[test]
fn a_candidate_hears_and_never_answers() {
    let folder = folder("shadow", r#"{"m": {"traffic": {"1": 1}, "shadow": 2}}"#);
    let server = Server::of(&[folder.path()], &["--watch", "20"]);
    let alone = Server::of(&[&folder.path().join("m/1/model.corten")], &[]);
    let wanted = ask(&alone, "/predict", "").text();
    let count = |result: &str, version: u32| {
        let labels = format!("{{model=\"m\",version=\"{version}\",result=\"{result}\"}}");
        counted(&server, &format!("corten_shadow_total{labels}"))
    };
    for _ in 0..20 {
        let answer = ask(&server, "/predict/m", "");
        assert_eq!((answer.text(), answer.headers["x-model-version"].as_str()), (wanted.clone(), "1"));
    }
    until("all are heard", || count("different", 2) == 20);
    let metrics = server.get("/metrics").text();
    assert!(metrics.contains("corten_shadow_difference_count{model=\"m\",version=\"2\"} 20"), "{metrics}");
    // What the candidate answers itself, and what fails, it doesn't hear.
    assert_eq!(ask(&server, "/v2/models/m/versions/2/infer", "").status, 400);
    assert_eq!(server.post("/predict/m", "{}").status, 400);
    // A candidate with the same model says the same; a share of none hears nothing.
    folder.model("m/3/model.corten", "ridge");
    folder.put("routes.json", br#"{"m": {"traffic": {"1": 1}, "shadow": 3}}"#);
    until("the same answers", || {
        assert_eq!(ask(&server, "/predict/m", "").text(), wanted);
        count("same", 3) > 0
    });
    assert_eq!((count("different", 3), count("failed", 2)), (0, 0));
    folder.put("routes.json", br#"{"m": {"traffic": {"1": 1}, "shadow": 2, "shadow_percent": 0}}"#);
    until("no shadow", || {
        let before = count("same", 3);
        assert_eq!(ask(&server, "/predict/m", "").status, 200);
        std::thread::sleep(std::time::Duration::from_millis(30));
        count("same", 3) == before
    });
}

#[test]
fn routes_that_can_not_be_meant_stop_the_start() {
    let many = format!("{{\"m\": {{\"aliases\": {{\"{}\": 1}}}}}}", "a".repeat(257));
    let long = format!("{{}}{}", " ".repeat(1 << 20));
    for (routes, wanted) in [
        ("[]", "routes.json"),
        (r#"{"m": {"alias": {}}}"#, "alias"),
        (r#"{"m": {"aliases": {"7": 1}}}"#, "'7'"),
        (&many, "256"),
        (&long, "1048576"),
        (r#"{"m": {"aliases": {"a": 9}}}"#, "version 9"),
        (r#"{"n": {}}"#, "'n'"),
        (r#"{"m": {"traffic": {"1": -1}}}"#, "-1"),
        (r#"{"m": {"traffic": {"1": 0}}}"#, "above 0"),
        (r#"{"m": {"traffic": {"what": 1}}}"#, "'what'"),
        (r#"{"m": {"aliases": {"a": 1}, "traffic": {"1": 1, "a": 1}}}"#, "two shares"),
        (r#"{"m": {"shadow": "what"}}"#, "'what'"),
        (r#"{"m": {"shadow": 2, "shadow_percent": 101}}"#, "101"),
    ] {
        let folder = folder("routes", routes);
        let start = |arguments: &[&std::path::Path]| {
            let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_corten-serve"));
            let done = command.arg(folder.path()).args(arguments).output().unwrap();
            (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
        };
        let (code, text) = start(&[]);
        assert!(code == Some(1) && text.contains(wanted) && text.lines().count() == 1, "{routes}: {text}");
        let nowhere = std::path::Path::new("/nowhere.json");
        let (code, text) = start(&[std::path::Path::new("--routes"), nowhere]);
        assert!(code == Some(1) && text.contains("/nowhere.json") && text.lines().count() == 1, "{text}");
    }
}

#[test]
fn calls_over_grpc_are_routed_and_heard_like_requests() {
    let routes = r#"{"m": {"aliases": {"champion": 1}, "traffic": {"champion": 1}, "shadow": 2}}"#;
    let folder = folder("grpc", routes);
    let port = free_port();
    let server = Server::of(&[folder.path()], &["--grpc-port", &port.to_string()]);
    let client = Client::connect(port);
    let ask = |name: &str, version: &str| {
        let city = m::InferTensorContents { bytes_contents: vec!["a".into()], ..Default::default() };
        let mut inputs = vec![typed("city", "BYTES", &[1], city)];
        inputs.extend(["width", "count", "height"].map(|name| numbers(name, &[1], vec![1.0])));
        let request = m::ModelInferRequest { model_version: version.into(), ..request(name, inputs) };
        client.call(&method("ModelInfer"), &request)
    };
    let version = |reply: Reply| reply.ok::<m::ModelInferResponse>().model_version;
    assert_eq!(version(ask("m", "")), "1");
    assert_eq!(version(ask("m", "2")), "2");
    assert_eq!(version(ask("m", "champion")), "1");
    assert_eq!(version(ask("m@champion", "")), "1");
    assert!(ask("m@champion", "1").error(5).contains("one of them"));
    assert!(ask("m", "nobody").error(5).contains("'nobody'"));
    until("the candidate has heard", || {
        counted(&server, "corten_shadow_total{model=\"m\",version=\"2\",result=\"same\"}")
            + counted(&server, "corten_shadow_total{model=\"m\",version=\"2\",result=\"different\"}")
            == 3
    });
}
