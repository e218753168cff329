//! Records of the rows below a node, close together, so that a cache holds them while the node's subtree is grown.

use super::ranks::{Code, Packed, Table};

/// Bytes of blocks: shares of a core's second and first cache.
const SIZES: [usize; 2] = [1 << 20, 1 << 15];

/// One block.
struct Block<C> {
    codes: Vec<C>,
    /// Which of the sizes it keeps to.
    size: usize,
    /// Nodes that were open when it was made: it is for those that come while there are no fewer.
    open: usize,
}

/// Blocks, each of a part of the one before.
pub(crate) struct Blocks<C> {
    blocks: Vec<Block<C>>,
    /// Room of blocks that were given up.
    spare: Vec<Vec<C>>,
}

impl<C: Code> Blocks<C> {
    pub(crate) fn new() -> Self {
        Self { blocks: Vec::new(), spare: Vec::new() }
    }

    /// Turns to a node's rows, beside which so many nodes are open; nodes come depth first. Where a block is made of them,
    /// they become their places in it.
    pub(crate) fn enter(&mut self, table: &Table<C>, rows: &mut [u32], open: usize) {
        while let Some(block) = self.blocks.pop_if(|block| open < block.open) {
            self.spare.push(block.codes);
        }
        let stride = table.stride;
        let bytes = size_of_val(&*rows) / size_of::<u32>() * stride * size_of::<C>();
        let first = self.blocks.last().map_or(0, |block| block.size + 1);
        let Some(size) = (first..SIZES.len()).rev().find(|&size| bytes <= SIZES[size]) else { return };
        let mut codes = self.spare.pop().unwrap_or_default();
        codes.clear();
        let from = self.blocks.last().map_or(table.by_row(), |block| &block.codes);
        if size_of_val(from) > SIZES[size] {
            for (row, at) in rows.iter_mut().zip(0u32..) {
                codes.extend_from_slice(&from[*row as usize * stride..][..stride]);
                *row = at;
            }
            self.blocks.push(Block { codes, size, open });
        } else {
            self.spare.push(codes);
        }
    }

    /// Records of the rows at hand, one after the other.
    pub(crate) fn records<'a>(&'a self, table: &'a Table<C>) -> &'a [C] {
        self.blocks.last().map_or_else(|| table.by_row(), |block| &block.codes)
    }

    /// Where codes of a column lie for so many of the rows at hand: that of row `r` stands at `r` times a stride.
    #[inline(always)]
    pub(crate) fn column<'a>(&'a self, table: &'a Table<C>, column: usize, rows: usize) -> (&'a [C], usize) {
        match self.blocks.last() {
            Some(block) => (&block.codes[column..], table.stride),
            None => table.column(column, rows),
        }
    }
}

/// A table and blocks of its rows, whatever the width of its codes.
pub(crate) enum Records<'a> {
    Bytes(&'a Table<u8>, Blocks<u8>),
    Halves(&'a Table<u16>, Blocks<u16>),
    Words(&'a Table<u32>, Blocks<u32>),
}

impl Records<'_> {
    /// See [`Blocks::enter`].
    #[inline(always)]
    pub(crate) fn enter(&mut self, rows: &mut [u32], open: usize) {
        match self {
            Self::Bytes(table, blocks) => blocks.enter(table, rows, open),
            Self::Halves(table, blocks) => blocks.enter(table, rows, open),
            Self::Words(table, blocks) => blocks.enter(table, rows, open),
        }
    }

    /// See [`Blocks::column`].
    #[inline(always)]
    pub(crate) fn column(&self, column: usize, rows: usize) -> (Packed<'_>, usize) {
        match self {
            Self::Bytes(table, blocks) => packed_column(table, blocks, column, rows),
            Self::Halves(table, blocks) => packed_column(table, blocks, column, rows),
            Self::Words(table, blocks) => packed_column(table, blocks, column, rows),
        }
    }
}

#[inline(always)]
fn packed_column<'a, C: Code>(
    table: &'a Table<C>,
    blocks: &'a Blocks<C>,
    column: usize,
    rows: usize,
) -> (Packed<'a>, usize) {
    let (codes, stride) = blocks.column(table, column, rows);
    (C::packed(codes), stride)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forest::ranks::{self, Ranks};
    use corten_core::{Column, Data, Table as Rows};

    #[test]
    fn rows_of_nested_blocks_have_their_codes() {
        const N: usize = 30_000;
        let column = |at: usize| Column::f64(at, (0..N).map(|row| ((row * (7 + at)) % 900) as f64).collect::<Vec<_>>());
        let data = Data::Table(Rows::named((0..20).map(column).collect()).unwrap());
        let Ranks::Narrow(table) = ranks::rank(&data, 1).unwrap() else { panic!("many values") };
        let mut blocks = Blocks::new();
        let mut rows: Vec<u32> = (0..N as u32).filter(|row| row % 3 > 0).collect();
        let all = rows.clone();
        // A node, its left child, that one's left and right children, and its right child.
        let nodes = [(0, 20_000, 0), (0, 700, 1), (0, 400, 2), (400, 700, 1), (700, 20_000, 0)];
        for (start, end, open) in nodes {
            blocks.enter(&table, &mut rows[start..end], open);
            for feature in [0, 7, 19] {
                let (codes, stride) = blocks.column(&table, feature, end - start);
                for at in start..end {
                    let code = table.columns[feature].codes[all[at] as usize];
                    assert_eq!(codes[rows[at] as usize * stride], code);
                }
            }
        }
        assert_eq!(blocks.blocks.len(), 1);
    }
}
