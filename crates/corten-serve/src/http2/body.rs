//! What goes between a connection and the calls that are answered beside it: their bytes, and their answers.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use hyper::body::Bytes;
use tokio::sync::mpsc;

/// What a call is answered with.
pub(crate) struct Answer {
    /// The fields that come first.
    pub(crate) head: Vec<u8>,
    pub(crate) reply: Reply,
}

/// What follows the first fields.
pub(crate) enum Reply {
    /// Nothing.
    Ended,
    /// Bytes, and the fields that come last.
    Whole(Bytes, Vec<u8>),
    /// Parts as they become ready.
    Stream(mpsc::Receiver<Part>),
}

/// A part of a reply.
pub(crate) enum Part {
    Data(Bytes),
    /// The fields that come last.
    End(Vec<u8>),
}

fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What calls tell their connection.
pub(super) enum Letter {
    /// So many bytes of a body were taken: as many more may come.
    Took(usize),
    Answer(Answer),
}

/// The letters of all calls of a connection, with the ids of the calls.
#[derive(Default)]
pub(super) struct Mail(Mutex<(Vec<(u32, Letter)>, Option<Waker>)>);

impl Mail {
    pub(super) fn send(&self, id: u32, letter: Letter) {
        let mut mail = locked(&self.0);
        mail.0.push((id, letter));
        if let Some(waker) = mail.1.take() {
            waker.wake();
        }
    }

    pub(super) fn take(&self) -> Vec<(u32, Letter)> {
        std::mem::take(&mut locked(&self.0).0)
    }

    /// Whether there is something; who asks is woken when there is.
    pub(super) fn poll(&self, context: &Context<'_>) -> bool {
        let mut mail = locked(&self.0);
        if mail.0.is_empty() {
            mail.1 = Some(context.waker().clone());
        }
        !mail.0.is_empty()
    }
}

#[derive(Default)]
struct Came {
    bytes: Vec<u8>,
    ended: bool,
    /// Whether no more will come though it didn't end.
    broken: bool,
    waker: Option<Waker>,
}

/// What has come of a body and isn't taken yet.
#[derive(Default)]
pub(super) struct Inbox(Mutex<Came>);

impl Inbox {
    fn wake(mut came: MutexGuard<'_, Came>) {
        if let Some(waker) = came.waker.take() {
            drop(came);
            waker.wake();
        }
    }

    pub(super) fn push(&self, bytes: &[u8]) {
        let mut came = locked(&self.0);
        came.bytes.extend_from_slice(bytes);
        Self::wake(came);
    }

    pub(super) fn end(&self) {
        let mut came = locked(&self.0);
        came.ended = true;
        Self::wake(came);
    }

    /// Nothing more will come; how many bytes weren't taken.
    pub(super) fn close(&self) -> usize {
        let mut came = locked(&self.0);
        let left = std::mem::take(&mut came.bytes).len();
        (came.ended, came.broken) = (false, true);
        Self::wake(came);
        left
    }
}

/// The body of a call broke off.
pub(crate) struct Broken;

/// The body of a call, to be read beside its connection.
pub(crate) struct Body {
    pub(super) inbox: Arc<Inbox>,
    pub(super) mail: Arc<Mail>,
    pub(super) id: u32,
}

impl Body {
    /// The next bytes that come; none at the end.
    ///
    /// # Errors
    /// [`Broken`], once the call has gone.
    pub(crate) async fn more(&mut self) -> Result<Option<Bytes>, Broken> {
        poll_fn(|context| {
            let mut came = locked(&self.inbox.0);
            if came.bytes.is_empty() {
                if came.ended {
                    return Poll::Ready(Ok(None));
                }
                if came.broken {
                    return Poll::Ready(Err(Broken));
                }
                came.waker = Some(context.waker().clone());
                return Poll::Pending;
            }
            let bytes = std::mem::take(&mut came.bytes);
            drop(came);
            self.mail.send(self.id, Letter::Took(bytes.len()));
            Poll::Ready(Ok(Some(bytes.into())))
        })
        .await
    }

    /// Whether all bytes were taken.
    pub(crate) fn is_done(&self) -> bool {
        let came = locked(&self.inbox.0);
        came.bytes.is_empty() && came.ended
    }
}
