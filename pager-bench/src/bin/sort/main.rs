//! Sorts the rows of the example `spill_sort` as others do it: under the same limit, with every
//! row compared in the end.
//!
//! ```text
//! rows       the rows, as the example makes them (its files `table` and `digest`)
//! check      what came out: order, and the same rows
//! spillsort  by the crate of that name
//! ext_sort   by the crate `ext-sort`
//! duckdb     by DuckDB, in a Python beside us
//! ```

#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

mod check;
#[path = "../../../../pager/examples/spill_sort/digest.rs"]
#[expect(dead_code, reason = "columns are added there, rows here")]
mod digest;
mod duckdb;
mod ext_sort;
mod rows;
mod spillsort;
#[path = "../../../../pager/examples/spill_sort/table.rs"]
mod table;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Result, ensure};
use bytesize::ByteSize;
use clap::{Parser, ValueEnum};
use pager_bench::direct;
use pager_bench::measure::proc;
use pager_tool::{ensure_disk, ensure_memory, print, print_json};
use serde::Serialize;

use check::Check;
use digest::Digest;

/// Sort the rows of the example spill_sort with somebody else's sort.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Args {
    /// Who sorts.
    #[arg(long, value_enum, default_value_t = Engine::Spillsort)]
    engine: Engine,
    /// TPC-H scale factor; 1 is six million rows, 733 MiB.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Memory that the sort is told to stay within.
    #[arg(long, default_value = "96MiB")]
    limit: ByteSize,
    /// Where temporary files go [default: PAGER_SCRATCH, else /var/tmp].
    #[arg(long)]
    scratch: Option<PathBuf>,
    /// Print one line of JSON.
    #[arg(long)]
    json: bool,
}

/// Who sorts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Engine {
    /// The crate spillsort.
    Spillsort,
    /// The crate ext-sort.
    ExtSort,
    /// DuckDB, by the module duckdb of python3; skipped where there is none.
    Duckdb,
    /// Nobody: the rows are made and counted.
    Rows,
}

/// What was asked for.
#[derive(Debug, Clone)]
struct Job {
    scale: f64,
    limit_bytes: usize,
    scratch: PathBuf,
}

/// What a sort took.
#[derive(Debug, Default)]
struct Sorted {
    /// Rows went into a store of the sort's own before; no part of the sort.
    load_s: f64,
    /// Until the rows were sorted: handed out, or stored.
    sort_s: f64,
    /// Until they were read back, where they were stored.
    check_s: f64,
    /// The most memory of a process beside us.
    child_rss_bytes: u64,
    input: Digest,
    output: Check,
}

/// How a job ended.
#[derive(Debug)]
enum End {
    Sorted(Box<Sorted>),
    Skipped(String),
}

/// What is printed.
#[derive(Debug, Serialize)]
struct Report {
    engine: String,
    scale: f64,
    limit_bytes: u64,
    /// Why nothing was done, if nothing was.
    #[serde(skip_serializing_if = "Option::is_none")]
    skipped: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", flatten)]
    figures: Option<Figures>,
}

#[derive(Debug, Serialize)]
struct Figures {
    rows: u64,
    rows_digest: String,
    load_s: f64,
    sort_s: f64,
    check_s: f64,
    peak_rss_bytes: u64,
    /// Every row came back, in order.
    verified: bool,
}

fn main() -> ExitCode {
    pager_tool::run(|args: Args| run(&args).map(|()| ExitCode::SUCCESS))
}

fn run(args: &Args) -> Result<()> {
    ensure!(
        args.scale.is_finite() && args.scale >= 0.001,
        "--scale must be at least 0.001"
    );
    ensure_memory("--limit", args.limit.as_u64())?;
    ensure!(
        args.limit.as_u64() >= 4 << 20,
        "--limit must be at least 4MiB"
    );
    let scratch = direct::scratch_or_default(args.scratch.as_deref());
    let rows_bytes = table::expected_rows(args.scale).saturating_mul(table::ROW_BYTES);
    // Runs, a merge of runs, and what a database keeps beside them.
    ensure_disk("--scale", rows_bytes.saturating_mul(3), 0, &scratch)?;
    let job = Job {
        scale: args.scale,
        limit_bytes: usize::try_from(args.limit.as_u64())?,
        scratch,
    };
    let end = match args.engine {
        Engine::Spillsort => spillsort::sort(&job).map(sorted)?,
        Engine::ExtSort => ext_sort::sort(&job).map(sorted)?,
        Engine::Duckdb => duckdb::sort(&job)?,
        Engine::Rows => rows_alone(&job).map(sorted)?,
    };
    let report = Report::new(args, end)?;
    if args.json {
        print_json(&report)?;
    } else {
        print(&report)?;
    }
    Ok(())
}

fn sorted(sorted: Sorted) -> End {
    End::Sorted(Box::new(sorted))
}

/// What the rows cost that every sort has to be given.
fn rows_alone(job: &Job) -> Result<Sorted> {
    let begun = Instant::now();
    let mut input = Digest::default();
    rows::each(job.scale, |row| {
        input.add_row(row);
        Ok(())
    })?;
    Ok(Sorted {
        sort_s: begun.elapsed().as_secs_f64(),
        output: Check::of_unsorted(&input),
        input,
        ..Sorted::default()
    })
}

/// A private directory of a sort.
fn private_directory(scratch: &Path) -> Result<tempfile::TempDir> {
    Ok(tempfile::Builder::new()
        .prefix("pager-sort-")
        .tempdir_in(scratch)?)
}

impl Report {
    fn new(args: &Args, end: End) -> Result<Self> {
        let engine = args.engine.to_possible_value();
        let mut report = Self {
            engine: engine.map_or_else(String::new, |it| it.get_name().to_owned()),
            scale: args.scale,
            limit_bytes: args.limit.as_u64(),
            skipped: None,
            figures: None,
        };
        match end {
            End::Skipped(why) => report.skipped = Some(why),
            End::Sorted(sorted) => {
                sorted.output.compare(&sorted.input)?;
                report.figures = Some(Figures {
                    rows: sorted.input.rows,
                    rows_digest: sorted.input.to_string(),
                    load_s: sorted.load_s,
                    sort_s: sorted.sort_s,
                    check_s: sorted.check_s,
                    peak_rss_bytes: proc::peak_rss_bytes().max(sorted.child_rss_bytes),
                    verified: args.engine != Engine::Rows,
                });
            }
        }
        Ok(report)
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let engine = &self.engine;
        let Some(figures) = &self.figures else {
            let why = self.skipped.as_deref().unwrap_or_default();
            return write!(f, "{engine}: skipped: {why}");
        };
        write!(
            f,
            "{engine}: {} rows in {:.2} s, read back in {:.2} s, peak RSS {} MiB",
            figures.rows,
            figures.sort_s,
            figures.check_s,
            figures.peak_rss_bytes >> 20
        )?;
        f.write_str(if figures.verified {
            "; check: ok"
        } else {
            "; not sorted"
        })
    }
}
