//! The best split of a node.

use super::binning::{Binned, Bins, MISSING};
use super::histogram::{Rounded, Sums, WIDTH};

/// Rows, in hessian, that a category needs to take part in a split by itself.
const CATEGORY_SUPPORT: f64 = 10.0;

/// What splits must obey.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) l2: f64,
    pub(crate) min_samples_leaf: u32,
    pub(crate) min_hessian: f64,
    /// -1, 0 or 1 a feature; empty for none.
    pub(crate) monotonic: Vec<i8>,
}

/// Which bins go left.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Left {
    /// Bins up to this one.
    UpTo(u8),
    /// A bit a bin.
    Set([u64; 4]),
}

/// A way to split a node.
#[derive(Clone, Debug)]
pub(crate) struct Split {
    pub(crate) feature: usize,
    pub(crate) gain: f64,
    pub(crate) left: Left,
    pub(crate) missing_left: bool,
    pub(crate) left_sums: [i64; 2],
    pub(crate) left_value: f64,
    pub(crate) right_value: f64,
}

impl Split {
    #[inline]
    pub(crate) fn goes_left(&self, bin: u8) -> bool {
        if bin == MISSING {
            return self.missing_left;
        }
        match &self.left {
            Left::UpTo(last) => bin <= *last,
            Left::Set(set) => set[usize::from(bin >> 6)] >> (bin & 63) & 1 == 1,
        }
    }
}

/// A node's totals and the bounds that monotonic features put on its values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    pub(crate) total: [i64; 2],
    pub(crate) value: f64,
    pub(crate) bounds: (f64, f64),
}

/// The value that lowers the loss most: a Newton step, without the learning rate.
pub(crate) fn value(sums: Sums, l2: f64, bounds: (f64, f64)) -> f64 {
    let step = -sums.gradient / (sums.hessian + l2 + 1e-15);
    if step < bounds.0 {
        bounds.0
    } else if step > bounds.1 {
        bounds.1
    } else {
        step
    }
}

/// Looks for the best split of one feature.
struct Search<'a> {
    rounded: &'a Rounded,
    rules: &'a Rules,
    node: Node,
    feature: usize,
    sign: i8,
    best: Option<Split>,
}

impl Search<'_> {
    #[inline]
    fn consider(&mut self, left_sums: [i64; 2], missing_left: bool, left: impl FnOnce() -> Left) {
        let right_sums = [self.node.total[0] - left_sums[0], self.node.total[1] - left_sums[1]];
        let (l, r) = (self.rounded.sums(left_sums), self.rounded.sums(right_sums));
        let rules = self.rules;
        if l.count < rules.min_samples_leaf
            || r.count < rules.min_samples_leaf
            || l.hessian < rules.min_hessian
            || r.hessian < rules.min_hessian
        {
            return;
        }
        let left_value = value(l, rules.l2, self.node.bounds);
        let right_value = value(r, rules.l2, self.node.bounds);
        if (self.sign > 0 && left_value > right_value) || (self.sign < 0 && left_value < right_value) {
            return;
        }
        let gain = self.rounded.sums(self.node.total).gradient * self.node.value
            - l.gradient * left_value
            - r.gradient * right_value;
        // Ties keep the first: the lowest feature, then the lowest bin.
        if gain > self.best.as_ref().map_or(0.0, |b| b.gain) {
            let (feature, left) = (self.feature, left());
            self.best = Some(Split { feature, gain, left, missing_left, left_sums, left_value, right_value });
        }
    }

    fn numbers(&mut self, sums: &[[i64; 2]], bins: usize) {
        let missing = sums[MISSING as usize];
        let has_missing = missing[1] != 0;
        // Without missing values in the node, they later go where most rows go: set when the split is applied.
        let mut left = [0i64; 2];
        let last = if has_missing { bins } else { bins - 1 };
        for (i, s) in sums[..last].iter().enumerate() {
            left = [left[0] + s[0], left[1] + s[1]];
            if s[1] != 0 || i + 1 == bins {
                self.consider(left, false, || Left::UpTo(i as u8));
            }
        }
        if has_missing {
            let mut left = missing;
            for (i, s) in sums[..bins - 1].iter().enumerate() {
                left = [left[0] + s[0], left[1] + s[1]];
                if s[1] != 0 {
                    self.consider(left, true, || Left::UpTo(i as u8));
                }
            }
        }
    }

    /// Categories in the order of their mean gradients, from both ends (Fisher, JASA 53, 1958).
    fn categories(&mut self, sums: &[[i64; 2]], bins: usize) {
        let total = self.rounded.sums(self.node.total);
        let factor = f64::from(total.count) / total.hessian.max(1e-300);
        let mut used: Vec<(f64, u8)> = (0..bins)
            .map(|b| b as u8)
            .chain([MISSING])
            .filter_map(|b| {
                let s = self.rounded.sums(sums[b as usize]);
                (s.count > 0 && s.hessian * factor >= CATEGORY_SUPPORT)
                    .then(|| (s.gradient / (s.hessian + CATEGORY_SUPPORT), b))
            })
            .collect();
        if used.len() < 2 {
            return;
        }
        used.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let middle = used.len().div_ceil(2);
        for reversed in [false, true] {
            let (mut left, mut set, mut missing_left) = ([0i64; 2], [0u64; 4], false);
            for i in 0..middle {
                let bin = if reversed { used[used.len() - 1 - i].1 } else { used[i].1 };
                let s = sums[bin as usize];
                left = [left[0] + s[0], left[1] + s[1]];
                if bin == MISSING {
                    missing_left = true;
                } else {
                    set[usize::from(bin >> 6)] |= 1 << (bin & 63);
                }
                self.consider(left, missing_left, || Left::Set(set));
            }
        }
    }
}

/// The best split of a node over some features, or `None` where no split gains.
pub(crate) fn best(
    binned: &Binned,
    rounded: &Rounded,
    rules: &Rules,
    histogram: &[[i64; 2]],
    node: Node,
    features: &[usize],
) -> Option<Split> {
    let mut found: Option<Split> = None;
    for &feature in features {
        let sums = &histogram[feature * WIDTH..][..WIDTH];
        let sign = rules.monotonic.get(feature).copied().unwrap_or(0);
        let mut search = Search { rounded, rules, node, feature, sign, best: None };
        let bins = &binned.features[feature];
        match bins {
            Bins::Number { .. } => search.numbers(sums, bins.count()),
            Bins::Category { .. } => search.categories(sums, bins.count()),
        }
        if let Some(split) = search.best
            && found.as_ref().is_none_or(|f| split.gain > f.gain)
        {
            found = Some(split);
        }
    }
    let split = found.as_mut()?;
    if histogram[split.feature * WIDTH + MISSING as usize][1] == 0 {
        let count = |s| rounded.sums(s).count;
        split.missing_left = 2 * count(split.left_sums) > count(node.total);
    }
    found
}
