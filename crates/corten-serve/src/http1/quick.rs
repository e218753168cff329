//! The way of nearly all requests: an inference request whose body has come with its head. It is answered from the bytes
//! that came into the bytes that go, without a table of fields. Where more is asked of a request than to be answered (keys,
//! origins, logs, traces, routes), or something is wrong with it, it goes the way of all others, and nothing has happened.

use std::cell::RefCell;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::json;

use super::body::Framing;
use super::head::Head;
use super::write;
use crate::answer::{is_id, new_id};
use crate::http::Active;
use crate::metrics::INFER;
use crate::score::Ask;
use crate::serve::Shared;
use crate::{clock, queue, quick};

/// Most bytes of an answer whose memory a thread keeps.
const KEPT: usize = 1 << 18;

/// What is asked here.
const ASK: Ask = Ask::Infer(None);

thread_local! {
    static ANSWER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What becomes of a request here.
pub(crate) enum Quick {
    /// It is answered; the bytes of its body.
    Done(usize),
    /// It costs so much that it waits for its turn, and then comes again.
    Waits(Duration),
    /// It isn't answered here.
    Other,
}

/// Answers a request into `out`, or refuses it. `waited` tells of one whose turn has come when it began.
pub(crate) fn answer(
    head: &Head<'_>,
    after: &[u8],
    shared: &Shared,
    begun: Instant,
    waited: Option<Instant>,
    out: &mut Vec<u8>,
) -> Quick {
    let (store, options) = (&shared.store, &shared.options);
    let found = asked(head).and_then(|(name, version)| {
        let Framing::Length(length) = head.framing else { return None };
        let body = after.get(..usize::try_from(length).ok()?).filter(|b| b.len() <= options.max_body)?;
        Some((store.recent(name, version)?, body))
    });
    let Some((served, body)) = found else { return Quick::Other };
    // One that has waited counts already.
    let active = waited.is_none().then(|| Active::of(store));
    if active.is_some() {
        if store.metrics.active.load(Ordering::Relaxed) > options.max_active {
            return Quick::Other;
        }
        let cost = served.latency.costs.of(ASK, body.len());
        if !queue::is_cheap(cost) {
            if !queue::is_full(cost, options.most_wait()) {
                return Quick::Waits(cost);
            }
            refuse(head, shared, out);
            return Quick::Done(body.len());
        }
    }
    let answered = ANSWER.with_borrow_mut(|answer| {
        answer.clear();
        // One that isn't answered here is measured elsewhere.
        if served.latency.will_measure() {
            clock::start(waited.unwrap_or(begun));
        }
        let rows = quick::infer(&served, body, options.max_rows, answer);
        let spent = clock::stop();
        let rows = rows?;
        served.latency.measures();
        if let Some(spent) = &spent {
            served.latency.spent(spent);
        }
        let took = begun.elapsed();
        served.latency.scored(rows, took);
        served.latency.costs.add(ASK, body.len(), took);
        store.metrics.request(INFER, 200);
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n");
        rest(head, answer, out);
        if answer.capacity() > KEPT {
            *answer = Vec::new();
        }
        Some(())
    });
    answered.map_or(Quick::Other, |()| Quick::Done(body.len()))
}

/// Writes the rest of an answer's head, and its body.
fn rest(head: &Head<'_>, body: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"x-request-id: ");
    match head.known.id.filter(|id| is_id(id)) {
        Some(id) => out.extend_from_slice(id),
        None => new_id(out),
    }
    write::length(body.len(), out);
    write::end(out);
    out.extend_from_slice(body);
}

/// Refuses a request that would wait too long, as [`crate::answer::later`] does.
fn refuse(head: &Head<'_>, shared: &Shared, out: &mut Vec<u8>) {
    shared.store.metrics.refused("wait");
    shared.store.metrics.request(INFER, 503);
    let body = json!({ "error": queue::refusal(shared.options.most_wait()) }).to_string();
    out.extend_from_slice(b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n");
    rest(head, body.as_bytes(), out);
}

/// The model and the version that are asked, where a request is of the kind that is answered here.
fn asked<'b>(head: &Head<'b>) -> Option<(&'b str, Option<u64>)> {
    let json = head.known.kind.is_none_or(|kind| {
        let kind = kind.split(|&b| b == b';').next().unwrap_or_default().trim_ascii();
        kind.eq_ignore_ascii_case(b"application/json")
    });
    if head.method != b"POST" || head.old || !head.keep || head.known.special || !json {
        return None;
    }
    let path = head.target.strip_prefix(b"/v2/models/")?.strip_suffix(b"/infer")?;
    // Names that stand in a path as they are.
    let length = path.iter().position(|b| !(b.is_ascii_alphanumeric() || b"-._~".contains(b))).unwrap_or(path.len());
    let (name, rest) = path.split_at(length);
    let version = match rest {
        b"" => None,
        rest => {
            let digits = rest.strip_prefix(b"/versions/").filter(|d| (1..=18).contains(&d.len()))?;
            Some(std::str::from_utf8(digits).ok().filter(|d| d.bytes().all(|b| b.is_ascii_digit()))?.parse().ok()?)
        }
    };
    let name = std::str::from_utf8(name).ok().filter(|n| !n.is_empty())?;
    Some((name, version))
}
