//! Shadow traffic: a candidate hears requests and answers nobody; its answers are compared with those that were given.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use hyper::body::Bytes;
use serde_json::Value;

use crate::metrics::{head, label};
use crate::score::{Ask, Bounds, score};
use crate::served::Served;

/// Most requests that wait for a candidate; further ones are dropped.
const MAX_WAITING: usize = 256;
/// Most bytes of bodies and answers that wait.
const MAX_BYTES: usize = 64 << 20;

/// A request that was answered.
pub(crate) struct Heard {
    pub(crate) candidate: Arc<Served>,
    pub(crate) ask: Ask,
    pub(crate) body: Bytes,
    /// The answer that was given, and how many of its bytes are JSON where tensors follow them.
    pub(crate) answer: Vec<u8>,
    pub(crate) json: Option<usize>,
    pub(crate) bounds: Bounds,
}

impl Heard {
    fn size(&self) -> usize {
        self.body.len() + self.answer.len()
    }
}

/// What came of the requests that a candidate heard.
#[derive(Clone, Debug, Default, PartialEq)]
struct Compared {
    same: u64,
    different: u64,
    failed: u64,
    dropped: u64,
    /// Sum of the absolute differences of numbers, and how many were compared.
    difference: f64,
    numbers: u64,
}

#[derive(Default)]
struct Books {
    all: Mutex<BTreeMap<(String, u64), Compared>>,
    bytes: AtomicUsize,
    waiting: AtomicUsize,
}

impl Books {
    fn note(&self, served: &Served, f: impl FnOnce(&mut Compared)) {
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        f(all.entry((served.name.clone(), served.version)).or_default());
    }
}

/// The queue of what candidates hear, and what is counted about them.
#[derive(Default)]
pub(crate) struct Shadow {
    books: Arc<Books>,
    queue: OnceLock<SyncSender<Heard>>,
}

impl Shadow {
    /// Lets a candidate hear a request, or drops it where too many wait: whoever asked never waits.
    pub(crate) fn hear(&self, heard: Heard) {
        let queue = self.queue.get_or_init(|| {
            let (send, receive) = sync_channel(MAX_WAITING);
            let books = Arc::clone(&self.books);
            std::thread::spawn(move || listen(&receive, &books));
            send
        });
        let (size, candidate) = (heard.size(), Arc::clone(&heard.candidate));
        self.books.waiting.fetch_add(1, Ordering::Relaxed);
        let full = self.books.bytes.fetch_add(size, Ordering::Relaxed) + size > MAX_BYTES;
        let sent = if full { Err(TrySendError::Full(heard)) } else { queue.try_send(heard) };
        if sent.is_err() {
            self.books.waiting.fetch_sub(1, Ordering::Relaxed);
            self.books.bytes.fetch_sub(size, Ordering::Relaxed);
            self.books.note(&candidate, |c| c.dropped += 1);
        }
    }

    /// Appends what is counted in Prometheus' text format.
    pub(crate) fn text(&self, out: &mut String) {
        let all = self.books.all.lock().unwrap_or_else(PoisonError::into_inner);
        // Writing to a String can't fail.
        head(out, "corten_queue_length", "gauge", "Requests that wait, by queue; those that are answered never do.");
        let _ = writeln!(out, "corten_queue_length{{queue=\"shadow\"}} {}", self.books.waiting.load(Ordering::Relaxed));
        head(out, "corten_shadow_total", "counter", "Requests that a candidate heard, by how its answer compares.");
        for ((name, version), c) in &*all {
            let name = label(name);
            let results = [("same", c.same), ("different", c.different), ("failed", c.failed), ("dropped", c.dropped)];
            for (result, count) in results {
                let labels = format!("model=\"{name}\",version=\"{version}\",result=\"{result}\"");
                let _ = writeln!(out, "corten_shadow_total{{{labels}}} {count}");
            }
        }
        let help = "Absolute differences between the numbers of a candidate's answers and those that were given.";
        head(out, "corten_shadow_difference", "summary", help);
        for ((name, version), c) in &*all {
            let labels = format!("model=\"{}\",version=\"{version}\"", label(name));
            let _ = writeln!(out, "corten_shadow_difference_sum{{{labels}}} {}", c.difference);
            let _ = writeln!(out, "corten_shadow_difference_count{{{labels}}} {}", c.numbers);
        }
    }
}

fn listen(queue: &Receiver<Heard>, books: &Books) {
    while let Ok(heard) = queue.recv() {
        let answered = score(&heard.candidate, heard.ask, &heard.body, heard.bounds);
        books.note(&heard.candidate, |compared| match answered {
            Ok(ours) => {
                let same = compare((&heard.answer, heard.json), (&ours.bytes, ours.json), compared);
                *(if same { &mut compared.same } else { &mut compared.different }) += 1;
            }
            Err(_) => compared.failed += 1,
        });
        books.bytes.fetch_sub(heard.size(), Ordering::Relaxed);
        books.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Whether two answers say the same; what tensors hold in bytes is compared whole.
fn compare(given: (&[u8], Option<usize>), ours: (&[u8], Option<usize>), compared: &mut Compared) -> bool {
    let parts = |(bytes, json): (&[u8], Option<usize>)| -> (Value, usize) {
        let length = json.unwrap_or(bytes.len());
        (serde_json::from_slice(&bytes[..length]).unwrap_or_default(), length)
    };
    let ((left, from), (right, with)) = (parts(given), parts(ours));
    // What is no JSON, such as a table, is compared by its bytes.
    let json = if left.is_null() || right.is_null() { given.0 == ours.0 } else { alike(&left, &right, compared) };
    json && given.0[from..] == ours.0[with..]
}

fn alike(left: &Value, right: &Value, compared: &mut Compared) -> bool {
    match (left, right) {
        (Value::Object(left), Value::Object(right)) => {
            // A version tells of itself; all else is the answer.
            let told = |key: &str| key == "model_version";
            let mut same = left.keys().filter(|k| !told(k)).eq(right.keys().filter(|k| !told(k)));
            let is_tensor = left.contains_key("datatype") && left.contains_key("shape");
            for (key, value) in left.iter().filter(|(k, _)| !told(k)) {
                same &= right.get(key).is_some_and(|other| match key.as_str() {
                    // What describes a tensor must be the same, and is no answer that could be near another.
                    "shape" | "parameters" if is_tensor => value == other,
                    _ => alike(value, other, compared),
                });
            }
            same
        }
        (Value::Array(left), Value::Array(right)) => {
            let pairs = left.iter().zip(right);
            pairs.fold(left.len() == right.len(), |same, (l, r)| alike(l, r, compared) && same)
        }
        (Value::Number(left), Value::Number(right)) => {
            if let (Some(left), Some(right)) = (left.as_f64(), right.as_f64()) {
                compared.difference += (left - right).abs();
                compared.numbers += 1;
            }
            left == right
        }
        _ => left == right,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compared(left: &str, right: &str) -> (bool, f64, u64) {
        let mut c = Compared::default();
        let same = compare((left.as_bytes(), None), (right.as_bytes(), None), &mut c);
        (same, c.difference, c.numbers)
    }

    #[test]
    fn answers_are_compared_number_by_number() {
        let one = r#"{"model_version":"1","predictions":[{"prediction":1.5},{"prediction":2}]}"#;
        let two = r#"{"model_version":"2","predictions":[{"prediction":1.0},{"prediction":2}]}"#;
        assert_eq!(compared(one, &one.replace("\"1\"", "\"7\"")), (true, 0.0, 2));
        assert_eq!(compared(one, two), (false, 0.5, 2));
        // Of a tensor, the elements count and nothing that describes them.
        let tensor = r#"{"outputs":[{"name":"predict","datatype":"FP64","shape":[2],"data":[1.5,2]}]}"#;
        assert_eq!(compared(tensor, tensor), (true, 0.0, 2));
        assert_eq!(compared(tensor, &tensor.replace("1.5", "1.0")), (false, 0.5, 2));
        assert_eq!(compared(tensor, &tensor.replace("[2]", "[2,1]")), (false, 0.0, 2));
        let binary = tensor.replace("\"data\":[1.5,2]", "\"parameters\":{\"binary_data_size\":16}");
        assert_eq!(compared(&binary, &binary), (true, 0.0, 0));
        assert!(!compared(one, "{\"predictions\":[]}").0);
        assert_eq!(compared("{\"a\":1}", "{\"a\":\"1\"}"), (false, 0.0, 0));
        assert!(compared("PAR1", "PAR1").0 && !compared("PAR1", "PAR2").0);
    }
}
