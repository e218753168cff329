//! Numbers cut to whole ones.

use crate::ops::Whole;
use corten_core::Result;

use super::{Emit, Wires};
use crate::export::source::Source;

impl Emit for Whole {
    fn emit(&self, source: &mut Source, at: &Wires<'_, '_>) -> Result<()> {
        let x = at.columns(source);
        source.line(1, &format!("for (i = 0; i < {}; i++) {{", at.count()));
        source.line(2, &format!("double x = {};", x.at("i")));
        // From 2^52 on all numbers are whole, and the cast would not hold them.
        source.line(2, "if (x > -4503599627370496.0 && x < 4503599627370496.0) x = (double)(int64_t)x;");
        source.line(2, &format!("{} = x;", at.made("i")));
        source.line(1, "}");
        Ok(())
    }
}
