//! What columns span in a node.

use corten_kernels::lanes::{HALF, Lanes};
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
    if let Some(words) = C::words(codes) {
        for (block, rows) in out.iter_mut().zip(full) {
            *block = lanes.gather(words, stride as u32, rows);
            look(block);
        }
    } else {
        for (block, rows) in out.iter_mut().zip(full) {
            *block = rows.map(|row| codes[row as usize * stride].get());
            look(block);
        }
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

/// Moves the members of a mask to the front, the others behind them, in order; `spare` has room for [`SET`] more. Gives
/// the number of members.
#[inline(always)]
pub(super) fn part<L: Lanes>(lanes: L, mask: &[u64], rows: &mut [u32], spare: &mut [u32]) -> usize {
    let (mut left, mut right, mut at) = (0, 0, 0);
    while let Some(block) = rows[at..].first_chunk::<SET>() {
        let set = sixteen(mask, at);
        let [ins, outs] = [set, !set].map(|set| lanes.members(set, block));
        // What stands behind the members is written over, or lies where it was read already.
        rows[left..left + SET].copy_from_slice(&ins);
        spare[right..right + SET].copy_from_slice(&outs);
        let count = set.count_ones() as usize;
        (left, right, at) = (left + count, right + SET - count, at + SET);
    }
    for at in at..rows.len() {
        let is_in = usize::from(sixteen(mask, at) & 1);
        let row = rows[at];
        (rows[left], spare[right]) = (row, row);
        (left, right) = (left + is_in, right + 1 - is_in);
    }
    rows[left..].copy_from_slice(&spare[..right]);
    left
}

/// The same for what goes with the rows.
#[inline(always)]
pub(super) fn part_f64<L: Lanes>(lanes: L, mask: &[u64], numbers: &mut [f64], spare: &mut [f64]) {
    let (mut left, mut right, mut at) = (0, 0, 0);
    while let Some(block) = numbers[at..].first_chunk::<HALF>() {
        let set = sixteen(mask, at) & 0xff;
        let [ins, outs] = [set, !set].map(|set| lanes.members_f64(set, block));
        numbers[left..left + HALF].copy_from_slice(&ins);
        spare[right..right + HALF].copy_from_slice(&outs);
        let count = set.count_ones() as usize;
        (left, right, at) = (left + count, right + HALF - count, at + HALF);
    }
    for at in at..numbers.len() {
        let is_in = usize::from(sixteen(mask, at) & 1);
        let number = numbers[at];
        (numbers[left], spare[right]) = (number, number);
        (left, right) = (left + is_in, right + 1 - is_in);
    }
    numbers[left..].copy_from_slice(&spare[..right]);
}

/// Which rows have codes up to `last`.
#[inline(always)]
pub(super) fn mask<L: Lanes>(lanes: L, codes: &[[u32; SET]], last: u32, out: &mut Vec<u64>) {
    out.clear();
    for four in codes.chunks(4) {
        let mut word = 0;
        for (at, block) in four.iter().enumerate() {
            word |= u64::from(lanes.up_to(block, last)) << (SET * at);
        }
        out.push(word);
    }
}

/// Sixteen bits of a mask from a place on that leaves as many in its word, or the rest of it.
#[inline(always)]
fn sixteen(mask: &[u64], at: usize) -> u16 {
    (mask[at / 64] >> (at % 64)) as u16
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
