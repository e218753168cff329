//! Rows of text to answers in JSON, one line each, whatever brings the text.

use std::sync::{PoisonError, RwLock};

use corten_core::Result;
use corten_model::rows::{AnswerWriter, RowReader, Scanner, quote};
use corten_model::{Model, Session};

/// Reads rows for one model and writes answers; the memory of one thread.
pub struct Lines {
    /// Where a reader of another format puts a row's numbers.
    pub session: Session,
    /// Where it puts a row's texts.
    pub rows: RowReader,
    answers: AnswerWriter,
    stateful: bool,
}

impl Lines {
    /// The memory for this model.
    pub fn new(model: &Model) -> Self {
        Self {
            session: model.session(),
            rows: RowReader::new(model),
            answers: AnswerWriter::new(model),
            stateful: model.is_stateful(),
        }
    }

    /// Appends the answer to the row that was read last. A model with a state takes the row in first.
    ///
    /// # Errors
    /// What the model refuses; nothing is appended then.
    pub fn answer(&mut self, model: &RwLock<Model>, out: &mut Vec<u8>) -> Result<()> {
        let texts = self.rows.texts();
        if self.stateful {
            let mut model = model.write().unwrap_or_else(PoisonError::into_inner);
            model.update_row(&mut self.session, &texts)?;
        }
        let model = model.read().unwrap_or_else(PoisonError::into_inner);
        self.answers.answer(&model, &mut self.session, &texts, out)
    }

    /// Appends the answer to a row of JSON.
    ///
    /// # Errors
    /// What is wrong with the text or the row; nothing is appended then.
    pub fn json(&mut self, model: &RwLock<Model>, line: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let mut scanner = Scanner::new(line);
        self.rows.read(&mut scanner, &mut self.session)?;
        scanner.end()?;
        self.answer(model, out)
    }
}

/// Appends `{"error": "..."}`.
pub fn fault(error: &corten_core::Error, out: &mut Vec<u8>) {
    out.extend_from_slice(b"{\"error\":");
    out.extend_from_slice(&quote(&error.to_string()));
    out.push(b'}');
}
