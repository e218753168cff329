//! Fitting of classical estimators: preprocessing, imputation, linear models and streaming statistics.
//!
//! A folder per family, a file per estimator. Each file holds the parameters (a serde struct with scikit-learn's names
//! and defaults), the fit, the fitted state with scikit-learn's attributes, and how that state lowers to operators of
//! `corten-model`. Every family lists its estimators in [`registry`], the one door through which they are reached.
//!
//! Results depend on the data, the parameters and the seed only: sums have one fixed shape, whatever the number of
//! threads.

mod columns;
pub mod impute;
pub mod linear_model;
mod number;
pub mod preprocessing;
pub mod registry;
pub mod streaming;
mod sums;
