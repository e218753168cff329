//! Columns of many categories as numbers.
//!
//! A category is told by the mean target of its rows, drawn to the mean of all where it has few (Micci-Barreca, SIGKDD
//! Explorations 3, 2001). For training, a row's mean leaves out the fifth of the rows that it belongs to, or the target
//! would leak into its column.

use std::collections::BTreeMap;
use std::ops::Range;

use corten_core::random::bits;
use corten_core::{Column, Error, Result, Text, Values};
use corten_kernels::boost::gradients;
use corten_kernels::sort::{ordered, unordered};
use corten_model::ops::CategoryValues;
use corten_model::texts::Texts;

use super::binning::read;
use super::cuts::{sort, weighted_cuts};

/// The level of a value that is no category.
pub(crate) const NONE: u32 = u32::MAX;
/// Parts of the rows, each left out in turn.
const FOLDS: usize = 5;
/// Most categories of a column.
const MOST_LEVELS: usize = 1 << 24;
/// Rows that are looked at together.
const CHUNK: usize = 1 << 13;
/// Numbers that are sorted together.
const MANY: usize = 1 << 18;
/// Whole numbers that are looked up.
const TABLE: usize = 1 << 16;
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

    /// Of some rows alone, one for each of some targets.
    ///
    /// # Errors
    /// Those of [`Finder`].
    pub(crate) fn of(
        crossed: &Crossed<'_>,
        targets: Range<usize>,
        column: &Column<'_>,
        values: &CategoryValues,
        rows: &[u32],
    ) -> Result<Vec<Self>> {
        let mut told: Vec<Self> = targets.map(|target| Self::new(crossed.seed, target, values.len())).collect();
        Finder::new(column, values, rows.len())?.each(rows, |rows, levels| {
            told.iter_mut().for_each(|told| told.absorb(crossed, levels, rows, 0));
        })?;
        told.iter_mut().for_each(Self::finish);
        Ok(told)
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

    /// Appends the number of each row, for training; NaN where there is no category.
    pub(crate) fn numbers(&self, levels: &[u32], rows: &[u32], from: u32, out: &mut Vec<f64>) {
        let number = |(&level, &row): (&u32, &u32)| {
            if level == NONE { f64::NAN } else { self.whole.mean(level, Some(&self.folds[self.fold(row + from)])) }
        };
        out.extend(levels.iter().zip(rows).map(number));
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
                count_numbers(column, rows, counts)?;
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

/// Counts the numbers of some rows; missing ones are none.
fn count_numbers(column: &Column<'_>, rows: &[u32], counts: &mut BTreeMap<u64, u64>) -> Result<()> {
    // Most categories are small whole numbers; others are sorted some at a time.
    let mut table = vec![0u64; if rows.len() < CHUNK { 0 } else { TABLE }];
    let mut others = Vec::new();
    let mut add = |others: &mut Vec<f64>| {
        sort(others);
        for same in others.chunk_by(|a, b| a == b) {
            // Adding 0 makes -0 and 0 one category.
            *counts.entry(ordered(same[0] + 0.0)).or_default() += same.len() as u64;
        }
        others.clear();
    };
    let mut buffer = vec![0.0; CHUNK];
    for rows in rows.chunks(CHUNK) {
        let values = &mut buffer[..rows.len()];
        read(column, rows, values)?;
        for &mut x in values {
            match table.get_mut(usize::from(x as u16)) {
                Some(count) if f64::from(x as u16) == x => *count += 1,
                _ if x.is_nan() => {}
                _ => others.push(x),
            }
        }
        if others.len() >= MANY {
            add(&mut others);
        }
    }
    add(&mut others);
    for (at, &count) in table.iter().enumerate().filter(|(_, count)| **count > 0) {
        *counts.entry(ordered(at as f64)).or_default() += count;
    }
    Ok(())
}

/// Tells the categories of rows of a column.
pub(crate) struct Finder<'c> {
    column: &'c Column<'c>,
    known: Known<'c>,
}

/// How the category of a value is found among those that are known.
enum Known<'c> {
    /// Small whole numbers, by the numbers themselves.
    Table(Vec<u32>),
    Numbers(&'c [f64]),
    /// Texts that have codes, by these.
    Codes(&'c Text<'c>, &'c [u32], Vec<u32>),
    Texts(&'c Text<'c>, &'c Texts),
}

impl<'c> Finder<'c> {
    /// Of ascending values, for about so many rows.
    ///
    /// # Errors
    /// [`corten_core::Error::Column`] when the column holds text where categories are numbers, or the other way round.
    pub(crate) fn new(column: &'c Column<'c>, values: &'c CategoryValues, rows: usize) -> Result<Self> {
        let known = match values {
            CategoryValues::Numbers(known) if rows >= CHUNK && known.iter().all(|&x| f64::from(x as u16) == x) => {
                let mut table = vec![NONE; TABLE];
                for (level, &x) in known.iter().enumerate() {
                    table[usize::from(x as u16)] = level as u32;
                }
                Known::Table(table)
            }
            CategoryValues::Numbers(known) => Known::Numbers(known),
            CategoryValues::Texts(known) => {
                let text = column.as_text()?;
                match text.dictionary() {
                    Some((codes, values)) => {
                        let find = |value: &[u8]| known.find_sorted(value).map_or(NONE, |at| at as u32);
                        let by_code = (0..values.len()).map(|i| values.get(i).map_or(NONE, find)).collect();
                        Known::Codes(text, codes, by_code)
                    }
                    None => Known::Texts(text, known),
                }
            }
        };
        Ok(Self { column, known })
    }

    /// Calls `take` with rows and their categories, [`CHUNK`] of them at a time; `rows` ascend.
    ///
    /// # Errors
    /// [`corten_core::Error::Column`] for a column of text where categories are numbers.
    pub(crate) fn each(&self, rows: &[u32], mut take: impl FnMut(&[u32], &[u32])) -> Result<()> {
        let mut buffer = vec![0.0; if matches!(self.known, Known::Table(_) | Known::Numbers(_)) { CHUNK } else { 0 }];
        let (mut levels, mut at) = (Vec::with_capacity(CHUNK.min(rows.len())), Vec::new());
        for rows in rows.chunks(CHUNK) {
            levels.clear();
            match &self.known {
                Known::Table(table) => {
                    read(self.column, rows, &mut buffer[..rows.len()])?;
                    let level = |&x: &f64| if f64::from(x as u16) == x { table[usize::from(x as u16)] } else { NONE };
                    levels.extend(buffer[..rows.len()].iter().map(level));
                }
                Known::Numbers(known) => {
                    let numbers = &mut buffer[..rows.len()];
                    read(self.column, rows, numbers)?;
                    let exact = |at: usize, x: f64| if known.get(at) == Some(&x) { at as u32 } else { NONE };
                    if known.len() > 255 {
                        levels.extend(numbers.iter().map(|&x| exact(known.partition_point(|k| *k < x), x)));
                    } else {
                        at.resize(rows.len(), 0);
                        gradients::bins(numbers, known, 0, &mut at);
                        levels.extend(at.iter().zip(&*numbers).map(|(&at, &x)| exact(usize::from(at), x)));
                    }
                }
                Known::Codes(text, codes, by_code) => {
                    let there = |row: usize| text.get(row).map_or(NONE, |_| by_code[codes[row] as usize]);
                    levels.extend(rows.iter().map(|&row| there(row as usize)));
                }
                Known::Texts(text, known) => {
                    let find = |value: &[u8]| known.find_sorted(value).map_or(NONE, |at| at as u32);
                    levels.extend(rows.iter().map(|&row| text.get(row as usize).map_or(NONE, find)));
                }
            }
            take(rows, &levels);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn categories_of_any_numbers_are_counted_and_found() {
        let odd = [0.0, -0.0, -1.0, 0.5, 65_535.0, 65_536.0, 1e300, f64::INFINITY, f64::NEG_INFINITY, f64::NAN, 7.0];
        let draw = |i: u64, among: u64| bits(3, 1, i) % among;
        let kinds: [Box<dyn Fn(u64) -> f64>; 4] = [
            Box::new(|i| odd[draw(i, 11) as usize]),
            Box::new(|i| draw(i, 3000) as f64),
            Box::new(|i| draw(i, 400) as f64 - 0.5),
            Box::new(|i| if draw(i, 2) == 0 { odd[draw(i, 22) as usize / 2] } else { draw(i, 70_000) as f64 }),
        ];
        for (kind, count) in kinds.iter().flat_map(|kind| [(kind, 100), (kind, 3 * CHUNK + 5)]) {
            let values: Vec<f64> = (0..count as u64).map(kind).collect();
            let rows: Vec<u32> = (0..count as u32).filter(|r| r % 3 > 0 || r % 7 == 0).collect();
            let mut want: BTreeMap<u64, u64> = BTreeMap::new();
            let chosen = rows.iter().map(|&r| values[r as usize] + 0.0);
            chosen.clone().filter(|x| !x.is_nan()).for_each(|x| *want.entry(ordered(x)).or_default() += 1);
            let column = Column::f64("x", values.clone());
            let mut census = Census::of(&column);
            census.absorb(&column, &rows).unwrap();
            let (known, counts) = census.finish("x").unwrap();
            let numbers: Vec<f64> = want.keys().map(|&k| unordered(k)).collect();
            assert_eq!(known, CategoryValues::Numbers(numbers.clone()));
            assert_eq!(counts, want.into_values().collect::<Vec<_>>());
            // Some that aren't known any more.
            let numbers: Vec<f64> = numbers.into_iter().filter(|x| *x != 7.0).collect();
            let known = CategoryValues::Numbers(numbers.clone());
            let mut levels = Vec::new();
            Finder::new(&column, &known, rows.len()).unwrap().each(&rows, |_, l| levels.extend_from_slice(l)).unwrap();
            let place = |x: f64| numbers.iter().position(|k| *k == x).map_or(NONE, |at| at as u32);
            let some: Vec<_> = chosen.zip(&levels).step_by(1 + rows.len() / 2000).collect();
            assert!(levels.len() == rows.len() && some.iter().all(|&(x, &level)| level == place(x)));
        }
    }

    #[test]
    fn the_most_frequent_categories_keep_their_order() {
        let values = CategoryValues::Texts(["a", "b", "c", "d"].iter().collect());
        let kept = most_frequent(&values, &[1, 2, 1, 2], 3);
        assert_eq!(kept, CategoryValues::Texts(["a", "b", "d"].iter().collect()));
    }
}
