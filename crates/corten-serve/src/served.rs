//! One model as it is served.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use corten_core::{Data, Error, Kind, Result};
use corten_model::rows::{AnswerWriter, RowReader};
use corten_model::sketch::check_sample;
use corten_model::{Batch, Method, Model, Session};

use crate::drift::{Drift, Seen};
use crate::metrics::Latency;
use crate::quick::Plan;

/// Workers that are kept for later requests.
const KEPT: usize = 256;

/// What a request needs to score rows; used by one request at a time.
pub(crate) struct Worker {
    pub(crate) session: Session,
    /// For requests of several rows, once there was one.
    pub(crate) block: Option<Session>,
    pub(crate) rows: RowReader,
    pub(crate) answers: AnswerWriter,
    /// What it has counted of drift, where the model has a sketch.
    pub(crate) seen: Seen,
}

/// A version of a model under a name. A request keeps the one that it began with.
pub(crate) struct Served {
    pub(crate) name: String,
    pub(crate) version: u64,
    pub(crate) model: Model,
    /// How requests of numbers are answered, where the model reads and answers nothing else.
    pub(crate) plan: Option<Plan>,
    free: Mutex<Vec<Worker>>,
    /// The state of a model that has one advances under this lock.
    pub(crate) state: Option<Mutex<Model>>,
    pub(crate) latency: Arc<Latency>,
    /// What comes in against what the model was fitted on, or why that isn't told.
    pub(crate) drift: std::result::Result<Drift, String>,
    /// How long loading took.
    pub(crate) took: Duration,
}

impl Served {
    /// Loads a model, checks it, and lets it answer a row of missing values, so that its memory is there.
    ///
    /// # Errors
    /// Those of [`Model::load`]; [`Error::Value`] that names the file when the row can't be answered.
    pub(crate) fn load(name: &str, version: u64, path: &Path, latency: Arc<Latency>, window: Duration) -> Result<Self> {
        let start = Instant::now();
        let model = Model::load(path).map_err(|e| match e {
            Error::Io { .. } | Error::Format(_) | Error::Limit(_) => e,
            other => Error::value(format!("{}: {other}", path.display())),
        })?;
        check_sample(&model).map_err(|e| Error::value(format!("{}: {e}", path.display())))?;
        let drift = match Drift::of(&model, window) {
            Ok(Some(drift)) => Ok(drift),
            Ok(None) => Err("its file has no training sketch; files that Corten saves after a fit have one".into()),
            Err(error) => Err(error.to_string()),
        };
        let state = model.is_stateful().then(|| Mutex::new(model.clone()));
        let (name, free, plan) = (name.to_owned(), Mutex::default(), Plan::of(&model));
        let mut served = Self { name, version, model, plan, free, state, latency, drift, took: Duration::ZERO };
        served.warm().map_err(|e| Error::value(format!("{}: can't answer a row: {e}", path.display())))?;
        served.took = start.elapsed();
        Ok(served)
    }

    fn warm(&self) -> Result<()> {
        let texts = self.model.schema().inputs.iter().filter(|i| i.kind == Kind::Text).count();
        self.with(|worker| {
            worker.session.numbers_mut().fill(f64::NAN);
            let mut out = Vec::new();
            match worker.answers.answer(&self.model, &mut worker.session, &vec![None; texts], &mut out) {
                // A model may refuse missing values by name: it works.
                Ok(()) | Err(Error::Column { .. } | Error::Value(_)) => Ok(()),
                Err(other) => Err(other),
            }
        })
    }

    /// Lends a worker.
    pub(crate) fn with<T>(&self, f: impl FnOnce(&mut Worker) -> T) -> T {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut worker = free.unwrap_or_else(|| Worker {
            session: self.model.session(),
            block: None,
            rows: RowReader::new(&self.model),
            answers: AnswerWriter::new(&self.model),
            seen: self.drift.as_ref().map(Drift::seen).unwrap_or_default(),
        });
        let result = f(&mut worker);
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        if free.len() < KEPT {
            free.push(worker);
        }
        result
    }

    /// Counts a table that was answered.
    pub(crate) fn watch(&self, data: &Data<'_>, methods: &[Method], batches: &[Batch]) {
        if let Ok(drift) = &self.drift {
            self.with(|worker| {
                // The model has read these columns: they are there and of its kinds.
                let _ = drift.data(&mut worker.seen, &self.model, data, methods, batches);
                drift.add(&mut worker.seen, false);
            });
        }
    }

    /// What has come in, with what idle workers have counted.
    pub(crate) fn drift(&self) -> std::result::Result<&Drift, &str> {
        let drift = self.drift.as_ref().map_err(String::as_str)?;
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        free.iter_mut().for_each(|worker| drift.add(&mut worker.seen, true));
        Ok(drift)
    }
}
