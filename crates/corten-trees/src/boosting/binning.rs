//! Columns to bins.

use std::collections::BTreeMap;

use corten_core::random::Stream;
use corten_core::{Column, Data, Error, Result, Values};
use corten_kernels::parallel;
use corten_model::ops::CategoryValues;

/// The bin of missing and unseen values, in every column.
pub(crate) const MISSING: u8 = 255;
/// Columns whose bins lie side by side, row by row: their histograms fit the first-level cache together.
pub(crate) const TILE: usize = 4;
/// Rows that cuts are found from.
const SAMPLE: usize = 200_000;
/// Rows that a thread bins at a time.
const BLOCK: usize = 16_384;

/// How a column becomes bins.
#[derive(Clone, Debug)]
pub(crate) enum Bins {
    /// Bin `i` holds the values above `cuts[i - 1]` up to `cuts[i]`.
    Number { cuts: Vec<f64> },
    /// Bin `i` is category `i`.
    Category { values: CategoryValues },
}

impl Bins {
    /// Number of bins, that of missing values left out.
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Number { cuts } => cuts.len() + 1,
            Self::Category { values } => values.len(),
        }
    }
}

/// All columns as bins.
pub(crate) struct Binned {
    pub(crate) rows: usize,
    pub(crate) features: Vec<Bins>,
    /// Tile after tile, each row after row: `TILE` bins.
    tiles: Vec<Vec<[u8; TILE]>>,
}

impl Binned {
    /// The tiles.
    pub(crate) fn tiles(&self) -> &[Vec<[u8; TILE]>] {
        &self.tiles
    }

    /// The bin of a value.
    #[inline]
    pub(crate) fn bin(&self, feature: usize, row: usize) -> u8 {
        self.tiles[feature / TILE][row][feature % TILE]
    }
}

/// Bins all columns: cuts are found from `train`'s rows.
///
/// # Errors
/// [`Error::Column`] for a column of a type that isn't taken.
pub(crate) fn bin(
    data: &Data<'_>,
    categorical: &[bool],
    max_bins: usize,
    train: &[u32],
    seed: u64,
    threads: usize,
) -> Result<Binned> {
    let table = data.table()?;
    let rows = table.rows();
    let sample = sample(train, seed);
    let columns = table.columns();
    let made = parallel::map_blocks(threads, columns.len(), 1, |i, _| {
        let bins = bins_of(&columns[i], categorical[i], max_bins, &sample, train)?;
        let coded = code(&columns[i], &bins, rows)?;
        Ok((bins, coded))
    });
    let made = made.into_iter().collect::<Result<Vec<_>>>()?;
    let (features, coded): (Vec<Bins>, Vec<Vec<u8>>) = made.into_iter().unzip();
    let tiles = coded
        .chunks(TILE)
        .map(|group| {
            let blocks = parallel::map_blocks(threads, rows, BLOCK, |_, range| {
                let mut tile = vec![[0u8; TILE]; range.len()];
                for (j, column) in group.iter().enumerate() {
                    for (t, &b) in tile.iter_mut().zip(&column[range.clone()]) {
                        t[j] = b;
                    }
                }
                tile
            });
            blocks.concat()
        })
        .collect();
    Ok(Binned { rows, features, tiles })
}

/// Up to [`SAMPLE`] of the rows, the same for any thread count.
fn sample(train: &[u32], seed: u64) -> Vec<u32> {
    if train.len() <= SAMPLE {
        return train.to_vec();
    }
    let mut stream = Stream::new(seed, 0x62696e);
    let mut rows = train.to_vec();
    for i in 0..SAMPLE {
        let j = i + stream.below((rows.len() - i) as u64) as usize;
        rows.swap(i, j);
    }
    rows.truncate(SAMPLE);
    rows
}

fn bins_of(column: &Column<'_>, categorical: bool, max_bins: usize, sample: &[u32], train: &[u32]) -> Result<Bins> {
    if matches!(column.values, Values::Text(_)) {
        if !categorical {
            return Err(Error::column(
                &column.name,
                "holds text where numbers are needed; categorical_features='from_dtype' takes text as categories",
            ));
        }
        return text_categories(column, max_bins, train);
    }
    let values = column.to_f64()?;
    if categorical {
        return Ok(number_categories(&values, max_bins, train));
    }
    let mut sorted: Vec<f64> = sample.iter().map(|&r| values[r as usize]).filter(|x| !x.is_nan()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    Ok(Bins::Number { cuts: cuts(&sorted, max_bins) })
}

/// Midpoints between distinct values: all of them where they are few, else those that share the rows evenly.
fn cuts(sorted: &[f64], max_bins: usize) -> Vec<f64> {
    let mut distinct = sorted.to_vec();
    distinct.dedup_by(|a, b| a == b);
    let middle = |a: f64, b: f64| {
        let m = a + (b - a) / 2.0;
        // The sum of huge or infinite values leaves the range between them.
        if m.is_finite() && m < b { m } else { a.clamp(f64::MIN, f64::MAX) }
    };
    if distinct.len() <= max_bins {
        return distinct.windows(2).map(|w| middle(w[0], w[1])).collect();
    }
    greedy(sorted, &distinct, max_bins).into_iter().map(|i| middle(distinct[i], distinct[i + 1])).collect()
}

/// Where to cut many distinct values, as positions in `distinct`: values with the rows of a whole bin get bins of their
/// own, and the others share the bins that are left evenly. So a column with many ties keeps bins for its tails (the
/// rule of LightGBM's `GreedyFindBin`).
fn greedy(sorted: &[f64], distinct: &[f64], max_bins: usize) -> Vec<usize> {
    let mut counts = vec![0usize; distinct.len()];
    let mut at = 0;
    for &x in sorted {
        at += usize::from(x != distinct[at]);
        counts[at] += 1;
    }
    let even = sorted.len() as f64 / max_bins as f64;
    let big: Vec<bool> = counts.iter().map(|&c| c as f64 >= even).collect();
    let mut rest: usize = counts.iter().zip(&big).filter(|(_, b)| !**b).map(|(c, _)| c).sum();
    let mut bins = max_bins.saturating_sub(big.iter().filter(|b| **b).count());
    let share = |rest: usize, bins: usize| rest as f64 / bins.max(1) as f64;
    let mut mean = share(rest, bins);
    let (mut cuts, mut current) = (Vec::new(), 0usize);
    for i in 0..distinct.len() - 1 {
        if !big[i] {
            rest -= counts[i];
        }
        current += counts[i];
        let full = big[i] || current as f64 >= mean || (big[i + 1] && current as f64 >= (mean * 0.5).max(1.0));
        if full {
            cuts.push(i);
            if cuts.len() + 1 >= max_bins {
                break;
            }
            current = 0;
            if !big[i] {
                bins = bins.saturating_sub(1);
                mean = share(rest, bins);
            }
        }
    }
    cuts
}

/// The most frequent categories, in ascending order; ties go to the lower one.
fn frequent<K: Ord + Clone>(counts: BTreeMap<K, u64>, most: usize) -> Vec<K> {
    if counts.len() <= most {
        return counts.into_keys().collect();
    }
    let mut all: Vec<(K, u64)> = counts.into_iter().collect();
    all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    all.truncate(most);
    let mut kept: Vec<K> = all.into_iter().map(|a| a.0).collect();
    kept.sort();
    kept
}

fn text_categories(column: &Column<'_>, max_bins: usize, train: &[u32]) -> Result<Bins> {
    let text = column.as_text()?;
    let mut counts: BTreeMap<&[u8], u64> = BTreeMap::new();
    match text.dictionary() {
        Some((codes, values)) => {
            let mut by_code = vec![0u64; values.len() + 1];
            for &row in train {
                let code = if text.get(row as usize).is_some() { codes[row as usize] as usize } else { values.len() };
                by_code[code] += 1;
            }
            for (i, &count) in by_code[..values.len()].iter().enumerate().filter(|(_, c)| **c > 0) {
                if let Some(value) = values.get(i) {
                    *counts.entry(value).or_default() += count;
                }
            }
        }
        None => {
            for value in train.iter().filter_map(|&r| text.get(r as usize)) {
                *counts.entry(value).or_default() += 1;
            }
        }
    }
    let kept = frequent(counts, max_bins);
    let values = kept
        .into_iter()
        .map(|v| String::from_utf8(v.to_vec()).map_err(|_| Error::column(&column.name, "holds text that is no UTF-8")))
        .collect::<Result<Vec<_>>>()?;
    Ok(Bins::Category { values: CategoryValues::Texts(values) })
}

fn number_categories(values: &[f64], max_bins: usize, train: &[u32]) -> Bins {
    // Adding 0 makes -0 and 0 one category; the bits are ordered as the numbers are.
    let key = |x: f64| {
        let bits = (x + 0.0).to_bits() as i64;
        if bits < 0 { !bits } else { bits ^ i64::MIN }
    };
    let mut counts: BTreeMap<u64, (f64, u64)> = BTreeMap::new();
    for x in train.iter().map(|&r| values[r as usize]).filter(|x| !x.is_nan()) {
        counts.entry(key(x) as u64).or_insert((x + 0.0, 0)).1 += 1;
    }
    let found: BTreeMap<u64, f64> = counts.iter().map(|(k, v)| (*k, v.0)).collect();
    let kept = frequent(counts.into_iter().map(|(k, v)| (k, v.1)).collect(), max_bins);
    let mut numbers: Vec<f64> = kept.iter().map(|k| found[k]).collect();
    numbers.sort_unstable_by(f64::total_cmp);
    Bins::Category { values: CategoryValues::Numbers(numbers) }
}

/// The bins of a whole column.
fn code(column: &Column<'_>, bins: &Bins, rows: usize) -> Result<Vec<u8>> {
    let mut out = vec![MISSING; rows];
    match bins {
        Bins::Number { cuts } => {
            let values = column.to_f64()?;
            for (o, &x) in out.iter_mut().zip(values.iter()) {
                if !x.is_nan() {
                    *o = cuts.partition_point(|c| *c < x) as u8;
                }
            }
        }
        Bins::Category { values: CategoryValues::Numbers(known) } => {
            let values = column.to_f64()?;
            for (o, &x) in out.iter_mut().zip(values.iter()) {
                let at = known.partition_point(|k| *k < x);
                if known.get(at) == Some(&x) {
                    *o = at as u8;
                }
            }
        }
        Bins::Category { values: CategoryValues::Texts(known) } => {
            let text = column.as_text()?;
            let find =
                |value: &[u8]| known.binary_search_by(|k| k.as_bytes().cmp(value)).map_or(MISSING, |at| at as u8);
            match text.dictionary() {
                Some((codes, values)) => {
                    let by_code: Vec<u8> = (0..values.len()).map(|i| values.get(i).map_or(MISSING, find)).collect();
                    for (row, (o, &code)) in out.iter_mut().zip(codes).enumerate() {
                        if text.get(row).is_some() {
                            *o = by_code[code as usize];
                        }
                    }
                }
                None => {
                    for (row, o) in out.iter_mut().enumerate() {
                        *o = text.get(row).map_or(MISSING, find);
                    }
                }
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_values_are_cut_at_midpoints_and_many_at_quantiles() {
        assert_eq!(cuts(&[1.0, 1.0, 2.0, 4.0], 255), [1.5, 3.0]);
        assert_eq!(cuts(&[f64::NEG_INFINITY, 0.0, f64::INFINITY], 255), [f64::MIN, 0.0]);
        let many: Vec<f64> = (0..10_000).map(f64::from).collect();
        let c = cuts(&many, 10);
        assert_eq!(c.len(), 9);
        assert!((c[0] - 999.5).abs() < 1.0 && c.windows(2).all(|w| w[0] < w[1]));
        // Nine tenths of the rows are ties; the tail keeps its bins.
        let mut ties = vec![0.0; 9000];
        ties.extend((1..=1000).map(f64::from));
        assert_eq!(cuts(&ties, 11).len(), 10);
    }

    #[test]
    fn a_bin_holds_what_its_threshold_says() {
        let values = vec![3.0, f64::NAN, 1.0, 2.0, 2.5, -0.0];
        let column = Column::f64("a", values.clone());
        let rows: Vec<u32> = (0..6).collect();
        let bins = bins_of(&column, false, 255, &rows, &rows).unwrap();
        let coded = code(&column, &bins, 6).unwrap();
        let Bins::Number { cuts } = &bins else { panic!("numbers") };
        for (&x, &b) in values.iter().zip(&coded) {
            if x.is_nan() {
                assert_eq!(b, MISSING);
            } else {
                for (i, &c) in cuts.iter().enumerate() {
                    assert_eq!(x <= c, usize::from(b) <= i);
                }
            }
        }
    }

    #[test]
    fn rare_categories_share_the_bin_of_unseen_ones() {
        let text = corten_core::Text::from_options(["a", "b", "b", "c", "c", "d"].map(Some));
        let column = Column::text("t", text);
        let rows: Vec<u32> = (0..6).collect();
        let bins = bins_of(&column, true, 2, &rows, &rows).unwrap();
        assert_eq!(code(&column, &bins, 6).unwrap(), [MISSING, 0, 0, 1, 1, MISSING]);
    }
}
