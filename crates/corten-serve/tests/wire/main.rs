//! The server over raw TCP and over HTTP/2: what it answers, to the last bit, and what it does with requests that don't fit.

mod answers;
mod clients;
mod conformal;
mod explain;
mod faults;
mod folder;
mod forms;
mod grpc;
mod grpc_limits;
mod grpc_server;
mod http1;
mod http2;
mod lambda;
mod life;
mod limits;
mod matrix;
mod overload;
mod repository;
mod routes;
mod server;
mod stub;
mod tables;
mod telemetry;
mod tensors;
