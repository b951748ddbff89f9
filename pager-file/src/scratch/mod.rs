//! The scratch directory: made for this process, locked for life, removed at
//! the end, and swept of what dead processes left.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use pager_core::{ProcessStamp, Result};

use crate::FileConfig;

mod reap;

pub use reap::Reaped;

/// The private directory of one backend.
#[derive(Debug)]
pub(crate) struct ScratchDir {
    path: PathBuf,
    fd: OwnedFd,
    stamp: ProcessStamp,
}

impl ScratchDir {
    /// Opens the root that `config` names, sweeps it, and makes a directory.
    pub(crate) fn open(config: &FileConfig) -> Result<Self> {
        let _ = config;
        Err(pager_core::Error::Unsupported {
            backend: crate::BACKEND,
            what: "scratch directory",
        })
    }

    /// The private directory, for calls relative to it.
    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Where it was made. For messages only: all access goes through
    /// [`fd`](Self::fd).
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether the calling process is the one that made it.
    pub(crate) fn is_own(&self) -> bool {
        self.stamp.is_current()
    }
}
