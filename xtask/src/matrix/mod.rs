//! `cargo xtask bench-matrix`: the merge workload over backends, presets, threads, caps and data.
//!
//! Guarantees that every planned cell ends up in the results, that a failed one fails the command
//! and not the others, and that an interrupted matrix writes what it has and leaves no scratch file. Refuses to compare cells
//! that did not run under the conditions they were planned for: those are marked.

mod cell;
mod host;
mod plan;
mod record;
mod report;
mod scratch;

use crate::cargo;
use crate::cgroup::{self, Cap};
use crate::interrupt;
use crate::size::Size;
use crate::swap::{self, ProvisionedSwap};
use anyhow::{Context, ensure};
use cell::Bench;
use indicatif::{ProgressBar, ProgressStyle};
use pager_tool::{print, warn};
use plan::{Axes, Backend, Cell, Data, Preset, Share};
use record::Record;
use scratch::Scratch;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

/// Run the merge workload in every combination and report throughput, ratios, faults and memory.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// A small matrix that ends within three minutes; no root needed.
    #[arg(long)]
    quick: bool,
    /// Where results.json, results.csv and report.md go [default: the UTC time below bench-out].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Use the binaries in this directory, such as another version's, and build none.
    #[arg(long, value_name = "DIR")]
    binaries: Option<PathBuf>,
    /// Provision this much swap for the time of the matrix (root).
    #[arg(long, value_name = "SIZE")]
    provision_swap: Option<Size>,
    /// Where the swap's backing file goes; not on a memory file system.
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    swap_dir: PathBuf,
    /// Only these backends.
    #[arg(long, value_delimiter = ',')]
    backend: Vec<Backend>,
    /// Only these presets.
    #[arg(long, value_delimiter = ',')]
    preset: Vec<Preset>,
    /// Only these thread counts [default: 1,2,4; quick: 1,2].
    #[arg(long, value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: Vec<u32>,
    /// Only these caps, as shares of the working set [default: none,1/2,1/4,1/8; quick: none,1/4].
    #[arg(long, value_delimiter = ',', value_name = "none|1/N")]
    cap: Vec<Share>,
    /// Only these kinds of data.
    #[arg(long, value_delimiter = ',')]
    data: Vec<Data>,
    /// Size of each of the two chains in GiB [default: 1; quick: 0.125].
    #[arg(long, value_name = "F")]
    chain_gib: Option<f64>,
    /// Prefetch distance of the fast preset, in chunks.
    #[arg(long, value_name = "N", default_value_t = 4)]
    lookahead: u32,
    /// Where scratch files go.
    #[arg(long, value_name = "DIR", default_value = "/var/tmp")]
    scratch: PathBuf,
    /// Have every cell read its output back and compare it.
    #[arg(long)]
    verify: bool,
    /// The longest a cell may take, in seconds [default: 1800; quick: 20].
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<u64>,
}

/// What quick leaves to its cells of the three minutes; the rest is for the tools around them.
const QUICK_BUDGET: Duration = Duration::from_secs(150);

impl Args {
    /// The quick matrix, as CI runs it.
    pub(crate) fn quick(out: &Path, provision_swap: Option<Size>) -> Self {
        let var_tmp = PathBuf::from("/var/tmp");
        Self {
            quick: true,
            out: Some(out.to_owned()),
            binaries: None,
            provision_swap,
            swap_dir: var_tmp.clone(),
            backend: Vec::new(),
            preset: Vec::new(),
            threads: Vec::new(),
            cap: Vec::new(),
            data: Vec::new(),
            chain_gib: None,
            lookahead: 4,
            scratch: var_tmp,
            verify: true,
            timeout: None,
        }
    }

    /// A matrix of seconds that still has every kind of cell.
    pub(crate) fn tiny(out: &Path, provision_swap: Option<Size>) -> Self {
        Self {
            threads: vec![1],
            data: vec![Data::Random],
            chain_gib: Some(0.125),
            ..Self::quick(out, provision_swap)
        }
    }

    /// Where `merge` and `ceiling` are, built if need be.
    fn programs(&self) -> anyhow::Result<[PathBuf; 2]> {
        let names = ["merge", "ceiling"];
        if let Some(dir) = &self.binaries {
            return Ok(names.map(|name| dir.join(name)));
        }
        let built = cargo::executables(&["build", "--release", "-p", "pager-bench", "--bins"])?;
        let find = |name: &str| {
            let found = built.get(name).cloned();
            found.with_context(|| format!("pager-bench has no {name}"))
        };
        Ok([find(names[0])?, find(names[1])?])
    }

    fn axes(&self) -> Axes {
        fn or<T: Clone>(given: &[T], default: &[T]) -> Vec<T> {
            if given.is_empty() { default } else { given }.to_vec()
        }
        let caps: &[&str] = if self.quick {
            &["none", "1/4"]
        } else {
            &["none", "1/2", "1/4", "1/8"]
        };
        let caps: Vec<Share> = caps.iter().filter_map(|text| text.parse().ok()).collect();
        let threads: &[u32] = if self.quick { &[1, 2] } else { &[1, 2, 4] };
        Axes {
            backends: or(
                &self.backend,
                &[Backend::Swap, Backend::File, Backend::None],
            ),
            // Seed first: the plan keeps the order, and the ratio reads seed to fast.
            presets: or(&self.preset, &[Preset::Seed, Preset::Fast]),
            threads: or(&self.threads, threads),
            caps: or(&self.cap, &caps),
            data: or(&self.data, &[Data::Random, Data::Lineitem]),
        }
    }

    fn bench(&self, merge: PathBuf, has_swap: bool) -> anyhow::Result<Bench> {
        let chain_gib = self
            .chain_gib
            .unwrap_or(if self.quick { 0.125 } else { 1.0 });
        ensure!(
            chain_gib > 0.0 && chain_gib <= 1024.0,
            "--chain-gib must be above 0 and at most 1024"
        );
        let timeout = self.timeout.unwrap_or(if self.quick { 20 } else { 1800 });
        Ok(Bench {
            merge,
            chain_gib,
            scratch: self.scratch.clone(),
            verify: self.verify,
            timeout: Duration::from_secs(timeout),
            has_swap,
            lookahead: self.lookahead,
        })
    }
}

/// Runs the matrix and returns the exit code: 0 only when every cell has its result.
pub(crate) fn run(args: &Args) -> anyhow::Result<u8> {
    let out = args.out.clone().unwrap_or_else(|| {
        let time = host::timestamp(SystemTime::now());
        cargo::root().join("bench-out").join(time)
    });
    fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    let [merge, ceiling] = args.programs()?;
    cgroup::sweep();

    let started = Instant::now();
    let swap = args
        .provision_swap
        .map(|size| ProvisionedSwap::new(&args.swap_dir, size))
        .transpose()?;
    let swaps = fs::read_to_string("/proc/swaps").unwrap_or_default();
    // Dropped before the swap, and after the last cell has ended.
    let scratch = Scratch::new(&args.scratch)?;
    let mut bench = args.bench(merge, swap.is_some() || swap::any_active(&swaps))?;
    bench.scratch = scratch.path().to_owned();
    let host = host::Host::describe(&args.scratch);
    let ceiling = cell::ceiling(&ceiling, scratch.path(), bench.chain_gib)
        .inspect_err(|error| warn(format_args!("ceiling: {error:#}")))
        .ok();
    let cells = plan::plan(&args.axes());
    tell_if_uncapped(&bench, &cells);
    let deadline = args.quick.then(|| started + QUICK_BUDGET);
    let records = run_cells(&bench, &cells, deadline);
    drop(scratch);
    drop(swap);

    let conditions = format!(
        "Two chains of {} GiB, 2 MiB chunks; the fast preset looks {} chunks ahead. \
         Throughput is the bytes of both input chains over the time of the merge.",
        bench.chain_gib, bench.lookahead
    );
    let tables = report::tables(&records, ceiling);
    let json = serde_json::json!({
        "host": host, "conditions": conditions, "ceiling_gib_s": ceiling, "cells": records,
    });
    fs::write(
        out.join("results.json"),
        serde_json::to_string_pretty(&json)?,
    )?;
    record::write_csv(&out.join("results.csv"), &records)?;
    let markdown = report::markdown(&host, &conditions, ceiling, &tables)?;
    fs::write(out.join("report.md"), markdown)?;
    print(report::terminal(&tables, ceiling).trim_end())?;
    print(format_args!("written to {}", out.display()))?;

    let failed = records.iter().filter(|r| r.is_failure()).count();
    if interrupt::requested() {
        return Ok(interrupt::EXIT_CODE);
    }
    if failed > 0 {
        warn(format_args!("{failed} of {} cells failed", records.len()));
    }
    Ok(u8::from(failed > 0))
}

/// Says once why cells will run without the cap they were planned with.
fn tell_if_uncapped(bench: &Bench, cells: &[Cell]) {
    let working_set = bench.working_set_bytes();
    let cap = cells
        .iter()
        .find_map(|cell| cell.cap.cap_bytes(working_set));
    if let Some(Err(error)) = cap.map(|bytes| Cap::new(Size::from_bytes(bytes))) {
        warn(format_args!("cells run uncapped: {error}"));
    }
}

fn run_cells(bench: &Bench, cells: &[Cell], deadline: Option<Instant>) -> Vec<Record> {
    let bar = ProgressBar::new(cells.len() as u64);
    if let Ok(style) = ProgressStyle::with_template(
        "{pos}/{len} [{bar:30}] {elapsed} gone, about {eta} left  {msg}",
    ) {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(500));
    let mut records = Vec::with_capacity(cells.len());
    for &cell in cells {
        let record = if interrupt::requested() {
            bench.blank(cell, "interrupted")
        } else if deadline.is_some_and(|at| Instant::now() >= at) {
            bench.blank(cell, "not run: the time of --quick is up")
        } else {
            bar.set_message(cell.to_string());
            bench.run(cell)
        };
        bar.inc(1);
        if bar.is_hidden() {
            // No terminal: a line per cell, so that a log shows where the time goes.
            let through = record.number("through_gib_s");
            let through = through.map_or_else(|| "-".to_owned(), |v| format!("{v:.3} GiB/s"));
            let (done, all, left) = (bar.position(), cells.len(), bar.eta().as_secs());
            let notes = record.notes();
            warn(format_args!(
                "{done}/{all} {cell}: {through} {notes} ({left} s left)"
            ));
        }
        records.push(record);
    }
    bar.finish_and_clear();
    records
}

#[cfg(test)]
mod tests {
    use super::{Args, plan};
    use clap::{Args as _, FromArgMatches};

    fn parse(args: &[&str]) -> Args {
        let command = Args::augment_args(clap::Command::new("bench-matrix"));
        let given = [&["bench-matrix"], args].concat();
        Args::from_arg_matches(&command.get_matches_from(given)).unwrap()
    }

    #[test]
    fn filters_narrow_the_matrix_and_defaults_fill_the_rest() {
        assert_eq!(plan::plan(&parse(&[]).axes()).len(), 120);
        assert_eq!(plan::plan(&parse(&["--quick"]).axes()).len(), 40);
        let narrow = [
            "--backend",
            "swap,file",
            "--cap",
            "none,1/16",
            "--threads",
            "3",
        ];
        assert_eq!(plan::plan(&parse(&narrow).axes()).len(), 16);
    }

    #[test]
    fn a_chain_of_no_size_is_refused() {
        for bad in ["0", "-1", "nan", "inf", "1e9"] {
            let args = parse(&[&format!("--chain-gib={bad}")]);
            assert!(args.bench("merge".into(), false).is_err(), "{bad}");
        }
        let bench = parse(&["--quick"]).bench("merge".into(), true).unwrap();
        assert_eq!(bench.working_set_bytes(), 256 << 20);
    }
}
