//! Leaves that hold a linear model instead of a number.

use alloc::vec::Vec;

use corten_core::Result;
use corten_kernels::trees::{Parts, VECTOR};

use super::bad;
use crate::file::{TensorReader, TensorWriter};

/// Linear models of leaves: `constant + sum of weight * x`, or the leaf's own value where one of its inputs is missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct LinearLeaves {
    /// The end of each leaf's terms; a leaf without terms is a number.
    pub(super) ends: Vec<u32>,
    pub(super) constants: Vec<f64>,
    pub(super) features: Vec<u32>,
    pub(super) weights: Vec<f64>,
}

impl LinearLeaves {
    pub(super) fn check(&self, features: u32, parts: &Parts) -> Result<()> {
        let terms = self.features.len();
        if parts.targets.contains(&VECTOR) {
            return Err(bad("linear leaves need trees of one output"));
        }
        if self.ends.len() != parts.leaves.len()
            || self.constants.len() != parts.leaves.len()
            || self.weights.len() != terms
            || self.ends.last().is_some_and(|&e| e as usize != terms)
            || self.ends.windows(2).any(|w| w[0] > w[1])
            || self.features.iter().any(|&f| f >= features)
        {
            return Err(bad("the parts of its linear leaves don't fit together"));
        }
        Ok(())
    }

    pub(super) fn write(&self, tensors: &mut TensorWriter) {
        tensors.u32("linear_ends", &self.ends);
        tensors.f64("linear_constants", &self.constants);
        tensors.u32("linear_features", &self.features);
        tensors.f64("linear_weights", &self.weights);
    }

    pub(super) fn read(tensors: &TensorReader<'_>) -> Result<Option<Self>> {
        let Some(constants) = tensors.optional_f64("linear_constants")? else { return Ok(None) };
        Ok(Some(Self {
            ends: tensors.u32("linear_ends")?,
            constants,
            features: tensors.u32("linear_features")?,
            weights: tensors.f64("linear_weights")?,
        }))
    }

    /// The value of a leaf for a row.
    #[inline]
    pub(super) fn value(&self, leaf: usize, plain: f64, row: &[f64]) -> f64 {
        let start = if leaf == 0 { 0 } else { self.ends[leaf - 1] as usize };
        let terms = start..self.ends[leaf] as usize;
        if terms.is_empty() {
            return plain;
        }
        let mut sum = self.constants[leaf];
        for (&feature, &weight) in self.features[terms.clone()].iter().zip(&self.weights[terms]) {
            let x = row[feature as usize];
            if x.is_nan() {
                return plain;
            }
            sum += weight * x;
        }
        sum
    }
}
