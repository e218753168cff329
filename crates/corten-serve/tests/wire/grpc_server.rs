//! A client of gRPC over HTTP/2 that can also do what no client does.

use std::time::Duration;

use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use hyper::body::Bytes;
use hyper::{HeaderMap, Request};
use prost::Message;
use tokio::runtime::Runtime;

use crate::server::{Server, free_port};

#[path = "../../src/grpc/messages/mod.rs"]
#[allow(dead_code, missing_docs, unreachable_pub, clippy::all, reason = "made by tools/grpc")]
pub(crate) mod messages;

/// The path of a method of the inference service.
pub(crate) fn method(name: &str) -> String {
    format!("/inference.GRPCInferenceService/{name}")
}

/// A server with gRPC, and a connection to it.
pub(crate) fn start(models: &[&str], options: &[&str]) -> (Server, Client) {
    let port = free_port();
    let port_text = port.to_string();
    let options: Vec<&str> = [&["--grpc-port", &port_text], options].concat();
    let server = Server::start(models, &options);
    (server, Client::connect(port))
}

/// The answer to a call.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) http: u16,
    pub(crate) code: Option<u16>,
    pub(crate) message: String,
    pub(crate) headers: HeaderMap,
    data: Vec<u8>,
}

impl Reply {
    /// The messages that came.
    pub(crate) fn messages<M: Message + Default>(&self) -> Vec<M> {
        let (mut rest, mut out) = (self.data.as_slice(), Vec::new());
        while let Some(([flag, length @ ..], after)) = rest.split_first_chunk::<5>() {
            assert_eq!(*flag, 0, "an answer is not compressed");
            let (message, after) = after.split_at(u32::from_be_bytes(*length) as usize);
            out.push(M::decode(message).expect("a message"));
            rest = after;
        }
        assert!(rest.is_empty());
        out
    }

    /// The one message of a call that went well.
    pub(crate) fn ok<M: Message + Default>(&self) -> M {
        assert_eq!((self.code, self.http), (Some(0), 200), "{}", self.message);
        let mut messages = self.messages();
        assert_eq!(messages.len(), 1);
        messages.remove(0)
    }

    /// The sentence of a call that failed with this code.
    #[track_caller]
    pub(crate) fn error(&self, code: u16) -> &str {
        assert_eq!(self.code, Some(code), "{}", self.message);
        assert!(!self.message.is_empty());
        &self.message
    }
}

/// A message as it is sent.
pub(crate) fn framed(message: &impl Message) -> Vec<u8> {
    flagged(0, &message.encode_to_vec())
}

/// Bytes as a message with a flag.
pub(crate) fn flagged(flag: u8, message: &[u8]) -> Vec<u8> {
    let mut out = vec![flag];
    out.extend_from_slice(&u32::try_from(message.len()).expect("a length").to_be_bytes());
    out.extend_from_slice(message);
    out
}

/// Text without its percent signs.
fn plain(text: &str) -> String {
    let (mut out, mut rest) = (Vec::new(), text.as_bytes());
    while let Some((&first, after)) = rest.split_first() {
        if first == b'%' {
            let code = std::str::from_utf8(&after[..2]).expect("digits");
            out.push(u8::from_str_radix(code, 16).expect("a number"));
            rest = &after[2..];
        } else {
            out.push(first);
            rest = after;
        }
    }
    String::from_utf8(out).expect("text")
}

/// A call whose messages go one by one.
pub(crate) struct Open<'c> {
    client: &'c Client,
    send: SendStream<Bytes>,
    response: Option<h2::client::ResponseFuture>,
    body: Option<RecvStream>,
}

impl Open<'_> {
    /// Sends bytes, and ends the call's messages with them.
    pub(crate) fn send(&mut self, bytes: &[u8], end: bool) {
        self.client.runtime.block_on(async {
            // A call that was answered already takes nothing more.
            let _ = self.send.send_data(Bytes::copy_from_slice(bytes), end);
            // Lets the connection write.
            tokio::time::sleep(Duration::from_millis(10)).await;
        });
    }

    /// The next bytes of a call that goes on.
    pub(crate) fn data(&mut self) -> Vec<u8> {
        self.client.runtime.block_on(async {
            if let Some(response) = self.response.take() {
                self.body = Some(response.await.expect("a head").into_body());
            }
            let body = self.body.as_mut().expect("a body");
            let data = body.data().await.expect("data").expect("data");
            body.flow_control().release_capacity(data.len()).expect("capacity");
            data.to_vec()
        })
    }

    /// The rest of the answer.
    pub(crate) fn finish(mut self) -> Reply {
        self.client.runtime.block_on(async {
            let (mut http, mut headers) = (200, HeaderMap::new());
            if let Some(response) = self.response.take() {
                let (head, body) = response.await.expect("a head").into_parts();
                (http, headers, self.body) = (head.status.as_u16(), head.headers, Some(body));
            }
            let mut body = self.body.take().expect("a body");
            let mut data = Vec::new();
            while let Some(more) = body.data().await {
                let more = more.expect("data");
                body.flow_control().release_capacity(more.len()).expect("capacity");
                data.extend_from_slice(&more);
            }
            let trailers = body.trailers().await.expect("an end").unwrap_or_else(|| headers.clone());
            let text = |name: &str| trailers.get(name).map(|v| v.to_str().expect("ASCII").to_owned());
            let code = text("grpc-status").map(|c| c.parse().expect("a code"));
            Reply { http, code, message: plain(&text("grpc-message").unwrap_or_default()), headers, data }
        })
    }
}

/// A connection.
pub(crate) struct Client {
    runtime: Runtime,
    send: SendRequest<Bytes>,
    ended: tokio::task::JoinHandle<()>,
}

impl Client {
    pub(crate) fn connect(port: u16) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (send, ended) = runtime.block_on(async {
            let stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await.expect("a connection");
            let (send, connection) = h2::client::handshake(stream).await.expect("HTTP/2");
            let ended = tokio::spawn(async move {
                // How it ended shows in the calls.
                let _ = connection.await;
            });
            (send.ready().await.expect("a connection"), ended)
        });
        Self { runtime, send, ended }
    }

    /// How many calls the server lets a connection have at once.
    pub(crate) fn calls_at_once(&self) -> usize {
        self.send.current_max_send_streams()
    }

    pub(crate) fn open(&self, path: &str, headers: &[(&str, &str)]) -> Open<'_> {
        let plain = [("content-type", "application/grpc"), ("te", "trailers"), (":method", "POST")];
        let get = |key: &str| headers.iter().find(|h| h.0 == key).map(|h| h.1);
        let mut request =
            Request::builder().method(get(":method").unwrap_or("POST")).uri(format!("http://127.0.0.1{path}"));
        for (name, value) in plain.iter().filter(|p| get(p.0).is_none()).chain(headers) {
            if !name.starts_with(':') {
                request = request.header(*name, *value);
            }
        }
        let mut sender = self.send.clone();
        let (response, send) = self.runtime.block_on(async {
            let request = request.body(()).expect("a request");
            let opened = sender.send_request(request, false).expect("a call");
            tokio::time::sleep(Duration::from_millis(1)).await;
            opened
        });
        Open { client: self, send, response: Some(response), body: None }
    }

    /// A call whose messages are these bytes.
    pub(crate) fn raw(&self, path: &str, headers: &[(&str, &str)], bytes: &[u8]) -> Reply {
        let mut call = self.open(path, headers);
        let _ = call.send.send_data(Bytes::copy_from_slice(bytes), true);
        call.finish()
    }

    /// A call with one message.
    pub(crate) fn call(&self, path: &str, message: &impl Message) -> Reply {
        self.raw(path, &[], &framed(message))
    }

    /// Waits until the server has ended the connection.
    pub(crate) fn wait(self) {
        let limit = Duration::from_secs(20);
        let ended = self.runtime.block_on(async { tokio::time::timeout(limit, self.ended).await });
        ended.expect("the connection ends").expect("an end");
    }
}
