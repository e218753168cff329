//! What requests ask of a model, on whatever road they came.

use std::time::Instant;

use corten_data::Format;
use hyper::body::Bytes;

use crate::infer::{Fault, Inferred};
use crate::served::Served;
use crate::tensor::most_inputs;
use crate::{explain, frames, grpc, infer, predict};

/// What is asked of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Rows of JSON.
    Predict,
    /// Rows of JSON, to be explained.
    Explain,
    /// Tensors; how many bytes of the body are JSON, where tensors follow it.
    Infer(Option<usize>),
    /// A message of gRPC.
    Message,
    /// A table.
    Table(Format),
}

/// The limits of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) rows: usize,
    pub(crate) body: usize,
    /// When the request began, from which its own limit of time counts.
    pub(crate) begun: Instant,
}

/// Answers a body.
///
/// # Errors
/// Those of [`grpc::infer::infer`], [`predict::predict`], [`explain::explain`], [`infer::infer`] and [`frames::predict`].
pub(crate) fn score(served: &Served, ask: Ask, body: &Bytes, bounds: Bounds) -> Result<Inferred, Fault> {
    let plain = |(bytes, rows)| Inferred { bytes, json: None, rows };
    match ask {
        Ask::Table(format) => {
            frames::predict(served, body.clone(), format, bounds.rows, bounds.body).map(plain).map_err(Fault::Error)
        }
        Ask::Message => {
            let request = grpc::infer::decode(body.clone(), |_| most_inputs(&served.model))?;
            let (response, rows) = grpc::infer::infer(served, &request, bounds.rows, bounds.begun)?;
            Ok(Inferred { bytes: grpc::infer::versionless(response), json: None, rows })
        }
        Ask::Explain => explain::explain(served, body, bounds.rows).map(plain).map_err(Fault::Error),
        Ask::Infer(head) => infer::infer(served, body, head, bounds.rows, bounds.begun),
        Ask::Predict => predict::predict(served, body, bounds.rows).map(plain).map_err(Fault::Error),
    }
}
