//! What the crates that fit have in common: the way in, the fitted state and its lowering, and the registry's entry.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::any::Any;

use corten_core::{CancelToken, Data, Error, Numbers, Result, Table};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::graph::{Builder, Output, Slot};
use crate::model::Model;
use crate::ops::CategoryValues;
use crate::schema::{Labels, Schema};

/// What an estimator is to predict.
#[derive(Clone, Debug)]
pub enum Target<'a> {
    /// Nothing: transformers.
    None,
    /// Numbers.
    Numbers {
        /// One column after the other: `rows * outputs`.
        values: Cow<'a, [f64]>,
        /// Number of columns.
        outputs: usize,
        /// Whether the target was given as a plain list, so that answers are plain lists too.
        flat: bool,
    },
    /// Classes.
    Classes {
        /// The class of each row, an index into `labels`.
        codes: Cow<'a, [u32]>,
        /// The classes in ascending order.
        labels: Labels,
    },
}

/// One step of a long fit, as shown to the user.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// Steps done, from 1.
    pub iteration: usize,
    /// Steps there will be at most.
    pub total: Option<usize>,
    /// Loss on the training data.
    pub loss: Option<f64>,
    /// Loss on held-out data.
    pub validation_loss: Option<f64>,
}

/// Rows with their raw scores in the middle of a fit.
pub struct Round<'a> {
    /// Positions of the rows in the data.
    pub rows: &'a [u32],
    /// Their targets; classes as codes.
    pub y: &'a [f64],
    /// Their weights; 1 each when `None`.
    pub weights: Option<&'a [f64]>,
    /// Scores before any link: a list of rows an output.
    pub scores: &'a [Vec<f64>],
}

/// Gradients and hessians at some scores, a list of rows an output.
pub type Slopes = Vec<[Vec<f64>; 2]>;

/// What only some estimators take beside rows, targets and weights.
#[derive(Default)]
pub struct Extras<'a> {
    /// Raw scores to start from, an output's rows after the other's: `outputs * rows`.
    pub init_score: Option<Cow<'a, [f64]>>,
    /// A model whose `transform` gives what to start from: predictions, or probabilities of classes (of the second one
    /// where there are two).
    pub start: Option<Model>,
    /// How many rows each query has, in the order of the rows.
    pub group: Option<Cow<'a, [u32]>>,
    /// For fitting only the values of leaves anew: the share that their old values keep.
    pub decay_rate: Option<f64>,
    /// Whether the earlier state gives its bins alone, and the fit begins anew on them.
    pub anew: bool,
    /// A loss from outside, by its slopes.
    pub objective: Option<Box<dyn Fn(&Round<'_>) -> Result<Slopes> + Send + Sync>>,
    /// Scores from outside, by their number: higher is better.
    pub score: Option<Box<dyn Fn(usize, &Round<'_>) -> Result<f64> + Send + Sync>>,
}

/// How a fit is carried out; none of it changes the result.
#[derive(Default)]
pub struct Context {
    /// Threads to use; 0 counts as 1.
    pub threads: usize,
    /// Looked at often: a fit stops within a second.
    pub cancel: CancelToken,
    /// Whether a fit in rounds that is cancelled keeps those that are done.
    pub keep: bool,
    /// Told about each step.
    pub progress: Option<Box<dyn Fn(&Step) + Send + Sync>>,
}

/// Everything that a fit sees.
pub struct FitInput<'a> {
    /// The rows.
    pub x: &'a Data<'a>,
    /// What is to be predicted.
    pub y: Target<'a>,
    /// One weight a row, class weights included; 1 each when `None`.
    pub sample_weight: Option<&'a [f64]>,
    /// The earlier state of a warm start or a partial fit.
    pub previous: Option<&'a dyn Fitted>,
    /// Whether `previous` is to be advanced by these rows (`partial_fit`) rather than to start from.
    pub partial: bool,
    /// What only some estimators take.
    pub extras: &'a Extras<'a>,
    /// Threads, cancellation, progress.
    pub context: &'a Context,
}

/// A table that is read block by block, as often as asked.
pub trait Blocks: Sync {
    /// The columns, without rows.
    fn head(&self) -> &Table<'static>;

    /// Calls `each` with the rows of some columns, block after block in the order of the rows.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Value`] naming the file, and what `each` gives.
    fn read(&self, columns: &[usize], each: &mut dyn FnMut(&Table<'_>) -> Result<()>) -> Result<()>;
}

/// Everything that a fit of more rows than memory holds sees.
pub struct BlockInput<'a> {
    /// The rows.
    pub x: &'a dyn Blocks,
    /// Their targets; classes as codes.
    pub y: Numbers,
    /// The classes of a classifier.
    pub labels: Option<Labels>,
    /// One weight a row, class weights included; 1 each when `None`.
    pub sample_weight: Option<Vec<f64>>,
    /// Most bytes of rows that are kept in memory, and most of their share; the others lie in a file meanwhile.
    pub memory: (usize, f64),
    /// The earlier state of a warm start.
    pub previous: Option<&'a dyn Fitted>,
    /// What only some estimators take.
    pub extras: &'a Extras<'a>,
    /// Threads, cancellation, progress.
    pub context: &'a Context,
}

/// A fitted attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum Attribute {
    /// Python's `None`.
    None,
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// Text.
    Text(String),
    /// An array of floats, row after row; no shape entries for a single number.
    Floats {
        /// Its shape.
        shape: Vec<usize>,
        /// Its numbers.
        values: Vec<f64>,
    },
    /// An array of integers, row after row.
    Ints {
        /// Its shape.
        shape: Vec<usize>,
        /// Its numbers.
        values: Vec<i64>,
    },
    /// The categories of a column.
    Values(CategoryValues),
    /// Several.
    List(Vec<Attribute>),
}

/// A fitted estimator.
pub trait Fitted: Any + Send + Sync {
    /// The fitted attributes by scikit-learn's names.
    fn attributes(&self) -> Vec<(&'static str, Attribute)>;

    /// The nodes of what is a single tree, by scikit-learn's names of arrays in a list; larger than all attributes.
    fn nodes(&self) -> Option<Attribute> {
        None
    }

    /// Appends its operators on top of the columns that it was fitted on.
    ///
    /// # Errors
    /// What [`Builder::add`] gives.
    fn lower(&self, builder: &mut Builder, inputs: &[Slot], names: &[String]) -> Result<Vec<Output>>;

    /// How the fit went: iterations, losses, seconds.
    fn report(&self) -> Value;

    /// For a warm start of the same type.
    fn as_any(&self) -> &dyn Any;

    /// All that a later fit may go on from, as bytes that the registry's entry reads again; `None` where nothing does.
    fn state(&self) -> Option<Vec<u8>> {
        None
    }

    /// The members of an ensemble, each on all columns; none for what has no members.
    fn members(&self) -> Vec<Box<dyn Fitted>> {
        Vec::new()
    }

    /// One model that scores as the mean of this one and others of its type, each after its first rounds: this one after
    /// `rounds`, the others after those that are beside them.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for what is not boosted, [`Error::Value`] for models of other bins, classes or losses,
    /// and for those that are means already.
    fn average(&self, rounds: usize, others: &[(&dyn Fitted, usize)]) -> Result<Box<dyn Fitted>> {
        let _ = (rounds, others);
        Err(Error::Unsupported("only models of gradient boosting on bins are averaged".into()))
    }
}

impl dyn Fitted {
    /// The model of this state over columns of a schema.
    ///
    /// # Errors
    /// What [`Fitted::lower`] gives.
    pub fn model(&self, schema: Schema) -> Result<Model> {
        let names = schema.names();
        let mut builder = Builder::new(schema);
        let inputs = builder.inputs();
        let outputs = self.lower(&mut builder, &inputs, &names)?;
        builder.finish(outputs)
    }
}

/// Parameters that can fit.
pub trait Estimator {
    /// Checks the parameters and fits.
    ///
    /// # Errors
    /// [`Error::Parameter`] for a parameter out of range, [`Error::Value`] and [`Error::Column`] for unusable data,
    /// [`Error::Cancelled`].
    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Fitted>>;

    /// Fits on rows that are read block by block.
    ///
    /// # Errors
    /// As [`Estimator::fit`]; [`Error::Unsupported`] where all rows are needed at once.
    fn fit_blocks(&self, input: BlockInput<'_>) -> Result<Box<dyn Fitted>> {
        let _ = input;
        Err(Error::Unsupported("this estimator needs all rows at once; those with boosted trees read files".into()))
    }
}

/// An estimator as the doors find it.
#[derive(Clone, Copy)]
pub struct Entry {
    /// Module and class: `linear_model.Ridge`.
    pub name: &'static str,
    /// Its parameters with their defaults.
    pub defaults: fn() -> Value,
    /// Fits with some parameters.
    pub fit: fn(&Value, &FitInput<'_>) -> Result<Box<dyn Fitted>>,
    /// The same on rows that are read block by block.
    pub fit_blocks: fn(&Value, BlockInput<'_>) -> Result<Box<dyn Fitted>>,
    /// Reads a fitted state again that [`Fitted::state`] wrote.
    pub restore: Option<fn(&[u8]) -> Result<Box<dyn Fitted>>>,
}

impl Entry {
    /// The entry of a parameter struct.
    pub fn of<P: Estimator + Serialize + DeserializeOwned + Default>(name: &'static str) -> Self {
        Self {
            name,
            defaults: || serde_json::to_value(P::default()).unwrap_or_default(),
            fit: |params, input| parse::<P>(params)?.fit(input),
            fit_blocks: |params, input| parse::<P>(params)?.fit_blocks(input),
            restore: None,
        }
    }
}

/// Parameters from JSON; one that can't be read is found by trying each alone.
fn parse<P: Serialize + DeserializeOwned + Default>(params: &Value) -> Result<P> {
    // Serde lets unknown names pass where structs are flattened into one another.
    if let Some(object) = params.as_object()
        && let Ok(Value::Object(known)) = serde_json::to_value(P::default())
        && let Some(name) = object.keys().find(|name| !known.contains_key(*name))
    {
        let mut all: Vec<&str> = known.keys().map(String::as_str).collect();
        all.sort_unstable();
        return Err(Error::value(format!("there is no parameter '{name}'; there are {}", all.join(", "))));
    }
    P::deserialize(params).map_err(|error| {
        if let Some(object) = params.as_object() {
            let defaults = serde_json::to_value(P::default()).unwrap_or_default();
            for (name, value) in object {
                let mut alone = defaults.clone();
                alone[name] = value.clone();
                if let Err(error) = P::deserialize(&alone) {
                    return Error::parameter(name, reason(&error.to_string()), value);
                }
            }
        }
        Error::value(format!("the parameters can't be read: {error}"))
    })
}

/// Rust's name of a type as a Python user knows it.
fn python_type(expected: &str) -> &str {
    match expected {
        "u8" | "u16" | "u32" | "u64" | "usize" => "an int in the range [0, inf)",
        "i8" | "i16" | "i32" | "i64" | "isize" => "an int",
        "f32" | "f64" => "a float",
        "a boolean" => "a bool",
        "a string" => "a str",
        other => other,
    }
}

/// What serde expected, out of its message.
fn reason(message: &str) -> String {
    match message.rsplit_once("expected ") {
        Some((_, expected)) => python_type(expected).to_string(),
        None => format!("of its documented type ({message})"),
    }
}
