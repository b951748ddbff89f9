//! [`Stats`] and [`HandleInfo`]: what a registry says about itself.

use crate::backend::Usage;
use crate::budget::ResidencyStats;

/// What a registry holds and what it has done so far.
///
/// The totals are sums over threads that go on meanwhile, so two of them may
/// differ by operations that are under way; each is exact when nothing is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Stats {
    /// Handles alive.
    pub live_handles: usize,
    /// Bytes of the payloads of these handles, as their callers count them.
    pub logical_bytes: u64,
    /// What the backend holds of them.
    pub backend: Usage,
    /// What the residency layer holds of them, and of the payloads of other
    /// registries that share it. All zero without one.
    pub residency: ResidencyStats,
    /// Successful page-outs, and their bytes.
    pub pageouts: u64,
    /// Bytes of all successful page-outs.
    pub paged_out_bytes: u64,
    /// Page-outs that failed and left their chunks untouched.
    pub failed_pageouts: u64,
    /// Successful reads of ranges (a call with many ranges counts once).
    pub reads: u64,
    /// Bytes of all successful reads.
    pub read_bytes: u64,
    /// Successful takes.
    pub takes: u64,
    /// Bytes of all successful takes.
    pub taken_bytes: u64,
    /// Reads and takes that failed and left their handle as it was.
    pub failed_reads: u64,
    /// Handles dropped without being taken.
    pub drops: u64,
    /// Hints given.
    pub prefetches: u64,
}

/// One live handle, as a registry lists it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandleInfo {
    /// Number of the handle: unique in its registry, in order of creation per
    /// thread.
    pub id: u64,
    /// Name of the backend that stores it.
    pub backend: &'static str,
    /// Elements of the payload, of the type in which it was paged out.
    pub len: usize,
    /// Bytes of the payload.
    pub len_bytes: usize,
}
