//! The thresholds of an ensemble in order: what its columns are coded by, and the code that each node compares with.
//!
//! Each feature's thresholds are sorted once, together with the nodes that they belong to, so a node's rank falls out of
//! the sort.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;
use core::sync::atomic::{AtomicU32, Ordering};

use corten_core::{Error, Result};
use corten_kernels::sort;
use corten_kernels::trees::{CATEGORY, MAX_THRESHOLDS};

use super::build::take;
use super::source::{Shape, TreeSource, again, look};
use super::spec::{TreeNode, TreesSpec};
use super::{CodeColumn, ColumnRule, bad};
use crate::threads::each;

/// Parts of the trees that are read side by side.
const PARTS: usize = 16;

/// A number node in terms of `<=`: feature, threshold, rule, and whether its children change places.
pub(super) fn compared(node: &TreeNode, strict: bool) -> Option<(u32, f64, ColumnRule, bool)> {
    let &TreeNode::Number { feature, threshold, missing_left, zero_missing, .. } = node else { return None };
    if !strict {
        return Some((feature, threshold, ColumnRule::number(missing_left, zero_missing), false));
    }
    if threshold == f64::NEG_INFINITY {
        // Nothing is below it: all go right, as all are at most infinity and go left.
        return Some((feature, f64::INFINITY, ColumnRule::number(!missing_left, zero_missing), true));
    }
    Some((feature, threshold.next_down(), ColumnRule::number(missing_left, zero_missing), false))
}

/// The code columns of an ensemble, and what its nodes compare with.
pub(super) struct Coded {
    pub(super) columns: Vec<CodeColumn>,
    pub(super) thresholds: Vec<f64>,
    /// First column of each feature's numbers, number of rules and which they are.
    numbers: Vec<(u32, Vec<ColumnRule>)>,
    /// Column and levels of each feature's categories.
    pub(super) categories: Vec<Option<(u32, u32)>>,
    /// Rank of the threshold of each number node of each tree.
    ranks: Vec<Vec<AtomicU32>>,
}

/// What a part of the trees reads of each feature.
struct Read {
    /// What each tree is.
    shapes: Vec<Shape>,
    /// Nodes that compare with a threshold.
    counts: Vec<usize>,
    /// A bit for each rule.
    rules: Vec<u8>,
    /// Levels of categories.
    levels: Vec<Option<u32>>,
}

impl Read {
    fn of(spec: &TreesSpec, source: &dyn TreeSource, trees: Range<usize>) -> Result<Self> {
        let features = spec.features as usize;
        let (mut counts, mut rules, mut levels) = (vec![0; features], vec![0; features], vec![None; features]);
        let mut shapes = Vec::with_capacity(trees.len());
        for at in trees {
            let (tree, shape) = look(source, at)?;
            shapes.push(shape);
            for node in &tree.nodes {
                match node {
                    TreeNode::Category { feature, levels: some, .. } => {
                        if *some as usize > MAX_THRESHOLDS - 2 {
                            return Err(bad(&format!(
                                "{some} categories; at most {} are possible",
                                MAX_THRESHOLDS - 2
                            )));
                        }
                        let known = levels.get_mut(*feature as usize).ok_or_else(no_feature)?;
                        agree(known, *some)?;
                    }
                    TreeNode::Leaf { .. } => {}
                    TreeNode::Number { .. } => {
                        if let Some((feature, threshold, rule, _)) = compared(node, spec.strict) {
                            if threshold.is_nan() {
                                return Err(bad("a threshold is NaN"));
                            }
                            *counts.get_mut(feature as usize).ok_or_else(no_feature)? += 1;
                            rules[feature as usize] |= 1 << rule as u8;
                        }
                    }
                }
            }
        }
        Ok(Self { shapes, counts, rules, levels })
    }
}

fn no_feature() -> Error {
    bad("a node reads a feature that isn't there")
}

/// Notes how many levels a feature has.
fn agree(known: &mut Option<u32>, levels: u32) -> Result<()> {
    if known.is_some_and(|k| k != levels) {
        return Err(bad("two nodes of a feature disagree on its categories"));
    }
    *known = Some(levels);
    Ok(())
}

/// A threshold as an integer of the same order, its tree and its node.
type Threshold = (u64, u32, u32);

/// Looks at all trees and sorts their thresholds.
///
/// # Errors
/// [`Error::Format`] for trees that are none, or don't fit each other.
pub(super) fn code(spec: &TreesSpec, source: &dyn TreeSource, threads: usize) -> Result<(Coded, Vec<Shape>)> {
    let (features, count) = (spec.features as usize, source.count());
    // A part counts for every feature, of which there may be many more than nodes: few parts.
    let size = if threads > 1 { count.div_ceil(PARTS).max(1) } else { count.max(1) };
    let parts: Vec<Range<usize>> = (0..count).step_by(size).map(|at| at..count.min(at + size)).collect();
    let read = each(threads, parts.clone(), |trees| Read::of(spec, source, trees))?;
    let shapes: Vec<Shape> = read.iter().flat_map(|part| &part.shapes).copied().collect();
    let mut rules = vec![0u8; features];
    let mut categories: Vec<Option<(u32, u32)>> = vec![None; features];
    for part in &read {
        rules.iter_mut().zip(&part.rules).for_each(|(all, one)| *all |= one);
        for (known, &levels) in categories.iter_mut().zip(&part.levels) {
            if let Some(levels) = levels {
                let mut agreed = known.map(|k| k.1);
                agree(&mut agreed, levels)?;
                *known = agreed.map(|levels| (0, levels));
            }
        }
    }
    let total = read.iter().flat_map(|part| &part.counts).sum();
    let mut pairs: Vec<Threshold> = vec![(0, 0, 0); total];
    // Those of a feature lie together, and in them those of a part.
    let (mut rest, mut places) = (&mut pairs[..], Vec::new());
    places.resize_with(parts.len(), || Vec::with_capacity(features));
    for feature in 0..features {
        for (places, part) in places.iter_mut().zip(&read) {
            places.push(take(&mut rest, part.counts[feature]));
        }
    }
    each(threads, parts.into_iter().zip(places).collect(), |(trees, mut places)| {
        for at in trees {
            let tree = again(source, at, shapes[at])?;
            for (node, of) in tree.nodes.iter().enumerate() {
                if let Some((feature, threshold, ..)) = compared(of, spec.strict) {
                    // Adding 0 turns -0 into 0, which compares the same and sorts once.
                    let one = (sort::ordered(threshold + 0.0), at as u32, node as u32);
                    take(&mut places[feature as usize], 1)[0] = one;
                }
            }
        }
        Ok(())
    })?;
    let (mut rest, mut slices) = (&mut pairs[..], Vec::with_capacity(features));
    for feature in 0..features {
        slices.push(take(&mut rest, read.iter().map(|part| part.counts[feature]).sum()));
    }
    let ranks: Vec<Vec<AtomicU32>> = shapes.iter().map(|t| (0..t.nodes).map(|_| AtomicU32::new(0)).collect()).collect();
    let values = each(threads, slices, |pairs: &mut [Threshold]| {
        pairs.sort_unstable_by_key(|p| p.0);
        let mut values = Vec::new();
        let mut last = None;
        for &(key, tree, node) in &*pairs {
            if last != Some(key) {
                values.push(sort::unordered(key));
                last = Some(key);
            }
            ranks[tree as usize][node as usize].store(values.len() as u32 - 1, Ordering::Relaxed);
        }
        Ok(values)
    })?;
    let (mut columns, mut thresholds, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
    for (feature, values) in values.iter().enumerate() {
        let all = [ColumnRule::MissingLeft, ColumnRule::MissingRight, ColumnRule::ZeroLeft, ColumnRule::ZeroRight];
        let used: Vec<ColumnRule> = all.into_iter().filter(|&r| rules[feature] >> r as u8 & 1 == 1).collect();
        numbers.push((columns.len() as u32, used.clone()));
        for chunk in values.chunks(MAX_THRESHOLDS) {
            let start = u32::try_from(thresholds.len()).map_err(|_| bad("too many thresholds"))?;
            let end = start.checked_add(chunk.len() as u32).ok_or_else(|| bad("too many thresholds"))?;
            thresholds.extend_from_slice(chunk);
            columns.extend(used.iter().map(|&rule| CodeColumn { feature: feature as u32, rule, start, end }));
        }
        if let Some((column, levels)) = &mut categories[feature] {
            *column = columns.len() as u32;
            let (rule, start) = (ColumnRule::Category, *levels);
            columns.push(CodeColumn { feature: feature as u32, rule, start, end: start });
        }
        if columns.len() >= CATEGORY as usize {
            return Err(bad("too many code columns"));
        }
    }
    Ok((Coded { columns, thresholds, numbers, categories, ranks }, shapes))
}

impl Coded {
    /// Column and threshold of a number node.
    pub(super) fn compare(&self, feature: u32, rule: ColumnRule, tree: usize, node: u32) -> (u16, u16) {
        let rank = self.ranks[tree][node as usize].load(Ordering::Relaxed) as usize;
        let (first, rules) = &self.numbers[feature as usize];
        let rule = rules.iter().position(|r| *r == rule).unwrap_or(0);
        let column = *first as usize + rank / MAX_THRESHOLDS * rules.len() + rule;
        (column as u16, (rank % MAX_THRESHOLDS) as u16)
    }
}
