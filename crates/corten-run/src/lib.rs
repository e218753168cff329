//! `libcorten`: the C interface of the executor, for whatever can load a library; and what the runner shares with it.
//!
//! [`c`] is the interface; `include/corten.h` is made from it by `cargo test -p corten-run --test header`. Without `std`
//! the same interface runs where there is no operating system, from a model in flash.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;
// WebAssembly without a host has no files, threads or environment, but an allocator.
#[cfg(all(not(feature = "std"), target_family = "wasm"))]
extern crate std;

pub mod c;
#[cfg(feature = "std")]
pub mod frames;
#[cfg(feature = "std")]
pub mod histogram;
#[cfg(feature = "std")]
pub mod lines;

/// What a library needs where there is no operating system: the C library's heap, and its end.
#[cfg(all(not(feature = "std"), target_os = "none"))]
mod bare;
