//! What was done: counters over all queues, and the failure that ended a worker.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use pager::Error;

use crate::lock;

/// What all queues of a process have done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct SpillStats {
    /// Batches that the ends of queues became.
    pub batches: u64,
    /// Bytes of them.
    pub batched_bytes: u64,
    /// Bytes that the pager was given. It writes those that its budget has no room for.
    pub spilled_bytes: u64,
    /// Bytes that came back from the pager.
    pub returned_bytes: u64,
    /// Times that a consumer found its next batch not yet there.
    pub stalls: u64,
    /// Batches that read-ahead did not bring, and a thread had to read.
    pub rescues: u64,
    /// Writes that failed, each of which left its batch in memory.
    pub write_failures: u64,
    /// Reads that failed, and were tried again.
    pub read_failures: u64,
}

/// Why a worker failed: a batch could not be read back. The worker's panic says the same in
/// words, and begins with "timely communication error:", as those of the engine do.
#[derive(Debug, Clone, thiserror::Error)]
#[error("timely communication error: a spilled batch could not be read back")]
pub struct Failure {
    source: Arc<Error>,
}

impl Failure {
    pub(crate) fn new(source: Error) -> Self {
        Self {
            source: Arc::new(source),
        }
    }

    /// What the pager said, the last time.
    #[must_use]
    pub fn cause(&self) -> &Error {
        &self.source
    }
}

/// The counters. Relaxed: each is read by itself.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    batches: AtomicU64,
    batched_bytes: AtomicU64,
    spilled_bytes: AtomicU64,
    returned_bytes: AtomicU64,
    stalls: AtomicU64,
    rescues: AtomicU64,
    write_failures: AtomicU64,
    read_failures: AtomicU64,
    failure: Mutex<Option<Failure>>,
}

impl Tally {
    pub(crate) fn batched(&self, bytes: usize) {
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.batched_bytes
            .fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn spilled(&self, bytes: usize) {
        self.spilled_bytes
            .fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn returned(&self, bytes: usize) {
        self.returned_bytes
            .fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub(crate) fn stalled(&self) {
        self.stalls.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn rescued(&self) {
        self.rescues.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn write_failed(&self) {
        self.write_failures.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read_failed(&self) {
        self.read_failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Keeps the first failure.
    pub(crate) fn fail(&self, failure: &Failure) {
        lock(&self.failure).get_or_insert_with(|| failure.clone());
    }

    pub(crate) fn failure(&self) -> Option<Failure> {
        lock(&self.failure).clone()
    }

    pub(crate) fn stats(&self) -> SpillStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SpillStats {
            batches: read(&self.batches),
            batched_bytes: read(&self.batched_bytes),
            spilled_bytes: read(&self.spilled_bytes),
            returned_bytes: read(&self.returned_bytes),
            stalls: read(&self.stalls),
            rescues: read(&self.rescues),
            write_failures: read(&self.write_failures),
            read_failures: read(&self.read_failures),
        }
    }
}
