//! Fitting of trees: gradient boosting on binned columns, exact single trees and forests; and the trees of other
//! libraries, taken in.
//!
//! Floor 3. What is fitted here lowers to `corten-model`'s `trees` operator; [`registry`] is the one door through which
//! the estimators are reached.

pub mod boosting;
pub mod convert;
pub mod forest;
pub mod gradient_boosting;
pub mod registry;
mod source;
