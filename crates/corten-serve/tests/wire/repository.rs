//! Folders of models, versions, and files that change while they are served.

use serde_json::{Value, json};

use crate::folder::{Folder, until};
use crate::server::{Server, golden, post};

fn index(server: &Server) -> Vec<Value> {
    server.post("/v2/repository/index", "").json().as_array().unwrap().clone()
}

const ROW: &str = "{\"rows\": [{\"width\": 1, \"count\": 2, \"height\": 3, \"city\": \"a\"}]}";

#[test]
fn a_folder_is_served_by_name_and_version() {
    let folder = Folder::new("versions");
    folder.model("flat name.corten", "ridge");
    folder.model("many/1/model.corten", "forest");
    folder.model("many/12/model.corten", "ridge");
    let server = Server::of(&[folder.path()], &["--watch", "0"]);
    let listed: Vec<_> =
        index(&server).iter().map(|l| format!("{} {} {}", l["name"], l["version"], l["state"])).collect();
    assert_eq!(listed, ["\"flat name\" \"1\" \"READY\"", "\"many\" \"1\" \"READY\"", "\"many\" \"12\" \"READY\""]);
    assert_eq!(server.get("/v2/models/many").json()["versions"], json!(["1", "12"]));
    // The highest version answers where none is asked for.
    assert_eq!(
        server.get("/v2/models/many").json()["outputs"],
        server.get("/v2/models/many/versions/12").json()["outputs"]
    );
    assert_eq!(server.get("/v2/models/many/versions/1").json()["outputs"][0]["datatype"], "INT64");
    assert!(server.get("/v2/models/many/versions/2").error(404).contains("version 2"));
    assert!(server.get("/v2/models/many/versions/x").error(404).contains("'x'"));
    assert_eq!(server.get("/v2/models/flat%20name").json()["name"], "flat name");
    assert_eq!(server.post("/predict/flat%20name", ROW).status, 200);
    assert_eq!(server.get("/v2/models/many/config").json()["input"][0]["data_type"], "TYPE_FP64");
    assert!(server.post("/v2/repository/models/many/unload", "").error(403).contains("--admin"));
}

#[test]
fn models_are_unloaded_and_loaded_by_request() {
    let server = Server::start(&["ridge", "forest"], &["--admin", "--watch", "0"]);
    assert_eq!(server.post("/v2/repository/models/ridge/unload", "{}").status, 200);
    let answer = server.post("/predict/ridge", ROW);
    assert!(answer.headers["retry-after"] == "1" && answer.error(503).contains("isn't loaded"));
    assert_eq!(server.get("/v2/models/ridge/ready").status, 503);
    let states: Vec<_> = index(&server).iter().map(|l| l["state"].clone()).collect();
    assert_eq!(states, ["READY", "UNAVAILABLE"]);
    let ready = server.post("/v2/repository/index", "{\"ready\": true}").json();
    assert_eq!(ready.as_array().unwrap().len(), 1);
    assert_eq!(server.post("/v2/repository/models/ridge/load", "{}").status, 200);
    assert_eq!(server.post("/predict/ridge", ROW).status, 200);
    assert!(server.post("/v2/repository/models/gone/load", "{}").error(404).contains("gone"));
    assert!(server.post("/v2/repository/models/gone/unload", "{}").error(404).contains("gone"));
}

#[test]
fn a_new_version_of_an_unloaded_model_waits_until_it_is_loaded() {
    let folder = Folder::new("unloaded");
    folder.model("m/1/model.corten", "ridge");
    folder.model("other.corten", "forest");
    let server = Server::of(&[folder.path()], &["--admin", "--watch", "20"]);
    assert_eq!(server.post("/v2/repository/models/m/unload", "{}").status, 200);
    folder.model("m/2/model.corten", "ridge");
    until("the new version", || index(&server).len() == 3);
    std::thread::sleep(std::time::Duration::from_millis(200));
    assert_eq!(server.post("/predict/m", ROW).status, 503);
    let lines = index(&server);
    let of_m: Vec<_> = lines.iter().filter(|l| l["name"] == "m").map(|l| (&l["state"], &l["reason"])).collect();
    assert!(of_m.iter().all(|(state, reason)| *state == "UNAVAILABLE" && *reason == "unloaded"), "{lines:?}");
    assert_eq!(server.post("/v2/repository/models/m/load", "{}").status, 200);
    assert_eq!(server.get("/v2/models/m").json()["versions"], serde_json::json!(["1", "2"]));
    // From then on, as before.
    folder.model("m/3/model.corten", "ridge");
    until("the third version", || server.get("/v2/models/m/versions/3/ready").status == 200);
}

/// Tells threads to stop when it goes.
struct Stop<'s>(&'s std::sync::atomic::AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, std::sync::atomic::Ordering::Relaxed);
    }
}

#[test]
fn a_changed_file_takes_over_without_a_lost_request_and_a_bad_one_never_does() {
    let folder = Folder::new("swap");
    folder.model("m.corten", "ridge");
    let server = Server::of(&[folder.path()], &["--watch", "20"]);
    let answer_of = |name: &str| Server::start(&[name], &[]).post("/predict", ROW).text();
    let (first, second) = (answer_of("ridge"), answer_of("boosting_number"));
    assert_ne!(first, second);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let counts = std::thread::scope(|scope| {
        let ask = || {
            let mut connection = server.connect();
            let (mut old, mut new) = (0, 0);
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                connection.send(&post("/predict", ROW));
                let answer = connection.answer();
                assert_eq!(answer.status, 200, "{}", answer.text());
                match answer.text() {
                    text if text == first => old += 1,
                    text if text == second => new += 1,
                    text => panic!("an answer of neither: {text}"),
                }
            }
            (old, new)
        };
        let askers = [scope.spawn(ask), scope.spawn(ask)];
        // Whatever ends the rounds ends the askers.
        let stopping = Stop(&stop);
        for round in 0..10 {
            let (name, wanted) = if round % 2 == 0 { ("boosting_number", &second) } else { ("ridge", &first) };
            folder.model("m.corten", name);
            until("the new file", || server.post("/predict", ROW).text() == *wanted);
        }
        drop(stopping);
        askers.map(|a| a.join().unwrap())
    });
    assert!(counts.iter().all(|c| c.0 > 0 && c.1 > 0), "{counts:?}");
    let good = std::fs::read(golden("ridge")).unwrap();
    for bad in [&good[..good.len() - 1], b"no model", b""] {
        folder.put("m.corten", bad);
        until("a refusal", || {
            server.get("/v2/models/m").status == 200 && !index(&server)[0]["reason"].as_str().unwrap().is_empty()
        });
        assert_eq!(
            (server.post("/predict", ROW).text(), &index(&server)[0]["state"]),
            (first.clone(), &json!("READY"))
        );
        folder.put("m.corten", &good);
        until("a good file", || index(&server)[0]["reason"] == "");
    }
    assert!(server.get("/metrics").text().contains("corten_model_loads_total{result=\"failed\"} 3"));
    // A further version, and one that goes away.
    folder.model("n/3/x.corten", "forest");
    until("a new model", || server.get("/v2/models/n").status == 200);
    std::fs::remove_dir_all(folder.path().join("n")).unwrap();
    until("an end", || server.get("/v2/models/n").status == 404);
}

#[test]
fn a_folder_that_can_not_be_served_stops_the_start() {
    let folder = Folder::new("bad");
    let start = || {
        let done = std::process::Command::new(env!("CARGO_BIN_EXE_corten-serve")).arg(folder.path()).output().unwrap();
        (done.status.code(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    let (code, text) = start();
    assert!(code == Some(1) && text.contains("no model") && text.lines().count() == 1, "{text}");
    folder.put("m.corten", b"no model");
    let (code, text) = start();
    assert!(code == Some(1) && text.contains("m.corten") && text.lines().count() == 1, "{text}");
    folder.model("m.corten", "ridge");
    folder.model("m/1/a.corten", "ridge");
    let (code, text) = start();
    assert!(code == Some(1) && text.contains("'m'") && text.lines().count() == 1, "{text}");
}
