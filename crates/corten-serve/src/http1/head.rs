//! The head of a request, read as strictly as RFC 9112 allows: whatever a proxy before this server could read otherwise than
//! the server is refused, and the connection with it.

use hyper::StatusCode;

use super::body::Framing;

/// Longest head, in bytes.
pub(crate) const MAX_HEAD: usize = 16 << 10;
/// Most fields of a head.
pub(crate) const MAX_FIELDS: usize = 64;
/// Longest method, in bytes.
const MAX_METHOD: usize = 32;

/// Bytes of tokens: methods and names of fields (RFC 9110, section 5.6.2).
const TOKEN: [bool; 256] = {
    let mut token = [false; 256];
    let marks = b"!#$%&'*+-.^_`|~";
    let mut at = 0;
    while at < marks.len() {
        token[marks[at] as usize] = true;
        at += 1;
    }
    let mut byte = 0;
    while byte < 128 {
        if (byte as u8).is_ascii_alphanumeric() {
            token[byte] = true;
        }
        byte += 1;
    }
    token
};

/// Bytes of values of fields: all but control characters, of which the tab is none.
const VALUE: [bool; 256] = {
    let mut value = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        value[byte] = byte == 9 || (byte >= 32 && byte != 127);
        byte += 1;
    }
    value
};

/// Whether a byte may stand in a token.
pub(crate) fn is_token(byte: u8) -> bool {
    TOKEN[usize::from(byte)]
}

/// Whether a byte may stand in the value of a field.
pub(crate) fn is_value(byte: u8) -> bool {
    VALUE[usize::from(byte)]
}

/// Why a request isn't read: its connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) status: StatusCode,
    pub(crate) problem: &'static str,
}

/// A request that is none.
pub(crate) const fn bad(problem: &'static str) -> Fault {
    Fault { status: StatusCode::BAD_REQUEST, problem }
}

const fn too_long(problem: &'static str) -> Fault {
    Fault { status: StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, problem }
}

/// A head, in the bytes that came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head<'b> {
    pub(crate) method: &'b [u8],
    pub(crate) target: &'b [u8],
    /// Whether it is HTTP/1.0.
    pub(crate) old: bool,
    /// The lines of its fields.
    lines: &'b [u8],
    /// All of its bytes, the empty line too.
    pub(crate) length: usize,
    pub(crate) framing: Framing,
    /// Whether the connection stays open after the answer.
    pub(crate) keep: bool,
    /// Whether the client waits for a word before it sends the body.
    pub(crate) expects: bool,
    pub(crate) known: Known<'b>,
}

/// What is told apart without a table of fields.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Known<'b> {
    pub(crate) kind: Option<&'b [u8]>,
    pub(crate) id: Option<&'b [u8]>,
    /// Whether a field came, or came twice, that asks for more than most requests do.
    pub(crate) special: bool,
}

impl<'b> Head<'b> {
    /// Reads a head from the start of bytes; none while it isn't whole.
    ///
    /// # Errors
    /// As soon as the bytes can't become a head any more.
    pub(crate) fn read(bytes: &'b [u8]) -> Result<Option<Self>, Fault> {
        let read = Reader { bytes, at: 0 }.head();
        match read {
            Err(Stop::Fault(fault)) => Err(fault),
            Err(Stop::Partial) if bytes.len() > MAX_HEAD => Err(too_long("a head of more than 16384 bytes")),
            Ok(head) if head.length > MAX_HEAD => Err(too_long("a head of more than 16384 bytes")),
            Err(Stop::Partial) => Ok(None),
            Ok(head) => Ok(Some(head)),
        }
    }

    /// Its fields: names and values, without the white space around them.
    pub(crate) fn fields(&self) -> impl Iterator<Item = (&'b [u8], &'b [u8])> + use<'b> {
        let lines = self.lines.split(|&b| b == b'\n').filter(|line| !line.is_empty());
        // The reader has found a colon in each.
        lines.filter_map(|line| {
            let colon = line.iter().position(|&b| b == b':')?;
            Some((&line[..colon], line[colon + 1..].trim_ascii()))
        })
    }
}

enum Stop {
    Partial,
    Fault(Fault),
}

impl From<Fault> for Stop {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// What the fields say about body and connection.
#[derive(Default)]
struct Said<'b> {
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep: bool,
    expects: bool,
    host: bool,
    known: Known<'b>,
}

struct Reader<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Reader<'b> {
    #[inline]
    fn next(&self) -> Result<u8, Stop> {
        self.bytes.get(self.at).copied().ok_or(Stop::Partial)
    }

    /// Takes the bytes that belong to a kind; there is one more behind them.
    #[inline]
    fn run(&mut self, of: &[bool; 256]) -> Result<&'b [u8], Stop> {
        let start = self.at;
        let rest = &self.bytes[start..];
        let stop = rest.iter().position(|&b| !of[usize::from(b)]);
        self.at += stop.unwrap_or(rest.len());
        match stop {
            Some(stop) => Ok(&rest[..stop]),
            None => Err(Stop::Partial),
        }
    }

    /// Takes a byte that must come.
    #[inline]
    fn expect(&mut self, byte: u8, problem: &'static str) -> Result<(), Stop> {
        if self.next()? != byte {
            return Err(bad(problem).into());
        }
        self.at += 1;
        Ok(())
    }

    fn line_end(&mut self, problem: &'static str) -> Result<(), Stop> {
        self.expect(b'\r', problem)?;
        self.expect(b'\n', "a CR without its LF")
    }

    fn head(mut self) -> Result<Head<'b>, Stop> {
        // An empty line may come before a request (RFC 9112, section 2.2): some clients end a body with one.
        if self.next()? == b'\r' {
            self.line_end("a CR without its LF")?;
        }
        let method = self.method()?;
        let target = self.target()?;
        let old = self.version()?;
        let start = self.at;
        let (mut said, mut count) = (Said::default(), 0);
        loop {
            if self.next()? == b'\r' {
                break;
            }
            count += 1;
            if count > MAX_FIELDS {
                return Err(too_long("more than 64 fields in a head").into());
            }
            let (name, value) = self.field()?;
            said.take(name, value, old)?;
        }
        let lines = &self.bytes[start..self.at];
        self.line_end("a CR without its LF")?;
        let framing = match (said.length, said.chunked) {
            (Some(_), true) => return Err(bad("a body with Content-Length and Transfer-Encoding").into()),
            (None, true) if old => return Err(bad("Transfer-Encoding in HTTP/1.0").into()),
            (None, true) => Framing::chunked(),
            (length, false) => Framing::Length(length.unwrap_or(0)),
        };
        if !old && !said.host {
            return Err(bad("a request of HTTP/1.1 needs a Host").into());
        }
        Ok(Head {
            method,
            target,
            old,
            lines,
            length: self.at,
            framing,
            keep: !said.close && (!old || said.keep),
            expects: said.expects && !old,
            known: said.known,
        })
    }

    fn method(&mut self) -> Result<&'b [u8], Stop> {
        let start = self.at;
        let run = self.run(&TOKEN);
        if self.at - start > MAX_METHOD {
            return Err(bad("the method is too long").into());
        }
        let method = run?;
        if method.is_empty() {
            return Err(bad("no method begins the request").into());
        }
        self.expect(b' ', "the method must be followed by one space")?;
        Ok(method)
    }

    fn target(&mut self) -> Result<&'b [u8], Stop> {
        let rest = &self.bytes[self.at..];
        let stop = rest.iter().position(|&b| !(0x21..0x7f).contains(&b));
        let target = &rest[..stop.unwrap_or(rest.len())];
        if target.is_empty() && stop.is_some() {
            return Err(bad("the request has no target").into());
        }
        self.at += target.len();
        self.expect(b' ', "the target must be followed by one space and the version")?;
        Ok(target)
    }

    /// Whether the version is 1.0.
    fn version(&mut self) -> Result<bool, Stop> {
        for &byte in b"HTTP/1." {
            self.expect(byte, "the version must be HTTP/1.1 or HTTP/1.0")?;
        }
        let minor = self.next()?;
        if !matches!(minor, b'0' | b'1') {
            return Err(bad("the version must be HTTP/1.1 or HTTP/1.0").into());
        }
        self.at += 1;
        self.line_end("the version must end the line, with CR and LF")?;
        Ok(minor == b'0')
    }

    #[inline]
    fn field(&mut self) -> Result<(&'b [u8], &'b [u8]), Stop> {
        let name = self.run(&TOKEN)?;
        if name.is_empty() {
            return Err(bad("a line of the head begins with no name (a folded line, or an empty name)").into());
        }
        self.expect(b':', "a field's name must be followed by its colon")?;
        let value = self.run(&VALUE)?;
        self.line_end("a control character in the value of a field, or a line that doesn't end with CR and LF")?;
        Ok((name, value.trim_ascii()))
    }
}

impl<'b> Said<'b> {
    #[inline]
    fn take(&mut self, name: &'b [u8], value: &'b [u8], old: bool) -> Result<(), Fault> {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        match name.len() {
            4 if is("host") => {
                let part = |b: u8| (0x21..0x7f).contains(&b) && !matches!(b, b'/' | b'?' | b'#' | b'@' | b',' | b'\\');
                if self.host || !value.iter().all(|&b| part(b)) {
                    return Err(bad("more than one Host, or one that is none"));
                }
                self.host = true;
            }
            6 if is("expect") => {
                self.known.special = true;
                if !old && !value.eq_ignore_ascii_case(b"100-continue") {
                    let problem = "the only expectation that is met is 100-continue";
                    return Err(Fault { status: StatusCode::EXPECTATION_FAILED, problem });
                }
                self.expects = true;
            }
            7 if is("timeout") => self.known.special = true,
            10 if is("connection") => {
                for option in value.split(|&b| b == b',').map(<[u8]>::trim_ascii) {
                    self.close |= option.eq_ignore_ascii_case(b"close");
                    self.keep |= option.eq_ignore_ascii_case(b"keep-alive");
                }
            }
            12 if is("content-type") => {
                if self.known.kind.is_some() {
                    return Err(bad("more than one Content-Type"));
                }
                self.known.kind = Some(value);
            }
            12 if is("x-request-id") => self.known.special |= self.known.id.replace(value).is_some(),
            14 if is("content-length") => {
                // Digits only: no sign, no list, even of equal lengths.
                let digits = !value.is_empty() && value.len() < 20 && value.iter().all(u8::is_ascii_digit);
                if !digits || self.length.is_some() {
                    return Err(bad("Content-Length must be one number of bytes"));
                }
                self.length = Some(value.iter().fold(0, |n, d| n * 10 + u64::from(d - b'0')));
            }
            16 if is("content-encoding") => self.known.special = true,
            17 if is("transfer-encoding") => {
                if self.chunked {
                    return Err(bad("more than one Transfer-Encoding"));
                }
                if !value.eq_ignore_ascii_case(b"chunked") {
                    let problem = "the only Transfer-Encoding that is read is chunked";
                    return Err(Fault { status: StatusCode::NOT_IMPLEMENTED, problem });
                }
                self.chunked = true;
            }
            31 if is("inference-header-content-length") => self.known.special = true,
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Option<Head<'_>>, Fault> {
        Head::read(text.as_bytes())
    }

    #[test]
    fn a_head_is_read_once_it_is_whole() {
        let text = "POST /a?b HTTP/1.1\r\nhost: x:8\r\nA-b:  c d \t\r\nEmpty:\r\nContent-Length: 12\r\n\r\nbody";
        let head = read(text).unwrap().unwrap();
        assert_eq!((head.method, head.target), (&b"POST"[..], &b"/a?b"[..]));
        assert!(head.keep && !head.old && !head.expects && head.length == text.len() - 4);
        assert!(matches!(head.framing, Framing::Length(12)));
        let fields: Vec<_> = head.fields().collect();
        let wanted = [("host", "x:8"), ("A-b", "c d"), ("Empty", ""), ("Content-Length", "12")];
        assert_eq!(fields, wanted.map(|(n, v)| (n.as_bytes(), v.as_bytes())));
        for end in 0..head.length {
            assert!(read(&text[..end]).unwrap().is_none(), "{end}");
        }
        assert!(read("\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap().is_some());
    }

    #[test]
    fn connections_stay_as_version_and_field_say() {
        for (rest, keep) in [
            ("1.1\r\nHost: x\r\n", true),
            ("1.1\r\nHost: x\r\nConnection: a, CLOSE\r\n", false),
            ("1.1\r\nHost: x\r\nConnection: keep-alive\r\nConnection: close\r\n", false),
            ("1.0\r\n", false),
            ("1.0\r\nConnection: Keep-Alive\r\n", true),
        ] {
            assert_eq!(read(&format!("GET / HTTP/{rest}\r\n")).unwrap().unwrap().keep, keep, "{rest}");
        }
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let fields = |fields: &str| format!("POST / HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        for (text, status) in [
            (fields("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n"), 400),
            (fields("Transfer-Encoding: chunked\r\nContent-Length: 1\r\n"), 400),
            (fields("Content-Length: 1\r\nContent-Length: 1\r\n"), 400),
            (fields("Content-Length: 1, 1\r\n"), 400),
            (fields("Content-Length: +1\r\n"), 400),
            (fields("Content-Length: -1\r\n"), 400),
            (fields("Content-Length: 0x1\r\n"), 400),
            (fields("Content-Length: 1 1\r\n"), 400),
            (fields("Content-Length:\r\n"), 400),
            (fields("Content-Length: 99999999999999999999\r\n"), 400),
            (fields("Content-Length : 1\r\n"), 400),
            (fields("Content-Length\t: 1\r\n"), 400),
            (fields("A: b\r\n c\r\n"), 400),
            (fields("A: b\r\n\tc\r\n"), 400),
            (fields(" A: b\r\n"), 400),
            (fields("A: b\nContent-Length: 1\r\n"), 400),
            (fields("A: b\rContent-Length: 1\r\n"), 400),
            (fields("A: b\0c\r\n"), 400),
            (fields("A\u{e9}: b\r\n"), 400),
            (fields("A\r\n"), 400),
            (fields(": b\r\n"), 400),
            (fields("Host: x\r\n"), 400),
            (fields("Transfer-Encoding: chunked, chunked\r\n"), 501),
            (fields("Transfer-Encoding: gzip, chunked\r\n"), 501),
            (fields("Transfer-Encoding: identity\r\n"), 501),
            (fields("Transfer-Encoding: \u{b}chunked\r\n"), 400),
            (fields("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n"), 400),
            (fields("Expect: 200-ok\r\n"), 417),
            ("GET / HTTP/1.1\r\n\r\n".into(), 400),
            ("GET / HTTP/1.1\r\nHost: a, b\r\n\r\n".into(), 400),
            ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n".into(), 400),
            ("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".into(), 400),
            ("GET / HTTP/1.1\nHost: x\n\n".into(), 400),
            ("GET  / HTTP/1.1\r\nHost: x\r\n\r\n".into(), 400),
            ("GET /  HTTP/1.1\r\nHost: x\r\n\r\n".into(), 400),
            ("GET / HTTP/1.1 \r\nHost: x\r\n\r\n".into(), 400),
            ("GET\t/ HTTP/1.1\r\nHost: x\r\n\r\n".into(), 400),
            (" GET / HTTP/1.1\r\nHost: x\r\n\r\n".into(), 400),
            ("GET / HTTP/2.0\r\n\r\n".into(), 400),
            ("GET / HTTP/1.2\r\nHost: x\r\n\r\n".into(), 400),
            ("GET / HTTP/1.10\r\nHost: x\r\n\r\n".into(), 400),
            ("GET / http/1.1\r\nHost: x\r\n\r\n".into(), 400),
            ("GET /\r\n\r\n".into(), 400),
            ("GET /\u{e9} HTTP/1.1\r\nHost: x\r\n\r\n".into(), 400),
            ("\u{16}\u{3}\u{1}".into(), 400),
            ("G".repeat(33), 400),
            (fields("Content-Type: a\r\ncontent-type: a\r\n"), 400),
            (fields(&"A: b\r\n".repeat(MAX_FIELDS)), 431),
            (fields(&format!("A: {}\r\n", "b".repeat(MAX_HEAD))), 431),
        ] {
            let fault = read(&text).map(|head| head.is_some()).unwrap_err();
            assert_eq!(fault.status, status, "{text:?}: {}", fault.problem);
        }
        assert!(read(&fields(&"A: b\r\n".repeat(MAX_FIELDS - 1))).unwrap().is_some());
    }

    #[test]
    fn what_asks_for_more_is_special() {
        let special = |field: &str| {
            let text = format!("POST / HTTP/1.1\r\nHost: x\r\nContent-Type: a\r\nX-Request-Id: b\r\n{field}\r\n");
            let head = read(&text).unwrap().unwrap();
            assert_eq!((head.known.kind, head.known.id.is_some()), (head.known.kind, true));
            head.known.special
        };
        assert!(!special("") && !special("Accept: */*\r\n"));
        for field in ["Expect: 100-continue", "TIMEOUT: 1", "x-request-id: c", "Content-Encoding: br"] {
            assert!(special(&format!("{field}\r\n")), "{field}");
        }
        assert!(special("Inference-Header-Content-Length: 3\r\n"));
    }
}
