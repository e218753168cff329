//! The model repository of the Open Inference Protocol: what is there, and loading and unloading on request.

use corten_core::{Error, Result};
use serde_json::{Value, json};

use crate::repository::Store;

/// The list of models; only those that answer when the body is `{"ready": true}`.
///
/// # Errors
/// [`Error::Value`] for a body that is no JSON.
pub(crate) fn index(store: &Store, body: &[u8]) -> Result<Value> {
    let request: Value = match body {
        [] => Value::Null,
        _ => serde_json::from_slice(body).map_err(|e| Error::value(format!("the body is no JSON: {e}")))?,
    };
    let ready = request.get("ready").and_then(Value::as_bool).unwrap_or(false);
    let entries = store.entries();
    let listed = entries.iter().filter(|e| !ready || e.served.is_some()).map(|e| {
        let state = if e.served.is_some() { "READY" } else { "UNAVAILABLE" };
        json!({ "name": e.name, "version": e.version.to_string(), "state": state, "reason": e.reason })
    });
    Ok(listed.collect())
}

/// Refuses what a request to load may carry and this server doesn't take.
///
/// # Errors
/// [`Error::Value`] for a body that is no JSON, [`Error::Unsupported`] for a configuration or a file in it.
pub(crate) fn check_load(body: &[u8]) -> Result<()> {
    if body.is_empty() {
        return Ok(());
    }
    let request: Value = serde_json::from_slice(body).map_err(|e| Error::value(format!("the body is no JSON: {e}")))?;
    let given = request.get("parameters").and_then(Value::as_object);
    match given.and_then(|p| p.keys().find(|k| *k == "config" || k.starts_with("file:"))) {
        Some(key) => Err(Error::Unsupported(format!("models come from files only; the parameter '{key}' isn't taken"))),
        None => Ok(()),
    }
}
