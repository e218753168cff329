//! The best split of a node.

use corten_kernels::boost::WIDTH;
use corten_kernels::boost::scan::{self, Cut};

use super::binning::Bins;
use super::bundles::{self, Member};
use super::histogram::{Histogram, Pair, Scale, TileSums, at};
use super::layout::{Layout, Scanned, Two};
use super::split::{Branch, Left, Split};

/// Rows, in hessian, that a category needs to take part in a split by itself.
const CATEGORY_SUPPORT: f64 = 10.0;
/// Gains below this share of a node's score are rounding.
const NOISE: f64 = 1e-13;

/// What splits must obey.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) l1: f64,
    pub(crate) l2: f64,
    pub(crate) min_samples_leaf: u32,
    pub(crate) min_hessian: f64,
    /// Least gain of a split.
    pub(crate) min_gain: f64,
    /// Largest value of a leaf before the learning rate; 0 for any.
    pub(crate) max_delta: f64,
    /// -1, 0 or 1 a column; empty for none.
    pub(crate) monotonic: Vec<i8>,
}

impl Rules {
    /// A Newton step.
    pub(crate) fn step(&self, gradient: f64, hessian: f64) -> f64 {
        // An L1 penalty draws the gradient to zero first.
        let g = if gradient > self.l1 {
            gradient - self.l1
        } else if gradient < -self.l1 {
            gradient + self.l1
        } else {
            0.0
        };
        let step = -g / (hessian + self.l2 + 1e-15);
        if self.max_delta > 0.0 { step.clamp(-self.max_delta, self.max_delta) } else { step }
    }

    /// -1, 0 or 1.
    pub(crate) fn sign(&self, column: usize) -> i8 {
        self.monotonic.get(column).copied().unwrap_or(0)
    }

    /// Whether a value is a Newton step with an L2 penalty and nothing else.
    fn is_plain(&self) -> bool {
        self.l1 == 0.0 && self.max_delta == 0.0
    }
}

/// A node's totals and the bounds that monotonic features put on its values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    pub(crate) total: Pair,
    pub(crate) rows: usize,
    pub(crate) value: f64,
    pub(crate) bounds: (f64, f64),
}

/// No bounds.
pub(crate) const FREE: (f64, f64) = (f64::NEG_INFINITY, f64::INFINITY);

/// Scores the splits of one tree's nodes.
#[derive(Clone, Copy)]
pub(crate) struct Splitter<'a> {
    pub(crate) binned: &'a Layout,
    pub(crate) rules: &'a Rules,
    pub(crate) scale: Scale,
}

/// A feature's bins in a node.
struct Feature<'a> {
    feature: usize,
    /// Its own sums and those that lie behind all gradients, where hessians lie apart.
    sums: &'a [i64],
    apart: Option<&'a [i64]>,
    count: usize,
    /// Rows by bin, where they are counted.
    rows: Option<&'a [u32]>,
}

impl Feature<'_> {
    #[inline]
    fn at(&self, bin: usize) -> Pair {
        match self.apart {
            Some(hessians) => (self.sums[bin], hessians[bin]),
            None => at(self.sums, 0, false, bin),
        }
    }

    #[inline]
    fn rows(&self, bin: usize) -> u32 {
        self.rows.map_or(0, |r| r[bin])
    }
}

/// Cuts scored side by side.
const SIDE: usize = 64;

/// Keeps the split that gains more; ties keep the first, that of the lowest feature.
#[inline]
fn keep(best: &mut Option<Split>, found: Option<Split>) {
    if let Some(found) = found
        && best.as_ref().is_none_or(|b| found.branch.gain > b.branch.gain)
    {
        *best = Some(found);
    }
}

impl Splitter<'_> {
    /// The value that lowers the loss most, without the learning rate, within bounds.
    pub(crate) fn value(&self, sums: Pair, bounds: (f64, f64)) -> f64 {
        let (g, h) = self.real(sums);
        let step = self.rules.step(g, h);
        if step < bounds.0 {
            bounds.0
        } else if step > bounds.1 {
            bounds.1
        } else {
            step
        }
    }

    #[inline]
    fn real(&self, sums: Pair) -> (f64, f64) {
        (sums.0 as f64 * self.scale.gradient, sums.1 as f64 * self.scale.hessian)
    }

    /// Least sum of hessians of a child. Where rows have different hessians, rows are taken to have equal shares.
    fn least(&self, node: &Node) -> i64 {
        let rows = i128::from(self.rules.min_samples_leaf.max(1));
        let share = if self.scale.counts {
            rows as i64
        } else {
            let n = node.rows.max(1) as i128;
            ((rows * i128::from(node.total.1) + n - 1) / n) as i64
        };
        share.max((self.rules.min_hessian / self.scale.hessian).ceil() as i64).max(1)
    }

    /// The best split of a node over the features of a tile that are allowed, or `None` where no split gains.
    pub(crate) fn best(
        &self,
        tile: usize,
        sums: &TileSums,
        wide: bool,
        node: &Node,
        allowed: Option<&[bool]>,
    ) -> Option<Split> {
        let scanned = scan::Node {
            gradient: node.total.0,
            hessian: node.total.1,
            least: self.least(node),
            l2: self.rules.l2 / self.scale.hessian,
        };
        let mut room = [0; 2 * WIDTH];
        let mut best: Option<Split> = None;
        let mut floor = scanned.score();
        let free = self.rules.is_plain() && self.rules.monotonic.is_empty() && node.bounds == FREE;
        let may = |feature: usize| allowed.is_none_or(|a| a[feature]);
        let mut any = |feature: usize, best: &mut Option<Split>, floor: &mut f64| {
            if may(feature) {
                let here = self.feature(feature, sums, wide, node, &mut room, None);
                keep(best, self.by(&here, node, &scanned, floor));
            }
        };
        for columns in &self.binned.by_tile[tile] {
            let found = match columns {
                Scanned::Twos(range) if free => {
                    let size = self.binned.sizes[tile];
                    let of = |two: &Two| at(sums, size, wide, two.rarer);
                    self.two(&self.binned.twos[tile][range.clone()], of, &scanned, floor, may)
                }
                &Scanned::Numbers { feature, start, count } if free && !wide && sums[start + count] == 0 => {
                    let found = || scan::packed(&sums[start..start + count - 1], 0, &scanned, floor);
                    may(feature).then(found).flatten().map(|cut| (feature, cut))
                }
                Scanned::Twos(range) => {
                    let twos = &self.binned.twos[tile][range.clone()];
                    twos.iter().for_each(|two| any(two.feature, &mut best, &mut floor));
                    None
                }
                &Scanned::Numbers { feature, .. } | &Scanned::Other(feature) => {
                    any(feature, &mut best, &mut floor);
                    None
                }
            };
            if let Some((feature, cut)) = found {
                floor = cut.score;
                keep(&mut best, self.cut(feature, node, &scanned, cut, false, false));
            }
        }
        best
    }

    /// The first of the best cuts of columns of two bins that scores above `floor`; `of` gives the sums of a column's rarer
    /// bin.
    fn two(
        &self,
        twos: &[Two],
        of: impl Fn(&Two) -> Pair,
        scanned: &scan::Node,
        mut floor: f64,
        may: impl Fn(usize) -> bool,
    ) -> Option<(usize, Cut)> {
        let (mut sums, mut scores) = ([(0, 0); SIDE], [0.0; SIDE]);
        let mut found = None;
        for twos in twos.chunks(SIDE) {
            let sums = &mut sums[..twos.len()];
            sums.iter_mut().zip(twos).for_each(|(sums, two)| *sums = of(two));
            scan::twos(sums, scanned, &mut scores);
            for ((two, &sums), &score) in twos.iter().zip(&*sums).zip(&scores) {
                if score > floor && may(two.feature) {
                    floor = score;
                    found = Some((two, score, sums));
                }
            }
        }
        found.map(|(two, score, (g, h))| {
            let left = if two.common == 0 { (scanned.gradient - g, scanned.hessian - h) } else { (g, h) };
            (two.feature, Cut { score, bin: 0, left })
        })
    }

    /// A feature's bins in a node; those of a bundled one are written to `room`.
    fn feature<'f>(
        &self,
        feature: usize,
        tile: &'f [i64],
        wide: bool,
        node: &Node,
        room: &'f mut [i64; 2 * WIDTH],
        rows: Option<&'f [u32]>,
    ) -> Feature<'f> {
        let (group, member) = self.binned.members[feature];
        let size = self.binned.sizes[self.binned.places[group].tile];
        let count = self.binned.features[feature].count();
        let first = self.binned.starts[feature];
        let (gradients, hessians) = (&tile[first..], wide.then(|| &tile[size + first..]));
        let Member::Exclusive { start, common, states } = member else {
            return Feature { feature, sums: &gradients[..=count], apart: hessians.map(|h| &h[..=count]), count, rows };
        };
        let (sums, apart) = room.split_at_mut(WIDTH);
        let (sums, apart) = (&mut sums[..=count], &mut apart[..=count]);
        let Some(hessians) = hessians else {
            bundles::own(gradients, (node.total.0 << 32) + node.total.1, start, common, states, sums);
            return Feature { feature, sums, apart: None, count, rows };
        };
        bundles::own(gradients, node.total.0, start, common, states, sums);
        bundles::own(hessians, node.total.1, start, common, states, apart);
        Feature { feature, sums, apart: Some(apart), count, rows }
    }

    /// The best split by one feature. Plain cuts that don't score above `floor`, which they raise, are left out.
    fn by(&self, here: &Feature<'_>, node: &Node, scanned: &scan::Node, floor: &mut f64) -> Option<Split> {
        let sign = self.rules.sign(self.binned.sources[here.feature]);
        match &self.binned.features[here.feature] {
            Bins::Category { .. } => self.categories(here, node, scanned, sign),
            _ if sign == 0 && node.bounds == FREE && self.rules.is_plain() => match here.rows {
                None => self.numbers(here, node, scanned, floor),
                Some(rows) => self.numbers_counted(here, node, scanned, rows),
            },
            _ => self.bounded(here, node, scanned, sign),
        }
    }

    /// The best split that leaves enough rows on both sides, counted one by one: for nodes where hessians mislead.
    /// `count` gives a group's rows by byte.
    pub(crate) fn counted(
        &self,
        count: impl Fn(usize) -> [u32; WIDTH],
        histogram: &Histogram,
        node: &Node,
        allowed: Option<&[bool]>,
    ) -> Option<Split> {
        let least = ((self.rules.min_hessian / self.scale.hessian).ceil() as i64).max(1);
        let l2 = self.rules.l2 / self.scale.hessian;
        let scanned = scan::Node { gradient: node.total.0, hessian: node.total.1, least, l2 };
        let tile = |feature: usize| &histogram.tiles[self.binned.places[self.binned.members[feature].0].tile];
        let mut room = [0; 2 * WIDTH];
        // No split of a feature gains more than its best one of any number of rows.
        let mut most: Vec<(f64, usize)> = (0..self.binned.features.len())
            .filter(|&f| allowed.is_none_or(|a| a[f]))
            .filter_map(|f| {
                let here = self.feature(f, tile(f), histogram.wide, node, &mut room, None);
                self.by(&here, node, &scanned, &mut scanned.score()).map(|s| (s.branch.gain, f))
            })
            .collect();
        most.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut best: Option<Split> = None;
        // Columns of one group often follow each other.
        let mut last: Option<(usize, [u32; WIDTH])> = None;
        for (gain, feature) in most {
            if best.as_ref().is_some_and(|b| b.branch.gain > gain) {
                break;
            }
            let (group, member) = self.binned.members[feature];
            let rows = match last {
                Some((counted, rows)) if counted == group => rows,
                _ => last.insert((group, count(group))).1,
            };
            let counts = member.counts(&rows);
            let here = self.feature(feature, tile(feature), histogram.wide, node, &mut room, Some(&counts));
            if let Some(found) = self.by(&here, node, &scanned, &mut scanned.score())
                && best.as_ref().is_none_or(|b| found.branch.is_before(&b.branch))
            {
                best = Some(found);
            }
        }
        best
    }

    /// Cuts of numbers with enough rows on both sides.
    fn numbers_counted(&self, here: &Feature<'_>, node: &Node, scanned: &scan::Node, rows: &[u32]) -> Option<Split> {
        let count = here.count;
        let missing = here.at(count);
        let seen = missing.1 != 0;
        let (least, n) = (self.rules.min_samples_leaf, node.rows as u32);
        let mut best: Option<(Cut, bool)> = None;
        for missing_left in [false, true] {
            if missing_left && !seen {
                break;
            }
            let (mut left, mut here_rows) = if missing_left { (missing, rows[count]) } else { ((0, 0), 0) };
            for bin in 0..if seen && !missing_left { count } else { count - 1 } {
                if rows[bin] == 0 {
                    continue;
                }
                let s = here.at(bin);
                left = (left.0 + s.0, left.1 + s.1);
                here_rows += rows[bin];
                if here_rows < least || left.1 < scanned.least {
                    continue;
                }
                if n - here_rows < least || node.total.1 - left.1 < scanned.least {
                    break;
                }
                let score = scanned.both(left.0 as f64, left.1 as f64);
                if best.is_none_or(|(b, _)| score > b.score) {
                    best = Some((Cut { score, bin, left }, missing_left));
                }
            }
        }
        let (cut, missing_left) = best?;
        self.cut(here.feature, node, scanned, cut, missing_left, seen)
    }

    /// A cut as a split, if it gains.
    fn cut(
        &self,
        feature: usize,
        node: &Node,
        scanned: &scan::Node,
        cut: Cut,
        missing_left: bool,
        seen: bool,
    ) -> Option<Split> {
        let before = scanned.score();
        let gain = cut.score - before;
        if gain <= before * NOISE {
            return None;
        }
        let gain = gain * (self.scale.gradient * self.scale.gradient / self.scale.hessian);
        if gain <= self.rules.min_gain {
            return None;
        }
        Some(self.split(feature, node, gain, cut.left, Left::UpTo(cut.bin as u8), missing_left, seen))
    }

    fn numbers(&self, here: &Feature<'_>, node: &Node, scanned: &scan::Node, floor: &mut f64) -> Option<Split> {
        let count = here.count;
        let missing = here.at(count);
        let seen = missing.1 != 0;
        // With missing values all others may go left, against them.
        let last = if seen { count } else { count - 1 };
        if last == 1 {
            // Two bins: one cut.
            let left = here.at(0);
            if left.1.min(node.total.1 - left.1) < scanned.least {
                return None;
            }
            let score = scanned.both(left.0 as f64, left.1 as f64);
            return self.cut(here.feature, node, scanned, Cut { score, bin: 0, left }, false, seen);
        }
        let search = |bins: usize, before: Pair, floor: f64| match here.apart {
            None => scan::packed(&here.sums[..bins], (before.0 << 32) + before.1, scanned, floor),
            Some(hessians) => scan::wide(&here.sums[..bins], &hessians[..bins], before, scanned, floor),
        };
        let mut best: Option<(Cut, bool)> = None;
        for missing_left in [false, true] {
            if missing_left && !seen {
                break;
            }
            let (bins, before) = if missing_left { (count - 1, missing) } else { (last, (0, 0)) };
            if let Some(cut) = search(bins, before, *floor) {
                *floor = cut.score;
                best = Some((cut, missing_left));
            }
        }
        let (cut, missing_left) = best?;
        self.cut(here.feature, node, scanned, cut, missing_left, seen)
    }

    fn split(
        &self,
        feature: usize,
        node: &Node,
        gain: f64,
        left_sums: Pair,
        left: Left,
        missing_left: bool,
        missing_seen: bool,
    ) -> Split {
        let right = (node.total.0 - left_sums.0, node.total.1 - left_sums.1);
        Split {
            branch: Branch::new(feature, gain, left, missing_left, missing_seen),
            left_sums,
            left_value: self.value(left_sums, node.bounds),
            right_value: self.value(right, node.bounds),
        }
    }

    /// The gain of a split whose children's values are bounded; `None` where it may not be.
    fn gain(&self, node: &Node, scanned: &scan::Node, sign: i8, left: Pair, rows: Option<u32>) -> Option<f64> {
        let right = (node.total.0 - left.0, node.total.1 - left.1);
        if left.1 < scanned.least || right.1 < scanned.least {
            return None;
        }
        if let Some(rows) = rows
            && (rows as usize).min(node.rows - rows as usize) < self.rules.min_samples_leaf as usize
        {
            return None;
        }
        let (left_value, right_value) = (self.value(left, node.bounds), self.value(right, node.bounds));
        if (sign > 0 && left_value > right_value) || (sign < 0 && left_value < right_value) {
            return None;
        }
        // What a loss's quadratic form says of a value: also right where it is not the best one.
        let drop = |sums: Pair, value: f64| {
            let (g, h) = self.real(sums);
            -(2.0 * g * value + (h + self.rules.l2) * value * value + 2.0 * self.rules.l1 * value.abs())
        };
        let before = drop(node.total, node.value);
        let gain = drop(left, left_value) + drop(right, right_value) - before;
        (gain > before.abs() * NOISE && gain > self.rules.min_gain).then_some(gain)
    }

    /// Cuts of numbers under monotonic constraints.
    fn bounded(&self, here: &Feature<'_>, node: &Node, scanned: &scan::Node, sign: i8) -> Option<Split> {
        let missing = here.at(here.count);
        let seen = missing.1 != 0;
        let mut best: Option<(f64, Pair, usize, bool)> = None;
        for missing_left in [false, true] {
            if missing_left && !seen {
                break;
            }
            let mut left = if missing_left { missing } else { (0, 0) };
            let mut rows = if missing_left { here.rows(here.count) } else { 0 };
            let last = if seen && !missing_left { here.count } else { here.count - 1 };
            for bin in 0..last {
                let s = here.at(bin);
                left = (left.0 + s.0, left.1 + s.1);
                rows += here.rows(bin);
                if s.1 == 0 {
                    continue;
                }
                if let Some(gain) = self.gain(node, scanned, sign, left, here.rows.map(|_| rows))
                    && best.is_none_or(|b| gain > b.0)
                {
                    best = Some((gain, left, bin, missing_left));
                }
            }
        }
        let (gain, left, bin, missing_left) = best?;
        Some(self.split(here.feature, node, gain, left, Left::UpTo(bin as u8), missing_left, seen))
    }

    /// Categories in the order of their mean gradients, from both ends (Fisher, JASA 53, 1958).
    fn categories(&self, here: &Feature<'_>, node: &Node, scanned: &scan::Node, sign: i8) -> Option<Split> {
        let (_, total) = self.real(node.total);
        let factor = node.rows as f64 / total.max(1e-300);
        let mut used: Vec<(f64, usize)> = (0..=here.count)
            .filter_map(|b| {
                let s = here.at(b);
                let (g, h) = self.real(s);
                (s.1 > 0 && h * factor >= CATEGORY_SUPPORT).then(|| (g / (h + CATEGORY_SUPPORT), b))
            })
            .collect();
        if used.len() < 2 {
            return None;
        }
        used.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let middle = used.len().div_ceil(2);
        let mut best: Option<(f64, Pair, [u32; 8], bool)> = None;
        for reversed in [false, true] {
            let (mut left, mut set, mut missing_left, mut rows) = ((0, 0), [0u32; 8], false, 0);
            for i in 0..middle {
                let bin = if reversed { used[used.len() - 1 - i].1 } else { used[i].1 };
                let s = here.at(bin);
                left = (left.0 + s.0, left.1 + s.1);
                rows += here.rows(bin);
                if bin == here.count {
                    missing_left = true;
                } else {
                    set[bin >> 5] |= 1 << (bin & 31);
                }
                if let Some(gain) = self.gain(node, scanned, sign, left, here.rows.map(|_| rows))
                    && best.is_none_or(|b| gain > b.0)
                {
                    best = Some((gain, left, set, missing_left));
                }
            }
        }
        let (gain, left, set, missing_left) = best?;
        let seen = here.at(here.count).1 != 0;
        Some(self.split(here.feature, node, gain, left, Left::Set(Box::new(set)), missing_left, seen))
    }
}
