//! Numeric kernels with one arithmetic order on every CPU.
//!
//! Floor 1. Everything above sums, multiplies and exponentiates through these functions, so that a model gives the same
//! bits in Python, in a server and on a device. Features: `std` (the CPU is looked at once at run time), `parallel`
//! (thread pools), `dense` (linear algebra for fitting).
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

pub mod aligned;
#[cfg(feature = "parallel")]
pub mod boost;
pub mod cache;
pub mod cpu;
#[cfg(feature = "dense")]
pub mod dense;
pub mod lanes;
#[cfg(feature = "std")]
pub mod pages;
#[cfg(feature = "parallel")]
pub mod parallel;
pub mod shap;
pub mod sort;
pub mod special;
pub mod splits;
#[cfg(feature = "parallel")]
pub mod team;
pub mod transpose;
pub mod trees;
pub mod vector;
