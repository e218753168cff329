//! `OneHotEncoder`: a column of 0 and 1 for each category of a column.
//!
//! A value becomes the position of its category, then rare categories are grouped (`min_frequency`, `max_categories`;
//! the group comes last), then the dropped one gives way, and what is left is the column that is set. Unknown values
//! set none, or that of the rare group (`infrequent_if_exist`, `warn`). Source: scikit-learn's
//! `preprocessing/_encoders.py`.

use std::any::Any;

use corten_core::{Error, Result, parameter};
use corten_model::estimator::{Attribute, Estimator, FitInput, Fitted};
use corten_model::ops::{Category, CategoryColumn, OneHot, Rule};
use corten_model::{Builder, Method, Output, Slot};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::categories::{self, Categories, Given, Grouping, MinFrequency};

/// Parameters of `OneHotEncoder`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OneHotEncoder {
    /// `"auto"`, or one list of categories a column.
    pub categories: Given,
    /// The category that gets no column: none, `"first"`, `"if_binary"` or one a column.
    pub drop: Option<Drop>,
    /// Whether Python hands out sparse matrices; without meaning here.
    pub sparse_output: bool,
    /// The type of Python's results; without meaning here.
    pub dtype: Value,
    /// What unknown values become: `error`, `ignore`, `infrequent_if_exist` or `warn`.
    pub handle_unknown: String,
    /// Categories with fewer rows (or a smaller share of them) are grouped.
    pub min_frequency: Option<MinFrequency>,
    /// Most columns that one input may become, the group's included.
    pub max_categories: Option<u64>,
    /// `"concat"`; a function is applied by Python.
    pub feature_name_combiner: Value,
}

/// The parameter `drop`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected a str among {'first', 'if_binary'}, an array-like or None")]
pub enum Drop {
    /// `"first"` or `"if_binary"`.
    Rule(String),
    /// One category a column.
    Each(Vec<Value>),
}

impl Default for OneHotEncoder {
    fn default() -> Self {
        Self {
            categories: Given::Auto("auto".into()),
            drop: None,
            sparse_output: true,
            dtype: Value::Null,
            handle_unknown: "error".into(),
            min_frequency: None,
            max_categories: None,
            feature_name_combiner: Value::from("concat"),
        }
    }
}

/// A fitted `OneHotEncoder`.
#[derive(Clone, Debug)]
pub struct FittedOneHotEncoder {
    columns: Vec<Encoded>,
    drops: bool,
    groups: bool,
    unknown: Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Unknown {
    Error,
    Ignore,
    Infrequent,
}

#[derive(Clone, Debug)]
struct Encoded {
    categories: Categories,
    grouping: Option<Grouping>,
    /// The dropped group.
    dropped: Option<usize>,
}

impl Encoded {
    fn group(&self, category: usize) -> usize {
        self.grouping.as_ref().map_or(category, |g| g.mapping[category])
    }

    fn groups(&self) -> usize {
        self.grouping.as_ref().map_or(self.categories.len(), |g| self.categories.len() - g.infrequent.len() + 1)
    }

    fn width(&self) -> usize {
        self.groups() - usize::from(self.dropped.is_some())
    }

    /// The column that a group sets; -1 for none.
    fn code(&self, group: usize) -> f64 {
        match self.dropped {
            Some(d) if group == d => -1.0,
            Some(d) if group > d => (group - 1) as f64,
            _ => group as f64,
        }
    }

    /// What is written for each output column after the name of the input.
    fn suffixes(&self) -> Vec<String> {
        let mut texts = vec![String::new(); self.groups()];
        for category in 0..self.categories.len() {
            texts[self.group(category)] = self.categories.text(category);
        }
        if self.grouping.is_some()
            && let Some(last) = texts.last_mut()
        {
            *last = "infrequent_sklearn".into();
        }
        if let Some(dropped) = self.dropped {
            texts.remove(dropped);
        }
        texts
    }
}

impl OneHotEncoder {
    fn dropped(&self, columns: &[Encoded], names: &[String]) -> Result<Vec<Option<usize>>> {
        match &self.drop {
            None => Ok(vec![None; columns.len()]),
            Some(Drop::Rule(rule)) if rule == "first" => Ok(vec![Some(0); columns.len()]),
            Some(Drop::Rule(rule)) if rule == "if_binary" => {
                Ok(columns.iter().map(|c| (c.groups() == 2).then_some(0)).collect())
            }
            Some(Drop::Rule(rule)) => Err(Error::parameter(
                "drop",
                "a str among {'first', 'if_binary'}, an array-like or None",
                format!("'{rule}'"),
            )),
            Some(Drop::Each(values)) => {
                if values.len() != columns.len() {
                    return Err(Error::value(format!(
                        "`drop` should have length equal to the number of features ({}), got {}",
                        columns.len(),
                        values.len()
                    )));
                }
                let (mut found, mut absent) = (Vec::new(), Vec::new());
                for (at, (value, column)) in values.iter().zip(columns).enumerate() {
                    let position = column.categories.position(value, &names[at])?;
                    let Some(position) = position else {
                        absent.push(format!("Category: {at}, Feature: {value}"));
                        continue;
                    };
                    if column.grouping.as_ref().is_some_and(|g| g.infrequent.contains(&position)) {
                        return Err(Error::value(format!(
                            "Unable to drop category {value} from feature {at} because it is infrequent"
                        )));
                    }
                    found.push(Some(column.group(position)));
                }
                if absent.is_empty() {
                    return Ok(found);
                }
                Err(Error::value(format!(
                    "The following categories were supposed to be dropped, but were not found in the training data.\n{}",
                    absent.join("\n")
                )))
            }
        }
    }
}

impl Estimator for OneHotEncoder {
    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Fitted>> {
        parameter::one_of("handle_unknown", &self.handle_unknown, &["error", "ignore", "infrequent_if_exist", "warn"])?;
        let groups = categories::check_grouping(self.min_frequency, self.max_categories)?;
        let unknown = match self.handle_unknown.as_str() {
            "error" => Unknown::Error,
            "ignore" => Unknown::Ignore,
            _ => Unknown::Infrequent,
        };
        let rows = input.x.rows();
        let mut columns: Vec<Encoded> = categories::fit(input.x, &self.categories, unknown == Unknown::Error)?
            .into_iter()
            .map(|categories| {
                let grouping = Grouping::of(categories.counts(true), rows, self.min_frequency, self.max_categories);
                Encoded { categories, grouping, dropped: None }
            })
            .collect();
        let dropped = self.dropped(&columns, &crate::columns::names(input.x))?;
        for (column, dropped) in columns.iter_mut().zip(dropped) {
            column.dropped = dropped;
        }
        Ok(Box::new(FittedOneHotEncoder { columns, drops: self.drop.is_some(), groups, unknown }))
    }
}

impl Fitted for FittedOneHotEncoder {
    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        // The first category of the dropped group.
        let index =
            |c: &Encoded| c.dropped.and_then(|d| (0..c.categories.len()).find(|&k| c.group(k) == d)).map(|k| k as i64);
        let drop_idx = if self.drops {
            Attribute::List(self.columns.iter().map(|c| index(c).map_or(Attribute::None, Attribute::Int)).collect())
        } else {
            Attribute::None
        };
        let mut attributes = vec![
            ("categories_", Attribute::List(self.columns.iter().map(|c| c.categories.all()).collect())),
            ("drop_idx_", drop_idx),
        ];
        if self.groups {
            let rare =
                |c: &Encoded| c.grouping.as_ref().map_or(Attribute::None, |g| c.categories.attribute(&g.infrequent));
            attributes.push(("infrequent_categories_", Attribute::List(self.columns.iter().map(rare).collect())));
        }
        attributes
    }

    fn lower(&self, b: &mut Builder, inputs: &[Slot], names: &[String]) -> Result<Vec<Output>> {
        let columns = self.columns.iter().zip(names).map(|(c, name)| {
            let unknown = match (self.unknown, &c.grouping) {
                (Unknown::Error, _) => Rule::Error,
                (Unknown::Infrequent, Some(g)) => Rule::Code(c.code(g.mapping[g.infrequent[0]])),
                _ => Rule::Code(-1.0),
            };
            let count = c.categories.values.len();
            CategoryColumn {
                name: name.clone(),
                values: c.categories.values.clone(),
                codes: Some((0..count).map(|k| c.code(c.group(k))).collect()),
                missing: if c.categories.missing { Rule::Code(c.code(c.group(count))) } else { unknown },
                unknown,
            }
        });
        let codes = b.add(Category::new(columns.collect()), inputs)?;
        let widths = self.columns.iter().map(|c| u32::try_from(c.width()).unwrap_or(u32::MAX)).collect();
        let outputs = b.add(OneHot { widths }, &codes)?;
        let names = self.columns.iter().zip(names);
        let names = names.flat_map(|(c, name)| c.suffixes().into_iter().map(move |s| format!("{name}_{s}"))).collect();
        Ok(vec![Output::new(Method::Transform, outputs, names)])
    }

    fn report(&self) -> Value {
        let widths: Vec<usize> = self.columns.iter().map(Encoded::width).collect();
        serde_json::json!({ "columns_out": widths })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
