//! The inference server: Open Inference Protocol v2 over HTTP and gRPC, and a plain `/predict`, without Python and without
//! fitting code.
//!
//! One runtime of one thread a worker, all accepting from the same socket. A request is parsed and scored on the thread
//! that read it: most models here take less time than a queue would.

mod answer;
mod describe;
mod explain;
mod frames;
#[doc(hidden)]
pub mod fuzzing;
mod grpc;
mod http;
mod infer;
mod keys;
mod metrics;
mod openapi;
mod packed;
mod predict;
mod repository;
mod request;
mod serve;
mod served;
mod store;
mod tensor;

pub use keys::{Keys, hash_of};
pub use serve::{Options, serve};
pub use store::Store;
