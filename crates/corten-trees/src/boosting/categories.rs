//! Columns of many categories as numbers.
//!
//! A category is told by the mean target of its rows, drawn to the mean of all where it has few (Micci-Barreca, SIGKDD
//! Explorations 3, 2001). For training, a row's mean leaves out the fifth of the rows that it belongs to, or the target
//! would leak into its column.

use std::collections::BTreeMap;

use corten_core::random::bits;
use corten_core::{Column, Error, Result, Values};
use corten_kernels::boost::gradients;
use corten_kernels::sort::{ordered, unordered};
use corten_model::ops::CategoryValues;

use super::cuts::{sort, weighted_cuts};

/// The level of a value that is no category.
pub(crate) const NONE: u32 = u32::MAX;
/// Parts of the rows, each left out in turn.
const FOLDS: usize = 5;
/// Most categories of a column.
const MOST_LEVELS: usize = 1 << 24;
/// Rows that the mean of all counts as.
pub(crate) const PRIOR: f64 = 20.0;

/// What categories are told by.
pub(crate) struct Crossed<'a> {
    /// How many numbers a row has.
    pub(crate) targets: usize,
    /// One of a row, by its number in the data.
    pub(crate) target: &'a (dyn Fn(usize, u32) -> f64 + Sync),
    pub(crate) weights: Option<&'a [f64]>,
    pub(crate) seed: u64,
}

/// Weighted sum and weight by category, then of all.
#[derive(Clone)]
struct Sums {
    levels: Vec<[f64; 2]>,
    all: [f64; 2],
}

impl Sums {
    fn of(levels: usize) -> Self {
        Self { levels: vec![[0.0; 2]; levels], all: [0.0; 2] }
    }

    fn mean(&self, level: u32, less: Option<&Self>) -> f64 {
        let minus = |a: [f64; 2], b: [f64; 2]| [a[0] - b[0], a[1] - b[1]];
        let [mut own, mut all] = [self.levels[level as usize], self.all];
        if let Some(less) = less {
            (own, all) = (minus(own, less.levels[level as usize]), minus(all, less.all));
        }
        let mean = if all[1] > 0.0 { all[0] / all[1] } else { 0.0 };
        (own[0] + PRIOR * mean) / (own[1] + PRIOR)
    }
}

/// What the categories of a column are told by: sums of one target of all rows, and of each part of them.
pub(crate) struct Told {
    pub(crate) target: usize,
    seed: u64,
    whole: Sums,
    folds: Vec<Sums>,
    /// Rows by part and category.
    counts: Vec<Vec<u64>>,
}

impl Told {
    /// Nothing yet.
    pub(crate) fn new(seed: u64, target: usize, categories: usize) -> Self {
        let folds = (0..FOLDS).map(|_| Sums::of(categories)).collect();
        Self { target, seed, whole: Sums::of(categories), folds, counts: vec![vec![0; categories]; FOLDS] }
    }

    /// Of some rows alone.
    pub(crate) fn of(crossed: &Crossed<'_>, target: usize, categories: usize, levels: &[u32], rows: &[u32]) -> Self {
        let mut told = Self::new(crossed.seed, target, categories);
        told.absorb(crossed, levels, rows, 0);
        told.finish();
        told
    }

    fn fold(&self, row: u32) -> usize {
        (bits(self.seed, 0x666f_6c64, u64::from(row)) % FOLDS as u64) as usize
    }

    /// Adds rows, whose numbers in the data are `from` larger; the order of all rows is that of their numbers.
    pub(crate) fn absorb(&mut self, crossed: &Crossed<'_>, levels: &[u32], rows: &[u32], from: u32) {
        for (&level, &row) in levels.iter().zip(rows).filter(|(l, _)| **l != NONE) {
            let row = row + from;
            let w = crossed.weights.map_or(1.0, |w| w[row as usize]);
            let y = (crossed.target)(self.target, row) * w;
            let fold = self.fold(row);
            self.counts[fold][level as usize] += 1;
            let fold = &mut self.folds[fold];
            for sum in [&mut fold.levels[level as usize], &mut fold.all] {
                *sum = [sum[0] + y, sum[1] + w];
            }
        }
    }

    /// Ends with the last row.
    pub(crate) fn finish(&mut self) {
        for fold in &self.folds {
            self.whole.all = [self.whole.all[0] + fold.all[0], self.whole.all[1] + fold.all[1]];
            for (a, b) in self.whole.levels.iter_mut().zip(&fold.levels) {
                *a = [a[0] + b[0], a[1] + b[1]];
            }
        }
    }

    /// The number of each row, for training; NaN where there is no category.
    pub(crate) fn numbers(&self, levels: &[u32], rows: &[u32], from: u32) -> Vec<f64> {
        let number = |(&level, &row): (&u32, &u32)| {
            if level == NONE { f64::NAN } else { self.whole.mean(level, Some(&self.folds[self.fold(row + from)])) }
        };
        levels.iter().zip(rows).map(number).collect()
    }

    /// The number of each category, for new rows.
    pub(crate) fn codes(&self) -> Vec<f64> {
        (0..self.whole.levels.len() as u32).map(|level| self.whole.mean(level, None)).collect()
    }

    /// Cuts of the numbers of all rows.
    pub(crate) fn cuts(&self, max_bins: usize) -> Vec<f64> {
        let mut numbers: Vec<(f64, u64)> = Vec::new();
        for (fold, counts) in self.folds.iter().zip(&self.counts) {
            let used = counts.iter().enumerate().filter(|c| *c.1 > 0);
            numbers.extend(used.map(|(level, &count)| (self.whole.mean(level as u32, Some(fold)), count)));
        }
        numbers.retain(|n| !n.0.is_nan());
        numbers.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
        numbers.dedup_by(|b, a| {
            a.0 == b.0 && {
                a.1 += b.1;
                true
            }
        });
        let (distinct, counts): (Vec<f64>, Vec<u64>) = numbers.into_iter().unzip();
        weighted_cuts(&distinct, &counts, max_bins)
    }
}

/// The categories of a column with how many rows have each.
pub(crate) enum Census {
    Texts(BTreeMap<Vec<u8>, u64>),
    /// By their bits in the order of numbers.
    Numbers(BTreeMap<u64, u64>),
}

impl Census {
    /// Nothing yet, of a column of this kind.
    pub(crate) fn of(column: &Column<'_>) -> Self {
        if matches!(column.values, Values::Text(_)) {
            Self::Texts(BTreeMap::new())
        } else {
            Self::Numbers(BTreeMap::new())
        }
    }

    /// Counts some rows.
    ///
    /// # Errors
    /// [`Error::Column`] for a column of the other kind, and [`Error::Limit`] for too many categories.
    pub(crate) fn absorb(&mut self, column: &Column<'_>, rows: &[u32]) -> Result<()> {
        let found = match self {
            Self::Texts(counts) => {
                let text = column.as_text()?;
                let mut add = |value: &[u8], count| match counts.get_mut(value) {
                    Some(n) => *n += count,
                    None => drop(counts.insert(value.to_vec(), count)),
                };
                if let Some((codes, values)) = text.dictionary() {
                    let mut by_code = vec![0u64; values.len() + 1];
                    for &row in rows {
                        let there = text.get(row as usize).is_some();
                        by_code[if there { codes[row as usize] as usize } else { values.len() }] += 1;
                    }
                    for (i, &count) in by_code[..values.len()].iter().enumerate().filter(|(_, c)| **c > 0) {
                        if let Some(value) = values.get(i) {
                            add(value, count);
                        }
                    }
                } else {
                    rows.iter().filter_map(|&r| text.get(r as usize)).for_each(|value| add(value, 1));
                }
                counts.len()
            }
            Self::Numbers(counts) => {
                // Adding 0 makes -0 and 0 one category.
                let whole = column.to_f64()?;
                let mut numbers: Vec<f64> =
                    rows.iter().map(|&r| whole[r as usize] + 0.0).filter(|x| !x.is_nan()).collect();
                sort(&mut numbers);
                for same in numbers.chunk_by(|a, b| a == b) {
                    *counts.entry(ordered(same[0])).or_default() += same.len() as u64;
                }
                counts.len()
            }
        };
        if found > MOST_LEVELS {
            return Err(Error::Limit(format!("Column '{}': more than {MOST_LEVELS} categories", column.name)));
        }
        Ok(())
    }

    /// The categories in ascending order and their counts.
    ///
    /// # Errors
    /// [`Error::Column`] for text that is no UTF-8.
    pub(crate) fn finish(self, name: &str) -> Result<(CategoryValues, Vec<u64>)> {
        Ok(match self {
            Self::Texts(counts) => {
                let no_text = |_| Error::column(name, "holds text that is no UTF-8");
                let texts = counts.keys().map(|v| std::str::from_utf8(v).map_err(no_text)).collect::<Result<_>>()?;
                (CategoryValues::Texts(texts), counts.into_values().collect())
            }
            Self::Numbers(counts) => {
                let (numbers, counts): (Vec<u64>, Vec<u64>) = counts.into_iter().unzip();
                (CategoryValues::Numbers(numbers.into_iter().map(unordered).collect()), counts)
            }
        })
    }
}

/// The most frequent categories, in ascending order; ties go to the lower one.
pub(crate) fn most_frequent(values: &CategoryValues, counts: &[u64], most: usize) -> CategoryValues {
    let mut kept: Vec<usize> = (0..counts.len()).collect();
    kept.sort_by_key(|&i| (std::cmp::Reverse(counts[i]), i));
    kept.truncate(most);
    kept.sort_unstable();
    match values {
        CategoryValues::Numbers(v) => CategoryValues::Numbers(kept.iter().map(|&i| v[i]).collect()),
        CategoryValues::Texts(v) => CategoryValues::Texts(kept.iter().map(|&i| &v[i]).collect()),
    }
}

/// The category of each of some rows; `values` ascend.
///
/// # Errors
/// [`corten_core::Error::Column`] when the column holds text where categories are numbers, or the other way round.
pub(crate) fn levels(column: &Column<'_>, values: &CategoryValues, rows: &[u32]) -> Result<Vec<u32>> {
    match values {
        CategoryValues::Numbers(known) => {
            let whole = column.to_f64()?;
            let numbers: Vec<f64> = rows.iter().map(|&r| whole[r as usize]).collect();
            let exact = |at: usize, x: f64| if known.get(at) == Some(&x) { at as u32 } else { NONE };
            if known.len() > 255 {
                return Ok(numbers.iter().map(|&x| exact(known.partition_point(|k| *k < x), x)).collect());
            }
            let mut at = vec![0; numbers.len()];
            gradients::bins(&numbers, known, 0, &mut at);
            Ok(at.iter().zip(&numbers).map(|(&at, &x)| exact(usize::from(at), x)).collect())
        }
        CategoryValues::Texts(known) => {
            let text = column.as_text()?;
            let find = |value: &[u8]| known.find_sorted(value).map_or(NONE, |at| at as u32);
            Ok(match text.dictionary() {
                Some((codes, values)) => {
                    let by_code: Vec<u32> = (0..values.len()).map(|i| values.get(i).map_or(NONE, find)).collect();
                    let level = |&r: &u32| {
                        if text.get(r as usize).is_some() { by_code[codes[r as usize] as usize] } else { NONE }
                    };
                    rows.iter().map(level).collect()
                }
                None => rows.iter().map(|&r| text.get(r as usize).map_or(NONE, find)).collect(),
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_frequent_categories_keep_their_order() {
        let values = CategoryValues::Texts(["a", "b", "c", "d"].iter().collect());
        let kept = most_frequent(&values, &[1, 2, 1, 2], 3);
        assert_eq!(kept, CategoryValues::Texts(["a", "b", "d"].iter().collect()));
    }
}
