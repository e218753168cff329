//! Rows of JSON and CSV in, answers in JSON out: one place for the server, the executable and the command line.

mod csv;
mod row;
mod write;

pub use corten_core::rows::{Scanner, is_blank, without_mark};
pub use csv::CsvReader;
pub use row::RowReader;
pub use write::{AnswerWriter, quote};
