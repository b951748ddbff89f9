//! The sweep: removes the directories whose lock can be taken, for their owners
//! are dead, and no others.
//!
//! The numbered argument in the [module above](super) says why that is right.
//! Refuses to look at names that are not ours, to follow symbolic links, and to
//! touch what another user owns.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use pager_core::{Error, Result};
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode};
use rustix::io::{Errno, retry_on_intr};

use super::root::Root;
use super::{OPEN_DIRECTORY, is_mine, is_same_file, names};
use crate::{Reaped, sys};

/// Unit of `st_blocks`.
const BLOCK_BYTES: u64 = 512;

/// How often a directory is listed until nothing is left in it: some file
/// systems skip entries when others are removed meanwhile.
const PASSES: usize = 16;

/// Removes every directory of a dead process in `root`.
///
/// # Errors
///
/// [`Error::Io`] if the root cannot be listed. What cannot be removed is
/// counted, and stays for the next sweep.
pub(super) fn sweep(root: &Root) -> Result<Reaped> {
    let failed = |errno: Errno| Error::Io {
        backend: crate::BACKEND,
        operation: "list",
        path: Some(root.path().to_owned()),
        source: errno.into(),
    };
    let mut total = Reaped::default();
    for entry in sys::list(root.fd()).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if names::is_ours(entry.file_name().to_bytes()) {
            sweep_one(root, entry.file_name(), &mut total);
        }
    }
    Ok(total)
}

fn sweep_one(root: &Root, name: &CStr, total: &mut Reaped) {
    let opened = retry_on_intr(|| sys::openat(root.fd(), name, OPEN_DIRECTORY, Mode::empty()));
    let fd = match opened {
        Ok(fd) => fd,
        // Gone, no directory, a link, or another user's.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS) => return,
        Err(_) => {
            total.failed_directories += 1;
            return;
        }
    };
    if !sys::fstat(&fd).is_ok_and(|stat| is_mine(&stat)) {
        return;
    }
    match retry_on_intr(|| sys::flock(&fd, FlockOperation::NonBlockingLockExclusive)) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            total.live_directories += 1;
            return;
        }
        Err(_) => {
            total.failed_directories += 1;
            return;
        }
    }
    let removed = remove(root, name, std::os::fd::AsFd::as_fd(&fd));
    total.files += removed.files;
    total.freed_bytes += removed.bytes;
    match removed.end {
        End::Removed => total.directories += 1,
        End::GoneBefore => {}
        End::Left => {
            total.failed_directories += 1;
            // A child forked meanwhile may share the descriptor; the dead
            // directory must not look alive for as long as that child lives.
            let _ = sys::flock(&fd, FlockOperation::Unlock);
        }
    }
}

/// What became of one directory.
pub(super) struct Removed {
    files: u64,
    bytes: u64,
    end: End,
}

enum End {
    Removed,
    /// Another sweep was faster, or the name is another directory's by now.
    GoneBefore,
    /// Something in it could not be removed.
    Left,
}

/// Removes all files in the directory `fd`, which the caller has locked, and
/// then its name.
pub(super) fn remove(
    root: &Root,
    name: impl rustix::path::Arg + Copy,
    fd: BorrowedFd<'_>,
) -> Removed {
    let mut removed = Removed {
        files: 0,
        bytes: 0,
        end: End::Left,
    };
    for _ in 0..PASSES {
        let files_before = removed.files;
        remove_files(fd, &mut removed);
        removed.end = remove_name(root, name, fd);
        if !matches!(removed.end, End::Left) || removed.files == files_before {
            break;
        }
    }
    removed
}

/// One pass over the directory. Subdirectories are never ours, and stay.
fn remove_files(fd: BorrowedFd<'_>, removed: &mut Removed) {
    let Ok(entries) = sys::list(fd) else {
        return;
    };
    for entry in entries {
        let Ok(entry) = entry else { return };
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") || entry.file_type() == FileType::Directory {
            continue;
        }
        let bytes = freed_bytes(fd, name);
        if retry_on_intr(|| sys::unlinkat(fd, name, AtFlags::empty())).is_ok() {
            removed.files += 1;
            removed.bytes += bytes;
        }
    }
}

/// What unlinking the file gives back, as far as this name decides it.
fn freed_bytes(fd: BorrowedFd<'_>, name: &CStr) -> u64 {
    match sys::lstatat(fd, name) {
        Ok(stat) if stat.st_nlink == 1 => {
            u64::try_from(stat.st_blocks).unwrap_or_default() * BLOCK_BYTES
        }
        _ => 0,
    }
}

fn remove_name(root: &Root, name: impl rustix::path::Arg + Copy, fd: BorrowedFd<'_>) -> End {
    let named = match sys::lstatat(root.fd(), name) {
        Ok(named) => named,
        Err(Errno::NOENT) => return End::GoneBefore,
        Err(_) => return End::Left,
    };
    let Ok(locked) = sys::fstat(fd) else {
        return End::Left;
    };
    if !is_same_file(&named, &locked) {
        return End::GoneBefore;
    }
    match retry_on_intr(|| sys::unlinkat(root.fd(), name, AtFlags::REMOVEDIR)) {
        Ok(()) => End::Removed,
        Err(Errno::NOENT) => End::GoneBefore,
        Err(_) => End::Left,
    }
}
