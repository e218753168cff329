//! From trees over raw values to trees over codes.
//!
//! Once thresholds have codes ([`super::code`]), trees are written side by side, in parallel: siblings together, and four
//! pairs of siblings that are likely to be visited together in each cache line.

use alloc::vec;
use alloc::vec::Vec;

use corten_core::Result;
use corten_kernels::aligned::Aligned;
use corten_kernels::cache;
use corten_kernels::trees::{CATEGORY, NEVER, Node, Parts, VECTOR};

use super::code::{Coded, code, compared};
use super::cover::Cover;
use super::linear::LinearLeaves;
use super::share::share_leaves;
use super::source::{Shape, TreeSource, again, sizes, words_of};
use super::spec::{LeafModel, Tree, TreeNode, TreesSpec};
use super::{Inner, Precision, Rules, Trees, bad, coder};
use crate::threads::{self, each};

/// Nodes from which a build uses all cores.
const PARALLEL: usize = 1 << 16;
/// Nodes of a tree from which trees start on cache lines.
const LARGE: usize = 1024;
/// Nodes of a cache line.
const LINE: usize = 8;

/// Where one tree is written.
struct Room<'a> {
    /// Which it is.
    given: usize,
    /// Its first node over all trees.
    start: usize,
    /// Its first leaf value and first word of bits.
    leaf: usize,
    word: usize,
    nodes: &'a mut [u64],
    payload: &'a mut [u32],
    leaves: &'a mut [f64],
    bits: &'a mut [u32],
    cover: &'a mut [f64],
}

/// A tree that is being written.
struct Place<'a> {
    tree: &'a Tree,
    sizes: Vec<u32>,
    /// Values a node.
    spread: usize,
    room: Room<'a>,
}

/// The linear model of a leaf, by its place in the leaves.
type Placed = (u32, LeafModel);

impl Place<'_> {
    /// Writes the tree; returns its linear models.
    fn write(mut self, coded: &Coded, spec: &TreesSpec, padded: bool) -> Result<Vec<Placed>> {
        let mut models = Vec::new();
        let (mut next, mut leaf, mut word) = (if padded { 2 } else { 1 }, 0, 0);
        let mut open: Vec<(u32, usize)> = Vec::new();
        let mut frontier: Vec<(u32, usize)> = Vec::with_capacity(8);
        let weight = |this: &Self, at: u32| this.sizes[at as usize];
        // A node is written when its place is known; an inner one waits for the place of its children.
        self.arrive(0, 0, &mut frontier, &mut leaf, &mut models, spec)?;
        let mut pairs = if padded { LINE / 2 - 1 } else { LINE / 2 };
        loop {
            while pairs > 0 && !frontier.is_empty() {
                pairs -= 1;
                let best = (1..frontier.len())
                    .fold(0, |b, i| if weight(&self, frontier[i].0) > weight(&self, frontier[b].0) { i } else { b });
                let (source, at) = frontier.swap_remove(best);
                let node = self.tree.nodes[source as usize];
                let left = (self.room.start + next) as u32;
                let (mut children, node) = match node {
                    TreeNode::Number { left: l, right: r, .. } => {
                        let Some((feature, _, rule, swapped)) = compared(&node, spec.strict) else { continue };
                        let (column, threshold) = coded.compare(feature, rule, self.room.given, source);
                        (if swapped { [r, l] } else { [l, r] }, Node { left, column, threshold })
                    }
                    TreeNode::Category { feature, left: l, right: r, .. } => {
                        let (column, levels) = coded.categories[feature as usize].unwrap_or_default();
                        self.room.payload[at] = (self.room.word + word) as u32;
                        word += self.categories(source, levels, word)?;
                        ([l, r], Node { left, column: column as u16 | CATEGORY, threshold: 0 })
                    }
                    TreeNode::Leaf { .. } => continue,
                };
                self.room.nodes[at] = Parts::word(node);
                for child in &mut children {
                    self.arrive(*child, next, &mut frontier, &mut leaf, &mut models, spec)?;
                    next += 1;
                }
            }
            // The likeliest of the rest comes next.
            frontier.sort_unstable_by_key(|f| (weight(&self, f.0), f.1));
            open.append(&mut frontier);
            let Some(node) = open.pop() else { break };
            frontier.push(node);
            pairs = LINE / 2;
        }
        // What is left over on cache lines are leaves that nothing leads to.
        let blank = if padded { (1..2).chain(next..self.room.nodes.len()) } else { (0..0).chain(0..0) };
        for at in blank {
            self.room.nodes[at] =
                Parts::word(Node { left: (self.room.start + at) as u32, column: 0, threshold: NEVER });
            self.room.payload[at] = self.room.leaf as u32;
        }
        let found = |m: &LeafModel| models.iter().find(|(node, _)| *node == m.node).map(|p| p.1);
        let (tree, weight) = (self.tree, self.tree.weight);
        let place = |m: &LeafModel| {
            let leaf = found(m).ok_or_else(|| bad("a linear model of a leaf that isn't there"))?;
            let terms = m.terms.iter().map(|&(input, factor)| (input, factor * weight)).collect();
            Ok((leaf, LeafModel { node: m.node, intercept: m.intercept * weight, terms }))
        };
        tree.models.iter().map(place).collect()
    }

    /// Puts a node where it belongs: leaves at once, others into the frontier.
    fn arrive(
        &mut self,
        source: u32,
        at: usize,
        frontier: &mut Vec<(u32, usize)>,
        leaf: &mut usize,
        models: &mut Vec<(u32, u32)>,
        spec: &TreesSpec,
    ) -> Result<()> {
        if let Some(&cover) = self.tree.cover.get(source as usize) {
            self.room.cover[at] = cover;
        }
        let node = self.tree.nodes[source as usize];
        if let TreeNode::Number { left, right, .. } | TreeNode::Category { left, right, .. } = node {
            // They arrive soon, and lie anywhere. Values of leaves that are spread evenly lie where they are guessed to be.
            let tree = self.tree;
            for child in [left as usize, right as usize] {
                cache::fetch(tree.nodes.as_ptr().wrapping_add(child));
                cache::fetch(tree.cover.as_ptr().wrapping_add(child));
                cache::fetch(tree.values.as_ptr().wrapping_add(child * self.spread));
            }
        }
        let TreeNode::Leaf { value } = node else {
            frontier.push((source, at));
            return Ok(());
        };
        let width = if self.tree.output.is_none() { spec.outputs as usize } else { 1 };
        let values = (value as usize).checked_add(width).and_then(|e| self.tree.values.get(value as usize..e));
        let values = values.ok_or_else(|| bad("a leaf has fewer values than its tree has outputs"))?;
        self.room.nodes[at] = Parts::word(Node { left: (self.room.start + at) as u32, column: 0, threshold: NEVER });
        self.room.payload[at] = (self.room.leaf + *leaf) as u32;
        if !self.tree.models.is_empty() {
            models.push((source, (self.room.leaf + *leaf) as u32));
        }
        for (to, &v) in self.room.leaves[*leaf..][..width].iter_mut().zip(values) {
            *to = match spec.sum {
                Precision::F64 if self.tree.weight == 1.0 => v,
                Precision::F64 => v * self.tree.weight,
                Precision::F32 => f64::from(v as f32 * self.tree.weight as f32),
            };
        }
        *leaf += width;
        Ok(())
    }

    /// Writes the categories of a node and returns how many words they take.
    fn categories(&mut self, source: u32, levels: u32, word: usize) -> Result<usize> {
        let TreeNode::Category { first, count, missing_left, unseen_left, .. } = self.tree.nodes[source as usize]
        else {
            return Ok(0);
        };
        let words = words_of(levels);
        let bits = &mut self.room.bits[word..word + words];
        let codes = (first as usize).checked_add(count as usize).and_then(|e| self.tree.codes.get(first as usize..e));
        for &code in codes.ok_or_else(|| bad("a node's categories aren't there"))? {
            if code >= levels {
                return Err(bad("a category that isn't there"));
            }
            bits[code as usize / 32] |= 1 << (code % 32);
        }
        for (code, left) in [(levels, unseen_left), (levels + 1, missing_left)] {
            bits[code as usize / 32] |= u32::from(left) << (code % 32);
        }
        Ok(words)
    }
}

/// Takes `count` values off the front.
pub(super) fn take<'a, T>(rest: &mut &'a mut [T], count: usize) -> &'a mut [T] {
    let (one, after) = core::mem::take(rest).split_at_mut(count);
    *rest = after;
    one
}

impl Trees {
    /// Codes an ensemble.
    ///
    /// # Errors
    /// [`corten_core::Error::Format`] for indices that don't fit, a NaN threshold, or sizes beyond the limits.
    pub fn build(mut spec: TreesSpec) -> Result<Self> {
        let trees = core::mem::take(&mut spec.trees);
        Self::build_from(&spec, &trees)
    }

    /// Codes an ensemble whose trees are made when they are asked for; those of the spec are not looked at.
    ///
    /// # Errors
    /// Those of [`Trees::build`].
    pub fn build_from(spec: &TreesSpec, trees: &dyn TreeSource) -> Result<Self> {
        Inner::build(spec, trees).map(Self::of)
    }
}

impl Inner {
    pub(super) fn build(spec: &TreesSpec, trees: &dyn TreeSource) -> Result<Self> {
        let total: usize = (0..trees.count()).map(|at| trees.nodes(at)).sum();
        if total > u32::MAX as usize / 2 {
            return Err(bad("too many nodes"));
        }
        let threads = if total >= PARALLEL { threads::all() } else { 1 };
        let (coded, shapes) = code(spec, trees, threads)?;
        let padded = shapes.iter().any(|t| t.nodes >= LARGE);
        let with_cover = shapes.iter().any(|t| t.cover);
        if with_cover && shapes.iter().any(|t| !t.cover) {
            return Err(bad("cover must have one number a node in every tree, or in none"));
        }
        let written = |t: &Shape| if padded { (t.nodes + 1).next_multiple_of(LINE) } else { t.nodes };
        let width = |t: &Shape| if t.output.is_none() { spec.outputs as usize } else { 1 };
        let leaves_of = |t: &Shape| t.nodes.div_ceil(2) * width(t);
        let nodes: usize = shapes.iter().map(written).sum();
        let values: usize = shapes.iter().map(leaves_of).sum();
        let all_words: usize = shapes.iter().map(|t| t.words).sum();
        if nodes > u32::MAX as usize / 2 || values > u32::MAX as usize || all_words > u32::MAX as usize {
            return Err(bad("too many nodes, leaves or categories"));
        }
        let mut parts = Parts {
            outputs: spec.outputs,
            roots: vec![0],
            nodes: Aligned::zeroed(nodes),
            payload: vec![0; nodes],
            bits: vec![0; all_words],
            leaves: vec![0.0; values],
            targets: Vec::new(),
            narrow: spec.sum == Precision::F32,
        };
        let mut cover = vec![0.0; if with_cover { nodes } else { 0 }];
        let (mut node_rest, mut payload_rest) = (&mut parts.nodes[..], &mut parts.payload[..]);
        let (mut leaf_rest, mut bit_rest, mut cover_rest) =
            (&mut parts.leaves[..], &mut parts.bits[..], &mut cover[..]);
        let mut rooms = Vec::with_capacity(shapes.len());
        let (mut start, mut leaf, mut word) = (0, 0, 0);
        for (given, shape) in shapes.iter().enumerate() {
            let (count, values) = (written(shape), leaves_of(shape));
            rooms.push(Room {
                given,
                start,
                leaf,
                word,
                nodes: take(&mut node_rest, count),
                payload: take(&mut payload_rest, count),
                leaves: take(&mut leaf_rest, values),
                bits: take(&mut bit_rest, shape.words),
                cover: take(&mut cover_rest, if with_cover { count } else { 0 }),
            });
            (start, leaf, word) = (start + count, leaf + values, word + shape.words);
            parts.roots.push(start as u32);
            parts.targets.push(shape.output.unwrap_or(VECTOR));
        }
        let placed = each(threads, rooms, |room: Room<'_>| {
            let tree = again(trees, room.given, shapes[room.given])?;
            let (sizes, spread) = (sizes(&tree)?, tree.values.len() / tree.nodes.len());
            Place { tree: &tree, sizes, spread, room }.write(&coded, spec, padded)
        })?;
        let linear = linear_leaves(placed, parts.leaves.len())?;
        if linear.is_none() {
            share_leaves(&mut parts, threads)?;
        }
        let rules =
            Rules { average: spec.average, input: spec.input, sum: spec.sum, zero_threshold: spec.zero_threshold };
        let cover = Cover::of(cover);
        let coder = coder(spec.features, &rules, &coded.columns, &coded.thresholds)?;
        Self::checked(spec.features, rules, spec.base.clone(), coded.columns, coder, parts, linear, cover)
    }
}

/// Gathers the linear models of all trees in the order of their leaves.
fn linear_leaves(placed: Vec<Vec<Placed>>, leaves: usize) -> Result<Option<LinearLeaves>> {
    if placed.iter().all(Vec::is_empty) {
        return Ok(None);
    }
    let mut of_leaf: Vec<Option<LeafModel>> = vec![None; leaves];
    for (leaf, model) in placed.into_iter().flatten() {
        of_leaf[leaf as usize] = Some(model);
    }
    let mut out = LinearLeaves::default();
    for model in of_leaf {
        if let Some(model) = &model {
            out.features.extend(model.terms.iter().map(|t| t.0));
            out.weights.extend(model.terms.iter().map(|t| t.1));
        }
        out.constants.push(model.map_or(0.0, |m| m.intercept));
        out.ends.push(u32::try_from(out.features.len()).map_err(|_| bad("too many terms of linear leaves"))?);
    }
    Ok(Some(out))
}
