//! Sums of gradients and hessians by bin, in integers.
//!
//! Gradients and hessians are rounded once a tree, at one scale: to 16 bits each, or to 31 where a few are so large that
//! 16 bits wouldn't tell the others apart. Sums are exact: none depends on its order, and a sibling is exactly its parent
//! less the other child. The scale doesn't depend on the number of rows: nodes of more than 65,536 rows keep gradients
//! and hessians in words of their own.

use std::sync::{Mutex, PoisonError};

use corten_kernels::boost::histogram::{self, Packed, Sums, Tile, Wide, unpack};
use corten_kernels::boost::partition::{Rows, Stretch};
use corten_kernels::boost::{BLOCK, WIDTH};
use corten_kernels::pages::Pages;
use corten_kernels::team::Team;

use super::layout::{Binned, Layout};

/// The largest gradient and the largest hessian in units of a packed word.
pub(crate) const PACKED: (f64, f64) = (32_767.0, 65_535.0);
/// The same of a pair of words.
pub(crate) const PAIR: (f64, f64) = (1_073_741_823.0, 1_073_741_823.0);

/// One tree's gradients and hessians as integers.
#[derive(Debug)]
pub(crate) enum Words {
    Packed(Pages<Packed>),
    Wide(Pages<Wide>),
}

impl Default for Words {
    fn default() -> Self {
        Self::Packed(Pages::default())
    }
}

/// What the integers are worth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scale {
    /// One unit of gradient.
    pub(crate) gradient: f64,
    /// One unit of hessian.
    pub(crate) hessian: f64,
    /// Whether each row has a hessian of one unit, so that sums of hessians count rows.
    pub(crate) counts: bool,
    /// Most units of hessian of one row.
    pub(crate) most: i64,
}

/// A sum of gradients and one of hessians.
pub(crate) type Pair = (i64, i64);

/// The sums of one tile of a node: one packed word a bin, or all gradients and then all hessians.
pub(crate) type TileSums = Vec<i64>;

/// The sums of a node, tile by tile.
#[derive(Debug, Default)]
pub(crate) struct Histogram {
    pub(crate) wide: bool,
    pub(crate) tiles: Vec<TileSums>,
}

impl Histogram {
    /// Makes room for a node; what is in it has no meaning.
    pub(crate) fn fit(&mut self, binned: &Binned, wide: bool) {
        self.wide = wide;
        self.tiles.resize_with(binned.sizes.len(), Vec::new);
        for (tile, &size) in self.tiles.iter_mut().zip(&binned.sizes) {
            tile.resize(if wide { 2 * size } else { size }, 0);
        }
    }
}

/// Whether a node's sums need words of their own.
pub(crate) fn is_wide(words: &Words, rows: usize) -> bool {
    matches!(words, Words::Wide(_)) || rows > BLOCK
}

/// Builds the packed sums of a tile of a small node on this thread.
pub(crate) fn build_packed(
    binned: &Binned,
    tile: usize,
    words: &[Packed],
    rows: &Rows<'_>,
    sums: &mut Sums,
    out: &mut [i64],
) {
    rows.stretches().for_each(|stretch| sums.add(&binned.tiles[tile], words, stretch));
    sums.take(&binned.parts[tile], out);
}

/// Part of the sums of a tile.
struct Piece<'r> {
    tile: usize,
    rows: Stretch<'r>,
    sums: Sums,
}

/// Builds the sums of a node with all threads: rows in pieces, whose sums are added together.
pub(crate) fn build(
    binned: &Binned,
    words: &Words,
    rows: &Rows<'_>,
    team: Team<'_>,
    scratch: &mut Vec<Sums>,
    out: &mut Histogram,
) {
    let n = rows.len();
    let wide = out.wide;
    for tile in &mut out.tiles {
        tile.fill(0);
    }
    let pieces = if team.threads() == 1 { 1 } else { 2 * team.threads() };
    let size = n.div_ceil(pieces).clamp(2048, BLOCK);
    let mut items = Vec::new();
    for tile in 0..binned.tiles.len() {
        for rows in rows.stretches().flat_map(|stretch| stretch.pieces(size)) {
            items.push(Piece { tile, rows, sums: scratch.pop().unwrap_or_default() });
        }
    }
    let shared: Vec<Mutex<&mut TileSums>> = out.tiles.iter_mut().map(Mutex::new).collect();
    team.each(&mut items, |_, Piece { tile, rows, sums }| {
        let tile = *tile;
        let size = binned.sizes[tile];
        match words {
            Words::Packed(words) => {
                sums.add(&binned.tiles[tile], words, *rows);
                let mut guard = shared[tile].lock().unwrap_or_else(PoisonError::into_inner);
                if wide {
                    let (gradients, hessians) = guard.split_at_mut(size);
                    sums.drain_wide(&binned.parts[tile], gradients, hessians);
                } else {
                    sums.drain(&binned.parts[tile], &mut guard);
                }
            }
            Words::Wide(pairs) => {
                let sums = wide_sums(&binned.tiles[tile], pairs, *rows);
                let mut guard = shared[tile].lock().unwrap_or_else(PoisonError::into_inner);
                let (gradients, hessians) = guard.split_at_mut(size);
                for part in &binned.parts[tile] {
                    part.add(&sums.0, gradients);
                    part.add(&sums.1, hessians);
                }
            }
        }
    });
    scratch.extend(items.into_iter().map(|i| i.sums));
}

/// Gradients and hessians of some rows, a column after the other.
pub(crate) fn wide_sums(tile: &Tile, pairs: &[Wide], rows: Stretch<'_>) -> (Vec<i64>, Vec<i64>) {
    let (mut g, mut h) = (vec![0; tile.columns() * WIDTH], vec![0; tile.columns() * WIDTH]);
    histogram::add_wide(&mut g, &mut h, tile, pairs, rows);
    (g, h)
}

/// Takes a child's sums of a tile from its parent's, which become those of the other child; `wide` says how each of
/// parent, child and other child is kept.
pub(crate) fn subtract(parent: &mut TileSums, child: &[i64], size: usize, wide: [bool; 3]) {
    match wide {
        [false, false, false] | [true, true, true] => {
            histogram::subtract(parent, child);
        }
        [true, false, other] => {
            let (gradients, hessians) = parent.split_at_mut(size);
            for ((g, h), &c) in gradients.iter_mut().zip(hessians).zip(child) {
                let (a, b) = unpack(c);
                *g -= a;
                *h -= b;
                if !other {
                    *g = (*g << 32) + *h;
                }
            }
            if !other {
                parent.truncate(size);
            }
        }
        // The smaller child is wide only where the larger one and the parent are.
        _ => unreachable!("a child with more rows than its parent"),
    }
}

/// The sum over all rows of a node: each is in one bin of the first part of the first tile.
pub(crate) fn total(layout: &Layout, histogram: &Histogram) -> Pair {
    layout.parts[0][0].range().fold((0, 0), |a, bin| {
        let s = at(&histogram.tiles[0], layout.sizes[0], histogram.wide, bin);
        (a.0 + s.0, a.1 + s.1)
    })
}

/// The sums of a bin.
#[inline]
pub(crate) fn at(tile: &[i64], size: usize, wide: bool, bin: usize) -> Pair {
    if wide { (tile[bin], tile[size + bin]) } else { unpack(tile[bin]) }
}
