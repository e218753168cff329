//! Columns to bins.

use std::collections::BTreeMap;

use corten_core::random::bits;
use corten_core::{Column, Data, Error, Result, Values};
use corten_kernels::boost::gradients;
use corten_kernels::boost::histogram::Tile;
use corten_kernels::boost::{TILE, WIDTH};
use corten_kernels::pages::Pages;
use corten_kernels::team::Team;
use corten_model::ops::CategoryValues;

use super::bundles::{self, Member};

/// Most bins of a column, that of missing values left out.
pub(crate) const MOST: usize = WIDTH - 1;
/// Rows that cuts are found from.
const SAMPLE: usize = 200_000;
/// Rows that a thread bins at a time.
const BLOCK: usize = 8192;
/// Rows of a column that are read at a time: those of all columns stay in the second-level cache.
const READ: usize = 512;

/// How a column becomes bins.
#[derive(Clone, Debug)]
pub(crate) enum Bins {
    /// Bin `i` holds the values above `cuts[i - 1]` up to `cuts[i]`.
    Number { cuts: Vec<f64> },
    /// Bin `i` is category `i`.
    Category { values: CategoryValues },
}

impl Bins {
    /// Number of bins, that of missing values left out; it is also the bin of missing and unseen values.
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Number { cuts } => cuts.len() + 1,
            Self::Category { values } => values.len(),
        }
    }
}

/// Bins, column after column.
pub(crate) struct Columns {
    bins: Pages<u8>,
    rows: usize,
}

impl Columns {
    /// From the bins of all columns, one after the other.
    pub(crate) fn new(bins: Pages<u8>, rows: usize) -> Self {
        Self { bins, rows }
    }

    /// Number of rows.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// One column.
    #[inline]
    pub(crate) fn get(&self, column: usize) -> &[u8] {
        &self.bins[column * self.rows..(column + 1) * self.rows]
    }
}

/// Where the sums of a group of columns lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) tile: usize,
    /// Where its bins start among those of the tile.
    pub(crate) start: usize,
    /// Number of its bins.
    pub(crate) bins: usize,
}

/// The columns of the training rows as bins, several of few bins in one group: row after row in tiles for sums, group
/// after group for parting rows.
pub(crate) struct Binned {
    pub(crate) rows: usize,
    pub(crate) features: Vec<Bins>,
    /// Each column's group and how it lies there.
    pub(crate) members: Vec<(usize, Member)>,
    /// The bytes of groups.
    pub(crate) groups: Columns,
    pub(crate) tiles: Vec<Tile>,
    /// Of each group.
    pub(crate) places: Vec<Place>,
    /// The columns of each tile's groups in ascending order.
    pub(crate) by_tile: Vec<Vec<usize>>,
    /// For each group of each tile where its bins start and how many there are, rounded up to eights.
    pub(crate) widths: Vec<Vec<(usize, usize)>>,
    /// Bins of each tile.
    pub(crate) sizes: Vec<usize>,
}

impl Binned {
    /// Lays encoded columns out.
    pub(crate) fn new(features: Vec<Bins>, columns: Columns, team: Team<'_>) -> Self {
        let rows = columns.rows();
        let (groups, members) = bundles::find(&features, &columns, team);
        let columns = bundles::columns(columns, &groups, &members, team);
        let count = groups.len();
        // Tiles of about equal width.
        let per_tile = count.div_ceil(count.div_ceil(TILE).max(1)).max(1);
        let (mut tiles, mut places, mut widths, mut sizes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut by_tile = Vec::new();
        for (t, part) in groups.chunks(per_tile).enumerate() {
            let first = t * per_tile;
            let parts: Vec<&[u8]> = (first..first + part.len()).map(|c| columns.get(c)).collect();
            tiles.push(tile(&parts, rows, team));
            let (mut start, mut bins) = (0, Vec::new());
            for group in part {
                places.push(Place { tile: t, start, bins: group.bins });
                let width = group.bins.next_multiple_of(8);
                bins.push((start, width));
                start += width;
            }
            let mut of_tile: Vec<usize> = part.iter().flat_map(|g| g.features.iter().copied()).collect();
            of_tile.sort_unstable();
            by_tile.push(of_tile);
            widths.push(bins);
            sizes.push(start);
        }
        Self { rows, features, members, groups: columns, tiles, places, by_tile, widths, sizes }
    }

    /// The bin of a row in a column.
    #[inline]
    pub(crate) fn bin(&self, feature: usize, row: usize) -> u8 {
        let (group, member) = self.members[feature];
        member.bin(self.groups.get(group)[row])
    }
}

/// Columns side by side.
fn tile(columns: &[&[u8]], rows: usize, team: Team<'_>) -> Tile {
    let n = columns.len();
    let mut bins = Pages::zeroed(rows * n);
    let mut blocks: Vec<&mut [u8]> = bins.chunks_mut(BLOCK * n).collect();
    team.each(&mut blocks, |b, block| {
        let from = b * BLOCK;
        for (k, part) in block.chunks_mut(64 * n).enumerate() {
            let start = from + k * 64;
            for (j, column) in columns.iter().enumerate() {
                for (row, &bin) in part.chunks_exact_mut(n).zip(&column[start..]) {
                    row[j] = bin;
                }
            }
        }
    });
    Tile::new(bins, n)
}

/// Finds how columns become bins, from some rows in ascending order.
///
/// # Errors
/// [`Error::Column`] for a column of a type that isn't taken.
pub(crate) fn find(
    data: &Data<'_>,
    categorical: &[bool],
    max_bins: usize,
    train: &[u32],
    seed: u64,
    team: Team<'_>,
) -> Result<Vec<Bins>> {
    let table = data.table()?;
    let sample = sample(train, seed);
    let mut made: Vec<Option<Result<Bins>>> = table.columns().iter().map(|_| None).collect();
    team.each(&mut made, |i, out| {
        *out = Some(bins_of(&table.columns()[i], categorical[i], max_bins, &sample, train));
    });
    made.into_iter().flatten().collect()
}

/// The bins of some rows (in ascending order), column after column.
///
/// # Errors
/// [`Error::Column`] for a column of a type that isn't taken.
pub(crate) fn encode(data: &Data<'_>, features: &[Bins], rows: &[u32], team: Team<'_>) -> Result<Columns> {
    let table = data.table()?;
    let columns = table.columns();
    let all = rows.len() == table.rows();
    let mut bins = Pages::zeroed(features.len() * rows.len());
    let mut blocks: Vec<(Vec<&mut [u8]>, Result<()>)> =
        (0..rows.len().div_ceil(BLOCK)).map(|_| (Vec::with_capacity(columns.len()), Ok(()))).collect();
    for column in bins.chunks_mut(rows.len().max(1)) {
        for (block, part) in blocks.iter_mut().zip(column.chunks_mut(BLOCK)) {
            block.0.push(part);
        }
    }
    team.each(&mut blocks, |b, (parts, outcome)| {
        let mut buffer = vec![0.0; READ];
        let wanted = &rows[b * BLOCK..][..parts.first().map_or(0, |p| p.len())];
        let mut from = 0;
        while from < wanted.len() && outcome.is_ok() {
            let chunk = &wanted[from..(from + READ).min(wanted.len())];
            for (i, part) in parts.iter_mut().enumerate() {
                let Bins::Number { cuts } = &features[i] else { continue };
                let values = &mut buffer[..chunk.len()];
                *outcome = read(&columns[i], chunk, all, values);
                if outcome.is_err() {
                    break;
                }
                gradients::bins(values, cuts, features[i].count() as u8, &mut part[from..from + chunk.len()]);
            }
            from += chunk.len();
        }
    });
    blocks.into_iter().try_for_each(|b| b.1)?;
    let mut rest: Vec<(usize, &mut [u8], Result<()>)> = bins
        .chunks_mut(rows.len().max(1))
        .enumerate()
        .filter(|(i, _)| matches!(features[*i], Bins::Category { .. }))
        .map(|(i, o)| (i, o, Ok(())))
        .collect();
    team.each(&mut rest, |_, (i, out, outcome)| match code(&columns[*i], &features[*i], table.rows()) {
        Ok(coded) => {
            for (o, &r) in out.iter_mut().zip(rows) {
                *o = coded[r as usize];
            }
        }
        Err(error) => *outcome = Err(error),
    });
    rest.into_iter().try_for_each(|r| r.2)?;
    Ok(Columns { bins, rows: rows.len() })
}

/// Reads some rows of a column; a run of rows at once.
fn read(column: &Column<'_>, rows: &[u32], all: bool, out: &mut [f64]) -> Result<()> {
    let (Some(&first), Some(&last)) = (rows.first(), rows.last()) else { return Ok(()) };
    let span = (last - first) as usize + 1;
    if all || span == rows.len() {
        return column.read_f64(first as usize, out);
    }
    if span <= 8 * rows.len() {
        let mut whole = vec![0.0; span];
        column.read_f64(first as usize, &mut whole)?;
        for (o, &r) in out.iter_mut().zip(rows) {
            *o = whole[(r - first) as usize];
        }
        return Ok(());
    }
    for (o, &r) in out.iter_mut().zip(rows) {
        column.read_f64(r as usize, std::slice::from_mut(o))?;
    }
    Ok(())
}

/// Up to [`SAMPLE`] of the rows: one of each of as many runs of equal length.
fn sample(train: &[u32], seed: u64) -> Vec<u32> {
    if train.len() <= SAMPLE {
        return train.to_vec();
    }
    let n = train.len() as u64;
    let start = |k: u64| k * n / SAMPLE as u64;
    (0..SAMPLE as u64)
        .map(|k| {
            let (from, to) = (start(k), start(k + 1));
            train[(from + bits(seed, 0x62696e, k) % (to - from)) as usize]
        })
        .collect()
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
    if categorical {
        return Ok(number_categories(&column.to_f64()?, max_bins, train));
    }
    let mut values = vec![0.0; sample.len()];
    for (rows, out) in sample.chunks(READ).zip(values.chunks_mut(READ)) {
        read(column, rows, false, out)?;
    }
    values.retain(|x| !x.is_nan());
    sort(&mut values);
    Ok(Bins::Number { cuts: cuts(&values, max_bins) })
}

/// Sorts numbers, none of them NaN.
fn sort(values: &mut [f64]) {
    const DIGIT: u32 = 11;
    const DIGITS: usize = 6;
    if values.len() < 4096 {
        values.sort_unstable_by(f64::total_cmp);
        return;
    }
    // Bits in the order of the numbers, sorted digit by digit, the lowest first.
    let key = |x: f64| {
        let bits = x.to_bits();
        bits ^ (((bits as i64 >> 63) as u64) | 1 << 63)
    };
    let back = |k: u64| f64::from_bits(k ^ (((!k as i64 >> 63) as u64) | 1 << 63));
    let digit = |k: u64, d: usize| (k >> (d as u32 * DIGIT)) as usize & ((1 << DIGIT) - 1);
    let mut keys: Vec<u64> = values.iter().map(|&x| key(x)).collect();
    let mut counts = vec![[0u32; 1 << DIGIT]; DIGITS];
    for &k in &keys {
        for (d, counts) in counts.iter_mut().enumerate() {
            counts[digit(k, d)] += 1;
        }
    }
    let mut other = vec![0u64; keys.len()];
    for (d, counts) in counts.iter_mut().enumerate() {
        if counts.iter().any(|&c| c as usize == keys.len()) {
            continue;
        }
        let mut start = 0;
        for c in counts.iter_mut() {
            start += std::mem::replace(c, start);
        }
        for &k in &keys {
            let at = &mut counts[digit(k, d)];
            other[*at as usize] = k;
            *at += 1;
        }
        std::mem::swap(&mut keys, &mut other);
    }
    for (x, k) in values.iter_mut().zip(keys) {
        *x = back(k);
    }
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

/// The bins of a column of categories.
fn code(column: &Column<'_>, bins: &Bins, rows: usize) -> Result<Vec<u8>> {
    let missing = bins.count() as u8;
    let mut out = vec![missing; rows];
    match bins {
        Bins::Number { .. } => return Err(Error::Internal("numbers are binned elsewhere".into())),
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
                |value: &[u8]| known.binary_search_by(|k| k.as_bytes().cmp(value)).map_or(missing, |at| at as u8);
            match text.dictionary() {
                Some((codes, values)) => {
                    let by_code: Vec<u8> = (0..values.len()).map(|i| values.get(i).map_or(missing, find)).collect();
                    for (row, (o, &code)) in out.iter_mut().zip(codes).enumerate() {
                        if text.get(row).is_some() {
                            *o = by_code[code as usize];
                        }
                    }
                }
                None => {
                    for (row, o) in out.iter_mut().enumerate() {
                        *o = text.get(row).map_or(missing, find);
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
    fn numbers_are_sorted_whatever_their_sign_and_size() {
        let mut values: Vec<f64> =
            (0..9000u64).map(|i| f64::from_bits(bits(1, 2, i))).filter(|x| !x.is_nan()).collect();
        values.extend([f64::INFINITY, f64::NEG_INFINITY, 0.0, -0.0, 1.0, 1.0]);
        let mut want = values.clone();
        want.sort_by(f64::total_cmp);
        sort(&mut values);
        assert!(values.iter().zip(&want).all(|(a, b)| a.to_bits() == b.to_bits()));
    }

    #[test]
    fn a_bin_holds_what_its_threshold_says() {
        let values = vec![3.0, f64::NAN, 1.0, 2.0, 2.5, -0.0];
        let column = Column::f64("a", values.clone());
        let data = Data::Table(corten_core::Table::matrix(vec![column]).unwrap());
        let rows: Vec<u32> = (0..6).collect();
        let features = find(&data, &[false], 255, &rows, 0, Team::alone()).unwrap();
        let coded = encode(&data, &features, &rows, Team::alone()).unwrap().get(0).to_vec();
        let Bins::Number { cuts } = &features[0] else { panic!("numbers") };
        for (&x, &b) in values.iter().zip(&coded) {
            if x.is_nan() {
                assert_eq!(usize::from(b), features[0].count());
            } else {
                for (i, &c) in cuts.iter().enumerate() {
                    assert_eq!(x <= c, usize::from(b) <= i);
                }
            }
        }
        // Some rows alone have the bins that they have among all.
        let some = encode(&data, &features, &[0, 4], Team::alone()).unwrap().get(0).to_vec();
        assert_eq!(some, [coded[0], coded[4]]);
    }

    #[test]
    fn rare_categories_share_the_bin_of_unseen_ones() {
        let text = corten_core::Text::from_options(["a", "b", "b", "c", "c", "d"].map(Some));
        let column = Column::text("t", text);
        let rows: Vec<u32> = (0..6).collect();
        let bins = bins_of(&column, true, 2, &rows, &rows).unwrap();
        assert_eq!(code(&column, &bins, 6).unwrap(), [2, 0, 0, 1, 1, 2]);
    }
}
