//! Growing a tree for classes by the best cuts of columns that are drawn for each node.
//!
//! A node sorts its rows by each of its columns (Breiman, "Random forests", 2001). Trees are those of
//! [`Grower`](super::grower::Grower), which is the oracle and grows what isn't simple: limits on more than numbers of rows,
//! weights that aren't small whole numbers, but for a factor of each of two classes, other losses.

mod few;
mod target;
#[cfg(test)]
mod tests;

use corten_core::random::Stream;
use corten_core::{CancelToken, Result};
use corten_kernels::lanes::{self, Lanes, Work};
use corten_kernels::splits::SET;

use super::blocks::Blocks;
use super::columns::{self, Side};
use super::draws::Shuffled;
use super::finder::Stats;
use super::grower::Rules;
use super::ranks::{Code, Table};
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

/// See the module.
pub(crate) struct Sampled<'a, C: Code, T: Target> {
    table: &'a Table<C>,
    rules: &'a Rules,
    /// What all nodes draw from.
    stream: Stream,
    target: T,
    rows: Vec<u32>,
    /// What goes with each row, and of the node at hand the same as the target takes it.
    payloads: Vec<u32>,
    items: Vec<T::Item>,
    blocks: Blocks<C>,
    shuffled: Shuffled,
    /// Codes of a node's rows in the column at hand, and in that of the best cut; those at hand where missing ones come first.
    codes: [Vec<[u32; SET]>; 3],
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

/// The code of a value where that of missing ones is the least.
#[inline(always)]
fn shifted(code: u32, missing: u32) -> u32 {
    if code == missing { 0 } else { code + 1 }
}

impl<'a, C: Code, T: Target> Sampled<'a, C, T> {
    /// For rows and what goes with each; `width` is that of a node's value.
    pub(crate) fn new(
        table: &'a Table<C>,
        rules: &'a Rules,
        stream: Stream,
        (rows, payloads): (Vec<u32>, Vec<u32>),
        target: T,
        width: usize,
    ) -> Self {
        let columns = table.columns.len();
        Self {
            table,
            rules,
            stream,
            target,
            spare: vec![0; rows.len() + SET],
            rows,
            payloads,
            items: Vec::new(),
            blocks: Blocks::new(),
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
            self.blocks.enter(self.table, &mut self.rows[part.start..part.end], self.open.len());
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
        let missing = self.table.columns[cut.feature].missing;
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
            let codes = self.blocks.column(self.table, feature, count);
            let (low, high) = columns::gather(lanes, codes, &self.rows[part.start..part.end], &mut self.codes[0]);
            if low == high {
                self.shuffled.skip(&mut turn);
                continue;
            }
            self.shuffled.take(&mut turn);
            let missing = self.table.columns[feature].missing;
            let gone = high == missing;
            let found = self.look(lanes, 0, (low, high), count);
            let mut found = found.map(|(last, next, score)| {
                let missing_left = gone.then_some(false);
                Cut { feature, last, next, score, missing_left }
            });
            if gone {
                let (codes, most) = self.shift(missing);
                let left = self.look(lanes, codes, (0, most), count);
                // Missing values alone on one side were looked at.
                if let Some((last, next, score)) = left.filter(|left| left.0 > 0)
                    && found.is_none_or(|found| score > found.score)
                {
                    let missing_left = Some(true);
                    found = Some(Cut { feature, last: last - 1, next: next - 1, score, missing_left });
                }
            }
            if let Some(cut) = found
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

    /// Makes missing codes the least: gives where those stand, and the greatest of them.
    #[inline(always)]
    fn shift(&mut self, missing: u32) -> (usize, u32) {
        let [from, _, to] = &mut self.codes;
        to.resize(from.len(), [0; SET]);
        let mut most = 0;
        for (from, to) in from.iter().zip(to) {
            for lane in 0..SET {
                to[lane] = shifted(from[lane], missing);
                most = most.max(to[lane]);
            }
        }
        (2, most)
    }

    /// The best cut by some of the codes, from the least to the greatest: the codes beside it, and its score.
    #[inline(always)]
    fn look<L: Lanes>(
        &mut self,
        lanes: L,
        which: usize,
        (low, high): (u32, u32),
        count: usize,
    ) -> Option<(u32, u32, f64)> {
        let (codes, least) = (&self.codes[which].as_flattened()[..count], self.rules.min_samples_leaf);
        if least <= 1 && ((high - low) as usize) < self.target.bins(count) {
            return self.target.counted(&self.node, codes, &self.items, (low, high), &mut self.room);
        }
        let at = (&self.target, &self.node, &self.items[..], &mut self.room);
        if C::LIMIT <= 1 << 16 && count <= 1 << 16 {
            sorted(lanes, at, &self.codes[which], (low, high), least, &mut self.narrow)
        } else {
            sorted(lanes, at, &self.codes[which], (low, high), least, &mut self.wide)
        }
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
        node.threshold = self.table.columns[cut.feature].view().between(cut.last, cut.next);
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
    min_samples: usize,
    [keys, scratch]: &mut [Vec<K>; 2],
) -> Option<(u32, u32, f64)> {
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
    // Cuts that leave enough rows on both sides, by the key that comes after them.
    let cuts = min_samples.max(1).saturating_sub(rows - count)..(count + 1).saturating_sub(min_samples.max(1));
    if cuts.is_empty() {
        return None;
    }
    let (at, score) = target.before(node, keys, items, cuts, room)?;
    Some((if at == 0 { low } else { keys[at - 1].code() }, keys[at].code(), score))
}

struct Growth<'w, 'a, C: Code, T: Target> {
    grower: &'w mut Sampled<'a, C, T>,
    cancel: &'w CancelToken,
}

impl<C: Code, T: Target> Work for Growth<'_, '_, C, T> {
    type Out = Result<()>;

    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) -> Result<()> {
        self.grower.all(lanes, self.cancel)
    }
}
