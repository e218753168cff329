//! What a model was fitted on, in a few numbers: the distribution of each column and of the score, for telling later
//! whether what comes in still looks like it; and a few rows with their answers, by which a loaded model is checked.
//!
//! Both are facts in a file's metadata, `sketch` and `sample`. No row of the training data is among them: the rows of
//! the sample are made of quantiles.

use std::collections::BTreeMap;

use corten_core::{Data, Error, Kind, Result, Table};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::graph::{Method, Slot};
use crate::model::Model;
use crate::ops::{CategoryValues, Op};
use crate::rows::{AnswerWriter, RowReader, Scanner};
use crate::run::Run;

/// Most and fewest rows that a sketch is made of, where there are so many: quantiles of more would hardly differ.
const MAX_ROWS: usize = 2048;
const MIN_ROWS: usize = 256;
/// Most values that are kept until a sketch is made, where more than the fewest rows are.
const MAX_VALUES: usize = 1 << 16;
/// Most columns that are sketched.
const MAX_COLUMNS: usize = 1000;
/// Bins of a column of numbers, and most distinct numbers that get a bin each.
const BINS: usize = 10;
/// Most texts of a column that get a bin each.
const TEXTS: usize = 20;
/// Longest text that is kept.
const MAX_TEXT: usize = 200;
/// Rows of a sample.
const SAMPLE: usize = 5;
/// Most bins of a column that is read from a file.
const MAX_BINS: usize = 1000;

/// The distribution of a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind", deny_unknown_fields)]
pub enum Profile {
    /// Numbers: `counts[i]` of them are at most `cuts[i]` and above the cut before it; the last are above all cuts.
    Number {
        /// Ascending; empty where all are missing.
        cuts: Vec<f64>,
        /// One more than there are cuts.
        counts: Vec<u64>,
        /// How many are missing.
        missing: u64,
    },
    /// Texts: `counts[i]` of them are `values[i]`; the last are others.
    Text {
        /// The most frequent ones.
        values: Vec<String>,
        /// One more than there are values.
        counts: Vec<u64>,
        /// How many are missing.
        missing: u64,
    },
}

/// The distribution of what a model answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Score {
    /// `predict`, or `predict_proba`, of which the last class counts.
    pub method: String,
    /// Its distribution.
    pub profile: Profile,
}

/// The distributions of the columns that a model was fitted on, in the order of its schema, and of its answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sketch {
    /// How many rows they were taken from.
    pub rows: u64,
    /// One a column.
    pub columns: Vec<Profile>,
    /// Of models that answer with numbers.
    pub score: Option<Score>,
}

/// Rows spread evenly over the data of a fit; none for sparse data, and for too many columns to sketch.
pub fn rows_of(data: &Data<'_>) -> Option<Table<'static>> {
    let Data::Table(table) = data else { return None };
    let (rows, count) = (table.rows(), rows_to_keep(table.rows(), table.width()));
    let places = (0..count).map(|i| u32::try_from(place(i, rows, count)).ok()).collect::<Option<Vec<_>>>()?;
    (count > 0).then(|| table.take(&places))
}

/// How many rows of a table make its sketch; none for one that has no sketch.
pub(crate) fn rows_to_keep(rows: usize, width: usize) -> usize {
    if width > MAX_COLUMNS { 0 } else { rows.min((MAX_VALUES / width.max(1)).clamp(MIN_ROWS, MAX_ROWS)) }
}

/// The place of one of the rows that are kept.
pub(crate) fn place(at: usize, rows: usize, count: usize) -> usize {
    (at as u128 * rows as u128 / count as u128) as usize
}

/// Writes the sketch and the sample of a model into its metadata, from rows that it was fitted on.
///
/// # Errors
/// Those of running the model on these rows.
pub fn describe(model: &mut Model, rows: &Table<'static>) -> Result<()> {
    let sketch = Sketch::of(model, rows)?;
    let sample = sample(model, rows)?;
    let value = serde_json::to_value(&sketch).map_err(|e| Error::Internal(format!("the sketch: {e}")))?;
    model.metadata_mut().insert("sketch".into(), value);
    if let Some(sample) = sample {
        model.metadata_mut().insert("sample".into(), sample);
    }
    Ok(())
}

impl Profile {
    /// The distribution of numbers, of which NaN is missing.
    fn of_numbers(values: &[f64]) -> Self {
        let mut sorted: Vec<f64> = values.iter().copied().filter(|x| !x.is_nan()).collect();
        let missing = (values.len() - sorted.len()) as u64;
        sorted.sort_unstable_by(f64::total_cmp);
        let mut cuts: Vec<f64> = sorted.clone();
        cuts.dedup();
        if cuts.len() > BINS {
            cuts = (1..BINS).map(|i| sorted[i * sorted.len() / BINS]).collect();
            cuts.dedup();
        }
        // JSON has no infinities; what lies beyond the last cut has a bin.
        cuts.retain(|x| x.is_finite());
        let mut profile = Self::Number { counts: vec![0; cuts.len() + 1], cuts, missing: 0 };
        sorted.iter().for_each(|x| profile.count(profile.bin_of_number(*x)));
        if let Self::Number { missing: count, .. } = &mut profile {
            *count = missing;
        }
        profile
    }

    fn of_texts<'t>(texts: impl Iterator<Item = Option<&'t [u8]>>) -> Self {
        let (mut all, mut missing) = (BTreeMap::<&[u8], u64>::new(), 0);
        for text in texts {
            match text {
                Some(text) => *all.entry(text).or_default() += 1,
                None => missing += 1,
            }
        }
        let total: u64 = all.values().sum();
        let mut frequent: Vec<(&[u8], u64)> = all.into_iter().filter(|(text, _)| text.len() <= MAX_TEXT).collect();
        frequent.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
        // Texts that nearly all differ are no categories: keeping some would only tell whose they were.
        if frequent.first().is_some_and(|f| f.1 == 1 && frequent.len() > TEXTS) {
            frequent.clear();
        }
        frequent.truncate(TEXTS);
        let mut counts: Vec<u64> = frequent.iter().map(|f| f.1).collect();
        counts.push(total - counts.iter().sum::<u64>());
        let values = frequent.iter().map(|(text, _)| String::from_utf8_lossy(text).into_owned()).collect();
        Self::Text { values, counts, missing }
    }

    /// Counts of the bins, and of what is missing.
    pub fn counts(&self) -> (&[u64], u64) {
        match self {
            Self::Number { counts, missing, .. } | Self::Text { counts, missing, .. } => (counts, *missing),
        }
    }

    fn count(&mut self, bin: usize) {
        match self {
            Self::Number { counts, .. } | Self::Text { counts, .. } => counts[bin] += 1,
        }
    }

    /// The bin of a number that isn't missing; the last for a column of texts.
    #[inline]
    pub fn bin_of_number(&self, value: f64) -> usize {
        match self {
            Self::Number { cuts, .. } => cuts.partition_point(|c| *c < value),
            Self::Text { values, .. } => values.len(),
        }
    }

    /// The bin of a text; the last for a column of numbers.
    #[inline]
    pub fn bin_of_text(&self, text: &[u8]) -> usize {
        match self {
            Self::Number { cuts, .. } => cuts.len(),
            Self::Text { values, .. } => values.iter().position(|v| v.as_bytes() == text).unwrap_or(values.len()),
        }
    }

    fn check(&self, kind: Kind) -> bool {
        let (bins, kinds) = match self {
            Self::Number { cuts, .. } => {
                let ascend = cuts.windows(2).all(|w| w[0] < w[1]) && cuts.iter().all(|c| c.is_finite());
                (cuts.len(), ascend && kind == Kind::Number)
            }
            Self::Text { values, .. } => (values.len(), kind == Kind::Text),
        };
        let (counts, missing) = self.counts();
        let total = counts.iter().try_fold(missing, |sum, c| sum.checked_add(*c));
        kinds && bins < MAX_BINS && counts.len() == bins + 1 && total.is_some()
    }
}

/// The method whose answers are the score, and which of its columns.
pub fn score_of(model: &Model) -> Option<(Method, usize)> {
    let number = |method: Method| {
        let output = model.output(method)?;
        output.columns.iter().all(|s| matches!(s, Slot::Number(_))).then_some((method, output.columns.len()))
    };
    match (number(Method::PredictProba), number(Method::Predict)) {
        (Some((method, width)), _) if width > 0 => Some((method, width - 1)),
        (_, Some((method, width))) if width > 0 => Some((method, 0)),
        _ => None,
    }
}

impl Sketch {
    fn of(model: &Model, rows: &Table<'static>) -> Result<Self> {
        let profile = |column: &corten_core::Column<'static>| match column.kind() {
            Some(Kind::Number) => Ok(Profile::of_numbers(&column.to_f64()?)),
            _ => {
                let texts = column.as_text()?;
                Ok(Profile::of_texts((0..rows.rows()).map(|row| texts.get(row))))
            }
        };
        let columns = rows.columns().iter().map(profile).collect::<Result<Vec<_>>>()?;
        let score = match score_of(model) {
            // Running a state forward would change what the model is.
            Some((method, at)) if !model.is_stateful() => {
                let batch = model.run(method, &Data::Table(rows.clone()), &Run::default())?;
                let values: Vec<f64> = batch.numbers.chunks_exact(batch.width.max(1)).map(|row| row[at]).collect();
                Some(Score { method: method.as_str().into(), profile: Profile::of_numbers(&values) })
            }
            _ => None,
        };
        Ok(Self { rows: rows.rows() as u64, columns, score })
    }

    /// The sketch in a model's metadata.
    ///
    /// # Errors
    /// [`Error::Format`] for one that doesn't fit the model.
    pub fn read(model: &Model) -> Result<Option<Self>> {
        let Some(value) = model.metadata().get("sketch") else { return Ok(None) };
        let fault = |problem: &str| Error::format(format!("the training sketch {problem}"));
        let sketch = Self::deserialize(value).map_err(|e| fault(&format!("can't be read: {e}")))?;
        let inputs = &model.schema().inputs;
        if sketch.columns.len() != inputs.len() {
            return Err(fault(&format!("has {} columns; the model reads {}", sketch.columns.len(), inputs.len())));
        }
        if let Some((input, _)) = inputs.iter().zip(&sketch.columns).find(|(input, profile)| !profile.check(input.kind))
        {
            return Err(fault(&format!("has no distribution of '{}'", input.name)));
        }
        if sketch.score.as_ref().is_some_and(|s| !s.profile.check(Kind::Number)) {
            return Err(fault("has no distribution of the score"));
        }
        Ok(Some(sketch))
    }
}

/// Rows of quantiles with the answers that the model gives, as `POST /predict` has both; none for a model with a state.
fn sample(model: &Model, rows: &Table<'static>) -> Result<Option<Value>> {
    if model.is_stateful() {
        return Ok(None);
    }
    let mut columns = Vec::new();
    for (input, column) in model.schema().inputs.iter().zip(rows.columns()) {
        let values: Vec<Value> = match input.kind {
            Kind::Number => {
                let mut sorted: Vec<f64> = column.to_f64()?.iter().copied().filter(|x| x.is_finite()).collect();
                sorted.sort_unstable_by(f64::total_cmp);
                let last = sorted.len().saturating_sub(1);
                let at = |i: usize| sorted.get(i * last / (SAMPLE - 1)).map_or(Value::Null, |x| json!(x));
                (0..SAMPLE).map(at).collect()
            }
            Kind::Text => match Profile::of_texts((0..rows.rows()).map(|row| column.as_text().ok()?.get(row))) {
                Profile::Text { values, .. } if !values.is_empty() => {
                    (0..SAMPLE).map(|i| json!(values[i % values.len()])).collect()
                }
                _ => vec![Value::Null; SAMPLE],
            },
        };
        columns.push((&input.name, values));
    }
    let (mut rows, mut answers) = (Vec::new(), Vec::new());
    for i in 0..SAMPLE {
        let row: Map<String, Value> =
            columns.iter().map(|(name, values)| ((*name).clone(), values[i].clone())).collect();
        let row = Value::Object(row);
        // A row that the model refuses, such as one with a missing value, says nothing about it.
        if let Ok(answer) = answer(model, &row) {
            rows.push(row);
            answers.push(answer);
        }
    }
    Ok((!rows.is_empty()).then(|| json!({ "rows": rows, "answers": answers })))
}

fn answer(model: &Model, row: &Value) -> Result<Value> {
    let internal = |e: serde_json::Error| Error::Internal(format!("the sample: {e}"));
    let (mut session, mut reader) = (model.session(), RowReader::new(model));
    reader.read(&mut Scanner::new(&serde_json::to_vec(row).map_err(internal)?), &mut session)?;
    let mut out = Vec::new();
    AnswerWriter::new(model).answer(model, &mut session, &reader.texts(), &mut out)?;
    serde_json::from_slice(&out).map_err(internal)
}

/// Checks that a model answers its own sample as it did when it was saved. Returns how many rows were checked.
///
/// # Errors
/// [`Error::Format`] for a sample that can't be read, and for another answer.
pub fn check_sample(model: &Model) -> Result<usize> {
    let Some(sample) = model.metadata().get("sample") else { return Ok(0) };
    let list = |key: &str| sample.get(key).and_then(Value::as_array);
    let (Some(rows), Some(answers)) = (list("rows"), list("answers")) else {
        return Err(Error::format("the sample has no 'rows' and 'answers'"));
    };
    if rows.len() != answers.len() || rows.len() > MAX_BINS {
        let (rows, answers) = (rows.len(), answers.len());
        return Err(Error::format(format!("the sample has {rows} rows and {answers} answers; at most {MAX_BINS}")));
    }
    for (at, (row, wanted)) in rows.iter().zip(answers).enumerate() {
        let given = answer(model, row).map_err(|e| Error::format(format!("row {at} of the sample: {e}")))?;
        if given != *wanted {
            let text = format!("row {at} of the sample is answered {given}; it was {wanted} when the model was saved");
            return Err(Error::format(text));
        }
    }
    Ok(rows.len())
}

/// The categories that a model knows of an input, where it maps them to codes before anything else.
pub fn categories(model: &Model, input: Slot) -> Option<&CategoryValues> {
    let mut slots = vec![input];
    for node in model.graph().nodes() {
        match &node.op {
            Op::ImputeText(_) => {
                // Filling in what is missing leaves the place of a column.
                if let Some(at) = node.inputs.iter().position(|s| slots.contains(s)) {
                    slots.push(Slot::Text(node.first + at as u32));
                }
            }
            Op::Category(op) => {
                if let Some(at) = node.inputs.iter().position(|s| slots.contains(s)) {
                    return op.columns().get(at).map(|c| &c.values);
                }
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_one_bin() {
        let values: Vec<f64> = (0..1000).map(f64::from).chain([f64::NAN, f64::INFINITY]).collect();
        let profile = Profile::of_numbers(&values);
        let (counts, missing) = profile.counts();
        assert_eq!((counts.iter().sum::<u64>(), missing, counts.len()), (1001, 1, BINS));
        assert!(counts.iter().all(|c| c.abs_diff(100) <= 2), "{counts:?}");
        assert!(profile.check(Kind::Number) && !profile.check(Kind::Text));
        assert_eq!((profile.bin_of_number(-1e9), profile.bin_of_number(1e9)), (0, BINS - 1));
        let few = Profile::of_numbers(&[2.0, 1.0, 2.0]);
        assert_eq!(few, Profile::Number { cuts: vec![1.0, 2.0], counts: vec![1, 2, 0], missing: 0 });
        assert_eq!(few.bin_of_number(3.0), 2);
        let none = Profile::of_numbers(&[f64::NAN]);
        assert_eq!(none, Profile::Number { cuts: vec![], counts: vec![0], missing: 1 });
    }

    #[test]
    fn frequent_texts_have_a_bin_and_texts_of_their_own_have_none() {
        let texts = ["b", "a", "b"].map(|t| Some(t.as_bytes())).into_iter().chain([None]);
        let profile = Profile::of_texts(texts);
        let wanted = Profile::Text { values: vec!["b".into(), "a".into()], counts: vec![2, 1, 0], missing: 1 };
        assert_eq!(profile, wanted);
        assert_eq!((profile.bin_of_text(b"a"), profile.bin_of_text(b"c")), (1, 2));
        let names: Vec<String> = (0..100).map(|i| i.to_string()).collect();
        let profile = Profile::of_texts(names.iter().map(|n| Some(n.as_bytes())));
        assert_eq!(profile, Profile::Text { values: vec![], counts: vec![100], missing: 0 });
    }
}
