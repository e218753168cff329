//! The columns of a table that is written.

use alloc::string::String;
use alloc::vec::Vec;

/// The type of a column that is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputKind {
    /// `f64`.
    Float,
    /// `i64`.
    Int,
    /// Boolean.
    Bool,
    /// Text.
    Text,
}

/// The values of a column that is written.
#[derive(Clone, Debug, PartialEq)]
pub enum OutputColumn {
    /// Numbers; NaN is written as NaN (as `null` in JSON, empty in CSV).
    Float(Vec<f64>),
    /// Integers.
    Int(Vec<i64>),
    /// Booleans.
    Bool(Vec<bool>),
    /// Text.
    Text(Vec<Option<String>>),
}

impl OutputColumn {
    /// Number of rows.
    pub fn len(&self) -> usize {
        match self {
            Self::Float(v) => v.len(),
            Self::Int(v) => v.len(),
            Self::Bool(v) => v.len(),
            Self::Text(v) => v.len(),
        }
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
