//! Categories to codes: a search in a sorted table.

use crate::ops::{Category, CategoryColumn, CategoryValues, Rule};
use corten_core::{Error, Result};

use super::{Emit, Wires};
use crate::export::source::{Columns, Source, text};
use crate::export::support::Helper;

/// The codes in the order of the sorted categories, as an expression over `n`.
fn codes(source: &mut Source, column: &CategoryColumn, order: &[usize]) -> String {
    let code = |&at: &usize| column.codes.as_ref().map_or(at as f64, |codes| codes[at]);
    let codes: Vec<f64> = order.iter().map(code).collect();
    if codes.iter().enumerate().all(|(i, &c)| c.to_bits() == (i as f64).to_bits()) {
        return "(double)n".into();
    }
    source.reals("codes", &codes).at("n")
}

fn rule(source: &mut Source, to: &str, rule: Rule, refusal: u32) -> String {
    match rule {
        Rule::Error => format!("return {refusal};"),
        Rule::Code(code) => format!("{to} = {};", source.literal(code)),
    }
}

impl Emit for Category {
    fn emit(&self, source: &mut Source, at: &Wires<'_, '_>) -> Result<()> {
        for (i, (column, &place)) in self.columns().iter().zip(&at.step.inputs).enumerate() {
            let to = format!("v[{}]", at.step.first + i);
            let missing = rule(source, &to, column.missing, 3);
            let unknown = rule(source, &to, column.unknown, 4);
            let mut order: Vec<usize> = (0..column.values.len()).collect();
            source.line(1, "{");
            match &column.values {
                CategoryValues::Numbers(values) if values.is_empty() => {
                    let x = Columns::new(source, &[place], at.given).at("0");
                    source.line(2, &format!("double x = {x};"));
                    source.line(2, &format!("if (x != x) {missing}"));
                }
                CategoryValues::Texts(values) if values.is_empty() => {
                    source.line(2, &format!("if (!{}) {missing}", text(place)));
                }
                CategoryValues::Numbers(values) => {
                    // Stable sorts: of equal categories the first is found, as by the executor.
                    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
                    let sorted: Vec<f64> = order.iter().map(|&at| values[at]).collect();
                    let table = source.floats("values", &sorted);
                    let (helper, name) = if table.is_single() {
                        (Helper::RankFloat, "rank_float")
                    } else {
                        (Helper::RankDouble, "rank_double")
                    };
                    source.needs(helper);
                    let x = Columns::new(source, &[place], at.given).at("0");
                    let code = codes(source, column, &order);
                    let count = order.len();
                    source.line(2, &format!("double x = {x};"));
                    source.line(2, &format!("n = {name}({}, {count}, x);", table.name()));
                    source.line(2, &format!("if (x != x) {missing}"));
                    source.line(2, &format!("else if (n < {count} && {} == x) {to} = {code};", table.at("n")));
                }
                CategoryValues::Texts(values) => {
                    if values.iter().any(|v| v.contains('\0')) {
                        return Err(Error::column(
                            &column.name,
                            "has a category with a zero byte inside, which ends a text in C",
                        ));
                    }
                    order.sort_by(|&a, &b| values[a].cmp(&values[b]));
                    let sorted: Vec<&str> = order.iter().map(|&at| &values[at]).collect();
                    source.needs(Helper::FindText);
                    let (bytes, starts) = source.texts("values", &sorted);
                    let (x, code) = (text(place), codes(source, column, &order));
                    let count = order.len();
                    source.line(2, &format!("n = {count};"));
                    source.line(2, &format!("if ({x}) FIND_TEXT({bytes}, {starts}, {count}u, {x}, n);"));
                    source.line(2, &format!("if (!{x}) {missing}"));
                    source.line(2, &format!("else if (n < {count}) {to} = {code};"));
                }
            }
            source.line(2, &format!("else {unknown}"));
            source.line(1, "}");
        }
        Ok(())
    }
}
