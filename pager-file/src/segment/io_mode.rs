//! [`SegmentIo`]: how bytes move between memory and segment files, and why so.
//!
//! Direct I/O wherever a [trial] succeeds, because the page cache costs a copy, and
//! memory that the process is billed for. Otherwise buffered, with the pages dropped
//! behind. The trial is made once, when the store is opened, on a file of its own.

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;

use pager_core::{PAGE_BYTES, Result};

use super::file::SegmentFile;
use super::staging::StagingPool;
use super::trial;
use crate::config::IoChoice;
use crate::size_limit;
#[cfg(any(target_os = "linux", target_os = "android"))]
use crate::sys;

/// Unit of reading and writing: every transfer starts and ends at a multiple.
pub(super) const BLOCK_BYTES: usize = PAGE_BYTES;

/// How bytes move between memory and segment files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SegmentIo {
    /// `O_DIRECT`: between the device and the caller's memory, or a staging
    /// buffer where that memory is not aligned. The page cache is not involved.
    Direct {
        /// What an address must be a multiple of.
        memory_align_bytes: usize,
    },
    /// Through the page cache, whose pages the kernel drops as soon as they
    /// are written (`RWF_DONTCACHE`, Linux 6.14).
    DontCache,
    /// Through the page cache, written out and dropped every few MiB. Dropping
    /// is Linux's; elsewhere the pages stay.
    DropBehind,
}

impl SegmentIo {
    /// What the address of memory must be a multiple of to be read or written
    /// without a staging buffer.
    pub(super) fn memory_align_bytes(self) -> usize {
        match self {
            Self::Direct { memory_align_bytes } => memory_align_bytes,
            Self::DontCache | Self::DropBehind => 1,
        }
    }

    pub(super) fn is_direct(self) -> bool {
        matches!(self, Self::Direct { .. })
    }
}

impl fmt::Display for SegmentIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct { memory_align_bytes } => {
                write!(f, "direct I/O, memory aligned to {memory_align_bytes}")
            }
            Self::DontCache => f.write_str("buffered I/O, uncached by the kernel"),
            Self::DropBehind => f.write_str("buffered I/O, page cache dropped behind"),
        }
    }
}

/// A mode and the reason for it.
#[derive(Debug, Clone)]
pub(super) struct IoPlan {
    pub(super) mode: SegmentIo,
    pub(super) reason: String,
}

impl IoPlan {
    /// Tries what the file system of `directory` can do.
    ///
    /// # Errors
    ///
    /// Those of creating a file, and the reason against direct I/O where it is
    /// asked for and cannot be had.
    pub(super) fn choose(
        choice: IoChoice,
        directory: BorrowedFd<'_>,
        staging: &StagingPool,
    ) -> Result<Self, PlanError> {
        size_limit::check(trial::FILE_BYTES)?;
        let buffered = |reason: String| -> Result<Self, PlanError> {
            let file = SegmentFile::create_in(directory)?;
            Ok(Self {
                mode: trial::buffered_mode(&file),
                reason,
            })
        };
        if choice == IoChoice::Buffered {
            return buffered("buffered I/O was asked for".to_owned());
        }
        let file = SegmentFile::create_in(directory)?;
        if choice == IoChoice::Auto && is_memory(&file) {
            return buffered("the file system is memory already".to_owned());
        }
        match trial::least_alignment(&file, staging) {
            Ok(memory_align_bytes) => Ok(Self {
                mode: SegmentIo::Direct { memory_align_bytes },
                reason: "a trial succeeded".to_owned(),
            }),
            Err(refusal) if choice == IoChoice::Direct => Err(PlanError(refusal.into())),
            Err(refusal) => buffered(refusal.why),
        }
    }

    /// Sets a new segment file up for the mode.
    ///
    /// # Errors
    ///
    /// What the system said.
    pub(super) fn prepare(&self, file: &SegmentFile) -> io::Result<()> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if self.mode.is_direct() {
            file.set_direct()?;
        } else {
            // No read-ahead: a read of one block brings one block. Advice that
            // is refused changes no result.
            let _ = sys::fadvise(file, 0, None, rustix::fs::Advice::Random);
        }
        let _ = file;
        Ok(())
    }
}

/// What kept a plan from being made.
#[derive(Debug)]
pub(super) struct PlanError(pub(super) io::Error);

impl<E: Into<io::Error>> From<E> for PlanError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

/// Whether the file lies on tmpfs or ramfs, which accept `O_DIRECT` in vain.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn is_memory(file: &SegmentFile) -> bool {
    const TMPFS_MAGIC: u64 = 0x0102_1994;
    const RAMFS_MAGIC: u64 = 0x8584_58f6;
    sys::fstatfs(file).is_ok_and(|found| {
        // The type is signed or unsigned, short or long, by platform.
        let magic = found.f_type as u64 & 0xffff_ffff;
        magic == TMPFS_MAGIC || magic == RAMFS_MAGIC
    })
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn is_memory(_file: &SegmentFile) -> bool {
    false
}

/// Whether an error says that there is no space: medium, quota or file size.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}
