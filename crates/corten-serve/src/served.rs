//! The models that are served.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use corten_core::{Error, Result};
use corten_model::rows::{AnswerWriter, RowReader};
use corten_model::{Model, Session};

use crate::metrics::Metrics;

/// Workers that are kept for later requests.
const KEPT: usize = 256;

/// What a request needs to score rows; used by one request at a time.
pub(crate) struct Worker {
    pub(crate) session: Session,
    pub(crate) rows: RowReader,
    pub(crate) answers: AnswerWriter,
}

/// A model under a name.
pub struct Served {
    pub(crate) name: String,
    pub(crate) model: Model,
    free: Mutex<Vec<Worker>>,
    /// The state of a model that has one advances under this lock.
    pub(crate) state: Option<Mutex<Model>>,
}

impl Served {
    fn new(name: String, model: Model) -> Self {
        let state = model.is_stateful().then(|| Mutex::new(model.clone()));
        Self { name, model, free: Mutex::default(), state }
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

/// All models, and what is counted about them.
pub struct Store {
    pub(crate) models: Vec<Served>,
    pub(crate) metrics: Metrics,
}

impl Store {
    /// Loads models given as paths or as `name=path`.
    ///
    /// # Errors
    /// [`Error::Io`], those of [`Model::from_bytes`], and [`Error::Value`] for two models of one name.
    pub fn load(given: &[String]) -> Result<Self> {
        let mut models: Vec<Served> = Vec::new();
        for argument in given {
            let (name, path) = match argument.split_once('=') {
                Some((name, path)) => (name.to_owned(), Path::new(path)),
                None => {
                    let path = Path::new(argument);
                    (path.file_stem().unwrap_or_default().to_string_lossy().into_owned(), path)
                }
            };
            if name.is_empty() || models.iter().any(|m| m.name == name) {
                return Err(Error::value(format!("'{argument}': every model needs a name of its own (NAME=PATH)")));
            }
            models.push(Served::new(name, Model::load(path)?));
        }
        Ok(Self { metrics: Metrics::new(models.len()), models })
    }

    /// A model by its name.
    pub(crate) fn find(&self, name: &str) -> Option<(usize, &Served)> {
        self.models.iter().enumerate().find(|(_, m)| m.name == name)
    }
}
