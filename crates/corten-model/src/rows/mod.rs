//! Rows of JSON and CSV in, answers in JSON out: one place for the server, the executable and the command line.

mod csv;
mod json;
mod write;

pub use csv::CsvReader;
pub use json::{RowReader, Scanner};
pub use write::{AnswerWriter, quote};
