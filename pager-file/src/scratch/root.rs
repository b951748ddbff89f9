//! [`Root`]: the directory that the user names. Opened once and examined by its
//! descriptor, so that what was examined is what is used.
//!
//! Refuses what is not a directory, a symbolic link, memory (see [`medium`]), and a
//! file system that a program of another user serves. Whoever else may write to the
//! root or owns it is no reason: see the [module above](super) for what a stranger
//! can do, and what is done about it in a root that is not *guarded*.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use pager_core::{Result, ScratchProblem};
use rustix::fs::{CWD, FileType, Mode, OFlags, Stat};
use rustix::io::{Errno, retry_on_intr};

use super::{OPEN_DIRECTORY, is_mine, medium, refused, unavailable};
use crate::sys;

/// The scratch root, open.
#[derive(Debug)]
pub(super) struct Root {
    path: PathBuf,
    fd: OwnedFd,
    is_guarded: bool,
}

impl Root {
    /// Opens `path`, making its last component if that alone is missing.
    ///
    /// # Errors
    ///
    /// `ScratchUnavailable` with the problem.
    pub(super) fn open(path: &Path, allow_memory_fs: bool) -> Result<Self> {
        if path.as_os_str().is_empty() {
            let problem = ScratchProblem::NotConfigured;
            return Err(unavailable(path, problem, None));
        }
        // A trailing slash or dot would make the system follow a link in spite
        // of `O_NOFOLLOW`; the components have none.
        let path: PathBuf = std::path::absolute(path)
            .unwrap_or_else(|_| path.to_owned())
            .components()
            .collect();
        let fd = match open_directory(CWD, &path) {
            Err(Errno::NOENT) => make(&path)?,
            opened => opened.map_err(|errno| why_not_opened(&path, errno))?,
        };
        if !allow_memory_fs {
            refuse_memory(&path, &fd)?;
        }
        if medium::is_served_by_a_stranger(&fd) {
            return Err(unavailable(&path, ScratchProblem::NotPrivate, None));
        }
        let stat = retry_on_intr(|| sys::fstat(&fd))
            .map_err(|errno| unavailable(&path, ScratchProblem::Refused, Some(("fstat", errno))))?;
        Ok(Self {
            is_guarded: is_guarded(&stat),
            path,
            fd,
        })
    }

    pub(super) fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether nobody but us and the administrator can rename or remove what is ours.
    pub(super) fn is_guarded(&self) -> bool {
        self.is_guarded
    }
}

/// Whether a directory keeps strangers from renaming and removing our entries: it
/// belongs to us or the administrator, and others may not write to it, or it has the
/// sticky bit, which lets only an entry's owner and the directory's do that.
/// <https://man7.org/linux/man-pages/man7/inode.7.html>
fn is_guarded(stat: &Stat) -> bool {
    let mode = Mode::from_raw_mode(stat.st_mode);
    let owner_is_trusted = is_mine(stat) || stat.st_uid == 0;
    let others_write = mode.intersects(Mode::WGRP | Mode::WOTH);
    owner_is_trusted && (!others_write || mode.contains(Mode::SVTX))
}

fn refuse_memory(path: &Path, fd: &OwnedFd) -> Result<()> {
    match medium::is_memory(fd) {
        Ok(false) => Ok(()),
        Ok(true) => Err(unavailable(path, ScratchProblem::InMemory, None)),
        Err(errno) => Err(unavailable(
            path,
            ScratchProblem::Refused,
            Some(("fstatfs", errno)),
        )),
    }
}

fn open_directory(
    dir: BorrowedFd<'_>,
    path: impl rustix::path::Arg + Copy,
) -> rustix::io::Result<OwnedFd> {
    match retry_on_intr(|| sys::openat(dir, path, OPEN_DIRECTORY, Mode::empty())) {
        // One that may be used and not listed (mode 0733): a place to make things in
        // is all that is needed.
        #[cfg(any(target_os = "linux", target_os = "android"))]
        Err(Errno::ACCESS) => {
            let flags = OPEN_DIRECTORY | OFlags::PATH;
            retry_on_intr(|| sys::openat(dir, path, flags, Mode::empty()))
        }
        opened => opened,
    }
}

/// Makes the last component of `path`, and opens it: both in the parent as it was
/// opened, whatever the path leads to by then.
fn make(path: &Path) -> Result<OwnedFd> {
    let made_of = |call| move |errno| refused(path, "create directory", call, errno);
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(made_of("openat")(Errno::NOENT));
    };
    let parent = retry_on_intr(|| sys::openat(CWD, parent, OPEN_PARENT, Mode::empty()))
        .map_err(made_of("openat"))?;
    match retry_on_intr(|| sys::mkdirat(&parent, name, Mode::RWXU)) {
        // Another process may have made it in between.
        Ok(()) | Err(Errno::EXIST) => {}
        Err(errno) => return Err(made_of("mkdirat")(errno)),
    }
    let stat = sys::lstatat(&parent, name).map_err(made_of("newfstatat"))?;
    let rights = Mode::from_raw_mode(stat.st_mode) & Mode::RWXU;
    if is_mine(&stat) && rights != Mode::RWXU {
        // An unusual umask has taken some of ours.
        sys::restore_rights(&parent, name).map_err(made_of("fchmodat"))?;
    }
    open_directory(parent.as_fd(), name).map_err(|errno| why_not_opened(path, errno))
}

/// How the parent of a new root is opened: its rights to be listed are not needed.
#[cfg(any(target_os = "linux", target_os = "android"))]
const OPEN_PARENT: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
#[cfg(not(any(target_os = "linux", target_os = "android")))]
const OPEN_PARENT: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// Finds out by the path what the system meant; the answer is for people only.
fn why_not_opened(path: &Path, errno: Errno) -> pager_core::Error {
    let problem = match (errno, sys::lstatat(CWD, path)) {
        (_, Ok(stat)) if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink => {
            ScratchProblem::SymbolicLink
        }
        (Errno::ACCESS | Errno::PERM, Ok(_)) => ScratchProblem::NotWritable,
        (Errno::NOTDIR, _) => ScratchProblem::NotADirectory,
        (Errno::NOENT, _) => ScratchProblem::Missing,
        _ => ScratchProblem::Refused,
    };
    unavailable(path, problem, Some(("openat", errno)))
}
