//! Measures what the device can do without pager, and prints it.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Parser;
use pager_bench::{bytes_of_gib, ceiling, direct};

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

fn main() -> Result<()> {
    let args = Args::parse();
    ensure!(
        args.gib.is_finite() && args.gib > 0.0,
        "--gib must be positive"
    );
    let scratch = direct::scratch_or_default(args.scratch.as_deref());
    let ceiling = ceiling::measure(&scratch, bytes_of_gib(args.gib))?;
    if args.json {
        println!("{}", serde_json::to_string(&ceiling)?);
        return Ok(());
    }
    println!(
        "{} GiB each way in {} ({})",
        ceiling.gib, ceiling.scratch, ceiling.host.fs
    );
    for depth in &ceiling.depths {
        println!(
            "queue depth {}: {:.3} GiB/s through, {:.3} GiB/s raw; a write takes {:.1} ms (p99.9 {:.1}), a read {:.1} ms ({:.1})",
            depth.queue_depth,
            depth.through_gib_s,
            depth.raw_gib_s,
            depth.write_us.p50 / 1e3,
            depth.write_us.p999 / 1e3,
            depth.read_us.p50 / 1e3,
            depth.read_us.p999 / 1e3
        );
    }
    println!("ceiling: {:.3} GiB/s through", ceiling.ceiling_gib_s);
    Ok(())
}
