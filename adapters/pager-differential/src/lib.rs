//! Differential dataflow's columnar traces, spilled through **pager**.
//!
//! An arrangement of differential dataflow keeps its updates in chunks. Those of its columnar
//! traces (`differential_dataflow::columnar::trace`) can be given to a store when they are
//! settled, and are loaded when a merge or a cursor comes to them. This crate is such a store:
//!
//! ```no_run
//! use std::sync::Arc;
//! use pager::{BackendKind, Pager};
//!
//! let pager = Pager::builder()
//!     .backend(BackendKind::File)
//!     .budget_bytes(256 << 20)
//!     .build()?;
//! let pager = Arc::new(pager);
//! timely::execute(timely::Config::process(2), move |worker| {
//!     let spill = pager_differential::install(Arc::clone(&pager));
//!     // Dataflows over columnar traces, as ever.
//!     println!("worker {}: {:?}", worker.index(), spill.stats());
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! * **One budget for all workers of a process**, the pager's, in bytes. The engine's own, which
//!   counts records of each worker and never goes down, is set to zero: every settled chunk is
//!   stored. That is a copy and no I/O as long as the pager has room, and what is loaded or
//!   dropped before its turn is never written.
//! * **Read-ahead**: chunks are loaded in the order in which they were stored, so with each load
//!   the next ones are asked for.
//! * **A failed store keeps the bytes in memory**, is counted and told
//!   ([`Spill::stats`], [`Settings::on_failure`]). Memory is not bounded meanwhile.
//! * **A failed load is tried again**, then the worker panics, as the engine's interface asks
//!   for; [`Spill::failure`] has the typed error. There is never wrong data.
//!
//! What the engine's types impose: a cursor that has come to a chunk keeps it in memory for as
//! long as the chunk lives, and the pager does not count it; chunks are of 8192 updates; and a
//! load is a copy. `docs/adapters/differential.md` says more.
//!
//! ```text
//! spill   Settings and Spill: how a worker's traces are spilled, and what was done
//! store   the engine's store and sources over payloads
//! order   what was stored after what, to be read ahead
//! scan    a trace read chunk by chunk
//! ```

mod order;
mod scan;
mod spill;
mod store;

use std::sync::Arc;

use pager::Pager;

pub use scan::scan;
pub use spill::{Failure, Settings, Spill, Stats};

/// Spills the traces of this worker through `pager`, with default [`Settings`], until the
/// returned value is dropped. Traces stay as they are then, and new chunks stay in memory.
///
/// To be called on the worker's thread; replaces what was installed there before.
#[must_use = "traces are spilled for as long as it is there"]
pub fn install(pager: Arc<Pager>) -> Spill {
    Spill::install(pager, Settings::default())
}

/// The examples of the package's front page.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExample;
