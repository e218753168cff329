//! Traces: the context that callers send along (W3C Trace Context), and spans for a collector (OTLP over HTTP, in JSON).

use std::fmt::Write;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use corten_core::{Error, Result};
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Request};
use serde_json::{Value, json};

use crate::client::{Client, Peer};
use crate::clock::{STAGES, Spent};
use crate::notify::say;

/// Most spans that wait to be sent; further ones are dropped.
const MAX_WAITING: usize = 4096;
/// Most spans of one message.
const MAX_BATCH: usize = 512;
/// Longest wait of a span for others.
const PAUSE: Duration = Duration::from_millis(500);
/// Longest wait for the collector.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest answer of a collector.
const MAX_ANSWER: usize = 1 << 16;

/// The header of a trace's context.
pub(crate) const TRACEPARENT: &str = "traceparent";

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut out, b| {
        // Writing to a String can't fail.
        let _ = write!(out, "{b:02x}");
        out
    })
}

fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digit = |b: u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != 2 * N || !text.bytes().all(digit) {
        return None;
    }
    let mut out = [0; N];
    for (to, at) in out.iter_mut().zip((0..2 * N).step_by(2)) {
        *to = u8::from_str_radix(&text[at..at + 2], 16).ok()?;
    }
    Some(out)
}

/// Bytes that no other trace has.
fn random<const N: usize>() -> [u8; N] {
    static SEED: LazyLock<[u64; 2]> = LazyLock::new(|| [(); 2].map(|()| RandomState::new().build_hasher().finish()));
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let mut hasher = blake3::Hasher::new();
    hasher.update(&SEED[0].to_le_bytes()).update(&SEED[1].to_le_bytes());
    hasher.update(&NEXT.fetch_add(1, Ordering::Relaxed).to_le_bytes());
    let mut out = [0; N];
    hasher.finalize_xof().fill(&mut out);
    out
}

/// Where a request stands in a trace.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Context {
    trace: [u8; 16],
    parent: Option<[u8; 8]>,
    span: [u8; 8],
    pub(crate) sampled: bool,
}

impl Context {
    /// The context that a caller sent, or a new one, of which `share` are sampled.
    fn of(headers: &HeaderMap, share: f64) -> Self {
        let given = headers.get(TRACEPARENT).and_then(|v| v.to_str().ok()).and_then(Self::parse);
        given.unwrap_or_else(|| {
            let trace: [u8; 16] = random();
            let place = u32::from_le_bytes([trace[0], trace[1], trace[2], trace[3]]);
            Self { trace, parent: None, span: random(), sampled: f64::from(place) < share * 4_294_967_296.0 }
        })
    }

    /// `VERSION-TRACE-PARENT-FLAGS`; later versions may have more behind it.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().split('-');
        let [version]: [u8; 1] = unhex(parts.next()?)?;
        let (trace, parent): ([u8; 16], [u8; 8]) = (unhex(parts.next()?)?, unhex(parts.next()?)?);
        let [flags]: [u8; 1] = unhex(parts.next()?)?;
        let whole = version != 0xff && (version != 0 || parts.next().is_none());
        let known = trace != [0; 16] && parent != [0; 8];
        (whole && known).then(|| Self { trace, parent: Some(parent), span: random(), sampled: flags & 1 == 1 })
    }

    /// The trace in hexadecimal.
    pub(crate) fn id(&self) -> String {
        hex(&self.trace)
    }

    /// The context as an answer tells it.
    pub(crate) fn header(&self) -> HeaderValue {
        let text = format!("00-{}-{}-{:02x}", hex(&self.trace), hex(&self.span), u8::from(self.sampled));
        HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}

/// What a model did for a request: rides on the answer to whoever logs and traces it.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) model: String,
    pub(crate) version: u64,
    pub(crate) rows: usize,
    pub(crate) spent: Option<Spent>,
}

/// A request that was answered.
#[derive(Debug)]
pub(crate) struct Span {
    pub(crate) context: Context,
    pub(crate) method: Method,
    pub(crate) route: &'static str,
    pub(crate) status: u16,
    pub(crate) id: String,
    pub(crate) begun: SystemTime,
    pub(crate) took: Duration,
    pub(crate) told: Option<Told>,
}

impl Span {
    /// The span of the request, and one of each stage of its scoring, laid end to end.
    fn json(&self, out: &mut Vec<Value>) {
        let begun = self.begun.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let nanoseconds = |d: Duration| d.as_nanos().to_string();
        let text = |key: &str, value: &str| json!({ "key": key, "value": { "stringValue": value } });
        let whole = |key: &str, value: u64| json!({ "key": key, "value": { "intValue": value.to_string() } });
        let mut attributes = vec![
            text("http.request.method", self.method.as_str()),
            text("http.route", self.route),
            whole("http.response.status_code", self.status.into()),
            text("corten.request_id", &self.id),
        ];
        if let Some(told) = &self.told {
            attributes.push(text("corten.model", &told.model));
            attributes.push(whole("corten.version", told.version));
            attributes.push(whole("corten.rows", told.rows as u64));
        }
        let (trace, span) = (self.context.id(), hex(&self.context.span));
        let mut server = json!({
            "traceId": trace,
            "spanId": span,
            "name": format!("{} {}", self.method, self.route),
            "kind": 2,
            "startTimeUnixNano": nanoseconds(begun),
            "endTimeUnixNano": nanoseconds(begun + self.took),
            "attributes": attributes,
            "status": if self.status >= 500 { json!({ "code": 2 }) } else { json!({}) },
        });
        if let Some(parent) = &self.context.parent {
            server["parentSpanId"] = json!(hex(parent));
        }
        out.push(server);
        let mut at = begun;
        for (stage, spent) in STAGES.iter().zip(self.told.iter().filter_map(|t| t.spent).flatten()) {
            out.push(json!({
                "traceId": trace,
                "spanId": hex(&random::<8>()),
                "parentSpanId": span,
                "name": stage,
                "kind": 1,
                "startTimeUnixNano": nanoseconds(at),
                "endTimeUnixNano": nanoseconds(at + spent),
            }));
            at += spent;
        }
    }
}

/// What goes to the thread that sends.
enum Message {
    Span(Box<Span>),
    /// Send what is there, then drop the sender.
    Flush(SyncSender<()>),
}

/// Sends the spans of sampled requests to a collector.
pub struct Tracer {
    share: f64,
    queue: Mutex<SyncSender<Message>>,
    /// Spans that were sent, dropped because too many waited, and not taken by the collector.
    counts: [AtomicU64; 3],
}

impl std::fmt::Debug for Tracer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tracer").field("share", &self.share).finish_non_exhaustive()
    }
}

impl Tracer {
    /// A tracer that sends to a collector at `http://HOST[:PORT][/PATH]`, by default port 4318 and `/v1/traces`. Of the
    /// requests that come without a trace, `share` begin one.
    ///
    /// # Errors
    /// [`Error::Parameter`] for another kind of address, and for a share that isn't from 0 to 1.
    pub fn new(url: &str, share: f64, service: &str) -> Result<std::sync::Arc<Self>> {
        let fault = || Error::parameter("otlp", "http://HOST:PORT (OTLP over HTTP, without TLS)", format!("'{url}'"));
        let rest = url.strip_prefix("http://").ok_or_else(fault)?;
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let path = if path.len() > 1 { path.to_owned() } else { "/v1/traces".to_owned() };
        let has_port =
            host.rsplit_once(':').is_some_and(|(name, port)| !name.is_empty() && port.parse::<u16>().is_ok());
        if host.is_empty() || (!has_port && host.contains(':')) || path.parse::<hyper::Uri>().is_err() {
            return Err(fault());
        }
        if !(0.0..=1.0).contains(&share) {
            return Err(Error::parameter("trace-share", "a number from 0 to 1", format!("{share}")));
        }
        let address = if has_port { host.to_owned() } else { format!("{host}:4318") };
        let (send, receive) = sync_channel(MAX_WAITING);
        let tracer = Self { share, queue: Mutex::new(send), counts: [const { AtomicU64::new(0) }; 3] };
        let tracer = std::sync::Arc::new(tracer);
        let (weak, service) = (std::sync::Arc::downgrade(&tracer), service.to_owned());
        std::thread::spawn(move || {
            let count = |which: usize, spans: usize| {
                if let Some(tracer) = weak.upgrade() {
                    tracer.counts[which].fetch_add(spans as u64, Ordering::Relaxed);
                }
            };
            // Without a runtime there are no traces: spans are dropped and counted.
            if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
                runtime.block_on(export(&receive, Client::new(Peer::At(address), MAX_ANSWER), &path, &service, count));
            }
        });
        Ok(tracer)
    }

    /// The context of a request.
    pub(crate) fn context(&self, headers: &HeaderMap) -> Context {
        Context::of(headers, self.share)
    }

    /// Takes a span, which never waits.
    pub(crate) fn take(&self, span: Span) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.try_send(Message::Span(Box::new(span))).is_err() {
            self.counts[1].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Sends what waits, or gives up after a while.
    pub fn flush(&self) {
        let (done, wait) = sync_channel(1);
        let sent = self.queue.lock().unwrap_or_else(PoisonError::into_inner).try_send(Message::Flush(done));
        if sent.is_ok() {
            // What isn't sent by then is lost.
            let _ = wait.recv_timeout(Duration::from_secs(2));
        }
    }

    /// Appends what is counted in Prometheus' text format.
    pub(crate) fn text(&self, out: &mut String) {
        crate::metrics::head(out, "corten_spans_total", "counter", "Traced requests by what came of their spans.");
        for (result, count) in ["sent", "dropped", "failed"].iter().zip(&self.counts) {
            // Writing to a String can't fail.
            let _ = writeln!(out, "corten_spans_total{{result=\"{result}\"}} {}", count.load(Ordering::Relaxed));
        }
    }
}

async fn export(
    queue: &Receiver<Message>,
    mut client: Client,
    path: &str,
    service: &str,
    count: impl Fn(usize, usize),
) {
    let mut told = false;
    let mut flush = None::<SyncSender<()>>;
    while let Ok(first) = queue.recv() {
        let (mut requests, mut spans) = (0, Vec::new());
        let mut next = Some(first);
        let begun = Instant::now();
        while let Some(message) = next.take() {
            match message {
                Message::Span(span) => {
                    span.json(&mut spans);
                    requests += 1;
                }
                Message::Flush(done) => flush = Some(done),
            }
            if flush.is_none() && requests < MAX_BATCH {
                next = queue.recv_timeout(PAUSE.saturating_sub(begun.elapsed())).ok();
            }
        }
        if requests > 0 {
            let sent = send(&mut client, path, service, &spans).await;
            count(if sent.is_ok() { 0 } else { 2 }, requests);
            if let Err(problem) = &sent
                && !std::mem::replace(&mut told, true)
            {
                say(&format_args!("corten-serve: traces don't reach {}: {problem}", client.address()));
            }
            told &= sent.is_err();
        }
        // Whoever waited for it may have gone.
        flush.take().map(|done| done.try_send(()));
    }
}

async fn send(client: &mut Client, path: &str, service: &str, spans: &[Value]) -> Result<(), String> {
    let body = json!({ "resourceSpans": [{
        "resource": { "attributes": [{ "key": "service.name", "value": { "stringValue": service } }] },
        "scopeSpans": [{
            "scope": { "name": "corten-serve", "version": env!("CARGO_PKG_VERSION") },
            "spans": spans,
        }],
    }] });
    let body = serde_json::to_vec(&body).map_err(|e| e.to_string())?;
    let mut problem = String::new();
    // Once more, on a connection of its own: the one that was kept may have been closed meanwhile.
    for _ in 0..2 {
        let request = Request::post(path).header(CONTENT_TYPE, "application/json").body(Full::from(body.clone()));
        match client.send(request.map_err(|e| e.to_string())?, Some(PATIENCE)).await {
            Ok(answer) if answer.status().is_success() => return Ok(()),
            Ok(answer) => problem = format!("status {}", answer.status()),
            Err(fault) => problem = fault.to_string(),
        }
    }
    Err(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(value: &'static str) -> Context {
        let mut headers = HeaderMap::new();
        headers.insert(TRACEPARENT, HeaderValue::from_static(value));
        Context::of(&headers, 0.0)
    }

    #[test]
    fn a_context_goes_on_and_a_broken_one_begins_anew() {
        // The example of the W3C recommendation.
        let given = of("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
        assert_eq!((given.id().as_str(), given.sampled), ("0af7651916cd43dd8448eb211c80319c", true));
        assert_eq!(given.parent.map(|p| hex(&p)).as_deref(), Some("b7ad6b7169203331"));
        assert!(given.header().to_str().unwrap().starts_with("00-0af7651916cd43dd8448eb211c80319c-"));
        assert!(of("cc-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more").parent.is_some());
        for broken in [
            "",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-zz",
        ] {
            let new = of(broken);
            assert!(new.parent.is_none() && !new.sampled && new.trace != [0; 16], "{broken}");
        }
    }

    #[test]
    fn a_share_of_the_requests_without_a_trace_is_sampled() {
        let none = HeaderMap::new();
        let sampled = (0..4000).filter(|_| Context::of(&none, 0.25).sampled).count();
        // Four standard deviations.
        assert!(sampled.abs_diff(1000) < 110, "{sampled}");
        assert!(Context::of(&none, 1.0).sampled && !Context::of(&none, 0.0).sampled);
    }

    #[test]
    fn addresses_that_are_no_collector_are_refused() {
        for url in ["", "localhost:4318", "https://a:1", "http://", "http://:4318", "http://a:b", "http://a/ b"] {
            let error = Tracer::new(url, 0.0, "x").unwrap_err().to_string();
            assert!(error.contains("otlp") && error.contains(url), "{error}");
        }
        assert!(Tracer::new("http://a", 2.0, "x").unwrap_err().to_string().contains("trace-share"));
    }
}
