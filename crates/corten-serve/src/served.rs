//! A model that answers.

use std::sync::{Arc, Mutex, PoisonError};

use corten_model::rows::{AnswerWriter, RowReader};
use corten_model::{Model, Session};

use crate::metrics::Latency;

/// Workers that are kept for later requests.
const KEPT: usize = 256;

/// What a request needs to score rows; used by one request at a time.
pub(crate) struct Worker {
    pub(crate) session: Session,
    pub(crate) rows: RowReader,
    pub(crate) answers: AnswerWriter,
}

/// A version of a model under a name.
pub(crate) struct Served {
    pub(crate) name: String,
    pub(crate) version: u64,
    pub(crate) model: Model,
    pub(crate) latency: Arc<Latency>,
    free: Mutex<Vec<Worker>>,
    /// The state of a model that has one advances under this lock.
    pub(crate) state: Option<Mutex<Model>>,
}

impl Served {
    pub(crate) fn new(name: String, version: u64, model: Model, latency: Arc<Latency>) -> Self {
        let state = model.is_stateful().then(|| Mutex::new(model.clone()));
        Self { name, version, model, latency, free: Mutex::default(), state }
    }

    /// Lends a worker.
    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut Worker) -> T) -> T {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut worker = free.unwrap_or_else(|| Worker {
            session: self.model.session(),
            rows: RowReader::new(&self.model),
            answers: AnswerWriter::new(&self.model),
        });
        let result = f(&mut worker);
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < KEPT {
            free.push(worker);
        }
        result
    }
}
