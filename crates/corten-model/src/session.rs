//! The memory of one thread that runs rows again and again without allocating.

use alloc::format;
use alloc::vec;
use alloc::vec::Vec;

use corten_core::{Error, Result};

use crate::graph::{Method, Slot};
use crate::model::Model;
use crate::ops::{Flow, Scratch};

/// The memory of one thread that runs single rows, or blocks of rows.
#[derive(Clone, Debug)]
pub struct Session {
    pub(crate) numbers: Vec<f64>,
    pub(crate) scratch: Scratch,
    pub(crate) out: Vec<f64>,
    pub(crate) inputs: usize,
    /// Room for columns of text.
    texts: Vec<Option<&'static [u8]>>,
    /// Rows of a block.
    rows: usize,
}

impl Session {
    /// Where the caller puts a row's numbers, in the order of the schema's number inputs.
    #[inline]
    pub fn numbers_mut(&mut self) -> &mut [f64] {
        &mut self.numbers[..self.inputs]
    }

    /// Lends the room for texts, for texts of any lifetime; [`Session::keep_texts`] takes it back.
    pub(crate) fn lend_texts<'d>(&mut self, count: usize) -> Vec<Option<&'d [u8]>> {
        let mut room = recycle(core::mem::take(&mut self.texts));
        room.resize(count, None);
        room
    }

    pub(crate) fn keep_texts(&mut self, room: Vec<Option<&[u8]>>) {
        self.texts = recycle(room);
    }
}

/// An empty vector in the memory of another one: a map over nothing is collected in place.
fn recycle<'d>(mut from: Vec<Option<&[u8]>>) -> Vec<Option<&'d [u8]>> {
    from.clear();
    from.into_iter().map(|_| None).collect()
}

/// Methods of a model that are run at once: what they share runs once.
#[derive(Clone, Debug)]
pub struct Joint {
    /// Operators in their order.
    plan: Vec<u32>,
    /// The columns of each answer.
    columns: Vec<Vec<u32>>,
}

impl Joint {
    /// Columns of each answer.
    pub fn widths(&self) -> impl Iterator<Item = usize> {
        self.columns.iter().map(Vec::len)
    }
}

/// Numbers of rows in plain memory: that of a row and column lies at `row * of_row + column * of_column`.
#[derive(Clone, Copy, Debug)]
pub struct Grid<'g> {
    /// The numbers.
    pub numbers: &'g [f64],
    /// Steps from a row to the next.
    pub of_row: usize,
    /// Steps from a column to the next.
    pub of_column: usize,
}

impl Model {
    /// Scratch for [`Model::run_row`].
    pub fn session(&self) -> Session {
        self.session_of(1)
    }

    fn session_of(&self, rows: usize) -> Session {
        let widest = self.graph.outputs.iter().map(|o| o.columns.len()).max().unwrap_or(0);
        Session {
            numbers: vec![0.0; self.graph.numbers * rows],
            scratch: Scratch::default(),
            out: vec![0.0; widest],
            inputs: self.graph.schema.counts().0,
            texts: Vec::new(),
            rows,
        }
    }

    /// Scratch for [`Model::run_rows`] in blocks of at most `rows` rows (0: what the cache holds), with everything made
    /// that running rows would otherwise make at its first calls. No call with it allocates unless it fails.
    pub fn prepared_session(&self, rows: usize) -> Session {
        let rows = if rows == 0 { self.block_rows() } else { rows.min(self.block_rows()) };
        let mut session = self.session_of(rows);
        self.graph.nodes.iter().for_each(|node| node.op.prepare(rows));
        let mut texts = session.lend_texts(self.graph.texts * rows);
        // Memory is what counts here: an operator that refuses zeros has asked for its own by then.
        for rows in [1, rows] {
            let numbers = &mut session.numbers[..self.graph.numbers * rows];
            let scratch = &mut session.scratch;
            let mut flow = Flow { rows, stride: rows, numbers, texts: &mut texts, scratch };
            for node in &self.graph.nodes {
                let _ = node.op.run(&mut flow, &node.inputs, node.first);
            }
        }
        session.keep_texts(texts);
        session
    }

    /// Runs rows that lie in plain memory: `numbers` row after row, one for each number input, `text(row, i)` the texts
    /// in the order of the schema's text inputs. Number columns of the answer go to `out`, row after row; `made` is
    /// called with row, place among the text columns of the answer, and text. The bits are those of [`Model::run`].
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a method that the model doesn't have, [`Error::Value`] for lengths that don't fit or a
    /// session of another model, [`Error::Column`] from operators; rows of earlier blocks are filled in then.
    pub fn run_rows<'d, N: Copy + Into<f64>>(
        &'d self,
        method: Method,
        session: &mut Session,
        rows: usize,
        numbers: &[N],
        text: impl Fn(usize, usize) -> Option<&'d [u8]>,
        out: &mut [f64],
        mut made: impl FnMut(usize, usize, Option<&'d [u8]>),
    ) -> Result<()> {
        let (output, plan) = self.answer(method)?;
        let (inputs, text_inputs) = self.graph.schema.counts();
        let width = output.columns.iter().filter(|s| matches!(s, Slot::Number(_))).count();
        let fits = |given: usize, each: usize| each.checked_mul(rows) == Some(given);
        if !fits(numbers.len(), inputs) || !fits(out.len(), width) {
            return Err(Error::value(format!(
                "{rows} rows need {inputs} numbers and room for {width} each; {} and {} came",
                numbers.len(),
                out.len()
            )));
        }
        if session.numbers.len() < self.graph.numbers * session.rows || session.inputs != inputs {
            return Err(Error::value("the session was made for another model"));
        }
        let mut texts = session.lend_texts(self.graph.texts * session.rows.min(rows));
        let mut done = Ok(());
        let mut start = 0;
        while start < rows && done.is_ok() {
            let count = session.rows.min(rows - start);
            for (r, row) in numbers[start * inputs..(start + count) * inputs].chunks_exact(inputs.max(1)).enumerate() {
                row.iter().enumerate().for_each(|(c, &x)| session.numbers[c * count + r] = x.into());
            }
            for c in 0..text_inputs {
                (0..count).for_each(|r| texts[c * count + r] = text(start + r, c));
            }
            let numbers = &mut session.numbers[..self.graph.numbers * count];
            let scratch = &mut session.scratch;
            let mut flow = Flow { rows: count, stride: count, numbers, texts: &mut texts, scratch };
            done = plan.iter().try_for_each(|&at| {
                let node = &self.graph.nodes[at as usize];
                node.op.run(&mut flow, &node.inputs, node.first)
            });
            if done.is_ok() {
                let (mut number, mut word) = (0, 0);
                for &slot in &output.columns {
                    match slot {
                        Slot::Number(at) => {
                            let to = out[start * width + number..].iter_mut().step_by(width);
                            to.zip(flow.number(at)).for_each(|(to, &x)| *to = x);
                            number += 1;
                        }
                        Slot::Text(at) => {
                            flow.text(at).iter().enumerate().for_each(|(r, &t)| made(start + r, word, t));
                            word += 1;
                        }
                    }
                }
            }
            start += count;
        }
        session.keep_texts(texts);
        done
    }

    /// Methods of a model that reads numbers only, to be run at once by [`Model::run_joint`].
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a method that the model doesn't have, and for texts that go in or come out.
    pub fn joint(&self, methods: &[Method]) -> Result<Joint> {
        let texts = || Error::Unsupported("texts don't go in or come out here".into());
        if self.graph.schema.counts().1 > 0 {
            return Err(texts());
        }
        let (mut plan, mut columns) = (Vec::new(), Vec::with_capacity(methods.len()));
        for &method in methods {
            let (output, needed) = self.answer(method)?;
            plan.extend_from_slice(needed);
            let number = |slot: &Slot| if let Slot::Number(at) = slot { Some(*at) } else { None };
            columns.push(output.columns.iter().map(number).collect::<Option<Vec<_>>>().ok_or_else(texts)?);
        }
        plan.sort_unstable();
        plan.dedup();
        Ok(Joint { plan, columns })
    }

    /// Runs methods on rows of numbers. `out` becomes one answer behind the other, each row after row. The bits are those
    /// of [`Model::run`]; nothing is allocated once session and `out` have their memory.
    ///
    /// # Errors
    /// [`Error::Value`] for numbers that are fewer than the rows have, and a session of another model;
    /// [`Error::Column`] from operators.
    pub fn run_joint(
        &self,
        joint: &Joint,
        session: &mut Session,
        rows: usize,
        grid: Grid<'_>,
        out: &mut Vec<f64>,
    ) -> Result<()> {
        let inputs = self.graph.schema.counts().0;
        let last = rows.saturating_sub(1) * grid.of_row + inputs.saturating_sub(1) * grid.of_column;
        if rows > 0 && inputs > 0 && last >= grid.numbers.len() {
            return Err(Error::value(format!("{rows} rows of {inputs} numbers; {} came", grid.numbers.len())));
        }
        if session.numbers.len() < self.graph.numbers * session.rows || session.inputs != inputs {
            return Err(Error::value("the session was made for another model"));
        }
        out.clear();
        out.resize(rows * joint.widths().sum::<usize>(), 0.0);
        let mut texts = session.lend_texts(self.graph.texts * session.rows.min(rows));
        let (mut start, mut done) = (0, Ok(()));
        while start < rows && done.is_ok() {
            let count = session.rows.min(rows - start);
            for c in 0..inputs {
                let from = grid.numbers[start * grid.of_row + c * grid.of_column..].iter().step_by(grid.of_row.max(1));
                session.numbers[c * count..(c + 1) * count].iter_mut().zip(from).for_each(|(to, x)| *to = *x);
            }
            let numbers = &mut session.numbers[..self.graph.numbers * count];
            let scratch = &mut session.scratch;
            let mut flow = Flow { rows: count, stride: count, numbers, texts: &mut texts, scratch };
            done = joint.plan.iter().try_for_each(|&at| {
                let node = &self.graph.nodes[at as usize];
                node.op.run(&mut flow, &node.inputs, node.first)
            });
            let mut answer = 0;
            for columns in &joint.columns {
                let width = columns.len();
                for (c, &at) in columns.iter().enumerate() {
                    let to = out[answer + start * width + c..].iter_mut().step_by(width);
                    to.zip(flow.number(at)).for_each(|(to, &x)| *to = x);
                }
                answer += rows * width;
            }
            start += count;
        }
        session.keep_texts(texts);
        done
    }
}
