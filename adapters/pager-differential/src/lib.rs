//! Differential dataflow's columnar traces, spilled through **pager**.
//!
//! An arrangement of differential dataflow keeps its updates in chunks. [`TrieChunk`] is one that
//! is paged out when it is settled, and read when a merge or a cursor comes to it. It takes the
//! place of the engine's own: [`Spine`], [`Batcher`], [`Builder`] and [`Chunker`] are named as
//! those of `differential_dataflow::columnar::trace` are.
//!
//! ```no_run
//! use std::sync::Arc;
//! use differential_dataflow::columnar::collection;
//! use differential_dataflow::operators::arrange::arrangement::arrange_core;
//! use pager::{BackendKind, Pager};
//! use pager_differential::{Batcher, Spine};
//! use timely::dataflow::InputHandle;
//! use timely::dataflow::channels::pact::Pipeline;
//! use timely::dataflow::operators::Input;
//!
//! type Updates = collection::Builder<(u64, u64, u64, i64)>;
//!
//! let pager = Pager::builder()
//!     .backend(BackendKind::File)
//!     .budget_bytes(256 << 20)
//!     .build()?;
//! let pager = Arc::new(pager);
//! timely::execute(timely::Config::process(2), move |worker| {
//!     let spill = pager_differential::install(Arc::clone(&pager));
//!     let mut input = InputHandle::<u64, Updates>::new_with_builder();
//!     worker.dataflow::<u64, _, _>(|scope| {
//!         let updates = scope.input_from(&mut input);
//!         arrange_core::<_, _, _, Spine<u64, u64, u64, i64>>(
//!             updates,
//!             Pipeline,
//!             "arrange",
//!             Batcher::new,
//!         );
//!     });
//!     input.send((7, 8, 0, 1));
//!     println!("worker {}: {:?}", worker.index(), spill.stats());
//! })?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! * **One budget for all workers of a process**, the pager's, in bytes. What a merge or a scan
//!   reads is shown where it lies, and counted there. Every settled chunk is paged out: that is a
//!   copy and no I/O as long as the pager has room, and what is read for good or dropped before
//!   its turn is never written.
//! * **Read-ahead**: each chunk knows what comes after it in its batch, and has that fetched when
//!   it is read.
//! * **By depth**: what lies deep in a large batch is merged last, so its memory is the first to
//!   go.
//! * **A failed page-out keeps the chunk in memory**, is counted and told
//!   ([`Spill::stats`], [`Settings::on_failure`]), and is tried again when the chunk is next
//!   settled. Memory is not bounded meanwhile.
//! * **A failed read is tried again**, then the worker panics, as the engine's interface asks
//!   for; [`Spill::failure`] has the typed error. There is never wrong data.
//!
//! The same [`install`] serves traces of the engine's own chunks (`ColChunk`), as the store that
//! they can be given: compatible, and slower, for the engine copies what it loads and keeps it.
//! Its own budget, which counts records of each worker and never goes down, is set to zero.
//!
//! What the engine's types impose: a cursor that has come to a chunk keeps it in memory for as
//! long as the chunk lives; [`scan`] does not. `docs/adapters/differential.md` says more.
//!
//! ```text
//! chunk   TrieChunk: a chunk that is paged out
//! spill   Settings and Spill: how a worker's traces are spilled, and what was done
//! store   the engine's store and sources over payloads
//! order   what was stored after what, to be read ahead
//! scan    a trace read chunk by chunk
//! ```

mod chunk;
mod order;
mod scan;
mod spill;
mod store;

use std::sync::Arc;

use pager::Pager;

pub use chunk::{Batcher, Builder, CHUNK_BYTES, Chunker, Spine, TrieChunk, TrieCursor};
pub use scan::{Scan, scan};
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
