//! Sorts TPC-H `lineitem` in far less memory than it has bytes.
//!
//! ```text
//! cargo run --release -p pager-out-of-core --example spill_sort -- --scale 1 --budget 64MiB --backend file
//! ```
//!
//! An external merge sort through the facade. The generator's rows are gathered
//! into runs as large as the budget allows; each run is sorted by
//! (`l_extendedprice`, `l_orderkey`, `l_linenumber`) and its columns are paged out
//! in chunks of 2 MiB. The runs are then merged, reading ranges of their columns,
//! into output columns that are paged out as well. Finally all output is read back
//! and compared with the input: order, row count, and checksums of every column
//! and of whole rows.
//!
//! Guarantees that its own buffers stay within the budget at every moment. What
//! the backend keeps beside them (16 MiB of warm arena at most) and the program
//! itself come on top: the summary shows the peak of everything.
//!
//! ```text
//! plan     how the budget is divided
//! table    the columns of lineitem, as words
//! digest   checksums that do not depend on the order of rows
//! column   a column that is paged out chunk by chunk
//! runs     generate, sort, page out
//! merge    read ranges of all runs, page out the result
//! check    read everything back
//! report   phases, progress and the summary
//! ```

#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

mod check;
mod column;
mod digest;
mod merge;
mod plan;
mod report;
mod runs;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, ensure};
use bytesize::ByteSize;
use clap::Parser;
use pager::{BackendChoice, BackendKind, FileConfig, Pager, Preset};
use pager_tool::{ensure_disk, ensure_machine, ensure_memory, usable_bytes};

use crate::plan::Plan;
use crate::report::{Report, Summary};

/// Sort TPC-H lineitem under a memory budget by paging sorted runs out.
#[derive(Debug, Parser)]
struct Options {
    /// TPC-H scale factor; 1 is six million rows, 733 MiB of columns.
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Memory for the buffers of the sort, at least 4MiB.
    #[arg(long, default_value = "64MiB")]
    budget: ByteSize,
    /// Where cold columns go: swap, file, or auto for whichever works here.
    #[arg(long, default_value_t)]
    backend: BackendChoice,
    /// How they get there: fast or seed.
    #[arg(long, default_value_t)]
    preset: Preset,
    /// Scratch directory of the file backend [default: $PAGER_SCRATCH, else /var/tmp].
    #[arg(long)]
    scratch: Option<PathBuf>,
    /// What is done with columns on their way out: off, auto, or a scheme by name.
    #[cfg(feature = "codec")]
    #[arg(long, default_value_t)]
    codec: pager::Codec,
    /// Print one line of JSON, and no summary.
    #[arg(long)]
    json: bool,
    /// Encrypt what goes to scratch files, the only place then.
    #[cfg(feature = "encryption")]
    #[arg(long)]
    encrypt: bool,
}

fn main() -> ExitCode {
    pager_tool::run(|options: Options| run(&options).map(|()| ExitCode::SUCCESS))
}

fn run(options: &Options) -> anyhow::Result<()> {
    ensure!(
        options.scale.is_finite() && options.scale >= 0.001,
        "--scale must be at least 0.001"
    );
    ensure_memory("--budget", options.budget.as_u64())?;
    let expected_rows = table::expected_rows(options.scale);
    let plan = Plan::new(options.budget.as_u64(), expected_rows)?;
    let pager = make_pager(options, &plan).context("cannot set the pager up")?;
    ensure_room(options, &pager, expected_rows)?;
    let mut report = Report::new(expected_rows);

    let runs = report.phase("build runs", |progress| {
        runs::build(&pager, &plan, options.scale, progress)
    })?;
    let run_count = runs.runs.len();
    let merge_plan = plan.for_merge(run_count, runs.digest.rows)?;
    let sorted = report.phase("merge", |progress| {
        merge::merge(&pager, &merge_plan, runs.runs, progress)
    })?;
    let output = report.phase("check", |progress| {
        check::read_back(&pager, &plan, sorted, progress)
    })?;

    let summary = Summary {
        pager: &pager,
        scale: options.scale,
        rows: runs.digest.rows,
        run_count,
        budget_bytes: plan.budget_bytes,
        pager_bytes: plan.pager_bytes,
        buffer_bytes: plan.buffer_bytes().max(merge_plan.buffer_bytes()),
    };
    if options.json {
        output.compare(&runs.digest)?;
        return Ok(pager_tool::print_json(
            &report.json(&summary, &runs.digest),
        )?);
    }
    report.print(&summary)?;
    output.compare(&runs.digest)?;
    Ok(pager_tool::print("check: ok")?)
}

/// Refuses a table that the backend has no room for, before it fills a disk or
/// calls the kernel's killer.
fn ensure_room(options: &Options, pager: &Pager, expected_rows: u64) -> anyhow::Result<()> {
    let table_bytes = expected_rows.saturating_mul(table::ROW_BYTES);
    match pager.backend() {
        BackendKind::File => {
            let default = FileConfig::from_env();
            let root = options.scratch.as_deref().unwrap_or(default.root());
            ensure_disk("--scale", table_bytes, usable_bytes(), root)?;
        }
        _ => ensure_machine("--scale", table_bytes)?,
    }
    Ok(())
}

fn make_pager(options: &Options, plan: &Plan) -> pager::Result<Pager> {
    let mut builder = Pager::builder()
        .backend(options.backend)
        .preset(options.preset);
    #[cfg(feature = "codec")]
    {
        builder = builder.codec(options.codec);
    }
    #[cfg(feature = "encryption")]
    {
        builder = builder.encryption(options.encrypt);
    }
    if options.preset == Preset::Fast {
        let pager_bytes = usize::try_from(plan.pager_bytes).unwrap_or(usize::MAX);
        builder = builder.budget_bytes(pager_bytes);
    }
    match &options.scratch {
        Some(path) => builder.scratch_dir(path).build(),
        None => builder.build(),
    }
}
