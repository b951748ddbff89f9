//! [`PagerStats`]: what all backends of a pager hold and have done.

use std::borrow::Cow;
use std::fmt;

use pager_core::{ResidencyStats, Stats, Usage};

use crate::BackendKind;

/// The figures of each backend, and their sums.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PagerStats {
    /// The backend that the next page-out goes to.
    pub active: BackendKind,
    /// Everything together; how bytes move is said per backend only.
    pub total: Stats,
    /// The swap backend; `None` if it is not in the build.
    pub swap: Option<Stats>,
    /// The file backend, over all scratch directories that it has had; `None`
    /// if it is not in the build or was not needed so far.
    pub file: Option<Stats>,
    /// Each scratch directory that the file backend has now: what it holds, how fast it
    /// is, and whether it takes payloads.
    #[cfg(feature = "file")]
    pub scratch: Vec<pager_file::DirectoryStats>,
    /// What is in the file backend's [last resort](crate::PagerBuilder::last_resort);
    /// `None` without one.
    #[cfg(feature = "file")]
    pub last_resort: Option<pager_core::OverflowStats>,
    /// The residency layer, which all backends share; each backend's own figures
    /// repeat it.
    pub residency: ResidencyStats,
}

impl PagerStats {
    pub(crate) fn new(
        active: BackendKind,
        swap: Option<Stats>,
        file: Option<Stats>,
        residency: ResidencyStats,
    ) -> Self {
        let mut total = Stats::default();
        for stats in swap.iter().chain(&file) {
            add(&mut total, stats);
        }
        total.backend.how = Cow::Borrowed("");
        total.residency = residency.clone();
        Self {
            active,
            total,
            swap,
            file,
            #[cfg(feature = "file")]
            scratch: Vec::new(),
            #[cfg(feature = "file")]
            last_resort: None,
            residency,
        }
    }

    /// The figures of one backend.
    #[must_use]
    pub fn of(&self, kind: BackendKind) -> Option<&Stats> {
        match kind {
            BackendKind::Swap => self.swap.as_ref(),
            BackendKind::File => self.file.as_ref(),
        }
    }
}

/// Adds the numbers of `more` to those of `sum`, but for the residency layer's:
/// there is one for all.
pub(crate) fn add(sum: &mut Stats, more: &Stats) {
    add_usage(&mut sum.backend, &more.backend);
    sum.live_handles += more.live_handles;
    sum.logical_bytes += more.logical_bytes;
    sum.pageouts += more.pageouts;
    sum.paged_out_bytes += more.paged_out_bytes;
    sum.failed_pageouts += more.failed_pageouts;
    sum.reads += more.reads;
    sum.read_bytes += more.read_bytes;
    sum.takes += more.takes;
    sum.taken_bytes += more.taken_bytes;
    sum.failed_reads += more.failed_reads;
    sum.drops += more.drops;
    sum.prefetches += more.prefetches;
}

fn add_usage(sum: &mut Usage, more: &Usage) {
    sum.logical_bytes += more.logical_bytes;
    sum.resident_bytes += more.resident_bytes;
    sum.stored_bytes += more.stored_bytes;
    sum.unreclaimable_bytes += more.unreclaimable_bytes;
}

/// One line for the selection, one for memory, one for each backend, and one for each
/// scratch directory if there are several, and for the last resort if it was one.
impl fmt::Display for PagerStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let resident = &self.residency;
        write!(
            f,
            "active backend: {}\nmemory: {} of {} bytes held, {} of them payloads, {} not stored; {} written, {} elided, {} fetched",
            self.active,
            resident.held_bytes,
            resident.budget_bytes,
            resident.resident_bytes,
            resident.dirty_bytes,
            resident.writes,
            resident.elided_writes,
            resident.fetches,
        )?;
        write!(
            f,
            "\nwaiting: {} page-outs for {:.3} s, {:.3} s at most; {} reads for {:.3} s, {:.3} s at most",
            resident.stalls,
            resident.stall_total.as_secs_f64(),
            resident.stall_longest.as_secs_f64(),
            resident.read_stalls,
            resident.read_stall_total.as_secs_f64(),
            resident.read_stall_longest.as_secs_f64(),
        )?;
        let failures = (resident.background_errors, &resident.last_background_error);
        let refusals = (resident.account_refusals, &resident.last_account_refusal);
        for (what, (count, last)) in [
            ("failures in the background", failures),
            ("refusals of the account", refusals),
        ] {
            if count > 0 {
                let last = last.as_deref().unwrap_or("not known");
                write!(f, "\n{what}: {count}; the last: {last}")?;
            }
        }
        for group in &resident.groups {
            write!(
                f,
                "\ngroup {}: {} handles, {} bytes, {} of them in memory",
                group.label, group.live_handles, group.logical_bytes, group.resident_bytes
            )?;
        }
        for kind in BackendKind::ALL {
            if let Some(stats) = self.of(kind) {
                write!(
                    f,
                    "\n{kind}: {} handles; {} page-outs, {} reads, {} takes, {} drops, {} failures; {}",
                    stats.live_handles,
                    stats.pageouts,
                    stats.reads,
                    stats.takes,
                    stats.drops,
                    stats.failed_pageouts + stats.failed_reads,
                    stats.backend,
                )?;
            }
        }
        #[cfg(feature = "file")]
        if self.scratch.len() > 1 {
            for directory in &self.scratch {
                write!(f, "\n{directory}")?;
            }
        }
        #[cfg(feature = "file")]
        if let Some(last_resort) = self.last_resort.filter(|it| it.pageouts + it.refusals > 0) {
            write!(f, "\n{last_resort}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(pageouts: u64, stored_bytes: u64) -> Stats {
        let mut stats = Stats::default();
        stats.pageouts = pageouts;
        stats.backend.stored_bytes = stored_bytes;
        stats.backend.how = Cow::Borrowed("by hand");
        stats
    }

    #[test]
    fn the_total_is_the_sum_of_the_backends() {
        let both = PagerStats::new(
            BackendKind::File,
            Some(stats(1, 10)),
            Some(stats(2, 20)),
            ResidencyStats::default(),
        );
        assert_eq!(both.total.pageouts, 3);
        assert_eq!(both.total.backend.stored_bytes, 30);
        assert_eq!(both.of(BackendKind::File).unwrap().pageouts, 2);
        assert_eq!(both.to_string().lines().count(), 5);
    }

    #[test]
    fn a_text_tells_what_went_wrong_and_whose_payloads_are_where() {
        let mut residency = ResidencyStats::default();
        residency.background_errors = 2;
        residency.last_background_error = Some("the disk is full".to_owned());
        residency.account_refusals = 1;
        residency.last_account_refusal = Some("no".to_owned());
        let mut group = pager_core::GroupStats::default();
        group.label = "query 7".to_owned();
        residency.groups = vec![group];
        let told = PagerStats::new(BackendKind::Swap, None, None, residency).to_string();
        for part in [
            "failures in the background: 2; the last: the disk is full",
            "refusals of the account: 1; the last: no",
            "group query 7: 0 handles",
            "waiting: 0 page-outs for 0.000 s",
        ] {
            assert!(told.contains(part), "{part}\n{told}");
        }
    }

    #[cfg(feature = "serde")]
    #[test]
    fn as_json_times_are_seconds_and_backends_have_their_names() {
        let mut residency = ResidencyStats::default();
        residency.stall_total = std::time::Duration::from_millis(1500);
        let stats = PagerStats::new(BackendKind::File, None, Some(stats(1, 2)), residency);
        let json = serde_json::to_value(&stats).unwrap();
        assert_eq!(json["active"], "file");
        assert_eq!(json["residency"]["stall_total"], 1.5);
        assert_eq!(json["file"]["backend"]["stored_bytes"], 2);
        assert_eq!(json["file"]["backend"]["how"], "by hand");
        assert!(json["swap"].is_null());
    }
}
