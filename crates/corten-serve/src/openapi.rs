//! The description of the HTTP interface.

use std::sync::Arc;

use corten_core::Kind;
use serde_json::{Map, Value, json};

use crate::describe::{self, Described};
use crate::frames;
use crate::served::Served;
use crate::store::Store;
use crate::tensor::Datatype;

/// A reference to a schema that stands once in the document.
fn named(name: &str) -> Value {
    json!({ "$ref": format!("#/components/schemas/{name}") })
}

fn json_body(schema: Value) -> Value {
    json!({ "application/json": { "schema": schema } })
}

/// An answer of 200 with JSON.
fn good(description: &str, schema: Value) -> Map<String, Value> {
    answer("200", description, json_body(schema))
}

fn answer(status: &str, description: &str, content: Value) -> Map<String, Value> {
    Map::from_iter([(status.to_owned(), json!({ "description": description, "content": content }))])
}

/// The refusals of an operation beside its answers.
fn or(mut answers: Map<String, Value>, statuses: &[&str]) -> Value {
    for status in statuses {
        let description = match *status {
            "400" => "what is wrong, by column",
            "401" => "a key is needed",
            "403" => "the key isn't for this, or the server's options don't allow it",
            "404" => "no such model or version",
            "408" => "the body took too long",
            "413" => "more bytes or rows than a request may have",
            "415" => "a type or encoding of body that isn't read",
            "501" => "an extension of the protocol that isn't there",
            "503" => "come later: as many requests as are allowed, a model that isn't loaded, or the end is near",
            _ => "the deadline has passed",
        };
        let mut refusal = json!({ "description": description, "content": json_body(named("Error")) });
        if *status == "503" {
            refusal["headers"] = json!({ "Retry-After": { "schema": { "type": "integer" } } });
        }
        answers.insert((*status).to_owned(), refusal);
    }
    answers.into()
}

/// The refusals of what scores rows.
const SCORING: [&str; 10] = ["400", "401", "403", "404", "408", "413", "415", "501", "503", "504"];
/// The refusals of what describes a model.
const DESCRIBING: [&str; 4] = ["401", "403", "404", "503"];

/// How long the answer is waited for.
fn timeout() -> Value {
    json!({
        "name": "timeout", "in": "header", "schema": { "type": "integer", "minimum": 0 },
        "description": "microseconds after which the answer isn't waited for; 0 for no limit",
    })
}

fn row(served: &Served) -> Value {
    let mut properties = Map::new();
    for input in &served.model.schema().inputs {
        let kind = if input.kind == Kind::Text { "string" } else { "number" };
        properties.insert(input.name.clone(), json!({ "type": kind, "nullable": true }));
    }
    let names: Vec<&String> = served.model.schema().inputs.iter().map(|i| &i.name).collect();
    json!({ "type": "object", "properties": properties, "required": names })
}

/// The body of rows.
fn rows(served: &Served) -> Value {
    let rows = json!({ "type": "array", "items": row(served) });
    json!({ "type": "object", "properties": { "rows": rows }, "required": ["rows"] })
}

fn predict(served: &Served) -> Value {
    let schema = json!({
        "type": "object", "required": ["predictions"],
        "properties": { "predictions": { "type": "array", "items": {} } },
    });
    let table = json!({ "schema": { "type": "string", "format": "binary" } });
    let (mut asked, mut answered) = (json_body(rows(served)), json_body(schema));
    for kind in [frames::ARROW, frames::PARQUET] {
        asked[kind] = table.clone();
        answered[kind] = table.clone();
    }
    json!({ "post": {
        "summary": format!("Score rows with {}", served.name),
        "parameters": [timeout()],
        "requestBody": { "required": true, "content": asked },
        "responses": or(answer("200", "one prediction a row, in kind", answered), &SCORING),
    } })
}

fn explain(served: &Served) -> Value {
    let list = json!({ "type": "array", "items": {} });
    let schema = json!({
        "type": "object", "required": ["base_values", "feature_names", "values"],
        "properties": { "base_values": {}, "feature_names": list, "values": list },
    });
    json!({ "post": {
        "summary": format!("Explain rows with {}: Shapley values", served.name),
        "parameters": [timeout()],
        "requestBody": { "required": true, "content": json_body(rows(served)) },
        "responses": or(good("what each feature adds to a row's score", schema), &SCORING),
    } })
}

/// An inference request that fits a model, in JSON.
fn infer(served: &Served) -> Value {
    let tensor = |d: &Described| {
        let elements = match d.datatype {
            Datatype::Bytes => json!({ "type": "string", "nullable": true }),
            Datatype::Bool => json!({ "type": "boolean", "nullable": true }),
            Datatype::Int { .. } => json!({ "type": "integer", "nullable": true }),
            _ => json!({ "type": "number", "nullable": true }),
        };
        json!({
            "type": "object", "required": ["name", "shape", "datatype", "data"],
            "properties": {
                "name": { "type": "string", "enum": [d.name] },
                "datatype": { "type": "string", "enum": [d.datatype.name()] },
                "shape": { "type": "array", "items": { "type": "integer", "minimum": 0 } },
                "data": { "type": "array", "items": elements },
                "parameters": { "type": "object" },
            },
        })
    };
    let inputs = describe::inputs(&served.model);
    let outputs: Vec<String> = describe::outputs(&served.model).into_iter().map(|o| o.name).collect();
    let schema = json!({
        "type": "object", "required": ["inputs"],
        "properties": {
            "id": { "type": "string" },
            "parameters": { "type": "object", "properties": {
                "timeout": { "type": "integer", "minimum": 0 }, "binary_data_output": { "type": "boolean" },
            } },
            "inputs": {
                "type": "array", "minItems": inputs.len(), "maxItems": inputs.len(),
                "items": { "oneOf": inputs.iter().map(tensor).collect::<Vec<_>>() },
            },
            "outputs": { "type": "array", "items": {
                "type": "object", "required": ["name"],
                "properties": {
                    "name": { "type": "string", "enum": outputs },
                    "parameters": { "type": "object", "properties": { "binary_data": { "type": "boolean" } } },
                },
            } },
        },
    });
    let bytes = json!({ "schema": { "type": "string", "format": "binary" } });
    let (mut asked, mut answered) = (json_body(schema), json_body(named("Inferred")));
    asked["application/octet-stream"] = bytes.clone();
    answered["application/octet-stream"] = bytes;
    let head = json!({
        "name": "Inference-Header-Content-Length", "in": "header", "schema": { "type": "integer", "minimum": 0 },
        "description": "how many bytes of the body are JSON, where tensors in bytes follow them",
    });
    json!({ "post": {
        "summary": format!("Score tensors with {} (Open Inference Protocol v2)", served.name),
        "parameters": [timeout(), head],
        "requestBody": { "required": true, "content": asked },
        "responses": or(answer("200", "the output tensors", answered), &SCORING),
    } })
}

fn get(summary: &str, responses: Value) -> Value {
    json!({ "get": { "summary": summary, "responses": responses } })
}

/// A segment of a path.
fn segment(name: &str) -> String {
    let mut out = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(byte.into());
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// The schemas that stand once.
fn schemas() -> Value {
    let text = json!({ "type": "string" });
    let count = json!({ "type": "integer" });
    let texts = json!({ "type": "array", "items": text });
    let tensors = json!({ "type": "array", "items": {
        "type": "object", "required": ["name", "datatype", "shape"],
        "properties": { "name": text, "datatype": text, "shape": { "type": "array", "items": count } },
    } });
    let object = |required: &[&str], properties: Value| json!({ "type": "object", "required": required, "properties": properties });
    json!({
        "Error": object(&["error"], json!({ "error": text })),
        "Server": object(&["name", "version", "extensions"], json!({ "name": text, "version": text, "extensions": texts })),
        "Live": object(&["live"], json!({ "live": { "type": "boolean" } })),
        "Ready": object(&["ready"], json!({ "live": { "type": "boolean" }, "ready": { "type": "boolean" }, "name": text })),
        "Models": object(&["models"], json!({ "models": texts })),
        "Model": object(
            &["name", "versions", "platform", "inputs", "outputs"],
            json!({ "name": text, "versions": texts, "platform": text, "inputs": tensors, "outputs": tensors }),
        ),
        "Config": object(&["name", "input", "output"], json!({ "name": text, "platform": text, "backend": text })),
        "Statistics": object(&["model_stats"], json!({ "model_stats": { "type": "array", "items": object(
            &["name", "version", "inference_count", "execution_count", "inference_stats"],
            json!({ "name": text, "version": text, "inference_count": count, "execution_count": count }),
        ) } })),
        "Index": { "type": "array", "items": object(
            &["name", "version", "state", "reason"],
            json!({ "name": text, "version": text, "state": text, "reason": text }),
        ) },
        "Inferred": object(
            &["model_name", "model_version", "outputs"],
            json!({ "model_name": text, "model_version": text, "id": text, "outputs": tensors }),
        ),
    })
}

/// OpenAPI 3.0.
pub(crate) fn document(store: &Store, seen: &[Arc<Served>]) -> Value {
    let mut paths = Map::new();
    let text = |kind: &str| json!({ kind: { "schema": { "type": "string" } } });
    let plain = |summary: &str, kind: &str| get(summary, answer("200", summary, text(kind)).into());
    paths.insert("/".into(), plain("The page for a person", "text/html"));
    paths.insert("/healthz".into(), plain("A sign of life", "text/plain"));
    let metrics = or(answer("200", "Prometheus' text format", text("text/plain")), &["401"]);
    paths.insert("/metrics".into(), get("Counters", metrics));
    let document = or(good("OpenAPI", json!({ "type": "object" })), &["401"]);
    paths.insert("/openapi.json".into(), get("This document", document));
    paths.insert("/v2".into(), get("The server", or(good("the server", named("Server")), &["401"])));
    paths.insert("/v2/health/live".into(), get("Whether the server lives", good("it does", named("Live")).into()));
    let mut ready = good("it is", named("Ready"));
    ready.extend(answer("503", "it isn't, for its end is near", json_body(named("Ready"))));
    paths.insert("/v2/health/ready".into(), get("Whether requests are welcome", ready.into()));
    paths.insert("/v2/models".into(), get("Names of models", or(good("names", named("Models")), &["401"])));
    let statistics = or(good("what was counted", named("Statistics")), &["401"]);
    paths.insert("/v2/models/stats".into(), get("What was counted", statistics));
    for served in seen {
        let name = segment(&served.name);
        if served.name == store.first() {
            paths.insert("/predict".into(), predict(served));
        }
        paths.insert(format!("/predict/{name}"), predict(served));
        if served.model.explainable().is_ok() {
            if served.name == store.first() {
                paths.insert("/explain".into(), explain(served));
            }
            paths.insert(format!("/explain/{name}"), explain(served));
        }
        for version in std::iter::once(String::new()).chain(store.versions(&served.name)) {
            let version = if version.is_empty() { version } else { format!("/versions/{version}") };
            let model = format!("/v2/models/{name}{version}");
            for (rest, summary, schema) in [
                ("", "The model: its tensors", "Model"),
                ("/ready", "Whether the model is loaded", "Ready"),
                ("/config", "The model in the form of Triton's configuration", "Config"),
                ("/stats", "What was counted about the model", "Statistics"),
            ] {
                paths.insert(format!("{model}{rest}"), get(summary, or(good(summary, named(schema)), &DESCRIBING)));
            }
            paths.insert(format!("{model}/infer"), infer(served));
            if served.drift.is_ok() {
                let drift = or(good("live inputs against the training data", json!({ "type": "object" })), &DESCRIBING);
                paths.insert(format!("{model}/drift"), get("Drift", drift));
            }
            let card = or(good("what the page shows", json!({ "type": "object" })), &DESCRIBING);
            paths.insert(format!("{model}/card"), get("The model for a person", card));
        }
        for (verb, done) in [("load", "it is loaded"), ("unload", "it is served no more")] {
            let schema = json!({ "type": "object", "required": ["name", verb], "properties": {
                "name": { "type": "string" }, verb: { "type": "boolean" },
            } });
            let statuses = ["400", "401", "403", "404", "408", "413"];
            let operation = json!({ "post": {
                "summary": format!("{verb} {}", served.name),
                "responses": or(good(done, schema), &statuses),
            } });
            paths.insert(format!("/v2/repository/models/{name}/{verb}"), operation);
        }
    }
    let asked = json!({ "type": "object", "properties": { "ready": { "type": "boolean" } } });
    paths.insert(
        "/v2/repository/index".into(),
        json!({ "post": {
        "summary": "The models and their state",
        "requestBody": { "content": json_body(asked) },
        "responses": or(good("a line a version", named("Index")), &["400", "401", "408", "413"]),
    } }),
    );
    json!({
        "openapi": "3.0.3",
        "info": { "title": "Corten", "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "securitySchemes": { "key": { "type": "http", "scheme": "bearer" } },
        },
        // Servers without keys answer everyone.
        "security": [{}, { "key": [] }],
    })
}
