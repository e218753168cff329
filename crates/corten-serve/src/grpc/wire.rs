//! Messages in the frames of HTTP/2: five bytes of compression and length before each.

use std::task::Poll;
use std::time::Instant;

use hyper::HeaderMap;
use hyper::body::Bytes;
use hyper::header::HeaderValue;
use prost::Message;

use super::status::{Code, Status};
use crate::http2::Body;
use crate::pace::Pace;
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
    body: Body,
    /// What came and isn't read yet, in the order of coming.
    kept: Bytes,
    packing: Option<Packing>,
    limit: usize,
    /// How slowly a message may come that has begun, when the one that is read has, and how much of it has come.
    pace: Pace,
    begun: Instant,
    came: usize,
}

impl Messages {
    pub(crate) fn new(body: Body, packing: Option<Packing>, limit: usize, pace: Pace) -> Self {
        Self { body, kept: Bytes::new(), packing, limit, pace, begun: Instant::now(), came: 0 }
    }

    /// The next bytes that come; none at the end.
    async fn more(&mut self) -> Result<Option<Bytes>, Status> {
        let broken = |_| Status::new(Code::Unavailable, "the request broke off");
        self.body.more().await.map_err(broken)
    }

    /// The next bytes of a message, if they come in time; none at the end.
    async fn soon(&mut self) -> Result<Option<Bytes>, Status> {
        // A clock is set only where there is something to wait for.
        let mut more = std::pin::pin!(self.body.more());
        let at_once = std::future::poll_fn(|context| Poll::Ready(more.as_mut().poll(context))).await;
        let found = match at_once {
            Poll::Ready(found) => found,
            Poll::Pending => {
                let limit = self.pace.limit(self.begun, self.came);
                let late = |_| Status::new(Code::DeadlineExceeded, self.pace.problem(self.begun, "message"));
                tokio::time::timeout_at(limit.into(), more).await.map_err(late)?
            }
        };
        let found = found.map_err(|_| Status::new(Code::Unavailable, "the request broke off"))?;
        self.came += found.as_ref().map_or(0, Bytes::len);
        Ok(found)
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
        (self.begun, self.came) = (Instant::now(), self.kept.len());
        self.rest().await.map(Some)
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
            let Some(data) = self.soon().await? else {
                let text = format!("the request ended after {} bytes of {length}", whole.len());
                return Err(Status::invalid(text));
            };
            whole.extend_from_slice(&data);
        }
        self.kept = whole.into();
        Ok(())
    }

    /// Waits for the first bytes of a call's only message.
    ///
    /// # Errors
    /// INVALID_ARGUMENT for none.
    pub(crate) async fn begin(&mut self) -> Result<(), Status> {
        if self.kept.is_empty() {
            self.kept = self.soon().await?.ok_or_else(|| Status::invalid("no message came"))?;
        }
        Ok(())
    }

    /// The one message of a call that has one.
    ///
    /// # Errors
    /// Those of [`Messages::next`], and INVALID_ARGUMENT for none and for several.
    pub(crate) async fn only(&mut self) -> Result<Bytes, Status> {
        self.begin().await?;
        let message = self.rest().await?;
        if self.kept.is_empty() && (self.body.is_done() || self.soon().await?.is_none()) {
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
