//! [`SegmentFile`]: one large scratch file that has no name.
//!
//! It vanishes with the last process that has it open, whatever ends that
//! process. `O_TMPFILE` makes it where the file system can; elsewhere it is
//! created exclusively and unlinked at once.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{AtFlags, OFlags};

use super::span::Span;
use crate::scratch::{FILE_MODE, ensure_file_mode};
use crate::sys;

/// One segment file.
#[derive(Debug)]
pub(super) struct SegmentFile {
    fd: OwnedFd,
    /// Written through the page cache since the last write-out. Relaxed: only
    /// decides how often the cache is dropped.
    dirty_bytes: AtomicU64,
    copies_on_write: bool,
}

/// Whether a call did its work, or the file system has no such call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    #[cfg_attr(
        not(any(target_os = "linux", target_os = "android")),
        expect(dead_code, reason = "elsewhere there is no such call")
    )]
    Done,
    Unsupported,
}

impl SegmentFile {
    /// Creates a file without a name in `directory`.
    ///
    /// # Errors
    ///
    /// What the system said to the creation.
    pub(super) fn create_in(directory: BorrowedFd<'_>) -> io::Result<Self> {
        let fd = match create_unnamed(directory) {
            Err(error) if lacks_unnamed_files(error) => create_and_unlink(directory)?,
            created => created?,
        };
        ensure_file_mode(&fd)?;
        let copies_on_write = overwrite_in_place(&fd);
        Ok(Self {
            fd,
            dirty_bytes: AtomicU64::new(0),
            copies_on_write,
        })
    }

    /// Whether the file system is one that would write every change elsewhere, had it
    /// not been asked to overwrite this file in place.
    pub(super) fn copies_on_write(&self) -> bool {
        self.copies_on_write
    }

    /// Has the file system promise storage for `span`.
    ///
    /// # Errors
    ///
    /// A full medium above all.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) fn allocate(&self, span: Span) -> io::Result<Outcome> {
        outcome(self.fallocate(rustix::fs::FallocateFlags::empty(), span))
    }

    /// Gives the storage behind `span` back to the file system.
    ///
    /// # Errors
    ///
    /// Whatever the system said; the storage may still be there.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) fn punch(&self, span: Span) -> io::Result<Outcome> {
        use rustix::fs::FallocateFlags;
        outcome(self.fallocate(FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, span))
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    fn fallocate(&self, flags: rustix::fs::FallocateFlags, span: Span) -> rustix::io::Result<()> {
        // A signal ends a long allocation with EINTR and nothing done.
        rustix::io::retry_on_intr(|| {
            sys::fallocate(&self.fd, flags, span.offset_bytes, span.len_bytes)
        })
    }

    /// Other systems allocate as they write.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(super) fn allocate(&self, _span: Span) -> io::Result<Outcome> {
        Ok(Outcome::Unsupported)
    }

    /// Other systems keep what was once written.
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    pub(super) fn punch(&self, _span: Span) -> io::Result<Outcome> {
        Ok(Outcome::Unsupported)
    }

    /// Switches the file to direct I/O.
    ///
    /// # Errors
    ///
    /// `EINVAL` where the file system has none.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    pub(super) fn set_direct(&self) -> rustix::io::Result<()> {
        sys::fcntl_add_flags(&self.fd, OFlags::DIRECT)
    }

    /// Counts bytes written through the page cache; true once for about every
    /// `limit_bytes` of them.
    pub(super) fn count_dirty(&self, bytes: u64, limit_bytes: u64) -> bool {
        let dirty_bytes = self.dirty_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        dirty_bytes >= limit_bytes && self.dirty_bytes.swap(0, Ordering::Relaxed) > 0
    }
}

impl AsFd for SegmentFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Asks a file system that copies on write to overwrite this file in place, while it is
/// empty: otherwise each overwrite would take new space, storage promised ahead would
/// promise nothing, and direct I/O would not be direct. Elsewhere the flag is refused,
/// and not needed. <https://man7.org/linux/man-pages/man2/ioctl_iflags.2.html>
#[cfg(any(target_os = "linux", target_os = "android"))]
fn overwrite_in_place(fd: &OwnedFd) -> bool {
    sys::ioctl_set_nocow(fd).is_ok()
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn overwrite_in_place(_fd: &OwnedFd) -> bool {
    false
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn outcome(done: rustix::io::Result<()>) -> io::Result<Outcome> {
    match done {
        Ok(()) => Ok(Outcome::Done),
        Err(errno) if sys::is_refusal(errno) => Ok(Outcome::Unsupported),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn create_unnamed(directory: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    // With O_EXCL nobody can give the file a name later.
    let flags = OFlags::TMPFILE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    rustix::io::retry_on_intr(|| sys::openat(directory, ".", flags, FILE_MODE))
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn create_unnamed(_directory: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    Err(rustix::io::Errno::OPNOTSUPP)
}

/// A kernel before 3.11 takes `O_TMPFILE` for an attempt to write a directory. What
/// refuses more than this flag says so to the other way as well.
fn lacks_unnamed_files(errno: rustix::io::Errno) -> bool {
    use rustix::io::Errno;
    matches!(errno, Errno::ISDIR | Errno::INVAL) || sys::is_refusal(errno)
}

/// The directory is ours alone; the number only keeps threads apart.
fn create_and_unlink(directory: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::RDWR | OFlags::CLOEXEC;
    loop {
        // Relaxed: numbers need only differ.
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("segment-{}-{number}", std::process::id());
        let created = rustix::io::retry_on_intr(|| sys::openat(directory, &name, flags, FILE_MODE));
        match created {
            Ok(fd) => {
                sys::unlinkat(directory, &name, AtFlags::empty())?;
                return Ok(fd);
            }
            Err(rustix::io::Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{File, read_dir};
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn a_file_made_either_way_has_no_name_and_is_private() {
        let directory = tempfile::tempdir().unwrap();
        let opened = File::open(directory.path()).unwrap();
        let unnamed = SegmentFile::create_in(opened.as_fd()).unwrap().fd;
        let unlinked = create_and_unlink(opened.as_fd()).unwrap();
        for fd in [unnamed, unlinked] {
            let metadata = File::from(fd).metadata().unwrap();
            assert_eq!(metadata.nlink(), 0);
            assert_eq!(metadata.mode() & 0o777, 0o600);
        }
        assert_eq!(read_dir(directory.path()).unwrap().count(), 0);
    }

    #[test]
    fn storage_is_promised_and_given_back() {
        let directory = tempfile::tempdir_in("/var/tmp").unwrap();
        let opened = File::open(directory.path()).unwrap();
        let file = SegmentFile::create_in(opened.as_fd()).unwrap();
        let span = Span {
            segment: 0,
            offset_bytes: 0,
            len_bytes: 1 << 20,
        };
        if file.allocate(span).unwrap() == Outcome::Unsupported {
            println!("skipped: this file system does not allocate in advance");
            return;
        }
        let blocks = || {
            let fd = file.as_fd().try_clone_to_owned().unwrap();
            File::from(fd).metadata().unwrap().blocks()
        };
        assert!(blocks() * 512 >= 1 << 20);
        file.punch(span).unwrap();
        assert!(blocks() * 512 < 1 << 20);
    }

    #[test]
    fn the_cache_is_dropped_once_per_limit() {
        let directory = tempfile::tempdir().unwrap();
        let opened = File::open(directory.path()).unwrap();
        let file = SegmentFile::create_in(opened.as_fd()).unwrap();
        let drops = (0..10).filter(|_| file.count_dirty(4, 10)).count();
        assert_eq!(drops, 3);
    }
}
