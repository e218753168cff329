//! Losses written down as an expression of `y` and `score`, with their slopes by differentiation.
//!
//! An expression becomes a list of steps on a stack. Each number on the stack carries its first and second derivative by
//! the score (Griewank & Walther, Evaluating Derivatives, 2008, chapter 13), a few rows at a time.

mod parse;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use corten_core::{Error, Numbers, Result};
use corten_kernels::special;
use serde::{Deserialize, Serialize};

/// Rows that a step is taken for at a time.
const LANES: usize = 16;
/// Longest text, and most numbers on the stack.
const LONGEST: usize = 4096;
const STACK: usize = 64;
/// Rows that the best constant is found from, and steps towards it.
const SAMPLE: usize = 1 << 15;
const STEPS: usize = 50;

/// A loss of a row.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Expression {
    text: String,
    steps: Vec<Step>,
    /// Whether slopes were ever not finite.
    failed: Arc<AtomicBool>,
}

impl TryFrom<String> for Expression {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        Self::parse(&text)
    }
}

impl From<Expression> for String {
    fn from(loss: Expression) -> Self {
        loss.text
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Y,
    Score,
    Constant(f64),
    Negate,
    Add,
    Subtract,
    Multiply,
    Divide,
    Power,
    Function(Function),
    Minimum,
    Maximum,
    /// 1 where it holds, without slopes.
    Compare(Order),
    /// Of a condition and two numbers.
    Where,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Order {
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
    Equal,
    Unequal,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Function {
    Exp,
    Expm1,
    Log,
    Log1p,
    Sqrt,
    Abs,
    Tanh,
    Sigmoid,
    Softplus,
    Square,
}

/// A number with its derivatives by the score, for a few rows.
type Jet = [[f64; LANES]; 3];

const ZERO: Jet = [[0.0; LANES]; 3];

impl Expression {
    /// Whether a text is meant as an expression, and not as a name.
    pub(crate) fn is_meant(text: &str) -> bool {
        text.chars().any(|c| !(c.is_ascii_alphanumeric() || c == '_'))
    }

    /// Reads an expression.
    ///
    /// # Errors
    /// [`Error::Parameter`] naming the place and what may stand there.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let wrong = |problem: String| {
            Error::parameter("loss", format!("a name or an expression of y and score ({problem})"), format!("{text:?}"))
        };
        if text.len() > LONGEST {
            return Err(wrong(format!("at most {LONGEST} characters")));
        }
        let steps = parse::steps(text).map_err(wrong)?;
        if !steps.contains(&Step::Score) {
            return Err(wrong("it must have score in it".into()));
        }
        Ok(Self { text: text.to_owned(), steps, failed: Arc::default() })
    }

    /// Whether a gradient or hessian was not finite.
    pub(crate) fn failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed)
    }

    /// Loss, gradient and hessian of up to [`LANES`] rows.
    fn at(&self, y: &[f64], scores: &[f64]) -> Jet {
        let n = y.len().min(LANES);
        let mut stack = [ZERO; STACK];
        let mut top = 0;
        for &step in &self.steps {
            match step {
                Step::Y | Step::Score | Step::Constant(_) => {
                    let jet = &mut stack[top];
                    *jet = ZERO;
                    match step {
                        Step::Y => jet[0][..n].copy_from_slice(&y[..n]),
                        Step::Score => {
                            jet[0][..n].copy_from_slice(&scores[..n]);
                            jet[1] = [1.0; LANES];
                        }
                        Step::Constant(c) => jet[0] = [c; LANES],
                        _ => {}
                    }
                    top += 1;
                }
                Step::Negate => stack[top - 1].iter_mut().flatten().for_each(|x| *x = -*x),
                Step::Function(function) => {
                    chain(&mut stack[top - 1], |x| function.of(x));
                }
                Step::Where => {
                    let (a, b) = (stack[top - 2], stack[top - 1]);
                    let condition = &mut stack[top - 3];
                    let holds: [bool; LANES] = std::array::from_fn(|i| condition[0][i] != 0.0);
                    for k in 0..3 {
                        for i in 0..LANES {
                            condition[k][i] = if holds[i] { a[k][i] } else { b[k][i] };
                        }
                    }
                    top -= 2;
                }
                _ => {
                    let b = stack[top - 1];
                    two(step, &mut stack[top - 2], &b);
                    top -= 1;
                }
            }
        }
        stack[0]
    }

    /// The loss of a row.
    pub(crate) fn loss(&self, y: f64, score: f64) -> f64 {
        self.at(&[y], &[score])[0][0]
    }

    /// Gradients and hessians of a block of rows; hessians below 0 count as 0.
    pub(crate) fn slopes(&self, y: &[f64], scores: &[f64], g: &mut [f64], h: &mut [f64]) {
        let mut fine = true;
        let rows = y.chunks(LANES).zip(scores.chunks(LANES));
        for ((y, scores), (g, h)) in rows.zip(g.chunks_mut(LANES).zip(h.chunks_mut(LANES))) {
            let [_, first, second] = self.at(y, scores);
            for i in 0..y.len() {
                fine &= first[i].is_finite() && second[i].is_finite();
                g[i] = first[i];
                h[i] = if second[i] > 0.0 { second[i] } else { 0.0 };
            }
        }
        if !fine {
            self.failed.store(true, Ordering::Relaxed);
        }
    }

    /// The score that is best for all rows, as far as Newton's steps on some of them find it.
    pub(crate) fn constant(&self, y: &Numbers, weights: Option<&[f64]>) -> f64 {
        let step = y.len().div_ceil(SAMPLE).max(1);
        let rows: Vec<usize> = (0..y.len()).step_by(step).collect();
        let all = |score: f64| {
            let mut sums = [0.0; 3];
            for rows in rows.chunks(LANES) {
                let mut own = [0.0; LANES];
                rows.iter().zip(&mut own).for_each(|(&r, o)| *o = y.get(r));
                let jet = self.at(&own[..rows.len()], &[score; LANES]);
                for (i, &row) in rows.iter().enumerate() {
                    let w = weights.map_or(1.0, |w| w[row]);
                    (0..3).for_each(|k| sums[k] += w * jet[k][i]);
                }
            }
            sums
        };
        let (mut score, mut here) = (0.0, all(0.0));
        if !here.iter().all(|x| x.is_finite()) {
            return 0.0;
        }
        for _ in 0..STEPS {
            let [loss, gradient, hessian] = here;
            // Where it curves downwards, or not at all, a step against the slope.
            let mut by = if hessian > 0.0 { -gradient / hessian } else { -gradient.signum() };
            let mut better = None;
            for _ in 0..STEPS {
                let there = all(score + by);
                if there[0].is_finite() && there[0] < loss {
                    better = Some(there);
                    break;
                }
                by /= 2.0;
            }
            let Some(there) = better else { break };
            score += by;
            if by.abs() <= 1e-10 * (1.0 + score.abs()) {
                break;
            }
            here = there;
        }
        score
    }
}

/// A function of a number: its value and its first two derivatives there.
fn chain(jet: &mut Jet, function: impl Fn(f64) -> [f64; 3]) {
    for i in 0..LANES {
        let [f, d, dd] = function(jet[0][i]);
        let (first, second) = (jet[1][i], jet[2][i]);
        // What doesn't depend on the score has no slopes, even where the function has none.
        let is_flat = first == 0.0 && second == 0.0;
        jet[0][i] = f;
        jet[1][i] = if is_flat { 0.0 } else { d * first };
        jet[2][i] = if is_flat { 0.0 } else { dd * first * first + d * second };
    }
}

/// A step of two numbers; the outcome takes the place of the first.
fn two(step: Step, a: &mut Jet, b: &Jet) {
    match step {
        Step::Add => a.iter_mut().flatten().zip(b.iter().flatten()).for_each(|(a, b)| *a += b),
        Step::Subtract => a.iter_mut().flatten().zip(b.iter().flatten()).for_each(|(a, b)| *a -= b),
        Step::Multiply => {
            for i in 0..LANES {
                let ([x, dx, ddx], [y, dy, ddy]) = ([a[0][i], a[1][i], a[2][i]], [b[0][i], b[1][i], b[2][i]]);
                (a[0][i], a[1][i], a[2][i]) = (x * y, dx * y + x * dy, ddx * y + 2.0 * dx * dy + x * ddy);
            }
        }
        Step::Divide => {
            for i in 0..LANES {
                let ([x, dx, ddx], [y, dy, ddy]) = ([a[0][i], a[1][i], a[2][i]], [b[0][i], b[1][i], b[2][i]]);
                let q = x / y;
                let dq = (dx - q * dy) / y;
                (a[0][i], a[1][i], a[2][i]) = (q, dq, (ddx - 2.0 * dq * dy - q * ddy) / y);
            }
        }
        Step::Power => power(a, b),
        Step::Minimum | Step::Maximum => {
            for i in 0..LANES {
                let second = if step == Step::Minimum { b[0][i] < a[0][i] } else { b[0][i] > a[0][i] };
                if second {
                    (0..3).for_each(|k| a[k][i] = b[k][i]);
                }
            }
        }
        Step::Compare(order) => {
            for i in 0..LANES {
                let (x, y) = (a[0][i], b[0][i]);
                let holds = match order {
                    Order::Less => x < y,
                    Order::LessEqual => x <= y,
                    Order::Greater => x > y,
                    Order::GreaterEqual => x >= y,
                    Order::Equal => x == y,
                    Order::Unequal => x != y,
                };
                (a[0][i], a[1][i], a[2][i]) = (f64::from(u8::from(holds)), 0.0, 0.0);
            }
        }
        _ => {}
    }
}

/// A whole power by products; another one, or one that depends on the score, by logarithms.
fn power(a: &mut Jet, b: &Jet) {
    let exponent = b[0][0];
    let is_constant = b[0] == [exponent; LANES] && b[1] == ZERO[1] && b[2] == ZERO[2];
    if is_constant {
        let raise = |x: f64, p: f64| {
            if p == p.trunc() && p.abs() <= 64.0 {
                special::powi(x, p as i32)
            } else {
                special::exp(p * special::ln(x))
            }
        };
        return chain(a, |x| {
            let slope = |p: f64, factor: f64| if factor == 0.0 { 0.0 } else { factor * raise(x, p) };
            [raise(x, exponent), slope(exponent - 1.0, exponent), slope(exponent - 2.0, exponent * (exponent - 1.0))]
        });
    }
    chain(a, |x| Function::Log.of(x));
    two(Step::Multiply, a, b);
    chain(a, |x| Function::Exp.of(x));
}

impl Function {
    /// Value, first and second derivative.
    fn of(self, x: f64) -> [f64; 3] {
        match self {
            Self::Exp => {
                let e = special::exp(x);
                [e, e, e]
            }
            Self::Expm1 => {
                let e = special::exp(x);
                [special::expm1(x), e, e]
            }
            Self::Log => [special::ln(x), 1.0 / x, -1.0 / (x * x)],
            Self::Log1p => {
                let d = 1.0 / (1.0 + x);
                [special::log1p(x), d, -d * d]
            }
            Self::Sqrt => {
                let r = x.sqrt();
                [r, 0.5 / r, -0.25 / (x * r)]
            }
            Self::Abs => [
                x.abs(),
                if x > 0.0 {
                    1.0
                } else if x < 0.0 {
                    -1.0
                } else {
                    0.0
                },
                0.0,
            ],
            Self::Tanh => {
                let t = special::tanh(x);
                let d = 1.0 - t * t;
                [t, d, -2.0 * t * d]
            }
            Self::Sigmoid => {
                let s = special::sigmoid(x);
                let d = s * (1.0 - s);
                [s, d, d * (1.0 - 2.0 * s)]
            }
            Self::Softplus => {
                // log(1 + e^x), from the side where the exponential is small.
                let s = special::sigmoid(x);
                [if x > 0.0 { x } else { 0.0 } + special::log1p(special::exp(-x.abs())), s, s * (1.0 - s)]
            }
            Self::Square => [x * x, 2.0 * x, 2.0],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_are_those_of_differences() {
        for text in [
            "(y - score) ** 2 / 2",
            "where(abs(y - score) < 1.5, square(y - score) / 2, 1.5 * abs(y - score) - 1.125)",
            "log(exp(y - score) / 2 + exp(-(y - score)) / 2)",
            "softplus(score) - y * score",
            "exp(score) - y * score",
            "-y * log(sigmoid(score)) - (1 - y) * log1p(-sigmoid(score)) * 2e0",
            "sqrt(1 + (y - score) ** 2) - 1",
            "max(0.3 * (y - score), -0.7 * (y - score)) + tanh(score) ** 2 + expm1(score / 3)",
            "2 ** score - min(y, 0.5) * score + (1 + score * score) ** 0.7 - 2 ** -1",
        ] {
            let loss = Expression::parse(text).unwrap();
            for y in [0.25, 1.0] {
                for score in [-0.9, 0.1, 0.7, 2.2] {
                    let (d, at) = (1e-4, |s: f64| loss.loss(y, s));
                    let slope = (at(score + d) - at(score - d)) / (2.0 * d);
                    let bend = (at(score + d) - 2.0 * at(score) + at(score - d)) / (d * d);
                    let (mut g, mut h) = ([0.0], [0.0]);
                    loss.slopes(&[y], &[score], &mut g, &mut h);
                    assert!((g[0] - slope).abs() < 1e-6, "{text}: {} {slope}", g[0]);
                    assert!((h[0] - bend.max(0.0)).abs() < 1e-5, "{text}: {} {bend}", h[0]);
                }
            }
            assert!(!loss.failed(), "{text}");
        }
    }

    #[test]
    fn many_rows_have_the_slopes_of_each_alone() {
        let loss = Expression::parse("exp(score) - y * score").unwrap();
        let y: Vec<f64> = (0..77).map(f64::from).collect();
        let scores: Vec<f64> = (0..77).map(|i| f64::from(i % 9) / 4.0).collect();
        let (mut g, mut h) = (vec![0.0; 77], vec![0.0; 77]);
        loss.slopes(&y, &scores, &mut g, &mut h);
        for i in 0..77 {
            let (mut a, mut b) = ([0.0], [0.0]);
            loss.slopes(&y[i..=i], &scores[i..=i], &mut a, &mut b);
            assert_eq!((a[0].to_bits(), b[0].to_bits()), (g[i].to_bits(), h[i].to_bits()));
        }
        // The best constant of a Poisson loss is the logarithm of the mean.
        let best = loss.constant(&y[..].into(), None);
        assert!((best - 38f64.ln()).abs() < 1e-9, "{best}");
    }

    #[test]
    fn what_can_not_be_read_is_told_with_its_place() {
        let deep = "(".repeat(1000) + "score" + &")".repeat(1000);
        let high = "score+(".repeat(60) + "score" + &")".repeat(60);
        let long = "score+".repeat(1000) + "score";
        for (text, said) in [
            ("y - ", "expected at character 5, but its end came"),
            ("score + + ", "its end came"),
            ("score score", "an operator or the end was expected at character 7"),
            ("sin(score)", "expected at character 1"),
            ("exp score", "'(' after exp"),
            ("min(score)", "min takes 2"),
            ("1..2 * score", "a number"),
            ("1e999 * score", "a number"),
            ("y * 2 ", "must have score"),
            ("(score", "')'"),
            ("score*é", "expected at character 7"),
            (&deep, "at most 64 levels"),
            (&long, "at most 4096 characters"),
        ] {
            let error = Expression::parse(text).unwrap_err().to_string();
            assert!(error.contains(said) && error.contains("loss"), "{text}: {error}");
        }
        assert!(Expression::parse(&high).is_ok());
    }

    #[test]
    fn slopes_that_are_not_finite_are_noticed() {
        let loss = Expression::parse("log(score) * y").unwrap();
        let (mut g, mut h) = ([0.0; 2], [0.0; 2]);
        loss.slopes(&[1.0, 1.0], &[1.0, 2.0], &mut g, &mut h);
        assert!(!loss.failed());
        loss.slopes(&[1.0, 1.0], &[1.0, 0.0], &mut g, &mut h);
        assert!(loss.failed());
    }
}
