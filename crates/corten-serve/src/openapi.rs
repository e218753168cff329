//! The description of the HTTP interface, and the page for a person.

use std::fmt::Write;

use corten_core::Kind;
use serde_json::{Map, Value, json};

use crate::served::Served;
use crate::store::Store;

fn row(served: &Served) -> Value {
    let mut properties = Map::new();
    for input in &served.model.schema().inputs {
        let kind = if input.kind == Kind::Text { "string" } else { "number" };
        properties.insert(input.name.clone(), json!({ "type": kind, "nullable": true }));
    }
    let names: Vec<&String> = served.model.schema().inputs.iter().map(|i| &i.name).collect();
    json!({ "type": "object", "properties": properties, "required": names })
}

/// OpenAPI 3.0.
pub(crate) fn document(store: &Store) -> Value {
    let mut paths = Map::new();
    let answer = json!({ "200": { "description": "one prediction a row" }, "400": { "description": "what is wrong, by column" } });
    for served in &store.models() {
        let schema = json!({ "type": "object", "properties": { "rows": { "type": "array", "items": row(served) } } });
        let post = json!({ "post": {
            "summary": format!("Score rows with {}", served.name),
            "requestBody": { "content": { "application/json": { "schema": schema } } },
            "responses": answer,
        } });
        if served.name == store.first() {
            paths.insert("/predict".into(), post.clone());
        }
        paths.insert(format!("/predict/{}", served.name), post.clone());
        if served.model.explainable().is_ok() {
            let mut explain = post;
            explain["post"]["summary"] = json!(format!("Explain rows with {}: Shapley values", served.name));
            explain["post"]["responses"]["200"]["description"] = json!("what each feature adds to a row's score");
            if served.name == store.first() {
                paths.insert("/explain".into(), explain.clone());
            }
            paths.insert(format!("/explain/{}", served.name), explain);
        }
        let infer = json!({ "post": { "summary": "Open Inference Protocol v2", "responses": answer } });
        paths.insert(format!("/v2/models/{}/infer", served.name), infer);
    }
    json!({
        "openapi": "3.0.3",
        "info": { "title": "Corten", "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
    })
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The models and what they read.
pub(crate) fn page(store: &Store) -> String {
    let mut out = String::from(
        "<!doctype html><meta charset=utf-8><title>Corten</title><style>body{font:16px sans-serif;max-width:50em;margin:2em auto}\
         td,th{text-align:left;padding:.2em 1em .2em 0}</style><h1>Corten</h1><p><a href=/openapi.json>openapi.json</a> \
         <a href=/metrics>metrics</a>",
    );
    for served in &store.models() {
        let name = escape(&served.name);
        // Writing to a String can't fail.
        let _ = write!(out, "<h2>{name}</h2><p><code>POST /predict/{name}</code><table><tr><th>column<th>kind");
        for input in &served.model.schema().inputs {
            let _ = write!(out, "<tr><td>{}<td>{:?}", escape(&input.name), input.kind);
        }
        out += "</table>";
    }
    out
}
