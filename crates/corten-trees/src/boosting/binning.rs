//! Columns to bins.

use std::collections::BTreeMap;

use corten_core::random::bits;
use corten_core::{Column, Error, Result, Values};
use corten_kernels::boost::gradients;
use corten_kernels::boost::histogram::Tile;
use corten_kernels::boost::{TILE, WIDTH};
use corten_kernels::pages::Pages;
use corten_kernels::team::Team;
use corten_model::ops::CategoryValues;

use super::bundles::{self, Member};
use super::categories::{self, Crossed};
use super::cuts::{cuts, sort};
use crate::source::Source;

/// Most bins of a column, that of missing values left out.
pub(crate) const MOST: usize = WIDTH - 1;
/// Categories up to which a split always chooses among their subsets.
const NATIVE: usize = 32;
/// Rows a category from which it may choose among more: with fewer it would fit noise.
const SUPPORT: usize = 4000;
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
    /// A column of so many categories that they are numbers: their order, or what rows of theirs have as their target.
    Coded(Box<Coded>),
}

/// Categories as numbers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Coded {
    pub(crate) values: CategoryValues,
    /// A number a category.
    pub(crate) codes: Vec<f64>,
    pub(crate) cuts: Vec<f64>,
    /// Which target the numbers are means of; `None` for the order.
    pub(crate) target: Option<usize>,
}

impl Bins {
    /// Number of bins, that of missing values left out; it is also the bin of missing and unseen values.
    pub(crate) fn count(&self) -> usize {
        match self {
            Self::Number { cuts } => cuts.len() + 1,
            Self::Category { values } => values.len(),
            Self::Coded(coded) => coded.cuts.len() + 1,
        }
    }

    /// The cuts between bins of numbers.
    pub(crate) fn cuts(&self) -> Option<&[f64]> {
        match self {
            Self::Number { cuts } => Some(cuts),
            Self::Coded(coded) => Some(&coded.cuts),
            Self::Category { .. } => None,
        }
    }
}

/// How columns become features.
#[derive(Clone, Debug)]
pub(crate) struct Features {
    /// One a column, then those that columns of many categories have besides.
    pub(crate) bins: Vec<Bins>,
    /// The column of each.
    pub(crate) sources: Vec<usize>,
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
    /// The column of each feature.
    pub(crate) sources: Vec<usize>,
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
    pub(crate) fn new(features: Features, columns: Columns, team: Team<'_>) -> Self {
        let Features { bins: features, sources } = features;
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
        Self { rows, features, sources, members, groups: columns, tiles, places, by_tile, widths, sizes }
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

/// Finds how columns become bins, from some rows in ascending order; `crossed` is what categories are told by.
///
/// # Errors
/// [`Error::Column`] for a column of a type that isn't taken.
pub(crate) fn find(
    source: &Source<'_>,
    categorical: &[bool],
    max_bins: usize,
    train: &[u32],
    crossed: &Crossed<'_>,
    team: Team<'_>,
) -> Result<Features> {
    let sample = sample(train, crossed.seed);
    let mut made: Vec<Option<Result<Vec<Bins>>>> = (0..source.width()).map(|_| None).collect();
    team.each(&mut made, |i, out| {
        let column = &source.column(i);
        *out = Some(bins_of(column, categorical[i], max_bins, &sample, train).and_then(|bins| match bins {
            Bins::Category { values } => category(column, values, max_bins, train, crossed),
            bins => Ok(vec![bins]),
        }));
    });
    let mut features = Features { bins: Vec::new(), sources: (0..source.width()).collect() };
    let mut more = Vec::new();
    for (column, bins) in made.into_iter().flatten().enumerate() {
        let mut bins = bins?.into_iter();
        features.bins.extend(bins.next());
        more.extend(bins.map(|b| (column, b)));
    }
    for (column, bins) in more {
        features.sources.push(column);
        features.bins.push(bins);
    }
    Ok(features)
}

/// The bins of some rows (in ascending order), feature after feature.
///
/// Training rows are given `crossed`: a row's own target then has no part in what its categories are told by.
///
/// # Errors
/// [`Error::Column`] for a column of a type that isn't taken.
pub(crate) fn encode(
    source: &Source<'_>,
    total: usize,
    features: &Features,
    rows: &[u32],
    crossed: Option<&Crossed<'_>>,
    team: Team<'_>,
) -> Result<Columns> {
    let columns: &[Column<'_>] = if let Source::Table(columns) = source { columns } else { &[] };
    let all = rows.len() == total;
    let mut bins = Pages::zeroed(features.bins.len() * rows.len());
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
                let Bins::Number { cuts } = &features.bins[i] else { continue };
                if columns.is_empty() {
                    continue;
                }
                let values = &mut buffer[..chunk.len()];
                *outcome = read(&columns[features.sources[i]], chunk, all, values);
                if outcome.is_err() {
                    break;
                }
                gradients::bins(values, cuts, features.bins[i].count() as u8, &mut part[from..from + chunk.len()]);
            }
            from += chunk.len();
        }
    });
    blocks.into_iter().try_for_each(|b| b.1)?;
    let mut rest: Vec<(usize, &mut [u8], Result<()>)> = bins
        .chunks_mut(rows.len().max(1))
        .enumerate()
        .filter(|(i, _)| columns.is_empty() || !matches!(features.bins[*i], Bins::Number { .. }))
        .map(|(i, o)| (i, o, Ok(())))
        .collect();
    team.each(&mut rest, |_, (i, out, outcome)| {
        *outcome = code(&source.column(features.sources[*i]), &features.bins[*i], rows, crossed, out);
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
        return text_categories(column, train);
    }
    if categorical {
        return Ok(number_categories(&column.to_f64()?, train));
    }
    let mut values = vec![0.0; sample.len()];
    for (rows, out) in sample.chunks(READ).zip(values.chunks_mut(READ)) {
        read(column, rows, false, out)?;
    }
    values.retain(|x| !x.is_nan());
    sort(&mut values);
    Ok(Bins::Number { cuts: cuts(&values, max_bins) })
}

fn text_categories(column: &Column<'_>, train: &[u32]) -> Result<Bins> {
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
    let values = counts
        .into_keys()
        .map(|v| String::from_utf8(v.to_vec()).map_err(|_| Error::column(&column.name, "holds text that is no UTF-8")))
        .collect::<Result<Vec<_>>>()?;
    Ok(Bins::Category { values: CategoryValues::Texts(values) })
}

fn number_categories(values: &[f64], train: &[u32]) -> Bins {
    // Adding 0 makes -0 and 0 one category.
    let mut numbers: Vec<f64> = train.iter().map(|&r| values[r as usize] + 0.0).filter(|x| !x.is_nan()).collect();
    sort(&mut numbers);
    numbers.dedup();
    Bins::Category { values: CategoryValues::Numbers(numbers) }
}

/// Codes a column of categories at some rows.
fn code(column: &Column<'_>, bins: &Bins, rows: &[u32], crossed: Option<&Crossed<'_>>, out: &mut [u8]) -> Result<()> {
    let missing = bins.count() as u8;
    match bins {
        Bins::Number { cuts } => {
            let whole = column.to_f64()?;
            let numbers: Vec<f64> = rows.iter().map(|&r| whole[r as usize]).collect();
            gradients::bins(&numbers, cuts, missing, out);
            Ok(())
        }
        Bins::Category { values } => {
            for (o, level) in out.iter_mut().zip(categories::levels(column, values, rows)?) {
                *o = if level == categories::NONE { missing } else { level as u8 };
            }
            Ok(())
        }
        Bins::Coded(coded) => {
            let levels = categories::levels(column, &coded.values, rows)?;
            let numbers = match (coded.target, crossed) {
                (Some(target), Some(crossed)) => crossed.numbers(target, coded.values.len(), &levels, rows),
                _ => levels.iter().map(|&l| coded.codes.get(l as usize).copied().unwrap_or(f64::NAN)).collect(),
            };
            gradients::bins(&numbers, &coded.cuts, missing, out);
            Ok(())
        }
    }
}

/// A column of categories: as they are where they are few or have many rows each, the most frequent ones then; else, or
/// where some are left out, by their order and by what rows of theirs have.
fn category(
    column: &Column<'_>,
    values: CategoryValues,
    max_bins: usize,
    train: &[u32],
    crossed: &Crossed<'_>,
) -> Result<Vec<Bins>> {
    let count = values.len();
    let native = count <= NATIVE.min(max_bins) || train.len() / count.clamp(1, max_bins) >= SUPPORT;
    if native && count <= max_bins {
        return Ok(vec![Bins::Category { values }]);
    }
    let levels = categories::levels(column, &values, train)?;
    let mut out = Vec::new();
    if native {
        out.push(Bins::Category { values: categories::most_frequent(&values, &levels, max_bins) });
    }
    let order: Vec<f64> = (0..values.len()).map(|i| i as f64).collect();
    let found = |mut numbers: Vec<f64>| {
        numbers.retain(|x| !x.is_nan());
        sort(&mut numbers);
        cuts(&numbers, max_bins)
    };
    let number = |&l: &u32| if l == categories::NONE { f64::NAN } else { f64::from(l) };
    let by_order = found(levels.iter().map(number).collect());
    out.push(Bins::Coded(Box::new(Coded { values: values.clone(), codes: order, cuts: by_order, target: None })));
    for target in 0..crossed.targets.len() {
        let cuts = found(crossed.numbers(target, values.len(), &levels, train));
        let codes = crossed.codes(target, values.len(), &levels, train);
        out.push(Bins::Coded(Box::new(Coded { values: values.clone(), codes, cuts, target: Some(target) })));
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use corten_core::Data;

    #[test]
    fn a_bin_holds_what_its_threshold_says() {
        let values = vec![3.0, f64::NAN, 1.0, 2.0, 2.5, -0.0];
        let column = Column::f64("a", values.clone());
        let data = Data::Table(corten_core::Table::matrix(vec![column]).unwrap());
        let rows: Vec<u32> = (0..6).collect();
        let crossed = Crossed { targets: Vec::new(), weights: None, seed: 0 };
        let features = find(&Source::new(&data).unwrap(), &[false], 255, &rows, &crossed, Team::alone()).unwrap();
        let coded = encode(&Source::new(&data).unwrap(), data.rows(), &features, &rows, None, Team::alone())
            .unwrap()
            .get(0)
            .to_vec();
        let Bins::Number { cuts } = &features.bins[0] else { panic!("numbers") };
        for (&x, &b) in values.iter().zip(&coded) {
            if x.is_nan() {
                assert_eq!(usize::from(b), features.bins[0].count());
            } else {
                for (i, &c) in cuts.iter().enumerate() {
                    assert_eq!(x <= c, usize::from(b) <= i);
                }
            }
        }
        // Some rows alone have the bins that they have among all.
        let some = encode(&Source::new(&data).unwrap(), data.rows(), &features, &[0, 4], None, Team::alone())
            .unwrap()
            .get(0)
            .to_vec();
        assert_eq!(some, [coded[0], coded[4]]);
    }

    #[test]
    fn many_categories_become_numbers_that_hide_a_rows_own_target() {
        // Each category has two rows, and the target is noise: only a leak could tell it.
        let names: Vec<String> = (0..600).map(|i| format!("c{:03}", i / 2)).collect();
        let text = corten_core::Text::from_options(names.iter().map(|n| Some(n.as_str())));
        let column = Column::text("t", text);
        let y: Vec<f64> = (0..600).map(|i| (bits(9, 9, i) & 1) as f64).collect();
        let data = Data::Table(corten_core::Table::named(vec![column]).unwrap());
        let rows: Vec<u32> = (0..600).collect();
        let crossed = Crossed { targets: vec![y.clone()], weights: None, seed: 0 };
        let features = find(&Source::new(&data).unwrap(), &[true], 255, &rows, &crossed, Team::alone()).unwrap();
        assert_eq!(features.sources, [0, 0]);
        let [Bins::Coded(order), Bins::Coded(means)] = &features.bins[..] else { panic!("numbers") };
        assert!(order.target.is_none() && order.values.len() == 300);
        // What new rows are told by: the mean of both rows, drawn to the mean of all.
        let mean = y.iter().sum::<f64>() / 600.0;
        let want = (y[0] + y[1] + categories::PRIOR * mean) / (2.0 + categories::PRIOR);
        assert!((means.codes[0] - want).abs() < 1e-12);
        let levels = categories::levels(&data.table().unwrap().columns()[0], &means.values, &rows).unwrap();
        assert_eq!(levels[..4], [0, 0, 1, 1]);
        let numbers = crossed.numbers(0, 300, &levels, &rows);
        let together: f64 = (0..600).map(|i| (numbers[i] - mean) * (y[i] - mean)).sum();
        assert!(together <= 0.0, "{together}");
        let coded =
            encode(&Source::new(&data).unwrap(), data.rows(), &features, &rows, Some(&crossed), Team::alone()).unwrap();
        assert!(coded.get(1).iter().all(|&b| usize::from(b) < features.bins[1].count()));
    }
}
