//! Subtrees of few rows: a node is a set of bits, and no row moves.

use corten_kernels::{sort, splits};

use super::finder::{self, Span};
use super::grower::{Grower, Look, Part, Rules, Scored, child_place};
use super::ranks::{Code, NO_MISSING, Table};

/// Columns whose codes are kept while a subtree is grown.
const COLUMNS: usize = 64;

/// See the module.
pub(crate) struct Few {
    /// Codes of the rows by column, and the subtree that they are of; of many columns the last one alone.
    codes: Vec<[u32; splits::SET]>,
    made: Vec<u32>,
    subtree: u32,
    open: Vec<(Part, u16)>,
}

/// A cut of a set.
#[derive(Clone, Copy)]
struct Cut {
    left: u16,
    threshold: f64,
    score: f64,
}

impl Scored for Cut {
    fn score(&self) -> f64 {
        self.score
    }
}

impl Few {
    /// `None` where values are missing or splits must respect more than numbers of rows.
    pub(crate) fn new<C: Code>(table: &Table<C>, rules: &Rules) -> Option<Self> {
        let columns = table.columns.len();
        let fits = |codes: usize| rules.random || codes >> (u32::BITS - finder::LANE) == 0;
        let may = rules.monotonic.is_empty()
            && rules.min_weight_leaf <= 0.0
            && table.columns.iter().all(|c| c.missing == NO_MISSING && fits(c.codes.len()));
        let kept = if columns <= COLUMNS { columns } else { 1 };
        may.then(|| Self { codes: vec![[0; splits::SET]; kept], made: vec![0; kept], subtree: 0, open: Vec::new() })
    }
}

impl<C: Code> Grower<'_, C> {
    /// Whether the subtree of so many rows is grown on sets.
    pub(super) fn fits_few(&self, rows: usize) -> bool {
        rows <= splits::SET && self.lists.is_none() && self.few.is_some()
    }

    /// Grows all that lies below a node of few rows, where the finder can.
    pub(super) fn subtree(&mut self, root: &Part) -> bool {
        let count = root.end - root.start;
        if !self.finder.few_load(&self.rows[root.start..root.end]) {
            self.few = None;
            return false;
        }
        let Some(few) = &mut self.few else { return false };
        few.subtree += 1;
        let mut open = std::mem::take(&mut few.open);
        open.push((*root, u16::MAX >> (splits::SET - count)));
        while let Some((part, set)) = open.pop() {
            let stats = self.finder.few_enter(set);
            let samples = set.count_ones();
            let (at, last) = self.write(&part, samples as usize, stats);
            if last {
                continue;
            }
            let place = self.draw_place(at, &part);
            let (best, constant) =
                self.draw_columns(place, part.constant, |grower, feature| grower.look_at_few(feature, root, set));
            let Some((feature, cut)) = best.filter(|(_, cut)| self.worth(cut.score).is_some()) else { continue };
            let node = &mut self.tree.nodes[at as usize];
            (node.feature, node.threshold) = (feature as u32, cut.threshold);
            node.missing_left = 2 * cut.left.count_ones() > samples;
            let child = |is_left| Part {
                depth: part.depth + 1,
                parent: Some((at, is_left)),
                constant,
                place: child_place(part.place, is_left),
                ..part
            };
            open.extend([(child(false), set & !cut.left), (child(true), cut.left)]);
        }
        if let Some(few) = &mut self.few {
            few.open = open;
        }
        true
    }

    /// Looks at a column of a set of the rows of a subtree.
    fn look_at_few(&mut self, feature: usize, root: &Part, set: u16) -> Look<Cut> {
        let codes = self.codes_of_few(feature, root);
        let column = &self.table.columns[feature];
        let (low, high) = splits::span_of(&codes, set);
        if low == high {
            return Look::Constant;
        }
        let min_samples = self.rules.min_samples_leaf;
        if self.rules.random {
            let (threshold, last) = column.cut_at(&Span { low, high, missing: 0 }, self.stream.uniform());
            let left = splits::set_up_to(&codes, last) & set;
            let rows = left.count_ones() as usize;
            if rows < min_samples || (set.count_ones() as usize) - rows < min_samples {
                return Look::Cut(None);
            }
            let score = self.finder.few_score(left);
            return Look::Cut((!score.is_nan()).then_some(Cut { left, threshold, score }));
        }
        let mut keys = [0; splits::SET];
        let mut count = 0;
        for lane in finder::members(set) {
            keys[count] = codes[lane] << finder::LANE | lane as u32;
            count += 1;
        }
        let keys = &mut keys[..count];
        sort::ascending(keys);
        Look::Cut(self.finder.few_best(keys, min_samples).map(|(at, score)| {
            let left = keys[..=at].iter().fold(0, |set, &key| set | 1 << finder::lane(key));
            let code = |at: usize| keys[at] >> finder::LANE;
            Cut { left, threshold: column.scale.between(code(at), Some(code(at + 1))), score }
        }))
    }

    /// The codes of a subtree's rows in a column.
    fn codes_of_few(&mut self, feature: usize, root: &Part) -> [u32; splits::SET] {
        let Some(few) = &self.few else { return [0; splits::SET] };
        let is_kept = few.codes.len() > feature && few.codes.len() == self.table.columns.len();
        if is_kept && few.made[feature] == few.subtree {
            return few.codes[feature];
        }
        self.gather(feature, root);
        let mut codes = [0; splits::SET];
        codes[..self.codes.len()].copy_from_slice(&self.codes);
        if let Some(few) = self.few.as_mut().filter(|_| is_kept) {
            (few.codes[feature], few.made[feature]) = (codes, few.subtree);
        }
        codes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forest::counts::Counts;
    use crate::forest::finder::{Entry, Finder};
    use crate::forest::means::{Means, Squared};
    use crate::forest::purity::{Entropy, Gini};
    use crate::forest::ranks::{self, Ranks};
    use crate::forest::tree::GrownTree;
    use corten_core::random::Stream;
    use corten_core::{CancelToken, Column, Data, Table as Rows};

    const N: usize = 400;

    /// Three columns of 30, 6 and 200 values.
    fn table() -> Table<u8> {
        let mut stream = Stream::new(7, 0);
        let column = |values: u64| Column::f64(values, (0..N).map(|_| stream.below(values) as f64).collect::<Vec<_>>());
        let data = Data::Table(Rows::named([30, 6, 200].map(column).into()).unwrap());
        let Ranks::Byte(table) = ranks::rank(&data, 1).unwrap() else { panic!("few values") };
        table
    }

    fn grow(random: bool, min_samples_leaf: usize, sets: bool, finder: &mut dyn Finder, rows: Vec<Entry>) -> GrownTree {
        let rules = Rules {
            random,
            max_depth: usize::MAX,
            min_samples_split: 2,
            min_samples_leaf,
            min_weight_leaf: 0.0,
            max_features: 2,
            max_leaf_nodes: None,
            min_impurity_decrease: 0.0,
            monotonic: Vec::new(),
            bounds: (0.0, 1.0),
        };
        let table = table();
        let mut grower = Grower::new(&table, &rules, finder, Stream::new(3, 4), rows, 1);
        assert!(grower.few.is_some());
        if !sets {
            grower.few = None;
        }
        grower.grow(&CancelToken::new()).unwrap()
    }

    #[test]
    fn a_tree_on_sets_is_the_one_whose_rows_move() {
        let mut stream = Stream::new(1, 0);
        let rows = |classes: u64, stream: &mut Stream| -> Vec<Entry> {
            let payload = |_| Counts::<Gini>::payload(stream.below(classes) as u32, 1 + stream.below(9) as u32);
            (0u32..).zip((0..N).filter_map(payload)).map(|(row, payload)| Entry::new(row, payload)).collect()
        };
        let y: Vec<f64> = (0..N).map(|_| stream.below(50) as f64 - 25.0).collect();
        for (random, leaf) in [(false, 1), (false, 3), (true, 1), (true, 3)] {
            for classes in [2, 5, 20] {
                let rows = rows(classes, &mut stream);
                let gini = |sets| grow(random, leaf, sets, &mut Counts::new(Gini, classes as usize), rows.clone());
                assert!(gini(true) == gini(false), "{random} {leaf} {classes}");
                assert!(gini(true).leaves() > 40);
            }
            let rows: Vec<Entry> = (0..N as u32).map(|row| Entry::new(row, 1 + row % 3)).collect();
            let means = |sets| grow(random, leaf, sets, &mut Means::<Squared>::new(&y, 1, &[0.0], None), rows.clone());
            assert!(means(true) == means(false), "{random} {leaf}");
        }
    }

    #[test]
    fn entropy_grows_pure_leaves_on_sets() {
        let rows: Vec<Entry> = (0..N as u32).map(|row| Entry::new(row, (row % 2) << 16 | 1)).collect();
        let tree = grow(false, 1, true, &mut Counts::new(Entropy::up_to(N), 2), rows);
        let pure = (0..tree.nodes.len()).filter(|&at| tree.is_leaf(at) && tree.nodes[at].impurity == 0.0).count();
        assert!(pure * 10 > tree.leaves() * 9);
    }
}
