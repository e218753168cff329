//! What several machines that grow one tree exchange: integers only, so that their sums don't depend on who adds first.

use corten_core::Result;

/// Sums over all ranks of a training.
pub(crate) trait Collective: Sync {
    /// Replaces each number by its sum over all ranks. An exchange that fails leaves them as they are, and
    /// [`Collective::check`] tells it.
    fn sum(&self, numbers: &mut [i64]);

    /// # Errors
    /// Why an exchange failed.
    fn check(&self) -> Result<()> {
        Ok(())
    }
}

/// One machine: everything is already there.
pub(crate) struct Solo;

impl Collective for Solo {
    fn sum(&self, _: &mut [i64]) {}
}
