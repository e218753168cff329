//! Numbers as ranks among the distinct ones, which are given as well; the rank after all others stands for NaN.

use corten_kernels::sort;

/// Most distinct numbers that are told apart by hashing instead of a sort.
const HASHED: usize = 1 << 12;
/// How often each is there then, on average, as what is found in vain costs time.
const REPEATS: usize = 8;
/// Slots for each of them.
const SLOTS: usize = 4;

/// Ranks of small whole numbers.
pub(super) fn by_table(values: &[f64]) -> (Vec<u32>, Vec<f64>) {
    let top = values.iter().fold(0.0f64, |m, &x| if x > m { x } else { m }) as usize;
    let mut ranks = vec![0u32; top + 1];
    for &x in values {
        if !x.is_nan() {
            ranks[x as usize] = 1;
        }
    }
    let mut distinct = Vec::new();
    for (x, rank) in ranks.iter_mut().enumerate() {
        if *rank == 1 {
            *rank = distinct.len() as u32;
            distinct.push(x as f64);
        }
    }
    let missing = distinct.len() as u32;
    let codes = values.iter().map(|&x| if x.is_nan() { missing } else { ranks[x as usize] }).collect();
    (codes, distinct)
}

/// Ranks of numbers of few distinct ones; `None` where those are many. 0 has one sign.
pub(super) fn by_hash(values: &[f64]) -> Option<(Vec<u32>, Vec<f64>)> {
    let most = HASHED.min(values.len() / REPEATS);
    let mut slots = vec![u16::MAX; (SLOTS * most.max(1)).next_power_of_two()];
    let count = slots.len();
    let (mut found, mut codes) = (Vec::new(), Vec::with_capacity(values.len()));
    for &x in values {
        if x.is_nan() {
            codes.push(u32::MAX);
            continue;
        }
        // Fibonacci hashing: the highest bits depend on all others.
        let hash = x.to_bits().wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut at = (hash >> (u64::BITS - count.ilog2())) as usize;
        while slots[at] != u16::MAX && found[usize::from(slots[at])] != x {
            at = (at + 1) % count;
        }
        if slots[at] == u16::MAX {
            if found.len() == most {
                return None;
            }
            slots[at] = found.len() as u16;
            found.push(x);
        }
        codes.push(u32::from(slots[at]));
    }
    let mut order: Vec<usize> = (0..found.len()).collect();
    order.sort_unstable_by(|&a, &b| found[a].total_cmp(&found[b]));
    let mut ranks = vec![0; found.len()];
    (0..).zip(&order).for_each(|(rank, &at)| ranks[at] = rank);
    // That of missing values comes last.
    codes.iter_mut().for_each(|code| *code = ranks.get(*code as usize).map_or(ranks.len() as u32, |&rank| rank));
    Some((codes, order.iter().map(|&at| found[at]).collect()))
}

/// Ranks of any numbers; 0 has one sign.
pub(super) fn by_sort(values: &[f64]) -> (Vec<u32>, Vec<f64>) {
    let mut distinct: Vec<f64> = Vec::new();
    let mut codes = vec![u32::MAX; values.len()];
    for row in sort::order(values) {
        let x = values[row as usize];
        if distinct.last() != Some(&x) {
            distinct.push(x);
        }
        codes[row as usize] = distinct.len() as u32 - 1;
    }
    let missing = distinct.len() as u32;
    codes.iter_mut().filter(|c| **c == u32::MAX).for_each(|c| *c = missing);
    (codes, distinct)
}
