//! Folders of models: versions, changes under load, and loading on request.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::server::{Server, golden, post};

/// A folder that is removed with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("corten-serve-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    /// Puts a file in its place in one step.
    fn put(&self, from: &Path, name: &str) {
        let target = self.0.join(name);
        std::fs::create_dir_all(target.parent().expect("a folder")).expect("a folder");
        let part = target.with_file_name(".part");
        std::fs::copy(from, &part).expect("a copy");
        std::fs::rename(part, target).expect("a name");
    }

    fn serve(&self, options: &[&str]) -> Server {
        Server::of(std::slice::from_ref(&self.0), &[&["--watch", "20"], options].concat())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn index(server: &Server) -> Value {
    server.post("/v2/repository/index", "").json()
}

const ROW: &str = r#"{"rows": [{"width": 1, "count": 2}]}"#;

#[test]
fn a_changed_file_takes_over_without_losing_a_request_and_a_bad_one_never_does() {
    let folder = Folder::new("swap");
    folder.put(&golden("ridge"), "m.corten");
    let server = folder.serve(&[]);
    let input = |name: &str| json!({ "name": name, "shape": [1], "datatype": "FP64", "data": [1.5] });
    // The columns of another model that are more than those of the first, so that every request fits both.
    let scaler = Server::start(&["standard_scaler"], &[]);
    let meta = scaler.get("/v2/models/standard_scaler").json();
    let inputs: Vec<Value> =
        meta["inputs"].as_array().unwrap().iter().map(|i| input(i["name"].as_str().unwrap())).collect();
    let request = post("/v2/models/m/infer", &json!({ "inputs": inputs }).to_string());
    let first = server.post("/v2/models/m/infer", &json!({ "inputs": inputs }).to_string());
    assert_eq!(first.status, 200, "{}", first.text());
    let other = scaler.post("/v2/models/standard_scaler/infer", &json!({ "inputs": inputs }).to_string());
    assert_eq!(other.status, 200, "{}", other.text());
    let second = other.text().replace("standard_scaler", "m");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let (mut connection, mut seen) = (server.connect(), [0usize; 2]);
                    while !done.load(Ordering::Relaxed) {
                        connection.send(&request);
                        let answer = connection.answer();
                        assert_eq!(answer.status, 200, "{}", answer.text());
                        let text = answer.text();
                        assert!(text == first.text() || text == second, "{text}");
                        seen[usize::from(text == second)] += 1;
                    }
                    seen
                })
            })
            .collect();
        for step in 0..10 {
            let (name, wanted) = if step % 2 == 0 { ("standard_scaler", &second) } else { ("ridge", &first.text()) };
            folder.put(&golden(name), "m.corten");
            eventually("the change is seen", || {
                let mut connection = server.connect();
                connection.send(&request);
                &connection.answer().text() == wanted
            });
        }
        folder.put(&golden("ridge").with_extension("json"), "m.corten");
        eventually("the bad file is named", || {
            index(&server)[0]["reason"].as_str().unwrap().contains("Not a valid Corten model")
        });
        assert_eq!(index(&server)[0]["state"], "READY");
        assert_eq!(server.post("/v2/models/m/infer", &json!({ "inputs": inputs }).to_string()).text(), first.text());
        assert!(server.get("/metrics").text().contains("corten_model_refused{model=\"m\",version=\"1\"} 1"));
        done.store(true, Ordering::Relaxed);
        for client in clients {
            assert!(client.join().expect("a client").iter().all(|&n| n > 0));
        }
    });
}

#[test]
fn a_folder_holds_models_and_versions_that_come_and_go() {
    let folder = Folder::new("versions");
    folder.put(&golden("ridge"), "a.corten");
    folder.put(&golden("ridge"), "b/2/model.corten");
    folder.put(&golden("forest"), "b/10/model.corten");
    folder.put(&golden("ridge").with_extension("json"), "notes.txt");
    let server = folder.serve(&[]);
    assert_eq!(server.get("/v2/models").json()["models"], json!(["a", "b"]));
    assert_eq!(server.get("/v2/models/b").json()["versions"], json!(["2", "10"]));
    let outputs = |path: &str| server.get(path).json()["outputs"][0]["datatype"].clone();
    assert_eq!(outputs("/v2/models/b"), "INT64");
    assert_eq!(outputs("/v2/models/b/versions/10"), "INT64");
    assert_eq!(outputs("/v2/models/b/versions/2"), "FP64");
    assert!(server.get("/v2/models/b/versions/3").error(404).contains("'b'"));
    assert_eq!(server.post("/predict/a", ROW).status, 200);
    folder.put(&golden("ridge"), "c.corten");
    eventually("a new file is served", || server.post("/predict/c", ROW).status == 200);
    std::fs::remove_dir_all(folder.0.join("b/10")).expect("removed");
    eventually("an older version answers", || outputs("/v2/models/b") == "FP64");
    std::fs::remove_file(folder.0.join("a.corten")).expect("removed");
    eventually("a removed file is gone", || server.get("/v2/models/a").status == 404);
}

#[test]
fn a_file_that_is_away_for_a_moment_is_not_missed() {
    let folder = Folder::new("gap");
    folder.put(&golden("ridge"), "m.corten");
    let server = Server::of(std::slice::from_ref(&folder.0), &["--watch", "0", "--admin"]);
    let index = || index(&server);
    // Every request for a load is a look at the folder.
    let look = || server.post("/v2/repository/models/other/load", "").status;
    folder.put(&golden("ridge"), "other.corten");
    assert_eq!(look(), 200);
    std::fs::remove_file(folder.0.join("m.corten")).expect("removed");
    assert_eq!(look(), 200);
    assert_eq!(server.post("/predict/m", ROW).status, 200);
    folder.put(&golden("ridge"), "m.corten");
    assert_eq!(look(), 200);
    std::fs::remove_file(folder.0.join("m.corten")).expect("removed");
    assert_eq!(look(), 200);
    assert_eq!((server.post("/predict/m", ROW).status, index().as_array().unwrap().len()), (200, 2));
    assert_eq!(look(), 200);
    assert_eq!((server.post("/predict/m", ROW).status, index().as_array().unwrap().len()), (404, 1));
}

#[test]
fn models_are_loaded_and_unloaded_on_request_only_when_that_is_on() {
    let folder = Folder::new("admin");
    folder.put(&golden("ridge"), "m.corten");
    let server = folder.serve(&["--admin"]);
    assert_eq!(index(&server), json!([{ "name": "m", "version": "1", "state": "READY", "reason": "" }]));
    assert_eq!(server.post("/v2/repository/models/m/unload", "{}").status, 200);
    assert_eq!(index(&server)[0]["state"], "UNAVAILABLE");
    assert_eq!(server.post("/v2/repository/index", "{\"ready\": true}").json(), json!([]));
    assert!(server.post("/predict/m", ROW).error(503).contains("unloaded"));
    assert!(server.post("/predict", ROW).error(404).contains("no model is served"));
    // It stays out of service however often the folder is looked at.
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(server.post("/predict/m", ROW).status, 503);
    assert_eq!(server.post("/v2/repository/models/m/load", "").status, 200);
    assert_eq!(server.post("/predict/m", ROW).status, 200);
    for (path, body, wanted) in [
        ("/v2/repository/models/none/load", "", "none"),
        ("/v2/repository/models/none/unload", "", "none"),
        ("/v2/repository/models/m/load", "{\"parameters\": {\"config\": \"{}\"}}", "'config'"),
        ("/v2/repository/models/m/load", "{", "no JSON"),
        ("/v2/repository/index", "{", "no JSON"),
    ] {
        let problem = server.post(path, body).error(400);
        assert!(problem.contains(wanted), "{problem}");
    }
    folder.put(&golden("ridge").with_extension("json"), "m.corten");
    assert!(server.post("/v2/repository/models/m/load", "").error(400).contains("Not a valid Corten model"));
    assert_eq!(server.post("/predict/m", ROW).status, 200);
    let server = Server::start(&["ridge"], &[]);
    assert!(server.post("/v2/repository/models/ridge/unload", "").error(403).contains("--admin"));
}
