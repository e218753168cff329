//! Which features a model's trees decide by, and their names.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::cell::OnceCell;

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
        let history = History::of(graph);
        let mut places: BTreeMap<Slot, u32> = BTreeMap::new();
        let mut slots: Vec<Slot> = Vec::new();
        let mut of_input = Vec::with_capacity(inputs.len());
        for &input in inputs {
            let slot = history.origin(input);
            of_input.push(*places.entry(slot).or_insert_with(|| {
                slots.push(slot);
                slots.len() as u32 - 1
            }));
        }
        let names = slots.iter().map(|&s| history.name(s)).collect();
        let sources = slots.iter().map(|&s| history.input(s)).collect();
        Self { of_input, slots, names, sources }
    }
}

/// Where the columns of a graph come from.
struct History<'g> {
    graph: &'g Graph,
    /// Of numbers and of texts: first column and operator, in their order; and the schema's inputs.
    makers: [Vec<(u32, usize)>; 2],
    inputs: [Vec<u32>; 2],
    /// What each operator's columns are made of alone, once it was asked.
    made: Vec<OnceCell<Vec<Option<Slot>>>>,
}

fn place(slot: Slot) -> (usize, u32) {
    match slot {
        Slot::Number(at) => (0, at),
        Slot::Text(at) => (1, at),
    }
}

impl<'g> History<'g> {
    fn of(graph: &'g Graph) -> Self {
        let kinds = [Kind::Number, Kind::Text];
        let makes = |kind| {
            let of_kind = |(_, n): &(usize, &Node)| n.shape.kind == kind && n.shape.columns > 0;
            graph.nodes.iter().enumerate().filter(of_kind).map(|(i, n)| (n.first, i)).collect()
        };
        let reads =
            |kind| (0u32..).zip(&graph.schema.inputs).filter(|(_, i)| i.kind == kind).map(|(at, _)| at).collect();
        let made = graph.nodes.iter().map(|_| OnceCell::new()).collect();
        Self { graph, makers: kinds.map(makes), inputs: kinds.map(reads), made }
    }

    /// The operator that makes a column, and the column's place in what it makes.
    fn maker(&self, slot: Slot) -> Option<(usize, usize)> {
        let (space, at) = place(slot);
        let makers = &self.makers[space];
        let (first, node) = makers[makers.partition_point(|m| m.0 <= at).checked_sub(1)?];
        Some((node, (at - first) as usize))
    }

    /// The column that a column is made of alone.
    fn made_of(&self, node: usize, at: usize) -> Option<Slot> {
        let own = &self.graph.nodes[node];
        let made = self.made[node].get_or_init(|| own.op.made_of(&own.inputs, own.shape.columns as usize));
        made.get(at).copied().flatten()
    }

    /// The column before it was checked and its categories became codes.
    fn origin(&self, mut slot: Slot) -> Slot {
        while let Some((node, at)) = self.maker(slot)
            && matches!(self.graph.nodes[node].op, Op::Category(_) | Op::CheckFinite(_))
            && let Some(from) = self.made_of(node, at)
        {
            slot = from;
        }
        slot
    }

    /// The place in the schema of a column that comes in.
    fn input(&self, slot: Slot) -> Option<u32> {
        let (space, at) = place(slot);
        self.inputs[space].get(at as usize).copied()
    }

    /// A name as scikit-learn's `get_feature_names_out` would give it.
    fn name(&self, mut slot: Slot) -> String {
        let (mut prefix, mut categories) = (String::new(), Vec::new());
        let mut base = loop {
            let Some((node, at)) = self.maker(slot) else {
                break self.input(slot).map_or_else(String::new, |i| self.graph.schema.inputs[i as usize].name.clone());
            };
            let Node { op, inputs, shape, .. } = &self.graph.nodes[node];
            let Some(from) = self.made_of(node, at) else { break format!("{}{at}", op.name()) };
            slot = from;
            match op {
                Op::OneHot(op) => {
                    // Which of its column's indicators it is.
                    let mut level = at;
                    for (&width, &coded) in op.widths.iter().zip(inputs) {
                        if level < width as usize {
                            categories.push(self.category(coded, level));
                            break;
                        }
                        level -= width as usize;
                    }
                }
                Op::IsMissing(_) => prefix.push_str("missingindicator_"),
                _ if shape.columns as usize == inputs.len() => {}
                _ => break format!("{}{at}", op.name()),
            }
        };
        base.insert_str(0, &prefix);
        for category in categories.iter().rev() {
            base.push('_');
            base.push_str(category);
        }
        base
    }

    /// The category whose code is `level`, or the code.
    fn category(&self, coded: Slot, level: usize) -> String {
        let found = self.maker(coded).and_then(|(node, at)| match &self.graph.nodes[node].op {
            Op::Category(op) => op.columns().get(at),
            _ => None,
        });
        let Some(column) = found else { return level.to_string() };
        let place = match &column.codes {
            Some(codes) => codes.iter().position(|&c| c == level as f64),
            None => Some(level),
        };
        match (&column.values, place) {
            (CategoryValues::Texts(v), Some(at)) if at < v.len() => v[at].into(),
            (CategoryValues::Numbers(v), Some(at)) if at < v.len() => v[at].to_string(),
            _ => level.to_string(),
        }
    }
}
