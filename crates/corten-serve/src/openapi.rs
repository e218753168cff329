//! The description of the HTTP interface.

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
