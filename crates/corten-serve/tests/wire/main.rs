//! The server over raw TCP: what it answers, to the last bit, and what it does with requests that don't fit.

mod answers;
mod conformal;
mod explain;
mod faults;
mod folder;
mod lambda;
mod life;
mod limits;
mod repository;
mod routes;
mod server;
mod stub;
mod tables;
mod telemetry;
mod tensors;
