//! A [pager](pager_core) backend that keeps payloads in scratch files.
//!
//! Use it where data is larger than memory and there is a disk: payloads leave
//! memory for good, whatever swap the machine has. Not for durable data: the
//! files are removed when the process ends, or by the next one if it was killed.
//!
//! ```
//! use pager_core::Registry;
//! use pager_file::{FileBackend, FileConfig};
//!
//! let scratch = tempfile::tempdir_in("/var/tmp")?;
//! let config = FileConfig::new(scratch.path()).quota_bytes(1 << 30);
//! let registry = Registry::new(FileBackend::open(config)?);
//!
//! let handle = registry.pageout(&mut [vec![7; 1000], vec![8; 1000]])?;
//! let mut words = Vec::new();
//! registry.read_at(&handle, 999, 2, &mut words)?;
//! assert_eq!(words, [7, 8]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The scratch root must be on a disk and no symbolic link; who owns it, and who else
//! may write to it, does not matter, for what is made in it is private by itself;
//! [`FileConfig::from_env`] takes it from `PAGER_SCRATCH`, or `/var/tmp`. Linux
//! is the production target; elsewhere on Unix it works with fewer means, and on
//! other systems opening says [`Unsupported`](pager_core::Error::Unsupported).
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
