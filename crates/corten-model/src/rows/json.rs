//! A row of JSON straight into a session, without a tree in between.

use std::ops::Range;

use corten_core::{Error, Kind, Result};

use crate::model::Model;
use crate::session::Session;

/// Deepest nesting that is skipped in members that no model reads.
const MAX_DEPTH: usize = 32;
/// Longest text of one value.
const MAX_TEXT: usize = 1 << 20;

/// Reads JSON token by token.
#[derive(Clone, Copy, Debug)]
pub struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
}

fn fault(at: usize, problem: impl std::fmt::Display) -> Error {
    Error::value(format!("JSON, byte {at}: {problem}"))
}

impl<'a> Scanner<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next byte that is not white space, without taking it.
    pub fn peek(&mut self) -> Option<u8> {
        while let Some(b) = self.bytes.get(self.at) {
            if !matches!(b, b' ' | b'\n' | b'\t' | b'\r') {
                return Some(*b);
            }
            self.at += 1;
        }
        None
    }

    /// Takes a byte if it comes next.
    pub fn take(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Takes a byte.
    ///
    /// # Errors
    /// [`Error::Value`] when another one comes.
    pub fn expect(&mut self, byte: u8) -> Result<()> {
        if self.take(byte) {
            return Ok(());
        }
        let found = self.peek().map_or("the end".to_owned(), |b| format!("'{}'", char::from(b)));
        Err(fault(self.at, format!("'{}' is expected, but {found} came", char::from(byte))))
    }

    /// Where the scanner stands.
    pub fn position(&self) -> usize {
        self.at
    }

    /// # Errors
    /// [`Error::Value`] when something comes after the value.
    pub fn end(&mut self) -> Result<()> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(fault(self.at, "nothing may follow the value")),
        }
    }

    /// Appends the text of a string to `out`.
    ///
    /// # Errors
    /// [`Error::Value`] for what is no string, and for broken escapes and UTF-8.
    pub fn string(&mut self, out: &mut Vec<u8>) -> Result<()> {
        self.expect(b'"')?;
        let from = out.len();
        loop {
            let rest = &self.bytes[self.at..];
            let Some(stop) = rest.iter().position(|&b| b == b'"' || b == b'\\' || b < 0x20) else {
                return Err(fault(self.at, "a string has no end"));
            };
            out.extend_from_slice(&rest[..stop]);
            if out.len() - from > MAX_TEXT {
                return Err(Error::Limit(format!("a text of more than {MAX_TEXT} bytes")));
            }
            self.at += stop + 1;
            match rest[stop] {
                b'"' => break,
                b'\\' => self.escape(out)?,
                _ => return Err(fault(self.at - 1, "a control character in a string")),
            }
        }
        match std::str::from_utf8(&out[from..]) {
            Ok(_) => Ok(()),
            Err(_) => Err(fault(self.at, "a string that is no UTF-8")),
        }
    }

    fn escape(&mut self, out: &mut Vec<u8>) -> Result<()> {
        let byte = self.bytes.get(self.at).copied().unwrap_or(0);
        self.at += 1;
        out.push(match byte {
            b'"' | b'\\' | b'/' => byte,
            b'b' => 8,
            b'f' => 12,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let mut code = self.hex()?;
                if (0xd800..0xdc00).contains(&code) && self.bytes[self.at..].starts_with(b"\\u") {
                    self.at += 2;
                    let low = self.hex()?;
                    if !(0xdc00..0xe000).contains(&low) {
                        return Err(fault(self.at, "half of a surrogate pair"));
                    }
                    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
                }
                let c = char::from_u32(code).ok_or_else(|| fault(self.at, "half of a surrogate pair"))?;
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                return Ok(());
            }
            _ => return Err(fault(self.at - 1, "an escape that JSON doesn't have")),
        });
        Ok(())
    }

    fn hex(&mut self) -> Result<u32> {
        let digits = self.bytes.get(self.at..self.at + 4).and_then(|d| std::str::from_utf8(d).ok());
        let code = digits.filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let code = code.and_then(|d| u32::from_str_radix(d, 16).ok());
        self.at += 4;
        code.ok_or_else(|| fault(self.at - 4, "four hexadecimal digits are expected"))
    }

    /// A number, `true` (1), `false` (0), `null` (NaN), or the tokens `NaN`, `Infinity`, `-Infinity` that Python writes.
    ///
    /// # Errors
    /// [`Error::Value`] for anything else.
    pub fn number(&mut self) -> Result<f64> {
        self.peek();
        // A broken escape may have led beyond the end.
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let stop = rest.iter().position(|b| !matches!(b, b'+' | b'-' | b'.' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z'));
        let token = &rest[..stop.unwrap_or(rest.len())];
        let value = match token {
            b"null" | b"NaN" => f64::NAN,
            b"true" => 1.0,
            b"false" => 0.0,
            b"Infinity" => f64::INFINITY,
            b"-Infinity" => f64::NEG_INFINITY,
            _ => {
                // The standard parser rounds correctly, but takes more spellings than JSON has.
                let parsed = std::str::from_utf8(token).ok().filter(|_| is_number(token)).and_then(|t| t.parse().ok());
                let parsed: f64 = parsed.ok_or_else(|| fault(self.at, "a value is expected"))?;
                if parsed.is_infinite() {
                    return Err(fault(self.at, "an infinite number (it lies beyond the range of f64)"));
                }
                parsed
            }
        };
        self.at += token.len();
        Ok(value)
    }

    /// Passes over any value.
    ///
    /// # Errors
    /// [`Error::Value`] for what is no JSON, or nested too deep.
    pub fn skip(&mut self) -> Result<()> {
        self.skip_within(0)
    }

    fn skip_within(&mut self, depth: usize) -> Result<()> {
        if depth > MAX_DEPTH {
            return Err(fault(self.at, format!("nested more than {MAX_DEPTH} deep")));
        }
        match self.peek() {
            Some(b'"') => self.string(&mut Vec::new()),
            Some(b'[') => {
                self.at += 1;
                if self.take(b']') {
                    return Ok(());
                }
                loop {
                    self.skip_within(depth + 1)?;
                    if !self.take(b',') {
                        return self.expect(b']');
                    }
                }
            }
            Some(b'{') => {
                self.at += 1;
                if self.take(b'}') {
                    return Ok(());
                }
                loop {
                    self.string(&mut Vec::new())?;
                    self.expect(b':')?;
                    self.skip_within(depth + 1)?;
                    if !self.take(b',') {
                        return self.expect(b'}');
                    }
                }
            }
            _ => self.number().map(drop),
        }
    }
}

/// Whether bytes are a number by JSON's grammar (RFC 8259, section 6).
fn is_number(token: &[u8]) -> bool {
    let digits = |t: &[u8]| t.iter().take_while(|b| b.is_ascii_digit()).count();
    let rest = token.strip_prefix(b"-").unwrap_or(token);
    let whole = digits(rest);
    if whole == 0 || (whole > 1 && rest[0] == b'0') {
        return false;
    }
    let mut rest = &rest[whole..];
    if let Some(fraction) = rest.strip_prefix(b".") {
        let count = digits(fraction);
        if count == 0 {
            return false;
        }
        rest = &fraction[count..];
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let exponent = exponent.strip_prefix(b"+").or_else(|| exponent.strip_prefix(b"-")).unwrap_or(exponent);
        return !exponent.is_empty() && digits(exponent) == exponent.len();
    }
    rest.is_empty()
}

/// Reads rows for one model: numbers go into a session, texts are kept until the next row.
#[derive(Clone, Debug)]
pub struct RowReader {
    /// Name, kind and place among the inputs of its kind.
    inputs: Vec<(Vec<u8>, Kind, usize)>,
    /// Inputs by name.
    order: Vec<usize>,
    seen: Vec<bool>,
    key: Vec<u8>,
    bytes: Vec<u8>,
    texts: Vec<Option<Range<usize>>>,
}

impl RowReader {
    /// A reader of rows for this model.
    pub fn new(model: &Model) -> Self {
        let (mut numbers, mut texts) = (0, 0);
        let inputs: Vec<(Vec<u8>, Kind, usize)> = model
            .schema()
            .inputs
            .iter()
            .map(|i| {
                let counter = if i.kind == Kind::Number { &mut numbers } else { &mut texts };
                *counter += 1;
                (i.name.clone().into_bytes(), i.kind, *counter - 1)
            })
            .collect();
        let mut order: Vec<usize> = (0..inputs.len()).collect();
        order.sort_by(|&a, &b| inputs[a].0.cmp(&inputs[b].0));
        Self {
            seen: vec![false; inputs.len()],
            inputs,
            order,
            key: Vec::new(),
            bytes: Vec::new(),
            texts: vec![None; texts],
        }
    }

    /// The texts of the last row, for [`Model::run_row`].
    pub fn texts(&self) -> Vec<Option<&[u8]>> {
        self.texts.iter().map(|t| t.clone().map(|range| &self.bytes[range])).collect()
    }

    fn name(&self, input: usize) -> String {
        String::from_utf8_lossy(&self.inputs[input].0).into_owned()
    }

    /// Forgets the last row.
    pub fn clear(&mut self) {
        self.seen.fill(false);
        self.bytes.clear();
        self.texts.fill(None);
    }

    /// Sets one input from text, as CSV has it: empty is missing.
    ///
    /// # Errors
    /// [`Error::Column`] for text in a column of numbers.
    pub fn set(&mut self, input: usize, value: &str, session: &mut Session) -> Result<()> {
        let (_, kind, at) = self.inputs[input];
        match kind {
            Kind::Number => {
                let number = match value.trim() {
                    "" | "NaN" | "nan" | "NA" => f64::NAN,
                    "true" | "True" | "TRUE" => 1.0,
                    "false" | "False" | "FALSE" => 0.0,
                    text => text.parse().map_err(|_| {
                        Error::column(self.name(input), format!("'{text}' is no number; the model reads numbers here"))
                    })?,
                };
                session.numbers_mut()[at] = number;
            }
            Kind::Text => {
                let start = self.bytes.len();
                self.bytes.extend_from_slice(value.as_bytes());
                self.texts[at] = (!value.is_empty()).then_some(start..self.bytes.len());
            }
        }
        Ok(())
    }

    fn value(&mut self, input: usize, scanner: &mut Scanner<'_>, session: &mut Session) -> Result<()> {
        let (_, kind, at) = self.inputs[input];
        match (kind, scanner.peek()) {
            (Kind::Number, Some(b'"')) => {
                Err(Error::column(self.name(input), "holds text where the model reads numbers"))
            }
            (_, Some(b'[' | b'{')) => {
                Err(Error::column(self.name(input), "holds a list or an object; a number, text or null is needed"))
            }
            (Kind::Number, _) => {
                let number = scanner.number().map_err(|e| Error::column(self.name(input), e))?;
                session.numbers_mut()[at] = number;
                Ok(())
            }
            (Kind::Text, Some(b'"')) => {
                let start = self.bytes.len();
                scanner.string(&mut self.bytes)?;
                self.texts[at] = Some(start..self.bytes.len());
                Ok(())
            }
            (Kind::Text, Some(b'n' | b'N')) => scanner.number().map(drop),
            (Kind::Text, _) => Err(Error::column(self.name(input), "holds a number where the model reads text")),
        }
    }

    /// Reads one row: an object by the names of the columns, or a list in their order.
    ///
    /// # Errors
    /// [`Error::Value`] for what is no JSON, [`Error::MissingColumn`], and [`Error::Column`] for a value of the wrong
    /// kind.
    pub fn read(&mut self, scanner: &mut Scanner<'_>, session: &mut Session) -> Result<()> {
        self.clear();
        if scanner.peek() == Some(b'[') {
            return self.read_list(scanner, session);
        }
        scanner.expect(b'{')?;
        let mut count = 0;
        if !scanner.take(b'}') {
            // Rows mostly have the model's columns in the model's order.
            let mut guess = 0;
            loop {
                let mut key = std::mem::take(&mut self.key);
                key.clear();
                scanner.peek();
                let read = scanner.string(&mut key);
                self.key = key;
                read?;
                scanner.expect(b':')?;
                match self.find(guess) {
                    Some(input) => {
                        if std::mem::replace(&mut self.seen[input], true) {
                            return Err(Error::column(self.name(input), "comes twice in a row"));
                        }
                        self.value(input, scanner, session)?;
                        count += 1;
                        guess = input + 1;
                    }
                    None => scanner.skip()?,
                }
                if !scanner.take(b',') {
                    scanner.expect(b'}')?;
                    break;
                }
            }
        }
        if count < self.inputs.len()
            && let Some(input) = self.seen.iter().position(|s| !s)
        {
            let present: Vec<String> =
                (0..self.inputs.len()).filter(|&i| self.seen[i]).take(20).map(|i| self.name(i)).collect();
            return Err(Error::MissingColumn { column: self.name(input), present: present.join(", ") });
        }
        Ok(())
    }

    fn find(&self, guess: usize) -> Option<usize> {
        if self.inputs.get(guess).is_some_and(|i| i.0 == self.key) {
            return Some(guess);
        }
        self.order.binary_search_by(|&i| self.inputs[i].0.cmp(&self.key)).ok().map(|at| self.order[at])
    }

    fn read_list(&mut self, scanner: &mut Scanner<'_>, session: &mut Session) -> Result<()> {
        scanner.expect(b'[')?;
        for input in 0..self.inputs.len() {
            if input > 0 {
                scanner.expect(b',')?;
            }
            self.value(input, scanner, session)?;
        }
        scanner.expect(b']')
    }
}
