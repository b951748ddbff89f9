//! What tests of backends need (feature `testkit`): the conformance suite, a
//! model to compare with, and backends that fail, keep, wait or do nothing.
//!
//! A backend crate stamps the suite with
//! [`conformance_tests!`](crate::conformance_tests), drives random operations
//! against the [`model`], and wraps itself into a [`FaultyBackend`] to see what
//! a failing medium does.
//!
//! ```text
//! conformance      the guarantees, one check each, and the macro that stamps them
//! model            random operations, compared word for word with what must come
//! content          words that differ for every seed and position
//! memory_backend   the reference: copies into a `Vec`
//! keeping_backend  keeps the callers' chunks and gives the same memory back
//! null_backend     does nothing, to measure what is around it
//! faulty_backend   a wrapper that fails on demand
//! gated_backend    a wrapper whose operations wait until a test lets them go
//! scenario         the script that is played once for every fault
//! campaign         every fault that there can be, and what came of them
//! syscalls         the fault layer: system calls that fail or fall short by plan
//! ```

pub mod campaign;
pub mod conformance;
pub mod content;
mod faulty_backend;
mod gated_backend;
mod keeping_backend;
mod memory_backend;
pub mod model;
mod null_backend;
pub mod scenario;
pub mod syscalls;

pub use conformance::{Fixture, Guarantee};
pub use faulty_backend::{Failure, FaultyBackend, Operation};
pub use gated_backend::{Gate, GatedBackend, Held};
pub use keeping_backend::{KeepingBackend, KeptChunks};
pub use memory_backend::MemoryBackend;
pub use null_backend::NullBackend;

use crate::{Backend, Registry, Stats};

/// The registry's statistics once nothing is under way: under a budget, whatever
/// is resident has been handed to the backend first.
pub fn settled_stats<B: Backend>(registry: &Registry<B>) -> Stats {
    if let Some(residency) = registry.residency() {
        residency
            .flush()
            .expect("a healthy backend takes what is resident");
        // A fetch whose payload was dropped meanwhile ends by itself.
        while residency.stats().fetching_bytes > 0 {
            std::thread::yield_now();
        }
    }
    registry.stats()
}
