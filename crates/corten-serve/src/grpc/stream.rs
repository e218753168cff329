//! `ModelStreamInfer`: requests one after another, each answered as soon as it came.

use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use hyper::body::Bytes;
use tokio::sync::{mpsc, watch};

use super::call::Call;
use super::messages::inference::infer_parameter::ParameterChoice;
use super::messages::inference::{InferParameter, ModelInferResponse, ModelStreamInferResponse};
use super::status::{Code, Status, trailers};
use super::wire::{Messages, framed};
use super::{infer as tensors, models};
use crate::http::Active;
use crate::http2::{Part, Reply};
use crate::serve::{Shared, until};

/// Answers that wait for the client; then its requests wait.
const AHEAD: usize = 4;

/// Sends messages until a call ends, then how it ended.
pub(super) fn reply<F>(run: impl FnOnce(mpsc::Sender<Part>) -> F) -> Reply
where
    F: Future<Output = Result<(), Status>> + Send + 'static,
{
    let (sender, parts) = mpsc::channel(AHEAD);
    let run = run(sender.clone());
    tokio::spawn(async move {
        let ended = run.await;
        // A client that is gone needs no word.
        let _ = sender.send(Part::End(trailers(ended.err().as_ref()))).await;
    });
    Reply::Stream(parts)
}

/// The end of a stream that the server ends.
pub(super) fn stopping() -> Status {
    Status::new(Code::Unavailable, "the server is stopping")
}

/// Answers the requests of a stream. One that fails is answered with what is wrong, and the next one is read.
pub(super) fn infer(
    mut messages: Messages,
    shared: &Arc<Shared>,
    call: &Call<'_>,
    mut stopped: watch::Receiver<bool>,
) -> Reply {
    let (shared, headers, deadline) = (Arc::clone(shared), call.headers.clone(), call.deadline);
    reply(|sender| async move {
        let call = |begun| Call {
            store: &shared.store,
            options: &shared.options,
            headers: &headers,
            begun,
            deadline,
            measured: false,
            told: OnceLock::new(),
        };
        loop {
            let waiting = call(Instant::now());
            let message = tokio::select! {
                message = waiting.within(messages.next()) => message?,
                () = until(&mut stopped) => return Err(stopping()),
            };
            let Some(message) = message else { return Ok(()) };
            let response = answer(&call(Instant::now()), message).await;
            if sender.send(Part::Data(framed(&response))).await.is_err() {
                return Ok(());
            }
        }
    })
}

/// The answer to one message of a stream.
async fn answer(call: &Call<'_>, message: Bytes) -> ModelStreamInferResponse {
    let _active = Active::of(call.store);
    let (mut id, mut flagged) = (String::new(), false);
    let answered = if call.store.metrics.active.load(Ordering::Relaxed) > call.options.max_active {
        call.store.metrics.refused("active");
        let text = format!("more than {} requests at once", call.options.max_active);
        Err(Status::new(Code::ResourceExhausted, text))
    } else {
        let turn = models::turn(call, &message).await;
        turn.and_then(|_turn| {
            let request = tensors::decode(message.clone(), |name| models::most_inputs(call, name))?;
            id.clone_from(&request.id);
            let choice = request.parameters.get("triton_enable_empty_final_response");
            flagged = choice.and_then(|p| p.parameter_choice.as_ref()) == Some(&ParameterChoice::BoolParam(true));
            models::score(call, &request, &message)
        })
    };
    let (error_message, mut response) = match answered {
        Ok(response) => (String::new(), response),
        Err(status) => (status.message, ModelInferResponse { id, ..Default::default() }),
    };
    if flagged {
        let last = InferParameter { parameter_choice: Some(ParameterChoice::BoolParam(true)) };
        response.parameters.insert("triton_final_response".into(), last);
    }
    ModelStreamInferResponse { error_message, infer_response: Some(response) }
}
