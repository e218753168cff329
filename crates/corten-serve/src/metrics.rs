//! Counters in Prometheus' text format.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::served::Served;

/// Upper bounds of the latency histogram, in seconds.
const BOUNDS: [f64; 12] = [1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 5e-3, 2.5e-2, 1e-1, 5e-1, 2.5];

#[derive(Default)]
struct Latency {
    buckets: [AtomicU64; BOUNDS.len()],
    count: AtomicU64,
    nanoseconds: AtomicU64,
    rows: AtomicU64,
}

/// What is counted.
pub(crate) struct Metrics {
    requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
    models: Vec<Latency>,
}

impl Metrics {
    pub(crate) fn new(models: usize) -> Self {
        Self { requests: Mutex::default(), models: (0..models).map(|_| Latency::default()).collect() }
    }

    pub(crate) fn request(&self, route: &'static str, status: u16) {
        *self.requests.lock().unwrap_or_else(PoisonError::into_inner).entry((route, status)).or_default() += 1;
    }

    pub(crate) fn scored(&self, model: usize, rows: usize, took: Duration) {
        let Some(latency) = self.models.get(model) else { return };
        let seconds = took.as_secs_f64();
        for (bucket, bound) in latency.buckets.iter().zip(BOUNDS) {
            if seconds <= bound {
                bucket.fetch_add(1, Ordering::Relaxed);
            }
        }
        latency.count.fetch_add(1, Ordering::Relaxed);
        latency.rows.fetch_add(rows as u64, Ordering::Relaxed);
        latency.nanoseconds.fetch_add(took.as_nanos() as u64, Ordering::Relaxed);
    }

    pub(crate) fn text(&self, models: &[Served]) -> String {
        let mut out = String::from(
            "# HELP corten_requests_total Requests by route and status.\n# TYPE corten_requests_total counter\n",
        );
        for ((route, status), count) in &*self.requests.lock().unwrap_or_else(PoisonError::into_inner) {
            // Writing to a String can't fail.
            let _ = writeln!(out, "corten_requests_total{{route=\"{route}\",status=\"{status}\"}} {count}");
        }
        out += "# HELP corten_scoring_seconds Time to parse and score a request.\n# TYPE corten_scoring_seconds histogram\n";
        for (model, latency) in models.iter().zip(&self.models) {
            let name = model.name.replace('\\', "\\\\").replace('"', "\\\"");
            let read = |a: &AtomicU64| a.load(Ordering::Relaxed);
            for (bucket, bound) in latency.buckets.iter().zip(BOUNDS) {
                let _ =
                    writeln!(out, "corten_scoring_seconds_bucket{{model=\"{name}\",le=\"{bound}\"}} {}", read(bucket));
            }
            let count = read(&latency.count);
            let _ = writeln!(out, "corten_scoring_seconds_bucket{{model=\"{name}\",le=\"+Inf\"}} {count}");
            let sum = read(&latency.nanoseconds) as f64 / 1e9;
            let _ = writeln!(out, "corten_scoring_seconds_sum{{model=\"{name}\"}} {sum}");
            let _ = writeln!(out, "corten_scoring_seconds_count{{model=\"{name}\"}} {count}");
            let _ = writeln!(out, "corten_rows_total{{model=\"{name}\"}} {}", read(&latency.rows));
        }
        out
    }
}
