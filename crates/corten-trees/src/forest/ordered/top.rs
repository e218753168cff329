//! Nodes of many rows, and all nodes where the number of leaves is limited: several at a time are searched and split, column
//! beside column.

mod search;

use std::cmp::Reverse;
use std::ops::Range;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use corten_core::Result;
use corten_kernels::lanes;
use corten_kernels::parallel;

use super::super::draws::Draws;
use super::super::finder::Stats;
use super::super::grower::{ROOT, child_place};
use super::super::lists::partition;
use super::super::sort::Key;
use super::super::tree::{GrownTree, Node};
use super::block::{self, Block};
use super::picked;
use super::{Cut, Growth, LEAVES, Room, Target, mark, mark_by_code};
use search::{Count, Offer, Scan};

/// Keys of a node below which columns aren't spread over threads.
const SPREAD: usize = 1 << 14;

/// Groups of columns that are summed by value together, a thread: one that comes late finds some left.
const GROUPS: usize = 2;
/// Nodes that are split together, a thread. All that are open would keep their sums at once.
const TOGETHER: usize = 4;

/// A node whose rows are many.
struct Part<T: Target> {
    start: usize,
    end: usize,
    depth: usize,
    place: u64,
    /// The least gain on the path to it.
    reach: f64,
    node: T::Node,
    /// Its place among nodes.
    at: usize,
    /// A bit a column that doesn't vary.
    known: Vec<u64>,
    /// What each column offers; nothing of a node that stays a leaf.
    looks: Vec<Look>,
    /// Sums by value of each group of columns.
    sums: Vec<Vec<T::Sum>>,
}

/// A split that is to be done on each column: of which rows, after how many, by which column, what was known of columns,
/// and the sums of each group.
struct Split<'a, S> {
    start: usize,
    middle: usize,
    end: usize,
    by: usize,
    known: &'a [u64],
    sums: &'a [Vec<S>],
}

/// Nodes that are searched, side by side, once the split that they come from has been done.
struct Brood<'a, S> {
    split: Option<Split<'a, S>>,
    parts: Range<usize>,
}

/// A node that is split.
struct Chosen<T: Target> {
    part: Part<T>,
    feature: usize,
    cut: Cut,
    gain: f64,
}

impl<T: Target> Chosen<T> {
    /// The least gain on the path to its children.
    fn reach(&self) -> f64 {
        self.part.reach.min(self.gain)
    }
}

/// Where a node is split.
struct Halves {
    /// The number of rows on the left.
    left: usize,
    threshold: f64,
    missing_left: bool,
    /// A column in whose keys the rows of both sides lie together.
    by: usize,
}

/// What a column offers.
#[derive(Clone, Copy)]
enum Look {
    Constant,
    Cut(Option<Cut>),
}

/// What follows from a node.
#[derive(Clone, Copy)]
enum Child {
    Node(usize),
    Block(usize),
}

/// Room for a copy of keys and a search: one a thread, as one a column would be new memory for each.
struct Desk<K, T: Target> {
    buffer: Vec<K>,
    room: Room<K, T>,
}

impl<K, T: Target> Default for Desk<K, T> {
    fn default() -> Self {
        Self { buffer: Vec::new(), room: Room::default() }
    }
}

/// See the module.
pub(super) struct Top<'a, K, T: Target> {
    growth: &'a Growth<'a, T>,
    /// Each column's keys; none where rows are summed by value.
    lists: Vec<Mutex<Vec<K>>>,
    /// Keys in the order of rows, where some columns are summed by value.
    order: Vec<K>,
    /// Columns that are summed by value together.
    groups: Vec<Range<usize>>,
    /// Desks at which no thread works.
    desks: Mutex<Vec<Desk<K, T>>>,
    /// Whether the row at a place goes left.
    is_left: Vec<u8>,
    /// Most rows of a block.
    most: usize,
    draws: Draws,
    weight: f64,
    nodes: Vec<Node>,
    /// What each node's split gains, where leaves are counted, and many.
    gains: Vec<f64>,
    values: Vec<f64>,
    children: Vec<Option<[Child; 2]>>,
    blocks: Vec<block::Root>,
}

impl<'a, K: Key, T: Target> Top<'a, K, T> {
    pub(super) fn grow(growth: &'a Growth<'a, T>) -> Result<GrownTree> {
        let (rows, columns) = (growth.soil.rows.len(), growth.soil.columns.len());
        let places = growth.soil.orders.places(growth.soil.rows);
        let lists = parallel::map_together(growth.soil.threads, columns, |at| {
            Mutex::new(growth.soil.orders.keys(at, rows, &places))
        });
        let bins = &growth.soil.orders.bins;
        let leaves = growth.soil.rules.max_leaf_nodes;
        let one_by_one = leaves.filter(|&leaves| leaves <= LEAVES);
        let (binned, order) = (bins.columns.len(), if bins.columns.is_empty() { 0 } else { rows });
        let together = binned.div_ceil(GROUPS * growth.soil.threads).max(1);
        let mut top = Self {
            growth,
            lists,
            order: (0..order).map(|place| K::new(0, place)).collect(),
            groups: (0..binned).step_by(together).map(|at| at..(at + together).min(binned)).collect(),
            desks: Mutex::new(Vec::new()),
            is_left: vec![0; rows],
            // Which leaf is split next depends on all others: none of them grows in a block.
            most: if one_by_one.is_some() { 0 } else { block::most(rows, columns, growth.soil.threads) },
            draws: Draws::new(columns),
            weight: 0.0,
            nodes: Vec::new(),
            gains: Vec::new(),
            values: Vec::new(),
            children: Vec::new(),
            blocks: Vec::new(),
        };
        let mut node = T::Node::default();
        let (by, target) = (if order == 0 { 0 } else { columns }, growth.target);
        let stats = match top.lists.get(by) {
            Some(keys) => target.enter(&mut node, (&locked(keys)[..], growth.items)),
            None => target.enter(&mut node, (&top.order[..], growth.items)),
        };
        top.weight = stats.weight;
        let known = vec![0; columns.div_ceil(64)];
        let mut open = Vec::new();
        let first = if rows <= top.most {
            let reach = f64::INFINITY;
            top.block(block::Root { start: 0, end: rows, depth: 0, place: ROOT, reach, by, known })
        } else {
            let part = Part {
                start: 0,
                end: rows,
                depth: 0,
                place: ROOT,
                reach: f64::INFINITY,
                node,
                at: 0,
                known,
                looks: Vec::new(),
                sums: Vec::new(),
            };
            let mut parts = [part];
            let is_searched = top.write(&mut parts[0], stats);
            if is_searched {
                top.look(&mut parts, &[Brood { split: None, parts: 0..1 }]);
                open.extend(parts);
            }
            Child::Node(0)
        };
        if let Some(leaves) = one_by_one {
            top.best_first(open, leaves)?;
            return Ok(top.whole());
        }
        while !open.is_empty() {
            growth.soil.cancel.check()?;
            let some = open.split_off(open.len().saturating_sub(TOGETHER * growth.soil.threads));
            let chosen: Vec<_> = some.into_iter().filter_map(|part| top.choose(part)).collect();
            if let Some(bar) = &growth.bar {
                bar.add(&mut chosen.iter().map(Chosen::reach).collect());
            }
            open.extend(top.split(chosen));
        }
        let blocks = top.grow_blocks()?;
        let (tree, gains) = top.joined(first, blocks);
        Ok(if let Some(leaves) = leaves { picked::pick(&tree, &gains, leaves) } else { tree })
    }

    fn desk(&self) -> Desk<K, T> {
        locked(&self.desks).pop().unwrap_or_default()
    }

    fn block(&mut self, root: block::Root) -> Child {
        self.blocks.push(root);
        Child::Block(self.blocks.len() - 1)
    }

    /// Writes a node as a leaf; says whether it is to be searched.
    fn write(&mut self, part: &mut Part<T>, stats: Stats) -> bool {
        part.at = self.nodes.len();
        let samples = part.end - part.start;
        self.nodes.push(Node::leaf(0, samples, stats));
        self.gains.push(0.0);
        self.children.push(None);
        self.growth.target.value(&part.node, &mut self.values);
        !self.growth.soil.rules.is_last(part.depth, samples, stats)
            && !self.growth.bar.as_ref().is_some_and(|bar| bar.is_above(part.reach, stats.weight, stats.impurity))
    }

    /// Finds what columns offer nodes, once the splits that they come from have been done on each.
    fn look(&self, parts: &mut [Part<T>], broods: &[Brood<'_, T::Sum>]) {
        let growth = self.growth;
        let (columns, bins) = (self.lists.len(), &growth.soil.orders.bins);
        let rows = |brood: &Brood<'_, T::Sum>| match &brood.split {
            Some(split) => split.end - split.start,
            None => growth.soil.rows.len(),
        };
        let all = broods.iter().map(rows).sum::<usize>();
        let threads = if all * columns < SPREAD { 1 } else { growth.soil.threads };
        let listed: Vec<usize> = (0..columns).filter(|&column| bins.place(column).is_none()).collect();
        let shared = &*parts;
        // Groups first, as they are more work than a column.
        let groups = self.groups.len();
        let offered = parallel::map_together(threads, groups + listed.len(), |at| {
            if let Some(group) = self.groups.get(at) {
                return lanes::run(Count { top: self, group, at, parts: shared, broods });
            }
            let column = listed[at - groups];
            let keys = &mut *locked(&self.lists[column]);
            let mut desk = self.desk();
            let looks = lanes::run(Scan {
                growth,
                keys,
                desk: &mut desk,
                column,
                parts: shared,
                broods,
                is_left: &self.is_left,
            });
            locked(&self.desks).push(desk);
            looks.into_iter().map(|look| Offer { looks: vec![look], sums: Vec::new() }).collect()
        });
        parts.iter_mut().for_each(|part| part.looks = vec![Look::Constant; columns]);
        for (at, offers) in offered.into_iter().enumerate() {
            for (part, offer) in parts.iter_mut().zip(offers) {
                if let Some(group) = self.groups.get(at) {
                    for (binned, look) in bins.columns[group.clone()].iter().zip(offer.looks) {
                        part.looks[binned.column] = look;
                    }
                    part.sums.push(offer.sums);
                } else {
                    part.looks[listed[at - groups]] = offer.looks[0];
                }
            }
        }
        for part in parts {
            for (column, look) in part.looks.iter().enumerate() {
                if matches!(look, Look::Constant) {
                    part.known[column / 64] |= 1 << (column % 64);
                }
            }
        }
    }

    /// The best of what columns offer, the first one drawn among equals.
    fn choose(&mut self, part: Part<T>) -> Option<Chosen<T>> {
        let growth = self.growth;
        let mut stream = growth.soil.stream.at(part.place);
        let mut best: Option<(usize, Cut)> = None;
        while let Some(feature) = self.draws.next(&mut stream) {
            if let Look::Cut(Some(cut)) = part.looks[feature]
                && best.is_none_or(|(_, b)| cut.score > b.score)
            {
                best = Some((feature, cut));
                if growth.target.is_perfect(&part.node, cut.score, part.end - part.start) {
                    break;
                }
            }
        }
        self.draws.reset();
        let (feature, cut) = best?;
        let gain = growth.target.gain(&part.node, cut.score);
        let is_worth = growth.soil.rules.is_worth(gain, self.weight);
        let gain = self.nodes[part.at].counted(gain);
        is_worth.then_some(Chosen { part, feature, cut, gain })
    }

    /// Splits the leaf whose cut gains most, the one written first among equals, until there are so many leaves.
    fn best_first(&mut self, open: Vec<Part<T>>, leaves: usize) -> Result<()> {
        let mut waiting: Vec<Chosen<T>> = open.into_iter().filter_map(|part| self.choose(part)).collect();
        for _ in 1..leaves {
            self.growth.soil.cancel.check()?;
            let order = |a: &Chosen<T>, b: &Chosen<T>| a.gain.total_cmp(&b.gain).then(b.part.at.cmp(&a.part.at));
            let best = waiting.iter().enumerate().max_by(|a, b| order(a.1, b.1)).map(|(at, _)| at);
            let Some(best) = best else { break };
            let best = waiting.swap_remove(best);
            let parts = self.split(vec![best]);
            waiting.extend(parts.into_iter().filter_map(|part| self.choose(part)));
        }
        Ok(())
    }

    /// A tree without blocks, its nodes as they were written.
    fn whole(self) -> GrownTree {
        let place = |child: Child, own: usize| if let Child::Node(at) = child { at as u32 } else { own as u32 };
        let nodes = self.nodes.into_iter().zip(self.children).enumerate();
        let nodes = nodes.map(|(at, (node, children))| match children {
            Some([left, right]) => Node { left: place(left, at), right: place(right, at), ..node },
            None => Node { left: at as u32, right: at as u32, ..node },
        });
        GrownTree { nodes: nodes.collect(), values: self.values, width: self.growth.soil.width }
    }

    /// Splits nodes; gives those of their children that are to be split.
    fn split(&mut self, mut chosen: Vec<Chosen<T>>) -> Vec<Part<T>> {
        // Rows of nodes that come one after the other are parts of an order that can be handed out.
        chosen.sort_unstable_by_key(|chosen| chosen.part.start);
        let halves: Vec<Halves> = chosen.iter().map(|chosen| self.mark(chosen)).collect();
        let mut order = std::mem::take(&mut self.order);
        let (mut rest, mut before, mut orders) = (&mut order[..], 0, Vec::with_capacity(chosen.len()));
        for Chosen { part, .. } in &chosen {
            let (skipped, own) = if rest.is_empty() { (0, 0) } else { (part.start - before, part.end - part.start) };
            let (own, after) = rest.split_off_mut(skipped..).unwrap_or_default().split_at_mut(own);
            orders.push(Mutex::new(own));
            (rest, before) = (after, part.end);
        }
        let rows: usize = chosen.iter().map(|chosen| chosen.part.end - chosen.part.start).sum();
        let threads = if rows < SPREAD { 1 } else { self.growth.soil.threads };
        let this = &*self;
        let entered = parallel::map_together(threads, chosen.len(), |at| {
            this.enter(&chosen[at].part, &halves[at], &mut locked(&orders[at]))
        });
        drop(orders);
        self.order = order;
        let (mut parts, mut broods) = (Vec::with_capacity(2 * chosen.len()), Vec::with_capacity(chosen.len()));
        for ((one, half), entered) in chosen.iter().zip(halves).zip(entered) {
            let (Chosen { part, feature, .. }, reach) = (one, one.reach());
            self.gains[part.at] = one.gain;
            let node = &mut self.nodes[part.at];
            (node.feature, node.threshold, node.missing_left) = (*feature as u32, half.threshold, half.missing_left);
            let (start, middle, end, first) = (part.start, part.start + half.left, part.end, parts.len());
            let mut entered = entered.into_iter();
            let children = [(start, middle, true), (middle, end, false)].map(|(start, end, is_left)| {
                let (depth, place) = (part.depth + 1, child_place(part.place, is_left));
                let known = part.known.clone();
                let Some((node, stats)) = entered.next().flatten() else {
                    return self.block(block::Root { start, end, depth, place, reach, by: half.by, known });
                };
                let (looks, sums) = (Vec::new(), Vec::new());
                let mut child = Part { start, end, depth, place, reach, node, at: 0, known, looks, sums };
                let is_searched = self.write(&mut child, stats);
                let at = child.at;
                if is_searched {
                    parts.push(child);
                }
                Child::Node(at)
            });
            self.children[part.at] = Some(children);
            let split = Split { start, middle, end, by: *feature, known: &part.known, sums: &part.sums };
            broods.push(Brood { split: Some(split), parts: first..parts.len() });
        }
        self.look(&mut parts, &broods);
        parts
    }

    /// Marks the rows of a node that go left.
    fn mark(&mut self, &Chosen { ref part, feature, cut, .. }: &Chosen<T>) -> Halves {
        let growth = self.growth;
        let Part { start, end, .. } = *part;
        let (column, rows, bins) = (&growth.soil.columns[feature], growth.soil.rows, &growth.soil.orders.bins);
        if let Some(place) = bins.place(feature) {
            let group = self.groups.iter().position(|group| group.contains(&place)).unwrap_or(0);
            let (own, first) = (&bins.columns[place].sums, bins.sums(&self.groups[group]).start);
            let next = bins.next(growth.target, &part.sums[group][own.start - first..own.end - first], cut.at);
            let keys = &self.order[start..end];
            let left = mark_by_code(keys, rows, column.codes, cut.at as u32, &mut self.is_left);
            let threshold = column.between(cut.at as u32, next as u32);
            return Halves { left, threshold, missing_left: 2 * left > end - start, by: self.lists.len() };
        }
        let mut keys = locked(&self.lists[feature]);
        let keys = &mut keys[start..end];
        let absent = growth.absent(feature, keys, rows);
        let left = mark(keys, cut, absent, &mut self.is_left);
        let code = |key: &K| column.code(rows[key.place()]);
        let threshold = column.between(code(&keys[cut.at]), code(&keys[cut.at + 1]));
        // Where the node has no missing value, later ones go where most rows go.
        let missing_left = if absent > 0 { cut.missing_left } else { 2 * left > end - start };
        if cut.missing_left {
            let mut desk = self.desk();
            desk.buffer.resize(desk.buffer.len().max(end - start), K::default());
            partition(keys, &self.is_left, &mut desk.buffer);
            locked(&self.desks).push(desk);
        }
        Halves { left, threshold, missing_left, by: feature }
    }

    /// Sums what goes with the rows of children that aren't blocks; the rows in no column's order are parted before.
    fn enter(&self, part: &Part<T>, half: &Halves, order: &mut [K]) -> [Option<(T::Node, Stats)>; 2] {
        let (target, items) = (self.growth.target, self.growth.items);
        let mut desk = self.desk();
        desk.buffer.resize(desk.buffer.len().max(order.len()), K::default());
        partition(order, &self.is_left, &mut desk.buffer);
        locked(&self.desks).push(desk);
        [0..half.left, half.left..part.end - part.start].map(|side| {
            if side.len() <= self.most {
                return None;
            }
            let mut node = T::Node::default();
            let stats = match self.lists.get(half.by) {
                Some(keys) => {
                    let keys = &locked(keys)[part.start + side.start..part.start + side.end];
                    target.enter(&mut node, (keys, items))
                }
                None => target.enter(&mut node, (&order[side], items)),
            };
            Some((node, stats))
        })
    }

    fn grow_blocks(&mut self) -> Result<Vec<(GrownTree, Vec<f64>)>> {
        let growth = self.growth;
        let mut lists: Vec<Vec<K>> =
            self.lists.drain(..).map(|l| l.into_inner().unwrap_or_else(PoisonError::into_inner)).collect();
        if !self.order.is_empty() {
            lists.push(std::mem::take(&mut self.order));
        }
        let local: Vec<AtomicU16> = (0..growth.soil.rows.len()).map(|_| AtomicU16::new(0)).collect();
        let threads = if growth.soil.rows.len() * lists.len() < SPREAD { 1 } else { growth.soil.threads };
        let (blocks, weight) = (&self.blocks, self.weight);
        // The longest first: what is left at the end is little.
        let mut turns: Vec<usize> = (0..blocks.len()).collect();
        turns.sort_by_key(|&at| Reverse(blocks[at].end - blocks[at].start));
        let grown = parallel::map_together(threads, turns.len(), |turn| {
            Block::new(growth, &blocks[turns[turn]], weight, &lists, &local).grow()
        });
        let mut trees: Vec<_> = blocks.iter().map(|_| (GrownTree::default(), Vec::new())).collect();
        for (tree, &at) in grown.into_iter().zip(&turns) {
            trees[at] = tree?;
        }
        Ok(trees)
    }

    /// All nodes in one tree, depth first, and what their splits gain.
    fn joined(self, first: Child, mut blocks: Vec<(GrownTree, Vec<f64>)>) -> (GrownTree, Vec<f64>) {
        let width = self.growth.soil.width;
        let (mut tree, mut gains) = (GrownTree { width, ..GrownTree::default() }, Vec::new());
        let nodes = self.nodes.len() + blocks.iter().map(|(block, _)| block.nodes.len()).sum::<usize>();
        if blocks.len() > 1 {
            tree.nodes.reserve_exact(nodes);
            tree.values.reserve_exact(nodes * width);
        }
        let mut open: Vec<(Child, Option<(u32, bool)>)> = vec![(first, None)];
        while let Some((child, parent)) = open.pop() {
            let at = tree.nodes.len() as u32;
            if let Some((parent, is_left)) = parent {
                let parent = &mut tree.nodes[parent as usize];
                *(if is_left { &mut parent.left } else { &mut parent.right }) = at;
            }
            match child {
                Child::Node(place) => {
                    tree.nodes.push(Node { left: at, right: at, ..self.nodes[place] });
                    tree.values.extend_from_slice(&self.values[place * width..][..width]);
                    gains.push(self.gains[place]);
                    if let Some([left, right]) = self.children[place] {
                        open.extend([(right, Some((at, false))), (left, Some((at, true)))]);
                    }
                }
                Child::Block(place) => {
                    let (mut block, mut own) = std::mem::take(&mut blocks[place]);
                    if at == 0 {
                        return (block, own);
                    }
                    gains.append(&mut own);
                    let moved = |node: &Node| Node { left: node.left + at, right: node.right + at, ..*node };
                    tree.nodes.extend(block.nodes.iter().map(moved));
                    tree.values.append(&mut block.values);
                }
            }
        }
        (tree, gains)
    }
}

/// What a lock holds, also where a thread that held it panicked.
fn locked<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The places of rows of a block, ascending, and where each stands among them.
pub(super) fn renumber(places: impl Iterator<Item = usize>, local: &[AtomicU16]) -> Vec<u32> {
    let mut there = vec![0u64; local.len().div_ceil(64)];
    let mut count = 0;
    for place in places {
        there[place / 64] |= 1 << (place % 64);
        count += 1;
    }
    let mut out = Vec::with_capacity(count);
    for (start, mut word) in (0u32..).step_by(64).zip(there) {
        while word != 0 {
            let place = start + word.trailing_zeros();
            // Blocks share no row, so that no other thread uses this place.
            local[place as usize].store(out.len() as u16, Ordering::Relaxed);
            out.push(place);
            word &= word - 1;
        }
    }
    out
}
