//! Sets of classes.

use crate::ops::{PredictionSet, SetScore};
use corten_core::Result;

use super::{Emit, Wires};
use crate::export::source::{Source, unsigned};
use crate::export::support::Helper;

impl Emit for PredictionSet {
    fn emit(&self, source: &mut Source, at: &Wires<'_, '_>) -> Result<()> {
        let (x, n) = (at.columns(source), at.count());
        let threshold = source.literal(self.threshold);
        if self.score == SetScore::Lac {
            source.line(1, &format!("for (i = 0; i < {n}; i++)"));
            source.line(2, &format!("{} = 1.0 - {} <= {threshold} ? 1.0 : 0.0;", at.made("i"), x.at("i")));
            return Ok(());
        }
        source.needs(Helper::Order);
        let (kind, bytes) = unsigned(n);
        source.locals = source.locals.max(n * bytes + 8);
        source.line(1, "{");
        source.line(2, "double sum = 0.0;");
        source.line(2, &format!("{kind} place[{n}];"));
        // The greatest probability first; of equal ones the first class.
        source.line(2, &format!("for (i = 0; i < {n}; i++) {{"));
        let (before, now) = (x.at("place[k - 1]"), x.at("i"));
        source.line(3, &format!("for (k = i; k > 0 && order({before}) < order({now}); k--) place[k] = place[k - 1];"));
        source.line(3, &format!("place[k] = ({kind})i;"));
        source.line(2, "}");
        source.line(2, &format!("for (i = 0; i < {n}; i++) {{"));
        source.line(3, &format!("sum += {};", x.at("place[i]")));
        source.line(3, &format!("{} = i == 0 || sum <= {threshold} ? 1.0 : 0.0;", at.made("place[i]")));
        source.line(2, "}");
        source.line(1, "}");
        Ok(())
    }
}
