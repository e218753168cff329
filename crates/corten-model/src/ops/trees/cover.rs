//! How much training weight reached each node.

use alloc::vec::Vec;

use corten_core::Result;

use super::bad;
use crate::file::{TensorReader, TensorWriter};

/// Training weight by node: counts of rows take half the room.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Cover {
    #[default]
    Unknown,
    Whole(Vec<u32>),
    Real(Vec<f64>),
}

impl Cover {
    /// Of a list that is empty where nothing is known.
    pub(super) fn of(weights: Vec<f64>) -> Self {
        if weights.is_empty() {
            return Self::Unknown;
        }
        // A negative zero is no whole number here: it would come back as another one.
        if weights.iter().all(|&w| w.to_bits() == f64::from(w as u32).to_bits()) {
            return Self::Whole(weights.iter().map(|&w| w as u32).collect());
        }
        Self::Real(weights)
    }

    /// The weights as numbers.
    pub(super) fn weights(&self) -> Option<Vec<f64>> {
        match self {
            Self::Unknown => None,
            Self::Whole(counts) => Some(counts.iter().map(|&c| f64::from(c)).collect()),
            Self::Real(weights) => Some(weights.clone()),
        }
    }

    pub(super) fn check(&self, nodes: usize) -> Result<()> {
        let fits = match self {
            Self::Unknown => true,
            Self::Whole(counts) => counts.len() == nodes,
            Self::Real(weights) => weights.len() == nodes && weights.iter().all(|w| w.is_finite() && *w >= 0.0),
        };
        if fits { Ok(()) } else { Err(bad("cover must have one number a node, finite and not negative")) }
    }

    pub(super) fn write(&self, tensors: &mut TensorWriter) {
        match self {
            Self::Unknown => {}
            Self::Whole(counts) => tensors.u32("cover", counts),
            Self::Real(weights) => tensors.f64("cover", weights),
        }
    }

    pub(super) fn read(tensors: &TensorReader<'_>) -> Result<Self> {
        if tensors.is_u32("cover") {
            return Ok(Self::Whole(tensors.u32("cover")?));
        }
        Ok(tensors.optional_f64("cover")?.map_or(Self::Unknown, Self::Real))
    }
}
