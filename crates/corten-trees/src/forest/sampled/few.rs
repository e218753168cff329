//! Subtrees of few rows: a node is a set of bits, no row moves, and columns are sorted once.

use corten_kernels::lanes::Lanes;
use corten_kernels::splits::{self, SET};

use super::super::finder::members;
use super::super::purity::Entropy;
use super::super::ranks::{Code, Packed, packed};
use super::{Cut, Part, Sampled, Target, WEIGHT_BITS};

/// Columns whose orders are kept while a subtree is grown.
const COLUMNS: usize = 64;
/// Bits of a row in a key; those above are a code.
const ROW_BITS: u32 = SET.ilog2();
/// Bits of a code.
pub(super) const CODE_BITS: u32 = u32::BITS - ROW_BITS;

/// The rows of a subtree in the order of a column; those that aren't there come last.
#[derive(Clone)]
struct Order {
    /// A bit a row.
    bits: [u32; SET],
    codes: [u32; SET],
    /// Places among the classes that are there, and weights.
    classes: [u32; SET],
    weights: [u32; SET],
    /// A bit a row before one of another code, and a bit a missing value.
    ends: u16,
    gone: u16,
}

/// See the module.
pub(super) struct Few {
    /// By column, and the subtree that they are of; of many columns the last one alone.
    orders: Vec<Order>,
    made: Vec<u32>,
    subtree: u32,
    /// The subtree's rows, and the first one behind them; what goes with them.
    rows: [u32; SET],
    classes: [u32; SET],
    weights: [u32; SET],
    /// Classes that are there, with their rows, and the rows whose weight has each bit.
    present: Vec<(u32, u16)>,
    planes: Vec<u16>,
    /// Weights of `present` in the node at hand.
    totals: [u32; SET],
    open: Vec<(Part, u16)>,
}

impl Few {
    pub(super) fn new(columns: usize) -> Self {
        let kept = if columns <= COLUMNS { columns } else { 1 };
        let none = [0; SET];
        let order = Order { bits: none, codes: none, classes: none, weights: none, ends: 0, gone: 0 };
        Self {
            orders: vec![order; kept],
            made: vec![0; kept],
            subtree: 0,
            rows: none,
            classes: none,
            weights: none,
            present: Vec::new(),
            planes: Vec::new(),
            totals: none,
            open: Vec::new(),
        }
    }

    /// Reads rows, and what goes with them.
    #[inline(always)]
    fn load(&mut self, rows: &[u32], payloads: &[u32]) {
        self.subtree += 1;
        self.rows = [rows[0]; SET];
        self.rows[..rows.len()].copy_from_slice(rows);
        self.present.clear();
        self.planes.clear();
        for (at, &payload) in payloads.iter().enumerate() {
            let (class, weight) = (payload >> WEIGHT_BITS, payload & ((1 << WEIGHT_BITS) - 1));
            let place = self.present.iter().position(|c| c.0 == class).unwrap_or_else(|| {
                self.present.push((class, 0));
                self.present.len() - 1
            });
            self.present[place].1 |= 1 << at;
            (self.classes[at], self.weights[at]) = (place as u32, weight);
            let bits = (u32::BITS - weight.leading_zeros()) as usize;
            self.planes.resize(self.planes.len().max(bits), 0);
            for (bit, plane) in self.planes.iter_mut().enumerate() {
                *plane |= ((weight >> bit & 1) as u16) << at;
            }
        }
    }

    /// The weight of a set of rows.
    #[inline(always)]
    fn weight(&self, set: u16) -> u32 {
        self.planes.iter().rev().fold(0, |sum, plane| 2 * sum + (set & plane).count_ones())
    }
}

impl Order {
    /// Sorts rows, so many of which are there, by their codes, the greatest of which may be that of missing values.
    #[inline(always)]
    fn sort<L: Lanes>(
        &mut self,
        lanes: L,
        codes: &[u32; SET],
        count: usize,
        missing: u32,
        few: (&[u32; SET], &[u32; SET]),
    ) {
        let mut keys = [0; SET];
        for row in 0..SET {
            keys[row] = if row < count { codes[row] << ROW_BITS | row as u32 } else { u32::MAX };
        }
        let keys = lanes.sorted(&keys);
        let mut next = [0; SET];
        for at in 0..SET {
            self.codes[at] = keys[at] >> ROW_BITS;
            self.bits[at] = 1 << (keys[at] % SET as u32);
        }
        next[..SET - 1].copy_from_slice(&self.codes[1..]);
        next[SET - 1] = self.codes[SET - 1];
        let mut ends = 0;
        for at in 0..SET {
            ends |= u16::from(self.codes[at] != next[at]) << at;
        }
        // Rows that aren't there offer no cut; that before them is none either, as all that are lie on its left.
        self.ends = ends & (u16::MAX >> (SET - count));
        self.gone = 0;
        if self.codes[count - 1] == missing {
            self.gone = !lanes.up_to(&self.codes, missing - 1, 0) & (u16::MAX >> (SET - count));
        }
        self.classes = lanes.permuted(few.0, &keys);
        self.weights = lanes.permuted(few.1, &keys);
    }

    /// Which places hold members of a set.
    #[inline(always)]
    fn members<L: Lanes>(&self, lanes: L, set: u16) -> u16 {
        let mut there = [0; SET];
        for at in 0..SET {
            there[at] = self.bits[at] & u32::from(set);
        }
        !lanes.up_to(&there, 0, 0)
    }
}

/// Sums over classes by which the cut after each place of an order is scored.
#[derive(Default)]
struct Sums {
    lefts: [u32; SET],
    rights: [u32; SET],
    left: [u32; SET],
    all: u32,
    /// Where classes weigh more or less, or trees are grown by entropy: terms of both sides, and of the former their weights.
    weighed: [[f64; SET]; 4],
}

/// How classes are scored other than by Gini impurity of their weights: by a factor more or less, or by terms of entropy.
#[derive(Clone, Copy)]
enum Other<'a> {
    Factors(&'a [f64]),
    Entropy(&'a Entropy),
}

impl Sums {
    /// Adds a class by its weights up to each place; cuts may be after some of them.
    #[inline(always)]
    fn add(&mut self, class: u32, upto: &[u32; SET], total: u32, ends: u16, other: Option<Other<'_>>) {
        if let Some(Other::Entropy(entropy)) = other {
            let [terms_left, terms_right, ..] = &mut self.weighed;
            for at in members(ends) {
                terms_left[at] += entropy.term(upto[at]);
                terms_right[at] += entropy.term(total - upto[at]);
                self.left[at] += upto[at];
            }
            self.all += total;
            return;
        }
        if let Some(Other::Factors(factors)) = other {
            let factor = factors[class as usize];
            let [terms_left, terms_right, left, right] = &mut self.weighed;
            for at in 0..SET {
                let (l, r) = (f64::from(upto[at]) * factor, f64::from(total - upto[at]) * factor);
                terms_left[at] += l * l;
                terms_right[at] += r * r;
                left[at] += l;
                right[at] += r;
            }
            return;
        }
        for at in 0..SET {
            let (l, r) = (upto[at], total - upto[at]);
            self.lefts[at] += l * l;
            self.rights[at] += r * r;
            self.left[at] += l;
        }
        self.all += total;
    }

    /// The best score of the cuts after some of the places, and the first place that has it, otherwise [`SET`].
    #[inline(always)]
    fn best(&self, ends: u16, other: Option<Other<'_>>) -> (f64, usize) {
        let (mut scores, [terms_left, terms_right, left, right]) = ([f64::NEG_INFINITY; SET], &self.weighed);
        if let Some(Other::Entropy(entropy)) = other {
            for at in members(ends) {
                let sides = entropy.term(self.left[at]) + entropy.term(self.all - self.left[at]);
                scores[at] = (terms_left[at] + terms_right[at]) - sides;
            }
        } else {
            for at in 0..SET {
                let score = if other.is_some() {
                    terms_left[at] / left[at] + terms_right[at] / right[at]
                } else {
                    let [lefts, rights] = [self.lefts[at], self.rights[at]].map(f64::from);
                    splits::ratio(lefts, rights, f64::from(self.left[at]), f64::from(self.all - self.left[at]))
                };
                scores[at] = if ends >> at & 1 == 1 { score } else { f64::NEG_INFINITY };
            }
        }
        let mut best = scores;
        let mut half = SET / 2;
        while half > 0 {
            for at in 0..half {
                best[at] = if best[at + half] > best[at] { best[at + half] } else { best[at] };
            }
            half /= 2;
        }
        let at = scores.iter().position(|&score| score == best[0]).unwrap_or(SET);
        (best[0], if ends == 0 { SET } else { at })
    }
}

/// Places up to one, it included.
#[inline(always)]
fn up_to(at: u32) -> u16 {
    u16::MAX >> (SET as u32 - 1 - at)
}

impl<T: Target> Sampled<'_, T> {
    /// Grows all that lies below a node of few rows.
    #[inline(always)]
    pub(super) fn subtree<L: Lanes>(&mut self, lanes: L, root: Part) {
        let rows = root.start..root.end;
        self.few.load(&self.rows[rows.clone()], &self.payloads[rows]);
        self.few.open.push((root, u16::MAX >> (SET - (root.end - root.start))));
        while let Some((part, set)) = self.few.open.pop() {
            let few = &mut self.few;
            for at in 0..few.present.len() {
                few.totals[at] = few.weight(set & few.present[at].1);
            }
            let mut items = [T::Item::default(); SET];
            for (item, (&(class, _), &total)) in items.iter_mut().zip(few.present.iter().zip(&few.totals)) {
                *item = self.target.item(class, total);
            }
            let stats = self.target.enter(&mut self.node, &items[..few.present.len()]);
            let samples = set.count_ones() as usize;
            let (at, last) = self.write(&part, samples, stats);
            if last {
                continue;
            }
            let (best, constant) = self.search_few(lanes, &root, &part, set);
            let Some((cut, left)) = best.filter(|(cut, _)| self.is_worth(cut.score)) else { continue };
            self.lead(at, &cut, 2 * left.count_ones() as usize > samples);
            let child = |is_left| Part { depth: part.depth + 1, parent: Some((at, is_left)), constant, ..part };
            self.few.open.extend([(child(false), set & !left), (child(true), left)]);
        }
    }

    /// The best cut of a set of rows, with what lies on its left, and the number of columns then known not to vary.
    #[inline(always)]
    fn search_few<L: Lanes>(&mut self, lanes: L, root: &Part, part: &Part, set: u16) -> (Option<(Cut, u16)>, usize) {
        let count = set.count_ones() as usize;
        let mut turn = self.shuffled.turn(part.constant);
        let mut best: Option<(Cut, u16)> = None;
        while let Some(feature) = self.shuffled.next(&mut turn, &mut self.stream, self.rules.max_features) {
            let order = self.order(lanes, feature, root);
            let Some((there, ends)) = self.places(lanes, order, set) else {
                self.shuffled.skip(&mut turn);
                continue;
            };
            self.shuffled.take(&mut turn);
            let found = self.cut_of_few(lanes, feature, order, (there, ends), set);
            if let Some(found) = found
                && best.is_none_or(|(b, _)| found.0.score > b.score)
            {
                best = Some(found);
                if self.is_enough(found.0.score, count) {
                    break;
                }
            }
        }
        (best, self.shuffled.end(&turn))
    }

    /// Where members of a set stand in an order, and where cuts may be; nothing where all have one code.
    #[inline(always)]
    fn places<L: Lanes>(&self, lanes: L, order: usize, set: u16) -> Option<(u16, u16)> {
        let order = &self.few.orders[order];
        let there = order.members(lanes, set);
        let (first, last) = (there.trailing_zeros(), SET as u32 - 1 - there.leading_zeros());
        let ends = order.ends & !(up_to(first) >> 1) & (up_to(last) >> 1);
        (ends != 0).then_some((there, ends))
    }

    /// The best cut of a set by the order of a column, and what lies on its left.
    #[inline(always)]
    fn cut_of_few<L: Lanes>(
        &self,
        lanes: L,
        feature: usize,
        order: usize,
        (there, ends): (u16, u16),
        set: u16,
    ) -> Option<(Cut, u16)> {
        let gone = there & self.few.orders[order].gone;
        let other = match self.target.entropy() {
            Some(entropy) => Some(Other::Entropy(entropy)),
            None => self.target.factors().map(Other::Factors),
        };
        // What most trees don't need is kept out of their loops.
        let (score, at, is_left) = match (other.is_some(), gone != 0) {
            (false, false) => self.best_of_few::<L, false>(lanes, order, (there, ends, gone), None),
            (false, true) => self.best_of_few::<L, true>(lanes, order, (there, ends, gone), None),
            (true, false) => self.best_of_few::<L, false>(lanes, order, (there, ends, gone), other),
            (true, true) => self.best_of_few::<L, true>(lanes, order, (there, ends, gone), other),
        };
        if at >= SET {
            return None;
        }
        let order = &self.few.orders[order];
        let rows = |places: u16| members(places).fold(0, |rows, at| rows | order.bits[at] as u16);
        let mut left = order.bits[..=at].iter().fold(0, |left, &bit| left | bit as u16) & set;
        if is_left {
            left |= rows(gone);
        }
        let [before, after] = [there & up_to(at as u32), there & !up_to(at as u32)];
        let last = order.codes[(SET as u32 - 1 - before.leading_zeros()) as usize];
        let next = order.codes[after.trailing_zeros() as usize];
        Some((Cut { feature, last, next, score, missing_left: (gone != 0).then_some(is_left) }, left))
    }

    /// The best score of the node by an order, the place after which it is cut, [`SET`] where it can't be, and whether missing
    /// values, which stand at some places, go left.
    #[inline(always)]
    fn best_of_few<L: Lanes, const GONE: bool>(
        &self,
        lanes: L,
        order: usize,
        (there, ends, gone): (u16, u16, u16),
        other: Option<Other<'_>>,
    ) -> (f64, usize, bool) {
        let (few, order) = (&self.few, &self.few.orders[order]);
        let mut weights = [0; SET];
        for at in 0..SET {
            weights[at] = if there >> at & 1 == 1 { order.weights[at] } else { 0 };
        }
        let (mut right, mut left) = (Sums::default(), Sums::default());
        for (class, &total) in (0u32..).zip(&few.totals[..few.present.len()]) {
            if total == 0 {
                continue;
            }
            let mut own = [0; SET];
            for at in 0..SET {
                own[at] = if order.classes[at] == class { weights[at] } else { 0 };
            }
            let mut upto = lanes.sums_up_to(&own);
            let (class, _) = few.present[class as usize];
            right.add(class, &upto, total, ends, other);
            if GONE {
                // Missing values stand last.
                let missing = total - upto[gone.trailing_zeros() as usize - 1];
                upto.iter_mut().for_each(|sum| *sum = (*sum + missing).min(total));
                left.add(class, &upto, total, ends, other);
            }
        }
        let (score, at) = right.best(ends & self.window(there, 0), other);
        if !GONE {
            return (score, at, false);
        }
        let ends = ends & self.window(there & !gone, gone.count_ones() as usize);
        let (more, other) = left.best(ends, other);
        if other < SET && (at >= SET || more > score) { (more, other, true) } else { (score, at, false) }
    }

    /// Places of rows that leave enough on both sides, so many more of them on the left.
    #[inline(always)]
    fn window(&self, there: u16, more: usize) -> u16 {
        let (mut left, mut right) = (there, there);
        for at in 1..self.rules.min_samples_leaf {
            if left == 0 || right == 0 {
                return 0;
            }
            left &= if at > more { left - 1 } else { left };
            right &= up_to(SET as u32 - 1 - right.leading_zeros()) >> 1;
        }
        if left == 0 || right == 0 {
            return 0;
        }
        !(up_to(left.trailing_zeros()) >> 1) & (up_to(SET as u32 - 1 - right.leading_zeros()) >> 1)
    }

    /// Where the order of a subtree's rows by a column stands.
    #[inline(always)]
    fn order<L: Lanes>(&mut self, lanes: L, feature: usize, root: &Part) -> usize {
        let few = &mut self.few;
        let kept = few.made.len() == self.columns.len();
        let at = if kept { feature } else { 0 };
        if !kept || few.made[at] != few.subtree {
            few.made[at] = few.subtree;
            let count = root.end - root.start;
            let (codes, stride) = self.records.column(feature, count);
            let codes = packed!(codes, codes => Code::gather(lanes, codes, stride as u32, &few.rows));
            let missing = self.columns[feature].missing;
            few.orders[at].sort(lanes, &codes, count, missing, (&few.classes, &few.weights));
        }
        at
    }
}
