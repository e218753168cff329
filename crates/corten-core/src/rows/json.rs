//! JSON token by token, without a tree in between.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::vec::Vec;

use super::decimal;
use crate::{Error, Result};

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

fn fault(at: usize, problem: impl core::fmt::Display) -> Error {
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
        match core::str::from_utf8(&out[from..]) {
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
        let digits = self.bytes.get(self.at..self.at + 4).and_then(|d| core::str::from_utf8(d).ok());
        let code = digits.filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let code = code.and_then(|d| u32::from_str_radix(d, 16).ok());
        self.at += 4;
        code.ok_or_else(|| fault(self.at - 4, "four hexadecimal digits are expected"))
    }

    /// A number, `true` (1), `false` (0), `null` (NaN), or the tokens `NaN`, `Infinity`, `-Infinity` that Python writes.
    ///
    /// # Errors
    /// [`Error::Value`] for anything else, a number beyond the range of `f64` included.
    pub fn number(&mut self) -> Result<f64> {
        self.peek();
        // A broken escape may have led beyond the end.
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let in_word = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
        if let Some((x, size)) = decimal::read(rest)
            && !rest.get(size).is_some_and(in_word)
        {
            if x.is_infinite() {
                return Err(fault(self.at, "an infinite number (it lies beyond the range of f64)"));
            }
            self.at += size;
            return Ok(x);
        }
        let stop = rest.iter().position(|b| !in_word(b)).unwrap_or(rest.len());
        let value = match &rest[..stop] {
            b"null" | b"NaN" => f64::NAN,
            b"true" => 1.0,
            b"false" => 0.0,
            b"Infinity" => f64::INFINITY,
            b"-Infinity" => f64::NEG_INFINITY,
            _ => return Err(fault(self.at, "a value is expected")),
        };
        self.at += stop;
        Ok(value)
    }

    /// What [`Scanner::number`] reads, as it is written.
    ///
    /// # Errors
    /// As there.
    pub fn word(&mut self) -> Result<&'a [u8]> {
        self.peek();
        let start = self.at;
        self.number()?;
        Ok(&self.bytes[start..self.at])
    }

    /// Passes over any value.
    ///
    /// # Errors
    /// [`Error::Value`] for what is no JSON, or nested too deep.
    pub fn skip(&mut self) -> Result<()> {
        self.skip_within(0)
    }

    fn skip_within(&mut self, depth: usize) -> Result<()> {
        match self.peek() {
            Some(b'[' | b'{') if depth == MAX_DEPTH => {
                Err(fault(self.at, format!("nested more than {MAX_DEPTH} deep")))
            }
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
