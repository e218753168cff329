//! What the classes on a side of a cut add to its score.

use super::super::classes::Measure;
use super::super::finder::Stats;
use super::super::purity::{Purity, weighted_log};

/// How the numbers of rows of each class become scores.
pub(crate) trait Sides {
    /// A sum over classes.
    type Sum: Copy + Default;

    /// Adds so many rows of a class, all of those that a side has.
    fn add(&self, sum: &mut Self::Sum, class: u32, rows: u32);
    /// What a side of so many rows adds to the score.
    fn side(&self, sum: Self::Sum, rows: u32) -> f64;
    /// The weight of so many rows of a class.
    fn weight(&self, _class: u32, rows: u32) -> f64 {
        f64::from(rows)
    }
    /// A node as a whole, from the rows of its classes, and how many there are.
    fn stats(&self, sum: Self::Sum, own: &[(u32, u32)], rows: u32) -> Stats;
    /// By how much a cut of this score lowers the weighted impurity of a node.
    fn gain(&self, sum: Self::Sum, rows: u32, score: f64) -> f64;
    /// A score that no cut of a node exceeds.
    fn perfect(&self, own: &[(u32, u32)], rows: u32) -> f64;
}

/// Where all rows weigh 1.
impl<P: Purity> Sides for P {
    type Sum = P::Sum;

    #[inline(always)]
    fn add(&self, sum: &mut P::Sum, _: u32, rows: u32) {
        self.change(sum, 0, rows);
    }

    #[inline(always)]
    fn side(&self, sum: P::Sum, rows: u32) -> f64 {
        Purity::side(self, sum, rows)
    }

    #[inline(always)]
    fn stats(&self, sum: P::Sum, own: &[(u32, u32)], rows: u32) -> Stats {
        let impurity = self.impurity(own.iter().map(|&(_, rows)| rows), sum, rows);
        Stats { weight: f64::from(rows), impurity }
    }

    #[inline(always)]
    fn gain(&self, sum: P::Sum, rows: u32, score: f64) -> f64 {
        Purity::gain(self, sum, rows, score)
    }

    #[inline(always)]
    fn perfect(&self, _: &[(u32, u32)], rows: u32) -> f64 {
        Purity::perfect(self, f64::from(rows))
    }
}

/// Where all rows of a class weigh the same.
pub(crate) struct Factors<'a> {
    measure: Measure,
    by_class: &'a [f64],
}

impl<'a> Factors<'a> {
    pub(crate) fn new(measure: Measure, by_class: &'a [f64]) -> Self {
        Self { measure, by_class }
    }
}

impl Sides for Factors<'_> {
    /// Of terms, and of weights.
    type Sum = [f64; 2];

    #[inline(always)]
    fn add(&self, [terms, weights]: &mut [f64; 2], class: u32, rows: u32) {
        let weight = self.weight(class, rows);
        *terms += match self.measure {
            Measure::Gini => weight * weight,
            Measure::Entropy => weighted_log(weight),
        };
        *weights += weight;
    }

    #[inline(always)]
    fn side(&self, [terms, weight]: [f64; 2], _: u32) -> f64 {
        match self.measure {
            Measure::Gini => terms / weight,
            Measure::Entropy => terms - weighted_log(weight),
        }
    }

    #[inline(always)]
    fn weight(&self, class: u32, rows: u32) -> f64 {
        self.by_class[class as usize] * f64::from(rows)
    }

    #[inline(always)]
    fn stats(&self, sum: [f64; 2], _: &[(u32, u32)], rows: u32) -> Stats {
        let weight = sum[1];
        let impure = self.measure.impure(self.side(sum, rows), weight);
        Stats { weight, impurity: (impure / weight).max(0.0) }
    }

    #[inline(always)]
    fn gain(&self, sum: [f64; 2], rows: u32, score: f64) -> f64 {
        self.measure.impure(self.side(sum, rows), sum[1]) - self.measure.impure(score, sum[1])
    }

    #[inline(always)]
    fn perfect(&self, own: &[(u32, u32)], _: u32) -> f64 {
        let &[one, other] = own else { return f64::INFINITY };
        let [one, other] = [one, other].map(|(class, rows)| self.weight(class, rows));
        self.measure.perfect(one, other)
    }
}
