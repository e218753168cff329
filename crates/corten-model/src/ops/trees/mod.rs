//! Ensembles of trees.
//!
//! Raw values are compared once with the ensemble's own sorted thresholds and become small codes; trees are walked on
//! codes. `x <= t[j]` is exactly `code(x) <= j` with `code(x)` the number of thresholds below `x`, so every layout of
//! the nodes is exact (the idea of RapidScorer, KDD 2018). A code belongs to a *code column*: one feature with one rule
//! for missing values and at most 65,534 thresholds. Leaves add up in `f64` (or the source's `f32`) in the order of the
//! trees.

mod build;
mod code;
mod cover;
mod game;
mod lazy;
mod linear;
mod restore;
mod score;
mod share;
mod source;
mod spec;
mod table;

use alloc::format;
use alloc::sync::Arc;
use alloc::vec::Vec;

use corten_core::{Error, Result};
use corten_kernels::aligned::Aligned;
use corten_kernels::trees::{Coder, Column, Forest, Node, Parts, Reads, VECTOR};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use cover::Cover;
pub(crate) use game::{GameScratch, TreesGame};
pub use lazy::Grown;
use lazy::Lazy;
use linear::LinearLeaves;
pub use source::TreeSource;
pub use spec::{LeafModel, Tree, TreeNode, TreesSpec};
pub use table::{CodeNode, CodeRule, TreesTable};

use super::{Flow, Operator, Shape, damaged, numbers_only};
use crate::file::{SOME, TensorReader, TensorWriter};
use crate::graph::Slot;

/// Bytes of an ensemble that should rarely be read: most of them come from beyond the second-level cache.
const HEAVY: usize = 1 << 21;

/// The type in which a model compares its inputs, or adds its leaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// As they come.
    #[default]
    F64,
    /// Rounded to `f32`: inputs before they are compared, sums after each tree.
    F32,
}

/// What a code column reads and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct CodeColumn {
    /// Which input.
    feature: u32,
    rule: ColumnRule,
    /// First threshold, or for categories the number of levels.
    start: u32,
    /// End of the thresholds.
    end: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum ColumnRule {
    /// NaN goes left.
    MissingLeft,
    /// NaN goes right.
    MissingRight,
    /// NaN and zero go left.
    ZeroLeft,
    /// NaN and zero go right.
    ZeroRight,
    /// Codes of categories `0..levels`, then "unseen", then "missing".
    Category,
}

impl ColumnRule {
    fn number(missing_left: bool, zero_missing: bool) -> Self {
        match (zero_missing, missing_left) {
            (false, true) => Self::MissingLeft,
            (false, false) => Self::MissingRight,
            (true, true) => Self::ZeroLeft,
            (true, false) => Self::ZeroRight,
        }
    }
}

impl CodeColumn {
    fn lowered(self) -> Column {
        let number = |missing_right, zero_missing| Reads::Number { missing_right, zero_missing };
        let reads = match self.rule {
            ColumnRule::MissingLeft => number(false, false),
            ColumnRule::MissingRight => number(true, false),
            ColumnRule::ZeroLeft => number(false, true),
            ColumnRule::ZeroRight => number(true, true),
            ColumnRule::Category => Reads::Category { levels: self.start },
        };
        Column { feature: self.feature, reads, start: self.start, end: self.end }
    }
}

/// How the numbers of an ensemble are meant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Rules {
    /// Whether each sum is divided by the number of trees that add to it at the end.
    average: bool,
    /// How inputs are compared.
    #[serde(default, skip_serializing_if = "is_default")]
    input: Precision,
    /// How leaves add up.
    #[serde(default, skip_serializing_if = "is_default")]
    sum: Precision,
    /// Inputs of at most this magnitude are 0.
    #[serde(default, skip_serializing_if = "is_default")]
    zero_threshold: f64,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// An ensemble of trees: `n` numbers in, `outputs` numbers out. Clones share their memory.
#[derive(Clone, Debug)]
pub struct Trees {
    features: u32,
    outputs: u32,
    inner: Arc<Lazy>,
}

#[derive(Debug)]
struct Inner {
    features: u32,
    rules: Rules,
    base: Vec<f64>,
    /// What each output's sum is divided by; none where sums stay as they are.
    divisors: Vec<f64>,
    columns: Vec<CodeColumn>,
    coder: Coder,
    forest: Forest,
    linear: Option<LinearLeaves>,
    cover: Cover,
    /// Rows that were walked so far, about.
    #[cfg(feature = "std")]
    walked: core::sync::atomic::AtomicU32,
    #[cfg(feature = "std")]
    one_row: std::sync::OnceLock<Option<corten_kernels::trees::OneRow>>,
    #[cfg(feature = "std")]
    planes: std::sync::OnceLock<Option<corten_kernels::trees::Planes>>,
    /// For blocks of rows, where `one_row` is none.
    #[cfg(feature = "std")]
    sieve: std::sync::OnceLock<Option<corten_kernels::trees::Sieve>>,
}

fn bad(what: &str) -> Error {
    Error::format(format!("operator 'trees': {what}"))
}

impl Trees {
    fn of(inner: Inner) -> Self {
        Self { features: inner.features, outputs: inner.base.len() as u32, inner: Arc::new(Lazy::of(inner)) }
    }

    fn inner(&self) -> &Inner {
        self.inner.get()
    }

    /// Number of trees.
    pub fn len(&self) -> usize {
        self.inner().forest.trees()
    }

    /// Whether there are no trees.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The coder of an ensemble's columns.
fn coder(features: u32, rules: &Rules, columns: &[CodeColumn], thresholds: &[f64]) -> Result<Coder> {
    let lowered: Vec<Column> = columns.iter().map(|c| c.lowered()).collect();
    let narrow = rules.input == Precision::F32;
    Coder::new(features as usize, &lowered, thresholds, narrow, rules.zero_threshold).map_err(bad)
}

/// Nodes whose parts lie in lists of their own.
fn read_nodes(tensors: &TensorReader<'_>) -> Result<Aligned<u64>> {
    let (mut left, mut column) = (tensors.each::<u32>("left")?, tensors.each::<u16>("column")?);
    let mut threshold = tensors.each::<u16>("threshold")?;
    if left.len() != column.len() || left.len() != threshold.len() {
        return Err(bad("the parts of its nodes differ in length"));
    }
    let (mut lefts, mut columns, mut thresholds) = ([0; SOME], [0; SOME], [0; SOME]);
    Aligned::piece_by_piece(left.len(), SOME, |words: &mut [u64]| {
        let count = words.len();
        left.read(&mut lefts[..count])?;
        column.read(&mut columns[..count])?;
        threshold.read(&mut thresholds[..count])?;
        let fields = lefts.iter().zip(columns.iter().zip(&thresholds));
        for (word, (&left, (&column, &threshold))) in words.iter_mut().zip(fields) {
            *word = Parts::word(Node { left, column, threshold });
        }
        Ok(())
    })
}

impl Inner {
    /// Checks everything, so that scoring needs no checks.
    fn checked(
        features: u32,
        rules: Rules,
        base: Vec<f64>,
        columns: Vec<CodeColumn>,
        coder: Coder,
        parts: Parts,
        linear: Option<LinearLeaves>,
        cover: Cover,
    ) -> Result<Self> {
        if base.len() != parts.outputs as usize {
            return Err(bad("as many base scores as outputs are needed"));
        }
        if rules.zero_threshold.is_nan() || rules.zero_threshold < 0.0 {
            return Err(bad("zero_threshold must be a number that is not negative"));
        }
        cover.check(parts.nodes.len())?;
        if let Some(linear) = &linear {
            linear.check(features, &parts)?;
        }
        let adds = |k: usize| parts.targets.iter().filter(|&&t| t == VECTOR || t as usize == k).count();
        let average = rules.average && !parts.targets.is_empty();
        let divisors = (0..base.len()).filter(|_| average).map(|k| adds(k).max(1) as f64).collect();
        let forest = Forest::new(parts, &coder).map_err(bad)?;
        Ok(Self {
            features,
            rules,
            base,
            divisors,
            columns,
            coder,
            forest,
            linear,
            cover,
            #[cfg(feature = "std")]
            walked: core::sync::atomic::AtomicU32::new(0),
            #[cfg(feature = "std")]
            one_row: std::sync::OnceLock::new(),
            #[cfg(feature = "std")]
            planes: std::sync::OnceLock::new(),
            #[cfg(feature = "std")]
            sieve: std::sync::OnceLock::new(),
        })
    }
}

impl Operator for Trees {
    fn check(&self, inputs: &[Slot]) -> Result<Shape> {
        numbers_only("trees", inputs, Some(self.features as usize))?;
        Ok(Shape::numbers(self.outputs as usize))
    }

    fn write(&self, tensors: &mut TensorWriter) -> Value {
        let Inner { features, rules, base, columns, coder, forest, linear, cover, .. } = self.inner();
        let parts = forest.parts();
        let mut thresholds = Vec::new();
        for (at, column) in columns.iter().enumerate().filter(|(_, c)| c.rule != ColumnRule::Category) {
            thresholds.resize(thresholds.len().max(column.end as usize), 0.0);
            thresholds[column.start as usize..column.end as usize].copy_from_slice(coder.thresholds(at));
        }
        let nodes: Vec<Node> = (0..parts.nodes.len()).map(|at| forest.node(at)).collect();
        tensors.f64("base", base);
        tensors.f64("thresholds", &thresholds);
        tensors.f64("leaves", &parts.leaves);
        tensors.u32("bits", &parts.bits);
        tensors.u32("roots", &parts.roots);
        tensors.u32("payload", &parts.payload);
        tensors.u32("targets", &parts.targets);
        tensors.u32("left", &nodes.iter().map(|n| n.left).collect::<Vec<_>>());
        tensors.u16("column", &nodes.iter().map(|n| n.column).collect::<Vec<_>>());
        tensors.u16("threshold", &nodes.iter().map(|n| n.threshold).collect::<Vec<_>>());
        cover.write(tensors);
        if let Some(linear) = linear {
            linear.write(tensors);
        }
        let mut with = json!({ "features": features, "outputs": parts.outputs, "columns": columns });
        if let (Value::Object(with), Ok(Value::Object(rules))) = (&mut with, serde_json::to_value(rules)) {
            with.extend(rules);
        }
        with
    }

    fn read(value: &Value, tensors: &TensorReader<'_>) -> Result<Self> {
        #[derive(Deserialize)]
        struct Described {
            features: u32,
            outputs: u32,
            columns: Vec<CodeColumn>,
            #[serde(flatten)]
            rules: Rules,
        }
        let d = Described::deserialize(value).map_err(|e| damaged("trees", &e))?;
        // The coder keeps the thresholds in its own order, so these go before the nodes come.
        let coder = coder(d.features, &d.rules, &d.columns, &tensors.f64("thresholds")?)?;
        let parts = Parts {
            outputs: d.outputs,
            roots: tensors.u32("roots")?,
            nodes: read_nodes(tensors)?,
            payload: tensors.u32("payload")?,
            bits: tensors.u32("bits")?,
            leaves: tensors.f64("leaves")?,
            targets: tensors.u32("targets")?,
            narrow: d.rules.sum == Precision::F32,
        };
        let linear = LinearLeaves::read(tensors)?;
        let cover = Cover::read(tensors)?;
        let base = tensors.f64("base")?;
        Inner::checked(d.features, d.rules, base, d.columns, coder, parts, linear, cover).map(Self::of)
    }

    fn run<'d>(&'d self, flow: &mut Flow<'_, 'd>, inputs: &[Slot], first: u32) -> Result<()> {
        self.score(flow, inputs, first);
        Ok(())
    }

    fn make_ready(&self, rows: usize) {
        self.inner.expect(rows);
    }

    fn wants_long_blocks(&self) -> bool {
        if self.inner.grown().is_some() {
            // Each tree comes from far away.
            return true;
        }
        let (inner, parts) = (self.inner(), self.inner().forest.parts());
        let bytes = size_of_val(&*parts.nodes) + size_of_val(&*parts.payload) + size_of_val(&*parts.leaves);
        // Lines are put together anew for each block.
        bytes > HEAVY || inner.has_sieve()
    }
}
