//! [`Publisher`]: `stats()` under stable names, for whichever recorder of the crate `metrics` is
//! installed.
//!
//! Names are those of Prometheus: a unit in the name, `_total` for what only grows. They are part
//! of the interface: one that is here stays. Latencies (`pager_*_seconds`) and
//! `pager_errors_total` are recorded as they happen and need no publisher.

use std::time::Instant;

use metrics::{SharedString, Unit, counter, describe_counter, describe_gauge, gauge};
use pager_core::{ResidencyStats, Stats};

use crate::{BackendKind, Pager};

/// One figure: its name, its unit, what it says, and where it is.
type Figure<S> = (&'static str, Unit, &'static str, fn(&S) -> u64);

/// Of the whole pager, up and down.
const GAUGES: [Figure<ResidencyStats>; 12] = [
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
const COUNTERS: [Figure<ResidencyStats>; 16] = [
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
const BACKEND_GAUGES: [Figure<Stats>; 5] = [
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
const BACKEND_COUNTERS: [Figure<Stats>; 10] = [
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

const RELIEF: &str = "pager_memory_relief_byte_seconds";

/// Publishes what a pager says of itself, as often as it is asked to: once for each scrape is
/// enough.
///
/// ```
/// use pager::{Pager, metrics::Publisher};
///
/// let pager = Pager::new();
/// let mut publisher = Publisher::new("main");
/// publisher.publish(&pager);
/// ```
#[derive(Debug)]
pub struct Publisher {
    name: SharedString,
    relief_byte_seconds: f64,
    last: Option<(Instant, u64)>,
}

impl Publisher {
    /// Of a pager that the label `pager` calls so: a program may have several.
    #[must_use]
    pub fn new(name: impl Into<SharedString>) -> Self {
        describe();
        Self {
            name: name.into(),
            relief_byte_seconds: 0.0,
            last: None,
        }
    }

    /// Publishes the state of this moment.
    pub fn publish(&mut self, pager: &Pager) {
        let stats = pager.stats();
        let name = || self.name.clone();
        for (figure, _, _, of) in GAUGES {
            gauge!(figure, "pager" => name()).set(of(&stats.residency) as f64);
        }
        for (figure, _, _, of) in COUNTERS {
            counter!(figure, "pager" => name()).absolute(of(&stats.residency));
        }
        for kind in BackendKind::ALL {
            let Some(stats) = stats.of(kind) else {
                continue;
            };
            for (figure, _, _, of) in BACKEND_GAUGES {
                gauge!(figure, "pager" => name(), "backend" => kind.name()).set(of(stats) as f64);
            }
            for (figure, _, _, of) in BACKEND_COUNTERS {
                counter!(figure, "pager" => name(), "backend" => kind.name()).absolute(of(stats));
            }
        }
        #[cfg(feature = "file")]
        self.publish_directories(&stats.scratch);
        for group in &stats.residency.groups {
            let label = || group.label.clone();
            let of = |figure| gauge!(figure, "pager" => name(), "group" => label());
            of("pager_group_logical_bytes").set(group.logical_bytes as f64);
            of("pager_group_resident_bytes").set(group.resident_bytes as f64);
        }
        self.publish_codec(pager);
        self.relieve(stats.total.logical_bytes, stats.residency.resident_bytes);
        gauge!(RELIEF, "pager" => self.name.clone()).set(self.relief_byte_seconds);
    }

    #[cfg(feature = "file")]
    fn publish_directories(&self, directories: &[pager_file::DirectoryStats]) {
        for stats in directories {
            let root = || SharedString::from(stats.root.display().to_string());
            let name = || self.name.clone();
            let in_use = u8::from(stats.state == pager_file::DirectoryState::InUse);
            let of = |figure| gauge!(figure, "pager" => name(), "directory" => root());
            of("pager_directory_in_use").set(in_use);
            of("pager_directory_stored_bytes").set(stats.stored_bytes as f64);
            let of = |figure| counter!(figure, "pager" => name(), "directory" => root());
            of("pager_directory_failures_total").absolute(stats.failures);
            of("pager_directory_paged_out_bytes_total").absolute(stats.paged_out_bytes);
        }
    }

    #[cfg(feature = "codec")]
    fn publish_codec(&self, pager: &Pager) {
        let codec = pager.codec_stats();
        for (figure, bytes) in [
            ("pager_codec_plain_bytes_total", codec.plain_bytes()),
            ("pager_codec_stored_bytes_total", codec.stored_bytes()),
        ] {
            counter!(figure, "pager" => self.name.clone()).absolute(bytes);
        }
    }

    #[cfg(not(feature = "codec"))]
    fn publish_codec(&self, _: &Pager) {}

    /// Adds the memory that was spared since the last time: between two looks, the mean of
    /// both.
    fn relieve(&mut self, logical_bytes: u64, resident_bytes: u64) {
        let spared_bytes = logical_bytes.saturating_sub(resident_bytes);
        let now = Instant::now();
        if let Some((then, before_bytes)) = self.last.replace((now, spared_bytes)) {
            let mean = (before_bytes as f64 + spared_bytes as f64) / 2.0;
            self.relief_byte_seconds += mean * (now - then).as_secs_f64();
        }
    }
}

fn describe() {
    for (figure, unit, says, _) in GAUGES {
        describe_gauge!(figure, unit, says);
    }
    for (figure, unit, says, _) in BACKEND_GAUGES {
        describe_gauge!(figure, unit, says);
    }
    for (figure, unit, says, _) in COUNTERS {
        describe_counter!(figure, unit, says);
    }
    for (figure, unit, says, _) in BACKEND_COUNTERS {
        describe_counter!(figure, unit, says);
    }
    describe_gauge!(
        RELIEF,
        "Payload bytes that were not in memory, times the seconds for which they were not."
    );
}

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

    #[test]
    fn memory_that_is_not_used_is_counted_for_as_long_as_it_is_not() {
        let mut publisher = Publisher::new("test");
        publisher.relieve(1 << 30, 0);
        assert_eq!(publisher.relief_byte_seconds, 0.0);
        std::thread::sleep(std::time::Duration::from_millis(20));
        publisher.relieve(1 << 30, 1 << 30);
        // Half of it, on average, for at least 20 ms.
        let least = 0.02 * f64::from(1 << 29);
        assert!(publisher.relief_byte_seconds >= least);
        assert!(publisher.relief_byte_seconds < 1000.0 * least);
    }
}
