//! Filling in missing values.

pub mod simple_imputer;
