//! More work than there is time for: what waits too long is refused at once, and everything else is answered as ever.

use std::fmt::Write as _;

use crate::grpc::{numbers, request};
use crate::grpc_server::messages::inference as m;
use crate::grpc_server::{Client, method};
use crate::server::{Server, post};

const PATH: &str = "/v2/models/linear_regression/infer";
const ROWS: usize = 4000;

fn values() -> Vec<f64> {
    (0..2 * ROWS).map(|at| at as f64 / 8.0).collect()
}

fn body(values: &[f64]) -> String {
    let mut data = String::new();
    values.iter().for_each(|v| write!(data, "{v},").expect("text"));
    let (rows, data) = (values.len() / 2, data.trim_end_matches(','));
    format!("{{\"inputs\":[{{\"name\":\"input\",\"datatype\":\"FP64\",\"shape\":[{rows},2],\"data\":[{data}]}}]}}")
}

/// A server of one thread, in which nobody waits long.
fn start() -> Server {
    Server::start(&["linear_regression"], &["--workers", "1", "--max-wait", "1"])
}

#[test]
fn requests_that_would_wait_too_long_are_refused_and_all_others_answered() {
    let server = start();
    // What a request costs is learnt from those before it.
    let all = [(); 20].map(|()| server.post(PATH, &body(&values())));
    let first = &all[0];
    assert!(all.iter().all(|answer| answer.status == 200), "{}", first.text());
    let request = post(PATH, &body(&values()));
    let mut cheap = server.connect();
    let mut all: Vec<_> = (0..300).map(|_| server.connect()).collect();
    all.iter_mut().for_each(|connection| connection.send(&request));
    // Refusing it would be no cheaper.
    cheap.send(&post(PATH, &body(&[1.0, 2.0])));
    assert_eq!(cheap.answer().status, 200);
    let (mut answered, mut refused) = (0, 0);
    for connection in &mut all {
        let answer = connection.answer();
        if answer.status == 200 {
            assert_eq!(answer.body, first.body);
            answered += 1;
        } else {
            assert!(answer.headers["retry-after"] == "1" && answer.headers.contains_key("x-request-id"));
            assert!(answer.error(503).contains("more than 1 ms"), "{}", answer.text());
            refused += 1;
        }
    }
    assert!(answered >= 64 && refused > 0, "{answered} answered, {refused} refused");
    // A connection that was refused is good for more, and nobody waits any more.
    for connection in &mut all {
        connection.send(&request);
        assert_eq!(connection.answer().body, first.body);
    }
    let metrics = server.get("/metrics").text();
    assert!(metrics.contains(&format!("corten_refused_total{{reason=\"wait\"}} {refused}\n")), "{metrics}");
    assert!(metrics.contains(&format!("infer\",status=\"503\"}} {refused}\n")), "{metrics}");
    assert!(metrics.contains("corten_active_requests 1\n"), "{metrics}");
}

#[test]
fn calls_that_would_wait_too_long_are_refused_and_all_others_answered() {
    const ROWS: usize = 40_000;
    let server = start();
    let values = (0..2 * ROWS).map(|at| at as f64 / 8.0).collect();
    let call = request("linear_regression", vec![numbers("input", &[ROWS as i64, 2], values)]);
    let client = Client::connect(server.port);
    let [first, ..] = [(); 20].map(|()| client.call(&method("ModelInfer"), &call).ok::<m::ModelInferResponse>());
    let together = std::sync::Barrier::new(150);
    let replies: Vec<_> = std::thread::scope(|scope| {
        let ask = || {
            let client = Client::connect(server.port);
            together.wait();
            client.call(&method("ModelInfer"), &call)
        };
        let threads: Vec<_> = (0..150).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|t| t.join().expect("a reply")).collect()
    });
    let (mut answered, mut refused) = (0, 0);
    for reply in replies {
        if reply.code == Some(0) {
            assert_eq!(reply.ok::<m::ModelInferResponse>(), first);
            answered += 1;
        } else {
            assert!(reply.error(8).contains("more than 1 ms"));
            refused += 1;
        }
    }
    assert!(answered >= 64 && refused > 0, "{answered} answered, {refused} refused");
    let again: m::ModelInferResponse = Client::connect(server.port).call(&method("ModelInfer"), &call).ok();
    assert_eq!(again, first);
    let metrics = server.get("/metrics").text();
    assert!(metrics.contains(&format!("corten_refused_total{{reason=\"wait\"}} {refused}\n")), "{metrics}");
}
