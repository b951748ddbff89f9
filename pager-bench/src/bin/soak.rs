//! Runs random operations on many threads for some minutes, comparing every word.
//!
//! Ends with code 1 when a word was wrong, an operation failed, or something was
//! left at the end; with code 3 when the threads do not come to an end.

#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, ensure};
use bytesize::ByteSize;
use clap::Parser;
use pager::{Pager, Preset};
use pager_bench::soak::{self, Config, Progress};
use pager_tool::{ensure_disk, ensure_memory, machine_bytes, print, print_json, warn};

/// How long after the time is over the threads may still be at work.
const PATIENCE: Duration = Duration::from_secs(180);

/// Random operations on both backends, compared with a model.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Args {
    /// Minutes to run; fractions are fine.
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// Threads.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: u32,
    /// Memory that paged-out chunks may occupy at the beginning; it then changes
    /// between zero and twice as much.
    #[arg(long, default_value = "64MiB")]
    budget: ByteSize,
    /// Bytes of live payloads at most [default: 16 times the budget].
    #[arg(long)]
    live: Option<ByteSize>,
    /// The largest chunk.
    #[arg(long, default_value = "4MiB")]
    max_chunk: ByteSize,
    /// Scratch directory [default: PAGER_SCRATCH, else /var/tmp].
    #[arg(long)]
    scratch: Option<PathBuf>,
    /// How: fast (the best there is) or seed (the published strategies).
    #[arg(long, default_value_t)]
    preset: Preset,
    /// Seed of all choices [default: the time].
    #[arg(long)]
    seed: Option<u64>,
    /// Print one line of JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    pager_tool::run(|args: Args| soak(&args))
}

fn soak(args: &Args) -> Result<ExitCode> {
    let config = config(args)?;
    let scratch = pager_bench::direct::scratch_or_default(args.scratch.as_deref());
    ensure_disk("--live", config.live_limit_bytes, machine_bytes(), &scratch)?;
    let pager = Pager::builder()
        .preset(args.preset)
        .budget_bytes(config.budget_bytes)
        .scratch_dir(scratch)
        .build()
        .context("the pager could not be set up")?;
    let on_terminal = std::io::stderr().is_terminal();
    let report = soak::run(&pager, &config, |progress| {
        if on_terminal {
            show(progress, config.duration);
        }
        if progress.elapsed > config.duration.saturating_add(PATIENCE) {
            let (seed, stats) = (config.seed, pager.stats());
            warn(format_args!("stuck (seed {seed}): {progress:?}\n{stats}"));
            std::process::exit(3);
        }
    })?;
    if on_terminal {
        warn("");
    }
    if args.json {
        print_json(&report)?;
    } else {
        print(&report)?;
    }
    Ok(if report.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn config(args: &Args) -> Result<Config> {
    ensure!(
        args.minutes.is_finite() && args.minutes > 0.0,
        "--minutes must be positive"
    );
    let duration =
        Duration::try_from_secs_f64(args.minutes * 60.0).context("--minutes is too large")?;
    let budget_bytes = usize::try_from(args.budget.as_u64())?;
    let live_limit = args
        .live
        .map_or(args.budget.as_u64().saturating_mul(16), |live| {
            live.as_u64()
        });
    let max_chunk_bytes = usize::try_from(args.max_chunk.as_u64())?;
    ensure_memory("--budget", args.budget.as_u64())?;
    // A payload, and the words that it is compared with.
    let payload_bytes = args
        .max_chunk
        .as_u64()
        .saturating_mul(2 * soak::MAX_CHUNKS as u64);
    ensure_memory("--max-chunk", payload_bytes)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let seed = args
        .seed
        .unwrap_or_else(|| now.map_or(1, |now| now.as_secs()));
    Ok(Config {
        duration,
        threads: args.threads,
        budget_bytes,
        live_limit_bytes: live_limit,
        max_chunk_bytes,
        seed,
    })
}

fn show(progress: Progress, duration: Duration) {
    let mut out = std::io::stderr().lock();
    // A progress line that cannot be written is not worth an error.
    let _ = write!(
        out,
        "\r{:>5.0} of {:.0} s: {} operations, {} live, {} differences, {} failures ",
        progress.elapsed.as_secs_f64(),
        duration.as_secs_f64(),
        progress.operations,
        ByteSize::b(progress.live_bytes),
        progress.differences,
        progress.errors,
    );
    let _ = out.flush();
}
