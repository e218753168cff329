//! Linear models: least squares, ridge and logistic regression, on dense columns and on sparse rows.

mod design;
mod lbfgs;
mod least_squares;
mod line_search;
pub mod linear_regression;
mod logistic_loss;
pub mod logistic_regression;
mod lsqr;
mod newton;
mod nnls;
mod proximal;
pub mod ridge;
