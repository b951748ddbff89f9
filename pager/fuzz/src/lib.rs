//! What the fuzz targets do with their input, and what they hold against it.
//!
//! Each target is one function of bytes: it makes a scene from them, plays it,
//! compares every byte with a model that keeps payloads in `Vec`s, and panics at
//! the first difference. It leaves nothing behind, neither in memory nor on the
//! file system. No target needs a fuzzer: `pager/tests/fuzz_corpus.rs` plays the
//! committed corpus through the same functions.
//!
//! ```text
//! operations  a pager: both backends, flips, budgets, quotas, read-ahead
//! ranges      lists of ranges on every backend and mode
//! failures    a backend that fails on demand, with and without a budget
//! codec       blocks that are encoded, damaged, and made up
//! input       lengths, bounds and memory, as bytes choose them
//! table       live handles, each with what it must hold
//! ```

pub mod codec;
pub mod failures;
mod input;
pub mod operations;
pub mod ranges;
mod table;
