//! Weighted sums, in the 16 lanes of the executor.

use crate::ops::Linear;
use corten_core::Result;

use super::{Emit, Wires};
use crate::export::source::Source;
use crate::export::support::Helper;

impl Emit for Linear {
    fn emit(&self, source: &mut Source, at: &Wires<'_, '_>) -> Result<()> {
        source.needs(Helper::Fold);
        let (x, n) = (at.columns(source), at.count());
        let weights = source.reals("weights", &self.weights);
        let intercept = source.reals("intercept", &self.intercept);
        source.locals = source.locals.max(16 * 8);
        source.line(1, &format!("for (k = 0; k < {}; k++) {{", self.outputs));
        // A loop, since compilers turn `= {0.0}` into a call of memset, which a bare target may not have.
        source.line(2, "double lanes[16];");
        source.line(2, "for (i = 0; i < 16; i++) lanes[i] = 0.0;");
        if n > 0 {
            let weight = weights.at(if self.outputs == 1 { "i".into() } else { format!("k * {n} + i") }.as_str());
            source.line(2, &format!("for (i = 0; i < {n}; i++) lanes[i % 16] += {} * ({weight});", x.at("i")));
        }
        source.line(2, &format!("{} = fold(lanes) + {};", at.made("k"), intercept.at("k")));
        source.line(1, "}");
        Ok(())
    }
}
