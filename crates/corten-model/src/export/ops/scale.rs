//! Scalers.

use crate::ops::Scale;
use corten_core::Result;

use super::{Emit, Wires};
use crate::export::source::Source;

impl Emit for Scale {
    fn emit(&self, source: &mut Source, at: &Wires<'_, '_>) -> Result<()> {
        let x = at.columns(source);
        source.line(1, &format!("for (i = 0; i < {}; i++) {{", at.count()));
        source.line(2, &format!("double x = {};", x.at("i")));
        let parts =
            [(&self.subtract, "-=", "shift"), (&self.divide, "/=", "divide"), (&self.multiply, "*=", "multiply")];
        for (values, operator, hint) in parts.into_iter().chain([(&self.add, "+=", "add")]) {
            if let Some(values) = values {
                let table = source.reals(hint, values);
                source.line(2, &format!("x {operator} {};", table.at("i")));
            }
        }
        if let Some((low, high)) = self.clip {
            let (low, high) = (source.literal(low), source.literal(high));
            source.line(2, &format!("if (x < {low}) x = {low};"));
            source.line(2, &format!("else if (x > {high}) x = {high};"));
        }
        source.line(2, &format!("{} = x;", at.made("i")));
        source.line(1, "}");
        Ok(())
    }
}
