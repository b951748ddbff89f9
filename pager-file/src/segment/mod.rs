//! The default mode: extents in a few large segment files.
//!
//! ```text
//! mod        SegmentStore: page out, read, free
//! space      segment files, and what is free in them
//! punches    what is on its way back to the file system
//! allocator  which bytes belong to whom      (span, spans: its words and ranges)
//! file       one segment file
//! io_mode    direct or buffered, and why     (trial: whether what is relied on holds)
//! transfer   blocks on their way              (write, read, and the calls)
//! staging    aligned buffers for memory that is not
//! proof      what blocks must be when they come back  (checksums, seals: two kinds of it)
//! stats      what all of this looks like from outside
//! ```
//!
//! A page-out reserves quota, takes an extent that has storage behind it, and
//! writes into it; each step that fails undoes those before it. Blocks are
//! 4 KiB: every transfer is whole blocks.

mod allocator;
mod checksums;
mod file;
mod io_mode;
mod proof;
mod punches;
#[cfg(feature = "encryption")]
mod seals;
mod space;
mod span;
mod spans;
mod staging;
mod stats;
mod transfer;
mod trial;

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use pager_core::{Error, Payload, Result, SizeClass, TransferMemory, Usage, Window};

use crate::BACKEND;
use crate::config::FileConfig;
use crate::quota::Quota;
use crate::scratch::ScratchDir;
use crate::{size_limit, sys};

use file::SegmentFile;
use io_mode::IoPlan;
use proof::{Place, Proof, Protection};
use space::Space;
use span::Extent;
use staging::StagingPool;
use stats::Counters;
use transfer::{BlockIo, Blocks};

pub use io_mode::SegmentIo;
pub use stats::SegmentStats;

/// Stores payloads as extents of segment files.
///
/// The files have no names, so there is nothing to remove; a forked child that
/// drops its copy closes descriptors and no more.
#[derive(Debug)]
pub(crate) struct SegmentStore {
    directory: Arc<ScratchDir>,
    plan: IoPlan,
    io: BlockIo,
    quota: Quota,
    space: Arc<Space>,
    counters: Arc<Counters>,
}

/// Where one payload lies.
#[derive(Debug)]
pub(crate) struct SegmentSlot {
    /// `None` for an empty payload.
    extent: Option<Extent>,
    proof: Proof,
    len_bytes: u64,
}

impl SegmentStore {
    /// A store in `directory`, without a segment. Tries direct I/O once.
    ///
    /// # Errors
    ///
    /// Those of creating a file there, and [`Error::Io`] if direct I/O is asked
    /// for and cannot be had, or there are no random bytes for a key.
    pub(crate) fn open(directory: Arc<ScratchDir>, config: &FileConfig) -> Result<Self> {
        let staging = StagingPool::new();
        let plan = IoPlan::choose(config.io, directory.fd(), &staging)
            .map_err(|failed| error(&directory, "set up I/O", 0, failed.0))?;
        let counters = Arc::new(Counters::default());
        let io = BlockIo::new(
            plan.mode,
            staging,
            protection(config)?,
            Arc::clone(&counters),
            directory.path().to_owned(),
        );
        Ok(Self {
            quota: Quota::of_directory(config.quota_bytes, directory.path()),
            space: Arc::new(Space::new(
                config.slack,
                size_limit::max_file_bytes(),
                Arc::clone(&counters),
            )),
            directory,
            plan,
            io,
            counters,
        })
    }

    /// Has staging buffers count as the transfers of a registry.
    pub(crate) fn attach(&self, memory: &TransferMemory) {
        self.io.staging.attach(memory);
    }

    /// Bytes of memory that the checksums or seals of a slot take.
    pub(crate) fn slot_bytes(slot: &SegmentSlot) -> usize {
        slot.proof.memory_bytes()
    }

    /// Stores a payload and empties its chunks, which keep their capacity.
    ///
    /// # Errors
    ///
    /// [`Error::QuotaExceeded`], [`Error::OutOfSpace`], [`Error::OutOfMemory`],
    /// [`Error::Io`], and [`Error::ForeignProcess`] in a forked child; the chunks
    /// are as they were, and nothing is left.
    pub(crate) fn page_out(&self, payload: &mut Payload<'_>) -> Result<SegmentSlot> {
        let len_bytes = payload.len_bytes();
        if len_bytes == 0 {
            payload.clear();
            return Ok(SegmentSlot {
                extent: None,
                proof: Proof::default(),
                len_bytes: 0,
            });
        }
        // The child's allocator would hand out what its parent uses meanwhile.
        if !self.directory.is_own() {
            return Err(Error::ForeignProcess);
        }
        let class = SizeClass::for_bytes(len_bytes);
        let reservation = self.quota.reserve(class.bytes() as u64)?;
        let (extent, proof) = self.store(class, payload)?;
        payload.clear();
        reservation.keep();
        self.count_logical(len_bytes as u64);
        Ok(SegmentSlot {
            extent: Some(extent),
            proof,
            len_bytes: len_bytes as u64,
        })
    }

    /// Writes a payload into an extent of its own. Where storage is not promised ahead,
    /// or overwriting takes more of it, the medium turns out to be full here: what is
    /// free then makes room, and the write is done again elsewhere.
    fn store(&self, class: SizeClass, payload: &Payload<'_>) -> Result<(Extent, Proof)> {
        let (mut unfit, mut attempts) = (Vec::new(), 0);
        let stored = loop {
            attempts += 1;
            let given_bytes = self.space.given_bytes();
            let acquired = self.space.acquire(class, &|| self.create_segment());
            let extent = match acquired {
                Ok(extent) => extent,
                Err(failed) => {
                    let len_bytes = payload.len_bytes() as u64;
                    break Err(error(&self.directory, "allocate", len_bytes, failed));
                }
            };
            let failed = match self.write(&extent, payload) {
                Ok(proof) => break Ok((extent, proof)),
                Err(failed) => failed,
            };
            let is_full = failed.is_out_of_space();
            // Part of it may have taken what the next attempt needs.
            unfit.extend(self.space.give_back(extent, is_full));
            if !is_full || !self.space.makes_room(class, given_bytes, attempts) {
                break Err(failed);
            }
        };
        for extent in unfit {
            self.space.release_unwritten(extent);
        }
        stored
    }

    fn write(&self, extent: &Extent, payload: &Payload<'_>) -> Result<Proof> {
        let end_bytes = extent.offset_bytes() + extent.len_bytes();
        let len_bytes = payload.len_bytes() as u64;
        size_limit::check(end_bytes)
            .map_err(|errno| error(&self.directory, "write", len_bytes, errno.into()))?;
        let file = self.space.file(extent);
        self.io.write_payload(file, place(extent), payload)
    }

    /// Fills `window` with `ranges`, which lie within the payload.
    ///
    /// # Errors
    ///
    /// [`Error::Io`], [`Error::Corrupt`] and [`Error::OutOfMemory`];
    /// [`Error::ForeignProcess`] in a forked child.
    pub(crate) fn read(
        &self,
        slot: &SegmentSlot,
        ranges: &[Range<usize>],
        window: &mut Window<'_>,
    ) -> Result<()> {
        let Some(extent) = &slot.extent else {
            return Ok(());
        };
        // A child has no key.
        if !self.directory.is_own() {
            return Err(Error::ForeignProcess);
        }
        let blocks = Blocks {
            file: self.space.file(extent),
            place: place(extent),
            proof: &slot.proof,
        };
        self.io.read_ranges(blocks, ranges, window)
    }

    /// Gives an extent back for reuse. Does not wait for the device.
    ///
    /// In a forked child it does nothing: the file is the parent's.
    pub(crate) fn free(&self, slot: SegmentSlot) {
        let Some(extent) = slot.extent else { return };
        if !self.directory.is_own() {
            return;
        }
        let stored_bytes = extent.len_bytes();
        self.counters
            .logical_bytes
            .fetch_sub(slot.len_bytes, Ordering::Relaxed);
        // In this order: who is let in by the quota finds the extent.
        self.space.release(extent);
        self.quota.give_back(stored_bytes);
    }

    /// Gives all storage that holds nothing back to the file system, and says
    /// how many bytes that was: zero where the file system cannot take it.
    ///
    /// # Errors
    ///
    /// [`Error::Io`]; what was not given back stays for reuse.
    pub(crate) fn trim(&self) -> Result<u64> {
        self.space
            .trim()
            .map_err(|failed| error(&self.directory, "punch a hole", 0, failed))
    }

    /// Bytes of the extent that a payload lies in.
    pub(crate) fn stored_bytes(&self, slot: &SegmentSlot) -> u64 {
        slot.extent.as_ref().map_or(0, Extent::len_bytes)
    }

    /// How what is stored is encrypted, if it is.
    #[cfg(feature = "encryption")]
    pub(crate) fn encryption(&self) -> Option<crate::Encryption> {
        match &self.io.protection {
            Protection::Seals(cipher) => Some(crate::Encryption {
                cipher: "AES-256-GCM",
                key: cipher.guards(),
            }),
            Protection::None | Protection::Checksums => None,
        }
    }

    /// What the store holds. No system call.
    pub(crate) fn usage(&self) -> Usage {
        let mut usage = Usage::default();
        usage.logical_bytes = self.counters.logical_bytes.load(Ordering::Relaxed);
        usage.stored_bytes = self.quota.used_bytes();
        usage.how = Cow::Owned(format!("{}: {}", self.plan.mode, self.plan.reason));
        #[cfg(feature = "encryption")]
        if let Some(encryption) = self.encryption() {
            usage.how = format!("{}; {encryption}", usage.how).into();
        }
        usage
    }

    /// What the store holds and has done. No system call.
    pub(crate) fn stats(&self) -> SegmentStats {
        let (bytes, segment_count) = self.space.usage();
        let counters = &self.counters;
        SegmentStats {
            io: self.plan.mode,
            reason: self.plan.reason.clone(),
            segment_count,
            logical_bytes: counters.logical_bytes.load(Ordering::Relaxed),
            stored_bytes: bytes.live,
            freed_bytes: bytes.freed,
            reserved_bytes: bytes.fresh,
            quota_bytes: self.quota.limit_bytes(),
            write_calls: counters.write_calls.load(Ordering::Relaxed),
            written_bytes: counters.written_bytes.load(Ordering::Relaxed),
            read_calls: counters.read_calls.load(Ordering::Relaxed),
            read_bytes: counters.read_bytes.load(Ordering::Relaxed),
            allocate_calls: counters.allocate_calls.load(Ordering::Relaxed),
            allocates_ahead: self.space.allocates_ahead(),
            punch_calls: counters.punch_calls.load(Ordering::Relaxed),
            punched_bytes: counters.punched_bytes.load(Ordering::Relaxed),
            punches_holes: self.space.punches_holes(),
            verifies: self.io.protection.verifies(),
            corrupt_reads: counters.corrupt_reads.load(Ordering::Relaxed),
        }
    }

    fn create_segment(&self) -> std::io::Result<SegmentFile> {
        let file = SegmentFile::create_in(self.directory.fd())?;
        self.plan.prepare(&file)?;
        Ok(file)
    }

    fn count_logical(&self, bytes: u64) {
        self.counters
            .logical_bytes
            .fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for SegmentStore {
    fn drop(&mut self) {
        // The files vanish with the store; giving parts of them back first is
        // no use.
        self.space.close();
    }
}

fn protection(config: &FileConfig) -> Result<Protection> {
    #[cfg(feature = "encryption")]
    if config.encryption {
        return Ok(Protection::Seals(seals::Cipher::new()?));
    }
    Ok(match config.checksums {
        true => Protection::Checksums,
        false => Protection::None,
    })
}

fn place(extent: &Extent) -> Place {
    Place {
        segment: extent.segment(),
        offset_bytes: extent.offset_bytes(),
    }
}

/// What is refused for good here is making a file: everything else is done without, or
/// tells by itself.
fn error(
    directory: &ScratchDir,
    operation: &'static str,
    needed_bytes: u64,
    source: std::io::Error,
) -> Error {
    let errno = rustix::io::Errno::from_io_error(&source);
    let operation = errno.map_or(operation, |errno| {
        sys::attempted(operation, "openat", errno)
    });
    Error::from_io(
        BACKEND,
        operation,
        Some(directory.path().to_owned()),
        needed_bytes,
        source,
    )
}

#[cfg(test)]
mod tests;
