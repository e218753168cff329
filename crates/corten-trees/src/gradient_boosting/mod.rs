//! Gradient boosting of exact trees (Friedman, Annals of Statistics 29, 2001).
//!
//! Each stage grows a regression tree to the negative gradients at the scores so far, by the exact grower of `forest`,
//! and gives its leaves the values that lower the loss most. Losses, leaf values and the share of a class are
//! scikit-learn's. For many rows the binned engine of `boosting` is faster by far.

mod estimator;
mod fitted;
mod loss;
mod stages;
mod start;
pub(crate) mod state;

pub use estimator::{GradientBoostingClassifier, GradientBoostingRegressor, held_out};
