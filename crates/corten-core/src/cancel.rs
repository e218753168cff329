//! Cooperative cancellation of long work.

use alloc::sync::Arc;
use core::fmt;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::{Error, Result};

/// What a token asks at its checks.
type Look = dyn Fn() -> bool + Send + Sync;

/// A flag that one side raises and the working side looks at between units of work (a tree, an iteration, a block).
#[derive(Clone, Default)]
pub struct CancelToken {
    raised: Arc<AtomicBool>,
    look: Option<Arc<Look>>,
}

impl CancelToken {
    /// A token that is not raised.
    pub fn new() -> Self {
        Self::default()
    }

    /// A token whose checks also ask `look`, in whichever thread they are made, and that is raised once `look` says so.
    pub fn asking(look: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { raised: Arc::default(), look: Some(Arc::new(look)) }
    }

    /// Asks the work to stop at its next check.
    pub fn cancel(&self) {
        self.raised.store(true, Ordering::Relaxed);
    }

    /// Whether the work was asked to stop.
    pub fn is_cancelled(&self) -> bool {
        if !self.raised.load(Ordering::Relaxed) && self.look.as_ref().is_some_and(|look| look()) {
            self.cancel();
        }
        self.raised.load(Ordering::Relaxed)
    }

    /// # Errors
    /// [`Error::Cancelled`] once the token is raised.
    pub fn check(&self) -> Result<()> {
        if self.is_cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    }
}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CancelToken").field(&self.raised).finish()
    }
}

#[cfg(test)]
mod tests {
    use core::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn a_token_stays_raised_once_it_was_told_so() {
        let asked = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&asked);
        let token = CancelToken::asking(move || count.fetch_add(1, Ordering::Relaxed) == 1);
        let other = token.clone();
        assert!(token.check().is_ok());
        assert!(other.check().is_err());
        assert!(token.is_cancelled() && other.is_cancelled());
        assert_eq!(asked.load(Ordering::Relaxed), 2, "nobody is asked after that");
    }
}
