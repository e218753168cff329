//! The one door between the interpreter and Rust: lets go of the interpreter lock, watches for Ctrl-C, and turns errors
//! and panics into Python's.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use corten_core::{CancelToken, Result};
use pyo3::prelude::*;

use crate::errors;

/// How often Ctrl-C is looked for.
const WATCH: Duration = Duration::from_millis(50);

/// How long a piece of work is expected to take.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    /// Below 20 microseconds: handing the lock over would cost more than it gives.
    Short,
    /// Long enough to let other threads run, too short to be stopped.
    Medium,
    /// May be stopped with Ctrl-C.
    Long,
}

/// Runs work that does not touch Python.
pub(crate) fn run<T: Send>(
    py: Python<'_>,
    size: Size,
    cancel: &CancelToken,
    work: impl FnOnce() -> Result<T> + Send,
) -> PyResult<T> {
    let guarded = || catch_unwind(AssertUnwindSafe(work));
    let outcome = match size {
        Size::Short => guarded(),
        Size::Medium => py.detach(guarded),
        Size::Long => {
            let (outcome, signal, ()) = py.detach(|| watched(cancel, guarded, || ()));
            if let Some(signal) = signal {
                return Err(signal);
            }
            outcome
        }
    };
    match outcome {
        Ok(result) => result.map_err(|e| errors::to_py(py, e)),
        Err(payload) => Err(errors::panicked(py, &*payload)),
    }
}

/// Runs work that checks its token again and again in the thread that it was called in: it stays there, where [`run`] would
/// give long work a thread of its own, whose start and first use of memory take longer than many a batch.
pub(crate) fn run_here<T: Send>(
    py: Python<'_>,
    size: Size,
    work: impl FnOnce(&CancelToken) -> Result<T> + Send,
) -> PyResult<T> {
    if size != Size::Long {
        let cancel = CancelToken::new();
        return run(py, size, &cancel, || work(&cancel));
    }
    let raised: Arc<Mutex<Option<PyErr>>> = Arc::default();
    let cancel = CancelToken::asking(signals(Arc::clone(&raised)));
    let outcome = run(py, Size::Medium, &cancel, || work(&cancel));
    let signal = raised.lock().unwrap_or_else(PoisonError::into_inner).take();
    signal.map_or(outcome, Err)
}

/// Looks for signals in this thread as often as [`WATCH`] says; whether one raised something, which is kept.
fn signals(raised: Arc<Mutex<Option<PyErr>>>) -> impl Fn() -> bool + Send + Sync {
    let (owner, last) = (thread::current().id(), Mutex::new(Instant::now()));
    move || {
        if thread::current().id() != owner {
            return false;
        }
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() < WATCH {
            return false;
        }
        let signal = Python::attach(|py| py.check_signals().err());
        *last = Instant::now();
        let found = signal.is_some();
        *raised.lock().unwrap_or_else(PoisonError::into_inner) = signal;
        found
    }
}

/// Runs long work that may keep what it has when Ctrl-C stops it; what that raised comes back beside the outcome, and what
/// this thread does meanwhile.
pub(crate) fn run_kept<T: Send, M: Send>(
    py: Python<'_>,
    cancel: &CancelToken,
    work: impl FnOnce() -> Result<T> + Send,
    meanwhile: impl FnOnce() -> M + Send,
) -> (PyResult<T>, Option<PyErr>, M) {
    let (outcome, signal, done) = py.detach(|| watched(cancel, || catch_unwind(AssertUnwindSafe(work)), meanwhile));
    let outcome = match outcome {
        Ok(result) => result.map_err(|e| errors::to_py(py, e)),
        Err(payload) => Err(errors::panicked(py, &*payload)),
    };
    (outcome, signal, done)
}

/// Runs work on a thread of its own while this one does something short and then looks for signals; the error of a signal
/// comes back beside it.
fn watched<T: Send, M>(
    cancel: &CancelToken,
    work: impl FnOnce() -> thread::Result<T> + Send,
    meanwhile: impl FnOnce() -> M,
) -> (thread::Result<T>, Option<PyErr>, M) {
    thread::scope(|scope| {
        let (done, wait) = channel::<()>();
        let worker = scope.spawn(move || {
            let result = work();
            // The receiver lives until this thread is joined.
            let _ = done.send(());
            result
        });
        let done = meanwhile();
        let mut signal = None;
        while let Err(RecvTimeoutError::Timeout) = wait.recv_timeout(WATCH) {
            if signal.is_none() {
                signal = Python::attach(|py| py.check_signals().err());
                if signal.is_some() {
                    cancel.cancel();
                }
            }
        }
        let result = worker.join().unwrap_or_else(Err);
        (result, signal, done)
    })
}

/// Gives memory that was freed back to the system, after fits that are made in turn.
#[pyfunction]
pub(crate) fn give_back(py: Python<'_>) {
    py.detach(corten_kernels::pages::give_back);
}
