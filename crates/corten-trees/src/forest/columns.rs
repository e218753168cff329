//! What columns span in a node.

use corten_core::random::Stream;
use corten_kernels::lanes::{HALF, Lanes};
use corten_kernels::splits::SET;

use super::finder::Span;
use super::ranks::{Code, Ranked};

/// Most codes of a record whose columns are looked at in one pass.
pub(crate) const MOST: usize = 64;

/// What lies on the left of a cut.
#[derive(Clone, Copy)]
pub(crate) struct Side {
    /// Greatest code.
    pub(crate) last: u32,
    /// What is added to codes before they are compared: the code of missing values becomes 0 where they go left.
    pub(crate) shift: u32,
}

impl Side {
    #[inline(always)]
    pub(crate) fn of<L: Lanes>(self, lanes: L, codes: &[u32; SET]) -> u16 {
        lanes.up_to(codes, self.last, self.shift)
    }

    #[inline(always)]
    pub(crate) fn has(self, code: u32) -> bool {
        code.wrapping_add(self.shift) <= self.last.wrapping_add(self.shift)
    }
}

/// Draws a cut of a column evenly between what it spans: the threshold, what lies on the left, and where values are
/// missing, whether they do.
#[inline(always)]
pub(crate) fn draw<C: Code>(column: &Ranked<C>, span: &Span, stream: &mut Stream) -> (f64, Side, Option<bool>) {
    let (threshold, last) = column.cut_at(span, stream.uniform());
    let side = Side { last, shift: 0 };
    if span.missing == 0 {
        return (threshold, side, None);
    }
    let missing_left = stream.below(2) == 1;
    if span.low == span.high {
        return (f64::INFINITY, side, Some(false));
    }
    let shift = if missing_left { column.missing.wrapping_neg() } else { 0 };
    (threshold, Side { shift, ..side }, Some(missing_left))
}

/// What a column spans, from its least and its greatest code; codes of all rows where values are missing.
#[inline(always)]
pub(crate) fn span(low: u32, high: u32, missing: u32, codes: &[[u32; SET]]) -> Span {
    if high != missing {
        return Span { low, high, missing: 0 };
    }
    let there = codes.as_flattened().iter().filter(|&&code| code != missing);
    let high = there.fold(0, |high, &code| high.max(code));
    if low == missing { Span { missing: 1, ..Span::EMPTY } } else { Span { low, high, missing: 1 } }
}

/// Reads the codes of rows in a column in sixteens, the last one filled up with codes of its own; gives the least and the
/// greatest code.
#[inline(always)]
pub(crate) fn gather<L: Lanes, C: Code>(
    lanes: L,
    (codes, stride): (&[C], usize),
    rows: &[u32],
    out: &mut Vec<[u32; SET]>,
) -> (u32, u32) {
    let count = rows.len().div_ceil(SET);
    if out.len() < count {
        out.resize(count, [0; SET]);
    }
    out.truncate(count);
    // One load a code: on many CPUs that costs less than an instruction that gathers sixteen.
    let (full, rest) = rows.as_chunks::<SET>();
    for (block, rows) in out.iter_mut().zip(full) {
        for (code, &row) in block.iter_mut().zip(rows) {
            *code = codes[row as usize * stride].get();
        }
    }
    if let (Some(&first), Some(block)) = (rest.first(), out.last_mut()) {
        *block = [codes[first as usize * stride].get(); SET];
        for (code, &row) in block.iter_mut().zip(rest) {
            *code = codes[row as usize * stride].get();
        }
    }
    // A pass of its own over what the cache holds: codes that were stored one by one aren't read as a whole at once.
    let (mut low, mut high) = ([u32::MAX; SET], [0; SET]);
    for block in &*out {
        for lane in 0..SET {
            low[lane] = low[lane].min(block[lane]);
            high[lane] = high[lane].max(block[lane]);
        }
    }
    (lanes.span(&low, u16::MAX).0, lanes.span(&high, u16::MAX).1)
}

/// Moves the members of a mask to the front, the others behind them, in order; `spare` has room for [`SET`] more. Gives
/// the number of members.
#[inline(always)]
pub(crate) fn part<L: Lanes>(lanes: L, mask: &[u64], rows: &mut [u32], spare: &mut [u32]) -> usize {
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
pub(crate) fn part_f64<L: Lanes>(lanes: L, mask: &[u64], numbers: &mut [f64], spare: &mut [f64]) {
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

/// Which rows lie on the left.
#[inline(always)]
pub(crate) fn mask<L: Lanes>(lanes: L, codes: &[[u32; SET]], side: Side, out: &mut Vec<u64>) {
    out.clear();
    for four in codes.chunks(4) {
        let mut word = 0;
        for (at, block) in four.iter().enumerate() {
            word |= u64::from(side.of(lanes, block)) << (SET * at);
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
pub(crate) use by_width;
