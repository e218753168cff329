//! Which version answers: aliases, the shares of traffic, and the version that only listens.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::SystemTime;

use corten_core::{Error, Result};
use serde::Deserialize;
use serde_json::{Value, json};

/// Largest file of routes.
const MAX_FILE: u64 = 1 << 20;
/// Longest name of an alias.
const MAX_NAME: usize = 256;

/// A version as a person writes it: its number, or an alias.
#[derive(Deserialize)]
#[serde(untagged)]
enum Named {
    Number(u64),
    Text(String),
}

/// What the file says about one model.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    #[serde(default)]
    aliases: BTreeMap<String, u64>,
    #[serde(default)]
    traffic: BTreeMap<String, f64>,
    sticky: Option<String>,
    shadow: Option<Named>,
    #[serde(default = "all")]
    shadow_percent: f64,
}

fn all() -> f64 {
    100.0
}

/// The routes of one model.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Route {
    /// Names of versions, as MLflow's registry has them.
    pub(crate) aliases: BTreeMap<String, u64>,
    /// Versions and their shares of the requests that name none.
    pub(crate) traffic: Vec<(u64, f64)>,
    /// The header that decides which version a caller meets; the request's id where it is missing.
    pub(crate) sticky: Option<String>,
    /// The version that hears requests and never answers, and how many of 100 it hears.
    pub(crate) shadow: Option<(u64, f64)>,
}

impl Route {
    /// The versions that the route leads to.
    pub(crate) fn versions(&self) -> impl Iterator<Item = u64> {
        let traffic = self.traffic.iter().map(|t| t.0);
        self.aliases.values().copied().chain(traffic).chain(self.shadow.map(|s| s.0))
    }

    /// The route as the models' descriptions tell it.
    pub(crate) fn json(&self) -> Value {
        let traffic: Vec<Value> = self.traffic.iter().map(|t| json!({ "version": t.0, "share": t.1 })).collect();
        let shadow = self.shadow.map(|s| json!({ "version": s.0, "percent": s.1 }));
        json!({ "aliases": self.aliases, "traffic": traffic, "shadow": shadow })
    }

    /// One of the loaded versions by its share; `point` is even over all values.
    pub(crate) fn choose(&self, point: u64, loaded: impl Fn(u64) -> bool) -> Option<u64> {
        let shares = || self.traffic.iter().filter(|t| t.1 > 0.0 && loaded(t.0));
        let total: f64 = shares().map(|t| t.1).sum();
        let mut left = point as f64 / (u64::MAX as f64) * total;
        for (version, share) in shares() {
            if left < *share {
                return Some(*version);
            }
            left -= share;
        }
        // What rounding has left over is the last one's.
        shares().last().map(|t| t.0)
    }
}

/// The routes of all models by name.
pub(crate) type Routes = BTreeMap<String, Route>;

/// A number that is the same for the same bytes, and even over all of them.
pub(crate) fn point(bytes: &[u8]) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&blake3::hash(bytes).as_bytes()[..8]);
    u64::from_le_bytes(first)
}

fn route(path: &Path, model: &str, given: Given) -> Result<Route> {
    let fault = |problem: String| Error::value(format!("{}: '{model}': {problem}", path.display()));
    for alias in given.aliases.keys() {
        if alias.is_empty() || alias.len() > MAX_NAME || alias.bytes().all(|b| b.is_ascii_digit()) {
            let text = format!("an alias is a name of 1 to {MAX_NAME} bytes and no number; '{alias}' came");
            return Err(fault(text));
        }
    }
    let number = |named: &str| {
        let known = || given.aliases.get(named).copied();
        named.parse().ok().or_else(known).ok_or_else(|| fault(format!("'{named}' is no version and no alias")))
    };
    let mut traffic = Vec::with_capacity(given.traffic.len());
    for (name, &share) in &given.traffic {
        if !(share.is_finite() && share >= 0.0) {
            return Err(fault(format!("the share of traffic of '{name}' must be a number from 0 on; {share} came")));
        }
        let version = number(name)?;
        if traffic.iter().any(|t: &(u64, f64)| t.0 == version) {
            return Err(fault(format!("version {version} has two shares of traffic")));
        }
        traffic.push((version, share));
    }
    if !traffic.is_empty() && traffic.iter().all(|t| t.1 == 0.0) {
        return Err(fault("no version has a share of traffic above 0".into()));
    }
    if !(0.0..=100.0).contains(&given.shadow_percent) {
        return Err(fault(format!("'shadow_percent' must be from 0 to 100; {} came", given.shadow_percent)));
    }
    let shadow = match &given.shadow {
        None => None,
        Some(Named::Number(version)) => Some((*version, given.shadow_percent)),
        Some(Named::Text(name)) => Some((number(name)?, given.shadow_percent)),
    };
    Ok(Route { aliases: given.aliases.clone(), traffic, sticky: given.sticky.map(|s| s.to_ascii_lowercase()), shadow })
}

/// Reads a file of routes.
///
/// # Errors
/// [`Error::Io`], [`Error::Limit`], and [`Error::Value`] that names the file and the model for what can't be meant.
pub(crate) fn read(path: &Path) -> Result<Routes> {
    let io = |e: std::io::Error| Error::Io {
        path: path.display().to_string(),
        problem: format!("can't be read: {e}"),
        not_found: e.kind() == std::io::ErrorKind::NotFound,
    };
    if std::fs::metadata(path).map_err(io)?.len() > MAX_FILE {
        return Err(Error::Limit(format!("{}: a file of routes may have {MAX_FILE} bytes", path.display())));
    }
    parse(path, &std::fs::read(path).map_err(io)?)
}

/// Routes in the bytes of a file.
///
/// # Errors
/// As [`read`].
pub(crate) fn parse(path: &Path, bytes: &[u8]) -> Result<Routes> {
    let given: BTreeMap<String, Given> = serde_json::from_slice(bytes)
        .map_err(|e| Error::value(format!("{}: isn't a file of routes: {e}", path.display())))?;
    given.into_iter().map(|(model, given)| Ok((model.clone(), route(path, &model, given)?))).collect()
}

/// When a file of routes was written and its length; none for one that isn't there.
type Stamp = Option<(SystemTime, u64)>;

/// The routes in force, and the files that they come from.
#[derive(Default)]
pub(crate) struct Router {
    files: Vec<PathBuf>,
    routes: RwLock<Arc<Routes>>,
    /// The files as they were read last; none where they are to be read again.
    read: Mutex<Option<Vec<Stamp>>>,
    /// Whether there are routes at all: most servers have none.
    any: AtomicBool,
}

impl Router {
    /// Routes from files, of which those that aren't there have none.
    pub(crate) fn of(files: Vec<PathBuf>) -> Self {
        Self { files, ..Self::default() }
    }

    /// Reads the files if they have changed; `check` has the last word.
    ///
    /// # Errors
    /// Those of [`read`] and of `check`; the routes that were there stay, and the next look tries again.
    pub(crate) fn look(&self, check: impl FnOnce(&Routes) -> Result<()>) -> Result<()> {
        let mut read_before = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let stamp = |p: &PathBuf| std::fs::metadata(p).and_then(|m| Ok((m.modified()?, m.len()))).ok();
        let now: Vec<Stamp> = self.files.iter().map(stamp).collect();
        if read_before.as_ref() == Some(&now) {
            return Ok(());
        }
        *read_before = None;
        let mut routes = Routes::new();
        for (path, _) in self.files.iter().zip(&now).filter(|(_, stamp)| stamp.is_some()) {
            for (model, route) in read(path)? {
                if routes.insert(model.clone(), route).is_some() {
                    return Err(Error::value(format!("{}: '{model}' has routes in another file too", path.display())));
                }
            }
        }
        check(&routes)?;
        self.any.store(!routes.is_empty(), Ordering::Relaxed);
        *self.routes.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(routes);
        *read_before = Some(now);
        Ok(())
    }

    /// Whether there are routes.
    pub(crate) fn any(&self) -> bool {
        self.any.load(Ordering::Relaxed)
    }

    /// All routes, where there are any.
    pub(crate) fn routes(&self) -> Option<Arc<Routes>> {
        let routes = || Arc::clone(&self.routes.read().unwrap_or_else(PoisonError::into_inner));
        self.any().then(routes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_kept_among_the_versions_that_are_loaded() {
        let route = Route { traffic: vec![(1, 80.0), (2, 0.0), (3, 20.0)], ..Route::default() };
        let mut counts = BTreeMap::<u64, u32>::new();
        for i in 0..20_000u32 {
            *counts.entry(route.choose(point(&i.to_le_bytes()), |_| true).unwrap()).or_default() += 1;
        }
        // Five standard deviations of a binomial of these shares.
        assert!((counts[&1].abs_diff(16_000)) < 290 && counts.len() == 2, "{counts:?}");
        assert_eq!(route.choose(u64::MAX, |_| true), Some(3));
        assert_eq!(route.choose(u64::MAX, |v| v != 3), Some(1));
        assert_eq!(route.choose(0, |_| false), None);
        assert_eq!(point(b"a"), point(b"a"));
    }
}
