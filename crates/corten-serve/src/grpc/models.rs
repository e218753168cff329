//! The methods that have one message each way.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::HeaderMap;
use hyper::body::Bytes;
use prost::Message;

use super::call::Call;
use super::messages::inference as m;
use super::status::{Code, Status};
use super::wire::framed;
use crate::describe::{self, Described};
use crate::http::place;
use crate::infer::Fault;
use crate::keys::Verb;
use crate::queue::Turn;
use crate::score::{Ask, Bounds};
use crate::served::Served;
use crate::shadow::Heard;
use crate::store::Missing;
use crate::tensor::{self, MAX_INPUTS};
use crate::trace::Told;
use crate::{clock, queue, repository};

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

/// A version as a request names it: by its number or an alias; none for an empty text.
fn version(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

fn missing(call: &Call<'_>, name: &str, text: &str) -> Status {
    match call.store.missing(name, version(text)) {
        Missing::Unloaded(text) => Status::new(Code::Unavailable, text),
        Missing::Unknown(text) => Status::new(Code::NotFound, text),
    }
}

/// A loaded model that the caller asks about: traffic is shared among those who score.
fn about(call: &Call<'_>, name: &str, text: &str) -> Option<Arc<Served>> {
    let (model, alias) = call.store.split(name);
    match version(text).or(alias) {
        None => call.store.get(model, None),
        Some(_) => call.store.resolve(name, version(text), |_| 0),
    }
}

/// A loaded model that the caller may ask about.
fn model(call: &Call<'_>, name: &str, text: &str) -> Result<Arc<Served>, Status> {
    call.allow(Verb::Infer, name)?;
    about(call, name, text).ok_or_else(|| missing(call, name, text))
}

/// The first field of a message, as text: where everybody's clients write the model's name.
fn first_text(message: &[u8]) -> Option<&str> {
    let [0x0a, length @ 0..=127, rest @ ..] = message else { return None };
    std::str::from_utf8(rest.get(..usize::from(*length))?).ok()
}

/// Most inputs of a request to a model of this name.
pub(super) fn most_inputs(call: &Call<'_>, name: &str) -> usize {
    let served = call.store.get(call.store.split(name).0, None);
    served.map_or(MAX_INPUTS, |served| tensor::most_inputs(&served.model))
}

/// Waits for the turn of a request.
///
/// # Errors
/// RESOURCE_EXHAUSTED for one that would wait too long.
pub(crate) async fn turn(call: &Call<'_>, message: &Bytes) -> Result<Option<Turn>, Status> {
    let name = first_text(message).map(|name| call.store.split(name).0);
    let found = name.and_then(|name| call.store.recent(name, None).or_else(|| call.store.get(name, None)));
    let Some(served) = found else { return Ok(None) };
    let cost = served.latency.costs.of(Ask::Message, message.len());
    drop(served);
    refuse(call, cost)?;
    Ok(queue::turn(cost).await)
}

/// Refuses what would wait too long.
///
/// # Errors
/// RESOURCE_EXHAUSTED.
pub(crate) fn refuse(call: &Call<'_>, cost: Duration) -> Result<(), Status> {
    let most = call.options.most_wait();
    if !queue::is_full(cost, most) {
        return Ok(());
    }
    call.store.metrics.refused("wait");
    Err(Status::new(Code::ResourceExhausted, queue::refusal(most)))
}

/// Scores the rows of a request, and counts them. `message` is the request as it came.
pub(crate) fn score(
    call: &Call<'_>,
    request: &m::ModelInferRequest,
    message: &Bytes,
) -> Result<m::ModelInferResponse, Status> {
    let (name, version) = (request.model_name.as_str(), version(&request.model_version));
    call.allow(Verb::Infer, name)?;
    let found = call.store.resolve(name, version, |sticky| place(call.headers, sticky));
    let served = found.ok_or_else(|| missing(call, name, &request.model_version))?;
    call.in_time()?;
    let start = Instant::now();
    if served.latency.measures() || call.measured {
        clock::start(call.begun);
    }
    let scored = super::infer::infer(&served, request, call.options.max_rows, call.begun);
    let spent = clock::stop();
    if let Some(spent) = &spent {
        served.latency.spent(spent);
    }
    let (response, rows) = scored.inspect_err(|fault| match fault {
        Fault::Error(error) | Fault::Absent(error) => served.latency.failed(Some(error)),
        Fault::Late => {
            served.latency.failed(None);
            call.store.metrics.refused("timeout");
        }
    })?;
    served.latency.scored(rows, start.elapsed());
    served.latency.costs.add(Ask::Message, message.len(), start.elapsed());
    queue::called(start.elapsed());
    if call.options.log || call.measured {
        // A stream tells of its first message.
        let _ = call.told.set(Told { model: served.name.clone(), version: served.version, rows, spent });
    }
    if let Some(candidate) = call.store.candidate(&served, || place(&HeaderMap::new(), None)) {
        let bounds = Bounds { rows: call.options.max_rows, body: call.options.max_body, begun: call.begun };
        let (answer, body) = (super::infer::versionless(response.clone()), message.clone());
        call.store.shadow.hear(Heard { candidate, ask: Ask::Message, body, answer, json: None, bounds });
    }
    Ok(response)
}

pub(super) fn infer(call: &Call<'_>, message: Bytes) -> Answered {
    let request = super::infer::decode(message.clone(), |name| most_inputs(call, name))?;
    Ok(framed(&score(call, &request, &message)?))
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
    let ready = about(call, &asked.name, &asked.version).is_some();
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
        models.retain(|served| call.sees(&served.name));
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
    let seen = call.store.lines(asked.ready).into_iter().filter(|line| call.sees(&line.name));
    let models = seen.map(model).collect();
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
