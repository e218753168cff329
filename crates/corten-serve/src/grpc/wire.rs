//! Messages in the frames of HTTP/2: five bytes of compression and length before each.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::header::HeaderValue;
use prost::Message;
use tokio::sync::mpsc;

use super::status::{Code, Status, trailers};
use crate::packed::{Packing, Unpacked};

/// Bytes before a message.
const HEAD: usize = 5;
/// Most memory that is taken for a message before its bytes are there.
const AHEAD: usize = 64 << 10;

/// The encodings that are read, as `grpc-accept-encoding` lists them.
pub(crate) const ENCODINGS: &str = "identity,deflate,gzip";

/// How the messages of a call may be compressed, if they may be.
///
/// # Errors
/// UNIMPLEMENTED for an encoding that isn't read.
pub(crate) fn encoding(headers: &HeaderMap) -> Result<Option<Packing>, Status> {
    let Some(given) = headers.get("grpc-encoding").map(HeaderValue::as_bytes) else { return Ok(None) };
    Packing::of(given).map_err(|()| {
        let text = format!("messages in '{}' aren't read; {ENCODINGS} are", String::from_utf8_lossy(given));
        Status::new(Code::Unimplemented, text)
    })
}

/// A message that is larger than allowed.
fn too_large(limit: usize) -> Status {
    Status::new(Code::ResourceExhausted, format!("a message of more than {limit} bytes"))
}

fn slow(patience: Duration) -> Status {
    Status::new(Code::DeadlineExceeded, format!("the message took more than {} s", patience.as_secs()))
}

/// Unpacks a message within the limit.
fn unpack(bytes: &[u8], packing: Option<Packing>, limit: usize) -> Result<Bytes, Status> {
    let Some(packing) = packing else {
        return Err(Status::invalid("a message is said to be compressed, but 'grpc-encoding' names no encoding"));
    };
    match packing.unpack(bytes, limit) {
        Ok(message) => Ok(message.into()),
        Err(Unpacked::TooLarge) => Err(too_large(limit)),
        Err(Unpacked::Broken(error)) => Err(Status::invalid(format!("a message can't be unpacked: {error}"))),
    }
}

/// The messages that a client sends.
pub(crate) struct Messages {
    body: Incoming,
    /// What came and isn't read yet, in the order of coming.
    kept: Bytes,
    packing: Option<Packing>,
    limit: usize,
    /// Longest wait for a message that has begun.
    patience: Duration,
}

impl Messages {
    pub(crate) fn new(body: Incoming, packing: Option<Packing>, limit: usize, patience: Duration) -> Self {
        Self { body, kept: Bytes::new(), packing, limit, patience }
    }

    /// The next bytes that come; none at the end.
    async fn more(&mut self) -> Result<Option<Bytes>, Status> {
        loop {
            let Some(frame) = self.body.frame().await else { return Ok(None) };
            let frame = frame.map_err(|e| Status::new(Code::Unavailable, format!("the request broke off: {e}")))?;
            // What follows the messages says nothing to a server.
            if let Ok(data) = frame.into_data()
                && !data.is_empty()
            {
                return Ok(Some(data));
            }
        }
    }

    /// The next message; none at the end.
    ///
    /// # Errors
    /// RESOURCE_EXHAUSTED for one that is too large, DEADLINE_EXCEEDED for one that comes too slowly, INVALID_ARGUMENT for
    /// one that breaks off.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        if self.kept.is_empty() {
            let Some(data) = self.more().await? else { return Ok(None) };
            self.kept = data;
        }
        let patience = self.patience;
        match tokio::time::timeout(patience, self.rest()).await {
            Ok(message) => message.map(Some),
            Err(_) => Err(slow(patience)),
        }
    }

    /// The message that has begun.
    async fn rest(&mut self) -> Result<Bytes, Status> {
        let mut head = [0; HEAD];
        self.fill(HEAD).await?;
        head.copy_from_slice(&self.kept.split_to(HEAD));
        let [flag, length @ ..] = head;
        let length = u32::from_be_bytes(length) as usize;
        if length > self.limit {
            return Err(too_large(self.limit));
        }
        if flag > 1 {
            return Err(Status::invalid(format!("a message begins with {flag} where 0 or 1 is needed")));
        }
        self.fill(length).await?;
        let message = self.kept.split_to(length);
        if flag == 1 { unpack(&message, self.packing, self.limit) } else { Ok(message) }
    }

    /// Waits until so many bytes are there.
    async fn fill(&mut self, length: usize) -> Result<(), Status> {
        if self.kept.len() >= length {
            return Ok(());
        }
        // Most of what a head promises isn't reserved: the bytes must come first.
        let mut whole = Vec::with_capacity(length.min(AHEAD));
        whole.extend_from_slice(&std::mem::take(&mut self.kept));
        while whole.len() < length {
            let Some(data) = self.more().await? else {
                let text = format!("the request ended after {} bytes of {length}", whole.len());
                return Err(Status::invalid(text));
            };
            whole.extend_from_slice(&data);
        }
        self.kept = whole.into();
        Ok(())
    }

    /// The one message of a call that has one.
    ///
    /// # Errors
    /// Those of [`Messages::next`], and INVALID_ARGUMENT for none and for several.
    pub(crate) async fn only(&mut self) -> Result<Bytes, Status> {
        let patience = self.patience;
        tokio::time::timeout(patience, self.one()).await.unwrap_or_else(|_| Err(slow(patience)))
    }

    async fn one(&mut self) -> Result<Bytes, Status> {
        if self.kept.is_empty() {
            self.kept = self.more().await?.ok_or_else(|| Status::invalid("no message came"))?;
        }
        let message = self.rest().await?;
        if self.kept.is_empty() && (self.body.is_end_stream() || self.more().await?.is_none()) {
            return Ok(message);
        }
        Err(Status::invalid("more than one message came"))
    }
}

/// A message as it is sent.
pub(crate) fn framed(message: &impl Message) -> Bytes {
    let length = message.encoded_len();
    let mut out = Vec::with_capacity(HEAD + length);
    out.push(0);
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    // A vector takes all that is written.
    let _ = message.encode(&mut out);
    out.into()
}

/// What a call is answered with.
pub(crate) enum Reply {
    /// Nothing: how the call ended stands in the head.
    Ended,
    /// One message and the end.
    Message(Option<Bytes>, Option<HeaderMap>),
    /// Messages as they become ready, and the end.
    Stream(mpsc::Receiver<Frame<Bytes>>),
}

impl Reply {
    pub(crate) fn message(message: Bytes) -> Self {
        Self::Message(Some(message), Some(trailers(None)))
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut *self {
            Self::Ended => Poll::Ready(None),
            Self::Message(message, trailers) => {
                let frame = message.take().map(Frame::data).or_else(|| trailers.take().map(Frame::trailers));
                Poll::Ready(frame.map(Ok))
            }
            Self::Stream(frames) => frames.poll_recv(context).map(|frame| frame.map(Ok)),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Ended => true,
            Self::Message(message, trailers) => message.is_none() && trailers.is_none(),
            Self::Stream(_) => false,
        }
    }
}
