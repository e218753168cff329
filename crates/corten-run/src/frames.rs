//! The protocol of the daemon: requests and answers in frames of bytes (`docs/bundle.md` is the specification).
//!
//! All numbers are little endian. A request is a size (`u32`, of what follows it), a verb and a method (`u8` each), two
//! zero bytes, a number of rows (`u32`), and the rows: numbers row after row, then texts row after row, each a size
//! (`u32`, all bits set where it is missing) with its bytes. An answer is a size, a status (`u8`, as in `corten.h`), three
//! zero bytes, a number of rows, and numbers and texts in the same form, or the message of the failure.

use std::ops::Range;
use std::sync::{PoisonError, RwLock};

use corten_core::{Error, Result};
use corten_model::{Method, Model, Session, Slot};
use serde_json::json;

use crate::c::Status;
use crate::lines::{self, Lines};

/// Longest frame after its size.
pub const MAX_FRAME: usize = 16 << 20;
/// Bytes of a frame before its rows.
pub const HEAD: usize = 12;
/// The size of a text that is missing.
const MISSING: u32 = u32::MAX;

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verb {
    /// The model's inputs and answers, as JSON.
    Describe = 0,
    /// Rows with numbers in `f64`.
    Doubles = 1,
    /// Rows with numbers in `f32`.
    Floats = 2,
    /// Rows as lines of JSON, answered by lines of JSON.
    Json = 3,
    /// Rows with numbers in `f64` that go into the model's state one by one.
    Update = 4,
}

impl Verb {
    fn of(code: u8) -> Result<Self> {
        [Self::Describe, Self::Doubles, Self::Floats, Self::Json, Self::Update]
            .into_iter()
            .find(|v| *v as u8 == code)
            .ok_or_else(|| Error::parameter("verb", "one of 0 to 4", code))
    }
}

/// The memory of one connection.
pub struct Connection {
    session: Session,
    lines: Lines,
    numbers: Vec<f64>,
    texts: Vec<Option<Range<usize>>>,
    out: Vec<f64>,
    inputs: (usize, usize),
}

/// The size of an answer after its own four bytes.
///
/// # Errors
/// [`Error::Limit`] for more than a frame may have.
fn size(bytes: usize, rows: usize) -> Result<u32> {
    let size = u32::try_from(bytes).ok().filter(|_| bytes <= MAX_FRAME);
    size.ok_or_else(|| Error::Limit(format!("an answer of {rows} rows is longer than {MAX_FRAME} bytes")))
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| bytes[i]))
}

impl Connection {
    /// The memory for one connection to this model.
    pub fn new(model: &Model) -> Self {
        Self {
            session: model.prepared_session(64),
            lines: Lines::new(model),
            numbers: Vec::new(),
            texts: Vec::new(),
            out: Vec::new(),
            inputs: model.schema().counts(),
        }
    }

    /// Answers whole frames at the start of `bytes`, until there are none or the answers are as long as a frame may be;
    /// returns how many bytes they take.
    ///
    /// # Errors
    /// [`Error::Limit`] and [`Error::Value`] for a frame of a size that none may have: what follows can't be told from it.
    /// Everything else is wrong with one request only, and its answer says so.
    pub fn take(&mut self, model: &RwLock<Model>, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize> {
        let (mut done, begin) = (0, out.len());
        while out.len() - begin < MAX_FRAME
            && let Some(size) = bytes.get(done..done + 4).map(|s| word(s) as usize)
        {
            if size > MAX_FRAME {
                return Err(Error::Limit(format!("a frame of {size} bytes; at most {MAX_FRAME} are taken")));
            }
            if size < HEAD - 4 {
                return Err(Error::value(format!("a frame of {size} bytes; its head alone has {}", HEAD - 4)));
            }
            let Some(frame) = bytes.get(done + 4..done + 4 + size) else { break };
            self.answer(model, frame, out)?;
            done += 4 + size;
        }
        Ok(done)
    }

    /// Answers one frame, given without its size.
    fn answer(&mut self, model: &RwLock<Model>, frame: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let start = out.len();
        out.resize(start + HEAD, 0);
        let done = self.run(model, frame, out, start);
        match done.and_then(|rows| size(out.len() - start - 4, rows as usize).map(|_| rows)) {
            Ok(rows) => out[start + 8..start + 12].copy_from_slice(&rows.to_le_bytes()),
            Err(error) => {
                out.truncate(start + HEAD);
                out[start + 4] = Status::from(&error) as u8;
                out.extend_from_slice(error.to_string().as_bytes());
            }
        }
        let size = size(out.len() - start - 4, 0).inspect_err(|_| out.truncate(start))?;
        out[start..start + 4].copy_from_slice(&size.to_le_bytes());
        Ok(())
    }

    /// Appends the rows of the answer whose frame is at `start`.
    fn run(&mut self, model: &RwLock<Model>, frame: &[u8], out: &mut Vec<u8>, start: usize) -> Result<u32> {
        let (head, body) = frame.split_at(HEAD - 4);
        let (verb, rows) = (Verb::of(head[0])?, word(&head[4..]));
        if head[2..4] != [0, 0] {
            return Err(Error::value("the third and fourth byte of a head must be 0"));
        }
        match verb {
            Verb::Describe => {
                let model = model.read().unwrap_or_else(PoisonError::into_inner);
                describe(&model, out)?;
                return Ok(0);
            }
            Verb::Json => return self.json(model, body, out, start),
            Verb::Doubles | Verb::Floats | Verb::Update => {}
        }
        let method = usize::from(head[1]);
        let method = *Method::ALL.get(method).ok_or_else(|| Error::parameter("method", "one of 0 to 5", method))?;
        self.read(verb, rows as usize, body)?;
        if verb == Verb::Update {
            let mut model = model.write().unwrap_or_else(PoisonError::into_inner);
            self.update(&mut model, rows as usize, body, out)?;
        } else {
            let model = model.read().unwrap_or_else(PoisonError::into_inner);
            self.predict(&model, method, rows as usize, body, out, start)?;
        }
        Ok(rows)
    }

    /// Answers lines; a row that can't be answered has an error in its place.
    fn json(&mut self, model: &RwLock<Model>, body: &[u8], out: &mut Vec<u8>, start: usize) -> Result<u32> {
        let mut rows = 0;
        let mut given = body.split(|&b| b == b'\n').filter(|l| !l.iter().all(u8::is_ascii_whitespace));
        while let Some(line) = given.next() {
            if let Err(error) = self.lines.json(model, line, out) {
                lines::fault(&error, out);
            }
            out.push(b'\n');
            rows += 1;
            // An answer may be a thousand times as long as its row: what doesn't fit is not collected first.
            if out.len() - start - 4 > MAX_FRAME {
                size(out.len() - start - 4, rows as usize + given.by_ref().count())?;
            }
        }
        Ok(rows)
    }

    /// Finds the numbers and the texts of a request.
    fn read(&mut self, verb: Verb, rows: usize, body: &[u8]) -> Result<()> {
        let (inputs, text_inputs) = self.inputs;
        let width = if verb == Verb::Floats { 4 } else { 8 };
        let size = rows.checked_mul(inputs).and_then(|n| n.checked_mul(width));
        let Some((numbers, _)) = size.and_then(|size| body.split_at_checked(size)) else {
            let given = body.len();
            return Err(Error::value(format!(
                "{rows} rows of {inputs} numbers don't fit in the {given} bytes that came; each takes {width}"
            )));
        };
        self.numbers.clear();
        if verb == Verb::Floats {
            self.numbers.extend(numbers.as_chunks().0.iter().map(|&b| f64::from(f32::from_le_bytes(b))));
        } else {
            self.numbers.extend(numbers.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)));
        }
        self.texts.clear();
        let mut at = numbers.len();
        // Each text has a size, so there can't be more than a quarter of the bytes.
        let texts = rows.checked_mul(text_inputs).filter(|n| *n <= body.len() / 4);
        let short = || Error::value(format!("{rows} rows of {text_inputs} texts don't fit in the bytes that came"));
        for _ in 0..texts.ok_or_else(short)? {
            let size = word(body.get(at..at + 4).ok_or_else(short)?);
            at += 4;
            if size == MISSING {
                self.texts.push(None);
                continue;
            }
            let text = body.get(at..).and_then(|rest| rest.get(..size as usize)).ok_or_else(short)?;
            if std::str::from_utf8(text).is_err() {
                return Err(Error::value(format!("text {} is no UTF-8", self.texts.len())));
            }
            self.texts.push(Some(at..at + text.len()));
            at += text.len();
        }
        if at != body.len() {
            return Err(Error::value(format!("{} bytes follow the rows", body.len() - at)));
        }
        Ok(())
    }

    fn predict(
        &mut self,
        model: &Model,
        method: Method,
        rows: usize,
        body: &[u8],
        out: &mut Vec<u8>,
        start: usize,
    ) -> Result<()> {
        let columns = &model.steps(method)?.0.columns;
        let words = columns.iter().filter(|s| matches!(s, Slot::Text(_))).count();
        let width = columns.len() - words;
        size(rows.saturating_mul(width.max(words) * 8).saturating_add(HEAD - 4), rows)?;
        self.out.clear();
        self.out.resize(rows * width, 0.0);
        let (texts, per_row) = (&self.texts, self.inputs.1);
        let text = |row: usize, at: usize| texts[row * per_row + at].clone().map(|range| &body[range]);
        let mut made: Vec<Option<&[u8]>> = vec![None; rows * words];
        let put = |row: usize, at: usize, text| made[row * words + at] = text;
        model.run_rows(method, &mut self.session, rows, &self.numbers, text, &mut self.out, put)?;
        self.out.iter().for_each(|x| out.extend_from_slice(&x.to_le_bytes()));
        for text in made {
            let length = size(text.map_or(0, <[u8]>::len), rows)?;
            // With the four bytes of the text's own size.
            size(out.len() - start + length as usize, rows)?;
            out.extend_from_slice(&text.map_or(MISSING, |_| length).to_le_bytes());
            out.extend_from_slice(text.unwrap_or_default());
        }
        Ok(())
    }

    fn update(&mut self, model: &mut Model, rows: usize, body: &[u8], out: &mut Vec<u8>) -> Result<()> {
        let (inputs, text_inputs) = self.inputs;
        let width = model.graph().outputs().first().map_or(0, |o| o.columns.len());
        size(rows.saturating_mul(width * 8).saturating_add(HEAD - 4), rows)?;
        for row in 0..rows {
            let numbers = &self.numbers[row * inputs..][..inputs];
            let texts = self.texts[row * text_inputs..][..text_inputs].iter();
            let texts: Vec<Option<&[u8]>> = texts.map(|t| t.clone().map(|range| &body[range])).collect();
            self.session.numbers_mut().copy_from_slice(numbers);
            let answer = model.update_row(&mut self.session, &texts)?;
            answer.iter().for_each(|x| out.extend_from_slice(&x.to_le_bytes()));
        }
        Ok(())
    }
}

/// The model's inputs, methods and classes.
fn describe(model: &Model, out: &mut Vec<u8>) -> Result<()> {
    let inputs: Vec<_> =
        model.schema().inputs.iter().map(|i| json!({"name": i.name, "kind": kind(i.kind), "dtype": i.dtype})).collect();
    let columns = |o: &corten_model::Output| -> Vec<_> {
        o.names.iter().zip(&o.columns).map(|(name, slot)| json!({"name": name, "kind": kind(slot.kind())})).collect()
    };
    let code = |method: Method| Method::ALL.iter().position(|m| *m == method);
    let methods: Vec<_> = model
        .graph()
        .outputs()
        .iter()
        .map(|o| json!({"name": o.method.as_str(), "code": code(o.method), "columns": columns(o)}))
        .collect();
    let classes = model.output(Method::Predict).and_then(|o| o.labels.as_ref());
    let said = json!({"inputs": inputs, "methods": methods, "classes": classes, "stateful": model.is_stateful()});
    serde_json::to_writer(out, &said).map_err(|e| Error::Internal(format!("the model can't be described: {e}")))
}

fn kind(kind: corten_core::Kind) -> &'static str {
    match kind {
        corten_core::Kind::Number => "number",
        corten_core::Kind::Text => "text",
    }
}

/// The frame that says why a connection ends.
pub fn refusal(error: &Error) -> Vec<u8> {
    let message = error.to_string();
    let mut out = ((HEAD - 4 + message.len()) as u32).to_le_bytes().to_vec();
    out.extend_from_slice(&[Status::from(error) as u8, 0, 0, 0, 0, 0, 0, 0]);
    out.extend_from_slice(message.as_bytes());
    out
}
