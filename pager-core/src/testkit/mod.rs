//! What tests of backends need (feature `testkit`): the conformance suite, a
//! model to compare with, and backends that fail, keep, block or do nothing.
//!
//! A backend crate stamps the suite with
//! [`conformance_tests!`](crate::conformance_tests) and drives random
//! operations against the [`model`].
//!
//! ```text
//! conformance     the guarantees, one check each, and the macro that stamps them
//! content         words that differ for every seed and position
//! memory_backend  the reference: copies into a `Vec`
//! ```

pub mod conformance;
pub mod content;
mod memory_backend;

pub use conformance::{Fixture, Guarantee};
pub use memory_backend::MemoryBackend;
