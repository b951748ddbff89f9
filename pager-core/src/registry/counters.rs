//! Totals of what has happened, counted per thread group and summed on demand.

use std::sync::atomic::{AtomicU64, Ordering};

use super::table::{home_shard, shard_count};
use crate::error::Result;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Count {
    Pageouts,
    PagedOutBytes,
    Reads,
    ReadBytes,
    Takes,
    TakenBytes,
    Drops,
    DroppedBytes,
    Prefetches,
    FailedPageouts,
    FailedReads,
}

const COUNT: usize = Count::FailedReads as usize + 1;

/// One set of totals for each shard, so that threads do not meet.
#[derive(Debug)]
pub(crate) struct Counters(Box<[Set]>);

#[derive(Debug, Default)]
#[repr(align(128))]
struct Set([AtomicU64; COUNT]);

impl Counters {
    pub(crate) fn new() -> Self {
        Self((0..shard_count()).map(|_| Set::default()).collect())
    }

    /// Adds a read or a take that has ended.
    pub(super) fn add_read<R>(&self, outcome: &Result<R>, kind: Count, len_bytes: usize) {
        let bytes = match kind {
            Count::Takes => Count::TakenBytes,
            _ => Count::ReadBytes,
        };
        match outcome {
            Ok(_) => {
                self.add(kind, 1);
                self.add(bytes, len_bytes);
            }
            Err(_) => self.add(Count::FailedReads, 1),
        }
    }

    /// Adds to a total.
    pub(crate) fn add(&self, count: Count, amount: usize) {
        // Relaxed: a statistic, which orders nothing.
        self.0[home_shard()].0[count as usize].fetch_add(amount as u64, Ordering::Relaxed);
    }

    /// The sum over all threads.
    pub(crate) fn get(&self, count: Count) -> u64 {
        let of_set = |set: &Set| set.0[count as usize].load(Ordering::Relaxed);
        self.0.iter().map(of_set).sum()
    }

    /// Handles alive.
    pub(crate) fn live_handles(&self) -> u64 {
        self.live(Count::Pageouts, [Count::Takes, Count::Drops])
    }

    /// Bytes of their payloads.
    pub(crate) fn live_bytes(&self) -> u64 {
        self.live(
            Count::PagedOutBytes,
            [Count::TakenBytes, Count::DroppedBytes],
        )
    }

    /// What came less what went. What went is summed first: it came before.
    fn live(&self, came: Count, went: [Count; 2]) -> u64 {
        let went: u64 = went.map(|count| self.get(count)).iter().sum();
        self.get(came).saturating_sub(went)
    }
}
