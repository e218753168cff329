//! Frames of HTTP/2 (RFC 9113, sections 4 and 6).

/// Bytes before a payload.
pub(super) const HEAD: usize = 9;
/// Longest payload that either side sends: nobody here asks for more.
pub(super) const MAX_FRAME: usize = 16 << 10;

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RESET: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GO_AWAY: u8 = 7;
pub(super) const WINDOW: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

/// Flags: of settings and pings, of data and headers, of headers and their continuation.
pub(super) const ACK: u8 = 1;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
const PADDED: u8 = 8;
const HAS_PRIORITY: u8 = 32;

/// Why a stream or a connection ends (section 7).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    None = 0,
    Protocol = 1,
    FlowControl = 3,
    StreamClosed = 5,
    FrameSize = 6,
    RefusedStream = 7,
    Compression = 9,
    EnhanceYourCalm = 11,
}

/// Why a connection ends: the code, and a sentence for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fault(pub(super) Code, pub(super) &'static str);

/// What stands before a payload.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head {
    pub(super) length: usize,
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) id: u32,
}

impl Head {
    /// Reads a head from the start of bytes; none while it isn't whole.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let &[a, b, c, kind, flags, d, e, f, g] = bytes.first_chunk::<HEAD>()?;
        let length = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        // The first bit of an id means nothing.
        Some(Self { length, kind, flags, id: u32::from_be_bytes([d, e, f, g]) & !(1 << 31) })
    }

    pub(super) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Whether a payload of data has bytes beside them.
    pub(super) fn is_padded(&self) -> bool {
        self.has(PADDED)
    }

    /// A payload of data or headers without its padding and its priority.
    ///
    /// # Errors
    /// For padding that is longer than the payload.
    pub(super) fn plain<'p>(&self, mut payload: &'p [u8]) -> Result<&'p [u8], Fault> {
        const PROBLEM: Fault = Fault(Code::Protocol, "padding is longer than its frame");
        let mut padding = 0;
        if self.is_padded() {
            let (first, rest) = payload.split_first().ok_or(PROBLEM)?;
            (padding, payload) = (usize::from(*first), rest);
        }
        if self.kind == HEADERS && self.has(HAS_PRIORITY) {
            payload = payload.get(5..).ok_or(Fault(Code::FrameSize, "a priority must have 5 bytes"))?;
        }
        let length = payload.len().checked_sub(padding).ok_or(PROBLEM)?;
        Ok(&payload[..length])
    }
}

/// Writes a frame.
pub(super) fn write(out: &mut Vec<u8>, kind: u8, flags: u8, id: u32, payload: &[u8]) {
    // No payload here is longer than a frame may be.
    let [_, length @ ..] = (payload.len() as u32).to_be_bytes();
    out.extend_from_slice(&length);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&id.to_be_bytes());
    out.extend_from_slice(payload);
}
