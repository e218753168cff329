//! HTTP/2 (RFC 9113), as far as gRPC needs it: a connection is read and written on the thread that accepted it, and its calls
//! are begun there. One that is answered at once, or refused from its head, costs neither a task nor a table of its own.

mod body;
mod calls;
mod frame;
mod frames;
mod hpack;
mod huffman;
mod request;

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

pub(crate) use self::body::{Answer, Body, Part, Reply};
use self::body::{Letter, Mail};
use self::calls::{Begun, Stream as Call};
use self::frame::{Code, Fault};
use self::hpack::Decoder;
pub(crate) use self::hpack::{field, status};
pub(crate) use self::request::{Known, Request};
use crate::http1::{LINGER, Stream, Wire};
use crate::serve::{Shared, until};

/// What every client begins with.
pub(crate) const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Most calls at once on a connection.
const MAX_CALLS: usize = 128;
/// Most bytes of a call's header fields, each with 32 bytes beside it.
const MAX_FIELDS: usize = 16 << 10;
/// The same of all calls of a connection that aren't over: one of many messages may last as long as its client likes.
const MAX_HELD: usize = 16 * MAX_FIELDS;
/// Bytes that a client may send of a call, and of all calls of its connection, before they are taken.
const WINDOW: i64 = 1 << 20;
/// The same, and for this side, before anything was agreed.
const FIRST_WINDOW: i64 = 65_535;

/// How long a connection may be silent before it is asked whether it is there.
const SILENCE: Duration = Duration::from_secs(60);
/// How long its answer to that is waited for.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a connection beyond the limit stays, to be told so, and how long the answer to the word that a connection ends
/// is waited for.
const SOON: Duration = Duration::from_secs(1);
/// What pings say that ask for an answer.
const THERE: &[u8; 8] = b"there?  ";
const LEAVING: &[u8; 8] = b"leaving ";

/// How far a connection is on its way to its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaving {
    No,
    /// The client was told since then, and may have begun calls before it knew.
    Told(Instant),
    /// Calls behind this one aren't answered.
    After(u32),
}

struct Connection<'c, 's> {
    wire: Wire<'s>,
    shared: &'c Arc<Shared>,
    full: bool,
    /// Tells when the word to stop has come.
    word: watch::Receiver<bool>,
    mail: Arc<Mail>,
    decoder: Decoder,
    calls: Vec<Call>,
    /// Calls that nothing was done for yet.
    begun: VecDeque<Begun>,
    /// The last call.
    last: u32,
    reading: frames::Reading,
    /// Bytes that the client may still send, and those that it may send again and wasn't told of.
    left: i64,
    owed: usize,
    /// Bytes that may be sent, of all calls, and of a new one.
    window: i64,
    first_window: i64,
    /// Whether the client's table is to be told that nobody uses it.
    tableless: bool,
    leaving: Leaving,
    /// Whether the client begins nothing more.
    farewell: bool,
    /// How many frames may come that ask for nothing, and since when no more were allowed.
    idle: u32,
    since: Instant,
    opened: Instant,
    /// When something came last, and since when an answer to a ping is waited for.
    heard: Instant,
    pinged: Option<Instant>,
    /// Since when the client takes nothing of an answer.
    stalled: Option<Instant>,
    /// Whether the word to stop and the clock have seen who is to be woken, and when the clock wakes.
    seen: bool,
    alarm: Instant,
}

/// What a wait has brought.
enum Came {
    Something,
    End,
    Stop,
    /// It is time for something.
    Time,
}

/// Answers the calls of a connection, of which some bytes may have been read before, until it ends. One that came beyond the
/// limit (`full`) is told so and closed.
pub(crate) async fn serve(
    stream: &mut dyn Stream,
    before: Vec<u8>,
    shared: &Arc<Shared>,
    full: bool,
    stopped: &mut watch::Receiver<bool>,
) {
    let mut wire = Wire::new(stream, Duration::from_secs(shared.options.body_timeout));
    wire.begin(before);
    let patience = Duration::from_secs(shared.options.head_timeout);
    if !tokio::time::timeout(patience, preface(&mut wire)).await.unwrap_or(false) {
        return;
    }
    let now = Instant::now();
    let mut connection = Connection {
        wire,
        shared,
        full,
        word: stopped.clone(),
        mail: Arc::default(),
        decoder: Decoder::default(),
        calls: Vec::new(),
        begun: VecDeque::new(),
        last: 0,
        reading: frames::Reading::default(),
        left: FIRST_WINDOW,
        owed: 0,
        window: FIRST_WINDOW,
        first_window: FIRST_WINDOW,
        tableless: false,
        leaving: Leaving::No,
        farewell: false,
        idle: frames::IDLE,
        since: now,
        opened: now,
        heard: now,
        pinged: None,
        stalled: None,
        seen: false,
        alarm: now,
    };
    connection.greet();
    let lingers = connection.run(stopped).await;
    // Those who wait for the rest of a body hear that it won't come, all others are let go.
    let Connection { wire, calls, .. } = connection;
    drop(calls);
    wire.close(if lingers { LINGER } else { Duration::ZERO }).await;
}

/// Reads the preface; whether it came.
async fn preface(wire: &mut Wire<'_>) -> bool {
    while wire.rest().len() < PREFACE.len() {
        if !PREFACE.starts_with(wire.rest()) || !matches!(wire.fill().await, Ok(1..)) {
            return false;
        }
    }
    let good = wire.rest().starts_with(PREFACE);
    wire.consume(PREFACE.len());
    good
}

impl Connection<'_, '_> {
    /// Answers calls until the connection ends; whether its client is still there.
    async fn run(&mut self, stopped: &mut watch::Receiver<bool>) -> bool {
        let mut stop = pin!(until(stopped));
        let mut sleep = pin!(tokio::time::sleep_until(self.alarm));
        loop {
            let read = self.frames();
            std::future::poll_fn(|context| {
                self.begin(context);
                Poll::Ready(())
            })
            .await;
            self.deliver();
            let more = self.pump();
            self.settle();
            if let Err(fault) = read {
                self.go_away(fault);
            }
            if self.wire.owes() && self.wire.flush().await.is_err() {
                return false;
            }
            if read.is_err() || self.is_over() {
                return true;
            }
            if more || read == Ok(true) {
                // Others have their turn before the frames of this connection that have come already.
                tokio::task::yield_now().await;
                continue;
            }
            match self.wait(stop.as_mut(), sleep.as_mut()).await {
                Came::Something => {}
                Came::End => return false,
                Came::Stop => self.leave(),
                Came::Time => {
                    if !self.on_time(Instant::now()) {
                        return true;
                    }
                }
            }
        }
    }

    /// Whether there is nothing left to be done here.
    fn is_over(&self) -> bool {
        (self.farewell || matches!(self.leaving, Leaving::After(_))) && self.calls.is_empty()
    }

    /// Takes the letters of the calls.
    fn deliver(&mut self) {
        for (id, letter) in self.mail.take() {
            match letter {
                Letter::Took(bytes) => self.took(id, bytes),
                Letter::Answer(answer) => self.answer(id, answer),
            }
        }
    }

    /// When something is to be done though nothing comes.
    fn deadline(&self) -> Instant {
        let patience = Duration::from_secs(self.shared.options.body_timeout);
        let silence = self.pinged.map_or(self.heard + SILENCE, |pinged| pinged + PATIENCE);
        let stalled = [self.stalled, self.reading.since].into_iter().flatten().map(|since| since + patience);
        let leaving = match self.leaving {
            Leaving::No if self.full => Some(self.opened + SOON),
            Leaving::Told(since) => Some(since + SOON),
            _ => None,
        };
        stalled.chain(leaving).fold(silence, Instant::min)
    }

    /// Does what it is time for; whether the connection stays.
    fn on_time(&mut self, now: Instant) -> bool {
        let patience = Duration::from_secs(self.shared.options.body_timeout);
        let over = |since: Option<Instant>, limit| since.is_some_and(|since| since + limit <= now);
        if over(self.pinged, PATIENCE) {
            return false;
        }
        if over(self.stalled, patience) || over(self.reading.since, patience) {
            self.shared.store.metrics.refused("slow");
            return false;
        }
        if self.pinged.is_none() && self.heard + SILENCE <= now {
            self.pinged = Some(now);
            frame::write(self.wire.out(), frame::PING, 0, 0, THERE);
        }
        match self.leaving {
            Leaving::No if self.full && self.opened + SOON <= now => self.leave(),
            Leaving::Told(since) if since + SOON <= now => self.left_behind(),
            _ => {}
        }
        true
    }

    /// Tells the client that the connection will end; the calls that it has begun before it knows are answered.
    fn leave(&mut self) {
        if self.leaving == Leaving::No {
            self.leaving = Leaving::Told(Instant::now());
            self.write_go_away(u32::MAX >> 1, Fault(Code::None, ""));
            frame::write(self.wire.out(), frame::PING, 0, 0, LEAVING);
        }
    }

    /// Tells the client which call was the last one.
    fn left_behind(&mut self) {
        self.leaving = Leaving::After(self.last);
        self.write_go_away(self.last, Fault(Code::None, ""));
    }

    fn go_away(&mut self, fault: Fault) {
        self.shared.store.metrics.refused("http2");
        self.write_go_away(self.last, fault);
    }

    fn write_go_away(&mut self, last: u32, Fault(code, problem): Fault) {
        let mut payload = last.to_be_bytes().to_vec();
        payload.extend_from_slice(&(code as u32).to_be_bytes());
        payload.extend_from_slice(problem.as_bytes());
        frame::write(self.wire.out(), frame::GO_AWAY, 0, 0, &payload);
    }

    /// Waits for bytes, for letters, for the word to stop and for the clock.
    async fn wait(&mut self, mut stop: Pin<&mut impl Future<Output = ()>>, mut sleep: Pin<&mut Sleep>) -> Came {
        let waits = self.calls.iter().any(Call::is_kept_waiting);
        self.stalled = if waits { self.stalled.or_else(|| Some(Instant::now())) } else { None };
        std::future::poll_fn(|context| self.poll(context, stop.as_mut(), sleep.as_mut())).await
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
        stop: Pin<&mut impl Future<Output = ()>>,
        mut sleep: Pin<&mut Sleep>,
    ) -> Poll<Came> {
        // All are asked, so that each wakes this task.
        let read = self.wire.poll_fill(context);
        let parts = self.calls.iter_mut().fold(false, |some, call| call.poll_part(context) | some);
        let letters = self.mail.poll(context);
        let now = Instant::now();
        if let Poll::Ready(read) = read {
            self.heard = now;
            self.pinged = None;
            return Poll::Ready(if matches!(read, Ok(1..)) { Came::Something } else { Came::End });
        }
        if parts || letters {
            return Poll::Ready(Came::Something);
        }
        // As over HTTP/1.1, the word and the clock wake this task once they have seen it.
        let first = !std::mem::replace(&mut self.seen, true);
        let told = self.leaving == Leaving::No && (first || self.word.has_changed().unwrap_or(true));
        if told && stop.poll(context).is_ready() {
            return Poll::Ready(Came::Stop);
        }
        let deadline = self.deadline();
        if deadline <= now {
            return Poll::Ready(Came::Time);
        }
        if first || self.alarm <= now || deadline < self.alarm {
            self.alarm = deadline;
            sleep.as_mut().reset(deadline);
            if sleep.poll(context).is_ready() {
                context.waker().wake_by_ref();
            }
        }
        Poll::Pending
    }
}
