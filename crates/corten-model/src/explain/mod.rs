//! Why a model says what it says: exact Shapley values of its trees.
//!
//! What is explained is the sum of the trees: the score before it becomes a probability or is otherwise transformed, as
//! the `shap` package and LightGBM's `pred_contrib` do it. Features are the columns that the trees decide by; several
//! codes of one column are one feature.

mod features;

use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use corten_core::{Data, Error, Result};
use corten_kernels::shap::LANES;

use crate::graph::{Node, Slot};
use crate::model::{Model, plan};
use crate::ops::{GameScratch, Op, Trees, TreesGame};
use crate::run::{Bound, Run, Worker, bind};
use crate::threads;
use features::Features;

/// Rows of a block, and how many bytes of sums it may have.
const MOST_ROWS: usize = 512;
const LEAST_ROWS: usize = 64;
const MOST_BYTES: usize = 1 << 20;

/// Shapley values of some rows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Explanation {
    /// Number of rows, features and outputs.
    pub rows: usize,
    /// See `rows`.
    pub features: usize,
    /// See `rows`.
    pub outputs: usize,
    /// `rows * features * outputs` numbers; the output varies fastest. With the base values they sum to the scores.
    pub values: Vec<f64>,
    /// `rows * features * features * outputs` numbers if they were asked for; each row of features sums to its value.
    pub interactions: Option<Vec<f64>>,
    /// The mean score over the training rows, by output.
    pub base: Vec<f64>,
    /// The features' numbers, `rows * features`; NaN where a feature is text.
    pub data: Vec<f64>,
    /// Names of the features.
    pub names: Vec<String>,
    /// The model's own input that a feature is, if it is one.
    pub sources: Vec<Option<u32>>,
}

/// What one block fills in.
struct Part<'a> {
    rows: Range<usize>,
    values: &'a mut [f64],
    interactions: Option<&'a mut [f64]>,
    data: &'a mut [f64],
}

impl Model {
    /// The operator whose trees are explained.
    fn trees(&self) -> Result<(&Node, &Trees)> {
        let mut found =
            self.graph.nodes.iter().filter_map(|n| if let Op::Trees(t) = &n.op { Some((n, t)) } else { None });
        match (found.next(), found.count()) {
            (Some(one), 0) => Ok(one),
            (None, _) => Err(Error::Unsupported("This model has no trees, and only trees can be explained.".into())),
            (_, more) => Err(Error::Unsupported(format!(
                "This model has {} ensembles of trees; explain them one by one.",
                more + 1
            ))),
        }
    }

    /// Whether [`Model::explain`] can explain this model.
    ///
    /// # Errors
    /// [`Error::Unsupported`] saying why not.
    pub fn explainable(&self) -> Result<()> {
        let (node, trees) = self.trees()?;
        trees.game(&vec![0; node.inputs.len()], 1).map(drop)
    }

    /// Exact path-dependent TreeSHAP values of each row, and interactions if asked for. The same bits for any number of
    /// threads and any way of cutting a table.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a model without trees, with several ensembles or linear leaves, or whose trees don't
    /// know how many rows reached their nodes; [`Error::Limit`] where the answer has no room in memory; and what
    /// [`Model::run`] gives for data.
    pub fn explain(&self, data: &Data<'_>, interactions: bool, options: &Run) -> Result<Explanation> {
        let (node, trees) = self.trees()?;
        let found = Features::of(&self.graph, &node.inputs);
        let features = found.slots.len();
        let game = trees.game(&found.of_input, features)?;
        let bound = bind(&self.graph.schema, data)?;
        let (rows, outputs) = (data.rows(), game.outputs());
        let wanted: Vec<Slot> = node.inputs.iter().chain(&found.slots).copied().collect();
        let task =
            Task { model: self, node, game: &game, features: &found, plan: plan(&self.graph, &wanted), bound: &bound };
        let mut out = Explanation {
            rows,
            features,
            outputs,
            values: room(&[rows, features, outputs])?,
            interactions: if interactions { Some(room(&[rows, features, features, outputs])?) } else { None },
            base: game.base()?,
            data: room(&[rows, features])?,
            names: Vec::new(),
            sources: Vec::new(),
        };
        let block = block(rows, features, outputs, interactions, options.threads);
        // A model may read no columns, and then have no numbers to cut.
        let cut = |width: usize| (block * width).max(1);
        let mut values = out.values.chunks_mut(cut(features * outputs));
        let mut squares = out.interactions.as_mut().map(|all| all.chunks_mut(cut(features * features * outputs)));
        let mut columns = out.data.chunks_mut(cut(features));
        let parts: Vec<Part<'_>> = (0..rows.div_ceil(block))
            .map(|i| Part {
                rows: i * block..((i + 1) * block).min(rows),
                values: values.next().unwrap_or_default(),
                interactions: squares.as_mut().map(|s| s.next().unwrap_or_default()),
                data: columns.next().unwrap_or_default(),
            })
            .collect();
        threads::each(options.threads, parts, |part| {
            options.cancel.check()?;
            task.run(part, block.next_multiple_of(LANES))
        })?;
        (out.names, out.sources) = (found.names, found.sources);
        Ok(out)
    }
}

/// Rows of a block: some blocks a thread, and sums that stay in the cache.
fn block(rows: usize, features: usize, outputs: usize, interactions: bool, threads: usize) -> usize {
    let sums = if interactions { features * (features + 1) / 2 } else { features };
    let fits = (MOST_BYTES / (8 * sums * outputs).max(1)).clamp(LANES, MOST_ROWS);
    let shared = rows.div_ceil(4 * threads.max(1)).max(LEAST_ROWS);
    fits.min(shared).min(rows.max(1)).next_multiple_of(LANES)
}

/// Zeros of a shape.
fn room(shape: &[usize]) -> Result<Vec<f64>> {
    let too_large = || Error::Limit(format!("An explanation of {shape:?} numbers has no room in memory."));
    let count = shape.iter().try_fold(1usize, |a, &b| a.checked_mul(b)).ok_or_else(too_large)?;
    let mut out = Vec::new();
    out.try_reserve_exact(count).map_err(|_| too_large())?;
    out.resize(count, 0.0);
    Ok(out)
}

/// What all blocks share.
struct Task<'t, 'd> {
    model: &'t Model,
    node: &'t Node,
    game: &'t TreesGame<'t>,
    features: &'t Features,
    plan: Vec<u32>,
    bound: &'t Bound<'t, 'd>,
}

impl Task<'_, '_> {
    fn run(&self, part: Part<'_>, stride: usize) -> Result<()> {
        let (features, outputs, rows) = (self.features.slots.len(), self.game.outputs(), part.rows.len());
        let mut worker = Worker::new(self.model, stride);
        let mut scratch = GameScratch::default();
        let mut sums = vec![0.0; outputs * features * stride];
        let count = features * features.saturating_sub(1) / 2;
        let mut pairs = part.interactions.as_ref().map(|_| vec![0.0; outputs * count * stride]);
        worker.run(self.bound, part.rows, &self.plan, |flow| {
            let column = |slot: Slot| match slot {
                Slot::Number(at) => &flow.numbers[at as usize * stride..][..stride],
                Slot::Text(_) => &[],
            };
            let input = |i: usize| column(self.node.inputs[i]);
            self.game.explain(stride, input, &mut scratch, &mut sums, pairs.as_deref_mut())?;
            for (f, &slot) in self.features.slots.iter().enumerate() {
                let to = part.data.iter_mut().skip(f).step_by(features.max(1));
                match slot {
                    Slot::Number(_) => to.zip(&column(slot)[..rows]).for_each(|(to, x)| *to = *x),
                    Slot::Text(_) => to.for_each(|to| *to = f64::NAN),
                }
            }
            Ok(())
        })??;
        for (at, sum) in sums.chunks_exact(stride).enumerate() {
            let (output, feature) = (at / features, at % features);
            let to = part.values.iter_mut().skip(feature * outputs + output).step_by(features * outputs);
            to.zip(&sum[..rows]).for_each(|(to, x)| *to = *x);
        }
        if let (Some(pairs), Some(squares)) = (pairs, part.interactions) {
            self.fill(&pairs, part.values, squares, stride);
        }
        Ok(())
    }

    /// Puts pairs on both sides of the diagonal, and what is left of each value onto it.
    fn fill(&self, pairs: &[f64], values: &[f64], squares: &mut [f64], stride: usize) {
        let (features, outputs) = (self.features.slots.len(), self.game.outputs());
        let count = features * features.saturating_sub(1) / 2;
        let width = features * outputs;
        for (row, (square, values)) in
            squares.chunks_exact_mut(features * width).zip(values.chunks_exact(width)).enumerate()
        {
            for output in 0..outputs {
                for i in 0..features {
                    let mut left = values[i * outputs + output];
                    for j in (0..features).filter(|&j| j != i) {
                        let (low, high) = (i.min(j), i.max(j));
                        let both = pairs[(output * count + high * (high - 1) / 2 + low) * stride + row];
                        square[i * width + j * outputs + output] = both;
                        left -= both;
                    }
                    square[i * width + i * outputs + output] = left;
                }
            }
        }
    }
}
