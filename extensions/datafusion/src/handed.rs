//! The function as DataFusion is handed it.
#![expect(unsafe_code, reason = "functions that another library calls")]

use std::sync::Arc;

use arrow_array::ArrayRef;
use datafusion_expr::{ColumnarValue, ScalarUDF};
use datafusion_ffi::arrow_wrappers::{WrappedArray, WrappedSchema};
use datafusion_ffi::config::FFI_ConfigOptions;
use datafusion_ffi::expr::columnar_value::FFI_ColumnarValue;
use datafusion_ffi::udf::{FFI_ScalarUDF, ScalarUDFPrivateData};
use datafusion_ffi::util::FFI_Result;
use stabby::vec::Vec;

use crate::function::Function;

/// A function whose calls leave the configuration unread: hundreds of settings come with each, as text, and to read them
/// takes longer than to score the rows with a small model.
pub(crate) fn handed(function: Arc<ScalarUDF>) -> FFI_ScalarUDF {
    let mut handed = FFI_ScalarUDF::from(function);
    (handed.invoke_with_args, handed.clone) = (invoke_with_args, clone);
    handed
}

/// The function behind what was handed over.
///
/// # Safety
/// `handed` made it.
unsafe fn inner(handed: &FFI_ScalarUDF) -> &Arc<ScalarUDF> {
    // SAFETY: `FFI_ScalarUDF::from` put this there, which stays until the last use of the value.
    unsafe { &(*handed.private_data.cast::<ScalarUDFPrivateData>()).udf }
}

unsafe extern "C" fn clone(this: &FFI_ScalarUDF) -> FFI_ScalarUDF {
    // SAFETY: it is called as a field of what `handed` made.
    handed(Arc::clone(unsafe { inner(this) }))
}

unsafe extern "C" fn invoke_with_args(
    this: &FFI_ScalarUDF,
    arguments: Vec<WrappedArray>,
    _: Vec<WrappedSchema>,
    _: usize,
    _: WrappedSchema,
    _: FFI_ConfigOptions,
) -> FFI_Result<FFI_ColumnarValue> {
    // SAFETY: it is called as a field of what `handed` made.
    let function = unsafe { inner(this) }.inner().downcast_ref::<Function>();
    let answer = || {
        let arrays = arguments.into_iter().map(ArrayRef::try_from).collect::<Result<_, _>>()?;
        let Some(function) = function else { return datafusion_common::internal_err!("another function") };
        FFI_ColumnarValue::try_from(ColumnarValue::Array(function.answer(arrays)?))
    };
    FFI_Result::from(answer())
}
