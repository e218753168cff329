//! Columns as fits read them, and the checks that every fit makes first.

use std::borrow::Cow;

use corten_core::{Column, Csr, Data, Error, Result};
use corten_kernels::parallel;
use corten_model::estimator::Context;
use rayon::prelude::*;

/// The columns of a table or of a sparse matrix as numbers.
pub(crate) enum Columns<'a> {
    /// One slice a column, NaN where a value is missing.
    Dense { rows: usize, columns: Vec<Cow<'a, [f64]>> },
    /// Compressed columns.
    Sparse(Csc),
}

/// One column: the values that are stored, and how many zeros are not.
pub(crate) struct View<'a> {
    /// Stored values.
    pub values: &'a [f64],
    /// Row of each stored value; all rows in order when `None`.
    pub rows: Option<&'a [u32]>,
    /// Number of rows that hold a zero which is not stored.
    pub zeros: usize,
}

/// Compressed sparse columns; repeated entries are added up.
pub(crate) struct Csc {
    height: usize,
    starts: Vec<usize>,
    rows: Vec<u32>,
    values: Vec<f64>,
}

impl Csc {
    fn of(matrix: &Csr<'_>) -> Result<Self> {
        let height = matrix.rows();
        if u32::try_from(height).is_err() {
            return Err(Error::Limit(format!("a sparse matrix of {height} rows; at most {} can be used", u32::MAX)));
        }
        let mut counts = vec![0usize; matrix.columns() + 1];
        for row in 0..height {
            for &c in matrix.row(row).0 {
                counts[c as usize + 1] += 1;
            }
        }
        for c in 1..counts.len() {
            counts[c] += counts[c - 1];
        }
        let mut next = counts.clone();
        let (mut rows, mut values) = (vec![0u32; matrix.stored()], vec![0.0; matrix.stored()]);
        for row in 0..height {
            let (indices, stored) = matrix.row(row);
            for (&c, &v) in indices.iter().zip(stored) {
                let at = &mut next[c as usize];
                if *at > counts[c as usize] && rows[*at - 1] == row as u32 {
                    values[*at - 1] += v;
                } else {
                    (rows[*at], values[*at]) = (row as u32, v);
                    *at += 1;
                }
            }
        }
        let mut starts = vec![0];
        let mut kept = 0;
        for c in 0..matrix.columns() {
            for at in counts[c]..next[c] {
                (rows[kept], values[kept]) = (rows[at], values[at]);
                kept += 1;
            }
            starts.push(kept);
        }
        rows.truncate(kept);
        values.truncate(kept);
        Ok(Self { height, starts, rows, values })
    }
}

impl<'a> Columns<'a> {
    /// Reads the data and refuses what an estimator can't be fitted on.
    ///
    /// # Errors
    /// [`Error::Value`] for no rows, no columns, NaN (unless `allow_nan`) and infinite values in a matrix;
    /// [`Error::Column`] for the latter in a table and for columns that hold no numbers.
    pub(crate) fn read(data: &'a Data<'a>, allow_nan: bool) -> Result<Self> {
        check_size(data)?;
        let read = match data {
            Data::Table(table) => {
                let columns: Vec<_> = table.columns().iter().map(|c| c.to_f64()).collect::<Result<_>>()?;
                Self::Dense { rows: table.rows(), columns }
            }
            Data::Csr(matrix) => Self::Sparse(Csc::of(matrix)?),
        };
        for at in 0..read.width() {
            check_finite(data, at, read.view(at).values, allow_nan)?;
        }
        Ok(read)
    }

    /// Number of rows.
    pub(crate) fn rows(&self) -> usize {
        match self {
            Self::Dense { rows, .. } => *rows,
            Self::Sparse(m) => m.height,
        }
    }

    /// Number of columns.
    pub(crate) fn width(&self) -> usize {
        match self {
            Self::Dense { columns, .. } => columns.len(),
            Self::Sparse(m) => m.starts.len() - 1,
        }
    }

    /// One column.
    pub(crate) fn view(&self, at: usize) -> View<'_> {
        match self {
            Self::Dense { columns, .. } => View { values: &columns[at], rows: None, zeros: 0 },
            Self::Sparse(m) => {
                let range = m.starts[at]..m.starts[at + 1];
                let zeros = m.height - range.len();
                View { values: &m.values[range.clone()], rows: Some(&m.rows[range]), zeros }
            }
        }
    }
}

/// Refuses data without rows or columns, in scikit-learn's words.
pub(crate) fn check_size(data: &Data<'_>) -> Result<()> {
    let (rows, width) = (data.rows(), data.width());
    let what = if width == 0 {
        "feature(s)"
    } else if rows == 0 {
        "sample(s)"
    } else {
        return Ok(());
    };
    Err(Error::value(format!("Found array with 0 {what} (shape=({rows}, {width})) while a minimum of 1 is required.")))
}

/// Refuses integers that are told apart, as categories or keys, but not as numbers of 64 bits.
///
/// # Errors
/// [`Error::Column`] for integers of 2^53 and more.
pub(crate) fn check_told_apart(column: &Column<'_>, values: &[f64]) -> Result<()> {
    const MOST: f64 = (1u64 << f64::MANTISSA_DIGITS) as f64;
    if matches!(column.type_name(), "i64" | "u64") && values.iter().any(|x| x.abs() >= MOST) {
        let text = "holds integers of 2^53 and more, some of which are one number here; give them as text";
        return Err(Error::column(&column.name, text));
    }
    Ok(())
}

/// Refuses NaN and infinite values, in scikit-learn's words; a table's column is named.
pub(crate) fn check_finite(data: &Data<'_>, at: usize, values: &[f64], allow_nan: bool) -> Result<()> {
    // The usual case without branches: an exponent of all ones is NaN or infinite.
    let odd = values.iter().fold(false, |odd, v| odd | !v.is_finite());
    if !odd {
        return Ok(());
    }
    let nan = !allow_nan && values.iter().any(|v| v.is_nan());
    let problem = if nan {
        "Input X contains NaN."
    } else if values.iter().any(|v| v.is_infinite()) {
        "Input X contains infinity or a value too large for dtype('float64')."
    } else {
        return Ok(());
    };
    match data {
        Data::Table(table) if table.is_named() => Err(Error::column(&table.columns()[at].name, problem)),
        _ => Err(Error::value(problem)),
    }
}

/// Refuses data of another width than the earlier fits had.
pub(crate) fn check_width(data: &Data<'_>, expected: usize, estimator: &str) -> Result<()> {
    if data.width() == expected {
        return Ok(());
    }
    Err(Error::value(format!(
        "X has {} features, but {estimator} is expecting {expected} features as input.",
        data.width()
    )))
}

/// Checks the length and the values of sample weights.
///
/// # Errors
/// [`Error::Value`], in scikit-learn's words; negative weights only where `non_negative`.
pub(crate) fn check_weights(weights: Option<&[f64]>, rows: usize, non_negative: bool) -> Result<()> {
    let Some(weights) = weights else { return Ok(()) };
    if weights.len() != rows {
        return Err(Error::value(format!("sample_weight.shape == ({},), expected ({rows},)!", weights.len())));
    }
    if weights.iter().any(|w| w.is_nan()) {
        return Err(Error::value("Input sample_weight contains NaN."));
    }
    if weights.iter().any(|w| w.is_infinite()) {
        return Err(Error::value("Input sample_weight contains infinity or a value too large for dtype('float64')."));
    }
    if non_negative && weights.iter().any(|&w| w < 0.0) {
        return Err(Error::value("Negative values in data passed to `sample_weight`"));
    }
    if weights.iter().all(|&w| w == 0.0) {
        return Err(Error::value("Sample weights must contain at least one non-zero number."));
    }
    Ok(())
}

/// Names of the columns of some data.
pub(crate) fn names(data: &Data<'_>) -> Vec<String> {
    (0..data.width()).map(|at| data.name(at)).collect()
}

/// Does something for every column, on the threads of the context; results come in the order of the columns.
pub(crate) fn per_column<T: Send>(
    context: &Context,
    width: usize,
    work: impl Fn(usize) -> Result<T> + Send + Sync,
) -> Result<Vec<T>> {
    let work = |at: usize| {
        context.cancel.check()?;
        work(at)
    };
    if context.threads <= 1 || width == 1 {
        return (0..width).map(work).collect();
    }
    parallel::with_threads(context.threads, || (0..width).into_par_iter().map(work).collect())
}
