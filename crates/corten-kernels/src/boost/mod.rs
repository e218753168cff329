//! The inner loops of gradient boosting on binned columns.
//!
//! A row's gradient and hessian are two small integers in one word; sums of them are exact, so no thread count, order or
//! register width shows in a model.

pub mod gradients;
pub mod histogram;
pub mod partition;
pub mod scan;

/// Bins that a byte tells apart.
pub const WIDTH: usize = 256;
/// Columns whose bins lie side by side, row by row: their sums fit the first-level cache together.
pub const TILE: usize = 16;
/// Most rows whose packed sums can't overflow.
pub const BLOCK: usize = 1 << 16;
/// Most bins of a feature that shares the bytes of a column with others.
pub const SHARED: usize = 64;
