//! Work on items side by side, where threads are built in.

use alloc::vec::Vec;

use corten_core::Result;

/// As many threads as there are cores.
pub(crate) fn all() -> usize {
    #[cfg(feature = "parallel")]
    return corten_kernels::parallel::threads(None);
    #[cfg(not(feature = "parallel"))]
    1
}

/// The results of `f` of each item, in this order, on the calling thread and up to `threads - 1` others. It may be one of a
/// pool whose others wait for what it makes: it waits for none of them that hasn't begun.
///
/// # Errors
/// The first that `f` gives, in the order of the items.
pub(crate) fn each<T: Send, R: Send>(
    threads: usize,
    items: Vec<T>,
    f: impl Fn(T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    #[cfg(feature = "parallel")]
    if threads > 1 && items.len() > 1 {
        use std::sync::{Mutex, PoisonError};
        let items: Vec<Mutex<Option<T>>> = items.into_iter().map(|item| Mutex::new(Some(item))).collect();
        // Each is taken once.
        let take = |at: usize| items[at].lock().unwrap_or_else(PoisonError::into_inner).take();
        let done = corten_kernels::parallel::map_together(threads, items.len(), |at| take(at).map(&f));
        return done.into_iter().flatten().collect();
    }
    let _ = threads;
    items.into_iter().map(f).collect()
}
