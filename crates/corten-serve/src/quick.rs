//! Inference requests as nearly all of them are: numbers in JSON for a model that reads and answers numbers, and all of its
//! outputs. They are read straight into the model's memory, and the answer is written from there, without allocating.
//!
//! Whatever is unusual is left to [`infer::any`], of which the answers here have the bytes; so every mistake has one place
//! that finds words for it.

use std::cell::RefCell;

use corten_core::rows::decimal;
use corten_model::{Grid, Joint, Method, Model, Session};

use crate::clock::{self, Stage};
use crate::describe::{is_matrix, is_tensor};
use crate::infer;
use crate::served::{Served, Worker};
use crate::tensor::Datatype;

/// Most numbers whose memory a thread keeps.
const KEPT: usize = 1 << 16;

/// How a model answers rows of numbers.
pub(crate) struct Plan {
    joint: Joint,
    /// The outputs, as places in the graph's.
    outputs: Vec<usize>,
}

impl Plan {
    /// None for a model with texts or a state.
    pub(crate) fn of(model: &Model) -> Option<Self> {
        let all = model.graph().outputs();
        let outputs: Vec<usize> = (0..all.len()).filter(|&at| is_tensor(&all[at])).collect();
        let methods: Vec<Method> = outputs.iter().map(|&at| all[at].method).collect();
        let joint = (!model.is_stateful()).then(|| model.joint(&methods))?.ok()?;
        Some(Self { joint, outputs })
    }
}

/// A thread's memory for what came and what is answered.
#[derive(Default)]
struct Room {
    came: Vec<f64>,
    answered: Vec<f64>,
}

thread_local! {
    static ROOM: RefCell<Room> = RefCell::default();
}

/// Answers an inference request into `out` and returns its rows; none, and nothing written, for one that isn't answered
/// here.
pub(crate) fn infer(served: &Served, body: &[u8], max_rows: usize, out: &mut Vec<u8>) -> Option<usize> {
    let plan = served.plan.as_ref()?;
    ROOM.with_borrow_mut(|room| {
        let answered = answer(served, plan, body, max_rows, room, out);
        if room.came.capacity().max(room.answered.capacity()) > KEPT {
            *room = Room::default();
        }
        answered
    })
}

fn answer(
    served: &Served,
    plan: &Plan,
    body: &[u8],
    max_rows: usize,
    Room { came, answered }: &mut Room,
    out: &mut Vec<u8>,
) -> Option<usize> {
    came.clear();
    let Asked { id, rows } = Scan { bytes: body, at: 0 }.request(&served.model, came)?;
    if rows == 0 || rows > max_rows {
        return None;
    }
    clock::lap(Stage::Decode);
    let (of_row, of_column) =
        if served.model.schema().named { (1, rows) } else { (served.model.schema().inputs.len(), 1) };
    served.with(|worker| {
        let Worker { session, block, seen, .. } = worker;
        let session: &mut Session = match rows {
            1 => session,
            _ => block.get_or_insert_with(|| served.model.prepared_session(0)),
        };
        let grid = Grid { numbers: came, of_row, of_column };
        // What goes wrong is told by who tries again.
        served.model.run_joint(&plan.joint, session, rows, grid, answered).ok()?;
        clock::lap(Stage::Run);
        if let Ok(drift) = &served.drift {
            let number = |row: usize, column: usize| came[row * of_row + column * of_column];
            drift.numbers(seen, rows, number, |method| plan.numbers(&served.model, method, rows, answered));
            drift.add(seen, false);
        }
        Some(())
    })?;
    infer::start(served, id, out);
    let (outputs, mut from) = (served.model.graph().outputs(), 0);
    for (&at, width) in plan.outputs.iter().zip(plan.joint.widths()) {
        if from > 0 {
            out.push(b',');
        }
        infer::describe(&outputs[at], rows, out);
        infer::data(&outputs[at], &answered[from..from + rows * width], out);
        out.push(b'}');
        from += rows * width;
    }
    out.extend_from_slice(b"]}");
    clock::lap(Stage::Encode);
    Some(rows)
}

impl Plan {
    /// The numbers that a method has answered, and its columns.
    fn numbers<'a>(&self, model: &Model, method: Method, rows: usize, all: &'a [f64]) -> Option<(&'a [f64], usize)> {
        let mut from = 0;
        for (&at, width) in self.outputs.iter().zip(self.joint.widths()) {
            if model.graph().outputs()[at].method == method {
                return Some((&all[from..from + rows * width], width));
            }
            from += rows * width;
        }
        None
    }
}

/// What is asked, beside the numbers.
struct Asked<'b> {
    id: Option<&'b str>,
    rows: usize,
}

/// Reads JSON, as long as it is what is expected.
struct Scan<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Scan<'b> {
    /// The next byte that is no white space.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.bytes.get(self.at)?;
            if !matches!(byte, b' ' | b'\n' | b'\t' | b'\r') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    #[inline]
    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    /// Whether a list or an object goes on, or ends with `end`.
    #[inline]
    fn goes_on(&mut self, end: u8) -> Option<bool> {
        let byte = self.peek()?;
        self.at += 1;
        match byte {
            b',' => Some(true),
            byte if byte == end => Some(false),
            _ => None,
        }
    }

    /// A text without escapes.
    fn text(&mut self) -> Option<&'b [u8]> {
        self.take(b'"')?;
        let rest = &self.bytes[self.at..];
        let length = rest.iter().position(|&b| b == b'"' || b == b'\\' || b < 0x20)?;
        self.at += length + 1;
        (rest[length] == b'"').then(|| &rest[..length])
    }

    fn key(&mut self) -> Option<&'b [u8]> {
        let key = self.text()?;
        self.take(b':')?;
        Some(key)
    }

    fn request(mut self, model: &Model, came: &mut Vec<f64>) -> Option<Asked<'b>> {
        let (mut id, mut rows) = (None, None);
        self.take(b'{')?;
        loop {
            match self.key()? {
                b"id" if id.is_none() => id = Some(self.text().filter(|t| t.is_ascii())?),
                b"inputs" if rows.is_none() => rows = Some(self.inputs(model, came)?),
                _ => return None,
            }
            if !self.goes_on(b'}')? {
                break;
            }
        }
        let id = id.map(std::str::from_utf8).transpose().ok()?;
        (self.peek().is_none()).then_some(())?;
        Some(Asked { id, rows: rows? })
    }

    /// Reads the tensors, which come in the order of the model's inputs; returns the rows.
    fn inputs(&mut self, model: &Model, came: &mut Vec<f64>) -> Option<usize> {
        let schema = model.schema();
        self.take(b'[')?;
        if !schema.named {
            let (shape, rank) = self.input(None, came)?;
            let fits = rank == 2 && shape[1] == schema.inputs.len();
            return (fits && !self.goes_on(b']')?).then_some(shape[0]);
        }
        let mut rows = 0;
        for (at, input) in schema.inputs.iter().enumerate() {
            let before = came.len();
            let (shape, _) = self.input(Some(&input.name), came)?;
            if at == 0 {
                rows = shape[0];
            }
            let last = at + 1 == schema.inputs.len();
            if came.len() - before != rows || self.goes_on(b']')? == last {
                return None;
            }
        }
        Some(rows)
    }

    /// Reads one tensor of this name, or the matrix, and of one or two dimensions, which are returned with their number.
    fn input(&mut self, name: Option<&str>, came: &mut Vec<f64>) -> Option<([usize; 2], usize)> {
        let (mut named, mut shape, mut datatype, mut data) = (false, None, None, None);
        let mut rows = None;
        self.take(b'{')?;
        loop {
            match self.key()? {
                b"name" if !named => {
                    let came = std::str::from_utf8(self.text()?).ok()?;
                    named = name.map_or_else(|| is_matrix(came), |name| name == came).then_some(true)?;
                }
                b"shape" if shape.is_none() => shape = Some(self.shape()?),
                b"datatype" if datatype.is_none() => {
                    datatype = Some(Datatype::parse(std::str::from_utf8(self.text()?).ok()?)?);
                }
                b"data" if data.is_none() => {
                    let from = came.len();
                    rows = self.data(came)?;
                    data = Some(from);
                }
                _ => return None,
            }
            if !self.goes_on(b'}')? {
                break;
            }
        }
        let ((shape, rank), data) = (shape?, &mut came[data?..]);
        let count = shape[..rank].iter().try_fold(1usize, |n, &d| n.checked_mul(d))?;
        // Lists of a list are the rows of the shape.
        let nested = rows.is_none_or(|rows| rank == 2 && rows == shape);
        if !named || data.len() != count || !nested {
            return None;
        }
        match datatype? {
            Datatype::Fp64 => {}
            // These have no form in JSON.
            Datatype::Bytes | Datatype::Fp16 | Datatype::Bf16 => return None,
            // What is missing is so in every type.
            other => data.iter_mut().filter(|x| !x.is_nan()).try_for_each(|x| other.of_json(*x).map(|y| *x = y))?,
        }
        Some((shape, rank))
    }

    fn shape(&mut self) -> Option<([usize; 2], usize)> {
        let (mut shape, mut rank) = ([0; 2], 0);
        self.take(b'[')?;
        loop {
            self.peek()?;
            let rest = &self.bytes[self.at..];
            let digits = rest.iter().take_while(|b| b.is_ascii_digit()).count();
            // Zeros in front are no JSON.
            if digits == 0 || digits > 15 || (digits > 1 && rest[0] == b'0') {
                return None;
            }
            *shape.get_mut(rank)? = rest[..digits].iter().fold(0, |n, d| n * 10 + usize::from(d - b'0'));
            rank += 1;
            self.at += digits;
            if !self.goes_on(b']')? {
                return Some((shape, rank));
            }
        }
    }

    /// Reads a list of numbers, or of lists of as many numbers each: how many, and of how many.
    fn data(&mut self, came: &mut Vec<f64>) -> Option<Option<[usize; 2]>> {
        self.take(b'[')?;
        if self.peek()? != b'[' {
            return self.list(came).map(|()| None);
        }
        let (mut count, mut width) = (0, 0);
        loop {
            let from = came.len();
            self.take(b'[')?;
            self.list(came)?;
            count += 1;
            if count == 1 {
                width = came.len() - from;
            }
            if came.len() - from != width {
                return None;
            }
            if !self.goes_on(b']')? {
                return Some(Some([count, width]));
            }
        }
    }

    /// Reads the numbers of a list that has begun.
    fn list(&mut self, came: &mut Vec<f64>) -> Option<()> {
        loop {
            match self.peek()? {
                b'-' | b'0'..=b'9' => came.push(self.number()?),
                b'n' => self.word(b"null", f64::NAN, came)?,
                // No JSON, but what Python writes.
                b'N' => self.word(b"NaN", f64::NAN, came)?,
                b't' => self.word(b"true", 1.0, came)?,
                b'f' => self.word(b"false", 0.0, came)?,
                _ => return None,
            }
            if !self.goes_on(b']')? {
                return Some(());
            }
        }
    }

    fn word(&mut self, word: &[u8], value: f64, came: &mut Vec<f64>) -> Option<()> {
        self.bytes[self.at..].starts_with(word).then(|| {
            self.at += word.len();
            came.push(value);
        })
    }

    /// A number of JSON's grammar, rounded to the nearest as everywhere.
    #[inline]
    fn number(&mut self) -> Option<f64> {
        let (x, size) = decimal::read(&self.bytes[self.at..])?;
        self.at += size;
        x.is_finite().then_some(x)
    }
}

#[cfg(test)]
mod tests;
