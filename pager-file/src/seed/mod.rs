//! The published strategy: one named file per payload in the scratch directory,
//! through the page cache. Kept as the reference that everything else is
//! measured against.
//!
//! ```text
//! mod       SeedStore: create, read, remove
//! transfer  the bytes of one file: a vectored write, reads of merged ranges
//! ```
//!
//! A file is created exclusively, written whole and closed; no descriptor stays
//! open, so the number of live payloads does not depend on `ulimit -n`. A write
//! that fails removes its file before the error is returned. Refuses direct I/O.

mod transfer;

use std::ops::Range;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use pager_core::{Error, Payload, Result, ScratchProblem, Usage, Window};
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use crate::BACKEND;
use crate::quota::Quota;
use crate::scratch::{FILE_MODE, ScratchDir, ensure_file_mode};
use crate::{size_limit, sys};

/// How often a name that exists already is passed over. The directory is ours
/// alone, so even one is a surprise.
const NAME_ATTEMPTS: usize = 16;

/// Stores each payload in a file of its own.
#[derive(Debug)]
pub(crate) struct SeedStore {
    directory: Arc<ScratchDir>,
    quota: Quota,
    /// Relaxed: each number is handed out once, in whatever order.
    next_number: AtomicU64,
    /// Relaxed: statistics.
    file_count: AtomicU64,
    failed_removals: AtomicU64,
}

/// Which file one payload is in.
#[derive(Debug)]
pub(crate) struct SeedSlot {
    /// `None` for an empty payload, which has no file.
    number: Option<u64>,
    len_bytes: u64,
}

impl SeedStore {
    /// A store in `directory`. No system call.
    pub(crate) fn new(directory: Arc<ScratchDir>, quota_bytes: Option<u64>) -> Self {
        Self {
            quota: Quota::of_directory(quota_bytes, directory.path()),
            directory,
            next_number: AtomicU64::new(0),
            file_count: AtomicU64::new(0),
            failed_removals: AtomicU64::new(0),
        }
    }

    /// Writes a payload to a file of its own and empties its chunks, which keep
    /// their capacity.
    ///
    /// # Errors
    ///
    /// [`Error::QuotaExceeded`], [`Error::OutOfSpace`], [`Error::OutOfMemory`],
    /// [`Error::ScratchUnavailable`] if the directory is gone, and
    /// [`Error::Io`]. The chunks are as they were, and no file is left.
    pub(crate) fn page_out(&self, payload: &mut Payload<'_>) -> Result<SeedSlot> {
        let len_bytes = payload.len_bytes() as u64;
        if payload.is_empty() {
            payload.clear();
            return Ok(SeedSlot {
                number: None,
                len_bytes,
            });
        }
        if !self.directory.is_own() {
            return Err(Error::ForeignProcess);
        }
        let reservation = self.quota.reserve(len_bytes)?;
        let number = self.write_file(payload)?;
        reservation.keep();
        self.file_count.fetch_add(1, Ordering::Relaxed);
        payload.clear();
        Ok(SeedSlot {
            number: Some(number),
            len_bytes,
        })
    }

    /// Fills `window` with `ranges`: one call for each run of ranges
    /// that touch.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]: also if the file is shorter than the payload.
    pub(crate) fn read(
        &self,
        slot: &SeedSlot,
        ranges: &[Range<usize>],
        window: &mut Window<'_>,
    ) -> Result<()> {
        let Some(number) = slot.number else {
            return Ok(());
        };
        if window.is_empty() {
            return Ok(());
        }
        let name = file_name(number);
        let file = self
            .open(&name)
            .map_err(|errno| self.failed("open", &name, window.remaining_bytes(), errno))?;
        transfer::read_ranges(&file, ranges, window).map_err(|errno| {
            let operation = sys::attempted("read", "pread64", errno);
            self.failed(operation, &name, window.remaining_bytes(), errno)
        })
    }

    /// Asks the kernel to read `range` ahead. Only Linux is asked.
    pub(crate) fn prefetch(&self, slot: &SeedSlot, range: Range<usize>) {
        let Some(number) = slot.number else { return };
        if !range.is_empty() {
            // A hint: whatever fails will fail again, and be told, in the read.
            if let Ok(file) = self.open(&file_name(number)) {
                transfer::read_ahead(&file, range);
            }
        }
    }

    /// Removes the file of a payload.
    ///
    /// In a forked child it does nothing: the file is the parent's.
    pub(crate) fn free(&self, slot: SeedSlot) {
        let Some(number) = slot.number else { return };
        if !self.directory.is_own() {
            return;
        }
        if self.remove(&file_name(number)).is_err() {
            // It cannot be written to any more, and goes with the directory.
            self.failed_removals.fetch_add(1, Ordering::Relaxed);
        }
        self.file_count.fetch_sub(1, Ordering::Relaxed);
        self.quota.give_back(slot.len_bytes);
    }

    /// Length of the file of a payload.
    pub(crate) fn stored_bytes(&self, slot: &SeedSlot) -> u64 {
        slot.len_bytes
    }

    /// What the store holds. No system call.
    pub(crate) fn usage(&self) -> Usage {
        let used_bytes = self.quota.used_bytes();
        let mut usage = Usage::default();
        usage.logical_bytes = used_bytes;
        usage.stored_bytes = used_bytes;
        usage.how = Self::IO_REASON.into();
        usage
    }

    /// Why bytes travel as they do.
    pub(crate) const IO_REASON: &str =
        "one file per payload through the page cache, as the seed mode is defined";

    pub(crate) fn quota(&self) -> &Quota {
        &self.quota
    }

    pub(crate) fn file_count(&self) -> u64 {
        self.file_count.load(Ordering::Relaxed)
    }

    pub(crate) fn failed_removals(&self) -> u64 {
        self.failed_removals.load(Ordering::Relaxed)
    }

    fn write_file(&self, payload: &Payload<'_>) -> Result<u64> {
        let (number, file) = self.create(payload.len_bytes())?;
        let written = size_limit::check(payload.len_bytes() as u64)
            .and_then(|()| transfer::write_payload(&file, payload))
            .and_then(|()| close(file));
        written.map(|()| number).map_err(|errno| {
            let name = file_name(number);
            if self.remove(&name).is_err() {
                self.failed_removals.fetch_add(1, Ordering::Relaxed);
            }
            let operation = sys::attempted("write", "pwrite64", errno);
            self.failed(operation, &name, payload.len_bytes(), errno)
        })
    }

    fn create(&self, needed_bytes: usize) -> Result<(u64, OwnedFd)> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        for _ in 0..NAME_ATTEMPTS {
            let number = self.next_number.fetch_add(1, Ordering::Relaxed);
            let name = file_name(number);
            let opened =
                retry_on_intr(|| sys::openat(self.directory.fd(), &name, flags, FILE_MODE));
            let file = match opened {
                Ok(file) => file,
                Err(Errno::EXIST) => continue,
                Err(errno) => {
                    let operation = sys::attempted("create", "openat", errno);
                    return Err(self.failed(operation, &name, needed_bytes, errno));
                }
            };
            if let Err(errno) = ensure_file_mode(&file) {
                let _ = self.remove(&name);
                return Err(self.failed("create", &name, needed_bytes, errno));
            }
            return Ok((number, file));
        }
        let name = file_name(self.next_number.load(Ordering::Relaxed));
        Err(self.failed("create", &name, needed_bytes, Errno::EXIST))
    }

    fn open(&self, name: &str) -> rustix::io::Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        retry_on_intr(|| sys::openat(self.directory.fd(), name, flags, Mode::empty()))
    }

    fn remove(&self, name: &str) -> rustix::io::Result<()> {
        retry_on_intr(|| sys::unlinkat(self.directory.fd(), name, AtFlags::empty()))
    }

    fn failed(&self, operation: &'static str, name: &str, bytes: usize, errno: Errno) -> Error {
        if operation == "create" && errno == Errno::NOENT {
            // A file that is being created can only be missing its directory.
            return Error::ScratchUnavailable {
                path: self.directory.path().to_owned(),
                problem: ScratchProblem::Missing,
                call: None,
                source: Some(errno.into()),
            };
        }
        let path = self.directory.path().join(name);
        Error::from_io(BACKEND, operation, Some(path), bytes as u64, errno.into())
    }
}

fn file_name(number: u64) -> String {
    format!("{number:016x}")
}

/// Closes a file that was written, and says what dropping would not: network
/// file systems report a failed write only here.
fn close(file: OwnedFd) -> rustix::io::Result<()> {
    match sys::close(file) {
        // Interrupted or not, the descriptor is closed.
        Ok(()) | Err(Errno::INTR) => Ok(()),
        failed => failed,
    }
}
