//! What both growers ask: which nodes may be split, by which features, and which leaf comes next.

use std::cmp::Ordering;

use corten_core::random::{Stream, bits, mix};

use super::interactions::Interactions;
use super::split::Split;
use super::splitter::{Node, Splitter};

/// Limits on a tree's shape.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    pub(crate) max_leaf_nodes: usize,
    pub(crate) max_depth: usize,
    /// Share of the columns that a split may use that it chooses from.
    pub(crate) features_per_split: f64,
    /// Share of the columns that a tree may use.
    pub(crate) features_per_tree: f64,
    /// Which features may meet on a path.
    pub(crate) interactions: Interactions,
    /// Share of the rows that a tree is grown on.
    pub(crate) rows: f64,
}

/// How a node is reached.
#[derive(Clone)]
pub(crate) struct Way {
    /// Names the node by its path from the root, for random choices.
    key: u64,
    /// The columns on the path, where it matters which.
    features: Vec<usize>,
}

impl Way {
    /// That of the root of a tree.
    pub(crate) fn root(seed: u64) -> Self {
        Self { key: mix(seed), features: Vec::new() }
    }
}

/// A leaf in the queue, or what became of it.
pub(crate) struct Candidate<S> {
    pub(crate) at: usize,
    pub(crate) gain: f64,
    pub(crate) state: S,
}

impl<S> PartialEq for Candidate<S> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<S> Eq for Candidate<S> {}

impl<S> PartialOrd for Candidate<S> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<S> Ord for Candidate<S> {
    /// By gain; the older node first among equals.
    fn cmp(&self, other: &Self) -> Ordering {
        self.gain.total_cmp(&other.gain).then(other.at.cmp(&self.at))
    }
}

/// What may be split, and by what.
#[derive(Clone, Copy)]
pub(crate) struct Choice<'a> {
    pub(crate) splitter: Splitter<'a>,
    pub(crate) shape: &'a Shape,
    /// Chooses rows and features, where there is a choice.
    pub(crate) seed: u64,
}

impl Choice<'_> {
    pub(crate) fn may_split(&self, node: &Node, depth: usize) -> bool {
        node.rows >= 2 * self.splitter.rules.min_samples_leaf.max(1) as usize && depth < self.shape.max_depth
    }

    /// The rows that the tree is grown on; all where `None`. Whether a row is among them depends on its number alone.
    pub(crate) fn sample(&self, rows: usize) -> Option<Vec<u32>> {
        if self.shape.rows >= 1.0 {
            return None;
        }
        let most = (self.shape.rows * 2f64.powi(53)) as u64;
        Some((0..rows as u32).filter(|&r| bits(self.seed, 0x726f_7773, u64::from(r)) >> 11 < most).collect())
    }

    /// The features that a node may be split by; all where `None`.
    pub(crate) fn allowed(&self, way: &Way) -> Option<Vec<bool>> {
        // Columns are drawn, with all features that they have.
        let sources = &self.splitter.binned.sources;
        let count = sources.iter().max().map_or(0, |&last| last + 1);
        let shape = self.shape;
        if shape.features_per_split >= 1.0 && shape.features_per_tree >= 1.0 && shape.interactions == Interactions::Any
        {
            return None;
        }
        let mut columns = vec![true; count];
        let share = |share: f64, of: usize| ((share * of as f64).ceil() as usize).max(1);
        if shape.features_per_tree < 1.0 {
            let wanted = share(shape.features_per_tree, count);
            columns = draw(Stream::new(self.seed, 0x7472_6565), (0..count).collect(), wanted, count);
        }
        shape.interactions.limit(&way.features, &mut columns);
        if shape.features_per_split < 1.0 {
            let left: Vec<usize> = (0..count).filter(|&c| columns[c]).collect();
            let wanted = share(shape.features_per_split, left.len());
            columns = draw(Stream::new(way.key, 0x66), left, wanted, count);
        }
        Some(sources.iter().map(|&source| columns[source]).collect())
    }

    /// The way to a child.
    pub(crate) fn way(&self, from: &Way, side: u64, feature: usize) -> Way {
        let mut features = from.features.clone();
        let feature = self.splitter.binned.sources[feature];
        if self.shape.interactions != Interactions::Any && !features.contains(&feature) {
            features.push(feature);
        }
        Way { key: mix(from.key ^ side), features }
    }

    /// The bounds of children: monotonic features keep them on their side of the middle.
    pub(crate) fn bounds(&self, split: &Split, bounds: (f64, f64)) -> ((f64, f64), (f64, f64)) {
        let middle = (split.left_value + split.right_value) / 2.0;
        match self.splitter.rules.sign(self.splitter.binned.sources[split.branch.feature()]) {
            0 => (bounds, bounds),
            sign if sign > 0 => ((bounds.0, middle), (middle, bounds.1)),
            _ => ((middle, bounds.1), (bounds.0, middle)),
        }
    }
}

/// Some of the columns, each as likely as the other.
fn draw(mut stream: Stream, mut from: Vec<usize>, wanted: usize, count: usize) -> Vec<bool> {
    let mut drawn = vec![false; count];
    for i in 0..wanted.min(from.len()) {
        let j = i + stream.below((from.len() - i) as u64) as usize;
        from.swap(i, j);
        drawn[from[i]] = true;
    }
    drawn
}

/// The best of several tiles' splits: ties keep the lowest feature.
pub(crate) fn better(found: Vec<Option<Split>>) -> Option<Split> {
    found.into_iter().flatten().reduce(|a, b| if b.branch.is_before(&a.branch) { b } else { a })
}
