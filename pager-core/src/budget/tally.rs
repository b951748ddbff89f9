//! [`ResidencyStats`] and the counters behind it.
//!
//! These are the atomics of `std` even under the model checker: they decide
//! nothing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::group::GroupStats;
use crate::Error;
use crate::observe::{self, Stalled};

/// What the residency layer holds and has done. Readable at any time without
/// stopping anybody.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ResidencyStats {
    /// Bytes that pager may hold in memory.
    pub budget_bytes: u64,
    /// Bytes that pager holds in memory: payloads, spare buffers, buffers of
    /// transfers, and what it remembers of every payload. The first mebibyte of the
    /// latter comes on top of the budget.
    pub held_bytes: u64,
    /// The most that `held_bytes` has been.
    pub peak_held_bytes: u64,
    /// Bytes that the [account](crate::MemoryAccount) has lent; zero where there is none.
    pub lent_bytes: u64,
    /// Requests for more that it has refused, panics included.
    pub account_refusals: u64,
    /// Times that it panicked.
    pub account_panics: u64,
    /// What it said when it last refused.
    pub last_account_refusal: Option<String>,
    /// The [groups](crate::Group) whose payloads are bounded by this budget, in the order
    /// in which they first were used here.
    pub groups: Vec<GroupStats>,
    /// Bytes of memory that payloads occupy, those under way included: the capacity
    /// of their buffers.
    pub resident_bytes: u64,
    /// The most that `resident_bytes` has been.
    pub peak_resident_bytes: u64,
    /// Those of `resident_bytes` that are not stored yet.
    pub dirty_bytes: u64,
    /// Those of `resident_bytes` that were fetched and not used yet.
    pub read_ahead_bytes: u64,
    /// Bytes being written at this moment.
    pub writing_bytes: u64,
    /// Bytes being fetched at this moment.
    pub fetching_bytes: u64,
    /// Warm empty buffers kept for reuse.
    pub spare_bytes: u64,
    /// Buffers of transfers, used at this moment or kept for the next.
    pub transfer_bytes: u64,
    /// Buffers of spills: the ends that are being written, and what is being read.
    pub spill_bytes: u64,
    /// What is remembered of the payloads, wherever their bytes are.
    pub bookkeeping_bytes: u64,
    /// Payloads written, and their bytes.
    pub writes: u64,
    /// Bytes of all payloads written.
    pub written_bytes: u64,
    /// Payloads taken or dropped before a write began.
    pub elided_writes: u64,
    /// Bytes that were never written because of that.
    pub elided_bytes: u64,
    /// Writes that were under way when their payload was taken or dropped.
    pub cancelled_writes: u64,
    /// Copies of stored payloads dropped from memory without a write.
    pub clean_evictions: u64,
    /// Takes and reads of stored payloads that found what they wanted in memory,
    /// be it fetched or not dropped yet.
    pub cache_hits: u64,
    /// Fetches done in the background.
    pub fetches: u64,
    /// Fetches that were queued and given up, because their bytes were read or taken
    /// before their turn came.
    pub cancelled_fetches: u64,
    /// Fetched copies that were read or taken.
    pub prefetch_hits: u64,
    /// Fetched copies that went unused.
    pub prefetch_waste: u64,
    /// Hints not followed: the queue was full or there was no room.
    pub prefetch_refusals: u64,
    /// Page-outs that had to help or wait.
    pub stalls: u64,
    /// Time they spent so.
    #[cfg_attr(feature = "serde", serde(serialize_with = "seconds"))]
    pub stall_total: Duration,
    /// The longest of them.
    #[cfg_attr(feature = "serde", serde(serialize_with = "seconds"))]
    pub stall_longest: Duration,
    /// Reads and takes that waited: for a fetch or a write that was under way, or
    /// for the buffer of a transfer.
    pub read_stalls: u64,
    /// Time they spent so.
    #[cfg_attr(feature = "serde", serde(serialize_with = "seconds"))]
    pub read_stall_total: Duration,
    /// The longest of them.
    #[cfg_attr(feature = "serde", serde(serialize_with = "seconds"))]
    pub read_stall_longest: Duration,
    /// Writes and fetches that failed in the background, or in which a backend
    /// panicked.
    pub background_errors: u64,
    /// The last of them, as text.
    pub last_background_error: Option<String>,
    /// What the watcher of memory pressure has seen and done, if there is one.
    #[cfg(feature = "pressure")]
    pub pressure: Option<super::PressureStats>,
}

/// A time as seconds, as figures are for programs.
#[cfg(feature = "serde")]
fn seconds<S: serde::Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

/// The counters. Relaxed throughout: statistics that order nothing.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) writing_bytes: Gauge,
    pub(crate) fetching_bytes: Gauge,
    pub(crate) writes: Gauge,
    pub(crate) written_bytes: Gauge,
    pub(crate) elided_writes: Gauge,
    pub(crate) elided_bytes: Gauge,
    pub(crate) cancelled_writes: Gauge,
    pub(crate) clean_evictions: Gauge,
    pub(crate) cache_hits: Gauge,
    pub(crate) fetches: Gauge,
    pub(crate) cancelled_fetches: Gauge,
    pub(crate) prefetch_hits: Gauge,
    pub(crate) prefetch_waste: Gauge,
    pub(crate) prefetch_refusals: Gauge,
    pub(crate) pageout_stalls: Stalls,
    pub(crate) read_stalls: Stalls,
    background_errors: Gauge,
    last_error: Mutex<Option<String>>,
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicU64);

impl Gauge {
    pub(crate) fn add(&self, amount: usize) {
        self.0.fetch_add(amount as u64, Ordering::Relaxed);
    }

    pub(crate) fn sub(&self, amount: usize) {
        self.0.fetch_sub(amount as u64, Ordering::Relaxed);
    }

    /// Adds `amount` until the guard is dropped, be it by a panic.
    pub(crate) fn hold(&self, amount: usize) -> Held<'_> {
        self.add(amount);
        Held {
            gauge: self,
            amount,
        }
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// How often somebody waited, and for how long.
#[derive(Debug, Default)]
pub(crate) struct Stalls {
    who: Stalled,
    count: Gauge,
    total_nanos: Gauge,
    longest_nanos: Gauge,
}

impl Stalls {
    /// Of a read or a take.
    fn of_reads() -> Self {
        Self {
            who: Stalled::Read,
            ..Self::default()
        }
    }

    pub(crate) fn add(&self, time: Duration) {
        observe::stalled(self.who, time);
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.count.add(1);
        self.total_nanos.0.fetch_add(nanos, Ordering::Relaxed);
        self.longest_nanos.0.fetch_max(nanos, Ordering::Relaxed);
    }

    /// Runs `wait`, and counts the time that it took.
    pub(crate) fn time<T>(&self, wait: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let waited = wait();
        self.add(begun.elapsed());
        waited
    }

    fn total(&self) -> Duration {
        Duration::from_nanos(self.total_nanos.get())
    }

    fn longest(&self) -> Duration {
        Duration::from_nanos(self.longest_nanos.get())
    }
}

/// See [`Gauge::hold`].
#[must_use]
pub(crate) struct Held<'a> {
    gauge: &'a Gauge,
    amount: usize,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.gauge.sub(self.amount);
    }
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            read_stalls: Stalls::of_reads(),
            ..Self::default()
        }
    }

    pub(crate) fn written(&self, bytes: usize) {
        self.writes.add(1);
        self.written_bytes.add(bytes);
    }

    pub(crate) fn failed(&self, error: &Error) {
        let source = std::error::Error::source(error).map(|cause| format!(": {cause}"));
        self.count_error(format!("{error}{}", source.unwrap_or_default()));
    }

    /// Counts an error in the background that is no [`Error`], and keeps its text.
    pub(super) fn count_error(&self, text: String) {
        self.background_errors.add(1);
        *self.last_error() = Some(text);
    }

    fn last_error(&self) -> MutexGuard<'_, Option<String>> {
        self.last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything that is counted here; the rest is the caller's to fill in.
    pub(super) fn snapshot(&self) -> ResidencyStats {
        ResidencyStats {
            writing_bytes: self.writing_bytes.get(),
            fetching_bytes: self.fetching_bytes.get(),
            writes: self.writes.get(),
            written_bytes: self.written_bytes.get(),
            elided_writes: self.elided_writes.get(),
            elided_bytes: self.elided_bytes.get(),
            cancelled_writes: self.cancelled_writes.get(),
            clean_evictions: self.clean_evictions.get(),
            cache_hits: self.cache_hits.get(),
            fetches: self.fetches.get(),
            cancelled_fetches: self.cancelled_fetches.get(),
            prefetch_hits: self.prefetch_hits.get(),
            prefetch_waste: self.prefetch_waste.get(),
            prefetch_refusals: self.prefetch_refusals.get(),
            stalls: self.pageout_stalls.count.get(),
            stall_total: self.pageout_stalls.total(),
            stall_longest: self.pageout_stalls.longest(),
            read_stalls: self.read_stalls.count.get(),
            read_stall_total: self.read_stalls.total(),
            read_stall_longest: self.read_stalls.longest(),
            background_errors: self.background_errors.get(),
            last_background_error: self.last_error().clone(),
            ..ResidencyStats::default()
        }
    }
}
