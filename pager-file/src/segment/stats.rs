//! [`SegmentStats`]: what a store of segments holds and has done.

use std::sync::atomic::{AtomicU64, Ordering};

use super::io_mode::SegmentIo;

/// What a store of segments holds and has done.
///
/// Taken while other threads go on: each number is right at some moment of the
/// call, and the byte counts of one state of storage are of the same moment.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SegmentStats {
    /// How bytes move between memory and the segment files.
    pub io: SegmentIo,
    /// Why they move that way, in a sentence for people.
    pub reason: String,
    /// Segment files begun: each is one file descriptor.
    pub segment_count: u32,
    /// Bytes of live payloads, as their callers count them.
    pub logical_bytes: u64,
    /// Bytes of the extents that hold them, which is what the quota counts.
    pub stored_bytes: u64,
    /// Bytes of storage that is held for reuse: freed extents.
    pub freed_bytes: u64,
    /// Bytes of storage that is held in advance and was never used.
    pub reserved_bytes: u64,
    /// The quota, if there is one.
    pub quota_bytes: Option<u64>,
    /// Calls that wrote blocks.
    pub write_calls: u64,
    /// Bytes they wrote.
    pub written_bytes: u64,
    /// Calls that read blocks.
    pub read_calls: u64,
    /// Bytes they read.
    pub read_bytes: u64,
    /// Calls that had storage allocated.
    pub allocate_calls: u64,
    /// Whether storage is promised before data moves. Where the file system
    /// cannot do that, a full medium shows only while a payload is written.
    pub allocates_ahead: bool,
    /// Calls that gave storage back.
    pub punch_calls: u64,
    /// Bytes of storage given back to the file system by punching holes.
    pub punched_bytes: u64,
    /// Whether the file system can take storage back from the middle of a file.
    pub punches_holes: bool,
    /// Whether blocks are compared with a checksum when they come back.
    pub verifies: bool,
    /// Reads that found a block which is not what was written.
    pub corrupt_reads: u64,
}

impl SegmentStats {
    /// Those of two stores together: what one of them cannot do, they cannot.
    pub(crate) fn plus(mut self, other: Self) -> Self {
        self.io = match (self.io, other.io) {
            (
                SegmentIo::Direct { memory_align_bytes },
                SegmentIo::Direct {
                    memory_align_bytes: other_align_bytes,
                },
            ) => SegmentIo::Direct {
                memory_align_bytes: memory_align_bytes.max(other_align_bytes),
            },
            (one, other) if one == other => one,
            _ => SegmentIo::DropBehind,
        };
        if other.reason != self.reason {
            "it is not the same in all directories".clone_into(&mut self.reason);
        }
        self.segment_count += other.segment_count;
        self.logical_bytes += other.logical_bytes;
        self.stored_bytes += other.stored_bytes;
        self.freed_bytes += other.freed_bytes;
        self.reserved_bytes += other.reserved_bytes;
        let both = self.quota_bytes.zip(other.quota_bytes);
        self.quota_bytes = both.map(|(one, other)| one.saturating_add(other));
        self.write_calls += other.write_calls;
        self.written_bytes += other.written_bytes;
        self.read_calls += other.read_calls;
        self.read_bytes += other.read_bytes;
        self.allocate_calls += other.allocate_calls;
        self.allocates_ahead &= other.allocates_ahead;
        self.punch_calls += other.punch_calls;
        self.punched_bytes += other.punched_bytes;
        self.punches_holes &= other.punches_holes;
        self.verifies &= other.verifies;
        self.corrupt_reads += other.corrupt_reads;
        self
    }
}

/// Totals that threads add to. Relaxed throughout: statistics.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) logical_bytes: AtomicU64,
    pub(super) write_calls: AtomicU64,
    pub(super) written_bytes: AtomicU64,
    pub(super) read_calls: AtomicU64,
    pub(super) read_bytes: AtomicU64,
    pub(super) allocate_calls: AtomicU64,
    pub(super) punch_calls: AtomicU64,
    pub(super) punched_bytes: AtomicU64,
    pub(super) corrupt_reads: AtomicU64,
}

impl Counters {
    pub(super) fn count_write(&self, bytes: usize) {
        self.write_calls.fetch_add(1, Ordering::Relaxed);
        self.written_bytes
            .fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(super) fn count_corrupt_read(&self) {
        self.corrupt_reads.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_read(&self, bytes: usize) {
        self.read_calls.fetch_add(1, Ordering::Relaxed);
        self.read_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}
