//! The one error type of everything below the doors.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

/// What can go wrong. Every message says what, where, what is allowed and what came.
///
/// The doors (Python, HTTP, the command line) map each variant to their own class or code in one exhaustive `match`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// A parameter is outside what is allowed.
    Parameter {
        /// Name of the parameter.
        name: String,
        /// What may be given.
        allowed: String,
        /// What was given.
        given: String,
    },
    /// A column of the input can't be used: wrong type, unknown category, missing or infinite value.
    Column {
        /// Name of the column (`x3` for the fourth column of a matrix).
        column: String,
        /// What is wrong with it and what is allowed.
        problem: String,
    },
    /// A column that the model needs isn't in the input.
    MissingColumn {
        /// The column that was looked for.
        column: String,
        /// The columns that are there, as a list in text.
        present: String,
    },
    /// The values are unusable: an empty table, one class, lengths that differ.
    Value(String),
    /// The input is of a kind that is not taken here.
    Type(String),
    /// The bytes are no model, or a damaged one.
    Format(String),
    /// A model of another library is damaged, or of no kind that can be read.
    Foreign(String),
    /// A model of a format that this version can't read.
    Version {
        /// Version in the file.
        found: u32,
        /// Newest version that can be read.
        newest: u32,
    },
    /// The file system refused.
    Io {
        /// The file or folder.
        path: String,
        /// What was being done and what the system said.
        problem: String,
        /// Whether the path does not exist.
        not_found: bool,
    },
    /// A method or option that this model does not have.
    Unsupported(String),
    /// A limit on size was passed.
    Limit(String),
    /// The work was stopped by its token.
    Cancelled,
    /// A defect of Corten itself.
    Internal(String),
}

/// `Result` with [`Error`].
pub type Result<T, E = Error> = core::result::Result<T, E>;

impl Error {
    /// A parameter outside what is allowed.
    pub fn parameter(name: impl ToString, allowed: impl ToString, given: impl ToString) -> Self {
        Self::Parameter { name: name.to_string(), allowed: allowed.to_string(), given: given.to_string() }
    }

    /// A column that can't be used.
    pub fn column(column: impl ToString, problem: impl ToString) -> Self {
        Self::Column { column: column.to_string(), problem: problem.to_string() }
    }

    /// Values that can't be used.
    pub fn value(problem: impl ToString) -> Self {
        Self::Value(problem.to_string())
    }

    /// A [`Error::MissingColumn`] of an input with these columns.
    pub fn missing_column<'n>(column: impl ToString, present: impl IntoIterator<Item = &'n str>) -> Self {
        Self::MissingColumn { column: column.to_string(), present: names(present) }
    }

    /// Bytes that are no model.
    pub fn format(problem: impl ToString) -> Self {
        Self::Format(problem.to_string())
    }

    /// A [`Error::Foreign`].
    pub fn foreign(problem: impl ToString) -> Self {
        Self::Foreign(problem.to_string())
    }
}

/// Names that an error lists.
pub(crate) const MOST_NAMES: usize = 20;

/// Names as an error lists them: in quotes, which show blanks at their ends.
fn names<'n>(names: impl IntoIterator<Item = &'n str>) -> String {
    let mut names = names.into_iter();
    let listed: Vec<String> = names.by_ref().take(MOST_NAMES).map(|name| format!("'{name}'")).collect();
    let mut text = listed.join(", ");
    let more = names.count();
    if more > 0 {
        text += &format!(" and {more} more");
    }
    text
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parameter { name, allowed, given } => {
                write!(f, "The '{name}' parameter must be {allowed}. Got {given} instead.")
            }
            Self::Column { column, problem } => write!(f, "Column '{column}': {problem}"),
            Self::MissingColumn { column, present } if present.is_empty() => {
                write!(f, "Column '{column}' is missing from the input, which has no columns.")
            }
            Self::MissingColumn { column, present } => {
                write!(f, "Column '{column}' is missing from the input; it has: {present}.")
            }
            Self::Value(text) | Self::Type(text) | Self::Unsupported(text) | Self::Limit(text) => f.write_str(text),
            Self::Format(text) => write!(f, "Not a valid Corten model: {text}"),
            Self::Foreign(text) => f.write_str(text),
            Self::Version { found, newest } => write!(
                f,
                "This model has format version {found}; this version of Corten reads versions up to {newest}. \
                 Upgrade Corten to load it."
            ),
            Self::Io { path, problem, .. } => write!(f, "{path}: {problem}"),
            Self::Cancelled => f.write_str("Cancelled."),
            Self::Internal(text) => write!(f, "Internal error, please report it: {text}"),
        }
    }
}

impl core::error::Error for Error {}
