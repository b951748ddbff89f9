//! An arrangement larger than memory, through pager and through files as in the engine's own
//! example, plain and with lz4.
//!
//! A worker arranges updates in epochs, which merges batches again and again, then reads the
//! whole trace. Each way runs in a process of its own, in turns, and all traces must hold the
//! same.
//!
//!     cargo run --release -p pager-differential --example arrange
//!
//! `cargo xtask with-memory 512MiB -- <the example> ...` gives it a memory cap.

mod dataflow;
mod files;
mod work;

use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::ensure;
use clap::{Parser, ValueEnum};

use work::Report;

/// Arranges more than memory holds, through pager and through the engine's own files, and
/// compares.
#[derive(Debug, Clone, Parser)]
struct Args {
    /// Million updates to arrange, of 32 bytes each
    #[arg(long, default_value_t = 8)]
    million: u64,
    /// MiB that the pager may hold
    #[arg(long, default_value_t = 64)]
    budget_mib: usize,
    /// Where spilled bytes go, of either kind
    #[arg(long, default_value = "/var/tmp")]
    scratch: PathBuf,
    /// How often each way is run
    #[arg(long, default_value_t = 1)]
    rounds: u32,
    /// The ways to run
    #[arg(long, value_delimiter = ',', default_values_t = [Way::Lz4, Way::Plain, Way::Pager, Way::Small, Way::Chunks])]
    ways: Vec<Way>,
    /// Print what the pager has done
    #[arg(long)]
    stats: bool,
    /// Run the first way, and nothing else
    #[arg(long, hide = true)]
    inside: bool,
}

/// Where settled chunks are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Way {
    /// In memory
    Memory,
    /// In files, compressed: the engine's own example
    Lz4,
    /// In files
    Plain,
    /// pager-differential, as a store of the engine's chunks
    Pager,
    /// pager-differential's own chunks, of as many updates
    Small,
    /// The same, of 2 MiB
    Chunks,
}

/// The ways that go through pager.
const PAGERS: [Way; 3] = [Way::Pager, Way::Small, Way::Chunks];

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Lz4 => "lz4",
            Self::Plain => "plain",
            Self::Pager => "pager",
            Self::Small => "small",
            Self::Chunks => "chunks",
        })
    }
}

fn main() -> ExitCode {
    pager_tool::run(|args: Args| {
        if args.inside {
            pager_tool::print(work::run(&args)?)?;
        } else {
            rounds(&args)?;
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn rounds(args: &Args) -> anyhow::Result<()> {
    pager_tool::print("round  way     arranged s  read s   cpu s   peak MiB")?;
    let mut reports: Vec<(Way, Report)> = Vec::new();
    for round in 1..=args.rounds {
        for &way in &args.ways {
            let report = process(args, way)?;
            pager_tool::print(format_args!(
                "{round:>5}  {:<7} {:>10.2} {:>7.2} {:>7.2}   {}",
                way.to_string(),
                report.arranged.as_secs_f64(),
                report.read.as_secs_f64(),
                report.cpu.as_secs_f64(),
                report.peak_bytes >> 20,
            ))?;
            let first = reports.first().map_or(report, |first| first.1);
            ensure!(
                (report.sum, report.updates) == (first.sum, first.updates),
                "the trace of way {way} holds something else"
            );
            reports.push((way, report));
        }
    }
    pager_tool::print("all traces hold the same")?;
    ratio(&reports)
}

/// The best of the engine's ways over pager, medians.
fn ratio(reports: &[(Way, Report)]) -> anyhow::Result<()> {
    let median = |way: Way, of: fn(&Report) -> f64| {
        let of_way = reports.iter().filter(|report| report.0 == way);
        let mut all: Vec<f64> = of_way.map(|report| of(&report.1)).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied()
    };
    let ratio = |way: Way, of: fn(&Report) -> f64| {
        let stock = [Way::Lz4, Way::Plain].map(|way| median(way, of));
        let best = stock.into_iter().flatten().reduce(f64::min)?;
        Some(best / median(way, of)?)
    };
    for way in PAGERS {
        if let (Some(arranged), Some(read), Some(cpu)) = (
            ratio(way, |it| it.arranged.as_secs_f64()),
            ratio(way, |it| it.read.as_secs_f64()),
            ratio(way, |it| it.cpu.as_secs_f64()),
        ) {
            pager_tool::print(format_args!(
                "best of files / {way}: arranged {arranged:.2}, read {read:.2}, CPU {cpu:.2}"
            ))?;
        }
    }
    Ok(())
}

/// Runs this program for one way.
fn process(args: &Args, way: Way) -> anyhow::Result<Report> {
    let output = Command::new(std::env::current_exe()?)
        .arg("--inside")
        .args(args.stats.then_some("--stats"))
        .args(["--million", &args.million.to_string()])
        .args(["--budget-mib", &args.budget_mib.to_string()])
        .args(["--ways", &way.to_string()])
        .arg("--scratch")
        .arg(&args.scratch)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(
        output.status.success(),
        "{way} ended with {}",
        output.status
    );
    String::from_utf8_lossy(&output.stdout).trim().parse()
}
