//! The C interface: opaque handles, status codes, and a message for the last failure of each thread.
//!
//! A model is immutable but for `corten_update` and shared by any number of threads; a session is the memory of one
//! thread. Every function refuses null where an object is needed, and none lets a panic out.

mod error;
mod model;
mod predict;

pub use error::{Status, corten_message};
pub use model::{
    Handle, corten_class, corten_class_kind, corten_classes, corten_close, corten_column_kind, corten_column_name,
    corten_columns, corten_has, corten_input_dtype, corten_input_kind, corten_input_name, corten_inputs,
    corten_open_bytes, corten_out_numbers, corten_out_texts, corten_stateful, corten_version,
};
#[cfg(feature = "std")]
pub use model::{corten_open, corten_save};
pub use predict::{
    Session, Text, corten_predict, corten_predict_f32, corten_session_free, corten_session_new, corten_update,
};
#[cfg(all(not(feature = "std"), target_family = "wasm"))]
pub use wasm::{corten_alloc, corten_free};

/// What a model can be asked for, as in scikit-learn.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Numbers, or for a classifier the index of a class.
    Predict = 0,
    /// One probability a class.
    PredictProba = 1,
    /// Scores before they become probabilities.
    DecisionFunction = 2,
    /// The columns of a transformer.
    Transform = 3,
    /// Lower and upper end of an interval.
    PredictInterval = 4,
    /// 1 or 0 for each class: whether it is in the set.
    PredictSet = 5,
}

/// Types of columns and classes.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// There is no such column.
    None = -1,
    /// A number: a `double`, NaN where it is missing.
    Number = 0,
    /// UTF-8 text.
    Text = 1,
    /// A class that is a whole number.
    Int = 2,
    /// A class that is a boolean.
    Bool = 3,
}

fn by_code(code: i32) -> Option<corten_model::Method> {
    usize::try_from(code).ok().and_then(|at| corten_model::Method::ALL.get(at)).copied()
}

/// Memory for what JavaScript hands over.
#[cfg(all(not(feature = "std"), target_family = "wasm"))]
mod wasm {
    use alloc::alloc::{alloc, dealloc};
    use core::alloc::Layout;

    fn layout(size: usize) -> Option<Layout> {
        Layout::from_size_align(size.max(1), 16).ok()
    }

    /// Memory of `size` bytes, aligned to 16; null where there is none.
    #[expect(unsafe_code, reason = "an allocator for the other side")]
    #[unsafe(no_mangle)]
    pub extern "C" fn corten_alloc(size: usize) -> *mut u8 {
        // SAFETY: the layout has a size.
        layout(size).map_or(core::ptr::null_mut(), |layout| unsafe { alloc(layout) })
    }

    /// Gives memory of `corten_alloc` back.
    ///
    /// # Safety
    /// `at` came from `corten_alloc(size)`.
    #[expect(unsafe_code, reason = "an allocator for the other side")]
    #[unsafe(no_mangle)]
    pub unsafe extern "C" fn corten_free(at: *mut u8, size: usize) {
        if let (false, Some(layout)) = (at.is_null(), layout(size)) {
            // SAFETY: the caller's promise.
            unsafe { dealloc(at, layout) }
        }
    }
}
