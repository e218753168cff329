//! AWS Lambda: a custom runtime's loop over the runtime interface. An invocation becomes a request to this server, over
//! memory instead of a socket, so that every rule of the server holds for it.
//!
//! Invocations are events of API Gateway, function URLs and load balancers, or plain JSON: `{"rows": [...]}` or
//! `{"inputs": [...]}`, and optionally `"model"`.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use corten_core::{Error, Result};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use crate::answer::REQUEST_ID;
use crate::client::{Client, Peer};
use crate::notify::say;
use crate::request::tame;
use crate::serve::{Options, Shared};
use crate::store::Store;
use crate::trace::TRACEPARENT;

/// Largest event and answer of an invocation that is waited for, as AWS has it.
const MAX_EVENT: usize = 6 << 20;
/// Room for what wraps an event.
const MAX_MESSAGE: usize = MAX_EVENT + (1 << 20);
/// Most invocations at once of one instance.
const MAX_LOOPS: usize = 1024;
/// What an answer needs on its way back, before the deadline.
const MARGIN: Duration = Duration::from_millis(20);
const API: &str = "/2018-06-01/runtime";

/// Why an invocation has no answer: a kind, and a sentence.
type Fault = (&'static str, String);

fn io(address: &str, problem: impl std::fmt::Display) -> Error {
    Error::Io { path: address.to_owned(), problem: problem.to_string(), not_found: false }
}

fn address() -> Result<String> {
    let given = std::env::var("AWS_LAMBDA_RUNTIME_API").ok().filter(|a| !a.is_empty());
    given.ok_or_else(|| Error::value("--lambda runs inside AWS Lambda, which sets AWS_LAMBDA_RUNTIME_API"))
}

fn runtime(address: &str) -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| io(address, e))
}

/// Answers invocations until the runtime interface is gone.
///
/// # Errors
/// [`Error::Value`] outside Lambda, and [`Error::Io`] when its runtime interface can't be reached.
pub fn lambda(store: Store, options: &Options) -> Result<()> {
    let address = address()?;
    // Instances that take several invocations at once say so.
    let loops = std::env::var("AWS_LAMBDA_MAX_CONCURRENCY").ok().and_then(|n| n.parse::<usize>().ok());
    let shared = Arc::new(Shared::new(store, options));
    std::thread::scope(|scope| {
        let each = (0..loops.unwrap_or(1).clamp(1, MAX_LOOPS)).map(|_| {
            let (shared, address) = (Arc::clone(&shared), &address);
            scope.spawn(move || runtime(address)?.block_on(invocations(shared, address)))
        });
        let threads: Vec<_> = each.collect();
        let ended = |t: std::thread::ScopedJoinHandle<'_, Result<()>>| {
            t.join().unwrap_or_else(|_| Err(Error::Internal("an invocation's loop has ended".into())))
        };
        threads.into_iter().try_for_each(ended)
    })
}

/// Tells Lambda why the server can't start.
pub fn lambda_fault(error: &Error) {
    let tell = || {
        let address = address()?;
        runtime(&address)?.block_on(async {
            let mut api = Client::new(Peer::At(address.clone()), MAX_MESSAGE);
            let (body, kind) = (fault(&("Corten.StartFailed", error.to_string())), "Corten.StartFailed");
            let request = Request::post(format!("{API}/init/error")).header("lambda-runtime-function-error-type", kind);
            let request = request.body(Full::from(body)).map_err(|e| io(&address, e))?;
            api.send(request, Some(Duration::from_secs(2))).await.map_err(|e| io(&address, e))
        })
    };
    // The error is on standard error too, which Lambda keeps.
    let _: Result<Response<Bytes>> = tell();
}

fn fault((kind, text): &Fault) -> Vec<u8> {
    serde_json::to_vec(&json!({ "errorType": kind, "errorMessage": text, "stackTrace": [] })).unwrap_or_default()
}

async fn invocations(shared: Arc<Shared>, address: &str) -> Result<()> {
    let mut api = Client::new(Peer::At(address.to_owned()), MAX_MESSAGE);
    // The other end is dropped only with this loop.
    let (_stop, stopped) = watch::channel(false);
    let mut server = Client::new(Peer::Own(Arc::clone(&shared), stopped), usize::MAX);
    let mut failed = false;
    loop {
        let request =
            Request::get(format!("{API}/invocation/next")).body(Full::default()).map_err(|e| io(address, e))?;
        // No limit of time: the process is frozen until there is something to do.
        let event = match api.send(request, None).await {
            Ok(event) if event.status().is_success() => event,
            Ok(event) => return Err(io(address, format!("the runtime interface answers {}", event.status()))),
            // A connection that was kept over a freeze may be gone: the next one isn't.
            Err(_) if !failed => {
                failed = true;
                continue;
            }
            Err(error) => return Err(io(address, format!("the runtime interface can't be reached: {error}"))),
        };
        failed = false;
        let id = event.headers().get("lambda-runtime-aws-request-id").and_then(|v| v.to_str().ok());
        let Some(id) = id.map(str::to_owned) else { continue };
        let (path, body) = match answer(&mut server, event).await {
            Ok(body) if body.len() <= MAX_EVENT => ("response", body),
            Ok(body) => {
                let text = format!("the answer has {} bytes; AWS Lambda takes {MAX_EVENT}", body.len());
                ("error", fault(&("Corten.AnswerTooLarge", text)))
            }
            Err(problem) => ("error", fault(&problem)),
        };
        if let Some(tracer) = &shared.options.tracer {
            // Once the answer is told, the process may be frozen.
            tracer.flush();
        }
        let request = Request::post(format!("{API}/invocation/{id}/{path}")).header(CONTENT_TYPE, "application/json");
        let request = request.body(Full::from(body)).map_err(|e| io(address, e))?;
        if let Err(error) = api.send(request, Some(Duration::from_secs(10))).await {
            say(&format_args!("corten-serve: the answer of invocation {id} isn't taken: {error}"));
        }
    }
}

/// What came, as a request to the server, and whether the answer goes back as an answer of HTTP.
pub(crate) fn request_of(event: &Value, headers: &HeaderMap) -> Result<(Request<Full<Bytes>>, bool), Fault> {
    let bad = |text: String| ("Corten.BadEvent", text);
    let text = |v: &Value| v.as_str().map(str::to_owned);
    let context = &event["requestContext"];
    // Version 2 of the format, and version 1, which load balancers speak too.
    let method = text(&context["http"]["method"]).or_else(|| text(&event["httpMethod"]));
    let (mut request, is_http) = match method {
        Some(method) => {
            let path = text(&event["rawPath"]).or_else(|| text(&event["path"])).unwrap_or_else(|| "/".into());
            // Stages but the default one stand before the path.
            let stage = context["stage"].as_str().filter(|s| *s != "$default").map(|s| format!("/{s}"));
            let inner = stage.and_then(|s| path.strip_prefix(&s)).filter(|p| p.is_empty() || p.starts_with('/'));
            let path = inner.map_or(path.as_str(), |p| if p.is_empty() { "/" } else { p });
            let body = event["body"].as_str().unwrap_or_default();
            let body = if event["isBase64Encoded"] == true {
                BASE64_STANDARD.decode(body).map_err(|e| bad(format!("the event's body is no base64: {e}")))?
            } else {
                body.as_bytes().to_vec()
            };
            let method = method.parse::<Method>().map_err(|_| bad(format!("'{method}' is no method of HTTP")))?;
            let mut request = Request::builder().method(method).uri(path.replace(' ', "%20"));
            for (name, value) in event["headers"].as_object().into_iter().flatten() {
                let name = name.to_ascii_lowercase();
                // What belongs to the connection that the event came over.
                if !matches!(name.as_str(), "host" | "connection" | "content-length" | "transfer-encoding" | "expect") {
                    request = request.header(name, value.as_str().unwrap_or_default());
                }
            }
            let request = request.body(Full::from(body)).map_err(|e| bad(format!("the event is no request: {e}")))?;
            (request, true)
        }
        None => {
            let model = event.get("model").map_or(Some(""), Value::as_str);
            let model = model.ok_or_else(|| bad(format!("'model' must be a name; {} came", event["model"])))?;
            let model: String = model.bytes().map(escaped).collect();
            let path = match (event.get("rows").is_some(), event.get("inputs").is_some()) {
                (true, false) if model.is_empty() => "/predict".to_owned(),
                (true, false) => format!("/predict/{model}"),
                (false, true) if !model.is_empty() => format!("/v2/models/{model}/infer"),
                (false, true) => return Err(bad("'inputs' need a 'model'".into())),
                _ => {
                    let text = "the event is no request of HTTP, and has neither 'rows' nor 'inputs', or both";
                    return Err(bad(text.into()));
                }
            };
            let mut body = event.clone();
            body.as_object_mut().map(|b| b.remove("model"));
            let body = serde_json::to_vec(&body).map_err(|e| bad(e.to_string()))?;
            let request = Request::post(path).header(CONTENT_TYPE, "application/json").body(Full::from(body));
            (request.map_err(|e| bad(e.to_string()))?, false)
        }
    };
    let told = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
    let inner = request.headers_mut();
    let mut default = |name: HeaderName, value: Option<String>| {
        if let Some(value) = value.and_then(|v| HeaderValue::try_from(v).ok()) {
            inner.entry(name).or_insert(value);
        }
    };
    default(REQUEST_ID, told("lambda-runtime-aws-request-id").map(str::to_owned));
    default(HeaderName::from_static(TRACEPARENT), told("lambda-runtime-trace-id").and_then(traceparent));
    default(HeaderName::from_static("timeout"), told("lambda-runtime-deadline-ms").and_then(timeout));
    Ok((request, is_http))
}

/// A byte of a name as it stands in a path.
fn escaped(byte: u8) -> String {
    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        char::from(byte).to_string()
    } else {
        format!("%{byte:02X}")
    }
}

/// The context of an X-Ray trace, `Root=1-TIME-ID;Parent=ID;Sampled=1`, in W3C's form.
fn traceparent(given: &str) -> Option<String> {
    let part = |key: &str| given.split(';').find_map(|p| p.trim().strip_prefix(key)?.strip_prefix('='));
    let root = part("Root")?.strip_prefix("1-")?.replace('-', "");
    let sampled = if part("Sampled") == Some("1") { "01" } else { "00" };
    Some(format!("00-{root}-{}-{sampled}", part("Parent")?))
}

/// Microseconds until a little before a deadline in milliseconds since 1970.
fn timeout(deadline: &str) -> Option<String> {
    let deadline = Duration::from_millis(deadline.trim().parse().ok()?);
    let left = deadline.saturating_sub(SystemTime::now().duration_since(UNIX_EPOCH).ok()?).saturating_sub(MARGIN);
    // None left is late, and 0 would be no limit.
    Some(left.as_micros().max(1).to_string())
}

/// The answer to an event, in its form.
async fn answer(server: &mut Client, event: Response<Bytes>) -> Result<Vec<u8>, Fault> {
    let (head, body) = event.into_parts();
    // Python's bare NaN is taken as it is over HTTP.
    let event = serde_json::from_slice(&body).or_else(|e| serde_json::from_slice(&tame(&body)).map_err(|_| e));
    let event = event.map_err(|e| ("Corten.BadEvent", format!("the event is no JSON: {e}")))?;
    let (request, is_http) = request_of(&event, &head.headers)?;
    let answer = server.send(request, None).await.map_err(|e| ("Corten.Internal", e.to_string()))?;
    if is_http {
        return Ok(http_of(answer));
    }
    if answer.status() == StatusCode::OK {
        return Ok(answer.into_body().to_vec());
    }
    let told: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
    let text = told["error"].as_str().map_or_else(|| format!("status {}", answer.status()), str::to_owned);
    Err((if answer.status().is_client_error() { "Corten.BadRequest" } else { "Corten.Unavailable" }, text))
}

/// An answer of HTTP as an event has it.
pub(crate) fn http_of(answer: Response<Bytes>) -> Vec<u8> {
    let mut headers = Map::new();
    for (name, value) in answer.headers() {
        if !matches!(name.as_str(), "content-length" | "connection" | "date" | "transfer-encoding") {
            headers.insert(name.to_string(), String::from_utf8_lossy(value.as_bytes()).into());
        }
    }
    let (body, coded) = match std::str::from_utf8(answer.body()) {
        Ok(text) => (text.to_owned(), false),
        Err(_) => (BASE64_STANDARD.encode(answer.body()), true),
    };
    let answer = json!({
        "statusCode": answer.status().as_u16(),
        "headers": headers,
        "body": body,
        "isBase64Encoded": coded,
    });
    serde_json::to_vec(&answer).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_x_ray_trace_is_a_trace_of_w3c() {
        let given = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1";
        let wanted = "00-5759e988bd862e3fe1be46a994272793-53995c3f42cd8ad8-01";
        assert_eq!(traceparent(given).as_deref(), Some(wanted));
        assert!(traceparent(&given.replace("=1", "=0")).is_none_or(|t| t.ends_with("-00")));
        assert_eq!(traceparent("Root=1-5759e988-bd862e3fe1be46a994272793"), None);
    }

    #[test]
    fn a_deadline_that_has_passed_is_no_unlimited_one() {
        assert_eq!(timeout("1000").as_deref(), Some("1"));
        let soon = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + Duration::from_secs(10);
        let left: u64 = timeout(&soon.as_millis().to_string()).unwrap().parse().unwrap();
        assert!((9_000_000..10_000_000).contains(&left), "{left}");
        assert_eq!(timeout("soon"), None);
    }
}
