//! `SimpleImputer`: missing values become the mean, the median, the most frequent value or a constant of their column.
//!
//! Columns of numbers and of text may stand side by side. Of values that are equally frequent the smallest is taken.
//! A column without any value is left out unless `keep_empty_features`. Source: scikit-learn's `impute/_base.py`.

use std::any::Any;
use std::collections::HashMap;

use corten_core::{Data, Error, Kind, Result, parameter};
use corten_model::estimator::{Attribute, Estimator, FitInput, Fitted};
use corten_model::ops::{Category, CategoryColumn, CategoryValues, CheckFinite, Impute, ImputeText, IsMissing, Rule};
use corten_model::texts::Texts;
use corten_model::{Builder, Method, Output, Slot};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::columns::{Columns, check_finite, check_size, per_column};
use crate::preprocessing::robust_scaler::{median, sorted};
use crate::sums::sum;

/// Parameters of `SimpleImputer`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SimpleImputer {
    /// What counts as missing: `"NaN"` or `null` for NaN and nulls, else a number or a text.
    pub missing_values: Value,
    /// `mean`, `median`, `most_frequent` or `constant`.
    pub strategy: String,
    /// The constant; `null` for 0 in columns of numbers and `missing_value` in columns of text.
    pub fill_value: Value,
    /// Without meaning here: results are always new.
    pub copy: bool,
    /// Append a column of 0 and 1 for each column that had missing values.
    pub add_indicator: bool,
    /// Keep columns that have no value at all.
    pub keep_empty_features: bool,
}

impl Default for SimpleImputer {
    fn default() -> Self {
        Self {
            missing_values: Value::from("NaN"),
            strategy: "mean".into(),
            fill_value: Value::Null,
            copy: true,
            add_indicator: false,
            keep_empty_features: false,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Marker {
    Missing,
    Number(f64),
    Text(String),
}

impl Marker {
    /// The marker inside columns of numbers, where there is one.
    fn number(&self) -> Option<f64> {
        match self {
            Self::Missing => Some(f64::NAN),
            Self::Number(x) => Some(*x),
            Self::Text(_) => None,
        }
    }

    fn is(&self, x: f64) -> bool {
        match self {
            Self::Missing => x.is_nan(),
            Self::Number(marker) => x == *marker,
            Self::Text(_) => false,
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Fill {
    Number(f64),
    Text(String),
    /// The column has no value and is left out.
    Empty,
}

#[derive(Clone, Debug)]
struct Imputed {
    kind: Kind,
    fill: Fill,
    /// Whether it had missing values.
    missing: bool,
}

/// A fitted `SimpleImputer`.
#[derive(Clone, Debug)]
pub struct FittedSimpleImputer {
    marker: Marker,
    indicator: bool,
    columns: Vec<Imputed>,
}

#[derive(Clone, Copy, PartialEq)]
enum Strategy {
    Mean,
    Median,
    MostFrequent,
    Constant,
}

impl SimpleImputer {
    fn marker(&self) -> Result<Marker> {
        match &self.missing_values {
            Value::Null => Ok(Marker::Missing),
            Value::String(s) if s == "NaN" => Ok(Marker::Missing),
            Value::String(s) => Ok(Marker::Text(s.clone())),
            Value::Number(n) => Ok(Marker::Number(n.as_f64().unwrap_or(f64::NAN))),
            other => Err(Error::parameter("missing_values", "an int, a float, a str, np.nan or None", other)),
        }
    }

    fn strategy(&self) -> Result<Strategy> {
        parameter::one_of("strategy", &self.strategy, &["mean", "median", "most_frequent", "constant"])?;
        Ok(match self.strategy.as_str() {
            "mean" => Strategy::Mean,
            "median" => Strategy::Median,
            "most_frequent" => Strategy::MostFrequent,
            _ => Strategy::Constant,
        })
    }

    fn constant(&self, kind: Kind, column: &str) -> Result<Fill> {
        match (&self.fill_value, kind) {
            (Value::Null, Kind::Number) => Ok(Fill::Number(0.0)),
            (Value::Null, Kind::Text) => Ok(Fill::Text("missing_value".into())),
            (Value::Bool(b), Kind::Number) => Ok(Fill::Number(f64::from(u8::from(*b)))),
            (Value::Number(n), Kind::Number) => Ok(Fill::Number(n.as_f64().unwrap_or(f64::NAN))),
            (Value::String(s), Kind::Number) if s == "NaN" => Ok(Fill::Number(f64::NAN)),
            (Value::String(s), Kind::Text) => Ok(Fill::Text(s.clone())),
            (other, kind) => Err(Error::column(
                column,
                format!(
                    "fill_value={other} cannot be cast to the input data that is {}",
                    if kind == Kind::Text { "text" } else { "dtype('float64')" }
                ),
            )),
        }
    }

    fn empty(&self, kind: Kind, constant: Fill) -> Fill {
        match (self.keep_empty_features, kind, self.strategy.as_str()) {
            (false, ..) => Fill::Empty,
            (true, _, "constant") => constant,
            (true, Kind::Number, _) => Fill::Number(0.0),
            (true, Kind::Text, _) => Fill::Text("missing_value".into()),
        }
    }

    fn numbers(
        &self,
        strategy: Strategy,
        marker: &Marker,
        values: &[f64],
        zeros: usize,
        name: &str,
    ) -> Result<Imputed> {
        let there: Vec<f64> = values.iter().copied().filter(|&x| !marker.is(x)).collect();
        let missing = there.len() < values.len();
        let constant = if strategy == Strategy::Constant { self.constant(Kind::Number, name)? } else { Fill::Empty };
        let count = there.len() + zeros;
        let fill = match strategy {
            _ if count == 0 => self.empty(Kind::Number, constant),
            Strategy::Constant => constant,
            Strategy::Mean => Fill::Number(sum(there.len(), |i| there[i]) / count as f64),
            Strategy::Median => Fill::Number(median(&sorted(&there, zeros))),
            Strategy::MostFrequent => {
                let sorted = sorted(&there, zeros);
                let mut best = (0, 0.0);
                for run in sorted.chunk_by(|a, b| a == b) {
                    if run.len() > best.0 {
                        best = (run.len(), run[0]);
                    }
                }
                Fill::Number(best.1)
            }
        };
        Ok(Imputed { kind: Kind::Number, fill, missing })
    }

    fn texts(&self, strategy: Strategy, marker: &Marker, column: &corten_core::Column<'_>) -> Result<Imputed> {
        if matches!(strategy, Strategy::Mean | Strategy::Median) {
            return Err(Error::value(format!(
                "Cannot use {} strategy with non-numeric data: column '{}' holds text",
                self.strategy, column.name
            )));
        }
        let text = column.as_text()?;
        let marked = match marker {
            Marker::Text(m) => Some(m.as_bytes()),
            _ => None,
        };
        let mut counts: HashMap<&[u8], usize> = HashMap::new();
        let mut missing = false;
        for row in 0..text.len() {
            match text.get(row) {
                Some(value) if Some(value) != marked => *counts.entry(value).or_default() += 1,
                _ => missing = true,
            }
        }
        let constant =
            if strategy == Strategy::Constant { self.constant(Kind::Text, &column.name)? } else { Fill::Empty };
        // The largest count, then the smallest text: no dependence on the order of the map.
        let best = counts.iter().max_by(|a, b| a.1.cmp(b.1).then(b.0.cmp(a.0)));
        let fill = match best {
            None => self.empty(Kind::Text, constant),
            Some(_) if strategy == Strategy::Constant => constant,
            Some((value, _)) => Fill::Text(String::from_utf8_lossy(value).into_owned()),
        };
        Ok(Imputed { kind: Kind::Text, fill, missing })
    }
}

impl Estimator for SimpleImputer {
    fn fit(&self, input: &FitInput<'_>) -> Result<Box<dyn Fitted>> {
        let (strategy, marker) = (self.strategy()?, self.marker()?);
        let allow_nan = marker == Marker::Missing;
        check_size(input.x)?;
        let columns = match input.x {
            Data::Table(table) => per_column(input.context, table.width(), |at| {
                let column = &table.columns()[at];
                if column.kind() == Some(Kind::Text) {
                    return self.texts(strategy, &marker, column);
                }
                let values = column.to_f64()?;
                check_finite(input.x, at, &values, allow_nan)?;
                self.numbers(strategy, &marker, &values, 0, &column.name)
            })?,
            Data::Csr(_) => {
                if marker == Marker::Number(0.0) {
                    return Err(Error::value(
                        "Imputation not possible when missing_values == 0 and input is sparse. Provide a dense array \
                         instead.",
                    ));
                }
                let columns = Columns::read(input.x, allow_nan)?;
                per_column(input.context, columns.width(), |at| {
                    let view = columns.view(at);
                    self.numbers(strategy, &marker, view.values, view.zeros, &input.x.name(at))
                })?
            }
        };
        Ok(Box::new(FittedSimpleImputer { marker, indicator: self.add_indicator, columns }))
    }
}

impl Fitted for FittedSimpleImputer {
    fn attributes(&self) -> Vec<(&'static str, Attribute)> {
        let numbers = self.columns.iter().all(|c| c.kind == Kind::Number);
        let number = |c: &Imputed| match c.fill {
            Fill::Number(x) => x,
            _ => f64::NAN,
        };
        let statistics = if numbers {
            Attribute::Floats { shape: vec![self.columns.len()], values: self.columns.iter().map(number).collect() }
        } else {
            let each = |c: &Imputed| match &c.fill {
                Fill::Text(t) => Attribute::Text(t.clone()),
                _ => Attribute::Float(number(c)),
            };
            Attribute::List(self.columns.iter().map(each).collect())
        };
        let indicator = if self.indicator {
            let with: Vec<i64> = (0i64..).zip(&self.columns).filter(|(_, c)| c.missing).map(|(i, _)| i).collect();
            Attribute::Ints { shape: vec![with.len()], values: with }
        } else {
            Attribute::None
        };
        vec![("statistics_", statistics), ("indicator_", indicator)]
    }

    fn lower(&self, b: &mut Builder, inputs: &[Slot], names: &[String]) -> Result<Vec<Output>> {
        let mut slots = inputs.to_vec();
        let of_kind = |kind: Kind| (0..self.columns.len()).filter(move |&i| self.columns[i].kind == kind);
        let pick = |which: &[usize], slots: &[Slot]| which.iter().map(|&i| slots[i]).collect::<Vec<_>>();
        let numbers: Vec<usize> = of_kind(Kind::Number).collect();
        if !numbers.is_empty() {
            let names = numbers.iter().map(|&i| names[i].clone()).collect();
            let check = CheckFinite { allow_nan: self.marker == Marker::Missing, names };
            for (&i, slot) in numbers.iter().zip(b.add(check, &pick(&numbers, &slots))?) {
                slots[i] = slot;
            }
        }
        let raw = slots.clone();
        if let Some(missing) = self.marker.number() {
            let (mut which, mut fill) = (Vec::new(), Vec::new());
            for &i in &numbers {
                if let Fill::Number(x) = self.columns[i].fill {
                    which.push(i);
                    fill.push(x);
                }
            }
            if !which.is_empty() {
                for (&i, slot) in which.iter().zip(b.add(Impute { missing, fill }, &pick(&which, &raw))?) {
                    slots[i] = slot;
                }
            }
        }
        let (mut which, mut fill) = (Vec::new(), Vec::new());
        for i in of_kind(Kind::Text) {
            if let Fill::Text(text) = &self.columns[i].fill {
                which.push(i);
                fill.push(Some(text.clone()));
            }
        }
        if !which.is_empty() {
            let missing = match &self.marker {
                Marker::Text(text) => Some(text.clone()),
                _ => None,
            };
            for (&i, slot) in which.iter().zip(b.add(ImputeText { fill, missing }, &pick(&which, &raw))?) {
                slots[i] = slot;
            }
        }
        let kept = |i: &usize| self.columns[*i].fill != Fill::Empty;
        let mut columns: Vec<Slot> = (0..slots.len()).filter(kept).map(|i| slots[i]).collect();
        let mut names_out: Vec<String> = (0..slots.len()).filter(kept).map(|i| names[i].clone()).collect();
        if self.indicator {
            for i in (0..slots.len()).filter(|&i| self.columns[i].missing) {
                columns.extend(self.indicate(b, i, raw[i], &names[i])?);
                names_out.push(format!("missingindicator_{}", names[i]));
            }
        }
        Ok(vec![Output::new(Method::Transform, columns, names_out)])
    }

    fn report(&self) -> Value {
        serde_json::json!({ "columns_with_missing": self.columns.iter().filter(|c| c.missing).count() })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl FittedSimpleImputer {
    /// 1 where a column is missing, else 0.
    fn indicate(&self, b: &mut Builder, at: usize, slot: Slot, name: &str) -> Result<Vec<Slot>> {
        if self.columns[at].kind == Kind::Number {
            return b.add(IsMissing { missing: self.marker.number().unwrap_or(f64::NAN) }, &[slot]);
        }
        let marked = match &self.marker {
            Marker::Text(text) => Texts::from_iter([text]),
            _ => Texts::default(),
        };
        let column = CategoryColumn {
            name: name.into(),
            codes: Some(vec![1.0; marked.len()]),
            values: CategoryValues::Texts(marked),
            missing: Rule::Code(1.0),
            unknown: Rule::Code(0.0),
        };
        b.add(Category::new(vec![column]), &[slot])
    }
}
