//! Compares small random reads of file handles with plain direct reads.

#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::builder::RangedU64ValueParser;
use clap::{Parser, ValueEnum};
use pager_bench::pread_4k::{self, Config};
use pager_bench::{bytes_of_gib, direct};
use pager_core::ChunkBuf;
use pager_tool::{ensure_disk, print, print_json};

/// The most turns, and the most reads in one: the offsets of a turn and the ratios
/// of all turns are kept in memory.
const MOST: u64 = 1 << 24;

/// 4 KiB at random offsets: `read_at` of file handles against `pread`.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Args {
    /// Directory to measure in [default: PAGER_SCRATCH, else /var/tmp].
    #[arg(long)]
    scratch: Option<PathBuf>,
    /// GiB of the handles together, and of the plain file.
    #[arg(long, default_value_t = 1.0)]
    gib: f64,
    /// Turns of either side.
    #[arg(long, default_value_t = 100, value_parser = RangedU64ValueParser::<usize>::new().range(1..=MOST))]
    turns: usize,
    /// Reads of one side in one turn.
    #[arg(long, default_value_t = 200, value_parser = RangedU64ValueParser::<usize>::new().range(1..=MOST))]
    reads: usize,
    /// Memory that `read_at` reads into.
    #[arg(long, value_enum, default_value_t = Destination::Vec)]
    dst: Destination,
    /// Print one line of JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Destination {
    /// Plain memory of the general allocator.
    Vec,
    /// Aligned memory, as `pread` has it.
    Buf,
}

fn main() -> ExitCode {
    pager_tool::run(|args: Args| measure(&args).map(|()| ExitCode::SUCCESS))
}

fn measure(args: &Args) -> Result<()> {
    ensure!(
        args.gib.is_finite() && args.gib > 0.0,
        "--gib must be positive"
    );
    let scratch = direct::scratch_or_default(args.scratch.as_deref());
    let bytes = bytes_of_gib(args.gib);
    // The handles, and the plain file.
    ensure_disk("--gib", bytes.saturating_mul(2), 0, &scratch)?;
    let config = Config {
        bytes,
        turns: args.turns,
        reads_per_turn: args.reads,
    };
    let comparison = match args.dst {
        Destination::Vec => pread_4k::measure::<Vec<u64>>(&scratch, config)?,
        Destination::Buf => pread_4k::measure::<ChunkBuf>(&scratch, config)?,
    };
    if args.json {
        return Ok(print_json(&comparison)?);
    }
    print(format_args!(
        "read_at: {:.0} reads/s (p50 {:.1} us, p99 {:.1} us) into {}",
        comparison.read_at_per_s,
        comparison.read_at_us.p50,
        comparison.read_at_us.p99,
        comparison.destination
    ))?;
    print(format_args!(
        "pread:   {:.0} reads/s (p50 {:.1} us, p99 {:.1} us)",
        comparison.pread_per_s, comparison.pread_us.p50, comparison.pread_us.p99
    ))?;
    print(format_args!(
        "ratio:   {:.3} (median of {} turns)",
        comparison.ratio, args.turns
    ))?;
    Ok(())
}
