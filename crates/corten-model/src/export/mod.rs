//! Models as source code.
//!
//! [`c`] writes a model as one file of C99 that answers a row with the executor's bits: the same operations in the same
//! order, `exp` and its kin included. It allocates nothing, keeps nothing between calls and needs no library. Tables are
//! kept in the narrowest type that holds their numbers exactly. [`quantize`] first moves weights and leaves onto a grid
//! of 16 or 8 bits, which is a model like any other, so its error can be measured before a compiler is run.

mod c;
mod ops;
mod plan;
mod quantize;
mod source;
mod support;

pub use c::{Export, Options, Report, c};
pub use quantize::{Bits, quantize};
