//! An ensemble as plain tables, for what writes it down in another form.

use alloc::vec::Vec;

use corten_core::Result;
use corten_kernels::trees::{CATEGORY, Forest, VECTOR};

use super::{ColumnRule, Inner, Precision, Trees};

/// What a code column makes of a feature.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum CodeRule<'a> {
    /// The number of thresholds below the value.
    Number {
        /// Ascending.
        thresholds: &'a [f64],
        /// Whether a missing value has code 0; it is above every threshold otherwise.
        missing_left: bool,
        /// Whether 0 is missing as NaN is.
        zero_missing: bool,
    },
    /// A code of `0..levels` cut to a whole number, then "unseen", then "missing".
    Category {
        /// Number of categories.
        levels: u32,
    },
}

/// A node over codes. Its right child follows the left one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CodeNode<'a> {
    /// Goes right when the code is above the threshold.
    Number {
        /// The code column.
        column: u16,
        /// The threshold's place.
        threshold: u16,
        /// The left child.
        left: u32,
    },
    /// Goes left when the code's bit is set.
    Category {
        /// The code column.
        column: u16,
        /// A bit a code, 32 a word.
        bits: &'a [u32],
        /// The left child.
        left: u32,
    },
    /// The place of a leaf in [`TreesTable::leaves`].
    Leaf(u32),
}

/// The tables of an ensemble. Every index in them was checked.
#[derive(Clone, Debug)]
pub struct TreesTable<'a> {
    /// Where each output's sum starts.
    pub base: &'a [f64],
    /// What each sum is divided by at the end; empty where sums stay as they are.
    pub divisors: &'a [f64],
    /// Feature and rule of each code column.
    pub columns: Vec<(u32, CodeRule<'a>)>,
    /// First node of each tree, and the end.
    pub roots: &'a [u32],
    /// The output of each tree; `None` where a leaf has a value for every output.
    pub targets: Vec<Option<u32>>,
    /// Values of leaves.
    pub leaves: &'a [f64],
    /// Of each leaf: constant and terms of its linear model, in the order in which they add up.
    pub models: Option<Vec<(f64, Vec<(u32, f64)>)>>,
    /// How inputs are compared.
    pub input: Precision,
    /// How leaves add up.
    pub sum: Precision,
    /// Inputs of at most this magnitude are 0.
    pub zero_threshold: f64,
    inner: &'a Inner,
}

impl<'a> TreesTable<'a> {
    /// A node.
    pub fn node(&self, at: u32) -> CodeNode<'a> {
        let parts = self.inner.forest.parts();
        let (node, payload) = (parts.node(at as usize), parts.payload[at as usize]);
        let column = node.column & !CATEGORY;
        if node.left == at {
            CodeNode::Leaf(payload)
        } else if let CodeRule::Category { levels } = self.columns[usize::from(column)].1 {
            let words = (levels as usize + 2).div_ceil(32);
            CodeNode::Category { column, bits: &parts.bits[payload as usize..][..words], left: node.left }
        } else {
            CodeNode::Number { column, threshold: node.threshold, left: node.left }
        }
    }
}

impl Trees {
    /// The ensemble's tables.
    pub fn table(&self) -> TreesTable<'_> {
        let inner = self.inner();
        let parts = inner.forest.parts();
        let columns = inner.columns.iter().enumerate().map(|(at, c)| {
            let number = |missing_left, zero_missing| CodeRule::Number {
                thresholds: inner.coder.thresholds(at),
                missing_left,
                zero_missing,
            };
            let rule = match c.rule {
                ColumnRule::MissingLeft => number(true, false),
                ColumnRule::MissingRight => number(false, false),
                ColumnRule::ZeroLeft => number(true, true),
                ColumnRule::ZeroRight => number(false, true),
                ColumnRule::Category => CodeRule::Category { levels: c.start },
            };
            (c.feature, rule)
        });
        let models = inner.linear.as_ref().map(|linear| {
            let mut start = 0;
            let leaves = linear.ends.iter().zip(&linear.constants);
            leaves
                .map(|(&end, &constant)| {
                    let terms = start..end as usize;
                    start = end as usize;
                    let weights = linear.weights[terms.clone()].iter().copied();
                    (constant, linear.features[terms].iter().copied().zip(weights).collect())
                })
                .collect()
        });
        TreesTable {
            base: &inner.base,
            divisors: &inner.divisors,
            columns: columns.collect(),
            roots: &parts.roots,
            targets: parts.targets.iter().map(|&t| (t != VECTOR).then_some(t)).collect(),
            leaves: &parts.leaves,
            models,
            input: inner.rules.input,
            sum: inner.rules.sum,
            zero_threshold: inner.rules.zero_threshold,
            inner,
        }
    }

    /// The same trees with other sums to start from and other values of leaves.
    ///
    /// # Errors
    /// [`corten_core::Error::Format`] when there are not as many.
    pub fn with_leaves(&self, base: Vec<f64>, leaves: Vec<f64>) -> Result<Self> {
        let inner = self.inner();
        let parts = inner.forest.parts();
        if base.len() != inner.base.len() || leaves.len() != parts.leaves.len() {
            return Err(super::bad("other leaves must be as many as there are"));
        }
        let mut parts = parts.clone();
        parts.leaves = leaves;
        Ok(Self::of(Inner {
            features: inner.features,
            rules: inner.rules,
            base,
            divisors: inner.divisors.clone(),
            columns: inner.columns.clone(),
            coder: inner.coder.clone(),
            forest: Forest::new(parts, &inner.coder).map_err(super::bad)?,
            linear: inner.linear.clone(),
            cover: inner.cover.clone(),
            #[cfg(feature = "std")]
            walked: core::sync::atomic::AtomicU32::new(0),
            #[cfg(feature = "std")]
            one_row: std::sync::OnceLock::new(),
            #[cfg(feature = "std")]
            planes: std::sync::OnceLock::new(),
            #[cfg(feature = "std")]
            sieve: std::sync::OnceLock::new(),
        }))
    }
}
