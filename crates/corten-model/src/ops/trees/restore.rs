//! From trees over codes back to trees over raw values.

use alloc::vec;
use alloc::vec::Vec;

use corten_kernels::trees::{CATEGORY, Reads, VECTOR};

use super::spec::{LeafModel, Tree, TreeNode, TreesSpec};
use super::{Inner, Trees};

impl Trees {
    /// The ensemble over raw values. It scores as this one does, bit by bit; weights of trees are in their leaves, and
    /// every threshold is one of `<=`.
    pub fn spec(&self) -> TreesSpec {
        let inner = self.inner();
        let parts = inner.forest.parts();
        let cover = inner.cover.weights().unwrap_or_default();
        TreesSpec {
            base: inner.base.clone(),
            average: inner.rules.average,
            input: inner.rules.input,
            sum: inner.rules.sum,
            zero_threshold: inner.rules.zero_threshold,
            trees: (0..parts.targets.len()).map(|t| inner.restored(t, &cover)).collect(),
            ..TreesSpec::new(inner.features, parts.outputs)
        }
    }
}

impl Inner {
    fn restored(&self, tree: usize, cover: &[f64]) -> Tree {
        let parts = self.forest.parts();
        let target = parts.targets[tree];
        let mut out = Tree::new((target != VECTOR).then_some(target));
        let width = if target == VECTOR { parts.outputs as usize } else { 1 };
        // Nodes as they are met from the root.
        let mut order = vec![parts.roots[tree]];
        let mut next = 0;
        while next < order.len() {
            let at = order[next] as usize;
            let node = self.forest.node(at);
            if let Some(&cover) = cover.get(at) {
                out.cover.push(cover);
            }
            if node.left as usize == at {
                let leaf = parts.payload[at] as usize;
                if let Some(model) = self.leaf_model(leaf, next as u32) {
                    out.models.push(model);
                }
                out.push_leaf(&parts.leaves[leaf..leaf + width]);
            } else {
                let (left, right) = (order.len() as u32, order.len() as u32 + 1);
                order.extend([node.left, node.left + 1]);
                let column = usize::from(node.column & !CATEGORY);
                let feature = self.columns[column].feature;
                let restored = match self.coder.reads(column) {
                    Reads::Number { missing_right, zero_missing } => TreeNode::Number {
                        feature,
                        threshold: self.coder.thresholds(column)[usize::from(node.threshold)],
                        missing_left: !missing_right,
                        zero_missing,
                        left,
                        right,
                    },
                    Reads::Category { levels } => {
                        let bits = &parts.bits[parts.payload[at] as usize..];
                        let goes_left = |code: u32| bits[code as usize / 32] >> (code % 32) & 1 == 1;
                        let first = out.codes.len() as u32;
                        out.codes.extend((0..levels).filter(|&code| goes_left(code)));
                        TreeNode::Category {
                            feature,
                            first,
                            count: out.codes.len() as u32 - first,
                            levels,
                            missing_left: goes_left(levels + 1),
                            unseen_left: goes_left(levels),
                            left,
                            right,
                        }
                    }
                };
                out.nodes.push(restored);
            }
            next += 1;
        }
        out
    }

    /// The linear model of a leaf.
    fn leaf_model(&self, leaf: usize, node: u32) -> Option<LeafModel> {
        let linear = self.linear.as_ref()?;
        let start = if leaf == 0 { 0 } else { linear.ends[leaf - 1] as usize };
        let terms = start..linear.ends[leaf] as usize;
        let pairs = linear.features[terms.clone()].iter().copied().zip(linear.weights[terms].iter().copied());
        let terms: Vec<(u32, f64)> = pairs.collect();
        (!terms.is_empty()).then(|| LeafModel { node, intercept: linear.constants[leaf], terms })
    }
}
