//! TPC-H's `lineitem`, more of it than memory holds, sorted by the engine: with pager and with
//! the engine's own spill files.
//!
//! Each way runs in a process of its own, in turns, and what comes out must be the same rows in
//! the same order.
//!
//!     cargo run --release -p pager-datafusion --example lineitem
//!
//! `cargo xtask with-memory 256MiB -- <the example> ...` gives it a memory cap.

mod rows;
mod work;

use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use anyhow::ensure;
use clap::{Parser, ValueEnum};

use work::Report;

/// Sorts more rows than memory holds, through pager and through the engine's own spill files,
/// and compares.
#[derive(Debug, Clone, Parser)]
struct Args {
    /// Rows of lineitem to sort; 6,001,215 are scale factor 1
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// MiB that the engine may use
    #[arg(long, default_value_t = 48)]
    memory_mib: usize,
    /// MiB that the pager may hold; with one limit, that is both together
    #[arg(long, default_value_t = 32)]
    budget_mib: usize,
    /// Where spilled bytes go, of either kind
    #[arg(long, default_value = "/var/tmp")]
    scratch: PathBuf,
    /// How often each way is run
    #[arg(long, default_value_t = 1)]
    rounds: u32,
    /// The ways to run; the first is what the others are compared with
    #[arg(long, value_delimiter = ',', default_values_t = [Way::Stock, Way::Pager])]
    ways: Vec<Way>,
    /// Run the first way, and nothing else
    #[arg(long, hide = true)]
    inside: bool,
}

/// Where the engine spills.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Way {
    /// To its own files
    Stock,
    /// To its own files, compressed with lz4
    Lz4,
    /// To pager
    Pager,
    /// To pager, with a codec
    Codec,
    /// To pager, with one memory limit for both
    OneLimit,
    /// Nowhere: it may use what it likes
    Memory,
    /// The same with pager installed
    MemoryPager,
    /// Rows are made, and not sorted
    Rows,
}

impl std::fmt::Display for Way {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Stock => "stock",
            Self::Lz4 => "lz4",
            Self::Pager => "pager",
            Self::Codec => "codec",
            Self::OneLimit => "one-limit",
            Self::Memory => "memory",
            Self::MemoryPager => "memory-pager",
            Self::Rows => "rows",
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
    pager_tool::print(
        "round  way            wall s   cpu s  read MiB  written MiB  peak MiB  spills",
    )?;
    let mut reports: Vec<(Way, Report)> = Vec::new();
    for round in 1..=args.rounds {
        for &way in &args.ways {
            let report = process(args, way)?;
            pager_tool::print(format_args!(
                "{round:>5}  {way:<12} {:>8.2} {:>7.2} {:>9} {:>12} {:>9} {:>7}",
                report.wall.as_secs_f64(),
                report.cpu.as_secs_f64(),
                report.read_bytes >> 20,
                report.written_bytes >> 20,
                report.peak_bytes >> 20,
                report.spills,
            ))?;
            let sorted = reports.iter().find(|(way, _)| *way != Way::Rows);
            if let Some((first, expected)) = sorted.filter(|_| way != Way::Rows) {
                ensure!(
                    (report.sum, report.rows) == (expected.sum, expected.rows),
                    "way {way} has other rows than {first}"
                );
            }
            reports.push((way, report));
        }
    }
    pager_tool::print("all have the same rows in the same order")?;
    ratios(args, &reports)
}

/// The first way over each of the others, medians.
fn ratios(args: &Args, reports: &[(Way, Report)]) -> anyhow::Result<()> {
    let median = |way: Way, of: fn(&Report) -> f64| {
        let of_way = reports.iter().filter(|report| report.0 == way);
        let mut all: Vec<f64> = of_way.map(|report| of(&report.1)).collect();
        all.sort_by(f64::total_cmp);
        all.get(all.len() / 2).copied().unwrap_or_default()
    };
    let Some((&first, others)) = args.ways.split_first() else {
        return Ok(());
    };
    for &way in others {
        let ratio = |of| median(first, of) / median(way, of);
        #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
        let device = |report: &Report| (report.read_bytes + report.written_bytes) as f64;
        #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
        let read = |report: &Report| report.read_bytes as f64;
        pager_tool::print(format_args!(
            "{first} / {way}: wall {:.2}, CPU {:.2}, read from the device {:.2}, read and written {:.2}",
            ratio(|it| it.wall.as_secs_f64()),
            ratio(|it| it.cpu.as_secs_f64()),
            ratio(read),
            ratio(device),
        ))?;
    }
    Ok(())
}

/// Runs this program for one way.
fn process(args: &Args, way: Way) -> anyhow::Result<Report> {
    let name = way.to_possible_value().map(|it| it.get_name().to_owned());
    let output = Command::new(std::env::current_exe()?)
        .arg("--inside")
        .args(["--rows", &args.rows.to_string()])
        .args(["--memory-mib", &args.memory_mib.to_string()])
        .args(["--budget-mib", &args.budget_mib.to_string()])
        .args(["--ways", &name.unwrap_or_default()])
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
    String::from_utf8(output.stdout)?.parse()
}
