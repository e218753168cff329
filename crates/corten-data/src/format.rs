//! The formats of tables in files.

use std::path::Path;

use corten_core::{Error, Result};

/// How a table is written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values with a header line (RFC 4180).
    Csv,
    /// Apache Parquet.
    Parquet,
    /// Arrow IPC: read as a file or as a stream, written as a file with a footer where it becomes one.
    ArrowIpc,
    /// Arrow IPC, written as a stream wherever it goes.
    ArrowStream,
    /// One JSON object a line.
    JsonLines,
}

const ALLOWED: &str = "one of {'csv', 'parquet', 'arrow', 'jsonl'}";

impl Format {
    /// The format of a name.
    ///
    /// # Errors
    /// [`Error::Parameter`] listing the names.
    pub fn parse(name: &str) -> Result<Self> {
        match name.to_ascii_lowercase().as_str() {
            "csv" => Ok(Self::Csv),
            "parquet" | "pq" => Ok(Self::Parquet),
            "arrow" | "ipc" | "feather" => Ok(Self::ArrowIpc),
            "arrows" => Ok(Self::ArrowStream),
            "jsonl" | "ndjson" | "jsonlines" => Ok(Self::JsonLines),
            _ => Err(Error::parameter("format", ALLOWED, format!("'{name}'"))),
        }
    }

    /// The format that a path's suffix names.
    ///
    /// # Errors
    /// [`Error::Parameter`] for `-` and for other suffixes: the format must be given then.
    pub fn of_path(path: &str) -> Result<Self> {
        let suffix = Path::new(path).extension().and_then(|s| s.to_str()).unwrap_or_default();
        Self::parse(suffix).map_err(|_| {
            let (where_needed, got) = match path {
                "-" => ("for standard input and output", "none".to_owned()),
                _ => ("where the file's name doesn't tell", format!("'{path}'")),
            };
            Error::parameter("format", format!("{ALLOWED} {where_needed}"), got)
        })
    }
}

/// What a build without the `parquet` feature says.
#[cfg(not(feature = "parquet"))]
pub(crate) fn no_parquet() -> Error {
    Error::Unsupported("Parquet is not read or written here; Arrow IPC is".into())
}

#[cfg(test)]
mod tests {
    use super::Format;

    #[test]
    fn what_has_no_suffix_needs_a_format() {
        assert_eq!(Format::of_path("a/b.ndjson").unwrap(), Format::JsonLines);
        let stream = Format::of_path("-").unwrap_err().to_string();
        assert!(stream.contains("for standard input and output. Got none"), "{stream}");
        let file = Format::of_path("a/b.txt").unwrap_err().to_string();
        assert!(file.contains("where the file's name doesn't tell. Got 'a/b.txt'"), "{file}");
    }
}
