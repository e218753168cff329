//! The queue of a worker. What costs little is answered as it is read; what costs more waits for its turn, so that the
//! worker reads on meanwhile, and hears in time of requests that it would answer too late: they are refused from their head,
//! which costs a small part of answering them.

use std::cell::{Cell, OnceCell};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::score::Ask;

/// What costs less is answered at once: to refuse it would be hardly cheaper.
const CHEAP: Duration = Duration::from_micros(50);
/// As many may wait however long it takes them: they are no crowd.
const FEW: usize = 64;

thread_local! {
    static QUEUE: OnceCell<Arc<Queue>> = const { OnceCell::new() };
    /// The cost of a call, however long.
    static CALL: Cost = const { Cost { sums: AtomicU64::new(0), count: AtomicU32::new(0) } };
    /// When the last turn began, what it cost by estimate in nanoseconds, and how much longer than that turns take, with all
    /// that is read and refused between them.
    static PACE: Cell<(Option<Instant>, u64, f32)> = const { Cell::new((None, 0, 1.0)) };
}

/// Counts a call, of which the next one's head tells neither how long it is nor for which model.
pub(crate) fn called(took: Duration) {
    CALL.with(|call| call.add(1, took.as_nanos() as f32));
}

/// What the calls of this thread have cost lately.
pub(crate) fn of_call() -> Duration {
    Duration::from_nanos(CALL.with(|call| call.of(1)) as u64)
}

/// A turn begins; `at_once` where nobody waited for it.
fn begins(cost: u64, at_once: bool) {
    let ((last, before, mut pace), now) = (PACE.get(), Instant::now());
    if let Some(last) = last.filter(|_| !at_once && before > 0) {
        let took = now.duration_since(last).as_nanos() as f32 / before as f32;
        pace += (took.min(STRANGE * pace) - pace) / 16.0;
    }
    PACE.set((Some(now), cost, if at_once { 1.0 } else { pace.max(1.0) }));
}

/// Those who wait for this thread.
struct Queue {
    /// One at a time, in the order in which they came.
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
    /// Nanoseconds that they will take together.
    ahead: AtomicU64,
}

fn queue() -> Arc<Queue> {
    let new = || {
        let (waiting, ahead) = (AtomicUsize::new(0), AtomicU64::new(0));
        Arc::new(Queue { turns: Arc::new(Semaphore::new(1)), waiting, ahead })
    };
    QUEUE.with(|queue| Arc::clone(queue.get_or_init(new)))
}

/// Whether a request of such a cost is answered without waiting.
pub(crate) fn is_cheap(cost: Duration) -> bool {
    cost < CHEAP
}

/// Whether a request of such a cost would wait longer than `most`, behind more than a few others.
pub(crate) fn is_full(cost: Duration, most: Duration) -> bool {
    if is_cheap(cost) {
        return false;
    }
    let queue = queue();
    let ahead = Duration::from_nanos(queue.ahead.load(Ordering::Relaxed));
    queue.waiting.load(Ordering::Relaxed) >= FEW && ahead.mul_f32(PACE.get().2) > most
}

/// What a refused request is told.
pub(crate) fn refusal(most: Duration) -> String {
    format!("the requests before this one take more than {} ms", most.as_millis())
}

/// A place in the queue, until it is given up.
struct Place {
    queue: Arc<Queue>,
    cost: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.queue.waiting.fetch_sub(1, Ordering::Relaxed);
        self.queue.ahead.fetch_sub(self.cost, Ordering::Relaxed);
    }
}

/// The turn of a request, until it is answered.
pub(crate) struct Turn {
    _place: Place,
    _turn: OwnedSemaphorePermit,
}

/// Waits for the turn of a request; none for what needs no turn.
pub(crate) async fn turn(cost: Duration) -> Option<Turn> {
    if is_cheap(cost) {
        return None;
    }
    let queue = queue();
    let cost = u64::try_from(cost.as_nanos()).unwrap_or(u64::MAX >> 16).min(u64::MAX >> 16);
    queue.waiting.fetch_add(1, Ordering::Relaxed);
    queue.ahead.fetch_add(cost, Ordering::Relaxed);
    let turns = Arc::clone(&queue.turns);
    let at_once = turns.available_permits() > 0;
    let place = Place { queue, cost };
    // It isn't closed as long as there are threads that have it.
    let turn = turns.acquire_owned().await.ok()?;
    begins(cost, at_once);
    // Those who have come meanwhile are read first.
    tokio::task::yield_now().await;
    Some(Turn { _place: place, _turn: turn })
}

/// What a byte of a request has cost lately, by what is asked.
#[derive(Default)]
pub(crate) struct Costs([Cost; 6]);

/// Requests after which a cost is known: the first ones find cold memory.
const KNOWN: u32 = 16;
/// How much longer than expected a request may take and still tell what requests cost: what takes longer than that was
/// kept waiting by something else.
const STRANGE: f32 = 4.0;

#[derive(Default)]
struct Cost {
    /// Nanoseconds and bytes, the later ones counting more: two singles in one word.
    sums: AtomicU64,
    /// Requests that were counted, up to [`KNOWN`].
    count: AtomicU32,
}

impl Cost {
    fn get(&self) -> (f32, f32) {
        let both = self.sums.load(Ordering::Relaxed);
        (f32::from_bits((both >> 32) as u32), f32::from_bits(both as u32))
    }

    fn set(&self, nanoseconds: f32, bytes: f32) {
        let both = u64::from(nanoseconds.to_bits()) << 32 | u64::from(bytes.to_bits());
        self.sums.store(both, Ordering::Relaxed);
    }

    /// Nanoseconds of so many bytes.
    fn of(&self, bytes: usize) -> f32 {
        let (nanoseconds, all) = self.get();
        if self.count.load(Ordering::Relaxed) < KNOWN { 0.0 } else { nanoseconds / all * bytes as f32 }
    }

    /// Counts a request. That two threads may count at once loses one of them, which changes little.
    fn add(&self, bytes: usize, took: f32) {
        const KEPT: f32 = 1.0 - 1.0 / 16.0;
        let ((nanoseconds, all), count) = (self.get(), self.count.load(Ordering::Relaxed));
        let bytes = bytes.max(1) as f32;
        let expected = nanoseconds / all * bytes;
        if count < KNOWN {
            self.count.store(count + 1, Ordering::Relaxed);
            // The quickest of the first ones.
            if count == 0 || took < expected {
                self.set(took, bytes);
            }
            return;
        }
        self.set(nanoseconds * KEPT + took.min(STRANGE * expected), all * KEPT + bytes);
    }
}

impl Costs {
    fn place(&self, ask: Ask) -> &Cost {
        &self.0[match ask {
            Ask::Predict => 0,
            Ask::Explain => 1,
            Ask::Infer(None) => 2,
            Ask::Infer(Some(_)) => 3,
            Ask::Message => 4,
            Ask::Table(_) => 5,
        }]
    }

    /// What a request of so many bytes will take; nothing as long as that isn't known.
    pub(crate) fn of(&self, ask: Ask, bytes: usize) -> Duration {
        Duration::from_nanos(self.place(ask).of(bytes) as u64)
    }

    /// Counts a request.
    pub(crate) fn add(&self, ask: Ask, bytes: usize, took: Duration) {
        self.place(ask).add(bytes, took.as_nanos() as f32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cost_is_that_of_the_bytes_that_came_lately() {
        let costs = Costs::default();
        let micros = Duration::from_micros;
        // The first requests find everything cold.
        for took in (0..KNOWN).rev() {
            assert_eq!(costs.of(Ask::Predict, 1000), Duration::ZERO);
            costs.add(Ask::Predict, 10_000, micros(40 + 1000 * u64::from(took)));
        }
        for _ in 0..100 {
            costs.add(Ask::Predict, 100, micros(1));
            costs.add(Ask::Predict, 10_000, micros(40));
        }
        let cost = costs.of(Ask::Predict, 10_000).as_nanos();
        assert!((40_000..41_500).contains(&cost), "{cost}");
        assert_eq!(costs.of(Ask::Explain, 1000), Duration::ZERO);
        // One that the machine kept waiting says little about the others.
        costs.add(Ask::Predict, 100, Duration::from_secs(1));
        let cost = costs.of(Ask::Predict, 10_000).as_nanos();
        assert!(cost < 42_000, "{cost}");
        for _ in 0..200 {
            costs.add(Ask::Predict, 10_000, micros(1000));
        }
        let cost = costs.of(Ask::Predict, 10_000).as_nanos();
        assert!((990_000..=1_010_000).contains(&cost), "{cost}");
    }

    #[test]
    fn turns_come_in_order_and_more_than_a_few_fill_the_queue() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (cost, most) = (Duration::from_millis(1), Duration::from_micros(70_500));
        runtime.block_on(async {
            assert!(turn(Duration::from_micros(10)).await.is_none());
            let first = turn(cost).await;
            let order = Arc::new(std::sync::Mutex::new(Vec::new()));
            let waiting: Vec<_> = (0..80)
                .map(|at| {
                    let order = Arc::clone(&order);
                    tokio::spawn(async move {
                        let full = is_full(cost, most);
                        let _turn = turn(cost).await;
                        order.lock().unwrap().push(at);
                        full
                    })
                })
                .collect();
            // Not all tasks run between two looks at the outside.
            for _ in 0..9 {
                tokio::task::yield_now().await;
            }
            assert!(is_full(cost, most) && !is_full(Duration::from_micros(10), most));
            assert!(!is_full(cost, Duration::from_secs(1)));
            // One that goes away leaves its place to the others.
            waiting[3].abort();
            drop(first);
            let mut full = Vec::new();
            for task in waiting {
                full.extend(task.await.ok());
            }
            assert_eq!(full.iter().filter(|f| **f).count(), 10);
            let wanted: Vec<i32> = (0..80).filter(|at| *at != 3).collect();
            assert_eq!(*order.lock().unwrap(), wanted);
            assert!(!is_full(cost, Duration::ZERO));
        });
    }
}
