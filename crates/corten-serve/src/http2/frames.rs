//! The frames that a client sends (RFC 9113, sections 5 and 6).

use std::cell::Cell;

use tokio::time::Instant;

use super::frame::{self, Code, Fault, HEAD, Head, MAX_FRAME};
use super::hpack::Fields;
use super::{Connection, FIRST_WINDOW, LEAVING, Leaving, MAX_CALLS, MAX_FIELDS, MAX_HELD, WINDOW};

/// Most bytes of a block of fields, the heads of its frames included: there is no end to what may come before its end.
const MAX_BLOCK: usize = 4 * MAX_FIELDS;
/// Most frames of a block of fields: the whole of the largest fits into five.
const MAX_PARTS: usize = 64;
/// Frames that ask for nothing which may come at once, and how many more each second: pings, settings, resets, priorities, empty
/// data and frames of unknown kinds. Each call that is answered whole allows one more, as clients give some up.
pub(super) const IDLE: u32 = 1000;
const IDLE_A_SECOND: f64 = 100.0;
/// The largest window.
const MAX_WINDOW: i64 = (1 << 31) - 1;

thread_local! {
    /// The fields of the call that is read: no connection has them for longer.
    static FIELDS: Cell<Fields> = Cell::default();
}

/// What has begun and isn't whole.
#[derive(Default)]
pub(super) struct Reading {
    /// Since when.
    pub(super) since: Option<Instant>,
    /// A frame of data: its call, the bytes that are still to come, and whether they end the call.
    data: Option<(u32, usize, bool)>,
    block: Option<Block>,
    /// Whether the first frame was there.
    greeted: bool,
}

/// Fields that continue in the next frame.
struct Block {
    id: u32,
    ends: bool,
    bytes: Vec<u8>,
    /// All bytes that came for it, and in how many frames.
    came: usize,
    parts: usize,
}

const fn protocol(problem: &'static str) -> Fault {
    Fault(Code::Protocol, problem)
}

fn number(payload: &[u8], problem: &'static str) -> Result<u32, Fault> {
    payload.try_into().map(u32::from_be_bytes).map_err(|_| Fault(Code::FrameSize, problem))
}

impl Connection<'_, '_> {
    /// What this side says first.
    pub(super) fn greet(&mut self) {
        let mut settings = Vec::new();
        for (setting, value) in [(3u16, MAX_CALLS as u32), (4, WINDOW as u32), (6, MAX_FIELDS as u32)] {
            settings.extend_from_slice(&setting.to_be_bytes());
            settings.extend_from_slice(&value.to_be_bytes());
        }
        frame::write(self.wire.out(), frame::SETTINGS, 0, 0, &settings);
        let more = (WINDOW - FIRST_WINDOW) as u32;
        frame::write(self.wire.out(), frame::WINDOW, 0, 0, &more.to_be_bytes());
        self.left = WINDOW;
    }

    /// Takes the frames that have come; whether there are more that wait until what is owed to the client is sent.
    ///
    /// # Errors
    /// With what ends the connection.
    pub(super) fn frames(&mut self) -> Result<bool, Fault> {
        let (came, mut at) = self.wire.lift();
        let read = self.each(&came, &mut at);
        let waits = matches!(read, Ok(true));
        if waits || (at == came.len() && self.reading.data.is_none() && self.reading.block.is_none()) {
            self.reading.since = None;
        } else if self.reading.since.is_none() {
            self.reading.since = Some(Instant::now());
        }
        self.wire.keep(came, at);
        read
    }

    fn each(&mut self, came: &[u8], at: &mut usize) -> Result<bool, Fault> {
        loop {
            if self.wire.is_full() {
                return Ok(true);
            }
            let rest = &came[*at..];
            if let Some((id, left, ends)) = self.reading.data {
                let length = left.min(rest.len());
                if length == 0 && left > 0 {
                    return Ok(false);
                }
                *at += length;
                self.reading.data = (length < left).then_some((id, left - length, ends));
                self.data(id, &rest[..length], ends && length == left);
                self.reading.since = None;
                continue;
            }
            let Some(head) = Head::read(rest) else { return Ok(false) };
            if head.length > MAX_FRAME {
                return Err(Fault(Code::FrameSize, "a frame of more than 16384 bytes"));
            }
            if !std::mem::replace(&mut self.reading.greeted, true) && head.kind != frame::SETTINGS {
                return Err(protocol("the first frame must be settings"));
            }
            let block = self.reading.block.as_ref().map(|block| block.id);
            if block.is_some_and(|id| head.kind != frame::CONTINUATION || head.id != id) {
                return Err(protocol("another frame came where fields must go on"));
            }
            // Data is taken as it comes.
            if head.kind == frame::DATA && !head.is_padded() {
                self.data_begins(&head)?;
                *at += HEAD;
                self.reading.data = Some((head.id, head.length, head.has(frame::END_STREAM)));
                continue;
            }
            let Some(payload) = rest[HEAD..].get(..head.length) else { return Ok(false) };
            *at += HEAD + head.length;
            self.reading.since = None;
            self.frame(&head, payload)?;
        }
    }

    fn frame(&mut self, head: &Head, payload: &[u8]) -> Result<(), Fault> {
        match head.kind {
            frame::DATA => {
                self.data_begins(head)?;
                let data = head.plain(payload)?;
                let beside = payload.len() - data.len();
                self.took(head.id, beside);
                self.data(head.id, data, head.has(frame::END_STREAM));
            }
            frame::HEADERS => {
                let (ends, fields) = (head.has(frame::END_STREAM), head.plain(payload)?);
                if head.id.is_multiple_of(2) {
                    return Err(protocol("a client's calls have odd numbers"));
                }
                if head.has(frame::END_HEADERS) {
                    return self.headers(head.id, ends, fields);
                }
                let (bytes, came) = (fields.to_vec(), HEAD + head.length);
                self.reading.block = Some(Block { id: head.id, ends, bytes, came, parts: 1 });
            }
            frame::CONTINUATION => {
                let Some(mut block) = self.reading.block.take() else {
                    return Err(protocol("fields go on that haven't begun"));
                };
                block.came += HEAD + head.length;
                block.parts += 1;
                if block.parts > MAX_PARTS {
                    return Err(Fault(Code::EnhanceYourCalm, "fields in more than 64 frames"));
                }
                if block.came > MAX_BLOCK {
                    return Err(Fault(Code::EnhanceYourCalm, "fields of more than 65536 bytes"));
                }
                block.bytes.extend_from_slice(payload);
                if head.has(frame::END_HEADERS) {
                    return self.headers(block.id, block.ends, &block.bytes);
                }
                self.reading.block = Some(block);
            }
            frame::PRIORITY if head.id == 0 => return Err(protocol("a priority is a call's")),
            frame::PRIORITY if payload.len() != 5 => {
                return Err(Fault(Code::FrameSize, "a priority must have 5 bytes"));
            }
            frame::PRIORITY => self.idle()?,
            frame::RESET => {
                number(payload, "a reset must have 4 bytes")?;
                self.known(head.id)?;
                self.idle()?;
                if let Some(place) = self.place(head.id) {
                    self.remove(place);
                }
            }
            frame::SETTINGS => self.settings(head, payload)?,
            frame::PING => self.ping(head, payload)?,
            frame::GO_AWAY => {
                if head.id != 0 {
                    return Err(protocol("a farewell is a connection's"));
                }
                self.farewell = true;
            }
            frame::WINDOW => self.window(head.id, number(payload, "a window must have 4 bytes")?)?,
            frame::PUSH => return Err(protocol("a client pushes nothing")),
            // What isn't known is passed over.
            _ => self.idle()?,
        }
        Ok(())
    }

    /// Counts a frame that asks for nothing.
    fn idle(&mut self) -> Result<(), Fault> {
        if self.idle == 0 {
            let more = self.since.elapsed().as_secs_f64() * IDLE_A_SECOND;
            self.since = Instant::now();
            self.idle = more.min(IDLE.into()) as u32;
        }
        let Some(left) = self.idle.checked_sub(1) else {
            return Err(Fault(Code::EnhanceYourCalm, "too many frames that ask for nothing"));
        };
        self.idle = left;
        Ok(())
    }

    /// Checks that a call has begun at some time.
    fn known(&self, id: u32) -> Result<(), Fault> {
        if id.is_multiple_of(2) || id > self.last {
            return Err(protocol("a frame for a call that hasn't begun"));
        }
        Ok(())
    }

    /// Counts the bytes of data, which must have been allowed.
    fn data_begins(&mut self, head: &Head) -> Result<(), Fault> {
        const PROBLEM: Fault = Fault(Code::FlowControl, "more data than the window allows");
        self.known(head.id)?;
        if head.length == 0 && !head.has(frame::END_STREAM) {
            self.idle()?;
        }
        let length = head.length as i64;
        self.left -= length;
        if self.left < 0 {
            return Err(PROBLEM);
        }
        if let Some(place) = self.place(head.id) {
            let call = &mut self.calls[place];
            if !call.open {
                return Err(Fault(Code::StreamClosed, "data behind the end of a call"));
            }
            call.left -= length;
            if call.left < 0 {
                return Err(PROBLEM);
            }
        }
        Ok(())
    }

    fn data(&mut self, id: u32, bytes: &[u8], ends: bool) {
        // One that has ended on this side may still have been sent.
        let Some(place) = self.place(id) else { return self.owe(bytes.len()) };
        let call = &mut self.calls[place];
        call.came += bytes.len() as u64;
        match &call.inbox {
            Some(inbox) => inbox.push(bytes),
            None => self.took(id, bytes.len()),
        }
        if ends {
            self.end(place);
        }
    }

    /// Fields that are whole.
    fn headers(&mut self, id: u32, ends: bool, block: &[u8]) -> Result<(), Fault> {
        let mut fields = FIELDS.take();
        let read = self.decoder.read(block, MAX_FIELDS, &mut fields);
        let done = match read {
            Err(_) => Err(Fault(Code::Compression, "fields that can't be read")),
            Ok(()) if id > self.last => {
                self.last = id;
                self.first(id, ends, &fields);
                Ok(())
            }
            Ok(()) => self.trailers(id, ends),
        };
        FIELDS.set(fields);
        done
    }

    /// The first fields of a call.
    fn first(&mut self, id: u32, ends: bool, fields: &Fields) {
        if matches!(self.leaving, Leaving::After(_)) {
            return;
        }
        let held: usize = self.calls.iter().map(|call| call.fields).sum();
        if self.calls.len() >= MAX_CALLS || held + fields.size > MAX_HELD {
            return self.reset(id, Code::RefusedStream);
        }
        self.call(id, ends, fields);
    }

    /// The last fields of a call, which say nothing to a server.
    fn trailers(&mut self, id: u32, ends: bool) -> Result<(), Fault> {
        match self.place(id) {
            Some(place) if !self.calls[place].open => Err(Fault(Code::StreamClosed, "fields behind the end of a call")),
            Some(place) if ends => {
                self.end(place);
                Ok(())
            }
            Some(_) => {
                self.reset(id, Code::Protocol);
                Ok(())
            }
            // One that has ended on this side may still have been sent.
            None if ends => Ok(()),
            None => Err(Fault(Code::StreamClosed, "a call begins again")),
        }
    }

    fn settings(&mut self, head: &Head, payload: &[u8]) -> Result<(), Fault> {
        if head.id != 0 {
            return Err(protocol("settings are a connection's"));
        }
        if head.has(frame::ACK) {
            return if payload.is_empty() { Ok(()) } else { Err(Fault(Code::FrameSize, "settings with an answer")) };
        }
        self.idle()?;
        let (settings, rest) = payload.as_chunks::<6>();
        if !rest.is_empty() {
            return Err(Fault(Code::FrameSize, "settings must have 6 bytes each"));
        }
        for &[a, b, c, d, e, f] in settings {
            let value = u32::from_be_bytes([c, d, e, f]);
            match u16::from_be_bytes([a, b]) {
                // The table that this side may use, and doesn't.
                1 => self.tableless |= value < 4096,
                2 if value > 1 => return Err(protocol("pushing is allowed or not")),
                4 => {
                    let more = i64::from(value) - self.first_window;
                    let over = |window: i64| window > MAX_WINDOW;
                    if over(value.into()) || self.calls.iter().any(|call| over(call.window + more)) {
                        return Err(Fault(Code::FlowControl, "a window of more than 2147483647 bytes"));
                    }
                    self.first_window = value.into();
                    self.calls.iter_mut().for_each(|call| call.window += more);
                }
                5 if !(MAX_FRAME as u32..1 << 24).contains(&value) => {
                    return Err(protocol("frames may be from 16384 to 16777215 bytes long"));
                }
                _ => {}
            }
        }
        frame::write(self.wire.out(), frame::SETTINGS, frame::ACK, 0, &[]);
        Ok(())
    }

    fn ping(&mut self, head: &Head, payload: &[u8]) -> Result<(), Fault> {
        if head.id != 0 {
            return Err(protocol("a ping is a connection's"));
        }
        if payload.len() != 8 {
            return Err(Fault(Code::FrameSize, "a ping must have 8 bytes"));
        }
        if !head.has(frame::ACK) {
            self.idle()?;
            frame::write(self.wire.out(), frame::PING, frame::ACK, 0, payload);
        } else if payload == LEAVING && matches!(self.leaving, Leaving::Told(_)) {
            self.left_behind();
        }
        Ok(())
    }

    fn window(&mut self, id: u32, more: u32) -> Result<(), Fault> {
        let more = i64::from(more & !(1 << 31));
        if id == 0 {
            self.window += more;
            if more == 0 {
                return Err(protocol("a window grows by at least 1"));
            }
            if self.window > MAX_WINDOW {
                return Err(Fault(Code::FlowControl, "a window of more than 2147483647 bytes"));
            }
            return Ok(());
        }
        self.known(id)?;
        let Some(place) = self.place(id) else { return Ok(()) };
        self.calls[place].window += more;
        if more == 0 {
            // A call that the client has this side reset is one that it has reset.
            self.idle()?;
            self.reset(id, Code::Protocol);
        } else if self.calls[place].window > MAX_WINDOW {
            self.idle()?;
            self.reset(id, Code::FlowControl);
        }
        Ok(())
    }
}
