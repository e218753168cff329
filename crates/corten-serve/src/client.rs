//! A client of one HTTP/1.1 server nearby: a collector of traces, Lambda's runtime, or this server itself.

use std::sync::Arc;
use std::time::Duration;

use corten_core::Error;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;

use crate::serve::{Shared, connection};
use crate::tls;

/// Why a request got no answer.
pub(crate) type Fault = Box<dyn std::error::Error + Send + Sync>;

/// Most bytes on the way between the server and itself.
const PIPE: usize = 64 << 10;

/// Whom a client talks to.
pub(crate) enum Peer {
    /// A server at `HOST:PORT`.
    At(String),
    /// The same over TLS, whatever certificate it shows: only for what is no secret, and of which nothing hangs on who answers.
    Unverified(String),
    /// This server, over memory, until it stops.
    Own(Arc<Shared>, watch::Receiver<bool>),
}

/// A connection that is made again when it breaks.
pub(crate) struct Client {
    peer: Peer,
    sender: Option<SendRequest<Full<Bytes>>>,
    /// Largest answer.
    limit: usize,
}

impl Client {
    /// A client of a server, of which answers may have `limit` bytes.
    pub(crate) fn new(peer: Peer, limit: usize) -> Self {
        Self { peer, sender: None, limit }
    }

    /// Host and port.
    pub(crate) fn address(&self) -> &str {
        match &self.peer {
            Peer::At(address) | Peer::Unverified(address) => address,
            Peer::Own(..) => "localhost",
        }
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Fault> {
        match &self.peer {
            Peer::At(address) => {
                let stream = tokio::net::TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                over(stream).await
            }
            Peer::Unverified(address) => {
                let stream = tokio::net::TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                over(tls::unverified(stream, address).await?).await
            }
            Peer::Own(shared, stopped) => {
                let (ours, theirs) = tokio::io::duplex(PIPE);
                tokio::spawn(connection(theirs, Arc::clone(shared), stopped.clone()));
                over(ours).await
            }
        }
    }

    /// Sends a request and reads its answer whole, waiting as long as `limit` says.
    ///
    /// # Errors
    /// When there is no answer, or one that is too long; the next request has a connection of its own.
    pub(crate) async fn send(
        &mut self,
        mut request: Request<Full<Bytes>>,
        limit: Option<Duration>,
    ) -> Result<Response<Bytes>, Fault> {
        let host = HeaderValue::from_str(self.address())?;
        request.headers_mut().insert(HOST, host);
        let mut sender = match self.sender.take().filter(|s| !s.is_closed()) {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        let answered = async {
            sender.ready().await?;
            let (head, body) = sender.send_request(request).await?.into_parts();
            let body = Limited::new(body, self.limit).collect().await?.to_bytes();
            Ok::<_, Fault>(Response::from_parts(head, body))
        };
        let answer = match limit {
            Some(limit) => tokio::time::timeout(limit, answered).await??,
            None => answered.await?,
        };
        self.sender = Some(sender);
        Ok(answer)
    }
}

async fn over(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Result<SendRequest<Full<Bytes>>, Fault> {
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // It ends with its sender; what broke it is told to whoever sends.
    tokio::spawn(connection);
    Ok(sender)
}

/// Asks a server at `HOST:PORT` whether it is ready; over TLS, without a look at its certificate, at `https://HOST:PORT`.
///
/// # Errors
/// [`Error::Io`] when it isn't, or says nothing within two seconds.
pub fn probe(address: &str) -> corten_core::Result<()> {
    let fault = |problem: String| Error::Io { path: address.to_owned(), problem, not_found: false };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|e| fault(e.to_string()))?.block_on(async {
        let request = Request::get("/v2/health/ready").body(Full::default()).map_err(|e| fault(e.to_string()))?;
        let peer = match (address.strip_prefix("https://"), address.strip_prefix("http://")) {
            (Some(address), _) => Peer::Unverified(address.trim_end_matches('/').to_owned()),
            (None, plain) => Peer::At(plain.map_or(address, |p| p.trim_end_matches('/')).to_owned()),
        };
        let mut client = Client::new(peer, 1 << 16);
        let answer = tokio::time::timeout(Duration::from_secs(2), client.send(request, None)).await;
        match answer {
            Ok(Ok(answer)) if answer.status() == StatusCode::OK => Ok(()),
            Ok(Ok(answer)) => Err(fault(format!("isn't ready: status {}", answer.status().as_u16()))),
            Ok(Err(error)) => Err(fault(format!("can't be reached: {error}"))),
            Err(_) => Err(fault("says nothing within 2 s".into())),
        }
    })
}
