//! Columns to bins.

use corten_core::random::bits;
use corten_core::{Column, Error, Result, Values};
use corten_kernels::boost::WIDTH;
use corten_kernels::boost::gradients;
use corten_kernels::pages::Pages;
use corten_kernels::team::Team;
use corten_model::ops::CategoryValues;
use serde::{Deserialize, Serialize};

use super::categories::{self, Census, Crossed, Finder, Told};
use super::cuts::{cuts, sort, weighted_cuts};
use super::layout::Columns;
use crate::source::Source;

/// Most bins of a feature, that of missing values left out.
pub(crate) const MOST: usize = WIDTH - 1;
/// Most bins of a column of numbers: beyond [`MOST`] it becomes several features.
pub(crate) const MOST_OF_NUMBERS: usize = 65_535;
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Bins {
    /// Bin `i` holds the values above `cuts[i - 1]` up to `cuts[i]`.
    Number { cuts: Vec<f64> },
    /// Bin `i` is category `i`.
    Category { values: CategoryValues },
    /// A column of so many categories that they are numbers: their order, or what rows of theirs have as their target.
    Coded(Box<Coded>),
}

/// Categories as numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Features {
    /// One a column, then those that columns of many categories or of more than [`MOST`] bins have besides.
    pub(crate) bins: Vec<Bins>,
    /// The column of each.
    pub(crate) sources: Vec<usize>,
}

impl Features {
    /// Number of columns.
    pub(crate) fn width(&self) -> usize {
        self.sources.iter().max().map_or(0, |&last| last + 1)
    }

    /// Whether some stand for categories by the targets of their training rows.
    pub(crate) fn tell_targets(&self) -> bool {
        self.bins.iter().any(|bins| matches!(bins, Bins::Coded(coded) if coded.target.is_some()))
    }

    /// Which input of a model's trees each feature is: numbers are those of their columns, and what categories are told
    /// by besides comes behind all columns.
    pub(crate) fn places(&self) -> Vec<u32> {
        let mut more = self.width() as u32;
        let place = |(i, (bins, &source)): (usize, (&Bins, &usize))| {
            if matches!(bins, Bins::Number { .. }) || i == source {
                return source as u32;
            }
            more += 1;
            more - 1
        };
        self.bins.iter().zip(&self.sources).enumerate().map(place).collect()
    }
}

/// Finds how columns become bins, from some rows in ascending order; `crossed` is what categories are told by. Beside
/// each feature that stands for categories by their targets, what its training rows are told by.
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
) -> Result<(Features, Vec<Option<Told>>)> {
    let sample = sample(train, crossed.seed);
    let mut made: Vec<Option<Result<Vec<Feature>>>> = (0..source.width()).map(|_| None).collect();
    team.each(&mut made, |i, out| {
        let column = &source.column(i);
        *out = Some(if is_category(column, categorical[i]) {
            categories_of(column, max_bins, train, crossed)
        } else {
            numbers_of(column, &sample).map(|v| by_number(v, max_bins))
        });
    });
    Ok(gather(made.into_iter().flatten().collect::<Result<_>>()?))
}

/// A feature, and what its training rows are told by.
pub(crate) type Feature = (Bins, Option<Told>);

/// The features of all columns: one a column, then those that columns have besides.
pub(crate) fn gather(made: Vec<Vec<Feature>>) -> (Features, Vec<Option<Told>>) {
    let mut features = Features { bins: Vec::new(), sources: (0..made.len()).collect() };
    let (mut told, mut more) = (Vec::new(), Vec::new());
    for (column, bins) in made.into_iter().enumerate() {
        let mut bins = bins.into_iter();
        if let Some((bins, tells)) = bins.next() {
            features.bins.push(bins);
            told.push(tells);
        }
        more.extend(bins.map(|b| (column, b)));
    }
    for (column, (bins, tells)) in more {
        features.sources.push(column);
        features.bins.push(bins);
        told.push(tells);
    }
    (features, told)
}

/// Whether a column is one of categories, and of a type that can be.
pub(crate) fn is_category(column: &Column<'_>, categorical: bool) -> bool {
    categorical && !matches!(column.values, Values::Unsupported { .. })
}

/// The numbers of a column at some rows.
///
/// # Errors
/// [`Error::Column`] for a column that holds no numbers.
pub(crate) fn numbers_of(column: &Column<'_>, rows: &[u32]) -> Result<Vec<f64>> {
    if matches!(column.values, Values::Text(_)) {
        return Err(Error::column(
            &column.name,
            "holds text where numbers are needed; categorical_features='from_dtype' takes text as categories",
        ));
    }
    let mut values = vec![0.0; rows.len()];
    for (rows, out) in rows.chunks(READ).zip(values.chunks_mut(READ)) {
        read(column, rows, out)?;
    }
    Ok(values)
}

/// A column of numbers, some of which may be missing: the cuts between its bins, shared out among as many features as
/// they need. Each cut is in one of them, so the best split by any of them is the best one by the column.
pub(crate) fn by_number(mut values: Vec<f64>, max_bins: usize) -> Vec<Feature> {
    values.retain(|x| !x.is_nan());
    sort(&mut values);
    let cuts = cuts(&values, max_bins);
    if cuts.len() < MOST {
        return vec![(Bins::Number { cuts }, None)];
    }
    let each = cuts.len().div_ceil(cuts.len().div_ceil(MOST - 1));
    cuts.chunks(each).map(|cuts| (Bins::Number { cuts: cuts.to_vec() }, None)).collect()
}

/// The features of a column of categories.
fn categories_of(column: &Column<'_>, max_bins: usize, train: &[u32], crossed: &Crossed<'_>) -> Result<Vec<Feature>> {
    let mut census = Census::of(column);
    census.absorb(column, train)?;
    let (values, counts) = census.finish(&column.name)?;
    let mut told = Vec::new();
    if are_coded(values.len(), max_bins, train.len()) && crossed.targets > 0 {
        told = Told::of(crossed, 0..crossed.targets, column, &values, train)?;
    }
    Ok(by_category(values, &counts, told, max_bins, train.len()))
}

/// What the rows of another fit are told by, in features that are there already.
///
/// # Errors
/// [`Error::Column`] for a column of another type.
pub(crate) fn told_again(
    source: &Source<'_>,
    features: &Features,
    train: &[u32],
    crossed: &Crossed<'_>,
) -> Result<Vec<Option<Told>>> {
    let again = |(bins, &at): (&Bins, &usize)| {
        let Bins::Coded(coded) = bins else { return Ok(None) };
        let Some(target) = coded.target else { return Ok(None) };
        Ok(Told::of(crossed, target..target + 1, &source.column(at), &coded.values, train)?.pop())
    };
    features.bins.iter().zip(&features.sources).map(again).collect()
}

/// Whether so many categories may be chosen among as they are.
fn are_native(count: usize, max_bins: usize, rows: usize) -> bool {
    let most = max_bins.min(MOST);
    count <= NATIVE.min(most) || rows / count.clamp(1, most) >= SUPPORT
}

/// Whether so many categories become numbers too.
pub(crate) fn are_coded(count: usize, max_bins: usize, rows: usize) -> bool {
    !are_native(count, max_bins, rows) || count > max_bins.min(MOST)
}

/// A column of categories: as they are where they are few or have many rows each, the most frequent ones then; else, or
/// where some are left out, by their order and by what rows of theirs have.
pub(crate) fn by_category(
    values: CategoryValues,
    counts: &[u64],
    told: Vec<Told>,
    max_bins: usize,
    rows: usize,
) -> Vec<Feature> {
    let native = are_native(values.len(), max_bins, rows);
    if !are_coded(values.len(), max_bins, rows) {
        return vec![(Bins::Category { values }, None)];
    }
    let max_bins = max_bins.min(MOST);
    let mut out = Vec::new();
    if native {
        let values = categories::most_frequent(&values, counts, max_bins);
        out.push((Bins::Category { values }, None));
    }
    let codes: Vec<f64> = (0..values.len()).map(|i| i as f64).collect();
    let cuts = weighted_cuts(&codes, counts, max_bins);
    out.push((Bins::Coded(Box::new(Coded { values: values.clone(), codes, cuts, target: None })), None));
    for told in told {
        let (cuts, codes, target) = (told.cuts(max_bins), told.codes(), Some(told.target));
        out.push((Bins::Coded(Box::new(Coded { values: values.clone(), codes, cuts, target })), Some(told)));
    }
    out
}

/// What training rows are told by, a place a feature, and the number that row 0 has among all.
pub(crate) type Telling<'t> = Option<(&'t [Option<Told>], u32)>;

/// The bins of some rows (in ascending order), feature after feature.
///
/// Training rows are given what they are told by: a row's own target then has no part in it.
///
/// # Errors
/// [`Error::Column`] for a column of a type that isn't taken.
pub(crate) fn encode(
    source: &Source<'_>,
    features: &Features,
    rows: &[u32],
    told: Telling<'_>,
    team: Team<'_>,
) -> Result<Columns> {
    let columns: &[Column<'_>] = if let Source::Table(columns) = source { columns } else { &[] };
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
            let mut held = None;
            for (i, part) in parts.iter_mut().enumerate() {
                let Bins::Number { cuts } = &features.bins[i] else { continue };
                if columns.is_empty() {
                    continue;
                }
                let (values, source) = (&mut buffer[..chunk.len()], features.sources[i]);
                if held != Some(source) {
                    *outcome = read(&columns[source], chunk, values);
                    held = Some(source);
                }
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
        let told = told.and_then(|(told, from)| Some((told[*i].as_ref()?, from)));
        *outcome = code(&source.column(features.sources[*i]), &features.bins[*i], rows, told, out);
    });
    rest.into_iter().try_for_each(|r| r.2)?;
    Ok(Columns::new(bins, rows.len()))
}

/// Reads some rows of a column, in ascending order; a run of rows at once.
pub(super) fn read(column: &Column<'_>, rows: &[u32], out: &mut [f64]) -> Result<()> {
    let (Some(&first), Some(&last)) = (rows.first(), rows.last()) else { return Ok(()) };
    let span = (last - first) as usize + 1;
    if span == rows.len() {
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
pub(crate) fn sample(train: &[u32], seed: u64) -> Vec<u32> {
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

/// Codes a column of categories at some rows.
fn code(column: &Column<'_>, bins: &Bins, rows: &[u32], told: Option<(&Told, u32)>, out: &mut [u8]) -> Result<()> {
    let missing = bins.count() as u8;
    match bins {
        Bins::Number { cuts } => {
            let whole = column.to_f64()?;
            let numbers: Vec<f64> = rows.iter().map(|&r| whole[r as usize]).collect();
            gradients::bins(&numbers, cuts, missing, out);
            Ok(())
        }
        Bins::Category { values } => {
            let mut rest = out;
            Finder::new(column, values, rows.len())?.each(rows, |_, levels| {
                for (o, &level) in rest.split_off_mut(..levels.len()).into_iter().flatten().zip(levels) {
                    *o = if level == categories::NONE { missing } else { level as u8 };
                }
            })
        }
        Bins::Coded(coded) => {
            let (mut rest, mut numbers) = (out, Vec::new());
            Finder::new(column, &coded.values, rows.len())?.each(rows, |rows, levels| {
                numbers.clear();
                match told {
                    Some((told, from)) => told.numbers(levels, rows, from, &mut numbers),
                    None => {
                        let number = |&level: &u32| coded.codes.get(level as usize).copied().unwrap_or(f64::NAN);
                        numbers.extend(levels.iter().map(number));
                    }
                }
                let out = rest.split_off_mut(..levels.len()).unwrap_or_default();
                gradients::bins(&numbers, &coded.cuts, missing, out);
            })
        }
    }
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
        let crossed = Crossed { targets: 0, target: &|_, _| 0.0, weights: None, seed: 0 };
        let (features, _) = find(&Source::new(&data).unwrap(), &[false], 255, &rows, &crossed, Team::alone()).unwrap();
        let coded =
            encode(&Source::new(&data).unwrap(), &features, &rows, None, Team::alone()).unwrap().get(0).to_vec();
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
        let some =
            encode(&Source::new(&data).unwrap(), &features, &[0, 4], None, Team::alone()).unwrap().get(0).to_vec();
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
        let crossed = Crossed { targets: 1, target: &|_, row| y[row as usize], weights: None, seed: 0 };
        let (features, told) =
            find(&Source::new(&data).unwrap(), &[true], 255, &rows, &crossed, Team::alone()).unwrap();
        assert_eq!(features.sources, [0, 0]);
        let [Bins::Coded(order), Bins::Coded(means)] = &features.bins[..] else { panic!("numbers") };
        assert!(order.target.is_none() && order.values.len() == 300);
        // What new rows are told by: the mean of both rows, drawn to the mean of all.
        let mean = y.iter().sum::<f64>() / 600.0;
        let want = (y[0] + y[1] + categories::PRIOR * mean) / (2.0 + categories::PRIOR);
        assert!((means.codes[0] - want).abs() < 1e-12);
        let (mut levels, mut numbers) = (Vec::new(), Vec::new());
        let finder = Finder::new(&data.table().unwrap().columns()[0], &means.values, rows.len()).unwrap();
        finder.each(&rows, |_, found| levels.extend_from_slice(found)).unwrap();
        assert_eq!(levels[..4], [0, 0, 1, 1]);
        told[1].as_ref().unwrap().numbers(&levels, &rows, 0, &mut numbers);
        let together: f64 = (0..600).map(|i| (numbers[i] - mean) * (y[i] - mean)).sum();
        assert!(together <= 0.0, "{together}");
        let coded = encode(&Source::new(&data).unwrap(), &features, &rows, Some((&told, 0)), Team::alone()).unwrap();
        assert!(coded.get(1).iter().all(|&b| usize::from(b) < features.bins[1].count()));
    }
}
