//! The vocabulary of Corten: tables, columns, rows of text, errors, seeds, parameter checks and cancellation.
//!
//! Floor 0: everything above speaks in these types, and this crate depends on nothing. It is `no_std` + `alloc`, so
//! that the executor can run where there is no operating system.
#![no_std]

extern crate alloc;

mod cancel;
mod column;
mod csr;
mod error;
mod numbers;
mod output;
pub mod parameter;
pub mod random;
pub mod rows;
mod table;
mod text;

pub use cancel::CancelToken;
pub use column::{Column, Kind, Strided, Validity, Values};
pub use csr::Csr;
pub use error::{Error, Result};
pub use numbers::Numbers;
pub use output::{OutputColumn, OutputKind};
pub use table::{Data, Table};
pub use text::{Text, TextValues};
