//! A [pager](pager_core) backend that keeps payloads in anonymous memory, and has the kernel move
//! them to swap and back.
//!
//! *Budget.* What exceeds the memory budget of a [`Residency`](pager_core::Residency) is told
//! to leave, and what has come back counts in it until it leaves again.
//!
//! ```
//! use pager_core::{Registry, Residency};
//! use pager_swap::SwapBackend;
//! let budget = Residency::builder().budget_bytes(64 << 20).build();
//! let registry = Registry::with_residency(SwapBackend::new(), &budget);
//! let handle = registry.pageout(&mut [vec![7_u64; 1000]])?;
//! let mut part = Vec::new();
//! handle.read_at(500, 2, &mut part)?;
//! assert_eq!(part, [7, 7]);
//! SwapBackend::diagnose().iter().for_each(|finding| println!("{finding}"));
//! # Ok::<(), pager_core::Error>(())
//! ```
//!
//! *How.* By default each payload lies in one slot of huge-page-aligned memory that pager owns, and
//! goes out with `MADV_PAGEOUT` as one thing. What stayed is seen in the page table, tried again
//! and counted: [`SwapBackend::stats`] reports what is, not what was advised.
//! [`SwapMode::Seed`] is the published strategy: hints on the callers' own chunks.
//!
//! *When.* There is swap, best a block device of its own on flash, and payloads come back soon or
//! in part. Wants Linux 5.14 for everything, 5.4 to page out at all. *When not.* There is no swap
//! (most containers): nothing leaves memory then. [`SwapBackend::diagnose`] tells; use
//! `pager-file` instead. `docs/operations.md` of the repository says how to set up swap.
//!
//! ```text
//! builder     modes and settings
//! backend     the Backend trait over the two modes
//! arena_mode  payloads in slots of pager's own memory
//! parked      one such payload
//! outcome     what a page-out achieved
//! seed_mode   payloads as the callers' chunks
//! patience    how hard to try when nothing leaves
//! watch       what is live, and where it is
//! live        addresses of live payloads
//! pages       which pages some bytes lie in
//! pagemap     the page table of this process
//! stats       what all of this looks like from outside
//! diagnose    why swap may not work here
//! advise      madvise (the only unsafe)
//! sys         the other system calls
//! ```

mod advise;
mod arena_mode;
mod backend;
mod builder;
mod diagnose;
mod live;
mod outcome;
mod pagemap;
mod pages;
mod parked;
mod patience;
mod seed_mode;
mod stats;
mod sys;
mod watch;

pub use backend::{SwapBackend, SwapSlot};
pub use builder::{SeedAdvice, SwapBuilder, SwapMode};
pub use stats::SwapStats;

/// The backend's name in errors and listings.
const NAME: &str = "swap";

/// The example of the package's front page, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExample;
