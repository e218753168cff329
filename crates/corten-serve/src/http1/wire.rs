//! The bytes of a connection: what has come and isn't read yet, and what is to go. Their memory is a worker's, lent to a
//! connection while it has something in it: one that is idle holds none.

use std::cell::Cell;
use std::future::poll_fn;
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Bytes that are read at once.
const ROOM: usize = 64 << 10;
/// Answers up to this length are copied behind their head; longer ones go beside it.
const COPIED: usize = 32 << 10;

/// How long nothing may come on a connection that is read after its last answer.
pub(crate) const LINGER: Duration = Duration::from_secs(1);

thread_local! {
    static CAME: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
    static OUT: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

fn lent(spare: &'static std::thread::LocalKey<Cell<Vec<u8>>>) -> Vec<u8> {
    let mut room = spare.take();
    room.reserve_exact(ROOM);
    room
}

fn give_back(spare: &'static std::thread::LocalKey<Cell<Vec<u8>>>, mut room: Vec<u8>) {
    // What has grown isn't kept.
    if (ROOM..=4 * ROOM).contains(&room.capacity()) {
        room.clear();
        spare.set(room);
    }
}

/// What a connection is made of.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection and the bytes on both ways.
pub(crate) struct Wire<'s> {
    stream: &'s mut dyn Stream,
    came: Vec<u8>,
    /// Where the bytes begin that aren't read yet.
    at: usize,
    out: Vec<u8>,
    /// Longest wait for a client that doesn't take its answer.
    patience: Duration,
}

impl<'s> Wire<'s> {
    pub(crate) fn new(stream: &'s mut dyn Stream, patience: Duration) -> Self {
        Self { stream, came: Vec::new(), at: 0, out: Vec::new(), patience }
    }

    /// What has come and isn't read yet.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.came[self.at..]
    }

    /// Bytes that were read before.
    pub(crate) fn begin(&mut self, before: Vec<u8>) {
        self.came = before;
    }

    /// What has come and isn't read yet, from a place on, to be read beside the rest of the wire until it is kept again.
    pub(crate) fn lift(&mut self) -> (Vec<u8>, usize) {
        (std::mem::take(&mut self.came), std::mem::take(&mut self.at))
    }

    /// Takes back what was lifted, of which all before a place is read.
    pub(crate) fn keep(&mut self, came: Vec<u8>, at: usize) {
        self.came = came;
        self.at = 0;
        self.consume(at);
    }

    /// Where answers are written.
    pub(crate) fn out(&mut self) -> &mut Vec<u8> {
        if self.out.capacity() == 0 {
            self.out = lent(&OUT);
        }
        &mut self.out
    }

    /// Both: a request and where its answer goes.
    pub(crate) fn both(&mut self) -> (&[u8], &mut Vec<u8>) {
        if self.out.capacity() == 0 {
            self.out = lent(&OUT);
        }
        (&self.came[self.at..], &mut self.out)
    }

    /// Whether more answers may wait before some are sent.
    pub(crate) fn is_full(&self) -> bool {
        self.out.len() >= ROOM
    }

    /// Passes over bytes that are read.
    pub(crate) fn consume(&mut self, count: usize) {
        self.at += count;
        if self.at >= self.came.len() {
            give_back(&CAME, std::mem::take(&mut self.came));
            self.at = 0;
        }
    }

    /// Whether answers wait to be sent.
    pub(crate) fn owes(&self) -> bool {
        !self.out.is_empty()
    }

    /// Says that nothing more will be sent, then reads on for a while, so that the client sees the last answer before it
    /// hears that its own bytes weren't wanted: many clients read only once all of a body is sent. That lasts for as long as
    /// more comes, and no longer than `longest`.
    pub(crate) async fn close(mut self, longest: Duration) {
        let ended = async {
            // A client that is gone needs no word, and one that takes none isn't waited for.
            if tokio::time::timeout(LINGER, self.stream.shutdown()).await.is_err() {
                return;
            }
            while !longest.is_zero() {
                let count = self.rest().len();
                self.consume(count);
                if !matches!(tokio::time::timeout(LINGER, self.fill()).await, Ok(Ok(1..))) {
                    break;
                }
            }
        };
        let _ = tokio::time::timeout(longest.max(LINGER), ended).await;
    }

    /// Reads what is there; 0 at the end of the stream.
    pub(crate) fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<Result<usize>> {
        let mut room = lent(&CAME);
        let polled = pin!(self.stream.read_buf(&mut room)).poll(context);
        if !matches!(polled, Poll::Ready(Ok(1..))) {
            give_back(&CAME, room);
            if polled.is_pending() {
                self.shrink();
            }
        } else if self.came.is_empty() {
            self.came = room;
        } else {
            self.came.drain(..self.at);
            self.at = 0;
            self.came.extend_from_slice(&room);
            give_back(&CAME, room);
        }
        polled
    }

    /// Holds no more memory than what has come needs, where that waits to be answered.
    pub(crate) fn settle(&mut self) {
        self.came.drain(..self.at);
        self.at = 0;
        self.came.shrink_to_fit();
    }

    /// A connection that waits holds what has come and what is to go, and no more.
    fn shrink(&mut self) {
        if self.out.is_empty() && self.out.capacity() > 0 {
            give_back(&OUT, std::mem::take(&mut self.out));
        }
        if self.came.capacity() >= ROOM && self.rest().len() < ROOM / 4 {
            let small = self.rest().to_vec();
            give_back(&CAME, std::mem::replace(&mut self.came, small));
            self.at = 0;
        }
    }

    /// Waits until there is more to read; 0 at the end of the stream.
    ///
    /// # Errors
    /// Those of the stream.
    pub(crate) async fn fill(&mut self) -> Result<usize> {
        poll_fn(|context| self.poll_fill(context)).await
    }

    /// Sends what is owed.
    ///
    /// # Errors
    /// Those of the stream, and when the client takes nothing for too long.
    pub(crate) async fn flush(&mut self) -> Result<()> {
        self.flush_with(&[]).await
    }

    /// Sends what is owed, and `more` behind it.
    ///
    /// # Errors
    /// As [`Wire::flush`].
    pub(crate) async fn flush_with(&mut self, more: &[u8]) -> Result<()> {
        if more.len() <= COPIED {
            self.out().extend_from_slice(more);
            return self.send(&[]).await;
        }
        self.send(more).await
    }

    async fn send(&mut self, more: &[u8]) -> Result<()> {
        let mut sent = 0;
        // Nearly always, one write takes all, and no clock is set.
        let mut done = poll_fn(|context| Poll::Ready(self.poll_send(context, more, &mut sent))).await;
        while done.is_pending() {
            let (before, patience) = (sent, self.patience);
            let step = poll_fn(|context| {
                let polled = self.poll_send(context, more, &mut sent);
                if polled.is_pending() && sent == before { Poll::Pending } else { Poll::Ready(polled) }
            });
            done = tokio::time::timeout(patience, step).await.map_err(|_| Error::from(ErrorKind::TimedOut))?;
        }
        self.out.clear();
        give_back(&OUT, std::mem::take(&mut self.out));
        match done {
            Poll::Ready(sent) => sent,
            Poll::Pending => Ok(()),
        }
    }

    fn poll_send(&mut self, context: &mut Context<'_>, more: &[u8], sent: &mut usize) -> Poll<Result<()>> {
        let whole = self.out.len() + more.len();
        while *sent < whole {
            let stream = Pin::new(&mut *self.stream);
            let count = match self.out.get(*sent..) {
                Some(first) if more.is_empty() => ready!(stream.poll_write(context, first))?,
                Some(first) if !first.is_empty() => {
                    ready!(stream.poll_write_vectored(context, &[IoSlice::new(first), IoSlice::new(more)]))?
                }
                _ => ready!(stream.poll_write(context, &more[*sent - self.out.len()..]))?,
            };
            if count == 0 {
                return Poll::Ready(Err(Error::from(ErrorKind::WriteZero)));
            }
            *sent += count;
        }
        Pin::new(&mut *self.stream).poll_flush(context)
    }
}
