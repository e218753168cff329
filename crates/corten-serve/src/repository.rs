//! What the Open Inference Protocol tells about models, and its repository extension.

use std::sync::Arc;

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::Options;
use crate::answer::{Answer, json_of, refuse, respond};
use crate::describe::{self, Described};
use crate::served::Served;
use crate::store::Store;
use crate::tensor::Datatype;

/// The name of the server, and of its platform.
pub(crate) const NAME: &str = "corten";
/// The extensions of the protocol that are here.
pub(crate) const EXTENSIONS: [&str; 5] =
    ["binary_tensor_data", "model_configuration", "model_repository", "parameters", "statistics"];

/// The server.
pub(crate) fn server() -> Value {
    json!({ "name": NAME, "version": env!("CARGO_PKG_VERSION"), "extensions": EXTENSIONS })
}

/// A model.
pub(crate) fn metadata(store: &Store, served: &Served) -> Value {
    let mut out = json!({
        "name": served.name,
        "versions": store.versions(&served.name),
        "platform": NAME,
        "inputs": describe::inputs(&served.model),
        "outputs": describe::outputs(&served.model),
    });
    if let Some(route) = store.route(&served.name) {
        out["parameters"] = route.json();
    }
    out
}

/// A datatype as Triton's configurations have it.
pub(crate) fn config_type(datatype: Datatype) -> String {
    format!("TYPE_{}", if datatype == Datatype::Bytes { "STRING" } else { datatype.name() })
}

/// A model in the form of Triton's configuration.
pub(crate) fn config(served: &Served) -> Value {
    let tensors = |tensors: Vec<Described>| -> Vec<Value> {
        let one = |t: &Described| json!({ "name": t.name, "data_type": config_type(t.datatype), "dims": t.shape });
        tensors.iter().map(one).collect()
    };
    json!({
        "name": served.name,
        "platform": NAME,
        "backend": NAME,
        "max_batch_size": 0,
        "input": tensors(describe::inputs(&served.model)),
        "output": tensors(describe::outputs(&served.model)),
    })
}

/// What was counted, in the form of the statistics extension.
pub(crate) fn stats(models: &[Arc<Served>]) -> Value {
    let one = |served: &Arc<Served>| {
        let (count, rows, nanoseconds) = served.latency.totals();
        let none = json!({ "count": 0, "ns": 0 });
        let fail = json!({ "count": served.latency.failures(), "ns": 0 });
        json!({
            "name": served.name,
            "version": served.version.to_string(),
            "inference_count": rows,
            "execution_count": count,
            "inference_stats": {
                "success": { "count": count, "ns": nanoseconds },
                "fail": fail, "queue": none, "compute_input": none,
                "compute_infer": { "count": count, "ns": nanoseconds },
                "compute_output": none,
            },
        })
    };
    json!({ "model_stats": models.iter().map(one).collect::<Vec<_>>() })
}

/// `POST /v2/repository/index`, of the models that the caller sees.
pub(crate) fn index(store: &Store, sees: impl Fn(&str) -> bool, body: &[u8]) -> Answer {
    let request: Value = match serde_json::from_slice(if body.is_empty() { b"{}" } else { body }) {
        Ok(request) => request,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, format!("the body is no JSON: {error}")),
    };
    let ready_only = request.get("ready").and_then(Value::as_bool).unwrap_or(false);
    json_of(StatusCode::OK, &store.index(ready_only, sees))
}

fn forbidden(options: &Options) -> Option<Answer> {
    let text = "models aren't loaded by request here; the server's option --admin allows it";
    (!options.admin).then(|| refuse(StatusCode::FORBIDDEN, text))
}

/// The refusal of a configuration or a file that comes with a request to load.
pub(crate) fn no_parameter(key: &str) -> String {
    format!("a model is loaded from its file here, without parameters such as '{key}'")
}

/// `POST /v2/repository/models/{name}/load`.
pub(crate) fn load(store: &Store, options: &Options, name: &str, body: &[u8]) -> Answer {
    if let Some(answer) = forbidden(options) {
        return answer;
    }
    let request: Value = match serde_json::from_slice(if body.is_empty() { b"{}" } else { body }) {
        Ok(request) => request,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, format!("the body is no JSON: {error}")),
    };
    if let Some(key) = request.get("parameters").and_then(|p| p.as_object()?.keys().next()) {
        return refuse(StatusCode::BAD_REQUEST, no_parameter(key));
    }
    match store.reload(name) {
        Ok(()) => respond(StatusCode::OK, "application/json", format!("{{\"name\":{},\"load\":true}}", json!(name))),
        Err(error) => {
            let status = if store.knows(name, None) { StatusCode::BAD_REQUEST } else { StatusCode::NOT_FOUND };
            refuse(status, format!("'{name}' wasn't loaded: {error}"))
        }
    }
}

/// `POST /v2/repository/models/{name}/unload`.
pub(crate) fn unload(store: &Store, options: &Options, name: &str) -> Answer {
    if let Some(answer) = forbidden(options) {
        return answer;
    }
    if store.unload(name) {
        return respond(StatusCode::OK, "application/json", format!("{{\"name\":{},\"unload\":true}}", json!(name)));
    }
    refuse(StatusCode::NOT_FOUND, format!("there is no model '{name}'"))
}
