//! What every backend of **pager** is held to, and the tools of its tests.
//!
//! *Budget.* Each guarantee holds with and without one: give the suite a registry with the
//! budgets that your users will set ([`Registry::with_residency`]).
//!
//! *What.* One named check for each [`Guarantee`], random operations against a [`model`],
//! backends that fail ([`FaultyBackend`]) or wait ([`GatedBackend`]), and system calls that
//! fail by plan ([`syscalls`]).
//!
//! *How.* Add this to the dev-dependencies of a crate that implements [`Backend`], and stamp
//! the suite onto each of its modes:
//!
//! ```
//! use pager_core::Registry;
//! use pager_testkit::{Expectations, MemoryBackend};
//!
//! pager_testkit::conformance_tests! {
//!     expecting Expectations::none().keeps_capacity();
//!     fn conforms() -> Registry<MemoryBackend> {
//!         Registry::new(MemoryBackend::new())
//!     }
//! }
//! ```
//!
//! *When.* You write a backend or a wrapper, or you want to see what your program does when one
//! fails. `docs/writing-a-backend.md` in the repository has a complete backend that passes.
//!
//! *When not.* In programs: depending on this crate compiles the question "may this call be
//! made?" into every system call of pager (feature `fault-hooks` of `pager-core`). Nothing that
//! measures may depend on it.
//!
//! ```text
//! conformance      the guarantees, one check each, and the macro that stamps them
//! model            random operations, compared byte for byte with what must come
//! content          words that differ for every seed and position
//! sample           chunks of several kinds, as the bytes that they are made of
//! memory_backend   the reference: copies into a `Vec`
//! keeping_backend  keeps the callers' chunks and gives the same memory back
//! null_backend     does nothing, to see what is around it
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
mod forwarded;
mod gated_backend;
mod keeping_backend;
mod memory_backend;
pub mod model;
mod model_checks;
mod null_backend;
mod sample;
pub mod scenario;
pub mod syscalls;

pub use conformance::{Expectations, Fixture, Guarantee};
pub(crate) use forwarded::forwarded;

pub use faulty_backend::{Failure, FaultyBackend, Operation};
pub use gated_backend::{Gate, GatedBackend, Held};
pub use keeping_backend::{KeepingBackend, KeptChunks};
pub use memory_backend::MemoryBackend;
pub use null_backend::NullBackend;
pub use sample::Sample;

use std::time::{Duration, Instant};

use pager_core::{Backend, Registry, Stats};

/// Longer than a background thread holds a payload that was dropped meanwhile, on a
/// machine that does much else.
const MAX_WAIT: Duration = Duration::from_secs(20);

/// The registry's statistics once nothing is under way: under a budget, whatever
/// is resident has been handed to the backend first.
pub fn settled_stats<B: Backend>(registry: &Registry<B>) -> Stats {
    let residency = registry.residency();
    residency
        .flush()
        .expect("a healthy backend takes what is resident");
    // What a background thread does with a payload that is dropped meanwhile ends by
    // itself, and then the payload leaves the backend. Should it stay, the caller finds
    // it in what this returns.
    let deadline = Instant::now() + MAX_WAIT;
    loop {
        let stats = registry.stats();
        let is_settled = residency.stats().fetching_bytes == 0
            && stats.backend.logical_bytes <= stats.logical_bytes;
        if is_settled || Instant::now() >= deadline {
            return stats;
        }
        std::thread::yield_now();
    }
}

/// Waits for something that a thread in the background is about to do: half a minute at
/// most.
///
/// # Panics
///
/// If `what` never happens.
#[track_caller]
pub fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < deadline, "{what} never happened");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The example of the package's front page, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExample;
