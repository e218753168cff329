//! Blocks of rows over threads, with results that don't show how many threads there were.

mod crew;

use alloc::vec::Vec;
use core::ops::Range;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use rayon::prelude::*;

/// Threads for scikit-learn's `n_jobs`, but `None` means all cores. `-1` is all cores, `-2` all but one ...
pub fn threads(n_jobs: Option<i64>) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    match n_jobs {
        None | Some(0) => cores,
        Some(n) if n > 0 => usize::try_from(n).unwrap_or(cores).min(1024),
        Some(n) => (cores as i64 + 1).saturating_add(n).max(1) as usize,
    }
}

/// Runs `work` where rayon's parallel iterators use this many threads. In a forked child, whose pools' threads are
/// gone, it runs on the calling thread.
pub fn with_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    match pool::of(threads) {
        Some(pool) => pool.install(work),
        None => work(),
    }
}

/// The results of `f(index, rows)` for each block of rows, in the order of the blocks.
pub fn map_blocks<T: Send>(
    threads: usize,
    rows: usize,
    block: usize,
    f: impl Fn(usize, Range<usize>) -> T + Sync + Send,
) -> Vec<T> {
    let block = block.max(1);
    let count = rows.div_ceil(block);
    let range = |i: usize| i * block..((i + 1) * block).min(rows);
    let pool = if threads > 1 && count > 1 { pool::of(threads) } else { None };
    match pool {
        Some(pool) => pool.install(|| (0..count).into_par_iter().map(|i| f(i, range(i))).collect()),
        None => (0..count).map(|i| f(i, range(i))).collect(),
    }
}

/// The results of `f` of 0 to `count`, in this order, by the calling thread and by as many others as have come by then.
/// None is waited for that hasn't begun, so the calling thread may hold what others of the pool wait for. What `f` itself does in
/// parallel doesn't run in this pool.
pub fn map_together<T: Send>(threads: usize, count: usize, f: impl Fn(usize) -> T + Sync) -> Vec<T> {
    // Called by address: it would be compiled for each of the places that call it.
    let f: &(dyn Fn(usize) -> T + Sync) = &f;
    let pool = if count > 1 { pool::of_helpers(threads.saturating_sub(1)) } else { None };
    match pool {
        Some(pool) => crew::map(&pool, threads - 1, count, f),
        None => (0..count).map(f).collect(),
    }
}

/// Takes items one after the other, works on some at once, and hands the results on in the order of the items: a thread of its
/// own for `items`, `threads` for `work`, and the calling one for `take`. At most three items a thread are on their way.
/// One thread does all of it in turns.
///
/// # Errors
/// The first that `take` gives; no item is asked for after it.
pub fn in_order<T: Send, R: Send, E>(
    threads: usize,
    items: impl Iterator<Item = T> + Send,
    work: impl Fn(T) -> R + Sync,
    take: impl FnMut(R) -> Result<(), E>,
) -> Result<(), E> {
    if threads <= 1 {
        return items.map(work).try_for_each(take);
    }
    std::thread::scope(|scope| {
        // An item's result comes through a channel of its own, and these channels come in the order of the items.
        let (results, in_turn) = sync_channel::<Receiver<R>>(2 * threads);
        let (send, queue) = sync_channel::<(T, SyncSender<R>)>(2 * threads);
        scope.spawn(move || {
            for item in items {
                let (result, place) = sync_channel(1);
                // Nobody listens any more after an error.
                if results.send(place).is_err() || send.send((item, result)).is_err() {
                    return;
                }
            }
        });
        // Whoever works last lets go of the queue, so that a reader never waits for workers that panicked.
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..threads {
            let (queue, work) = (Arc::clone(&queue), &work);
            scope.spawn(move || {
                loop {
                    let next = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((item, result)) = next else { return };
                    // The receiver is gone after an error.
                    let _ = result.send(work(item));
                }
            });
        }
        drop(queue);
        // A result that never comes is of a worker that panicked: the scope panics too once all have ended.
        in_turn.into_iter().map_while(|place| place.recv().ok()).try_for_each(take)
    })
}

/// Joins the results of blocks in a tree whose shape depends on their number only: neighbours first.
pub fn reduce_blocks<T>(mut parts: Vec<T>, join: impl Fn(&mut T, T)) -> Option<T> {
    while parts.len() > 1 {
        let mut next = Vec::with_capacity(parts.len().div_ceil(2));
        let mut rest = parts.into_iter();
        while let Some(mut left) = rest.next() {
            if let Some(right) = rest.next() {
                join(&mut left, right);
            }
            next.push(left);
        }
        parts = next;
    }
    parts.pop()
}

mod pool {
    use std::collections::BTreeMap;
    use std::sync::{Arc, Mutex, OnceLock, PoisonError};

    use rayon::{ThreadPool, ThreadPoolBuilder};

    /// The process that made the pools, and a pool a number of threads, those of helpers apart.
    struct Pools {
        process: u32,
        pools: Mutex<BTreeMap<(bool, usize), Arc<ThreadPool>>>,
    }

    static POOLS: OnceLock<Pools> = OnceLock::new();

    /// A pool of some threads; `None` for one thread, in a forked child, and where threads can't be had.
    pub(super) fn of(threads: usize) -> Option<Arc<ThreadPool>> {
        if threads <= 1 { None } else { known(false, threads) }
    }

    /// As many helpers of a thread that works itself: with one more, each time another one would come, whose memory is in no
    /// cache. `None` for none, and as above.
    pub(super) fn of_helpers(threads: usize) -> Option<Arc<ThreadPool>> {
        if threads == 0 { None } else { known(true, threads) }
    }

    fn known(helpers: bool, threads: usize) -> Option<Arc<ThreadPool>> {
        let process = std::process::id();
        let pools = POOLS.get_or_init(|| Pools { process, pools: Mutex::default() });
        if pools.process != process {
            return None;
        }
        let mut made = pools.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pool) = made.get(&(helpers, threads)) {
            return Some(pool.clone());
        }
        let pool = ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(move |i| std::format!("corten-{}{i}", if helpers { "helper-" } else { "" }))
            .build()
            .ok()
            .map(Arc::new)?;
        made.insert((helpers, threads), pool.clone());
        Some(pool)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_come_in_order_and_cover_all_rows() {
        for threads in [1, 3] {
            let parts = map_blocks(threads, 10, 4, |i, rows| (i, rows));
            assert_eq!(parts, [(0, 0..4), (1, 4..8), (2, 8..10)]);
        }
    }

    #[test]
    fn a_sum_is_the_same_for_any_number_of_threads() {
        let values: Vec<f64> = (0..10_000).map(|i| 1.0 / f64::from(i + 1)).collect();
        let sum = |threads| {
            let parts = map_blocks(threads, values.len(), 97, |_, rows| crate::vector::sum(&values[rows]));
            reduce_blocks(parts, |a, b| *a += b).unwrap()
        };
        assert_eq!(sum(1).to_bits(), sum(4).to_bits());
    }

    #[test]
    fn results_come_in_the_order_of_their_items_whichever_was_ready_first() {
        for threads in [1, 2, 5] {
            let mut seen = Vec::new();
            let slow = |i: u64| {
                std::thread::sleep(std::time::Duration::from_micros(i * 7919 % 300));
                i
            };
            let done: Result<(), ()> = in_order(threads, 0..200, slow, |i| {
                seen.push(i);
                Ok(())
            });
            assert!(done.is_ok() && seen == (0..200).collect::<Vec<_>>());
        }
    }

    #[test]
    fn few_items_are_on_their_way_and_none_is_asked_for_after_an_error() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let asked = AtomicUsize::new(0);
        let items = (0..1_000_000).inspect(|_| {
            asked.fetch_add(1, Ordering::Relaxed);
        });
        let mut taken = 0;
        let done = in_order(
            3,
            items,
            |i| i,
            |i| {
                taken = i;
                assert!(asked.load(Ordering::Relaxed) <= i + 9, "more than three items a thread are on their way");
                if i == 100 { Err("full") } else { Ok(()) }
            },
        );
        assert!(done == Err("full") && taken == 100 && asked.into_inner() <= 109);
    }

    #[test]
    fn a_panic_of_a_worker_reaches_the_caller() {
        let work = |i: usize| assert!(i != 50);
        let run = || in_order(2, 0..1_000_000, work, |()| Ok::<(), ()>(()));
        assert!(std::panic::catch_unwind(run).is_err());
    }

    #[test]
    fn what_is_done_together_comes_in_order_whoever_came() {
        for threads in [1, 2, 5] {
            for count in [0, 1, 2, 40] {
                for _ in 0..200 {
                    assert_eq!(map_together(threads, count, |i| i * i), (0..count).map(|i| i * i).collect::<Vec<_>>());
                }
            }
        }
    }

    #[test]
    fn others_take_part_and_may_share_work_of_their_own() {
        use std::sync::atomic::{AtomicBool, Ordering};
        let (caller, other) = (std::thread::current().id(), AtomicBool::new(false));
        let work = |_| {
            if std::thread::current().id() != caller {
                other.store(true, Ordering::Relaxed);
            } else if !other.load(Ordering::Relaxed) {
                std::thread::sleep(std::time::Duration::from_millis(5));
            }
            map_together(3, 4, |i| i + 1)
        };
        assert!(map_together(3, 2000, work).iter().all(|own| *own == [1, 2, 3, 4]));
        assert!(other.into_inner());
    }

    #[test]
    fn a_panic_of_whoever_takes_part_reaches_the_caller() {
        let caller = std::thread::current().id();
        for of_caller in [true, false] {
            let work = |_| {
                std::thread::sleep(std::time::Duration::from_millis(1));
                assert_ne!(std::thread::current().id() == caller, of_caller);
            };
            assert!(std::panic::catch_unwind(|| map_together(2, 10_000, work)).is_err());
        }
    }

    #[test]
    fn n_jobs_counts_as_in_scikit_learn() {
        let cores = threads(None);
        assert_eq!((threads(Some(3)), threads(Some(-1))), (3, cores));
        assert_eq!(threads(Some(-1000)), 1);
    }
}
