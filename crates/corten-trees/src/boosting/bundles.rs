//! Columns of few bins that share a byte.
//!
//! Columns of which no row has two away from their commonest bins share one column of bins (Ke et al., NeurIPS 2017),
//! without any conflict. Of many rows, columns of few bins share the byte of their combination. A column's own sums are got
//! back from those of its group exactly.

use corten_kernels::boost::{SHARED, WIDTH};
use corten_kernels::pages::Pages;
use corten_kernels::team::Team;

use super::binning::Bins;
use super::layout::Columns;

/// Rows for each bin of a combination from which that is worth adding up again in every node.
const COMBINED: usize = 16;
/// Bundles that a column is tried with.
const TRIED: usize = 64;

/// How a column lies in its group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Member {
    Alone,
    /// Bins but `common` lie from `start` on; every other byte means `common`.
    Exclusive {
        start: usize,
        common: usize,
        states: usize,
    },
    /// The byte divided by `divisor`, modulo `states`.
    Combined {
        divisor: usize,
        states: usize,
    },
}

impl Member {
    /// The column's bin where its group has a byte.
    #[inline]
    pub(crate) fn bin(self, byte: u8) -> u8 {
        let byte = usize::from(byte);
        (match self {
            Self::Alone => byte,
            Self::Exclusive { start, common, states } => match byte.checked_sub(start) {
                Some(at) if at + 1 < states => at + usize::from(at >= common),
                _ => common,
            },
            Self::Combined { divisor, states } => byte / divisor % states,
        }) as u8
    }

    /// Rows by bin from the rows by byte of its group.
    pub(crate) fn counts(self, bytes: &[u32; WIDTH]) -> [u32; WIDTH] {
        let mut counts = [0; WIDTH];
        match self {
            Self::Alone => return *bytes,
            Self::Exclusive { .. } => {
                for (byte, &rows) in bytes.iter().enumerate() {
                    counts[usize::from(self.bin(byte as u8))] += rows;
                }
            }
            Self::Combined { divisor, states } => {
                for block in bytes.chunks(divisor * states) {
                    for (count, rows) in counts.iter_mut().zip(block.chunks(divisor)) {
                        *count += rows.iter().sum::<u32>();
                    }
                }
            }
        }
        counts
    }
}

/// The sums of a column that keeps out of others' way from those of its group; `total` is the sum of all.
pub(crate) fn own(group: &[i64], total: i64, start: usize, common: usize, states: usize, out: &mut [i64]) {
    out.fill(0);
    let mut rest = total;
    for at in 0..states - 1 {
        let sum = group[start + at];
        out[at + usize::from(at >= common)] = sum;
        rest -= sum;
    }
    out[common] = rest;
}

/// A group of columns.
pub(crate) struct Group {
    pub(crate) features: Vec<usize>,
    /// Bytes that occur.
    pub(crate) bins: usize,
}

/// What is known of a column.
struct Facts {
    states: usize,
    common: usize,
    share: f64,
}

/// Finds groups; each column's place in its own comes back beside them.
pub(crate) fn find(features: &[Bins], columns: &Columns, team: Team<'_>) -> (Vec<Group>, Vec<(usize, Member)>) {
    let rows = columns.rows();
    let mut facts: Vec<Facts> = features.iter().map(|_| Facts { states: 0, common: 0, share: 0.0 }).collect();
    team.each(&mut facts, |f, facts| {
        let count = features[f].count();
        facts.states = count + 1;
        if count > SHARED || rows == 0 {
            return;
        }
        let mut counts = [0usize; WIDTH];
        columns.get(f).iter().for_each(|&b| counts[usize::from(b)] += 1);
        let common = (0..=count).rev().max_by_key(|&b| counts[b]).unwrap_or(0);
        let states = if counts[count] == 0 { count } else { count + 1 };
        *facts = Facts { states, common, share: counts[common] as f64 / rows as f64 };
    });
    let mut groups: Vec<Group> = Vec::new();
    let mut members = vec![(0, Member::Alone); features.len()];
    let mut alone = Vec::new();
    let mut open: Vec<(usize, Vec<u64>)> = Vec::new();
    for (f, facts) in facts.iter().enumerate() {
        // Only columns that mostly have one value can keep out of each other's way.
        if facts.states > SHARED || facts.states < 2 || (facts.share < 0.5 && facts.states > 2) {
            alone.push(f);
            continue;
        }
        let mut away = vec![0u64; rows.div_ceil(64)];
        for (word, bins) in away.iter_mut().zip(columns.get(f).chunks(64)) {
            for (i, &b) in bins.iter().enumerate() {
                *word |= u64::from(usize::from(b) != facts.common) << i;
            }
        }
        let fits = |(g, used): &(usize, Vec<u64>)| {
            groups[*g].bins + facts.states - 1 <= WIDTH && used.iter().zip(&away).all(|(a, b)| a & b == 0)
        };
        let place = match open.iter().take(TRIED).position(fits) {
            Some(at) => {
                open[at].1.iter_mut().zip(&away).for_each(|(a, b)| *a |= b);
                at
            }
            None => {
                // Byte 0 is every column's commonest bin.
                groups.push(Group { features: Vec::new(), bins: 1 });
                open.push((groups.len() - 1, away));
                open.len() - 1
            }
        };
        let g = open[place].0;
        let group = &mut groups[g];
        members[f] = (g, Member::Exclusive { start: group.bins, common: facts.common, states: facts.states });
        group.features.push(f);
        group.bins += facts.states - 1;
    }
    // One column makes no bundle.
    groups.retain(|g| {
        if g.features.len() == 1 {
            alone.push(g.features[0]);
        }
        g.features.len() > 1
    });
    alone.sort_unstable();
    for &f in &alone {
        members[f].1 = Member::Alone;
    }
    combine(&facts, WIDTH.min(rows / COMBINED), &mut alone, &mut groups, &mut members);
    finish(features, alone, groups, members)
}

/// Groups that don't depend on the rows: columns of few bins share the byte of their combination.
pub(crate) fn by_counts(features: &[Bins]) -> (Vec<Group>, Vec<(usize, Member)>) {
    let fact = |bins: &Bins| Facts { states: bins.count() + 1, common: 0, share: 0.0 };
    let facts: Vec<Facts> = features.iter().map(fact).collect();
    let (mut alone, mut groups) = ((0..features.len()).collect(), Vec::new());
    let mut members = vec![(0, Member::Alone); features.len()];
    combine(&facts, WIDTH, &mut alone, &mut groups, &mut members);
    finish(features, alone, groups, members)
}

/// Columns on their own, and all groups in the order of their first columns.
fn finish(
    features: &[Bins],
    alone: Vec<usize>,
    mut groups: Vec<Group>,
    mut members: Vec<(usize, Member)>,
) -> (Vec<Group>, Vec<(usize, Member)>) {
    groups.extend(alone.into_iter().map(|f| Group { features: vec![f], bins: features[f].count() + 1 }));
    groups.sort_by_key(|g| g.features[0]);
    for (g, group) in groups.iter().enumerate() {
        for &f in &group.features {
            members[f].0 = g;
        }
    }
    (groups, members)
}

/// Puts columns of few bins together as long as they have at most so many combinations, the largest first.
fn combine(
    facts: &[Facts],
    most: usize,
    alone: &mut Vec<usize>,
    groups: &mut Vec<Group>,
    members: &mut [(usize, Member)],
) {
    let mut few: Vec<usize> = alone.iter().copied().filter(|&f| (2..=SHARED).contains(&facts[f].states)).collect();
    few.sort_by_key(|&f| (std::cmp::Reverse(facts[f].states), f));
    let mut made: Vec<Group> = Vec::new();
    for f in few {
        let states = facts[f].states;
        match made.iter_mut().find(|g| g.bins * states <= most) {
            Some(group) => {
                members[f].1 = Member::Combined { divisor: group.bins, states };
                group.bins *= states;
                group.features.push(f);
            }
            None => {
                members[f].1 = Member::Combined { divisor: 1, states };
                made.push(Group { features: vec![f], bins: states });
            }
        }
    }
    for mut group in made {
        if group.features.len() == 1 {
            members[group.features[0]].1 = Member::Alone;
            continue;
        }
        group.features.sort_unstable();
        alone.retain(|f| !group.features.contains(f));
        groups.push(group);
    }
}

/// The bytes of groups, column after column.
pub(crate) fn columns(columns: Columns, groups: &[Group], members: &[(usize, Member)], team: Team<'_>) -> Columns {
    if groups.iter().all(|g| g.features.len() == 1) {
        return columns;
    }
    let rows = columns.rows();
    let mut bytes: Pages<u8> = Pages::zeroed(rows * groups.len());
    let mut parts: Vec<&mut [u8]> = bytes.chunks_mut(rows.max(1)).collect();
    team.each(&mut parts, |g, out| {
        for &f in &groups[g].features {
            let column = columns.get(f);
            match members[f].1 {
                Member::Alone => out.copy_from_slice(column),
                Member::Exclusive { start, common, .. } => {
                    let table: [u8; WIDTH] = std::array::from_fn(|bin| {
                        if bin == common { 0 } else { (start + bin - usize::from(bin > common)) as u8 }
                    });
                    // At most one column of the group is away from its commonest bin.
                    for (o, &b) in out.iter_mut().zip(column) {
                        *o |= table[usize::from(b)];
                    }
                }
                Member::Combined { divisor, .. } => {
                    for (o, &b) in out.iter_mut().zip(column) {
                        *o += (divisor * usize::from(b)) as u8;
                    }
                }
            }
        }
    });
    Columns::new(bytes, rows)
}

#[cfg(test)]
mod tests {
    use super::super::binning::Features;
    use super::super::layout::Layout;
    use super::*;
    use corten_core::random::bits;

    #[test]
    fn columns_and_their_sums_come_back_from_groups() {
        let rows = COMBINED * WIDTH + 77;
        let number = |count: usize| Bins::Number { cuts: (1..count).map(|i| i as f64).collect() };
        // Two families of one-hot columns, one with missing values; a wide column; three of few bins.
        let counts = [2, 2, 2, 3, 200, 12, 7, 3];
        let features: Vec<Bins> = counts.iter().map(|&c| number(c)).collect();
        let mut plain = Pages::<u8>::zeroed(rows * counts.len());
        for r in 0..rows {
            let random = bits(1, 2, r as u64);
            let one = random % 5;
            let bin = |f: usize| match f {
                0..=2 => u8::from(one == f as u64),
                3 => [0, 0, 0, 3, 1][one as usize] * u8::from(random >> 8 & 1 == 0),
                _ => (bits(f as u64, 3, r as u64) % counts[f] as u64) as u8,
            };
            for f in 0..counts.len() {
                plain[f * rows + r] = bin(f);
            }
        }
        let whole = Columns::new(plain.iter().copied().collect(), rows);
        let (groups, members) = find(&features, &whole, Team::alone());
        assert_eq!(
            groups.iter().map(|g| g.features.clone()).collect::<Vec<_>>(),
            [vec![0, 1, 2, 3], vec![4], vec![5, 6, 7]]
        );
        let grouped = columns(whole, &groups, &members, Team::alone());
        let word = |r: usize| bits(4, 5, r as u64) as i64 >> 40;
        let mut sums = vec![0i64; groups.len() * WIDTH];
        for g in 0..groups.len() {
            grouped.get(g).iter().enumerate().for_each(|(r, &byte)| sums[g * WIDTH + usize::from(byte)] += word(r));
        }
        let sources = (0..counts.len()).collect();
        let layout = Layout::new(Features { bins: features, sources }, &groups, members);
        let mut tile = vec![0; layout.sizes[0]];
        layout.parts[0].iter().for_each(|part| part.add(&sums, &mut tile));
        for (f, &(g, member)) in layout.members.iter().enumerate() {
            let (bytes, own) = (grouped.get(g), &plain[f * rows..][..rows]);
            assert!(bytes.iter().zip(own).all(|(&byte, &bin)| member.bin(byte) == bin), "column {f}");
            let mut want = vec![0i64; counts[f] + 1];
            own.iter().enumerate().for_each(|(r, &bin)| want[usize::from(bin)] += word(r));
            let (mut rows_by_byte, mut rows_by_bin) = ([0; WIDTH], [0; WIDTH]);
            bytes.iter().for_each(|&byte| rows_by_byte[usize::from(byte)] += 1);
            own.iter().for_each(|&bin| rows_by_bin[usize::from(bin)] += 1);
            assert_eq!(member.counts(&rows_by_byte), rows_by_bin, "column {f}");
            let mut got = tile[layout.starts[f]..][..=counts[f]].to_vec();
            if let Member::Exclusive { start, common, states } = member {
                super::own(&tile[layout.starts[f]..], want.iter().sum(), start, common, states, &mut got);
            }
            assert_eq!(got, want, "column {f}");
        }
    }
}
