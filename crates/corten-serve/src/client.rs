//! A client of one HTTP/1.1 server nearby: a collector of traces, or Lambda's runtime.

use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;

/// Why a request got no answer.
pub(crate) type Fault = Box<dyn std::error::Error + Send + Sync>;

/// A connection that is made again when it breaks.
pub(crate) struct Client {
    /// Host and port.
    pub(crate) address: String,
    sender: Option<SendRequest<Full<Bytes>>>,
    /// Largest answer.
    limit: usize,
}

impl Client {
    /// A client of a server at `HOST:PORT`, of which answers may have `limit` bytes.
    pub(crate) fn new(address: &str, limit: usize) -> Self {
        Self { address: address.to_owned(), sender: None, limit }
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, Fault> {
        let stream = tokio::net::TcpStream::connect(&self.address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // It ends with its sender; what broke it is told to whoever sends.
        tokio::spawn(connection);
        Ok(sender)
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
        let host = HeaderValue::from_str(&self.address)?;
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
