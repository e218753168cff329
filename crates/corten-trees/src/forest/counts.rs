//! Classification where weights are whole numbers: no weights at all, or how often a row was drawn.
//!
//! Class counts are integers and every sum is exact, so a split doesn't depend on the order of rows.

use super::finder::{self, Cut, Entry, Finder, Limits, Span, Stats};
use super::ranks::Code;
use super::sort::{self, Key};

/// How mixed classes are, from a sum over classes that changes by one term a row.
pub(crate) trait Purity: Clone + Send + Sync {
    /// The term of a class of weight `x`.
    fn term(&self, x: u32) -> f64;
    /// The score of two children from their sums of terms and their weights.
    fn score(&self, left: (f64, u32), right: (f64, u32)) -> f64;
    /// Impurity from the sum of terms and the weight.
    fn impurity(&self, sum: f64, weight: u32) -> f64;
    /// The weighted impurity of two children, from their score and their joint weight.
    fn remaining(&self, score: f64, weight: f64) -> f64;
}

/// Gini impurity: 1 less the sum of squared shares.
#[derive(Clone)]
pub(crate) struct Gini;

impl Purity for Gini {
    #[inline]
    fn term(&self, x: u32) -> f64 {
        let x = f64::from(x);
        x * x
    }

    #[inline]
    fn score(&self, left: (f64, u32), right: (f64, u32)) -> f64 {
        let (l, r) = (f64::from(left.1), f64::from(right.1));
        (left.0 * r + right.0 * l) / (l * r)
    }

    fn impurity(&self, sum: f64, weight: u32) -> f64 {
        let w = f64::from(weight);
        1.0 - sum / (w * w)
    }

    fn remaining(&self, score: f64, weight: f64) -> f64 {
        weight - score
    }
}

/// Shannon entropy in bits.
#[derive(Clone)]
pub(crate) struct Entropy(std::sync::Arc<[f64]>);

impl Entropy {
    /// For weights up to `most`.
    pub(crate) fn up_to(most: usize) -> Self {
        Self((0..=most).map(|x| weighted_log(x as f64)).collect())
    }
}

/// `x log2(x)`, 0 for 0.
pub(crate) fn weighted_log(x: f64) -> f64 {
    if x > 0.0 { x * corten_kernels::special::ln(x) * std::f64::consts::LOG2_E } else { 0.0 }
}

impl Purity for Entropy {
    #[inline]
    fn term(&self, x: u32) -> f64 {
        self.0[x as usize]
    }

    #[inline]
    fn score(&self, left: (f64, u32), right: (f64, u32)) -> f64 {
        (left.0 - self.term(left.1)) + (right.0 - self.term(right.1))
    }

    fn impurity(&self, sum: f64, weight: u32) -> f64 {
        ((self.term(weight) - sum) / f64::from(weight)).max(0.0)
    }

    fn remaining(&self, score: f64, _: f64) -> f64 {
        -score
    }
}

/// The rows on the left while a scan moves them there.
trait Tally {
    fn add(&mut self, class: u32, weight: u32);
    fn weight(&self) -> u32;
    /// Sums of terms, left and right.
    fn sums<P: Purity>(&self, purity: &P) -> (f64, f64);
    /// Weight of the second class on the left.
    fn ones(&self) -> u32;
}

/// Two classes: two numbers tell all.
struct Two {
    weight: u32,
    ones: u32,
    all: [u32; 2],
}

impl Tally for Two {
    #[inline]
    fn add(&mut self, class: u32, weight: u32) {
        self.weight += weight;
        self.ones += weight * class;
    }

    #[inline]
    fn weight(&self) -> u32 {
        self.weight
    }

    #[inline]
    fn sums<P: Purity>(&self, purity: &P) -> (f64, f64) {
        let zeros = self.weight - self.ones;
        let left = purity.term(zeros) + purity.term(self.ones);
        (left, purity.term(self.all[0] - zeros) + purity.term(self.all[1] - self.ones))
    }

    #[inline]
    fn ones(&self) -> u32 {
        self.ones
    }
}

/// Any number of classes; sums of terms follow each row.
struct Many<'a, P> {
    purity: &'a P,
    weight: u32,
    left: &'a mut [u32],
    all: &'a [u32],
    sums: (f64, f64),
}

impl<P: Purity> Tally for Many<'_, P> {
    #[inline]
    fn add(&mut self, class: u32, weight: u32) {
        self.weight += weight;
        let (l, all) = (&mut self.left[class as usize], self.all[class as usize]);
        let (before, after) = (*l, *l + weight);
        *l = after;
        self.sums.0 += self.purity.term(after) - self.purity.term(before);
        self.sums.1 += self.purity.term(all - after) - self.purity.term(all - before);
    }

    #[inline]
    fn weight(&self) -> u32 {
        self.weight
    }

    #[inline]
    fn sums<Q: Purity>(&self, _: &Q) -> (f64, f64) {
        self.sums
    }

    fn ones(&self) -> u32 {
        self.left[1]
    }
}

/// See the module.
pub(crate) struct Counts<C: Code, P> {
    purity: P,
    totals: Vec<u32>,
    weight: u32,
    sum: f64,
    keys: Vec<C::Key>,
    absent: Vec<C::Key>,
    scratch: Vec<C::Key>,
    left: Vec<u32>,
}

impl<C: Code, P: Purity> Counts<C, P> {
    pub(crate) fn new(purity: P, classes: usize) -> Self {
        let (totals, left) = (vec![0; classes], vec![0; classes]);
        Self { purity, totals, weight: 0, sum: 0.0, keys: Vec::new(), absent: Vec::new(), scratch: Vec::new(), left }
    }

    /// What a row carries, where it fits.
    pub(crate) fn payload(class: u32, weight: u32) -> Option<u32> {
        (class >> C::CLASS_BITS == 0 && weight >> C::WEIGHT_BITS == 0).then_some(class << C::WEIGHT_BITS | weight)
    }

    #[inline]
    fn parts(payload: u32) -> (u32, u32) {
        (payload >> C::WEIGHT_BITS, payload & ((1 << C::WEIGHT_BITS) - 1))
    }

    /// Calls `work` with a tally of the kind that the number of classes asks for.
    fn tally<R>(&mut self, work: impl Scan<C, P, R>) -> R {
        let Self { purity, totals, sum, keys, absent, left, weight, .. } = self;
        let node = View { purity, keys, absent, weight: *weight };
        if let [zeros, ones] = totals[..] {
            return work.run(node, Two { weight: 0, ones: 0, all: [zeros, ones] });
        }
        left.fill(0);
        let sums = (0.0, *sum);
        work.run(node, Many { purity, weight: 0, left, all: totals, sums })
    }
}

/// What a scan sees of a finder.
struct View<'a, C: Code, P> {
    purity: &'a P,
    keys: &'a [C::Key],
    absent: &'a [C::Key],
    weight: u32,
}

impl<C: Code, P: Purity> View<'_, C, P> {
    /// The cut after the rows on the left, if it may be.
    #[inline]
    fn cut<T: Tally>(&self, tally: &T, rows: (usize, usize), limits: &Limits) -> Option<(f64, f64)> {
        let (l, r) = (tally.weight(), self.weight - tally.weight());
        if !limits.allow((rows.0, f64::from(l)), (rows.1, f64::from(r))) {
            return None;
        }
        let mut middle = 0.0;
        if limits.monotonic.is_some() {
            let all = self.keys.iter().chain(self.absent).map(|k| Counts::<C, P>::parts(k.payload()));
            let ones: u32 = all.map(|(class, weight)| class * weight).sum();
            let values = (f64::from(tally.ones()) / f64::from(l), f64::from(ones - tally.ones()) / f64::from(r));
            if !limits.allow_values(|| values) {
                return None;
            }
            middle = (values.0 + values.1) / 2.0;
        }
        let (left, right) = tally.sums(self.purity);
        Some((self.purity.score((left, l), (right, r)), middle))
    }
}

trait Scan<C: Code, P, R> {
    fn run<T: Tally>(self, node: View<'_, C, P>, tally: T) -> R;
}

/// All cuts of sorted keys.
struct Sorted<'a> {
    limits: &'a Limits,
    missing_left: bool,
}

impl<C: Code, P: Purity> Scan<C, P, Option<Cut>> for Sorted<'_> {
    fn run<T: Tally>(self, node: View<'_, C, P>, mut tally: T) -> Option<Cut> {
        let (mut left, total) = (0, node.keys.len() + node.absent.len());
        if self.missing_left {
            for k in node.absent {
                let (class, weight) = Counts::<C, P>::parts(k.payload());
                tally.add(class, weight);
            }
            left = node.absent.len();
        }
        let (mut best, mut score) = (None, f64::NEG_INFINITY);
        let mut consider = |tally: &T, left: usize, at: usize| {
            if let Some((s, middle)) = node.cut(tally, (left, total - left), self.limits)
                && s > score
            {
                score = s;
                best = Some((at, middle));
            }
        };
        for (i, pair) in node.keys.windows(2).enumerate() {
            let (class, weight) = Counts::<C, P>::parts(pair[0].payload());
            tally.add(class, weight);
            if pair[0].code() != pair[1].code() {
                consider(&tally, left + i + 1, i);
            }
        }
        if let (Some(k), false, true) = (node.keys.last(), self.missing_left, !node.absent.is_empty()) {
            let (class, weight) = Counts::<C, P>::parts(k.payload());
            tally.add(class, weight);
            consider(&tally, node.keys.len(), node.keys.len() - 1);
        }
        let (at, middle) = best?;
        let next = node.keys.get(at + 1).or(node.absent.first())?.code();
        Some(Cut { last: node.keys[at].code(), next, missing_left: self.missing_left, score, middle })
    }
}

/// One cut of keys in any order.
struct Single<'a> {
    limits: &'a Limits,
    last: u32,
    missing_left: bool,
}

impl<C: Code, P: Purity> Scan<C, P, Option<Cut>> for Single<'_> {
    fn run<T: Tally>(self, node: View<'_, C, P>, mut tally: T) -> Option<Cut> {
        let mut left = 0;
        for k in node.keys {
            let (class, weight) = Counts::<C, P>::parts(k.payload());
            let goes_left = k.code() <= self.last;
            // A weight of 0 moves nothing: no branch on the side.
            tally.add(class, weight * u32::from(goes_left));
            left += usize::from(goes_left);
        }
        if self.missing_left {
            for k in node.absent {
                let (class, weight) = Counts::<C, P>::parts(k.payload());
                tally.add(class, weight);
            }
            left += node.absent.len();
        }
        let rows = (left, node.keys.len() + node.absent.len() - left);
        let (score, middle) = node.cut(&tally, rows, self.limits)?;
        Some(Cut { last: self.last, next: self.last + 1, missing_left: self.missing_left, score, middle })
    }
}

impl<C: Code, P: Purity> Finder<C> for Counts<C, P> {
    fn enter(&mut self, rows: &[Entry]) -> Stats {
        self.totals.fill(0);
        for entry in rows {
            let (class, weight) = Self::parts(entry.payload);
            self.totals[class as usize] += weight;
        }
        self.weight = self.totals.iter().sum();
        self.sum = self.totals.iter().map(|&t| self.purity.term(t)).sum();
        Stats { weight: f64::from(self.weight), impurity: self.purity.impurity(self.sum, self.weight) }
    }

    fn gather(&mut self, codes: &[C], missing: u32, rows: &[Entry]) -> Span {
        finder::gather(codes, missing, rows, &mut self.keys, &mut self.absent, |code, _, entry| code.key(entry.payload))
    }

    fn best(&mut self, span: &Span, limits: &Limits) -> Option<Cut> {
        sort::by_code(&mut self.keys, &mut self.scratch, span.low, span.high);
        let right = self.tally(Sorted { limits, missing_left: false });
        if span.missing == 0 {
            return right;
        }
        let left = self.tally(Sorted { limits, missing_left: true });
        Cut::better(right, left)
    }

    fn at(&mut self, last: u32, missing_left: bool, limits: &Limits) -> Option<Cut> {
        self.tally(Single { limits, last, missing_left })
    }

    fn gain(&self, score: f64) -> f64 {
        let weight = f64::from(self.weight);
        weight * self.purity.impurity(self.sum, self.weight) - self.purity.remaining(score, weight)
    }

    fn value(&self, bounds: Option<(f64, f64)>, out: &mut Vec<f64>) {
        let weight = f64::from(self.weight);
        finder::shares(self.totals.iter().map(|&t| f64::from(t) / weight), bounds, out);
    }
}
