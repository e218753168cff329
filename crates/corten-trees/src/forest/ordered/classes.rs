//! Classification where weights are whole numbers; by Gini impurity also where each of two classes has a weight.

mod terms;

use std::ops::Range;

use corten_kernels::splits;

use super::super::finder::Stats;
use super::super::purity::{Entropy, Gini, Purity};
use super::super::sort::Key;
use super::{EIGHT, Items, Ones, Scores, Target, fill, first_best, runs};

/// Two classes: the weight goes with a row, and above it that of the second class.
#[derive(Default)]
pub(crate) struct Two {
    /// By how much more each class weighs, where it isn't 1.
    pub(crate) by_class: Option<[f64; 2]>,
}

impl Two {
    /// What goes with a row.
    pub(crate) fn item(class: u32, weight: u32) -> u64 {
        u64::from(if class == 1 { weight } else { 0 }) << u32::BITS | u64::from(weight)
    }
}

/// Weights of the classes of a node.
#[inline(always)]
fn stats(totals: &[u32]) -> Stats {
    let (mut weight, mut sum) = (0, 0);
    for &total in totals {
        weight += total;
        Gini.change(&mut sum, 0, total);
    }
    Stats { weight: f64::from(weight), impurity: Gini.impurity(totals.iter().copied(), sum, weight) }
}

#[inline(always)]
pub(super) fn gain(totals: &[u32], score: f64) -> f64 {
    let (mut weight, mut sum) = (0, 0);
    for &total in totals {
        weight += total;
        Gini.change(&mut sum, 0, total);
    }
    Gini.gain(sum, weight, score)
}

#[inline(always)]
pub(super) fn value(totals: &[u32], out: &mut Vec<f64>) {
    let weight = f64::from(totals.iter().sum::<u32>());
    out.extend(totals.iter().map(|&t| f64::from(t) / weight));
}

impl Two {
    /// The first of the best of so many cuts, from the weights on one side of each.
    #[inline(always)]
    pub(in super::super) fn best_of(&self, node: &[u32; 2], sums: &[u64], cuts: usize) -> Option<(usize, f64)> {
        let (eights, sums) = (cuts.div_ceil(EIGHT), sums.as_chunks().0);
        match self.by_class {
            None => first_best(eights, OfTwo { node, sums }),
            Some(by_class) => first_best(eights, OfWeighedClasses { node, sums, by_class }),
        }
    }
}

/// The weights of two classes of a node.
#[inline(always)]
fn weighed(node: &[u32; 2], by_class: [f64; 2]) -> [f64; 2] {
    [f64::from(node[0]) * by_class[0], f64::from(node[1]) * by_class[1]]
}

/// The score of a cut from what lies on its left, where classes weigh more or less.
#[inline(always)]
fn score_weighed(weight: f64, ones: f64, node: &[u32; 2], by_class: [f64; 2]) -> f64 {
    let (zero, rest) = (weight - ones, f64::from(node[1]) - ones);
    let left = [zero * by_class[0], ones * by_class[1]];
    let right = [(f64::from(node[0]) - zero) * by_class[0], rest * by_class[1]];
    side(left) + side(right)
}

/// What a side adds to the score of a cut, from the weights of two classes.
#[inline(always)]
pub(super) fn side([a, b]: [f64; 2]) -> f64 {
    (a * a + b * b) / (a + b)
}

/// A node as a whole, from the weights of two classes.
#[inline(always)]
pub(super) fn stats_weighed([a, b]: [f64; 2]) -> Stats {
    let weight = a + b;
    Stats { weight, impurity: ((weight - side([a, b])) / weight).max(0.0) }
}

/// By how much a cut of this score lowers the weighted impurity of a node of such weights.
#[inline(always)]
pub(super) fn gain_weighed([a, b]: [f64; 2], score: f64) -> f64 {
    let weight = a + b;
    (weight - side([a, b])) - (weight - score)
}

/// Scores from the weights on one side of each cut, where classes weigh more or less.
struct OfWeighedClasses<'a> {
    node: &'a [u32; 2],
    sums: &'a [[u64; EIGHT]],
    by_class: [f64; 2],
}

impl Scores for OfWeighedClasses<'_> {
    #[inline(always)]
    fn eight(&self, at: usize) -> [f64; EIGHT] {
        let (mut scores, sums) = ([0.0; EIGHT], &self.sums[at]);
        for lane in 0..EIGHT {
            let [weight, ones] = [sums[lane] as u32, (sums[lane] >> u32::BITS) as u32].map(f64::from);
            scores[lane] = score_weighed(weight, ones, self.node, self.by_class);
        }
        scores
    }
}

/// Scores from the weights on one side of each cut.
struct OfTwo<'a> {
    node: &'a [u32; 2],
    sums: &'a [[u64; EIGHT]],
}

impl Scores for OfTwo<'_> {
    #[inline(always)]
    fn eight(&self, at: usize) -> [f64; EIGHT] {
        let (mut scores, sums) = ([0.0; EIGHT], &self.sums[at]);
        for lane in 0..EIGHT {
            scores[lane] = splits::gini(sums[lane] as u32, (sums[lane] >> u32::BITS) as u32, *self.node);
        }
        scores
    }
}

/// Room for a search.
#[derive(Default)]
pub(crate) struct Sums {
    /// Weights on the left of each cut.
    pub(in super::super) upto: Vec<u64>,
    /// The same where missing values lie on the other side.
    pub(in super::super) apart: Vec<u64>,
    /// Where runs of equal codes end.
    ends: Vec<u32>,
}

impl Sums {
    /// The best cut between runs of equal codes.
    #[inline(always)]
    fn best_of_runs<K: Key>(
        &mut self,
        node: &[u32; 2],
        keys: &[K],
        items: &[u64],
        all: &Range<usize>,
        target: &Two,
    ) -> Option<(usize, f64)> {
        let ends = &self.ends[..];
        let (cuts, longest) = (ends.len() - 1, runs::longest(ends));
        fill(&mut self.upto, cuts, 0);
        let (mut sum, mut start) = (0, 0);
        for (&end, upto) in ends[..longest].iter().zip(&mut self.upto) {
            for key in &keys[start..end as usize] {
                sum += items[key.place()];
            }
            (*upto, start) = (sum, end as usize);
        }
        let mut sum = u64::from(node[1]) << u32::BITS | u64::from(node[0] + node[1]);
        for run in (longest + 1..ends.len()).rev() {
            for key in &keys[runs::start(ends, run)..ends[run] as usize] {
                sum -= items[key.place()];
            }
            self.upto[run - 1] = sum;
        }
        for (upto, &end) in self.upto.iter_mut().zip(&ends[..cuts]) {
            if !all.contains(&(end as usize - 1)) {
                *upto = 0;
            }
        }
        let (at, score) = target.best_of(node, &self.upto, cuts)?;
        Some((ends[at] as usize - 1, score))
    }
}

impl Target for Two {
    type Item = u64;
    type Node = [u32; 2];
    type Room = Sums;
    type Sum = u64;

    const FEW: bool = true;
    const OTHER: bool = true;

    #[inline(always)]
    fn is_other(&self) -> bool {
        self.by_class.is_some()
    }

    #[inline(always)]
    fn other_score(&self, node: &[u32; 2], [weight, ones]: [f64; 2], _: [u32; 2]) -> f64 {
        self.by_class.map_or(f64::NAN, |by_class| score_weighed(weight, ones, node, by_class))
    }

    #[inline(always)]
    fn terms(&self, item: u64) -> [f64; 2] {
        [f64::from(item as u32), f64::from((item >> u32::BITS) as u32)]
    }

    #[inline(always)]
    fn score(&self, node: &[u32; 2], [weight, ones]: [f64; 2]) -> f64 {
        splits::gini_of(weight, ones, *node)
    }

    #[inline(always)]
    fn enter(&self, node: &mut [u32; 2], items: impl Items<u64>) -> Stats {
        let mut sum = 0;
        for at in 0..items.count() {
            sum += items.at(at);
        }
        let ones = (sum >> u32::BITS) as u32;
        *node = [sum as u32 - ones, ones];
        let Some(by_class) = self.by_class else { return stats(node) };
        stats_weighed(weighed(node, by_class))
    }

    #[inline(always)]
    fn best<K: Key>(
        &self,
        node: &[u32; 2],
        keys: &[K],
        items: &[u64],
        all: Range<usize>,
        room: &mut Sums,
    ) -> Option<(usize, f64)> {
        if runs::find(keys, &mut room.ends) {
            return room.best_of_runs(node, keys, items, &all, self);
        }
        let room = &mut room.upto;
        fill(room, all.len(), 0);
        let mut sum = 0;
        for key in &keys[..all.start] {
            sum += items[key.place()];
        }
        for ((key, next), upto) in keys[all.clone()].iter().zip(&keys[all.start + 1..]).zip(&mut *room) {
            sum += items[key.place()];
            // Of what is no cut, nothing: such a side has no score.
            *upto = sum & u64::from(key.code() != next.code()).wrapping_neg();
        }
        let (at, score) = self.best_of(node, room, all.len())?;
        Some((all.start + at, score))
    }

    #[inline(always)]
    fn add(&self, sums: &mut [u64], item: u64) {
        sums[0] += item;
    }

    #[inline(always)]
    fn is_empty(&self, sums: &[u64]) -> bool {
        sums[0] == 0
    }

    #[inline(always)]
    fn best_by_value(&self, node: &[u32; 2], sums: &[u64], room: &mut Sums) -> Option<(usize, f64)> {
        let room = &mut room.upto;
        // Of what is all, nothing: such a side has no score.
        let cuts = sums.len() - 1;
        fill(room, cuts, 0);
        let mut sum = 0;
        for (&own, upto) in sums[..cuts].iter().zip(&mut *room) {
            sum += own;
            *upto = sum;
        }
        self.best_of(node, room, cuts)
    }

    #[inline(always)]
    fn is_perfect(&self, node: &[u32; 2], score: f64, _: usize) -> bool {
        let perfect = match self.by_class {
            None => f64::from(node[0] + node[1]),
            // That of the cut between the classes.
            Some(by_class) => score_weighed(f64::from(node[0]), 0.0, node, by_class),
        };
        score >= perfect
    }

    #[inline(always)]
    fn gain(&self, node: &[u32; 2], score: f64) -> f64 {
        let Some(by_class) = self.by_class else { return gain(node, score) };
        gain_weighed(weighed(node, by_class), score)
    }

    #[inline(always)]
    fn value(&self, node: &[u32; 2], out: &mut Vec<f64>) {
        let Some(by_class) = self.by_class else { return value(node, out) };
        let [a, b] = weighed(node, by_class);
        out.extend([a / (a + b), b / (a + b)]);
    }
}

/// Any number of classes: the class goes with a row, and its weight.
pub(crate) struct Classes {
    pub(crate) classes: usize,
    /// Where trees are grown by entropy.
    pub(crate) entropy: Option<Entropy>,
}

/// Of any number of classes.
#[derive(Clone, Default)]
pub(crate) struct Node {
    pub(in super::super) totals: Vec<u32>,
    pub(super) weight: u32,
    pub(super) squares: u64,
    /// The sum of terms of entropy, where trees are grown by it.
    pub(in super::super) terms: f64,
}

impl Node {
    /// Sums over the weights of the classes.
    #[inline(always)]
    pub(super) fn sum(&mut self) -> Stats {
        (self.weight, self.squares) = (0, 0);
        for &total in &self.totals {
            self.weight += total;
            Gini.change(&mut self.squares, 0, total);
        }
        let impurity = Gini.impurity(self.totals.iter().copied(), self.squares, self.weight);
        Stats { weight: f64::from(self.weight), impurity }
    }

    /// Of some rows, from the weights of their classes: their weight, and the sums that a room keeps.
    #[inline(always)]
    pub(in super::super) fn of_part(&self, weights: &[u32]) -> (u64, u64, u64) {
        let (mut weight, mut square, mut cross) = (0, 0, 0);
        for (&own, &total) in weights.iter().zip(&self.totals) {
            let own = u64::from(own);
            weight += own;
            square += own * own;
            cross += own * u64::from(total);
        }
        (weight, square, cross)
    }

    /// The first of the best of the cuts in a room from one place to another.
    #[inline(always)]
    pub(in super::super) fn best(&self, room: &Room, cuts: Range<usize>) -> Option<(usize, f64)> {
        let upto = [0, 1, 2].map(|which| room.upto[which][cuts.start..].as_chunks().0);
        let (at, score) = first_best(cuts.len().div_ceil(EIGHT), OfMany { node: self, upto })?;
        Some((cuts.start + at, score))
    }
}

/// Scores from what is kept in a room for each cut.
struct OfMany<'a> {
    node: &'a Node,
    upto: [&'a [[u64; EIGHT]]; 3],
}

impl Scores for OfMany<'_> {
    #[inline(always)]
    fn eight(&self, at: usize) -> [f64; EIGHT] {
        let (mut scores, node, [weights, squares, crosses]) = ([0.0; EIGHT], self.node, &self.upto);
        let (weights, squares, crosses) = (&weights[at], &squares[at], &crosses[at]);
        for lane in 0..EIGHT {
            let (l, r) = (weights[lane], u64::from(node.weight) - weights[lane]);
            // Of all weights less those on this side, class by class.
            let rest = node.squares.wrapping_add(squares[lane]).wrapping_sub(crosses[lane].wrapping_mul(2));
            scores[lane] = splits::ratio(squares[lane] as f64, rest as f64, l as f64, r as f64);
        }
        scores
    }
}

/// Room for a search.
#[derive(Default)]
pub(crate) struct Room {
    pub(in super::super) left: Vec<u32>,
    /// On one side of each cut the weights, and sums over classes of their squares, and of products with those of all.
    pub(in super::super) upto: [Vec<u64>; 3],
    /// Weights of the classes among missing values, and sums of products with them, where trees of drawn columns are grown.
    pub(in super::super) gone: Vec<u32>,
    pub(in super::super) apart: Vec<u64>,
    /// The keys that cuts come before.
    pub(in super::super) places: Vec<u32>,
    /// Weights of each class by code.
    pub(in super::super) bins: Vec<u32>,
}

impl Room {
    /// Makes room for sums apart from those of missing values, of which there are none yet.
    #[inline(always)]
    pub(in super::super) fn reset_gone(&mut self, classes: usize, cuts: usize) {
        self.gone.clear();
        self.gone.resize(classes, 0);
        self.apart.resize(self.apart.len().max(cuts), 0);
    }

    /// Makes room for cuts; nothing is on the left.
    #[inline(always)]
    pub(in super::super) fn reset(&mut self, classes: usize, cuts: usize) {
        self.left.clear();
        self.left.resize(classes, 0);
        // Eights of cuts may start anywhere: as many as fill one stand behind the last.
        self.upto.iter_mut().for_each(|upto| {
            upto.resize(upto.len().max(cuts + EIGHT), 0);
            upto[cuts..cuts + EIGHT].fill(0);
        });
        self.places.resize(self.places.len().max(cuts), 0);
    }
}

impl Target for Classes {
    type Item = (u32, u32);
    type Node = Node;
    type Room = Room;
    type Sum = u32;

    #[inline(always)]
    fn enter(&self, node: &mut Node, items: impl Items<(u32, u32)>) -> Stats {
        node.totals.clear();
        node.totals.resize(self.classes, 0);
        for at in 0..items.count() {
            let (class, weight) = items.at(at);
            node.totals[class as usize] += weight;
        }
        match &self.entropy {
            None => node.sum(),
            Some(entropy) => node.sum_terms(entropy),
        }
    }

    #[inline(always)]
    fn best<K: Key>(
        &self,
        node: &Node,
        keys: &[K],
        items: &[(u32, u32)],
        all: Range<usize>,
        room: &mut Room,
    ) -> Option<(usize, f64)> {
        if let Some(entropy) = &self.entropy {
            return room.best_by_terms(entropy, node, keys, items, &all);
        }
        room.reset(self.classes, all.end);
        let [weights, squares, crosses] = room.upto.each_mut().map(|upto| &mut upto[..all.end]);
        let (lefts, totals) = (&mut room.left[..self.classes], &node.totals[..self.classes]);
        let places = &mut room.places[..all.end];
        let (mut weight, mut square, mut cross, mut count) = (0, 0, 0, 0);
        for (at, (key, next)) in keys[..all.end].iter().zip(&keys[1..]).enumerate() {
            let (class, w) = items[key.place()];
            let (class, w) = (class as usize, u64::from(w));
            let before = lefts[class];
            weight += w;
            square += w * (2 * u64::from(before) + w);
            cross += w * u64::from(totals[class]);
            lefts[class] = before + w as u32;
            // Written in any case, kept where a cut may be: no branch.
            (weights[count], squares[count], crosses[count], places[count]) = (weight, square, cross, at as u32);
            count += usize::from((key.code() != next.code()) & (at >= all.start));
        }
        // Of what fills up the last eight, nothing: such a side has no score.
        room.upto.iter_mut().for_each(|upto| upto[count..count + EIGHT].fill(0));
        let (at, score) = node.best(room, 0..count)?;
        Some((room.places[at] as usize, score))
    }

    #[inline(always)]
    fn add(&self, sums: &mut [u32], (class, weight): (u32, u32)) {
        sums[class as usize] += weight;
    }

    #[inline(always)]
    fn is_empty(&self, sums: &[u32]) -> bool {
        sums.iter().all(|&sum| sum == 0)
    }

    #[inline(always)]
    fn best_by_value(&self, node: &Node, sums: &[u32], room: &mut Room) -> Option<(usize, f64)> {
        let width = Ones::width(self.classes);
        let count = sums.len() / width - 1;
        room.reset(self.classes, count);
        if let Some(entropy) = &self.entropy {
            let values = sums.chunks_exact(width).take(count).map(|own| &own[..self.classes]);
            return room.best_value_by_terms(entropy, node, values);
        }
        let [weights, squares, crosses] = room.upto.each_mut().map(|upto| &mut upto[..count]);
        let mut weight = 0;
        for (at, own) in sums.chunks_exact(width).take(count).enumerate() {
            let (mut square, mut cross) = (0, 0);
            for ((left, &own), &total) in room.left.iter_mut().zip(own).zip(&node.totals) {
                *left += own;
                weight += u64::from(own);
                square += u64::from(*left) * u64::from(*left);
                cross += u64::from(*left) * u64::from(total);
            }
            (weights[at], squares[at], crosses[at]) = (weight, square, cross);
        }
        node.best(room, 0..count)
    }

    #[inline(always)]
    fn is_perfect(&self, node: &Node, score: f64, _: usize) -> bool {
        score >= if self.entropy.is_some() { 0.0 } else { f64::from(node.weight) }
    }

    #[inline(always)]
    fn gain(&self, node: &Node, score: f64) -> f64 {
        match &self.entropy {
            None => gain(&node.totals, score),
            Some(entropy) => entropy.gain(node.terms, node.weight, score),
        }
    }

    #[inline(always)]
    fn value(&self, node: &Node, out: &mut Vec<f64>) {
        value(&node.totals, out);
    }
}
