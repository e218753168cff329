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
}
