//! The contract of **pager**: a memory **budget** over any store of payloads.
//!
//! *Budget.* A [`Residency`] bounds what is held in memory, over one [`Registry`] or several. What
//! is paged out stays in memory until the budget wants its room; background threads then write
//! the coldest through the [`Backend`] beneath. A budget of zero stores at once.
//!
//! *How.* [`Registry::pageout`] takes the content of chunks (typically 2 MiB) away and returns a
//! [`Handle`]. [`Handle::read_at`] copies a range back, [`Handle::view`] shows it where it lies,
//! [`Handle::take`] brings everything back and frees the storage.
//!
//! ```
//! # mod in_memory { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/doc/in_memory.inc")); }
//! # use in_memory::InMemory;
//! use pager_core::{Registry, Residency};
//! let budget = Residency::builder().budget_bytes(64 << 20).build();
//! let registry = Registry::with_residency(InMemory, &budget);
//! let handle = registry.pageout(&mut [vec![7_u64; 1000]])?;
//! let mut part = Vec::new();
//! handle.read_at(500, 2, &mut part)?;
//! assert_eq!(part, [7, 7]);
//! # Ok::<(), pager_core::Error>(())
//! ```
//!
//! *When.* You want one backend (yours, `pager-swap` or `pager-file`) and no dispatch; or you
//! write one: implement [`Backend`] and run the conformance suite of `pager-testkit`
//! (`docs/writing-a-backend.md` in the repository; `docs/budgets.md` has budgets and accounts).
//!
//! *When not.* The backend is chosen at run time: that is the crate `pager-out-of-core`. Data
//! must be durable: a payload lives as long as its process.
//!
//! # Forked children
//!
//! A forked child owns nothing of this. [`Registry::pageout`] and every operation
//! on a [`Handle`] say [`Error::ForeignProcess`], an [`Arena`] hands nothing out, and
//! dropping handles and registries does nothing. A [`ChunkBuf`] that it inherits is
//! memory as any other: it holds what it held, changes in the child are the child's,
//! it grows into memory of the child's own, and dropping it frees the child's copy.
//! A child may do all that, or leak what it inherits, call `exec`, or end, whatever
//! the parent's threads were doing when it was born: no lock of theirs is asked for.
//! It makes a registry of its own to page out. An inherited [`Residency`] says the
//! same, and figures and listings are empty.
//!
//! ```text
//! backend    the trait that stores payloads
//! registry   live handles, and the operations on them
//! payload    one payload: where its bytes are, the way out and the way back
//! budget     how much memory there is, and whose turn it is
//! memory     arena, chunk buffers, and the window that a read fills
//! codec      a layer over any backend that makes payloads smaller (feature `codec`)
//! overflow   a backend, and a last resort for what it has no room for
//! memory_store  that last resort in memory
//! error      what can go wrong
//! cgroup     which memory cgroups this process is in
//! diagnose   what about this machine matters to paging
//! observe    what an operator sees of it (features `tracing` and `metrics`)
//! seam       where tests let system calls fail; nothing without the test kit
//! ```

mod backend;
mod budget;
#[doc(hidden)]
pub mod cgroup;
#[cfg(feature = "codec")]
pub mod codec;
pub mod diagnose;
mod error;
mod memory;
mod memory_store;
#[doc(hidden)]
pub mod observe;
mod overflow;
mod payload;
mod registry;
#[doc(hidden)]
pub mod seam;
mod spill;
mod sync;

pub use bytemuck::Pod;

pub use backend::{Backend, ChunkKind, InPlace, Preferences, Usage};
#[cfg(feature = "pressure")]
pub use budget::PressureStats;
pub use budget::{
    Group, GroupStats, MemoryAccount, Residency, ResidencyBuilder, ResidencyStats, TransferCharge,
    TransferMemory, default_budget_bytes,
};
pub use error::{Error, Result, ScratchProblem, TakeError};
pub use memory::{
    Arena, ArenaBuilder, ArenaUsage, ChunkBuf, Destination, ElementLayout, HUGE_PAGE_BYTES,
    HeapBuf, PAGE_BYTES, ProcessStamp, Secret, SecretGuards, SizeClass, Window,
};
pub use memory_store::MemoryStore;
pub use overflow::{Overflow, OverflowSlot, OverflowStats};
pub use payload::{Chunk, Chunks, Hint, OwnedChunk, Payload, Shared, SharedBytes, View};
pub use registry::{Handle, HandleInfo, PageoutOptions, Registry, Reuse, Stats};
pub use spill::{Spill, SpillReader, SpillWriter};
