//! How bins lie in memory: groups of columns, and tiles of groups.

use std::ops::{Deref, Range};

use corten_kernels::boost::TILE;
use corten_kernels::boost::histogram::{Part, Tile};
use corten_kernels::pages::Pages;
use corten_kernels::team::Team;

use super::binning::{Bins, Features};
use super::bundles::{self, Group, Member};

/// Rows that a thread lays out at a time.
const BLOCK: usize = 8192;

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

/// Where the bytes of a group of columns lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) tile: usize,
    /// Its column in the tile.
    pub(crate) column: usize,
}

/// Columns of a tile, by how their cuts are found where nothing bounds them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scanned {
    /// Columns that follow each other and have one cut each, which their group tells.
    Twos(Range<usize>),
    /// Numbers in more than two bins, whose sums lie together.
    Numbers {
        feature: usize,
        start: usize,
        count: usize,
    },
    Other(usize),
}

/// A bundled column of two bins: what isn't in one is in the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Two {
    pub(crate) feature: usize,
    /// Where the sums of its rarer bin lie among those of its tile.
    pub(crate) rarer: usize,
    /// Its other bin.
    pub(crate) common: usize,
}

/// How columns lie as bins, several of few bins in one group.
pub(crate) struct Layout {
    pub(crate) features: Vec<Bins>,
    /// The column of each feature.
    pub(crate) sources: Vec<usize>,
    /// Each column's group and how it lies there.
    pub(crate) members: Vec<(usize, Member)>,
    /// Of each group.
    pub(crate) places: Vec<Place>,
    /// The columns of each tile's groups in ascending order.
    pub(crate) by_tile: Vec<Vec<Scanned>>,
    /// The columns of [`Scanned::Twos`] of each tile.
    pub(crate) twos: Vec<Vec<Two>>,
    /// Where each column's sums, or those of the group that it keeps out of the way of, start among those of its tile.
    pub(crate) starts: Vec<usize>,
    /// How the sums of each tile's groups lie: a number of places that is a multiple of eight for each.
    pub(crate) parts: Vec<Vec<Part>>,
    /// Sums of each tile.
    pub(crate) sizes: Vec<usize>,
    /// Groups of each tile.
    columns: Vec<usize>,
}

impl Layout {
    /// Puts groups into tiles of about equal width.
    pub(crate) fn new(features: Features, groups: &[Group], members: Vec<(usize, Member)>) -> Self {
        let count = groups.len();
        let per_tile = count.div_ceil(count.div_ceil(TILE).max(1)).max(1);
        let (mut places, mut starts) = (Vec::new(), vec![0; members.len()]);
        let (mut all_parts, mut sizes) = (Vec::new(), Vec::new());
        let (mut by_tile, mut twos) = (Vec::new(), Vec::new());
        for (tile, groups) in groups.chunks(per_tile).enumerate() {
            let (mut start, mut parts) = (0, Vec::new());
            for (column, group) in groups.iter().enumerate() {
                places.push(Place { tile, column });
                if !group.features.iter().any(|&f| matches!(members[f].1, Member::Combined { .. })) {
                    let width = group.bins.next_multiple_of(8);
                    parts.push(Part::whole(column, start, width));
                    group.features.iter().for_each(|&f| starts[f] = start);
                    start += width;
                }
                let mut combined: Vec<_> = group
                    .features
                    .iter()
                    .filter_map(|&f| match members[f].1 {
                        Member::Combined { divisor, states } => Some((divisor, states, f)),
                        _ => None,
                    })
                    .collect();
                // Sums of the later ones are got from blocks of the first.
                combined.sort_unstable();
                for (divisor, states, f) in combined {
                    // The place of missing values stays empty where there are none.
                    let width = (features.bins[f].count() + 1).next_multiple_of(8);
                    parts.push(Part::shared(column, start, width, divisor, states));
                    starts[f] = start;
                    start += width;
                }
            }
            let mut of_tile: Vec<usize> = groups.iter().flat_map(|g| g.features.iter().copied()).collect();
            of_tile.sort_unstable();
            let (mut scanned, mut twos_of_tile) = (Vec::new(), Vec::new());
            for feature in of_tile {
                let bins = &features.bins[feature];
                let next = match (members[feature].1, bins) {
                    (Member::Exclusive { start, common, states: 2 }, Bins::Number { cuts }) if cuts.len() == 1 => {
                        let here = twos_of_tile.len();
                        twos_of_tile.push(Two { feature, rarer: starts[feature] + start, common });
                        if let Some(Scanned::Twos(range)) = scanned.last_mut() {
                            range.end += 1;
                            continue;
                        }
                        Scanned::Twos(here..here + 1)
                    }
                    (Member::Alone | Member::Combined { .. }, Bins::Number { .. } | Bins::Coded(_))
                        if bins.count() > 2 =>
                    {
                        Scanned::Numbers { feature, start: starts[feature], count: bins.count() }
                    }
                    _ => Scanned::Other(feature),
                };
                scanned.push(next);
            }
            by_tile.push(scanned);
            twos.push(twos_of_tile);
            all_parts.push(parts);
            sizes.push(start);
        }
        let columns = groups.chunks(per_tile).map(<[Group]>::len).collect();
        let Features { bins: features, sources } = features;
        Self { features, sources, members, places, by_tile, twos, starts, parts: all_parts, sizes, columns }
    }

    /// Number of groups in a tile.
    pub(crate) fn columns(&self, tile: usize) -> usize {
        self.columns[tile]
    }
}

/// The columns of the training rows as bins: row after row in tiles for sums, group after group for parting rows.
pub(crate) struct Binned {
    pub(crate) rows: usize,
    pub(crate) layout: Layout,
    /// The bytes of groups.
    pub(crate) groups: Columns,
    pub(crate) tiles: Vec<Tile>,
}

impl Deref for Binned {
    type Target = Layout;

    fn deref(&self) -> &Layout {
        &self.layout
    }
}

impl Binned {
    /// Lays encoded columns out.
    pub(crate) fn new(features: Features, columns: Columns, team: Team<'_>) -> Self {
        let rows = columns.rows();
        let (groups, members) = bundles::find(&features.bins, &columns, team);
        let columns = bundles::columns(columns, &groups, &members, team);
        let layout = Layout::new(features, &groups, members);
        let mut first = 0;
        let tiles = (0..layout.sizes.len())
            .map(|t| {
                let parts: Vec<&[u8]> = (first..first + layout.columns(t)).map(|c| columns.get(c)).collect();
                first += parts.len();
                tile(&parts, rows, team)
            })
            .collect();
        Self { rows, layout, groups: columns, tiles }
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
