//! Ensembles of trees: tables that a loop walks.
//!
//! Each value is compared once with the ensemble's own thresholds and becomes a code of 8 bits where that is enough;
//! nodes hold codes. The leaves of all trees share one table, in which equal leaves are kept once.

use std::collections::HashMap;
use std::hash::Hash;

use crate::ops::{CodeNode, CodeRule, Precision, Trees, TreesTable};
use corten_core::Result;

use super::{Emit, Wires};
use crate::export::source::{Reals, Source, entry, unsigned};
use crate::export::support::Helper;

/// Most bits that a sum of whole numbers may have: `double` holds it exactly, and `int32_t` the leaves' part.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Entries kept once, one after the other.
struct Pool<T> {
    all: Vec<T>,
    places: HashMap<Vec<T>, usize>,
}

impl<T: Copy + Eq + Hash> Pool<T> {
    fn new() -> Self {
        Self { all: Vec::new(), places: HashMap::new() }
    }

    fn add(&mut self, entry: Vec<T>) -> usize {
        let Self { all, places } = self;
        *places.entry(entry).or_insert_with_key(|entry| {
            all.extend_from_slice(entry);
            all.len() - entry.len()
        })
    }
}

/// Nodes renumbered so that nothing lies between them.
#[derive(Default)]
struct Nodes {
    /// Left child from the root on, or the place of a leaf; code column; threshold or place of bits.
    all: Vec<(usize, usize, usize)>,
    roots: Vec<usize>,
}

/// The columns of codes in their order in C: numbers first.
struct Codes {
    /// Number columns, and all.
    numbers: usize,
    all: usize,
    /// Of each column of the model: its place in C.
    places: Vec<usize>,
    /// The greatest code below "missing, to the right".
    max: usize,
}

impl Emit for Trees {
    fn emit(&self, source: &mut Source, at: &Wires<'_, '_>) -> Result<()> {
        let table = self.table();
        let codes = Codes::new(&table);
        let (leaf_column, _) = if codes.all < 0xff { (0xff, 1) } else { (0xffff, 2) };
        let (mut leaves, mut bits) = (Pool::new(), Pool::new());
        let nodes = number_nodes(&table, &codes, leaf_column, &mut leaves, &mut bits);
        let values: Vec<f64> = match &table.models {
            Some(_) => table.leaves.to_vec(),
            None => leaves.all.iter().map(|&b| f64::from_bits(b)).collect(),
        };
        let (code_type, code_bytes) = unsigned(codes.max + 1);
        source.locals = source.locals.max(codes.all * code_bytes + 4 * table.base.len());
        source.line(1, "{");
        source.line(2, &format!("{code_type} code[{}];", codes.all.max(1)));
        source.line(2, "uint32_t root, c;");
        codes.emit(source, at, &table, code_type, code_bytes);
        let node_table = emit_nodes(source, &nodes);
        let bits = (!bits.all.is_empty()).then(|| source.words("category_bits", &bits.all));
        let leaves = source.reals("leaves", &values);
        let walk = Walk { nodes: &node_table, leaf_column, codes: &codes, bits };
        if let Some(scale) = whole_sums(&table, &leaves) {
            walk.emit_whole(source, at, &table, &nodes, leaves.name(), scale);
        } else {
            walk.emit_real(source, at, &table, &nodes, &leaves);
        }
        if !table.divisors.is_empty() {
            let divisors = source.reals("trees_of", table.divisors);
            source.line(
                2,
                &format!("for (k = 0; k < {}; k++) {} /= {};", table.base.len(), at.made("k"), divisors.at("k")),
            );
        }
        source.line(1, "}");
        Ok(())
    }
}

impl Codes {
    fn new(table: &TreesTable<'_>) -> Self {
        let is_number = |rule: &CodeRule<'_>| matches!(rule, CodeRule::Number { .. });
        let numbers = table.columns.iter().filter(|c| is_number(&c.1)).count();
        let (mut number, mut category, mut max) = (0, numbers, 0);
        let places = table
            .columns
            .iter()
            .map(|(_, rule)| {
                let next = match rule {
                    CodeRule::Number { thresholds, .. } => {
                        max = max.max(thresholds.len());
                        &mut number
                    }
                    CodeRule::Category { levels } => {
                        // "Unseen" and "missing" come after the levels; what is missing has no code above it.
                        max = max.max(*levels as usize);
                        &mut category
                    }
                };
                *next += 1;
                *next - 1
            })
            .collect();
        Self { numbers, all: table.columns.len(), places, max }
    }

    /// The statements that fill `code`.
    fn emit(&self, source: &mut Source, at: &Wires<'_, '_>, table: &TreesTable<'_>, kind: &str, bytes: usize) {
        let x = at.columns(source);
        let (mut thresholds, mut starts) = (Vec::new(), HashMap::new());
        let (mut features, mut firsts, mut counts, mut rules) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (feature, rule) in &table.columns {
            if let CodeRule::Number { thresholds: t, missing_left, zero_missing } = rule {
                let key: Vec<u64> = t.iter().map(|x| x.to_bits()).collect();
                let start = *starts.entry(key).or_insert_with(|| {
                    thresholds.extend_from_slice(t);
                    thresholds.len() - t.len()
                });
                features.push(*feature as usize);
                firsts.push(start);
                counts.push(t.len());
                rules.push(usize::from(!missing_left) + 2 * usize::from(*zero_missing));
            }
        }
        if !features.is_empty() {
            let thresholds = source.floats("thresholds", &thresholds);
            let (helper, rank) = if thresholds.is_single() {
                (Helper::RankFloat, "rank_float")
            } else {
                (Helper::RankDouble, "rank_double")
            };
            source.needs(helper);
            let in_order = features.iter().enumerate().all(|(i, &f)| i == f);
            let feature = if in_order { "i".into() } else { format!("{}[i]", source.wholes("features", &features)) };
            let (firsts, counts) = (source.wholes("starts", &firsts), source.wholes("counts", &counts));
            source.line(2, &format!("for (i = 0; i < {}; i++) {{", features.len()));
            source.line(3, &format!("double x = {};", x.at(&feature)));
            if table.input == Precision::F32 {
                source.line(3, "x = (double)(float)x;");
            }
            if table.zero_threshold > 0.0 {
                let zero = source.literal(table.zero_threshold);
                source.line(3, &format!("if (x <= {zero} && x >= -{zero}) x = 0.0;"));
            }
            let name = thresholds.name();
            source.line(3, &format!("code[i] = ({kind}){rank}({name} + {firsts}[i], {counts}[i], x);"));
            let missing = if bytes == 1 { 0xff } else { 0xffff };
            if rules.iter().any(|&r| r != 0) {
                let one = rules.iter().all(|&r| r == rules[0]).then_some(rules[0]);
                let rule = match one {
                    Some(rule) => format!("{rule}"),
                    None => format!("{}[i]", source.wholes("rules", &rules)),
                };
                let is_missing = match one {
                    Some(0 | 1) => "x != x".into(),
                    _ => format!("x != x || (({rule} & 2) && x == 0.0)"),
                };
                source.line(3, &format!("if ({is_missing}) code[i] = ({rule} & 1) ? {missing} : 0;"));
            }
            source.line(2, "}");
        }
        for ((feature, rule), &place) in table.columns.iter().zip(&self.places) {
            if let CodeRule::Category { levels } = rule {
                source.needs(Helper::Level);
                let x = x.at(&feature.to_string());
                source.line(2, &format!("code[{place}] = ({kind})level_of({levels}, {x});"));
            }
        }
    }
}

fn number_nodes(
    table: &TreesTable<'_>,
    codes: &Codes,
    leaf_column: usize,
    leaves: &mut Pool<u64>,
    bits: &mut Pool<u32>,
) -> Nodes {
    let mut nodes = Nodes::default();
    for (&root, &target) in table.roots.iter().zip(&table.targets) {
        let start = nodes.all.len();
        nodes.roots.push(start);
        // Level by level; both children of a node get neighbouring places.
        let mut order = vec![root];
        let mut done = 0;
        while done < order.len() {
            let made = match table.node(order[done]) {
                CodeNode::Leaf(payload) => {
                    let payload = payload as usize;
                    let width = if target.is_some() { 1 } else { table.base.len() };
                    let place = if table.models.is_some() {
                        payload
                    } else {
                        leaves.add(table.leaves[payload..][..width].iter().map(|x| x.to_bits()).collect())
                    };
                    (place, leaf_column, 0)
                }
                CodeNode::Number { column, threshold, left } => {
                    order.extend([left, left + 1]);
                    (order.len() - 2, codes.places[usize::from(column)], usize::from(threshold))
                }
                CodeNode::Category { column, bits: listed, left } => {
                    order.extend([left, left + 1]);
                    (order.len() - 2, codes.places[usize::from(column)], bits.add(listed.to_vec()))
                }
            };
            nodes.all.push(made);
            done += 1;
        }
    }
    nodes
}

/// The table of nodes: the widest member first, so that nothing lies between members.
fn emit_nodes(source: &mut Source, nodes: &Nodes) -> String {
    let max = |f: fn(&(usize, usize, usize)) -> usize| nodes.all.iter().map(f).max().unwrap_or(0);
    let members = [("next", max(|n| n.0)), ("column", max(|n| n.1)), ("threshold", max(|n| n.2))];
    let mut order: Vec<usize> = vec![0, 1, 2];
    order.sort_by_key(|&m| std::cmp::Reverse(unsigned(members[m].1).1));
    let mut declared = String::from("struct { ");
    let (mut bytes, mut widest) = (0, 1);
    for &m in &order {
        let (kind, size) = unsigned(members[m].1);
        declared.push_str(&format!("{kind} {}; ", members[m].0));
        bytes += size;
        widest = widest.max(size);
    }
    declared.push('}');
    let entries: Vec<String> = nodes
        .all
        .iter()
        .map(|n| {
            let parts = [n.0, n.1, n.2];
            format!("{{{}, {}, {}}}", parts[order[0]], parts[order[1]], parts[order[2]])
        })
        .collect();
    source.table("nodes", &declared, usize::next_multiple_of(bytes, widest), &entries)
}

/// The scale of leaves that add up as whole numbers with the same sum: nothing is rounded on either road.
fn whole_sums(table: &TreesTable<'_>, leaves: &Reals) -> Option<f64> {
    let (_, scale) = leaves.whole()?;
    // The base may lie on a finer grid.
    let grid = scale / 65536.0;
    let trees = table.targets.len() as f64;
    let fits = |&b: &f64| (b / grid).fract() == 0.0 && (b / grid).abs() + trees * 32767.0 * 65536.0 < EXACT;
    // Leaves of -0 would be lost, and are in no table of whole numbers.
    let base = table.base.iter().all(|b| fits(b) && (*b != 0.0 || b.is_sign_positive()));
    (base && table.models.is_none() && table.sum == Precision::F64 && trees < 65536.0).then_some(scale)
}

struct Walk<'a> {
    nodes: &'a str,
    leaf_column: usize,
    codes: &'a Codes,
    bits: Option<String>,
}

/// The output that tree `n` adds to, as an expression; `None` where each leaf has all of them.
fn target(source: &mut Source, table: &TreesTable<'_>) -> Option<String> {
    let outputs = table.base.len();
    if table.targets.iter().all(Option::is_none) {
        return None;
    }
    if table.targets.iter().all(|t| *t == Some(0)) {
        return Some("0".into());
    }
    if table.targets.iter().enumerate().all(|(i, t)| *t == Some((i % outputs) as u32)) {
        return Some(format!("n % {outputs}"));
    }
    let targets: Vec<usize> = table.targets.iter().map(|t| t.map_or(outputs, |t| t as usize)).collect();
    Some(format!("{}[n]", source.wholes("targets", &targets)))
}

impl Walk<'_> {
    /// Opens the loop over trees and leaves the place of tree `n`'s leaf in `i`.
    fn open(&self, source: &mut Source, nodes: &Nodes) {
        let (name, leaf) = (self.nodes, self.leaf_column);
        let roots = source.wholes("roots", &nodes.roots);
        let above = format!("code[c] > {name}[i].threshold");
        let right = match &self.bits {
            None => above,
            Some(bits) => {
                let listed = format!("!({bits}[{name}[i].threshold + code[c] / 32] >> (code[c] % 32) & 1u)");
                if self.codes.numbers == 0 {
                    listed
                } else {
                    format!("c < {} ? {above} : {listed}", self.codes.numbers)
                }
            }
        };
        source.line(2, &format!("for (n = 0; n < {}; n++) {{", nodes.roots.len()));
        source.line(3, &format!("root = {roots}[n];"));
        source.line(3, "i = root;");
        source.line(3, &format!("while ((c = {name}[i].column) != {leaf})"));
        source.line(4, &format!("i = root + {name}[i].next + (({right}) ? 1u : 0u);"));
        source.line(3, &format!("i = {name}[i].next;"));
    }

    /// Sums of whole numbers.
    fn emit_whole(
        &self,
        source: &mut Source,
        at: &Wires<'_, '_>,
        table: &TreesTable<'_>,
        nodes: &Nodes,
        leaves: &str,
        scale: f64,
    ) {
        let outputs = table.base.len();
        let base = source.reals("base", table.base);
        let scale = source.literal(scale);
        source.line(2, &format!("int32_t sums[{outputs}];"));
        source.line(2, &format!("for (k = 0; k < {outputs}; k++) sums[k] = 0;"));
        self.open(source, nodes);
        self.add(source, table, &|k, leaf| format!("sums[{k}] += {leaves}[{leaf}];"));
        source.line(2, "}");
        let (made, base) = (at.made("k"), base.at("k"));
        source.line(2, &format!("for (k = 0; k < {outputs}; k++) {made} = {base} + (double)sums[k] * {scale};"));
    }

    /// Sums as they come, in the order of the trees.
    fn emit_real(
        &self,
        source: &mut Source,
        at: &Wires<'_, '_>,
        table: &TreesTable<'_>,
        nodes: &Nodes,
        leaves: &Reals,
    ) {
        let base = source.reals("base", table.base);
        source.line(2, &format!("for (k = 0; k < {}; k++) {} = {};", table.base.len(), at.made("k"), base.at("k")));
        self.open(source, nodes);
        let value = match &table.models {
            Some(models) => {
                emit_models(source, at, models, leaves);
                "value".to_owned()
            }
            None => leaves.at("LEAF"),
        };
        let narrow = table.sum == Precision::F32;
        // Of two numbers in single precision, their sum in single precision is the rounded one. gcc 12 forgets to round
        // where it makes a vector of `(double)(float)`, so sums are rounded by adding, or where nothing folds.
        let single = table.models.is_none() && table.base.iter().chain(table.leaves).all(|&x| f64::from(x as f32) == x);
        if narrow && !single {
            source.needs(Helper::Narrow);
        }
        self.add(source, table, &|k, leaf| {
            let (sum, value) = (entry("v", at.step.first, k), value.replace("LEAF", leaf));
            match (narrow, single) {
                (false, _) => format!("{sum} += {value};"),
                (true, true) => format!("{sum} = (double)((float){sum} + (float)({value}));"),
                (true, false) => format!("{sum} = narrow({sum} + {value});"),
            }
        });
        source.line(2, "}");
    }

    /// The statements that add a leaf to one output or to all.
    fn add(&self, source: &mut Source, table: &TreesTable<'_>, statement: &dyn Fn(&str, &str) -> String) {
        let outputs = table.base.len();
        let all = format!("for (k = 0; k < {outputs}; k++) {}", statement("k", "i + k"));
        match target(source, table) {
            None => source.line(3, &all),
            Some(target) if table.targets.iter().any(Option::is_none) => {
                source.line(3, &format!("k = {target};"));
                source.line(3, &format!("if (k < {outputs}) {{"));
                source.line(4, &statement("k", "i"));
                source.line(3, "} else {");
                source.line(4, &all);
                source.line(3, "}");
            }
            Some(target) => source.line(3, &statement(&target, "i")),
        }
    }
}

/// The value of leaf `i` with its linear model.
fn emit_models(source: &mut Source, at: &Wires<'_, '_>, models: &[(f64, Vec<(u32, f64)>)], leaves: &Reals) {
    let x = at.columns(source);
    let mut ends = vec![0];
    for (_, terms) in models {
        ends.push(ends[ends.len() - 1] + terms.len());
    }
    let constants: Vec<f64> = models.iter().map(|m| m.0).collect();
    let terms = || models.iter().flat_map(|m| &m.1);
    let ends = source.wholes("terms_end", &ends);
    let constants = source.reals("constants", &constants);
    let features = source.wholes("terms_feature", &terms().map(|t| t.0 as usize).collect::<Vec<_>>());
    let weights = source.reals("terms_weight", &terms().map(|t| t.1).collect::<Vec<_>>());
    source.line(3, &format!("double value = {};", leaves.at("i")));
    source.line(3, &format!("if ({ends}[i] < {ends}[i + 1]) {{"));
    source.line(4, &format!("double sum = {};", constants.at("i")));
    source.line(4, &format!("for (c = {ends}[i]; c < {ends}[i + 1]; c++) {{"));
    source.line(5, &format!("double x = {};", x.at(&format!("{features}[c]"))));
    source.line(5, "if (x != x) break;");
    source.line(5, &format!("sum += ({}) * x;", weights.at("c")));
    source.line(4, "}");
    source.line(4, &format!("if (c == {ends}[i + 1]) value = sum;"));
    source.line(3, "}");
}
