//! The estimators of this crate, by module and class.

use corten_model::estimator::Entry;

use crate::impute::simple_imputer::SimpleImputer;
use crate::linear_model::linear_regression::LinearRegression;
use crate::linear_model::logistic_regression::LogisticRegression;
use crate::linear_model::ridge::Ridge;
use crate::preprocessing::max_abs_scaler::MaxAbsScaler;
use crate::preprocessing::min_max_scaler::MinMaxScaler;
use crate::preprocessing::one_hot_encoder::OneHotEncoder;
use crate::preprocessing::ordinal_encoder::OrdinalEncoder;
use crate::preprocessing::robust_scaler::RobustScaler;
use crate::preprocessing::standard_scaler::StandardScaler;
use crate::streaming::running_moments::RunningMoments;

/// One entry an estimator.
pub fn estimators() -> Vec<Entry> {
    vec![
        Entry::of::<SimpleImputer>("impute.SimpleImputer"),
        Entry::of::<LinearRegression>("linear_model.LinearRegression"),
        Entry::of::<LogisticRegression>("linear_model.LogisticRegression"),
        Entry::of::<Ridge>("linear_model.Ridge"),
        Entry::of::<MaxAbsScaler>("preprocessing.MaxAbsScaler"),
        Entry::of::<MinMaxScaler>("preprocessing.MinMaxScaler"),
        Entry::of::<OneHotEncoder>("preprocessing.OneHotEncoder"),
        Entry::of::<OrdinalEncoder>("preprocessing.OrdinalEncoder"),
        Entry::of::<RobustScaler>("preprocessing.RobustScaler"),
        Entry::of::<StandardScaler>("preprocessing.StandardScaler"),
        Entry::of::<RunningMoments>("streaming.RunningMoments"),
    ]
}
