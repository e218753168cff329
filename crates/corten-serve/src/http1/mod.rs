//! HTTP/1.1 (RFC 9112): a connection is read, answered and written on the thread that accepted it, without a task or a
//! table of its own for a request. What nearly all requests are has a way of its own, [`quick`]; all others become requests
//! of the crate `http`.

mod body;
mod head;
mod quick;
mod wire;
mod write;

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use hyper::body::Bytes;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Request, Uri};
use tokio::sync::watch;
use tokio::time::{Instant, Sleep};

pub(crate) use self::body::Framing;
use self::body::Reading;
pub(crate) use self::body::{Body, Unread};
pub(crate) use self::head::Head;
use self::head::{Fault, MAX_HEAD, bad};
use self::quick::Quick;
pub(crate) use self::wire::{LINGER, Stream, Wire};
use self::write::After;
use crate::answer::{Answer, REQUEST_ID, id_of, later, refuse};
use crate::http::{self, Active};
use crate::http2::PREFACE;
use crate::queue;
use crate::serve::{Shared, until};

/// Most bytes of a body that are read only to keep the connection of a request that was refused.
const MOST_DRAINED: u64 = 256 << 10;

/// How long a connection beyond the limit may take to ask for what it isn't given.
const FULL: Duration = Duration::from_secs(2);

/// How long a connection is still listened to when the server stops, in which nothing comes: its client may have sent a request
/// before it could know.
const SILENCE: Duration = Duration::from_millis(500);

/// Why a connection isn't read any further.
pub(crate) enum End {
    /// It has ended.
    Closed,
    /// It speaks HTTP/2; the bytes that came.
    Http2(Vec<u8>),
}

/// What the bytes that came ask for.
enum Turn {
    /// More bytes.
    More,
    /// That some answers are sent first.
    Flush,
    /// A turn, for a request of such a cost that has begun then.
    Wait(Duration, std::time::Instant),
    /// An answer.
    Request(Box<Request<()>>, Asked),
    Fault(Fault),
    Http2,
}

/// What is to be known of a request beside itself.
struct Asked {
    begun: std::time::Instant,
    reading: Reading,
    keep: bool,
    old: bool,
    /// Whether its answer has no body.
    head: bool,
}

/// What a wait for bytes has brought.
enum Came {
    Bytes,
    End,
    /// The time is over.
    Late,
}

/// Answers the requests of a connection; one beyond the limit of connections (`full`) is told so and closed.
pub(crate) async fn serve(
    stream: &mut dyn Stream,
    shared: &Arc<Shared>,
    full: bool,
    stopped: &mut watch::Receiver<bool>,
) -> End {
    let options = &shared.options;
    let patience = Duration::from_secs(options.idle_timeout);
    // One that is only told to go must not stay for the asking.
    let patience = if full { patience.min(FULL) } else { patience };
    // Also when the head must be whole that has begun.
    let (mut deadline, mut due) = (Instant::now() + patience, None);
    let mut connection = Connection {
        wire: Wire::new(stream, Duration::from_secs(options.body_timeout)),
        shared,
        full,
        quick: !full && options.is_plain(),
        stopping: *stopped.borrow(),
        word: stopped.clone(),
        seen: false,
        alarm: deadline,
        silent: None,
        looked: 0,
        first: true,
        turn: None,
    };
    let mut stop = pin!(until(stopped));
    let mut sleep = pin!(tokio::time::sleep_until(deadline));
    let lingers = loop {
        match connection.turn() {
            Turn::Http2 => return End::Http2(connection.wire.rest().to_vec()),
            Turn::Fault(fault) => {
                connection.refuse(fault.status, fault.problem).await;
                break true;
            }
            Turn::Request(request, asked) => {
                if !connection.boxed(*request, asked).await {
                    break true;
                }
                (deadline, due) = (Instant::now() + patience, None);
                connection.rest().await;
            }
            Turn::Wait(cost, begun) => {
                if connection.wire.flush().await.is_err() {
                    break false;
                }
                connection.wire.settle();
                let active = Active::of(&shared.store);
                connection.turn = queue::turn(cost).await.map(|turn| Waited { begun, _turn: turn, _active: active });
                (deadline, due) = (Instant::now() + patience, None);
            }
            Turn::Flush => {
                if connection.wire.flush().await.is_err() {
                    break false;
                }
                (deadline, due) = (Instant::now() + patience, None);
                connection.rest().await;
            }
            Turn::More => {
                if connection.wire.owes() {
                    if connection.wire.flush().await.is_err() {
                        break false;
                    }
                    (deadline, due) = (Instant::now() + patience, None);
                }
                if !connection.wire.rest().is_empty() {
                    let head = || Instant::now() + Duration::from_secs(options.head_timeout);
                    deadline = deadline.min(*due.get_or_insert_with(head));
                }
                match connection.wait(stop.as_mut(), sleep.as_mut(), deadline).await {
                    Came::Bytes => {}
                    Came::Late if !connection.wire.rest().is_empty() => {
                        let problem = format!("the head of the request took more than {} s", options.head_timeout);
                        shared.store.metrics.refused("slow");
                        connection.refuse(hyper::StatusCode::REQUEST_TIMEOUT, &problem).await;
                        break false;
                    }
                    Came::End | Came::Late => break false,
                }
            }
        }
    };
    let longest = match (lingers, full) {
        (false, _) => Duration::ZERO,
        // One beyond the limit doesn't count among the others, so it must not stay.
        (true, true) => LINGER,
        (true, false) => Duration::from_secs(options.body_timeout),
    };
    connection.wire.close(longest).await;
    End::Closed
}

/// A request whose turn has come.
struct Waited<'c> {
    begun: std::time::Instant,
    _turn: queue::Turn,
    _active: Active<'c>,
}

struct Connection<'c, 's> {
    wire: Wire<'s>,
    shared: &'c Arc<Shared>,
    full: bool,
    /// Whether requests are answered quickly where that can be.
    quick: bool,
    stopping: bool,
    /// Tells when the word to stop has come.
    word: watch::Receiver<bool>,
    /// Whether the word to stop and the clock have seen who is to be woken.
    seen: bool,
    /// When the clock wakes.
    alarm: Instant,
    /// When a connection that is silent since the word to stop ends.
    silent: Option<Instant>,
    /// Bytes that have come of a head that isn't whole.
    looked: usize,
    /// Whether nothing was read yet: HTTP/2 begins here or nowhere.
    first: bool,
    /// The turn of the request that comes next, where it has waited for one.
    turn: Option<Waited<'c>>,
}

impl Connection<'_, '_> {
    /// Answers what is answered quickly; what the bytes behind it ask for.
    fn turn(&mut self) -> Turn {
        // The other end is gone only with the server.
        self.stopping |= self.word.has_changed().unwrap_or(true);
        let mut begun;
        if self.first {
            let rest = self.wire.rest();
            if rest.starts_with(PREFACE) {
                return Turn::Http2;
            }
            if PREFACE.starts_with(rest) {
                return Turn::More;
            }
            self.first = false;
        }
        let head = loop {
            if self.wire.is_full() {
                return Turn::Flush;
            }
            // Some clients end a body with an empty line (RFC 9112, section 2.2), which begins no request.
            while self.wire.rest().starts_with(b"\r\n") {
                self.wire.consume(2);
                self.looked = 0;
            }
            let (bytes, out) = self.wire.both();
            if bytes.is_empty() {
                return Turn::More;
            }
            // A head that comes byte by byte is looked at line by line.
            if self.looked > 0 && bytes.len() <= MAX_HEAD && !bytes[self.looked..].contains(&b'\n') {
                self.looked = bytes.len();
                return Turn::More;
            }
            begun = std::time::Instant::now();
            let head = match Head::read(bytes) {
                Ok(Some(head)) => head,
                Ok(None) => {
                    self.looked = bytes.len();
                    return Turn::More;
                }
                Err(fault) => return Turn::Fault(fault),
            };
            self.looked = 0;
            // Given back where the request is answered elsewhere, or is.
            let turn = self.turn.take();
            if !self.quick || self.stopping {
                break head;
            }
            let waited = turn.as_ref().map(|t| t.begun);
            match quick::answer(&head, &bytes[head.length..], self.shared, begun, waited, out) {
                Quick::Done(body) => {
                    let used = head.length + body;
                    self.wire.consume(used);
                }
                Quick::Waits(cost) => return Turn::Wait(cost, begun),
                Quick::Other => break head,
            }
        };
        let asked = Asked {
            begun,
            reading: Reading::new(head.framing, head.expects),
            keep: head.keep,
            old: head.old,
            head: head.method == b"HEAD",
        };
        let (request, length) = (request_of(&head), head.length);
        self.wire.consume(length);
        match request {
            Ok(request) => Turn::Request(Box::new(request), asked),
            Err(fault) => Turn::Fault(fault),
        }
    }

    /// Lets others have their turn before the requests of this connection that have come already.
    async fn rest(&mut self) {
        if !self.wire.rest().is_empty() {
            tokio::task::yield_now().await;
        }
    }

    /// As [`Connection::request`]. Its state is large, and most requests don't come here: a connection has no room of its
    /// own for it.
    fn boxed(&mut self, request: Request<()>, asked: Asked) -> Pin<Box<dyn Future<Output = bool> + Send + '_>> {
        Box::pin(self.request(request, asked))
    }

    /// Answers a request; whether the connection stays.
    async fn request(&mut self, request: Request<()>, mut asked: Asked) -> bool {
        let (store, options) = (&self.shared.store, &self.shared.options);
        let answer = if self.full {
            store.metrics.refused("connections");
            later(format!("more than {} connections at once", options.max_connections))
        } else {
            let body = Body { wire: &mut self.wire, reading: &mut asked.reading };
            http::answer(request.map(|()| body), store, options, asked.begun).await
        };
        // What is left of a body that wasn't wanted is read where that is cheaper than another connection.
        self.stopping |= self.word.has_changed().unwrap_or(true);
        let keep = asked.keep && !self.full && !self.stopping && asked.reading.left() <= MOST_DRAINED;
        self.send(answer, &asked, keep).await.is_ok() && keep && self.drain(asked.reading.framing).await
    }

    /// Sends an answer.
    async fn send(&mut self, answer: Answer, asked: &Asked, keep: bool) -> std::io::Result<()> {
        let after = match (keep, asked.old) {
            (false, _) => After::Ends,
            (true, false) => After::Stays,
            (true, true) => After::StaysOld,
        };
        write::head(&answer, after, self.wire.out());
        let body = if asked.head { Bytes::new() } else { answer.into_body() };
        self.wire.flush_with(&body).await
    }

    /// Reads what is left of a body; whether it came to its end in time.
    async fn drain(&mut self, mut framing: Framing) -> bool {
        if framing.is_done() {
            return true;
        }
        let (pace, begun) = (self.shared.options.pace(), std::time::Instant::now());
        let (mut none, mut came) = (Vec::new(), 0);
        loop {
            none.clear();
            let Ok(count) = framing.take(self.wire.rest(), &mut none) else { return false };
            self.wire.consume(count);
            if framing.is_done() {
                return true;
            }
            came += none.len();
            let filled = tokio::time::timeout_at(pace.limit(begun, came).into(), self.wire.fill()).await;
            if !matches!(filled, Ok(Ok(1..))) {
                return false;
            }
        }
    }

    /// Says why a request isn't read, which is the end of its connection.
    async fn refuse(&mut self, status: hyper::StatusCode, problem: &str) {
        self.shared.store.metrics.request("other", status.as_u16());
        let mut answer = refuse(status, problem);
        let id = id_of(&HeaderMap::new());
        if self.shared.options.log {
            // What can't be read has neither a method nor a path.
            http::log(&id, "-", "-", status.as_u16(), Duration::ZERO, None, None);
        }
        answer.headers_mut().insert(REQUEST_ID, id);
        let head = self.wire.rest().starts_with(b"HEAD ");
        write::head(&answer, After::Ends, self.wire.out());
        // The client may be gone, which is no error of the server's.
        let _ = self.wire.flush_with(if head { &[] } else { answer.body() }).await;
    }

    /// Waits for bytes until the deadline, which comes soon with the word to stop.
    async fn wait(
        &mut self,
        mut stop: Pin<&mut impl Future<Output = ()>>,
        mut sleep: Pin<&mut Sleep>,
        deadline: Instant,
    ) -> Came {
        std::future::poll_fn(|context| {
            if let Poll::Ready(read) = self.wire.poll_fill(context) {
                return Poll::Ready(if matches!(read, Ok(1..)) { Came::Bytes } else { Came::End });
            }
            // The word and the clock wake this task once they have seen it: to look at them each time would only bring their
            // memory, which lies cold where there are many connections.
            let (first, now) = (!std::mem::replace(&mut self.seen, true), Instant::now());
            if !self.stopping && (first || self.word.has_changed().unwrap_or(true)) {
                self.stopping = stop.as_mut().poll(context).is_ready();
            }
            let mut deadline = deadline;
            if self.stopping && self.wire.rest().is_empty() {
                let silent = *self.silent.get_or_insert_with(|| {
                    self.alarm = now;
                    now + SILENCE
                });
                deadline = deadline.min(silent);
            }
            if deadline <= now {
                return Poll::Ready(Came::Late);
            }
            if first || self.alarm <= now || deadline < self.alarm {
                // It was set for an earlier request: setting it for each costs more than looking again.
                self.alarm = deadline;
                sleep.as_mut().reset(deadline);
                // Only so that it wakes: it can't be over yet, and if it is, the next look at the time tells.
                if sleep.as_mut().poll(context).is_ready() {
                    context.waker().wake_by_ref();
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// A request without its body.
fn request_of(head: &Head<'_>) -> Result<Request<()>, Fault> {
    let mut request = Request::new(());
    *request.method_mut() = Method::from_bytes(head.method).map_err(|_| bad("the method is none"))?;
    *request.uri_mut() = Uri::try_from(head.target).map_err(|_| bad("the request's target is none"))?;
    let mut headers = HeaderMap::with_capacity(12);
    for (name, value) in head.fields() {
        let name = HeaderName::from_bytes(name).map_err(|_| bad("the name of a field is none"))?;
        headers.append(name, HeaderValue::from_bytes(value).map_err(|_| bad("the value of a field is none"))?);
    }
    *request.headers_mut() = headers;
    Ok(request)
}
