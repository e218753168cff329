//! Subtrees of few rows: a node is a set of bits, and no row moves.

use corten_core::random::Stream;
use corten_kernels::lanes::Lanes;
use corten_kernels::splits::SET;

use super::super::columns;
use super::super::finder::Span;
use super::super::ranks::{Code, NO_MISSING};
use super::{Cut, Drawn, Part, Target, picked};

/// Columns whose codes are kept while a subtree is grown.
const COLUMNS: usize = 64;

/// See the module.
pub(super) struct Few {
    /// Codes of the rows by column, and the subtree that they are of; of many columns the last one alone.
    codes: Vec<[u32; SET]>,
    made: Vec<u32>,
    subtree: u32,
    /// The subtree's rows, and the first one behind them.
    pub(super) rows: [u32; SET],
    /// Their records, where columns are looked at side by side.
    pub(super) records: Vec<u32>,
    open: Vec<(Part, u16)>,
}

impl Few {
    /// For so many columns, and codes a record where those are kept.
    pub(super) fn new(columns: usize, width: usize) -> Self {
        let kept = if columns <= COLUMNS { columns } else { 1 };
        Self {
            codes: vec![[0; SET]; kept],
            made: vec![0; kept],
            subtree: 0,
            rows: [0; SET],
            records: vec![0; SET * width],
            open: Vec::new(),
        }
    }
}

impl<C: Code, T: Target> Drawn<'_, C, T> {
    /// Grows all that lies below a node of few rows.
    #[inline(always)]
    pub(super) fn subtree<L: Lanes>(&mut self, lanes: L, root: Part) {
        self.target.few_load(root.start, root.end);
        if self.at_once {
            self.load_records(root.start, root.end);
        } else {
            self.few.subtree += 1;
            let rows = &self.rows[root.start..root.end];
            self.few.rows = [rows[0]; SET];
            self.few.rows[..rows.len()].copy_from_slice(rows);
        }
        let picked = picked::suits_few(self.table, self.rules.max_features);
        self.few.open.push((root, u16::MAX >> (SET - (root.end - root.start))));
        while let Some((part, set)) = self.few.open.pop() {
            let rows = set.count_ones() as usize;
            let stats = self.target.few_enter(set);
            let (at, last) = self.write(part, rows, stats);
            if last {
                continue;
            }
            let mut stream = self.stream.at(u64::from(at));
            let best = if self.at_once {
                self.search_few_at_once(&mut stream, set)
            } else if picked {
                self.search_few_picked(part.depth, &mut stream, set)
            } else {
                self.search_few(lanes, &mut stream, &root, &part, set)
            };
            let Some((cut, left)) = best.filter(|(cut, _)| self.is_worth(cut.score)) else { continue };
            self.lead(at, cut, 2 * left.count_ones() as usize > rows);
            let child = |is_left| Part { depth: part.depth + 1, parent: Some((at, is_left)), ..part };
            self.few.open.extend([(child(false), set & !left), (child(true), left)]);
        }
    }

    /// The best of drawn cuts of a set of rows, and what lies on its left.
    #[inline(always)]
    fn search_few<L: Lanes>(
        &mut self,
        lanes: L,
        stream: &mut Stream,
        root: &Part,
        part: &Part,
        set: u16,
    ) -> Option<(Cut, u16)> {
        self.known.enter(part.depth);
        let (rows, least) = (set.count_ones() as usize, self.rules.min_samples_leaf);
        let mut best: Option<(Cut, u16)> = None;
        let (mut visited, mut varied) = (0, 0);
        while visited < self.rules.max_features || varied == 0 {
            let Some(feature) = self.draws.next(stream) else { break };
            visited += 1;
            if self.known.has(feature) {
                continue;
            }
            let table = self.table;
            let codes = self.codes_of_few(lanes, feature, root);
            let column = &table.columns[feature];
            let there =
                if column.missing == NO_MISSING { set } else { lanes.up_to(codes, column.missing - 1, 0) & set };
            let (low, high) = lanes.span(codes, there);
            let span = Span { low, high, missing: (set & !there).count_ones() as usize };
            if span.is_constant() {
                self.known.add(feature);
                continue;
            }
            varied += 1;
            let (threshold, side, missing_left) = columns::draw(column, &span, stream);
            let left = side.of(lanes, codes) & set;
            let on_left = left.count_ones() as usize;
            if on_left < least || rows - on_left < least {
                continue;
            }
            let score = self.target.few_score(left);
            if best.is_none_or(|(b, _)| score > b.score) {
                best = Some((Cut { feature, threshold, side, missing_left, score }, left));
                if self.target.is_perfect(score, rows) {
                    break;
                }
            }
        }
        self.draws.reset();
        best
    }

    /// The codes in a column of a subtree's rows.
    #[inline(always)]
    fn codes_of_few<L: Lanes>(&mut self, lanes: L, feature: usize, root: &Part) -> &[u32; SET] {
        let kept = self.few.made.len() == self.table.columns.len();
        let at = if kept { feature } else { 0 };
        let out = &mut self.few.codes[at];
        if !kept || self.few.made[at] != self.few.subtree {
            self.few.made[at] = self.few.subtree;
            let (codes, stride) = self.blocks.column(self.table, feature, root.end - root.start);
            *out = C::gather(lanes, codes, stride as u32, &self.few.rows);
        }
        out
    }
}
