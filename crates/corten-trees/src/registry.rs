//! The estimators of this crate, by module and class.

use corten_model::estimator::Entry;
use serde::Serialize;
use serde_json::Value;

use crate::boosting::{
    self, HistGradientBoostingClassifier, HistGradientBoostingRanker, HistGradientBoostingRegressor,
};
use crate::forest::{
    DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor, ExtraTreesClassifier,
    ExtraTreesRegressor, IsolationForest, RandomForestClassifier, RandomForestRegressor, RandomTreesEmbedding,
};
use crate::gradient_boosting::{self, GradientBoostingClassifier, GradientBoostingRegressor};

/// One entry an estimator.
pub fn estimators() -> Vec<Entry> {
    vec![
        Entry::of::<DecisionTreeClassifier>("tree.DecisionTreeClassifier"),
        Entry::of::<DecisionTreeRegressor>("tree.DecisionTreeRegressor"),
        Entry::of::<ExtraTreeClassifier>("tree.ExtraTreeClassifier"),
        Entry::of::<ExtraTreeRegressor>("tree.ExtraTreeRegressor"),
        Entry::of::<ExtraTreesClassifier>("ensemble.ExtraTreesClassifier"),
        Entry::of::<ExtraTreesRegressor>("ensemble.ExtraTreesRegressor"),
        Entry {
            defaults: || unconstrained::<GradientBoostingClassifier>(),
            restore: Some(gradient_boosting::state::read),
            ..Entry::of::<GradientBoostingClassifier>("ensemble.GradientBoostingClassifier")
        },
        Entry {
            defaults: || unconstrained::<GradientBoostingRegressor>(),
            restore: Some(gradient_boosting::state::read),
            ..Entry::of::<GradientBoostingRegressor>("ensemble.GradientBoostingRegressor")
        },
        Entry {
            restore: Some(boosting::state::read),
            ..Entry::of::<HistGradientBoostingClassifier>("ensemble.HistGradientBoostingClassifier")
        },
        Entry {
            restore: Some(boosting::state::read),
            ..Entry::of::<HistGradientBoostingRanker>("ensemble.HistGradientBoostingRanker")
        },
        Entry {
            restore: Some(boosting::state::read),
            ..Entry::of::<HistGradientBoostingRegressor>("ensemble.HistGradientBoostingRegressor")
        },
        Entry::of::<IsolationForest>("ensemble.IsolationForest"),
        Entry::of::<RandomForestClassifier>("ensemble.RandomForestClassifier"),
        Entry::of::<RandomForestRegressor>("ensemble.RandomForestRegressor"),
        Entry::of::<RandomTreesEmbedding>("ensemble.RandomTreesEmbedding"),
    ]
}

/// The defaults of trees whose leaves are given other values later, so that no constraint on splits would hold.
fn unconstrained<P: Default + Serialize>() -> Value {
    let mut defaults = serde_json::to_value(P::default()).unwrap_or_default();
    defaults.as_object_mut().map(|d| d.remove("monotonic_cst"));
    defaults
}
