//! Single trees and forests, grown exactly: every distinct value of a column is its own code.
//!
//! Columns become ranks ([`ranks`]), so that a node sorts small integers, and a threshold is the midpoint of two values
//! that lie in the node, as in Breiman, Friedman, Olshen & Stone, "Classification and regression trees" (1984).

mod absolute;
mod blocks;
mod classes;
mod columns;
mod counts;
mod drawn;
mod draws;
mod embedding;
pub(crate) mod estimator;
mod few;
pub(crate) mod finder;
pub(crate) mod fitted;
pub(crate) mod grower;
mod isolation;
mod lists;
pub(crate) mod means;
mod ordered;
pub(crate) mod parameters;
pub(crate) mod prune;
mod purity;
pub(crate) mod ranks;
mod sample;
mod sampled;
mod sort;
pub(crate) mod task;
pub(crate) mod tree;
mod weights;

pub use embedding::RandomTreesEmbedding;
pub use isolation::IsolationForest;
pub use parameters::{
    DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor, ExtraTreesClassifier,
    ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor,
};
