//! Numbers cut to whole ones, as libraries do that take any number for the code of a category.

use corten_core::Result;
use serde_json::{Value, json};

use super::{Flow, Operator, Shape, numbers_only};
use crate::file::{TensorReader, TensorWriter};
use crate::graph::Slot;

/// The next whole number towards 0; NaN and infinities pass through.
///
/// Shapes: `n` numbers in, `n` numbers out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Whole;

/// From here on all numbers are whole.
const WHOLE: f64 = 4_503_599_627_370_496.0;

fn whole(x: f64) -> f64 {
    // `trunc` is not in `core`, and the cast is exact below.
    if x.abs() < WHOLE { x as i64 as f64 } else { x }
}

impl Operator for Whole {
    fn check(&self, inputs: &[Slot]) -> Result<Shape> {
        Ok(Shape::numbers(numbers_only("whole", inputs, None)?))
    }

    fn write(&self, _: &mut TensorWriter) -> Value {
        json!({})
    }

    fn read(_: &Value, _: &TensorReader<'_>) -> Result<Self> {
        Ok(Self)
    }

    fn run<'d>(&'d self, flow: &mut Flow<'_, 'd>, inputs: &[Slot], first: u32) -> Result<()> {
        flow.map(inputs, first, |_, from, to| to.iter_mut().zip(from).for_each(|(o, &x)| *o = whole(x)));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_those_of_the_standard_library() {
        let edges = [0.0, -0.5, 0.5, 2.999, -3.001, 1e15, -1e15 - 0.5, 4.6e15, 1e300, f64::MIN_POSITIVE, -1e-310];
        for x in edges {
            assert_eq!(whole(x), x.trunc(), "{x}");
        }
        assert!(whole(f64::NAN).is_nan() && whole(f64::NEG_INFINITY) == f64::NEG_INFINITY);
    }
}
