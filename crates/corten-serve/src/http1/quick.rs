//! The way of nearly all requests: an inference request whose body has come with its head. It is answered from the bytes
//! that came into the bytes that go, without a table of fields. Where more is asked of a request than to be answered (keys,
//! origins, logs, traces, routes), or something is wrong with it, it goes the way of all others, and nothing has happened.

use std::cell::RefCell;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::body::Framing;
use super::head::Head;
use super::write;
use crate::answer::{is_id, new_id};
use crate::http::Active;
use crate::metrics::INFER;
use crate::serve::Shared;
use crate::{clock, quick};

/// Most bytes of an answer whose memory a thread keeps.
const KEPT: usize = 1 << 18;

thread_local! {
    static ANSWER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Answers a request into `out` and returns the bytes of its body; none where it isn't answered here.
pub(crate) fn answer(
    head: &Head<'_>,
    after: &[u8],
    shared: &Shared,
    begun: Instant,
    out: &mut Vec<u8>,
) -> Option<usize> {
    let (store, options) = (&shared.store, &shared.options);
    let (name, version) = asked(head)?;
    let Framing::Length(length) = head.framing else { return None };
    let body = after.get(..usize::try_from(length).ok()?).filter(|b| b.len() <= options.max_body)?;
    let _active = Active::of(store);
    if store.metrics.active.load(Ordering::Relaxed) > options.max_active {
        return None;
    }
    let served = store.recent(name, version)?;
    ANSWER.with_borrow_mut(|answer| {
        answer.clear();
        // One that isn't answered here is measured elsewhere.
        if served.latency.will_measure() {
            clock::start(begun);
        }
        let rows = quick::infer(&served, body, options.max_rows, answer);
        let spent = clock::stop();
        let rows = rows?;
        served.latency.measures();
        if let Some(spent) = &spent {
            served.latency.spent(spent);
        }
        served.latency.scored(rows, begun.elapsed());
        store.metrics.request(INFER, 200);
        out.extend_from_slice(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-request-id: ");
        match head.known.id.filter(|id| is_id(id)) {
            Some(id) => out.extend_from_slice(id),
            None => new_id(out),
        }
        write::length(answer.len(), out);
        write::end(out);
        out.extend_from_slice(answer);
        if answer.capacity() > KEPT {
            *answer = Vec::new();
        }
        Some(body.len())
    })
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
