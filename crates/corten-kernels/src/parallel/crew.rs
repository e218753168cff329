//! Work that the calling thread does with others, as far as they come: it waits for none that hasn't begun.
//!
//! A pool that takes all of the work lets the calling thread sleep and must wake one more, which a batch of a fraction of a
//! millisecond notices, and most of all where something else keeps the cores busy.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{Thread, current, park};
use std::time::{Duration, Instant};

use rayon::ThreadPool;

/// How long the calling thread looks whether the others have ended before it sleeps.
const SPIN: Duration = Duration::from_micros(20);

/// Nobody may begin any more.
const CLOSED: usize = 1 << (usize::BITS - 1);

/// Work in the frame of the thread that gives it out, and how many others are at it.
struct Door {
    work: unsafe fn(*const ()),
    data: *const (),
    /// Those who are at it, and [`CLOSED`].
    inside: AtomicUsize,
    owner: Thread,
}

#[expect(unsafe_code, reason = "others reach the work only while its owner waits for them")]
// SAFETY: `data` is read only between `enter` and `leave`, and what it points to is `Sync`, as `of` asks.
unsafe impl Send for Door {}
#[expect(unsafe_code, reason = "as above")]
// SAFETY: as above.
unsafe impl Sync for Door {}

impl Door {
    fn of<F: Fn() + Sync>(work: &F) -> Self {
        #[expect(unsafe_code, reason = "the type of the work is forgotten")]
        unsafe fn call<F: Fn()>(data: *const ()) {
            // SAFETY: `data` is the `F` that the door was made of, which lives for as long as anybody is inside.
            unsafe { (*data.cast::<F>())() }
        }
        let data = core::ptr::from_ref(work).cast();
        Self { work: call::<F>, data, inside: AtomicUsize::new(0), owner: current() }
    }

    /// Does the work, where it isn't over.
    fn help(&self) {
        let enter = |inside| (inside & CLOSED == 0).then_some(inside + 1);
        if self.inside.fetch_update(Ordering::Acquire, Ordering::Relaxed, enter).is_err() {
            return;
        }
        /// Also when the work panics.
        struct Leave<'d>(&'d Door);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                if self.0.inside.fetch_sub(1, Ordering::AcqRel) == CLOSED + 1 {
                    self.0.owner.unpark();
                }
            }
        }
        let _leave = Leave(self);
        #[expect(unsafe_code, reason = "the work lies in the frame of another thread")]
        // SAFETY: its owner leaves that frame only once nobody is inside.
        unsafe {
            (self.work)(self.data);
        }
    }
}

/// Closes a door and waits until nobody is inside, also when the owner's own part panics.
struct Close<'d>(&'d Door);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        let inside = &self.0.inside;
        inside.fetch_or(CLOSED, Ordering::AcqRel);
        let begun = Instant::now();
        while inside.load(Ordering::Acquire) != CLOSED {
            if begun.elapsed() < SPIN {
                core::hint::spin_loop();
            } else {
                park();
            }
        }
    }
}

/// The results of `f` of 0 to `count`, in this order, by the calling thread and up to `others` of a pool.
pub(super) fn map<T: Send>(pool: &ThreadPool, others: usize, count: usize, f: &(dyn Fn(usize) -> T + Sync)) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let results: Mutex<Vec<(usize, T)>> = Mutex::new(Vec::with_capacity(count));
    let panic: Mutex<Option<Box<dyn Any + Send>>> = Mutex::new(None);
    let work = || {
        let mut own = Vec::new();
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            loop {
                let item = next.fetch_add(1, Ordering::Relaxed);
                if item >= count {
                    break;
                }
                own.push((item, f(item)));
            }
        }));
        if let Err(payload) = outcome {
            // What is left would be thrown away.
            next.store(count, Ordering::Relaxed);
            panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(payload);
        }
        results.lock().unwrap_or_else(PoisonError::into_inner).extend(own);
    };
    let door = Arc::new(Door::of(&work));
    {
        let _close = Close(&door);
        for _ in 0..others.min(count.saturating_sub(1)) {
            let door = Arc::clone(&door);
            pool.spawn(move || door.help());
        }
        work();
    }
    if let Some(payload) = panic.into_inner().unwrap_or_else(PoisonError::into_inner) {
        resume_unwind(payload);
    }
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_unstable_by_key(|&(item, _)| item);
    results.into_iter().map(|(_, result)| result).collect()
}
