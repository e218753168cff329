//! Training from more rows than memory holds.
//!
//! Rows are binned while they are read, and lie in blocks: in memory as long as there is room, in a file beyond. A tree is
//! grown (`grow`) in passes over the blocks (`pass`): each splits all the leaves that may come next, so that a block is read a few
//! times a tree and not once a leaf. Sums are the same integers whatever order rows come in, so the trees are those that
//! the same bins give in memory.

mod fit;
mod grow;
mod pass;
mod store;

pub(crate) use grow::{BlockGrower, BlockLeaves, Desk};
pub(crate) use store::Blocks;
