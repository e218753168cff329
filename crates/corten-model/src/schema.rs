//! What goes into a model, and the labels that come out of a classifier.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use corten_core::rows::Inputs;
use corten_core::{Data, Error, Kind, Result};
use serde::{Deserialize, Serialize};

/// One column that a model reads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// Its name; `x0`, `x1` ... where the model was fitted on a matrix.
    pub name: String,
    /// Number or text.
    #[serde(with = "kind")]
    pub kind: Kind,
    /// The type that the column had when the model was fitted: `f64`, `i32`, `bool`, `text` ...
    pub dtype: String,
}

impl Input {
    /// Whether it is a column of singles: numbers without a type of their own, those of text and of rows, are rounded to them.
    pub fn is_single(&self) -> bool {
        self.kind == Kind::Number && self.dtype == "f32"
    }
}

/// The columns that a model reads.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// Whether columns are found by name (fitted on a table) or by position (fitted on a matrix).
    pub named: bool,
    /// The columns, in the order in which the estimator saw them.
    pub inputs: Vec<Input>,
}

impl Schema {
    /// The schema of the data that an estimator is fitted on.
    ///
    /// # Errors
    /// [`Error::Column`] for a column of a type that no estimator takes.
    pub fn of(data: &Data<'_>) -> Result<Self> {
        match data {
            Data::Table(table) => {
                let mut inputs = Vec::with_capacity(table.width());
                for column in table.columns() {
                    let kind = column.kind().ok_or_else(|| {
                        Error::column(
                            &column.name,
                            format!("has type {}; numbers, booleans and text can be used", column.type_name()),
                        )
                    })?;
                    inputs.push(Input { name: column.name.clone(), kind, dtype: column.type_name().to_string() });
                }
                Ok(Self { named: table.is_named(), inputs })
            }
            Data::Csr(matrix) => Ok(Self {
                named: false,
                inputs: (0..matrix.columns())
                    .map(|i| Input { name: format!("x{i}"), kind: Kind::Number, dtype: "f64".to_string() })
                    .collect(),
            }),
        }
    }

    /// The columns as readers of text look for them.
    pub fn in_text(&self) -> Inputs {
        Inputs::new(self.inputs.iter().map(|i| (i.name.clone(), i.kind)), self.named)
            .with_singles(self.inputs.iter().map(Input::is_single))
    }

    /// How many inputs are numbers, and how many are text.
    pub fn counts(&self) -> (usize, usize) {
        let texts = self.inputs.iter().filter(|i| i.kind == Kind::Text).count();
        (self.inputs.len() - texts, texts)
    }

    /// The names of the inputs.
    pub fn names(&self) -> Vec<String> {
        self.inputs.iter().map(|i| i.name.clone()).collect()
    }
}

mod kind {
    use corten_core::Kind;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(kind: &Kind, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match kind {
            Kind::Number => "number",
            Kind::Text => "text",
        })
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Kind, D::Error> {
        match alloc::borrow::Cow::<str>::deserialize(deserializer)?.as_ref() {
            "number" => Ok(Kind::Number),
            "text" => Ok(Kind::Text),
            _ => Err(serde::de::Error::custom("the kind of an input is \"number\" or \"text\"")),
        }
    }
}

/// The classes of a classifier, in the type that the target had.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Labels {
    /// Integers.
    Int(Vec<i64>),
    /// Floats.
    Float(Vec<f64>),
    /// Booleans.
    Bool(Vec<bool>),
    /// Text.
    Text(Vec<String>),
}

impl Labels {
    /// Number of classes.
    pub fn len(&self) -> usize {
        match self {
            Self::Int(v) => v.len(),
            Self::Float(v) => v.len(),
            Self::Bool(v) => v.len(),
            Self::Text(v) => v.len(),
        }
    }

    /// Whether there are no classes.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A class as text; empty where there is no such class.
    pub fn name(&self, index: usize) -> String {
        match self {
            Self::Int(v) => v.get(index).map(ToString::to_string),
            Self::Float(v) => v.get(index).map(|&x| ryu::Buffer::new().format(x).to_string()),
            Self::Bool(v) => v.get(index).map(ToString::to_string),
            Self::Text(v) => v.get(index).cloned(),
        }
        .unwrap_or_default()
    }

    /// All classes as text.
    pub fn names(&self) -> Vec<String> {
        (0..self.len()).map(|i| self.name(i)).collect()
    }
}
