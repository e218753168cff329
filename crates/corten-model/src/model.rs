//! A validated graph with its execution plans.

use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use corten_core::{Error, Kind, Result};
use serde_json::Value;

use crate::graph::{Graph, Method, Output, Slot};
use crate::ops::Flow;
use crate::schema::Schema;
use crate::session::Session;
use crate::{file, run};

/// Text columns that a single row may have without an allocation.
const TEXTS_ON_STACK: usize = 64;

/// A fitted pipeline: runs tables and single rows, and is saved and loaded as one file.
///
/// Immutable but for [`Model::update`], and shared between threads freely.
#[derive(Clone, Debug)]
pub struct Model {
    pub(crate) graph: Graph,
    /// Operators that each method needs, in order.
    pub(crate) plans: Vec<(Method, Vec<u32>)>,
    /// Texts of a row.
    texts: usize,
    metadata: BTreeMap<String, Value>,
}

impl Model {
    pub(crate) fn of(graph: Graph) -> Self {
        let plans = graph.outputs.iter().map(|o| (o.method, plan(&graph, &o.columns))).collect();
        let texts = graph.schema.counts().1;
        Self { graph, plans, texts, metadata: BTreeMap::new() }
    }

    /// The graph.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The columns that go in.
    pub fn schema(&self) -> &Schema {
        &self.graph.schema
    }

    /// The answer of a method, if the model has it.
    pub fn output(&self, method: Method) -> Option<&Output> {
        self.graph.output(method)
    }

    /// The methods that the model has.
    pub fn methods(&self) -> Vec<Method> {
        self.graph.outputs.iter().map(|o| o.method).collect()
    }

    /// Facts about the model: who made it, the report of its training ...
    pub fn metadata(&self) -> &BTreeMap<String, Value> {
        &self.metadata
    }

    /// The same, to be changed.
    pub fn metadata_mut(&mut self) -> &mut BTreeMap<String, Value> {
        &mut self.metadata
    }

    /// Whether the model changes as it sees rows.
    pub fn is_stateful(&self) -> bool {
        self.graph.nodes.iter().any(|n| n.op.is_stateful())
    }

    pub(crate) fn answer(&self, method: Method) -> Result<(&Output, &[u32])> {
        self.output(method).zip(self.plans.iter().find(|p| p.0 == method)).map(|(o, p)| (o, &*p.1)).ok_or_else(|| {
            let has: Vec<&str> = self.graph.outputs.iter().map(|o| o.method.as_str()).collect();
            Error::Unsupported(format!("This model has no '{}'; it has: {}.", method.as_str(), has.join(", ")))
        })
    }

    /// The answer of a method with the operators that it needs, as places in [`Graph::nodes`], in their order.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a method that the model doesn't have.
    pub fn steps(&self, method: Method) -> Result<(&Output, &[u32])> {
        self.answer(method)
    }

    /// Runs one row whose numbers were written to [`Session::numbers_mut`]; `texts` are its texts in the order of the
    /// schema's text inputs. Returns the number columns of the answer. Doesn't allocate after the first call (up to 64
    /// columns of text).
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a method that the model doesn't have, [`Error::Column`] from operators.
    #[inline]
    pub fn run_row<'s>(&self, method: Method, session: &'s mut Session, texts: &[Option<&[u8]>]) -> Result<&'s [f64]> {
        self.run_row_with(method, session, texts, |_| ())
    }

    /// Like [`Model::run_row`], and calls `text` with each text column of the answer in turn.
    ///
    /// # Errors
    /// As [`Model::run_row`].
    pub fn run_row_with<'s>(
        &self,
        method: Method,
        session: &'s mut Session,
        texts: &[Option<&[u8]>],
        mut text: impl FnMut(Option<&[u8]>),
    ) -> Result<&'s [f64]> {
        let (output, plan) = self.answer(method)?;
        if texts.len() != self.texts {
            return Err(Error::value(format!("a row with {} texts where the model reads {}", texts.len(), self.texts)));
        }
        // Written only where there are some: that takes as long as a small model.
        let (mut stack, mut heap);
        let all = match self.graph.texts {
            0 => &mut [][..],
            count @ 1..=TEXTS_ON_STACK => {
                stack = [None; TEXTS_ON_STACK];
                &mut stack[..count]
            }
            count => {
                heap = vec![None; count];
                &mut heap[..]
            }
        };
        all[..texts.len()].copy_from_slice(texts);
        let mut flow =
            Flow { rows: 1, stride: 1, numbers: &mut session.numbers, texts: all, scratch: &mut session.scratch };
        for &at in plan {
            let node = &self.graph.nodes[at as usize];
            node.op.run(&mut flow, &node.inputs, node.first)?;
        }
        let mut count = 0;
        for &slot in &output.columns {
            match slot {
                Slot::Number(at) => {
                    session.out[count] = flow.numbers[at as usize];
                    count += 1;
                }
                Slot::Text(at) => text(flow.texts[at as usize]),
            }
        }
        Ok(&session.out[..count])
    }

    /// The bytes of the model file. The same model gives the same bytes.
    ///
    /// # Errors
    /// [`Error::Internal`] when the metadata can't be written.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        file::write(&self.graph, &self.metadata)
    }

    /// Reads and checks a model file.
    ///
    /// # Errors
    /// [`Error::Format`] for bytes that are no model or a damaged one, [`Error::Version`] for a newer format.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        file::read(bytes)
    }

    /// Takes the rows of a table into the state, one by one, and returns `transform` of each row after its step.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when the model has no state, and what [`Model::run`] gives.
    pub fn update(&mut self, data: &corten_core::Data<'_>) -> Result<run::Batch> {
        run::update(self, data)
    }

    /// Takes one row into the state and answers the first of its methods, as [`Model::run_row`] does.
    ///
    /// # Errors
    /// [`Error::Unsupported`] when the model has no state, and what [`Model::run_row`] gives.
    pub fn update_row<'s>(&mut self, session: &'s mut Session, texts: &[Option<&[u8]>]) -> Result<&'s [f64]> {
        if !self.is_stateful() {
            return Err(Error::Unsupported("This model has no state to update.".into()));
        }
        let method = self.graph.outputs.first().map_or(Method::Transform, |o| o.method);
        let (_, plan) = self.answer(method)?;
        let plan = plan.to_vec();
        let mut all = vec![None; self.graph.texts];
        if texts.len() != self.texts {
            return Err(Error::value("a row with another number of texts than the model reads"));
        }
        all[..texts.len()].copy_from_slice(texts);
        for &at in &plan {
            let node = &mut self.graph.nodes[at as usize];
            if node.op.is_stateful() {
                let flow = Flow {
                    rows: 1,
                    stride: 1,
                    numbers: &mut session.numbers,
                    texts: &mut all,
                    scratch: &mut session.scratch,
                };
                node.op.advance(&flow, &node.inputs)?;
            }
            // Texts that an operator makes borrow from the graph, so operators after a state see the row's own texts.
            let mut texts_now: Vec<Option<&[u8]>> = all.clone();
            let node = &self.graph.nodes[at as usize];
            let mut flow = Flow {
                rows: 1,
                stride: 1,
                numbers: &mut session.numbers,
                texts: &mut texts_now,
                scratch: &mut session.scratch,
            };
            node.op.run(&mut flow, &node.inputs, node.first)?;
        }
        self.run_row(method, session, texts)
    }
}

/// The operators that some columns depend on, in order.
pub(crate) fn plan(graph: &Graph, columns: &[Slot]) -> Vec<u32> {
    let mut needed = vec![false; graph.nodes.len()];
    // Within a space, operators come in the order of their first column.
    let of_kind = |kind: Kind| -> Vec<(u32, usize)> {
        let makes = |n: &crate::graph::Node| n.shape.kind == kind && n.shape.columns > 0;
        graph.nodes.iter().enumerate().filter(|(_, n)| makes(n)).map(|(i, n)| (n.first, i)).collect()
    };
    let (numbers, texts) = (of_kind(Kind::Number), of_kind(Kind::Text));
    let producer = |slot: Slot| {
        let (space, at) = match slot {
            Slot::Number(at) => (&numbers, at),
            Slot::Text(at) => (&texts, at),
        };
        space.partition_point(|&(first, _)| first <= at).checked_sub(1).map(|i| space[i].1)
    };
    for &slot in columns {
        if let Some(node) = producer(slot) {
            needed[node] = true;
        }
    }
    for at in (0..graph.nodes.len()).rev() {
        if needed[at] {
            for &slot in &graph.nodes[at].inputs {
                if let Some(node) = producer(slot) {
                    needed[node] = true;
                }
            }
        }
    }
    (0u32..).zip(needed).filter(|(_, n)| *n).map(|(at, _)| at).collect()
}

#[cfg(feature = "std")]
mod disk {
    use std::fs;
    use std::io::{ErrorKind, Write};
    use std::path::Path;

    use super::{Error, Model, Result, file, format};

    /// Largest file that is read as a model.
    const MAX_FILE: u64 = 16 << 30;

    fn io(path: &Path, doing: &str, error: &std::io::Error) -> Error {
        Error::Io {
            path: path.display().to_string(),
            problem: format!("{doing}: {error}"),
            not_found: error.kind() == ErrorKind::NotFound,
        }
    }

    impl Model {
        /// Writes the model file: beside its place first, then renamed, so that a reader sees the old or the new one
        /// and never half of one. A device or a pipe is written to as it is, and a link is followed.
        ///
        /// # Errors
        /// [`Error::Io`]; nothing is left behind then.
        pub fn save(&self, path: &Path) -> Result<()> {
            let bytes = self.to_bytes()?;
            // What a link leads to is replaced, not the link; a path that isn't there yet stays as it is.
            let path = &fs::canonicalize(path).unwrap_or_else(|_| path.to_path_buf());
            let name = path.file_name().ok_or_else(|| Error::Io {
                path: path.display().to_string(),
                problem: "is no name of a file".into(),
                not_found: false,
            })?;
            if fs::metadata(path).is_ok_and(|m| !m.is_file() && !m.is_dir()) {
                // A device or a pipe is written to where it is.
                let file = fs::File::options().write(true).open(path);
                return file.and_then(|mut f| f.write_all(&bytes)).map_err(|e| io(path, "can't be written", &e));
            }
            // File systems take names of 255 bytes, this one's included.
            let name = name.to_string_lossy();
            let head = &name[..name.floor_char_boundary(200)];
            let temporary = path.with_file_name(format!(".{head}.{}.part", std::process::id()));
            let written = fs::File::create(&temporary).and_then(|mut file| {
                file.write_all(&bytes)?;
                file.sync_all()
            });
            written.and_then(|()| fs::rename(&temporary, path)).map_err(|e| {
                // The write has failed already; that the rest can't be removed either adds nothing.
                let _ = fs::remove_file(&temporary);
                io(path, "can't be written", &e)
            })
        }

        /// Reads a model file.
        ///
        /// # Errors
        /// [`Error::Io`] and those of [`Model::from_bytes`]; all of them name the file.
        pub fn load(path: &Path) -> Result<Self> {
            let metadata = fs::metadata(path).map_err(|e| io(path, "can't be read", &e))?;
            let size = metadata.len();
            if size > MAX_FILE {
                return Err(Error::Limit(format!("{}: models of more than 16 GiB aren't read", path.display())));
            }
            if !metadata.is_file() {
                // A pipe doesn't tell its size.
                let bytes = fs::read(path).map_err(|e| io(path, "can't be read", &e))?;
                return Self::from_bytes(&bytes).map_err(|e| of_file(path, e));
            }
            let file = fs::File::open(path).map_err(|e| io(path, "can't be read", &e))?;
            Self::from_file(&file, 0, size, path)
        }

        /// Reads a model that lies in `length` bytes of an open file from `start` on; `path` is its name for messages.
        /// The place in the file moves.
        ///
        /// # Errors
        /// [`Error::Io`] and those of [`Model::from_bytes`]; all of them name the file.
        pub fn from_file(file: &fs::File, start: u64, length: u64, path: &Path) -> Result<Self> {
            file::read_file(file, start, length).map_err(|e| of_file(path, e))
        }
    }

    /// An error that names its file.
    fn of_file(path: &Path, error: Error) -> Error {
        let named = |problem: String| format!("{}: {problem}", path.display());
        match error {
            Error::Format(problem) => Error::Format(named(problem)),
            Error::Limit(problem) => Error::Limit(named(problem)),
            Error::Io { problem, not_found, .. } => Error::Io { path: path.display().to_string(), problem, not_found },
            other => other,
        }
    }
}
