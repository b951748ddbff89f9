//! More columns than memory: set a **budget**, say what is cold, read a range of it, take it back.
//!
//! *Budget.* A [`Pager`] holds so many bytes in memory and no more: what
//! [`budget_bytes`](PagerBuilder::budget_bytes) says, or an eighth of what the process may use.
//! [`Pager::pageout`] takes the content of chunks (typically 2 MiB) away and returns a [`Handle`].
//! That is a promise, not a write: the content stays in memory until the budget wants its room,
//! and what is taken or dropped before is never written.
//!
//! ```
//! let pager = pager::Pager::builder().budget_bytes(64 << 20).build()?;
//! let mut column: Vec<u64> = (0..1 << 18).collect();
//! let handle = pager.pageout(std::slice::from_mut(&mut column))?; // `column` is empty now
//! let mut part = Vec::new();
//! pager.read_at(&handle, 1000, 2, &mut part)?; // a range comes back
//! assert_eq!(part, [1000, 1001]);
//! pager.take(handle, &mut column)?; // everything comes back, the storage is free
//! # Ok::<(), pager::Error>(())
//! ```
//!
//! *How.* Two backends, both on by default: `swap` has the kernel move anonymous memory, `file`
//! writes scratch files; [`BackendKind::recommended`] asks the machine. A [`View`] shows a range
//! where it lies, a [`Spill`] is a stream, a [`Group`] has a quota. More features: `codec`,
//! `encryption`, `pressure`, `bytes`, `arrow`, `tracing`, `metrics`, `serde`. The [free
//! functions](global) work on one pager for the whole process.
//!
//! *When.* Data is written once, cold for a while, and read back in large pieces by the same
//! process: sorted runs, hash partitions, column caches. *When not.* It must survive the process;
//! payloads have a few hundred bytes; there is memory enough; another process wants it, or a
//! [forked child](#forked-children). The book begins at `docs/start.md` of the repository.
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
//! each      one expression over whichever backend it is
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
mod each;
mod encryption;
pub mod global;
mod handle;
mod kind;
#[cfg(feature = "file")]
mod last_resort;
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
#[cfg(feature = "file")]
pub use last_resort::LastResort;
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
    Hint, MemoryAccount, OverflowStats, Pod, Residency, ResidencyStats, Result, Reuse,
    ScratchProblem, Shared, Stats, TakeError, Usage, View, Window, default_budget_bytes,
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
