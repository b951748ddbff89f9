//! Out-of-core paging of `u64` columns: say what is cold, read a range of it,
//! take it back. This crate is the facade over the backends of **pager**; it
//! chooses between them at run time.
//!
//! You hold columns as chunks of words (`Vec<u64>`, typically 2 MiB) that will
//! not be touched for a while. [`Pager::pageout`] takes their words away and
//! returns a [`Handle`]; [`Pager::read_at`] copies a range back, and
//! [`Pager::take`] brings everything back and frees the storage.
//!
//! ```
//! use pager::{BackendKind, Pager};
//!
//! let pager = Pager::new();
//! let mut column: Vec<u64> = (0..1 << 18).collect();
//! let handle = pager.options().backend(BackendKind::Swap).pageout(std::slice::from_mut(&mut column))?;
//! assert!(column.is_empty());
//!
//! let mut part = Vec::new();
//! pager.read_at(&handle, 1000, 2, &mut part)?;
//! assert_eq!(part, [1000, 1001]);
//!
//! pager.take(handle, &mut column)?;
//! assert_eq!(column.len(), 1 << 18);
//! # Ok::<(), pager::Error>(())
//! ```
//!
//! * A [`Pager`] is a value; the [free functions](global) work on one for the
//!   whole process.
//! * Two backends, each behind a cargo feature of its name, both on by default:
//!   `swap` keeps payloads in anonymous memory and has the kernel move them,
//!   `file` keeps them in scratch files. Asking for one that is not in the build
//!   is [`Error::BackendDisabled`].
//! * Feature `codec` (off by default): what is stored is encoded on its way, and
//!   integer columns shrink three to thirty times; see `PagerBuilder::codec`.
//! * Features `tracing`, `metrics` and `serde` (off by default): spans and events,
//!   figures for dashboards, `stats()` as JSON; see `docs/operations.md`.
//! * [`Pager::set_backend`] affects later page-outs only: a handle stays with the
//!   backend that made it.
//! * Data that must outlive the process does not belong here: nothing is durable.
//! * A forked child may drop, leak or forget what it has inherited, call `exec`,
//!   or end, even if threads of its parent were in the middle of an operation:
//!   see [below](#forked-children).
//! * A program with one backend can depend on `pager-core` and that backend and
//!   have no dispatch at all.
//!
//! # Forked children
//!
//! Handles and pagers belong to the process that made them. In a forked child
//! every operation on them says [`Error::ForeignProcess`], listings are empty, and
//! drops do nothing: they write nothing, remove nothing, and wait for nobody. The
//! background threads are the parent's. A child makes a [`Pager`] of its own,
//! under the same scratch root if it likes; the [free functions](global) stay the
//! parent's for good. `exec` closes every descriptor. A child that lives on
//! without `exec` shares its parent's lock on the scratch directory, so what a
//! parent that was killed has left is removed only after the child's end.
//!
//! ```text
//! kind      which backends there are
//! choice    one of them, or whichever does its work here
//! diagnose  what about this machine and process matters to paging
//! preset    which strategies they use
//! builder   what a Pager may be told  (encryption: that nothing leaves without)
//! layer     what lies over every backend: the codec, if it is in the build
//! pager     Pager: page out, read, take, choose
//! selector  the backend that the next page-out goes to
//! scratch   the file backend, opened when it is first needed
//! spill     sequences that are written once and read in order
//! operate   what an operator looks at and gives back
//! handle    Handle: a payload on whichever backend
//! stats     what all backends hold and have done
//! metrics   the same under stable names, for a recorder (feature `metrics`)
//! sync      the primitives of std, or those of the model checker
//! global    the same operations on one Pager for the whole process
//! ```

#![allow(
    clippy::result_large_err,
    reason = "a take that fails gives its handle back, by value"
)]

mod budget;
mod builder;
mod choice;
pub mod diagnose;
mod encryption;
pub mod global;
mod handle;
mod kind;
#[cfg(any(feature = "swap", feature = "file", feature = "codec"))]
mod layer;
#[cfg(feature = "metrics")]
pub mod metrics;
mod operate;
mod pageout;
mod pager;
mod preset;
#[cfg(feature = "file")]
mod scratch;
mod selector;
mod spill;
mod stats;
mod sync;

pub use builder::PagerBuilder;
pub use choice::BackendChoice;
pub use diagnose::{diagnose, diagnose_at};
#[cfg(feature = "codec")]
pub use global::codec_stats;
#[cfg(feature = "swap")]
pub use global::{arena_usage, swap_stats};
pub use global::{
    backend, budget_bytes, flush, handles, install, options, pageout, pageout_with, prefetch,
    prefetch_at, prefetch_many, preset, read_at, read_at_many, reclaim_bytes, residency,
    set_backend, set_budget, set_scratch_dir, shutdown, spill, stats, take, trim, write_back,
};
#[cfg(feature = "file")]
pub use global::{file_stats, reap, scratch_dir};
pub use handle::Handle;
pub use kind::{BackendKind, ParseNameError};
pub use operate::Trimmed;
pub use pageout::PageoutOptions;
pub use pager::Pager;
pub use preset::Preset;
pub use spill::{Spill, SpillReader, SpillWriter};
pub use stats::PagerStats;

#[cfg(feature = "pressure")]
pub use pager_core::PressureStats;
#[cfg(feature = "encryption")]
pub use pager_core::SecretGuards;
#[cfg(feature = "codec")]
pub use pager_core::codec::{Codec, CodecStats, ParseCodecError, Scheme, SchemeStats};
pub use pager_core::{
    self, Arena, ArenaUsage, Chunk, ChunkBuf, Destination, Error, Group, GroupStats, HandleInfo,
    Hint, MemoryAccount, Pod, Residency, ResidencyStats, Result, Reuse, ScratchProblem, Shared,
    Stats, TakeError, Usage, View, Window, default_budget_bytes,
};
#[cfg(feature = "encryption")]
pub use pager_file::Encryption;
#[cfg(feature = "file")]
pub use pager_file::{
    self, DirectoryState, DirectoryStats, FileBackend, FileConfig, FileMode, FileSet, FileStats,
    IoChoice, Reaped,
};
#[cfg(feature = "swap")]
pub use pager_swap::{self, SeedAdvice, SwapBackend, SwapMode, SwapStats};

/// The example of the package's front page, compiled and run.
#[cfg(all(doctest, feature = "file"))]
#[doc = include_str!("../README.md")]
struct ReadmeExample;
