//! A few threads that wait for work by spinning a moment and then sleeping: steps of microseconds can share them.
//!
//! A pool of tasks wakes its threads through the operating system each time, which costs more than a small step of a tree
//! saves. Members of a team live as long as one fit. Work is claimed item by item, so a member that the system keeps from
//! running holds nobody up.

use std::any::Any;
use std::boxed::Box;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a thread without work looks for it before it sleeps.
const SPIN: Duration = Duration::from_micros(30);

/// Work on numbered items, by address.
struct Job {
    call: unsafe fn(*const (), usize),
    data: *const (),
}

#[derive(Default)]
struct Shared {
    /// Number of the job in the high half, the next free item in the low half.
    claim: AtomicU64,
    /// Items of the job.
    items: AtomicU32,
    finished: AtomicUsize,
    job: AtomicPtr<Job>,
    stop: AtomicBool,
    asleep: AtomicUsize,
    /// Whether a job is under way.
    busy: AtomicBool,
    door: Mutex<()>,
    bell: Condvar,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Shared {
    /// Takes the next item of the current job.
    fn claim(&self) -> Option<usize> {
        let mut seen = self.claim.load(Ordering::Acquire);
        loop {
            let item = seen as u32;
            // Of this job or, if that is over, of a later one; then the exchange below fails.
            if item >= self.items.load(Ordering::Acquire) {
                return None;
            }
            match self.claim.compare_exchange_weak(seen, seen + 1, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(item as usize),
                Err(now) => seen = now,
            }
        }
    }

    /// Does items until none is left.
    fn work(&self) -> bool {
        let mut any = false;
        while let Some(item) = self.claim() {
            any = true;
            let job = self.job.load(Ordering::Acquire);
            #[expect(unsafe_code, reason = "the job lies on the stack of the thread that gave it out")]
            // SAFETY: `each` returns, and its job ends, only after all claimed items are finished; this one is claimed
            // and not finished, so the job behind the pointer is the one the item was claimed from.
            let outcome = catch_unwind(AssertUnwindSafe(|| unsafe { ((*job).call)((*job).data, item) }));
            if let Err(payload) = outcome {
                self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(payload);
            }
            self.finished.fetch_add(1, Ordering::AcqRel);
        }
        any
    }

    fn is_open(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
            || (self.claim.load(Ordering::SeqCst) as u32) < self.items.load(Ordering::SeqCst)
    }

    fn member(&self) {
        let mut idle = Instant::now();
        while !self.stop.load(Ordering::Acquire) {
            if self.work() {
                idle = Instant::now();
                continue;
            }
            for _ in 0..16 {
                std::hint::spin_loop();
            }
            if idle.elapsed() > SPIN {
                let mut guard = self.door.lock().unwrap_or_else(PoisonError::into_inner);
                self.asleep.fetch_add(1, Ordering::SeqCst);
                while !self.is_open() {
                    guard = self.bell.wait(guard).unwrap_or_else(PoisonError::into_inner);
                }
                self.asleep.fetch_sub(1, Ordering::SeqCst);
                drop(guard);
                idle = Instant::now();
            }
        }
    }

    fn ring(&self) {
        if self.asleep.load(Ordering::SeqCst) > 0 {
            drop(self.door.lock().unwrap_or_else(PoisonError::into_inner));
            self.bell.notify_all();
        }
    }
}

/// Threads that share the steps of one fit.
#[derive(Clone, Copy)]
pub struct Team<'a> {
    shared: Option<&'a Shared>,
    threads: usize,
}

impl Team<'_> {
    /// The calling thread alone.
    pub const fn alone() -> Team<'static> {
        Team { shared: None, threads: 1 }
    }

    /// Runs `work` with a team of this many threads, the calling one among them; fewer where no more can be had.
    pub fn scope<R>(threads: usize, work: impl FnOnce(Team<'_>) -> R) -> R {
        if threads <= 1 {
            return work(Team::alone());
        }
        /// Lets members go, also when the work panics.
        struct Stop<'a>(&'a Shared);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.stop.store(true, Ordering::SeqCst);
                drop(self.0.door.lock().unwrap_or_else(PoisonError::into_inner));
                self.0.bell.notify_all();
            }
        }
        let shared = Shared::default();
        std::thread::scope(|scope| {
            let stop = Stop(&shared);
            let mut members = 1;
            for _ in 1..threads {
                let spawned =
                    std::thread::Builder::new().name("corten-team".into()).spawn_scoped(scope, || shared.member());
                members += usize::from(spawned.is_ok());
            }
            let result = work(Team { shared: Some(&shared), threads: members });
            drop(stop);
            result
        })
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Calls `f` once with each item, in any order and on any thread of the team.
    ///
    /// Called from within `f`, the calling thread does all of it.
    pub fn each<T: Send>(&self, items: &mut [T], f: impl Fn(usize, &mut T) + Sync) {
        let many = items.len() > 1 && items.len() < u32::MAX as usize;
        let free = |shared: &&Shared| many && !shared.busy.swap(true, Ordering::AcqRel);
        let Some(shared) = self.shared.filter(free) else {
            for (i, item) in items.iter_mut().enumerate() {
                f(i, item);
            }
            return;
        };
        struct Data<T, F> {
            items: *mut T,
            f: F,
        }
        #[expect(unsafe_code, reason = "threads share the items by number")]
        unsafe fn call<T, F: Fn(usize, &mut T)>(data: *const (), i: usize) {
            // SAFETY: `data` is the `Data` below, alive until all items are finished; `i` is below the number of items
            // and claimed once, so nobody else has this item.
            unsafe {
                let data = &*data.cast::<Data<T, F>>();
                (data.f)(i, &mut *data.items.add(i));
            }
        }
        fn caller<T, F: Fn(usize, &mut T)>(_: &F, _: &[T]) -> unsafe fn(*const (), usize) {
            call::<T, F>
        }
        let call = caller(&f, items);
        let count = items.len();
        let data = Data { items: items.as_mut_ptr(), f };
        let mut job = Job { call, data: (&raw const data).cast() };
        shared.finished.store(0, Ordering::Relaxed);
        shared.job.store(&raw mut job, Ordering::Release);
        let next = ((shared.claim.load(Ordering::Relaxed) >> 32) + 1) << 32;
        // No item is free between these two: the old job's are used up, and those of the new one start at `next`.
        shared.claim.store(next | u64::from(u32::MAX), Ordering::SeqCst);
        shared.items.store(count as u32, Ordering::SeqCst);
        shared.claim.store(next, Ordering::SeqCst);
        shared.ring();
        shared.work();
        let (mut start, mut spins) = (None, 0u32);
        while shared.finished.load(Ordering::Acquire) < count {
            std::hint::spin_loop();
            spins += 1;
            if spins.is_multiple_of(32) && start.get_or_insert_with(Instant::now).elapsed() > SPIN {
                std::thread::yield_now();
            }
        }
        shared.busy.store(false, Ordering::Release);
        if let Some(payload) = shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take() {
            resume_unwind(payload);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn every_item_is_done_once_by_any_number_of_threads() {
        for threads in [1, 2, 5] {
            Team::scope(threads, |team| {
                for round in 0..2000usize {
                    let mut items: Vec<usize> = (0..round % 17).collect();
                    team.each(&mut items, |i, x| *x += i + round);
                    assert!(items.iter().enumerate().all(|(i, &x)| x == 2 * i + round));
                }
            });
        }
    }

    #[test]
    fn members_that_fell_asleep_wake_up() {
        Team::scope(3, |team| {
            for _ in 0..5 {
                std::thread::sleep(Duration::from_millis(2));
                let mut items = [0u8; 8];
                team.each(&mut items, |_, x| {
                    std::thread::sleep(Duration::from_micros(200));
                    *x += 1;
                });
                assert_eq!(items, [1; 8]);
            }
        });
    }

    #[test]
    fn a_panic_reaches_the_caller_and_ends_the_team() {
        let outcome = catch_unwind(|| {
            Team::scope(2, |team| team.each(&mut [1, 2, 3], |_, x| assert!(*x < 3, "three")));
        });
        assert!(outcome.is_err());
    }
}
