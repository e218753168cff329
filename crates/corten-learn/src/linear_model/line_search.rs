//! The line search of Moré & Thuente, as MINPACK-2's `dcsrch` and `dcstep` carry it out.
//!
//! It finds a step that lowers the function enough (`f(t) <= f(0) + ftol t f'(0)`) and where the slope has flattened
//! (`|f'(t)| <= gtol |f'(0)|`). L-BFGS-B uses the same search with the same constants, so that iterates agree.
//!
//! Source: Moré & Thuente, "Line search algorithms with guaranteed sufficient decrease", ACM TOMS 20 (1994).

const FTOL: f64 = 1e-3;
const GTOL: f64 = 0.9;
const XTOL: f64 = 0.1;
const STEP_MAX: f64 = 1e10;

/// One end of the interval: step, function value, slope.
#[derive(Clone, Copy, Debug)]
struct End {
    step: f64,
    value: f64,
    slope: f64,
}

/// A search in progress.
#[derive(Clone, Debug)]
pub(super) struct LineSearch {
    start: End,
    /// The end with the lowest value.
    best: End,
    other: End,
    bracketed: bool,
    first_stage: bool,
    width: f64,
    width_before: f64,
    low: f64,
    high: f64,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Next {
    /// Evaluate at this step.
    Try(f64),
    /// The step last evaluated is good, or the best there is to the precision of the interval.
    Accept,
}

impl LineSearch {
    /// A search from value and slope at step 0 (the slope negative), which will first try `step`.
    pub(super) fn new(value: f64, slope: f64, step: f64) -> Self {
        let start = End { step: 0.0, value, slope };
        Self {
            start,
            best: start,
            other: start,
            bracketed: false,
            first_stage: true,
            width: STEP_MAX,
            width_before: 2.0 * STEP_MAX,
            low: 0.0,
            high: 5.0 * step,
        }
    }

    /// Takes the value and the slope at `step`.
    pub(super) fn advance(&mut self, step: f64, value: f64, slope: f64) -> Next {
        let test_slope = FTOL * self.start.slope;
        let test = self.start.value + step * test_slope;
        if self.first_stage && value <= test && slope >= 0.0 {
            self.first_stage = false;
        }
        let stuck =
            self.bracketed && (step <= self.low || step >= self.high || self.high - self.low <= XTOL * self.high);
        let at_most = step == STEP_MAX && value <= test && slope <= test_slope;
        let at_least = step == 0.0 && (value > test || slope >= test_slope);
        let good = value <= test && slope.abs() <= GTOL * -self.start.slope;
        if stuck || at_most || at_least || good {
            return Next::Accept;
        }
        let mut step_end = End { step, value, slope };
        if self.first_stage && value <= self.best.value && value > test {
            // The modified function, whose minimiser is a point of sufficient decrease.
            let shift = |e: End, sign: f64| End {
                value: e.value - sign * e.step * test_slope,
                slope: e.slope - sign * test_slope,
                ..e
            };
            (self.best, self.other) = (shift(self.best, 1.0), shift(self.other, 1.0));
            step_end = self.interpolate(shift(step_end, 1.0));
            (self.best, self.other) = (shift(self.best, -1.0), shift(self.other, -1.0));
        } else {
            step_end = self.interpolate(step_end);
        }
        let mut next = step_end.step;
        if self.bracketed {
            if (self.other.step - self.best.step).abs() >= 0.66 * self.width_before {
                next = self.best.step + 0.5 * (self.other.step - self.best.step);
            }
            self.width_before = self.width;
            self.width = (self.other.step - self.best.step).abs();
            self.low = self.best.step.min(self.other.step);
            self.high = self.best.step.max(self.other.step);
        } else {
            self.low = next + 1.1 * (next - self.best.step);
            self.high = next + 4.0 * (next - self.best.step);
        }
        next = next.clamp(0.0, STEP_MAX);
        if self.bracketed && (next <= self.low || next >= self.high || self.high - self.low <= XTOL * self.high) {
            next = self.best.step;
        }
        Next::Try(next)
    }

    /// `dcstep`: updates the interval with the end `p` and returns the next step in it.
    fn interpolate(&mut self, p: End) -> End {
        let (x, y) = (self.best, self.other);
        let opposite = p.slope * (x.slope / x.slope.abs()) < 0.0;
        let cubic = |a: End, b: End, clamp: bool| {
            let theta = 3.0 * (a.value - b.value) / (b.step - a.step) + a.slope + b.slope;
            let s = theta.abs().max(a.slope.abs()).max(b.slope.abs());
            let inside = (theta / s) * (theta / s) - (a.slope / s) * (b.slope / s);
            (theta, s * if clamp { inside.max(0.0) } else { inside }.sqrt())
        };
        let next;
        if p.value > x.value {
            let (theta, gamma) = cubic(x, p, false);
            let gamma = if p.step < x.step { -gamma } else { gamma };
            let r = ((gamma - x.slope) + theta) / (((gamma - x.slope) + gamma) + p.slope);
            let by_cubic = x.step + r * (p.step - x.step);
            let by_square =
                x.step + ((x.slope / ((x.value - p.value) / (p.step - x.step) + x.slope)) / 2.0) * (p.step - x.step);
            next = if (by_cubic - x.step).abs() < (by_square - x.step).abs() {
                by_cubic
            } else {
                by_cubic + (by_square - by_cubic) / 2.0
            };
            self.bracketed = true;
        } else if opposite {
            let (theta, gamma) = cubic(x, p, false);
            let gamma = if p.step > x.step { -gamma } else { gamma };
            let r = ((gamma - p.slope) + theta) / (((gamma - p.slope) + gamma) + x.slope);
            let by_cubic = p.step + r * (x.step - p.step);
            let by_secant = p.step + (p.slope / (p.slope - x.slope)) * (x.step - p.step);
            next = if (by_cubic - p.step).abs() > (by_secant - p.step).abs() { by_cubic } else { by_secant };
            self.bracketed = true;
        } else if p.slope.abs() < x.slope.abs() {
            let (theta, gamma) = cubic(x, p, true);
            let gamma = if p.step > x.step { -gamma } else { gamma };
            let r = ((gamma - p.slope) + theta) / ((gamma + (x.slope - p.slope)) + gamma);
            let by_cubic = if r < 0.0 && gamma != 0.0 {
                p.step + r * (x.step - p.step)
            } else if p.step > x.step {
                self.high
            } else {
                self.low
            };
            let by_secant = p.step + (p.slope / (p.slope - x.slope)) * (x.step - p.step);
            let cubic_closer = (by_cubic - p.step).abs() < (by_secant - p.step).abs();
            if self.bracketed {
                let closer = if cubic_closer { by_cubic } else { by_secant };
                let limit = p.step + 0.66 * (y.step - p.step);
                next = if p.step > x.step { limit.min(closer) } else { limit.max(closer) };
            } else {
                let farther = if (by_cubic - p.step).abs() > (by_secant - p.step).abs() { by_cubic } else { by_secant };
                next = farther.min(self.high).max(self.low);
            }
        } else if self.bracketed {
            let (theta, gamma) = cubic(p, y, false);
            let gamma = if p.step > y.step { -gamma } else { gamma };
            let r = ((gamma - p.slope) + theta) / (((gamma - p.slope) + gamma) + y.slope);
            next = p.step + r * (y.step - p.step);
        } else {
            next = if p.step > x.step { self.high } else { self.low };
        }
        if p.value > x.value {
            self.other = p;
        } else {
            if opposite {
                self.other = x;
            }
            self.best = p;
        }
        End { step: next, ..p }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_step_that_meets_both_conditions() {
        // The function of Moré & Thuente's first table: -t / (t^2 + 2).
        let f = |t: f64| (-t / (t * t + 2.0), (t * t - 2.0) / ((t * t + 2.0) * (t * t + 2.0)));
        for first in [1e-3, 0.1, 1.0, 10.0, 1e3] {
            let (value, slope) = f(0.0);
            let mut search = LineSearch::new(value, slope, first);
            let mut step = first;
            let mut tries = 0;
            loop {
                let (v, s) = f(step);
                match search.advance(step, v, s) {
                    Next::Accept => break,
                    Next::Try(next) => step = next,
                }
                tries += 1;
                assert!(tries < 30, "no step found from {first}");
            }
            let (v, s) = f(step);
            assert!(v <= value + FTOL * step * slope && s.abs() <= GTOL * slope.abs(), "{first}: {step}");
        }
    }
}
