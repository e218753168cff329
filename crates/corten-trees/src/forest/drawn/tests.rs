//! Trees against those of the grower that moves rows column by column.

use corten_core::random::Stream;
use corten_core::{CancelToken, Column, Data, Table as Rows};
use corten_kernels::lanes::Plain;

use super::*;
use crate::forest::classes::{self as any, Measure};
use crate::forest::counts::Counts;
use crate::forest::finder::{Entry, Finder};
use crate::forest::grower::Grower;
use crate::forest::means::{self, Squared};
use crate::forest::purity::{Entropy, Gini, Purity};
use crate::forest::ranks::{self, Ranks};

const N: usize = 500;

/// Columns of few and of many values, some of one.
fn data(columns: usize, gaps: bool) -> Data<'static> {
    let mut stream = Stream::new(7, columns as u64);
    let values = |at: usize| [30, 6, 200, 1, 5000][at % 5];
    let number = |stream: &mut Stream, at: usize| {
        let x = stream.below(values(at)) as f64 / 8.0 - 1.0;
        if gaps && at % 2 == 1 && stream.below(4) == 0 { f64::NAN } else { x }
    };
    let mut column = |at| Column::f64(at, (0..N).map(|_| number(&mut stream, at)).collect::<Vec<_>>());
    Data::Table(Rows::named((0..columns).map(&mut column).collect()).unwrap())
}

fn rules(max_features: usize, min_samples_leaf: usize) -> Rules {
    Rules::plain(true, max_features, min_samples_leaf)
}

fn expected<C: Code>(
    table: &Table<C>,
    rules: &Rules,
    finder: &mut dyn Finder,
    rows: Vec<Entry>,
    width: usize,
) -> GrownTree {
    Grower::new(table, rules, finder, Stream::new(3, 4), rows, width).grow(&CancelToken::new()).unwrap()
}

fn drawn<C: Code>(table: &Table<C>, rules: &Rules, target: impl Target, rows: Vec<u32>, width: usize) -> GrownTree {
    assert!(suits(rules));
    Drawn::new(table, rules, Stream::new(3, 4), rows, target, width).grow(&CancelToken::new()).unwrap()
}

fn same_classes<C: Code>(table: &Table<C>, rules: &Rules) {
    let mut stream = Stream::new(1, 0);
    for classes in [1, 2, 5, 70] {
        let codes: Vec<u32> = (0..N).map(|_| stream.below(classes as u64) as u32).collect();
        let rows = classes::sorted(&codes, classes);
        let entry = |row: u32| Entry::new(row, Counts::<Gini>::payload(codes[row as usize], 1).unwrap());
        let entries = || (0..N as u32).map(entry).collect();
        let want = expected(table, rules, &mut Counts::new(Gini, classes), entries(), classes);
        let got = drawn(table, rules, Classes::new(Gini, classes, &codes, &rows), rows.clone(), classes);
        assert!(got == want, "{classes} {rules:?}");
        // Terms of entropies add up in another order; that of two classes doesn't matter.
        if classes == 2 {
            let entropy = Entropy::up_to(N);
            let want = expected(table, rules, &mut Counts::new(entropy.clone(), 2), entries(), 2);
            assert!(drawn(table, rules, Classes::new(entropy, 2, &codes, &rows), rows.clone(), 2) == want);
        }
        // Sums of these weights are exact.
        let by_class: Vec<f64> = (0..classes).map(|class| 2.25 / f64::from(1 << (class % 4))).collect();
        let weights: Vec<f64> = codes.iter().map(|&class| by_class[class as usize]).collect();
        for measure in [Measure::Gini, Measure::Entropy] {
            let entries = (0..N as u32).map(|row| Entry::new(row, 1)).collect();
            let mut finder = any::Classes::new(measure, classes, &codes, &weights);
            let want = expected(table, rules, &mut finder, entries, classes);
            let factors = Factors::new(measure, &by_class);
            let got = drawn(table, rules, Classes::new(factors, classes, &codes, &rows), rows.clone(), classes);
            assert!(got == want, "{classes} {measure:?} {rules:?}");
            let mut stream = Stream::new(9, 2);
            let weights: Vec<f64> = codes.iter().map(|_| stream.below(40) as f64 / 16.0).collect();
            let rows: Vec<u32> = (0..N as u32).filter(|&row| weights[row as usize] > 0.0).collect();
            let entries = rows.iter().map(|&row| Entry::new(row, 1)).collect();
            let mut finder = any::Classes::new(measure, classes, &codes, &weights);
            let want = expected(table, rules, &mut finder, entries, classes);
            let shares = Shares::new(measure, classes, &codes, &weights, &rows);
            let got = drawn(table, rules, shares, rows, classes);
            assert!(got == want, "{classes} {measure:?} of weighed rows, {rules:?}");
        }
    }
}

fn same_means<C: Code>(table: &Table<C>, rules: &Rules) {
    let mut stream = Stream::new(2, 0);
    // Whole numbers, whose sums don't depend on their order.
    let y: Vec<f64> = (0..N).map(|_| stream.below(50) as f64 - 25.0).collect();
    for weighted in [false, true] {
        let weights: Vec<f64> = (0..N).map(|_| if weighted { stream.below(4) as f64 } else { 1.0 }).collect();
        let rows: Vec<u32> = (0..N as u32).filter(|&row| weights[row as usize] > 0.0).collect();
        let entries = rows.iter().map(|&row| Entry::new(row, 1)).collect();
        let mut finder = means::Means::<Squared>::new(&y, 1, &[0.5], Some(&weights));
        let want = expected(table, rules, &mut finder, entries, 1);
        let got = if weighted {
            drawn(table, rules, Means::<true>::new(&y, 0.5, Some(&weights), &rows), rows, 1)
        } else {
            drawn(table, rules, Means::<false>::new(&y, 0.5, None, &rows), rows, 1)
        };
        assert!(got == want, "{weighted} {rules:?}");
    }
}

#[test]
fn trees_are_those_of_the_other_grower() {
    for (columns, gaps) in [(5, false), (20, false), (70, false), (5, true), (20, true), (70, true)] {
        let data = data(columns, gaps);
        for (max_features, leaf) in [(1, 1), (2, 3), (columns / 2, 1), (columns, 1), (columns, 7)] {
            let rules = rules(max_features, leaf);
            let Ranks::Narrow(ranks) = ranks::rank(&data, 1).unwrap() else { panic!("many values") };
            same_classes(&ranks, &rules);
            same_means(&ranks, &rules);
            if let Some(Ranks::Wide(floats)) = ranks::floats(&data, 1, max_features).unwrap() {
                same_classes(&floats, &rules);
                same_means(&floats, &rules);
            }
        }
    }
}

#[test]
fn whole_numbers_and_their_ranks_give_the_same_trees() {
    let mut stream = Stream::new(8, 0);
    let mut column =
        |at: usize| Column::f64(at, (0..N).map(|_| (3 * stream.below(at as u64 % 80 + 1)) as f64).collect::<Vec<_>>());
    let data = Data::Table(Rows::named((0..90).map(&mut column).collect()).unwrap());
    let (Ranks::Byte(ranks), Some(Ranks::Byte(whole))) =
        (ranks::rank(&data, 1).unwrap(), ranks::whole(&data, 1).unwrap())
    else {
        panic!("bytes")
    };
    for (max_features, leaf) in [(1, 1), (9, 1), (90, 4)] {
        let rules = rules(max_features, leaf);
        same_classes(&whole, &rules);
        same_means(&whole, &rules);
        let grown = |table: &Table<u8>| {
            let codes: Vec<u32> = (0..N as u32).map(|row| row * 7 % 11 % 3).collect();
            let rows = classes::sorted(&codes, 3);
            drawn(table, &rules, Classes::new(Gini, 3, &codes, &rows), rows, 3)
        };
        assert!(grown(&whole) == grown(&ranks));
    }
}

#[test]
fn limits_of_depth_and_gain_hold() {
    let data = data(5, false);
    let Ranks::Narrow(table) = ranks::rank(&data, 1).unwrap() else { panic!("many values") };
    let rules = Rules { max_depth: 4, min_samples_split: 12, min_impurity_decrease: 1e-3, ..rules(2, 2) };
    same_classes(&table, &rules);
    same_means(&table, &rules);
}

/// The kernels of sums against sums one by one.
#[test]
fn sums_are_those_of_single_rows() {
    fn plain<P: Purity>(purity: P, left: &[u32], all: &[u32]) -> f64 {
        let mut sums = (P::Sum::default(), P::Sum::default());
        for (&l, &a) in left.iter().zip(all) {
            purity.change(&mut sums.0, 0, l);
            purity.change(&mut sums.1, 0, a - l);
        }
        let (l, a) = (left.iter().sum::<u32>(), all.iter().sum::<u32>());
        purity.side(sums.0, l) + purity.side(sums.1, a - l)
    }
    let mut stream = Stream::new(5, 5);
    for n in [17usize, 63, 64, 65, 300] {
        let mut labels: Vec<u32> = (0..n).map(|_| stream.below(3) as u32).collect();
        labels.sort_unstable();
        let rows: Vec<u32> = (0..n as u32).collect();
        let mut codes = vec![[7u32; SET]; n.div_ceil(SET)];
        codes.as_flattened_mut()[..n].iter_mut().for_each(|c| *c = stream.below(20) as u32);
        let mut target = Classes::new(Gini, 3, &labels, &rows);
        target.enter(0, n);
        let (mut left, mut all) = ([0; 3], [0; 3]);
        for (at, &label) in labels.iter().enumerate() {
            all[label as usize] += 1;
            left[label as usize] += u32::from(codes.as_flattened()[at] <= 9);
        }
        let (score, count) = target.score(lanes::Plain, &codes, Side { last: 9, shift: 0 });
        assert_eq!((score, count as u32), (plain(Gini, &left, &all), left.iter().sum()));
    }
}

/// Cuts of several columns have the scores of single ones to the last bit, where they must.
fn scores_agree<T: Target>(mut target: T, rows: &[u32], records: &[[u32; 8]]) {
    let (lasts, shifts) = ([0, 1, 2, 3, 4, 5, 6, 3], [0, 0, 0, 0, 0, 0, 0, 7u32.wrapping_neg()]);
    let side = |at: usize| Side { last: lasts[at], shift: shifts[at] };
    if T::PICKS {
        target.enter(0, rows.len());
        let found = target.score_columns(rows, records, &lasts, &shifts);
        for at in 0..8 {
            let mut codes = vec![[0; SET]; rows.len().div_ceil(SET)];
            let own = rows.iter().map(|&row| records[row as usize][at]);
            codes.as_flattened_mut().iter_mut().zip(own).for_each(|(code, own)| *code = own);
            let (score, left) = target.score(Plain, &codes, side(at));
            assert_eq!((found.0[at].to_bits(), found.1[at] as usize), (score.to_bits(), left), "column {at}");
        }
    } else {
        target.few_load(0, rows.len());
        let few: [[u32; 8]; SET] = std::array::from_fn(|at| records[rows[at] as usize]);
        for set in [u16::MAX, 0x7ffe, 0b1010_0110_1101_0011] {
            target.few_enter(set);
            let found = target.few_columns(set, &few, &lasts, &shifts);
            for at in 0..8 {
                let codes = std::array::from_fn(|row| few[row][at]);
                let left = side(at).of(Plain, &codes) & set;
                let score = target.few_score(left);
                assert_eq!((found.0[at].to_bits(), found.1[at]), (score.to_bits(), left.count_ones()), "column {at}");
            }
        }
    }
}

#[test]
fn columns_side_by_side_have_the_scores_of_single_ones() {
    let mut stream = Stream::new(5, 0);
    let records: Vec<[u32; 8]> = (0..100).map(|_| std::array::from_fn(|_| stream.below(8) as u32)).collect();
    let classes: Vec<u32> = (0..100).map(|_| stream.below(5) as u32).collect();
    let rows = classes::sorted(&classes, 5);
    scores_agree(Classes::new(Gini, 5, &classes, &rows), &rows, &records);
    scores_agree(Classes::new(Entropy::up_to(100), 5, &classes, &rows), &rows, &records);
    // Sums of these depend on their order.
    let numbers: Vec<f64> = (0..100).map(|_| (stream.uniform() - 0.5) / 3.0).collect();
    let weights: Vec<f64> = (0..100).map(|_| stream.uniform() + 0.1).collect();
    let rows: Vec<u32> = (0..SET as u32).map(|at| 7 * at % 100).collect();
    scores_agree(Means::<false>::new(&numbers, 0.25, None, &rows), &rows, &records);
    scores_agree(Means::<true>::new(&numbers, 0.25, Some(&weights), &rows), &rows, &records);
}
