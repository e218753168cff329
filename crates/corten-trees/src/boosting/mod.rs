//! Gradient boosting of trees on binned columns.
//!
//! Columns become at most 255 bins once (`binning`), those of few bins share a byte (`bundles`), and those of many
//! categories become numbers (`categories`). Gradients are rounded once a tree to integers at one scale (`rounding`), so
//! sums of them don't depend on their order: any number of threads, and later of machines, gives the same model to the
//! last bit. Trees are grown on bins, leaf by leaf, by the split that gains most (`grower`, `choice`, `splitter`). The inner loops
//! are in `corten_kernels::boost`. Sources: LightGBM (Ke et al., NeurIPS 2017; Shi et al., NeurIPS 2022), and
//! scikit-learn's `_hist_gradient_boosting`, whose parameters and rules these estimators share.

mod average;
pub(crate) mod binning;
mod blocks;
mod bundles;
mod categories;
mod choice;
mod collective;
mod cuts;
mod estimator;
mod fitted;
mod fitting;
pub(crate) mod grower;
pub(crate) mod histogram;
mod interactions;
mod layout;
mod leaf_models;
mod metric;
pub(crate) mod objective;
mod parameters;
mod part;
#[cfg(test)]
mod reference;
mod refit;
mod rounding;
mod run;
mod sampling;
pub(crate) mod split;
mod splitter;
pub(crate) mod state;
pub(crate) mod train;

pub use fitting::threads_for;

pub use estimator::{HistGradientBoostingClassifier, HistGradientBoostingRanker, HistGradientBoostingRegressor};
