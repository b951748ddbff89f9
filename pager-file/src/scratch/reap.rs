//! The sweep: removes the directories whose lock can be taken, for their owners
//! are dead, and no others.
//!
//! The numbered argument in the [module above](super) says why that is right.
//! Refuses to look at names that are not ours, to follow symbolic links, and to
//! touch what another user owns.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

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

/// When a sweep stops before its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Until<'a> {
    pub(super) deadline: Option<Instant>,
    pub(super) stops: Option<&'a AtomicBool>,
}

impl Until<'_> {
    /// At its end, however long that takes.
    pub(super) const DONE: Self = Self {
        deadline: None,
        stops: None,
    };

    fn is_over(self) -> bool {
        // Relaxed: one more directory may be swept.
        self.stops
            .is_some_and(|stops| stops.load(Ordering::Relaxed))
            || self
                .deadline
                .is_some_and(|deadline| Instant::now() >= deadline)
    }
}

/// Removes every directory of a dead process in `root`, `until` it is over, and adds
/// to `total` what that was.
///
/// # Errors
///
/// [`Error::Io`] if the root cannot be listed, unless that is refused for good: then
/// nobody sweeps here, and it is told as unfinished. What cannot be removed is
/// counted, and stays for the next sweep.
pub(super) fn sweep(root: &Root, until: Until<'_>, total: &Mutex<Reaped>) -> Result<()> {
    {
        // A sweep that goes on looks at these again.
        let mut total = lock(total);
        (total.live_directories, total.failed_directories) = (0, 0);
    }
    match sweep_listed(root, until, total) {
        Ok(is_finished) => {
            lock(total).unfinished = !is_finished;
            Ok(())
        }
        Err(errno) if sys::is_refusal(errno) => {
            lock(total).unfinished = true;
            Ok(())
        }
        Err(errno) => Err(Error::Io {
            backend: crate::BACKEND,
            operation: "list",
            path: Some(root.path().to_owned()),
            source: errno.into(),
        }),
    }
}

/// Whether it came to its end.
fn sweep_listed(root: &Root, until: Until<'_>, total: &Mutex<Reaped>) -> rustix::io::Result<bool> {
    for entry in sys::list(root.fd())? {
        let entry = entry?;
        if until.is_over() {
            return Ok(false);
        }
        if names::is_ours(entry.file_name().to_bytes()) {
            let found = sweep_one(root, entry.file_name(), until);
            add(&mut lock(total), found);
        }
    }
    Ok(!until.is_over())
}

pub(super) fn lock(total: &Mutex<Reaped>) -> MutexGuard<'_, Reaped> {
    // Numbers, whole after every statement.
    total.lock().unwrap_or_else(PoisonError::into_inner)
}

fn add(total: &mut Reaped, found: Reaped) {
    total.directories += found.directories;
    total.files += found.files;
    total.freed_bytes += found.freed_bytes;
    total.live_directories += found.live_directories;
    total.failed_directories += found.failed_directories;
}

fn sweep_one(root: &Root, name: &CStr, until: Until<'_>) -> Reaped {
    let mut total = Reaped::default();
    let opened = retry_on_intr(|| sys::openat(root.fd(), name, OPEN_DIRECTORY, Mode::empty()));
    let fd = match opened {
        Ok(fd) => fd,
        // Gone, no directory, a link, or another user's.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ACCESS) => return total,
        Err(_) => {
            total.failed_directories += 1;
            return total;
        }
    };
    if !sys::fstat(&fd).is_ok_and(|stat| is_mine(&stat)) {
        return total;
    }
    match retry_on_intr(|| sys::flock(&fd, FlockOperation::NonBlockingLockExclusive)) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => {
            total.live_directories += 1;
            return total;
        }
        Err(_) => {
            total.failed_directories += 1;
            return total;
        }
    }
    let removed = if root.is_guarded() || is_marked(fd.as_fd()) {
        remove_until(root, name, fd.as_fd(), until)
    } else {
        // Only an empty one is surely nobody's loss.
        Removed::nothing(remove_name(root, name, fd.as_fd()))
    };
    total.files += removed.files;
    total.freed_bytes += removed.bytes;
    match removed.end {
        End::Removed => total.directories += 1,
        End::GoneBefore => {}
        End::Left => {
            if !until.is_over() {
                total.failed_directories += 1;
            }
            // A child forked meanwhile may share the descriptor; the dead
            // directory must not look alive for as long as that child lives.
            let _ = sys::flock(&fd, FlockOperation::Unlock);
        }
    }
    total
}

/// Whether a directory holds the file that its maker put in, which nobody else can.
fn is_marked(fd: BorrowedFd<'_>) -> bool {
    sys::lstatat(fd, names::MARKER).is_ok_and(|stat| {
        is_mine(&stat) && FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
    })
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

impl Removed {
    fn nothing(end: End) -> Self {
        Self {
            files: 0,
            bytes: 0,
            end,
        }
    }
}

/// Removes all files in the directory `fd`, which the caller has locked, and
/// then its name.
pub(super) fn remove(root: &Root, name: impl rustix::path::Arg + Copy, fd: BorrowedFd<'_>) {
    remove_until(root, name, fd, Until::DONE);
}

fn remove_until(
    root: &Root,
    name: impl rustix::path::Arg + Copy,
    fd: BorrowedFd<'_>,
    until: Until<'_>,
) -> Removed {
    let mut removed = Removed::nothing(End::Left);
    for _ in 0..PASSES {
        let files_before = removed.files;
        let has_marker = remove_files(fd, until, &mut removed);
        if until.is_over() {
            break;
        }
        // The last of the files, so that what is left of a directory has it.
        if has_marker {
            let _ = retry_on_intr(|| sys::unlinkat(fd, names::MARKER, AtFlags::empty()));
        }
        removed.end = remove_name(root, name, fd);
        if !matches!(removed.end, End::Left) || removed.files == files_before {
            break;
        }
    }
    removed
}

/// One pass over the directory. Subdirectories are never ours, and stay; so does the
/// marker, if it may be there.
fn remove_files(fd: BorrowedFd<'_>, until: Until<'_>, removed: &mut Removed) -> bool {
    // What cannot be listed may have it.
    let Ok(entries) = sys::list(fd) else {
        return true;
    };
    let mut has_marker = false;
    for entry in entries {
        let Ok(entry) = entry else { return true };
        let name = entry.file_name();
        has_marker |= name.to_bytes() == names::MARKER.as_bytes();
        if matches!(name.to_bytes(), b"." | b"..")
            || name.to_bytes() == names::MARKER.as_bytes()
            || entry.file_type() == FileType::Directory
        {
            continue;
        }
        if until.is_over() {
            break;
        }
        let bytes = freed_bytes(fd, name);
        if retry_on_intr(|| sys::unlinkat(fd, name, AtFlags::empty())).is_ok() {
            removed.files += 1;
            removed.bytes += bytes;
        }
    }
    has_marker
}

/// What unlinking the file gives back, as far as this name decides it.
#[allow(
    clippy::useless_conversion,
    reason = "the type of the number differs between platforms"
)]
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
