//! Tree ensembles of other libraries.
//!
//! A reader a format turns bytes into an [`Ensemble`]: trees over raw values, the columns that they read and what their
//! sums mean. [`Ensemble::lower`] makes a model of it. All readers take bytes from outside: whatever comes, they give a
//! model or say what is wrong with it.

mod catboost;
mod categories;
mod city;
mod ensemble;
pub mod flat;
mod lightgbm;
mod numbers;
mod xgboost;

use corten_core::{Error, Result};
use corten_model::{Labels, Model};

pub use ensemble::{Answer, Ensemble, Feature, Sums};
pub use lightgbm::to_lightgbm;

/// Most bytes of a model.
pub const MAX_BYTES: usize = 4 << 30;

/// What is known of a model beside its bytes.
#[derive(Clone, Debug, Default)]
pub struct Wrapping {
    /// The classes of a classifier; without them the model predicts the numbers that its library's own object predicts.
    pub labels: Option<Labels>,
    /// The categories of columns that a model knows by hashes only: of CatBoost.
    pub categories: Vec<(String, Vec<String>)>,
    /// Whether XGBoost's own object predicts "in place", as its wrappers for scikit-learn do: a dart booster then rounds
    /// otherwise than for a `DMatrix`.
    pub in_place: bool,
}

/// Converts a model file of LightGBM (text), XGBoost (JSON, UBJSON) or CatBoost (JSON), told apart by its content.
///
/// # Errors
/// [`Error::Foreign`] for a damaged model and for content of another kind, [`Error::Unsupported`] for what can't be
/// converted, with the reason.
pub fn convert(bytes: &[u8], wrapping: &Wrapping) -> Result<Model> {
    if bytes.len() > MAX_BYTES {
        return Err(Error::Limit(format!("a model of more than {MAX_BYTES} bytes")));
    }
    let ensemble = match bytes {
        [b't', b'r', b'e', b'e', b'\n' | b'\r', ..] => lightgbm::read(bytes)?,
        bytes if catboost::is_one(bytes) => catboost::read(bytes, wrapping)?,
        bytes if xgboost::is_one(bytes) => xgboost::read(bytes, wrapping.in_place)?,
        _ => {
            return Err(Error::foreign(
                "this is no model of LightGBM (text), XGBoost (JSON, UBJSON) or CatBoost (JSON)",
            ));
        }
    };
    ensemble.lower(wrapping)
}
