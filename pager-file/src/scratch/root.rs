//! [`Root`]: the directory that the user names. Opened once and examined by its
//! descriptor, so that what was examined is what is used.
//!
//! Refuses what is not a directory, a symbolic link, memory, and places where
//! strangers could exchange our files: owned by another user than us or the
//! administrator, or writable by others without the sticky bit.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use pager_core::{Result, ScratchProblem};
use rustix::fs::{CWD, FileType, Mode};
use rustix::io::{Errno, retry_on_intr};

use super::{OPEN_DIRECTORY, is_mine, refused, unavailable};
use crate::sys;

/// The scratch root, open.
#[derive(Debug)]
pub(super) struct Root {
    path: PathBuf,
    fd: OwnedFd,
}

impl Root {
    /// Opens `path`, making its last component if that alone is missing.
    ///
    /// # Errors
    ///
    /// `ScratchUnavailable` with the problem.
    pub(super) fn open(path: &Path, allow_memory_fs: bool) -> Result<Self> {
        if path.as_os_str().is_empty() {
            return Err(unavailable(path, ScratchProblem::NotConfigured, None));
        }
        // A trailing slash or dot would make the system follow a link in spite
        // of `O_NOFOLLOW`; the components have none.
        let path: PathBuf = std::path::absolute(path)
            .unwrap_or_else(|_| path.to_owned())
            .components()
            .collect();
        let fd = match open_directory(&path) {
            Err(Errno::NOENT) => {
                make(&path)?;
                open_directory(&path)
            }
            opened => opened,
        }
        .map_err(|errno| why_not_opened(&path, errno))?;
        let root = Self { path, fd };
        if !allow_memory_fs {
            root.refuse_memory()?;
        }
        root.refuse_strangers()?;
        Ok(root)
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn refuse_memory(&self) -> Result<()> {
        // https://man7.org/linux/man-pages/man2/statfs.2.html
        const TMPFS_MAGIC: u32 = 0x0102_1994;
        const RAMFS_MAGIC: u32 = 0x8584_58f6;

        let found = retry_on_intr(|| sys::fstatfs(&self.fd))
            .map_err(|errno| unavailable(&self.path, ScratchProblem::Refused, Some(errno)))?;
        // The field is a signed word of the platform; the numbers have 32 bits.
        #[allow(
            clippy::cast_possible_truncation,
            clippy::unnecessary_cast,
            reason = "the type of the field differs between platforms"
        )]
        let kind = found.f_type as u32;
        if matches!(kind, TMPFS_MAGIC | RAMFS_MAGIC) {
            return Err(unavailable(&self.path, ScratchProblem::InMemory, None));
        }
        Ok(())
    }

    /// Elsewhere, file systems have no common numbers to tell memory by.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    fn refuse_memory(&self) -> Result<()> {
        Ok(())
    }

    fn refuse_strangers(&self) -> Result<()> {
        let stat = retry_on_intr(|| sys::fstat(&self.fd))
            .map_err(|errno| unavailable(&self.path, ScratchProblem::Refused, Some(errno)))?;
        let mode = Mode::from_raw_mode(stat.st_mode);
        let owner_is_trusted = is_mine(&stat) || stat.st_uid == 0;
        let others_write = mode.intersects(Mode::WGRP | Mode::WOTH);
        if !owner_is_trusted || (others_write && !mode.contains(Mode::SVTX)) {
            return Err(unavailable(&self.path, ScratchProblem::NotPrivate, None));
        }
        Ok(())
    }
}

fn open_directory(path: &Path) -> rustix::io::Result<OwnedFd> {
    retry_on_intr(|| sys::openat(CWD, path, OPEN_DIRECTORY, Mode::empty()))
}

fn make(path: &Path) -> Result<()> {
    let made = retry_on_intr(|| sys::mkdirat(CWD, path, Mode::RWXU));
    match made.and_then(|()| ensure_mode(path)) {
        // Another process may have made it in between.
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(refused(path, "create directory", errno)),
    }
}

/// Gives us back the rights to a new root that an unusual umask has taken.
fn ensure_mode(path: &Path) -> rustix::io::Result<()> {
    let stat = sys::lstatat(CWD, path)?;
    if Mode::from_raw_mode(stat.st_mode).contains(Mode::RWXU) || !is_mine(&stat) {
        return Ok(());
    }
    sys::lchmodat(CWD, path, Mode::RWXU)
}

/// Finds out by the path what the system meant; the answer is for people only.
fn why_not_opened(path: &Path, errno: Errno) -> pager_core::Error {
    let found = sys::lstatat(CWD, path);
    let problem = match (errno, found) {
        (_, Ok(stat)) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
            ScratchProblem::SymbolicLink
        }
        (Errno::ACCESS, Ok(stat)) if !is_mine(&stat) => ScratchProblem::NotPrivate,
        (Errno::NOTDIR, _) => ScratchProblem::NotADirectory,
        (Errno::NOENT, _) => ScratchProblem::Missing,
        _ => ScratchProblem::Refused,
    };
    unavailable(path, problem, Some(errno))
}
