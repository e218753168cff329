//! Growing a tree for classes by the best cuts of columns that are drawn for each node.
//!
//! A node sorts its rows by each of its columns (Breiman, "Random forests", 2001). Trees are those of
//! [`Grower`](super::grower::Grower), which is the oracle and grows what isn't simple: limits on more than numbers of rows,
//! weights that aren't small whole numbers, but for a factor of each class, other losses.

mod few;
mod target;
mod terms;
#[cfg(test)]
mod tests;

use std::ops::Range;

use corten_core::random::Stream;
use corten_core::{CancelToken, Result};
use corten_kernels::lanes::{self, Lanes, Work};
use corten_kernels::splits::SET;

use super::blocks::Records;
use super::columns::{self, Side};
use super::draws::Shuffled;
use super::finder::Stats;
use super::grower::Rules;
use super::ranks::{Code, Packed, Ranked, Table, View, packed};
use super::sort::{self, Key};
use super::tree::GrownTree;

pub(crate) use target::Target;

/// Bits of a row's weight in what goes with it; its class stands above.
const WEIGHT_BITS: u32 = 16;
/// Largest weight: sixteen rows of it are summed in as many bits.
const MOST_WEIGHT: u32 = (1 << 12) - 1;

/// What goes with a row, where it fits.
pub(crate) fn payload(class: u32, weight: u32) -> Option<u32> {
    (class >> (u32::BITS - WEIGHT_BITS) == 0 && weight <= MOST_WEIGHT).then_some(class << WEIGHT_BITS | weight)
}

/// A part of the rows that becomes a node.
#[derive(Clone, Copy)]
struct Part {
    start: usize,
    end: usize,
    depth: usize,
    /// The parent's place, and whether this is its left child.
    parent: Option<(u32, bool)>,
    /// Columns known not to vary.
    constant: usize,
}

/// A cut of a node: between two of its codes.
#[derive(Clone, Copy)]
struct Cut {
    feature: usize,
    last: u32,
    next: u32,
    score: f64,
    /// Where values are missing, whether they go left.
    missing_left: Option<bool>,
}

/// The best cut of a node by a column: the codes beside it, and whether missing values, where there are any, go left.
pub(crate) struct Found {
    pub(crate) last: u32,
    pub(crate) next: u32,
    pub(crate) score: f64,
    pub(crate) missing_left: bool,
}

/// Cuts that leave enough rows on both sides, by the key that comes after them.
pub(crate) struct Cuts {
    /// Where missing values go right.
    pub(crate) right: Range<usize>,
    /// Where they go left.
    pub(crate) left: Range<usize>,
    /// How many keys, the last ones, are of missing values.
    pub(crate) gone: usize,
}

impl Cuts {
    /// Those from the first one on.
    #[inline(always)]
    fn all(&self) -> Range<usize> {
        let start = if self.gone > 0 { self.left.start } else { self.right.start };
        start.min(self.right.end)..self.right.end
    }
}

/// See the module.
pub(crate) struct Sampled<'a, T: Target> {
    columns: Vec<View<'a>>,
    /// Their codes, and whether those have 16 bits or fewer.
    records: Records<'a>,
    is_narrow: bool,
    rules: &'a Rules,
    /// What all nodes draw from.
    stream: Stream,
    target: T,
    rows: Vec<u32>,
    /// What goes with each row, and of the node at hand the same as the target takes it.
    payloads: Vec<u32>,
    items: Vec<T::Item>,
    shuffled: Shuffled,
    /// Codes of a node's rows in the column at hand, and in that of the best cut.
    codes: [Vec<[u32; SET]>; 2],
    narrow: [Vec<u32>; 2],
    wide: [Vec<u64>; 2],
    node: T::Node,
    room: T::Room,
    mask: Vec<u64>,
    spare: Vec<u32>,
    few: few::Few,
    open: Vec<Part>,
    /// Weight of all rows.
    weight: f64,
    tree: GrownTree,
}

/// Whether trees of such rules are grown here.
pub(crate) fn suits<C: Code>(rules: &Rules, table: &Table<C>) -> bool {
    let fits = C::LIMIT <= 1 << 16 || table.columns.iter().all(|c| c.codes.len() >> few::CODE_BITS == 0);
    !rules.random
        && rules.max_features < table.columns.len()
        && rules.max_leaf_nodes.is_none()
        && rules.monotonic.is_empty()
        && rules.min_weight_leaf <= 0.0
        && fits
}

impl<'a, T: Target> Sampled<'a, T> {
    /// For rows and what goes with each; `width` is that of a node's value.
    pub(crate) fn new<C: Code>(
        table: &'a Table<C>,
        rules: &'a Rules,
        stream: Stream,
        (rows, payloads): (Vec<u32>, Vec<u32>),
        target: T,
        width: usize,
    ) -> Self {
        let columns = table.columns.len();
        Self {
            columns: table.columns.iter().map(Ranked::view).collect(),
            records: C::records(table),
            is_narrow: C::LIMIT <= 1 << 16,
            rules,
            stream,
            target,
            spare: vec![0; rows.len() + SET],
            rows,
            payloads,
            items: Vec::new(),
            shuffled: Shuffled::new(columns),
            codes: Default::default(),
            narrow: Default::default(),
            wide: Default::default(),
            node: T::Node::default(),
            room: T::Room::default(),
            mask: Vec::new(),
            few: few::Few::new(columns),
            open: Vec::new(),
            weight: 0.0,
            tree: GrownTree { width, ..GrownTree::default() },
        }
    }

    /// # Errors
    /// [`corten_core::Error::Cancelled`].
    pub(crate) fn grow(mut self, cancel: &CancelToken) -> Result<GrownTree> {
        lanes::run(Growth { grower: &mut self, cancel })?;
        Ok(self.tree)
    }

    #[inline(always)]
    fn all<L: Lanes>(&mut self, lanes: L, cancel: &CancelToken) -> Result<()> {
        self.open.push(Part { start: 0, end: self.rows.len(), depth: 0, parent: None, constant: 0 });
        while let Some(part) = self.open.pop() {
            self.records.enter(&mut self.rows[part.start..part.end], self.open.len());
            if part.end - part.start <= SET {
                self.subtree(lanes, part);
                continue;
            }
            cancel.check()?;
            self.node(lanes, part);
        }
        Ok(())
    }

    /// Writes a node and splits it, where it can be.
    #[inline(always)]
    fn node<L: Lanes>(&mut self, lanes: L, part: Part) {
        let Part { start, end, depth, .. } = part;
        self.items.resize(end - start, T::Item::default());
        // A loop, as closures of iterators aren't compiled together with what uses them.
        for (item, &payload) in self.items.iter_mut().zip(&self.payloads[start..end]) {
            *item = self.target.item(payload >> WEIGHT_BITS, payload & ((1 << WEIGHT_BITS) - 1));
        }
        let stats = self.target.enter(&mut self.node, &self.items[..]);
        let (at, last) = self.write(&part, end - start, stats);
        if last {
            return;
        }
        let (cut, constant) = self.search(lanes, &part);
        let Some(cut) = cut.filter(|cut| self.is_worth(cut.score)) else { return };
        let missing = self.columns[cut.feature].missing;
        let shift = if cut.missing_left == Some(true) { missing.wrapping_neg() } else { 0 };
        columns::mask(lanes, &self.codes[1], Side { last: cut.last, shift }, &mut self.mask);
        columns::part(lanes, &self.mask, &mut self.payloads[start..end], &mut self.spare);
        let left = columns::part(lanes, &self.mask, &mut self.rows[start..end], &mut self.spare);
        self.lead(at, &cut, 2 * left > end - start);
        let child = |is_left, start, end| Part { start, end, depth: depth + 1, parent: Some((at, is_left)), constant };
        self.open.extend([child(false, start + left, end), child(true, start, start + left)]);
    }

    /// The best cut of a node, whose column's codes it leaves, and the number of columns then known not to vary.
    #[inline(always)]
    fn search<L: Lanes>(&mut self, lanes: L, part: &Part) -> (Option<Cut>, usize) {
        let count = part.end - part.start;
        let mut turn = self.shuffled.turn(part.constant);
        let mut best: Option<Cut> = None;
        while let Some(feature) = self.shuffled.next(&mut turn, &mut self.stream, self.rules.max_features) {
            let (codes, stride) = self.records.column(feature, count);
            let (rows, out) = (&self.rows[part.start..part.end], &mut self.codes[0]);
            let (low, high) = packed!(codes, codes => columns::gather(lanes, (codes, stride), rows, out));
            if low == high {
                self.shuffled.skip(&mut turn);
                continue;
            }
            self.shuffled.take(&mut turn);
            let missing = self.columns[feature].missing;
            if let Some(cut) = self.look(lanes, feature, (low, high), missing, count)
                && best.is_none_or(|b| cut.score > b.score)
            {
                best = Some(cut);
                self.codes.swap(0, 1);
                if self.is_enough(cut.score, count) {
                    break;
                }
            }
        }
        (best, self.shuffled.end(&turn))
    }

    /// The best cut by the codes at hand, from the least to the greatest, that of missing values.
    #[inline(always)]
    fn look<L: Lanes>(
        &mut self,
        lanes: L,
        feature: usize,
        (low, high): (u32, u32),
        missing: u32,
        count: usize,
    ) -> Option<Cut> {
        let (codes, least) = (&self.codes[0].as_flattened()[..count], self.rules.min_samples_leaf);
        let is_gone = high == missing;
        let found = if least <= 1 && ((high - low) as usize) < self.target.bins(count) {
            self.target.counted(&self.node, codes, &self.items, (low, high), is_gone, &mut self.room)
        } else {
            let at = (&self.target, &self.node, &self.items[..], &mut self.room);
            if self.is_narrow && count <= 1 << 16 {
                sorted(lanes, at, &self.codes[0], (low, high), is_gone, least, &mut self.narrow)
            } else {
                sorted(lanes, at, &self.codes[0], (low, high), is_gone, least, &mut self.wide)
            }
        };
        found.map(|Found { last, next, score, missing_left }| {
            let missing_left = is_gone.then_some(missing_left);
            Cut { feature, last, next, score, missing_left }
        })
    }

    /// Writes a node as a leaf, of so many rows; says whether it stays one.
    #[inline(always)]
    fn write(&mut self, part: &Part, samples: usize, stats: Stats) -> (u32, bool) {
        if part.parent.is_none() {
            self.weight = stats.weight;
        }
        let at = self.tree.add(part.parent, samples, stats);
        self.target.value(&self.node, &mut self.tree.values);
        (at, self.rules.is_last(part.depth, samples, stats))
    }

    /// Whether no further column of a node of so many rows is looked at. Where classes weigh more or less, all that are drawn
    /// are, as in the other grower: nodes draw from one sequence.
    #[inline(always)]
    fn is_enough(&self, score: f64, rows: usize) -> bool {
        self.target.factors().is_none() && self.target.is_perfect(&self.node, score, rows)
    }

    /// Whether a cut gains enough.
    #[inline(always)]
    fn is_worth(&self, score: f64) -> bool {
        self.rules.is_worth(self.target.gain(&self.node, score), self.weight)
    }

    /// Makes a leaf an inner node.
    #[inline(always)]
    fn lead(&mut self, at: u32, cut: &Cut, most_left: bool) {
        let node = &mut self.tree.nodes[at as usize];
        node.feature = cut.feature as u32;
        node.threshold = self.columns[cut.feature].between(cut.last, cut.next);
        // Where the node had no missing value, later ones go where most rows go.
        node.missing_left = cut.missing_left.unwrap_or(most_left);
    }
}

/// The best cut between codes, once they are sorted. Rows of the least one aren't: often they are many, and what lies
/// right of a cut tells what lies left of it.
#[inline(always)]
fn sorted<L: Lanes, K: Key, T: Target>(
    lanes: L,
    (target, node, items, room): (&T, &T::Node, &[T::Item], &mut T::Room),
    codes: &[[u32; SET]],
    (low, high): (u32, u32),
    is_gone: bool,
    min_samples: usize,
    [keys, scratch]: &mut [Vec<K>; 2],
) -> Option<Found> {
    let rows = items.len();
    keys.resize(rows + SET, K::default());
    let mut count = 0;
    for (start, block) in (0..rows).step_by(SET).zip(codes) {
        let mut places = [0; SET];
        for lane in 0..SET {
            places[lane] = (start + lane) as u32;
        }
        let there = u16::MAX >> (SET - (rows - start).min(SET));
        let above = !lanes.up_to(block, low, 0) & there;
        let (block, places) = (lanes.members(above, block), lanes.members(above, &places));
        // What stands behind the members is written over, or cut off.
        for (lane, key) in keys[count..count + SET].iter_mut().enumerate() {
            *key = K::new(block[lane], places[lane] as usize);
        }
        count += above.count_ones() as usize;
    }
    keys.truncate(count);
    sort::by_code(keys, scratch, low, high);
    let gone = if is_gone { count - keys.partition_point(|key| key.code() < high) } else { 0 };
    let (least, first) = (min_samples.max(1), rows - count);
    let cuts = Cuts {
        right: least.saturating_sub(first)..(count + 1).saturating_sub(least),
        left: least.saturating_sub(first + gone)..(count - gone + 1).saturating_sub(least),
        gone,
    };
    let (at, score, missing_left) = target.before(node, keys, items, &cuts, room)?;
    let last = if at == 0 { low } else { keys[at - 1].code() };
    Some(Found { last, next: keys[at].code(), score, missing_left })
}

struct Growth<'w, 'a, T: Target> {
    grower: &'w mut Sampled<'a, T>,
    cancel: &'w CancelToken,
}

impl<T: Target> Work for Growth<'_, '_, T> {
    type Out = Result<()>;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Result<()> {
        self.grower.all(lanes, self.cancel)
    }
}
