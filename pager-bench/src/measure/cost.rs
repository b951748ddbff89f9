//! [`Cost`]: what happened between two [`Mark`]s.

use std::fs;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::{proc, tlb};

/// A moment, with all counters as they stood.
#[derive(Debug, Clone)]
pub struct Mark {
    at: Instant,
    counters: Counters,
}

#[derive(Debug, Clone, Copy, Default)]
struct Counters {
    user_s: f64,
    sys_s: f64,
    minor_faults: u64,
    major_faults: u64,
    pswpin: u64,
    pswpout: u64,
    thp_swpout: u64,
    thp_swpout_fallback: u64,
    io_written_bytes: u64,
    io_read_bytes: u64,
    dtlb_load_misses: Option<u64>,
}

/// The cost of a phase. Swap figures are those of the whole system.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    /// Wall time.
    #[serde(skip)]
    pub wall_s: f64,
    /// Seconds of CPU outside the kernel, all threads.
    pub user_s: f64,
    /// Seconds of CPU in the kernel, all threads.
    pub sys_s: f64,
    /// Page faults served without I/O.
    pub minor_faults: u64,
    /// Page faults that waited for I/O.
    pub major_faults: u64,
    /// Pages swapped in, system-wide.
    pub pswpin: u64,
    /// Pages swapped out, system-wide.
    pub pswpout: u64,
    /// Huge pages that were swapped out whole, system-wide.
    pub thp_swpout: u64,
    /// Huge pages that were split in order to be swapped out, system-wide.
    pub thp_swpout_fallback: u64,
    /// Bytes that this process caused to be written to a device.
    pub io_written_bytes: u64,
    /// Bytes that this process caused to be read from a device.
    pub io_read_bytes: u64,
    /// Loads outside the kernel that missed the translation buffer; none where the machine
    /// does not count them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dtlb_load_misses: Option<u64>,
}

impl Mark {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        let counters = Counters::read();
        Self {
            at: Instant::now(),
            counters,
        }
    }

    /// What has happened since.
    #[must_use]
    pub fn elapsed(&self) -> Cost {
        let wall_s = self.at.elapsed().as_secs_f64();
        let (then, now) = (&self.counters, Counters::read());
        Cost {
            wall_s,
            user_s: now.user_s - then.user_s,
            sys_s: now.sys_s - then.sys_s,
            minor_faults: now.minor_faults.saturating_sub(then.minor_faults),
            major_faults: now.major_faults.saturating_sub(then.major_faults),
            pswpin: now.pswpin.saturating_sub(then.pswpin),
            pswpout: now.pswpout.saturating_sub(then.pswpout),
            thp_swpout: now.thp_swpout.saturating_sub(then.thp_swpout),
            thp_swpout_fallback: now
                .thp_swpout_fallback
                .saturating_sub(then.thp_swpout_fallback),
            io_written_bytes: now.io_written_bytes.saturating_sub(then.io_written_bytes),
            io_read_bytes: now.io_read_bytes.saturating_sub(then.io_read_bytes),
            dtlb_load_misses: then
                .dtlb_load_misses
                .zip(now.dtlb_load_misses)
                .map(|(then, now)| now.saturating_sub(then)),
        }
    }
}

impl Counters {
    fn read() -> Self {
        let mut counters = Self::default();
        counters.read_usage();
        counters.dtlb_load_misses = tlb::load_misses();
        if let Ok(text) = fs::read_to_string("/proc/vmstat") {
            counters.pswpin = proc::number_in(&text, "pswpin");
            counters.pswpout = proc::number_in(&text, "pswpout");
            counters.thp_swpout = proc::number_in(&text, "thp_swpout");
            counters.thp_swpout_fallback = proc::number_in(&text, "thp_swpout_fallback");
        }
        if let Ok(text) = fs::read_to_string("/proc/self/io") {
            counters.io_written_bytes = proc::number_in(&text, "write_bytes");
            counters.io_read_bytes = proc::number_in(&text, "read_bytes");
        }
        counters
    }

    #[cfg(unix)]
    fn read_usage(&mut self) {
        use nix::sys::resource::{UsageWho, getrusage};
        use nix::sys::time::TimeVal;

        let seconds = |time: TimeVal| {
            // Exact: microseconds of a process's life are far below 2^53.
            time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6
        };
        if let Ok(usage) = getrusage(UsageWho::RUSAGE_SELF) {
            self.user_s = seconds(usage.user_time());
            self.sys_s = seconds(usage.system_time());
            self.minor_faults = u64::try_from(usage.minor_page_faults()).unwrap_or(0);
            self.major_faults = u64::try_from(usage.major_page_faults()).unwrap_or(0);
        }
    }

    #[cfg(not(unix))]
    fn read_usage(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn touching_memory_costs_faults_and_time() {
        let mark = Mark::now();
        let memory = vec![1u8; 64 << 20];
        let cost = mark.elapsed();
        assert!(cost.minor_faults > 0 && cost.wall_s > 0.0);
        assert!(cost.user_s + cost.sys_s >= 0.0);
        assert_eq!(memory[memory.len() - 1], 1);
    }
}
