//! The golden files of every format version: they give the answers that they gave, and damaged they do no harm.

mod answers;
mod counting;
mod damage;
mod files;
mod structure;
