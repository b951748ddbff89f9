//! [`Publisher`]: `stats()` under stable names, for whichever recorder of the crate `metrics` is
//! installed.
//!
//! Names are those of Prometheus: a unit in the name, `_total` for what only grows. They are part
//! of the interface: one that is here stays. Latencies (`pager_*_seconds`) and
//! `pager_errors_total` are recorded as they happen and need no publisher.

mod figures;

use std::time::Instant;

use metrics::{SharedString, counter, describe_counter, describe_gauge, gauge};

use crate::{BackendKind, Pager};
use figures::{BACKEND_COUNTERS, BACKEND_GAUGES, COUNTERS, GAUGES};

const RELIEF: &str = "pager_memory_relief_byte_seconds";

/// Of the whole pager, where the build has a codec.
#[cfg(feature = "codec")]
const COMPRESSED: &str = "pager_compressed_bytes";

/// Of the file backend, once it has been opened.
#[cfg(feature = "file")]
const ON_DISK: &str = "pager_on_disk_bytes";

/// Of the file backend, if it has one.
#[cfg(feature = "file")]
const LAST_RESORT: &str = "pager_last_resort_bytes";

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
        {
            self.publish_files(pager);
            self.publish_directories(&stats.scratch);
            if let Some(last) = stats.last_resort {
                gauge!(LAST_RESORT, "pager" => name(), "backend" => last.backend)
                    .set(last.live_bytes as f64);
            }
        }
        for group in &stats.residency.groups {
            let label = || group.label.clone();
            let of = |figure| gauge!(figure, "pager" => name(), "group" => label());
            of("pager_group_handles").set(group.live_handles as f64);
            of("pager_group_logical_bytes").set(group.logical_bytes as f64);
            of("pager_group_resident_bytes").set(group.resident_bytes as f64);
            if let Some(quota_bytes) = group.quota_bytes {
                of("pager_group_quota_bytes").set(quota_bytes as f64);
            }
            let figure = "pager_group_refused_pageouts_total";
            counter!(figure, "pager" => name(), "group" => label())
                .absolute(group.refused_pageouts);
        }
        #[cfg(feature = "codec")]
        self.publish_codec(pager);
        #[cfg(feature = "pressure")]
        self.publish_pressure(stats.residency.pressure.as_ref());
        self.relieve(stats.total.logical_bytes, stats.residency.resident_bytes);
        gauge!(RELIEF, "pager" => self.name.clone()).set(self.relief_byte_seconds);
    }

    /// What the disk holds for the file backend, and what went there and came back: whole
    /// blocks, after the codec and the cipher.
    #[cfg(feature = "file")]
    fn publish_files(&self, pager: &Pager) {
        let Some(stats) = pager.file_stats() else {
            return;
        };
        let (name, backend) = (|| self.name.clone(), BackendKind::File.name());
        gauge!(ON_DISK, "pager" => name(), "backend" => backend)
            .set(stats.allocated_bytes() as f64);
        #[cfg(unix)]
        if let Some(segments) = &stats.segments {
            let of = |figure| counter!(figure, "pager" => name(), "backend" => backend);
            of("pager_device_written_bytes_total").absolute(segments.written_bytes);
            of("pager_device_read_bytes_total").absolute(segments.read_bytes);
            of("pager_corrupt_reads_total").absolute(segments.corrupt_reads);
        }
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
        gauge!(COMPRESSED, "pager" => self.name.clone()).set(codec.kept_bytes as f64);
        for (figure, bytes) in [
            ("pager_codec_plain_bytes_total", codec.plain_bytes()),
            ("pager_codec_stored_bytes_total", codec.stored_bytes()),
            ("pager_compressed_moved_bytes_total", codec.moved_bytes),
            ("pager_compressed_read_bytes_total", codec.kept_read_bytes),
        ] {
            counter!(figure, "pager" => self.name.clone()).absolute(bytes);
        }
    }

    #[cfg(feature = "pressure")]
    fn publish_pressure(&self, pressure: Option<&pager_core::PressureStats>) {
        let Some(stats) = pressure else {
            return;
        };
        let name = || self.name.clone();
        gauge!("pager_asked_budget_bytes", "pager" => name()).set(stats.asked_bytes as f64);
        for (figure, count) in [
            ("pager_budget_lowered_total", stats.lowered),
            ("pager_budget_raised_total", stats.raised),
            ("pager_pressure_reports_total", stats.stall_reports),
        ] {
            counter!(figure, "pager" => name()).absolute(count);
        }
    }

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
    #[cfg(feature = "codec")]
    describe_gauge!(
        COMPRESSED,
        metrics::Unit::Bytes,
        "Payloads that are in memory encoded, and not stored."
    );
    #[cfg(feature = "file")]
    describe_gauge!(
        ON_DISK,
        metrics::Unit::Bytes,
        "What files occupy, free room that is kept for reuse included."
    );
    #[cfg(feature = "file")]
    describe_gauge!(
        LAST_RESORT,
        metrics::Unit::Bytes,
        "Payloads that found no room in any scratch directory."
    );
    describe_gauge!(
        RELIEF,
        "Payload bytes that were not in memory, times the seconds for which they were not."
    );
}

#[cfg(test)]
mod tests {
    use super::*;

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
