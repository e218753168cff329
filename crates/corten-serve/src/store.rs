//! The models of a server: where they come from, which versions are loaded, and how new ones take their place.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::{Duration, SystemTime};

use corten_core::{Error, Result};
use serde_json::{Value, json};

use crate::metrics::{Latency, Metrics};
use crate::routes::{Route, Router, Routes};
use crate::served::Served;
use crate::shadow::Shadow;

/// Most models and versions of a repository.
const MAX_MODELS: usize = 10_000;

/// Models that a thread remembers.
const MAX_RECENT: usize = 64;

/// The file of routes of a folder.
const ROUTES: &str = "routes.json";

/// What tells a file from an earlier one of the same path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    size: u64,
    inode: u64,
}

impl Stamp {
    fn of(path: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        let metadata = std::fs::metadata(path).ok()?;
        metadata.is_file().then(|| Self {
            modified: metadata.modified().ok(),
            size: metadata.len(),
            inode: metadata.ino(),
        })
    }
}

/// Where models come from: one file, or a folder of them.
#[derive(Clone, Debug)]
enum Source {
    File { name: String, path: PathBuf },
    Folder(PathBuf),
}

type Key = (String, u64);
type Found = BTreeMap<Key, PathBuf>;

fn folder_error(path: &Path, problem: impl std::fmt::Display) -> Error {
    Error::Io { path: path.display().to_string(), problem: format!("can't be read: {problem}"), not_found: false }
}

fn entries(path: &Path) -> Result<Vec<PathBuf>> {
    let listed = std::fs::read_dir(path).map_err(|e| folder_error(path, e))?;
    let paths = listed.map(|e| e.map(|e| e.path())).collect::<Result<Vec<_>, _>>();
    let mut paths = paths.map_err(|e| folder_error(path, e))?;
    // What is being written has a name that starts with a dot.
    paths.retain(|p| !p.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.')));
    paths.sort();
    Ok(paths)
}

fn is_model(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "corten") && path.is_file()
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

impl Source {
    fn parse(argument: &str) -> Self {
        let (name, path) = match argument.split_once('=') {
            Some((name, path)) if !Path::new(argument).exists() => (name.to_owned(), Path::new(path)),
            _ => (stem(Path::new(argument)), Path::new(argument)),
        };
        if path.is_dir() {
            return Self::Folder(path.to_path_buf());
        }
        Self::File { name, path: path.to_path_buf() }
    }

    /// Adds what is there now: `NAME.corten`, and `NAME/VERSION/*.corten`.
    fn find(&self, found: &mut Found) -> Result<()> {
        let mut add = |name: &str, version: u64, path: PathBuf| {
            if name.is_empty() || name.len() > 256 {
                let text = format!("{}: every model needs a name of 1 to 256 bytes (NAME=PATH)", path.display());
                return Err(Error::value(text));
            }
            if found.len() >= MAX_MODELS {
                return Err(Error::Limit(format!("more than {MAX_MODELS} models")));
            }
            if let Some(other) = found.get(&(name.to_owned(), version)) {
                return Err(Error::value(format!(
                    "'{name}' is the name of {} and of {}; every model needs a name of its own (NAME=PATH)",
                    other.display(),
                    path.display()
                )));
            }
            found.insert((name.to_owned(), version), path);
            Ok(())
        };
        match self {
            Self::File { name, path } => add(name, 1, path.clone()),
            Self::Folder(folder) => {
                for path in entries(folder)? {
                    if is_model(&path) {
                        add(&stem(&path), 1, path)?;
                        continue;
                    }
                    if !path.is_dir() {
                        continue;
                    }
                    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    for folder in entries(&path)? {
                        let number = folder.file_name().and_then(|n| n.to_str()).and_then(|n| n.parse::<u64>().ok());
                        let Some(version) = number.filter(|_| folder.is_dir()) else { continue };
                        let mut models = entries(&folder)?;
                        models.retain(|p| is_model(p));
                        match models.as_slice() {
                            [] => {}
                            [one] => add(&name, version, one.clone())?,
                            _ => return Err(Error::value(format!("{}: holds more than one model", folder.display()))),
                        }
                    }
                }
                Ok(())
            }
        }
    }
}

/// A version of a model, loaded or not.
struct Slot {
    path: PathBuf,
    served: Option<Arc<Served>>,
    /// The file that was read last, good or bad.
    stamp: Option<Stamp>,
    /// The file that was seen last, which may still be growing.
    seen: Option<Stamp>,
    reason: String,
    /// Whether somebody unloaded it: it stays so until somebody loads it.
    off: bool,
}

/// A model that a thread has asked for; others may have unloaded it since.
struct Recent {
    name: String,
    version: Option<u64>,
    served: Weak<Served>,
}

/// Why there is no model to answer.
pub(crate) enum Missing {
    /// It is known, but not loaded.
    Unloaded(String),
    Unknown(String),
}

/// What the index tells about a version of a model.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) version: u64,
    pub(crate) state: &'static str,
    pub(crate) reason: String,
}

/// All models, and what is counted about them.
pub struct Store {
    sources: Vec<Source>,
    /// How long drift is counted before older rows are forgotten.
    window: Duration,
    slots: RwLock<BTreeMap<Key, Slot>>,
    latencies: Mutex<BTreeMap<String, Arc<Latency>>>,
    first: String,
    /// One change at a time.
    changing: Mutex<()>,
    router: Router,
    pub(crate) shadow: Shadow,
    pub(crate) metrics: Metrics,
    pub(crate) draining: AtomicBool,
    /// Another number after each change of what is served, and in each store.
    generation: AtomicU64,
}

impl Store {
    /// Loads models given as files, as `NAME=FILE`, or as folders of them, and the routes to their versions: from a
    /// file, or from `routes.json` in each folder. Drift is told of the rows of one to two times `window`.
    ///
    /// # Errors
    /// [`Error::Io`], those of [`corten_model::Model::from_bytes`], and [`Error::Value`] for two models of one name, for
    /// a folder without models, and for routes that lead nowhere.
    pub fn load(given: &[String], routes: Option<&Path>, window: Duration) -> Result<Self> {
        let sources: Vec<Source> = given.iter().map(|g| Source::parse(g)).collect();
        let folder = |source: &Source| match source {
            Source::Folder(folder) => Some(folder.join(ROUTES)),
            Source::File { .. } => None,
        };
        let files = routes.map_or_else(|| sources.iter().filter_map(folder).collect(), |p| vec![p.to_path_buf()]);
        if let Some(path) = routes.filter(|p| !p.is_file()) {
            let problem = "is no file of routes".to_owned();
            return Err(Error::Io { path: path.display().to_string(), problem, not_found: !path.exists() });
        }
        let mut store = Self {
            sources,
            window,
            slots: RwLock::default(),
            latencies: Mutex::default(),
            first: String::new(),
            changing: Mutex::default(),
            router: Router::of(files),
            shadow: Shadow::default(),
            metrics: Metrics::default(),
            draining: AtomicBool::new(false),
            generation: AtomicU64::new(0),
        };
        let found = store.find()?;
        if found.is_empty() {
            return Err(Error::value(format!("{}: no model (*.corten) is there", given.join(", "))));
        }
        store.first = match store.sources.first() {
            Some(Source::File { name, .. }) => name.clone(),
            _ => found.keys().next().map(|k| k.0.clone()).unwrap_or_default(),
        };
        for ((name, version), path) in found {
            store.replace(&name, version, &path)?;
        }
        store.router.look(|routes| store.leads(routes))?;
        Ok(store)
    }

    fn find(&self) -> Result<Found> {
        let mut found = Found::new();
        self.sources.iter().try_for_each(|s| s.find(&mut found))?;
        Ok(found)
    }

    fn latency(&self, name: &str) -> Arc<Latency> {
        let mut all = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(all.entry(name.to_owned()).or_default())
    }

    pub(crate) fn latencies(&self) -> Vec<(String, Arc<Latency>)> {
        let all = self.latencies.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(name, latency)| (name.clone(), Arc::clone(latency))).collect()
    }

    /// Loads a file beside what is served under this name and version, then puts it in its place. A file that doesn't
    /// load changes nothing but the reason that the index gives.
    fn replace(&self, name: &str, version: u64, path: &Path) -> Result<()> {
        let stamp = Stamp::of(path);
        let loaded = Served::load(name, version, path, self.latency(name), self.window);
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        let slot = slots.entry((name.to_owned(), version)).or_insert_with(|| Slot {
            path: path.to_path_buf(),
            served: None,
            stamp: None,
            seen: None,
            reason: String::new(),
            off: false,
        });
        slot.path = path.to_path_buf();
        (slot.stamp, slot.seen) = (stamp, stamp);
        let old = match loaded {
            Ok(served) => {
                slot.reason.clear();
                slot.off = false;
                slot.served.replace(Arc::new(served))
            }
            Err(error) => {
                slot.reason = error.to_string();
                return Err(error);
            }
        };
        self.changed();
        drop(slots);
        // The old model may be the last of its kind: freeing it must not hold the lock.
        drop(old);
        Ok(())
    }

    /// Looks at the files again: changed ones are loaded once they have stayed the same from one look to the next, new
    /// ones are added, and those that are gone from a folder are no longer served. Returns what went wrong.
    pub(crate) fn look(&self) -> Vec<String> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        // A folder that can't be read now may come back: nothing changes until then.
        let found = match self.find() {
            Ok(found) => found,
            Err(error) => return vec![error.to_string()],
        };
        let mut due = Vec::new();
        {
            let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
            // A file that was named stays served when it goes away; what was found in a folder goes with its file.
            // A listing made while a file is renamed over another may lack both.
            let off: BTreeSet<String> =
                slots.iter().filter(|(_, slot)| slot.off).map(|(key, _)| key.0.clone()).collect();
            let before = slots.len();
            slots.retain(|key, slot| found.contains_key(key) || slot.path.is_file());
            if slots.len() != before {
                self.changed();
            }
            for (key, path) in found {
                let now = Stamp::of(&path);
                let slot = slots.entry(key.clone()).or_insert_with(|| Slot {
                    path: path.clone(),
                    served: None,
                    stamp: None,
                    seen: None,
                    // A new version is no word to serve a model again that somebody has unloaded.
                    reason: if off.contains(&key.0) { "unloaded" } else { "is being loaded" }.into(),
                    off: off.contains(&key.0),
                });
                let settled = slot.seen == now;
                slot.seen = now;
                if settled && now.is_some() && slot.stamp != now && !slot.off {
                    due.push((key, path));
                }
            }
        }
        let mut faults = Vec::new();
        for ((name, version), path) in due {
            let result = self.replace(&name, version, &path);
            self.metrics.loaded(result.is_ok());
            if let Err(error) = result {
                faults.push(format!("{name} {version}: {error}"));
            }
        }
        // After the files: a new version and the way to it may come together.
        faults.extend(self.router.look(|routes| self.leads(routes)).err().map(|e| e.to_string()));
        faults
    }

    /// # Errors
    /// [`Error::Value`] for routes to a model or version that isn't loaded: who is on the way to an old one stays there.
    fn leads(&self, routes: &Routes) -> Result<()> {
        for (model, route) in routes {
            if !self.knows(model, None) {
                return Err(Error::value(format!("routes: there is no model '{model}'")));
            }
            if let Some(version) = route.versions().find(|v| self.get(model, Some(*v)).is_none()) {
                return Err(Error::value(format!("routes: no version {version} of '{model}' is loaded")));
            }
        }
        Ok(())
    }

    /// Loads all versions of a model again, or for the first time.
    ///
    /// # Errors
    /// [`Error::Value`] for a name that no file has, and those of loading; what was served is served on then.
    pub(crate) fn reload(&self, name: &str) -> Result<()> {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let found: Vec<_> = self.find()?.into_iter().filter(|(key, _)| key.0 == name).collect();
        if found.is_empty() {
            return Err(Error::value(format!("there is no model '{name}'")));
        }
        for ((name, version), path) in found {
            let result = self.replace(&name, version, &path);
            self.metrics.loaded(result.is_ok());
            result?;
        }
        Ok(())
    }

    /// Notes that other models are served now; whoever calls this holds the slots.
    fn changed(&self) {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        self.generation.store(NEXT.fetch_add(1, Ordering::Relaxed), Ordering::Release);
    }

    /// Stops to serve a model; requests that have it finish.
    pub(crate) fn unload(&self, name: &str) -> bool {
        let _one = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut slots = self.slots.write().unwrap_or_else(PoisonError::into_inner);
        let mut gone = Vec::new();
        let mut any = false;
        for (_, slot) in slots.iter_mut().filter(|(key, _)| key.0 == name) {
            any = true;
            gone.extend(slot.served.take());
            (slot.off, slot.reason) = (true, "unloaded".into());
        }
        self.changed();
        drop(slots);
        drop(gone);
        any
    }

    /// A model by its name, in one version or in the highest; the first one for no name.
    pub(crate) fn get(&self, name: &str, version: Option<u64>) -> Option<Arc<Served>> {
        let name = if name.is_empty() { &self.first } else { name };
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        let (low, high) = (version.unwrap_or(0), version.unwrap_or(u64::MAX));
        let mut range = slots.range((name.to_owned(), low)..=(name.to_owned(), high)).rev();
        range.find_map(|(_, slot)| slot.served.clone())
    }

    /// As [`Store::get`], where there are no routes: what a thread has asked for is remembered by it until other models
    /// are served.
    pub(crate) fn recent(&self, name: &str, version: Option<u64>) -> Option<Arc<Served>> {
        thread_local! {
            static RECENT: RefCell<(u64, Vec<Recent>)> = const { RefCell::new((0, Vec::new())) };
        }
        if self.router.any() {
            return None;
        }
        RECENT.with_borrow_mut(|(then, recent)| {
            let now = self.generation.load(Ordering::Acquire);
            if *then != now {
                recent.clear();
                *then = now;
            }
            let known = recent.iter().find(|r| r.version == version && r.name == name);
            if let Some(served) = known.and_then(|r| r.served.upgrade()) {
                return Some(served);
            }
            let served = self.get(name, version)?;
            if recent.len() >= MAX_RECENT {
                recent.clear();
            }
            recent.push(Recent { name: name.to_owned(), version, served: Arc::downgrade(&served) });
            Some(served)
        })
    }

    /// The model of a name that may end in a version, `NAME@ALIAS` or `NAME@NUMBER`, and that version.
    pub(crate) fn split<'n>(&self, name: &'n str) -> (&'n str, Option<&'n str>) {
        match name.rsplit_once('@') {
            Some((model, alias)) if !self.knows(name, None) => (model, Some(alias)),
            _ => (name, None),
        }
    }

    /// The model that answers a request: `name` may be `NAME@ALIAS` or `NAME@NUMBER`, `version` a number or an alias; where neither
    /// tells, the traffic is shared as the routes say, and without routes the highest version answers. `point` gives
    /// the caller's place in the traffic, from the header of this name where there is one.
    pub(crate) fn resolve(
        &self,
        name: &str,
        version: Option<&str>,
        point: impl FnOnce(Option<&str>) -> u64,
    ) -> Option<Arc<Served>> {
        let name = if name.is_empty() { &self.first } else { name };
        let (name, alias) = self.split(name);
        let routes = self.router.routes();
        let route = routes.as_ref().and_then(|r| r.get(name));
        let number = |named: &str| named.parse().ok().or_else(|| route?.aliases.get(named).copied());
        match (version, alias) {
            (Some(version), None) => self.get(name, Some(number(version)?)),
            (None, Some(alias)) => self.get(name, Some(number(alias)?)),
            (Some(_), Some(_)) => None,
            (None, None) => {
                let shared = route.filter(|r| !r.traffic.is_empty());
                let chosen = |route: &Route| {
                    let point = point(route.sticky.as_deref());
                    route.choose(point, |v| self.get(name, Some(v)).is_some())
                };
                self.get(name, shared.and_then(chosen))
            }
        }
    }

    /// Why [`Store::resolve`] finds nothing.
    pub(crate) fn missing(&self, name: &str, version: Option<&str>) -> Missing {
        let (model, alias) = self.split(name);
        if let (Some(version), Some(alias)) = (version, alias) {
            let text = format!("'{model}' is asked for in version '{version}' and as '{alias}'; one of them is needed");
            return Missing::Unknown(text);
        }
        let version = version.or(alias);
        let number = version.map(|v| v.parse().ok().or_else(|| self.route(model)?.aliases.get(v).copied()));
        let text = match version {
            None => String::new(),
            Some(v) if v.parse::<u64>().is_ok() => format!(" in version {v}"),
            Some(v) => format!(" in version '{v}'"),
        };
        if number != Some(None) && self.knows(model, number.flatten()) {
            return Missing::Unloaded(format!("the model '{model}'{text} isn't loaded"));
        }
        Missing::Unknown(format!("there is no model '{model}'{text}"))
    }

    /// The candidate that hears what a model has answered, for `point` of the traffic.
    pub(crate) fn candidate(&self, served: &Served, point: impl FnOnce() -> u64) -> Option<Arc<Served>> {
        let routes = self.router.routes()?;
        let (version, percent) = routes.get(&served.name)?.shadow.filter(|s| s.0 != served.version)?;
        let heard = percent >= 100.0 || (point() as f64 / u64::MAX as f64) * 100.0 < percent;
        heard.then(|| self.get(&served.name, Some(version))).flatten()
    }

    /// The aliases and shares of traffic of a model, as its routes have them.
    pub(crate) fn route(&self, name: &str) -> Option<Route> {
        self.router.routes()?.get(name).cloned()
    }

    /// The name of the model that `/predict` asks.
    pub(crate) fn first(&self) -> &str {
        &self.first
    }

    /// Whether there is such a model, loaded or not.
    pub(crate) fn knows(&self, name: &str, version: Option<u64>) -> bool {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.keys().any(|key| key.0 == name && version.is_none_or(|v| v == key.1))
    }

    /// The highest loaded version of every model.
    pub(crate) fn models(&self) -> Vec<Arc<Served>> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        let mut latest: BTreeMap<&str, &Arc<Served>> = BTreeMap::new();
        for (key, slot) in slots.iter() {
            if let Some(served) = &slot.served {
                latest.insert(&key.0, served);
            }
        }
        latest.into_values().cloned().collect()
    }

    /// All loaded versions of all models.
    pub(crate) fn all(&self) -> Vec<Arc<Served>> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        slots.values().filter_map(|slot| slot.served.clone()).collect()
    }

    /// The loaded versions of a model.
    pub(crate) fn versions(&self, name: &str) -> Vec<String> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        let loaded = slots.iter().filter(|(key, slot)| key.0 == name && slot.served.is_some());
        loaded.map(|(key, _)| key.1.to_string()).collect()
    }

    /// The lines of the repository index.
    pub(crate) fn lines(&self, ready_only: bool) -> Vec<Line> {
        let slots = self.slots.read().unwrap_or_else(PoisonError::into_inner);
        let line = |(key, slot): (&Key, &Slot)| Line {
            name: key.0.clone(),
            version: key.1,
            state: if slot.served.is_some() { "READY" } else { "UNAVAILABLE" },
            reason: slot.reason.clone(),
        };
        slots.iter().filter(|(_, slot)| !ready_only || slot.served.is_some()).map(line).collect()
    }

    /// The repository index of the Open Inference Protocol, of the models that are seen.
    pub(crate) fn index(&self, ready_only: bool, sees: impl Fn(&str) -> bool) -> Value {
        let line =
            |l: Line| json!({ "name": l.name, "version": l.version.to_string(), "state": l.state, "reason": l.reason });
        self.lines(ready_only).into_iter().filter(|l| sees(&l.name)).map(line).collect()
    }

    /// Whether requests are welcome.
    pub(crate) fn is_ready(&self) -> bool {
        !self.draining.load(Ordering::Relaxed)
    }
}
