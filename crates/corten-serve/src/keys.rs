//! Bearer keys: who may ask which models, and who may load them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use corten_core::{Error, Result};

/// Largest file of keys.
const MAX_FILE: u64 = 1 << 20;

/// What a key is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Scoring and what describes models.
    Infer,
    /// Loading and unloading.
    Admin,
}

#[derive(Clone, Debug)]
struct Key {
    hash: blake3::Hash,
    admin: bool,
    /// Empty for all models.
    models: Vec<String>,
}

/// The keys of a server; none for a server that is open to all who reach it. A clone has the keys of what it was cloned from,
/// also when they are read again.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    file: Option<Arc<File>>,
}

#[derive(Debug)]
struct File {
    path: PathBuf,
    keys: RwLock<Vec<Key>>,
}

/// The hash that a key file holds of a key.
pub fn hash_of(key: &str) -> String {
    blake3::hash(key.as_bytes()).to_hex().to_string()
}

impl Keys {
    /// Reads a file with a key a line: its BLAKE3 hash in hexadecimal, then `infer` or `admin`, then the models that it
    /// is for (all, where none is named). Empty lines and lines from `#` on are passed over.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Value`] that name the file and the line.
    pub fn load(path: &Path) -> Result<Self> {
        let keys = RwLock::new(Self::read(path)?);
        Ok(Self { file: Some(Arc::new(File { path: path.to_path_buf(), keys })) })
    }

    /// Reads the file again; requests that were let in are answered.
    ///
    /// # Errors
    /// Those of [`Keys::load`]; the keys stay as they were then.
    pub(crate) fn reload(&self) -> Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let keys = Self::read(&file.path)?;
        *file.keys.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(())
    }

    fn read(path: &Path) -> Result<Vec<Key>> {
        let name = path.display();
        let io = |e: std::io::Error| Error::Io {
            path: name.to_string(),
            problem: format!("can't be read: {e}"),
            not_found: e.kind() == std::io::ErrorKind::NotFound,
        };
        if std::fs::metadata(path).map_err(io)?.len() > MAX_FILE {
            return Err(Error::Limit(format!("{name}: a file of keys may have {MAX_FILE} bytes")));
        }
        let text = std::fs::read_to_string(path).map_err(io)?;
        let mut keys = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
            let Some(hash) = words.next() else { continue };
            let fault = |problem: &str| Error::value(format!("{name}, line {}: {problem}", at + 1));
            let hash = blake3::Hash::from_hex(hash)
                .map_err(|_| fault("64 hexadecimal digits are needed (corten-serve --hash-key makes them)"))?;
            let admin = match words.next() {
                Some("infer") => false,
                Some("admin") => true,
                _ => return Err(fault("'infer' or 'admin' is needed behind the hash")),
            };
            keys.push(Key { hash, admin, models: words.map(str::to_owned).collect() });
        }
        if keys.is_empty() {
            return Err(Error::value(format!("{name}: holds no key")));
        }
        Ok(keys)
    }

    /// Whether the server is open to all who reach it.
    pub(crate) fn is_empty(&self) -> bool {
        // A file without keys is none.
        self.file.is_none()
    }

    /// Whether the value of an `Authorization` header may do this with a model: `Err(true)` where the key is known but
    /// not for this, `Err(false)` where it isn't.
    pub(crate) fn check(&self, header: Option<&[u8]>, verb: Verb, model: &str) -> Result<(), bool> {
        let Some(file) = &self.file else { return Ok(()) };
        let given = header.and_then(|h| h.split_at_checked(7)).filter(|(s, _)| s.eq_ignore_ascii_case(b"Bearer "));
        let Some((_, key)) = given else { return Err(false) };
        let hash = blake3::hash(key.trim_ascii());
        // Comparing hashes of this type takes the same time for all.
        let keys = file.keys.read().unwrap_or_else(PoisonError::into_inner);
        let Some(key) = keys.iter().find(|k| k.hash == hash) else { return Err(false) };
        let models = key.models.is_empty() || key.models.iter().any(|m| m == model);
        if models && (verb == Verb::Infer || key.admin) { Ok(()) } else { Err(true) }
    }
}
