//! Categories to codes.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;
use core::cmp::Ordering;

use corten_core::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Flow, Operator, Shape, damaged};
use crate::file::{TensorReader, TensorWriter};
use crate::graph::Slot;
use crate::texts::Texts;

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
    Texts(Texts),
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
    /// The numbers ascend.
    Ascending,
    /// Positions of the numbers in ascending order.
    Sorted(Vec<u32>),
    /// Open addressing over a hash of the bytes.
    Hashed(Hashes),
    /// Positions of the texts in ascending order: where texts were chosen so that their hashes collide.
    Searched(Vec<u32>),
}

/// Places for the positions of texts, each found by the text's hash. A place also holds as many bits of the hash as it has
/// left, so that other texts on the way to one are hardly ever looked at.
#[derive(Clone, Debug)]
struct Hashes {
    places: Vec<u32>,
    /// Bits of a position.
    bits: u32,
}

const FREE: u32 = u32::MAX;
/// Most steps to a place in a table of hashes: far beyond what texts that no one chose for it need.
const MAX_STEPS: usize = 1024;
/// Texts up to which half of the places stay free; of more texts a quarter, which takes less memory and a few more steps.
const FEW: usize = 1 << 12;

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
        let order = |compare: &dyn Fn(usize, usize) -> Ordering| {
            let mut order: Vec<u32> = (0u32..).take(values.len()).collect();
            // Stable: of equal categories the first comes first, and is the one that is found.
            order.sort_by(|&a, &b| compare(a as usize, b as usize));
            order
        };
        match values {
            CategoryValues::Numbers(values) if values.windows(2).all(|w| w[0] < w[1]) => Self::Ascending,
            CategoryValues::Numbers(values) => Self::Sorted(order(&|a, b| values[a].total_cmp(&values[b]))),
            CategoryValues::Texts(values) => Hashes::of(values)
                .map_or_else(|| Self::Searched(order(&|a, b| values.bytes(a).cmp(values.bytes(b)))), Self::Hashed),
        }
    }
}

impl Hashes {
    /// `None` where some text is more than [`MAX_STEPS`] away from its place.
    fn of(values: &Texts) -> Option<Self> {
        let count = values.len();
        let size = if count <= FEW { 2 * count + 2 } else { count + count / 3 };
        let bits = usize::BITS - count.leading_zeros();
        let mut table = Self { places: vec![FREE; size], bits };
        for at in 0..count {
            let text = values.bytes(at);
            let (place, tag) = table.steps(text, |place, tag| place == FREE || table.is(place, tag, values, text))?;
            if table.places[place] == FREE {
                // Positions are below the greatest number of so many bits, so this is not free any more.
                table.places[place] = tag | at as u32;
            }
        }
        Some(table)
    }

    /// The first of the places that a text may have where `ends` says so, and what a place holds of the text's hash.
    #[inline]
    fn steps(&self, text: &[u8], ends: impl Fn(u32, u32) -> bool) -> Option<(usize, u32)> {
        let hash = hash(text);
        // The lower half as a fraction of all places, the upper one beside the position.
        let mut at = (((hash & u64::from(u32::MAX)) * self.places.len() as u64) >> 32) as usize;
        let tag = ((hash >> 32) as u32).checked_shl(self.bits).unwrap_or(0);
        for _ in 0..MAX_STEPS {
            if ends(self.places[at], tag) {
                return Some((at, tag));
            }
            at = if at + 1 == self.places.len() { 0 } else { at + 1 };
        }
        None
    }

    #[inline]
    fn position(&self, place: u32) -> u32 {
        place & 1u32.checked_shl(self.bits).unwrap_or(0).wrapping_sub(1)
    }

    /// Whether a place that isn't free holds a text.
    #[inline]
    fn is(&self, place: u32, tag: u32, values: &Texts, text: &[u8]) -> bool {
        let position = self.position(place);
        place ^ position == tag && same(values.bytes(position as usize), text)
    }

    /// The position of a text.
    #[inline]
    fn find(&self, values: &Texts, text: &[u8]) -> Option<u32> {
        let (at, _) = self.steps(text, |place, tag| place == FREE || self.is(place, tag, values, text))?;
        Some(self.places[at]).filter(|&place| place != FREE).map(|place| self.position(place))
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

    /// The code of a number; `find` looks for it.
    #[inline]
    fn of_number(&self, x: f64, find: impl FnOnce(f64) -> Option<u32>) -> Result<f64> {
        if x.is_nan() {
            return self.missing();
        }
        find(x).map_or_else(|| self.unknown(|| x.to_string()), |position| Ok(self.code(position)))
    }

    /// The code of a text; `find` looks for it.
    #[inline]
    fn of_text(&self, x: Option<&[u8]>, find: impl FnOnce(&[u8]) -> Option<u32>) -> Result<f64> {
        let Some(x) = x else { return self.missing() };
        let unknown = || self.unknown(|| format!("'{}'", String::from_utf8_lossy(x)));
        find(x).map_or_else(unknown, |position| Ok(self.code(position)))
    }
}

/// The place of a number among ascending ones.
#[inline]
fn ascending(values: &[f64], x: f64) -> Option<u32> {
    let at = values.partition_point(|&v| v < x);
    values.get(at).filter(|&&v| v == x).map(|_| at as u32)
}

/// The position of what compares as `compare` says, in an order of positions.
#[inline]
fn searched(order: &[u32], compare: impl Fn(usize) -> Option<Ordering>) -> Option<u32> {
    let at = order.partition_point(|&position| compare(position as usize) == Some(Ordering::Less));
    order.get(at).copied().filter(|&position| compare(position as usize) == Some(Ordering::Equal))
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
            let stretch = |at: u32| at as usize * stride..at as usize * stride + rows;
            match (slot, &column.values) {
                (Slot::Number(at), CategoryValues::Numbers(values)) => {
                    for (o, &x) in to.iter_mut().zip(&before[stretch(at)]) {
                        *o = column.of_number(x, |x| match table {
                            Table::Sorted(order) => searched(order, |at| values[at].partial_cmp(&x)),
                            _ => ascending(values, x),
                        })?;
                    }
                }
                (Slot::Text(at), CategoryValues::Texts(values)) => {
                    for (o, &x) in to.iter_mut().zip(&flow.texts[stretch(at)]) {
                        *o = column.of_text(x, |x| match table {
                            Table::Searched(order) => searched(order, |at| Some(values.bytes(at).cmp(x))),
                            Table::Hashed(hashes) => hashes.find(values, x),
                            _ => None,
                        })?;
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
    use super::super::Scratch;
    use super::*;

    fn column(values: CategoryValues) -> Category {
        let (missing, unknown) = (Rule::Code(-2.0), Rule::Code(-1.0));
        Category::new(vec![CategoryColumn { name: "c".into(), values, codes: None, missing, unknown }])
    }

    fn code(category: &Category, text: &[u8]) -> f64 {
        let (mut numbers, mut scratch) = ([f64::NAN], Scratch::default());
        let (mut texts, scratch) = ([Some(text)], &mut scratch);
        let mut flow = Flow { rows: 1, stride: 1, numbers: &mut numbers, texts: &mut texts, scratch };
        category.run(&mut flow, &[Slot::Text(0)], 0).unwrap();
        numbers[0]
    }

    #[test]
    fn texts_whose_hashes_collide_are_found_all_the_same() {
        // The hash can be turned round, so texts for one place are easy to find; here by trying.
        let count = MAX_STEPS + 1;
        let places = 2 * count as u64 + 2;
        let values: Texts = (0u32..)
            .map(|i| format!("{i:08}"))
            .filter(|t| ((hash(t.as_bytes()) & u64::from(u32::MAX)) * places) >> 32 == 7)
            .take(count)
            .collect();
        let category = column(CategoryValues::Texts(values.clone()));
        assert!(matches!(category.tables[..], [Table::Searched(_)]));
        for at in [0, 1, MAX_STEPS / 2, MAX_STEPS] {
            assert_eq!(code(&category, values.bytes(at)), at as f64);
        }
        assert_eq!(code(&category, b"elsewhere"), -1.0);
    }

    #[test]
    fn each_text_of_few_and_of_many_is_found_once_and_no_other_is() {
        for count in [0usize, 1, 2, 3, 4, 1000, FEW, FEW + 1, 100_000] {
            // The last text is the first one again, which is the one that is found.
            let texts = (0..count.max(1) - 1).map(|i| format!("{}t", i * 7)).chain((count > 0).then(|| "0t".into()));
            let values: Texts = texts.collect();
            let category = column(CategoryValues::Texts(values.clone()));
            assert!(matches!(category.tables[..], [Table::Hashed(_)]), "{count}");
            for at in 0..count {
                let wanted = if at + 1 == count { 0 } else { at };
                assert_eq!(code(&category, values.bytes(at)), wanted as f64, "{at} of {count}");
                assert_eq!(code(&category, format!("{}t", at * 7 + 1).as_bytes()), -1.0);
            }
        }
    }

    #[test]
    fn numbers_are_found_in_any_order_of_the_categories() {
        let code = |category: &Category, x: f64| {
            let (mut numbers, mut scratch) = ([x, f64::NAN], Scratch::default());
            let scratch = &mut scratch;
            let mut flow = Flow { rows: 1, stride: 1, numbers: &mut numbers, texts: &mut [], scratch };
            category.run(&mut flow, &[Slot::Number(0)], 1).unwrap();
            numbers[1]
        };
        for values in [vec![-1.0, 0.0, 2.5], vec![2.5, -1.0, 0.0], vec![0.0, -1.0, 0.0, 2.5]] {
            let category = column(CategoryValues::Numbers(values.clone()));
            for &x in &values {
                assert_eq!(code(&category, x), values.iter().position(|&v| v == x).unwrap() as f64);
            }
            assert_eq!([1.0, f64::INFINITY, f64::NAN].map(|x| code(&category, x)), [-1.0, -1.0, -2.0]);
            assert_eq!(code(&category, -0.0), values.iter().position(|&v| v == 0.0).unwrap() as f64);
        }
    }
}
