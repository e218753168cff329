//! What the fuzz targets of the server feed: the readers of bodies and messages, without sockets.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyper::StatusCode;
use hyper::header::{HeaderMap, HeaderValue};
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;

use crate::answer::respond;
use crate::http1::{Framing, Head};
use crate::http2::{self, PREFACE};
use crate::serve::{Options, Shared};
use crate::store::Store;
use crate::tensor::MAX_INPUTS;
use crate::{explain, grpc, infer, lambda, predict, quick, routes};

/// Most rows of a request.
const ROWS: usize = 1000;

/// Whether a gRPC message was answered.
///
/// # Panics
/// Where an answer isn't what a request without mistakes is answered with.
pub fn message(store: &Store, bytes: &[u8]) -> bool {
    let Ok(request) = grpc::infer::decode(bytes.to_vec().into(), |_| MAX_INPUTS) else { return false };
    let Some(served) = store.get(&request.model_name, None) else { return false };
    let Ok((response, rows)) = grpc::infer::infer(&served, &request, ROWS, Instant::now()) else { return false };
    let raw = !request.raw_input_contents.is_empty();
    assert!(response.raw_output_contents.len() == if raw { response.outputs.len() } else { 0 });
    for output in &response.outputs {
        assert!(output.shape[0] == rows as i64 && output.contents.is_some() != raw);
    }
    let again = grpc::messages::inference::ModelInferResponse::decode(response.encode_to_vec().as_slice());
    assert!(again.is_ok());
    true
}

/// Whether a REST body was answered as an inference request (`head` bytes of it JSON), as rows, or as rows to explain.
///
/// # Panics
/// Where an answer is no JSON, or two ways to an answer differ.
pub fn body(store: &Store, model: &str, body: &[u8], head: Option<usize>) -> bool {
    let Some(served) = store.get(model, None) else { return false };
    let json = |bytes: &[u8]| assert!(serde_json::from_slice::<serde_json::Value>(bytes).is_ok());
    let mut answered = false;
    let mut quickly = Vec::new();
    if head.is_none()
        && let Some(rows) = quick::infer(&served, body, ROWS, &mut quickly)
    {
        let slowly = infer::any(&served, body, None, ROWS, Instant::now());
        assert!(slowly.is_ok_and(|slowly| (slowly.bytes, slowly.json, slowly.rows) == (quickly, None, rows)));
    }
    if let Ok(inferred) = infer::infer(&served, body, head, ROWS, Instant::now()) {
        json(&inferred.bytes[..inferred.json.unwrap_or(inferred.bytes.len())]);
        answered = true;
    }
    if let Ok((bytes, _)) = predict::predict(&served, body, ROWS) {
        json(&bytes);
        answered = true;
    }
    if let Ok((bytes, _)) = explain::explain(&served, body, ROWS) {
        json(&bytes);
        answered = true;
    }
    answered
}

/// Whether bytes begin with the head of a request, and a body where it is in chunks; `cut` is where they come in two pieces.
///
/// # Panics
/// Where pieces are read otherwise than the whole.
pub fn request(bytes: &[u8], cut: usize) -> bool {
    let (first, _) = bytes.split_at(cut.min(bytes.len()));
    let part = Head::read(first);
    let Ok(Some(head)) = Head::read(bytes) else {
        assert!(!matches!(part, Ok(Some(_))));
        return false;
    };
    // What becomes a head is never refused before it is whole.
    assert!(part.is_ok_and(|part| part.is_some() == (head.length <= first.len())));
    assert!(head.fields().all(|(name, value)| !name.is_empty() && value == value.trim_ascii()));
    let body = &bytes[head.length..];
    let (first, second) = body.split_at(cut.min(body.len()));
    let (mut whole, mut parts) = (head.framing, head.framing);
    let (mut once, mut twice) = (Vec::new(), Vec::new());
    let taken = whole.take(body, &mut once);
    let mut again = parts.take(first, &mut twice);
    if let Ok(count) = &mut again
        && *count == first.len()
    {
        again = parts.take(second, &mut twice).map(|more| first.len() + more);
    }
    assert!(taken == again && (taken.is_err() || (once == twice && whole.is_done() == parts.is_done())));
    assert!(once.len() <= body.len());
    if let (Framing::Length(length), true) = (head.framing, whole.is_done()) {
        assert_eq!(once.len() as u64, length);
    }
    taken.is_ok() && whole.is_done()
}

/// A server without sockets.
pub struct Fed(Arc<Shared>);

impl Fed {
    /// Serves models.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self(Arc::new(Shared::new(store, &Options::default())))
    }

    /// How many calls were answered on a connection of HTTP/2 with these bytes behind its preface; `cut` is where they come in
    /// two pieces.
    ///
    /// # Panics
    /// Where what is said isn't frames.
    #[must_use]
    pub fn http2(&self, bytes: &[u8], cut: usize) -> usize {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (first, second) = bytes.split_at(cut.min(bytes.len()));
        let said = runtime.block_on(async {
            let (near, mut far) = tokio::io::duplex(1 << 16);
            let (_stop, mut stopped) = watch::channel(false);
            let serving = async {
                http2::serve(&mut far, PREFACE.to_vec(), &self.0, false, &mut stopped).await;
                drop(far);
            };
            let ((mut ear, mut mouth), mut came) = (tokio::io::split(near), Vec::new());
            let asking = async {
                // The server may have ended the connection already.
                let _ = mouth.write_all(first).await;
                tokio::task::yield_now().await;
                let _ = mouth.write_all(second).await;
                let _ = mouth.shutdown().await;
            };
            let hearing = ear.read_to_end(&mut came);
            let (_, _, heard) = tokio::join!(serving, asking, hearing);
            heard.map(|_| came).expect("bytes")
        });
        let (mut rest, mut ended) = (said.as_slice(), 0);
        while let Some(([length @ .., kind, flags, _, _, _, _], after)) = rest.split_first_chunk::<9>() {
            let [a, b, c] = length;
            let length = u32::from_be_bytes([0, *a, *b, *c]) as usize;
            assert!(*kind < 10 && length <= 1 << 14);
            ended += usize::from(*kind == 1 && flags & 1 != 0);
            rest = &after[length..];
        }
        assert!(rest.is_empty());
        ended
    }
}

/// Whether bytes are an event of AWS Lambda that becomes a request; `deadline` and `trace` are what the runtime interface
/// tells beside it.
///
/// # Panics
/// Where a request has no path, an event of plain JSON becomes another request than one that scores, or an answer doesn't
/// come back out of its event.
pub fn event(bytes: &[u8], deadline: &[u8], trace: &[u8]) -> bool {
    let Ok(event) = serde_json::from_slice::<serde_json::Value>(bytes) else { return false };
    let mut headers = HeaderMap::new();
    for (name, value) in [("lambda-runtime-deadline-ms", deadline), ("lambda-runtime-trace-id", trace)] {
        if let Ok(value) = HeaderValue::from_bytes(value) {
            headers.insert(name, value);
        }
    }
    let Ok((request, is_http)) = lambda::request_of(&event, &headers) else { return false };
    if !is_http {
        let path = request.uri().path();
        let scores = path == "/predict" || path.starts_with("/predict/");
        assert!(scores || (path.starts_with("/v2/models/") && path.ends_with("/infer")), "{path}");
        assert!(request.uri().query().is_none() && !path.contains([' ', '?', '#']));
        return true;
    }
    // Bytes are an answer too.
    let answer = respond(StatusCode::OK, "text/plain", bytes.to_vec());
    let told: serde_json::Value = serde_json::from_slice(&lambda::http_of(answer)).unwrap_or_default();
    let body = told["body"].as_str().unwrap_or_default();
    let body = if told["isBase64Encoded"] == true {
        BASE64_STANDARD.decode(body).unwrap_or_default()
    } else {
        body.as_bytes().to_vec()
    };
    assert!(told["statusCode"] == 200 && body == bytes);
    true
}

/// Whether bytes are a file of routes.
///
/// # Panics
/// Where traffic goes to a version without a share or that isn't loaded.
pub fn routes(bytes: &[u8]) -> bool {
    let Ok(routes) = routes::parse(Path::new("routes.json"), bytes) else { return false };
    for route in routes.values() {
        let shares: Vec<u64> = route.traffic.iter().filter(|t| t.1 > 0.0).map(|t| t.0).collect();
        for point in [0, 1, u64::MAX / 2, u64::MAX - 1, u64::MAX] {
            for loaded in [&|_| true, &|v: u64| v.is_multiple_of(2), &|_| false] as [&dyn Fn(u64) -> bool; 3] {
                let chosen = route.choose(point, loaded);
                assert!(chosen.is_some() == shares.iter().any(|v| loaded(*v)), "{route:?}");
                assert!(chosen.is_none_or(|v| loaded(v) && shares.contains(&v)), "{route:?}");
            }
        }
        assert!(route.shadow.is_none_or(|s| (0.0..=100.0).contains(&s.1)));
        assert!(route.versions().count() >= route.aliases.len() && route.json().is_object());
    }
    true
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// The bytes that real clients sent, as they were recorded.
    fn recorded() -> Vec<Vec<u8>> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fixtures/clients");
        let mut out = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let value: serde_json::Value =
                serde_json::from_slice(&std::fs::read(entry.unwrap().path()).unwrap()).unwrap();
            for connection in value["connections"].as_array().unwrap() {
                for turn in connection.as_array().unwrap() {
                    let text = turn["sent"].as_str().unwrap();
                    out.push(text.chars().map(|c| u32::from(c) as u8).collect());
                }
            }
        }
        out
    }

    #[test]
    fn what_clients_sent_damaged_in_many_ways_is_answered_or_refused() {
        let models = ["logistic_two", "linear_regression", "tree_of_classes"];
        let path = |m: &&str| format!("{}/../../fixtures/models/1/{m}.corten", env!("CARGO_MANIFEST_DIR"));
        let store = Store::load(&models.iter().map(path).collect::<Vec<_>>(), None, Duration::from_secs(60)).unwrap();
        let (mut random, mut answered, mut tried) = (1u64, 0, 0);
        let mut next = |below: usize| {
            // xorshift: the same damage each time.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random as usize % below
        };
        for sent in recorded() {
            // Messages begin after a byte of no compression and their length; bodies after an empty line.
            let message = sent.windows(2).position(|w| w == b"\n\x0c" || w == b"\n\x11");
            let rest = sent.windows(4).position(|w| w == b"\r\n\r\n").map(|at| at + 4);
            let head = sent
                .windows(30)
                .position(|w| w.eq_ignore_ascii_case(b"inference-header-content-length"[..30].as_ref()));
            let head = head.and_then(|at| {
                let digits: String = sent[at + 31..]
                    .iter()
                    .map(|b| char::from(*b))
                    .skip_while(|c| !c.is_ascii_digit())
                    .take_while(char::is_ascii_digit)
                    .collect();
                digits.parse::<usize>().ok()
            });
            for turn in 0..60 {
                let mut damaged = sent.clone();
                for _ in 0..turn.min(3) {
                    let at = next(damaged.len());
                    match next(4) {
                        0 => damaged[at] ^= 1 << next(8),
                        1 => damaged[at] = next(256) as u8,
                        2 => damaged.truncate(at + 1),
                        _ => {
                            let copied = damaged[at..(at + next(9)).min(damaged.len())].to_vec();
                            damaged.splice(at..at, copied);
                        }
                    }
                }
                tried += 1;
                if let Some(from) = message.filter(|&m| m < damaged.len()) {
                    answered += usize::from(super::message(&store, &damaged[from..]));
                }
                if let Some(from) = rest.filter(|&r| r < damaged.len()) {
                    for model in models {
                        answered += usize::from(body(&store, model, &damaged[from..], head));
                    }
                }
            }
        }
        assert!(answered > 100 && answered < tried, "{answered} of {tried}");
    }

    #[test]
    fn events_and_routes_damaged_in_many_ways_are_read_or_refused() {
        const EVENTS: [&str; 5] = [
            r#"{"rows": [{"width": 1.5}], "model": "a b/ø?"}"#,
            r#"{"inputs": [], "model": "m"}"#,
            r#"{"httpMethod": "POST", "path": "/predict", "headers": {"A": "b"}, "body": "eyJ9", "isBase64Encoded": true}"#,
            r#"{"requestContext": {"http": {"method": "GET"}, "stage": "prod"}, "rawPath": "/prod/v2 x", "body": null}"#,
            r#"{"httpMethod": "OPTIONS", "path": "", "headers": {"host": "x", "timeout": "5"}, "body": "\u00e9\n"}"#,
        ];
        const ROUTES: [&str; 2] = [
            r#"{"m": {"aliases": {"a": 1, "b": 2}, "traffic": {"a": 90, "b": 10, "3": 0.5}, "shadow": "a"}}"#,
            r#"{"m": {"traffic": {"1": 0, "2": 1e-300}, "sticky": "X-User", "shadow": 4, "shadow_percent": 0.5}, "n": {}}"#,
        ];
        let mut next = drawn();
        let (mut read, mut refused) = ([0; 2], [0; 2]);
        for turn in 0..20_000 {
            let seeds = if turn % 2 == 0 { &EVENTS[..] } else { &ROUTES[..] };
            let mut damaged = seeds[next(seeds.len())].as_bytes().to_vec();
            for _ in 0..turn / 2 % 3 {
                let at = next(damaged.len());
                match next(4) {
                    0 => damaged[at] ^= 1 << next(8),
                    1 => damaged[at] = b"\"{}[]:,0919eE-.ntf\\/%#?"[next(23)],
                    2 => drop(damaged.remove(at)),
                    _ => damaged.insert(at, damaged[next(damaged.len())]),
                }
            }
            let cut = next(damaged.len());
            let good = match turn % 2 {
                0 => event(&damaged, &damaged[..cut], &damaged[cut..]),
                _ => routes(&damaged),
            };
            if good { read[turn % 2] += 1 } else { refused[turn % 2] += 1 }
        }
        assert!(read.iter().chain(&refused).all(|count| *count > 1000), "{read:?} {refused:?}");
    }

    /// Numbers below another, drawn alike in each run.
    fn drawn() -> impl FnMut(usize) -> usize {
        let mut random = 1u64;
        move |below| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random as usize % below
        }
    }

    /// A frame of HTTP/2.
    fn frame(kind: u8, flags: u8, id: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        out.extend_from_slice(&[kind, flags, 0, 0, 0, id]);
        out.extend_from_slice(payload);
        out
    }

    #[test]
    fn frames_damaged_in_many_ways_are_answered_or_end_a_call_or_the_connection() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/models/1/linear_regression.corten");
        let store = Store::load(&[path.display().to_string()], None, std::time::Duration::from_secs(60)).unwrap();
        let fed = Fed::new(store);
        let mut block = vec![0x83, 0x86, 0x44, 42];
        block.extend_from_slice(
            b"/inference.GRPCInferenceService/ModelInfer\x5f\x10application/grpc\x40\x02te\x08trailers",
        );
        // Fields that are in the table by now.
        let again = [0x83, 0x86, 0xc0, 0xbf, 0xbe];
        let tensor = b"\x0a\x05input\x12\x04FP64\x1a\x02\x01\x02";
        let mut message = b"\0\0\0\0\x38\x0a\x11linear_regression\x2a\x11".to_vec();
        message.extend_from_slice(tensor);
        message.extend_from_slice(b"\x3a\x10");
        message.extend([1.0f64, 2.0].iter().flat_map(|x| x.to_le_bytes()));
        let seed = [
            frame(4, 0, 0, &[0, 4, 0, 1, 0, 0]),
            frame(1, 4, 1, &block),
            frame(0, 1, 1, &message),
            frame(8, 0, 0, &[0, 0, 1, 0]),
            frame(1, 0, 3, &again[..2]),
            frame(9, 4, 3, &again[2..]),
            frame(0, 8, 3, &[&[2][..], &message[..9], &[0, 0]].concat()),
            frame(0, 1, 3, &message[9..]),
            frame(6, 0, 0, &[7; 8]),
            frame(1, 4 | 32, 5, &[&[0; 5][..], &again].concat()),
            frame(3, 0, 5, &[0, 0, 0, 8]),
            frame(1, 4, 7, &again),
            frame(0, 0, 7, &message),
            frame(1, 5, 7, &[]),
        ]
        .concat();
        for cut in 0..=seed.len() {
            assert_eq!(fed.http2(&seed, cut), 3, "{cut}");
        }
        let mut next = drawn();
        let mut answered = [0usize; 4];
        for turn in 0..6000 {
            let mut damaged = seed.clone();
            for _ in 0..1 + turn % 3 {
                let at = next(damaged.len());
                match next(4) {
                    0 => damaged[at] ^= 1 << next(8),
                    1 => damaged[at] = [0, 1, 4, 9, 127, 128, 255][next(7)],
                    2 => drop(damaged.remove(at)),
                    _ => damaged.insert(at, damaged[next(damaged.len())]),
                }
            }
            answered[fed.http2(&damaged, next(damaged.len())).min(3)] += 1;
        }
        assert!(answered.iter().all(|count| *count > 100), "{answered:?}");
    }

    /// Names and values of a head's fields.
    type Fields<'b> = Vec<(&'b [u8], &'b [u8])>;

    /// A head as `httparse` reads it, which takes more than is taken here.
    fn reference(bytes: &[u8]) -> Option<(Vec<u8>, Vec<u8>, usize, Vec<(Vec<u8>, Vec<u8>)>)> {
        let mut fields = [httparse::EMPTY_HEADER; 128];
        let mut request = httparse::Request::new(&mut fields);
        let httparse::Status::Complete(length) = request.parse(bytes).ok()? else { return None };
        let fields = request.headers.iter().map(|h| (h.name.as_bytes().to_vec(), h.value.to_vec())).collect();
        Some((request.method?.as_bytes().to_vec(), request.path?.as_bytes().to_vec(), length, fields))
    }

    #[test]
    fn heads_damaged_in_many_ways_are_read_as_another_parser_reads_them_or_refused() {
        let mut next = drawn();
        let alphabet = b"\r\n :;,\t0aA\0\x7f\xff/";
        let mut seeds = recorded();
        seeds.retain(|s| s.starts_with(b"POST") || s.starts_with(b"GET"));
        seeds.truncate(40);
        let chunked = "POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
        seeds.push(format!("{chunked}4\r\nWiki\r\n6;a=\"b\"\r\npedia \r\n0\r\nA: b\r\n\r\n").into_bytes());
        seeds.push(b"GET / HTTP/1.0\r\nA:\r\nB: c \t\r\nConnection: keep-alive\r\n\r\n".to_vec());
        let (mut read, mut refused) = (0, 0);
        for seed in &seeds {
            for turn in 0..400 {
                let mut damaged = seed.clone();
                // Most of the damage is to heads, which are short beside some bodies.
                let end = damaged.len().min(400);
                for _ in 0..turn.min(3) {
                    let at = next(end.min(damaged.len()));
                    match next(4) {
                        0 => damaged[at] ^= 1 << next(8),
                        1 => damaged[at] = alphabet[next(alphabet.len())],
                        2 => damaged.insert(at, alphabet[next(alphabet.len())]),
                        _ => drop(damaged.remove(at)),
                    }
                }
                request(&damaged, next(damaged.len()));
                let Ok(Some(head)) = Head::read(&damaged) else {
                    refused += 1;
                    continue;
                };
                read += 1;
                let (method, target, length, fields) = reference(&damaged).expect("what is read here is read there");
                assert_eq!((head.method, head.target, head.length), (&*method, &*target, length));
                let ours: Fields<'_> = head.fields().collect();
                let theirs: Fields<'_> = fields.iter().map(|(n, v)| (&**n, &**v)).collect();
                assert_eq!(ours, theirs);
            }
        }
        assert!(read > 1000 && refused > 1000, "{read} {refused}");
    }
}
