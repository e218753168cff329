//! `OrdinalEncoder`: the position of a value's category, as a number.
//!
//! Rare categories may be grouped into one code after the others; missing values become `encoded_missing_value` and
//! unknown ones `unknown_value`. Source: scikit-learn's `preprocessing/_encoders.py`.

use std::any::Any;

use corten_core::{Error, Result, parameter};
use corten_model::estimator::{Attribute, Estimator, FitInput, Fitted};
use corten_model::ops::{Category, CategoryColumn, Rule};
use corten_model::{Builder, Method, Output, Slot};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::categories::{self, Categories, Given, Grouping, MinFrequency};
use crate::number::Real;

/// Parameters of `OrdinalEncoder`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OrdinalEncoder {
    /// `"auto"`, or one list of categories a column.
    pub categories: Given,
    /// The type of Python's results; without meaning here.
    pub dtype: Value,
    /// What unknown values become: `error` or `use_encoded_value`.
    pub handle_unknown: String,
    /// The code of unknown values; `"NaN"` for a missing number.
    pub unknown_value: Option<Real>,
    /// The code of missing values.
    pub encoded_missing_value: Real,
    /// Categories with fewer rows (or a smaller share of them) are grouped.
    pub min_frequency: Option<MinFrequency>,
    /// Most codes that one input may have, the group's included.
    pub max_categories: Option<u64>,
}

impl Default for OrdinalEncoder {
    fn default() -> Self {
        Self {
            categories: Given::Auto("auto".into()),
            dtype: Value::Null,
            handle_unknown: "error".into(),
            unknown_value: None,
            encoded_missing_value: Real(f64::NAN),
            min_frequency: None,
            max_categories: None,
        }
    }
}

/// A fitted `OrdinalEncoder`.
#[derive(Clone, Debug)]
pub struct FittedOrdinalEncoder {
    columns: Vec<(Categories, Option<Grouping>)>,
    groups: bool,
    unknown: Option<f64>,
    missing: f64,
}

impl OrdinalEncoder {
    fn unknown(&self) -> Result<Option<f64>> {
        parameter::one_of("handle_unknown", &self.handle_unknown, &["error", "use_encoded_value"])?;
        let encoded = self.handle_unknown == "use_encoded_value";
        match self.unknown_value {
            Some(Real(v)) if !encoded => Err(Error::Type(format!(
                "unknown_value should only be set when handle_unknown is 'use_encoded_value', got {v}."
            ))),
            None if !encoded => Ok(None),
            Some(Real(v)) if v.is_nan() || v.fract() == 0.0 => Ok(Some(v)),
            given => Err(Error::Type(format!(
                "unknown_value should be an integer or np.nan when handle_unknown is 'use_encoded_value', got {}.",
                given.map_or("None".into(), |v| v.0.to_string())
            ))),
        }
    }
}

impl Estimator for OrdinalEncoder {
    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Fitted>> {
        let unknown = self.unknown()?;
        let missing = self.encoded_missing_value.0;
        let groups = categories::check_grouping(self.min_frequency, self.max_categories)?;
        let rows = input.x.rows();
        let columns: Vec<(Categories, Option<Grouping>)> =
            categories::fit(input.x, &self.categories, unknown.is_none())?
                .into_iter()
                .map(|c| {
                    let grouping = Grouping::of(c.counts(false), rows, self.min_frequency, self.max_categories);
                    (c, grouping)
                })
                .collect();
        let codes =
            |c: &Categories, g: &Option<Grouping>| c.values.len() - g.as_ref().map_or(0, |g| g.infrequent.len() - 1);
        let taken = |value: f64, codes: usize| value >= 0.0 && value < codes as f64;
        if let Some(value) = unknown
            && columns.iter().any(|(c, g)| taken(value, codes(c, g)))
        {
            return Err(Error::value(format!(
                "The used value for unknown_value {value} is one of the values already used for encoding the seen \
                 categories."
            )));
        }
        let names = crate::columns::names(input.x);
        let clash: Vec<&str> = columns
            .iter()
            .zip(&names)
            .filter(|((c, g), _)| c.missing && taken(missing, codes(c, g)))
            .map(|(_, name)| name.as_str())
            .collect();
        if !clash.is_empty() {
            return Err(Error::value(format!(
                "encoded_missing_value ({missing}) is already used to encode a known category in features: {}",
                clash.join(", ")
            )));
        }
        Ok(Box::new(FittedOrdinalEncoder { columns, groups, unknown, missing }))
    }
}

impl Fitted for FittedOrdinalEncoder {
    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        let mut attributes =
            vec![("categories_", Attribute::List(self.columns.iter().map(|(c, _)| c.all()).collect()))];
        if self.groups {
            let rare = self.columns.iter().map(|(c, g)| match g {
                Some(g) => c.attribute(&g.infrequent),
                None => Attribute::None,
            });
            attributes.push(("infrequent_categories_", Attribute::List(rare.collect())));
        }
        attributes
    }

    fn lower(&self, b: &mut Builder, inputs: &[Slot], names: &[String]) -> Result<Vec<Output>> {
        let columns = self.columns.iter().zip(names).map(|((c, g), name)| {
            let unknown = self.unknown.map_or(Rule::Error, Rule::Code);
            CategoryColumn {
                name: name.clone(),
                values: c.values.clone(),
                codes: g.as_ref().map(|g| g.mapping.iter().map(|&m| m as f64).collect()),
                missing: if c.missing { Rule::Code(self.missing) } else { unknown },
                unknown,
            }
        });
        let codes = b.add(Category::new(columns.collect()), inputs)?;
        Ok(vec![Output::new(Method::Transform, codes, names.to_vec())])
    }

    fn report(&self) -> Value {
        let codes: Vec<usize> = self.columns.iter().map(|(c, _)| c.values.len()).collect();
        serde_json::json!({ "categories": codes })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
