//! Links and decisions.

use crate::ops::{APART, Decide, DecideKind, Link, LinkKind};
use corten_core::Result;

use super::{Emit, Wires};
use crate::export::source::Source;
use crate::export::support::Helper;

impl Emit for Link {
    fn emit(&self, source: &mut Source, at: &Wires<'_, '_>) -> Result<()> {
        let (n, i, first) = (at.count(), at.made("i"), at.step.first);
        let each = |source: &mut Source, value: &str| {
            let x = at.columns(source);
            source.line(1, &format!("for (i = 0; i < {n}; i++) {{"));
            source.line(2, &format!("double x = {};", x.at("i")));
            source.line(2, &format!("{} = {value};", at.made("i")));
            source.line(1, "}");
        };
        source.sums = source.sums.max(match self.kind {
            LinkKind::Softmax => 16,
            LinkKind::CenteredLog | LinkKind::Normalize => 8,
            _ => 0,
        });
        match self.kind {
            // Its columns are those that it reads.
            LinkKind::Identity => {}
            LinkKind::Sigmoid => {
                source.needs(Helper::Sigmoid);
                let x = at.columns(source);
                source.line(1, &format!("v[{}] = sigmoid({});", first + 1, x.at("0")));
                source.line(1, &format!("v[{first}] = 1.0 - v[{}];", first + 1));
            }
            LinkKind::Sigmoid32 => {
                source.needs(Helper::Exp);
                let x = at.columns(source);
                source.line(1, "{");
                source.line(2, &format!("float x = (float){}, p;", x.at("0")));
                source.line(2, "x = x > -88.7f ? x : -88.7f;");
                source.line(2, "p = 1.0f / ((float)own_exp((double)-x) + 1.0f);");
                source.line(2, &format!("v[{}] = (double)p;", first + 1));
                source.line(2, &format!("v[{first}] = (double)(1.0f - p);"));
                source.line(1, "}");
            }
            LinkKind::Softmax32 => {
                source.needs(Helper::Exp);
                let x = at.columns(source);
                source.line(1, "{");
                source.line(2, "float max = (float)-INFINITE;");
                source.line(2, "double sum = 0.0;");
                source.line(2, &format!("for (i = 0; i < {n}; i++) {{"));
                source.line(3, &format!("float x = (float){};", x.at("i")));
                source.line(3, "if (x > max) max = x;");
                source.line(2, "}");
                source.line(2, &format!("for (i = 0; i < {n}; i++) {{"));
                source.line(3, &format!("float x = (float){} - max;", x.at("i")));
                source.line(3, &format!("{i} = (double)(float)own_exp((double)x);"));
                source.line(3, &format!("sum += {i};"));
                source.line(2, "}");
                source.line(2, &format!("for (i = 0; i < {n}; i++) {i} = (double)((float){i} / (float)sum);"));
                source.line(1, "}");
            }
            LinkKind::Exp => {
                source.needs(Helper::Exp);
                each(source, "own_exp(x)");
            }
            LinkKind::Softplus => {
                source.needs(Helper::Log1p);
                source.needs(Helper::Exp);
                each(source, "x > 37.0 ? x : own_log1p(own_exp(x))");
            }
            // 0 - x and not -x: the magnitude of -0 is 0.
            LinkKind::SignedSquare => each(source, "(x > 0.0 ? x : 0.0 - x) * x"),
            LinkKind::LogOdds => {
                source.needs(Helper::Ln);
                let x = at.columns(source);
                source.line(1, &format!("for (i = 0; i < {n}; i++) {{"));
                source.line(2, &format!("{i} = {};", x.at("i")));
                draw(source, 2, &i);
                source.line(2, &format!("{i} = own_ln({i} / (1.0 - {i}));"));
                source.line(1, "}");
            }
            LinkKind::CenteredLog => {
                source.needs(Helper::Ln);
                let x = at.columns(source);
                source.line(1, "{");
                source.line(2, "double sum = 0.0;");
                source.line(2, &format!("for (i = 0; i < {n}; i++) {{"));
                source.line(3, &format!("{i} = {};", x.at("i")));
                draw(source, 3, &i);
                source.line(3, &format!("{i} = own_ln({i});"));
                source.line(3, &format!("sum += {i};"));
                source.line(2, "}");
                source.line(2, &format!("sum /= {n}.0;"));
                source.line(2, &format!("for (i = 0; i < {n}; i++) {i} -= sum;"));
                source.line(1, "}");
            }
            LinkKind::Softmax => {
                source.needs(Helper::Exp);
                let x = at.columns(source);
                source.line(1, "{");
                source.line(2, "double max = -INFINITE, sum = 0.0;");
                source.line(2, &format!("for (i = 0; i < {n}; i++) {{"));
                source.line(3, &format!("{i} = {};", x.at("i")));
                source.line(3, &format!("if ({i} > max) max = {i};"));
                source.line(2, "}");
                source.line(2, &format!("for (i = 0; i < {n}; i++) {{"));
                source.line(3, &format!("{i} = own_exp({i} - max);"));
                source.line(3, &format!("sum += {i};"));
                source.line(2, "}");
                source.line(2, &format!("for (i = 0; i < {n}; i++) {i} /= sum;"));
                source.line(1, "}");
            }
            LinkKind::Normalize => {
                source.needs(Helper::Sigmoid);
                let x = at.columns(source);
                source.line(1, "{");
                source.line(2, "double sum = 0.0;");
                source.line(2, &format!("for (i = 0; i < {n}; i++) {{"));
                source.line(3, &format!("{i} = sigmoid({});", x.at("i")));
                source.line(3, &format!("sum += {i};"));
                source.line(2, "}");
                source.line(2, &format!("for (i = 0; i < {n}; i++) {i} /= sum;"));
                source.line(1, "}");
            }
        }
        Ok(())
    }
}

/// Keeps a probability apart from 0 and 1.
fn draw(source: &mut Source, depth: usize, p: &str) {
    let [low, high] = [APART, 1.0 - APART].map(|x| source.literal(x));
    source.line(depth, &format!("if ({p} < {low}) {p} = {low};"));
    source.line(depth, &format!("if ({p} > {high}) {p} = {high};"));
}

impl Emit for Decide {
    fn emit(&self, source: &mut Source, at: &Wires<'_, '_>) -> Result<()> {
        let x = at.columns(source);
        match self.kind {
            DecideKind::Threshold(threshold) => {
                let threshold = source.literal(threshold);
                source.line(1, &format!("v[{}] = {} > {threshold} ? 1.0 : 0.0;", at.step.first, x.at("0")));
            }
            DecideKind::ArgMax => {
                source.line(1, &format!("for (i = 1, n = 0; i < {}; i++)", at.count()));
                source.line(2, &format!("if ({} > {}) n = i;", x.at("i"), x.at("n")));
                source.line(1, &format!("v[{}] = (double)n;", at.step.first));
            }
        }
        Ok(())
    }
}
