//! Whole jobs: the same rows, sorted by pager, by crates that sort, and by a database.
//!
//! Guarantees the same rows, the same memory cap and the same limit for each. Refuses nothing: a
//! program that is not on the machine is a job that was skipped.

use super::plan::Backend;
use super::suite::Suite;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::fmt;

const MIB: u64 = 1 << 20;
/// Rows of `lineitem` at scale 1, and bytes of each: 16 words.
const ROWS: f64 = 6_001_215.0;
const ROW_BYTES: f64 = 128.0;

/// Who sorts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Engine {
    /// The example `spill_sort`, to swap.
    PagerSwap,
    /// The example `spill_sort`, to files.
    PagerFile,
    /// The same with a codec.
    PagerCodec,
    Spillsort,
    ExtSort,
    Duckdb,
    /// Nobody: the rows are made and counted, and that is all.
    Rows,
}

impl Engine {
    pub(crate) const ALL: [Self; 7] = [
        Self::PagerSwap,
        Self::PagerFile,
        Self::PagerCodec,
        Self::Spillsort,
        Self::ExtSort,
        Self::Duckdb,
        Self::Rows,
    ];

    /// The backend of pager that it uses.
    pub(crate) fn backend(self) -> Option<Backend> {
        match self {
            Self::PagerSwap => Some(Backend::Swap),
            Self::PagerFile | Self::PagerCodec => Some(Backend::File),
            Self::Spillsort | Self::ExtSort | Self::Duckdb | Self::Rows => None,
        }
    }

    /// What a reader calls it.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::PagerSwap => "pager, swap",
            Self::PagerFile => "pager, file",
            Self::PagerCodec => "pager, file, codec",
            Self::Spillsort => "spillsort",
            Self::ExtSort => "ext-sort",
            Self::Duckdb => "DuckDB",
            Self::Rows => "making the rows, no sort",
        }
    }
}

/// One sort.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) engine: Engine,
    /// TPC-H scale factor.
    pub(crate) scale: f64,
    /// Memory that the sort is told to stay within. Its cap is three times that: a program has more
    /// in memory than its sort, and a database in a Python has most.
    pub(crate) limit_bytes: u64,
}

impl Job {
    /// The memory cap of the whole program.
    pub(crate) fn cap_bytes(self) -> u64 {
        3 * self.limit_bytes
    }

    /// The same with few rows, in no less memory than a program needs.
    pub(crate) fn small(self) -> Self {
        Self {
            scale: 0.05,
            limit_bytes: 32 * MIB,
            ..self
        }
    }

    /// Bytes of the rows.
    pub(crate) fn rows_bytes(self) -> f64 {
        self.scale * ROWS * ROW_BYTES
    }
}

/// The jobs of a suite: a limit of about a seventh of the rows, under a cap of three times that.
pub(crate) fn jobs(suite: Suite, backends: &[Backend]) -> Vec<Job> {
    let (scale, limit_mib) = match suite {
        Suite::Quick => (0.5, 64),
        Suite::Standard => (1.0, 96),
        Suite::Full => (4.0, 384),
    };
    let wanted = |engine: &Engine| engine.backend().is_none_or(|it| backends.contains(&it));
    let engines = Engine::ALL.into_iter().filter(wanted);
    let job = |engine| Job {
        engine,
        scale,
        limit_bytes: limit_mib * MIB,
    };
    engines.map(job).collect()
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let limit = self.limit_bytes / MIB;
        write!(f, "sort, {}, {limit} MiB", self.engine.label())
    }
}

#[cfg(test)]
mod tests {
    use super::{Engine, Job, jobs};
    use crate::matrix::plan::Backend;
    use crate::matrix::suite::Suite;

    #[test]
    fn each_job_has_far_more_rows_than_memory() {
        for suite in [Suite::Quick, Suite::Standard, Suite::Full] {
            let jobs = jobs(suite, &Backend::ALL);
            assert_eq!(jobs.len(), Engine::ALL.len());
            for job in jobs {
                assert!(job.rows_bytes() > 1.9 * job.cap_bytes() as f64, "{job}");
            }
        }
    }

    #[test]
    fn a_backend_that_is_not_wanted_sorts_nothing() {
        let jobs = jobs(Suite::Quick, &[Backend::File]);
        let has = |engine| jobs.iter().any(|job: &Job| job.engine == engine);
        assert!(has(Engine::PagerCodec) && has(Engine::Duckdb) && !has(Engine::PagerSwap));
    }
}
