//! Drift: what comes in, counted into the bins of the training sketch that a model file carries. Only counts are kept,
//! over a window of time and the one before it.

use std::fmt::Write;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use corten_core::{Data, Kind, Result, Table};
use corten_model::ops::CategoryValues;
use corten_model::sketch::{Profile, Sketch, categories, score_of};
use corten_model::texts::Texts;
use corten_model::{Batch, Method, Model, Slot};
use serde_json::{Value, json};

use crate::metrics::{head, label};

/// Rows that a worker counts by itself before it adds them to the others'.
const KEPT: u64 = 256;
/// Rows of a large request that are counted, spread over it.
const MAX_ROWS: usize = 64;
/// Columns with a gauge each.
const MAX_GAUGES: usize = 200;
/// The customary marks of the population stability index.
const LOOK: f64 = 0.1;
const ACT: f64 = 0.25;

/// The categories that a model knows of a column, in ascending order.
#[derive(Debug)]
enum Known {
    Numbers(Vec<f64>),
    Texts(Texts),
}

impl Known {
    fn of(values: &CategoryValues) -> Self {
        match values {
            CategoryValues::Numbers(values) => {
                let mut sorted = values.clone();
                sorted.sort_by(f64::total_cmp);
                Self::Numbers(sorted)
            }
            CategoryValues::Texts(values) => {
                let mut sorted: Vec<&str> = values.iter().collect();
                sorted.sort_unstable();
                Self::Texts(sorted.into())
            }
        }
    }

    fn has_number(&self, x: f64) -> bool {
        // Zero has two signs and is one category.
        matches!(self, Self::Numbers(v) if v.binary_search_by(|k| k.partial_cmp(&x).unwrap_or(std::cmp::Ordering::Less)).is_ok())
    }

    fn has_text(&self, text: &[u8]) -> bool {
        matches!(self, Self::Texts(v) if v.find_sorted(text).is_some())
    }
}

/// One column, or the score, and where its counts lie: its bins, what is missing, and what is unseen.
#[derive(Debug)]
struct Place {
    name: String,
    profile: Profile,
    known: Option<Known>,
    start: usize,
}

impl Place {
    fn bins(&self) -> usize {
        self.profile.counts().0.len()
    }

    fn missing(&self) -> usize {
        self.start + self.bins()
    }

    fn unseen(&self) -> usize {
        self.missing() + 1
    }

    fn number(&self, counts: &mut [u64], x: f64) {
        if x.is_nan() {
            counts[self.missing()] += 1;
            return;
        }
        counts[self.start + self.profile.bin_of_number(x)] += 1;
        counts[self.unseen()] += u64::from(self.known.as_ref().is_some_and(|k| !k.has_number(x)));
    }

    fn text(&self, counts: &mut [u64], text: Option<&[u8]>) {
        let Some(text) = text else {
            counts[self.missing()] += 1;
            return;
        };
        counts[self.start + self.profile.bin_of_text(text)] += 1;
        counts[self.unseen()] += u64::from(self.known.as_ref().is_some_and(|k| !k.has_text(text)));
    }
}

/// Counts of what one worker has seen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    rows: u64,
    counts: Vec<u64>,
}

impl Seen {
    fn add(&mut self, other: &Self) {
        self.rows += other.rows;
        self.counts.iter_mut().zip(&other.counts).for_each(|(to, from)| *to += from);
    }

    fn clear(&mut self) {
        self.rows = 0;
        self.counts.fill(0);
    }
}

/// A stretch of time and the one before it.
struct Windows {
    began: Instant,
    /// When the earlier one began, in seconds since 1970.
    since: [u64; 2],
    seen: [Seen; 2],
}

/// The training sketch of a model, and what has come in since.
pub(crate) struct Drift {
    rows: u64,
    columns: Vec<Place>,
    score: Option<(Method, usize, Place)>,
    width: usize,
    window: Duration,
    windows: Mutex<Windows>,
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

impl Drift {
    /// What a model's sketch says, if it has one.
    ///
    /// # Errors
    /// Those of [`Sketch::read`].
    pub(crate) fn of(model: &Model, window: Duration) -> Result<Option<Self>> {
        let Some(sketch) = Sketch::read(model)? else { return Ok(None) };
        let (mut start, mut numbers, mut texts) = (0, 0, 0);
        let mut place = |name: String, profile: Profile, known: Option<Known>| {
            let place = Place { name, profile, known, start };
            start = place.unseen() + 1;
            place
        };
        let mut columns = Vec::with_capacity(sketch.columns.len());
        for (input, profile) in model.schema().inputs.iter().zip(sketch.columns) {
            let next = if input.kind == Kind::Number { &mut numbers } else { &mut texts };
            let slot = if input.kind == Kind::Number { Slot::Number(*next) } else { Slot::Text(*next) };
            *next += 1;
            columns.push(place(input.name.clone(), profile, categories(model, slot).map(Known::of)));
        }
        let score = score_of(model).zip(sketch.score).filter(|((method, _), s)| method.as_str() == s.method);
        let score = score.map(|((method, at), score)| (method, at, place(score.method, score.profile, None)));
        let seen = Seen { rows: 0, counts: vec![0; start] };
        let windows = Windows { began: Instant::now(), since: [now(); 2], seen: [seen.clone(), seen] };
        Ok(Some(Self { rows: sketch.rows, columns, score, width: start, window, windows: Mutex::new(windows) }))
    }

    /// Counts of nothing yet.
    pub(crate) fn seen(&self) -> Seen {
        Seen { rows: 0, counts: vec![0; self.width] }
    }

    /// Counts a row: its numbers and texts in the order of the inputs of their kind.
    pub(crate) fn row(&self, seen: &mut Seen, numbers: &[f64], texts: &[Option<&[u8]>], score: f64) {
        seen.rows += 1;
        let (mut numbers, mut texts) = (numbers.iter(), texts.iter());
        for place in &self.columns {
            match place.profile {
                Profile::Number { .. } => place.number(&mut seen.counts, numbers.next().copied().unwrap_or(f64::NAN)),
                Profile::Text { .. } => place.text(&mut seen.counts, texts.next().copied().flatten()),
            }
        }
        if let Some((_, _, place)) = &self.score {
            place.number(&mut seen.counts, score);
        }
    }

    /// Counts rows of a table that has the columns of the model in their order, and of what was answered.
    ///
    /// # Errors
    /// For columns of another kind than the model reads.
    pub(crate) fn table(
        &self,
        seen: &mut Seen,
        table: &Table<'_>,
        methods: &[Method],
        batches: &[Batch],
    ) -> Result<()> {
        let step = table.rows().div_ceil(MAX_ROWS).max(1);
        let rows = || (0..table.rows()).step_by(step);
        seen.rows += rows().count() as u64;
        for (place, column) in self.columns.iter().zip(table.columns()) {
            match place.profile {
                Profile::Number { .. } => {
                    let mut x = [0.0];
                    for row in rows() {
                        column.read_f64(row, &mut x)?;
                        place.number(&mut seen.counts, x[0]);
                    }
                }
                Profile::Text { .. } => {
                    let texts = column.as_text()?;
                    rows().for_each(|row| place.text(&mut seen.counts, texts.get(row)));
                }
            }
        }
        if let Some((method, at, place)) = &self.score {
            let answered = methods.iter().zip(batches).find(|(m, _)| *m == method);
            if let Some((_, batch)) = answered {
                rows().for_each(|row| place.number(&mut seen.counts, batch.numbers[row * batch.width + at]));
            }
        }
        Ok(())
    }

    /// Counts rows of numbers, and of what was answered, as [`Drift::table`] does.
    pub(crate) fn numbers<'a>(
        &self,
        seen: &mut Seen,
        rows: usize,
        number: impl Fn(usize, usize) -> f64,
        answered: impl FnOnce(Method) -> Option<(&'a [f64], usize)>,
    ) {
        let step = rows.div_ceil(MAX_ROWS).max(1);
        let rows = || (0..rows).step_by(step);
        seen.rows += rows().count() as u64;
        for (column, place) in self.columns.iter().enumerate() {
            rows().for_each(|row| place.number(&mut seen.counts, number(row, column)));
        }
        if let Some((method, at, place)) = &self.score
            && let Some((numbers, width)) = answered(*method)
        {
            rows().for_each(|row| place.number(&mut seen.counts, numbers[row * width + at]));
        }
    }

    /// Counts rows of a table whose columns may come in another order and beside others.
    ///
    /// # Errors
    /// For columns that are missing or of another kind.
    pub(crate) fn data(
        &self,
        seen: &mut Seen,
        model: &Model,
        data: &Data<'_>,
        methods: &[Method],
        batches: &[Batch],
    ) -> Result<()> {
        let table = data.table()?;
        if !model.schema().named || !table.is_named() {
            return self.table(seen, table, methods, batches);
        }
        let of = |place: &Place| {
            table.column(&place.name)?;
            Ok(table.columns().iter().position(|c| c.name == place.name).unwrap_or_default())
        };
        let positions = self.columns.iter().map(of).collect::<Result<Vec<_>>>()?;
        self.table(seen, &table.select(&positions), methods, batches)
    }

    /// Adds what a worker has seen to the others' once it is worth the lock, or when it is asked for.
    pub(crate) fn add(&self, seen: &mut Seen, now_please: bool) {
        if seen.rows >= KEPT || (now_please && seen.rows > 0) {
            self.windows().seen[1].add(seen);
            seen.clear();
        }
    }

    fn windows(&self) -> std::sync::MutexGuard<'_, Windows> {
        let mut windows = self.windows.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = windows.began.elapsed();
        if passed >= self.window {
            windows.seen.swap(0, 1);
            windows.seen[1].clear();
            windows.since = [windows.since[1], now()];
            if passed >= self.window * 2 {
                windows.seen[0].clear();
                windows.since[0] = windows.since[1];
            }
            windows.began = Instant::now();
        }
        windows
    }

    fn all(&self) -> (u64, Seen) {
        let windows = self.windows();
        let mut all = windows.seen[0].clone();
        all.add(&windows.seen[1]);
        (windows.since[0], all)
    }

    /// The report of a model.
    pub(crate) fn report(&self, name: &str, version: u64) -> Value {
        let (since, seen) = self.all();
        let column = |place: &Place| self.told(place, &seen).json(place, seen.rows, self.rows);
        let columns: Vec<Value> = self.columns.iter().map(column).collect();
        json!({
            "model_name": name,
            "model_version": version.to_string(),
            "since": since,
            "rows": seen.rows,
            "training_rows": self.rows,
            "columns": columns,
            "score": self.score.as_ref().map(|(_, _, place)| column(place)),
        })
    }

    fn told(&self, place: &Place, seen: &Seen) -> Told {
        let (training, training_missing) = place.profile.counts();
        let live = seen.counts[place.start..place.missing()].to_vec();
        let (missing, unseen) = (seen.counts[place.missing()], seen.counts[place.unseen()]);
        // What is missing is a bin of its own where there is any.
        let (mut then, mut then_live) = (training.to_vec(), live.clone());
        if training_missing > 0 || missing > 0 {
            then.push(training_missing);
            then_live.push(missing);
        }
        Told { psi: psi(&then, &then_live), ks: ks(&place.profile, training, &live), live, missing, unseen }
    }

    /// Appends the gauges of a model in Prometheus' text format, each behind its own head.
    pub(crate) fn gauges(&self, name: &str, version: u64, out: &mut Gauges) {
        let (_, seen) = self.all();
        let model = format!("model=\"{}\",version=\"{version}\"", label(name));
        // Writing to a String can't fail.
        let _ = writeln!(out.rows, "corten_drift_rows{{{model}}} {}", seen.rows);
        let score = self.score.iter().map(|(_, _, place)| ("score", place));
        for (kind, place) in self.columns.iter().take(MAX_GAUGES).map(|p| ("feature", p)).chain(score) {
            let told = self.told(place, &seen);
            let labels = format!("{model},{kind}=\"{}\"", label(&place.name));
            let _ = writeln!(out.psi, "corten_drift_psi{{{labels}}} {}", told.psi);
            if kind == "feature" {
                let _ =
                    writeln!(out.missing, "corten_drift_missing_ratio{{{labels}}} {}", ratio(told.missing, seen.rows));
                if place.known.is_some() {
                    let _ =
                        writeln!(out.unseen, "corten_drift_unseen_ratio{{{labels}}} {}", ratio(told.unseen, seen.rows));
                }
            }
        }
    }
}

/// The lines of each gauge of all models.
#[derive(Default)]
pub(crate) struct Gauges {
    rows: String,
    psi: String,
    missing: String,
    unseen: String,
}

impl Gauges {
    pub(crate) fn text(&self, out: &mut String) {
        for (name, lines, help) in [
            ("corten_drift_rows", &self.rows, "Rows that are compared with the training data."),
            (
                "corten_drift_psi",
                &self.psi,
                "Population stability index of a feature or the score; 0.1 is a lot, 0.25 too much.",
            ),
            ("corten_drift_missing_ratio", &self.missing, "Share of a feature that is missing."),
            ("corten_drift_unseen_ratio", &self.unseen, "Share of a feature that is in no category of the model's."),
        ] {
            head(out, name, "gauge", help);
            out.push_str(lines);
        }
    }
}

/// What is told of a column.
struct Told {
    psi: f64,
    ks: Option<f64>,
    live: Vec<u64>,
    missing: u64,
    unseen: u64,
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

impl Told {
    fn json(self, place: &Place, rows: u64, training_rows: u64) -> Value {
        let (training, training_missing) = place.profile.counts();
        let sign = match self.psi {
            psi if psi >= ACT => "act",
            psi if psi >= LOOK => "look",
            _ => "none",
        };
        let mut out = json!({
            "name": place.name,
            "psi": self.psi,
            "sign": sign,
            "missing": { "training": ratio(training_missing, training_rows), "live": ratio(self.missing, rows) },
            "training": training,
            "live": self.live,
        });
        match &place.profile {
            Profile::Number { cuts, .. } => {
                out["cuts"] = json!(cuts);
                out["ks"] = json!(self.ks);
            }
            Profile::Text { values, .. } => out["values"] = json!(values),
        }
        if place.known.is_some() {
            out["unseen"] = json!(ratio(self.unseen, rows));
        }
        out
    }
}

/// The population stability index of counts against those of the training data: the sum of (q - p) ln(q / p), where an
/// empty bin holds half a row. What chance alone is expected to give is taken off.
fn psi(training: &[u64], live: &[u64]) -> f64 {
    let (n, m) = (training.iter().sum::<u64>() as f64, live.iter().sum::<u64>() as f64);
    if n == 0.0 || m == 0.0 {
        return 0.0;
    }
    // Bins that nobody has ever been in tell nothing.
    let bins = training.iter().zip(live).filter(|(t, l)| **t + **l > 0);
    let share = |count: u64, total: f64| (count as f64).max(0.5) / total;
    let (mut sum, mut used) = (0.0, 0.0);
    for (&t, &l) in bins {
        let (p, q) = (share(t, n), share(l, m));
        sum += (q - p) * (q / p).ln();
        used += 1.0;
    }
    (sum - (used - 1.0) * (1.0 / n + 1.0 / m)).max(0.0)
}

/// The largest difference between the two distributions at the cuts: a lower bound of Kolmogorov and Smirnov's.
fn ks(profile: &Profile, training: &[u64], live: &[u64]) -> Option<f64> {
    let (n, m) = (training.iter().sum::<u64>(), live.iter().sum::<u64>());
    if n == 0 || m == 0 || matches!(profile, Profile::Text { .. }) {
        return None;
    }
    let (mut below, mut live_below, mut most) = (0, 0, 0.0_f64);
    for (t, l) in training.iter().zip(live) {
        below += t;
        live_below += l;
        most = most.max((ratio(below, n) - ratio(live_below, m)).abs());
    }
    Some(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_is_that_of_the_definition_less_what_chance_gives() {
        // (0.5 - 0.25) ln(0.5 / 0.25) + (0.5 - 0.75) ln(0.5 / 0.75), less (2 - 1) (1 / 400 + 1 / 100).
        let wanted = 0.25 * 2.0_f64.ln() - 0.25 * (2.0_f64 / 3.0).ln() - (1.0 / 400.0 + 1.0 / 100.0);
        assert!((psi(&[100, 300], &[50, 50]) - wanted).abs() < 1e-15);
        assert_eq!(psi(&[10, 30], &[1, 3]), 0.0);
        assert_eq!((psi(&[], &[]), psi(&[1, 2], &[0, 0])), (0.0, 0.0));
        // An empty bin holds half a row.
        let wanted = (0.995 - 0.5) * (0.995_f64 / 0.5).ln();
        let other = (0.005 - 0.5) * (0.005_f64 / 0.5).ln();
        assert!(psi(&[100, 100], &[100, 0]) > wanted + other - 0.1);
        assert!(psi(&[100, 100, 0], &[100, 100, 0]) == 0.0);
    }
}
