//! Pages payloads of one size out and takes them back, and prints what each cost.

#![cfg_attr(not(test), deny(clippy::print_stdout, clippy::print_stderr))]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use bytesize::ByteSize;
use clap::Parser;
use clap::builder::RangedU64ValueParser;
use pager::{BackendChoice, BackendKind, Pager};
use pager_bench::direct;
use pager_bench::growth::{self, Config};
use pager_tool::{ensure_disk, ensure_machine, ensure_memory, print, print_json, usable_bytes};

/// What a payload costs, by the size of the set, the number of handles, their size and threads.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Args {
    /// Where payloads go: swap, file, or auto for whichever works here.
    #[arg(long, default_value_t)]
    backend: BackendChoice,
    /// Memory that the pager may hold, such as 64MiB.
    #[arg(long, default_value = "64MiB")]
    budget: ByteSize,
    /// Bytes of each payload, such as 2MiB: whole words.
    #[arg(long, default_value = "2MiB")]
    payload: ByteSize,
    /// Payloads in all.
    #[arg(long, default_value_t = 256, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000_000_000))]
    handles: usize,
    /// Threads, each with its share of the payloads.
    #[arg(long, default_value_t = 1, value_parser = RangedU64ValueParser::<usize>::new().range(1..=1024))]
    threads: usize,
    /// Bytes of payloads that each thread announces before it takes them.
    #[arg(long, default_value = "8MiB")]
    ahead: ByteSize,
    /// Scratch directory [default: PAGER_SCRATCH, else /var/tmp].
    #[arg(long)]
    scratch: Option<PathBuf>,
    /// Print one line of JSON.
    #[arg(long)]
    json: bool,
}

fn main() -> ExitCode {
    pager_tool::run(|args: Args| measure(&args).map(|()| ExitCode::SUCCESS))
}

fn measure(args: &Args) -> Result<()> {
    let payload_bytes = args.payload.as_u64();
    ensure!(
        payload_bytes >= 8 && payload_bytes.is_multiple_of(8),
        "--payload is whole words of 8 bytes, one at least"
    );
    ensure_memory("--budget", args.budget.as_u64())?;
    let set_bytes = payload_bytes.saturating_mul(args.handles as u64);
    let scratch = direct::scratch_or_default(args.scratch.as_deref());
    let kind = args.backend.resolve(Some(&scratch));
    match kind {
        BackendKind::File => ensure_disk("--handles", set_bytes, usable_bytes(), &scratch)?,
        _ => ensure_machine("--handles", set_bytes)?,
    }
    let config = Config {
        payload_bytes: usize::try_from(payload_bytes)?,
        handles: args.handles,
        threads: args.threads,
        ahead_bytes: usize::try_from(args.ahead.as_u64())?,
    };
    let pager = Pager::builder()
        .backend(kind)
        .budget_bytes(usize::try_from(args.budget.as_u64())?)
        .scratch_dir(&scratch)
        .build()
        .context("the pager could not be set up")?;
    let growth = growth::measure(&pager, kind, &config)?;
    if args.json {
        print_json(&growth)?;
    } else {
        print(&growth)?;
    }
    Ok(())
}
