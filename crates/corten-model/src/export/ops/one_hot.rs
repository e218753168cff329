//! Indicator columns.

use crate::ops::OneHot;
use corten_core::Result;

use super::{Emit, Wires};
use crate::export::source::Source;

impl Emit for OneHot {
    fn emit(&self, source: &mut Source, at: &Wires<'_, '_>) -> Result<()> {
        let x = at.columns(source);
        let widths: Vec<usize> = self.widths.iter().map(|&w| w as usize).collect();
        let widths = source.wholes("widths", &widths);
        source.line(1, &format!("for (i = 0; i < {}; i++) {} = 0.0;", at.step.columns, at.made("i")));
        source.line(1, &format!("for (i = 0, n = {}; i < {}; n += {widths}[i], i++) {{", at.step.first, at.count()));
        source.line(2, &format!("double x = {};", x.at("i")));
        source.line(2, &format!("if (x >= 0.0 && x < (double){widths}[i]) v[n + (uint32_t)x] = 1.0;"));
        source.line(1, "}");
        Ok(())
    }
}
