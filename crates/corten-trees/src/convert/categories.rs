//! Categories with more codes than a column of the trees operator tells apart.
//!
//! Two values that no node tells apart are one category: the values of a feature fall into classes, and the trees read
//! the class. Where even those are too many, the nodes of the feature are shared out over several derived features,
//! each with classes of its own.

use std::collections::{BTreeMap, HashMap};

use corten_model::ops::{TreeNode, TreesSpec};

/// Most codes of a feature that trees read as they are, and most classes of a derived one.
pub(crate) const MAX_LEVELS: u32 = 65_000;

/// A feature made of another: the code of each of its values; all others are unseen.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Derived {
    /// What it is made of.
    pub(crate) feature: u32,
    /// Values in ascending order.
    pub(crate) values: Vec<f64>,
    /// Their codes.
    pub(crate) codes: Vec<f64>,
}

/// Classes of values, refined node by node. Class 0 has all values that no node has listed.
struct Classes {
    of: HashMap<u32, u32>,
    sizes: Vec<usize>,
    nodes: Vec<(usize, usize)>,
}

impl Classes {
    fn new() -> Self {
        Self { of: HashMap::new(), sizes: vec![0], nodes: Vec::new() }
    }

    /// Tells the listed values apart from all others.
    fn refine(&mut self, listed: &[u32]) {
        let mut touched: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
        for &value in listed {
            touched.entry(self.of.get(&value).copied().unwrap_or(0)).or_default().push(value);
        }
        for (class, values) in touched {
            if class > 0 && self.sizes[class as usize] == values.len() {
                continue;
            }
            if class > 0 {
                self.sizes[class as usize] -= values.len();
            }
            let new = self.sizes.len() as u32;
            self.sizes.push(values.len());
            self.of.extend(values.into_iter().map(|value| (value, new)));
        }
    }

    /// Lets the nodes read the classes.
    fn settle(self, spec: &mut TreesSpec, feature: u32) -> Derived {
        let (levels, derived) = (self.sizes.len() as u32 - 1, spec.features);
        spec.features += 1;
        for (tree, at) in self.nodes {
            let tree = &mut spec.trees[tree];
            let TreeNode::Category { feature, first, count, levels: all, .. } = &mut tree.nodes[at] else { continue };
            let listed = &tree.codes[*first as usize..(*first + *count) as usize];
            let mut classes: Vec<u32> = listed.iter().filter_map(|v| Some(self.of.get(v)? - 1)).collect();
            classes.sort_unstable();
            classes.dedup();
            (*feature, *first, *count, *all) = (derived, tree.codes.len() as u32, classes.len() as u32, levels);
            tree.codes.extend(classes);
        }
        let mut pairs: Vec<(u32, u32)> = self.of.into_iter().collect();
        pairs.sort_unstable();
        if pairs.is_empty() {
            // A feature whose nodes list nothing: all of its values are unseen.
            return Derived { feature, values: vec![-1.0], codes: vec![-1.0] };
        }
        let (values, codes) = pairs.into_iter().map(|(v, class)| (f64::from(v), f64::from(class - 1))).unzip();
        Derived { feature, values, codes }
    }
}

/// Derives features until no node reads more than `most` codes.
pub(crate) fn derive(spec: &mut TreesSpec, most: u32) -> Vec<Derived> {
    let mut wide: BTreeMap<u32, Vec<(usize, usize)>> = BTreeMap::new();
    for (t, tree) in spec.trees.iter().enumerate() {
        for (at, node) in tree.nodes.iter().enumerate() {
            if let TreeNode::Category { feature, levels, .. } = *node
                && levels > most
            {
                wide.entry(feature).or_default().push((t, at));
            }
        }
    }
    let mut out = Vec::new();
    for (feature, nodes) in wide {
        let mut classes = Classes::new();
        for (t, at) in nodes {
            let tree = &spec.trees[t];
            let TreeNode::Category { first, count, .. } = tree.nodes[at] else { continue };
            let mut listed = tree.codes[first as usize..(first + count) as usize].to_vec();
            listed.sort_unstable();
            listed.dedup();
            // Each class that is touched may fall into two.
            let grows = listed.len().min(classes.sizes.len());
            if classes.sizes.len() + grows > most as usize && !classes.nodes.is_empty() {
                out.push(std::mem::replace(&mut classes, Classes::new()).settle(spec, feature));
            }
            classes.refine(&listed);
            classes.nodes.push((t, at));
        }
        out.push(classes.settle(spec, feature));
    }
    out
}

#[cfg(test)]
mod tests {
    use corten_core::random::Stream;
    use corten_model::ops::Tree;

    use super::*;

    fn ensemble(random: &mut Stream, stumps: usize, values: u32) -> TreesSpec {
        let mut spec = TreesSpec::new(2, 1);
        for _ in 0..stumps {
            let mut tree = Tree::new(Some(0));
            let codes: Vec<u32> = (0..values).filter(|_| random.below(3) == 0).collect();
            let (count, unseen_left) = (codes.len() as u32, random.below(2) == 0);
            tree.codes = codes;
            tree.nodes.push(TreeNode::Category {
                feature: 1,
                first: 0,
                count,
                levels: values,
                missing_left: false,
                unseen_left,
                left: 1,
                right: 2,
            });
            tree.push_leaf(&[1.0]);
            tree.push_leaf(&[-1.0]);
            spec.trees.push(tree);
        }
        spec
    }

    #[test]
    fn nodes_over_classes_send_every_value_where_those_over_values_did() {
        let mut random = Stream::new(3, 1);
        for (stumps, values, most) in [(3, 40, 16), (9, 500, 16), (1, 5, 4), (6, 90, 3)] {
            let before = ensemble(&mut random, stumps, values);
            let mut after = before.clone();
            let derived = derive(&mut after, most);
            assert_eq!(after.features as usize, 2 + derived.len());
            for (old, new) in before.trees.iter().zip(&after.trees) {
                let TreeNode::Category { feature, first, count, levels, .. } = new.nodes[0] else { panic!("a leaf") };
                let made = &derived[feature as usize - 2];
                assert!(levels <= most.max(1) && made.feature == 1);
                let listed = &new.codes[first as usize..(first + count) as usize];
                for value in 0..values + 3 {
                    let place = made.values.iter().position(|v| *v == f64::from(value));
                    let goes_left = place.map(|p| listed.contains(&(made.codes[p] as u32)));
                    let TreeNode::Category { unseen_left, .. } = old.nodes[0] else { panic!("a leaf") };
                    let was = old.codes.contains(&value);
                    assert!(goes_left == Some(was) || (goes_left.is_none() && !was), "{value} with {unseen_left}");
                }
            }
        }
    }

    #[test]
    fn what_fits_is_left_alone() {
        let before = ensemble(&mut Stream::new(4, 1), 3, 10);
        let mut after = before.clone();
        assert!(derive(&mut after, 10).is_empty());
        assert_eq!(after, before);
    }
}
