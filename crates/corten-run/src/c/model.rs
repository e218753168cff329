//! Models: open, close, and what goes in and comes out.

use alloc::boxed::Box;
use alloc::ffi::CString;
use alloc::vec::Vec;
use core::ffi::{c_char, c_void};
use core::ptr;

use corten_core::Error;
use corten_model::{Labels, Model, Slot};

use super::error::{Status, fail, guard};
use super::{Kind, by_code};

/// A model. Immutable but for `corten_update`, and shared between threads freely.
pub struct Handle {
    pub(super) model: Model,
    inputs: Vec<(CString, CString)>,
    outputs: Vec<(corten_model::Method, Vec<CString>)>,
    classes: Vec<CString>,
}

/// Text for C. A name may hold a zero byte, which ends a text there: it is shown as '?'.
fn text(from: &str) -> CString {
    CString::new(from.replace('\0', "?")).unwrap_or_default()
}

impl Handle {
    fn new(model: Model) -> Self {
        let inputs = model.schema().inputs.iter().map(|i| (text(&i.name), text(&i.dtype))).collect();
        let names = |o: &corten_model::Output| o.names.iter().map(|n| text(n)).collect();
        let outputs = model.graph().outputs().iter().map(|o| (o.method, names(o))).collect();
        let classes = labels(&model).map_or_else(Vec::new, |l| l.names().iter().map(|n| text(n)).collect());
        Self { model, inputs, outputs, classes }
    }

    fn columns(&self, code: i32) -> &[Slot] {
        by_code(code).and_then(|m| self.model.output(m)).map_or(&[], |o| &o.columns)
    }
}

fn labels(model: &Model) -> Option<&Labels> {
    let methods = [corten_model::Method::Predict, corten_model::Method::PredictProba];
    methods.iter().find_map(|&m| model.output(m)?.labels.as_ref())
}

/// The version of Corten, as in "0.1.0".
#[expect(unsafe_code, reason = "a name for C")]
#[unsafe(no_mangle)]
pub extern "C" fn corten_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// Hands a model over, or refuses a null pointer.
///
/// # Safety
/// `model` is null or points to room for a pointer.
#[expect(unsafe_code, reason = "pointers from C")]
unsafe fn hand_over(model: *mut *mut Handle, read: impl FnOnce() -> Result<Model, Error>) -> Status {
    if model.is_null() {
        return fail(Status::Argument, &"'model' is null; a pointer to where the model goes is needed");
    }
    guard(|| {
        let made = Box::into_raw(Box::new(Handle::new(read()?)));
        // SAFETY: not null, and the caller's promise.
        unsafe { *model = made };
        Ok(())
    })
}

/// Opens a model file. `path` is UTF-8. Everything in the file is checked before anything runs; the file isn't needed
/// afterwards.
///
/// # Safety
/// `path` is a text that ends with a zero byte; `model` points to room for a pointer.
#[cfg(feature = "std")]
#[expect(unsafe_code, reason = "pointers from C")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corten_open(path: *const c_char, model: *mut *mut Handle) -> Status {
    if path.is_null() {
        return fail(Status::Argument, &"'path' is null; the path of a model file is needed");
    }
    // SAFETY: not null, and the caller's promise.
    let path = unsafe { core::ffi::CStr::from_ptr(path) };
    let read = || {
        let path = path.to_str().map_err(|_| Error::parameter("path", "UTF-8", "other bytes"))?;
        corten_model::check_cpu()?;
        Model::load(path.as_ref())
    };
    // SAFETY: the caller's promise.
    unsafe { hand_over(model, read) }
}

/// Opens a model that lies in memory, as in a device's flash. The bytes are not needed afterwards.
///
/// # Safety
/// `bytes` points to `length` bytes; `model` points to room for a pointer.
#[expect(unsafe_code, reason = "pointers from C")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corten_open_bytes(bytes: *const c_void, length: usize, model: *mut *mut Handle) -> Status {
    if bytes.is_null() {
        return fail(Status::Argument, &"'bytes' is null; the bytes of a model file are needed");
    }
    // SAFETY: the caller's promise.
    let bytes = unsafe { core::slice::from_raw_parts(bytes.cast::<u8>(), length) };
    // SAFETY: the caller's promise.
    unsafe { hand_over(model, || Model::from_bytes(bytes)) }
}

/// Frees a model; null is allowed. Its sessions may be freed before or after.
///
/// # Safety
/// `model` came from `corten_open` or `corten_open_bytes`, and nothing uses it any more.
#[expect(unsafe_code, reason = "pointers from C")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corten_close(model: *mut Handle) {
    if !model.is_null() {
        // SAFETY: the caller's promise.
        drop(unsafe { Box::from_raw(model) });
    }
}

/// Writes a model with its present state to a file, put in place at once.
///
/// # Safety
/// `model` is open; `path` is a text that ends with a zero byte.
#[cfg(feature = "std")]
#[expect(unsafe_code, reason = "pointers from C")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corten_save(model: *const Handle, path: *const c_char) -> Status {
    // SAFETY: null or open.
    let (Some(handle), false) = (unsafe { model.as_ref() }, path.is_null()) else {
        return fail(Status::Argument, &"a model and the path of a file are needed, but one of them is null");
    };
    // SAFETY: not null, and the caller's promise.
    let path = unsafe { core::ffi::CStr::from_ptr(path) };
    guard(|| {
        let path = path.to_str().map_err(|_| Error::parameter("path", "UTF-8", "other bytes"))?;
        handle.model.save(path.as_ref())
    })
}

fn shown(text: Option<&CString>) -> *const c_char {
    text.map_or(ptr::null(), |t| t.as_ptr())
}

fn numbers(columns: &[Slot]) -> usize {
    columns.iter().filter(|s| matches!(s, Slot::Number(_))).count()
}

fn kind_of(kind: corten_core::Kind) -> Kind {
    match kind {
        corten_core::Kind::Number => Kind::Number,
        corten_core::Kind::Text => Kind::Text,
    }
}

/// Number of columns that the model reads.
///
/// # Safety
/// `model` is null or open.
#[expect(unsafe_code, reason = "pointers from C")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corten_inputs(model: *const Handle) -> usize {
    // SAFETY: the caller's promise.
    unsafe { model.as_ref() }.map_or(0, |m| m.inputs.len())
}

/// Name of a column that the model reads; null where there is none.
///
/// # Safety
/// `model` is null or open.
#[expect(unsafe_code, reason = "pointers from C")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corten_input_name(model: *const Handle, index: usize) -> *const c_char {
    // SAFETY: the caller's promise.
    unsafe { model.as_ref() }.map_or(ptr::null(), |m| shown(m.inputs.get(index).map(|i| &i.0)))
}

/// The type that a column had when the model was fitted, as in "f64" or "text"; null where there is none.
///
/// # Safety
/// `model` is null or open.
#[expect(unsafe_code, reason = "pointers from C")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corten_input_dtype(model: *const Handle, index: usize) -> *const c_char {
    // SAFETY: the caller's promise.
    unsafe { model.as_ref() }.map_or(ptr::null(), |m| shown(m.inputs.get(index).map(|i| &i.1)))
}

/// Whether a column that the model reads holds numbers or text.
///
/// # Safety
/// `model` is null or open.
#[expect(unsafe_code, reason = "pointers from C")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corten_input_kind(model: *const Handle, index: usize) -> Kind {
    // SAFETY: the caller's promise.
    unsafe { model.as_ref() }
        .map_or(Kind::None, |m| m.model.schema().inputs.get(index).map_or(Kind::None, |i| kind_of(i.kind)))
}

/// 1 where the model has a method, else 0.
///
/// # Safety
/// `model` is null or open.
#[expect(unsafe_code, reason = "pointers from C")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corten_has(model: *const Handle, method: i32) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { model.as_ref() }.map_or(0, |m| i32::from(by_code(method).and_then(|c| m.model.output(c)).is_some()))
}

/// Number of columns of a method's answer; 0 where the model doesn't have the method.
///
/// # Safety
/// `model` is null or open.
#[expect(unsafe_code, reason = "pointers from C")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corten_columns(model: *const Handle, method: i32) -> usize {
    // SAFETY: the caller's promise.
    unsafe { model.as_ref() }.map_or(0, |m| m.columns(method).len())
}

/// How many of them hold numbers: what `corten_predict` writes to `out` for each row.
///
/// # Safety
/// `model` is null or open.
#[expect(unsafe_code, reason = "pointers from C")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corten_out_numbers(model: *const Handle, method: i32) -> usize {
    // SAFETY: the caller's promise.
    unsafe { model.as_ref() }.map_or(0, |m| numbers(m.columns(method)))
}

/// How many of them hold text: what `corten_predict` writes to `out_texts` for each row.
///
/// # Safety
/// `model` is null or open.
#[expect(unsafe_code, reason = "pointers from C")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corten_out_texts(model: *const Handle, method: i32) -> usize {
    // SAFETY: the caller's promise.
    unsafe { model.as_ref() }.map_or(0, |m| m.columns(method).len() - numbers(m.columns(method)))
}

/// Name of a column of a method's answer; null where there is none.
///
/// # Safety
/// `model` is null or open.
#[expect(unsafe_code, reason = "pointers from C")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corten_column_name(model: *const Handle, method: i32, index: usize) -> *const c_char {
    // SAFETY: the caller's promise.
    let (Some(m), Some(method)) = (unsafe { model.as_ref() }, by_code(method)) else { return ptr::null() };
    shown(m.outputs.iter().find(|o| o.0 == method).and_then(|o| o.1.get(index)))
}

/// Whether a column of a method's answer holds numbers or text.
///
/// # Safety
/// `model` is null or open.
#[expect(unsafe_code, reason = "pointers from C")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corten_column_kind(model: *const Handle, method: i32, index: usize) -> Kind {
    // SAFETY: the caller's promise.
    unsafe { model.as_ref() }
        .map_or(Kind::None, |m| m.columns(method).get(index).map_or(Kind::None, |s| kind_of(s.kind())))
}

/// Number of classes of a classifier; 0 for other models.
///
/// # Safety
/// `model` is null or open.
#[expect(unsafe_code, reason = "pointers from C")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corten_classes(model: *const Handle) -> usize {
    // SAFETY: the caller's promise.
    unsafe { model.as_ref() }.map_or(0, |m| m.classes.len())
}

/// A class as text; null where there is none. A classifier's `CORTEN_METHOD_PREDICT` answers the index.
///
/// # Safety
/// `model` is null or open.
#[expect(unsafe_code, reason = "pointers from C")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corten_class(model: *const Handle, index: usize) -> *const c_char {
    // SAFETY: the caller's promise.
    unsafe { model.as_ref() }.map_or(ptr::null(), |m| shown(m.classes.get(index)))
}

/// The type that the classes had when the model was fitted.
///
/// # Safety
/// `model` is null or open.
#[expect(unsafe_code, reason = "pointers from C")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corten_class_kind(model: *const Handle) -> Kind {
    // SAFETY: the caller's promise.
    match unsafe { model.as_ref() }.and_then(|m| labels(&m.model)) {
        None => Kind::None,
        Some(Labels::Int(_)) => Kind::Int,
        Some(Labels::Float(_)) => Kind::Number,
        Some(Labels::Bool(_)) => Kind::Bool,
        Some(Labels::Text(_)) => Kind::Text,
    }
}

/// 1 where `corten_update` changes the model, else 0.
///
/// # Safety
/// `model` is null or open.
#[expect(unsafe_code, reason = "pointers from C")]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn corten_stateful(model: *const Handle) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { model.as_ref() }.map_or(0, |m| i32::from(m.model.is_stateful()))
}
