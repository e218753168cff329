//! Categories of columns, shared by the encoders: found in the data or given, counted, and grouped when rare.
//!
//! Numbers sort by value, text by its bytes (which is the order of code points, as in Python); "missing" is a category
//! of its own and comes last. Source: scikit-learn's `preprocessing/_encoders.py` and `utils/_encode.py`.

use std::collections::HashMap;

use corten_core::{Column, Data, Error, Kind, Result, Text};
use corten_model::estimator::Attribute;
use corten_model::ops::CategoryValues;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::columns::{check_finite, check_size, check_told_apart};
use crate::number::{python_float, python_float32};

/// The parameter `categories`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected 'auto' or a list of lists")]
pub enum Given {
    /// `"auto"`: found in the data.
    Auto(String),
    /// One list a column; `null` or `"NaN"` is "missing" and comes last.
    Lists(Vec<Vec<Value>>),
}

/// The parameter `min_frequency`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged, expecting = "expected an int in the range [1, inf), a float in the range (0.0, 1.0) or None")]
pub enum MinFrequency {
    /// A number of rows.
    Count(u64),
    /// A share of the rows.
    Share(f64),
}

/// The categories of one column.
#[derive(Clone, Debug)]
pub(super) struct Categories {
    pub(super) values: CategoryValues,
    /// Whether "missing" is the last category.
    pub(super) missing: bool,
    /// The type that the column had.
    dtype: String,
    /// Rows of each category, "missing" included.
    counts: Vec<usize>,
}

/// Which categories of a column are rare, and where each goes when those become one.
#[derive(Clone, Debug)]
pub(super) struct Grouping {
    pub(super) infrequent: Vec<usize>,
    /// Group of each category; the infrequent ones are the last group.
    pub(super) mapping: Vec<usize>,
}

/// Checks `max_categories` and `min_frequency`; whether rare categories are grouped at all.
pub(super) fn check_grouping(min_frequency: Option<MinFrequency>, max_categories: Option<u64>) -> Result<bool> {
    const ALLOWED: &str = "an int in the range [1, inf), a float in the range (0.0, 1.0) or None";
    match min_frequency {
        Some(MinFrequency::Count(0)) => return Err(Error::parameter("min_frequency", ALLOWED, 0)),
        Some(MinFrequency::Share(s)) if !(s > 0.0 && s < 1.0) => {
            return Err(Error::parameter("min_frequency", ALLOWED, python_float(s)));
        }
        _ => {}
    }
    if max_categories == Some(0) {
        return Err(Error::parameter("max_categories", "an int in the range [1, inf) or None", 0));
    }
    Ok(min_frequency.is_some() || max_categories.is_some())
}

impl Grouping {
    /// Groups the categories that have too few rows; `None` when there are none.
    pub(super) fn of(
        counts: &[usize],
        rows: usize,
        min_frequency: Option<MinFrequency>,
        max_categories: Option<u64>,
    ) -> Option<Self> {
        let rare = |count: usize| match min_frequency {
            Some(MinFrequency::Count(least)) => (count as u64) < least,
            Some(MinFrequency::Share(least)) => (count as f64) < rows as f64 * least,
            None => false,
        };
        let mut infrequent: Vec<bool> = counts.iter().map(|&c| rare(c)).collect();
        let now = counts.len() - infrequent.iter().filter(|&&i| i).count() + 1;
        if let Some(most) = max_categories.map(|m| usize::try_from(m).unwrap_or(usize::MAX))
            && most < now
        {
            let mut order: Vec<usize> = (0..counts.len()).collect();
            order.sort_by_key(|&i| counts[i]);
            for &i in &order[..counts.len().saturating_sub(most - 1)] {
                infrequent[i] = true;
            }
        }
        let list: Vec<usize> = (0..counts.len()).filter(|&i| infrequent[i]).collect();
        if list.is_empty() {
            return None;
        }
        let frequent = counts.len() - list.len();
        let mut next = 0..frequent;
        let mapping = infrequent.iter().map(|&rare| if rare { frequent } else { next.next().unwrap_or(frequent) });
        Some(Self { mapping: mapping.collect(), infrequent: list })
    }
}

impl Categories {
    /// Number of categories, "missing" included.
    pub(super) fn len(&self) -> usize {
        self.values.len() + usize::from(self.missing)
    }

    /// Rows of each category; without "missing" if asked.
    pub(super) fn counts(&self, with_missing: bool) -> &[usize] {
        if with_missing { &self.counts } else { &self.counts[..self.values.len()] }
    }

    /// A category as scikit-learn writes it into a feature name.
    pub(super) fn text(&self, at: usize) -> String {
        match &self.values {
            CategoryValues::Texts(v) => v.get(at).unwrap_or("None").into(),
            CategoryValues::Numbers(v) => match (v.get(at), self.dtype.as_str()) {
                (None, _) => "nan".into(),
                (Some(&x), "bool") => if x == 0.0 { "False" } else { "True" }.into(),
                (Some(&x), "f32") => python_float32(x),
                // NumPy has no missing integers: such a column is one of floats there.
                (Some(&x), dtype) if dtype.starts_with(['i', 'u']) && !self.missing => format!("{x:.0}"),
                (Some(&x), _) => python_float(x),
            },
        }
    }

    /// Some of the categories as an attribute, in the type of the column.
    pub(super) fn attribute(&self, which: &[usize]) -> Attribute {
        let shape = vec![which.len()];
        match &self.values {
            CategoryValues::Texts(v) => Attribute::List(
                which.iter().map(|&i| v.get(i).map_or(Attribute::None, |t| Attribute::Text(t.into()))).collect(),
            ),
            CategoryValues::Numbers(v) => match self.dtype.as_str() {
                "bool" if !self.missing => {
                    Attribute::List(which.iter().map(|&i| Attribute::Bool(v[i] != 0.0)).collect())
                }
                dtype if dtype.starts_with(['i', 'u']) && !self.missing => {
                    Attribute::Ints { shape, values: which.iter().map(|&i| v[i] as i64).collect() }
                }
                _ => Attribute::Floats {
                    shape,
                    values: which.iter().map(|&i| v.get(i).copied().unwrap_or(f64::NAN)).collect(),
                },
            },
        }
    }

    /// All categories as an attribute.
    pub(super) fn all(&self) -> Attribute {
        self.attribute(&(0..self.len()).collect::<Vec<_>>())
    }

    /// The position of a category given as a parameter.
    ///
    /// # Errors
    /// [`Error::Value`] when it is of another kind than the column.
    pub(super) fn position(&self, value: &Value, column: &str) -> Result<Option<usize>> {
        Ok(match read_value(value, self.kind(), column)? {
            Given1::Missing => self.missing.then_some(self.values.len()),
            Given1::Number(x) => match &self.values {
                CategoryValues::Numbers(v) => v.iter().position(|&c| c == x),
                CategoryValues::Texts(_) => None,
            },
            Given1::Text(t) => match &self.values {
                CategoryValues::Texts(v) => v.iter().position(|c| c == t),
                CategoryValues::Numbers(_) => None,
            },
        })
    }

    fn kind(&self) -> Kind {
        match self.values {
            CategoryValues::Numbers(_) => Kind::Number,
            CategoryValues::Texts(_) => Kind::Text,
        }
    }
}

enum Given1 {
    Missing,
    Number(f64),
    Text(String),
}

fn read_value(value: &Value, kind: Kind, column: &str) -> Result<Given1> {
    let read = match (value, kind) {
        (Value::Null, _) => Some(Given1::Missing),
        (Value::Bool(b), Kind::Number) => Some(Given1::Number(f64::from(u8::from(*b)))),
        (Value::Number(n), Kind::Number) => n.as_f64().map(|x| Given1::Number(x + 0.0)),
        (Value::String(s), Kind::Number) if s == "NaN" => Some(Given1::Missing),
        (Value::String(s), Kind::Text) => Some(Given1::Text(s.clone())),
        _ => None,
    };
    read.ok_or_else(|| {
        let kind = if kind == Kind::Text { "text" } else { "numbers" };
        Error::column(column, format!("holds {kind}, of which the category {value} that was given for it is none"))
    })
}

/// Finds or reads the categories of every column.
///
/// `refuse_unknown`: values of the data that are in no given list are an error.
///
/// # Errors
/// [`Error::Value`] and [`Error::Column`] for empty data, infinite values, and lists that don't fit.
pub(super) fn fit(data: &Data<'_>, given: &Given, refuse_unknown: bool) -> Result<Vec<Categories>> {
    let lists = match given {
        Given::Auto(auto) if auto == "auto" => None,
        Given::Auto(other) => {
            return Err(Error::parameter(
                "categories",
                "a str among {'auto'} or an instance of 'list'",
                format!("'{other}'"),
            ));
        }
        Given::Lists(lists) => Some(lists),
    };
    let table = data.table()?;
    check_size(data)?;
    if lists.is_some_and(|l| l.len() != table.width()) {
        return Err(Error::value("Shape mismatch: if categories is an array, it has to be of shape (n_features,)."));
    }
    table
        .columns()
        .iter()
        .enumerate()
        .map(|(at, column)| {
            let found = distinct(data, at, column)?;
            match lists {
                None => Ok(found),
                Some(lists) => from_list(at, column, &lists[at], &found, refuse_unknown),
            }
        })
        .collect()
}

fn distinct(data: &Data<'_>, at: usize, column: &Column<'_>) -> Result<Categories> {
    let dtype = column.type_name().to_string();
    let (values, mut counts, missing) = if column.kind() == Some(Kind::Text) {
        let (mut found, missing) = distinct_text(column.as_text()?);
        found.sort_unstable();
        let values = found.iter().map(|(v, _)| String::from_utf8_lossy(v)).collect();
        let counts: Vec<usize> = found.into_iter().map(|(_, n)| n).collect();
        (CategoryValues::Texts(values), counts, missing)
    } else {
        let numbers = column.to_f64()?;
        check_finite(data, at, &numbers, true)?;
        check_told_apart(column, &numbers)?;
        let mut counts: HashMap<u64, usize> = HashMap::new();
        let mut missing = 0;
        for &x in numbers.iter() {
            if x.is_nan() {
                missing += 1;
            } else {
                // Adding 0 makes -0 and 0 one category.
                *counts.entry((x + 0.0).to_bits()).or_default() += 1;
            }
        }
        let mut found: Vec<(f64, usize)> = counts.into_iter().map(|(b, n)| (f64::from_bits(b), n)).collect();
        found.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        let (values, counts) = found.into_iter().unzip();
        (CategoryValues::Numbers(values), counts, missing)
    };
    if missing > 0 {
        counts.push(missing);
    }
    Ok(Categories { values, missing: missing > 0, dtype, counts })
}

fn distinct_text<'t>(text: &'t Text<'_>) -> (Vec<(&'t [u8], usize)>, usize) {
    let mut counts: HashMap<&[u8], usize> = HashMap::new();
    let mut missing = 0;
    if let Some((codes, values)) = text.dictionary() {
        // Codes are counted first: a long column has few values.
        let mut by_code = vec![0usize; values.len()];
        for (row, &code) in codes.iter().enumerate() {
            let there = text.validity.as_ref().is_none_or(|v| v.is_valid(row));
            match by_code.get_mut(code as usize) {
                Some(count) if there => *count += 1,
                _ => missing += 1,
            }
        }
        for (code, count) in by_code.into_iter().enumerate().filter(|(_, count)| *count > 0) {
            match values.get(code) {
                Some(value) => *counts.entry(value).or_default() += count,
                None => missing += count,
            }
        }
    } else {
        for row in 0..text.len() {
            match text.get(row) {
                Some(value) => *counts.entry(value).or_default() += 1,
                None => missing += 1,
            }
        }
    }
    (counts.into_iter().collect(), missing)
}

fn from_list(
    at: usize,
    column: &Column<'_>,
    list: &[Value],
    found: &Categories,
    refuse_unknown: bool,
) -> Result<Categories> {
    let kind = found.kind();
    let (mut numbers, mut texts, mut missing) = (Vec::new(), Vec::new(), false);
    for value in list {
        if missing {
            return Err(Error::value(format!(
                "Nan should be the last element in user provided categories, see categories {} in column #{at}",
                Value::from(list)
            )));
        }
        match read_value(value, kind, &column.name)? {
            Given1::Missing => missing = true,
            Given1::Number(x) => numbers.push(x),
            Given1::Text(t) => texts.push(t),
        }
    }
    let twice = {
        let mut sorted = texts.clone();
        sorted.sort_unstable();
        let mut ordered = numbers.clone();
        ordered.sort_unstable_by(f64::total_cmp);
        sorted.windows(2).any(|w| w[0] == w[1]) || ordered.windows(2).any(|w| w[0] == w[1])
    };
    if twice {
        return Err(Error::value(format!("In column {at}, the predefined categories contain duplicate elements.")));
    }
    if numbers.windows(2).any(|w| w[0] > w[1]) {
        return Err(Error::value("Unsorted categories are not supported for numerical categories"));
    }
    let values = match kind {
        Kind::Number => CategoryValues::Numbers(numbers),
        Kind::Text => CategoryValues::Texts(texts.into()),
    };
    let mut counts = vec![0; values.len() + usize::from(missing)];
    let mut unknown = Vec::new();
    {
        let by_number: HashMap<u64, usize> = match &values {
            CategoryValues::Numbers(v) => v.iter().enumerate().map(|(i, x)| (x.to_bits(), i)).collect(),
            CategoryValues::Texts(_) => HashMap::new(),
        };
        let by_text: HashMap<&str, usize> = match &values {
            CategoryValues::Texts(v) => v.iter().enumerate().map(|(i, t)| (t, i)).collect(),
            CategoryValues::Numbers(_) => HashMap::new(),
        };
        for i in 0..found.len() {
            let position = match &found.values {
                _ if i == found.values.len() => missing.then_some(values.len()),
                CategoryValues::Numbers(v) => by_number.get(&v[i].to_bits()).copied(),
                CategoryValues::Texts(v) => by_text.get(&v[i]).copied(),
            };
            match position {
                Some(position) => counts[position] = found.counts[i],
                None => unknown.push(i),
            }
        }
    }
    if refuse_unknown && !unknown.is_empty() {
        let list: Vec<String> = unknown
            .iter()
            .map(|&i| match &found.values {
                CategoryValues::Texts(v) if i < v.len() => format!("'{}'", &v[i]),
                _ => found.text(i),
            })
            .collect();
        return Err(Error::value(format!("Found unknown categories [{}] in column {at} during fit", list.join(", "))));
    }
    Ok(Categories { values, missing, dtype: found.dtype.clone(), counts })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rare_categories_become_the_last_group() {
        let group = Grouping::of(&[5, 1, 9, 2], 17, Some(MinFrequency::Count(3)), None).unwrap();
        assert_eq!((group.infrequent, group.mapping), (vec![1, 3], vec![0, 2, 1, 2]));
        assert!(Grouping::of(&[5, 9], 14, Some(MinFrequency::Share(0.1)), None).is_none());
        // Ties at the limit: the earlier category is grouped, as by a stable sort of the counts.
        let group = Grouping::of(&[2, 2, 2], 6, None, Some(2)).unwrap();
        assert_eq!(group.infrequent, [0, 1]);
        assert_eq!(Grouping::of(&[2, 2], 4, None, Some(1)).unwrap().mapping, [0, 0]);
    }

    #[test]
    fn missing_is_the_last_category() {
        let text = Text::from_options([Some("b"), None, Some("a"), Some("b")]);
        let table =
            corten_core::Table::named(vec![Column::text("t", text), Column::f64("n", vec![2.0, f64::NAN, -0.0, 0.0])])
                .unwrap();
        let found = fit(&Data::Table(table), &Given::Auto("auto".into()), true).unwrap();
        assert_eq!(found[0].values, CategoryValues::Texts(vec!["a", "b"].into()));
        assert_eq!(found[0].counts(true), [1, 2, 1]);
        assert_eq!(found[1].values, CategoryValues::Numbers(vec![0.0, 2.0]));
        assert_eq!(found[1].counts(true), [2, 1, 1]);
        assert_eq!(found[1].text(2), "nan");
    }
}
