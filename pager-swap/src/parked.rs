//! [`Parked`]: a payload in its slot, and what is known of where its bytes are.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use pager_core::ChunkBuf;

use crate::live::Key;
use crate::read_back::Readable;
use crate::watch::Watch;

/// A payload in its slot.
#[derive(Debug)]
pub(crate) struct Parked {
    pub(crate) words: ChunkBuf,
    pub(crate) key: Key,
    /// Bytes that were seen to leave memory when the payload was paged out.
    pub(crate) left_bytes: usize,
    /// Bytes that were seen to stay.
    pub(crate) stayed_bytes: usize,
    read_back_bytes: AtomicUsize,
    /// Whether all of it has been prefetched. Relaxed: saves a hint, no more.
    pub(crate) prefetched: AtomicBool,
    /// Whether somebody else's budget counts what came back. Relaxed: set and
    /// read under that one's lock.
    pub(crate) budgeted: AtomicBool,
}

impl Parked {
    /// A payload that has just been paged out.
    pub(crate) fn new(words: ChunkBuf, key: Key, left_bytes: usize, stayed_bytes: usize) -> Self {
        Self {
            words,
            key,
            left_bytes,
            stayed_bytes,
            read_back_bytes: AtomicUsize::new(0),
            prefetched: AtomicBool::new(false),
            budgeted: AtomicBool::new(false),
        }
    }

    pub(crate) fn len_bytes(&self) -> usize {
        size_of_val(&*self.words)
    }

    /// Whether all of `ranges` was paged in, and is seen to be mapped still.
    ///
    /// Nothing has to be asked of the kernel then, which would look at every page.
    pub(crate) fn is_paged_in(&self, watch: &Watch, ranges: &[Range<usize>]) -> bool {
        let start = ranges.iter().map(|range| range.start).min().unwrap_or(0);
        let end = ranges.iter().map(|range| range.end).max().unwrap_or(0);
        self.budgeted.load(Ordering::Relaxed) && watch.is_mapped(&self.words[start..end])
    }
}

impl Readable for Parked {
    fn read_back_bytes(&self) -> &AtomicUsize {
        &self.read_back_bytes
    }

    fn len_bytes(&self) -> usize {
        Parked::len_bytes(self)
    }
}
