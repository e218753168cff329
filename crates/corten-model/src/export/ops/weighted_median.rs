//! The weighted median: a sort by insertion, and a sum up to half of the weight.

use crate::ops::WeightedMedian;
use corten_core::Result;

use super::{Emit, Wires};
use crate::export::source::{Source, unsigned};
use crate::export::support::Helper;

impl Emit for WeightedMedian {
    fn emit(&self, source: &mut Source, at: &Wires<'_, '_>) -> Result<()> {
        source.needs(Helper::Order);
        let (x, n) = (at.columns(source), at.count());
        let weight = source.reals("weights", &self.weights).at("place[i]");
        let (kind, bytes) = unsigned(n);
        source.locals = source.locals.max(n * (8 + bytes) + 16);
        source.line(1, "{");
        source.line(2, &format!("double sorted[{n}], half = 0.0, sum = 0.0;"));
        source.line(2, &format!("{kind} place[{n}];"));
        source.line(2, &format!("for (i = 0; i < {n}; i++) {{"));
        source.line(3, &format!("double x = {};", x.at("i")));
        source.line(3, "for (k = i; k > 0 && order(sorted[k - 1]) > order(x); k--) {");
        source.line(4, "sorted[k] = sorted[k - 1];");
        source.line(4, "place[k] = place[k - 1];");
        source.line(3, "}");
        source.line(3, "sorted[k] = x;");
        source.line(3, &format!("place[k] = ({kind})i;"));
        source.line(2, "}");
        source.line(2, &format!("for (i = 0; i < {n}; i++) half += {weight};"));
        source.line(2, "half *= 0.5;");
        source.line(2, &format!("for (i = 0; i + 1 < {n}; i++) {{"));
        source.line(3, &format!("sum += {weight};"));
        source.line(3, "if (sum >= half) break;");
        source.line(2, "}");
        source.line(2, &format!("{} = sorted[i];", at.made("0")));
        source.line(1, "}");
        Ok(())
    }
}
