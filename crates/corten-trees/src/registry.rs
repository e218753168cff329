//! The estimators of this crate, by module and class.

use corten_model::estimator::Entry;

use crate::boosting::{HistGradientBoostingClassifier, HistGradientBoostingRanker, HistGradientBoostingRegressor};
use crate::forest::{
    DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor, ExtraTreesClassifier,
    ExtraTreesRegressor, IsolationForest, RandomForestClassifier, RandomForestRegressor,
};

/// One entry an estimator.
pub fn estimators() -> Vec<Entry> {
    vec![
        Entry::of::<DecisionTreeClassifier>("tree.DecisionTreeClassifier"),
        Entry::of::<DecisionTreeRegressor>("tree.DecisionTreeRegressor"),
        Entry::of::<ExtraTreeClassifier>("tree.ExtraTreeClassifier"),
        Entry::of::<ExtraTreeRegressor>("tree.ExtraTreeRegressor"),
        Entry::of::<ExtraTreesClassifier>("ensemble.ExtraTreesClassifier"),
        Entry::of::<ExtraTreesRegressor>("ensemble.ExtraTreesRegressor"),
        Entry::of::<HistGradientBoostingClassifier>("ensemble.HistGradientBoostingClassifier"),
        Entry::of::<HistGradientBoostingRanker>("ensemble.HistGradientBoostingRanker"),
        Entry::of::<HistGradientBoostingRegressor>("ensemble.HistGradientBoostingRegressor"),
        Entry::of::<IsolationForest>("ensemble.IsolationForest"),
        Entry::of::<RandomForestClassifier>("ensemble.RandomForestClassifier"),
        Entry::of::<RandomForestRegressor>("ensemble.RandomForestRegressor"),
    ]
}
