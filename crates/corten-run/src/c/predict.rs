//! Rows in, answers out.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ffi::c_char;
use core::{ptr, slice};

use corten_core::Error;

use super::by_code;
use super::error::{Status, fail, guard};
use super::model::Handle;

/// The memory of one thread that runs rows of one model.
pub struct Session(corten_model::Session);

/// Text: `size` bytes of UTF-8, which need no zero at their end. Missing where `data` is null.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Text {
    /// The bytes.
    pub data: *const c_char,
    /// How many.
    pub size: usize,
}

impl Text {
    /// # Safety
    /// `data` is null or points to `size` bytes that live as long as they are read.
    #[expect(unsafe_code, reason = "pointers from C")]
    unsafe fn get<'a>(self) -> Option<&'a [u8]> {
        // SAFETY: the caller's promise.
        (!self.data.is_null()).then(|| unsafe { slice::from_raw_parts(self.data.cast(), self.size) })
    }

    fn of(bytes: Option<&[u8]>) -> Self {
        bytes.map_or(Self { data: ptr::null(), size: 0 }, |b| Self { data: b.as_ptr().cast(), size: b.len() })
    }
}

/// Makes the memory of one thread, for blocks of up to `rows` rows: 1 where rows come one at a time, 0 for as many as the
/// cache holds. All that predicting needs is made here.
///
/// # Safety
/// `model` is open; `session` points to room for a pointer.
#[expect(unsafe_code, reason = "pointers from C")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corten_session_new(model: *const Handle, rows: usize, session: *mut *mut Session) -> Status {
    // SAFETY: null or open.
    let (Some(handle), false) = (unsafe { model.as_ref() }, session.is_null()) else {
        return fail(Status::Argument, &"a model and where the session goes are needed, but one of them is null");
    };
    guard(|| {
        let made = Box::into_raw(Box::new(Session(handle.model.prepared_session(rows))));
        // SAFETY: not null, and the caller's promise.
        unsafe { *session = made };
        Ok(())
    })
}

/// Frees a session; null is allowed.
///
/// # Safety
/// `session` came from `corten_session_new`, and nothing uses it any more.
#[expect(unsafe_code, reason = "pointers from C")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corten_session_free(session: *mut Session) {
    if !session.is_null() {
        // SAFETY: the caller's promise.
        drop(unsafe { Box::from_raw(session) });
    }
}

/// A slice of C's pointer; nothing is read from a pointer to no elements, which may be null.
///
/// # Safety
/// `at` points to `count` elements, unless `count` is 0.
#[expect(unsafe_code, reason = "pointers from C")]
unsafe fn many<'a, T>(at: *const T, count: usize, name: &str) -> Result<&'a [T], Error> {
    match (count, at.is_null()) {
        (0, _) => Ok(&[]),
        (_, true) => Err(Error::parameter(name, alloc::format!("a pointer to {count} elements"), "null")),
        // SAFETY: not null, and the caller's promise.
        (_, false) => Ok(unsafe { slice::from_raw_parts(at, count) }),
    }
}

/// As [`many`], to be written.
///
/// # Safety
/// `at` points to `count` elements that nothing else uses, unless `count` is 0.
#[expect(unsafe_code, reason = "pointers from C")]
unsafe fn many_mut<'a, T>(at: *mut T, count: usize, name: &str) -> Result<&'a mut [T], Error> {
    match (count, at.is_null()) {
        (0, _) => Ok(&mut []),
        (_, true) => Err(Error::parameter(name, alloc::format!("a pointer to room for {count} elements"), "null")),
        // SAFETY: not null, and the caller's promise.
        (_, false) => Ok(unsafe { slice::from_raw_parts_mut(at, count) }),
    }
}

/// # Safety
/// As [`corten_predict`].
#[expect(unsafe_code, reason = "pointers from C")]
unsafe fn predict<N: Copy + Into<f64>>(
    model: *const Handle,
    session: *mut Session,
    code: i32,
    numbers: *const N,
    texts: *const Text,
    rows: usize,
    out: *mut f64,
    out_texts: *mut Text,
) -> Status {
    // SAFETY: null or open, and the caller's promise that no one else uses the session.
    let (Some(handle), Some(session)) = (unsafe { model.as_ref() }, unsafe { session.as_mut() }) else {
        return fail(Status::Argument, &"a model and a session are needed, but one of them is null");
    };
    let Some(method) = by_code(code) else {
        return fail(
            Status::Argument,
            &alloc::format!("the method must be one of CORTEN_METHOD_PREDICT to CORTEN_METHOD_PREDICT_SET, not {code}"),
        );
    };
    guard(|| {
        let model = &handle.model;
        let (number_inputs, text_inputs) = model.schema().counts();
        let output = model.steps(method)?.0;
        let made = output.columns.iter().filter(|s| matches!(s, corten_model::Slot::Text(_))).count();
        let total =
            |each: usize| each.checked_mul(rows).ok_or_else(|| Error::Limit("more rows than memory has bytes".into()));
        // SAFETY: the caller's promise: a row has as many elements as the queries say.
        let (numbers, texts, out, out_texts) = unsafe {
            (
                many(numbers, total(number_inputs)?, "numbers")?,
                many(texts, total(text_inputs)?, "texts")?,
                many_mut(out, total(output.columns.len() - made)?, "out")?,
                many_mut(out_texts, total(made)?, "out_texts")?,
            )
        };
        // SAFETY: the caller's promise.
        let text = |row: usize, at: usize| unsafe { texts[row * text_inputs + at].get() };
        let put = |row: usize, at: usize, text: Option<&[u8]>| out_texts[row * made + at] = Text::of(text);
        model.run_rows(method, &mut session.0, rows, numbers, text, out, put)
    })
}

/// Runs rows: `numbers` row after row, the number inputs of each in the order of the inputs; `texts` likewise (null where
/// the model reads none). The number columns of the answer go to `out`, row after row, the text columns to `out_texts`
/// (null where there are none); such a text lives as long as the model and the texts that went in. Nothing is allocated
/// unless it fails.
///
/// # Safety
/// `model` is open and `session` one of its own that no other thread uses now; the arrays have as many elements as the
/// rows need.
#[expect(unsafe_code, reason = "pointers from C")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corten_predict(
    model: *const Handle,
    session: *mut Session,
    method: i32,
    numbers: *const f64,
    texts: *const Text,
    rows: usize,
    out: *mut f64,
    out_texts: *mut Text,
) -> Status {
    // SAFETY: the caller's promise.
    unsafe { predict(model, session, method, numbers, texts, rows, out, out_texts) }
}

/// As `corten_predict`, with numbers in `float`.
///
/// # Safety
/// As `corten_predict`.
#[expect(unsafe_code, reason = "pointers from C")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corten_predict_f32(
    model: *const Handle,
    session: *mut Session,
    method: i32,
    numbers: *const f32,
    texts: *const Text,
    rows: usize,
    out: *mut f64,
    out_texts: *mut Text,
) -> Status {
    // SAFETY: the caller's promise.
    unsafe { predict(model, session, method, numbers, texts, rows, out, out_texts) }
}

/// Takes one row into the state of a model that has one, and writes the numbers of its first method's answer after the
/// step to `out`. No other call may use the model meanwhile.
///
/// # Safety
/// As `corten_predict`, and no other thread uses the model.
#[expect(unsafe_code, reason = "pointers from C")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corten_update(
    model: *mut Handle,
    session: *mut Session,
    numbers: *const f64,
    texts: *const Text,
    out: *mut f64,
) -> Status {
    // SAFETY: null or open, and the caller's promise that no one else uses them.
    let (Some(handle), Some(session)) = (unsafe { model.as_mut() }, unsafe { session.as_mut() }) else {
        return fail(Status::Argument, &"a model and a session are needed, but one of them is null");
    };
    guard(|| {
        let (number_inputs, text_inputs) = handle.model.schema().counts();
        let Some(first) = handle.model.graph().outputs().first() else {
            return Err(Error::Unsupported("This model has no state to update.".into()));
        };
        let width = first.columns.iter().filter(|s| matches!(s, corten_model::Slot::Number(_))).count();
        // SAFETY: the caller's promise.
        let (numbers, texts, out) = unsafe {
            (many(numbers, number_inputs, "numbers")?, many(texts, text_inputs, "texts")?, many_mut(out, width, "out")?)
        };
        // SAFETY: the caller's promise.
        let texts: Vec<Option<&[u8]>> = texts.iter().map(|t| unsafe { t.get() }).collect();
        let place = session.0.numbers_mut();
        if place.len() != numbers.len() {
            return Err(Error::value("the session was made for another model"));
        }
        place.copy_from_slice(numbers);
        out.copy_from_slice(handle.model.update_row(&mut session.0, &texts)?);
        Ok(())
    })
}
