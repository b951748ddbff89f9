//! What is measured beside the merge: the curves of growth, and whole jobs.
//!
//! Guarantees a record for each that was planned, as for the cells of the matrix. Refuses to take a
//! job for done that was skipped: its record says why.

use super::growth::{self, Point};
use super::job::{self, Job};
use super::plan::Backend;
use super::record::Outcome;
use super::suite::Suite;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;

/// Parts of a suite.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// The merge, with pager and with its peers.
    Merge,
    /// What a payload costs as things grow.
    Growth,
    /// A whole sort, with pager, with sorting crates, and with a database.
    Sort,
}

impl Part {
    pub(crate) const ALL: [Self; 3] = [Self::Merge, Self::Growth, Self::Sort];
}

/// One measurement.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "part", rename_all = "lowercase")]
pub(crate) enum Extra {
    Growth(Point),
    Sort(Job),
}

/// All of these parts.
pub(crate) fn plan(suite: Suite, parts: &[Part], backends: &[Backend]) -> Vec<Extra> {
    let mut extras = Vec::new();
    if parts.contains(&Part::Sort) {
        extras.extend(job::jobs(suite, backends).into_iter().map(Extra::Sort));
    }
    if parts.contains(&Part::Growth) {
        let points = growth::points(suite, backends);
        extras.extend(points.into_iter().map(Extra::Growth));
    }
    extras
}

/// Leaves a point of each curve and a small job of each kind.
pub(crate) fn shrink(extras: &mut Vec<Extra>) {
    let mut seen = Vec::new();
    extras.retain(|extra| match extra {
        Extra::Sort(_) => true,
        Extra::Growth(point) => {
            let curve = (point.axis, point.backend);
            let is_first = !seen.contains(&curve);
            seen.push(curve);
            is_first
        }
    });
    for extra in extras {
        if let Extra::Sort(job) = extra {
            *job = job.small();
        }
    }
}

impl Extra {
    /// Whether it relies on swap.
    pub(crate) fn uses_swap(self) -> bool {
        let backend = match self {
            Self::Growth(point) => Some(point.backend),
            Self::Sort(job) => job.engine.backend(),
        };
        backend == Some(Backend::Swap)
    }

    /// The memory cap, if there is one.
    pub(crate) fn cap_bytes(self) -> Option<u64> {
        match self {
            Self::Growth(_) => None,
            Self::Sort(job) => Some(job.cap_bytes()),
        }
    }
}

impl fmt::Display for Extra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Growth(point) => point.fmt(f),
            Self::Sort(job) => job.fmt(f),
        }
    }
}

/// What came of one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ExtraRecord {
    #[serde(flatten)]
    pub(crate) extra: Extra,
    pub(crate) round: u32,
    pub(crate) uncapped: bool,
    pub(crate) no_swap: bool,
    pub(crate) outcome: Outcome,
    pub(crate) exit_code: Option<u8>,
    pub(crate) error: Option<String>,
    /// What the program printed.
    pub(crate) figures: Map<String, Value>,
}

impl ExtraRecord {
    /// A number that the program printed.
    pub(crate) fn number(&self, key: &str) -> Option<f64> {
        self.figures.get(key)?.as_f64()
    }

    /// Why it was not done, if it was skipped.
    pub(crate) fn skipped(&self) -> Option<&str> {
        self.figures.get("skipped")?.as_str()
    }

    /// Whether there are figures.
    pub(crate) fn is_good(&self) -> bool {
        self.outcome == Outcome::Ok && self.skipped().is_none()
    }

    /// Whether it need not be repeated.
    pub(crate) fn is_final(&self) -> bool {
        self.outcome.is_final()
    }

    /// Whether the matrix has failed by it: what is not pager may die.
    pub(crate) fn is_failure(&self) -> bool {
        let is_pager = match self.extra {
            Extra::Growth(_) => true,
            Extra::Sort(job) => job.engine.backend().is_some(),
        };
        match self.outcome {
            Outcome::Ok | Outcome::NotRun => false,
            Outcome::OutOfMemory => is_pager && !self.no_swap,
            Outcome::Failed | Outcome::TimedOut => is_pager,
        }
    }

    /// What has to be known before a figure is believed.
    pub(crate) fn notes(&self) -> String {
        let mut notes = Vec::new();
        if self.uncapped {
            notes.push("uncapped".to_owned());
        }
        if self.no_swap {
            notes.push("no swap".to_owned());
        }
        if let Some(why) = self.skipped() {
            notes.push(format!("skipped: {why}"));
        }
        if self.outcome == Outcome::OutOfMemory {
            notes.push("killed by the memory cap".to_owned());
        } else if let Some(error) = &self.error {
            let line = error.lines().last().unwrap_or(error);
            notes.push(line.chars().take(90).collect());
        }
        notes.join(", ")
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{Extra, ExtraRecord, Part, plan, shrink};
    use crate::matrix::job::Engine;
    use crate::matrix::plan::Backend;
    use crate::matrix::record::Outcome;
    use crate::matrix::suite::Suite;
    use serde_json::json;

    /// What the standard suite could have found.
    pub(crate) fn extras() -> Vec<ExtraRecord> {
        let record = |(place, extra): (u32, Extra)| {
            let growth = json!({
                "out_s": 1.0, "back_s": 0.5, "seconds_per_gib": 0.5 + f64::from(place % 7),
                "micros_per_handle": 2.5, "bookkeeping_bytes": 300_000, "handles": 1000,
                "peak_held_bytes": 64 << 20, "written_bytes": 1 << 30,
            });
            let job = json!({
                "sort_s": 4.0 + f64::from(place), "check_s": 1.0, "rows": 6_001_215,
                "peak_rss_bytes": 90 << 20, "verified": true,
            });
            let figures = match extra {
                Extra::Growth(_) => growth,
                Extra::Sort(_) => job,
            };
            ExtraRecord {
                extra,
                round: 1,
                uncapped: false,
                no_swap: false,
                outcome: Outcome::Ok,
                exit_code: Some(0),
                error: None,
                figures: figures.as_object().unwrap().clone(),
            }
        };
        let all = plan(Suite::Standard, &Part::ALL, &Backend::ALL);
        let mut all: Vec<_> = (0..).zip(all).map(record).collect();
        for record in &mut all {
            let Extra::Sort(job) = record.extra else {
                continue;
            };
            if job.engine == Engine::ExtSort {
                record.outcome = Outcome::OutOfMemory;
                record.figures.clear();
            }
            if job.engine == Engine::Duckdb {
                let why = json!({"skipped": "python3 has no module duckdb"});
                record.figures = why.as_object().unwrap().clone();
            }
        }
        all
    }

    #[test]
    fn who_dies_or_is_skipped_fails_nothing_and_says_so() {
        let mut all = extras();
        let engine = |record: &ExtraRecord| match record.extra {
            Extra::Sort(job) => Some(job.engine),
            Extra::Growth(_) => None,
        };
        let at = |wanted| {
            all.iter()
                .position(|it| engine(it) == Some(wanted))
                .unwrap()
        };
        let (dead, skipped, ours) = (
            at(Engine::ExtSort),
            at(Engine::Duckdb),
            at(Engine::PagerFile),
        );
        assert_eq!(all[dead].notes(), "killed by the memory cap");
        assert_eq!(
            all[skipped].notes(),
            "skipped: python3 has no module duckdb"
        );
        assert!(!all[dead].is_good() && !all[skipped].is_good());
        assert!(!all.iter().any(ExtraRecord::is_failure));
        all[ours].outcome = Outcome::OutOfMemory;
        assert!(all[ours].is_failure());
    }

    #[test]
    fn a_small_plan_has_one_of_everything() {
        let mut all = plan(Suite::Quick, &Part::ALL, &Backend::ALL);
        shrink(&mut all);
        assert_eq!(all.len(), Engine::ALL.len() + 2 * 4);
        let rows = |extra: &Extra| match extra {
            Extra::Sort(job) => job.rows_bytes(),
            Extra::Growth(point) => (point.handles * point.payload_bytes) as f64,
        };
        assert!(all.iter().all(|extra| rows(extra) <= f64::from(256 << 20)));
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        for record in extras() {
            let text = serde_json::to_string(&record).unwrap();
            let read: ExtraRecord = serde_json::from_str(&text).unwrap();
            assert_eq!((read.extra, read.figures), (record.extra, record.figures));
        }
    }
}
