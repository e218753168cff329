//! What columns span in a node.

use corten_kernels::lanes::Lanes;
use corten_kernels::splits::SET;

use super::super::ranks::{Code, Table};

/// Most codes of a record whose columns are looked at in one pass.
pub(super) const MOST: usize = 64;

/// Reads the codes of rows in a column in sixteens, the last one filled up with codes of its own; gives the least and the
/// greatest code.
#[inline(always)]
pub(super) fn gather<L: Lanes, C: Code>(
    lanes: L,
    table: &Table<C>,
    feature: usize,
    rows: &[u32],
    out: &mut Vec<[u32; SET]>,
) -> (u32, u32) {
    let (codes, stride) = table.column(feature, rows.len());
    let count = rows.len().div_ceil(SET);
    if out.len() < count {
        out.resize(count, [0; SET]);
    }
    out.truncate(count);
    let (mut low, mut high) = ([u32::MAX; SET], [0; SET]);
    let mut look = |block: &[u32; SET]| {
        for lane in 0..SET {
            low[lane] = low[lane].min(block[lane]);
            high[lane] = high[lane].max(block[lane]);
        }
    };
    let (full, rest) = rows.as_chunks::<SET>();
    for (block, rows) in out.iter_mut().zip(full) {
        for lane in 0..SET {
            block[lane] = codes[rows[lane] as usize * stride].get();
        }
        look(block);
    }
    if let (Some(&first), Some(block)) = (rest.first(), out.last_mut()) {
        *block = [codes[first as usize * stride].get(); SET];
        for (code, &row) in block.iter_mut().zip(rest) {
            *code = codes[row as usize * stride].get();
        }
        look(block);
    }
    (lanes.span(&low, u16::MAX).0, lanes.span(&high, u16::MAX).1)
}

/// Runs `$body` with the width of records as a constant.
macro_rules! by_width {
    ($width:expr, $W:ident => $body:expr) => {
        match $width {
            8 => {
                const $W: usize = 8;
                $body
            }
            16 => {
                const $W: usize = 16;
                $body
            }
            32 => {
                const $W: usize = 32;
                $body
            }
            _ => {
                const $W: usize = MOST;
                $body
            }
        }
    };
}
pub(super) use by_width;

/// Least and greatest code of each column of rows of a table of records, `width` codes each.
#[inline(always)]
pub(super) fn spans(records: &[u32], width: usize, rows: &[u32]) -> ([u32; MOST], [u32; MOST]) {
    let (mut lows, mut highs) = ([u32::MAX; MOST], [0; MOST]);
    by_width!(width, W => {
        let records = records.as_chunks::<W>().0;
        let (mut low, mut high) = ([u32::MAX; W], [0; W]);
        for &row in rows {
            let record = &records[row as usize];
            for lane in 0..W {
                low[lane] = low[lane].min(record[lane]);
                high[lane] = high[lane].max(record[lane]);
            }
        }
        lows[..W].copy_from_slice(&low);
        highs[..W].copy_from_slice(&high);
    });
    (lows, highs)
}
