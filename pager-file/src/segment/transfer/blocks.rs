//! [`BlockIo`]: the system calls that move blocks, and no others.
//!
//! Guarantees that a transfer is whole: interrupted calls are repeated, short
//! ones continued, and a file that ends early is an error; and that no block is
//! shown to anybody before it is what was written.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use pager_core::{Error, Result, Window};

use super::super::checksums::Damage;
use super::super::file::SegmentFile;
use super::super::io_mode::{BLOCK_BYTES, SegmentIo};
use super::super::proof::{Place, Proof, Protection};
use super::super::staging::StagingPool;
use super::super::stats::Counters;
use super::CACHED_BYTES;
use crate::{BACKEND, sys};

/// `RWF_DONTCACHE`, which rustix does not name yet.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(in super::super) const DONTCACHE: rustix::io::ReadWriteFlags =
    rustix::io::ReadWriteFlags::from_bits_retain(0x80);

/// Bytes of a file that may wait in the page cache before they are written out
/// and dropped.
const MAX_DIRTY_BYTES: u64 = 8 << 20;

/// The blocks of one stored payload.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Blocks<'a> {
    pub(in super::super) file: &'a SegmentFile,
    /// Where they begin.
    pub(in super::super) place: Place,
    pub(in super::super) proof: &'a Proof,
}

/// Moves blocks of segment files.
#[derive(Debug)]
pub(in super::super) struct BlockIo {
    pub(in super::super) mode: SegmentIo,
    pub(in super::super) staging: StagingPool,
    pub(in super::super) protection: Protection,
    counters: Arc<Counters>,
    /// For errors.
    directory: PathBuf,
}

impl BlockIo {
    pub(in super::super) fn new(
        mode: SegmentIo,
        staging: StagingPool,
        protection: Protection,
        counters: Arc<Counters>,
        directory: PathBuf,
    ) -> Self {
        Self {
            mode,
            staging,
            protection,
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
                Err(errno) => return Err(self.failed("write", "pwrite64", len, errno)),
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

    /// Reads whole blocks, from byte `at` of the payload on, into all of `buffer`.
    ///
    /// # Errors
    ///
    /// Typed; `buffer` holds anything then.
    pub(super) fn read(&self, blocks: Blocks<'_>, at: usize, buffer: &mut [u8]) -> Result<()> {
        self.transfer(blocks, at, buffer)?;
        self.verify(blocks, at, buffer)
    }

    /// Reads whole blocks, from byte `at` of the payload on, into all of `buffer`,
    /// and copies the bytes `wanted` of it to `window`, each piece as soon as it is
    /// verified, while it is still in the processor's cache.
    ///
    /// # Errors
    ///
    /// Typed; some of the window may have been filled.
    pub(super) fn read_through(
        &self,
        blocks: Blocks<'_>,
        at: usize,
        buffer: &mut [u8],
        wanted: Range<usize>,
        window: &mut Window<'_>,
    ) -> Result<()> {
        self.transfer(blocks, at, buffer)?;
        for (index, piece) in buffer.chunks_mut(CACHED_BYTES).enumerate() {
            let start = index * CACHED_BYTES;
            self.verify(blocks, at + start, piece)?;
            let from = wanted.start.saturating_sub(start).min(piece.len());
            let to = wanted.end.saturating_sub(start).min(piece.len());
            window.copy_from(&piece[from..to]);
        }
        Ok(())
    }

    /// Reads into all of `buffer` what nobody may look at before it is verified.
    fn transfer(&self, blocks: Blocks<'_>, at: usize, buffer: &mut [u8]) -> Result<()> {
        let len = buffer.len();
        let mut done = 0;
        while done < len {
            let offset_bytes = blocks.place.offset_bytes + (at + done) as u64;
            match sys::pread(blocks.file, &mut buffer[done..], offset_bytes) {
                Ok(read) => {
                    self.counters.count_read(read);
                    done += self.progress(blocks, at + done, self.usable(read))?;
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(self.failed("read", "pread64", len, errno)),
            }
        }
        self.forget(blocks.file, blocks.place.offset_bytes + at as u64, len);
        Ok(())
    }

    /// Reads `len` bytes, whole blocks, from byte `at` of the payload on straight
    /// into `window`.
    ///
    /// # Errors
    ///
    /// Typed; some of the window may have been filled.
    pub(super) fn fill(
        &self,
        blocks: Blocks<'_>,
        at: usize,
        len: usize,
        window: &mut Window<'_>,
    ) -> Result<()> {
        let mut done = 0;
        while done < len {
            let offset_bytes = blocks.place.offset_bytes + (at + done) as u64;
            let filled = window.fill_with(len - done, |unfilled| {
                let filled = sys::pread_uninit(blocks.file, unfilled, offset_bytes)?;
                self.counters.count_read(filled.len());
                let usable = self.usable(filled.len());
                Ok(&mut filled[..usable])
            });
            match filled {
                Ok(filled) => done += self.progress(blocks, at + done, filled)?,
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(self.failed("read", "pread64", len, errno)),
            }
        }
        self.forget(blocks.file, blocks.place.offset_bytes + at as u64, len);
        self.verify(blocks, at, window.last_filled(len))
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
            match rustix::io::retry_on_intr(|| sys::fdatasync(file)) {
                Ok(()) => drop_cached(file, 0, None),
                // Then the kernel writes and drops them when it sees fit.
                Err(errno) if sys::is_refusal(errno) => {}
                Err(errno) => return Err(self.error("write out", 0, errno.into())),
            }
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
            return sys::pwritev2(file, slices, offset_bytes, DONTCACHE);
        }
        sys::pwritev(file, slices, offset_bytes)
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

    /// `usable`, the bytes that a read at byte `at` of a payload brought, unless
    /// that is none: the file ends there.
    fn progress(&self, blocks: Blocks<'_>, at: usize, usable: usize) -> Result<usize> {
        if usable > 0 {
            return Ok(usable);
        }
        Err(match blocks.proof.missing(at) {
            Some(damage) => self.corrupt(damage),
            None => self.error("read", BLOCK_BYTES, io::ErrorKind::UnexpectedEof.into()),
        })
    }

    /// Compares `bytes`, read from byte `at` of a payload on, with what was written, and
    /// makes them readable.
    fn verify(&self, blocks: Blocks<'_>, at: usize, bytes: &mut [u8]) -> Result<()> {
        self.protection
            .verify(blocks.proof, blocks.place, at, bytes)
            .map_err(|damage| self.corrupt(damage))
    }

    fn corrupt(&self, damage: Damage) -> Error {
        self.counters.count_corrupt_read();
        Error::Corrupt {
            backend: BACKEND,
            handle: None,
            offset_bytes: damage.offset_bytes,
            expected: damage.expected,
            found: damage.found,
            path: Some(self.directory.clone()),
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

    fn failed(
        &self,
        operation: &'static str,
        call: &'static str,
        len: usize,
        errno: rustix::io::Errno,
    ) -> Error {
        self.error(sys::attempted(operation, call, errno), len, errno.into())
    }

    fn error(&self, operation: &'static str, len: usize, source: io::Error) -> Error {
        let path = Some(self.directory.clone());
        Error::from_io(BACKEND, operation, path, len as u64, source)
    }
}

/// Advice: refused, it costs memory and nothing else. Pages that are dirty stay.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn drop_cached(file: &SegmentFile, offset_bytes: u64, len: Option<std::num::NonZeroU64>) {
    let _ = sys::fadvise(file, offset_bytes, len, rustix::fs::Advice::DontNeed);
}
