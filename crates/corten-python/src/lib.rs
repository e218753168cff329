//! The extension module `corten._core`: data in and out, verbs, errors. Nothing here is about a single estimator.

mod arrays;
mod arrow;
mod blocks;
mod convert;
mod door;
mod errors;
mod estimator;
mod export;
mod files;
mod inputs;
mod json;
mod model;
mod outside;
mod quick;
mod row;
mod stream;

use pyo3::prelude::*;

/// The compiled part of Corten.
#[pymodule]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    errors::register(module)?;
    corten_model::check_cpu().map_err(|e| errors::to_py(module.py(), e))?;
    module.add_class::<arrow::Frame>()?;
    module.add_class::<blocks::Files>()?;
    module.add_class::<blocks::Targets>()?;
    module.add_class::<estimator::Fitted>()?;
    module.add_class::<model::Model>()?;
    module.add_class::<quick::Quick>()?;
    module.add_function(wrap_pyfunction!(estimator::estimators, module)?)?;
    module.add_function(wrap_pyfunction!(estimator::defaults, module)?)?;
    module.add_function(wrap_pyfunction!(estimator::fit, module)?)?;
    module.add_function(wrap_pyfunction!(estimator::restore, module)?)?;
    module.add_function(wrap_pyfunction!(estimator::held_out, module)?)?;
    module.add_function(wrap_pyfunction!(blocks::fit_files, module)?)?;
    module.add_function(wrap_pyfunction!(blocks::spool, module)?)?;
    module.add_function(wrap_pyfunction!(convert::convert, module)?)?;
    module.add_function(wrap_pyfunction!(convert::to_lightgbm, module)?)?;
    module.add_function(wrap_pyfunction!(convert::convert_arrays, module)?)?;
    module.add_function(wrap_pyfunction!(door::give_back, module)?)?;
    module.add_function(wrap_pyfunction!(estimator::side_by_side, module)?)?;
    module.add_function(wrap_pyfunction!(export::export_c, module)?)?;
    module.add_function(wrap_pyfunction!(export::quantize, module)?)?;
    module.add_function(wrap_pyfunction!(inputs::schema, module)?)?;
    module.add_function(wrap_pyfunction!(model::load, module)?)?;
    module.add_function(wrap_pyfunction!(model::from_bytes, module)?)?;
    module.add_function(wrap_pyfunction!(model::chain, module)?)?;
    module.add_function(wrap_pyfunction!(model::conformal, module)?)?;
    module.add_function(wrap_pyfunction!(model::columns, module)?)?;
    module.add_function(wrap_pyfunction!(model::ensemble, module)?)?;
    module.add_function(wrap_pyfunction!(files::score_file, module)?)?;
    module.add_function(wrap_pyfunction!(files::read_table, module)?)?;
    Ok(())
}
