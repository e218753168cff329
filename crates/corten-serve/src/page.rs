//! The page for a person: the models, their columns, a form to try them, and how they fare. One file with nothing from
//! elsewhere; it asks the server as every other client does, with the key that its reader gives.

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use serde_json::{Map, Value, json};

use crate::answer::{Answer, respond};
use crate::served::Served;
use crate::store::Store;

const PAGE: &str = include_str!("page.html");
/// Nothing from elsewhere, and nowhere else to talk to.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// Facts that have a place of their own on the page.
const APART: [&str; 3] = ["report", "sample", "sketch"];

/// `GET /`.
pub(crate) fn page() -> Answer {
    let mut response = respond(StatusCode::OK, "text/html; charset=utf-8", PAGE);
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// What the page shows of a model: its columns with the categories that the training data had, the facts of its file, and
/// rows to try.
pub(crate) fn card(store: &Store, served: &Served) -> Value {
    let metadata = served.model.metadata();
    let profiles = metadata.get("sketch").and_then(|s| s.get("columns"));
    let inputs = served.model.schema().inputs.iter().enumerate().map(|(at, input)| {
        let mut out = json!(input);
        if let Some(values) = profiles.and_then(|p| p.get(at)).and_then(|p| p.get("values")) {
            out["values"] = values.clone();
        }
        out
    });
    let facts: Map<String, Value> =
        metadata.iter().filter(|(k, _)| !APART.contains(&k.as_str())).map(|(k, v)| (k.clone(), v.clone())).collect();
    json!({
        "name": served.name,
        "version": served.version.to_string(),
        "versions": store.versions(&served.name),
        "methods": served.model.methods().iter().map(|m| m.as_str()).collect::<Vec<_>>(),
        "inputs": inputs.collect::<Vec<_>>(),
        "facts": facts,
        "report": metadata.get("report"),
        "sample": metadata.get("sample").and_then(|s| s.get("rows")),
        "routes": store.route(&served.name).map(|r| r.json()),
    })
}
