//! The methods that have one message each way.

use std::time::Instant;

use hyper::body::Bytes;
use prost::Message;

use super::call::Call;
use super::messages::inference as m;
use super::status::{Code, Status};
use super::wire::framed;
use crate::describe::{self, Described};
use crate::keys::Verb;
use crate::repository;
use crate::served::Served;
use std::sync::Arc;

type Answered = Result<Bytes, Status>;

/// Reads a message of a type that is small whatever comes.
fn read<M: Message + Default>(message: Bytes) -> Result<M, Status> {
    /// Most bytes of a message without tensors.
    const MOST: usize = 1 << 16;
    if message.len() > MOST {
        return Err(Status::new(
            Code::ResourceExhausted,
            format!("a message of more than {MOST} bytes for this method"),
        ));
    }
    M::decode(message).map_err(|e| Status::invalid(format!("the message isn't what this method reads: {e}")))
}

/// The version that a text names; the highest for none.
fn version(text: &str) -> Result<Option<u64>, Status> {
    if text.is_empty() {
        return Ok(None);
    }
    let fault = || Status::new(Code::NotFound, format!("'{text}' is no version; versions are whole numbers"));
    text.parse().map(Some).map_err(|_| fault())
}

/// A loaded model that the caller may ask.
pub(crate) fn model(call: &Call<'_>, name: &str, text: &str) -> Result<Arc<Served>, Status> {
    call.allow(Verb::Infer, name)?;
    let version = version(text)?;
    call.store.get(name, version).ok_or_else(|| {
        let text = version.map_or(String::new(), |v| format!(" in version {v}"));
        if call.store.knows(name, version) {
            Status::new(Code::Unavailable, format!("the model '{name}'{text} isn't loaded"))
        } else {
            Status::new(Code::NotFound, format!("there is no model '{name}'{text}"))
        }
    })
}

/// Scores the rows of a request, and counts them.
pub(crate) fn score(call: &Call<'_>, request: &m::ModelInferRequest) -> Result<m::ModelInferResponse, Status> {
    let served = model(call, &request.model_name, &request.model_version)?;
    call.in_time()?;
    let start = Instant::now();
    let (response, rows) = super::infer::infer(&served, request, call.options.max_rows, call.begun)?;
    served.latency.scored(rows, start.elapsed());
    Ok(response)
}

pub(super) fn infer(call: &Call<'_>, message: Bytes) -> Answered {
    let request = super::infer::decode(message)?;
    Ok(framed(&score(call, &request)?))
}

pub(super) fn server_live(_: &Call<'_>, _: Bytes) -> Answered {
    Ok(framed(&m::ServerLiveResponse { live: true }))
}

pub(super) fn server_ready(call: &Call<'_>, _: Bytes) -> Answered {
    Ok(framed(&m::ServerReadyResponse { ready: call.store.is_ready() }))
}

pub(super) fn model_ready(call: &Call<'_>, message: Bytes) -> Answered {
    let asked: m::ModelReadyRequest = read(message)?;
    call.allow(Verb::Infer, &asked.name)?;
    // Triton's clients take an unknown model for one that isn't ready, not for a failure.
    let ready = version(&asked.version).is_ok_and(|v| call.store.get(&asked.name, v).is_some());
    Ok(framed(&m::ModelReadyResponse { ready }))
}

pub(super) fn server_metadata(_: &Call<'_>, _: Bytes) -> Answered {
    Ok(framed(&m::ServerMetadataResponse {
        name: repository::NAME.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        extensions: repository::EXTENSIONS.iter().map(|e| (*e).into()).collect(),
    }))
}

pub(super) fn model_metadata(call: &Call<'_>, message: Bytes) -> Answered {
    let asked: m::ModelMetadataRequest = read(message)?;
    let served = model(call, &asked.name, &asked.version)?;
    let tensors = |described: Vec<Described>| {
        let one = |d: Described| m::model_metadata_response::TensorMetadata {
            name: d.name,
            datatype: d.datatype.name().into(),
            shape: d.shape,
        };
        described.into_iter().map(one).collect()
    };
    Ok(framed(&m::ModelMetadataResponse {
        name: served.name.clone(),
        versions: call.store.versions(&served.name),
        platform: repository::NAME.into(),
        inputs: tensors(describe::inputs(&served.model)),
        outputs: tensors(describe::outputs(&served.model)),
    }))
}

pub(super) fn model_config(call: &Call<'_>, message: Bytes) -> Answered {
    let asked: m::ModelConfigRequest = read(message)?;
    let served = model(call, &asked.name, &asked.version)?;
    let kind = |d: &Described| {
        let name = repository::config_type(d.datatype);
        m::DataType::from_str_name(&name).unwrap_or(m::DataType::TypeInvalid).into()
    };
    let input = |d: Described| m::ModelInput { data_type: kind(&d), name: d.name, dims: d.shape };
    let output = |d: Described| m::ModelOutput { data_type: kind(&d), name: d.name, dims: d.shape };
    let config = m::ModelConfig {
        name: served.name.clone(),
        platform: repository::NAME.into(),
        max_batch_size: 0,
        input: describe::inputs(&served.model).into_iter().map(input).collect(),
        output: describe::outputs(&served.model).into_iter().map(output).collect(),
        backend: repository::NAME.into(),
    };
    Ok(framed(&m::ModelConfigResponse { config: Some(config) }))
}

pub(super) fn model_statistics(call: &Call<'_>, message: Bytes) -> Answered {
    let asked: m::ModelStatisticsRequest = read(message)?;
    let models = if asked.name.is_empty() {
        let mut models = call.store.models();
        // A key tells nothing about models that it isn't for.
        models.retain(|served| call.allow(Verb::Infer, &served.name).is_ok());
        models
    } else {
        vec![model(call, &asked.name, &asked.version)?]
    };
    let one = |served: &Arc<Served>| {
        let (count, rows, ns) = served.latency.totals();
        let took = m::StatisticDuration { count, ns };
        let none = Some(m::StatisticDuration::default());
        m::ModelStatistics {
            name: served.name.clone(),
            version: served.version.to_string(),
            inference_count: rows,
            execution_count: count,
            inference_stats: Some(m::InferStatistics {
                success: Some(took),
                fail: none,
                queue: none,
                compute_input: none,
                compute_infer: Some(took),
                compute_output: none,
            }),
        }
    };
    Ok(framed(&m::ModelStatisticsResponse { model_stats: models.iter().map(one).collect() }))
}

pub(super) fn repository_index(call: &Call<'_>, message: Bytes) -> Answered {
    let asked: m::RepositoryIndexRequest = read(message)?;
    let model = |line: crate::store::Line| m::repository_index_response::ModelIndex {
        name: line.name,
        version: line.version.to_string(),
        state: line.state.into(),
        reason: line.reason,
    };
    let models = call.store.lines(asked.ready).into_iter().map(model).collect();
    Ok(framed(&m::RepositoryIndexResponse { models }))
}

/// The model of a request that loads or unloads; KServe's clients have it in the place of the repository.
fn target<'r>(call: &Call<'_>, repository: &'r str, model: &'r str) -> Result<&'r str, Status> {
    let name = if model.is_empty() { repository } else { model };
    if name.is_empty() {
        return Err(Status::invalid("'model_name' is needed"));
    }
    call.allow(Verb::Admin, name)?;
    if call.options.admin {
        return Ok(name);
    }
    let text = "models aren't loaded by request here; the server's option --admin allows it";
    Err(Status::new(Code::PermissionDenied, text))
}

pub(super) fn load(call: &Call<'_>, message: Bytes) -> Answered {
    let asked: m::RepositoryModelLoadRequest = read(message)?;
    let name = target(call, &asked.repository_name, &asked.model_name)?;
    if let Some(key) = asked.parameters.keys().next() {
        return Err(Status::invalid(repository::no_parameter(key)));
    }
    call.store.reload(name).map_err(|error| {
        let code = if call.store.knows(name, None) { Code::FailedPrecondition } else { Code::NotFound };
        Status::new(code, format!("'{name}' wasn't loaded: {error}"))
    })?;
    Ok(framed(&m::RepositoryModelLoadResponse { model_name: name.into(), is_loaded: true }))
}

pub(super) fn unload(call: &Call<'_>, message: Bytes) -> Answered {
    let asked: m::RepositoryModelUnloadRequest = read(message)?;
    let name = target(call, &asked.repository_name, &asked.model_name)?;
    if !call.store.unload(name) {
        return Err(Status::new(Code::NotFound, format!("there is no model '{name}'")));
    }
    Ok(framed(&m::RepositoryModelUnloadResponse { model_name: name.into(), is_unloaded: true }))
}
