//! How slowly a body may come: one that trickles in keeps what was begun for it.

use std::time::{Duration, Instant};

/// How long a body may take before its pace counts.
const GRACE: Duration = Duration::from_secs(5);

/// How long a body may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// All of it.
    pub(crate) whole: Duration,
    /// Fewest bytes a second; 0 for any number.
    pub(crate) rate: u64,
}

impl Pace {
    /// When a body that has begun then, and of which so many bytes have come, is too slow unless more come.
    pub(crate) fn limit(&self, begun: Instant, came: usize) -> Instant {
        let paced = match self.rate {
            0 => self.whole,
            rate => GRACE.max(Duration::from_secs_f64(came as f64 / rate as f64)),
        };
        begun + paced.min(self.whole)
    }

    /// What is wrong with a body that has begun then and is too slow.
    pub(crate) fn problem(&self, begun: Instant, what: &str) -> String {
        if begun.elapsed() >= self.whole {
            return format!("the {what} took more than {} s", self.whole.as_secs());
        }
        format!("the {what} came with less than {} bytes a second", self.rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_the_time_of_its_bytes_from_the_grace_on_and_no_more_than_all_of_it() {
        let (begun, pace) = (Instant::now(), Pace { whole: Duration::from_secs(30), rate: 1000 });
        let seconds = |pace: Pace, came| pace.limit(begun, came).duration_since(begun).as_secs_f64();
        let all = [0, 4000, 5000, 12_500, 29_000, 1 << 24].map(|came| seconds(pace, came));
        assert_eq!(all, [5.0, 5.0, 5.0, 12.5, 29.0, 30.0]);
        assert_eq!(seconds(Pace { rate: 0, ..pace }, 0), 30.0);
        assert_eq!(seconds(Pace { whole: Duration::from_secs(1), rate: 1 }, 10), 1.0);
        assert_eq!(pace.problem(begun, "body"), "the body came with less than 1000 bytes a second");
        let long = Pace { whole: Duration::ZERO, ..pace };
        assert_eq!(long.problem(begun, "message"), "the message took more than 0 s");
    }
}
