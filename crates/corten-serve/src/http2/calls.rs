//! The calls of a connection: begun, answered, and let go.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::body::Bytes;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::body::{Answer, Body, Inbox, Letter, Part, Reply};
use super::frame::{self, Code, MAX_FRAME};
use super::frames::IDLE;
use super::hpack::{Fields, status};
use super::request::Known;
use super::{Connection, WINDOW};
use crate::grpc;

/// A call between its head and the end of its answer.
pub(super) struct Stream {
    pub(super) id: u32,
    /// Bytes of its fields.
    pub(super) fields: usize,
    pub(super) inbox: Option<Arc<Inbox>>,
    /// Whether the client may still send.
    pub(super) open: bool,
    /// Bytes that the client may still send, and those that it may send again and wasn't told of.
    pub(super) left: i64,
    owed: usize,
    /// Bytes that may be sent.
    pub(super) window: i64,
    /// Bytes that are said to come, and that have come.
    pub(super) length: Option<u64>,
    pub(super) came: u64,
    task: Option<AbortHandle>,
    sending: Option<Sending>,
    /// Whether the whole answer was sent.
    answered: bool,
}

struct Sending {
    data: Bytes,
    end: Option<Vec<u8>>,
    source: Option<mpsc::Receiver<Part>>,
}

/// A call that nothing was done for yet.
pub(super) struct Begun {
    id: u32,
    answer: Pin<Box<dyn Future<Output = Answer> + Send>>,
}

impl Stream {
    /// Whether there are bytes that the client takes none of.
    pub(super) fn is_kept_waiting(&self) -> bool {
        self.sending.as_ref().is_some_and(|s| !s.data.is_empty())
    }

    /// Whether more of the answer has become ready.
    pub(super) fn poll_part(&mut self, context: &mut Context<'_>) -> bool {
        let Some(sending) = self.sending.as_mut().filter(|s| s.data.is_empty()) else { return false };
        let Some(Poll::Ready(part)) = sending.source.as_mut().map(|source| source.poll_recv(context)) else {
            return false;
        };
        match part {
            Some(Part::Data(data)) => sending.data = data,
            Some(Part::End(end)) => (sending.end, sending.source) = (Some(end), None),
            None => sending.source = None,
        }
        true
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
        // A call of many messages waits for the next one, beside the connection.
        if let Some(inbox) = &self.inbox {
            inbox.close();
        }
    }
}

impl Connection<'_, '_> {
    pub(super) fn place(&self, id: u32) -> Option<usize> {
        // The last one is asked for most.
        self.calls.iter().rposition(|call| call.id == id)
    }

    /// A call begins with these fields.
    pub(super) fn call(&mut self, id: u32, ends: bool, fields: &Fields) {
        let Some(known) = Known::of(fields) else { return self.reset(id, Code::Protocol) };
        let mut call = Stream {
            id,
            fields: fields.size,
            inbox: None,
            open: !ends,
            left: WINDOW,
            owed: 0,
            window: self.first_window,
            length: known.length,
            came: 0,
            task: None,
            sending: None,
            answered: false,
        };
        if ends && known.length.is_some_and(|length| length > 0) {
            return self.reset(id, Code::Protocol);
        }
        let mut head = Vec::new();
        if fields.over {
            status(431, &mut head);
        } else if self.full || !grpc::refused(&known, self.shared, &mut head) {
            let Some(request) = known.request(fields) else { return self.reset(id, Code::Protocol) };
            let inbox = Arc::<Inbox>::default();
            if ends {
                inbox.end();
            }
            let body = Body { inbox: Arc::clone(&inbox), mail: Arc::clone(&self.mail), id };
            call.inbox = Some(inbox);
            self.calls.push(call);
            let answer = grpc::answer(request, body, Arc::clone(self.shared), self.full, self.word.clone());
            self.begun.push_back(Begun { id, answer: Box::pin(answer) });
            return;
        }
        self.calls.push(call);
        self.answer(id, Answer { head, reply: Reply::Ended });
    }

    /// Does what can be done at once for the calls that have begun, with all that has come of them; the others go on beside
    /// the connection.
    pub(super) fn begin(&mut self, context: &mut Context<'_>) {
        while let Some(Begun { id, mut answer }) = self.begun.pop_front() {
            // It may have ended meanwhile.
            let Some(place) = self.place(id) else { continue };
            match answer.as_mut().poll(context) {
                Poll::Ready(answer) => self.answer(id, answer),
                Poll::Pending => {
                    let mail = Arc::clone(&self.mail);
                    let task = tokio::spawn(async move { mail.send(id, Letter::Answer(answer.await)) });
                    self.calls[place].task = Some(task.abort_handle());
                }
            }
        }
    }

    /// Sends an answer, as far as that can be done at once.
    pub(super) fn answer(&mut self, id: u32, Answer { head, reply }: Answer) {
        let Some(place) = self.place(id) else { return };
        self.calls[place].task = None;
        let sending = match reply {
            Reply::Ended => {
                self.fields(id, &head, true);
                self.answered(place);
                return;
            }
            Reply::Whole(data, end) => Sending { data, end: Some(end), source: None },
            Reply::Stream(source) => Sending { data: Bytes::new(), end: None, source: Some(source) },
        };
        self.fields(id, &head, false);
        self.calls[place].sending = Some(sending);
    }

    fn fields(&mut self, id: u32, fields: &[u8], ends: bool) {
        let flags = frame::END_HEADERS | if ends { frame::END_STREAM } else { 0 };
        if std::mem::take(&mut self.tableless) {
            // The size of the table that this side keeps, which is to be told to a client that asks for a smaller one.
            let mut told = vec![0x20];
            told.extend_from_slice(fields);
            frame::write(self.wire.out(), frame::HEADERS, flags, id, &told);
        } else {
            frame::write(self.wire.out(), frame::HEADERS, flags, id, fields);
        }
    }

    /// Sends what may be sent of the answers; whether there is more to be sent behind it.
    pub(super) fn pump(&mut self) -> bool {
        loop {
            let (mut moved, mut at) = (false, 0);
            while let Some(call) = self.calls.get_mut(at) {
                at += 1;
                let Some(sending) = &mut call.sending else { continue };
                let most = self.window.min(call.window).clamp(0, MAX_FRAME as i64) as usize;
                let length = sending.data.len().min(most);
                if length > 0 {
                    if self.wire.is_full() {
                        return true;
                    }
                    let piece = sending.data.split_to(length);
                    frame::write(self.wire.out(), frame::DATA, 0, call.id, &piece);
                    self.window -= length as i64;
                    call.window -= length as i64;
                    self.stalled = None;
                    moved = true;
                }
                if sending.data.is_empty()
                    && let Some(end) = sending.end.take()
                {
                    let id = call.id;
                    self.fields(id, &end, true);
                    at -= 1;
                    self.answered(at);
                }
            }
            if !moved {
                return false;
            }
        }
    }

    fn answered(&mut self, place: usize) {
        // Clients whose calls are answered may give some up.
        self.idle = (self.idle + 1).min(IDLE);
        if self.calls[place].open {
            let call = &mut self.calls[place];
            (call.answered, call.sending) = (true, None);
        } else {
            self.remove(place);
        }
    }

    /// Forgets a call. What came of it and wasn't taken is for nobody.
    pub(super) fn remove(&mut self, place: usize) {
        let call = self.calls.remove(place);
        if let Some(inbox) = &call.inbox {
            self.owe(inbox.close());
        }
    }

    /// Lets go of calls that are answered before all of them has come.
    pub(super) fn settle(&mut self) {
        while let Some(call) = self.calls.iter().find(|call| call.answered) {
            self.reset(call.id, Code::None);
        }
    }

    /// Ends a call, if there is one, without an answer.
    pub(super) fn reset(&mut self, id: u32, code: Code) {
        if let Some(place) = self.place(id) {
            self.remove(place);
        }
        frame::write(self.wire.out(), frame::RESET, 0, id, &(code as u32).to_be_bytes());
    }

    /// The client has sent all of a call.
    pub(super) fn end(&mut self, place: usize) {
        let call = &mut self.calls[place];
        call.open = false;
        if call.answered {
            self.remove(place);
        } else if call.length.is_some_and(|length| length != call.came) {
            let id = call.id;
            self.reset(id, Code::Protocol);
        } else if let Some(inbox) = &call.inbox {
            inbox.end();
        }
    }

    /// As many bytes may come again as were taken.
    pub(super) fn took(&mut self, id: u32, bytes: usize) {
        self.owe(bytes);
        let Some(place) = self.place(id) else { return };
        let call = &mut self.calls[place];
        call.owed += bytes;
        if call.open && call.owed as i64 >= WINDOW / 2 {
            call.left += call.owed as i64;
            let owed = std::mem::take(&mut call.owed) as u32;
            frame::write(self.wire.out(), frame::WINDOW, 0, id, &owed.to_be_bytes());
        }
    }

    /// As [`Connection::took`], of bytes that belong to no call.
    pub(super) fn owe(&mut self, bytes: usize) {
        self.owed += bytes;
        if self.owed as i64 >= WINDOW / 2 {
            self.left += self.owed as i64;
            let owed = std::mem::take(&mut self.owed) as u32;
            frame::write(self.wire.out(), frame::WINDOW, 0, 0, &owed.to_be_bytes());
        }
    }
}
