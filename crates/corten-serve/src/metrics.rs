//! Counters in Prometheus' text format.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::store::Store;

/// Upper bounds of the latency histogram, in seconds.
const BOUNDS: [f64; 12] = [1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 5e-3, 2.5e-2, 1e-1, 5e-1, 2.5];

/// How long the requests of a model took, and how many rows they had.
#[derive(Default)]
pub(crate) struct Latency {
    buckets: [AtomicU64; BOUNDS.len()],
    count: AtomicU64,
    nanoseconds: AtomicU64,
    rows: AtomicU64,
}

impl Latency {
    pub(crate) fn scored(&self, rows: usize, took: Duration) {
        let seconds = took.as_secs_f64();
        for (bucket, bound) in self.buckets.iter().zip(BOUNDS) {
            if seconds <= bound {
                bucket.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
        self.nanoseconds.fetch_add(took.as_nanos() as u64, Ordering::Relaxed);
    }

    /// Requests, rows and nanoseconds so far.
    pub(crate) fn totals(&self) -> (u64, u64, u64) {
        let read = |a: &AtomicU64| a.load(Ordering::Relaxed);
        (read(&self.count), read(&self.rows), read(&self.nanoseconds))
    }
}

/// Writes what a metric is.
pub(crate) fn head(out: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to a String can't fail.
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// A name as the value of a label.
pub(crate) fn label(name: &str) -> String {
    name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// What is counted.
#[derive(Default)]
pub(crate) struct Metrics {
    requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
    refused: Mutex<BTreeMap<&'static str, u64>>,
    /// Models that were loaded while serving, and files that were refused.
    loads: [AtomicU64; 2],
    /// Requests in progress.
    pub(crate) active: AtomicUsize,
}

impl Metrics {
    pub(crate) fn request(&self, route: &'static str, status: u16) {
        *self.requests.lock().unwrap_or_else(PoisonError::into_inner).entry((route, status)).or_default() += 1;
    }

    pub(crate) fn refused(&self, reason: &'static str) {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner).entry(reason).or_default() += 1;
    }

    pub(crate) fn loaded(&self, good: bool) {
        self.loads[usize::from(!good)].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn text(&self, store: &Store) -> String {
        let mut out = String::new();
        let read = |a: &AtomicU64| a.load(Ordering::Relaxed);
        head(&mut out, "corten_requests_total", "counter", "Requests by route and status.");
        for ((route, status), count) in &*self.requests.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = writeln!(out, "corten_requests_total{{route=\"{route}\",status=\"{status}\"}} {count}");
        }
        head(&mut out, "corten_refused_total", "counter", "Requests that a limit turned away, by limit.");
        for (reason, count) in &*self.refused.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = writeln!(out, "corten_refused_total{{reason=\"{reason}\"}} {count}");
        }
        head(&mut out, "corten_active_requests", "gauge", "Requests in progress.");
        let _ = writeln!(out, "corten_active_requests {}", self.active.load(Ordering::Relaxed));
        head(&mut out, "corten_model_loads_total", "counter", "Model files taken or refused while serving.");
        for (result, count) in ["ok", "failed"].iter().zip(&self.loads) {
            let _ = writeln!(out, "corten_model_loads_total{{result=\"{result}\"}} {}", read(count));
        }
        let latencies = store.latencies();
        head(&mut out, "corten_scoring_seconds", "histogram", "Time to parse and score a request.");
        for (name, latency) in &latencies {
            let name = label(name);
            for (bucket, bound) in latency.buckets.iter().zip(BOUNDS) {
                let _ =
                    writeln!(out, "corten_scoring_seconds_bucket{{model=\"{name}\",le=\"{bound}\"}} {}", read(bucket));
            }
            let (count, _, nanoseconds) = latency.totals();
            let _ = writeln!(out, "corten_scoring_seconds_bucket{{model=\"{name}\",le=\"+Inf\"}} {count}");
            let _ = writeln!(out, "corten_scoring_seconds_sum{{model=\"{name}\"}} {}", nanoseconds as f64 / 1e9);
            let _ = writeln!(out, "corten_scoring_seconds_count{{model=\"{name}\"}} {count}");
        }
        head(&mut out, "corten_rows_total", "counter", "Rows scored.");
        for (name, latency) in &latencies {
            let _ = writeln!(out, "corten_rows_total{{model=\"{}\"}} {}", label(name), latency.totals().1);
        }
        store.shadow.text(&mut out);
        out
    }
}
