//! [`Parked`]: a payload in its slot, and what is known of where its bytes are.

use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use pager_core::ChunkBuf;

use crate::live::Key;
use crate::watch::Watch;

/// A payload in its slot.
#[derive(Debug)]
pub(crate) struct Parked {
    pub(crate) bytes: ChunkBuf<u8>,
    pub(crate) key: Key,
    /// Bytes that were seen to leave memory when the payload was paged out.
    pub(crate) left_bytes: usize,
    /// Bytes that were seen to stay.
    pub(crate) stayed_bytes: usize,
    /// Bytes that reads and fetches have brought back and that were not let go since:
    /// at most what left. Relaxed: a statistic.
    back_bytes: AtomicUsize,
    /// Whether all of it has been prefetched. Relaxed: saves a hint, no more.
    pub(crate) prefetched: AtomicBool,
    /// Whether something has been paged in ahead of reads, so that it pays to look
    /// before populating. Relaxed: as above.
    pub(crate) paged_in: AtomicBool,
}

impl Parked {
    /// A payload that has just been paged out.
    pub(crate) fn new(
        bytes: ChunkBuf<u8>,
        key: Key,
        left_bytes: usize,
        stayed_bytes: usize,
    ) -> Self {
        Self {
            bytes,
            key,
            left_bytes,
            stayed_bytes,
            back_bytes: AtomicUsize::new(0),
            prefetched: AtomicBool::new(false),
            paged_in: AtomicBool::new(false),
        }
    }

    pub(crate) fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Whether all of `ranges` was paged in, and is seen to be mapped still.
    ///
    /// Nothing has to be asked of the kernel then, which would look at every page.
    pub(crate) fn is_paged_in(&self, watch: &Watch, ranges: &[Range<usize>]) -> bool {
        let start = ranges.iter().map(|range| range.start).min().unwrap_or(0);
        let end = ranges.iter().map(|range| range.end).max().unwrap_or(0);
        self.paged_in.load(Ordering::Relaxed) && watch.is_mapped(&self.bytes[start..end])
    }

    /// Counts `bytes` that have come back.
    pub(crate) fn came_back(&self, watch: &Watch, bytes: usize) {
        self.change_back(watch, |back| {
            back.saturating_add(bytes).min(self.left_bytes)
        });
    }

    /// Counts `bytes` that have been let go again.
    pub(crate) fn let_go(&self, watch: &Watch, bytes: usize) {
        self.change_back(watch, |back| back.saturating_sub(bytes));
    }

    /// Moves the difference that `change` makes from this payload's count to that of all.
    fn change_back(&self, watch: &Watch, change: impl Fn(usize) -> usize) {
        let updated = |back| Some(change(back));
        // The closure always answers, so this cannot fail.
        let before = self
            .back_bytes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, updated)
            .unwrap_or_else(|before| before);
        let after = change(before);
        watch.counters.back_bytes.add(after.saturating_sub(before));
        watch.counters.back_bytes.sub(before.saturating_sub(after));
    }
}
