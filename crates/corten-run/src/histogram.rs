//! Counts of durations: each power of two in 32 steps, so that a quantile is within 3% of the truth.

use std::fmt::{self, Display};
use std::time::Duration;

const STEPS: u64 = 32;
const SHIFT: u32 = STEPS.ilog2();

/// A histogram of nanoseconds.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    count: u64,
    total: u64,
    most: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; place(u64::MAX) + 1], count: 0, total: 0, most: 0 }
    }
}

fn place(nanoseconds: u64) -> usize {
    if nanoseconds < STEPS {
        return nanoseconds as usize;
    }
    let above = nanoseconds.ilog2() - SHIFT;
    ((u64::from(above) << SHIFT) + (nanoseconds >> above)) as usize
}

/// The largest number of a place.
fn end(place: usize) -> u64 {
    let place = place as u64;
    if place < 2 * STEPS {
        return place;
    }
    let above = (place >> SHIFT) - 1;
    let next = u128::from((place & (STEPS - 1)) + STEPS + 1) << above;
    u64::try_from(next - 1).unwrap_or(u64::MAX)
}

impl Histogram {
    /// Counts a duration.
    pub fn add(&mut self, duration: Duration) {
        let nanoseconds = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        self.counts[place(nanoseconds)] += 1;
        self.count += 1;
        self.total = self.total.saturating_add(nanoseconds);
        self.most = self.most.max(nanoseconds);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Nanoseconds below or at which a share of the durations lies; 0 where nothing was counted.
    pub fn quantile(&self, share: f64) -> u64 {
        let wanted = ((share * self.count as f64).ceil() as u64).clamp(1, self.count.max(1));
        let mut seen = 0;
        for (place, &count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return end(place).min(self.most);
            }
        }
        self.most
    }
}

fn microseconds(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1000.0
}

impl Display for Histogram {
    /// The quantiles on a line, and a bar for each power of two that something lies in.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, share) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)] {
            write!(f, "{name} {:.2}  ", microseconds(self.quantile(share)))?;
        }
        let mean = self.total as f64 / self.count.max(1) as f64 / 1000.0;
        writeln!(f, "max {:.2}  mean {mean:.2} us", microseconds(self.most))?;
        let mut bars = [0u64; 64];
        for (place, &count) in self.counts.iter().enumerate().filter(|(_, c)| **c > 0) {
            bars[end(place).max(1).ilog2() as usize] += count;
        }
        let most = bars.iter().copied().max().unwrap_or(0).max(1);
        for (power, &count) in bars.iter().enumerate().filter(|(_, c)| **c > 0) {
            let width = (count * 50).div_ceil(most) as usize;
            let to = microseconds(end(place(1u64 << power)).max((2u64 << power.min(62)) - 1));
            writeln!(f, "  up to {to:>10.2} us {count:>10}  {}", "#".repeat(width))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_within_a_step_of_the_truth() {
        let mut histogram = Histogram::default();
        let mut all: Vec<u64> = (0..10_000u64).map(|i| (i * i * 7919) % 3_000_001).collect();
        all.iter().for_each(|&ns| histogram.add(Duration::from_nanos(ns)));
        all.sort_unstable();
        for share in [0.0, 0.5, 0.9, 0.99, 0.999, 1.0] {
            let rank = ((share * all.len() as f64).ceil() as usize).clamp(1, all.len());
            let (exact, got) = (all[rank - 1] as f64, histogram.quantile(share) as f64);
            assert!(got >= exact && got <= exact * (1.0 + 1.0 / 32.0) + 1.0, "{share}: {got} for {exact}");
        }
        assert_eq!(histogram.count(), 10_000);
    }

    #[test]
    fn every_number_has_a_place() {
        for power in 0..64 {
            for near in [0, 1, u64::MAX] {
                let number = (1u64 << power).wrapping_add(near);
                let at = place(number);
                assert!(end(at) >= number && (at == 0 || end(at - 1) < number), "{number} at {at}");
            }
        }
        assert_eq!(Histogram::default().quantile(0.5), 0);
    }
}
