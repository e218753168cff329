//! The estimators of this crate, by module and class.

use corten_model::estimator::Entry;

use crate::boosting::{HistGradientBoostingClassifier, HistGradientBoostingRegressor};

/// One entry an estimator.
pub fn estimators() -> Vec<Entry> {
    vec![
        Entry::of::<HistGradientBoostingClassifier>("ensemble.HistGradientBoostingClassifier"),
        Entry::of::<HistGradientBoostingRegressor>("ensemble.HistGradientBoostingRegressor"),
    ]
}
