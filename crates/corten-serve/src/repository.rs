//! The models that are served, and the files and folders that they come from.
//!
//! Requests read an immutable list behind one pointer and hold the model they found until they are answered. A change
//! makes a new list beside the old one and swaps the pointer, so that no request sees half of a change.

use std::collections::BTreeSet;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::SystemTime;

use corten_core::{Error, Result};
use corten_model::Model;

use crate::metrics::{Latency, Metrics};
use crate::served::Served;

/// Most models and versions of one server.
const MAX_MODELS: usize = 10_000;
/// The name of a file in a folder of versions.
const VERSIONED: &str = "model.corten";

/// Why a model that was unloaded on request doesn't answer.
pub(crate) const UNLOADED: &str = "unloaded";

/// Where models come from.
enum Source {
    File { name: String, path: PathBuf },
    Folder(PathBuf),
}

/// A file and what it is served as.
struct Place {
    /// Which source it comes from.
    source: usize,
    name: String,
    version: u64,
    path: PathBuf,
}

/// Tells one state of a file from the next.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    size: u64,
    inode: u64,
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        let facts = std::fs::metadata(path).ok()?;
        Some(Self { modified: facts.modified().ok(), size: facts.len(), inode: facts.ino() })
    }
}

/// A version of a model in the list.
#[derive(Clone)]
pub(crate) struct Entry {
    pub(crate) name: String,
    pub(crate) version: u64,
    /// The model that answers, if there is one.
    pub(crate) served: Option<Arc<Served>>,
    /// Why the file as it lies there doesn't answer; empty when it does.
    pub(crate) reason: String,
    pub(crate) latency: Arc<Latency>,
    stamp: Option<Stamp>,
    source: usize,
    path: PathBuf,
    /// Whether the last look didn't find the file.
    is_missed: bool,
}

/// Why there is no model to answer.
pub(crate) enum Absent {
    /// Nothing has that name or version.
    Unknown,
    /// It is known, but not loaded.
    NotLoaded(String),
}

/// All models, and what is counted about them.
pub struct Store {
    sources: Vec<Source>,
    entries: RwLock<Arc<Vec<Entry>>>,
    /// Names that were unloaded on request. Its lock lets one change happen at a time.
    unloaded: Mutex<BTreeSet<String>>,
    pub(crate) metrics: Metrics,
}

impl Store {
    /// Loads models given as files, as `name=file`, or as folders. In a folder, `NAME.corten` is version 1 of a model, and
    /// `NAME/VERSION/model.corten` one version of it.
    ///
    /// # Errors
    /// [`Error::Io`], those of [`Model::from_bytes`], [`Error::Value`] for two models of one name and [`Error::Limit`] for
    /// more than 10,000 models.
    pub fn load(given: &[String]) -> Result<Self> {
        let source = |argument: &String| {
            if Path::new(argument).is_dir() {
                return Source::Folder(argument.into());
            }
            match argument.split_once('=') {
                Some((name, path)) => Source::File { name: name.to_owned(), path: path.into() },
                None => Source::File { name: stem(Path::new(argument)), path: argument.into() },
            }
        };
        let store = Self {
            sources: given.iter().map(source).collect(),
            entries: RwLock::default(),
            unloaded: Mutex::default(),
            metrics: Metrics::default(),
        };
        let places = store.places()?;
        for (at, place) in places.iter().enumerate() {
            if place.name.is_empty() || places[..at].iter().any(|p| p.name == place.name && p.version == place.version)
            {
                return Err(Error::value(format!(
                    "'{}': every model needs a name of its own (NAME=PATH)",
                    place.path.display()
                )));
            }
        }
        // A server doesn't start with a model that it can't serve.
        store.take(places, &BTreeSet::new(), "")?.map_or(Ok(()), Err)?;
        Ok(store)
    }

    /// The list as it is now.
    pub(crate) fn entries(&self) -> Arc<Vec<Entry>> {
        Arc::clone(&self.entries.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// The model that answers under each name.
    pub(crate) fn answering(&self) -> Vec<Arc<Served>> {
        let mut found: Vec<Arc<Served>> = Vec::new();
        for served in self.entries().iter().filter_map(|e| e.served.clone()) {
            match found.last_mut() {
                Some(last) if last.name == served.name => *last = served,
                _ => found.push(served),
            }
        }
        found
    }

    /// The first model of the list.
    pub(crate) fn first(&self) -> Option<Arc<Served>> {
        let entries = self.entries();
        let name = &entries.iter().find(|e| e.served.is_some())?.name;
        self.find(name, None).ok()
    }

    /// A model by its name: the version asked for, or the highest that answers.
    pub(crate) fn find(&self, name: &str, version: Option<u64>) -> Result<Arc<Served>, Absent> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        let mut absent = Absent::Unknown;
        // Versions of a name come in rising order.
        for entry in entries.iter().rev().filter(|e| e.name == name && version.is_none_or(|v| v == e.version)) {
            match &entry.served {
                Some(served) => return Ok(Arc::clone(served)),
                None => absent = Absent::NotLoaded(entry.reason.clone()),
            }
        }
        Err(absent)
    }

    /// Takes in what has changed in files and folders. A file that can't be loaded leaves what was there before.
    pub(crate) fn refresh(&self) {
        let unloaded = self.lock();
        // A folder that can't be read now is looked at again later.
        if let Ok(places) = self.places() {
            let _ = self.take(places, &unloaded, "");
        }
    }

    /// Loads a model from its files again.
    ///
    /// # Errors
    /// [`Error::Value`] for a name that is nowhere, and those of [`Model::load`]; the model before goes on answering.
    pub(crate) fn reload(&self, name: &str) -> Result<()> {
        let mut unloaded = self.lock();
        let places = self.places()?;
        if !places.iter().any(|p| p.name == name) {
            return Err(Error::value(format!("there is no file of a model '{name}'")));
        }
        unloaded.remove(name);
        self.take(places, &unloaded, name)?.map_or(Ok(()), Err)
    }

    /// Takes a model out of service until it is loaded again.
    ///
    /// # Errors
    /// [`Error::Value`] for a name that is nowhere.
    pub(crate) fn unload(&self, name: &str) -> Result<()> {
        let mut unloaded = self.lock();
        if !self.entries().iter().any(|e| e.name == name) {
            return Err(Error::value(format!("there is no model '{name}'")));
        }
        unloaded.insert(name.to_owned());
        self.take(self.places()?, &unloaded, "")?.map_or(Ok(()), Err)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.unloaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the sources hold now: in the order in which they were given, names and versions rising within a folder.
    fn places(&self) -> Result<Vec<Place>> {
        let mut places = Vec::new();
        for (at, source) in self.sources.iter().enumerate() {
            match source {
                Source::File { name, path } => {
                    places.push(Place { source: at, name: name.clone(), version: 1, path: path.clone() });
                }
                Source::Folder(path) => {
                    let mut found = folder(at, path)?;
                    found.sort_by(|a, b| (&a.name, a.version).cmp(&(&b.name, b.version)));
                    places.append(&mut found);
                }
            }
            if places.len() > MAX_MODELS {
                return Err(Error::Limit(format!("more than {MAX_MODELS} models in one server")));
            }
        }
        Ok(places)
    }

    /// Makes the list of these places and swaps it in; `again` is loaded even if its file is the same. Returns the
    /// first fault of a file.
    fn take(&self, places: Vec<Place>, unloaded: &BTreeSet<String>, again: &str) -> Result<Option<Error>> {
        let old = self.entries();
        let mut fault = None;
        let mut new: Vec<Entry> = Vec::with_capacity(places.len());
        for Place { source, name, version, path } in places {
            if new.iter().any(|e| e.name == name && e.version == version) {
                continue;
            }
            let before = old.iter().find(|e| e.name == name && e.version == version);
            let latency = before.map_or_else(Arc::default, |e| Arc::clone(&e.latency));
            if unloaded.contains(&name) {
                let reason = UNLOADED.into();
                let (served, stamp, is_missed) = (None, None, false);
                new.push(Entry { name, version, served, reason, latency, stamp, source, path, is_missed });
                continue;
            }
            // Looked at before the file is read: what changes meanwhile is seen the next time.
            let stamp = Stamp::of(&path);
            if let Some(before) = before.filter(|e| e.stamp == stamp && name != again) {
                new.push(Entry { is_missed: false, ..before.clone() });
                continue;
            }
            let (served, reason) = match Model::load(&path) {
                Ok(model) => {
                    let served = Served::new(name.clone(), version, model, Arc::clone(&latency));
                    // The first request finds its memory ready.
                    served.with(|_| ());
                    (Some(Arc::new(served)), String::new())
                }
                Err(error) => {
                    let reason = error.to_string();
                    let place = path.display().to_string();
                    // A file that was named stops the start with its fault.
                    if before.is_some() || matches!(self.sources[source], Source::Folder(_)) {
                        eprintln!("corten-serve: '{name}' version {version} isn't taken from {place}: {error}");
                    }
                    let is_named = reason.contains(&place);
                    fault = fault.or(Some(if is_named { error } else { Error::value(format!("{place}: {error}")) }));
                    (before.and_then(|e| e.served.clone()), reason)
                }
            };
            new.push(Entry { name, version, served, reason, latency, stamp, source, path, is_missed: false });
        }
        // A listing made while a file is renamed over another may lack both, and some replace a file by removing it
        // first: only what is gone for good stops being served.
        let is_kept = |e: &&Entry| {
            let stays = !e.is_missed || e.path.exists();
            stays && !new.iter().any(|n| n.name == e.name && n.version == e.version)
        };
        let missed: Vec<Entry> = old.iter().filter(is_kept).map(|e| Entry { is_missed: true, ..e.clone() }).collect();
        new.extend(missed);
        new.sort_by(|a, b| (a.source, &a.name, a.version).cmp(&(b.source, &b.name, b.version)));
        *self.entries.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
        Ok(fault)
    }
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_none_or(|n| n.to_string_lossy().starts_with('.'))
}

/// The models in a folder.
fn folder(source: usize, path: &Path) -> Result<Vec<Place>> {
    let list = |path: &Path| -> Result<Vec<PathBuf>> {
        let fault = |e: std::io::Error| Error::Io {
            path: path.display().to_string(),
            problem: format!("can't be read: {e}"),
            not_found: false,
        };
        let paths: std::io::Result<Vec<PathBuf>> =
            std::fs::read_dir(path).map_err(fault)?.map(|e| e.map(|e| e.path())).collect();
        Ok(paths.map_err(fault)?.into_iter().filter(|p| !is_hidden(p)).collect())
    };
    let mut places = Vec::new();
    for path in list(path)? {
        if path.is_dir() {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            for versioned in list(&path)? {
                let version = versioned.file_name().and_then(|n| n.to_str()).and_then(|n| n.parse().ok());
                let file = versioned.join(VERSIONED);
                if let Some(version) = version.filter(|_| file.is_file()) {
                    places.push(Place { source, name: name.clone(), version, path: file });
                }
            }
        } else if path.extension().is_some_and(|e| e == "corten") {
            places.push(Place { source, name: stem(&path), version: 1, path });
        }
    }
    Ok(places)
}
