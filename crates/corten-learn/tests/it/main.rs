//! Integration tests: every estimator against numbers that scikit-learn computed (`tests/make_expected.py`), and what
//! they refuse.

mod against_sklearn;
mod behaviour;
mod support;
