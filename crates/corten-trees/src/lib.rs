//! Fitting of tree ensembles: gradient boosting on binned columns.
//!
//! Floor 3. What is fitted here lowers to `corten-model`'s `trees` operator; [`registry`] is the one door through which
//! the estimators are reached.

pub mod boosting;
pub mod registry;
