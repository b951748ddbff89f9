//! The figures that `stats()` has by themselves: of the whole pager, and of each backend.

use metrics::Unit;
use pager_core::{ResidencyStats, Stats};

/// One figure: its name, its unit, what it says, and where it is.
pub(super) type Figure<S> = (&'static str, Unit, &'static str, fn(&S) -> u64);

/// Of the whole pager, up and down.
pub(super) const GAUGES: [Figure<ResidencyStats>; 13] = [
    (
        "pager_budget_bytes",
        Unit::Bytes,
        "Memory that may be held.",
        |s| s.budget_bytes,
    ),
    (
        "pager_held_bytes",
        Unit::Bytes,
        "Memory that is held.",
        |s| s.held_bytes,
    ),
    (
        "pager_resident_bytes",
        Unit::Bytes,
        "Payloads in memory.",
        |s| s.resident_bytes,
    ),
    (
        "pager_dirty_bytes",
        Unit::Bytes,
        "Payloads in memory and not stored.",
        |s| s.dirty_bytes,
    ),
    (
        "pager_read_ahead_bytes",
        Unit::Bytes,
        "Fetched and not used yet.",
        |s| s.read_ahead_bytes,
    ),
    (
        "pager_spare_bytes",
        Unit::Bytes,
        "Warm empty buffers.",
        |s| s.spare_bytes,
    ),
    (
        "pager_transfer_bytes",
        Unit::Bytes,
        "Buffers of transfers.",
        |s| s.transfer_bytes,
    ),
    (
        "pager_spill_bytes",
        Unit::Bytes,
        "Ends of spills that are being written, and parts of them that are being read.",
        |s| s.spill_bytes,
    ),
    (
        "pager_bookkeeping_bytes",
        Unit::Bytes,
        "What is remembered of payloads.",
        |s| s.bookkeeping_bytes,
    ),
    ("pager_writing_bytes", Unit::Bytes, "Being written.", |s| {
        s.writing_bytes
    }),
    ("pager_fetching_bytes", Unit::Bytes, "Being fetched.", |s| {
        s.fetching_bytes
    }),
    (
        "pager_lent_bytes",
        Unit::Bytes,
        "Lent by the memory account.",
        |s| s.lent_bytes,
    ),
    (
        "pager_peak_held_bytes",
        Unit::Bytes,
        "The most that was held.",
        |s| s.peak_held_bytes,
    ),
];

/// Of the whole pager, only up.
pub(super) const COUNTERS: [Figure<ResidencyStats>; 16] = [
    (
        "pager_writes_total",
        Unit::Count,
        "Payloads written.",
        |s| s.writes,
    ),
    (
        "pager_written_bytes_total",
        Unit::Bytes,
        "Bytes of them.",
        |s| s.written_bytes,
    ),
    (
        "pager_elided_writes_total",
        Unit::Count,
        "Writes that never had to happen.",
        |s| s.elided_writes,
    ),
    (
        "pager_elided_bytes_total",
        Unit::Bytes,
        "Bytes of them.",
        |s| s.elided_bytes,
    ),
    (
        "pager_cancelled_writes_total",
        Unit::Count,
        "Writes in vain.",
        |s| s.cancelled_writes,
    ),
    (
        "pager_clean_evictions_total",
        Unit::Count,
        "Copies dropped without a write.",
        |s| s.clean_evictions,
    ),
    (
        "pager_cache_hits_total",
        Unit::Count,
        "Stored payloads found in memory.",
        |s| s.cache_hits,
    ),
    (
        "pager_fetches_total",
        Unit::Count,
        "Fetches in the background.",
        |s| s.fetches,
    ),
    (
        "pager_cancelled_fetches_total",
        Unit::Count,
        "Fetches given up.",
        |s| s.cancelled_fetches,
    ),
    (
        "pager_prefetch_hits_total",
        Unit::Count,
        "Fetched copies that were used.",
        |s| s.prefetch_hits,
    ),
    (
        "pager_prefetch_waste_total",
        Unit::Count,
        "Fetched copies that were not.",
        |s| s.prefetch_waste,
    ),
    (
        "pager_prefetch_refusals_total",
        Unit::Count,
        "Hints not followed.",
        |s| s.prefetch_refusals,
    ),
    (
        "pager_stalls_total",
        Unit::Count,
        "Page-outs that helped or waited.",
        |s| s.stalls,
    ),
    (
        "pager_read_stalls_total",
        Unit::Count,
        "Reads and takes that waited.",
        |s| s.read_stalls,
    ),
    (
        "pager_background_errors_total",
        Unit::Count,
        "Failures in the background.",
        |s| s.background_errors,
    ),
    (
        "pager_account_refusals_total",
        Unit::Count,
        "Memory that the account refused.",
        |s| s.account_refusals,
    ),
];

/// Of each backend, up and down.
pub(super) const BACKEND_GAUGES: [Figure<Stats>; 5] = [
    ("pager_handles", Unit::Count, "Handles alive.", |s| {
        s.live_handles as u64
    }),
    ("pager_logical_bytes", Unit::Bytes, "Their payloads.", |s| {
        s.logical_bytes
    }),
    ("pager_stored_bytes", Unit::Bytes, "On the medium.", |s| {
        s.backend.stored_bytes
    }),
    (
        "pager_backend_resident_bytes",
        Unit::Bytes,
        "Stored, and in memory all the same.",
        |s| s.backend.resident_bytes,
    ),
    (
        "pager_unreclaimable_bytes",
        Unit::Bytes,
        "What the system kept in memory.",
        |s| s.backend.unreclaimable_bytes,
    ),
];

/// Of each backend, only up.
pub(super) const BACKEND_COUNTERS: [Figure<Stats>; 10] = [
    ("pager_pageouts_total", Unit::Count, "Page-outs.", |s| {
        s.pageouts
    }),
    (
        "pager_paged_out_bytes_total",
        Unit::Bytes,
        "Bytes of them.",
        |s| s.paged_out_bytes,
    ),
    (
        "pager_failed_pageouts_total",
        Unit::Count,
        "Page-outs that failed.",
        |s| s.failed_pageouts,
    ),
    ("pager_reads_total", Unit::Count, "Reads of ranges.", |s| {
        s.reads
    }),
    (
        "pager_read_bytes_total",
        Unit::Bytes,
        "Bytes of them.",
        |s| s.read_bytes,
    ),
    ("pager_takes_total", Unit::Count, "Takes.", |s| s.takes),
    (
        "pager_taken_bytes_total",
        Unit::Bytes,
        "Bytes of them.",
        |s| s.taken_bytes,
    ),
    (
        "pager_failed_reads_total",
        Unit::Count,
        "Reads and takes that failed.",
        |s| s.failed_reads,
    ),
    (
        "pager_drops_total",
        Unit::Count,
        "Handles dropped untaken.",
        |s| s.drops,
    ),
    ("pager_prefetches_total", Unit::Count, "Hints given.", |s| {
        s.prefetches
    }),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_given_twice_and_each_has_its_ending() {
        let residency = GAUGES
            .iter()
            .map(|f| f.0)
            .chain(COUNTERS.iter().map(|f| f.0));
        let backend = BACKEND_GAUGES.iter().map(|f| f.0);
        let backend = backend.chain(BACKEND_COUNTERS.iter().map(|f| f.0));
        let mut all: Vec<&str> = residency.chain(backend).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        assert!(COUNTERS.iter().all(|f| f.0.ends_with("_total")));
        assert!(BACKEND_COUNTERS.iter().all(|f| f.0.ends_with("_total")));
        assert!(all.iter().all(|name| name.starts_with("pager_")));
    }
}
