//! Counters in Prometheus' text format.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use corten_core::Error;

use crate::clock::{STAGES, Spent};
use crate::drift::Gauges;
use crate::queue::Costs;
use crate::store::Store;

/// Upper bounds of histograms of time, in seconds.
const SECONDS: [f64; 12] = [1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 5e-3, 2.5e-2, 1e-1, 5e-1, 2.5];
/// Upper bounds of the histogram of rows.
const ROWS: [f64; 12] = [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 500.0, 1e3, 5e3, 2e4, 1e5];
/// One request of so many is measured stage by stage.
const MEASURED: u64 = 8;

/// The route of inference requests.
pub(crate) const INFER: &str = "/v2/models/{model}/infer";

/// Kinds of errors, as they are told apart in metrics.
const KINDS: [&str; 8] =
    ["column", "missing_column", "value", "limit", "unsupported", "timeout", "cancelled", "internal"];

/// How many values lie below each of some bounds.
#[derive(Default)]
struct Histogram {
    /// Values between a bound and the one before it; the last has none.
    buckets: [AtomicU64; 13],
}

impl Histogram {
    fn add(&self, bounds: &[f64; 12], value: f64) {
        self.buckets[bounds.partition_point(|b| *b < value)].fetch_add(1, Ordering::Relaxed);
    }

    /// Appends the lines of a histogram; `labels` ends in a comma or is empty.
    fn text(&self, out: &mut String, name: &str, labels: &str, bounds: &[f64; 12], sum: f64) {
        let mut count = 0;
        for (bucket, bound) in self.buckets.iter().zip(bounds.iter().map(f64::to_string).chain(["+Inf".into()])) {
            count += read(bucket);
            // Writing to a String can't fail.
            let _ = writeln!(out, "{name}_bucket{{{labels}le=\"{bound}\"}} {count}");
        }
        let labels = labels.trim_end_matches(',');
        let _ = writeln!(out, "{name}_sum{{{labels}}} {sum}\n{name}_count{{{labels}}} {count}");
    }
}

fn read(a: &AtomicU64) -> u64 {
    a.load(Ordering::Relaxed)
}

/// How long the requests of a model took, how many rows they had, and what went wrong.
#[derive(Default)]
pub(crate) struct Latency {
    whole: Histogram,
    count: AtomicU64,
    nanoseconds: AtomicU64,
    rows: AtomicU64,
    batches: Histogram,
    stages: [Histogram; STAGES.len()],
    stage_nanoseconds: [AtomicU64; STAGES.len()],
    errors: [AtomicU64; KINDS.len()],
    begun: AtomicU64,
    /// What requests cost, for those who wait.
    pub(crate) costs: Costs,
}

impl Latency {
    /// Whether [`Latency::measures`] will say so of the next request.
    pub(crate) fn will_measure(&self) -> bool {
        read(&self.begun).is_multiple_of(MEASURED)
    }

    /// Whether the next request is measured stage by stage.
    pub(crate) fn measures(&self) -> bool {
        self.begun.fetch_add(1, Ordering::Relaxed).is_multiple_of(MEASURED)
    }

    pub(crate) fn scored(&self, rows: usize, took: Duration) {
        self.whole.add(&SECONDS, took.as_secs_f64());
        self.batches.add(&ROWS, rows as f64);
        self.count.fetch_add(1, Ordering::Relaxed);
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
        self.nanoseconds.fetch_add(took.as_nanos() as u64, Ordering::Relaxed);
    }

    pub(crate) fn spent(&self, spent: &Spent) {
        for ((stage, total), time) in self.stages.iter().zip(&self.stage_nanoseconds).zip(spent) {
            stage.add(&SECONDS, time.as_secs_f64());
            total.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
        }
    }

    pub(crate) fn failed(&self, error: Option<&Error>) {
        let kind = match error {
            Some(Error::Column { .. }) => 0,
            Some(Error::MissingColumn { .. }) => 1,
            Some(Error::Limit(_)) => 3,
            Some(Error::Unsupported(_)) => 4,
            None => 5,
            Some(Error::Cancelled) => 6,
            Some(Error::Internal(_)) => 7,
            Some(_) => 2,
        };
        self.errors[kind].fetch_add(1, Ordering::Relaxed);
    }

    /// Requests, rows and nanoseconds so far.
    pub(crate) fn totals(&self) -> (u64, u64, u64) {
        (read(&self.count), read(&self.rows), read(&self.nanoseconds))
    }

    /// Requests that failed so far.
    pub(crate) fn failures(&self) -> u64 {
        self.errors.iter().map(read).sum()
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
pub(crate) struct Metrics {
    requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
    /// Those of [`INFER`] that were answered well, which nearly all are.
    inferred: AtomicU64,
    refused: Mutex<BTreeMap<&'static str, u64>>,
    /// Models that were loaded while serving, and files that were refused.
    loads: [AtomicU64; 2],
    /// Requests in progress.
    pub(crate) active: AtomicUsize,
    /// Connections that are open, without those that are only told of the limit.
    pub(crate) connections: AtomicUsize,
    start: SystemTime,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: Mutex::default(),
            inferred: AtomicU64::new(0),
            refused: Mutex::default(),
            loads: [const { AtomicU64::new(0) }; 2],
            active: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            start: SystemTime::now(),
        }
    }
}

impl Metrics {
    pub(crate) fn request(&self, route: &'static str, status: u16) {
        if (route, status) == (INFER, 200) {
            self.inferred.fetch_add(1, Ordering::Relaxed);
            return;
        }
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
        // Writing to a String can't fail.
        head(&mut out, "corten_requests_total", "counter", "Requests by route and status.");
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner).clone();
        requests.extend(Some(((INFER, 200), read(&self.inferred))).filter(|(_, count)| *count > 0));
        for ((route, status), count) in requests {
            let _ = writeln!(out, "corten_requests_total{{route=\"{route}\",status=\"{status}\"}} {count}");
        }
        head(&mut out, "corten_refused_total", "counter", "Requests that a limit turned away, by limit.");
        for (reason, count) in &*self.refused.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = writeln!(out, "corten_refused_total{{reason=\"{reason}\"}} {count}");
        }
        head(&mut out, "corten_active_requests", "gauge", "Requests in progress.");
        let _ = writeln!(out, "corten_active_requests {}", self.active.load(Ordering::Relaxed));
        head(&mut out, "corten_open_connections", "gauge", "Connections that are open.");
        let _ = writeln!(out, "corten_open_connections {}", self.connections.load(Ordering::Relaxed));
        head(&mut out, "corten_model_loads_total", "counter", "Model files taken or refused while serving.");
        for (result, count) in ["ok", "failed"].iter().zip(&self.loads) {
            let _ = writeln!(out, "corten_model_loads_total{{result=\"{result}\"}} {}", read(count));
        }
        models(&mut out, store);
        store.shadow.text(&mut out);
        let mut gauges = Gauges::default();
        for served in store.all() {
            if let Ok(drift) = served.drift() {
                drift.gauges(&served.name, served.version, &mut gauges);
            }
        }
        gauges.text(&mut out);
        process(&mut out, self.start);
        out
    }
}

/// What is counted by model.
fn models(out: &mut String, store: &Store) {
    head(out, "corten_model_info", "gauge", "The loaded versions of models.");
    head(out, "corten_model_load_seconds", "gauge", "Time that loading a version took.");
    for served in store.all() {
        let labels = format!("model=\"{}\",version=\"{}\"", label(&served.name), served.version);
        let _ = writeln!(out, "corten_model_info{{{labels}}} 1");
        let _ = writeln!(out, "corten_model_load_seconds{{{labels}}} {}", served.took.as_secs_f64());
    }
    let latencies = store.latencies();
    let seconds = |a: &AtomicU64| read(a) as f64 / 1e9;
    head(out, "corten_scoring_seconds", "histogram", "Time to parse and score a request.");
    for (name, latency) in &latencies {
        let labels = format!("model=\"{}\",", label(name));
        latency.whole.text(out, "corten_scoring_seconds", &labels, &SECONDS, seconds(&latency.nanoseconds));
    }
    let help = "Time of a request by stage, of one request in eight; queue is the wait from its head to its scoring.";
    head(out, "corten_stage_seconds", "histogram", help);
    for (name, latency) in &latencies {
        for ((stage, histogram), total) in STAGES.iter().zip(&latency.stages).zip(&latency.stage_nanoseconds) {
            let labels = format!("model=\"{}\",stage=\"{stage}\",", label(name));
            histogram.text(out, "corten_stage_seconds", &labels, &SECONDS, seconds(total));
        }
    }
    head(out, "corten_batch_rows", "histogram", "Rows of a request.");
    for (name, latency) in &latencies {
        let labels = format!("model=\"{}\",", label(name));
        latency.batches.text(out, "corten_batch_rows", &labels, &ROWS, latency.totals().1 as f64);
    }
    head(out, "corten_rows_total", "counter", "Rows scored.");
    for (name, latency) in &latencies {
        let _ = writeln!(out, "corten_rows_total{{model=\"{}\"}} {}", label(name), latency.totals().1);
    }
    head(out, "corten_errors_total", "counter", "Requests that a model couldn't answer, by kind.");
    for (name, latency) in &latencies {
        for (kind, count) in KINDS.iter().zip(&latency.errors).filter(|(_, count)| read(count) > 0) {
            let labels = format!("model=\"{}\",kind=\"{kind}\"", label(name));
            let _ = writeln!(out, "corten_errors_total{{{labels}}} {}", read(count));
        }
    }
}

/// The process, as Prometheus' own clients describe it.
fn process(out: &mut String, start: SystemTime) {
    head(out, "corten_build_info", "gauge", "The server's version.");
    let _ = writeln!(out, "corten_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
    let start = start.duration_since(SystemTime::UNIX_EPOCH).map_or(0.0, |d| d.as_secs_f64());
    head(out, "process_start_time_seconds", "gauge", "When the process began, in seconds since 1970.");
    let _ = writeln!(out, "process_start_time_seconds {start}");
    // Where there is no /proc, these are left out.
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident =
        status.lines().find_map(|l| l.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    if let Some(kilobytes) = resident {
        head(out, "process_resident_memory_bytes", "gauge", "Memory in use.");
        let _ = writeln!(out, "process_resident_memory_bytes {}", kilobytes * 1024);
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        head(out, "process_open_fds", "gauge", "Open file handles.");
        let _ = writeln!(out, "process_open_fds {}", files.count());
    }
}
