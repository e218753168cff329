//! The inference server: Open Inference Protocol v2 over HTTP and gRPC, and a plain `/predict`, without Python and without
//! fitting code.
//!
//! One runtime of one thread a worker, all accepting from the same socket. A request is parsed and scored on the thread
//! that read it: most models here take less time than a queue would.

mod answer;
mod client;
mod clock;
mod describe;
mod drift;
mod explain;
mod frames;
#[doc(hidden)]
pub mod fuzzing;
mod grpc;
mod http;
mod http1;
mod http2;
mod infer;
mod keys;
mod lambda;
mod metrics;
mod nested;
mod notify;
mod openapi;
mod pace;
mod packed;
mod page;
mod predict;
mod queue;
mod quick;
mod repository;
mod request;
mod routes;
mod score;
mod serve;
mod served;
mod shadow;
mod store;
mod tensor;
mod tls;
mod trace;

pub use client::probe;
pub use keys::{Keys, hash_of};
pub use lambda::{lambda, lambda_fault};
pub use serve::{Options, serve};
pub use store::Store;
pub use tls::Tls;
pub use trace::Tracer;
