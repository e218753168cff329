//! Status codes, and the message of the last failure.

use core::cell::Cell;
use core::ffi::c_char;
use core::fmt::{self, Write};

use corten_core::Error;

/// What a function answers. The message of a failure comes from `corten_message`.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It worked.
    Ok = 0,
    /// A null pointer, or a number that means nothing here.
    Argument = 1,
    /// The file can't be read or written.
    Io = 2,
    /// The bytes are no model, or a damaged one.
    Format = 3,
    /// A newer version of Corten wrote the model.
    Version = 4,
    /// The model doesn't have the method.
    Unsupported = 5,
    /// A value that the model refuses: an unknown category, a missing number where none may be missing.
    Value = 6,
    /// A limit on size.
    Limit = 7,
    /// A defect of Corten.
    Internal = 8,
}

impl From<&Error> for Status {
    fn from(error: &Error) -> Self {
        match error {
            Error::Io { .. } => Self::Io,
            Error::Format(_) | Error::Foreign(_) => Self::Format,
            Error::Version { .. } => Self::Version,
            Error::Unsupported(_) => Self::Unsupported,
            Error::Parameter { .. } => Self::Argument,
            Error::Column { .. } | Error::MissingColumn { .. } | Error::Value(_) | Error::Type(_) => Self::Value,
            Error::Limit(_) => Self::Limit,
            _ => Self::Internal,
        }
    }
}

/// Bytes of a message, the zero at its end included.
const LENGTH: usize = 512;

/// Text that ends with a zero byte and is cut where there is no more room.
struct Message {
    bytes: [Cell<u8>; LENGTH],
    used: Cell<usize>,
}

impl Message {
    const fn new() -> Self {
        Self { bytes: [const { Cell::new(0) }; LENGTH], used: Cell::new(0) }
    }
}

impl Write for &Message {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = LENGTH - 1 - self.used.get();
        let cut = (0..=text.len().min(room)).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        for (to, from) in self.bytes[self.used.get()..].iter().zip(text[..cut].bytes()) {
            // A zero byte would end the message early.
            to.set(if from == 0 { b'?' } else { from });
        }
        self.used.set(self.used.get() + cut);
        self.bytes[self.used.get()].set(0);
        Ok(())
    }
}

#[cfg(any(feature = "std", target_family = "wasm"))]
mod place {
    use super::Message;

    std::thread_local! {
        static LAST: Message = const { Message::new() };
    }

    pub(super) fn with<R>(f: impl FnOnce(&Message) -> R) -> R {
        LAST.with(f)
    }
}

#[cfg(not(any(feature = "std", target_family = "wasm")))]
mod place {
    use super::Message;

    struct Alone(Message);

    #[expect(unsafe_code, reason = "a static needs Sync")]
    // SAFETY: without an operating system there is one thread; calls from interrupts are ruled out by the header.
    unsafe impl Sync for Alone {}

    static LAST: Alone = Alone(Message::new());

    pub(super) fn with<R>(f: impl FnOnce(&Message) -> R) -> R {
        f(&LAST.0)
    }
}

/// Keeps a message for [`corten_message`].
pub(super) fn fail(status: Status, text: &dyn fmt::Display) -> Status {
    place::with(|mut message| {
        message.used.set(0);
        // What doesn't fit is cut, so this can't fail.
        let _ = write!(message, "{text}");
    });
    status
}

/// Runs what a function does; a failure leaves its message, and a panic is one of them.
pub(super) fn guard(f: impl FnOnce() -> Result<(), Error>) -> Status {
    #[cfg(feature = "std")]
    let done = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
    #[cfg(not(feature = "std"))]
    let done: Result<_, ()> = Ok(f());
    match done {
        Ok(Ok(())) => Status::Ok,
        Ok(Err(error)) => fail(Status::from(&error), &error),
        Err(_) => fail(Status::Internal, &"Internal error, please report it: a panic in libcorten"),
    }
}

/// The message of the last failure in this thread; empty when there was none. Valid until the next failure in this thread.
#[expect(unsafe_code, reason = "a name for C")]
#[unsafe(no_mangle)]
pub extern "C" fn corten_message() -> *const c_char {
    place::with(|message| message.bytes.as_ptr().cast())
}
