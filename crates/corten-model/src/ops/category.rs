//! Categories to codes.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

use corten_core::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Flow, Operator, Shape, damaged};
use crate::file::{TensorReader, TensorWriter};
use crate::graph::Slot;

/// What to do with a value that has no code of its own.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Refuse it, naming the column.
    Error,
    /// Give it this code; NaN is "missing".
    Code(#[serde(with = "crate::number")] f64),
}

/// The categories of a column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum CategoryValues {
    /// Numbers, compared exactly.
    Numbers(Vec<f64>),
    /// Text, compared byte by byte.
    Texts(Vec<String>),
}

impl CategoryValues {
    /// Number of categories.
    pub fn len(&self) -> usize {
        match self {
            Self::Numbers(v) => v.len(),
            Self::Texts(v) => v.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One column's categories and rules.
#[derive(Clone, Debug, PartialEq)]
pub struct CategoryColumn {
    /// The column's name, for messages.
    pub name: String,
    /// The categories.
    pub values: CategoryValues,
    /// One code a category; its position where `None`.
    pub codes: Option<Vec<f64>>,
    /// The rule for a missing value.
    pub missing: Rule,
    /// The rule for a value that is no category.
    pub unknown: Rule,
}

/// Maps each column's categories to codes: `n` columns, of numbers or text as their categories are, to `n` numbers.
#[derive(Clone, Debug)]
pub struct Category {
    columns: Vec<CategoryColumn>,
    tables: Vec<Table>,
}

/// How a column is looked up.
#[derive(Clone, Debug)]
enum Table {
    /// Positions of the numbers in ascending order.
    Sorted(Vec<(f64, u32)>),
    /// Open addressing over a hash of the bytes; `u32::MAX` is free.
    Hashed(Vec<u32>),
    /// Positions of the texts in ascending order: where texts were chosen so that their hashes collide.
    Searched(Vec<u32>),
}

const FREE: u32 = u32::MAX;
/// Most steps to a place in a table of hashes: far beyond what texts that no one chose for it need.
const MAX_STEPS: usize = 512;

impl Category {
    /// An operator over these columns.
    pub fn new(columns: Vec<CategoryColumn>) -> Self {
        let tables = columns.iter().map(|c| Table::of(&c.values)).collect();
        Self { columns, tables }
    }

    /// Gives columns other names in messages, where `name` has one for their position.
    pub(super) fn rename<'n>(&mut self, name: impl Fn(usize) -> Option<&'n str>) {
        for (i, column) in self.columns.iter_mut().enumerate() {
            if let Some(name) = name(i) {
                column.name = name.into();
            }
        }
    }

    /// The columns.
    pub fn columns(&self) -> &[CategoryColumn] {
        &self.columns
    }
}

impl Table {
    fn of(values: &CategoryValues) -> Self {
        match values {
            CategoryValues::Numbers(values) => {
                let mut sorted: Vec<(f64, u32)> = values.iter().copied().zip(0u32..).collect();
                sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
                Self::Sorted(sorted)
            }
            CategoryValues::Texts(values) => Self::hashed(values).unwrap_or_else(|| {
                let mut order: Vec<u32> = (0u32..).take(values.len()).collect();
                // Stable: of equal texts the first comes first, and is the one that is found.
                order.sort_by(|&a, &b| values[a as usize].cmp(&values[b as usize]));
                Self::Searched(order)
            }),
        }
    }

    /// `None` where some text is more than [`MAX_STEPS`] away from its place.
    fn hashed(values: &[String]) -> Option<Self> {
        let size = (values.len() * 2 + 2).next_power_of_two();
        let mut table = vec![FREE; size];
        for (i, value) in values.iter().enumerate() {
            let start = hash(value.as_bytes()) as usize;
            let at = (0..MAX_STEPS).map(|step| start.wrapping_add(step) & (size - 1)).find(|&at| match table[at] {
                FREE => true,
                position => values[position as usize] == *value,
            })?;
            if table[at] == FREE {
                table[at] = i as u32;
            }
        }
        Some(Self::Hashed(table))
    }
}

/// Multiply and fold over words of 8 bytes: short keys, one multiplication each.
#[inline]
fn hash(bytes: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut h = (bytes.len() as u64).wrapping_mul(ODD);
    let mut words = bytes.chunks_exact(8);
    for word in &mut words {
        let mut w = [0; 8];
        w.copy_from_slice(word);
        h = (h ^ u64::from_le_bytes(w)).wrapping_mul(ODD);
        h ^= h >> 29;
    }
    h = (h ^ short(words.remainder())).wrapping_mul(ODD);
    h ^ (h >> 32)
}

/// Up to 8 bytes as a number. A loop: a copy of unknown length is a call.
#[inline]
fn short(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, &b| word << 8 | u64::from(b))
}

/// Whether two texts are the same; most categories are short.
#[inline]
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && if a.len() <= 8 { short(a) == short(b) } else { a == b }
}

impl CategoryColumn {
    #[inline]
    fn code(&self, position: u32) -> f64 {
        match &self.codes {
            Some(codes) => codes[position as usize],
            None => f64::from(position),
        }
    }

    fn missing(&self) -> Result<f64> {
        match self.missing {
            Rule::Code(code) => Ok(code),
            Rule::Error => {
                Err(Error::column(&self.name, "has a missing value, which it had not when the model was fitted"))
            }
        }
    }

    fn unknown(&self, value: impl FnOnce() -> String) -> Result<f64> {
        match self.unknown {
            Rule::Code(code) => Ok(code),
            Rule::Error => {
                let known: Vec<String> = match &self.values {
                    CategoryValues::Numbers(v) => v.iter().take(10).map(ToString::to_string).collect(),
                    CategoryValues::Texts(v) => v.iter().take(10).map(|s| format!("'{s}'")).collect(),
                };
                let more = self.values.len().saturating_sub(known.len());
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                Err(Error::column(
                    &self.name,
                    format!("unknown category {}; known are {}{more}", value(), known.join(", ")),
                ))
            }
        }
    }

    #[inline]
    fn of_number(&self, table: &[(f64, u32)], x: f64) -> Result<f64> {
        if x.is_nan() {
            return self.missing();
        }
        let at = table.partition_point(|&(v, _)| v < x);
        match table.get(at) {
            Some(&(v, position)) if v == x => Ok(self.code(position)),
            _ => self.unknown(|| x.to_string()),
        }
    }

    #[inline]
    fn of_text(&self, table: &[u32], values: &[String], x: Option<&[u8]>) -> Result<f64> {
        let Some(x) = x else { return self.missing() };
        let mask = table.len() - 1;
        let mut at = hash(x) as usize & mask;
        loop {
            match table[at] {
                FREE => return self.unknown(|| format!("'{}'", String::from_utf8_lossy(x))),
                position if same(values[position as usize].as_bytes(), x) => return Ok(self.code(position)),
                _ => at = (at + 1) & mask,
            }
        }
    }

    fn of_text_searched(&self, order: &[u32], values: &[String], x: Option<&[u8]>) -> Result<f64> {
        let Some(x) = x else { return self.missing() };
        let at = order.partition_point(|&position| values[position as usize].as_bytes() < x);
        match order.get(at) {
            Some(&position) if values[position as usize].as_bytes() == x => Ok(self.code(position)),
            _ => self.unknown(|| format!("'{}'", String::from_utf8_lossy(x))),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Described {
    name: String,
    missing: Rule,
    unknown: Rule,
    text: bool,
}

impl Operator for Category {
    fn check(&self, inputs: &[Slot]) -> Result<Shape> {
        if inputs.len() != self.columns.len() {
            return Err(Error::format(format!(
                "operator 'category' takes {} columns but is given {}",
                self.columns.len(),
                inputs.len()
            )));
        }
        for (column, slot) in self.columns.iter().zip(inputs) {
            let fits = match &column.values {
                CategoryValues::Numbers(v) => matches!(slot, Slot::Number(_)) && !v.iter().any(|x| x.is_nan()),
                CategoryValues::Texts(_) => matches!(slot, Slot::Text(_)),
            };
            if !fits {
                return Err(Error::column(&column.name, "has categories of another kind than its values"));
            }
            if column.codes.as_ref().is_some_and(|c| c.len() != column.values.len()) {
                return Err(Error::column(&column.name, "has not as many codes as categories"));
            }
        }
        Ok(Shape::numbers(inputs.len()))
    }

    fn write(&self, tensors: &mut TensorWriter) -> Value {
        let mut described = Vec::with_capacity(self.columns.len());
        for (i, column) in self.columns.iter().enumerate() {
            match &column.values {
                CategoryValues::Numbers(values) => tensors.f64(&format!("values{i}"), values),
                CategoryValues::Texts(values) => tensors.texts(&format!("values{i}"), values),
            }
            if let Some(codes) = &column.codes {
                tensors.f64(&format!("codes{i}"), codes);
            }
            described.push(Described {
                name: column.name.clone(),
                missing: column.missing,
                unknown: column.unknown,
                text: matches!(column.values, CategoryValues::Texts(_)),
            });
        }
        json!({ "columns": described })
    }

    fn read(value: &Value, tensors: &TensorReader<'_>) -> Result<Self> {
        #[derive(Deserialize)]
        struct Columns {
            columns: Vec<Described>,
        }
        let Columns { columns } = Columns::deserialize(value).map_err(|e| damaged("category", &e))?;
        let columns = columns
            .into_iter()
            .enumerate()
            .map(|(i, c)| {
                let values = if c.text {
                    CategoryValues::Texts(tensors.texts(&format!("values{i}"))?)
                } else {
                    CategoryValues::Numbers(tensors.f64(&format!("values{i}"))?)
                };
                let codes = tensors.optional_f64(&format!("codes{i}"))?;
                if codes.as_ref().is_some_and(|c| c.len() != values.len()) {
                    return Err(Error::column(&c.name, "has not as many codes as categories"));
                }
                Ok(CategoryColumn { name: c.name, values, codes, missing: c.missing, unknown: c.unknown })
            })
            .collect::<Result<_>>()?;
        Ok(Self::new(columns))
    }

    fn run<'d>(&'d self, flow: &mut Flow<'_, 'd>, inputs: &[Slot], first: u32) -> Result<()> {
        let (rows, stride) = (flow.rows, flow.stride);
        let (before, after) = flow.numbers.split_at_mut(first as usize * stride);
        for (i, (&slot, (column, table))) in inputs.iter().zip(self.columns.iter().zip(&self.tables)).enumerate() {
            let to = &mut after[i * stride..][..rows];
            match (slot, table, &column.values) {
                (Slot::Number(at), Table::Sorted(table), _) => {
                    for (o, &x) in to.iter_mut().zip(&before[at as usize * stride..][..rows]) {
                        *o = column.of_number(table, x)?;
                    }
                }
                (Slot::Text(at), Table::Hashed(table), CategoryValues::Texts(values)) => {
                    for (o, &x) in to.iter_mut().zip(&flow.texts[at as usize * stride..][..rows]) {
                        *o = column.of_text(table, values, x)?;
                    }
                }
                (Slot::Text(at), Table::Searched(order), CategoryValues::Texts(values)) => {
                    for (o, &x) in to.iter_mut().zip(&flow.texts[at as usize * stride..][..rows]) {
                        *o = column.of_text_searched(order, values, x)?;
                    }
                }
                _ => return Err(Error::Internal("operator 'category' was given a column of another kind".into())),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_whose_hashes_collide_are_found_all_the_same() {
        // The hash can be turned round, so texts for one place are easy to find; here by trying.
        let values: Vec<String> = (0u32..)
            .map(|i| format!("{i:08}"))
            .filter(|t| hash(t.as_bytes()).is_multiple_of(2048))
            .take(MAX_STEPS + 1)
            .collect();
        assert!(Table::hashed(&values).is_none());
        let column = |text: &[u8]| {
            let column = CategoryColumn {
                name: "c".into(),
                values: CategoryValues::Texts(values.clone()),
                codes: None,
                missing: Rule::Code(-2.0),
                unknown: Rule::Code(-1.0),
            };
            match Table::of(&column.values) {
                Table::Searched(order) => column.of_text_searched(&order, &values, Some(text)).unwrap(),
                _ => panic!("a table of hashes"),
            }
        };
        for at in [0, 1, MAX_STEPS / 2, MAX_STEPS] {
            assert_eq!(column(values[at].as_bytes()), at as f64);
        }
        assert_eq!(column(b"elsewhere"), -1.0);
    }
}
