//! Measures what the device can do without pager, and prints it.

#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use clap::Parser;
use pager_bench::{bytes_of_gib, ceiling, direct};
use pager_tool::{ensure_disk, print, print_json};

/// 2 MiB direct reads and writes, half and half, at queue depths 1, 2, 4 and 8.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Args {
    /// Directory to measure in [default: PAGER_SCRATCH, else /var/tmp].
    #[arg(long)]
    scratch: Option<PathBuf>,
    /// GiB to read, and as many to write, at each queue depth.
    #[arg(long, default_value_t = 1.0)]
    gib: f64,
    /// Print one line of JSON.
    #[arg(long)]
    json: bool,
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
    ensure_disk("--gib", bytes.saturating_mul(2), 0, &scratch)?;
    let ceiling = ceiling::measure(&scratch, bytes)?;
    if args.json {
        return Ok(print_json(&ceiling)?);
    }
    print(format_args!(
        "{} GiB each way in {} ({})",
        ceiling.gib, ceiling.scratch, ceiling.host.fs
    ))?;
    for depth in &ceiling.depths {
        print(format_args!(
            "queue depth {}: {:.3} GiB/s through, {:.3} GiB/s raw; a write takes {:.1} ms (p99.9 {:.1}), a read {:.1} ms ({:.1})",
            depth.queue_depth,
            depth.through_gib_s,
            depth.raw_gib_s,
            depth.write_us.p50 / 1e3,
            depth.write_us.p999 / 1e3,
            depth.read_us.p50 / 1e3,
            depth.read_us.p999 / 1e3
        ))?;
    }
    let best = ceiling.ceiling_gib_s;
    Ok(print(format_args!("ceiling: {best:.3} GiB/s through"))?)
}
