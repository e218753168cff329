//! Cuts by entropy of rows whose weights are whole numbers.

use std::ops::Range;

use super::super::ordered::classes::{Node, Room};
use super::super::purity::Entropy;
use super::super::sort::Key;
use super::target::{after_bin, better};
use super::{Cuts, Found};

/// See [`Target::before`](super::Target::before). Apart from what looks for other cuts, which it would slow down.
#[inline(never)]
pub(super) fn before<K: Key>(
    entropy: &Entropy,
    node: &Node,
    keys: &[K],
    items: &[(u32, u32)],
    cuts: &Cuts,
    room: &mut Room,
) -> Option<(usize, f64, bool)> {
    let right = best_before(entropy, node, keys, items, &cuts.right, room);
    let mut left = None;
    if cuts.gone > 0 {
        left = best_before(entropy, node, &keys[..keys.len() - cuts.gone], items, &cuts.left, room);
    }
    better(right, left)
}

/// The best of the cuts before some of the keys, right of which no others lie.
#[inline(always)]
fn best_before<K: Key>(
    entropy: &Entropy,
    node: &Node,
    keys: &[K],
    items: &[(u32, u32)],
    cuts: &Range<usize>,
    room: &mut Room,
) -> Option<(usize, f64)> {
    let count = keys.len();
    room.reset(node.totals.len(), count);
    let (mut weight, mut sum, mut first) = (0, node.terms, count);
    for at in (cuts.start..count).rev() {
        let (class, w) = items[keys[at].place()];
        let before = room.left[class as usize];
        sum += node.moved(entropy, class as usize, before, w);
        weight += w;
        room.left[class as usize] = before + w;
        // Written in any case, kept where a cut may be: no branch.
        room.keep_terms(first - 1, weight, sum, true);
        room.places[first - 1] = at as u32;
        let other = at == 0 || keys[at - 1].code() != keys[at].code();
        first -= usize::from(other & (at < cuts.end));
    }
    let (at, score) = room.best_of_terms(entropy, node, first..count)?;
    Some((room.places[at] as usize, score))
}

/// The best cut by the weights of classes in bins, the last one of missing values or not.
#[inline(never)]
pub(super) fn counted(entropy: &Entropy, node: &Node, low: u32, is_gone: bool, room: &mut Room) -> Option<Found> {
    let classes = node.totals.len();
    let bins = std::mem::take(&mut room.bins);
    let count = bins.len() / classes;
    let values = || bins[..(count - 1) * classes].chunks_exact(classes);
    room.reset(classes, count);
    let right = room.best_value_by_terms(entropy, node, values());
    let mut left = None;
    if is_gone {
        room.left.copy_from_slice(&bins[(count - 1) * classes..]);
        left = room.best_value_by_terms(entropy, node, values());
    }
    let found = better(right, left);
    let found = found.map(|found| after_bin(found, low, &room.upto[0][..count - 1]));
    room.bins = bins;
    found
}
