//! Classification of rows that all weigh 1: by Gini impurity into more than two classes, by entropy into any number.

mod terms;

use std::ops::Range;

use corten_kernels::splits;

use super::super::finder::Stats;
use super::super::purity::Entropy;
use super::super::sort::Key;
use super::classes::{Node, gain, value};
use super::{EIGHT, Items, Scores, Target, fill, first_best, runs};
use terms::Terms;

/// Rows whose squares fit in half a sum.
const PACKED: usize = 1 << 16;

/// Tables in which rows are counted in turns, as a count waits for the one before it in the same place.
const TURNS: usize = 4;
/// Most classes whose rows are counted run by run.
const COUNTED: usize = 64;

/// Classes of a value whose rows are summed side by side.
const SIDE: usize = 8;

/// The class goes with a row.
pub(crate) struct Ones {
    classes: usize,
    /// Where trees are grown by entropy.
    terms: Option<Terms>,
}

/// Room for a search.
#[derive(Default)]
pub(crate) struct Room {
    /// Of each class twice its rows on the left and one more, by which a further row adds to the square; above it, where
    /// sums are halves, its rows in the node.
    state: Vec<u64>,
    /// Sums over the rows on the left of each cut: squares of the classes' numbers, and products with those of the node.
    /// Of few rows, the latter are the upper halves of the former.
    squares: Vec<u64>,
    crosses: Vec<u64>,
    /// Rows on the left of each cut.
    lefts: Vec<u32>,
    /// Where runs of equal codes end, rows of each class on the left, and those of a run: its rows are counted in turns.
    ends: Vec<u32>,
    left: Vec<u32>,
    counts: [Vec<u32>; TURNS],
    /// Sums of terms of entropy on both sides of each cut.
    terms: Vec<f64>,
}

impl Ones {
    /// By Gini impurity, or entropy.
    pub(crate) fn new(classes: usize, entropy: Option<&Entropy>) -> Self {
        Self { classes, terms: entropy.map(Terms::new) }
    }

    /// Sums of a value: some are of no class.
    pub(crate) fn width(classes: usize) -> usize {
        classes.next_multiple_of(SIDE)
    }
}

impl Room {
    /// Makes room for cuts, in eights.
    #[inline(always)]
    fn reserve<const IS_PACKED: bool>(&mut self, cuts: usize) {
        let eights = cuts.next_multiple_of(EIGHT);
        self.lefts.resize(self.lefts.len().max(eights), 0);
        self.squares.resize(self.squares.len().max(eights), 0);
        if !IS_PACKED {
            self.crosses.resize(self.crosses.len().max(eights), 0);
        }
    }

    /// Counts the rows of a run by class.
    #[inline(always)]
    fn count<K: Key>(&mut self, keys: &[K], classes: &[u32]) {
        let [a, b, c, d] = self.counts.each_mut().map(|counts| &mut counts[..]);
        let (fours, rest) = keys.as_chunks::<TURNS>();
        for [i, j, k, l] in fours {
            a[classes[i.place()] as usize] += 1;
            b[classes[j.place()] as usize] += 1;
            c[classes[k.place()] as usize] += 1;
            d[classes[l.place()] as usize] += 1;
        }
        for key in rest {
            a[classes[key.place()] as usize] += 1;
        }
    }

    /// Puts the rows of the run on the left, or takes them away, and keeps what lies there for the cut after a run.
    #[inline(always)]
    fn keep<const IS_PACKED: bool, const ADDS: bool>(&mut self, node: &Node, run: usize) {
        let [a, b, c, d] = self.counts.each_mut().map(|counts| &mut counts[..self.left.len()]);
        let (mut square, mut cross) = (0, 0);
        for (at, left) in self.left.iter_mut().enumerate() {
            let own = a[at] + b[at] + c[at] + d[at];
            (a[at], b[at], c[at], d[at]) = (0, 0, 0, 0);
            *left = if ADDS { *left + own } else { *left - own };
            square += u64::from(*left) * u64::from(*left);
            cross += u64::from(*left) * u64::from(node.totals[at]);
        }
        if IS_PACKED {
            self.squares[run] = cross << u32::BITS | square;
        } else {
            (self.squares[run], self.crosses[run]) = (square, cross);
        }
        self.lefts[run] = self.ends[run];
    }

    /// Keeps what lies on the left of each cut between runs of equal codes; gives the number of cuts.
    #[inline(always)]
    fn scan_runs<const IS_PACKED: bool, K: Key>(
        &mut self,
        node: &Node,
        keys: &[K],
        classes: &[u32],
        all: &Range<usize>,
    ) -> usize {
        let (cuts, longest) = (self.ends.len() - 1, runs::longest(&self.ends));
        self.counts.iter_mut().for_each(|counts| {
            counts.clear();
            counts.resize(node.totals.len(), 0);
        });
        self.reserve::<IS_PACKED>(cuts);
        self.left.clear();
        self.left.resize(node.totals.len(), 0);
        for run in 0..longest {
            self.count(&keys[runs::start(&self.ends, run)..self.ends[run] as usize], classes);
            self.keep::<IS_PACKED, true>(node, run);
        }
        self.left.copy_from_slice(&node.totals);
        for run in (longest + 1..=cuts).rev() {
            self.count(&keys[runs::start(&self.ends, run)..self.ends[run] as usize], classes);
            self.keep::<IS_PACKED, false>(node, run - 1);
        }
        for run in 0..cuts {
            if !all.contains(&(self.ends[run] as usize - 1)) {
                (self.lefts[run], self.squares[run]) = (0, 0);
            }
        }
        cuts
    }

    /// Adds rows up one after the other and keeps what lies on the left of each cut; gives the number of cuts.
    #[inline(always)]
    fn scan<const IS_PACKED: bool, K: Key>(
        &mut self,
        node: &Node,
        keys: &[K],
        classes: &[u32],
        all: &Range<usize>,
    ) -> usize {
        self.state.clear();
        self.state.extend(node.totals.iter().map(|&total| u64::from(total) << u32::BITS | 1));
        self.reserve::<IS_PACKED>(all.end);
        let (state, squares, lefts) = (&mut self.state[..], &mut self.squares[..all.end], &mut self.lefts[..all.end]);
        let (mut square, mut cross, mut count) = (0, 0, 0);
        for (at, (key, next)) in keys[..all.end].iter().zip(&keys[1..]).enumerate() {
            let own = &mut state[classes[key.place()] as usize];
            // Written in any case, kept where a cut may be: no branch.
            if IS_PACKED {
                square += *own;
            } else {
                square += u64::from(*own as u32);
                cross += *own >> u32::BITS;
                self.crosses[count] = cross;
            }
            *own += 2;
            (squares[count], lefts[count]) = (square, at as u32 + 1);
            count += usize::from((key.code() != next.code()) & (at >= all.start));
        }
        count
    }
}

impl Room {
    /// Keeps what lies on the left of each cut between values; gives the number of cuts.
    #[inline(always)]
    fn scan_values<const IS_PACKED: bool>(&mut self, node: &Node, sums: &[u32]) -> usize {
        let width = Ones::width(node.totals.len());
        let cuts = sums.len() / width - 1;
        self.reserve::<IS_PACKED>(cuts);
        let totals = &mut self.counts[0];
        totals.clear();
        totals.extend(&node.totals);
        totals.resize(width, 0);
        let sums = &sums[..cuts * width];
        // Up to 32 classes are held in registers.
        match width / SIDE {
            _ if !IS_PACKED => self.scan_wide(sums, width),
            1 => self.scan_sides::<1>(sums),
            2 => self.scan_sides::<2>(sums),
            3 => self.scan_sides::<3>(sums),
            4 => self.scan_sides::<4>(sums),
            _ => self.scan_wide(sums, width),
        }
        if IS_PACKED && width > 4 * SIDE {
            for (square, cross) in self.squares[..cuts].iter_mut().zip(&self.crosses) {
                *square |= cross << u32::BITS;
            }
        }
        cuts
    }

    /// Sums of so many sides of classes, which are halves.
    #[inline(always)]
    fn scan_sides<const N: usize>(&mut self, sums: &[u32]) {
        let values = sums.as_chunks::<SIDE>().0.as_chunks::<N>().0;
        let Some(totals) = self.counts[0].as_chunks::<SIDE>().0.first_chunk::<N>() else { return };
        let mut left = [[0u32; SIDE]; N];
        for ((own, squares), lefts) in values.iter().zip(&mut self.squares).zip(&mut self.lefts) {
            let (mut rows, mut square, mut cross) = ([0u32; SIDE], [0u32; SIDE], [0u32; SIDE]);
            for side in 0..N {
                for lane in 0..SIDE {
                    let all = left[side][lane] + own[side][lane];
                    left[side][lane] = all;
                    rows[lane] += all;
                    square[lane] += all * all;
                    cross[lane] += all * totals[side][lane];
                }
            }
            let [rows, square, cross] = [rows, square, cross].map(|lanes| lanes.iter().sum::<u32>());
            (*lefts, *squares) = (rows, u64::from(cross) << u32::BITS | u64::from(square));
        }
    }

    /// Sums of any number of classes, squares and products apart.
    #[inline(always)]
    fn scan_wide(&mut self, sums: &[u32], width: usize) {
        self.crosses.resize(self.crosses.len().max(self.squares.len()), 0);
        self.left.clear();
        self.left.resize(width, 0);
        for (at, own) in sums.chunks_exact(width).enumerate() {
            let (mut rows, mut square, mut cross) = (0, 0, 0);
            for ((left, &own), &total) in self.left.iter_mut().zip(own).zip(&self.counts[0]) {
                *left += own;
                rows += *left;
                square += u64::from(*left) * u64::from(*left);
                cross += u64::from(*left) * u64::from(total);
            }
            (self.lefts[at], self.squares[at], self.crosses[at]) = (rows, square, cross);
        }
    }

    /// The best of so many cuts that are kept, by its place, and its score.
    #[inline(always)]
    fn best<const IS_PACKED: bool>(&mut self, node: &Node, count: usize) -> Option<(usize, f64)> {
        // Of what fills up the last eight, nothing: such a side has no score.
        fill(&mut self.squares, count, 0);
        fill(&mut self.lefts, count, 0);
        if !IS_PACKED {
            fill(&mut self.crosses, count, 0);
        }
        let (squares, crosses, lefts) =
            (self.squares.as_chunks().0, self.crosses.as_chunks().0, self.lefts.as_chunks().0);
        first_best(count.div_ceil(EIGHT), OfOnes::<IS_PACKED> { node, squares, crosses, lefts })
    }
}

/// Scores from what is kept in a room for each cut.
struct OfOnes<'a, const IS_PACKED: bool> {
    node: &'a Node,
    squares: &'a [[u64; EIGHT]],
    crosses: &'a [[u64; EIGHT]],
    lefts: &'a [[u32; EIGHT]],
}

impl<const IS_PACKED: bool> Scores for OfOnes<'_, IS_PACKED> {
    #[inline(always)]
    fn eight(&self, at: usize) -> [f64; EIGHT] {
        let (mut scores, all, weight) = ([0.0; EIGHT], self.node.squares, self.node.weight);
        let (squares, lefts) = (&self.squares[at], &self.lefts[at]);
        for lane in 0..EIGHT {
            let (l, r) = (f64::from(lefts[lane]), f64::from(weight.wrapping_sub(lefts[lane])));
            // Of all less those on the left, class by class.
            scores[lane] = if IS_PACKED {
                let (left, cross) = (squares[lane] as u32, (squares[lane] >> u32::BITS) as u32);
                let rest = (all as u32).wrapping_add(left).wrapping_sub(cross.wrapping_mul(2));
                splits::ratio(f64::from(left), f64::from(rest), l, r)
            } else {
                let left = squares[lane];
                let rest = all.wrapping_add(left).wrapping_sub(self.crosses[at][lane].wrapping_mul(2));
                splits::ratio(left as f64, rest as f64, l, r)
            };
        }
        scores
    }
}

impl Target for Ones {
    type Item = u32;
    type Node = Node;
    type Room = Room;
    type Sum = u32;

    const FEW: bool = true;
    const ALIKE: bool = true;
    const OTHER: bool = true;

    #[inline(always)]
    fn is_other(&self) -> bool {
        self.terms.is_some()
    }

    #[inline(always)]
    fn moved(&self, before: u32, all: u32) -> f64 {
        self.terms.as_ref().map_or(f64::NAN, |terms| terms.moved(before, all))
    }

    #[inline(always)]
    fn other_score(&self, node: &Node, [moved, _]: [f64; 2], rows: [u32; 2]) -> f64 {
        self.terms.as_ref().map_or(f64::NAN, |terms| terms.score_of_few(node.terms + moved, rows))
    }

    #[inline(always)]
    fn is_alike(&self, one: u32, other: u32) -> bool {
        one == other
    }

    #[inline(always)]
    fn score_alike(&self, node: &Node, [square, cross]: [f64; 2], rows: f64) -> f64 {
        // Whole numbers: they are exact.
        splits::ratio(square, node.squares as f64 + square - 2.0 * cross, rows, f64::from(node.weight) - rows)
    }

    #[inline(always)]
    fn enter(&self, node: &mut Node, items: impl Items<u32>) -> Stats {
        node.totals.clear();
        node.totals.resize(self.classes, 0);
        for at in 0..items.count() {
            node.totals[items.at(at) as usize] += 1;
        }
        match &self.terms {
            None => node.sum(),
            Some(terms) => terms.enter(node),
        }
    }

    #[inline(always)]
    fn best<K: Key>(
        &self,
        node: &Node,
        keys: &[K],
        items: &[u32],
        all: Range<usize>,
        room: &mut Room,
    ) -> Option<(usize, f64)> {
        if let Some(terms) = &self.terms {
            return room.best_by_terms(terms, node, keys, items, &all);
        }
        let is_packed = keys.len() < PACKED;
        let count = if self.classes <= COUNTED && runs::find(keys, &mut room.ends) {
            if is_packed {
                room.scan_runs::<true, K>(node, keys, items, &all)
            } else {
                room.scan_runs::<false, K>(node, keys, items, &all)
            }
        } else if is_packed {
            room.scan::<true, K>(node, keys, items, &all)
        } else {
            room.scan::<false, K>(node, keys, items, &all)
        };
        let (at, score) = if is_packed { room.best::<true>(node, count) } else { room.best::<false>(node, count) }?;
        Some((room.lefts[at] as usize - 1, score))
    }

    #[inline(always)]
    fn add(&self, sums: &mut [u32], class: u32) {
        sums[class as usize] += 1;
    }

    #[inline(always)]
    fn is_empty(&self, sums: &[u32]) -> bool {
        sums.iter().all(|&sum| sum == 0)
    }

    #[inline(always)]
    fn best_by_value(&self, node: &Node, sums: &[u32], room: &mut Room) -> Option<(usize, f64)> {
        if let Some(terms) = &self.terms {
            return room.best_value_by_terms(terms, node, sums);
        }
        if (node.weight as usize) < PACKED {
            let count = room.scan_values::<true>(node, sums);
            room.best::<true>(node, count)
        } else {
            let count = room.scan_values::<false>(node, sums);
            room.best::<false>(node, count)
        }
    }

    #[inline(always)]
    fn is_perfect(&self, node: &Node, score: f64, _: usize) -> bool {
        score >= if self.terms.is_some() { 0.0 } else { f64::from(node.weight) }
    }

    #[inline(always)]
    fn gain(&self, node: &Node, score: f64) -> f64 {
        match &self.terms {
            None => gain(&node.totals, score),
            Some(terms) => terms.gain(node, score),
        }
    }

    #[inline(always)]
    fn value(&self, node: &Node, out: &mut Vec<f64>) {
        value(&node.totals, out);
    }
}
