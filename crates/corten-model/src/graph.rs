//! The graph: columns of numbers and text, and the operators between them.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use corten_core::{Error, Kind, Result};
use serde::{Deserialize, Serialize};

use crate::model::Model;
use crate::ops::{Op, Shape};
use crate::schema::{Labels, Schema};

/// Most columns of numbers that a graph may have: 8 MB of scratch a row.
pub(crate) const MAX_NUMBERS: usize = 1 << 20;
/// Most columns of text.
pub(crate) const MAX_TEXTS: usize = 1 << 16;
/// Most operators.
pub(crate) const MAX_NODES: usize = 1 << 16;

/// One column in the flow. Inputs of the schema come first in each space, then what operators append.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Slot {
    /// A column of `f64`; NaN is "missing".
    #[serde(rename = "n")]
    Number(u32),
    /// A column of UTF-8 text or missing.
    #[serde(rename = "t")]
    Text(u32),
}

impl Slot {
    /// Number or text.
    pub fn kind(self) -> Kind {
        match self {
            Self::Number(_) => Kind::Number,
            Self::Text(_) => Kind::Text,
        }
    }
}

/// What a model can be asked for, named as in scikit-learn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Labels or numbers.
    Predict,
    /// One probability a class.
    PredictProba,
    /// The score before it becomes a probability.
    DecisionFunction,
    /// The columns of a transformer.
    Transform,
    /// The ends of an interval that holds the target with a given confidence.
    PredictInterval,
    /// Which classes are in a set that holds the true one with a given confidence: 1 or 0 for each.
    PredictSet,
}

impl Method {
    /// All methods.
    pub const ALL: [Self; 6] = [
        Self::Predict,
        Self::PredictProba,
        Self::DecisionFunction,
        Self::Transform,
        Self::PredictInterval,
        Self::PredictSet,
    ];

    /// Its name in Python and in the protocols.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Predict => "predict",
            Self::PredictProba => "predict_proba",
            Self::DecisionFunction => "decision_function",
            Self::Transform => "transform",
            Self::PredictInterval => "predict_interval",
            Self::PredictSet => "predict_set",
        }
    }

    /// The method of a name.
    ///
    /// # Errors
    /// [`Error::Parameter`] listing the names.
    pub fn parse(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|m| m.as_str() == name).ok_or_else(|| {
            Error::parameter(
                "method",
                "one of {'predict', 'predict_proba', 'decision_function', 'transform', 'predict_interval', 'predict_set'}",
                format!("'{name}'"),
            )
        })
    }
}

/// What one method answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Output {
    /// The method.
    pub method: Method,
    /// The columns of the answer; for a classifier's `predict` one column with the index of the class.
    pub columns: Vec<Slot>,
    /// One name a column.
    pub names: Vec<String>,
    /// The classes, for a classifier's `predict` and `predict_proba`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Labels>,
}

impl Output {
    /// An answer without classes.
    pub fn new(method: Method, columns: Vec<Slot>, names: Vec<String>) -> Self {
        Self { method, columns, names, labels: None }
    }

    /// The label of a class index: [`Method::Predict`] of a classifier.
    pub fn of_class(index: Slot, labels: Labels) -> Self {
        Self {
            method: Method::Predict,
            columns: Vec::from([index]),
            names: Vec::from([String::from("prediction")]),
            labels: Some(labels),
        }
    }

    /// One probability a class: [`Method::PredictProba`].
    pub fn of_probabilities(columns: Vec<Slot>, labels: Labels) -> Self {
        Self { method: Method::PredictProba, columns, names: labels.names(), labels: Some(labels) }
    }
}

/// An operator with the columns that it reads.
#[derive(Clone, Debug)]
pub struct Node {
    /// The operator.
    pub op: Op,
    /// What it reads.
    pub inputs: Vec<Slot>,
    /// Position of its first column of output in its space.
    pub first: u32,
    /// Number and kind of its columns of output.
    pub shape: Shape,
}

/// The operators of a model, in the order in which they run.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    pub(crate) schema: Schema,
    pub(crate) nodes: Vec<Node>,
    pub(crate) outputs: Vec<Output>,
    pub(crate) numbers: usize,
    pub(crate) texts: usize,
}

impl Graph {
    /// The columns that go in.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The operators.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// What comes out.
    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// The answer of a method.
    pub fn output(&self, method: Method) -> Option<&Output> {
        self.outputs.iter().find(|o| o.method == method)
    }
}

/// Puts a graph together, checking each step.
#[derive(Clone, Debug)]
pub struct Builder {
    graph: Graph,
    /// Of each number column and of each text column: the input of the schema that it is made of, if it is one alone.
    sources: [Vec<Option<u32>>; 2],
}

impl Builder {
    /// A graph with inputs and nothing else yet.
    pub fn new(schema: Schema) -> Self {
        let (numbers, texts) = schema.counts();
        let of = |kind| (0u32..).zip(&schema.inputs).filter(|(_, i)| i.kind == kind).map(|(at, _)| Some(at)).collect();
        let sources = [of(Kind::Number), of(Kind::Text)];
        Self { graph: Graph { schema, numbers, texts, ..Graph::default() }, sources }
    }

    /// The slots of the inputs, in the order of the schema.
    pub fn inputs(&self) -> Vec<Slot> {
        let (mut numbers, mut texts) = (0, 0);
        self.graph
            .schema
            .inputs
            .iter()
            .map(|input| match input.kind {
                Kind::Number => {
                    numbers += 1;
                    Slot::Number(numbers - 1)
                }
                Kind::Text => {
                    texts += 1;
                    Slot::Text(texts - 1)
                }
            })
            .collect()
    }

    /// Appends an operator and returns its columns of output.
    ///
    /// # Errors
    /// [`Error::Format`] when an input does not exist, has the wrong kind or number, the operator's own numbers don't
    /// fit together, or a limit on size is passed.
    pub fn add(&mut self, op: impl Into<Op>, inputs: &[Slot]) -> Result<Vec<Slot>> {
        let op = op.into();
        let graph = &mut self.graph;
        if graph.nodes.len() >= MAX_NODES {
            return Err(Error::format(format!("more than {MAX_NODES} operators")));
        }
        for &slot in inputs {
            let (at, count) = match slot {
                Slot::Number(at) => (at, graph.numbers),
                Slot::Text(at) => (at, graph.texts),
            };
            if at as usize >= count {
                return Err(Error::format(format!(
                    "operator '{}' reads column {slot:?}, which comes later",
                    op.name()
                )));
            }
        }
        let shape = op.check(inputs)?;
        let (space, limit) = match shape.kind {
            Kind::Number => (&mut graph.numbers, MAX_NUMBERS),
            Kind::Text => (&mut graph.texts, MAX_TEXTS),
        };
        let first = *space;
        if shape.columns as usize > limit - first.min(limit) {
            return Err(Error::format(format!("operator '{}' makes more than {limit} columns", op.name())));
        }
        *space += shape.columns as usize;
        let first = first as u32;
        let made: Vec<Option<u32>> = op
            .made_of(inputs, shape.columns as usize)
            .into_iter()
            .map(|input| match input? {
                Slot::Number(at) => self.sources[0][at as usize],
                Slot::Text(at) => self.sources[1][at as usize],
            })
            .collect();
        self.sources[usize::from(shape.kind == Kind::Text)].extend(made);
        graph.nodes.push(Node { op, inputs: inputs.to_vec(), first, shape });
        Ok((first..first + shape.columns)
            .map(|at| match shape.kind {
                Kind::Number => Slot::Number(at),
                Kind::Text => Slot::Text(at),
            })
            .collect())
    }

    /// The name of the input that a column is made of, if it is one alone.
    fn source(&self, slot: Slot) -> Option<&str> {
        let at = match slot {
            Slot::Number(at) => self.sources[0][at as usize],
            Slot::Text(at) => self.sources[1][at as usize],
        };
        Some(&self.graph.schema.inputs[at? as usize].name)
    }

    /// Puts another graph on top of some columns and returns its answers in this graph's slots. Its operators then name
    /// the inputs of this graph in their messages, where each of their columns is made of one alone.
    ///
    /// # Errors
    /// [`Error::Value`] when the columns are not as many, or not of the kinds, that the graph reads.
    pub fn inline(&mut self, graph: &Graph, inputs: &[Slot]) -> Result<Vec<Output>> {
        let wanted = &graph.schema.inputs;
        if wanted.len() != inputs.len() {
            return Err(Error::value(format!(
                "the next step was fitted on {} columns, but the step before it gives {}",
                wanted.len(),
                inputs.len()
            )));
        }
        let (mut numbers, mut texts) = (Vec::new(), Vec::new());
        for (input, &slot) in wanted.iter().zip(inputs) {
            match (input.kind, slot) {
                (Kind::Number, Slot::Number(_)) => numbers.push(slot),
                (Kind::Text, Slot::Text(_)) => texts.push(slot),
                _ => return Err(Error::column(&input.name, "changed its kind between two steps")),
            }
        }
        let find = |slot: Slot, numbers: &[Slot], texts: &[Slot]| match slot {
            Slot::Number(at) => numbers[at as usize],
            Slot::Text(at) => texts[at as usize],
        };
        for node in &graph.nodes {
            let inputs: Vec<Slot> = node.inputs.iter().map(|&s| find(s, &numbers, &texts)).collect();
            let mut op = node.op.clone();
            op.rename(|at| self.source(*inputs.get(at)?));
            let made = self.add(op, &inputs)?;
            match node.shape.kind {
                Kind::Number => numbers.extend(made),
                Kind::Text => texts.extend(made),
            }
        }
        Ok(graph
            .outputs
            .iter()
            .map(|o| Output { columns: o.columns.iter().map(|&s| find(s, &numbers, &texts)).collect(), ..o.clone() })
            .collect())
    }

    /// The finished model.
    ///
    /// # Errors
    /// [`Error::Format`] when an output names a column that isn't there, twice the same method, or labels that don't
    /// fit.
    pub fn finish(self, outputs: Vec<Output>) -> Result<Model> {
        let mut graph = self.graph;
        for (i, output) in outputs.iter().enumerate() {
            let method = output.method.as_str();
            if outputs[..i].iter().any(|o| o.method == output.method) {
                return Err(Error::format(format!("two outputs for '{method}'")));
            }
            if output.names.len() != output.columns.len() {
                return Err(Error::format(format!("output '{method}' has as many names as columns")));
            }
            if output.columns.len() > MAX_NUMBERS {
                return Err(Error::format(format!("output '{method}' has too many columns")));
            }
            for &slot in &output.columns {
                let inside = match slot {
                    Slot::Number(at) => (at as usize) < graph.numbers,
                    Slot::Text(at) => (at as usize) < graph.texts,
                };
                if !inside {
                    return Err(Error::format(format!("output '{method}' names a column that isn't there")));
                }
            }
            let wanted = match output.method {
                Method::PredictInterval => Some(2),
                Method::PredictSet => Some(output.labels.as_ref().map_or(usize::MAX, Labels::len)),
                _ => None,
            };
            let numbers = output.columns.iter().filter(|s| matches!(s, Slot::Number(_))).count();
            if wanted.is_some_and(|wanted| output.columns.len() != wanted || numbers != wanted) {
                return Err(Error::format(format!("output '{method}' has the wrong number or kind of columns")));
            }
            if let Some(labels) = &output.labels {
                let fits = match output.method {
                    Method::Predict => output.columns.len() == 1 && matches!(output.columns[0], Slot::Number(_)),
                    Method::PredictProba | Method::PredictSet => {
                        output.columns.len() == labels.len()
                            && output.columns.iter().all(|s| matches!(s, Slot::Number(_)))
                    }
                    _ => true,
                };
                if !fits || labels.is_empty() {
                    return Err(Error::format(format!("output '{method}' has labels that don't fit its columns")));
                }
            }
        }
        graph.outputs = outputs;
        Ok(Model::of(graph))
    }
}
