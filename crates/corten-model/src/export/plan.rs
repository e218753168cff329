//! Where each column of the graph lives in the C function.
//!
//! Columns of the row stay where the caller has them. What operators make lies in one array on the stack, in which a
//! block takes the place of those that no one reads any more.

use std::collections::BTreeMap;

use crate::ops::{LinkKind, Op};
use crate::{Graph, Method, Output, Slot};
use corten_core::{Kind, Result};

/// Where a column is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// A number of the caller's row.
    Row(usize),
    /// A number in the array.
    Buffer(usize),
    /// A text of the caller's row.
    GivenText(usize),
    /// A text that an operator made.
    MadeText(usize),
}

/// One operator with its places.
pub(crate) struct Step<'m> {
    pub(crate) op: &'m Op,
    pub(crate) inputs: Vec<Place>,
    /// First column that it makes, in the array or among the made texts.
    pub(crate) first: usize,
    /// How many it makes.
    pub(crate) columns: usize,
}

pub(crate) struct Plan<'m> {
    pub(crate) output: &'m Output,
    pub(crate) steps: Vec<Step<'m>>,
    pub(crate) outputs: Vec<Place>,
    /// Numbers in the array, and texts that are made.
    pub(crate) buffer: usize,
    pub(crate) made_texts: usize,
    /// Numbers and texts of a row.
    pub(crate) given: (usize, usize),
}

/// Columns that an operator hands on as they are take no place of their own.
fn hands_on(op: &Op) -> bool {
    match op {
        Op::CheckFinite(_) => true,
        Op::Link(link) => link.kind == LinkKind::Identity,
        _ => false,
    }
}

/// A block of columns in the array: from the step that makes it to the last that reads it.
struct Block {
    made: usize,
    last: usize,
    width: usize,
    start: usize,
}

/// A column before blocks have their places.
#[derive(Clone, Copy)]
enum Home {
    Fixed(Place),
    Block(usize, usize),
}

impl<'m> Plan<'m> {
    pub(crate) fn new(graph: &'m Graph, method: Method, answer: (&'m Output, &[u32])) -> Result<Self> {
        debug_assert_eq!(answer.0.method, method);
        let given = graph.schema().counts();
        let mut homes: BTreeMap<Slot, Home> = BTreeMap::new();
        for i in 0..given.0 {
            homes.insert(Slot::Number(i as u32), Home::Fixed(Place::Row(i)));
        }
        for i in 0..given.1 {
            homes.insert(Slot::Text(i as u32), Home::Fixed(Place::GivenText(i)));
        }
        let (mut blocks, mut made_texts): (Vec<Block>, usize) = (Vec::new(), 0);
        let nodes: Vec<_> = answer.1.iter().map(|&at| &graph.nodes()[at as usize]).collect();
        let mut text_starts = vec![0; nodes.len()];
        for (at, node) in nodes.iter().enumerate() {
            for slot in &node.inputs {
                if let Some(Home::Block(block, _)) = homes.get(slot) {
                    blocks[*block].last = at;
                }
            }
            let columns = node.shape.columns as usize;
            text_starts[at] = made_texts;
            for i in 0..columns {
                let (slot, home) = match node.shape.kind {
                    Kind::Number if hands_on(&node.op) => (Slot::Number(node.first + i as u32), homes[&node.inputs[i]]),
                    Kind::Number => (Slot::Number(node.first + i as u32), Home::Block(blocks.len(), i)),
                    Kind::Text => (Slot::Text(node.first + i as u32), Home::Fixed(Place::MadeText(made_texts + i))),
                };
                homes.insert(slot, home);
            }
            match node.shape.kind {
                Kind::Text => made_texts += columns,
                // An index for each step that makes numbers; empty where they are handed on.
                Kind::Number => {
                    let width = if hands_on(&node.op) { 0 } else { columns };
                    blocks.push(Block { made: at, last: at, width, start: 0 });
                }
            }
        }
        for slot in &answer.0.columns {
            if let Some(Home::Block(block, _)) = homes.get(slot) {
                blocks[*block].last = usize::MAX;
            }
        }
        let buffer = settle(&mut blocks);
        let place = |slot: &Slot| match homes[slot] {
            Home::Fixed(place) => place,
            Home::Block(block, i) => Place::Buffer(blocks[block].start + i),
        };
        let mut numbered = blocks.iter();
        let steps = nodes
            .iter()
            .zip(text_starts)
            .map(|(node, texts)| Step {
                op: &node.op,
                inputs: node.inputs.iter().map(place).collect(),
                first: match node.shape.kind {
                    Kind::Text => texts,
                    Kind::Number => numbered.next().map_or(0, |b| b.start),
                },
                columns: node.shape.columns as usize,
            })
            .collect();
        let outputs = answer.0.columns.iter().map(place).collect();
        Ok(Self { output: answer.0, steps, outputs, buffer, made_texts, given })
    }
}

/// Gives each block the first place that is free while it lives; returns the size of the array.
fn settle(blocks: &mut [Block]) -> usize {
    let mut size = 0;
    for b in 0..blocks.len() {
        // A block that is read in the step in which another is made must not lie under it.
        let mut taken: Vec<(usize, usize)> = blocks[..b]
            .iter()
            .filter(|other| other.last >= blocks[b].made)
            .map(|other| (other.start, other.start + other.width))
            .collect();
        taken.sort_unstable();
        let mut start = 0;
        for (from, to) in taken {
            if start + blocks[b].width <= from {
                break;
            }
            start = start.max(to);
        }
        blocks[b].start = start;
        size = size.max(start + blocks[b].width);
    }
    size
}
