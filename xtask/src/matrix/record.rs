//! What came of each run of a cell, and the table that keeps it.
//!
//! Guarantees that every planned run has a record, also one that failed or never ran, and that
//! what `merge` said is kept whole. Refuses to turn a failed run into a number.

use super::plan::Cell;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::path::Path;

const GIB: f64 = (1u64 << 30) as f64;

/// What the kernel counts swap in, on every machine that this is measured on.
const KERNEL_PAGE_BYTES: f64 = 4096.0;

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    Ok,
    Failed,
    TimedOut,
    /// Killed by its cap.
    OutOfMemory,
    /// The matrix ended before its turn.
    NotRun,
}

impl Outcome {
    /// Whether what ended so need not be repeated: it has ended as it will.
    pub(crate) fn is_final(self) -> bool {
        match self {
            Self::Ok | Self::OutOfMemory | Self::TimedOut => true,
            Self::Failed | Self::NotRun => false,
        }
    }
}

/// One run's result.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Record {
    #[serde(flatten)]
    pub(crate) cell: Cell,
    /// Which of the repetitions, from 1.
    pub(crate) round: u32,
    pub(crate) cap_bytes: Option<u64>,
    /// A cap was planned and could not be had.
    pub(crate) uncapped: bool,
    /// The cell relies on swap and the machine has none.
    pub(crate) no_swap: bool,
    pub(crate) outcome: Outcome,
    pub(crate) exit_code: Option<u8>,
    pub(crate) error: Option<String>,
    /// What `merge` printed.
    pub(crate) merge: Map<String, Value>,
}

impl Record {
    /// A number that `merge` reported; a path of keys, divided by points, leads into what is
    /// nested.
    pub(crate) fn number(&self, path: &str) -> Option<f64> {
        let mut keys = path.split('.');
        let first = self.merge.get(keys.next()?)?;
        keys.try_fold(first, |value, key| value.get(key))?.as_f64()
    }

    /// Whether the run need not be repeated: it has ended as it will.
    pub(crate) fn is_final(&self) -> bool {
        self.outcome.is_final()
    }

    /// Bytes that left memory while the chains were built and merged: for files what this
    /// process had to read back from the device, since the page cache may hold what it wrote;
    /// else what the machine swapped out.
    fn left_memory_bytes(&self) -> Option<f64> {
        let (key, unit) = if self.cell.backend.uses_files() {
            ("io_read_bytes", 1.0)
        } else {
            ("pswpout", KERNEL_PAGE_BYTES)
        };
        let build = self.number(&format!("build.{key}"))?;
        Some(unit * (build + self.number(key)?))
    }

    /// Whether all stayed in memory, so that its speed says nothing about paging: less than a
    /// hundredth of the two chains left it, which is what others on the machine may have caused.
    /// A cell that does not say counts as one that paged.
    pub(crate) fn paged_nothing(&self) -> bool {
        let chains = self.number("chain_gib").map(|gib| 2.0 * gib * GIB);
        let left = self.left_memory_bytes().zip(chains);
        left.is_some_and(|(left, chains)| left < chains / 100.0)
    }

    /// Whether the matrix as a whole has failed by this run. Without swap, data that must stay
    /// in memory cannot fit under a cap, and a peer may not fit with swap either: that the kernel
    /// kills such a run is its result, and so is that a peer finds no end.
    pub(crate) fn is_failure(&self) -> bool {
        let is_pager = self.cell.backend.is_pager();
        match self.outcome {
            Outcome::Ok => false,
            Outcome::OutOfMemory => !self.no_swap && is_pager,
            Outcome::TimedOut => is_pager,
            Outcome::Failed | Outcome::NotRun => true,
        }
    }

    /// What has to be known before the figure is believed.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut notes = Vec::new();
        if self.uncapped {
            notes.push("uncapped".to_owned());
        }
        if self.no_swap {
            notes.push("no swap".to_owned());
        }
        if self.paged_nothing() {
            notes.push("nothing was paged".to_owned());
        }
        match self.outcome {
            Outcome::Ok => {}
            Outcome::OutOfMemory => notes.push("killed by the memory cap".to_owned()),
            Outcome::Failed | Outcome::TimedOut | Outcome::NotRun => {
                let error = self.error.as_deref().unwrap_or("failed");
                // One line of a table; the files have it whole.
                let line = error.lines().last().unwrap_or(error);
                notes.push(line.chars().take(60).collect());
            }
        }
        notes
    }
}

/// The columns of `results.csv` that come from the matrix; those of `merge` follow.
const OWN_COLUMNS: [&str; 12] = [
    "round",
    "data",
    "cap",
    "threads",
    "backend",
    "preset",
    "cap_bytes",
    "uncapped",
    "no_swap",
    "outcome",
    "exit_code",
    "error",
];

/// Writes one line per record.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn write_csv(path: &Path, records: &[Record]) -> anyhow::Result<()> {
    let mut columns: Vec<String> = OWN_COLUMNS.map(str::to_owned).into();
    for (key, value) in records.iter().flat_map(|r| &r.merge) {
        // A course over time is no cell of a table; `results.json` has it.
        if !value.is_array() && !columns.contains(key) {
            columns.push(key.clone());
        }
    }
    let mut writer = csv::Writer::from_path(path)?;
    writer.write_record(&columns)?;
    for record in records {
        let own = serde_json::to_value(record)?;
        writer.write_record(columns.iter().map(|column| {
            match own.get(column).or_else(|| record.merge.get(column)) {
                None | Some(Value::Null) => String::new(),
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
            }
        }))?;
    }
    writer.flush()?;
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::plan::{Backend, Cell, Data, Preset};
    use super::{Outcome, Record, write_csv};

    /// A record with a throughput, or a failed one.
    pub(crate) fn record(preset: Option<Preset>, through: Option<f64>) -> Record {
        let mut merge = serde_json::Map::new();
        if let Some(through) = through {
            merge.insert("through_gib_s".to_owned(), through.into());
            merge.insert("major_faults".to_owned(), 7.into());
            merge.insert("peak_rss_bytes".to_owned(), (3 << 20).into());
        }
        Record {
            cell: Cell {
                data: Data::Random,
                cap: "1/2".parse().unwrap(),
                threads: 1,
                backend: preset.map_or(Backend::None, |_| Backend::Swap),
                preset,
            },
            round: 1,
            cap_bytes: Some(1 << 20),
            uncapped: false,
            no_swap: false,
            outcome: through.map_or(Outcome::Failed, |_| Outcome::Ok),
            exit_code: Some(u8::from(through.is_none())),
            error: through.is_none().then(|| "it broke".to_owned()),
            merge,
        }
    }

    /// `record` with chains of 1 GiB each of which so much left memory.
    pub(crate) fn paged(mut record: Record, build_gib: f64, merge_gib: f64) -> Record {
        let bytes = |gib: f64| gib * super::GIB;
        let cost = |gib: f64| {
            serde_json::json!({
                "pswpout": bytes(gib) / super::KERNEL_PAGE_BYTES,
                "io_read_bytes": bytes(gib),
            })
        };
        record.merge.insert("chain_gib".to_owned(), 1.0.into());
        record.merge.insert("build".to_owned(), cost(build_gib));
        let serde_json::Value::Object(merge) = cost(merge_gib) else {
            panic!("an object was made");
        };
        record.merge.extend(merge);
        record
    }

    #[test]
    fn a_run_that_left_all_in_memory_says_so() {
        let fast = record(Some(Preset::Fast), Some(4.0));
        let mut quiet = paged(fast.clone(), 0.0, 0.001);
        assert_eq!(quiet.notes(), ["nothing was paged"]);
        assert!(paged(fast, 0.0, 1.0).notes().is_empty());
        // For files it is what was read back that counts, and not what others swapped out.
        quiet
            .merge
            .insert("io_read_bytes".to_owned(), (1u64 << 30).into());
        for (backend, paged_nothing) in [
            (Backend::Swap, true),
            (Backend::File, false),
            (Backend::Memmap2, false),
            (Backend::Lgalloc, true),
        ] {
            quiet.cell.backend = backend;
            assert_eq!(quiet.paged_nothing(), paged_nothing, "{backend:?}");
        }
    }

    #[test]
    fn a_path_leads_into_what_is_nested() {
        let paged = paged(record(None, Some(1.0)), 0.5, 1.0);
        assert_eq!(paged.number("build.io_read_bytes"), Some(super::GIB / 2.0));
        assert_eq!(paged.number("build.none"), None);
        assert_eq!(paged.number("none.io"), None);
    }

    #[test]
    fn a_cell_that_cannot_fit_without_swap_is_no_failure_of_the_matrix() {
        let mut killed = record(Some(Preset::Seed), None);
        killed.outcome = Outcome::OutOfMemory;
        assert!(killed.is_failure());
        killed.no_swap = true;
        assert!(!killed.is_failure());
        assert_eq!(killed.notes(), ["no swap", "killed by the memory cap"]);
        let mut without_pager = record(None, None);
        for died in [Outcome::OutOfMemory, Outcome::TimedOut] {
            without_pager.outcome = died;
            assert!(!without_pager.is_failure() && without_pager.is_final());
        }
    }

    #[test]
    fn the_csv_has_a_line_per_record_and_every_key_of_merge() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r.csv");
        let mut all = [record(Some(Preset::Seed), None), record(None, Some(1.5))];
        let course = serde_json::json!([1, 2]);
        all[1].merge.insert("memory".to_owned(), course);
        write_csv(&path, &all).unwrap();
        let mut reader = csv::Reader::from_path(&path).unwrap();
        let headers = reader.headers().unwrap().clone();
        let column = |name: &str| headers.iter().position(|h| h == name).unwrap();
        assert!(!headers.iter().any(|h| h == "memory"));
        let rows: Vec<_> = reader.records().map(Result::unwrap).collect();
        assert_eq!(rows.len(), 2);
        assert_eq!(&rows[0][column("error")], "it broke");
        assert_eq!(&rows[0][column("through_gib_s")], "");
        assert_eq!(&rows[1][column("through_gib_s")], "1.5");
        assert_eq!(&rows[1][column("preset")], "");
    }
}
