//! Where the time of a request goes. Scoring happens on one thread without a pause, so its clock is the thread's: the
//! stages are told apart deep inside, and most requests aren't measured at all.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// What scoring consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Bytes to columns or rows.
    Decode,
    /// The model; rows of JSON are written by the row, which counts here.
    Run,
    /// Answers to bytes.
    Encode,
}

/// The names of all stages, the wait before scoring first.
pub(crate) const STAGES: [&str; 4] = ["queue", "decode", "run", "encode"];

/// How long each of [`STAGES`] took.
pub(crate) type Spent = [Duration; STAGES.len()];

thread_local! {
    static CLOCK: Cell<Option<(Instant, Spent)>> = const { Cell::new(None) };
}

/// Begins to measure a request that has waited since `begun`.
pub(crate) fn start(begun: Instant) {
    let now = Instant::now();
    let spent = [now.duration_since(begun), Duration::ZERO, Duration::ZERO, Duration::ZERO];
    CLOCK.set(Some((now, spent)));
}

/// Counts the time since the last lap to a stage, if this request is measured.
#[inline]
pub(crate) fn lap(stage: Stage) {
    if let Some((last, mut spent)) = CLOCK.get() {
        let now = Instant::now();
        spent[stage as usize + 1] += now - last;
        CLOCK.set(Some((now, spent)));
    }
}

/// Ends the measurement, if there is one.
pub(crate) fn stop() -> Option<Spent> {
    CLOCK.take().map(|(_, spent)| spent)
}
