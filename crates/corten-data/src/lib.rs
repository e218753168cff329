//! Tables in and out in constant memory: Parquet, CSV, Arrow IPC and JSON lines, and Arrow's memory as Corten's tables.
//!
//! Floor 1, beside the kernels: used by the Python package, the command line, the server's Arrow bodies and, without
//! Parquet, the runner that reads Arrow. Numbers and text are read where Arrow keeps them.

mod convert;
mod files;
mod format;
mod frame;
mod memory;
mod reader;
mod writer;

pub use arrow_array;
pub use arrow_schema;

pub use convert::table_of;
pub use corten_core::{OutputColumn, OutputKind};
pub use files::{Files, spool};
pub use format::Format;
pub use frame::Frame;
pub use memory::{Bounds, read_bytes};
pub use reader::{Block, Reader, open, open_columns, open_inputs};
pub use writer::{Encoded, Encoder, Writer, schema_of};
