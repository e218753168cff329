//! Columns of many categories as numbers.
//!
//! A category is told by the mean target of its rows, drawn to the mean of all where it has few (Micci-Barreca, SIGKDD
//! Explorations 3, 2001). For training, a row's mean leaves out the fifth of the rows that it belongs to, or the target
//! would leak into its column.

use corten_core::random::bits;
use corten_core::{Column, Result};
use corten_kernels::boost::gradients;
use corten_model::ops::CategoryValues;

/// The level of a value that is no category.
pub(crate) const NONE: u32 = u32::MAX;
/// Parts of the rows, each left out in turn.
const FOLDS: usize = 5;
/// Rows that the mean of all counts as.
pub(crate) const PRIOR: f64 = 20.0;

/// What categories are told by.
pub(crate) struct Crossed<'a> {
    /// Numbers by row of the table.
    pub(crate) targets: Vec<Vec<f64>>,
    pub(crate) weights: Option<&'a [f64]>,
    pub(crate) seed: u64,
}

/// Weighted sum and weight by category, then of all.
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

impl Crossed<'_> {
    fn fold(&self, row: u32) -> usize {
        (bits(self.seed, 0x666f_6c64, u64::from(row)) % FOLDS as u64) as usize
    }

    fn sums(&self, target: usize, count: usize, levels: &[u32], rows: &[u32]) -> (Sums, Vec<Sums>) {
        let mut folds: Vec<Sums> = (0..FOLDS).map(|_| Sums::of(count)).collect();
        for (&level, &row) in levels.iter().zip(rows).filter(|(l, _)| **l != NONE) {
            let w = self.weights.map_or(1.0, |w| w[row as usize]);
            let y = self.targets[target][row as usize] * w;
            let fold = &mut folds[self.fold(row)];
            for sum in [&mut fold.levels[level as usize], &mut fold.all] {
                *sum = [sum[0] + y, sum[1] + w];
            }
        }
        let mut whole = Sums::of(count);
        for fold in &folds {
            whole.all = [whole.all[0] + fold.all[0], whole.all[1] + fold.all[1]];
            for (a, b) in whole.levels.iter_mut().zip(&fold.levels) {
                *a = [a[0] + b[0], a[1] + b[1]];
            }
        }
        (whole, folds)
    }

    /// The number of each row, for training; NaN where there is no category.
    pub(crate) fn numbers(&self, target: usize, count: usize, levels: &[u32], rows: &[u32]) -> Vec<f64> {
        let (whole, folds) = self.sums(target, count, levels, rows);
        let number = |(&level, &row): (&u32, &u32)| {
            if level == NONE { f64::NAN } else { whole.mean(level, Some(&folds[self.fold(row)])) }
        };
        levels.iter().zip(rows).map(number).collect()
    }

    /// The number of each category, for new rows.
    pub(crate) fn codes(&self, target: usize, count: usize, levels: &[u32], rows: &[u32]) -> Vec<f64> {
        let (whole, _) = self.sums(target, count, levels, rows);
        (0..count as u32).map(|level| whole.mean(level, None)).collect()
    }
}

/// The most frequent categories, in ascending order; ties go to the lower one.
pub(crate) fn most_frequent(values: &CategoryValues, levels: &[u32], most: usize) -> CategoryValues {
    let mut counts = vec![0usize; values.len()];
    for &level in levels.iter().filter(|l| **l != NONE) {
        counts[level as usize] += 1;
    }
    let mut kept: Vec<usize> = (0..counts.len()).collect();
    kept.sort_by_key(|&i| (std::cmp::Reverse(counts[i]), i));
    kept.truncate(most);
    kept.sort_unstable();
    match values {
        CategoryValues::Numbers(v) => CategoryValues::Numbers(kept.iter().map(|&i| v[i]).collect()),
        CategoryValues::Texts(v) => CategoryValues::Texts(kept.iter().map(|&i| v[i].clone()).collect()),
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
            let find = |value: &[u8]| known.binary_search_by(|k| k.as_bytes().cmp(value)).map_or(NONE, |at| at as u32);
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
        let values = CategoryValues::Texts(["a", "b", "c", "d"].map(String::from).to_vec());
        let kept = most_frequent(&values, &[3, 1, 3, NONE, 0, 1, 2], 3);
        assert_eq!(kept, CategoryValues::Texts(["a", "b", "d"].map(String::from).to_vec()));
    }
}
