//! The server over raw TCP and over HTTP/2: what it answers, to the last bit, and what it does with requests that don't fit.

mod answers;
mod clients;
mod conformal;
mod explain;
mod faults;
mod grpc;
mod grpc_limits;
mod grpc_server;
mod life;
mod limits;
mod repository;
mod server;
mod tables;
mod tensors;
