//! [`MappedFile`]: ranges of one unlinked file, mapped while they are written and until they
//! are read.
//!
//! Blocks are allocated before a range is mapped: a page that finds the disk full when it is
//! written back ends the process. A range is announced with `MADV_WILLNEED`, populated in one
//! call when it is wanted, and punched out of the file when it is given back, so that nobody
//! writes what nobody will read.

#![allow(
    unsafe_code,
    reason = "a map of a file that another process may shorten is unsafe to make; this one has no name"
)]

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use memmap2::{Advice, MmapMut, MmapOptions};

use super::{Kept, Peer};

/// The file and which of its ranges are free.
#[derive(Debug)]
pub(super) struct MappedFile(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    file: File,
    ranges: Mutex<Ranges>,
}

/// Ranges of one length each; where one that was given back has that length, it is used again.
#[derive(Debug, Default)]
struct Ranges {
    end_bytes: u64,
    free: Vec<Range>,
}

#[derive(Debug, Clone, Copy)]
struct Range {
    offset_bytes: u64,
    len_bytes: u64,
}

/// A mapped range.
#[derive(Debug)]
struct KeptRange {
    map: MmapMut,
    word_count: usize,
    /// Dropped after the map.
    _claim: Claim,
}

/// Gives a range back.
#[derive(Debug)]
struct Claim {
    range: Range,
    shared: Arc<Shared>,
}

impl MappedFile {
    /// Makes the file.
    ///
    /// # Errors
    ///
    /// The directory cannot be written.
    pub(super) fn create(scratch: &Path) -> io::Result<Self> {
        Ok(Self(Arc::new(Shared {
            file: tempfile::tempfile_in(scratch)?,
            ranges: Mutex::default(),
        })))
    }
}

impl Shared {
    /// A range of at least one page with blocks behind it.
    fn claim(self: &Arc<Self>, len_bytes: u64) -> io::Result<Claim> {
        let len_bytes = len_bytes.next_multiple_of(1 << 16).max(1 << 16);
        let range = {
            let mut ranges = self.ranges.lock().unwrap_or_else(PoisonError::into_inner);
            let fits = |range: &Range| range.len_bytes == len_bytes;
            match ranges.free.iter().position(fits) {
                Some(place) => ranges.free.swap_remove(place),
                None => {
                    let offset_bytes = ranges.end_bytes;
                    ranges.end_bytes += len_bytes;
                    Range {
                        offset_bytes,
                        len_bytes,
                    }
                }
            }
        };
        // Given back also when what follows fails.
        let claim = Claim {
            range,
            shared: Arc::clone(self),
        };
        self.allocate(range)?;
        Ok(claim)
    }

    #[cfg(target_os = "linux")]
    fn allocate(&self, range: Range) -> io::Result<()> {
        let mode = rustix::fs::FallocateFlags::empty();
        Ok(rustix::fs::fallocate(
            &self.file,
            mode,
            range.offset_bytes,
            range.len_bytes,
        )?)
    }

    #[cfg(not(target_os = "linux"))]
    fn allocate(&self, range: Range) -> io::Result<()> {
        let end_bytes = range.offset_bytes + range.len_bytes;
        if self.file.metadata()?.len() < end_bytes {
            self.file.set_len(end_bytes)?;
        }
        Ok(())
    }
}

impl Peer for MappedFile {
    fn put(&self, words: &[u64]) -> io::Result<Box<dyn Kept>> {
        let len = size_of_val(words);
        let claim = self.0.claim(len as u64)?;
        let mut options = MmapOptions::new();
        options.offset(claim.range.offset_bytes).len(len.max(1));
        // SAFETY: the file has no name and its descriptor is ours, so nobody shortens it; the
        // range is claimed, so nobody else maps or punches it while this map lives.
        let mut map = unsafe { options.map_mut(&self.0.file) }?;
        map[..len].copy_from_slice(bytemuck::cast_slice(words));
        Ok(Box::new(KeptRange {
            map,
            word_count: words.len(),
            _claim: claim,
        }))
    }
}

impl Kept for KeptRange {
    fn word_count(&self) -> usize {
        self.word_count
    }

    fn prefetch(&self) {
        // Advice: what comes of it is a matter of speed.
        #[cfg(unix)]
        let _ = self.map.advise(Advice::WillNeed);
    }

    fn bring_back(self: Box<Self>, words: &mut [u64]) -> io::Result<()> {
        // Kernels before 5.14 do not know it, and fault page by page.
        #[cfg(target_os = "linux")]
        let _ = self.map.advise(Advice::PopulateRead);
        let bytes: &mut [u8] = bytemuck::cast_slice_mut(words);
        bytes.copy_from_slice(&self.map[..bytes.len()]);
        Ok(())
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Where holes cannot be made, the range is written again before it is read again.
        #[cfg(target_os = "linux")]
        let _ = rustix::fs::fallocate(
            &self.shared.file,
            rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE,
            self.range.offset_bytes,
            self.range.len_bytes,
        );
        let mut ranges = self
            .shared
            .ranges
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        ranges.free.push(self.range);
    }
}
