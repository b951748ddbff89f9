//! [`Report`]: what a soak has done and found.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytesize::ByteSize;
use pager::Pager;
use serde::{Deserialize, Serialize};

use super::Config;
use super::tally::Tally;
use crate::measure::proc;

/// What is left when everything was dropped. All of it should be zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Left {
    /// Handles that are still listed.
    pub live_handles: u64,
    /// Bytes of them.
    pub logical_bytes: u64,
    /// Bytes that the backends believe to hold for live payloads.
    pub backend_bytes: u64,
    /// Bytes that the budget counts as occupied.
    pub resident_bytes: u64,
    /// Bytes being written or fetched.
    pub moving_bytes: u64,
}

impl Left {
    /// What `pager` holds now.
    #[must_use]
    pub fn of(pager: &Pager) -> Self {
        let stats = pager.stats();
        Self {
            live_handles: stats.total.live_handles as u64,
            logical_bytes: stats.total.logical_bytes,
            backend_bytes: stats.total.backend.logical_bytes,
            resident_bytes: stats.residency.resident_bytes,
            moving_bytes: stats.residency.writing_bytes + stats.residency.fetching_bytes,
        }
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

/// What a soak has done and found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Seconds it took, the end included.
    pub seconds: f64,
    /// Number of threads.
    pub threads: u32,
    /// Budget at the beginning.
    pub budget_bytes: u64,
    /// Bytes that live payloads were allowed.
    pub live_limit_bytes: u64,
    /// Seed of all choices.
    pub seed: u64,
    /// Operations that succeeded, all kinds together.
    pub operations: u64,
    /// The same by kind.
    pub by_kind: BTreeMap<String, u64>,
    /// Words compared with the model.
    pub compared_words: u64,
    /// Differences between the model and what was found.
    pub differences: u64,
    /// The first of them.
    pub first_difference: Option<String>,
    /// Operations that failed.
    pub errors: u64,
    /// The first of them.
    pub first_error: Option<String>,
    /// Page-outs to swap.
    pub swap_pageouts: u64,
    /// Page-outs to file.
    pub file_pageouts: u64,
    /// Bytes of all page-outs.
    pub paged_out_bytes: u64,
    /// Payloads that the budget sent away.
    pub writes: u64,
    /// Payloads that were taken or dropped before that.
    pub elided_writes: u64,
    /// Payloads that the background brought back.
    pub fetches: u64,
    /// Page-outs that had to help or wait.
    pub stalls: u64,
    /// Writes and fetches that failed in the background.
    pub background_errors: u64,
    /// The most bytes that the budget has counted as occupied.
    pub peak_resident_bytes: u64,
    /// The most memory that the process had in RAM.
    pub peak_rss_bytes: u64,
    /// What was left when everything was dropped.
    pub left: Left,
}

impl Report {
    pub(super) fn new(
        config: &Config,
        tally: &Tally,
        elapsed: Duration,
        pager: &Pager,
        left: Left,
    ) -> Self {
        let stats = pager.stats();
        let pageouts = |of: &Option<pager_core::Stats>| of.as_ref().map_or(0, |of| of.pageouts);
        let by_name = tally.by_name().map(|(name, done)| (name.to_owned(), done));
        Self {
            seconds: elapsed.as_secs_f64(),
            threads: config.threads,
            budget_bytes: config.budget_bytes as u64,
            live_limit_bytes: config.live_limit_bytes,
            seed: config.seed,
            operations: tally.operations(),
            by_kind: by_name.collect(),
            compared_words: tally.compared_words(),
            differences: tally.differences(),
            first_difference: tally.first_difference(),
            errors: tally.errors(),
            first_error: tally.first_error(),
            swap_pageouts: pageouts(&stats.swap),
            file_pageouts: pageouts(&stats.file),
            paged_out_bytes: stats.total.paged_out_bytes,
            writes: stats.residency.writes,
            elided_writes: stats.residency.elided_writes,
            fetches: stats.residency.fetches,
            stalls: stats.residency.stalls,
            background_errors: stats.residency.background_errors,
            peak_resident_bytes: stats.residency.peak_resident_bytes,
            peak_rss_bytes: proc::peak_rss_bytes(),
            left,
        }
    }

    /// Whether everything came back right, nothing failed and nothing is left.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        let failures = self.differences + self.errors + self.background_errors;
        failures == 0 && self.left.is_nothing()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} operations in {:.1} s on {} threads, seed {}: {} swap and {} file page-outs of {}",
            self.operations,
            self.seconds,
            self.threads,
            self.seed,
            self.swap_pageouts,
            self.file_pageouts,
            ByteSize::b(self.paged_out_bytes),
        )?;
        for (name, done) in &self.by_kind {
            writeln!(f, "  {name:<15}{done:>10}")?;
        }
        writeln!(
            f,
            "budget {}: {} written, {} elided, {} fetched, {} stalls; {} resident and {} of memory at most",
            ByteSize::b(self.budget_bytes),
            self.writes,
            self.elided_writes,
            self.fetches,
            self.stalls,
            ByteSize::b(self.peak_resident_bytes),
            ByteSize::b(self.peak_rss_bytes),
        )?;
        for (what, first) in [
            ("first difference", &self.first_difference),
            ("first failure", &self.first_error),
        ] {
            if let Some(first) = first {
                writeln!(f, "{what}: {first}")?;
            }
        }
        if !self.left.is_nothing() {
            writeln!(f, "left behind: {:?}", self.left)?;
        }
        write!(
            f,
            "{} words compared: {} differences, {} failures, {} in the background",
            self.compared_words, self.differences, self.errors, self.background_errors
        )
    }
}
