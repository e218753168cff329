//! Running a table: blocks of rows, spread over threads.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use core::ops::Range;

use corten_core::{CancelToken, Column, Csr, Data, Error, Kind, Result, Table, Values};
use corten_kernels::transpose;

use crate::graph::{Method, Output, Slot};
use crate::model::Model;
use crate::ops::{Flow, Op, Scratch};
use crate::schema::Schema;
use crate::threads;

/// Most rows of a block.
const BLOCK: usize = 1024;
/// Bytes of columns that a block may take: it should stay in the second-level cache.
const BLOCK_BYTES: usize = 1 << 20;
/// The same where an operator takes a while before the first row of each block.
const LONG_BLOCK: usize = 1 << 14;
const LONG_BLOCK_BYTES: usize = 1 << 23;
/// Rows of a long block that threads cut to share them better.
const SHARE: usize = 1 << 12;
/// Tasks that a table is cut into for each thread, and most blocks of one.
const TASKS: usize = 16;
const BLOCKS_A_TASK: usize = 16;
/// Rows that long blocks are a multiple of: operators take as many at a time.
const WHOLE: usize = 64;

/// How a table is run.
#[derive(Clone, Debug)]
pub struct Run {
    /// Threads that share the blocks.
    pub threads: usize,
    /// Looked at between blocks.
    pub cancel: CancelToken,
}

impl Default for Run {
    fn default() -> Self {
        Self { threads: 1, cancel: CancelToken::new() }
    }
}

/// The answer to a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Number of rows.
    pub rows: usize,
    /// Number columns of the answer.
    pub width: usize,
    /// Their values, row after row: `rows * width`.
    pub numbers: Vec<f64>,
    /// One list a text column.
    pub texts: Vec<Vec<Option<String>>>,
}

/// The inputs of a model found in some data.
pub(crate) enum Bound<'b, 'a> {
    /// One column an input, in the order of the schema.
    Columns(Vec<&'b Column<'a>>),
    /// A sparse matrix, filled in block by block.
    Csr(&'b Csr<'a>),
}

pub(crate) fn bind<'b, 'a>(schema: &Schema, data: &'b Data<'a>) -> Result<Bound<'b, 'a>> {
    let wrong_width = |given: usize| {
        Error::value(format!(
            "X has {given} features, but this model is expecting {} features as input",
            schema.inputs.len()
        ))
    };
    match data {
        Data::Csr(matrix) => {
            if matrix.columns() != schema.inputs.len() {
                return Err(wrong_width(matrix.columns()));
            }
            if let Some(text) = schema.inputs.iter().find(|i| i.kind == Kind::Text) {
                return Err(Error::column(&text.name, "holds text; a sparse matrix holds numbers only"));
            }
            Ok(Bound::Csr(matrix))
        }
        Data::Table(table) => {
            let columns: Vec<&Column<'a>> = if schema.named && table.is_named() {
                by_name(schema, table)?
            } else if table.width() == schema.inputs.len() {
                table.columns().iter().collect()
            } else {
                return Err(wrong_width(table.width()));
            };
            for (input, column) in schema.inputs.iter().zip(&columns) {
                match (input.kind, column.kind()) {
                    (Kind::Number, Some(Kind::Text)) => {
                        return Err(Error::column(&input.name, "holds text where the model reads numbers"));
                    }
                    (Kind::Text, Some(Kind::Number)) if !all_missing(column) => {
                        return Err(Error::column(
                            &input.name,
                            format!("holds {} where the model reads text", column.type_name()),
                        ));
                    }
                    (_, None) => {
                        return Err(Error::column(
                            &input.name,
                            format!("has type {}; numbers, booleans and text can be used", column.type_name()),
                        ));
                    }
                    _ => {}
                }
            }
            Ok(Bound::Columns(columns))
        }
    }
}

/// The columns by their names: in one pass where they come in the order of the schema.
fn by_name<'b, 'a>(schema: &Schema, table: &'b Table<'a>) -> Result<Vec<&'b Column<'a>>> {
    let columns = table.columns();
    let mut sorted: Vec<&Column<'a>> = columns.iter().collect();
    sorted.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    schema
        .inputs
        .iter()
        .enumerate()
        .map(|(i, input)| match columns.get(i) {
            Some(column) if column.name == input.name => Ok(column),
            _ => match sorted.binary_search_by(|c| c.name.as_str().cmp(&input.name)) {
                Ok(at) => Ok(sorted[at]),
                Err(_) => table.column(&input.name),
            },
        })
        .collect()
}

/// A column of nothing but missing values has no type of its own in many frames.
fn all_missing(column: &Column<'_>) -> bool {
    column.to_f64().is_ok_and(|v| v.iter().all(|x| x.is_nan()))
}

impl Model {
    /// Rows of a block: as many as keep its columns in the cache.
    pub(crate) fn block_rows(&self) -> usize {
        self.rows_within(BLOCK_BYTES, BLOCK)
    }

    fn rows_within(&self, bytes: usize, most: usize) -> usize {
        let row = 8 * self.graph.numbers + size_of::<Option<&[u8]>>() * self.graph.texts;
        (bytes / row.max(1)).clamp(1, most)
    }

    /// Rows of each block of a table: no more than there are, and enough blocks for all threads.
    fn cut(&self, plan: &[u32], rows: usize, threads: usize) -> usize {
        let short = self.block_rows();
        let ops = || plan.iter().map(|&at| &self.graph.nodes[at as usize].op);
        // Here, before threads of a pool wait for one another.
        ops().for_each(|op| op.make_ready(rows));
        let block = if ops().any(Op::wants_long_blocks) {
            // As many blocks as make all threads end at the same time, also where one of them is kept from its core for a while.
            let most = self.rows_within(LONG_BLOCK_BYTES, LONG_BLOCK);
            let shares = if threads > 1 { (rows / SHARE).min(2 * threads) } else { 1 };
            let blocks = rows.div_ceil(most).max(shares).max(1).next_multiple_of(threads.max(1));
            rows.div_ceil(blocks).next_multiple_of(WHOLE).clamp(short, most.max(short))
        } else {
            short
        };
        block.min(rows.max(1))
    }

    /// Runs a method on a table. The same bits for any number of threads and any way of cutting a table.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a method that the model doesn't have; [`Error::MissingColumn`], [`Error::Column`]
    /// and [`Error::Value`] for data that don't fit; [`Error::Cancelled`].
    pub fn run(&self, method: Method, data: &Data<'_>, options: &Run) -> Result<Batch> {
        Ok(self.run_all(&[method], data, options)?.swap_remove(0))
    }

    /// Runs several methods on a table at once, one answer each: what they share runs once.
    ///
    /// # Errors
    /// As [`Model::run`].
    pub fn run_all(&self, methods: &[Method], data: &Data<'_>, options: &Run) -> Result<Vec<Batch>> {
        let answers = methods.iter().map(|&m| self.answer(m)).collect::<Result<Vec<_>>>()?;
        let outputs: Vec<&Output> = answers.iter().map(|a| a.0).collect();
        let plan: Cow<'_, [u32]> = match answers.as_slice() {
            [(_, plan)] => Cow::Borrowed(plan),
            _ => {
                let mut all: Vec<u32> = answers.iter().flat_map(|a| a.1).copied().collect();
                all.sort_unstable();
                all.dedup();
                Cow::Owned(all)
            }
        };
        let bound = bind(&self.graph.schema, data)?;
        let rows = data.rows();
        let block = self.cut(&plan, rows, options.threads);
        let blocks: Vec<Range<usize>> =
            (0..rows.div_ceil(block)).map(|i| i * block..((i + 1) * block).min(rows)).collect();
        let empty = |rows: usize| -> Vec<Batch> {
            let each = |output: &&Output| {
                let width = output.columns.iter().filter(|s| matches!(s, Slot::Number(_))).count();
                let texts = vec![Vec::new(); output.columns.len() - width];
                Batch { rows: 0, width, numbers: Vec::with_capacity(rows * width), texts }
            };
            outputs.iter().map(each).collect()
        };
        // Several tasks a thread, each of which borrows its scratch once: whoever comes late, or is kept from its core, has few of
        // them. And never so long ones that whoever is asked to stop doesn't soon.
        let tasks = options.threads.max(1) * TASKS;
        let per_task = blocks.len().div_ceil(tasks).clamp(1, BLOCKS_A_TASK);
        let groups: Vec<&[Range<usize>]> = blocks.chunks(per_task).collect();
        let mut parts = threads::each(options.threads, groups, |group| {
            let mut worker = Worker::new(self, block);
            let mut part = empty(group.iter().map(Range::len).sum());
            for range in group.iter() {
                options.cancel.check()?;
                worker.run(&bound, range.clone(), &plan, |flow| {
                    outputs.iter().zip(&mut part).for_each(|(output, out)| collect(flow, output, out));
                })?;
            }
            Ok(part)
        })?;
        if parts.len() == 1 {
            return Ok(parts.swap_remove(0));
        }
        let mut all = empty(rows);
        for part in parts {
            for (all, part) in all.iter_mut().zip(part) {
                all.rows += part.rows;
                all.numbers.extend_from_slice(&part.numbers);
                for (to, from) in all.texts.iter_mut().zip(part.texts) {
                    to.extend(from);
                }
            }
        }
        Ok(all)
    }
}

/// The memory of one thread that runs blocks.
pub(crate) struct Worker<'m> {
    model: &'m Model,
    stride: usize,
    numbers: Vec<f64>,
    scratch: Scratch,
}

impl<'m> Worker<'m> {
    pub(crate) fn new(model: &'m Model, stride: usize) -> Self {
        let (mut numbers, scratch) = spare::take();
        // What is in it doesn't matter: a column is written before it is read.
        numbers.resize(model.graph.numbers * stride, 0.0);
        Self { model, stride, numbers, scratch }
    }

    /// Runs the operators of a plan on a block and shows the columns to `see`.
    pub(crate) fn run<'d, R>(
        &mut self,
        bound: &'d Bound<'d, '_>,
        range: Range<usize>,
        plan: &[u32],
        see: impl FnOnce(&Flow<'_, 'd>) -> R,
    ) -> Result<R>
    where
        'm: 'd,
    {
        let (rows, stride, graph) = (range.len(), self.stride, &self.model.graph);
        let mut texts: Vec<Option<&'d [u8]>> = vec![None; graph.texts * stride];
        read(&graph.schema, bound, range, stride, &mut self.numbers, &mut texts)?;
        let mut flow = Flow { rows, stride, numbers: &mut self.numbers, texts: &mut texts, scratch: &mut self.scratch };
        for &at in plan {
            let node = &graph.nodes[at as usize];
            node.op.run(&mut flow, &node.inputs, node.first)?;
        }
        Ok(see(&flow))
    }
}

impl Drop for Worker<'_> {
    fn drop(&mut self) {
        spare::keep(core::mem::take(&mut self.numbers), core::mem::take(&mut self.scratch));
    }
}

/// A thread's memory for blocks, kept from one table to the next: for a hundred rows, asking the system for a megabyte
/// takes longer than the model.
#[cfg(feature = "std")]
mod spare {
    use std::cell::Cell;

    use super::{Scratch, Vec};

    std::thread_local! {
        static SPARE: Cell<Option<(Vec<f64>, Scratch)>> = const { Cell::new(None) };
    }

    pub(super) fn take() -> (Vec<f64>, Scratch) {
        SPARE.try_with(Cell::take).ok().flatten().unwrap_or_default()
    }

    pub(super) fn keep(numbers: Vec<f64>, scratch: Scratch) {
        // A thread that ends has nothing to keep.
        let _ = SPARE.try_with(|spare| spare.set(Some((numbers, scratch))));
    }
}

#[cfg(not(feature = "std"))]
mod spare {
    use super::{Scratch, Vec};

    pub(super) fn take() -> (Vec<f64>, Scratch) {
        Default::default()
    }

    pub(super) fn keep(_: Vec<f64>, _: Scratch) {}
}

/// Reads a block of the inputs.
fn read<'d>(
    schema: &Schema,
    bound: &'d Bound<'d, '_>,
    range: Range<usize>,
    stride: usize,
    numbers: &mut [f64],
    texts: &mut [Option<&'d [u8]>],
) -> Result<()> {
    let rows = range.len();
    let columns = match bound {
        Bound::Csr(matrix) => {
            let block = &mut numbers[..matrix.columns() * stride];
            block.fill(0.0);
            matrix.fill_block(range.start, rows, stride, block);
            return Ok(());
        }
        Bound::Columns(columns) => columns,
    };
    let numeric = || schema.inputs.iter().zip(columns).filter(|(input, _)| input.kind == Kind::Number).map(|(_, c)| *c);
    if let Some(matrix) = Matrix::of(numeric()) {
        let from = &matrix.numbers[matrix.first + range.start * matrix.step..];
        transpose::to_columns(from, matrix.step, rows, matrix.width, numbers, stride);
    } else {
        for (number, column) in numeric().enumerate() {
            column.read_f64(range.start, &mut numbers[number * stride..][..rows])?;
        }
    }
    let mut text = 0;
    for (input, column) in schema.inputs.iter().zip(columns) {
        match input.kind {
            Kind::Number => {}
            Kind::Text => {
                let to = &mut texts[text * stride..][..rows];
                match column.as_text() {
                    Ok(values) => {
                        for (i, o) in to.iter_mut().enumerate() {
                            *o = values.get(range.start + i);
                        }
                    }
                    Err(_) => to.fill(None),
                }
                text += 1;
            }
        }
    }
    Ok(())
}

/// Columns that lie side by side in rows.
struct Matrix<'c> {
    numbers: &'c [f64],
    /// Where the first row starts, and how far it is to the next.
    first: usize,
    step: usize,
    width: usize,
}

impl<'c> Matrix<'c> {
    /// `None` for columns that lie otherwise, and for those that need no copy of single numbers.
    fn of<'a: 'c>(mut columns: impl Iterator<Item = &'c Column<'a>>) -> Option<Self> {
        let parts = |column: &'c Column<'a>| match &column.values {
            Values::F64(numbers) if column.validity.is_none() => Some(numbers.parts()),
            _ => None,
        };
        let (numbers, first, step) = parts(columns.next()?)?;
        let mut width = 1;
        for column in columns {
            let next = (numbers.as_ptr_range(), first + width, step);
            parts(column).filter(|&(numbers, first, step)| (numbers.as_ptr_range(), first, step) == next)?;
            width += 1;
        }
        (step > 1).then_some(Self { numbers, first, step, width })
    }
}

/// Appends the answer of a block.
fn collect(flow: &Flow<'_, '_>, output: &Output, out: &mut Batch) {
    let numbers: Vec<&[f64]> = output
        .columns
        .iter()
        .filter_map(|&s| if let Slot::Number(at) = s { Some(flow.number(at)) } else { None })
        .collect();
    out.rows += flow.rows;
    let (start, width) = (out.numbers.len(), numbers.len());
    out.numbers.resize(start + flow.rows * width, 0.0);
    for (c, column) in numbers.iter().enumerate() {
        out.numbers[start + c..].iter_mut().step_by(width).zip(*column).for_each(|(to, x)| *to = *x);
    }
    let texts = output.columns.iter().filter_map(|&s| if let Slot::Text(at) = s { Some(flow.text(at)) } else { None });
    for (to, from) in out.texts.iter_mut().zip(texts) {
        to.extend(from.iter().map(|t| t.map(|bytes| String::from_utf8_lossy(bytes).into_owned())));
    }
}

/// Takes a table into the state row by row; the answer of each row comes after its step.
pub(crate) fn update(model: &mut Model, data: &Data<'_>) -> Result<Batch> {
    let bound = bind(&model.graph.schema, data)?;
    let output = model.answer(Method::Transform)?.0.clone();
    let text_outputs = output.columns.iter().filter(|s| matches!(s, Slot::Text(_))).count();
    let width = output.columns.len() - text_outputs;
    let mut all = Batch { width, texts: vec![Vec::new(); text_outputs], ..Batch::default() };
    let mut session = model.session();
    // Checked whole before the state changes: half a table must not go in.
    model.run(Method::Transform, data, &Run::default())?;
    let inputs = model.graph.schema.counts();
    for row in 0..data.rows() {
        let mut texts: Vec<Option<&[u8]>> = vec![None; inputs.1];
        read(&model.graph.schema, &bound, row..row + 1, 1, &mut session.numbers, &mut texts)?;
        let texts: Vec<Option<Cow<'_, [u8]>>> = texts.into_iter().map(|t| t.map(Cow::Borrowed)).collect();
        let texts: Vec<Option<&[u8]>> = texts.iter().map(|t| t.as_deref()).collect();
        let numbers = model.update_row(&mut session, &texts)?;
        all.numbers.extend_from_slice(numbers);
        all.rows += 1;
    }
    Ok(all)
}
