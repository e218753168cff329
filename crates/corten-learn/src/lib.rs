//! Fitting of classical estimators: preprocessing, imputation, linear models and streaming statistics.
