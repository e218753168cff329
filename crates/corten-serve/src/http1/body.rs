//! Bodies: as long as their head says, or in chunks.

use std::time::Instant;

use hyper::body::Bytes;

use super::head::{is_token, is_value};
use super::wire::Wire;
use crate::pace::Pace;

/// Most bytes of a chunk's size with what is told beside it, and of all trailers.
const MAX_LINE: usize = 1 << 10;
const MAX_TRAILERS: usize = 16 << 10;
/// Most memory that is taken for a body before its bytes are there.
const AHEAD: u64 = 64 << 10;

/// How the end of a body is told.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Framing {
    /// So many bytes are still to come.
    Length(u64),
    Chunked(Chunks),
}

impl Framing {
    pub(crate) fn chunked() -> Self {
        Self::Chunked(Chunks { place: Place::Size, left: 0, digits: 0, length: 0 })
    }

    /// Whether the body is read to its end.
    pub(crate) fn is_done(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunks) => chunks.place == Place::Done,
        }
    }

    /// Fewest bytes that are still to come.
    pub(crate) fn least(&self) -> u64 {
        match self {
            Self::Length(left) => *left,
            // The rest of a chunk, once its size is there.
            Self::Chunked(chunks) if chunks.place == Place::Data => chunks.left,
            Self::Chunked(_) => 0,
        }
    }

    /// Takes what belongs to the body off the start of `bytes`; returns how many bytes that were.
    ///
    /// # Errors
    /// For chunks that are none.
    pub(crate) fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, &'static str> {
        match self {
            Self::Length(left) => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                out.extend_from_slice(&bytes[..count]);
                *left -= count as u64;
                Ok(count)
            }
            Self::Chunked(chunks) => chunks.take(bytes, out),
        }
    }
}

/// Where in the chunks of a body the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Size,
    /// What is told of a chunk beside its size, which nobody here reads.
    Told,
    SizeEnd,
    Data,
    DataCr,
    DataEnd,
    /// The first byte of a line behind the last chunk.
    Line,
    Name,
    Value,
    LineEnd,
    LastEnd,
    Done,
}

/// Chunks (RFC 9112, section 7.1), read byte by byte around their data.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chunks {
    place: Place,
    /// Bytes of the chunk that are still to come.
    left: u64,
    digits: u8,
    /// Bytes of this line, or of all trailers.
    length: usize,
}

impl Chunks {
    fn take(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<usize, &'static str> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if self.place == Place::Done {
                break;
            }
            if self.place == Place::Data {
                let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len() - at);
                out.extend_from_slice(&bytes[at..at + count]);
                self.left -= count as u64;
                at += count;
                if self.left == 0 {
                    self.place = Place::DataCr;
                }
                continue;
            }
            self.step(byte)?;
            at += 1;
        }
        Ok(at)
    }

    fn step(&mut self, byte: u8) -> Result<(), &'static str> {
        self.length += 1;
        let (most, problem) = match self.place {
            Place::Line | Place::Name | Place::Value | Place::LineEnd => (MAX_TRAILERS, "the trailers are too long"),
            _ => (MAX_LINE, "the line of a chunk's size is too long"),
        };
        if self.length > most {
            return Err(problem);
        }
        let expect = |wanted: u8, problem| if byte == wanted { Ok(()) } else { Err(problem) };
        self.place = match self.place {
            Place::Size => match (char::from(byte).to_digit(16), byte) {
                (Some(digit), _) => {
                    // As many as 64 bits have; more is no size of a body.
                    if self.digits == 15 {
                        return Err("a chunk's size is too large");
                    }
                    (self.digits, self.left) = (self.digits + 1, self.left * 16 + u64::from(digit));
                    Place::Size
                }
                (None, _) if self.digits == 0 => return Err("a chunk's size must be hexadecimal digits"),
                (None, b';') => Place::Told,
                (None, b'\r') => Place::SizeEnd,
                _ => return Err("a chunk's size must be hexadecimal digits"),
            },
            Place::Told if byte == b'\r' => Place::SizeEnd,
            Place::Told if is_value(byte) => Place::Told,
            Place::Told => return Err("a control character beside a chunk's size"),
            Place::SizeEnd => {
                expect(b'\n', "a chunk's size must end with CR and LF")?;
                self.length = 0;
                if self.left == 0 { Place::Line } else { Place::Data }
            }
            Place::DataCr => {
                expect(b'\r', "a chunk must end with CR and LF")?;
                Place::DataEnd
            }
            Place::DataEnd => {
                expect(b'\n', "a chunk must end with CR and LF")?;
                (self.digits, self.length) = (0, 0);
                Place::Size
            }
            Place::Line if byte == b'\r' => Place::LastEnd,
            Place::Line | Place::Name if is_token(byte) => Place::Name,
            Place::Name if byte == b':' => Place::Value,
            Place::Line | Place::Name => return Err("a trailer must be a name, a colon and a value"),
            Place::Value if byte == b'\r' => Place::LineEnd,
            Place::Value if is_value(byte) => Place::Value,
            Place::Value => return Err("a control character in a trailer"),
            Place::LineEnd => {
                expect(b'\n', "a trailer must end with CR and LF")?;
                Place::Line
            }
            Place::LastEnd => {
                expect(b'\n', "the last chunk must end with CR and LF")?;
                Place::Done
            }
            Place::Data | Place::Done => self.place,
        };
        Ok(())
    }
}

/// Why a body isn't read.
#[derive(Debug)]
pub(crate) enum Unread {
    TooLarge,
    /// Its request isn't waited for any longer.
    Late,
    /// It takes too long, for this reason.
    Slow(String),
    Broken(String),
}

/// How far a body is read.
pub(crate) struct Reading {
    pub(crate) framing: Framing,
    /// Whether the client waits for a word before it sends the body.
    waits: bool,
    /// Whether there was one that couldn't be read.
    failed: bool,
}

impl Reading {
    pub(crate) fn new(framing: Framing, waits: bool) -> Self {
        Self { framing, waits, failed: false }
    }

    /// How many bytes are to be read before the next request, [`u64::MAX`] where nobody knows.
    pub(crate) fn left(&self) -> u64 {
        match self.framing {
            framing if framing.is_done() => 0,
            Framing::Length(left) if !self.waits && !self.failed => left,
            _ => u64::MAX,
        }
    }
}

/// The body of a request, to be read off its connection.
pub(crate) struct Body<'c, 's> {
    pub(crate) wire: &'c mut Wire<'s>,
    pub(crate) reading: &'c mut Reading,
}

impl Body<'_, '_> {
    /// Fewest bytes that are still to come.
    pub(crate) fn least(&self) -> usize {
        usize::try_from(self.reading.framing.least()).unwrap_or(usize::MAX)
    }

    /// Reads the whole body.
    ///
    /// # Errors
    /// For one of more than `limit` bytes, for one that comes more slowly than its pace, or isn't there at the deadline, and for
    /// one that breaks off.
    pub(crate) async fn read(mut self, limit: usize, pace: Pace, deadline: Option<Instant>) -> Result<Bytes, Unread> {
        // A length that is too great is refused before its bytes come.
        let least = self.reading.framing.least();
        if least > limit as u64 {
            return Err(Unread::TooLarge);
        }
        let mut out = Vec::with_capacity(least.min(AHEAD) as usize);
        let read = match self.take(&mut out, limit) {
            Ok(false) => self.rest(&mut out, limit, pace, deadline).await,
            taken => taken.map(drop),
        };
        self.reading.failed = read.is_err();
        read.map(|()| out.into())
    }

    /// Takes what is there; whether that is all.
    fn take(&mut self, out: &mut Vec<u8>, limit: usize) -> Result<bool, Unread> {
        let taken = self.reading.framing.take(self.wire.rest(), out);
        self.wire.consume(taken.map_err(|problem| Unread::Broken(problem.to_owned()))?);
        // A chunk that is too large is refused before its bytes come, as a length is.
        let least = self.reading.framing.least().saturating_add(out.len() as u64);
        if least > limit as u64 { Err(Unread::TooLarge) } else { Ok(self.reading.framing.is_done()) }
    }

    async fn rest(
        &mut self,
        out: &mut Vec<u8>,
        limit: usize,
        pace: Pace,
        deadline: Option<Instant>,
    ) -> Result<(), Unread> {
        let begun = Instant::now();
        let broken = |e: std::io::Error| Unread::Broken(e.to_string());
        if std::mem::take(&mut self.reading.waits) && out.is_empty() {
            self.wire.out().extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        // Answers to earlier requests may wait in the same memory.
        self.wire.flush().await.map_err(broken)?;
        loop {
            let (due, late) = match (pace.limit(begun, out.len()), deadline) {
                (due, Some(deadline)) if deadline < due => (deadline, true),
                (due, _) => (due, false),
            };
            let filled = tokio::time::timeout_at(due.into(), self.wire.fill()).await;
            let slow = |_| if late { Unread::Late } else { Unread::Slow(pace.problem(begun, "body")) };
            if filled.map_err(slow)?.map_err(broken)? == 0 {
                return Err(Unread::Broken("the connection has ended".into()));
            }
            if self.take(out, limit)? {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads chunks cut into pieces of `step` bytes; the body and how many bytes it took.
    fn read(text: &str, step: usize) -> Result<(Vec<u8>, usize), &'static str> {
        let (mut framing, mut out, mut used) = (Framing::chunked(), Vec::new(), 0);
        for piece in text.as_bytes().chunks(step) {
            let count = framing.take(piece, &mut out)?;
            used += count;
            if count < piece.len() {
                break;
            }
        }
        if framing.is_done() { Ok((out, used)) } else { Err("partial") }
    }

    #[test]
    fn chunks_are_joined_however_they_are_cut() {
        let text = "4\r\nWiki\r\n6;a=\"b\";c\r\npedia \r\nE\r\nin \r\n\r\nchunks.\r\n0\r\nA: b\r\nC:\r\n\r\n";
        for step in 1..text.len() {
            let whole = format!("{text}GET");
            let (body, used) = read(&whole, step).unwrap();
            assert_eq!((body.as_slice(), used), (&b"Wikipedia in \r\n\r\nchunks."[..], text.len()), "{step}");
        }
        for end in 0..text.len() {
            assert_eq!(read(&text[..end], 7), Err("partial"), "{end}");
        }
        assert_eq!(read("00000\r\n\r\n", 3).unwrap().0, b"");
    }

    #[test]
    fn chunks_that_could_be_read_in_two_ways_are_refused() {
        for text in [
            "\r\n",
            "x\r\n",
            "-1\r\n",
            "+1\r\n",
            "0x1\r\n",
            " 1\r\n",
            "1 \r\n",
            "1\t\r\n",
            "1\na",
            "1\r\na\n",
            "1\r\nab\r\n",
            "1\r\na\r\r",
            "1,1\r\n",
            "1;a\nb",
            "1;\0\r\n",
            "1000000000000000\r\n",
            "ffffffffffffffffff\r\n",
            "0\r\n a: b\r\n",
            "0\r\n: b\r\n",
            "0\r\na b: c\r\n",
            "0\r\na: b\n",
            "0\r\na: b\r\rc",
            "0\r\n\r\r",
            "1\r\r",
        ] {
            for step in [1, 5, 100] {
                let problem = read(text, step).unwrap_err();
                assert!(problem != "partial", "{text:?}");
            }
        }
        let long = format!("1;{}\r\n", "a".repeat(MAX_LINE));
        assert!(read(&long, 9).unwrap_err().contains("too long"));
        let many = format!("0\r\n{}\r\n", "a: b\r\n".repeat(MAX_TRAILERS / 6 + 1));
        assert!(read(&many, 1000).unwrap_err().contains("trailers"));
    }
}
