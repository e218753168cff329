//! Classification into any number of classes whose rows weigh any numbers, by Gini impurity or entropy.

use std::ops::Range;

use super::super::classes::Measure;
use super::super::finder::Stats;
use super::super::purity::weighted_log;
use super::super::sort::Key;
use super::{EIGHT, Items, Scores, Target, first_best};

/// Cuts that are kept before they are scored.
const TOGETHER: usize = 64;

/// The class goes with a row, and its weight, but for a factor that is that of all rows of a class.
pub(crate) struct Shares {
    pub(crate) measure: Measure,
    pub(crate) by_class: Vec<f64>,
    /// Whether sums of weights without the factors don't depend on their order.
    pub(crate) is_exact: bool,
}

/// The weights of the classes, and of all.
#[derive(Clone, Default)]
pub(crate) struct Node {
    totals: Vec<f64>,
    weight: f64,
    /// Sums of weights without the factors.
    pub(in super::super) sums: Vec<f64>,
    /// Classes of which there are rows, ascending, and their weights: others add nothing.
    present: Vec<u32>,
    own: Vec<f64>,
}

/// Room for a search.
#[derive(Default)]
pub(crate) struct Room {
    /// What lies on the left, of each class, without the factors.
    pub(in super::super) left: Vec<f64>,
    /// Where trees of drawn columns are grown, the same of missing values, and of each code.
    pub(in super::super) gone: Vec<f64>,
    pub(in super::super) bins: Vec<f64>,
    /// The weights there of eight cuts, class after class, and after which key each is.
    upto: Vec<[f64; EIGHT]>,
    pub(in super::super) places: Vec<u32>,
}

impl Room {
    #[inline(always)]
    pub(in super::super) fn reset(&mut self, classes: usize) {
        self.left.clear();
        self.left.resize(classes, 0.0);
        self.upto.resize(TOGETHER / EIGHT * classes, [0.0; EIGHT]);
    }

    /// Whether no more cuts are kept before they are scored.
    #[inline(always)]
    pub(in super::super) fn is_full(&self) -> bool {
        self.places.len() >= TOGETHER
    }

    /// Keeps what lies on the left as a cut.
    #[inline(always)]
    pub(in super::super) fn keep(&mut self, node: &Node, by_class: &[f64], place: usize) {
        let (classes, at) = (node.present.len(), self.places.len());
        let upto = &mut self.upto[at / EIGHT * classes..][..classes];
        for (upto, &class) in upto.iter_mut().zip(&node.present) {
            upto[at % EIGHT] = self.left[class as usize] * by_class[class as usize];
        }
        self.places.push(place as u32);
    }

    /// The best of the cuts that are kept, where it is better than another: its place, and its score.
    #[inline(always)]
    pub(in super::super) fn best(
        &mut self,
        measure: Measure,
        node: &Node,
        other: Option<(usize, f64)>,
    ) -> Option<(usize, f64)> {
        let (count, classes) = (self.places.len(), node.present.len());
        // What fills up the last eight has nothing on the left: such a side has no score.
        let eights = count.div_ceil(EIGHT);
        if !count.is_multiple_of(EIGHT) {
            for upto in &mut self.upto[(eights - 1) * classes..eights * classes] {
                upto[count % EIGHT..].fill(0.0);
            }
        }
        let upto = &self.upto[..eights * classes];
        let best = match measure {
            Measure::Gini => first_best(eights, Of::<false> { node, upto }),
            Measure::Entropy => first_best(eights, Of::<true> { node, upto }),
        };
        let best = best.filter(|best| other.is_none_or(|other| best.1 > other.1));
        best.map(|(at, score)| (self.places[at] as usize, score)).or(other)
    }
}

/// Scores from the weights of classes on the left of cuts.
struct Of<'a, const ENTROPY: bool> {
    node: &'a Node,
    upto: &'a [[f64; EIGHT]],
}

impl<const ENTROPY: bool> Scores for Of<'_, ENTROPY> {
    #[inline(always)]
    fn eight(&self, at: usize) -> [f64; EIGHT] {
        let classes = self.node.own.len();
        let zero = [0.0; EIGHT];
        let (mut lefts, mut rights, mut left, mut right) = (zero, zero, zero, zero);
        for (upto, &total) in self.upto[at * classes..][..classes].iter().zip(&self.node.own) {
            for lane in 0..EIGHT {
                let (l, r) = (upto[lane], total - upto[lane]);
                lefts[lane] += l;
                rights[lane] += r;
                left[lane] += if ENTROPY { weighted_log(l) } else { l * l };
                right[lane] += if ENTROPY { weighted_log(r) } else { r * r };
            }
        }
        let mut scores = zero;
        for lane in 0..EIGHT {
            let (l, r) = (lefts[lane], rights[lane]);
            let score = if ENTROPY {
                (left[lane] - weighted_log(l)) + (right[lane] - weighted_log(r))
            } else {
                left[lane] / l + right[lane] / r
            };
            scores[lane] = if (l > 0.0) & (r > 0.0) { score } else { f64::NAN };
        }
        scores
    }
}

impl Target for Shares {
    type Item = (u32, f64);
    type Node = Node;
    type Room = Room;
    type Sum = f64;

    #[inline(always)]
    fn enter(&self, node: &mut Node, items: impl Items<(u32, f64)>) -> Stats {
        node.totals.clear();
        node.totals.resize(self.by_class.len(), 0.0);
        for at in 0..items.count() {
            let (class, weight) = items.at(at);
            node.totals[class as usize] += weight;
        }
        node.sums.clone_from(&node.totals);
        node.present.clear();
        node.own.clear();
        for ((class, total), factor) in (0..).zip(&mut node.totals).zip(&self.by_class) {
            if *total > 0.0 {
                *total *= factor;
                node.present.push(class);
                node.own.push(*total);
            }
        }
        self.measure.stats(&node.totals, &mut node.weight)
    }

    #[inline(always)]
    fn best<K: Key>(
        &self,
        node: &Node,
        keys: &[K],
        items: &[(u32, f64)],
        all: Range<usize>,
        room: &mut Room,
    ) -> Option<(usize, f64)> {
        room.reset(self.by_class.len());
        let (mut at, mut best) = (0, None);
        while at < all.end {
            room.places.clear();
            while at < all.end && !room.is_full() {
                let (class, weight) = items[keys[at].place()];
                room.left[class as usize] += weight;
                if keys[at].code() != keys[at + 1].code() && at >= all.start {
                    room.keep(node, &self.by_class, at);
                }
                at += 1;
            }
            best = room.best(self.measure, node, best);
        }
        best
    }

    #[inline(always)]
    fn add(&self, sums: &mut [f64], (class, weight): (u32, f64)) {
        sums[class as usize] += weight;
    }

    #[inline(always)]
    fn is_empty(&self, sums: &[f64]) -> bool {
        sums.iter().all(|&sum| sum == 0.0)
    }

    #[inline(always)]
    fn best_by_value(&self, node: &Node, sums: &[f64], room: &mut Room) -> Option<(usize, f64)> {
        let classes = self.by_class.len();
        room.reset(classes);
        let mut best = None;
        for (first, values) in (0..).step_by(TOGETHER).zip(sums[classes..].chunks(TOGETHER * classes)) {
            room.places.clear();
            for at in first..first + values.len() / classes {
                let own = &sums[at * classes..][..classes];
                room.left.iter_mut().zip(own).for_each(|(left, own)| *left += own);
                room.keep(node, &self.by_class, at);
            }
            best = room.best(self.measure, node, best);
        }
        best
    }

    #[inline(always)]
    fn is_perfect(&self, node: &Node, score: f64, _: usize) -> bool {
        // The cut between two classes, whatever its column.
        let &[one, other] = &node.own[..] else { return false };
        self.is_exact && score >= self.measure.perfect(one, other)
    }

    #[inline(always)]
    fn gain(&self, node: &Node, score: f64) -> f64 {
        self.measure.gain(&node.totals, node.weight, score)
    }

    #[inline(always)]
    fn value(&self, node: &Node, out: &mut Vec<f64>) {
        out.extend(node.totals.iter().map(|total| total / node.weight));
    }
}
