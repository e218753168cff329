//! A row of text straight into a session.

use std::ops::Range;

use corten_core::Result;
use corten_core::rows::{Cells, Inputs, Scanner};

use crate::model::Model;
use crate::session::Session;

/// Reads rows for one model: numbers go into a session, texts are kept until the next row.
#[derive(Clone, Debug)]
pub struct RowReader {
    inputs: Inputs,
    texts: Texts,
}

/// The texts of a row.
#[derive(Clone, Debug)]
struct Texts {
    bytes: Vec<u8>,
    ranges: Vec<Option<Range<usize>>>,
}

/// A row that is being read.
struct Row<'r> {
    numbers: &'r mut [f64],
    texts: &'r mut Texts,
}

impl Cells for Row<'_> {
    #[inline]
    fn number(&mut self, at: usize, value: f64) {
        self.numbers[at] = value;
    }

    fn room(&mut self, _: usize) -> &mut Vec<u8> {
        &mut self.texts.bytes
    }

    fn text(&mut self, at: usize, start: Option<usize>) {
        self.texts.ranges[at] = start.map(|start| start..self.texts.bytes.len());
    }
}

impl Texts {
    fn clear(&mut self) {
        self.bytes.clear();
        self.ranges.fill(None);
    }
}

impl RowReader {
    /// A reader of rows for this model.
    pub fn new(model: &Model) -> Self {
        let inputs = model.schema().in_text();
        let texts = Texts { bytes: Vec::new(), ranges: vec![None; inputs.texts()] };
        Self { inputs, texts }
    }

    /// The texts of the last row, for [`Model::run_row`].
    pub fn texts(&self) -> Vec<Option<&[u8]>> {
        self.texts.ranges.iter().map(|t| t.clone().map(|range| &self.texts.bytes[range])).collect()
    }

    /// Forgets the last row.
    pub fn clear(&mut self) {
        self.texts.clear();
    }

    /// The columns.
    pub(super) fn inputs(&self) -> &Inputs {
        &self.inputs
    }

    /// Sets one input from a field of CSV.
    ///
    /// # Errors
    /// [`corten_core::Error::Column`] for text in a column of numbers.
    pub fn set(&mut self, input: usize, field: &[u8], session: &mut Session) -> Result<()> {
        self.inputs.field(input, field, &mut Row { numbers: session.numbers_mut(), texts: &mut self.texts })
    }

    /// Reads one row: an object by the names of the columns, or a list in their order.
    ///
    /// # Errors
    /// As [`Inputs::row`].
    pub fn read(&mut self, scanner: &mut Scanner<'_>, session: &mut Session) -> Result<()> {
        self.clear();
        self.inputs.row(scanner, &mut Row { numbers: session.numbers_mut(), texts: &mut self.texts })
    }
}
