//! Reading columns before they are ranked. A thread reads all of them in a block of rows, or where they are few, some of them
//! in all rows: their values mostly lie side by side, so that each line of memory is asked for a few times at most.

use std::ops::Range;

use corten_core::{Column, Result};
use corten_kernels::parallel;

use super::{GROUP, Wide, by_byte, bytes, one};

/// Rows that are read before the next column's: their lines are in a near cache then.
const READ: usize = 64;
/// Parts of few columns for each thread, as some take longer.
const SHARE: usize = 4;
/// Rows of a block.
const BLOCK: usize = 1 << 11;
/// Most numbers that are read before they are ranked, where columns are many.
const MOST: usize = 1 << 22;

/// A column's numbers in a block of rows. Whole ones below 256 are bytes, which take an eighth of the memory.
enum Read {
    Bytes(Vec<u8>),
    Numbers(Vec<f64>),
}

/// Ranks columns.
pub(super) fn ranked(columns: &[Column<'_>], rows: usize, threads: usize) -> Result<Vec<Wide>> {
    let mut ranked = Vec::with_capacity(columns.len());
    if columns.len() <= GROUP {
        let together = columns.len().div_ceil(SHARE * threads.max(1)).max(1);
        let made = parallel::map_together(threads, columns.len().div_ceil(together), |at| {
            let columns = &columns[at * together..((at + 1) * together).min(columns.len())];
            let read = columns.iter().zip(block(columns, 0..rows)?);
            read.map(|(column, read)| read.ranked(column)).collect::<Result<Vec<_>>>()
        });
        for made in made {
            ranked.extend(made?);
        }
        return Ok(ranked);
    }
    for columns in columns.chunks((MOST / rows.max(1)).max(GROUP)) {
        let read = parallel::map_together(threads, rows.div_ceil(BLOCK), |at| {
            block(columns, at * BLOCK..((at + 1) * BLOCK).min(rows))
        });
        let blocks = read.into_iter().collect::<Result<Vec<_>>>()?;
        let made = parallel::map_together(threads, columns.len(), |at| {
            joined(&columns[at], rows, blocks.iter().map(|block| &block[at]))
        });
        for made in made {
            ranked.push(made?);
        }
    }
    Ok(ranked)
}

/// Reads a block of rows.
fn block(columns: &[Column<'_>], range: Range<usize>) -> Result<Vec<Read>> {
    let mut all: Vec<Read> = columns.iter().map(|_| Read::Bytes(vec![0; range.len()])).collect();
    let mut block = [0.0; READ];
    for start in (0..range.len()).step_by(READ) {
        let end = (start + READ).min(range.len());
        for (column, read) in columns.iter().zip(&mut all) {
            let block = &mut block[..end - start];
            column.read_f64(range.start + start, block)?;
            if let Read::Bytes(small) = read {
                if bytes(block, &mut small[start..end]) {
                    continue;
                }
                let mut numbers = Vec::with_capacity(range.len());
                numbers.extend(small[..start].iter().map(|&x| f64::from(x)));
                *read = Read::Numbers(numbers);
            }
            if let Read::Numbers(numbers) = read {
                numbers.extend_from_slice(block);
            }
        }
    }
    Ok(all)
}

/// Ranks a column that was read in blocks.
fn joined<'r>(column: &Column<'_>, rows: usize, blocks: impl Iterator<Item = &'r Read> + Clone) -> Result<Wide> {
    if blocks.clone().all(|block| matches!(block, Read::Bytes(_))) {
        let mut values = Vec::with_capacity(rows);
        for block in blocks {
            if let Read::Bytes(small) = block {
                values.extend_from_slice(small);
            }
        }
        return Read::Bytes(values).ranked(column);
    }
    let mut values = Vec::with_capacity(rows);
    for block in blocks {
        match block {
            Read::Bytes(small) => values.extend(small.iter().map(|&x| f64::from(x))),
            Read::Numbers(numbers) => values.extend_from_slice(numbers),
        }
    }
    Read::Numbers(values).ranked(column)
}

impl Read {
    /// Ranks all rows of a column.
    fn ranked(self, column: &Column<'_>) -> Result<Wide> {
        match self {
            Self::Bytes(values) => Ok(by_byte(values)),
            Self::Numbers(values) => one(column, values),
        }
    }
}
