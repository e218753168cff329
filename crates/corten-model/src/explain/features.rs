//! Which features a model's trees decide by, and their names.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use corten_core::Kind;

use crate::graph::{Graph, Node, Slot};
use crate::ops::{CategoryValues, Op};

/// The features behind the inputs of an operator.
pub(super) struct Features {
    /// Feature of each input.
    pub(super) of_input: Vec<u32>,
    /// Column of each feature.
    pub(super) slots: Vec<Slot>,
    pub(super) names: Vec<String>,
    /// The model's own input that a feature is, if it is one.
    pub(super) sources: Vec<Option<u32>>,
}

impl Features {
    /// Inputs that are codes of one column are one feature.
    pub(super) fn of(graph: &Graph, inputs: &[Slot]) -> Self {
        let mut slots: Vec<Slot> = Vec::new();
        let of_input = inputs
            .iter()
            .map(|&slot| {
                let slot = origin(graph, slot);
                let at = slots.iter().position(|&s| s == slot).unwrap_or_else(|| {
                    slots.push(slot);
                    slots.len() - 1
                });
                at as u32
            })
            .collect();
        let names = slots.iter().map(|&s| name(graph, s)).collect();
        let sources = slots.iter().map(|&s| input(graph, s)).collect();
        Self { of_input, slots, names, sources }
    }
}

/// The operator that makes a column, and the column's place in what it makes.
fn producer(graph: &Graph, slot: Slot) -> Option<(&Node, usize)> {
    let (kind, at) = match slot {
        Slot::Number(at) => (Kind::Number, at),
        Slot::Text(at) => (Kind::Text, at),
    };
    let makes = |n: &&Node| n.shape.kind == kind && (n.first..n.first + n.shape.columns).contains(&at);
    graph.nodes.iter().find(makes).map(|n| (n, (at - n.first) as usize))
}

/// The column that a column is made of alone.
fn made_of(node: &Node, at: usize) -> Option<Slot> {
    node.op.made_of(&node.inputs, node.shape.columns as usize).get(at).copied().flatten()
}

/// The column before it was checked and its categories became codes.
fn origin(graph: &Graph, slot: Slot) -> Slot {
    match producer(graph, slot) {
        Some((node, at)) if matches!(node.op, Op::Category(_) | Op::CheckFinite(_)) => {
            made_of(node, at).map_or(slot, |s| origin(graph, s))
        }
        _ => slot,
    }
}

/// The place in the schema of a column that comes in.
fn input(graph: &Graph, slot: Slot) -> Option<u32> {
    let (kind, at) = match slot {
        Slot::Number(at) => (Kind::Number, at),
        Slot::Text(at) => (Kind::Text, at),
    };
    let of_kind = (0u32..).zip(&graph.schema.inputs).filter(|(_, i)| i.kind == kind);
    of_kind.map(|(place, _)| place).nth(at as usize)
}

/// A name as scikit-learn's `get_feature_names_out` would give it.
fn name(graph: &Graph, slot: Slot) -> String {
    let Some((node, at)) = producer(graph, slot) else {
        return input(graph, slot).map_or_else(String::new, |i| graph.schema.inputs[i as usize].name.clone());
    };
    let plain = || format!("{}{at}", node.op.name());
    let Some(from) = made_of(node, at) else { return plain() };
    match &node.op {
        Op::OneHot(op) => {
            // Which of its column's indicators it is.
            let mut level = at;
            for (&width, &coded) in op.widths.iter().zip(&node.inputs) {
                if level < width as usize {
                    return format!("{}_{}", name(graph, origin(graph, from)), category(graph, coded, level));
                }
                level -= width as usize;
            }
            plain()
        }
        Op::IsMissing(_) => format!("missingindicator_{}", name(graph, from)),
        _ if node.shape.columns as usize == node.inputs.len() => name(graph, from),
        _ => plain(),
    }
}

/// The category whose code is `level`, or the code.
fn category(graph: &Graph, coded: Slot, level: usize) -> String {
    let Some((node, at)) = producer(graph, coded) else { return level.to_string() };
    let Op::Category(op) = &node.op else { return level.to_string() };
    let column = &op.columns()[at];
    let place = match &column.codes {
        Some(codes) => codes.iter().position(|&c| c == level as f64),
        None => Some(level),
    };
    match (&column.values, place) {
        (CategoryValues::Texts(v), Some(at)) if at < v.len() => v[at].clone(),
        (CategoryValues::Numbers(v), Some(at)) if at < v.len() => v[at].to_string(),
        _ => level.to_string(),
    }
}
