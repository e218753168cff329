//! Refusals: a code that says why.

use crate::ops::CheckFinite;
use corten_core::Result;

use super::{Emit, Wires};
use crate::export::source::Source;

impl Emit for CheckFinite {
    fn emit(&self, source: &mut Source, at: &Wires<'_, '_>) -> Result<()> {
        let x = at.columns(source);
        source.line(1, &format!("for (i = 0; i < {}; i++) {{", at.count()));
        source.line(2, &format!("double x = {};", x.at("i")));
        if self.allow_nan {
            source.line(2, "if (x == x && x - x != 0.0) return 2;");
        } else {
            source.line(2, "if (x - x != 0.0) return x != x ? 1 : 2;");
        }
        source.line(1, "}");
        Ok(())
    }
}
