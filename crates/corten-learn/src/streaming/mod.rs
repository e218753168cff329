//! Estimators that keep learning after they were fitted: their models have state, which `update` advances.

pub mod running_moments;
