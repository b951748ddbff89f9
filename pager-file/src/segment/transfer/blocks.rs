//! [`BlockIo`]: the system calls that move blocks, and no others.
//!
//! Guarantees that a transfer is whole: interrupted calls are repeated, short
//! ones continued, and a file that ends early is an error.

use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::Arc;

use pager_core::{Error, Result, Window};

use super::super::file::SegmentFile;
use super::super::io_mode::{BLOCK_BYTES, SegmentIo};
use super::super::staging::StagingPool;
use super::super::stats::Counters;
use crate::BACKEND;

/// `RWF_DONTCACHE`, which rustix does not name yet.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(in super::super) const DONTCACHE: rustix::io::ReadWriteFlags =
    rustix::io::ReadWriteFlags::from_bits_retain(0x80);

/// Bytes of a file that may wait in the page cache before they are written out
/// and dropped.
const MAX_DIRTY_BYTES: u64 = 8 << 20;

/// Moves blocks of segment files.
#[derive(Debug)]
pub(in super::super) struct BlockIo {
    pub(in super::super) mode: SegmentIo,
    pub(in super::super) staging: StagingPool,
    counters: Arc<Counters>,
    /// For errors.
    directory: PathBuf,
}

impl BlockIo {
    pub(in super::super) fn new(
        mode: SegmentIo,
        staging: StagingPool,
        counters: Arc<Counters>,
        directory: PathBuf,
    ) -> Self {
        Self {
            mode,
            staging,
            counters,
            directory,
        }
    }

    /// Writes `slices`, whole blocks together, from `offset_bytes` on.
    ///
    /// # Errors
    ///
    /// Typed; some of the blocks may have been written.
    pub(super) fn write(
        &self,
        file: &SegmentFile,
        mut slices: &mut [IoSlice<'_>],
        offset_bytes: u64,
    ) -> Result<u64> {
        let len = slices.iter().map(|slice| slice.len()).sum::<usize>();
        let mut done = 0;
        while done < len {
            let written = match self.pwritev(file, slices, offset_bytes + done as u64) {
                Ok(written) => self.usable(written),
                Err(rustix::io::Errno::INTR) => continue,
                Err(error) => return Err(self.error("write", len, error.into())),
            };
            if written == 0 {
                return Err(self.error("write", len, io::ErrorKind::WriteZero.into()));
            }
            self.counters.count_write(written);
            done += written;
            IoSlice::advance_slices(&mut slices, written);
        }
        Ok(len as u64)
    }

    /// Reads whole blocks from `offset_bytes` on into all of `buffer`.
    ///
    /// # Errors
    ///
    /// Typed; `buffer` holds anything then.
    pub(super) fn read(
        &self,
        file: &SegmentFile,
        buffer: &mut [u8],
        offset_bytes: u64,
    ) -> Result<()> {
        let len = buffer.len();
        let mut done = 0;
        while done < len {
            let offset_bytes = offset_bytes + done as u64;
            match rustix::io::pread(file, &mut buffer[done..], offset_bytes) {
                Ok(read) => done += self.progress(read, len)?,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(self.error("read", len, error.into())),
            }
        }
        self.forget(file, offset_bytes, len);
        Ok(())
    }

    /// Reads whole blocks from `offset_bytes` on straight into `window`, at most
    /// `len` bytes, and says how many.
    ///
    /// # Errors
    ///
    /// Typed.
    pub(super) fn fill(
        &self,
        file: &SegmentFile,
        window: &mut Window<'_>,
        len: usize,
        offset_bytes: u64,
    ) -> Result<usize> {
        loop {
            let filled = window.fill_with(len, |unfilled| {
                rustix::io::pread(file, unfilled, offset_bytes).map(|(filled, _)| filled)
            });
            match filled {
                Ok(filled) => {
                    self.forget(file, offset_bytes, filled);
                    return self.progress(filled, len).map(|_| filled);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(self.error("read", len, error.into())),
            }
        }
    }

    /// Called once all of a payload is written: keeps the page cache short.
    ///
    /// # Errors
    ///
    /// Those of writing out.
    pub(super) fn finish_write(&self, file: &SegmentFile, len: u64) -> Result<()> {
        if self.mode != SegmentIo::DropBehind || !file.count_dirty(len, MAX_DIRTY_BYTES) {
            return Ok(());
        }
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            // Pages must be clean to be dropped; the advice alone would only
            // begin to write them.
            rustix::io::retry_on_intr(|| rustix::fs::fdatasync(file))
                .map_err(|error| self.error("write out", 0, error.into()))?;
            drop_cached(file, 0, None);
        }
        Ok(())
    }

    fn pwritev(
        &self,
        file: &SegmentFile,
        slices: &[IoSlice<'_>],
        offset_bytes: u64,
    ) -> rustix::io::Result<usize> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if self.mode == SegmentIo::DontCache {
            return rustix::io::pwritev2(file, slices, offset_bytes, DONTCACHE);
        }
        #[cfg(not(target_vendor = "apple"))]
        return rustix::io::pwritev(file, slices, offset_bytes);
        #[cfg(target_vendor = "apple")]
        return rustix::io::pwrite(file, &slices[0], offset_bytes);
    }

    /// What counts of `moved` bytes: a direct transfer that was cut short is
    /// taken up again at a block.
    fn usable(&self, moved: usize) -> usize {
        if self.mode.is_direct() {
            moved - moved % BLOCK_BYTES
        } else {
            moved
        }
    }

    /// Counts a read of `read` bytes.
    fn progress(&self, read: usize, len: usize) -> Result<usize> {
        self.counters.count_read(read);
        match self.usable(read) {
            0 => Err(self.error("read", len, io::ErrorKind::UnexpectedEof.into())),
            usable => Ok(usable),
        }
    }

    /// Drops what a buffered read left in the page cache.
    fn forget(&self, file: &SegmentFile, offset_bytes: u64, len: usize) {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        if !self.mode.is_direct() {
            drop_cached(file, offset_bytes, std::num::NonZeroU64::new(len as u64));
        }
        let _ = (file, offset_bytes, len);
    }

    fn error(&self, operation: &'static str, len: usize, source: io::Error) -> Error {
        let path = Some(self.directory.clone());
        Error::from_io(BACKEND, operation, path, len as u64, source)
    }
}

/// Advice: refused, it costs memory and nothing else. Pages that are dirty stay.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn drop_cached(file: &SegmentFile, offset_bytes: u64, len: Option<std::num::NonZeroU64>) {
    let _ = rustix::fs::fadvise(file, offset_bytes, len, rustix::fs::Advice::DontNeed);
}
