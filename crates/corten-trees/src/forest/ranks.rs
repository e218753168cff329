//! Columns as ranks: the place of each value among the distinct values of its column. Or, where cuts are drawn, as
//! integers of the same order as 32-bit floats.

mod distinct;
mod read;
mod view;

use std::ops::Range;
use std::sync::{Mutex, OnceLock, PoisonError};

use corten_core::{Column, Data, Result};
use corten_kernels::lanes::Lanes;
use corten_kernels::parallel;
use corten_kernels::splits::SET;

use self::distinct::{by_hash, by_sort, by_table};
use self::read::ranked;
pub(super) use self::view::packed;
pub(crate) use self::view::{Packed, View};
use super::blocks::{Blocks, Records};
use super::finder::{Entry, Span};
use crate::source::Source;

/// Columns that are read together: two cache lines of a row-major matrix.
const GROUP: usize = 16;
/// Rows of a group that are read before the next column's.
const BLOCK: usize = 256;
/// Largest integers that are ranked by a table instead of a sort.
const TABLE: usize = 1 << 16;
/// Codes that threads are worth starting for.
const MANY: usize = 1 << 17;
/// A node that holds one of so many rows is read along columns.
const DENSE: usize = 8;
/// The code of a missing value among floats.
const MISSING: u32 = u32::MAX - 2;
/// Columns a drawn one up to which all of a block are read.
const DRAWN: usize = 8;
/// Codes of short records.
const RECORDS: [usize; 4] = [8, 16, 32, 64];
/// Bytes of a block.
const BLOCK_BYTES: usize = 1 << 18;
/// The code of a missing value in a column without one.
pub(crate) const NO_MISSING: u32 = u32::MAX;

/// A rank as it is stored.
pub(crate) trait Code: Copy + Ord + Send + Sync + 'static {
    /// Most distinct values of a column, a missing one among them.
    const LIMIT: usize;

    fn new(rank: u32) -> Self;
    fn get(self) -> u32;

    /// Sixteen codes at rows times a stride; 0 where that lies beyond the end.
    fn gather<L: Lanes>(lanes: L, codes: &[Self], stride: u32, rows: &[u32; SET]) -> [u32; SET];

    /// Codes of whatever width.
    fn packed(codes: &[Self]) -> Packed<'_>;

    /// Records of whatever width.
    fn records(table: &Table<Self>) -> Records<'_>;

    /// Codes as they are, where they are of 32 bits.
    fn words(_codes: &[Self]) -> Option<&[u32]> {
        None
    }
}

macro_rules! code {
    ($type:ty, $limit:expr, $gather:ident, $packed:ident $(, $words:item)?) => {
        impl Code for $type {
            const LIMIT: usize = $limit;

            #[inline]
            fn new(rank: u32) -> Self {
                rank as $type
            }

            #[inline]
            fn get(self) -> u32 {
                self as u32
            }

            #[inline(always)]
            fn gather<L: Lanes>(lanes: L, codes: &[Self], stride: u32, rows: &[u32; SET]) -> [u32; SET] {
                lanes.$gather(codes, stride, rows)
            }

            #[inline]
            fn packed(codes: &[Self]) -> Packed<'_> {
                Packed::$packed(codes)
            }

            fn records(table: &Table<Self>) -> Records<'_> {
                Records::$packed(table, Blocks::new())
            }

            $($words)?
        }
    };
}

code!(u8, 1 << 8, gather_u8, Bytes);
code!(u16, 1 << 16, gather_u16, Halves);
code!(
    u32,
    u32::MAX as usize - 1,
    gather,
    Words,
    #[inline(always)]
    fn words(codes: &[Self]) -> Option<&[u32]> {
        Some(codes)
    }
);

/// What the codes of a column stand for.
pub(crate) enum Scale {
    /// Ranks of these distinct values, which ascend.
    Values(Vec<f64>),
    /// 32-bit floats.
    Floats,
    /// The numbers themselves.
    Whole,
}

impl Scale {
    /// The number that a code stands for.
    #[inline(always)]
    pub(crate) fn value(&self, code: u32) -> f64 {
        match self {
            Self::Values(values) => values[code as usize],
            Self::Floats => f64::from(float(code)),
            Self::Whole => f64::from(code),
        }
    }

    /// A threshold between two values; infinity where all values that are there go left.
    pub(crate) fn between(&self, last: u32, next: Option<u32>) -> f64 {
        let low = self.value(last);
        let Some(next) = next else { return f64::INFINITY };
        let high = self.value(next);
        let middle = low / 2.0 + high / 2.0;
        if middle >= low && middle < high { middle } else { low }
    }
}

/// One column of codes.
pub(crate) struct Ranked<C> {
    /// A code a row.
    pub(crate) codes: Vec<C>,
    pub(crate) scale: Scale,
    /// The code of a missing value, greater than all others, or [`NO_MISSING`].
    pub(crate) missing: u32,
}

impl<C: Code> Ranked<C> {
    /// The number that a code stands for.
    #[inline(always)]
    pub(crate) fn value(&self, code: u32) -> f64 {
        self.scale.value(code)
    }

    /// The same column, whatever the width of its codes.
    pub(crate) fn view(&self) -> View<'_> {
        View { codes: C::packed(&self.codes), scale: &self.scale, missing: self.missing }
    }

    /// The threshold at a share of the way from the least to the greatest value, below the greatest where it isn't the
    /// least, and the greatest code up to it.
    #[inline(always)]
    pub(crate) fn cut_at(&self, span: &Span, share: f64) -> (f64, u32) {
        let (low, high) = (self.value(span.low), self.value(span.high));
        let between = low + (high - low) * share;
        match &self.scale {
            Scale::Whole => {
                let threshold = if between >= high { low } else { between };
                (threshold, threshold as u32)
            }
            Scale::Values(all) => {
                let threshold = if between.is_nan() || between >= high { low } else { between };
                let values = &all[span.low as usize..=span.high as usize];
                let last = last_up_to(values, threshold, (share * (values.len() - 1) as f64) as usize);
                (threshold, span.low + last as u32)
            }
            Scale::Floats => {
                let mut threshold = between as f32;
                if f64::from(threshold) > between {
                    threshold = threshold.next_down();
                }
                if f64::from(threshold) >= high {
                    threshold = float(span.low);
                }
                (f64::from(threshold), in_order(threshold))
            }
        }
    }
}

/// The greatest code on the left of [`Ranked::cut_at`] for columns of floats side by side.
#[inline(always)]
pub(crate) fn last_floats<const W: usize>(low: &[u32; W], high: &[u32; W], share: &[f64; W]) -> [u32; W] {
    let mut last = [0; W];
    for lane in 0..W {
        let (from, to) = (f64::from(float(low[lane])), f64::from(float(high[lane])));
        let between = from + (to - from) * share[lane];
        let threshold = between as f32;
        let code = in_order(threshold);
        // Of 0, which has two codes, the float below has the one before the lower.
        let below = code.wrapping_sub(if threshold == 0.0 { 2 } else { 1 });
        let code = if f64::from(threshold) > between { below } else { code };
        last[lane] = if code >= high[lane] { low[lane] } else { code };
    }
    last
}

/// The place of the last of ascending values that is at most `x`, which the first one is: near `guess`, as a rule.
fn last_up_to(values: &[f64], x: f64, guess: usize) -> usize {
    let (mut low, mut high, mut step) = (0, values.len(), 1);
    if values[guess] <= x {
        low = guess;
        while low + step < values.len() && values[low + step] <= x {
            low += step;
            step *= 2;
        }
        high = high.min(low + step);
    } else {
        high = guess;
        while high > step && values[high - step] > x {
            high -= step;
            step *= 2;
        }
        low = low.max(high.saturating_sub(step));
    }
    low + values[low..high].partition_point(|v| *v <= x).saturating_sub(1)
}

/// A 32-bit float, not NaN, as an integer of the same order; 0 and -0 are the same.
#[inline]
fn in_order(x: f32) -> u32 {
    let bits = (x + 0.0).to_bits();
    bits ^ (((bits as i32 >> 31) as u32) | 1 << 31)
}

/// The float of [`in_order`].
#[inline]
fn float(code: u32) -> f32 {
    f32::from_bits(code ^ (((!code as i32 >> 31) as u32) | 1 << 31))
}

/// The least 32-bit float that is not below a number, as a code: `x` is up to a 32-bit threshold if and only if that
/// float is. `None` where none is finite.
#[inline]
fn rounded_up(x: f64) -> Option<u32> {
    let nearest = x as f32;
    let up = if f64::from(nearest) < x { nearest.next_up() } else { nearest };
    up.is_finite().then(|| in_order(up))
}

/// The codes of a node's rows, close together: column after column.
pub(crate) struct Block<C> {
    codes: Vec<C>,
    rows: usize,
}

impl<C: Code> Block<C> {
    /// The codes in a column of rows by their places in the block.
    pub(crate) fn gather(&self, column: usize, rows: &[Entry], out: &mut Vec<u32>) {
        let codes = &self.codes[column * self.rows..][..self.rows];
        out.clear();
        out.extend(rows.iter().map(|e| codes[e.place as usize].get()));
    }
}

/// A table of codes. Ranks are held both ways: a node of many rows reads along a column, one of few finds the columns of
/// a row side by side.
pub(crate) struct Table<C> {
    pub(crate) columns: Vec<Ranked<C>>,
    /// `stride` codes a row, those behind the last column 0; made when they are asked for.
    by_row: OnceLock<Vec<C>>,
    pub(crate) stride: usize,
}

impl<C: Code> Table<C> {
    fn new(ranked: Vec<Wide>, rows: usize, threads: usize) -> Self {
        // One by one: the wider codes of a column are given back before the next ones are narrowed.
        let narrow = |c: Wide| {
            let codes = match c.codes {
                Codes::Bytes(values, ranks) => values.into_iter().map(|x| C::new(ranks[usize::from(x)])).collect(),
                Codes::Words(codes) => codes.into_iter().map(C::new).collect(),
            };
            Ranked { codes, scale: c.scale, missing: c.missing }
        };
        let codes = rows * ranked.len();
        let threads = if codes < MANY { 1 } else { threads };
        let ranked: Vec<_> = ranked.into_iter().map(|column| Mutex::new(Some(column))).collect();
        let columns = parallel::map_together(threads, ranked.len(), |at| {
            ranked[at].lock().unwrap_or_else(PoisonError::into_inner).take().map(narrow)
        });
        let columns: Vec<_> = columns.into_iter().flatten().collect();
        Self { stride: columns.len(), columns, by_row: OnceLock::new() }
    }

    /// A table whose codes stand side by side, so many a row.
    fn of(columns: Vec<Ranked<C>>, stride: usize, threads: usize) -> Self {
        let table = Self { columns, by_row: OnceLock::new(), stride };
        table.prepare(threads);
        table
    }

    /// Puts the codes side by side, where they aren't yet.
    pub(crate) fn prepare(&self, threads: usize) {
        if self.by_row.get().is_none() {
            let rows = self.columns.first().map_or(0, |column| column.codes.len());
            let blocks = parallel::map_blocks(threads, rows, BLOCK, |_, range| self.records(range));
            // Whoever was faster made the same.
            self.by_row.set(blocks.concat()).ok();
        }
    }

    /// Codes side by side of some rows.
    fn records(&self, range: Range<usize>) -> Vec<C> {
        let mut block = vec![C::new(0); range.len() * self.stride];
        for (at, column) in self.columns.iter().enumerate() {
            for (row, code) in column.codes[range.clone()].iter().enumerate() {
                block[row * self.stride + at] = *code;
            }
        }
        block
    }

    /// [`Table::stride`] codes a row.
    #[inline(always)]
    pub(crate) fn by_row(&self) -> &[C] {
        // By one thread, as others may wait for it that this one would have to wait for.
        self.by_row.get_or_init(|| self.records(0..self.columns.first().map_or(0, |column| column.codes.len())))
    }

    /// Where codes of a column lie for so many of the rows: that of row `r` stands at `r` times a stride.
    #[inline(always)]
    pub(crate) fn column(&self, column: usize, rows: usize) -> (&[C], usize) {
        let codes = &self.columns[column].codes;
        if rows * DENSE >= codes.len() { (codes, 1) } else { (&self.by_row()[column..], self.stride) }
    }

    /// The code of a row in a column.
    #[inline]
    pub(crate) fn code(&self, row: usize, column: usize) -> u32 {
        self.columns[column].codes[row].get()
    }

    /// Whether a node of so many rows, of whose columns so many are drawn, and those below it, do better with a block.
    pub(crate) fn suits_block(&self, rows: usize, drawn: usize) -> bool {
        let columns = self.columns.len();
        columns <= drawn.saturating_mul(DRAWN) && rows.saturating_mul(columns * size_of::<C>()) <= BLOCK_BYTES
    }

    /// The codes of rows, close together; the rows get their places.
    pub(crate) fn block(&self, rows: &mut [Entry]) -> Block<C> {
        (0u32..).zip(&mut *rows).for_each(|(at, e)| e.place = at);
        let (n, width) = (rows.len(), self.columns.len());
        let mut codes = vec![C::new(0); n * width];
        for (at, e) in rows.iter().enumerate() {
            let row = &self.by_row()[e.row as usize * self.stride..][..width];
            row.iter().enumerate().for_each(|(column, code)| codes[column * n + at] = *code);
        }
        Block { codes, rows: n }
    }

    /// The codes of rows in a column.
    pub(crate) fn gather(&self, column: usize, rows: &[Entry], out: &mut Vec<u32>) {
        let (codes, stride) = self.column(column, rows.len());
        out.clear();
        if stride == 1 {
            out.extend(rows.iter().map(|e| codes[e.row as usize].get()));
        } else {
            out.extend(rows.iter().map(|e| codes[e.row as usize * stride].get()));
        }
    }
}

/// All columns as ranks of the narrowest type that holds them.
pub(crate) enum Ranks {
    Byte(Table<u8>),
    Narrow(Table<u16>),
    Wide(Table<u32>),
}

/// Ranks all columns of a table.
///
/// # Errors
/// [`corten_core::Error::Column`] for text and for infinite values.
pub(crate) fn rank(data: &Data<'_>, threads: usize) -> Result<Ranks> {
    let (source, rows) = (Source::new(data)?, data.rows());
    let ranked = match &source {
        Source::Table(columns) => ranked(columns, rows, threads)?,
        Source::Sparse(_) => {
            let one = |at| ranked(&[source.column(at).into_owned()], rows, 1);
            let made = parallel::map_together(threads, data.width(), one);
            made.into_iter().collect::<Result<Vec<_>>>()?.into_iter().flatten().collect()
        }
    };
    let values = |scale: &Scale| if let Scale::Values(values) = scale { values.len() } else { u32::LIMIT };
    let most = ranked.iter().map(|c| values(&c.scale) + usize::from(c.missing != NO_MISSING)).max().unwrap_or(0);
    Ok(if most <= u8::LIMIT {
        Ranks::Byte(Table::new(ranked, rows, threads))
    } else if most <= u16::LIMIT {
        Ranks::Narrow(Table::new(ranked, rows, threads))
    } else {
        Ranks::Wide(Table::new(ranked, rows, threads))
    })
}

/// A sum with it has a number's whole part in its lowest bits.
const SHIFT: f64 = (1u64 << 52) as f64;

/// Whole numbers below 256 as bytes; says whether all are.
fn bytes(values: &[f64], out: &mut [u8]) -> bool {
    // By blocks, the first of which may tell.
    values.chunks(BLOCK).zip(out.chunks_mut(BLOCK)).all(|(values, out)| {
        let mut fits = true;
        for (byte, &x) in out.iter_mut().zip(values) {
            let shifted = x + SHIFT;
            let whole = shifted.to_bits().wrapping_sub(SHIFT.to_bits());
            fits &= (shifted - SHIFT == x) & (whole <= u64::from(u8::MAX));
            *byte = whole as u8;
        }
        fits
    })
}

/// All columns as bytes, for trees that draw cuts; `None` where some number is no byte.
///
/// # Errors
/// [`corten_core::Error::Column`] for text.
pub(crate) fn whole(data: &Data<'_>, threads: usize) -> Result<Option<Ranks>> {
    let (source, rows) = (Source::new(data)?, data.rows());
    let Source::Table(columns) = &source else { return Ok(None) };
    let made = parallel::map_blocks(threads, columns.len(), GROUP, |_, range| {
        let mut codes = vec![vec![0u8; rows]; range.len()];
        let mut block = [0.0; BLOCK];
        for start in (0..rows).step_by(BLOCK) {
            let end = (start + BLOCK).min(rows);
            for (column, out) in columns[range.clone()].iter().zip(&mut codes) {
                let block = &mut block[..end - start];
                column.read_f64(start, block)?;
                if !bytes(block, &mut out[start..end]) {
                    return Ok(None);
                }
            }
        }
        Ok(Some(codes))
    });
    let mut all = Vec::with_capacity(columns.len());
    for part in made {
        let Some(codes) = part? else { return Ok(None) };
        all.extend(codes.into_iter().map(|codes| Ranked { codes, scale: Scale::Whole, missing: NO_MISSING }));
    }
    let stride = all.len();
    Ok(Some(Ranks::Byte(Table::of(all, stride, threads))))
}

/// All columns as 32-bit floats, for trees that draw cuts in so many columns of a node; `None` where those are few of all,
/// and ranks take less room, and where numbers are too large.
///
/// Numbers are rounded up and thresholds down, so that each row lies on the same side by its own number.
///
/// # Errors
/// [`corten_core::Error::Column`] for text and for infinite values.
pub(crate) fn floats(data: &Data<'_>, threads: usize, drawn: usize) -> Result<Option<Ranks>> {
    if data.width() > drawn.saturating_mul(DRAWN) {
        return Ok(None);
    }
    let (source, rows) = (Source::new(data)?, data.rows());
    let made = parallel::map_blocks(threads, data.width(), GROUP, |_, range| match &source {
        Source::Table(columns) => float_columns(&columns[range], rows),
        Source::Sparse(_) => range.map(|at| float_columns(&[source.column(at).into_owned()], rows)).try_fold(
            Some(Vec::new()),
            |all, next| {
                let next = next?;
                Ok(all.zip(next).map(|(mut all, mut next)| {
                    all.append(&mut next);
                    all
                }))
            },
        ),
    });
    let mut all = Vec::with_capacity(data.width());
    for part in made {
        let Some(mut part) = part? else { return Ok(None) };
        all.append(&mut part);
    }
    // Short records have one of few widths, which kernels know.
    let stride = RECORDS.into_iter().find(|&width| all.len() <= width).unwrap_or(all.len());
    Ok(Some(Ranks::Wide(Table::of(all, stride, threads))))
}

fn float_columns(columns: &[Column<'_>], rows: usize) -> Result<Option<Vec<Ranked<u32>>>> {
    let mut codes = vec![vec![0; rows]; columns.len()];
    let mut missing = vec![NO_MISSING; columns.len()];
    let mut block = [0.0; BLOCK];
    for start in (0..rows).step_by(BLOCK) {
        let end = (start + BLOCK).min(rows);
        for ((column, out), missing) in columns.iter().zip(&mut codes).zip(&mut missing) {
            let block = &mut block[..end - start];
            column.read_f64(start, block)?;
            for (code, &x) in out[start..end].iter_mut().zip(&*block) {
                *code = if x.is_nan() {
                    *missing = MISSING;
                    MISSING
                } else if x.is_infinite() {
                    return Err(infinite(column));
                } else if let Some(code) = rounded_up(x) {
                    code
                } else {
                    return Ok(None);
                };
            }
        }
    }
    let made = codes.into_iter().zip(missing);
    Ok(Some(made.map(|(codes, missing)| Ranked { codes, scale: Scale::Floats, missing }).collect()))
}

fn infinite(column: &Column<'_>) -> corten_core::Error {
    let what = "Input X contains infinity or a value too large for dtype('float64').";
    corten_core::Error::column(&column.name, what)
}

/// Codes before they are stored: of bytes, which rank each has.
enum Codes {
    Bytes(Vec<u8>, Box<[u32; 1 << u8::BITS]>),
    Words(Vec<u32>),
}

/// A column whose codes have no type yet.
struct Wide {
    codes: Codes,
    scale: Scale,
    missing: u32,
}

/// Ranks a column of other numbers than bytes.
fn one(column: &Column<'_>, mut values: Vec<f64>) -> Result<Wide> {
    let mut whole = true;
    for x in &mut values {
        if x.is_infinite() {
            return Err(infinite(column));
        }
        // Adding 0 turns -0 into 0: one value, one rank.
        *x += 0.0;
        // A cast, which gives 0 below 0 and for NaN, costs less than a call that truncates.
        let fits = (*x < TABLE as f64) & (f64::from(*x as u32) == *x);
        whole &= fits | x.is_nan();
    }
    let any_missing = values.iter().any(|x| x.is_nan());
    let (codes, distinct) =
        if whole { by_table(&values) } else { by_hash(&values).unwrap_or_else(|| by_sort(&values)) };
    let missing = if any_missing { distinct.len() as u32 } else { NO_MISSING };
    Ok(Wide { codes: Codes::Words(codes), scale: Scale::Values(distinct), missing })
}

/// Ranks of bytes.
fn by_byte(values: Vec<u8>) -> Wide {
    let mut ranks = [0u32; 1 << u8::BITS];
    values.iter().for_each(|&x| ranks[usize::from(x)] = 1);
    let mut distinct = Vec::new();
    for (x, rank) in ranks.iter_mut().enumerate().filter(|(_, rank)| **rank == 1) {
        *rank = distinct.len() as u32;
        distinct.push(x as f64);
    }
    Wide { codes: Codes::Bytes(values, Box::new(ranks)), scale: Scale::Values(distinct), missing: NO_MISSING }
}

#[cfg(test)]
mod tests;
