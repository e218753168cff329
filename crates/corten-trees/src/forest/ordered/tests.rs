//! Trees against those of the grower that looks at one column after the other.

use corten_core::random::Stream;
use corten_core::{CancelToken, Column, Data, Table as Rows};

use super::*;
use crate::forest::classes as any;
use crate::forest::counts::Counts;
use crate::forest::finder::{Entry, Finder};
use crate::forest::grower::Grower;
use crate::forest::means::{self, Squared};
use crate::forest::purity::{Entropy, Gini};
use crate::forest::ranks::{self, Ranked, Ranks};

/// Columns of few and of many values, some of one; one value in so many is missing, but in each third column.
fn table(rows: usize, columns: usize, gaps: u64) -> Table<u16> {
    let mut stream = Stream::new(7, columns as u64);
    let values = |at: usize| [30, 6, 200, 1, 50_000, 9, 2][at % 7];
    let mut value = |at: usize| {
        let is_gap = gaps > 0 && !at.is_multiple_of(3) && stream.below(gaps) == 0;
        // Most rows have one value in some columns, the least or another.
        let is_usual = at % 7 > 4 && stream.below(20) > 0;
        let code = if is_usual { 7 * (6 - at % 7) } else { stream.below(values(at)) as usize };
        if is_gap { f64::NAN } else { code as f64 / 8.0 - 1.0 }
    };
    let mut column = |at| Column::f64(at, (0..rows).map(|_| value(at)).collect::<Vec<_>>());
    let data = Data::Table(Rows::named((0..columns).map(&mut column).collect()).unwrap());
    let Ranks::Narrow(table) = ranks::rank(&data, 1).unwrap() else { panic!("many values") };
    table
}

fn rules(columns: usize, min_samples_leaf: usize) -> Rules {
    Rules::plain(false, columns, min_samples_leaf)
}

/// A case: its table, rules, and how often each row is taken.
struct Case {
    table: Table<u16>,
    rules: Rules,
    weights: Vec<u32>,
}

impl Case {
    fn new(rows: usize, columns: usize, min_samples_leaf: usize, drawn: bool) -> Self {
        let mut stream = Stream::new(11, rows as u64);
        let weights = (0..rows).map(|_| if drawn { stream.below(4) as u32 } else { 1 }).collect();
        Self { table: table(rows, columns, 0), rules: rules(columns, min_samples_leaf), weights }
    }

    fn with_gaps(self, gaps: u64) -> Self {
        Self { table: table(self.weights.len(), self.table.columns.len(), gaps), ..self }
    }

    fn rows(&self) -> Vec<u32> {
        (0u32..).zip(&self.weights).filter(|(_, w)| **w > 0).map(|(row, _)| row).collect()
    }

    fn expected(&self, finder: &mut dyn Finder, rows: Vec<Entry>, width: usize) -> GrownTree {
        let stream = Stream::new(3, 4);
        Grower::new(&self.table, &self.rules, finder, stream, rows, width).grow(&CancelToken::new()).unwrap()
    }

    /// All columns are kept in order, or some are summed by value in bins, where a value has so many.
    fn grown<T: Target>(
        &self,
        target: &T,
        item: impl Fn(usize) -> T::Item,
        width: usize,
        threads: usize,
        bins: Option<usize>,
    ) -> GrownTree {
        assert!(suits(&self.rules, &self.table, self.weights.len()));
        let rows = self.rows();
        let items: Vec<T::Item> = rows.iter().map(|&row| item(row as usize)).collect();
        let bins = bins.map(|width| Bins::new(&self.table, width, size_of::<T::Sum>(), threads));
        let columns: Vec<_> = self.table.columns.iter().map(Ranked::view).collect();
        let soil = Soil {
            columns: &columns,
            orders: &Orders::new(&self.table, bins.unwrap_or_default(), threads),
            rules: &self.rules,
            rows: &rows,
            stream: &Stream::new(3, 4),
            width,
            threads,
            cancel: &CancelToken::new(),
        };
        soil.grow(target, &items).unwrap()
    }

    fn same_classes(&self, classes: usize, threads: usize) {
        let mut stream = Stream::new(1, 0);
        let codes: Vec<u32> = self.weights.iter().map(|_| stream.below(classes as u64) as u32).collect();
        let payload = |row: u32| Counts::<Gini>::payload(codes[row as usize], self.weights[row as usize]).unwrap();
        let entries = self.rows().into_iter().map(|row| Entry::new(row, payload(row))).collect();
        let expected = self.expected(&mut Counts::new(Gini, classes), entries, classes);
        for width in self.widths(Ones::width(classes)) {
            let got = if classes == 2 {
                let item = |row: usize| Two::item(codes[row], self.weights[row]);
                self.grown(&Two::default(), item, classes, threads, width.map(|_| 1))
            } else {
                let item = |row: usize| (codes[row], self.weights[row]);
                self.grown(&Classes { classes, entropy: None }, item, classes, threads, width)
            };
            assert!(got == expected, "{classes} classes, {} rows, {width:?}", codes.len());
            if self.weights.iter().all(|&w| w == 1) {
                let got = self.grown(&Ones::new(classes, None), |row| codes[row], classes, threads, width);
                assert!(got == expected, "{classes} classes, {width:?}");
            }
        }
        self.same_by_entropy(&codes, classes, threads);
        if self.weights.iter().all(|&w| w == 1) {
            self.same_by_shares(&codes, classes, threads);
            if classes == 2 {
                self.same_of_weighed_classes(&codes, threads);
            }
        }
    }

    /// Sums of these weights are exact.
    fn same_by_shares(&self, codes: &[u32], classes: usize, threads: usize) {
        let by_class: Vec<f64> = (0..classes).map(|class| 2.25 / (1 << class) as f64).collect();
        let of_classes: Vec<f64> = codes.iter().map(|&class| by_class[class as usize]).collect();
        let mut stream = Stream::new(9, 2);
        let of_rows: Vec<f64> = codes.iter().map(|_| (1 + stream.below(40)) as f64 / 16.0).collect();
        for measure in [any::Measure::Gini, any::Measure::Entropy] {
            let expected = |weights: &[f64]| {
                let entries = self.rows().into_iter().map(|row| Entry::new(row, 1)).collect();
                self.expected(&mut any::Classes::new(measure, classes, codes, weights), entries, classes)
            };
            let same = expected(&of_classes);
            for width in self.widths(classes) {
                let shares = Shares { measure, by_class: by_class.clone(), is_exact: true };
                let got = self.grown(&shares, |row| (codes[row], 1.0), classes, threads, width);
                assert!(got == same, "{classes} classes, {measure:?}, {} rows, {width:?}", codes.len());
            }
            let shares = Shares { measure, by_class: vec![1.0; classes], is_exact: false };
            let got = self.grown(&shares, |row| (codes[row], of_rows[row]), classes, threads, None);
            assert!(got == expected(&of_rows), "{classes} classes, {measure:?}, {} rows", codes.len());
        }
    }

    fn same_by_entropy(&self, codes: &[u32], classes: usize, threads: usize) {
        let entropy = Entropy::up_to(self.weights.iter().sum::<u32>() as usize);
        let payload = |row: u32| Counts::<Entropy>::payload(codes[row as usize], self.weights[row as usize]).unwrap();
        let entries = self.rows().into_iter().map(|row| Entry::new(row, payload(row))).collect();
        let expected = self.expected(&mut Counts::new(entropy.clone(), classes), entries, classes);
        for width in self.widths(Ones::width(classes)) {
            let item = |row: usize| (codes[row], self.weights[row]);
            let weighed = Classes { classes, entropy: Some(entropy.clone()) };
            let got = self.grown(&weighed, item, classes, threads, width);
            assert!(got == expected, "{classes} weighed classes by entropy, {} rows, {width:?}", codes.len());
            if self.weights.iter().all(|&w| w == 1) {
                let ones = Ones::new(classes, Some(&entropy));
                let got = self.grown(&ones, |row| codes[row], classes, threads, width);
                assert!(got == expected, "{classes} classes by entropy, {} rows, {width:?}", codes.len());
            }
        }
    }

    /// Sums of these weights are exact.
    fn same_of_weighed_classes(&self, codes: &[u32], threads: usize) {
        let by_class = [2.25, 0.5];
        let weights: Vec<f64> = codes.iter().map(|&class| by_class[class as usize]).collect();
        let entries = self.rows().into_iter().map(|row| Entry::new(row, 1)).collect();
        let mut finder = any::Classes::new(any::Measure::Gini, 2, codes, &weights);
        let expected = self.expected(&mut finder, entries, 2);
        for width in self.widths(1) {
            let two = Two { by_class: Some(by_class) };
            let got = self.grown(&two, |row| Two::item(codes[row], 1), 2, threads, width);
            assert!(got == expected, "{} rows, {width:?}", codes.len());
        }
        self.same_of_weighed_rows(codes, &weights, threads);
        let mut stream = Stream::new(9, 1);
        let weights: Vec<f64> = codes.iter().map(|_| (1 + stream.below(40)) as f64 / 16.0).collect();
        self.same_of_weighed_rows(codes, &weights, threads);
    }

    fn same_of_weighed_rows(&self, codes: &[u32], weights: &[f64], threads: usize) {
        let entries = self.rows().into_iter().map(|row| Entry::new(row, 1)).collect();
        let mut finder = any::Classes::new(any::Measure::Gini, 2, codes, weights);
        let expected = self.expected(&mut finder, entries, 2);
        let item = |row: usize| [if codes[row] == 1 { weights[row] } else { 0.0 }, weights[row]];
        let got = self.grown(&Weighted { center: 0.0, of_classes: true }, item, 2, threads, None);
        assert!(got == expected, "{} rows", codes.len());
    }

    /// Columns in order, and where any cut may be made, sums by value.
    fn widths(&self, width: usize) -> impl Iterator<Item = Option<usize>> {
        [Some(None), (self.rules.min_samples_leaf == 1).then_some(Some(width))].into_iter().flatten()
    }

    fn same_means(&self, threads: usize) {
        let mut stream = Stream::new(2, 0);
        // Whole numbers, whose sums don't depend on their order.
        let y: Vec<f64> = self.weights.iter().map(|_| stream.below(50) as f64 - 25.0).collect();
        let entries = self.rows().into_iter().map(|row| Entry::new(row, self.weights[row as usize])).collect();
        let expected = self.expected(&mut means::Means::<Squared>::new(&y, 1, &[0.5], None), entries, 1);
        let weight = |row: usize| f64::from(self.weights[row]);
        let got = self.grown(
            &Weighted { center: 0.5, of_classes: false },
            |row| [weight(row) * y[row], weight(row)],
            1,
            threads,
            None,
        );
        assert!(got == expected, "{} rows", y.len());
        if self.weights.iter().all(|&w| w == 1) {
            for (width, is_exact) in self.widths(1).flat_map(|width| [(width, true), (width, false)]) {
                let even = Even { center: 0.5, is_exact, has_exact_squares: is_exact };
                assert!(self.grown(&even, |row| y[row], 1, threads, width) == expected, "{width:?}");
            }
        }
    }
}

#[test]
fn trees_are_those_of_the_other_grower() {
    for (rows, columns) in [(300, 5), (500, 7), (500, 70), (9_000, 7)] {
        for (leaf, drawn, threads) in [(1, false, 1), (1, true, 2), (7, false, 3), (3, true, 1)] {
            let case = Case::new(rows, columns, leaf, drawn);
            for classes in [1, 2, 5] {
                case.same_classes(classes, threads);
            }
            case.same_means(threads);
        }
    }
}

#[test]
fn missing_values_go_where_the_other_grower_sends_them() {
    for (rows, columns) in [(700, 7), (700, 70), (9_000, 7)] {
        for (leaf, drawn, threads) in [(1, false, 1), (1, true, 2), (7, false, 3), (3, true, 1)] {
            // All of a node's values are missing where most are, and few rows have one on either side where few are.
            for gaps in [2, 9, 60] {
                let case = Case::new(rows, columns, leaf, drawn).with_gaps(gaps);
                for classes in [2, 5] {
                    case.same_classes(classes, threads);
                }
                case.same_means(threads);
            }
        }
    }
}

#[test]
fn limits_of_depth_and_gain_hold() {
    let mut case = Case::new(9_000, 5, 2, false);
    for (depth, leaf) in [(1, 2), (2, 1), (9, 1), (9, 2)] {
        case.rules = Rules { max_depth: depth, min_samples_split: 12, min_impurity_decrease: 1e-3, ..rules(5, leaf) };
        case.same_classes(2, 2);
        case.same_means(2);
    }
}

#[test]
fn few_leaves_are_those_of_the_best_splits() {
    for (rows, gaps) in [(400, 0), (9_000, 0), (9_000, 9)] {
        for leaf in [1, 4] {
            let mut case = Case::new(rows, 7, leaf, false).with_gaps(gaps);
            for leaves in [2, 3, 40, 128] {
                case.rules.max_leaf_nodes = Some(leaves);
                case.same_classes(2, 2);
                case.same_classes(5, 1);
                case.same_means(2);
            }
        }
    }
}

#[test]
fn many_leaves_are_those_of_the_best_splits() {
    for (rows, gaps) in [(400, 0), (30_000, 0), (30_000, 9)] {
        for (leaf, depth) in [(1, usize::MAX), (4, 12)] {
            let mut case = Case::new(rows, 7, leaf, false).with_gaps(gaps);
            case.rules.max_depth = depth;
            for leaves in [129, 1_000, 40_000] {
                case.rules.max_leaf_nodes = Some(leaves);
                case.same_classes(2, 2);
                case.same_classes(5, 1);
                case.same_means(2);
            }
        }
    }
}

#[test]
fn longer_blocks_give_the_same_tree() {
    let case = Case::new(40_000, 7, 1, false);
    for threads in [1, 2] {
        case.same_classes(2, threads);
        case.same_classes(5, threads);
        case.same_means(threads);
    }
}

#[test]
fn keys_of_either_width_give_the_same_tree() {
    let case = Case::new(6_000, 5, 1, false);
    let rows = case.rows();
    let items: Vec<f64> = rows.iter().map(|row| f64::from(row % 97) / 7.0).collect();
    let columns: Vec<_> = case.table.columns.iter().map(Ranked::view).collect();
    let soil = Soil {
        columns: &columns,
        orders: &Orders::new(&case.table, Bins::default(), 1),
        rules: &case.rules,
        rows: &rows,
        stream: &Stream::new(3, 4),
        width: 1,
        threads: 1,
        cancel: &CancelToken::new(),
    };
    let growth = Growth {
        soil,
        target: &Even { center: 0.0, is_exact: false, has_exact_squares: false },
        items: &items,
        bar: None,
    };
    let narrow = top::Top::<u32, _>::grow(&growth).unwrap();
    assert!(narrow == top::Top::<u64, _>::grow(&growth).unwrap());
    assert!(narrow.leaves() > 5_000);
}

#[test]
fn cuts_of_more_rows_than_half_a_sum_holds_are_the_same() {
    let (rows, classes) = (70_000, 3);
    let mut stream = Stream::new(5, 6);
    let items: Vec<u32> = (0..rows).map(|row| (stream.below(2) as u32 + u32::from(row > rows / 3)) % 3).collect();
    let weighted: Vec<(u32, u32)> = items.iter().map(|&class| (class, 1)).collect();
    // Of many values, and of few: those are summed run by run.
    for (count, same) in [rows, 65_536, 65_535].into_iter().flat_map(|count| [(count, 3), (count, 7_001)]) {
        let keys: Vec<u64> = (0..rows).map(|row| <u64 as Key>::new((row / same) as u32, row)).collect();
        let mut node = classes::Node::default();
        Ones::new(classes, None).enter(&mut node, &items[..count]);
        let keys = &keys[..count];
        let got = Ones::new(classes, None).best(&node, keys, &items, 9..count - 9, &mut Default::default());
        let expected =
            Classes { classes, entropy: None }.best(&node, keys, &weighted, 9..count - 9, &mut Default::default());
        assert!(got == expected && got.is_some(), "{count} rows, {same} of a value");
    }
}

#[test]
fn sums_are_exact_of_whole_numbers_that_are_not_too_many() {
    let whole = [&[1.0, -3.0, 1e15][..], &[1e8], &[]];
    assert_eq!(whole.map(Even::are_exact), [[true, false], [true, false], [true, true]]);
    assert_eq!(Even::are_exact(&[1.0, -3.0, 9e7]), [true, true]);
    let others = [0.5, -0.25, 8e15, -2_251_799_813_685_248.5, 1e300, f64::INFINITY, f64::NAN];
    assert!(others.iter().all(|&other| Even::are_exact(&[1.0, other]) == [false; 2]));
    // Each counts, wherever it stands.
    let many: Vec<f64> = (0..1003).map(|at| if at % 2 == 0 { 4e12 } else { -6e12 }).collect();
    assert!(Even::are_exact(&many) == [true, false] && Even::are_exact(&many.repeat(2)) == [false; 2]);
    for at in [0, 255, 256, 1002] {
        let mut one = vec![7.0; 1003];
        one[at] = 7.5;
        assert_eq!((Even::are_exact(&one), Even::are_exact(&[7.0; 1003])), ([false; 2], [true; 2]));
    }
}
