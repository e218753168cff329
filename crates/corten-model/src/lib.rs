//! The graph of typed operators, the model file, its validator and the executor.
//!
//! Every fitted thing lowers to a [`Graph`]: flat columns of numbers and text ("slots") that [operators](ops) read and
//! append to. A [`Model`] is a validated graph with its execution plans; it runs whole tables in parallel blocks and
//! single rows without allocating, with the same bits on both roads, and it is read from and written to one
//! [safetensors file](file). Nothing in a model can run but these operators, and loading checks everything first.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

pub mod answers;
pub mod compose;
pub mod conformal;
pub mod estimator;
pub mod explain;
#[cfg(feature = "std")]
pub mod export;
pub mod file;
#[cfg(feature = "std")]
mod gather;
mod graph;
mod model;
pub mod number;
pub mod ops;
#[cfg(feature = "std")]
pub mod rows;
mod run;
mod schema;
mod session;
#[cfg(feature = "std")]
pub mod sketch;
mod stages;
pub mod texts;
mod threads;

#[cfg(feature = "std")]
pub use corten_kernels::cpu::check as check_cpu;
#[cfg(feature = "std")]
pub use gather::Gather;
pub use graph::{Builder, Graph, Method, Node, Output, Slot};
pub use model::Model;
pub use run::{Batch, Run};
pub use schema::{Input, Labels, Schema};
pub use session::{Grid, Joint, Session};
