//! Subtrees of few rows: a node is a set of bits, no row moves, and columns are searched side by side.

use corten_kernels::splits::SET;

use super::super::finder::Stats;
use super::super::grower::child_place;
use super::super::sort::Key;
use super::Target;
use super::block::{Block, Part};

/// Columns in a register.
const LANES: usize = 8;
/// The bit of a row before one of another value.
const END: u64 = 1 << SET;
/// The bit of a row whose value is missing; those rows come last.
const GONE: u64 = END << 1;
/// The bit, beside the place of a cut, of missing values on its left.
const GONE_LEFT: u64 = SET as u64;

/// What goes with the rows of eight columns, in the order of each: a bit a row, and the terms that are summed, or else the
/// first of them is the set of rows that are like it, as the number of those bits.
#[derive(Clone)]
struct Group {
    bits: [[u64; LANES]; SET],
    terms: [[[f64; LANES]; SET]; 2],
    /// A bit a column of which rows are missing.
    gone: u32,
    /// The best score of each, and the row after which it is.
    best: [f64; LANES],
    at: [u64; LANES],
}

/// A node: a set of the rows.
struct Node {
    set: u64,
    depth: usize,
    place: u64,
    /// The least gain on the path to it.
    reach: f64,
    /// The parent's place, and whether this is its left child.
    parent: Option<(u32, bool)>,
    /// In which of the columns its rows are summed.
    by: usize,
}

/// See the module.
pub(super) struct Few<T: Target> {
    /// Columns that vary.
    columns: Vec<u32>,
    groups: Vec<Group>,
    /// The row of the table, and what goes with it.
    rows: [u32; SET],
    items: [T::Item; SET],
    /// What goes with the members of a set.
    members: [T::Item; SET],
    /// Which of the rows stands at a place of the block.
    lanes: Vec<u8>,
    /// Of each column the rows in its order, a bit each, and what it holds up to each of them.
    orders: Vec<[u16; SET]>,
    uptos: Vec<[u16; SET]>,
    /// Rows whose values are missing, of each column.
    gone: Vec<u16>,
    /// The codes of each row, column beside column, as ranks among these rows.
    codes: Vec<u8>,
    stride: usize,
    open: Vec<Node>,
}

impl<T: Target> Few<T> {
    pub(super) fn new(rows: usize, columns: usize) -> Self {
        Self {
            columns: Vec::new(),
            groups: Vec::new(),
            rows: [0; SET],
            items: [T::Item::default(); SET],
            members: [T::Item::default(); SET],
            lanes: vec![0; rows],
            orders: Vec::new(),
            uptos: Vec::new(),
            gone: Vec::new(),
            codes: vec![0; SET * columns],
            stride: columns,
            open: Vec::new(),
        }
    }

    /// Sums what goes with the members of a set, in the order of one of the columns.
    #[inline(always)]
    fn enter(&mut self, target: &T, node: &mut T::Node, column: usize, set: u64) -> Stats {
        if set.count_ones() == 2 {
            // Sums of two don't depend on their order.
            return target.enter(node, &two(set).map(|row| self.items[row])[..]);
        }
        let (order, mut count) = (&self.orders[column], 0);
        let mut places = places(order, set);
        while places != 0 {
            self.members[count % SET] = self.items[row(order, places.trailing_zeros() as usize)];
            count += 1;
            places &= places - 1;
        }
        target.enter(node, &self.members[..count])
    }

    /// Reads the rows of a node from the keys of columns that vary.
    #[inline(always)]
    fn load<'k>(&mut self, target: &T, columns: impl Iterator<Item = (usize, &'k [u32], usize)>, by: usize) -> usize {
        self.columns.clear();
        self.orders.clear();
        self.uptos.clear();
        self.gone.clear();
        self.groups.iter_mut().for_each(|group| group.gone = 0);
        let mut alike = [0u64; SET];
        if T::ALIKE {
            for (row, &one) in self.items.iter().enumerate() {
                for (other, set) in alike.iter_mut().enumerate() {
                    *set |= u64::from(target.is_alike(one, self.items[other])) << row;
                }
            }
        }
        let mut first = 0;
        for (column, keys, absent) in columns {
            let at = self.columns.len();
            first = if column == by { at } else { first };
            self.columns.push(column as u32);
            if at / LANES == self.groups.len() {
                let empty = [[0.0; LANES]; SET];
                self.groups.push(Group {
                    bits: [[0; LANES]; SET],
                    terms: [empty; 2],
                    gone: 0,
                    best: [0.0; LANES],
                    at: [0; LANES],
                });
            }
            let (group, lane) = (&mut self.groups[at / LANES], at % LANES);
            group.gone |= u32::from(absent > 0) << lane;
            let (mut order, mut upto, mut all, mut gone, mut rank) = ([0; SET], [0; SET], 0, 0, 0);
            for p in 0..keys.len() {
                let row = usize::from(self.lanes[keys[p].place()]) % SET;
                let is_end = keys.get(p + 1).is_some_and(|next| next.code() != keys[p].code());
                let is_gone = p + absent >= keys.len();
                let bit = 1u16 << row;
                all |= bit;
                gone |= if is_gone { bit } else { 0 };
                (order[p % SET], upto[p % SET]) = (bit, all);
                group.bits[p][lane] = 1 << row | if is_end { END } else { 0 } | if is_gone { GONE } else { 0 };
                let [a, b] = if T::ALIKE { [f64::from_bits(alike[row]), 0.0] } else { target.terms(self.items[row]) };
                (group.terms[0][p][lane], group.terms[1][p][lane]) = (a, b);
                self.codes[row * self.stride + at] = rank;
                rank += u8::from(is_end);
            }
            group.bits[keys.len()..].iter_mut().for_each(|bits| bits[lane] = 0);
            self.orders.push(order);
            self.uptos.push(upto);
            self.gone.push(gone);
        }
        // What is left of the last group offers no cut.
        for at in self.columns.len()..self.columns.len().next_multiple_of(LANES) {
            self.groups[at / LANES].bits.iter_mut().for_each(|bits| bits[at % LANES] = 0);
        }
        first
    }
}

/// The first and the last of a set.
#[inline(always)]
fn two(set: u64) -> [usize; 2] {
    [set.trailing_zeros() as usize % SET, (u64::BITS - 1 - set.leading_zeros()) as usize % SET]
}

/// The places in an order of rows that are in a set, a bit each.
#[inline(always)]
fn places(order: &[u16; SET], set: u64) -> u32 {
    let mut places = 0;
    for p in 0..SET {
        places |= u32::from(order[p] & set as u16 != 0) << p;
    }
    places
}

/// The row at a place of an order.
#[inline(always)]
fn row(order: &[u16; SET], place: usize) -> usize {
    order[place % SET].trailing_zeros() as usize % SET
}

/// All bits or none.
#[inline(always)]
fn mask(is_set: bool) -> u64 {
    u64::from(is_set).wrapping_neg()
}

impl Group {
    /// Finds the best cut of a set by each column.
    #[inline(always)]
    fn search<T: Target>(&mut self, target: &T, node: &T::Node, set: u64, rows: usize, min_samples: usize) {
        let none = ([f64::NEG_INFINITY; LANES], [0; LANES]);
        let limits = [rows, min_samples];
        let is_other = T::OTHER && target.is_other();
        let mut found = if is_other {
            self.scan::<T, false, true>(target, node, set, limits, none)
        } else {
            self.scan::<T, false, false>(target, node, set, limits, none)
        };
        if self.gone != 0 {
            found = if is_other {
                self.scan::<T, true, true>(target, node, set, limits, found)
            } else {
                self.scan::<T, true, false>(target, node, set, limits, found)
            };
        }
        (self.best, self.at) = found;
    }

    /// Looks at cuts with missing values on one side: gives the better ones, and their places.
    #[inline(always)]
    fn scan<T: Target, const GONE_FIRST: bool, const OTHER: bool>(
        &self,
        target: &T,
        node: &T::Node,
        set: u64,
        [rows, min_samples]: [usize; 2],
        (mut best, mut place): ([f64; LANES], [u64; LANES]),
    ) -> ([f64; LANES], [u64; LANES]) {
        let (all, least) = (u64::from(set.count_ones()), min_samples.max(1) as u64);
        let (mut a, mut b, mut count) = ([0.0f64; LANES], [0.0f64; LANES], [0; LANES]);
        let (mut gone, mut seen) = ([0; LANES], [0; LANES]);
        // The terms of a row that is there; of those that are alike by how many have been seen, and are in the set.
        let terms = |first: f64, second: f64, bits: u64, there: u64, seen: &mut u64| {
            if !T::ALIKE {
                return [first, second].map(|term| f64::from_bits(term.to_bits() & there));
            }
            let alike = first.to_bits();
            let (before, all) = ((alike & *seen).count_ones(), (alike & set).count_ones());
            *seen |= bits & set & there;
            if OTHER {
                return [f64::from_bits(target.moved(before, all).to_bits() & there), 0.0];
            }
            let there = there as u32;
            [f64::from((2 * before + 1) & there), f64::from(all & there)]
        };
        if GONE_FIRST {
            for at in 0..rows {
                let (bits, [first, second]) = (&self.bits[at], [&self.terms[0][at], &self.terms[1][at]]);
                for lane in 0..LANES {
                    let there = mask((bits[lane] & set != 0) & (bits[lane] & GONE != 0));
                    let [x, y] = terms(first[lane], second[lane], bits[lane], there, &mut seen[lane]);
                    a[lane] += x;
                    b[lane] += y;
                    count[lane] += there & 1;
                }
            }
            gone = count;
        }
        for at in 0..rows - 1 {
            let (bits, [first, second]) = (&self.bits[at], [&self.terms[0][at], &self.terms[1][at]]);
            for lane in 0..LANES {
                let is_there = (bits[lane] & set != 0) & !(GONE_FIRST & (bits[lane] & GONE != 0));
                // Masks of bits, as what is chosen by conditions is written to memory.
                let there = mask(is_there);
                let [x, y] = terms(first[lane], second[lane], bits[lane], there, &mut seen[lane]);
                a[lane] += x;
                b[lane] += y;
                count[lane] += there & 1;
                let score = if OTHER {
                    target.other_score(node, [a[lane], b[lane]], [count[lane], all].map(|rows| rows as u32))
                } else if T::ALIKE {
                    target.score_alike(node, [a[lane], b[lane]], f64::from(count[lane] as u32))
                } else {
                    target.score(node, [a[lane], b[lane]])
                };
                let may = (bits[lane] & END != 0) & (count[lane] >= least) & (count[lane] + least <= all);
                // Missing values alone on one side are looked at on the right.
                let may = may & (!GONE_FIRST | (count[lane] > gone[lane]));
                // NaN, of all bits, is never better.
                let score = f64::from_bits(score.to_bits() | mask(!may));
                let better = score > best[lane];
                best[lane] = if better { score } else { best[lane] };
                place[lane] = if better { at as u64 | if GONE_FIRST { GONE_LEFT } else { 0 } } else { place[lane] };
            }
        }
        (best, place)
    }
}

impl<T: Target> Block<'_, T> {
    /// Grows all that lies below a node of few rows, which is written and entered, and to be searched.
    #[inline(always)]
    pub(super) fn subtree(&mut self, root: &Part<T::Sum>, at: u32) {
        let growth = self.growth;
        let (rows, count) = (self.rows.len(), root.end - root.start);
        let few = &mut self.few;
        let keys = &self.keys[root.by * rows..][root.start..root.end];
        for (lane, key) in keys.iter().enumerate() {
            few.lanes[key.place()] = lane as u8;
            few.rows[lane] = self.rows[key.place()];
            few.items[lane] = self.items[key.place()];
        }
        let known = &self.known;
        let columns = self.keys.chunks_exact(rows).enumerate().take(self.columns);
        let columns = columns
            .filter(|(column, keys)| {
                let keys = &keys[root.start..root.end];
                !known.has(*column) && keys[0].code() != keys[count - 1].code()
            })
            .map(|(column, keys)| {
                let keys = &keys[root.start..root.end];
                (column, keys, growth.absent(column, keys, &self.rows))
            });
        let by = few.load(growth.target, columns, root.by);
        let set = u64::from(u16::MAX >> (SET - count));
        few.open.push(Node { set, depth: root.depth, place: root.place, reach: root.reach, parent: None, by });
        while let Some(node) = self.few.open.pop() {
            let mut at = at;
            if node.parent.is_some() {
                let stats = self.few.enter(growth.target, &mut self.node, node.by, node.set);
                let samples = node.set.count_ones() as usize;
                at = self.write(samples, node.parent, stats);
                if self.is_last(node.depth, samples, stats, node.reach) {
                    continue;
                }
            }
            let found = match self.best_of_two(&node) {
                Some(found) => Some(found),
                None => self.best_of_few(&node, count),
            };
            let Some((column, place, score)) = found else { continue };
            if !growth.is_worth(&self.node, score, self.weight) {
                continue;
            }
            let reach = self.reach(at, node.reach, score);
            self.split_few(&node, at, column, place, reach);
        }
    }

    /// The best cut of a set of two, by the first column drawn in which they differ; nothing where more is to be looked at.
    #[inline(always)]
    fn best_of_two(&mut self, node: &Node) -> Option<(usize, u64, f64)> {
        let growth = self.growth;
        let few = &mut self.few;
        let used = few.columns.len();
        let is_gone = few.groups[..used.div_ceil(LANES)].iter().any(|group| group.gone != 0);
        if node.set.count_ones() != 2 || is_gone || growth.soil.rules.min_samples_leaf > 1 {
            return None;
        }
        let [a, b] = two(node.set);
        let [x, y] = [a, b].map(|row| &few.codes[row * few.stride..][..used]);
        if x == y {
            return None;
        }
        let mut stream = growth.soil.stream.at(node.place);
        let mut found = None;
        while let Some(feature) = self.draws.next(&mut stream) {
            if let Ok(column) = few.columns.binary_search(&(feature as u32))
                && x[column] != y[column]
            {
                found = Some((column, if x[column] < y[column] { a } else { b }));
                break;
            }
        }
        self.draws.reset();
        let (column, left) = found?;
        let score = match (T::ALIKE, growth.target.is_other()) {
            // Each is the only one of its class.
            (true, false) => growth.target.score_alike(&self.node, [1.0, 1.0], 1.0),
            (true, true) => growth.target.other_score(&self.node, [growth.target.moved(0, 1), 0.0], [1, 2]),
            (false, false) => growth.target.score(&self.node, growth.target.terms(few.items[left])),
            (false, true) => growth.target.other_score(&self.node, growth.target.terms(few.items[left]), [1, 2]),
        };
        // A column whose cut is better may come later.
        if !(score > f64::NEG_INFINITY && growth.target.is_perfect(&self.node, score, 2)) {
            return None;
        }
        let place = places(&few.orders[column], 1 << left).trailing_zeros();
        Some((column, u64::from(place), score))
    }

    /// The best cut of a set: which of the columns, the row it comes after, and its score.
    #[inline(always)]
    fn best_of_few(&mut self, node: &Node, rows: usize) -> Option<(usize, u64, f64)> {
        let growth = self.growth;
        let few = &mut self.few;
        let (used, samples) = (few.columns.len().div_ceil(LANES), node.set.count_ones() as usize);
        let mut best = f64::NEG_INFINITY;
        for group in &mut few.groups[..used] {
            group.search(growth.target, &self.node, node.set, rows, growth.soil.rules.min_samples_leaf);
            best = group.best.iter().fold(best, |best, &score| if score > best { score } else { best });
        }
        if best == f64::NEG_INFINITY {
            return None;
        }
        let perfect = growth.target.is_perfect(&self.node, best, samples);
        let is_best = |score: f64| {
            score == best
                || perfect && score > f64::NEG_INFINITY && growth.target.is_perfect(&self.node, score, samples)
        };
        let score = |column: usize| few.groups[column / LANES].best[column % LANES];
        let mut equal = (0..few.columns.len()).filter(|&column| is_best(score(column)));
        let mut found = equal.next()?;
        if equal.next().is_some() {
            // The first one drawn among equals.
            let mut stream = growth.soil.stream.at(node.place);
            while let Some(feature) = self.draws.next(&mut stream) {
                if let Ok(column) = few.columns.binary_search(&(feature as u32))
                    && is_best(score(column))
                {
                    found = column;
                    break;
                }
            }
            self.draws.reset();
        }
        Some((found, few.groups[found / LANES].at[found % LANES], score(found)))
    }

    /// Splits a set after a row of one of the columns.
    #[inline(always)]
    fn split_few(&mut self, node: &Node, at: u32, column: usize, place: u64, reach: f64) {
        let few = &mut self.few;
        let (order, set) = (&few.orders[column], node.set as u16);
        let (gone_left, place) = (place & GONE_LEFT != 0, place as usize % SET);
        let gone = few.gone[column] & set;
        let left = few.uptos[column][place] & set;
        let left = if gone_left { left | gone } else { left };
        let places = places(order, node.set);
        let (before, after) = (places & ((2 << place) - 1), places >> (place + 1));
        let last = few.rows[row(order, (u32::BITS - 1 - before.max(1).leading_zeros()) as usize)];
        // A cut leaves rows on both sides.
        let next = few.rows[row(order, place + 1 + after.trailing_zeros() as usize % SET)];
        let feature = few.columns[column];
        let view = &self.growth.soil.columns[feature as usize];
        let written = &mut self.tree.nodes[at as usize];
        written.feature = feature;
        written.threshold = view.between(view.code(last), view.code(next));
        written.missing_left = if gone == 0 { 2 * left.count_ones() > set.count_ones() } else { gone_left };
        let child = |is_left, set| Node {
            set,
            depth: node.depth + 1,
            place: child_place(node.place, is_left),
            reach,
            parent: Some((at, is_left)),
            by: column,
        };
        few.open.extend([child(false, u64::from(set & !left)), child(true, u64::from(left))]);
    }
}
