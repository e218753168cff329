//! The slow, obvious way to grow a tree on bins, for the tests of the fast one.

use std::sync::atomic::{AtomicUsize, Ordering};

use corten_core::random::{Stream, bits};
use corten_core::{CancelToken, Error, Result};
use corten_kernels::boost::partition::Buffers;
use corten_kernels::pages::Pages;
use corten_kernels::team::Team;

use super::binning::{Bins, Features};
use super::choice::{Choice, Shape};
use super::collective::Collective;
use super::grower::{Grower, Grown, GrownTree, LeafRows, Workspace};
use super::histogram::{Scale, Words};
use super::interactions::Interactions;
use super::layout::{Binned, Columns};
use super::split::Left;
use super::splitter::{Rules, Splitter};

/// A split as both growers see it: feature, last bin on the left, whether missing values go left, gain.
type Found = (usize, u8, bool, f64);

/// Counts sums, and may have lost a rank.
struct Watched {
    sums: AtomicUsize,
    is_gone: bool,
}

impl Watched {
    fn new(is_gone: bool) -> Self {
        Self { sums: AtomicUsize::new(0), is_gone }
    }
}

impl Collective for Watched {
    fn sum(&self, _: &mut [i64]) {
        self.sums.fetch_add(1, Ordering::Relaxed);
    }

    fn check(&self) -> Result<()> {
        if self.is_gone { Err(Error::Internal("a rank is gone".into())) } else { Ok(()) }
    }
}

struct Table {
    counts: Vec<usize>,
    bins: Vec<Vec<u8>>,
    gradients: Vec<i64>,
}

fn goes_left(table: &Table, split: &Found, row: usize) -> bool {
    let bin = table.bins[split.0][row];
    if usize::from(bin) == table.counts[split.0] { split.2 } else { bin <= split.1 }
}

/// The best split of some rows, by trying all.
fn best(table: &Table, rows: &[usize], least: usize, l2: f64) -> Option<Found> {
    let score = |sum: i64, n: usize| (sum as f64) * (sum as f64) / (n as f64 + l2);
    let sum = |rows: &[usize]| rows.iter().map(|&r| table.gradients[r]).sum::<i64>();
    let before = score(sum(rows), rows.len());
    let mut found: Option<Found> = None;
    for feature in 0..table.counts.len() {
        let missing = |r: &usize| usize::from(table.bins[feature][*r]) == table.counts[feature];
        let seen = rows.iter().any(missing);
        for missing_left in [false, true].into_iter().take(1 + usize::from(seen)) {
            for bin in 0..table.counts[feature] as u8 {
                let split = (feature, bin, missing_left, 0.0);
                let (left, right): (Vec<usize>, Vec<usize>) = rows.iter().partition(|r| goes_left(table, &split, **r));
                if left.len().min(right.len()) < least.max(1) {
                    continue;
                }
                let gain = score(sum(&left), left.len()) + score(sum(&right), right.len()) - before;
                // Ties, up to rounding, go to the first.
                if gain > found.map_or(1e-9 * before.abs(), |f| f.3 * (1.0 + 1e-12)) {
                    found = Some((feature, bin, missing_left, gain));
                }
            }
        }
    }
    found
}

/// Splits in the order in which they are made: the leaf that gains most next.
fn grow(table: &Table, rows: Vec<usize>, leaves: usize, least: usize, l2: f64) -> Vec<Found> {
    let mut open = vec![(best(table, &rows, least, l2), rows)];
    let mut made = Vec::new();
    while open.len() < leaves {
        let gain = |o: &(Option<Found>, Vec<usize>)| o.0.map_or(f64::NEG_INFINITY, |f| f.3);
        let next = (0..open.len()).reduce(|a, b| if gain(&open[b]) > gain(&open[a]) { b } else { a });
        let Some((Some(split), rows)) = next.map(|at| open.remove(at)) else { break };
        let (left, right): (Vec<usize>, Vec<usize>) = rows.iter().partition(|r| goes_left(table, &split, **r));
        made.push(split);
        open.push((best(table, &left, least, l2), left));
        open.push((best(table, &right, least, l2), right));
    }
    made
}

/// The splits of a grown tree in the order of their children's numbers, which is that of the splits; whether a node has
/// missing values beside each.
fn splits(tree: &GrownTree) -> Vec<(Found, bool)> {
    let mut found: Vec<(u32, (Found, bool))> = tree
        .nodes
        .iter()
        .filter_map(|node| match node {
            Grown::Split { split, left, .. } => {
                let Left::UpTo(bin) = split.left else { panic!("numbers are cut") };
                Some((*left, ((split.feature(), bin, split.missing_left, split.gain), split.missing_seen)))
            }
            Grown::Leaf { .. } => None,
        })
        .collect();
    found.sort_by_key(|f| f.0);
    found.into_iter().map(|f| f.1).collect()
}

fn rules(min_samples_leaf: u32, l2: f64) -> Rules {
    Rules { l1: 0.0, l2, min_samples_leaf, min_hessian: 0.0, min_gain: 0.0, max_delta: 0.0, monotonic: Vec::new() }
}

fn shape(max_leaf_nodes: usize) -> Shape {
    Shape {
        max_leaf_nodes,
        max_depth: usize::MAX,
        features_per_split: 1.0,
        features_per_tree: 1.0,
        interactions: Interactions::Any,
        rows: 1.0,
    }
}

/// Columns of some numbers of bins, and their bins one after the other.
fn binned(counts: &[usize], bins: Pages<u8>, rows: usize) -> Binned {
    let number = |&count: &usize| Bins::Number { cuts: (1..count).map(|c| c as f64).collect() };
    let features = Features { bins: counts.iter().map(number).collect(), sources: (0..counts.len()).collect() };
    Binned::new(features, Columns::new(bins, rows), Team::alone())
}

#[test]
fn trees_are_those_of_trying_every_split_of_every_leaf() {
    for seed in 0..12u64 {
        let mut stream = Stream::new(seed, 1);
        let rows = 60 + stream.below(240) as usize;
        // Wide columns, columns of few bins that share bytes, and one-hot columns: one of them the other way round, one
        // of missing values.
        let counts: Vec<usize> = vec![40, 3, 2, 2, 2, 100, 5, 1];
        let kind = |row: usize| bits(seed, 77, row as u64) % 4;
        let bins: Vec<Vec<u8>> = counts
            .iter()
            .enumerate()
            .map(|(f, &count)| {
                let own = |row: usize| {
                    let random = bits(seed, f as u64, row as u64);
                    if f == 5 && random.is_multiple_of(5) { count as u8 } else { ((random >> 8) % count as u64) as u8 }
                };
                let hot = |row: usize| match f {
                    2 | 3 => u8::from(kind(row) == f as u64 - 2),
                    4 => u8::from(kind(row) != 2),
                    7 => u8::from(kind(row) == 3),
                    _ => own(row),
                };
                (0..rows).map(hot).collect()
            })
            .collect();
        let gradients: Vec<i64> = (0..rows)
            .map(|r| i64::from(bins[0][r]) * 97 - i64::from(bins[2][r]) * 2000 + (stream.below(3001) as i64 - 1500))
            .collect();
        let table = Table { counts, bins, gradients };
        let (least, l2, leaves) = (1 + seed as usize % 9, if seed % 2 == 0 { 0.0 } else { 3.0 }, 12);

        let binned = binned(&table.counts, table.bins.iter().flatten().copied().collect(), rows);
        let words = Words::Packed(table.gradients.iter().map(|&g| (g as u32) << 16 | 1).collect());
        let (rules, shape) = (rules(least as u32, l2), shape(leaves));
        let scale = Scale { gradient: 1.0, hessian: 1.0, counts: true, most: 1 };
        let want = grow(&table, (0..rows).collect(), leaves, least, l2);
        assert!(want.len() > 2, "seed {seed}");
        for threads in [1, 3] {
            Team::scope(threads, |team| {
                let mut work = Workspace::default();
                let splitter = Splitter { binned: &binned.layout, rules: &rules, scale };
                let choice = Choice { splitter, shape: &shape, seed };
                let cancel = CancelToken::new();
                let (words, cancel) = (&words, &cancel);
                let (gone, there) = (Watched::new(true), Watched::new(false));
                let mut grow = |collective| {
                    let work = &mut work;
                    let mut buffers = Buffers::new(rows);
                    let mut grower =
                        Grower { choice, binned: &binned, words, team, cancel, collective, chosen: None, work };
                    grower.grow(&mut buffers).map(|(tree, leaves)| {
                        let rows = |l: &LeafRows<'_>| l.rows.list().into_owned();
                        (tree, leaves.iter().flat_map(rows).collect::<Vec<u32>>())
                    })
                };
                assert!(grow(&gone).unwrap_err().to_string().contains("a rank is gone"));
                let (tree, mut all) = grow(&there).unwrap();
                let summed = there.sums.load(Ordering::Relaxed);
                assert!(summed > want.len() / 2 * binned.tiles.len(), "only {summed} sums went through the collective");
                let got = splits(&tree);
                assert_eq!(got.len(), want.len(), "seed {seed}");
                for ((g, seen), w) in got.iter().zip(&want) {
                    assert_eq!((g.0, g.1, g.2 && *seen), (w.0, w.1, w.2 && *seen), "seed {seed}");
                    assert!((g.3 - w.3).abs() <= 1e-9 * w.3, "seed {seed}: {} {}", g.3, w.3);
                }
                assert!(got.iter().any(|(g, seen)| *seen && g.0 == 5) || seed > 0, "some node has missing values");
                all.sort_unstable();
                assert!(all.iter().copied().eq(0..rows as u32));
            });
        }
    }
}

#[test]
fn trees_hand_on_their_memory_and_ask_for_no_more_of_it() {
    let (rows, columns) = (3000, 40);
    let bins = (0..columns * rows).map(|i| (bits(1, (i / rows) as u64, (i % rows) as u64) % 250) as u8).collect();
    let binned = binned(&vec![250; columns], bins, rows);
    assert!(binned.tiles.len() > 2, "{}", binned.tiles.len());
    let words = Words::Packed((0..rows as u64).map(|r| ((bits(2, 0, r) % 2000) as u32) << 16 | 1).collect());
    let scale = Scale { gradient: 1.0, hessian: 1.0, counts: true, most: 1 };
    let (rules, shape) = (rules(5, 0.0), shape(31));
    let (cancel, collective) = (CancelToken::new(), Watched::new(false));
    for threads in [1, 3] {
        Team::scope(threads, |team| {
            let mut work = Workspace::default();
            for seed in 0..20 {
                let choice =
                    Choice { splitter: Splitter { binned: &binned.layout, rules: &rules, scale }, shape: &shape, seed };
                let (binned, words, cancel, collective, work) = (&binned, &words, &cancel, &collective, &mut work);
                let mut grower = Grower { choice, binned, words, team, cancel, collective, chosen: None, work };
                grower.grow(&mut Buffers::new(rows)).unwrap();
            }
            let (sums, histograms) = work.kept();
            assert!(sums <= threads * binned.tiles.len(), "{sums} sums on {threads} threads");
            assert!(histograms <= 31 + threads, "{histograms} histograms on {threads} threads");
        });
    }
}
