//! gRPC's health checks, for the server and for each model.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use prost::Message;
use tokio::sync::watch;

use super::call::Call;
use super::messages::grpc::health::v1::health_check_response::ServingStatus;
use super::messages::grpc::health::v1::{HealthCheckRequest, HealthCheckResponse};
use super::status::{Code, Status};
use super::stream;
use super::wire::{Messages, framed};
use crate::http2::{Part, Reply};
use crate::serve::{Shared, until};
use crate::store::Store;

/// How often the state is looked at for one who watches it.
const LOOK: Duration = Duration::from_millis(200);

/// The state of the server, or of a service or model.
fn state(store: &Store, service: &str) -> ServingStatus {
    let is_server = matches!(service, "" | "inference.GRPCInferenceService" | "grpc.health.v1.Health");
    if !is_server && !store.knows(service, None) {
        return ServingStatus::ServiceUnknown;
    }
    if store.is_ready() && (is_server || store.get(service, None).is_some()) {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    }
}

fn read(message: Bytes) -> Result<String, Status> {
    let asked = HealthCheckRequest::decode(message);
    asked.map(|a| a.service).map_err(|e| Status::invalid(format!("the message is no HealthCheckRequest: {e}")))
}

fn told(status: ServingStatus) -> Bytes {
    framed(&HealthCheckResponse { status: status.into() })
}

pub(super) fn check(call: &Call<'_>, message: Bytes) -> Result<Bytes, Status> {
    let service = read(message)?;
    match state(call.store, &service) {
        ServingStatus::ServiceUnknown => {
            Err(Status::new(Code::NotFound, format!("there is no service or model '{service}'")))
        }
        status => Ok(told(status)),
    }
}

/// Tells the state, and each change of it.
pub(super) async fn watch(
    mut messages: Messages,
    shared: &Arc<Shared>,
    call: &Call<'_>,
    mut stopped: watch::Receiver<bool>,
) -> Result<Reply, Status> {
    let service = read(call.within(messages.only()).await?)?;
    let (shared, deadline) = (Arc::clone(shared), call.deadline);
    Ok(stream::reply(|sender| async move {
        let mut last = None;
        loop {
            let now = state(&shared.store, &service);
            if last.replace(now) != Some(now) && sender.send(Part::Data(told(now))).await.is_err() {
                return Ok(());
            }
            if deadline.is_some_and(|d| std::time::Instant::now() >= d) {
                return Err(Status::late());
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = sender.closed() => return Ok(()),
                () = until(&mut stopped) => return Err(stream::stopping()),
            }
        }
    }))
}
