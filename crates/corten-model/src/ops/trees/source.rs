//! Where the trees of an ensemble come from, and what must hold for each of them.

use alloc::borrow::Cow;
use alloc::vec;
use alloc::vec::Vec;

use corten_core::Result;

use super::bad;
use super::spec::{LeafModel, Tree, TreeNode};

/// Trees that are asked for one by one, each several times and by several threads: those that are made of something
/// smaller never lie in memory all at once.
pub trait TreeSource: Sync {
    /// How many there are.
    fn count(&self) -> usize;

    /// The number of nodes of one.
    fn nodes(&self, at: usize) -> usize;

    /// One of them, the same each time.
    fn tree(&self, at: usize) -> Cow<'_, Tree>;
}

impl TreeSource for Vec<Tree> {
    fn count(&self) -> usize {
        self.len()
    }

    fn nodes(&self, at: usize) -> usize {
        self[at].nodes.len()
    }

    fn tree(&self, at: usize) -> Cow<'_, Tree> {
        Cow::Borrowed(&self[at])
    }
}

/// What a tree was found to be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Nodes that something leads to.
    pub(super) nodes: usize,
    /// Whether those are all.
    whole: bool,
    /// The output that its leaves add to.
    pub(super) output: Option<u32>,
    /// Whether it says how much training weight reached each node.
    pub(super) cover: bool,
    /// Words of bits of its nodes of categories.
    pub(super) words: usize,
}

/// A tree without nodes that nothing leads to, and what it is.
///
/// # Errors
/// [`corten_core::Error::Format`] for a tree that is none.
pub(super) fn look(source: &dyn TreeSource, at: usize) -> Result<(Cow<'_, Tree>, Shape)> {
    let tree = source.tree(at);
    if tree.nodes.is_empty() {
        return Err(bad("a tree without nodes"));
    }
    let whole = sizes(&tree)?[0] as usize == tree.nodes.len();
    let tree = if whole { tree } else { Cow::Owned(reachable(&tree)?) };
    if !tree.cover.is_empty() && tree.cover.len() != tree.nodes.len() {
        return Err(bad("cover must have one number a node in every tree, or in none"));
    }
    let words = |n: &TreeNode| match n {
        TreeNode::Category { levels, .. } => words_of(*levels),
        _ => 0,
    };
    let shape = Shape {
        nodes: tree.nodes.len(),
        whole,
        output: tree.output,
        cover: !tree.cover.is_empty(),
        words: tree.nodes.iter().map(words).sum(),
    };
    Ok((tree, shape))
}

/// A tree that was looked at.
pub(super) fn again(source: &dyn TreeSource, at: usize, shape: Shape) -> Result<Cow<'_, Tree>> {
    let tree = source.tree(at);
    if shape.whole { Ok(tree) } else { reachable(&tree).map(Cow::Owned) }
}

/// Words of the bits of so many categories, and of what is unseen and missing.
pub(super) fn words_of(levels: u32) -> usize {
    (levels as usize + 2).div_ceil(32)
}

/// The numbers of nodes below each node and itself.
pub(super) fn sizes(tree: &Tree) -> Result<Vec<u32>> {
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
