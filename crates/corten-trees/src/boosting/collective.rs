//! What several machines that grow one tree would exchange: integers only.

use corten_core::Result;

/// Sums and maxima over all ranks of a training.
pub(crate) trait Collective: Sync {
    /// Replaces each number by its sum over all ranks.
    fn sum(&self, buffer: &mut [[i64; 2]]) -> Result<()>;
}

/// One machine: everything is already there.
pub(crate) struct Solo;

impl Collective for Solo {
    fn sum(&self, _: &mut [[i64; 2]]) -> Result<()> {
        Ok(())
    }
}
