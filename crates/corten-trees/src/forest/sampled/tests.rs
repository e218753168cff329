//! Trees against those of the grower that is the oracle.

use corten_core::random::Stream;
use corten_core::{CancelToken, Column, Data, Table as Rows};

use super::*;
use crate::forest::classes as any;
use crate::forest::counts::Counts;
use crate::forest::finder::Entry;
use crate::forest::grower::Grower;
use crate::forest::ordered::{Classes, Shares, Two};
use crate::forest::purity::{Entropy, Gini};
use crate::forest::ranks::{self, Ranks};

/// Columns of few and of many values, some of one; one value in so many is missing, but in each third column.
fn with_gaps(rows: usize, columns: usize, most: u64, gaps: u64) -> Ranks {
    let mut stream = Stream::new(7, columns as u64);
    let values = |at: usize| [30, 6, 200, 1, most][at % 5].min(most);
    let mut value = |at: usize| {
        let is_gap = gaps > 0 && !at.is_multiple_of(3) && stream.below(gaps) == 0;
        if is_gap { f64::NAN } else { stream.below(values(at)) as f64 / 8.0 - 1.0 }
    };
    let mut column = |at| Column::f64(at, (0..rows).map(|_| value(at)).collect::<Vec<_>>());
    let data = Data::Table(Rows::named((0..columns).map(&mut column).collect()).unwrap());
    ranks::rank(&data, 1).unwrap()
}

fn ranked(rows: usize, columns: usize, most: u64) -> Ranks {
    with_gaps(rows, columns, most, 0)
}

fn rules(max_features: usize, min_samples_leaf: usize) -> Rules {
    Rules { bounds: (0.0, 1.0), ..Rules::plain(false, max_features, min_samples_leaf) }
}

fn same<C: Code>(table: &Table<C>, rules: &Rules, classes: usize, most_weight: u64) {
    let mut stream = Stream::new(1, classes as u64);
    let rows = table.columns[0].codes.len();
    let drawn: Vec<(u32, u32, u32)> = (0..rows as u32)
        .map(|row| (row, stream.below(classes as u64) as u32, stream.below(most_weight + 1) as u32))
        .filter(|(_, _, weight)| *weight > 0)
        .collect();
    let entry =
        |&(row, class, weight): &(u32, u32, u32)| Entry::new(row, Counts::<Gini>::payload(class, weight).unwrap());
    let finder = &mut Counts::new(Gini, classes);
    let expected = Grower::new(table, rules, finder, Stream::new(3, 4), drawn.iter().map(entry).collect(), classes)
        .grow(&CancelToken::new())
        .unwrap();
    assert!(suits(rules, table));
    let with = || {
        let payloads = drawn.iter().map(|&(_, class, weight)| payload(class, weight).unwrap()).collect();
        (drawn.iter().map(|d| d.0).collect(), payloads)
    };
    let stream = || Stream::new(3, 4);
    let got = if classes == 2 {
        Sampled::new(table, rules, stream(), with(), Two::default(), classes).grow(&CancelToken::new())
    } else {
        Sampled::new(table, rules, stream(), with(), Classes { classes, entropy: None }, classes)
            .grow(&CancelToken::new())
    };
    assert!(got.unwrap() == expected, "{classes} classes, {rows} rows, weights to {most_weight}, {rules:?}");
    let entropy = Entropy::up_to(drawn.iter().map(|drawn| drawn.2 as usize).sum());
    let finder = &mut Counts::new(entropy.clone(), classes);
    let expected = Grower::new(table, rules, finder, Stream::new(3, 4), drawn.iter().map(entry).collect(), classes)
        .grow(&CancelToken::new())
        .unwrap();
    let target = Classes { classes, entropy: Some(entropy) };
    let got = Sampled::new(table, rules, stream(), with(), target, classes).grow(&CancelToken::new());
    assert!(got.unwrap() == expected, "{classes} classes by entropy, {rows} rows, weights to {most_weight}, {rules:?}");
    if classes > 1 {
        // Sums of these weights are exact.
        let by_class: Vec<f64> = (0..classes).map(|class| [2.25, 0.5, 1.0, 4.75][class % 4]).collect();
        let (mut codes, mut weights) = (vec![0; rows], vec![0.0; rows]);
        for &(row, class, weight) in &drawn {
            (codes[row as usize], weights[row as usize]) = (class, f64::from(weight) * by_class[class as usize]);
        }
        let finder = &mut any::Classes::new(any::Measure::Gini, classes, &codes, &weights);
        let entries = drawn.iter().map(|&(row, ..)| Entry::new(row, 1)).collect();
        let expected =
            Grower::new(table, rules, finder, Stream::new(3, 4), entries, classes).grow(&CancelToken::new()).unwrap();
        let got = if let &[zero, one] = &by_class[..] {
            let target = Two { by_class: Some([zero, one]) };
            Sampled::new(table, rules, stream(), with(), target, classes).grow(&CancelToken::new())
        } else {
            let target = Shares { measure: any::Measure::Gini, by_class, is_exact: true };
            Sampled::new(table, rules, stream(), with(), target, classes).grow(&CancelToken::new())
        };
        assert!(
            got.unwrap() == expected,
            "{rows} rows of {classes} weighed classes, weights to {most_weight}, {rules:?}"
        );
    }
}

fn same_of_any(ranks: &Ranks, rules: &Rules, classes: usize, most_weight: u64) {
    match ranks {
        Ranks::Byte(table) => same(table, rules, classes, most_weight),
        Ranks::Narrow(table) => same(table, rules, classes, most_weight),
        Ranks::Wide(table) => same(table, rules, classes, most_weight),
    }
}

#[test]
fn trees_are_those_of_the_other_grower() {
    for (rows, columns, most) in [(20, 5, 9), (400, 5, 5000), (400, 70, 200), (3_000, 20, 5000), (9_000, 5, 100_000)] {
        let ranks = ranked(rows, columns, most);
        for (max_features, leaf) in [(1, 1), (2, 1), (columns / 2, 3), (columns - 1, 1), (2, 9)] {
            for classes in [1, 2, 3, 20] {
                for most_weight in [1, 4] {
                    same_of_any(&ranks, &rules(max_features, leaf), classes, most_weight);
                }
            }
        }
    }
}

#[test]
fn missing_values_go_where_the_other_grower_sends_them() {
    for (rows, columns, most) in [(20, 5, 9), (400, 5, 5000), (400, 70, 200), (9_000, 8, 100_000)] {
        // All of a node's values are missing where most are, and few rows have one on either side where few are.
        for gaps in [2, 9, 60] {
            let ranks = with_gaps(rows, columns, most, gaps);
            for (max_features, leaf) in [(1, 1), (2, 1), (columns / 2, 3), (2, 9)] {
                for classes in [2, 5] {
                    for most_weight in [1, 4] {
                        same_of_any(&ranks, &rules(max_features, leaf), classes, most_weight);
                    }
                }
            }
        }
    }
}

#[test]
fn codes_of_any_width_and_large_weights_fit() {
    for (rows, most) in [(3_000, 200), (70_000, 1 << 20)] {
        let ranks = ranked(rows, 5, most);
        assert!(matches!(ranks, Ranks::Byte(_) | Ranks::Wide(_)));
        for classes in [2, 3] {
            same_of_any(&ranks, &rules(2, 1), classes, u64::from(MOST_WEIGHT));
        }
    }
    assert_eq!((payload(1 << 16, 1), payload(1, MOST_WEIGHT + 1)), (None, None));
}

#[test]
fn limits_of_depth_and_gain_hold() {
    let ranks = ranked(3_000, 5, 5000);
    for depth in [1, 2, 9] {
        let rules = Rules { max_depth: depth, min_samples_split: 12, min_impurity_decrease: 1e-3, ..rules(2, 2) };
        for classes in [2, 5] {
            same_of_any(&ranks, &rules, classes, 3);
        }
    }
}
