//! Counters in Prometheus' text format.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::repository::{Entry, UNLOADED};

/// Upper bounds of the latency histogram, in seconds.
const BOUNDS: [f64; 12] = [1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 5e-3, 2.5e-2, 1e-1, 5e-1, 2.5];

/// What is counted of one version of a model, however often it is loaded.
#[derive(Default)]
pub(crate) struct Latency {
    buckets: [AtomicU64; BOUNDS.len()],
    count: AtomicU64,
    nanoseconds: AtomicU64,
    rows: AtomicU64,
}

impl Latency {
    /// Counts a request that was answered.
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
}

/// What is counted of all requests.
#[derive(Default)]
pub(crate) struct Metrics {
    requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
}

impl Metrics {
    pub(crate) fn request(&self, route: &'static str, status: u16) {
        *self.requests.lock().unwrap_or_else(PoisonError::into_inner).entry((route, status)).or_default() += 1;
    }

    pub(crate) fn text(&self, entries: &[Entry]) -> String {
        let mut out = String::from(
            "# HELP corten_requests_total Requests by route and status.\n# TYPE corten_requests_total counter\n",
        );
        for ((route, status), count) in &*self.requests.lock().unwrap_or_else(PoisonError::into_inner) {
            // Writing to a String can't fail.
            let _ = writeln!(out, "corten_requests_total{{route=\"{route}\",status=\"{status}\"}} {count}");
        }
        out += "# HELP corten_scoring_seconds Time to parse and score a request.\n# TYPE corten_scoring_seconds histogram\n";
        for Entry { name, version, latency, .. } in entries {
            let name = name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let model = format!("model=\"{name}\",version=\"{version}\"");
            let read = |a: &AtomicU64| a.load(Ordering::Relaxed);
            for (bucket, bound) in latency.buckets.iter().zip(BOUNDS) {
                let _ = writeln!(out, "corten_scoring_seconds_bucket{{{model},le=\"{bound}\"}} {}", read(bucket));
            }
            let count = read(&latency.count);
            let _ = writeln!(out, "corten_scoring_seconds_bucket{{{model},le=\"+Inf\"}} {count}");
            let sum = read(&latency.nanoseconds) as f64 / 1e9;
            let _ = writeln!(out, "corten_scoring_seconds_sum{{{model}}} {sum}");
            let _ = writeln!(out, "corten_scoring_seconds_count{{{model}}} {count}");
            let _ = writeln!(out, "corten_rows_total{{{model}}} {}", read(&latency.rows));
        }
        out += "# HELP corten_model_ready Whether a version answers.\n# TYPE corten_model_ready gauge\n";
        out += "# HELP corten_model_refused Whether its file, as it lies there, could not be loaded.\n";
        out += "# TYPE corten_model_refused gauge\n";
        for entry in entries {
            let name = entry.name.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let model = format!("model=\"{name}\",version=\"{}\"", entry.version);
            let _ = writeln!(out, "corten_model_ready{{{model}}} {}", u8::from(entry.served.is_some()));
            let refused = !entry.reason.is_empty() && entry.reason != UNLOADED;
            let _ = writeln!(out, "corten_model_refused{{{model}}} {}", u8::from(refused));
        }
        out
    }
}
