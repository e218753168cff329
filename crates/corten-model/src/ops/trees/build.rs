//! From trees over raw values to trees over codes.
//!
//! Once thresholds have codes ([`super::code`]), trees are written side by side, in parallel: siblings together, and four
//! pairs of siblings that are likely to be visited together in each cache line.

use alloc::borrow::Cow;
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
use super::spec::{LeafModel, Tree, TreeNode, TreesSpec};
use super::{Inner, Precision, Rules, Trees, bad, coder};
use crate::threads::{self, each};

/// Nodes from which a build uses all cores.
const PARALLEL: usize = 1 << 16;
/// Nodes of a tree from which trees start on cache lines.
const LARGE: usize = 1024;
/// Nodes of a cache line.
const LINE: usize = 8;

/// The numbers of nodes below each node and itself.
fn sizes(tree: &Tree) -> Result<Vec<u32>> {
    let count = tree.nodes.len();
    let mut sizes = vec![1u32; count];
    for (at, node) in tree.nodes.iter().enumerate().rev() {
        if let TreeNode::Number { left, right, .. } | TreeNode::Category { left, right, .. } = *node {
            let (l, r) = (left as usize, right as usize);
            if l <= at || r <= at || l >= count || r >= count {
                return Err(bad("a child doesn't follow its parent"));
            }
            sizes[at] = 1u32.saturating_add(sizes[l]).saturating_add(sizes[r]);
        }
    }
    Ok(sizes)
}

/// The tree without nodes that nothing leads to.
fn reachable(tree: &Tree) -> Result<Tree> {
    let mut out = Tree { nodes: Vec::new(), models: Vec::new(), cover: Vec::new(), ..tree.clone() };
    let mut order = vec![0u32];
    let mut next = 0;
    while next < order.len() {
        let at = order[next] as usize;
        let mut node = tree.nodes[at];
        if let TreeNode::Number { left, right, .. } | TreeNode::Category { left, right, .. } = &mut node {
            if order.len() + 2 > tree.nodes.len() {
                return Err(bad("a node has two parents"));
            }
            let first = order.len() as u32;
            order.extend([*left, *right]);
            (*left, *right) = (first, first + 1);
        }
        for model in tree.models.iter().filter(|m| m.node as usize == at) {
            out.models.push(LeafModel { node: next as u32, ..model.clone() });
        }
        if let Some(&cover) = tree.cover.get(at) {
            out.cover.push(cover);
        }
        out.nodes.push(node);
        next += 1;
    }
    Ok(out)
}

/// Where one tree is written.
struct Place<'a> {
    tree: &'a Tree,
    sizes: Vec<u32>,
    /// Which it is.
    given: usize,
    /// Its first node over all trees.
    start: usize,
    /// Values a node.
    spread: usize,
    /// Its first leaf value and first word of bits.
    leaf: usize,
    word: usize,
    nodes: &'a mut [u64],
    payload: &'a mut [u32],
    leaves: &'a mut [f64],
    bits: &'a mut [u32],
    cover: &'a mut [f64],
}

impl Place<'_> {
    /// Writes the tree; returns (node as given, place in the leaves) for its linear models.
    fn write(mut self, coded: &Coded, spec: &TreesSpec, padded: bool) -> Result<Vec<(u32, u32)>> {
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
                let left = (self.start + next) as u32;
                let (mut children, node) = match node {
                    TreeNode::Number { left: l, right: r, .. } => {
                        let Some((feature, _, rule, swapped)) = compared(&node, spec.strict) else { continue };
                        let (column, threshold) = coded.compare(feature, rule, self.given, source);
                        (if swapped { [r, l] } else { [l, r] }, Node { left, column, threshold })
                    }
                    TreeNode::Category { feature, left: l, right: r, .. } => {
                        let (column, levels) = coded.categories[feature as usize].unwrap_or_default();
                        self.payload[at] = (self.word + word) as u32;
                        word += self.categories(source, levels, word)?;
                        ([l, r], Node { left, column: column as u16 | CATEGORY, threshold: 0 })
                    }
                    TreeNode::Leaf { .. } => continue,
                };
                self.nodes[at] = Parts::word(node);
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
        let blank = if padded { (1..2).chain(next..self.nodes.len()) } else { (0..0).chain(0..0) };
        for at in blank {
            self.nodes[at] = Parts::word(Node { left: (self.start + at) as u32, column: 0, threshold: NEVER });
            self.payload[at] = self.leaf as u32;
        }
        Ok(models)
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
            self.cover[at] = cover;
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
        self.nodes[at] = Parts::word(Node { left: (self.start + at) as u32, column: 0, threshold: NEVER });
        self.payload[at] = (self.leaf + *leaf) as u32;
        if !self.tree.models.is_empty() {
            models.push((source, (self.leaf + *leaf) as u32));
        }
        for (to, &v) in self.leaves[*leaf..][..width].iter_mut().zip(values) {
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
        let words = (levels as usize + 2).div_ceil(32);
        let bits = &mut self.bits[word..word + words];
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
    pub fn build(spec: TreesSpec) -> Result<Self> {
        Inner::build(spec).map(Self::of)
    }
}

impl Inner {
    pub(super) fn build(spec: TreesSpec) -> Result<Self> {
        let total: usize = spec.trees.iter().map(|t| t.nodes.len()).sum();
        if total > u32::MAX as usize / 2 || spec.trees.iter().any(|t| t.nodes.is_empty()) {
            return Err(bad("a tree without nodes, or too many nodes"));
        }
        let threads = if total >= PARALLEL { threads::all() } else { 1 };
        let checked = each(threads, spec.trees.iter().collect(), |tree: &Tree| {
            let all = sizes(tree)?;
            if all[0] as usize == tree.nodes.len() {
                return Ok((Cow::Borrowed(tree), all));
            }
            let tree = reachable(tree)?;
            let all = sizes(&tree)?;
            Ok((Cow::Owned(tree), all))
        })?;
        let (trees, sizes): (Vec<Cow<'_, Tree>>, Vec<Vec<u32>>) = checked.into_iter().unzip();
        let padded = trees.iter().any(|t| t.nodes.len() >= LARGE);
        let with_cover = trees.iter().any(|t| !t.cover.is_empty());
        if trees.iter().any(|t| with_cover && t.cover.len() != t.nodes.len()) {
            return Err(bad("cover must have one number a node in every tree, or in none"));
        }
        let coded = code(&spec, &trees, threads)?;
        let written = |t: &Tree| if padded { (t.nodes.len() + 1).next_multiple_of(LINE) } else { t.nodes.len() };
        let width = |t: &Tree| if t.output.is_none() { spec.outputs as usize } else { 1 };
        let leaves_of = |t: &Tree| t.nodes.len().div_ceil(2) * width(t);
        let words_of = |t: &Tree| {
            let words = |n: &TreeNode| match n {
                TreeNode::Category { levels, .. } => (*levels as usize + 2).div_ceil(32),
                _ => 0,
            };
            t.nodes.iter().map(words).sum::<usize>()
        };
        let words: Vec<usize> = trees.iter().map(|t| words_of(t)).collect();
        let nodes: usize = trees.iter().map(|t| written(t)).sum();
        let values: usize = trees.iter().map(|t| leaves_of(t)).sum();
        let all_words: usize = words.iter().sum();
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
        let mut places = Vec::with_capacity(trees.len());
        let (mut start, mut leaf, mut word) = (0, 0, 0);
        for (((given, tree), sizes), &words) in trees.iter().enumerate().zip(sizes).zip(&words) {
            let (count, values) = (written(tree), leaves_of(tree));
            places.push(Place {
                tree,
                sizes,
                given,
                start,
                spread: tree.values.len() / tree.nodes.len(),
                leaf,
                word,
                nodes: take(&mut node_rest, count),
                payload: take(&mut payload_rest, count),
                leaves: take(&mut leaf_rest, values),
                bits: take(&mut bit_rest, words),
                cover: take(&mut cover_rest, if with_cover { count } else { 0 }),
            });
            (start, leaf, word) = (start + count, leaf + values, word + words);
            parts.roots.push(start as u32);
            parts.targets.push(tree.output.unwrap_or(VECTOR));
        }
        let placed = each(threads, places, |place: Place<'_>| place.write(&coded, &spec, padded))?;
        let linear = linear_leaves(&trees, &placed, parts.leaves.len())?;
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
fn linear_leaves(trees: &[Cow<'_, Tree>], placed: &[Vec<(u32, u32)>], leaves: usize) -> Result<Option<LinearLeaves>> {
    if trees.iter().all(|t| t.models.is_empty()) {
        return Ok(None);
    }
    let mut of_leaf: Vec<Option<(&LeafModel, f64)>> = vec![None; leaves];
    for (tree, placed) in trees.iter().zip(placed) {
        for model in &tree.models {
            let Some(&(_, leaf)) = placed.iter().find(|p| p.0 == model.node) else {
                return Err(bad("a linear model of a leaf that isn't there"));
            };
            of_leaf[leaf as usize] = Some((model, tree.weight));
        }
    }
    let mut out = LinearLeaves::default();
    for model in of_leaf {
        if let Some((model, weight)) = model {
            out.features.extend(model.terms.iter().map(|t| t.0));
            out.weights.extend(model.terms.iter().map(|t| t.1 * weight));
        }
        out.constants.push(model.map_or(0.0, |(m, weight)| m.intercept * weight));
        out.ends.push(u32::try_from(out.features.len()).map_err(|_| bad("too many terms of linear leaves"))?);
    }
    Ok(Some(out))
}
