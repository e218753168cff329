//! Records of CSV (RFC 4180), cut into fields where they lie.
//!
//! Lines end in LF, CR LF or CR. A field that begins with a quote ends with one, and two quotes inside stand for one; a
//! quote further on in a field is a character like others. Lines without anything are passed over.

use alloc::format;
use alloc::vec::Vec;

use crate::{Error, Result};

/// Where a look at a record stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Start,
    Plain,
    Quoted,
    /// Behind the closing quote.
    Closed,
    /// Behind what no record has: the line is passed over.
    Lost,
}

/// A field, without its quotes.
#[derive(Clone, Copy, Debug)]
struct Field {
    start: u32,
    end: u32,
    /// Whether it has quotes that stand for one.
    doubled: bool,
}

/// What a look at the bytes of a record found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// A record of so many bytes, its line's end included.
    Record(usize),
    /// A line of so many bytes with nothing in it.
    Blank(usize),
    /// So many bytes that are no record, and why.
    Broken(usize, &'static str),
    /// The record goes on behind the bytes that were given.
    More,
}

/// Cuts records into fields, each byte looked at once however little comes at a time.
#[derive(Clone, Debug)]
pub struct Records {
    state: State,
    /// The next byte to look at, and where the field begins.
    at: usize,
    field: usize,
    doubled: bool,
    fields: Vec<Field>,
    /// The line that the record begins on, and lines that have ended.
    line: u64,
    ended: u64,
    after_return: bool,
    fresh: bool,
}

impl Records {
    /// Begins at this line, counted from 1.
    pub fn new(line: u64) -> Self {
        Self {
            state: State::Start,
            at: 0,
            field: 0,
            doubled: false,
            fields: Vec::new(),
            line,
            ended: line.saturating_sub(1),
            after_return: false,
            fresh: true,
        }
    }

    /// The line, counted from 1, on which the record found last begins.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// The line on which the next record begins.
    pub fn next_line(&self) -> u64 {
        self.ended + 1
    }

    /// Fields of the record found last.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether the record found last has no fields.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Compares the record found last with the header.
    ///
    /// # Errors
    /// [`Error::Value`] when it has another number of fields.
    pub fn check_width(&self, width: usize) -> Result<()> {
        let given = self.fields.len();
        if given == width {
            return Ok(());
        }
        Err(Error::value(format!("the record has {given} fields where the header has {width}")))
    }

    /// A field of the record found last in `bytes`; `room` holds what is not there in one piece.
    ///
    /// # Panics
    /// For a field that isn't there.
    #[inline]
    pub fn get<'b>(&self, field: usize, bytes: &'b [u8], room: &'b mut Vec<u8>) -> &'b [u8] {
        let Field { start, end, doubled } = self.fields[field];
        let field = &bytes[start as usize..end as usize];
        if !doubled {
            return field;
        }
        room.clear();
        let mut quoted = false;
        for &byte in field {
            quoted = byte == b'"' && !quoted;
            if !quoted {
                room.push(byte);
            }
        }
        room
    }

    /// Looks at a record: `bytes` begins with it, and nothing comes behind them where `ended`. After [`Found::More`] the same
    /// bytes and more are given.
    pub fn next(&mut self, bytes: &[u8], ended: bool) -> Found {
        if self.fresh {
            if self.after_return {
                // The other half of a line's end may come.
                match bytes.first() {
                    None if !ended => return Found::More,
                    first => self.after_return = first == Some(&b'\n'),
                }
                if core::mem::take(&mut self.after_return) {
                    return Found::Blank(1);
                }
            }
            (self.state, self.at, self.fresh) = (State::Start, 0, false);
            self.fields.clear();
            self.line = self.ended + 1;
        }
        loop {
            match self.state {
                State::Start => match bytes.get(self.at) {
                    None if !ended => return Found::More,
                    Some(b'"') => {
                        self.at += 1;
                        (self.state, self.field, self.doubled) = (State::Quoted, self.at, false);
                    }
                    _ => (self.state, self.field) = (State::Plain, self.at),
                },
                State::Plain => {
                    let rest = &bytes[self.at..];
                    let stop = rest.iter().position(|b| matches!(b, b',' | b'\n' | b'\r'));
                    self.at += stop.unwrap_or(rest.len());
                    if stop.is_none() && !ended {
                        return Found::More;
                    }
                    self.push(self.at, false);
                    if bytes.get(self.at) != Some(&b',') {
                        let is_blank = self.at == 0;
                        let size = self.end(bytes);
                        return if is_blank { Found::Blank(size) } else { Found::Record(size) };
                    }
                    self.at += 1;
                    self.state = State::Start;
                }
                State::Quoted => {
                    let rest = &bytes[self.at..];
                    let Some(quote) = rest.iter().position(|&b| b == b'"') else {
                        self.at = bytes.len();
                        if !ended {
                            return Found::More;
                        }
                        self.ended += newlines(&bytes[self.field..]);
                        self.fresh = true;
                        return Found::Broken(bytes.len(), "the CSV input ends within quotes");
                    };
                    self.at += quote;
                    match bytes.get(self.at + 1) {
                        None if !ended => return Found::More,
                        Some(b'"') => {
                            self.doubled = true;
                            self.at += 2;
                        }
                        _ => {
                            self.ended += newlines(&bytes[self.field..self.at]);
                            self.push(self.at, self.doubled);
                            self.at += 1;
                            self.state = State::Closed;
                        }
                    }
                }
                State::Closed => match bytes.get(self.at) {
                    None if !ended => return Found::More,
                    None | Some(b'\n' | b'\r') => return Found::Record(self.end(bytes)),
                    Some(b',') => {
                        self.at += 1;
                        self.state = State::Start;
                    }
                    Some(_) => self.state = State::Lost,
                },
                State::Lost => {
                    let rest = &bytes[self.at..];
                    let stop = rest.iter().position(|b| matches!(b, b'\n' | b'\r'));
                    self.at += stop.unwrap_or(rest.len());
                    if stop.is_none() && !ended {
                        return Found::More;
                    }
                    return Found::Broken(
                        self.end(bytes),
                        "a field goes on behind its closing quote; quotes inside a quoted field are doubled",
                    );
                }
            }
        }
    }

    fn push(&mut self, end: usize, doubled: bool) {
        self.fields.push(Field { start: self.field as u32, end: end as u32, doubled });
    }

    /// Ends the record at a line's end or the input's; returns its size.
    fn end(&mut self, bytes: &[u8]) -> usize {
        self.fresh = true;
        self.ended += 1;
        match (bytes.get(self.at), bytes.get(self.at + 1)) {
            (Some(b'\r'), Some(b'\n')) => self.at + 2,
            (Some(b'\r'), None) => {
                self.after_return = true;
                self.at + 1
            }
            (Some(_), _) => self.at + 1,
            (None, _) => self.at,
        }
    }
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|b| **b == b'\n').count() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::{String, ToString};
    use alloc::vec;

    /// Records as `line: fields`, from bytes that come `step` at a time.
    fn read(text: &str, step: usize) -> Vec<String> {
        let (mut records, mut out, mut from, mut to) = (Records::new(1), Vec::new(), 0, 0);
        let bytes = text.as_bytes();
        loop {
            let ended = to == bytes.len();
            if ended && from == to {
                return out;
            }
            let here = &bytes[from..to];
            match records.next(here, ended) {
                Found::More => to = (to + step).min(bytes.len()),
                Found::Blank(size) => from += size,
                Found::Broken(size, problem) => {
                    out.push(format!("{}: {problem}", records.line()));
                    from += size;
                }
                Found::Record(size) => {
                    let mut room = Vec::new();
                    let fields: Vec<String> = (0..records.len())
                        .map(|i| String::from_utf8(records.get(i, here, &mut room).to_vec()).unwrap())
                        .collect();
                    out.push(format!("{}: {}", records.line(), fields.join("|")));
                    from += size;
                }
            }
        }
    }

    #[test]
    fn records_are_cut_alike_however_they_come() {
        let quote = "a field goes on behind its closing quote; quotes inside a quoted field are doubled";
        for (text, wanted) in [
            ("a,b\n1,2\n", vec!["1: a|b", "2: 1|2"]),
            ("a,b\r\n1,2\r\n\r\n3,4", vec!["1: a|b", "2: 1|2", "4: 3|4"]),
            ("a\r1\r\r2", vec!["1: a", "2: 1", "4: 2"]),
            ("\"x, \"\"y\"\"\",\"two\nlines\"\n3,\n", vec!["1: x, \"y\"|two\nlines", "3: 3|"]),
            ("\"\"\n\n\"\"\"\"\n", vec!["1: ", "3: \""]),
            ("5\" pipe,a\"b\"c\n1,2", vec!["1: 5\" pipe|a\"b\"c", "2: 1|2"]),
            ("1,", vec!["1: 1|"]),
            ("1,\"x\"", vec!["1: 1|x"]),
            (",\n", vec!["1: |"]),
            ("1,\"x\n2,y\n", vec!["1: the CSV input ends within quotes"]),
            ("1,\"x\"y,\"\n2,\"z\"\n", vec![&*format!("1: {quote}"), "2: 2|z"]),
            ("", vec![]),
        ] {
            for step in 1..=text.len() + 1 {
                assert_eq!(read(text, step), wanted, "{text:?} by {step}");
            }
        }
    }

    #[test]
    fn a_line_is_answered_before_the_rest_of_its_end_has_come() {
        let mut records = Records::new(1);
        assert_eq!(records.next(b"1,2\r", false), Found::Record(4));
        assert_eq!(records.next(b"\n3", false), Found::Blank(1));
        assert_eq!((records.next(b"3\n", false), records.line()), (Found::Record(2), 2));
        assert_eq!(records.next_line().to_string(), "3");
    }
}
