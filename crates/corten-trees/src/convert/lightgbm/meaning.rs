//! What a graph's answer is made of, in the terms that LightGBM has.

use std::collections::HashMap;

use corten_core::{Error, Kind, Result};
use corten_model::ops::{CategoryColumn, Link, LinkKind, Op, Precision, Rule, TreesSpec};
use corten_model::{Graph, Method, Node, Slot};

/// The way of a column from the trees.
#[derive(Clone, Debug, PartialEq)]
enum Origin {
    /// An input of the model.
    Input(usize),
    /// A sum of the trees, multiplied and shifted.
    Sum { output: usize, scale: f64, shift: f64 },
    /// A link of such sums: which of its columns, how many sums it read, and the sum that stands at the column's place.
    Linked { kind: LinkKind, column: usize, sums: usize, scale: f64, shift: f64 },
    /// The index of a class.
    Class,
}

/// A graph of one ensemble, understood.
pub(super) struct Meaning<'g> {
    /// The trees over raw values.
    pub(super) spec: TreesSpec,
    /// Of each feature of the trees: the input of the model that it is made of, and its categories, where it has some.
    pub(super) features: Vec<(usize, Option<&'g CategoryColumn>)>,
    /// LightGBM's objective; empty where its models predict sums.
    pub(super) objective: String,
    /// What is added to every sum.
    pub(super) shift: Vec<f64>,
}

pub(super) fn unsupported(reason: impl std::fmt::Display) -> Error {
    Error::Unsupported(format!("This model can't be written as one of LightGBM: {reason}."))
}

/// The columns that an operator makes.
fn made(node: &Node) -> impl Iterator<Item = Slot> {
    let (first, kind) = (node.first, node.shape.kind);
    (first..first + node.shape.columns).map(move |at| match kind {
        Kind::Number => Slot::Number(at),
        Kind::Text => Slot::Text(at),
    })
}

impl<'g> Meaning<'g> {
    /// # Errors
    /// [`Error::Unsupported`] for what LightGBM's models can't say.
    pub(super) fn of(graph: &'g Graph) -> Result<Self> {
        let mut origins: HashMap<Slot, Origin> = HashMap::new();
        let mut categories: HashMap<Slot, &'g CategoryColumn> = HashMap::new();
        let (mut numbers, mut texts) = (0, 0);
        for (at, input) in graph.schema().inputs.iter().enumerate() {
            let (next, slot): (&mut u32, fn(u32) -> Slot) = match input.kind {
                Kind::Number => (&mut numbers, Slot::Number),
                Kind::Text => (&mut texts, Slot::Text),
            };
            origins.insert(slot(*next), Origin::Input(at));
            *next += 1;
        }
        let mut found: Option<(TreesSpec, &'g Node)> = None;
        for node in graph.nodes() {
            match &node.op {
                Op::CheckFinite(_) => {
                    for (slot, from) in made(node).zip(&node.inputs) {
                        if let Some(origin) = origins.get(from).cloned() {
                            origins.insert(slot, origin);
                        }
                    }
                }
                Op::Category(op) => {
                    for ((slot, from), column) in made(node).zip(&node.inputs).zip(op.columns()) {
                        let none = |rule, least: f64| matches!(rule, Rule::Code(c) if c.is_nan() || c < least);
                        // A code that the trees do not know is unseen; NaN is missing.
                        let unknown = if column.codes.is_some() { f64::NEG_INFINITY } else { 0.0 };
                        if !none(column.missing, f64::NEG_INFINITY) || !none(column.unknown, unknown) {
                            let problem = "counts what it doesn't know for one of its categories";
                            return Err(unsupported(format!("column '{}' {problem}", column.name)));
                        }
                        if categories.contains_key(from) {
                            return Err(unsupported(format!("column '{}' has more categories than fit", column.name)));
                        }
                        if let Some(origin) = origins.get(from).cloned() {
                            origins.insert(slot, origin);
                            categories.insert(slot, column);
                        }
                    }
                }
                Op::Trees(trees) => {
                    if found.is_some() {
                        return Err(unsupported("it is made of several ensembles"));
                    }
                    let spec = trees.spec();
                    if spec.sum == Precision::F32 {
                        return Err(unsupported("its leaves add up in f32, and LightGBM's in f64"));
                    }
                    found = Some((spec, node));
                    origins.extend(
                        made(node).enumerate().map(|(output, s)| (s, Origin::Sum { output, scale: 1.0, shift: 0.0 })),
                    );
                }
                Op::Linear(op) => {
                    let of = node.inputs.first().and_then(|s| origins.get(s));
                    let (Some(Origin::Sum { output, scale, shift }), [weight], [add]) =
                        (of, &op.weights[..], &op.intercept[..])
                    else {
                        return Err(unsupported("a linear model is part of it"));
                    };
                    let origin = Origin::Sum { output: *output, scale: scale * weight, shift: shift * weight + add };
                    origins.extend(made(node).map(|s| (s, origin.clone())));
                }
                Op::Link(Link { kind }) => {
                    let sums: Vec<(usize, f64, f64)> = node
                        .inputs
                        .iter()
                        .filter_map(|s| match origins.get(s) {
                            Some(&Origin::Sum { output, scale, shift }) => Some((output, scale, shift)),
                            _ => None,
                        })
                        .collect();
                    let count = sums.len();
                    if count != node.inputs.len() {
                        return Err(unsupported("its answer is computed in a way that LightGBM hasn't"));
                    }
                    for (column, slot) in made(node).enumerate() {
                        let (output, scale, shift) = sums[column.min(count - 1)];
                        // The second column of a sigmoid is the probability of its sum.
                        let column = if *kind == LinkKind::Sigmoid { 2 * output + column } else { output };
                        let kind = *kind;
                        origins.insert(slot, Origin::Linked { kind, column, sums: count, scale, shift });
                    }
                }
                Op::Decide(_) => origins.extend(made(node).map(|s| (s, Origin::Class))),
                other => return Err(unsupported(format!("it holds the operator '{}'", other.name()))),
            }
        }
        let (spec, node) = found.ok_or_else(|| unsupported("it has no trees"))?;
        let source = |slot: &Slot| match origins.get(slot) {
            Some(&Origin::Input(at)) => Ok(at),
            _ => Err(unsupported("its trees read what is no column")),
        };
        let feature = |slot: &Slot| Ok((source(slot)?, categories.get(slot).copied()));
        let features = node.inputs.iter().map(feature).collect::<Result<_>>()?;
        let outputs = node.shape.columns as usize;
        let (objective, shift) = answer(graph, &origins, outputs)?;
        Ok(Self { spec, features, objective, shift })
    }
}

/// The objective whose answer is the model's, and what is added to its sums.
fn answer(graph: &Graph, origins: &HashMap<Slot, Origin>, outputs: usize) -> Result<(String, Vec<f64>)> {
    let strange = || unsupported("its answer is computed in a way that LightGBM hasn't");
    let wanted = graph.output(Method::PredictProba).or_else(|| graph.output(Method::Predict)).ok_or_else(strange)?;
    let answers: Vec<&Origin> =
        wanted.columns.iter().map(|s| origins.get(s).ok_or_else(strange)).collect::<Result<_>>()?;
    let mut shifts = vec![0.0; outputs];
    let mut found: Option<(Option<LinkKind>, f64)> = None;
    // A classifier of two classes answers with both probabilities.
    let answers = match &answers[..] {
        [
            Origin::Linked { kind: LinkKind::Sigmoid, column: 0, .. },
            second @ Origin::Linked { kind: LinkKind::Sigmoid, column: 1, .. },
        ] => vec![*second],
        _ => answers,
    };
    if answers.len() != outputs {
        return Err(strange());
    }
    for (at, origin) in answers.into_iter().enumerate() {
        let (kind, scale, shift) = match *origin {
            Origin::Sum { output, scale, shift } if output == at && scale == 1.0 => (None, scale, shift),
            Origin::Linked { kind: LinkKind::Sigmoid, column, sums: 1, scale, shift } if column == 2 * at + 1 => {
                (Some(LinkKind::Sigmoid), scale, shift)
            }
            Origin::Linked { kind, column, sums, scale, shift }
                if kind != LinkKind::Sigmoid && column == at && sums == outputs && scale == 1.0 =>
            {
                (Some(kind), scale, shift)
            }
            _ => return Err(strange()),
        };
        if found.is_some_and(|f| f != (kind, scale)) || !(scale.is_finite() && scale != 0.0) {
            return Err(strange());
        }
        found = Some((kind, scale));
        shifts[at] = shift / scale;
    }
    let (kind, scale) = found.ok_or_else(strange)?;
    let objective = match kind {
        None | Some(LinkKind::Identity) if outputs == 1 => "regression".to_string(),
        None | Some(LinkKind::Identity) => String::new(),
        Some(LinkKind::Sigmoid) if outputs == 1 => format!("binary sigmoid:{scale:?}"),
        Some(LinkKind::Sigmoid) => format!("multiclassova num_class:{outputs} sigmoid:{scale:?}"),
        Some(LinkKind::Softmax) if outputs > 1 => format!("multiclass num_class:{outputs}"),
        Some(LinkKind::Exp) if outputs == 1 => "poisson".to_string(),
        Some(LinkKind::Softplus) if outputs == 1 => "cross_entropy_lambda".to_string(),
        Some(LinkKind::SignedSquare) if outputs == 1 => "regression sqrt".to_string(),
        _ => return Err(strange()),
    };
    Ok((objective, shifts))
}
