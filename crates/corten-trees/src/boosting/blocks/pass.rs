//! One pass over the blocks: rows of nodes are parted, and sides of them summed up.

use std::sync::{Mutex, PoisonError};

use corten_core::Result;
use corten_kernels::boost::histogram::{Sums, Tile};
use corten_kernels::boost::partition::Stretch;
use corten_kernels::boost::{BLOCK, WIDTH};

use super::grow::{BlockGrower, Desk, Spans};
use super::store::{ROWS, Room};
use crate::boosting::histogram::{self, TileSums, Words};

/// Which rows of a task are summed up.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Summed {
    None,
    All,
    Left,
    Right,
}

/// What a pass does with the rows of a node.
pub(super) struct Task<'t> {
    pub(super) spans: &'t Spans,
    /// Where the bytes lie that rows are parted by, and which of them go left.
    pub(super) parting: Option<(usize, usize, [bool; WIDTH])>,
    pub(super) summed: Summed,
}

/// What a thread works with.
pub(super) struct Thread {
    pub(super) room: Room,
    list: Vec<u32>,
    right: Vec<u16>,
    sums: Vec<TaskSums>,
}

/// The sums of a task: up to 65,536 rows in packed words, others in words of their own.
#[derive(Default)]
pub(super) struct TaskSums {
    packed: Vec<Sums>,
    held: usize,
    wide: Vec<TileSums>,
}

/// What a pass found of a task.
#[derive(Default)]
pub(super) struct Found {
    /// Rows that go left, by block.
    pub(super) left: Vec<u32>,
    /// Sums in words of their own, tile by tile.
    pub(super) sums: Vec<TileSums>,
}

impl BlockGrower<'_> {
    /// Does something with each block's order of rows, on all threads.
    pub(super) fn each_block(
        &self,
        desk: &mut Desk,
        work: impl Fn(usize, &mut [u16], &mut Thread) -> Result<()> + Sync,
    ) -> Result<()> {
        let pool = Mutex::new(std::mem::take(&mut desk.threads));
        let mut items: Vec<(&mut [u16], Result<()>)> = desk.order.chunks_mut(ROWS).map(|o| (o, Ok(()))).collect();
        self.team.each(&mut items, |block, (order, outcome)| {
            let found = pool.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut thread = found.unwrap_or_else(Thread::new);
            *outcome = self.cancel.check().and_then(|()| work(block, order, &mut thread));
            pool.lock().unwrap_or_else(PoisonError::into_inner).push(thread);
        });
        desk.threads = pool.into_inner().unwrap_or_else(PoisonError::into_inner);
        items.into_iter().try_for_each(|i| i.1)
    }

    /// One pass over all blocks.
    pub(super) fn pass(&self, tasks: &[Task<'_>], desk: &mut Desk) -> Result<Vec<Found>> {
        let lefts: Vec<Mutex<Vec<u32>>> = (0..self.blocks.count()).map(|_| Mutex::default()).collect();
        let outcome = self.each_block(desk, |block, order, thread| {
            let Thread { room, list, right, sums } = thread;
            if sums.len() < tasks.len() {
                sums.resize_with(tasks.len(), TaskSums::default);
            }
            let mut left = vec![0; tasks.len()];
            if tasks.iter().any(|t| t.spans[block][1] > 0) {
                self.blocks.with(block, room, |tiles| {
                    for ((task, left), sums) in tasks.iter().zip(&mut left).zip(sums) {
                        let [start, len] = task.spans[block];
                        let rows = &mut order[start as usize..][..len as usize];
                        if let Some((tile, column, table)) = &task.parting {
                            *left = part(rows, right, &tiles[*tile], *column, table) as u32;
                        }
                        let (first, second) = rows.split_at(*left as usize);
                        let rows = match task.summed {
                            Summed::None => continue,
                            Summed::Left => first,
                            Summed::All | Summed::Right => second,
                        };
                        list.clear();
                        list.extend(rows.iter().map(|&r| u32::from(r)));
                        self.sum(tiles, block, list, sums);
                    }
                })?;
            }
            *lefts[block].lock().unwrap_or_else(PoisonError::into_inner) = left;
            Ok(())
        });
        let mut found: Vec<Found> = tasks.iter().map(|_| Found::default()).collect();
        let zeros = |t: &Task<'_>| {
            let sums = self.blocks.layout.sizes.iter().map(|s| vec![0; 2 * s]).collect();
            if t.summed == Summed::None { Vec::new() } else { sums }
        };
        found.iter_mut().zip(tasks).for_each(|(f, t)| f.sums = zeros(t));
        // Also after an error: sums are zero between passes.
        for thread in &mut desk.threads {
            for (own, all) in thread.sums.iter_mut().zip(&mut found) {
                self.drain(own);
                for (own, all) in own.wide.iter_mut().zip(&mut all.sums) {
                    all.iter_mut().zip(&*own).for_each(|(a, o)| *a += o);
                }
                own.wide.clear();
            }
        }
        outcome?;
        for left in lefts {
            let left = left.into_inner().unwrap_or_else(PoisonError::into_inner);
            found.iter_mut().zip(left).for_each(|(f, left)| f.left.push(left));
        }
        Ok(found)
    }

    /// Adds the rows of a node in a block to its sums.
    fn sum(&self, tiles: &[Tile], block: usize, list: &[u32], sums: &mut TaskSums) {
        if list.is_empty() {
            return;
        }
        let range = block * ROWS..block * ROWS + self.blocks.rows_of(block);
        let rows = if list.len() == range.len() { Stretch::all(range.len()) } else { Stretch::some(list, range.len()) };
        match self.words {
            Words::Packed(words) => {
                if sums.held + rows.len() > BLOCK {
                    self.drain(sums);
                }
                sums.packed.resize_with(tiles.len(), Sums::default);
                for (tile, packed) in tiles.iter().zip(&mut sums.packed) {
                    packed.add(tile, &words[range.clone()], rows);
                }
                sums.held += rows.len();
            }
            Words::Wide(pairs) => {
                self.widen(sums);
                for (t, (tile, wide)) in tiles.iter().zip(&mut sums.wide).enumerate() {
                    let own = histogram::wide_sums(tile, &pairs[range.clone()], rows);
                    let (gradients, hessians) = wide.split_at_mut(self.blocks.layout.sizes[t]);
                    for part in &self.blocks.layout.parts[t] {
                        part.add(&own.0, gradients);
                        part.add(&own.1, hessians);
                    }
                }
            }
        }
    }

    fn widen(&self, sums: &mut TaskSums) {
        if sums.wide.is_empty() {
            sums.wide = self.blocks.layout.sizes.iter().map(|s| vec![0; 2 * s]).collect();
        }
    }

    /// Moves packed sums to words of their own.
    fn drain(&self, sums: &mut TaskSums) {
        if sums.held == 0 {
            return;
        }
        sums.held = 0;
        self.widen(sums);
        let layout = &self.blocks.layout;
        for (t, (packed, wide)) in sums.packed.iter_mut().zip(&mut sums.wide).enumerate() {
            let (gradients, hessians) = wide.split_at_mut(layout.sizes[t]);
            packed.drain_wide(&layout.parts[t], gradients, hessians);
        }
    }
}

impl Thread {
    fn new() -> Self {
        Self {
            room: Room::default(),
            list: Vec::with_capacity(ROWS),
            right: Vec::with_capacity(ROWS),
            sums: Vec::new(),
        }
    }
}

/// Parts rows by the bytes of a column, each side in its order; how many go left.
fn part(rows: &mut [u16], right: &mut Vec<u16>, tile: &Tile, column: usize, table: &[bool; WIDTH]) -> usize {
    let (bins, n) = (tile.bins(), tile.columns());
    right.resize(rows.len(), 0);
    let (mut l, mut r) = (0, 0);
    for at in 0..rows.len() {
        let row = rows[at];
        let goes_left = table[usize::from(bins[usize::from(row) * n + column])];
        // Both places are written; the right one counts.
        rows[l] = row;
        right[r] = row;
        l += usize::from(goes_left);
        r += usize::from(!goes_left);
    }
    rows[l..].copy_from_slice(&right[..r]);
    l
}
