//! A [pager](pager_core) backend that keeps payloads in scratch files.
//!
//! *Budget.* What exceeds the memory budget of a [`Residency`](pager_core::Residency) leaves
//! memory for good, whatever swap the machine has. The disk has a bound of its own:
//! [`quota_bytes`](FileConfig::quota_bytes).
//!
//! ```
//! use pager_core::{Registry, Residency};
//! use pager_file::{FileBackend, FileConfig};
//! let budget = Residency::builder().budget_bytes(64 << 20).build();
//! let scratch = tempfile::tempdir_in("/var/tmp")?;
//! let config = FileConfig::new(scratch.path()).quota_bytes(1 << 30);
//! let registry = Registry::with_residency(FileBackend::open(config)?, &budget);
//! let handle = registry.pageout(&mut [vec![7; 1000], vec![8; 1000]])?;
//! let mut words = Vec::new();
//! registry.read_at(&handle, 999, 2, &mut words)?;
//! assert_eq!(words, [7, 8]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! *How.* Payloads lie in a few large files without names, are moved 2 MiB at a time by direct
//! I/O where the file system has it, and are checked block by block when they come back.
//! [`FileSet`] spreads them over several directories. The feature `encryption` encrypts them.
//!
//! *When.* There is a disk, and data is larger than memory; or there is no swap, as in most
//! containers. *When not.* Data must be durable: files end with the process, or with the next one
//! if it was killed. The root is memory (tmpfs): refused. Linux is the production target; other
//! Unix systems have fewer means, others are [`Unsupported`](pager_core::Error::Unsupported).
//!
//! # Scratch roots
//!
//! The root must be no symbolic link; who owns it, and who else may write to it, does not
//! matter, for what is made in it is private by itself. [`FileConfig::from_env`] takes it from
//! `PAGER_SCRATCH`, or `/var/tmp`. How to operate it is in `docs/operations.md` of the
//! repository.
//!
//! ```text
//! config    where files live, how they are laid out, how large they get
//! scratch   the private directory: locked, swept, removed
//! backend   FileBackend over the two modes
//! set       FileSet: several directories as one backend
//! segment   the default mode: extents in a few large files
//! seed      the published strategy: one file per payload
//! ranges    runs of ranges that touch
//! quota     bytes that may be stored
//! size_limit bytes that a file may have
//! stats     what a backend says about itself
//! sys       the system calls, all of them
//! ```

#[cfg(unix)]
mod backend;
#[cfg(not(unix))]
#[path = "unsupported.rs"]
mod backend;
mod config;
#[cfg(unix)]
mod diagnose;
mod quota;
#[cfg(unix)]
mod ranges;
#[cfg(unix)]
mod scratch;
#[cfg(unix)]
mod seed;
#[cfg(unix)]
mod segment;
mod set;
#[cfg(unix)]
mod size_limit;
mod stats;
#[cfg(unix)]
mod sys;

pub use backend::{FileBackend, FileSlot};
pub use config::{FileConfig, FileMode, IoChoice, UnknownName};
#[cfg(unix)]
pub use segment::{SegmentIo, SegmentStats};
pub use set::{DirectoryState, DirectoryStats, FileSet, FileSetSlot};
#[cfg(feature = "encryption")]
pub use stats::Encryption;
pub use stats::{FileStats, IoMode, Reaped};

/// Name of the backend in errors and listings.
pub(crate) const BACKEND: &str = "file";

/// The example of the package's front page, compiled and run.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExample;
