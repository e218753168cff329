//! Imputers.

use crate::ops::{Impute, ImputeText, IsMissing};
use corten_core::Result;

use super::{Emit, Wires};
use crate::export::source::{Source, text};
use crate::export::support::Helper;

/// Whether `x` is missing.
fn is_missing(source: &mut Source, marker: f64) -> String {
    if marker.is_nan() { "x != x".into() } else { format!("x == {}", source.literal(marker)) }
}

impl Emit for Impute {
    fn emit(&self, source: &mut Source, at: &Wires<'_, '_>) -> Result<()> {
        let (x, missing) = (at.columns(source), is_missing(source, self.missing));
        let fill = source.reals("fill", &self.fill);
        source.line(1, &format!("for (i = 0; i < {}; i++) {{", at.count()));
        source.line(2, &format!("double x = {};", x.at("i")));
        source.line(2, &format!("{} = {missing} ? {} : x;", at.made("i"), fill.at("i")));
        source.line(1, "}");
        Ok(())
    }
}

impl Emit for IsMissing {
    fn emit(&self, source: &mut Source, at: &Wires<'_, '_>) -> Result<()> {
        let (x, missing) = (at.columns(source), is_missing(source, self.missing));
        source.line(1, &format!("for (i = 0; i < {}; i++) {{", at.count()));
        source.line(2, &format!("double x = {};", x.at("i")));
        source.line(2, &format!("{} = {missing} ? 1.0 : 0.0;", at.made("i")));
        source.line(1, "}");
        Ok(())
    }
}

impl Emit for ImputeText {
    fn emit(&self, source: &mut Source, at: &Wires<'_, '_>) -> Result<()> {
        let marker = match &self.missing {
            Some(marker) => {
                source.needs(Helper::Compare);
                Some(source.one_text("missing", marker))
            }
            None => None,
        };
        for (i, (&place, fill)) in at.step.inputs.iter().zip(&self.fill).enumerate() {
            let x = text(place);
            let missing = match &marker {
                Some(marker) => format!("!{x} || compare({marker}, {x}) == 0"),
                None => format!("!{x}"),
            };
            let fill = match fill {
                Some(fill) => format!("(const char *){}", source.one_text("fill", fill)),
                None => "0".into(),
            };
            source.line(1, &format!("t[{}] = {missing} ? {fill} : {x};", at.step.first + i));
        }
        Ok(())
    }
}
